/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/latencies.c: quantiles, and what is forgotten when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lbd/state/latencies.h"

#define NOW (1000 * LATENCIES_HALF_MS + 17) /* early in an even half */

static uint32_t quantile(const struct latencies *latencies, uint64_t now_ms, unsigned percent)
{
	struct latency_sum sum = {0};

	latencies_sum(latencies, now_ms, &sum);
	return latency_quantile(&sum, percent);
}

static void assert_near(uint32_t value, uint32_t expected)
{
	if (abs((int)value - (int)expected) > (int)expected / 8 + 4)
		fail_msg("%u us, expected %u us or an eighth more or less", value, expected);
}

static void nothing_has_no_quantile(void **unused)
{
	struct latencies latencies = {0};

	assert_int_equal(quantile(&latencies, NOW, 50), 0);
}

static void every_latency_is_told_to_an_eighth(void **unused)
{
	for (uint32_t us = 8; us < 16000000; us += us / 3 + 1) {
		struct latencies latencies = {0};

		latencies_add(&latencies, NOW, us);
		assert_near(quantile(&latencies, NOW, 50), us);
	}
}

static void what_is_below_or_above_all_buckets_is_counted_too(void **unused)
{
	struct latencies latencies = {0};

	latencies_add(&latencies, NOW, 0);
	latencies_add(&latencies, NOW, UINT32_MAX);
	assert_true(quantile(&latencies, NOW, 50) <= 8);
	assert_true(quantile(&latencies, NOW, 100) >= 14000000);
}

static void quantiles_are_those_of_the_rank(void **unused)
{
	struct latencies latencies = {0};

	for (unsigned i = 0; i < 100; i++)
		latencies_add(&latencies, NOW, i < 90 ? 100 : i < 96 ? 1000 : 100000);
	assert_near(quantile(&latencies, NOW, 50), 100);
	assert_near(quantile(&latencies, NOW, 90), 100);
	assert_near(quantile(&latencies, NOW, 91), 1000);
	assert_near(quantile(&latencies, NOW, 96), 1000);
	assert_near(quantile(&latencies, NOW, 97), 100000);
	assert_near(quantile(&latencies, NOW, 99), 100000);
}

static void the_last_half_is_kept_and_the_one_before_the_last_is_not(void **unused)
{
	struct latencies latencies = {0};

	latencies_add(&latencies, NOW, 100);
	latencies_add(&latencies, NOW + LATENCIES_HALF_MS, 10000);
	assert_near(quantile(&latencies, NOW + LATENCIES_HALF_MS, 50), 100);
	assert_near(quantile(&latencies, NOW + LATENCIES_HALF_MS, 100), 10000);
	latencies_add(&latencies, NOW + 2 * LATENCIES_HALF_MS, 10000);
	assert_near(quantile(&latencies, NOW + 2 * LATENCIES_HALF_MS, 1), 10000);
}

static void what_is_long_ago_is_forgotten_also_without_new_ones(void **unused)
{
	struct latencies latencies = {0};

	latencies_add(&latencies, NOW, 100);
	assert_near(quantile(&latencies, NOW + LATENCIES_HALF_MS, 50), 100);
	assert_int_equal(quantile(&latencies, NOW + 2 * LATENCIES_HALF_MS, 50), 0);
	latencies_add(&latencies, NOW + 7 * LATENCIES_HALF_MS, 10000);
	assert_near(quantile(&latencies, NOW + 7 * LATENCIES_HALF_MS, 1), 10000);
}

static void a_count_that_is_full_stays(void **unused)
{
	struct latencies latencies = {0};
	struct latency_sum sum = {0};

	for (unsigned i = 0; i < UINT16_MAX + 5; i++)
		latencies_add(&latencies, NOW, 100);
	latencies_sum(&latencies, NOW, &sum);
	assert_int_equal(sum.total, UINT16_MAX);
}

static void those_of_many_add_up(void **unused)
{
	struct latencies fast = {0}, slow = {0};
	struct latency_sum sum = {0};

	for (unsigned i = 0; i < 10; i++)
		latencies_add(&fast, NOW, 100);
	latencies_add(&slow, NOW, 5000);
	latencies_sum(&fast, NOW, &sum);
	latencies_sum(&slow, NOW, &sum);
	assert_int_equal(sum.total, 11);
	assert_near(latency_quantile(&sum, 50), 100);
	assert_near(latency_quantile(&sum, 99), 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_has_no_quantile),
	    cmocka_unit_test(every_latency_is_told_to_an_eighth),
	    cmocka_unit_test(what_is_below_or_above_all_buckets_is_counted_too),
	    cmocka_unit_test(quantiles_are_those_of_the_rank),
	    cmocka_unit_test(the_last_half_is_kept_and_the_one_before_the_last_is_not),
	    cmocka_unit_test(what_is_long_ago_is_forgotten_also_without_new_ones),
	    cmocka_unit_test(a_count_that_is_full_stays),
	    cmocka_unit_test(those_of_many_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
