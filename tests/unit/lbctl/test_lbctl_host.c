/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests lbctl backend-host in network namespaces of its own: what setup changes, that undo
 * restores exactly that, and what is refused. Needs root. */
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "lbctl/backend_host/net.h"
#include "lbctl_run.h"

static struct lbctl_run run;

/* A new network namespace with a pair of links, one of them the backend's, and a private /run for
 * the records. */
static int enter_namespace(void **state)
{
	if (geteuid() != 0)
		return 0;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/run", "tmpfs", 0, NULL))
		return -1;
	/* Set lo up once: the kernel adds 127.0.0.1 then and keeps it. */
	return system("ip link add test0 mtu 1500 type veth peer name test1 && ip addr add "
		      "10.9.0.1/24 dev test0 && ip link set test0 up && ip link set test1 up && ip "
		      "link set lo up && ip link set lo down");
}

#define REQUIRE_ROOT()              \
	do {                        \
		if (geteuid() != 0) \
			skip();     \
	} while (0)

static const char *const watched[] = {
    "net/ipv4/conf/test0/arp_ignore",   "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/test0/arp_announce", "net/ipv4/conf/all/arp_announce",
    "net/ipv4/conf/test0/rp_filter",    "net/ipv4/conf/all/rp_filter",
    "net/ipv6/conf/lo/disable_ipv6",    "net/ipv6/conf/test0/disable_ipv6"};

/* All that setup may touch, as text. */
static void snapshot(char *text, size_t size)
{
	struct ifaddrs *all;
	size_t used = 0;

	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++) {
		char value[SYSCTL_TEXT] = "-";

		sysctl_read(watched[i], value, NULL);
		used += (size_t)snprintf(text + used, size - used, "%s=%s\n", watched[i], value);
	}
	assert_int_equal(getifaddrs(&all), 0);
	for (struct ifaddrs *at = all; at; at = at->ifa_next)
		if (at->ifa_addr && at->ifa_addr->sa_family == AF_INET)
			used += (size_t)snprintf(text + used, size - used,
						 "%s has an IPv4 address\n", at->ifa_name);
	freeifaddrs(all);
	snprintf(text + used, size - used, "lo %s\n", link_is_up("lo") ? "up" : "down");
}

static void write_sysctl(const char *path, const char *value)
{
	assert_int_equal(sysctl_write(path, value, NULL), 0);
}

static void interface_of(const char *text, char where[IF_NAMESIZE])
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	assert_int_equal(address_find(&addr, where, NULL), 0);
}

static void setup_prints_each_change_and_undo_restores_exactly_that(void **state)
{
	char before[2048], after[2048], where[IF_NAMESIZE];

	REQUIRE_ROOT();
	write_sysctl("net/ipv4/conf/test0/rp_filter", "1");
	snapshot(before, sizeof(before));
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10", "--vip",
		  "2001:db8::10");
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "net.ipv4.conf.test0.arp_ignore: 0 -> 1\n"));
	assert_non_null(strstr(run.out, "net.ipv4.conf.test0.arp_announce: 0 -> 2\n"));
	assert_non_null(strstr(run.out, "net.ipv4.conf.test0.rp_filter: 1 -> 2\n"));
	assert_non_null(strstr(run.out, "lo: 192.0.2.10/32 added\n"));
	assert_non_null(strstr(run.out, "decapsulator attached"));
	interface_of("192.0.2.10", where);
	assert_string_equal(where, "lo");
	interface_of("2001:db8::10", where);
	assert_string_equal(where, "lo");
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
	snapshot(after, sizeof(after));
	assert_string_equal(after, before);
	interface_of("2001:db8::10", where);
	assert_string_equal(where, "");
}

static void setup_twice_changes_nothing_the_second_time(void **state)
{
	REQUIRE_ROOT();
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 0);
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "test0: nothing to change"));
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(run.exit_code, 0);
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "test0: nothing to undo"));
}

static void status_shows_the_decapsulator_its_vips_and_counters(void **state)
{
	json_t *status;

	REQUIRE_ROOT();
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "192.0.2.10: on lo, unwrapped\n"));
	lbctl_run(&run, "backend-host", "status", "--iface", "test0", "--json");
	status = json_loads(run.out, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(status, "program")), "decapsulator");
	assert_true(json_object_size(json_object_get(status, "counters")) > 0);
	json_decref(status);
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(strstr(run.out, "not attached to test0"));
}

static void undo_of_one_vip_keeps_the_others(void **state)
{
	char where[IF_NAMESIZE];

	REQUIRE_ROOT();
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10", "--vip",
		  "192.0.2.11");
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0", "--vip", "192.0.2.11");
	assert_int_equal(run.exit_code, 0);
	interface_of("192.0.2.11", where);
	assert_string_equal(where, "");
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(strstr(run.out, "192.0.2.10: on lo, unwrapped\n"));
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
}

static void undo_leaves_alone_what_was_changed_since(void **state)
{
	char value[SYSCTL_TEXT];

	REQUIRE_ROOT();
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	write_sysctl("net/ipv4/conf/test0/arp_ignore", "8");
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "net.ipv4.conf.test0.arp_ignore: left at 8"));
	assert_int_equal(sysctl_read("net/ipv4/conf/test0/arp_ignore", value, NULL), 0);
	assert_string_equal(value, "8");
	write_sysctl("net/ipv4/conf/test0/arp_ignore", "0");
}

static void stricter_settings_than_needed_are_kept(void **state)
{
	REQUIRE_ROOT();
	write_sysctl("net/ipv4/conf/all/arp_ignore", "2");
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 0);
	assert_null(strstr(run.out, "net.ipv4.conf.all.arp_ignore"));
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	write_sysctl("net/ipv4/conf/all/arp_ignore", "0");
}

static void a_setup_that_fails_undoes_its_changes(void **state)
{
	char before[2048], after[2048];

	REQUIRE_ROOT();
	snapshot(before, sizeof(before));
	/* A setting that reads as empty and cannot be written stands in for whatever may go
	 * wrong. */
	assert_int_equal(
	    mount("/dev/full", "/proc/sys/net/ipv4/conf/all/arp_announce", NULL, MS_BIND, NULL), 0);
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	umount2("/proc/sys/net/ipv4/conf/all/arp_announce", MNT_DETACH);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "net.ipv4.conf.all.arp_announce: cannot set it"));
	assert_non_null(strstr(run.out, "undoing its changes"));
	snapshot(after, sizeof(after));
	assert_string_equal(after, before);
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_non_null(strstr(run.out, "nothing to undo"));
}

static void setup_reports_an_mtu_that_is_too_small(void **state)
{
	REQUIRE_ROOT();
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	assert_non_null(strstr(run.out, "MTU: test0 has 1500"));
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(system("ip link set test0 mtu 1600"), 0);
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10");
	assert_null(strstr(run.out, "MTU: "));
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(system("ip link set test0 mtu 1500"), 0);
}

static void bad_arguments_are_refused_before_any_change(void **state)
{
	char before[2048], after[2048];

	REQUIRE_ROOT();
	snapshot(before, sizeof(before));
	lbctl_run(&run, "backend-host", "setup", "--iface", "nope0", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "nope0: no such interface.\nInterfaces: "));
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "10.9.0.1");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "VIP 10.9.0.1 is already on test0"));
	lbctl_run(&run, "backend-host", "setup", "--iface", "lo", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 2);
	snapshot(after, sizeof(after));
	assert_string_equal(after, before);
}

static void become_nobody(void)
{
	if (setgid(65534) || setuid(65534))
		_exit(99);
}

static void only_root_may_run_setup(void **state)
{
	const char *words[] = {"backend-host", "setup",      "--iface", "test0",
			       "--vip",        "192.0.2.10", NULL};

	REQUIRE_ROOT();
	lbctl_run_after(&run, become_nobody, words);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "only root"));
	assert_non_null(strstr(run.err, "sudo lbctl backend-host setup"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(setup_prints_each_change_and_undo_restores_exactly_that),
	    cmocka_unit_test(setup_twice_changes_nothing_the_second_time),
	    cmocka_unit_test(status_shows_the_decapsulator_its_vips_and_counters),
	    cmocka_unit_test(undo_of_one_vip_keeps_the_others),
	    cmocka_unit_test(undo_leaves_alone_what_was_changed_since),
	    cmocka_unit_test(stricter_settings_than_needed_are_kept),
	    cmocka_unit_test(a_setup_that_fails_undoes_its_changes),
	    cmocka_unit_test(setup_reports_an_mtu_that_is_too_small),
	    cmocka_unit_test(bad_arguments_are_refused_before_any_change),
	    cmocka_unit_test(only_root_may_run_setup),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
