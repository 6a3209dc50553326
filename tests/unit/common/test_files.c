/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/files.h: only a file that can be trusted is read, and nothing at its place blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/files.h"
#include "support/test_file.h"

static char directory[64], path[96], other[96];

static int set_up(void **unused)
{
	strcpy(directory, "/tmp/test_files.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/kept", directory);
	snprintf(other, sizeof(other), "%s/kept.bad", directory);
	return 0;
}

static int tear_down(void **unused)
{
	remove(path);
	remove(other);
	return rmdir(directory);
}

static void expect_refused(int code, const char *says)
{
	struct error err = {""};
	char *text = (char *)"untouched";

	assert_int_equal(file_read_kept(path, 16, &text, &err), code);
	assert_string_equal(text, "untouched");
	if (!strstr(err.text, path) || !strstr(err.text, says))
		fail_msg("\"%s\" lacks \"%s\" or the path", err.text, says);
}

static void a_file_of_ones_own_is_read_whole(void **unused)
{
	char *text;

	test_file_put(path, "0123456789abcdef"); /* exactly the limit */
	assert_int_equal(file_read_kept(path, 16, &text, NULL), 16);
	assert_string_equal(text, "0123456789abcdef");
	free(text);
	test_file_put(path, "");
	assert_int_equal(file_read_kept(path, 16, &text, NULL), 0);
	assert_string_equal(text, "");
	free(text);
}

static void a_missing_file_is_no_error_with_words(void **unused)
{
	struct error err = {""};
	char *text;

	assert_int_equal(file_read_kept(path, 16, &text, &err), -ENOENT);
	assert_string_equal(err.text, "");
}

static void a_fifo_is_refused_and_nobody_waits_for_its_writer(void **unused)
{
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(-EINVAL, "expected a regular file");
}

static void a_directory_and_a_socket_are_refused(void **unused)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(mkdir(path, 0700), 0);
	expect_refused(-EINVAL, "expected a regular file");
	rmdir(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	expect_refused(-ENXIO, "");
	close(fd);
}

static void a_link_is_not_followed(void **unused)
{
	test_file_put(other, "text");
	assert_int_equal(symlink(other, path), 0);
	expect_refused(-ELOOP, "symbolic link");
}

static void a_longer_file_is_refused(void **unused)
{
	test_file_put(path, "0123456789abcdefX");
	expect_refused(-EFBIG, "17 bytes: expected at most 16");
}

static void another_users_file_is_refused(void **unused)
{
	if (geteuid())
		skip(); /* only root can give a file away */
	test_file_put(path, "text");
	assert_int_equal(chown(path, 12345, 0), 0);
	expect_refused(-EPERM, "owned by user 12345: expected root or user 0");
}

static void what_is_set_aside_is_kept_whatever_it_is(void **unused)
{
	char expected[128];
	struct error outcome;
	struct stat there;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_set_aside(path, &outcome), 0);
	snprintf(expected, sizeof(expected), "the file is now %s", other);
	assert_string_equal(outcome.text, expected);
	assert_int_equal(lstat(other, &there), 0);
	assert_true(S_ISFIFO(there.st_mode));
	assert_int_equal(file_set_aside(path, &outcome), -ENOENT);
	assert_string_equal(outcome.text, "it cannot be renamed: No such file or directory");
}

static void removing_what_is_not_there_is_no_error(void **unused)
{
	test_file_put(path, "text");
	assert_int_equal(file_remove(path), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(file_remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(file_remove(path), -EISDIR);
}

/* ---- changed files ---- */

/* In place of the C library's, for this program. */
static unsigned files_synced, directories_synced;
static int directory_error;

int fsync(int fd)
{
	struct stat state;

	assert_int_equal(fstat(fd, &state), 0);
	if (!S_ISDIR(state.st_mode)) {
		files_synced++;
		return 0;
	}
	directories_synced++;
	errno = directory_error;
	return directory_error ? -1 : 0;
}

static void begin_counting(void)
{
	files_synced = directories_synced = 0;
	directory_error = 0;
}

static void expect_text(const char *expected)
{
	char *text;

	assert_true(file_read_kept(path, 100, &text, NULL) >= 0);
	assert_string_equal(text, expected);
	free(text);
}

static void a_replaced_file_and_its_directory_are_written_to_disk(void **unused)
{
	begin_counting();
	assert_int_equal(file_replace(path, "first"), 0);
	expect_text("first");
	assert_int_equal(files_synced, 1);
	assert_int_equal(directories_synced, 1);
}

static void what_is_written_beside_a_file_is_on_disk_and_the_file_as_it_was(void **unused)
{
	begin_counting();
	test_file_put(path, "before");
	assert_int_equal(file_write_beside(path, other, "after"), 0);
	assert_int_equal(files_synced, 1);
	expect_text("before");
	assert_int_equal(rename(other, path), 0);
	expect_text("after");
}

static void what_is_written_beside_a_file_has_its_mode(void **unused)
{
	struct stat state;

	test_file_put(path, "before");
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(file_write_beside(path, other, "after"), 0);
	assert_int_equal(stat(other, &state), 0);
	assert_int_equal(state.st_mode & 0777, 0640);
}

static void what_is_beside_a_file_already_stays(void **unused)
{
	test_file_put(path, "before");
	test_file_put(other, "another's");
	assert_int_equal(file_write_beside(path, other, "after"), -EEXIST);
	assert_int_equal(access(other, F_OK), 0);
}

static void a_directory_that_may_not_last_is_an_error(void **unused)
{
	begin_counting();
	assert_int_equal(file_sync_directory(path), 0);
	assert_int_equal(directories_synced, 1);
	directory_error = EIO;
	assert_int_equal(file_sync_directory(path), -EIO);
	directory_error = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_file_of_ones_own_is_read_whole, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_missing_file_is_no_error_with_words, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_fifo_is_refused_and_nobody_waits_for_its_writer,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_directory_and_a_socket_are_refused, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_link_is_not_followed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_longer_file_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(another_users_file_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_set_aside_is_kept_whatever_it_is, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(removing_what_is_not_there_is_no_error, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_replaced_file_and_its_directory_are_written_to_disk,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		what_is_written_beside_a_file_is_on_disk_and_the_file_as_it_was, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_written_beside_a_file_has_its_mode, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(what_is_beside_a_file_already_stays, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_directory_that_may_not_last_is_an_error, set_up,
					    tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
