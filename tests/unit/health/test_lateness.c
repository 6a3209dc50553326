/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rules about time, tested with a simulated clock: how late the loop is, whether a probe of a late
 * loop counts, when the next probe begins. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lbd/health/schedule.h"
#include "lbd/health/verdict.h"
#include "lbd/host/lateness.h"

#define MS     1000ULL
#define SECOND 1000000ULL

/* ---- how late the loop is ---- */

static void beats_on_time_are_no_lateness(void **state)
{
	struct lateness_meter meter;
	uint64_t now = 5 * SECOND;

	lateness_start(&meter, now);
	for (unsigned i = 0; i < 20; i++)
		lateness_beat(&meter, now += LATENESS_BEAT_US);
	assert_int_equal(lateness_total(&meter, now), 0);
	assert_int_equal(meter.max_us, 0);
	assert_int_equal(meter.beats, 20);
	assert_int_equal(meter.buckets[0], 20);
}

static void lateness_grows_while_a_beat_is_due_and_never_shrinks(void **state)
{
	struct lateness_meter meter;
	uint64_t now, last = 0, due = LATENESS_BEAT_US;

	lateness_start(&meter, 0);
	for (now = 0; now < 10 * SECOND; now += 7 * MS) {
		uint64_t total = lateness_total(&meter, now);

		assert_true(total >= last);
		last = total;
		if (now >= due + 300 * MS) { /* each beat comes 300 ms late, give or take a step */
			lateness_beat(&meter, now);
			due = now + LATENESS_BEAT_US;
		}
	}
	assert_in_range(last, 8 * SECOND, 9 * SECOND); /* 300 of every 350 ms */
}

static void stop_between_two_beats_is_seen_except_for_one_beat(void **state)
{
	for (uint64_t begin = 0; begin <= LATENESS_BEAT_US; begin += MS) {
		struct lateness_meter meter;

		lateness_start(&meter, 0);
		lateness_beat(&meter, begin + SECOND); /* stopped for a second, starting at begin */
		assert_in_range(lateness_total(&meter, begin + SECOND), SECOND - LATENESS_BEAT_US,
				SECOND);
	}
}

static void histogram_has_each_beat_once_in_its_bucket(void **state)
{
	static const uint64_t bounds[] = LATENESS_BOUNDS;
	struct lateness_meter meter;
	uint64_t now = 0, sum = 0;

	assert_int_equal(sizeof(bounds) / sizeof(bounds[0]), LATENESS_BUCKETS - 1);
	lateness_start(&meter, now);
	for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
		uint64_t late = i < LATENESS_BUCKETS - 1 ? bounds[i] : bounds[i - 1] + 1;

		lateness_beat(&meter, now += LATENESS_BEAT_US + late);
		sum += late;
		assert_int_equal(meter.buckets[i], 1);
	}
	assert_int_equal(meter.beats, LATENESS_BUCKETS);
	assert_int_equal(meter.sum_us, sum);
	assert_int_equal(meter.max_us, bounds[LATENESS_BUCKETS - 2] + 1);
}

static void recent_lateness_is_forgotten_within_two_minutes(void **state)
{
	struct lateness_meter meter;
	uint64_t now = 0, late_at;

	lateness_start(&meter, now);
	lateness_beat(&meter, now += LATENESS_BEAT_US + 700 * MS);
	late_at = now;
	while (now < late_at + 59 * SECOND)
		lateness_beat(&meter, now += LATENESS_BEAT_US);
	assert_int_equal(lateness_recent(&meter, now), 700 * MS);
	while (now < late_at + 121 * SECOND)
		lateness_beat(&meter, now += LATENESS_BEAT_US);
	assert_int_equal(lateness_recent(&meter, now), 0);
	assert_int_equal(meter.max_us, 700 * MS);
	/* one is due */
	assert_int_equal(lateness_recent(&meter, now + LATENESS_BEAT_US + 400 * MS), 400 * MS);
}

/* ---- whether a probe counts ---- */

static enum verdict timed_out(uint64_t elapsed_us, uint64_t late_us, bool repeated,
			      uint64_t *ret_wait_us)
{
	const struct verdict_case of = {.timeout_us = SECOND,
					.elapsed_us = elapsed_us,
					.late_us = late_us,
					.beats = 100,
					.timed_out = true,
					.repeated = repeated};

	*ret_wait_us = 0;
	return verdict_of(&of, ret_wait_us);
}

static void timeout_with_a_loop_on_time_is_a_failure(void **state)
{
	uint64_t wait;

	assert_int_equal(timed_out(SECOND, 0, false, &wait), VERDICT_FAILED);
	assert_int_equal(timed_out(SECOND + 3 * MS, 100 * MS, false, &wait), VERDICT_FAILED);
}

static void timeout_of_a_late_loop_is_void(void **state)
{
	uint64_t wait;

	assert_int_equal(timed_out(SECOND, 101 * MS, false, &wait), VERDICT_VOID);
	/* the timeout itself was late */
	assert_int_equal(timed_out(1101 * MS, 0, false, &wait), VERDICT_VOID);
	assert_int_equal(timed_out(3600 * SECOND, 3599 * SECOND, false, &wait), VERDICT_VOID);
}

static void repeated_probe_gets_the_time_that_the_loop_lost(void **state)
{
	uint64_t wait;

	assert_int_equal(timed_out(SECOND, 400 * MS, true, &wait), VERDICT_WAIT);
	assert_int_equal(wait, 400 * MS);
	assert_int_equal(timed_out(1400 * MS, 400 * MS, true, &wait), VERDICT_FAILED);
	assert_int_equal(timed_out(1400 * MS, 600 * MS, true, &wait), VERDICT_WAIT);
	assert_int_equal(wait, 200 * MS);
}

/* With 30 ms of timeout lateness may fall between two beats of 50 ms. */
static void repeated_probe_is_given_turns_of_the_loop_however_short_its_timeout(void **state)
{
	struct verdict_case of = {.timeout_us = 30 * MS, .timed_out = true, .repeated = true};
	uint64_t wait;

	for (of.beats = 0; of.beats < VERDICT_BEATS; of.beats++) {
		of.elapsed_us += 50 * MS;
		of.late_us += 4 * MS;
		assert_int_equal(verdict_of(&of, &wait), VERDICT_WAIT);
		assert_int_equal(wait, LATENESS_BEAT_US);
	}
	assert_int_equal(verdict_of(&of, &wait), VERDICT_FAILED);
}

static void bad_answer_to_a_late_loop_is_void_once(void **state)
{
	struct verdict_case of = {
	    .timeout_us = SECOND, .elapsed_us = 70 * SECOND, .late_us = 70 * SECOND};
	uint64_t wait;

	assert_int_equal(verdict_of(&of, &wait), VERDICT_VOID);
	of.repeated = true;
	assert_int_equal(verdict_of(&of, &wait), VERDICT_FAILED);
	of.repeated = false;
	of.late_us = 0;
	assert_int_equal(verdict_of(&of, &wait), VERDICT_FAILED);
}

/* The loop listens for only `percent` of every second. */
static void dead_backend_is_found_however_late_the_loop_is(void **state)
{
	for (unsigned percent = 1; percent <= 100; percent++) {
		uint64_t elapsed = SECOND, late = elapsed * (100 - percent) / 100, wait;
		unsigned rounds = 0;

		while (timed_out(elapsed, late, true, &wait) == VERDICT_WAIT) {
			assert_in_range(wait, 1, SECOND);
			elapsed += wait;
			late = elapsed * (100 - percent) / 100;
			assert_true(++rounds < 2000);
		}
		assert_true(elapsed - late >= SECOND || late <= SECOND / 10);
	}
}

/* ---- when the next probe begins ---- */

static uint32_t draw(void)
{
	static uint32_t number = 1;

	return number = number * 1664525 + 1013904223;
}

static void probes_start_an_interval_apart_or_up_to_5_percent_less(void **state)
{
	static const uint32_t intervals[] = {100, 2000, 3600000};

	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 10000; j++) {
			uint64_t gone = draw() % (intervals[i] + 1);
			uint64_t start_to_start =
			    gone + schedule_next(intervals[i], true, gone, draw());

			assert_in_range(start_to_start, intervals[i] - intervals[i] / 20,
					intervals[i]);
		}
}

static void second_probe_draws_a_place_in_the_interval(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned j = 0; j < 10000; j++) {
		uint64_t next = schedule_next(2000, false, 0, draw());

		least = next < least ? next : least;
		most = next > most ? next : most;
	}
	assert_in_range(least, 1000, 1020);
	assert_in_range(most, 1980, 2000);
}

static void first_probe_comes_soon_unless_the_status_is_known(void **state)
{
	uint64_t most_new = 0, most_known = 0;

	for (unsigned j = 0; j < 10000; j++) {
		uint64_t new = schedule_first(60000, false, draw()),
			 known = schedule_first(60000, true, draw());

		most_new = new > most_new ? new : most_new;
		most_known = known > most_known ? known : most_known;
		assert_true(schedule_first(200, false, draw()) < 50);
	}
	assert_in_range(most_new, 490, 499);
	assert_in_range(most_known, 59000, 59999);
}

/* Otherwise a thousand checks that a stop has delayed would all begin at the same moment from then
 * on. */
static void checks_that_missed_their_time_are_spread_again(void **state)
{
	unsigned tenths[10] = {0};

	for (unsigned j = 0; j < 1000; j++) {
		uint64_t next = schedule_next(2000, true, 2001 + draw() % 60000, draw());

		assert_true(next <= 1000);
		tenths[next == 1000 ? 9 : next / 100]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(tenths[i], 50, 150);
}

/* Ten thousand that are due at once keep nothing else waiting, and all begin. */
static void probes_that_are_due_at_once_begin_a_few_at_a_time(void **state)
{
	enum { CHECKS = 10000 };
	struct schedule_pace pace = {0};
	unsigned left = CHECKS, most = 0;

	for (uint64_t now_us = 1000000; left; now_us += SCHEDULE_SPAN_US) {
		unsigned begun = 0;

		for (unsigned i = 0; i < left; i++)
			begun += schedule_may_begin(&pace, now_us + i % SCHEDULE_SPAN_US);
		most = begun > most ? begun : most;
		assert_in_range(begun, 1, left);
		left -= begun;
	}
	assert_int_equal(most, SCHEDULE_SPAN_MOST);
}

static void few_probes_begin_when_they_are_due(void **state)
{
	struct schedule_pace pace = {0};

	for (unsigned i = 0; i < SCHEDULE_SPAN_MOST; i++)
		assert_true(schedule_may_begin(&pace, 1000000));
	assert_false(schedule_may_begin(&pace, 1000000 + SCHEDULE_SPAN_US - 1));
	assert_true(schedule_may_begin(&pace, 1000000 + SCHEDULE_SPAN_US));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(beats_on_time_are_no_lateness),
	    cmocka_unit_test(lateness_grows_while_a_beat_is_due_and_never_shrinks),
	    cmocka_unit_test(stop_between_two_beats_is_seen_except_for_one_beat),
	    cmocka_unit_test(histogram_has_each_beat_once_in_its_bucket),
	    cmocka_unit_test(recent_lateness_is_forgotten_within_two_minutes),
	    cmocka_unit_test(timeout_with_a_loop_on_time_is_a_failure),
	    cmocka_unit_test(timeout_of_a_late_loop_is_void),
	    cmocka_unit_test(repeated_probe_gets_the_time_that_the_loop_lost),
	    cmocka_unit_test(repeated_probe_is_given_turns_of_the_loop_however_short_its_timeout),
	    cmocka_unit_test(bad_answer_to_a_late_loop_is_void_once),
	    cmocka_unit_test(dead_backend_is_found_however_late_the_loop_is),
	    cmocka_unit_test(probes_start_an_interval_apart_or_up_to_5_percent_less),
	    cmocka_unit_test(second_probe_draws_a_place_in_the_interval),
	    cmocka_unit_test(first_probe_comes_soon_unless_the_status_is_known),
	    cmocka_unit_test(checks_that_missed_their_time_are_spread_again),
	    cmocka_unit_test(probes_that_are_due_at_once_begin_a_few_at_a_time),
	    cmocka_unit_test(few_probes_begin_when_they_are_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
