/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/host/seed.c: which seed has priority, and what is kept. */
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

#include "common/log.h"
#include "lbd/host/seed.h"
#include "support/test_file.h"

static char directory[64], file[96];

static int set_up(void **unused)
{
	strcpy(directory, "/tmp/test_seed.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/hash-seed", directory);
	return 0;
}

static int tear_down(void **unused)
{
	unlink(file);
	rmdir(file);
	return rmdir(directory);
}

static struct seed find(uint64_t configured)
{
	struct seed seed;
	struct error err = {""};

	if (seed_find(configured, directory, &seed, &err))
		fail_msg("%s", err.text);
	return seed;
}

static void put(const char *text, mode_t mode)
{
	test_file_put(file, text);
	assert_int_equal(chmod(file, mode), 0);
}

static void refused(const char *expected)
{
	struct seed seed;
	struct error err = {""};

	assert_true(seed_find(0, directory, &seed, &err) < 0);
	assert_non_null(strstr(err.text, file));
	if (!strstr(err.text, expected))
		fail_msg("expected \"%s\" in: %s", expected, err.text);
}

static void a_made_seed_is_random_and_not_zero(void **unused)
{
	struct seed one = find(0), two = find(0);

	assert_true(one.value && two.value);
	assert_true(one.value != two.value);
	assert_false(one.kept || one.configured);
}

static void finding_a_seed_writes_nothing(void **unused)
{
	find(0);
	find(7);
	assert_int_equal(access(file, F_OK), -1);
}

static void a_kept_seed_is_found_again(void **unused)
{
	struct seed made = find(0), again;
	struct stat there;

	seed_keep(&made, directory, made.value);
	again = find(0);
	assert_true(again.value == made.value);
	assert_true(again.kept);
	assert_int_equal(stat(file, &there), 0);
	assert_int_equal(there.st_mode & 0777, 0600);
}

static void the_directory_is_made(void **unused)
{
	struct seed made = find(0);

	assert_int_equal(rmdir(directory), 0);
	seed_keep(&made, directory, made.value);
	assert_true(find(0).value == made.value);
}

static void a_configured_seed_wins_and_leaves_the_kept_one_alone(void **unused)
{
	struct seed seed;

	put("0x00000000000000ff\n", 0600);
	seed = find(7);
	assert_true(seed.value == 7 && seed.configured);
	seed_keep(&seed, directory, 7);
	assert_true(find(0).value == 0xff);
}

static void the_pinned_maps_seed_replaces_the_kept_one(void **unused)
{
	struct seed seed;

	put("0x00000000000000ff\n", 0600);
	seed = find(0);
	seed_keep(&seed, directory, 0xabc);
	assert_true(find(0).value == 0xabc);
}

static void what_holds_no_seed_is_refused_and_not_replaced(void **unused)
{
	static const char *const broken[] = {"",
					     "\n",
					     "0x",
					     "255\n",
					     "0xff\n",
					     "0x00000000000000fg\n",
					     "0x00000000000000ff0\n",
					     "0x00000000000000ff\nx",
					     "0x0000000000000000\n"};

	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		put(broken[i], 0600);
		refused("expected 0x and 16 hexadecimal digits");
	}
}

static void a_file_that_others_can_read_or_write_is_refused(void **unused)
{
	put("0x00000000000000ff\n", 0640);
	refused("expected 0600");
	put("0x00000000000000ff\n", 0602);
	refused("expected 0600");
}

static void another_users_file_is_refused(void **unused)
{
	if (geteuid()) {
		print_message("SKIP: only root can give a file away\n");
		skip();
	}
	put("0x00000000000000ff\n", 0600);
	assert_int_equal(chown(file, 12345, (gid_t)-1), 0);
	refused("owned by user 12345");
}

static void a_link_a_pipe_and_a_directory_are_refused(void **unused)
{
	assert_int_equal(symlink("/dev/null", file), 0);
	refused("symbolic link");
	unlink(file);
	assert_int_equal(mkfifo(file, 0600), 0);
	refused("regular file");
	unlink(file);
	assert_int_equal(mkdir(file, 0700), 0);
	refused("regular file");
}

static void a_directory_that_cannot_be_written_is_no_error(void **unused)
{
	struct seed seed = find(0);

	seed_keep(&seed, "/proc/no/such", seed.value);
	assert_int_equal(access(file, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_made_seed_is_random_and_not_zero),
	    TEST(finding_a_seed_writes_nothing),
	    TEST(a_kept_seed_is_found_again),
	    TEST(the_directory_is_made),
	    TEST(a_configured_seed_wins_and_leaves_the_kept_one_alone),
	    TEST(the_pinned_maps_seed_replaces_the_kept_one),
	    TEST(what_holds_no_seed_is_refused_and_not_replaced),
	    TEST(a_file_that_others_can_read_or_write_is_refused),
	    TEST(another_users_file_is_refused),
	    TEST(a_link_a_pipe_and_a_directory_are_refused),
	    TEST(a_directory_that_cannot_be_written_is_no_error),
	};

	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
