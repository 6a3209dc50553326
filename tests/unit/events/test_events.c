/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is recorded of a change, what is kept of it in memory and on disk, and what a later lbd
 * makes of the file. */
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
#include <jansson.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "lbd/events/events.h"
#include "lbd/events/internal.h"
#include "events_say.h"
#include "support/test_file.h"

static char directory[] = "/tmp/lbd-test-events-XXXXXX";
static char path[64], bad_path[80];

static void begin(void)
{
	const struct events_options options = {.path = path};
	struct error err;

	if (events_open(&options, &err))
		fail_msg("%s", err.text);
}

static int clean(void **unused)
{
	events_close();
	events_ask_as(NULL);
	unlink(path);
	unlink(bad_path);
	return 0;
}

static json_t *parsed(const struct event_record *record)
{
	json_t *json = json_loadb(record->json, record->length, 0, NULL);

	assert_non_null(json);
	return json;
}

static const char *text_of(uint64_t after)
{
	static char text[256];
	struct event_record record;
	json_t *json;

	if (!events_next(after, &record))
		return "";
	json = parsed(&record);
	snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(json, "text")));
	json_decref(json);
	return text;
}

static unsigned count_after(uint64_t after)
{
	struct event_record record;
	unsigned count = 0;

	while (events_next(after, &record)) {
		count++;
		after = record.seq;
	}
	return count;
}

static void they_can_be_read_from_the_newest_back(void **unused)
{
	struct event_record record = {.seq = UINT64_MAX};
	uint64_t seen = 0, last;

	assert_false(events_before(UINT64_MAX, &record)); /* nothing is open */
	begin();
	assert_false(events_before(UINT64_MAX, &record));
	for (unsigned i = 0; i < EVENTS_MAX + 10; i++)
		say("web: backend 10.0.0.1 down: refused");
	for (last = UINT64_MAX; events_before(last, &record); last = record.seq) {
		assert_true(record.seq < last);
		assert_int_equal(seen || record.seq == events_last(), true);
		seen++;
	}
	assert_int_equal(seen, count_after(0)); /* their bytes are bounded too */
	assert_true(seen > EVENTS_MAX / 2);
	assert_false(events_before(0, &record));
}

/* ---- one event ---- */

static void an_event_has_what_the_line_has_and_who_asked(void **unused)
{
	const struct event_actor actor = {.uid = 1234, .name = "eve"};
	struct event_record record;
	struct test_log log;
	json_t *json;

	begin();
	events_ask_as(&actor);
	log_begin(&log);
	say("web: backend 10.0.0.1 down: refused");
	log_end(&log);
	assert_string_equal(log.text, "lbd: warning: web: backend 10.0.0.1 down: refused\n");
	assert_true(events_next(0, &record));
	assert_string_equal(record.service, "web");
	json = parsed(&record);
	assert_int_equal(json_object_size(json), 14);
	assert_int_equal(json_integer_value(json_object_get(json, "seq")), record.seq);
	assert_int_equal(json_integer_value(json_object_get(json, "time_ms")), record.wall_ms);
	assert_string_equal(json_string_value(json_object_get(json, "kind")), "backend-down");
	assert_string_equal(json_string_value(json_object_get(json, "level")), "warning");
	assert_string_equal(json_string_value(json_object_get(json, "backend")), "10.0.0.1");
	assert_string_equal(json_string_value(json_object_get(json, "why")), "refused");
	assert_string_equal(json_string_value(json_object_get(json, "who")), "eve");
	assert_int_equal(json_integer_value(json_object_get(json, "uid")), 1234);
	assert_int_equal(json_integer_value(json_object_get(json, "count")), 1);
	assert_true(json_is_null(json_object_get(json, "interface")));
	assert_true(json_is_null(json_object_get(json, "vip")));
	json_decref(json);
}

static void what_lbd_has_found_nobody_has_asked_for(void **unused)
{
	const struct event_actor actor = {.uid = 1234, .name = "eve"};
	struct event_record record;
	json_t *json;

	begin();
	events_ask_as(&actor);
	events_log(EVENT_service_down, LOG_WARNING, &(struct event_about){.measured = true}, "x");
	assert_true(events_next(0, &record));
	json = parsed(&record);
	assert_string_equal(json_string_value(json_object_get(json, "who")), "lbd");
	assert_true(json_is_null(json_object_get(json, "uid")));
	json_decref(json);
}

static void a_text_of_others_is_made_printable_in_json_too(void **unused)
{
	begin();
	say("a\033[31mb\xff");
	assert_string_equal(text_of(0), "a?[31mb?");
}

static void a_user_without_a_name_is_its_number(void **unused)
{
	struct event_names names = {0};
	struct event_actor actor;

	event_actor_find(&names, 0, &actor);
	assert_string_equal(actor.name, "root");
	event_actor_find(&names, 3999999999U, &actor);
	assert_string_equal(actor.name, "uid 3999999999");
}

static void without_an_open_record_there_is_the_log_alone(void **unused)
{
	struct event_record record;
	struct test_log log;

	log_begin(&log);
	say("only logged");
	log_end(&log);
	assert_non_null(strstr(log.text, "only logged"));
	assert_false(events_next(0, &record));
	assert_int_equal(events_last(), 0);
}

/* ---- in memory ---- */

static void numbers_grow_also_within_one_microsecond(void **unused)
{
	uint64_t last = 0;
	struct event_record record;

	begin();
	for (unsigned i = 0; i < 1000; i++)
		say("x");
	assert_int_equal(count_after(0), 1000);
	while (events_next(last, &record)) {
		assert_true(record.seq > last);
		last = record.seq;
	}
	assert_int_equal(last, events_last());
}

static void more_than_fit_push_out_the_oldest(void **unused)
{
	char text[32];
	uint64_t first;

	begin();
	say("first");
	first = events_last();
	assert_false(events_missed(first - 1));
	for (unsigned i = 0; i < EVENTS_MAX; i++) {
		snprintf(text, sizeof(text), "event %u", i);
		say(text);
	}
	assert_true(count_after(0) <= EVENTS_MAX);
	assert_true(events_missed(first - 1));
	assert_string_not_equal(text_of(0), "first");
}

static void memory_is_bounded_also_when_texts_are_long(void **unused)
{
	struct event_record record = {.seq = 1};
	struct event_ring ring = {.count = 0};
	static char json[EVENT_JSON_MAX];

	memset(json, 'x', sizeof(json));
	record.json = json;
	record.length = sizeof(json);
	for (; record.seq < 2 * EVENTS_BYTES_MAX / sizeof(json); record.seq++)
		assert_int_equal(ring_add(&ring, &record), 0);
	assert_true(ring.bytes <= EVENTS_BYTES_MAX);
	assert_int_equal(ring.count, EVENTS_BYTES_MAX / sizeof(json));
	assert_int_equal(ring.gone, ring_after(&ring, 0)->seq - 1);
	ring_done(&ring);
}

/* ---- on disk ---- */

static void events_outlive_lbd_and_go_on_above_their_numbers(void **unused)
{
	uint64_t last;

	begin();
	say("one");
	say("two");
	last = events_last();
	events_close();
	begin();
	assert_int_equal(events_last(), last);
	assert_int_equal(count_after(0), 2);
	assert_string_equal(text_of(0), "one");
	say("three");
	assert_true(events_last() > last);
	assert_int_equal(count_after(last), 1);
}

/* The clock may have been set back while lbd was stopped. */
static void a_number_from_the_future_is_not_given_again(void **unused)
{
	uint64_t future = (clock_wall_ms() + 3600000) * 1000;
	char text[128];

	snprintf(text, sizeof(text),
		 "{\"seq\":%llu,\"time_ms\":1,\"service\":null,\"text\":\"x\"}\n",
		 (unsigned long long)future);
	test_file_put(path, text);
	begin();
	say("now");
	assert_int_equal(events_last(), future + 1);
}

/* Its file was lost: what the client asks for next is what this lbd has to say. */
static void a_number_of_a_lost_history_is_followed_by_all_of_this_lbd(void **unused)
{
	uint64_t lost = (clock_wall_ms() + 3600000) * 1000;

	begin();
	say("old");
	events_close();
	begin();
	say("new");
	assert_string_equal(text_of(lost), "new");
	assert_int_equal(count_after(lost), 1);
	assert_false(events_missed(lost));
}

static void a_torn_last_line_is_left_out_and_written_over(void **unused)
{
	char *text;
	struct error err;
	FILE *file;

	begin();
	say("whole");
	events_close();
	file = fopen(path, "a");
	fputs("{\"seq\":99", file);
	fclose(file);
	begin();
	assert_int_equal(count_after(0), 1);
	assert_int_equal(access(bad_path, F_OK), -1);
	say("next");
	events_close();
	assert_true(file_read_kept(path, EVENTS_FILE_MAX, &text, &err) > 0);
	assert_null(strstr(text, "{\"seq\":99{"));
	free(text);
	begin();
	assert_int_equal(count_after(0), 2);
}

static void expect_set_aside(const char *text, const char *why)
{
	struct test_log log;

	test_file_put(path, text);
	log_begin(&log);
	begin();
	log_end(&log);
	assert_non_null(strstr(log.text, why));
	assert_int_equal(count_after(0), 0);
	assert_int_equal(access(bad_path, F_OK), 0);
	say("goes on");
	events_close();
	begin();
	assert_string_equal(text_of(0), "goes on");
	clean(NULL);
}

static void a_file_that_cannot_be_used_is_set_aside(void **unused)
{
	static char long_line[EVENT_JSON_MAX + 100];
	int length = snprintf(long_line, sizeof(long_line),
			      "{\"seq\":1,\"time_ms\":1,\"service\":null,\"text\":\"");

	memset(long_line + length, 'x', EVENT_JSON_MAX);
	strcpy(long_line + length + EVENT_JSON_MAX, "\"}\n");
	expect_set_aside("nonsense\n", ":1: ");
	expect_set_aside("{\"seq\":\"1\",\"time_ms\":1,\"service\":null}\n", ":1: ");
	expect_set_aside("{\"seq\":2,\"time_ms\":1}\n", ":1: ");
	expect_set_aside("{\"seq\":2,\"time_ms\":1,\"service\":null}\n"
			 "{\"seq\":2,\"time_ms\":1,\"service\":null}\n",
			 ":2: seq: expected a number above that of the line before");
	expect_set_aside("{\"seq\":4503599627370497,\"time_ms\":1,\"service\":null}\n", ":1: seq");
	expect_set_aside(long_line, "expected at most 16384");
}

static void a_link_is_not_followed(void **unused)
{
	struct test_log log;
	char target[64];

	snprintf(target, sizeof(target), "%s/target", directory);
	test_file_put(target, "");
	assert_int_equal(symlink(target, path), 0);
	log_begin(&log);
	begin();
	say("x");
	log_end(&log);
	assert_non_null(strstr(log.text, "symbolic link"));
	events_close();
	assert_int_equal(unlink(target), 0);
	begin();
	assert_int_equal(count_after(0), 1);
}

static void a_link_in_the_place_of_the_file_is_not_written_through(void **unused)
{
	char target[64];
	struct stat file;

	snprintf(target, sizeof(target), "%s/target", directory);
	begin();
	say("one");
	test_file_put(target, "");
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
	say("two");
	assert_int_equal(stat(target, &file), 0);
	assert_int_equal(file.st_size, 0);
	unlink(target);
}

static void the_file_is_bounded(void **unused)
{
	struct stat file;
	off_t most = 0;
	char text[900];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	begin();
	for (unsigned i = 0; i < 4000; i++) {
		say(text);
		assert_int_equal(stat(path, &file), 0);
		most = file.st_size > most ? file.st_size : most;
	}
	assert_true(most > EVENTS_BYTES_MAX);
	assert_true(most <= EVENTS_FILE_MAX);
	events_close();
	begin();
	assert_true(count_after(0) > 500);
}

static void a_directory_that_is_not_there_is_a_warning(void **unused)
{
	const struct events_options options = {.path = "/tmp/lbd-test-no-such-directory/events"};
	struct test_log log;
	struct error err;

	assert_int_equal(events_open(&options, &err), 0);
	log_begin(&log);
	say("x");
	log_end(&log);
	assert_non_null(strstr(log.text, "events cannot be kept: No such file or directory"));
	assert_int_equal(count_after(0), 1);
}

/* The file is written on another thread, in the end at the latest. */
static void with_a_loop_all_is_on_disk_at_the_end(void **unused)
{
	struct event_base *base = loop_new();
	const struct events_options options = {.base = base, .path = path};
	struct error err;

	assert_int_equal(events_open(&options, &err), 0);
	for (unsigned i = 0; i < 50; i++)
		say("x");
	events_close();
	event_base_free(base);
	begin();
	assert_int_equal(count_after(0), 50);
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_event_has_what_the_line_has_and_who_asked),
	    TEST(what_lbd_has_found_nobody_has_asked_for),
	    TEST(a_text_of_others_is_made_printable_in_json_too),
	    TEST(a_user_without_a_name_is_its_number),
	    TEST(without_an_open_record_there_is_the_log_alone),
	    TEST(they_can_be_read_from_the_newest_back),
	    TEST(numbers_grow_also_within_one_microsecond),
	    TEST(more_than_fit_push_out_the_oldest),
	    TEST(memory_is_bounded_also_when_texts_are_long),
	    TEST(events_outlive_lbd_and_go_on_above_their_numbers),
	    TEST(a_number_from_the_future_is_not_given_again),
	    TEST(a_number_of_a_lost_history_is_followed_by_all_of_this_lbd),
	    TEST(a_torn_last_line_is_left_out_and_written_over),
	    TEST(a_file_that_cannot_be_used_is_set_aside),
	    TEST(a_link_is_not_followed),
	    TEST(a_link_in_the_place_of_the_file_is_not_written_through),
	    TEST(the_file_is_bounded),
	    TEST(a_directory_that_is_not_there_is_a_warning),
	    TEST(with_a_loop_all_is_on_disk_at_the_end),
	};
	int failed;

	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_EMERG);
	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/events.jsonl", directory);
	snprintf(bad_path, sizeof(bad_path), "%s.bad", path);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
