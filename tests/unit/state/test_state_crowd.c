/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/crowd.c: when flows without room in the flow table are counted and logged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lbd/state/crowd.h"

#define NOW 1000000000ULL

static void what_was_counted_before_lbd_started_does_not_count(void **unused)
{
	struct crowd crowd = {0};

	assert_false(crowd_sample(&crowd, 5000, 5000, NOW));
	assert_int_equal(crowd_last_minute(&crowd, NOW), 0);
}

static void growth_is_shown_for_a_minute_and_then_not(void **unused)
{
	struct crowd crowd = {0};

	crowd_sample(&crowd, 100, 0, NOW);
	crowd_sample(&crowd, 107, 0, NOW + 1000);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 1000), 7);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 49000), 7);
	crowd_sample(&crowd, 107, 0, NOW + 49000);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 49000), 7);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 61000), 0);
	crowd_sample(&crowd, 107, 0, NOW + 61000);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 61000), 0);
}

static void a_flow_that_counts_as_both_counts_once(void **unused)
{
	struct crowd crowd = {0};

	crowd_sample(&crowd, 0, 0, NOW);
	crowd_sample(&crowd, 10, 4, NOW + 1000);
	crowd_sample(&crowd, 10, 9, NOW + 2000);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 2000), 15);
}

static void the_log_warns_at_once_and_then_each_ten_minutes(void **unused)
{
	struct crowd crowd = {0};
	unsigned warnings = 0;

	crowd_sample(&crowd, 0, 0, NOW);
	assert_true(crowd_sample(&crowd, 1, 0, NOW + 1000));
	for (unsigned i = 2; i < 1800; i++)
		warnings += crowd_sample(&crowd, i, 0, NOW + i * 1000);
	assert_int_equal(warnings, 2);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 1799000), 60);
}

static void after_a_long_pause_the_count_is_zero(void **unused)
{
	struct crowd crowd = {0};

	crowd_sample(&crowd, 0, 0, NOW);
	crowd_sample(&crowd, 9, 0, NOW + 1000);
	crowd_sample(&crowd, 10, 0, NOW + 86400000);
	assert_int_equal(crowd_last_minute(&crowd, NOW + 86400000), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_counted_before_lbd_started_does_not_count),
	    cmocka_unit_test(growth_is_shown_for_a_minute_and_then_not),
	    cmocka_unit_test(a_flow_that_counts_as_both_counts_once),
	    cmocka_unit_test(the_log_warns_at_once_and_then_each_ten_minutes),
	    cmocka_unit_test(after_a_long_pause_the_count_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
