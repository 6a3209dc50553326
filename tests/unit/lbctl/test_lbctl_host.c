/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests lbctl backend-host in network namespaces of its own: what setup changes, that undo
 * restores exactly that, and what is refused. Needs root. */
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbctl/backend_host/net.h"
#include "lbctl/backend_host/record.h"
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

static void the_help_names_the_directory_of_the_record(void **state)
{
	lbctl_run(&run, "help", "backend-host", "setup");
	assert_non_null(strstr(run.out, HOST_RUN_DIRECTORY));
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
	assert_int_equal(run.exit_code, 1); /* it is no backend */
	assert_string_equal(run.err, "");
}

static void status_shows_the_rp_filter_in_force(void **state)
{
	REQUIRE_ROOT();
	write_sysctl("net/ipv4/conf/all/rp_filter", "1");
	write_sysctl("net/ipv4/conf/test0/rp_filter", "0");
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(
	    strstr(run.out, "net.ipv4.conf.test0.rp_filter = 1  (wrong for a backend)\n"));
	write_sysctl("net/ipv4/conf/test0/rp_filter", "2");
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(strstr(run.out, "net.ipv4.conf.test0.rp_filter = 2\n"));
	write_sysctl("net/ipv4/conf/all/rp_filter", "0");
	write_sysctl("net/ipv4/conf/test0/rp_filter", "0");
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

#define BACKEND_HOST(verb, interface, ...) \
	lbctl_run(&run, "backend-host", verb, "--iface", interface, __VA_ARGS__)

static void set_up_two(void)
{
	assert_int_equal(system("ip link set test1 up && ip addr add 10.9.1.1/24 dev test1"), 0);
	BACKEND_HOST("setup", "test0", "--vip", "192.0.2.10", "--vip", "2001:db8::10");
	assert_int_equal(run.exit_code, 0);
	BACKEND_HOST("setup", "test1", "--vip", "192.0.2.10", "--vip", "2001:db8::10");
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
}

static void assert_on_lo(const char *vip, const char *expected)
{
	char where[IF_NAMESIZE];

	interface_of(vip, where);
	assert_string_equal(where, expected);
}

/* first is undone while the other is still set up. */
static void undo_in_order(const char *first, const char *second)
{
	char before[2048], after[2048], value[SYSCTL_TEXT], expected[128];

	snapshot(before, sizeof(before));
	set_up_two();
	BACKEND_HOST("undo", first, NULL);
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
	snprintf(expected, sizeof(expected),
		 "lo: 192.0.2.10: stays as it is: %s is set up too, and needs it\n", second);
	assert_non_null(strstr(run.out, expected));
	snprintf(expected, sizeof(expected),
		 "%s: restored to its state before setup, except as listed above\n", first);
	assert_non_null(strstr(run.out, expected));
	assert_on_lo("192.0.2.10", "lo");
	assert_on_lo("2001:db8::10", "lo");
	assert_true(link_is_up("lo"));
	assert_int_equal(sysctl_read("net/ipv4/conf/all/arp_ignore", value, NULL), 0);
	assert_string_equal(value, "1");
	BACKEND_HOST("status", second, NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "192.0.2.10: on lo, unwrapped\n"));
	BACKEND_HOST("undo", second, NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "lo: 192.0.2.10/32 removed\n"));
	assert_null(strstr(run.out, "stays as it is"));
	assert_on_lo("192.0.2.10", "");
	assert_on_lo("2001:db8::10", "");
	snapshot(after, sizeof(after));
	assert_int_equal(system("ip addr del 10.9.1.1/24 dev test1"), 0);
	assert_non_null(strstr(after, "test1 has an IPv4 address\n"));
	snapshot(after, sizeof(after));
	assert_string_equal(after, before);
}

static void what_another_interface_needs_stays_until_that_is_undone(void **state)
{
	REQUIRE_ROOT();
	undo_in_order("test0", "test1"); /* the one that made the changes goes first */
	undo_in_order("test1", "test0");
}

static void a_vip_undone_on_one_interface_stays_for_the_other(void **state)
{
	REQUIRE_ROOT();
	set_up_two();
	BACKEND_HOST("undo", "test0", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 0);
	assert_on_lo("192.0.2.10", "lo");
	BACKEND_HOST("undo", "test1", "--vip", "192.0.2.10");
	assert_int_equal(run.exit_code, 0);
	assert_on_lo("192.0.2.10", "");
	assert_on_lo("2001:db8::10", "lo");
	BACKEND_HOST("undo", "test1", NULL);
	BACKEND_HOST("undo", "test0", NULL);
	assert_on_lo("2001:db8::10", "");
	assert_int_equal(system("ip addr del 10.9.1.1/24 dev test1"), 0);
}

/* It is named, and does not stop this interface's undo. */
static void a_record_of_another_interface_that_is_damaged_is_left_out(void **state)
{
	char path[256], command[600], *name;
	json_t *status;

	REQUIRE_ROOT();
	set_up_two();
	BACKEND_HOST("status", "test1", "--json");
	status = json_loads(run.out, 0, NULL);
	snprintf(path, sizeof(path), "%s", json_string_value(json_object_get(status, "record")));
	json_decref(status);
	name = strrchr(path, '/') + 1;
	snprintf(command, sizeof(command), "cp %s /run/kept && echo '{' > %s", path, path);
	assert_int_equal(system(command), 0);
	BACKEND_HOST("undo", "test0", NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.err, "warning: not known what test1 shares with test0: "));
	assert_non_null(strstr(run.err, name));
	snprintf(command, sizeof(command), "mv /run/kept %s", path);
	assert_int_equal(system(command), 0);
	BACKEND_HOST("undo", "test1", NULL);
	assert_int_equal(run.exit_code, 0);
	assert_on_lo("192.0.2.10", "");
	assert_int_equal(system("ip addr del 10.9.1.1/24 dev test1"), 0);
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

/* ---- what the decapsulator accepts ---- */

#define SETUP(...)                                                                          \
	lbctl_run(&run, "backend-host", "setup", "--iface", "test0", "--vip", "192.0.2.10", \
		  __VA_ARGS__)

static json_t *read_status(void)
{
	json_t *status;

	lbctl_run(&run, "backend-host", "status", "--iface", "test0", "--json");
	status = json_loads(run.out, 0, NULL);
	assert_non_null(status);
	assert_int_equal(
	    run.exit_code,
	    strcmp(json_string_value(json_object_get(status, "program")), "decapsulator") != 0);
	return status;
}

static void assert_accepts(const char *expected)
{
	json_t *status = read_status();
	char *text = json_dumps(json_object_get(status, "accepts"), JSON_COMPACT | JSON_SORT_KEYS);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
	json_decref(status);
}

static void undo_all(void)
{
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_int_equal(run.exit_code, 0);
}

#define FROM_DEFAULT "\"from\":[\"100::/64\",\"172.16.0.0/16\"]"
#define TO_TEST0     "\"to\":[{\"address\":\"10.9.0.1\",\"interface\":\"test0\"}]"

static void by_default_tunnels_from_lbds_prefixes_to_the_host_are_accepted(void **state)
{
	REQUIRE_ROOT();
	SETUP(NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out,
			       "accepts tunnels: from 100::/64 172.16.0.0/16, to 10.9.0.1, "
			       "port any, GUE port 6080\n"));
	assert_accepts("{" FROM_DEFAULT ",\"gue_port\":6080,\"missing\":[],\"ports\":[]," TO_TEST0
		       "}");
	undo_all();
}

static void the_given_options_are_accepted_sorted_and_once(void **state)
{
	REQUIRE_ROOT();
	SETUP("--from", "fd00:1::/32", "--from", "10.1.0.0/16", "--from", "10.1.0.0/16", "--from",
	      "10.2.0.1", "--to", "10.9.0.9", "--port", "80/tcp", "--port", "53/udp", "--port",
	      "0080/tcp", "--gue-port", "4754");
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
	assert_accepts("{\"from\":[\"10.1.0.0/16\",\"10.2.0.1/32\",\"fd00:1::/32\"],"
		       "\"gue_port\":4754,\"missing\":[],\"ports\":[\"53/udp\",\"80/tcp\"],"
		       "\"to\":[{\"address\":\"10.9.0.1\",\"interface\":\"test0\"},"
		       "{\"address\":\"10.9.0.9\",\"interface\":\"\"}]}");
	undo_all();
}

static void setup_again_keeps_what_is_not_given(void **state)
{
	REQUIRE_ROOT();
	SETUP("--port", "80/tcp", "--from", "10.1.0.0/16");
	SETUP("--gue-port", "4754");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "test0: decapsulator: GUE port 6080 -> 4754\n"));
	SETUP("--from", "10.2.0.0/16");
	assert_non_null(strstr(run.out, "test0: decapsulator: from 10.1.0.0/16 -> 10.2.0.0/16\n"));
	assert_accepts("{\"from\":[\"10.2.0.0/16\"],\"gue_port\":4754,\"missing\":[],"
		       "\"ports\":[\"80/tcp\"]," TO_TEST0 "}");
	SETUP(NULL);
	assert_non_null(strstr(run.out, "test0: nothing to change"));
	SETUP("--port", "any");
	assert_non_null(strstr(run.out, "test0: decapsulator: port 80/tcp -> any\n"));
	assert_accepts("{\"from\":[\"10.2.0.0/16\"],\"gue_port\":4754,\"missing\":[],"
		       "\"ports\":[]," TO_TEST0 "}");
	undo_all();
}

/* Where the record is, and where an lbctl of before had it; the name's end differs by namespace. */
static void find_records(char path[256], char former[256])
{
	json_t *status = read_status();
	const char *record = json_string_value(json_object_get(status, "record"));

	snprintf(path, 256, "%s", record);
	snprintf(former, 256, "/run/lbd/%s", strrchr(record, '/') + 1);
	json_decref(status);
}

/* A setup whose record is where an lbctl of before had it. */
static void set_up_as_before(char path[256], char former[256])
{
	SETUP("--port", "80/tcp");
	find_records(path, former);
	mkdir("/run/lbd", 0755);
	assert_int_equal(rename(path, former), 0);
}

static void the_record_of_an_older_lbctl_is_taken_over(void **state)
{
	char path[256], former[256];

	REQUIRE_ROOT();
	set_up_as_before(path, former);
	SETUP("--port", "81/tcp");
	assert_int_equal(access(path, F_OK), 0);
	assert_int_not_equal(access(former, F_OK), 0);
	undo_all();
}

/* /run/lbd is user lbd's, on a balancer that is a backend too. */
static void a_record_of_another_user_is_not_believed(void **state)
{
	char path[256], former[256];

	REQUIRE_ROOT();
	set_up_as_before(path, former);
	assert_int_equal(chown(former, 65534, 65534), 0);
	lbctl_run(&run, "backend-host", "undo", "--iface", "test0");
	assert_non_null(strstr(run.err, "owned by user 65534: expected root"));
	assert_non_null(strstr(run.out, "nothing to undo"));
	assert_int_equal(chown(former, 0, 0), 0);
	undo_all();
}

/* However often setup ran, one undo removes it all. */
static void the_record_keeps_one_entry_with_what_was_set(void **state)
{
	const json_t *change;
	json_t *status, *record;
	size_t i, entries = 0;

	REQUIRE_ROOT();
	SETUP("--port", "80/tcp", "--to", "10.9.0.9");
	SETUP("--port", "81/tcp");
	SETUP("--port", "82/tcp");
	status = read_status();
	record = json_load_file(json_string_value(json_object_get(status, "record")), 0, NULL);
	json_array_foreach (json_object_get(record, "changes"), i, change) {
		const char *kind = json_string_value(json_object_get(change, "kind"));
		const json_t *accept = json_object_get(change, "accept");

		assert_string_not_equal(kind, "accept");
		if (strcmp(kind, "decap") != 0)
			continue;
		entries++;
		assert_string_equal(
		    json_string_value(json_array_get(json_object_get(accept, "ports"), 0)),
		    "82/tcp");
		assert_string_equal(
		    json_string_value(json_array_get(json_object_get(accept, "to"), 0)),
		    "10.9.0.9");
	}
	assert_int_equal(entries, 1);
	json_decref(record);
	json_decref(status);
	undo_all();
	status = read_status();
	assert_string_equal(json_string_value(json_object_get(status, "program")), "none");
	assert_true(json_is_null(json_object_get(status, "accepts")));
	json_decref(status);
}

static uint64_t passed(void)
{
	json_t *status = read_status();
	json_int_t value =
	    json_integer_value(json_object_get(json_object_get(status, "counters"), "passed"));

	json_decref(status);
	return (uint64_t)value;
}

/* A frame that is no tunnel, from the other end of the pair. */
static void send_frame(void)
{
	const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex("test1")};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	assert_true(fd >= 0);
	assert_int_equal(
	    sendto(fd, frame, sizeof(frame), 0, (const struct sockaddr *)&to, sizeof(to)),
	    sizeof(frame));
	close(fd);
}

static void setup_again_keeps_the_vips_and_the_counters(void **state)
{
	uint64_t before;

	REQUIRE_ROOT();
	SETUP("--vip", "192.0.2.11");
	send_frame();
	for (int tries = 0; tries < 1000 && passed() == 0; tries++)
		usleep(10000);
	before = passed();
	assert_true(before > 0);
	SETUP("--port", "80/tcp");
	assert_true(passed() >= before);
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(strstr(run.out, "192.0.2.10: on lo, unwrapped\n"));
	assert_non_null(strstr(run.out, "192.0.2.11: on lo, unwrapped\n"));
	undo_all();
}

static void an_address_that_is_new_is_named_and_the_next_setup_accepts_it(void **state)
{
	REQUIRE_ROOT();
	SETUP(NULL);
	assert_int_equal(system("ip addr add 10.9.0.2/24 dev test0"), 0);
	lbctl_run(&run, "backend-host", "status", "--iface", "test0");
	assert_non_null(strstr(run.out, "10.9.0.2: on test0, not accepted: new since setup\n"));
	assert_non_null(strstr(run.out, "To accept tunnels to the new addresses: lbctl "
					"backend-host setup --iface test0 --vip ADDRESS\n"));
	SETUP(NULL);
	assert_non_null(strstr(run.out, "decapsulator: to 10.9.0.1 -> 10.9.0.1 10.9.0.2\n"));
	assert_int_equal(system("ip addr del 10.9.0.2/24 dev test0"), 0);
	SETUP(NULL);
	assert_accepts("{" FROM_DEFAULT ",\"gue_port\":6080,\"missing\":[],\"ports\":[]," TO_TEST0
		       "}");
	undo_all();
}

static void an_address_of_to_stays_until_none_is_given(void **state)
{
	REQUIRE_ROOT();
	SETUP("--to", "10.9.0.9");
	SETUP(NULL);
	assert_non_null(strstr(run.out, "test0: nothing to change"));
	SETUP("--to", "none");
	assert_accepts("{" FROM_DEFAULT ",\"gue_port\":6080,\"missing\":[],\"ports\":[]," TO_TEST0
		       "}");
	undo_all();
}

static void a_setup_that_fails_accepts_what_it_did_before(void **state)
{
	REQUIRE_ROOT();
	SETUP("--port", "80/tcp");
	assert_int_equal(
	    mount("/dev/full", "/proc/sys/net/ipv4/conf/all/arp_announce", NULL, MS_BIND, NULL), 0);
	SETUP("--port", "81/tcp", "--gue-port", "4754");
	umount2("/proc/sys/net/ipv4/conf/all/arp_announce", MNT_DETACH);
	assert_int_equal(run.exit_code, 1);
	assert_accepts("{" FROM_DEFAULT ",\"gue_port\":6080,\"missing\":[],"
		       "\"ports\":[\"80/tcp\"]," TO_TEST0 "}");
	undo_all();
}

static void a_host_without_an_address_needs_to(void **state)
{
	REQUIRE_ROOT();
	assert_int_equal(system("ip addr del 10.9.0.1/24 dev test0"), 0);
	SETUP(NULL);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "test0: the host has no address: expected the one by which "
					"the load balancer knows this backend, or --to ADDRESS"));
	SETUP("--to", "10.9.0.1");
	assert_int_equal(run.exit_code, 0);
	undo_all();
	assert_int_equal(system("ip addr add 10.9.0.1/24 dev test0"), 0);
}

static void another_mode_is_refused_while_attached(void **state)
{
	REQUIRE_ROOT();
	SETUP("--mode", "generic");
	assert_int_equal(run.exit_code, 0);
	SETUP("--mode", "native");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "--mode native: the decapsulator is attached in generic "
					"mode.\nTo change the mode: lbctl backend-host undo"));
	SETUP("--mode", "generic", "--port", "80/tcp");
	assert_int_equal(run.exit_code, 0);
	undo_all();
}

static void a_prefix_of_everybody_is_warned_of(void **state)
{
	REQUIRE_ROOT();
	SETUP("--from", "0.0.0.0/0");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.err, "warning: --from 0.0.0.0/0: tunnels from any sender"));
	undo_all();
}

static void wrong_options_are_refused(void **state)
{
	static const struct {
		const char *words[4], *message;
	} cases[] = {
	    {{"--from", "10.1.1.1/8"}, "--from 10.1.1.1/8: expected a prefix with no bits"},
	    {{"--from", "172.16.0.0/33"}, "--from 172.16.0.0/33: expected a prefix"},
	    {{"--from", "everybody"}, "--from everybody: expected a prefix"},
	    {{"--from", ""}, "--from : expected a prefix"},
	    {{"--to", "10.0.0.0/8"}, "--to 10.0.0.0/8: expected a unicast address"},
	    {{"--to", "127.0.0.1"}, "--to 127.0.0.1: expected a unicast address"},
	    {{"--to", "ff02::1"}, "--to ff02::1: expected a unicast address"},
	    {{"--to", "::ffff:10.0.0.1"}, "--to ::ffff:10.0.0.1: expected a unicast address"},
	    {{"--to", "10.0.0.1", "--to", "none"}, "--to none: expected no other --to"},
	    {{"--port", "80"}, "--port 80: expected 1 to 65535 and the protocol"},
	    {{"--port", "0/tcp"}, "--port 0/tcp: expected 1 to 65535"},
	    {{"--port", "65536/udp"}, "--port 65536/udp: expected 1 to 65535"},
	    {{"--port", "80/sctp"}, "--port 80/sctp: expected 1 to 65535"},
	    {{"--port", "-1/tcp"}, "--port -1/tcp: expected 1 to 65535"},
	    {{"--port", "123456789/tcp"}, "--port 123456789/tcp: expected 1 to 65535"},
	    {{"--port", "any", "--port", "80/tcp"}, "--port any: expected no other --port"},
	    {{"--gue-port", "0"}, "--gue-port 0: expected 1 to 65535"},
	    {{"--gue-port", "65536"}, "--gue-port 65536: expected 1 to 65535"},
	    {{"--tunnel", "--from", "10.0.0.0/8"}, "--tunnel: expected none of --from"},
	    {{"--tunnel", "--gue-port", "6080"}, "--tunnel: expected none of --from"},
	    {{"--vip", "::ffff:192.0.2.1"}, "--vip ::ffff:192.0.2.1: expected a unicast address"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		SETUP(cases[i].words[0], cases[i].words[1], cases[i].words[2], cases[i].words[3]);
		assert_int_equal(run.exit_code, 2);
		assert_non_null(strstr(run.err, cases[i].message));
		assert_string_equal(run.out, "");
	}
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
	    cmocka_unit_test(the_help_names_the_directory_of_the_record),
	    cmocka_unit_test(setup_twice_changes_nothing_the_second_time),
	    cmocka_unit_test(status_shows_the_decapsulator_its_vips_and_counters),
	    cmocka_unit_test(status_shows_the_rp_filter_in_force),
	    cmocka_unit_test(undo_of_one_vip_keeps_the_others),
	    cmocka_unit_test(undo_leaves_alone_what_was_changed_since),
	    cmocka_unit_test(what_another_interface_needs_stays_until_that_is_undone),
	    cmocka_unit_test(a_vip_undone_on_one_interface_stays_for_the_other),
	    cmocka_unit_test(a_record_of_another_interface_that_is_damaged_is_left_out),
	    cmocka_unit_test(stricter_settings_than_needed_are_kept),
	    cmocka_unit_test(a_setup_that_fails_undoes_its_changes),
	    cmocka_unit_test(setup_reports_an_mtu_that_is_too_small),
	    cmocka_unit_test(bad_arguments_are_refused_before_any_change),
	    cmocka_unit_test(by_default_tunnels_from_lbds_prefixes_to_the_host_are_accepted),
	    cmocka_unit_test(the_given_options_are_accepted_sorted_and_once),
	    cmocka_unit_test(setup_again_keeps_what_is_not_given),
	    cmocka_unit_test(the_record_keeps_one_entry_with_what_was_set),
	    cmocka_unit_test(the_record_of_an_older_lbctl_is_taken_over),
	    cmocka_unit_test(a_record_of_another_user_is_not_believed),
	    cmocka_unit_test(setup_again_keeps_the_vips_and_the_counters),
	    cmocka_unit_test(an_address_that_is_new_is_named_and_the_next_setup_accepts_it),
	    cmocka_unit_test(an_address_of_to_stays_until_none_is_given),
	    cmocka_unit_test(a_setup_that_fails_accepts_what_it_did_before),
	    cmocka_unit_test(a_host_without_an_address_needs_to),
	    cmocka_unit_test(another_mode_is_refused_while_attached),
	    cmocka_unit_test(a_prefix_of_everybody_is_warned_of),
	    cmocka_unit_test(wrong_options_are_refused),
	    cmocka_unit_test(only_root_may_run_setup),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
