/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/detour.h and bpf/detour.bpf.c: marked packets to a VIP leave in the tunnel of
 * their way, byte for byte as the backend expects them; others are left alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lbd/attach/detour.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_netns.h"

#define HANG_SECONDS 60 /* a wait that long means that the test hangs */
#define VIP4         "192.0.2.10"
#define VIP6         "2001:db8:5::10"
#define GUE_PORT     6080
#define PAYLOAD      "probe"

static struct detours *detours;
static int tap = -1; /* sees what leaves */

static void open_tap(void)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex("v1")};
	struct timeval wait = {.tv_sec = HANG_SECONDS};
	int one = 1;

	tap = socket(AF_PACKET, SOCK_RAW, 0);
	assert_int_equal(setsockopt(tap, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	setsockopt(tap, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(bind(tap, (struct sockaddr *)&at, sizeof(at)), 0);
}

static int begin(void **state)
{
	if (!netns_entered())
		return 0;
	here("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	here("ethtool -K v0 tx off >/dev/null 2>&1");
	here("ip addr add 10.9.0.1/24 dev v0 && ip addr add 2001:db8:9::1/64 dev v0 nodad");
	here("ip route add default via 10.9.0.2 && ip -6 route add default via 2001:db8:9::2");
	here("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
	here("ip neigh replace 2001:db8:9::2 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
	detours = detours_new();
	open_tap();
	return !detours;
}

static int end(void **state)
{
	detours_free(detours);
	detours = NULL;
	if (tap >= 0)
		close(tap);
	tap = -1;
	if (netns_entered())
		here("ip link del v0");
	return 0;
}

static struct detour_spec spec_of(enum lb_forward forward, const char *vip, const char *backend)
{
	struct detour_spec spec = {
	    .hop = {.ifindex = if_nametoindex("v0"),
		    .src_mac = {2, 0, 0, 0, 0, 1},
		    .dst_mac = {2, 0, 0, 0, 0, 0x11}},
	    .forward = forward,
	    .vip = test_addr(vip),
	    .backend = test_addr(backend),
	    .gue_port = GUE_PORT,
	};

	spec.source = test_addr(spec.backend.family == 4 ? "172.16.0.1" : "100::1");
	return spec;
}

/* A datagram to port 9 of the VIP. */
static void send_marked(const char *vip, uint32_t mark)
{
	const struct addr to = test_addr(vip);
	struct sockaddr_storage at;
	socklen_t length = addr_to_sockaddr(&to, 9, &at);
	int fd = socket(to.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	assert_int_equal(sendto(fd, PAYLOAD, sizeof(PAYLOAD), 0, (struct sockaddr *)&at, length),
			 sizeof(PAYLOAD));
	close(fd);
}

/* ---- what arrives ---- */

struct frame {
	uint8_t bytes[256];
	unsigned length;
	unsigned vlan;
};

static void read_vlan(struct msghdr *message, struct frame *ret)
{
	struct tpacket_auxdata data;

	for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one))
		if (one->cmsg_level == SOL_PACKET && one->cmsg_type == PACKET_AUXDATA) {
			memcpy(&data, CMSG_DATA(one), sizeof(data));
			ret->vlan = data.tp_status & TP_STATUS_VLAN_VALID ? data.tp_vlan_tci : 0;
		}
}

static void receive_any(struct frame *ret)
{
	struct iovec into = {ret->bytes, sizeof(ret->bytes)};
	char control[256];
	struct msghdr message = {.msg_iov = &into,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(tap, &message, 0);

	assert_true(length >= 0);
	ret->length = (unsigned)length;
	read_vlan(&message, ret);
}

/* The next frame with the payload; others are the kernel's own. */
static struct frame receive(void)
{
	struct frame frame;

	do {
		memset(&frame, 0, sizeof(frame));
		receive_any(&frame);
	} while (frame.length < sizeof(PAYLOAD) ||
		 memcmp(frame.bytes + frame.length - sizeof(PAYLOAD), PAYLOAD, sizeof(PAYLOAD)));
	return frame;
}

static unsigned word_at(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

static uint32_t sum(const uint8_t *bytes, unsigned length, uint32_t before)
{
	for (unsigned i = 0; i < length; i++)
		before += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (before >> 16)
		before = (before & 0xffff) + (before >> 16);
	return before;
}

/* An IP header with right length and checksum; returns what follows. */
static const uint8_t *check_ip(const uint8_t *ip, unsigned length, unsigned protocol,
			       const char *source, const char *destination)
{
	unsigned family = ip[0] >> 4, size = family == 4 ? 4 : 16;
	const uint8_t *addresses = ip + (family == 4 ? 12 : 8);
	struct addr to = test_addr(destination);

	assert_int_equal(family, to.family);
	assert_memory_equal(addresses + size, to.bytes, size);
	if (source) {
		struct addr from = test_addr(source);

		assert_memory_equal(addresses, from.bytes, size);
	}
	if (family == 4) {
		assert_int_equal(ip[0], 0x45);
		assert_int_equal(word_at(ip + 2), length);
		assert_int_equal(sum(ip, 20, 0), 0xffff);
		assert_int_equal(ip[9], protocol);
		return ip + 20;
	}
	assert_int_equal(word_at(ip + 4), length - 40);
	assert_int_equal(ip[6], protocol);
	return ip + 40;
}

/* The datagram as it was sent, with a whole checksum. */
static void check_inner(const uint8_t *ip, unsigned length, const char *vip)
{
	const uint8_t *udp = check_ip(ip, length, IPPROTO_UDP, NULL, vip);
	unsigned size = test_addr(vip).family == 4 ? 4 : 16, rest = length - (unsigned)(udp - ip);

	assert_int_equal(word_at(udp + 2), 9);
	assert_int_equal(sum(udp, rest, sum(udp - 2 * size, 2 * size, 0) + IPPROTO_UDP + rest),
			 0xffff);
}

static const uint8_t *check_between(const uint8_t *at, const uint8_t *end_of,
				    enum lb_forward forward, unsigned inner)
{
	if (forward == LB_FORWARD_GRE) {
		assert_int_equal(word_at(at), 0);
		assert_int_equal(word_at(at + 2), inner == 4 ? ETH_P_IP : ETH_P_IPV6);
		return at + 4;
	}
	if (forward != LB_FORWARD_GUE)
		return at;
	assert_int_equal(word_at(at + 2), GUE_PORT);
	assert_int_equal(word_at(at + 4), end_of - at);
	assert_int_equal(word_at(at + 6), 0);
	assert_int_equal(at[8], 0);
	assert_int_equal(at[9], inner == 4 ? IPPROTO_IPIP : IPPROTO_IPV6);
	return at + 12;
}

static void check_tunnelled(const struct frame *frame, enum lb_forward forward, const char *vip,
			    const char *backend)
{
	unsigned inner = test_addr(vip).family, outer = test_addr(backend).family;
	const uint8_t *end_of = frame->bytes + frame->length, *at;
	unsigned protocol = forward == LB_FORWARD_GUE   ? IPPROTO_UDP
			    : forward == LB_FORWARD_GRE ? IPPROTO_GRE
			    : inner == 4                ? IPPROTO_IPIP
							: IPPROTO_IPV6;

	assert_memory_equal(frame->bytes, "\2\0\0\0\0\x11\2\0\0\0\0\1", 12);
	assert_int_equal(word_at(frame->bytes + 12), outer == 4 ? ETH_P_IP : ETH_P_IPV6);
	at = check_ip(frame->bytes + ETH_HLEN, frame->length - ETH_HLEN, protocol,
		      outer == 4 ? "172.16.0.1" : "100::1", backend);
	at = check_between(at, end_of, forward, inner);
	check_inner(at, (unsigned)(end_of - at), vip);
}

/* ---- the tests ---- */

static uint32_t add_way(const struct detour_spec *spec)
{
	char why[DETOUR_WHY] = "";
	uint32_t number;

	assert_int_equal(detour_add(detours, &number), 0);
	detour_set(detours, number, spec);
	if (detour_prepare(detours, &spec->vip, why))
		fail_msg("%s", why);
	return number;
}

static void marked_packets_leave_in_every_tunnel_of_both_families(void **state)
{
	static const enum lb_forward forwards[] = {LB_FORWARD_IPIP, LB_FORWARD_GRE, LB_FORWARD_GUE};
	static const char *const vips[] = {VIP4, VIP6}, *const backends[] = {"10.9.0.11",
									     "2001:db8:9::11"};

	needs_root();
	for (unsigned i = 0; i < 12; i++) {
		enum lb_forward forward = forwards[i / 4];
		const char *vip = vips[i % 2], *backend = backends[i / 2 % 2];
		struct detour_spec spec = spec_of(forward, vip, backend);
		uint32_t number = add_way(&spec);
		struct frame frame;

		send_marked(vip, detour_mark(number));
		frame = receive();
		check_tunnelled(&frame, forward, vip, backend);
		assert_int_equal(frame.vlan, 0);
		assert_int_equal(detour_packets(detours, number), 1);
	}
}

static void with_l2_only_the_mac_addresses_change(void **state)
{
	struct detour_spec spec;
	struct frame frame;

	needs_root();
	spec = spec_of(LB_FORWARD_L2, VIP4, "10.9.0.11");
	send_marked(VIP4, detour_mark(add_way(&spec)));
	frame = receive();
	assert_memory_equal(frame.bytes, "\2\0\0\0\0\x11\2\0\0\0\0\1\x08\x00", 14);
	check_inner(frame.bytes + ETH_HLEN, frame.length - ETH_HLEN, VIP4);
}

static void the_vlan_of_the_next_hop_is_added(void **state)
{
	struct detour_spec spec;
	struct frame frame;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	spec.hop.vlan_tci = 7;
	send_marked(VIP4, detour_mark(add_way(&spec)));
	frame = receive();
	assert_int_equal(frame.vlan, 7);
	check_tunnelled(&frame, LB_FORWARD_IPIP, VIP4, "10.9.0.11");
}

static void a_way_follows_its_next_hop(void **state)
{
	struct detour_spec spec;
	struct frame frame;
	uint32_t number;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	number = add_way(&spec);
	spec.hop.dst_mac[5] = 0x77;
	detour_set(detours, number, &spec);
	send_marked(VIP4, detour_mark(number));
	frame = receive();
	assert_int_equal(frame.bytes[5], 0x77);
}

static void other_packets_are_left_alone(void **state)
{
	struct detour_spec spec;
	struct frame frame;
	uint32_t number;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	number = add_way(&spec);
	for (unsigned i = 0; i < 2; i++) {
		send_marked(VIP4, i ? 0x77 : 0);
		frame = receive();
		assert_memory_equal(frame.bytes, "\2\0\0\0\0\2", 6);
		check_inner(frame.bytes + ETH_HLEN, frame.length - ETH_HLEN, VIP4);
	}
	assert_int_equal(detour_packets(detours, number), 0);
}

/* It would reach the VIP as a client's packet does, and any backend could answer. */
static void a_packet_whose_way_is_gone_is_dropped(void **state)
{
	struct detour_spec spec;
	struct frame frame;
	uint32_t number;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	number = add_way(&spec);
	detour_remove(detours, number);
	send_marked(VIP4, detour_mark(number));
	send_marked(VIP6, 0);
	frame = receive(); /* the first that came */
	check_inner(frame.bytes + ETH_HLEN, frame.length - ETH_HLEN, VIP6);
}

static void a_removed_program_is_put_in_place_again(void **state)
{
	struct detour_spec spec;
	char why[DETOUR_WHY];
	struct frame frame;
	uint32_t number;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	number = add_way(&spec);
	here("tc qdisc del dev v0 clsact");
	send_marked(VIP4, detour_mark(number));
	receive();
	assert_int_equal(detour_packets(detours, number), 0);
	detour_missed(detours);
	assert_int_equal(detour_prepare(detours, &spec.vip, why), 0);
	send_marked(VIP4, detour_mark(number));
	frame = receive();
	check_tunnelled(&frame, LB_FORWARD_IPIP, VIP4, "10.9.0.11");
}

static void the_program_is_removed_at_the_end(void **state)
{
	struct detour_spec spec;

	needs_root();
	spec = spec_of(LB_FORWARD_IPIP, VIP4, "10.9.0.11");
	add_way(&spec);
	here("tc filter show dev v0 egress | grep -q detour");
	detours_free(detours);
	detours = NULL;
	here("! tc filter show dev v0 egress | grep -q detour");
}

static void a_vip_without_a_usable_route_is_named(void **state)
{
	struct addr vip = test_addr(VIP4);
	char why[DETOUR_WHY];
	uint32_t number;

	needs_root();
	assert_int_equal(detour_add(detours, &number), 0);
	here("ip route del default");
	assert_int_not_equal(detour_prepare(detours, &vip, why), 0);
	assert_string_equal(why, "check not sent: the kernel has no route to the VIP " VIP4
				 ": a check that goes there needs one, such as a default route");
	here("ip addr add " VIP4 "/32 dev lo");
	assert_int_not_equal(detour_prepare(detours, &vip, why), 0); /* what was found holds */
	assert_string_equal(why, "check not sent: the kernel has no route to the VIP " VIP4
				 ": a check that goes there needs one, such as a default route");
	detour_missed(detours);
	assert_int_not_equal(detour_prepare(detours, &vip, why), 0);
	assert_string_equal(why, "check not sent: the kernel's route to the VIP " VIP4
				 " leads to this host, which has its address: a check that goes "
				 "there needs an Ethernet device");
	here("ip addr del " VIP4 "/32 dev lo");
}

/* Another lbd beside this one; both have a mark. */
static struct detours *begin_other(void)
{
	struct detours *other;
	uint32_t number;

	needs_root();
	other = detours_new();
	assert_non_null(other);
	assert_int_equal(detour_add(detours, &number), 0);
	assert_int_equal(detour_add(other, &number), 0);
	return other;
}

/* Each would send the other's checks to backends of its own. */
static void a_device_has_the_program_of_one_lbd(void **state)
{
	struct addr vip = test_addr(VIP4);
	struct detours *other;
	char why[DETOUR_WHY];

	other = begin_other();
	assert_int_equal(detour_prepare(detours, &vip, why), 0);
	assert_int_equal(detour_prepare(other, &vip, why), -EBUSY);
	assert_string_equal(why, "check not sent: v0: another lbd sends its checks to VIPs through "
				 "it");
	here("tc filter show dev v0 egress | grep -q detour");
	detours_free(detours);
	detours = NULL;
	detour_missed(other);
	assert_int_equal(detour_prepare(other, &vip, why), 0);
	detours_free(other);
}

/* A socket at which too many wait tells nobody who has it. */
static void an_lbd_that_was_asked_often_still_has_its_device(void **state)
{
	struct addr vip = test_addr(VIP4);
	char why[DETOUR_WHY];
	uint32_t number;

	needs_root();
	assert_int_equal(detour_add(detours, &number), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct detours *other = detours_new();

		assert_non_null(other);
		assert_int_equal(detour_add(other, &number), 0);
		detour_missed(detours); /* it looks at the VIP again */
		assert_int_equal(detour_prepare(detours, &vip, why), 0);
		assert_int_equal(detour_prepare(other, &vip, why), -EBUSY);
		detours_free(other);
	}
	here("tc filter show dev v0 egress | grep -q detour");
}

/* Or anybody on this host could keep checks from the VIP. */
static void a_name_that_another_user_has_taken_is_no_lbd(void **state)
{
	struct addr vip = test_addr(VIP4);
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char why[DETOUR_WHY], ready;
	uint32_t number;
	int ends[2], length;
	pid_t child;

	needs_root();
	assert_int_equal(pipe(ends), 0);
	length = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "lbd-detour-%u",
			  if_nametoindex("v0"));
	child = fork();
	if (!child) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		_exit(setuid(65534) ||
		      bind(fd, (struct sockaddr *)&name,
			   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) ||
		      listen(fd, 1) || write(ends[1], "", 1) != 1 || pause());
	}
	assert_int_equal(read(ends[0], &ready, 1), 1);
	assert_int_equal(detour_add(detours, &number), 0);
	assert_int_equal(detour_prepare(detours, &vip, why), 0);
	here("tc filter show dev v0 egress | grep -q detour");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

/* The number of one that is gone is taken again, and all of them can be had. */
/* Each has another index: a tunnel of a VPN, or a VLAN, that comes and goes. */
static void devices_that_are_made_anew_leave_room_for_others(void **state)
{
	struct addr vip = test_addr(VIP4);
	unsigned descriptors = 0;
	uint32_t number;

	needs_root();
	assert_int_equal(detour_add(detours, &number), 0);
	for (unsigned i = 0; i < 70; i++) {
		char why[DETOUR_WHY];

		here(
		    "ip link add w0 type veth peer name w1 && ip link set w0 up && ip route add " VIP4
		    " dev w0");
		detour_missed(detours);
		if (detour_prepare(detours, &vip, why))
			fail_msg("device %u: %s", i + 1, why);
		if (i)
			assert_int_equal(test_file_descriptors(), descriptors);
		descriptors = test_file_descriptors();
		here("ip link del w0");
	}
}

static void a_device_that_is_there_keeps_its_place(void **state)
{
	struct addr vip = test_addr(VIP4);
	struct detours *other;
	char why[DETOUR_WHY];

	other = begin_other();
	assert_int_equal(detour_prepare(detours, &vip, why), 0); /* v0 */
	here("ip link add w0 type veth peer name w1 && ip link set w0 up && ip route add " VIP4
	     " dev w0");
	detour_missed(detours);
	assert_int_equal(detour_prepare(detours, &vip, why), 0); /* w0: v0 is still its own */
	here("ip link del w0");
	assert_int_equal(detour_prepare(other, &vip, why), -EBUSY);
	detours_free(other);
}

static void numbers_of_ways_are_used_again(void **state)
{
	uint32_t number, first;

	needs_root();
	assert_int_equal(detour_add(detours, &first), 0);
	for (unsigned i = 1; i < LB_DETOUR_WAYS; i++)
		assert_int_equal(detour_add(detours, &number), 0);
	assert_int_equal(detour_add(detours, &number), -ENOSPC);
	detour_remove(detours, first + 7);
	detour_remove(detours, first + 3);
	assert_int_equal(detour_add(detours, &number), 0);
	assert_int_equal(number, first + 3);
	assert_int_equal(detour_add(detours, &number), 0);
	assert_int_equal(number, first + 7);
	assert_int_equal(detour_add(detours, &number), -ENOSPC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(marked_packets_leave_in_every_tunnel_of_both_families),
	    TEST(with_l2_only_the_mac_addresses_change),
	    TEST(the_vlan_of_the_next_hop_is_added),
	    TEST(a_way_follows_its_next_hop),
	    TEST(other_packets_are_left_alone),
	    TEST(a_packet_whose_way_is_gone_is_dropped),
	    TEST(a_removed_program_is_put_in_place_again),
	    TEST(the_program_is_removed_at_the_end),
	    TEST(a_vip_without_a_usable_route_is_named),
	    TEST(a_device_has_the_program_of_one_lbd),
	    TEST(an_lbd_that_was_asked_often_still_has_its_device),
	    TEST(a_name_that_another_user_has_taken_is_no_lbd),
	    TEST(devices_that_are_made_anew_leave_room_for_others),
	    TEST(a_device_that_is_there_keeps_its_place),
	    TEST(numbers_of_ways_are_used_again),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
