/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/token.c: which files may hold a token. */
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

#include "lbd/api/token.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

static char directory[] = "/tmp/test_token.XXXXXX", path[64];

static void write_file(const char *text, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void expect_refused(int code, const char *part)
{
	struct error err = {""};
	char *token = NULL;

	assert_int_equal(token_read(path, &token, &err), code);
	assert_null(token);
	if (!strstr(err.text, part) || !strstr(err.text, path))
		fail_msg("expected %s in: %s", part, err.text);
}

static void expect_token(const char *expected)
{
	struct error err = {""};
	char *token = NULL;

	if (token_read(path, &token, &err))
		fail_msg("%s", err.text);
	assert_string_equal(token, expected);
	free(token);
}

static void a_token_is_read_without_its_line_end(void **unused)
{
	write_file(TOKEN, 0600);
	expect_token(TOKEN);
	write_file(TOKEN "\n", 0400);
	expect_token(TOKEN);
	write_file(TOKEN "\r\n", 0640);
	expect_token(TOKEN);
}

static void a_file_that_others_may_use_is_refused(void **unused)
{
	static const mode_t modes[] = {0604, 0602, 0601, 0620, 0660, 0644};

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		write_file(TOKEN, modes[i]);
		expect_refused(-EPERM, "expected 600 or 640");
	}
}

static void what_is_no_token_is_refused(void **unused)
{
	static const char *const texts[] = {
	    "", "\n", "short", TOKEN " " TOKEN, TOKEN "\n" TOKEN, TOKEN "\t", TOKEN "\xc3\xa4"};
	char *longer = calloc(1, TOKEN_MAX + 100);

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(texts[i], 0600);
		expect_refused(-EINVAL, "expected one line of 16 to 512 visible");
	}
	memset(longer, 'x', TOKEN_MAX + 1);
	write_file(longer, 0600);
	expect_refused(-EINVAL, "expected one line");
	memset(longer, 'x', TOKEN_MAX + 50);
	write_file(longer, 0600);
	expect_refused(-EINVAL, "expected one line");
	free(longer);
}

static void only_a_regular_file_is_read(void **unused)
{
	char target[sizeof(path) + 8];

	unlink(path);
	expect_refused(-ENOENT, "No such file");
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(-EINVAL, "expected a regular file");
	write_file(TOKEN, 0600);
	snprintf(target, sizeof(target), "%s.real", path);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	expect_refused(-ELOOP, "symbolic links");
	unlink(target);
}

static void a_file_of_another_user_is_refused(void **unused)
{
	if (geteuid())
		skip();
	write_file(TOKEN, 0600);
	assert_int_equal(chown(path, 65534, 65534), 0);
	expect_refused(-EPERM, "owned by user 65534");
}

static int set_up(void **unused)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/token", directory);
	return 0;
}

static int tear_down(void **unused)
{
	unlink(path);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_is_read_without_its_line_end),
	    cmocka_unit_test(a_file_that_others_may_use_is_refused),
	    cmocka_unit_test(what_is_no_token_is_refused),
	    cmocka_unit_test(only_a_regular_file_is_read),
	    cmocka_unit_test(a_file_of_another_user_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
