/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/passive.c: which backends' connects fail, and for how long these take no flow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lbd/state/passive.h"

#define NOW 1000000ULL

static bool fails(uint64_t failed, uint64_t connects, uint64_t others_failed, uint64_t others)
{
	return passive_fails(&(struct passive_sight){connects, failed},
			     &(struct passive_sight){others, others_failed}, 50);
}

static void it_fails_from_the_share_and_the_number_on(void **unused)
{
	assert_true(fails(10, 20, 0, 100));
	assert_false(fails(9, 20, 0, 100));
	assert_false(fails(19, 19, 0, 100)); /* too few to say */
	assert_true(fails(40, 20, 0, 100));  /* sent again more than once */
	assert_false(fails(0, 0, 0, 0));
}

static void what_fails_on_all_backends_is_no_backends_fault(void **unused)
{
	assert_false(fails(100, 100, 300, 300)); /* a flood of forged SYNs */
	assert_false(fails(60, 100, 90, 300));   /* half as often: not far enough apart */
	assert_true(fails(60, 100, 89, 300));
	assert_false(fails(60, 100, 0, 19)); /* the others say too little */
	assert_false(fails(60, 100, 0, 0));
}

static void each_time_lasts_longer_up_to_a_bound(void **unused)
{
	static const unsigned spans_s[] = {30, 60, 120, 240, 300, 300};
	const struct passive_sight sight = {40, 30};
	struct passive passive = {0};
	uint64_t now = NOW;

	assert_false(passive_holds(&passive, now));
	for (unsigned i = 0; i < sizeof(spans_s) / sizeof(*spans_s); i++) {
		passive_take_out(&passive, &sight, now);
		assert_int_equal(passive.failed, 30);
		assert_int_equal(passive.connects, 40);
		now += 1000 * spans_s[i];
		assert_true(passive_holds(&passive, now - 1));
		assert_false(passive_holds(&passive, now));
		now += 20000;
	}
	now += PASSIVE_MOST_MS; /* it was well for so long */
	passive_take_out(&passive, &sight, now);
	assert_false(passive_holds(&passive, now + PASSIVE_SPAN_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_fails_from_the_share_and_the_number_on),
	    cmocka_unit_test(what_fails_on_all_backends_is_no_backends_fault),
	    cmocka_unit_test(each_time_lasts_longer_up_to_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
