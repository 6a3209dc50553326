/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/budget.c: shares of the descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lbd/api/budget.h"

static unsigned sum(const struct budget *budget)
{
	return budget->probes + budget->control + budget->metrics + budget->remote;
}

static void shares_and_open_ones_never_exceed_the_limit(void **unused)
{
	for (unsigned limit = 64; limit <= 70000; limit = limit * 5 / 4 + 1)
		for (unsigned open = 0; open + 8 <= limit; open = open * 3 / 2 + 1) {
			struct budget budget;

			budget_share(limit, open, false, &budget);
			assert_true(open + sum(&budget) <= limit);
			budget_share(limit, open, true, &budget);
			assert_true(open + sum(&budget) <= limit);
		}
}

static void listeners_never_get_more_than_probes_or_control(void **unused)
{
	for (unsigned limit = 256; limit <= 1 << 20; limit *= 2) {
		struct budget budget;

		budget_share(limit, 60, true, &budget);
		assert_true(budget.metrics <= budget.control);
		assert_true(budget.remote <= budget.control);
		assert_true(sum(&budget) - budget.probes <= budget.probes);
	}
}

static void who_has_no_listener_gives_it_nothing(void **unused)
{
	struct budget without, with;

	budget_share(1024, 60, false, &without);
	budget_share(1024, 60, true, &with);
	assert_int_equal(without.remote, 0);
	assert_int_equal(with.remote + with.probes, without.probes);
	assert_int_equal(with.control, without.control);
	assert_int_equal(with.metrics, without.metrics);
}

static void a_thousand_descriptors_are_enough_for_all(void **unused)
{
	struct budget budget;

	budget_share(1024, 60, true, &budget);
	assert_true(budget.control > 100);
	assert_true(budget.metrics > 64);
	assert_true(budget.remote > 64);
	assert_true(budget.probes >= 400);
}

static void with_none_left_each_still_has_one(void **unused)
{
	struct budget budget;

	budget_share(10, 12, true, &budget);
	assert_int_equal(budget.control, 1);
	assert_int_equal(budget.metrics, 1);
	assert_int_equal(budget.remote, 1);
	assert_int_equal(budget.probes, 1);
}

static void this_process_has_shares(void **unused)
{
	struct budget budget = {0};

	budget_now(true, &budget);
	assert_true(budget.control && budget.metrics && budget.remote && budget.probes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shares_and_open_ones_never_exceed_the_limit),
	    cmocka_unit_test(listeners_never_get_more_than_probes_or_control),
	    cmocka_unit_test(who_has_no_listener_gives_it_nothing),
	    cmocka_unit_test(a_thousand_descriptors_are_enough_for_all),
	    cmocka_unit_test(with_none_left_each_still_has_one),
	    cmocka_unit_test(this_process_has_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
