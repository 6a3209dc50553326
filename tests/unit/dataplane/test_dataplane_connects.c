/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/dataplane/connects.c on plain memory: the slots of the sample, connects that had no
 * answer, and the times of the last seconds. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define SAMPLE   16
#define BACKENDS 5
#define NOW_MS   1000000

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want;

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, 64});
	dp = memory_dataplane_time_connects(memory, SAMPLE);
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	for (unsigned n = 0; n < BACKENDS; n++)
		want_add(&want, n, 10);
	want.service.slots = 127;
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

/* How many of the backend's slots are stable, and have a front as if they were not. */
static unsigned sampled(unsigned n)
{
	uint32_t base = LB_REGION_BASE(want_line(dp, &want)->ring), size, found = 0;
	const uint32_t *slots = want_slots(dp, &want, &size);

	for (uint32_t i = 0; i < size; i++) {
		uint16_t front = dp->maps.fronts[base + i];

		if (LB_SLOT_CURRENT(slots[i]) != want_id(dp, &want, n) ||
		    slots[i] & LB_SLOT_TRANSITION)
			continue;
		assert_int_equal(front & LB_MAX_BACKENDS, LB_SLOT_CURRENT(slots[i]));
		found += front & LB_FRONT_TRANSITION ? 1 : 0;
	}
	return found;
}

static unsigned slots_of(unsigned n)
{
	uint32_t size, found = 0;
	const uint32_t *slots = want_slots(dp, &want, &size);

	for (uint32_t i = 0; i < size; i++)
		found += LB_SLOT_CURRENT(slots[i]) == want_id(dp, &want, n);
	return found;
}

/* Rounded up: also where a backend has fewer slots than the sample is one in. */
static void expect_sample(void)
{
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_int_equal(sampled(n), (slots_of(n) + SAMPLE - 1) / SAMPLE);
}

LB_TEST(each_backend_has_its_share_of_slots_in_the_sample)
{
	want_commit(dp, &want, 1);
	expect_sample();
	want_commit(dp, &want, 1);
	expect_sample();
}

LB_TEST(after_changes_have_settled_each_backend_still_has)
{
	dp->clock = 1000;
	want_commit(dp, &want, 1);
	want_find(&want, 1)->weight = 40;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 2, 3000);
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_true(sampled(n) >= 1);
	expect_sample();
}

LB_TEST(services_that_track_always_and_udp_have_no_such_slots)
{
	want.service.track_always = true;
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_int_equal(sampled(n), 0);
	teardown(NULL);
	setup(NULL);
	want.service.protocol = IPPROTO_UDP;
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_int_equal(sampled(n), 0);
}

LB_TEST(an_lbd_that_takes_over_without_a_sample_ends_it)
{
	want_commit(dp, &want, 1);
	assert_true(sampled(0) > 0);
	dp = memory_dataplane_restart(memory);
	want_commit(dp, &want, 1);
	expect_sample();
	memory->options.sample = 0;
	dp = memory_dataplane_restart(memory);
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_int_equal(sampled(n), 0);
}

static struct dp_connects connects(unsigned n)
{
	struct addr address = want_address(n);
	struct dp_connects found;

	assert_true(dataplane_connects(dp, &want.service, &address, &found));
	return found;
}

static uint32_t clock_units(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) >>
			  LB_PROBE_TIME_SHIFT);
}

/* A SYN that was noted so long ago. */
static void put_probe(unsigned at, unsigned n, uint32_t ago_ms)
{
	uint32_t ago = (uint32_t)(ago_ms * 1000000ULL >> LB_PROBE_TIME_SHIFT);

	dp->maps.probes[at] =
	    LB_PROBE(at, want_id(dp, &want, n), (clock_units() - ago) & LB_PROBE_TIME);
}

LB_TEST(connects_without_an_answer_within_3_s_are_counted_once)
{
	want_commit(dp, &want, 1);
	put_probe(5, 1, 3100);
	put_probe(6, 2, 60000);
	put_probe(7, 1, 1000);
	dataplane_connects_tick(dp, NOW_MS);
	dataplane_connects_tick(dp, NOW_MS + 1);
	assert_int_equal(connects(1).unanswered, 1);
	assert_int_equal(connects(2).unanswered, 1);
	assert_int_equal(dp->maps.probes[5], 0);
	assert_int_not_equal(dp->maps.probes[7], 0);
}

/* Of forward: nat: the client of a SYN with a forged address never confirms the answer. */
LB_TEST(a_connect_that_the_backend_has_answered_is_not_unanswered)
{
	want_commit(dp, &want, 1);
	put_probe(5, 1, 3100);
	dp->maps.probes[5] |= LB_PROBE_ANSWERED;
	put_probe(6, 1, 1000);
	dp->maps.probes[6] |= LB_PROBE_ANSWERED;
	dataplane_connects_tick(dp, NOW_MS);
	assert_int_equal(connects(1).unanswered, 0);
	assert_int_equal(dp->maps.probes[5], 0);
	assert_int_not_equal(dp->maps.probes[6], 0);
}

LB_TEST(a_request_waits_17_s_for_its_first_byte)
{
	want_commit(dp, &want, 1);
	for (unsigned at = 4; at < 8; at++) {
		put_probe(at, 1, at % 2 ? 17100 : 16000);
		dp->maps.probes[at] |= LB_PROBE_OPEN | (at < 6 ? LB_PROBE_ASKED : 0);
	}
	dataplane_connects_tick(dp, NOW_MS);
	dataplane_connects_tick(dp, NOW_MS + 1);
	assert_int_equal(connects(1).first_byte.none, 1); /* the other one has not asked */
	assert_int_equal(connects(1).unanswered, 0);
	for (unsigned at = 4; at < 8; at++)
		assert_int_equal(dp->maps.probes[at] == 0, at % 2);
}

/* The clock is read once, and packets go on meanwhile. */
LB_TEST(a_syn_that_comes_while_lbd_looks_is_not_unanswered)
{
	want_commit(dp, &want, 1);
	dp->maps.probes[5] =
	    LB_PROBE(5, want_id(dp, &want, 1), (clock_units() + 1000) & LB_PROBE_TIME);
	dataplane_connects_tick(dp, NOW_MS);
	assert_int_equal(connects(1).unanswered, 0);
	assert_int_not_equal(dp->maps.probes[5], 0);
}

static struct lb_connects *line(unsigned n)
{
	return &dp->maps.connects[want_id(dp, &want, n)];
}

LB_TEST(quantiles_are_those_of_the_last_seconds)
{
	const uint32_t fast = 100000 >> LB_PROBE_TIME_SHIFT,
		       slow = 1000000000 >> LB_PROBE_TIME_SHIFT;
	struct dp_connects found;

	want_commit(dp, &want, 1);
	dataplane_connects_tick(dp, NOW_MS);
	found = connects(0);
	assert_int_equal(found.p50_us + found.p95_us + found.p99_us, 0);
	line(0)->word[lb_connect_bucket(fast)] = 90;
	line(0)->word[lb_connect_bucket(slow)] = 10;
	line(0)->word[LB_CONNECT_SAMPLED] = 110;
	line(0)->word[LB_CONNECT_RETRIED] = 20;
	found = connects(0);
	assert_in_range(found.p50_us, 85, 115);
	assert_in_range(found.p95_us, 880000, 1130000);
	assert_in_range(found.p99_us, 880000, 1130000);
	assert_int_equal(found.recent.sampled, 110);
	assert_int_equal(found.recent.answered, 100);
	assert_int_equal(found.recent.retried, 20);
	dataplane_connects_tick(dp, NOW_MS + 5000);
	assert_int_equal(connects(0).recent.sampled, 110);
	dataplane_connects_tick(dp, NOW_MS + 10000);
	found = connects(0);
	assert_int_equal(found.recent.sampled, 0);
	assert_int_equal(found.p50_us, 0);
	assert_int_equal(found.sampled, 110); /* since the start */
	assert_int_equal(connects(1).sampled, 0);
}

LB_TEST(refused_connects_fail_beside_those_without_an_answer)
{
	struct dp_connects found;

	want_commit(dp, &want, 1);
	dataplane_connects_tick(dp, NOW_MS);
	line(0)->word[LB_CONNECT_SAMPLED] = 100;
	line(0)->word[LB_CONNECT_RETRIED] = 5;
	line(0)->word[LB_CONNECT_UNANSWERED] = 7;
	line(0)->word[LB_CONNECT_REFUSED] = 20;
	line(0)->word[LB_CONNECT_ANSWERED_AGAIN] = 2;
	found = connects(0);
	assert_int_equal(found.refused, 20);
	assert_int_equal(found.answered_again, 2);
	assert_int_equal(found.recent.refused, 20);
	assert_int_equal(found.recent.failed, 27);
}

/* The middle of each bucket lies in it. */
LB_TEST(a_time_is_off_by_an_eighth_at_most)
{
	want_commit(dp, &want, 1);
	for (uint32_t us = 100; us < 4000000; us += us / 7) {
		uint32_t found;

		memset(line(0), 0, sizeof(*line(0)));
		line(0)->word[lb_connect_bucket((uint32_t)(us * 1000ULL >> LB_PROBE_TIME_SHIFT))] =
		    1;
		found = connects(0).p50_us;
		assert_in_range(found, us - us / 7, us + us / 7 + 8);
	}
}

/* The first bytes of so many of the backend's connections took so long. */
static void put_first_bytes(unsigned n, uint32_t us, unsigned count)
{
	uint32_t units = (uint32_t)(us * 1000ULL >> LB_PROBE_TIME_SHIFT);

	line(n)->word[lb_first_byte_bucket(units)] += count;
}

LB_TEST(first_bytes_have_quantiles_of_their_own)
{
	struct dp_connects found;

	want_commit(dp, &want, 1);
	dataplane_connects_tick(dp, NOW_MS);
	put_first_bytes(0, 200000, 90);
	put_first_bytes(0, 9000000, 10); /* longer than a connect may take */
	line(0)->word[LB_CONNECT_NO_BYTE] = 3;
	found = connects(0);
	assert_in_range(found.first_byte.p50_us, 175000, 225000);
	assert_in_range(found.first_byte.p95_us, 7900000, 10200000);
	assert_in_range(found.first_byte.p99_us, 7900000, 10200000);
	assert_int_equal(found.first_byte.timed, 100);
	assert_int_equal(found.first_byte.recent, 100);
	assert_int_equal(found.first_byte.none, 3);
	assert_int_equal(found.answered, 0);
	assert_int_equal(found.p50_us, 0);
	dataplane_connects_tick(dp, NOW_MS + 5000);
	dataplane_connects_tick(dp, NOW_MS + 10000);
	found = connects(0);
	assert_int_equal(found.first_byte.recent, 0);
	assert_int_equal(found.first_byte.p50_us, 0);
	assert_int_equal(found.first_byte.timed, 100);
	line(0)->word[LB_CONNECT_WORDS - 1] = 1; /* the last bucket */
	assert_in_range(connects(0).first_byte.p99_us, 14000000, 17200000);
}

LB_TEST(another_backend_with_the_id_begins_with_nothing)
{
	want_commit(dp, &want, 1);
	line(0)->word[LB_CONNECT_SAMPLED] = 7;
	dataplane_connects_tick(dp, NOW_MS);
	connects_forget(dp, want_id(dp, &want, 0));
	assert_int_equal(connects(0).sampled, 0);
	assert_int_equal(connects(0).recent.sampled, 0);
}

/* ---- of a service ---- */

static struct dp_connects connects_of_all(void)
{
	struct dp_connects found;

	assert_true(dataplane_service_connects(dp, &want.service, &found));
	return found;
}

/* So many of the backend's connects took so long. */
static void answer(unsigned n, uint32_t us, unsigned count)
{
	line(n)->word[lb_connect_bucket((uint32_t)(us * 1000ULL >> LB_PROBE_TIME_SHIFT))] += count;
	line(n)->word[LB_CONNECT_SAMPLED] += count;
}

LB_TEST(a_service_has_the_connects_of_all_its_backends)
{
	struct dp_connects found;

	want_commit(dp, &want, 1);
	answer(0, 100, 90);
	answer(1, 1000000, 10);
	line(2)->word[LB_CONNECT_SAMPLED] += 5;
	line(2)->word[LB_CONNECT_UNANSWERED] += 3;
	line(2)->word[LB_CONNECT_RETRIED] += 4;
	assert_int_equal(connects_of_all().sampled, 0); /* as of the last tick */
	dataplane_connects_tick(dp, NOW_MS);
	found = connects_of_all();
	assert_int_equal(found.sampled, 105);
	assert_int_equal(found.answered, 100);
	assert_int_equal(found.unanswered, 3);
	assert_int_equal(found.recent.answered, 100);
	assert_int_equal(found.recent.failed, 4);
	assert_in_range(found.p50_us, 85, 115);
	assert_in_range(found.p95_us, 880000, 1130000);
	assert_in_range(found.mean_us, 88000, 113000);
	dataplane_connects_tick(dp, NOW_MS + 5000);
	dataplane_connects_tick(dp, NOW_MS + 10000);
	found = connects_of_all();
	assert_int_equal(found.answered, 100);
	assert_int_equal(found.recent.sampled, 0);
	assert_int_equal(found.p95_us, 0);
}

LB_TEST(what_is_counted_of_a_service_stays_when_a_backend_leaves)
{
	dp->clock = 1000;
	want_commit(dp, &want, 1);
	answer(0, 100, 7);
	answer(1, 100, 5);
	dataplane_connects_tick(dp, NOW_MS);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 3, 3000);
	want_commit(dp, &want, 1);
	dataplane_connects_tick(dp, NOW_MS + 1000);
	assert_int_equal(connects_of_all().answered, 12);
	want_add(&want, 9, 10); /* gets the id */
	want_commit(dp, &want, 1);
	answer(1, 100, 1);
	dataplane_connects_tick(dp, NOW_MS + 2000);
	assert_int_equal(connects_of_all().answered, 13);
}

LB_TEST(counts_of_the_program_that_wrap_do_not_decrease_those_of_the_service)
{
	want_commit(dp, &want, 1);
	line(0)->word[LB_CONNECT_SAMPLED] = UINT32_MAX - 1;
	dataplane_connects_tick(dp, NOW_MS);
	line(0)->word[LB_CONNECT_SAMPLED] = 3;
	dataplane_connects_tick(dp, NOW_MS + 1000);
	assert_int_equal(connects_of_all().sampled, (uint64_t)UINT32_MAX + 4);
}

LB_TEST(the_histogram_counts_each_connect_below_its_bound)
{
	struct dp_times found, first_bytes;
	unsigned seen = 0;

	want_commit(dp, &want, 1);
	for (uint32_t us = 20; us < 4000000; us *= 3) {
		answer(0, us, 1);
		seen++;
	}
	dataplane_connects_tick(dp, NOW_MS);
	assert_true(dataplane_times(dp, &want.service, &found, &first_bytes));
	for (unsigned i = 0; i <= DP_HANDSHAKE_BOUNDS; i++) {
		double from = i ? dataplane_time_bound_s(i - 1) : 0;
		unsigned within = 0;

		for (uint32_t us = 20; us < 4000000; us *= 3)
			within += us / 1e6 >= from && (i == DP_HANDSHAKE_BOUNDS ||
						       us / 1e6 < dataplane_time_bound_s(i));
		assert_int_equal(found.counts[i], within);
		seen -= within;
	}
	assert_int_equal(seen, 0);
	assert_true(found.sum_s > 4.6 && found.sum_s < 6.1);
}

LB_TEST(first_bytes_have_a_histogram_of_their_own)
{
	struct dp_times handshakes, found;

	want_commit(dp, &want, 1);
	put_first_bytes(0, 200000, 2);
	put_first_bytes(1, 9000000, 1);
	dataplane_connects_tick(dp, NOW_MS);
	assert_true(dataplane_times(dp, &want.service, &handshakes, &found));
	for (unsigned i = 0; i <= found.bounds; i++) {
		double from = i ? dataplane_time_bound_s(i - 1) : 0;
		double to = i < found.bounds ? dataplane_time_bound_s(i) : 1000;

		assert_int_equal(found.counts[i],
				 (from <= 0.2 && 0.2 < to ? 2 : 0) + (from <= 9 && 9 < to ? 1 : 0));
	}
	assert_true(found.sum_s > 8.2 && found.sum_s < 10.6);
	assert_true(handshakes.sum_s == 0);
}

LB_TEST(a_service_that_gets_the_id_of_another_begins_with_nothing)
{
	dp->clock = 1000;
	want_commit(dp, &want, 1);
	answer(0, 100, 7);
	dataplane_connects_tick(dp, NOW_MS);
	want_commit(dp, &want, 0);
	sweep_rounds(dp, 3, 3000);
	want_commit(dp, &want, 1);
	dataplane_connects_tick(dp, NOW_MS + 1000);
	assert_int_equal(connects_of_all().answered, 0);
}

LB_TEST(udp_has_no_connects)
{
	struct addr address = want_address(0);
	struct dp_connects found;

	want.service.protocol = IPPROTO_UDP;
	want_commit(dp, &want, 1);
	assert_false(dataplane_connects(dp, &want.service, &address, &found));
	assert_false(dataplane_service_connects(dp, &want.service, &found));
}

LB_TEST_MAIN("dataplane: connects", .setup = setup, .teardown = teardown)
