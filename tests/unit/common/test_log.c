/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/log.h: debug lines cost nothing when they are off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/log.h"

static int count_calls(int *calls)
{
	return ++*calls;
}

static void arguments_of_debug_lines_are_evaluated_only_with_debug(void **unused)
{
	int calls = 0;

	log_debug("%d", count_calls(&calls));
	assert_int_equal(calls, 0);
	assert_false(log_debugs());
	log_set_level(LOG_DEBUG);
	log_debug("%d", count_calls(&calls));
	assert_int_equal(calls, 1);
	assert_true(log_debugs());
	log_set_level(LOG_INFO);
}

static void a_debug_line_is_one_statement(void **unused)
{
	bool other = false;

	if (log_debugs())
		log_debug("never");
	else
		other = true;
	assert_true(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arguments_of_debug_lines_are_evaluated_only_with_debug),
	    cmocka_unit_test(a_debug_line_is_one_statement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
