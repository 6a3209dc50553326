/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/fleet/keys.c: which files hold keys, and what they are called. */
#include <errno.h>
#include <fcntl.h>
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

#include "lbd/fleet/keys.h"
#include "support/test_file.h"
#include "support/test_registry.h"

#define A "0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef"
#define B "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define C "2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char directory[] = "/tmp/test_keys.XXXXXX", path[64];

static int open_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/peers.key", directory);
	return 0;
}

static int close_directory(void **state)
{
	unlink(path);
	return rmdir(directory);
}

static void write_file(const char *text, mode_t mode)
{
	test_file_put(path, text);
	assert_int_equal(chmod(path, mode), 0);
}

static void expect_keys(const char *text, unsigned count, struct fleet_keys *ret)
{
	struct error err = {""};

	write_file(text, 0600);
	if (fleet_keys_read(path, ret, &err))
		fail_msg("%s", err.text);
	assert_int_equal(ret->count, count);
}

static void expect_refused(const char *text, int code, const char *part)
{
	struct fleet_keys keys = {.count = 9};
	struct error err = {""};

	write_file(text, 0600);
	assert_int_equal(fleet_keys_read(path, &keys, &err), code);
	assert_int_equal(keys.count, 9);
	if (!strstr(err.text, part) || !strstr(err.text, path))
		fail_msg("expected %s in: %s", part, err.text);
	if (strstr(err.text, "0123456789"))
		fail_msg("a key is in: %s", err.text);
}

LB_TEST(one_key_or_two_are_read_with_or_without_line_ends)
{
	struct fleet_keys keys;

	expect_keys(A, 1, &keys);
	assert_int_equal(keys.list[0].secret[0], 0x01);
	assert_int_equal(keys.list[0].secret[FLEET_KEY - 1], 0xef);
	expect_keys(A "\n", 1, &keys);
	expect_keys(A "\r\n\n" B "\n", 2, &keys);
	assert_int_equal(keys.list[1].secret[0], 0x11);
}

LB_TEST(a_key_has_the_same_name_on_every_node_and_is_found_by_it)
{
	struct fleet_keys first, second;

	expect_keys(A "\n" B "\n", 2, &first);
	expect_keys(B "\n" A "\n", 2, &second);
	assert_string_equal(first.list[0].id, second.list[1].id);
	assert_string_not_equal(first.list[0].id, first.list[1].id);
	assert_int_equal(strlen(first.list[0].id), FLEET_KEY_ID - 1);
	assert_ptr_equal(fleet_keys_find(&second, first.list[0].id, FLEET_KEY_ID - 1),
			 &second.list[1]);
	assert_null(fleet_keys_find(&second, first.list[0].id, FLEET_KEY_ID - 2));
	assert_null(fleet_keys_find(&second, "00000000", FLEET_KEY_ID - 1));
}

LB_TEST(what_is_no_key_is_refused_and_not_quoted)
{
	expect_refused("", -EINVAL, "no key");
	expect_refused("\n\n", -EINVAL, "no key");
	expect_refused("0123456789abcdef\n", -EINVAL, "key 1: expected 64 hexadecimal digits");
	expect_refused(A "0\n", -EINVAL, "key 1: expected 64");
	expect_refused(A "\n" A "\n", -EINVAL, "key 2: is the first one");
	expect_refused(A "\n" B "\n" C "\n", -EINVAL, "more than 2 keys");
	expect_refused(A "\n" B "\n" C "\n" C "\n" C "\n", -EINVAL, "too long");
	expect_refused("g" B, -EINVAL, "key 1: expected 64");
}

LB_TEST(a_file_that_others_may_read_is_refused)
{
	struct fleet_keys keys;
	struct error err = {""};

	write_file(A, 0644);
	assert_int_equal(fleet_keys_read(path, &keys, &err), -EPERM);
	assert_non_null(strstr(err.text, "peers: key-file: /tmp/"));
	assert_non_null(strstr(err.text, "mode 644: expected 600 or 640"));
}

LB_TEST(a_file_that_is_not_there_is_named)
{
	struct fleet_keys keys;
	struct error err = {""};

	assert_int_equal(fleet_keys_read("/nonexistent/key", &keys, &err), -ENOENT);
	assert_string_equal(err.text,
			    "peers: key-file: /nonexistent/key: No such file or directory");
}

LB_TEST_MAIN("keys", .open = open_directory, .close = close_directory)
