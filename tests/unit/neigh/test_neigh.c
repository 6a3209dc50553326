/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Next hops, tested with the kernel's routes and neighbours: a veth pair between this process's
 * network namespace and a second one, in which the neighbours are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/rtnl.h"
#include "lbd/neigh/hop.h"
#include "lbd/neigh/link.h"
#include "support/test_addr.h"
#include "support/test_loop.h"

#include "neigh_pair.h"

#define MAC_MOVED "02:00:00:00:00:99"

/* ---- what a watch reported ---- */

struct reported {
	unsigned calls, hops;
	bool has_hop;
	struct next_hop hop;
	char why[256];
	char dst_mac[18], src_mac[18];
	struct neigh_watch *unwatch; /* a watch to stop in the callback */
};

static void format_mac(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

static void on_changed(void *arg, const struct addr *address, const struct next_hop *hop,
		       const char *why)
{
	struct reported *reported = arg;

	reported->calls++;
	reported->has_hop = hop;
	snprintf(reported->why, sizeof(reported->why), "%s", why);
	if (hop) {
		reported->hops++;
		reported->hop = *hop;
		format_mac(hop->dst_mac, reported->dst_mac);
		format_mac(hop->src_mac, reported->src_mac);
	}
	neigh_unwatch(reported->unwatch);
	reported->unwatch = NULL;
}

static struct neigh_watch *watch(const char *address, struct reported *reported)
{
	const struct addr addr = test_addr(address);
	struct neigh_watch *watching;

	watching = neigh_watch(neigh, &addr, on_changed, reported);
	assert_non_null(watching);
	return watching;
}

/* Waits for the first report on an address. */
static struct reported ask(const char *address)
{
	struct reported reported = {0};
	struct neigh_watch *watching = watch(address, &reported);

	assert_int_equal(reported.calls, 0);
	RUN_UNTIL(reported.calls >= 1);
	neigh_unwatch(watching);
	return reported;
}

static void assert_gateway(const struct next_hop *hop, const char *expected)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(&hop->gateway, text), expected);
}

static void assert_source(const struct next_hop *hop, const char *expected)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(&hop->source, text), expected);
}

/* ---- two namespaces ---- */

/* A device can send only some time after its peer came up, up to half a second. */
static void wait_for_links(void)
{
	here("for i in $(seq 100); do ip -o link show nt0 | grep -q 'state UP' && nsenter "
	     "-t %d -n ip -o link show nt1 | grep -q 'state UP' && exit 0; sleep 0.02; "
	     "done; exit 1",
	     there);
}

static int begin(void **state)
{
	if (!netns_entered())
		return 0;
	if (make_pair())
		return -1;
	here("ip addr add fd09::1/64 dev nt0 nodad");
	/* neighbour discovery needs the link-local address, which waits a second for duplicate
	 * address detection */
	here("echo 0 >/proc/sys/net/ipv6/conf/nt0/accept_dad");
	on_peer("sh -c 'echo 0 >/proc/sys/net/ipv6/conf/nt1/accept_dad'");
	on_peer("ip addr add fd09::2/64 dev nt1 nodad");
	on_peer("ip link set nt1 up");
	here("ip link set nt0 up");
	wait_for_links();
	return start_neigh();
}

/* The kernel gives up on an entry after 3 probes: shortened, so that tests that are not about it do
 * not wait 3 s. */
static void hurry(void)
{
	here("echo 200 >/proc/sys/net/ipv4/neigh/nt0/retrans_time_ms");
}

/* ---- next hops ---- */

static void neighbour_on_the_link_is_resolved(void **state)
{
	struct reported reported;

	needs_root();
	reported = ask("10.9.0.2");
	assert_true(reported.has_hop);
	assert_string_equal(reported.why, "");
	assert_string_equal(reported.dst_mac, MAC_THERE);
	assert_string_equal(reported.src_mac, MAC_HERE);
	assert_int_equal(reported.hop.ifindex, if_nametoindex("nt0"));
	assert_int_equal(reported.hop.mtu, 1500);
	assert_int_equal(reported.hop.vlan_tci, 0);
	assert_source(&reported.hop, "10.9.0.1");
}

static void ipv6_neighbour_is_resolved(void **state)
{
	struct reported reported;

	needs_root();
	reported = ask("fd09::2");
	assert_true(reported.has_hop);
	assert_string_equal(reported.dst_mac, MAC_THERE);
	assert_string_equal(reported.src_mac, MAC_HERE);
	assert_source(&reported.hop, "fd09::1");
	/* no host has this address */
	reported = ask("fd09::77");
	assert_false(reported.has_hop);
	assert_string_equal(reported.why, "no answer to neighbour discovery on nt0 (fd09::77)");
}

static void route_gives_gateway_mtu_and_source(void **state)
{
	struct reported reported;

	needs_root();
	here("ip addr add 10.9.0.9/24 dev nt0");
	here("ip route add 198.51.100.0/24 via 10.9.0.2 mtu 1400 src 10.9.0.9");
	reported = ask("198.51.100.7");
	assert_true(reported.has_hop);
	assert_string_equal(reported.dst_mac, MAC_THERE);
	assert_int_equal(reported.hop.mtu, 1400);
	assert_source(&reported.hop, "10.9.0.9");
	assert_gateway(&reported.hop, "10.9.0.2");
	assert_int_equal(ask("10.9.0.2").hop.gateway.family, 0);
	here("ip route add 203.0.113.0/24 via 10.9.0.77");
	assert_string_equal(ask("203.0.113.7").why, "no answer to ARP on nt0 (gateway 10.9.0.77)");
}

static void ipv4_through_an_ipv6_gateway_is_resolved(void **state)
{
	struct reported reported;

	needs_root();
	here("ip route add 198.51.100.0/24 via inet6 fd09::2");
	reported = ask("198.51.100.7");
	assert_true(reported.has_hop);
	assert_string_equal(reported.dst_mac, MAC_THERE);
	assert_source(&reported.hop, "10.9.0.1");
	assert_gateway(&reported.hop, "fd09::2");
}

static void one_hop_of_a_multipath_route_is_taken(void **state)
{
	struct reported reported;

	needs_root();
	on_peer("ip addr add 10.9.0.3/24 dev nt1");
	here("ip route add 198.51.100.0/24 nexthop via 10.9.0.2 nexthop via 10.9.0.3");
	reported = ask("198.51.100.7");
	assert_true(reported.has_hop);
	assert_string_equal(reported.dst_mac, MAC_THERE);
}

static void silent_neighbour_is_reported(void **state)
{
	uint64_t start = clock_monotonic_ms();
	struct reported reported;

	needs_root();
	reported = ask("10.9.0.77");
	assert_true(clock_monotonic_ms() - start >= 1300);
	assert_false(reported.has_hop);
	assert_string_equal(reported.why, "no answer to ARP on nt0 (10.9.0.77)");
}

static void route_that_is_not_unicast_is_reported(void **state)
{
	needs_root();
	here("ip route add unreachable 192.0.2.1 && ip route add prohibit 192.0.2.2 && ip "
	     "route add blackhole 192.0.2.3");
	here("ip -6 route add unreachable 2001:db8::1 && ip -6 route add prohibit 2001:db8::2");
	assert_string_equal(ask("198.51.100.7").why, "no route");
	assert_string_equal(ask("2001:db8::7").why, "no route");
	assert_string_equal(ask("192.0.2.1").why,
			    "no route: the matching one is of type unreachable");
	assert_string_equal(ask("192.0.2.2").why, "no route: the matching one is of type prohibit");
	assert_string_equal(ask("192.0.2.3").why,
			    "no route: the matching one is of type blackhole");
	assert_string_equal(ask("2001:db8::1").why,
			    "no route: the matching one is of type unreachable");
	assert_string_equal(ask("2001:db8::2").why,
			    "no route: the matching one is of type prohibit");
	assert_string_equal(ask("10.9.0.1").why, "is an address of this host");
	assert_string_equal(ask("127.0.0.5").why, "is an address of this host");
	assert_string_equal(ask("fd09::1").why, "is an address of this host");
	assert_string_equal(ask("10.9.0.255").why, "is a broadcast address");
}

/* Without the header that the kernel would put on them packets get somewhere else, or nowhere. */
static void route_that_encapsulates_is_reported(void **state)
{
	static const char expected[] = "its route encapsulates packets (encap): not supported";

	needs_root();
	if (system("ip route add 198.51.100.0/24 encap ip id 7 dst 10.9.0.2 dev nt0 2>/dev/null"))
		skip(); /* a kernel without light-weight tunnels */
	assert_string_equal(ask("198.51.100.7").why, expected);
	here("ip route replace 198.51.100.0/24 via 10.9.0.2");
	assert_true(ask("198.51.100.7").has_hop);
	if (system("ip route add fd0a::/64 encap seg6 mode encap segs fd09::2 dev nt0 2>/dev/null"))
		skip();
	assert_string_equal(ask("fd0a::7").why, expected);
}

static void tun_device_is_not_supported(void **state)
{
	needs_root();
	if (system("ip tuntap add nttun mode tun 2>/dev/null") != 0)
		skip(); /* no tun driver */
	here("ip addr add 10.8.0.1/24 dev nttun && ip link set nttun up");
	/* without an owner process a tun device has no carrier, which is reported first */
	assert_string_equal(ask("10.8.0.2").why, "link nttun has no carrier");
}

/* ---- changes ---- */

static void moved_mac_is_noticed_without_a_gap(void **state)
{
	struct reported reported = {0};

	needs_root();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	on_peer("ip link set nt1 address " MAC_MOVED);
	/* the kernel verifies it, gives up, and finds it by broadcast */
	RUN_UNTIL(!strcmp(reported.dst_mac, MAC_MOVED));
	assert_int_equal(reported.hops, reported.calls);
}

static void dead_neighbour_is_noticed_and_its_return(void **state)
{
	struct reported reported = {0};

	needs_root();
	hurry();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	on_peer("ip addr del 10.9.0.2/24 dev nt1");
	RUN_UNTIL(!reported.has_hop);
	assert_string_equal(reported.why, "no answer to ARP on nt0 (10.9.0.2)");
	on_peer("ip addr add 10.9.0.2/24 dev nt1");
	RUN_UNTIL(reported.has_hop);
}

/* Changes CAP_NET_ADMIN of this process only: the commands that it runs keep it. */
static void set_net_admin(bool on)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	if (on)
		data[0].effective |= 1u << CAP_NET_ADMIN;
	else
		data[0].effective &= ~(1u << CAP_NET_ADMIN);
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

/* The same as a full neighbour table, which would disturb the whole machine. */
static void neighbour_that_the_kernel_cannot_ask_for_stays_as_it_was(void **state)
{
	struct reported reported = {0};

	needs_root();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	set_net_admin(false);
	on_peer("ip addr del 10.9.0.2/24 dev nt1");
	here("ip neigh flush dev nt0");
	test_loop_run(base, 4000);
	set_net_admin(true);
	assert_int_equal(reported.calls, 1);
	/* now it can, and there is no answer */
	RUN_UNTIL(!reported.has_hop);
	assert_string_equal(reported.why, "no answer to ARP on nt0 (10.9.0.2)");
}

static void flushed_neighbour_table_is_no_change(void **state)
{
	struct reported reported = {0};

	needs_root();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	here("ip neigh flush dev nt0");
	test_loop_run(base, 2000);
	assert_int_equal(reported.calls, 1);
}

static void verified_neighbour_is_reported_once_and_a_permanent_one_stays_permanent(void **state)
{
	struct reported reported = {0}, live = {0};

	needs_root();
	here("ip neigh add 10.9.0.5 lladdr 02:00:00:00:00:55 dev nt0 nud permanent");
	watch("10.9.0.5", &reported);
	watch("10.9.0.2", &live);
	RUN_UNTIL(reported.calls >= 1);
	assert_string_equal(reported.dst_mac, "02:00:00:00:00:55");
	here("ip neigh replace 10.9.0.5 lladdr 02:00:00:00:00:56 dev nt0 nud permanent");
	RUN_UNTIL(reported.calls >= 2);
	assert_string_equal(reported.dst_mac, "02:00:00:00:00:56");
	test_loop_run(base, 6000); /* more than one verification */
	assert_int_equal(live.calls, 1);
	here("ip neigh show 10.9.0.2 dev nt0 | grep -Eq 'REACHABLE|PROBE'");
	assert_int_equal(reported.calls, 2);
	here("ip neigh show 10.9.0.5 dev nt0 | grep -q PERMANENT");
}

/* Of routing daemons (extern_learn), and of other users of XDP (managed). */
static void neighbours_of_other_programs_stay_theirs(void **state)
{
	struct reported learned = {0}, managed = {0}, dead = {0};

	needs_root();
	hurry();
	on_peer("ip addr add 10.9.0.3/24 dev nt1");
	here("ip neigh add 10.9.0.2 lladdr " MAC_THERE " dev nt0 nud reachable extern_learn");
	here("ip neigh add 10.9.0.3 dev nt0 managed extern_learn");
	here("ip neigh add 10.9.0.77 dev nt0 managed extern_learn");
	watch("10.9.0.2", &learned);
	watch("10.9.0.3", &managed);
	watch("10.9.0.77", &dead);
	RUN_UNTIL(learned.hops >= 1 && managed.hops >= 1 && dead.calls >= 1);
	test_loop_run(base, 6000); /* more than one verification, and another solicitation */
	here("ip neigh show 10.9.0.2 dev nt0 | grep -q extern_learn");
	here("ip neigh show 10.9.0.3 dev nt0 | grep -q 'managed extern_learn'");
	here("ip neigh show 10.9.0.77 dev nt0 | grep -q 'managed extern_learn'");
	/* one that its program has deleted is asked for as any other */
	here("ip neigh del 10.9.0.2 dev nt0");
	test_loop_run(base, 1000);
	here("! ip neigh show 10.9.0.2 dev nt0 | grep -q extern_learn");
	/* a dead one is still noticed */
	on_peer("ip addr del 10.9.0.3/24 dev nt1");
	here("ip neigh replace 10.9.0.3 lladdr " MAC_THERE " dev nt0 nud stale extern_learn");
	RUN_UNTIL(!managed.has_hop);
}

/* A second pair of links, 10.10.0.1/24 here and 10.10.0.2 there. */
static void add_second_link(void)
{
	here(
	    "ip link add nt2 address 02:00:00:00:01:01 type veth peer name nt3 address 02:00:00:00:01:02");
	/* without IPv6: its late address events would cause every route to be looked up again */
	here("echo 1 >/proc/sys/net/ipv6/conf/nt2/disable_ipv6");
	here("ip link set nt3 netns %d && ip addr add 10.10.0.1/24 dev nt2 && ip link set nt2 up",
	     there);
	on_peer("ip addr add 10.10.0.2/24 dev nt3");
	on_peer("ip link set nt3 up");
}

static void route_changes_are_followed(void **state)
{
	struct reported reported = {0};
	unsigned calls;

	needs_root();
	add_second_link();
	watch("198.51.100.7", &reported);
	RUN_UNTIL(reported.calls >= 1);
	assert_string_equal(reported.why, "no route");
	here("ip route add default via 10.9.0.2");
	RUN_UNTIL(!strcmp(reported.dst_mac, MAC_THERE));
	here("ip route add 198.51.100.0/24 via 10.10.0.2");
	RUN_UNTIL(!strcmp(reported.dst_mac, "02:00:00:00:01:02"));
	assert_string_equal(reported.src_mac, "02:00:00:00:01:01");
	here("ip route change 198.51.100.0/24 via 10.10.0.2 mtu 1300");
	RUN_UNTIL(reported.hop.mtu == 1300);
	assert_string_equal(reported.dst_mac, "02:00:00:00:01:02");
	here("ip route del 198.51.100.0/24");
	RUN_UNTIL(!strcmp(reported.dst_mac, MAC_THERE));
	/* does not cover this address */
	calls = reported.calls;
	here("ip route add 198.51.101.0/24 via 10.10.0.2");
	test_loop_run(base, 300);
	assert_int_equal(reported.calls, calls);
}

static void burst_of_route_changes_is_reported_once(void **state)
{
	struct reported reported = {0};

	needs_root();
	add_second_link();
	here("ip route add 198.51.100.0/24 via 10.9.0.2");
	watch("198.51.100.7", &reported);
	RUN_UNTIL(reported.hops >= 1);
	here("ip route change 198.51.100.0/24 via 10.10.0.2; ip route del "
	     "198.51.100.0/24;ip route add 198.51.100.0/24 via 10.10.0.2 mtu 1300");
	RUN_UNTIL(reported.hop.mtu == 1300);
	test_loop_run(base, 300);
	assert_int_equal(reported.calls, 2);
	assert_string_equal(reported.dst_mac, "02:00:00:00:01:02");
	assert_int_equal(reported.hop.mtu, 1300);
}

static void link_that_goes_down_is_reported_and_its_return(void **state)
{
	struct reported reported = {0};

	needs_root();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	here("ip link set nt0 down");
	RUN_UNTIL(!reported.has_hop);
	assert_string_equal(reported.why, "link nt0 is down");
	here("ip link set nt0 up");
	RUN_UNTIL(reported.hops >= 2);
	on_peer("ip link set nt1 down");
	RUN_UNTIL(!reported.has_hop && !strcmp(reported.why, "link nt0 has no carrier"));
	on_peer("ip link set nt1 up");
	RUN_UNTIL(reported.hops >= 3);
	here("ip link del nt0");
	RUN_UNTIL(!reported.has_hop && !strcmp(reported.why, "no route"));
}

static void mac_and_mtu_of_the_own_link_are_followed(void **state)
{
	struct reported reported = {0};
	char source[ADDR_TEXT];

	needs_root();
	watch("10.9.0.2", &reported);
	RUN_UNTIL(reported.hops >= 1);
	here("ip link set nt0 mtu 1450");
	RUN_UNTIL(reported.hop.mtu == 1450);
	here("ip link set nt0 address 02:00:00:00:00:17");
	RUN_UNTIL(reported.has_hop && !strcmp(reported.src_mac, "02:00:00:00:00:17"));
	here("ip addr del 10.9.0.1/24 dev nt0 && ip addr add 10.9.0.8/24 dev nt0");
	RUN_UNTIL(reported.has_hop &&
		  !strcmp(addr_format(&reported.hop.source, source), "10.9.0.8"));
}

struct link_reported {
	char log[512];
};

static void on_link(void *arg, uint32_t ifindex, const char *name, bool present)
{
	struct link_reported *reported = arg;
	size_t used = strlen(reported->log);

	snprintf(reported->log + used, sizeof(reported->log) - used, "%c%s ", present ? '+' : '-',
		 name);
}

static void links_that_come_go_or_are_renamed_are_reported(void **state)
{
	struct link_reported reported = {0};

	needs_root();
	neigh_on_link(neigh, on_link, &reported);
	test_loop_run(base, 100);
	assert_string_equal(reported.log, "");
	here("ip link add name ntb type bridge");
	RUN_UNTIL(!strcmp(reported.log, "+ntb "));
	here("ip link set ntb name ntc");
	RUN_UNTIL(!strcmp(reported.log, "+ntb +ntc "));
	here("ip link set ntc address 02:00:00:00:00:77");
	RUN_UNTIL(!strcmp(reported.log, "+ntb +ntc +ntc "));
	here("ip link set ntc mtu 1400"); /* not reported */
	test_loop_run(base, 100);
	here("ip link del ntc");
	RUN_UNTIL(!strcmp(reported.log, "+ntb +ntc +ntc -ntc "));
}

static void vlan_gives_the_device_below_and_its_id(void **state)
{
	struct reported reported;

	needs_root();
	if (system("ip link add link nt0 name nt0.7 type vlan id 7 2>/dev/null") != 0)
		skip(); /* the kernel has no VLAN devices */
	here("ip addr add 10.7.0.1/24 dev nt0.7 && ip link set nt0.7 up mtu 1480");
	on_peer("ip link add link nt1 name nt1.7 type vlan id 7");
	on_peer("ip addr add 10.7.0.2/24 dev nt1.7");
	on_peer("ip link set nt1.7 up");
	reported = ask("10.7.0.2");
	assert_true(reported.has_hop);
	assert_int_equal(reported.hop.ifindex, if_nametoindex("nt0"));
	assert_int_equal(reported.hop.vlan_tci, 7);
	assert_int_equal(reported.hop.mtu, 1480);
	assert_string_equal(reported.dst_mac, MAC_THERE);
}

/* ---- watches ---- */

static void every_watch_of_an_address_is_called(void **state)
{
	struct reported first = {0}, second = {0}, late = {0};
	struct neigh_watch *a, *b;

	needs_root();
	a = watch("10.9.0.2", &first);
	b = watch("10.9.0.2", &second);
	RUN_UNTIL(first.hops >= 1);
	assert_int_equal(second.hops, 1);
	watch("10.9.0.2", &late); /* what is already known is reported too, from the loop */
	assert_int_equal(late.calls, 0);
	RUN_UNTIL(late.hops >= 1);
	assert_int_equal(first.calls, 1);
	neigh_unwatch(a);
	neigh_unwatch(b);
	here("ip link set nt0 mtu 1400");
	RUN_UNTIL(late.calls >= 2);
	assert_int_equal(first.calls + second.calls, 2);
}

static void watch_may_be_stopped_by_its_own_or_anothers_call(void **state)
{
	struct reported first = {0}, second = {0};
	struct neigh_watch *a, *b;

	needs_root();
	a = watch("10.9.0.2", &first);
	b = watch("10.9.0.2", &second);
	first.unwatch = b;
	second.unwatch = a;
	RUN_UNTIL(first.calls + second.calls >= 1);
	test_loop_run(base, 300);
	assert_int_equal(first.calls + second.calls, 1);
	first.unwatch = watch("10.9.0.2", &first);
	RUN_UNTIL(!first.unwatch);
}

static void watch_stopped_before_its_first_call_is_silent(void **state)
{
	struct reported reported = {0};

	needs_root();
	neigh_unwatch(watch("10.9.0.2", &reported));
	neigh_unwatch(watch("10.9.0.77", &reported));
	test_loop_run(base, 1800);
	assert_int_equal(reported.calls, 0);
	neigh_unwatch(NULL);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void ten_thousand_watches_are_called_and_moved(void **state)
{
	enum { WATCHES = 10000 };
	struct reported all = {0};
	uint64_t start;
	double cpu;

	needs_root();
	add_second_link();
	here("ip route add 172.20.0.0/16 via 10.9.0.2");
	start = clock_monotonic_ms();
	for (unsigned i = 0; i < WATCHES; i++) {
		char address[32];

		snprintf(address, sizeof(address), "172.20.%u.%u", i / 250, i % 250);
		watch(address, &all);
	}
	RUN_UNTIL(all.hops >= WATCHES);
	print_message("# %d watches called after %d ms\n", WATCHES,
		      (int)(clock_monotonic_ms() - start));
	start = clock_monotonic_ms();
	here("ip route change 172.20.0.0/16 via 10.10.0.2");
	RUN_UNTIL(all.hops >= 2 * WATCHES);
	print_message("# and moved to another gateway after %d ms\n",
		      (int)(clock_monotonic_ms() - start));
	assert_string_equal(all.dst_mac, "02:00:00:00:01:02");
	cpu = cpu_seconds();
	test_loop_run(base, 2000);
	print_message("# at rest they cost %.1f %% of a CPU\n", (cpu_seconds() - cpu) * 50);
	assert_int_equal(all.calls, 2 * WATCHES);
}

static void lost_messages_are_made_up_for(void **state)
{
	struct reported reported = {0};
	FILE *batch;

	needs_root();
	add_second_link();
	here("ip route add 198.51.100.0/24 via 10.9.0.2");
	watch("198.51.100.7", &reported);
	RUN_UNTIL(reported.hops >= 1);
	/* more messages than the event socket holds, while they are not read; the change comes
	 * last */
	batch = popen("ip -batch -", "w");
	assert_non_null(batch);
	for (unsigned i = 0; i < 30000; i++)
		fprintf(batch, "route add 172.%u.%u.%u/32 via 10.9.0.2\n", 16 + i / 62500,
			i / 250 % 250, i % 250);
	assert_int_equal(pclose(batch), 0);
	here("ip route change 198.51.100.0/24 via 10.10.0.2");
	RUN_UNTIL(reported.hops >= 2 && !strcmp(reported.dst_mac, "02:00:00:00:01:02"));
}

/* ---- pure functions: for what this kernel may not support ---- */

static enum hop_verdict decide(const struct rtnl_link *link, const struct rtnl_link *lower,
			       enum entry_verdict verdict, struct next_hop *hop, char why[HOP_WHY])
{
	struct entry entry = {
	    .verdict = verdict, .address = {.family = 4, .bytes = {10, 0, 0, 1}}, .mac = {2, 0, 9}};
	struct hop_facts facts = {.route = {.type = RTN_UNICAST, .ifindex = link->ifindex},
				  .link = link,
				  .lower = lower,
				  .entry = &entry};

	return hop_decide(&facts, hop, why);
}

static struct rtnl_link link_named(const char *name, uint32_t ifindex)
{
	struct rtnl_link link = {
	    .ifindex = ifindex, .ethernet = true, .up = true, .carrier = true, .mtu = 1500};

	snprintf(link.name, sizeof(link.name), "%s", name);
	return link;
}

static void vlan_hop_is_the_device_below_with_the_vlans_mac_and_mtu(void **state)
{
	struct rtnl_link lower = link_named("eth0", 2), vlan = link_named("eth0.7", 3);
	struct next_hop hop;
	char why[HOP_WHY];

	vlan.vlan = true;
	vlan.vlan_id = 7;
	vlan.vlan_protocol = ETH_P_8021Q;
	vlan.lower = 2;
	vlan.mtu = 1480;
	vlan.mac[5] = 9;
	assert_int_equal(decide(&vlan, &lower, ENTRY_ALIVE, &hop, why), HOP_READY);
	assert_int_equal(hop.ifindex, 2);
	assert_int_equal(hop.vlan_tci, 7);
	assert_int_equal(hop.mtu, 1480);
	assert_int_equal(hop.src_mac[5], 9);
}

static void vlans_that_cannot_be_forwarded_to_are_reported(void **state)
{
	struct rtnl_link lower = link_named("eth0", 2), vlan = link_named("eth0.7", 3);
	struct next_hop hop;
	char why[HOP_WHY];

	vlan.vlan = true;
	vlan.vlan_protocol = ETH_P_8021AD;
	assert_int_equal(decide(&vlan, &lower, ENTRY_ALIVE, &hop, why), HOP_NONE);
	assert_string_equal(why, "link eth0.7 is an 802.1ad VLAN: only 802.1Q is supported");
	vlan.vlan_protocol = ETH_P_8021Q;
	lower.vlan = true;
	assert_int_equal(decide(&vlan, &lower, ENTRY_ALIVE, &hop, why), HOP_NONE);
	assert_string_equal(why, "link eth0.7 is a VLAN inside VLAN eth0: not supported");
	assert_int_equal(decide(&vlan, NULL, ENTRY_ALIVE, &hop, why), HOP_NONE);
	assert_string_equal(
	    why, "link eth0.7 is a VLAN of a device in another network namespace: not supported");
}

static void link_without_ethernet_is_reported(void **state)
{
	struct rtnl_link link = link_named("wg0", 2);
	struct next_hop hop;
	char why[HOP_WHY];

	link.ethernet = false;
	assert_int_equal(decide(&link, NULL, ENTRY_ALIVE, &hop, why), HOP_NONE);
	assert_string_equal(why,
			    "link wg0 is not Ethernet: forwarding through it is not supported");
}

static void waiting_neighbour_decides_nothing(void **state)
{
	struct rtnl_link link = link_named("eth0", 2);
	struct next_hop hop;
	char why[HOP_WHY];

	assert_int_equal(decide(&link, NULL, ENTRY_WAITING, &hop, why), HOP_WAIT);
	assert_int_equal(decide(&link, NULL, ENTRY_DEAD, &hop, why), HOP_NONE);
	assert_string_equal(why, "no answer to ARP on eth0 (10.0.0.1)");
}

static void full_neighbour_table_names_the_setting(void **state)
{
	struct entry entry = {.verdict = ENTRY_DEAD, .error = -ENOBUFS, .address = {.family = 6}};
	struct rtnl_link link = link_named("eth0", 2);
	struct hop_facts facts = {
	    .route = {.type = RTN_UNICAST, .ifindex = 2}, .link = &link, .entry = &entry};
	struct next_hop hop;
	char why[HOP_WHY];

	assert_int_equal(hop_decide(&facts, &hop, why), HOP_NONE);
	assert_string_equal(
	    why, "the kernel's neighbour table is full (raise net.ipv6.neigh.default.gc_thresh3)");
}

/* ---- the MAC addresses of an interface and of the devices on it ---- */

enum { ETH = 2, VLAN, MACVLAN, BOND, BRIDGE, OTHER };

static void ignore_change(void *arg, enum link_change change, const struct rtnl_link *link)
{
}

/* The last byte of the MAC address is the ifindex. */
static void put_link(struct link_table *table, uint32_t ifindex, struct rtnl_link link)
{
	link.ifindex = ifindex;
	link.ethernet = true;
	link.mac[5] = (uint8_t)ifindex;
	assert_int_equal(link_put(table, &link), 0);
}

static void note_mac(void *arg, const uint8_t mac[6])
{
	char *digits = arg;

	snprintf(digits + strlen(digits), 4, "%u", mac[5]);
}

static void note_port(void *arg, uint32_t ifindex)
{
	note_mac(arg, (const uint8_t[6]){0, 0, 0, 0, 0, (uint8_t)ifindex});
}

static void expect_macs(const struct link_table *table, uint32_t ifindex, const char *expected)
{
	char digits[256] = "";

	link_macs(table, ifindex, note_mac, digits);
	assert_string_equal(digits, expected);
}

static void macs_are_those_of_the_devices_above(void **state)
{
	struct link_table *table = link_table_new(ignore_change, NULL);
	char ports[64] = "";

	assert_non_null(table);
	put_link(table, ETH, (struct rtnl_link){0});
	put_link(table, OTHER, (struct rtnl_link){.lower = ETH}); /* a veth's other end */
	expect_macs(table, ETH, "2");
	put_link(table, VLAN, (struct rtnl_link){.vlan = true, .lower = ETH});
	expect_macs(table, ETH, "23");
	put_link(table, MACVLAN, (struct rtnl_link){.macvlan = true, .lower = VLAN});
	expect_macs(table, ETH, "234");
	expect_macs(table, VLAN, "34");
	put_link(table, VLAN,
		 (struct rtnl_link){.vlan = true, .vlan_elsewhere = true, .lower = ETH});
	expect_macs(table, ETH, "2"); /* its lower device is in another namespace */
	put_link(table, BOND, (struct rtnl_link){.master = BRIDGE});
	put_link(table, BRIDGE, (struct rtnl_link){0});
	put_link(table, ETH, (struct rtnl_link){.master = BOND});
	put_link(table, VLAN, (struct rtnl_link){.vlan = true, .lower = BRIDGE});
	expect_macs(table, ETH, "25634");
	link_ports(table, BOND, note_port, ports);
	assert_string_equal(ports, "2");
	link_delete(table, BOND);
	expect_macs(table, ETH, "2");
	link_table_free(table);
}

struct mac_count {
	unsigned count, peers;
};

static void count_mac(void *arg, uint32_t ifindex, const uint8_t mac[6])
{
	struct mac_count *counted = arg;

	assert_int_equal(ifindex, if_nametoindex("nt0"));
	counted->count++;
	counted->peers += mac[5] == 2;
}

static void macs_of_the_kernels_devices_are_found(void **state)
{
	struct mac_count counted = {0};

	needs_root();
	neigh_macs(neigh, if_nametoindex("nt0"), true, count_mac, &counted);
	assert_int_equal(counted.count, 1);
	if (system("ip link add link nt0 name ntm address 02:00:00:00:00:31 type macvlan") != 0)
		skip(); /* the kernel has no macvlan devices */
	for (unsigned i = 0; i < 100 && counted.count != 2; i++) {
		test_loop_run(base, 50);
		counted = (struct mac_count){0};
		neigh_macs(neigh, if_nametoindex("nt0"), true, count_mac, &counted);
	}
	assert_int_equal(counted.count, 2);
	assert_int_equal(counted.peers, 0);
	here("ip link del ntm");
}

struct macs_seen {
	char text[128];
};

static void see_mac(void *arg, uint32_t ifindex, const uint8_t mac[6])
{
	struct macs_seen *seen = arg;
	size_t used = strlen(seen->text);
	char name[IF_NAMESIZE] = "?";

	if_indextoname(ifindex, name);
	snprintf(seen->text + used, sizeof(seen->text) - used, "%s:%x ", name, mac[5]);
}

/* A bridge stands for a bond, which needs a module. */
static void ports_have_macs_by_the_mode_of_the_program(void **state)
{
	struct macs_seen native = {""}, generic = {""};

	needs_root();
	here("ip link add name ntb address 02:00:00:00:00:41 type bridge");
	here("ip link add name ntp address 02:00:00:00:00:42 type veth peer name ntq");
	here("ip link set ntp master ntb");
	for (unsigned i = 0; i < 100 && strcmp(native.text, "ntb:41 ntp:42 ntp:41 "); i++) {
		test_loop_run(base, 50);
		native.text[0] = 0;
		neigh_macs(neigh, if_nametoindex("ntb"), true, see_mac, &native);
	}
	assert_string_equal(native.text, "ntb:41 ntp:42 ntp:41 ");
	neigh_macs(neigh, if_nametoindex("ntb"), false, see_mac, &generic);
	assert_string_equal(generic.text, "ntb:41 ntb:42 ");
	here("ip link del ntp && ip link del ntb");
}

static void a_new_master_is_reported(void **state)
{
	struct link_reported reported = {0};

	needs_root();
	here("ip link add name ntb type bridge");
	here("ip link add name ntp type dummy 2>/dev/null || "
	     "ip link add name ntp type veth peer name ntq");
	test_loop_run(base, 100);
	neigh_on_link(neigh, on_link, &reported);
	here("ip link set ntp master ntb");
	RUN_UNTIL(strstr(reported.log, "+ntp "));
	here("ip link del ntp && ip link del ntb");
}

static void vlan_link_message_is_read(void **state)
{
	char buffer[512];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *header;
	struct nlattr *info, *data;
	struct rtnl_link link;

	message->nlmsg_type = RTM_NEWLINK;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ifi_index = 3;
	header->ifi_type = ARPHRD_ETHER;
	header->ifi_flags = IFF_UP | 0x10000; /* IFF_LOWER_UP */
	mnl_attr_put_strz(message, IFLA_IFNAME, "eth0.7");
	mnl_attr_put(message, IFLA_ADDRESS, 6, "\2\0\0\0\0\7");
	mnl_attr_put_u32(message, IFLA_MTU, 1480);
	mnl_attr_put_u32(message, IFLA_LINK, 2);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "vlan");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	mnl_attr_put_u16(message, IFLA_VLAN_ID, 7);
	mnl_attr_put_u16(message, IFLA_VLAN_PROTOCOL, htons(ETH_P_8021Q));
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	assert_true(rtnl_read_link(message, &link));
	assert_string_equal(link.name, "eth0.7");
	assert_true(link.ethernet && link.up && link.carrier && link.vlan && !link.vlan_elsewhere);
	assert_int_equal(link.lower, 2);
	assert_int_equal(link.vlan_id, 7);
	assert_int_equal(link.vlan_protocol, ETH_P_8021Q);
	assert_int_equal(link.mac[5], 7);
	/* a bridge's message about its port is not a link message */
	header->ifi_family = AF_BRIDGE;
	assert_false(rtnl_read_link(message, &link));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(neighbour_on_the_link_is_resolved),
	    TEST(ipv6_neighbour_is_resolved),
	    TEST(route_gives_gateway_mtu_and_source),
	    TEST(ipv4_through_an_ipv6_gateway_is_resolved),
	    TEST(one_hop_of_a_multipath_route_is_taken),
	    TEST(silent_neighbour_is_reported),
	    TEST(route_that_is_not_unicast_is_reported),
	    TEST(route_that_encapsulates_is_reported),
	    TEST(tun_device_is_not_supported),
	    TEST(moved_mac_is_noticed_without_a_gap),
	    TEST(dead_neighbour_is_noticed_and_its_return),
	    TEST(neighbour_that_the_kernel_cannot_ask_for_stays_as_it_was),
	    TEST(flushed_neighbour_table_is_no_change),
	    TEST(verified_neighbour_is_reported_once_and_a_permanent_one_stays_permanent),
	    TEST(neighbours_of_other_programs_stay_theirs),
	    TEST(route_changes_are_followed),
	    TEST(burst_of_route_changes_is_reported_once),
	    TEST(link_that_goes_down_is_reported_and_its_return),
	    TEST(mac_and_mtu_of_the_own_link_are_followed),
	    TEST(links_that_come_go_or_are_renamed_are_reported),
	    TEST(vlan_gives_the_device_below_and_its_id),
	    TEST(every_watch_of_an_address_is_called),
	    TEST(watch_may_be_stopped_by_its_own_or_anothers_call),
	    TEST(watch_stopped_before_its_first_call_is_silent),
	    TEST(ten_thousand_watches_are_called_and_moved),
	    TEST(lost_messages_are_made_up_for),
	    cmocka_unit_test(vlan_hop_is_the_device_below_with_the_vlans_mac_and_mtu),
	    cmocka_unit_test(vlans_that_cannot_be_forwarded_to_are_reported),
	    cmocka_unit_test(link_without_ethernet_is_reported),
	    cmocka_unit_test(waiting_neighbour_decides_nothing),
	    cmocka_unit_test(full_neighbour_table_names_the_setting),
	    cmocka_unit_test(vlan_link_message_is_read),
	    cmocka_unit_test(macs_are_those_of_the_devices_above),
	    TEST(macs_of_the_kernels_devices_are_found),
	    TEST(ports_have_macs_by_the_mode_of_the_program),
	    TEST(a_new_master_is_reported),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
