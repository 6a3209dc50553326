/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/offloads.h: the file of what was turned off, and the one that every lbd of before
 * shared. Turns nothing off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/attach/offloads.h"
#include "support/test_file.h"

#define ITEM(n) "{\"for\":" #n ",\"device\":" #n ",\"feature\":\"rx-gro\"}"

static char directory[64], own[96], former[96], bad[112];

static int set_up(void **unused)
{
	strcpy(directory, "/tmp/test_offloads.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(own, sizeof(own), "%s/lbd.sock.offloads.json", directory);
	snprintf(former, sizeof(former), "%s/offloads.json", directory);
	snprintf(bad, sizeof(bad), "%s.bad", own);
	return 0;
}

static int tear_down(void **unused)
{
	unlink(own);
	unlink(former);
	unlink(bad);
	return rmdir(directory);
}

/* Interfaces 1000001 and 1000002 are ours. No interface has such an index. */
static bool mine(void *arg, uint32_t ifindex)
{
	return ifindex == 1000001 || ifindex == 1000002;
}

static void start(void)
{
	struct offloads *offloads = offloads_new(own);

	assert_non_null(offloads);
	offloads_take_over(offloads, former, mine, NULL);
	offloads_free(offloads);
}

static void the_old_file_of_one_lbd_is_moved(void **unused)
{
	test_file_put(former, "[" ITEM(1000001) "," ITEM(1000002) "]");
	start();
	test_file_is(own, "[" ITEM(1000001) "," ITEM(1000002) "]");
	assert_int_not_equal(access(former, F_OK), 0);
}

static void what_belongs_to_other_lbds_stays_for_them(void **unused)
{
	test_file_put(former, "[" ITEM(1000001) "," ITEM(1000009) "]");
	start();
	test_file_is(own, "[" ITEM(1000001) "]");
	test_file_is(former, "[" ITEM(1000009) "]");
}

static void the_old_file_is_read_once(void **unused)
{
	test_file_put(own, "[" ITEM(1000002) "]");
	test_file_put(former, "[" ITEM(1000001) "]");
	start();
	test_file_is(own, "[" ITEM(1000002) "]");
	test_file_is(former, "[" ITEM(1000001) "]");
}

static void a_fifo_in_its_place_does_not_hold_the_start(void **unused)
{
	struct stat there;

	assert_int_equal(mkfifo(own, 0600), 0);
	assert_int_equal(mkfifo(former, 0600), 0);
	start();
	assert_int_equal(lstat(bad, &there), 0);
	assert_true(S_ISFIFO(there.st_mode));
	snprintf(bad, sizeof(bad), "%s.bad", former);
	assert_int_equal(unlink(bad), 0);
	snprintf(bad, sizeof(bad), "%s.bad", own);
}

static void a_broken_file_is_kept_under_another_name(void **unused)
{
	test_file_put(own, "[{");
	start();
	test_file_is(bad, "[{");
	assert_int_not_equal(access(own, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_old_file_of_one_lbd_is_moved, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_belongs_to_other_lbds_stays_for_them, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(the_old_file_is_read_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_fifo_in_its_place_does_not_hold_the_start, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_broken_file_is_kept_under_another_name, set_up,
					    tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
