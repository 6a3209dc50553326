/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The availability of services: windows, clocks that are put back, and the file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "lbd/state/uptime.h"

#define SECOND 1000ULL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
/* some day at 13:37:42 */
#define NOW (20000 * DAY + 13 * HOUR + 37 * MINUTE + 42 * SECOND)

static void assert_share(const struct uptime *uptime, enum uptime_window window, uint64_t at,
			 uint64_t up_ms, uint64_t seen_ms)
{
	struct uptime_share share = uptime_share(uptime, window, at);

	assert_int_equal(share.up_ms, up_ms);
	assert_int_equal(share.seen_ms, seen_ms);
}

/* Second by second, as lbd does. */
static void pass(struct uptime *uptime, uint64_t from, uint64_t ms, bool up)
{
	for (uint64_t at = from + SECOND; at <= from + ms; at += SECOND)
		uptime_add(uptime, at, SECOND, up);
}

static void nothing_is_known_at_first(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");

	for (unsigned i = 0; i < UPTIME_WINDOWS; i++)
		assert_share(uptime, i, NOW, 0, 0);
	uptimes_free(uptimes);
}

static void a_key_has_one_record(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *a = uptimes_get(uptimes, "a"), *b = uptimes_get(uptimes, "b");

	assert_ptr_not_equal(a, b);
	assert_ptr_equal(uptimes_get(uptimes, "a"), a);
	assert_ptr_equal(uptimes_get(uptimes, "b"), b);
	uptimes_free(uptimes);
}

static unsigned count_of_lines(const char *path)
{
	unsigned lines = 0;
	FILE *file = fopen(path, "r");
	int c;

	assert_non_null(file);
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static void save(const struct uptimes *uptimes, const char *path, uint64_t at)
{
	char *text = uptimes_text(uptimes, at);

	assert_non_null(text);
	assert_int_equal(file_replace(path, text), 0);
	free(text);
}

/* Four lines in the file, and one at its head. */
static unsigned kept(struct uptimes *uptimes, uint64_t at)
{
	static const char path[] = "/tmp/test_uptime_tidy";
	unsigned lines;

	save(uptimes, path, at);
	lines = count_of_lines(path);
	unlink(path);
	assert_int_equal(lines % 4, 1);
	return lines / 4;
}

static void records_of_services_that_are_gone_end(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *here = uptimes_get(uptimes, "here"), *gone = uptimes_get(uptimes, "gone");

	uptimes_get(uptimes, "never seen");
	pass(here, NOW, MINUTE, true);
	pass(gone, NOW, MINUTE, true);
	uptime_use(here);
	uptimes_tidy(uptimes, NOW + DAY);
	assert_ptr_equal(uptimes_get(uptimes, "gone"), gone);
	assert_int_equal(kept(uptimes, NOW + DAY), 2);
	/* used ones stay without anything seen, and each time must be said */
	uptime_use(here);
	uptimes_tidy(uptimes, NOW + 40 * DAY);
	assert_ptr_equal(uptimes_get(uptimes, "here"), here);
	assert_share(uptimes_get(uptimes, "gone"), UPTIME_MONTH, NOW, 0, 0); /* another */
	assert_share(here, UPTIME_MONTH, NOW, MINUTE, MINUTE);
	uptimes_tidy(uptimes, NOW + 40 * DAY);
	assert_share(uptimes_get(uptimes, "here"), UPTIME_MONTH, NOW, 0, 0);
	uptimes_free(uptimes);
}

static void only_so_many_of_them_are_kept_and_those_are_the_latest(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	char key[UPTIME_KEY];

	for (unsigned i = 0; i < UPTIMES_UNUSED_MAX + 100; i++) {
		/* not in their order */
		unsigned number = i * 7919 % (UPTIMES_UNUSED_MAX + 100);

		snprintf(key, sizeof(key), "s%u", number);
		uptime_add(uptimes_get(uptimes, key), NOW + number * MINUTE, SECOND, true);
	}
	uptimes_tidy(uptimes, NOW + 5 * DAY);
	assert_int_equal(kept(uptimes, NOW + 5 * DAY), UPTIMES_UNUSED_MAX);
	for (unsigned i = 0; i < UPTIMES_UNUSED_MAX + 100; i++) {
		snprintf(key, sizeof(key), "s%u", i);
		assert_int_equal(uptime_total(uptimes_get(uptimes, key)).seen_ms,
				 i < 100 ? 0 : SECOND);
	}
	uptimes_free(uptimes);
}

static void each_span_of_a_window_is_told_the_oldest_first(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");
	struct uptime_share spans[UPTIME_SPANS_MAX];

	pass(uptime, NOW - 3 * MINUTE - 42 * SECOND, MINUTE, true);
	pass(uptime, NOW - 42 * SECOND, 20 * SECOND, false);
	assert_int_equal(uptime_spans(uptime, UPTIME_HOUR, NOW, spans), 60);
	for (unsigned i = 0; i < 60; i++) {
		/* a second that ends with a minute is the next minute's */
		uint64_t seen_ms = i == 56   ? 59 * SECOND
				   : i == 57 ? SECOND
				   : i == 59 ? 20 * SECOND
					     : 0;

		assert_int_equal(spans[i].seen_ms, seen_ms);
		assert_int_equal(spans[i].up_ms, i == 59 ? 0 : seen_ms);
	}
	assert_int_equal(uptime_spans(uptime, UPTIME_DAY, NOW + DAY, spans), 24);
	for (unsigned i = 0; i < 24; i++) /* this hour's place is that of a day ago */
		assert_int_equal(spans[i].seen_ms, 0);
	assert_int_equal(uptime_spans(uptime, UPTIME_MONTH, NOW + DAY, spans), 30);
	assert_int_equal(spans[28].up_ms, MINUTE);
	assert_int_equal(spans[28].seen_ms, 80 * SECOND);
	uptimes_free(uptimes);
}

static void each_window_has_what_is_in_it(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");

	pass(uptime, NOW - 2 * HOUR, 2 * HOUR, true);
	pass(uptime, NOW, 36 * SECOND, false);
	/* the present minute and the 59 before it */
	assert_share(uptime, UPTIME_HOUR, NOW + 36 * SECOND, 58 * MINUTE + 43 * SECOND,
		     58 * MINUTE + 79 * SECOND);
	assert_share(uptime, UPTIME_DAY, NOW + 36 * SECOND, 2 * HOUR, 2 * HOUR + 36 * SECOND);
	assert_share(uptime, UPTIME_MONTH, NOW + 36 * SECOND, 2 * HOUR, 2 * HOUR + 36 * SECOND);
	/* an hour later only the longer windows know */
	assert_share(uptime, UPTIME_HOUR, NOW + 2 * HOUR, 0, 0);
	assert_share(uptime, UPTIME_DAY, NOW + 2 * HOUR, 2 * HOUR, 2 * HOUR + 36 * SECOND);
	assert_share(uptime, UPTIME_DAY, NOW + 2 * DAY, 0, 0);
	assert_share(uptime, UPTIME_MONTH, NOW + 29 * DAY, 2 * HOUR, 2 * HOUR + 36 * SECOND);
	assert_share(uptime, UPTIME_MONTH, NOW + 31 * DAY, 0, 0);
	uptimes_free(uptimes);
}

static void a_span_of_the_ring_is_used_again(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");

	uptime_add(uptime, NOW, SECOND, false);
	uptime_add(uptime, NOW + HOUR, SECOND, true); /* the same place among the minutes */
	assert_share(uptime, UPTIME_HOUR, NOW + HOUR, SECOND, SECOND);
	assert_share(uptime, UPTIME_DAY, NOW + HOUR, SECOND, 2 * SECOND);
	assert_int_equal(uptime_total(uptime).seen_ms, 2 * SECOND);
	assert_int_equal(uptime_total(uptime).up_ms, SECOND);
	uptimes_free(uptimes);
}

static void a_clock_that_is_put_back_counts_nothing_of_the_future(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");

	uptime_add(uptime, NOW, SECOND, false);
	assert_share(uptime, UPTIME_HOUR, NOW - DAY, 0, 0);
	uptime_add(uptime, NOW - DAY, SECOND, true);
	assert_share(uptime, UPTIME_HOUR, NOW - DAY, SECOND, SECOND);
	uptimes_free(uptimes);
}

static void assert_connects(struct uptimes *uptimes, enum uptime_window window, uint64_t at,
			    uint64_t answered, uint64_t unanswered)
{
	struct uptime_share share = uptime_share(uptimes_get(uptimes, "a"), window, at);

	assert_int_equal(share.answered, answered);
	assert_int_equal(share.unanswered, unanswered);
}

static void connects_are_in_the_windows_in_which_they_were(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");

	uptime_add_connects(uptime, NOW - 2 * HOUR, 70, 30);
	uptime_add_connects(uptime, NOW, 20, 1);
	uptime_add_connects(uptime, NOW, 0, 0);
	assert_connects(uptimes, UPTIME_HOUR, NOW, 20, 1);
	assert_connects(uptimes, UPTIME_DAY, NOW, 90, 31);
	assert_connects(uptimes, UPTIME_MONTH, NOW + 2 * DAY, 90, 31);
	assert_connects(uptimes, UPTIME_DAY, NOW + 2 * DAY, 0, 0);
	/* the place of a minute an hour ago is used again */
	uptime_add_connects(uptime, NOW + HOUR, 5, 0);
	assert_connects(uptimes, UPTIME_HOUR, NOW + HOUR, 5, 0);
	assert_share(uptime, UPTIME_DAY, NOW, 0, 0); /* of the time nothing is known */
	uptimes_free(uptimes);
}

static void more_connects_than_can_be_counted_keep_their_share(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct uptime *uptime = uptimes_get(uptimes, "a");
	struct uptime_share share;

	uptime_add_connects(uptime, NOW, 3000000000ULL, 1000000000ULL);
	uptime_add_connects(uptime, NOW, 3000000000ULL, 1000000000ULL);
	share = uptime_share(uptime, UPTIME_HOUR, NOW);
	assert_int_equal(share.answered, 3000000000ULL);
	assert_int_equal(share.unanswered, 1000000000ULL);
	uptimes_free(uptimes);
}

/* ---- the file ---- */

static char path[] = "/tmp/lbd-uptime-XXXXXX";

static int make_path(void **state)
{
	strcpy(path, "/tmp/lbd-uptime-XXXXXX");
	return close(mkstemp(path));
}

static int remove_path(void **state)
{
	return unlink(path);
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void it_survives_a_restart(void **state)
{
	struct uptimes *before = uptimes_new(), *after = uptimes_new();
	struct error err;

	pass(uptimes_get(before, "192.0.2.1:80/tcp"), NOW - HOUR, HOUR, true);
	pass(uptimes_get(before, "[2001:db8::1]:0/udp"), NOW - MINUTE, MINUTE, false);
	uptime_add_connects(uptimes_get(before, "a"), NOW, 41, 2);
	uptimes_get(before, "never seen");
	uptime_add(uptimes_get(before, "long gone"), NOW - 31 * DAY, SECOND, true);
	save(before, path, NOW);
	assert_int_equal(uptimes_load(after, path, &err), 0);
	for (unsigned i = 0; i < UPTIME_WINDOWS; i++) {
		struct uptime_share share =
		    uptime_share(uptimes_get(before, "192.0.2.1:80/tcp"), i, NOW);

		assert_true(share.seen_ms > 0);
		assert_share(uptimes_get(after, "192.0.2.1:80/tcp"), i, NOW, share.up_ms,
			     share.seen_ms);
	}
	assert_share(uptimes_get(after, "[2001:db8::1]:0/udp"), UPTIME_DAY, NOW, 0, MINUTE);
	for (unsigned i = 0; i < UPTIME_WINDOWS; i++)
		assert_connects(after, i, NOW, 41, 2);
	assert_share(uptimes_get(after, "long gone"), UPTIME_MONTH, NOW - 31 * DAY, 0, 0);
	assert_int_equal(uptime_total(uptimes_get(after, "192.0.2.1:80/tcp")).seen_ms, 0);
	uptimes_free(before);
	uptimes_free(after);
}

static void no_file_is_no_error(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	struct error err;

	assert_int_equal(uptimes_load(uptimes, "/nonexistent/availability.txt", &err), 0);
	uptimes_free(uptimes);
}

static void assert_refused(const char *text, unsigned line)
{
	struct uptimes *uptimes = uptimes_new();
	char expected[128];
	struct error err;

	write_file(text);
	assert_int_equal(uptimes_load(uptimes, path, &err), -EINVAL);
	snprintf(expected, sizeof(expected), "%s: line %u: expected what lbd has written: ", path,
		 line);
	assert_int_equal(strncmp(err.text, expected, strlen(expected)), 0);
	uptimes_free(uptimes);
}

#define HEAD   "lbd availability 2\n"
#define HEAD_1 "lbd availability 1\n"

static void a_file_that_is_something_else_is_refused_with_its_line(void **state)
{
	assert_refused("", 1);
	assert_refused("lbd availability 3\n", 1);
	assert_refused("lbd availability 2", 1);
	assert_refused(HEAD "a\n", 3);
	assert_refused(HEAD "a\nm\nh\n", 5);
	assert_refused(HEAD "a\nm\nh\nd", 5);
	assert_refused(HEAD "a\nm\nd\nh\n", 4);
	assert_refused(HEAD "a\nm 1 2\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 2\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 2 5\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 2 5 x\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 2 5 4294967296\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 3 2 0 0\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 -2 2 0 0\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1  2 2 0 0\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 4294967296 0 0\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 18446744073709551616 2 2 0 0\nh\nd\n", 3);
	assert_refused(HEAD "a\nm 1 2 3 0 0x\nh\nd\n", 3);
	assert_refused(HEAD_1 "a\nm 1 2 2 0\nh\nd\n", 3);
	assert_refused(HEAD "\nm\nh\nd\n", 2);
}

static void a_file_of_before_has_no_connects_and_is_read(void **state)
{
	struct uptimes *uptimes = uptimes_new();
	char text[256];
	struct error err;

	snprintf(text, sizeof(text), HEAD_1 "a\nm\nh %llu 500 1000 %llu 7 9\nd\n", NOW / HOUR,
		 NOW / HOUR - 1);
	write_file(text);
	assert_int_equal(uptimes_load(uptimes, path, &err), 0);
	assert_share(uptimes_get(uptimes, "a"), UPTIME_DAY, NOW, 507, 1009);
	assert_int_equal(uptime_share(uptimes_get(uptimes, "a"), UPTIME_DAY, NOW).answered, 0);
	uptimes_free(uptimes);
}

static void a_file_of_any_bytes_does_no_harm(void **state)
{
	struct error err;
	char text[256];

	srand(7);
	for (unsigned round = 0; round < 2000; round++) {
		static const char letters[] = "mhd 0123456789\n";
		struct uptimes *uptimes = uptimes_new();
		int length = snprintf(text, sizeof(text), HEAD "a\n");

		while (length < 200)
			text[length++] = letters[(unsigned)rand() % (sizeof(letters) - 1)];
		text[length] = 0;
		write_file(text);
		uptimes_load(uptimes, path, &err);
		for (unsigned i = 0; i < UPTIME_WINDOWS; i++) {
			struct uptime_share share = uptime_share(uptimes_get(uptimes, "a"), i, NOW);

			assert_true(share.up_ms <= share.seen_ms);
		}
		uptimes_free(uptimes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_known_at_first),
	    cmocka_unit_test(a_key_has_one_record),
	    cmocka_unit_test(records_of_services_that_are_gone_end),
	    cmocka_unit_test(only_so_many_of_them_are_kept_and_those_are_the_latest),
	    cmocka_unit_test(each_window_has_what_is_in_it),
	    cmocka_unit_test(each_span_of_a_window_is_told_the_oldest_first),
	    cmocka_unit_test(a_span_of_the_ring_is_used_again),
	    cmocka_unit_test(a_clock_that_is_put_back_counts_nothing_of_the_future),
	    cmocka_unit_test(connects_are_in_the_windows_in_which_they_were),
	    cmocka_unit_test(more_connects_than_can_be_counted_keep_their_share),
	    cmocka_unit_test_setup_teardown(a_file_of_before_has_no_connects_and_is_read, make_path,
					    remove_path),
	    cmocka_unit_test_setup_teardown(it_survives_a_restart, make_path, remove_path),
	    cmocka_unit_test(no_file_is_no_error),
	    cmocka_unit_test_setup_teardown(a_file_that_is_something_else_is_refused_with_its_line,
					    make_path, remove_path),
	    cmocka_unit_test_setup_teardown(a_file_of_any_bytes_does_no_harm, make_path,
					    remove_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
