/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/held.c: the list of interfaces that were detached by hand, and its file. */
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

#include "lbd/state/held.h"
#include "support/test_file.h"

static char path[] = "/tmp/test_held.XXXXXX";

static int set_up(void **state)
{
	int fd;

	memcpy(path, "/tmp/test_held.XXXXXX", sizeof(path));
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return unlink(path);
}

static int tear_down(void **state)
{
	unlink(path);
	return 0;
}

static void names_come_back_from_the_file_once_each(void **state)
{
	struct held written = {0}, read = {0};
	struct error err;

	assert_int_equal(held_add(&written, "eth0", &err), 0);
	assert_int_equal(held_add(&written, "bond0.7", &err), 0);
	assert_int_equal(held_add(&written, "eth0", &err), 0);
	assert_int_equal(held_save(&written, path, &err), 0);
	assert_int_equal(held_load(path, &read, &err), 0);
	assert_int_equal(read.count, 2);
	assert_true(held_has(&read, "eth0") && held_has(&read, "bond0.7"));
	assert_false(held_has(&read, "eth"));
	held_done(&read);
	held_done(&written);
}

static void an_empty_list_has_no_file(void **state)
{
	struct held held = {0}, read = {.count = 5};
	struct error err;

	assert_int_equal(held_add(&held, "eth0", &err), 0);
	assert_int_equal(held_save(&held, path, &err), 0);
	held_remove(&held, "eth0");
	assert_int_equal(held.count, 0);
	assert_int_equal(held_save(&held, path, &err), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(held_load(path, &read, &err), 0);
	assert_int_equal(read.count, 0);
	held_done(&held);
}

static bool is_eth(void *arg, const char *name)
{
	return !strncmp(name, arg, 3);
}

static void what_left_the_config_is_dropped(void **state)
{
	struct held held = {0};
	struct error err;

	assert_int_equal(held_add(&held, "ens1", &err), 0);
	assert_int_equal(held_add(&held, "eth0", &err), 0);
	held_filter(&held, is_eth, (void *)"eth");
	assert_int_equal(held.count, 1);
	assert_true(held_has(&held, "eth0"));
	held_done(&held);
}

static void broken_files_are_errors_that_name_the_file(void **state)
{
	static const char *const texts[] = {"", "{}", "[1]", "[\"eth0\"", "[\"eth0\", null]"};
	struct held held = {.count = 7};
	struct error err;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		test_file_put(path, texts[i]);
		assert_true(held_load(path, &held, &err) < 0);
		assert_non_null(strstr(err.text, path));
		assert_int_equal(held.count, 7);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(names_come_back_from_the_file_once_each),
	    TEST(an_empty_list_has_no_file),
	    TEST(what_left_the_config_is_dropped),
	    TEST(broken_files_are_errors_that_name_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
