/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/announce/routes.c against the kernel, in a network namespace; record.c on files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/files.h"
#include "lbd/announce/internal.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_netns.h"

#define VIPS 3

static const struct route_set own = {76, 76};
static struct netlink netlink;
static struct announce_vip vips[VIPS];
static char directory[] = "/tmp/test_routes.XXXXXX", path[64], file[64];

/* The kernel's routes of both families, one a line. */
static const char *shown(const char *options)
{
	static char text[4096];
	char command[256];
	FILE *from;

	snprintf(command, sizeof(command),
		 "for f in 4 6; do ip -$f route show %s 2>/dev/null; done | sed 's/ *$//'",
		 options);
	from = popen(command, "r");
	assert_non_null(from);
	text[fread(text, 1, sizeof(text) - 1, from)] = 0;
	pclose(from);
	return text;
}

static unsigned lines(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

static int set_up(void **state)
{
	const char *const addresses[VIPS] = {"192.0.2.10", "192.0.2.11", "2001:db8::10"};
	struct error err;

	for (unsigned i = 0; i < VIPS; i++)
		vips[i] = (struct announce_vip){.address = test_addr(addresses[i])};
	return netns_entered() ? routes_open(&netlink, &err) : 0;
}

static int tear_down(void **state)
{
	netlink_done(&netlink);
	return netns_entered() ? system("for f in 4 6; do for t in 76 1000000; do ip -$f route "
					"flush table $t 2>/dev/null; done; done; true")
			       : 0;
}

static int apply(const struct route_set *set, bool a, bool b, bool c, uint32_t metric)
{
	const bool wanted[VIPS] = {a, b, c};
	struct error err = {""};
	int rc = routes_apply(&netlink, set, vips, wanted, VIPS, metric, &err);

	if (rc)
		assert_string_not_equal(err.text, "");
	return rc;
}

static void wanted_vips_are_routes_of_lbds_own_protocol_in_its_own_table(void **state)
{
	needs_root();
	assert_int_equal(apply(&own, true, false, true, 10), 0);
	assert_int_equal(lines(shown("table 76")), 2);
	assert_int_equal(lines(shown("table 76 proto 76 type unreachable metric 10")), 2);
	assert_non_null(strstr(shown("table 76"), "unreachable 192.0.2.10 "));
	assert_non_null(strstr(shown("table 76"), "unreachable 2001:db8::10 "));
	assert_string_equal(shown("table main proto 76"), "");
	assert_true(vips[0].announced && !vips[1].announced && vips[2].announced);
}

static void what_is_not_wanted_any_more_is_removed(void **state)
{
	needs_root();
	apply(&own, true, true, true, 10);
	assert_int_equal(apply(&own, false, true, false, 10), 0);
	assert_int_equal(lines(shown("table 76")), 1);
	assert_non_null(strstr(shown("table 76"), "192.0.2.11"));
}

static void a_new_metric_replaces_the_old_one(void **state)
{
	needs_root();
	apply(&own, true, false, true, 10);
	assert_int_equal(apply(&own, true, false, true, 2000), 0);
	assert_int_equal(lines(shown("table 76")), 2);
	assert_int_equal(lines(shown("table 76 metric 2000")), 2);
}

static void routes_of_an_earlier_run_and_of_vips_that_are_gone_are_removed(void **state)
{
	needs_root();
	here("ip route add unreachable 192.0.2.99/32 table 76 proto 76 metric 10");
	here("ip -6 route add unreachable 2001:db8::99/128 table 76 proto 76 metric 2000");
	assert_int_equal(apply(&own, true, false, false, 10), 0);
	assert_int_equal(lines(shown("table 76")), 1);
}

static void routes_of_others_stay(void **state)
{
	needs_root();
	here("ip route add unreachable 192.0.2.99/32 table 76 proto static metric 10");
	here("ip route add unreachable 198.51.100.0/24 table 76 proto 76 metric 10");
	here("ip route add unreachable 192.0.2.10/32 table 1000000 proto 76 metric 10");
	assert_int_equal(apply(&own, false, false, false, 10), 0);
	assert_int_equal(lines(shown("table 76")), 2);
	assert_int_equal(lines(shown("table 1000000")), 1);
}

static void a_route_that_somebody_removed_comes_back(void **state)
{
	needs_root();
	apply(&own, true, true, true, 10);
	here("ip route flush table 76");
	assert_int_equal(apply(&own, true, true, true, 10), 0);
	assert_int_equal(lines(shown("table 76")), 3);
}

static void a_route_in_the_way_is_an_error_that_names_it_and_the_others_are_added(void **state)
{
	const bool wanted[VIPS] = {true, true, true};
	struct error err;

	needs_root();
	here("ip route add unreachable 192.0.2.10/32 table 76 proto static metric 10");
	assert_int_equal(routes_apply(&netlink, &own, vips, wanted, VIPS, 10, &err), -EEXIST);
	assert_string_equal(err.text, "route to 192.0.2.10, table 76, metric 10: cannot be added: "
				      "another protocol has one with this metric there");
	assert_false(vips[0].announced);
	assert_true(vips[1].announced && vips[2].announced);
	assert_int_equal(lines(shown("table 76 proto 76")), 2);
}

static void tables_beyond_255_work(void **state)
{
	const struct route_set set = {1000000, 200};
	unsigned count;
	struct error err;

	needs_root();
	assert_int_equal(apply(&set, true, true, true, 10), 0);
	assert_int_equal(lines(shown("table 1000000 proto 200")), 3);
	assert_int_equal(routes_withdraw(&netlink, &set, &count, &err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(shown("table 1000000"), "");
}

static void what_is_there_is_found_whatever_its_metric(void **state)
{
	struct error err;

	needs_root();
	here("ip route add unreachable 192.0.2.11/32 table 76 proto 76 metric 2000");
	assert_int_equal(routes_look(&netlink, &own, vips, VIPS, &err), 0);
	assert_true(!vips[0].announced && vips[1].announced && !vips[2].announced);
}

/* ---- lbd --withdraw, and the record ---- */

static void withdraw_needs_only_the_record(void **state)
{
	const struct announce_record record = {.set = own, .file = file};
	struct error err = {""};
	char *text;

	needs_root();
	apply(&own, true, true, true, 10);
	assert_int_equal(announce_record_write(path, &record, &err), 0);
	assert_int_equal(announce_withdraw(path, &err), 0);
	assert_string_equal(shown("table 76"), "");
	assert_true(file_read_kept(file, 100, &text, &err) > 0);
	assert_true(atoi(text) < node_priority(NODE_DRAINING));
	free(text);
	assert_int_equal(announce_withdraw(path, &err), 0); /* again */
	unlink(file);
	unlink(path);
}

static void without_a_record_there_is_nothing_to_withdraw(void **state)
{
	struct error err;

	assert_int_equal(announce_withdraw("/tmp/no/such/record", &err), 0);
}

static void a_record_comes_back_as_it_was(void **state)
{
	struct announce_record record = {.set = {4000000000u, 255}, .file = file}, read;
	struct error err;

	assert_int_equal(announce_record_write(path, &record, &err), 0);
	assert_int_equal(announce_record_read(path, &read, &err), 0);
	assert_true(read.set.table == 4000000000u && read.set.protocol == 255);
	assert_string_equal(read.file, file);
	announce_record_done(&read);
	record.file = NULL;
	assert_int_equal(announce_record_write(path, &record, &err), 0);
	assert_int_equal(announce_record_read(path, &read, &err), 0);
	assert_null(read.file);
	announce_record_done(&read);
	unlink(path);
}

static void a_broken_record_is_refused(void **state)
{
	const char *const broken[] = {
	    "",
	    "{}",
	    "{\"version\": 2, \"table\": 76, \"protocol\": 76}",
	    "{\"version\": 1, \"table\": 0, \"protocol\": 76}",
	    "{\"version\": 1, \"table\": 76, \"protocol\": 256}",
	    "{\"version\": 1, \"table\": 76, \"protocol\": 76, \"file\": \"vrrp\"}",
	};
	struct announce_record record;

	for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct error err = {""};

		test_file_put(path, broken[i]);
		assert_int_equal(announce_record_read(path, &record, &err), -EINVAL);
		assert_memory_equal(err.text, path, strlen(path));
		assert_int_equal(announce_withdraw(path, &err), -EINVAL);
	}
	unlink(path);
}

static int group_up(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/record.json", directory);
	snprintf(file, sizeof(file), "%s/vrrp", directory);
	return netns_enter(state);
}

static int group_down(void **state)
{
	return rmdir(directory);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(wanted_vips_are_routes_of_lbds_own_protocol_in_its_own_table),
	    T(what_is_not_wanted_any_more_is_removed),
	    T(a_new_metric_replaces_the_old_one),
	    T(routes_of_an_earlier_run_and_of_vips_that_are_gone_are_removed),
	    T(routes_of_others_stay),
	    T(a_route_that_somebody_removed_comes_back),
	    T(a_route_in_the_way_is_an_error_that_names_it_and_the_others_are_added),
	    T(tables_beyond_255_work),
	    T(what_is_there_is_found_whatever_its_metric),
	    T(withdraw_needs_only_the_record),
	    T(without_a_record_there_is_nothing_to_withdraw),
	    T(a_record_comes_back_as_it_was),
	    T(a_broken_record_is_refused),
	};

	return cmocka_run_group_tests(tests, group_up, group_down);
}
