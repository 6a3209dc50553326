/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/health/advice.c: the line of an agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/health/health.h"

static void expect(const char *line, const char *means)
{
	struct health_advice advice;
	char why[HEALTH_ADVICE_WHY], text[HEALTH_ADVICE_LINE + 1];

	if (health_advice_parse(line, &advice, why))
		fail_msg("\"%s\": %s", line, why);
	health_advice_format(&advice, text);
	assert_string_equal(text, means);
}

static void refuse(const char *line, const char *expected)
{
	struct health_advice advice;
	char why[HEALTH_ADVICE_WHY];

	assert_int_equal(health_advice_parse(line, &advice, why), -EINVAL);
	assert_string_equal(why, expected);
}

static void states_orders_and_weights_are_read_together(void **state)
{
	expect("up", "up ");
	expect("down", "down ");
	expect("failed", "down ");
	expect("fail", "down ");
	expect("stopped", "down ");
	expect("ready", "ready ");
	expect("drain", "drain ");
	expect("maint", "maint ");
	expect("75%", "75% ");
	expect("0%", "0% ");
	expect("1000%", "1000% ");
	expect("up ready 50%", "up ready 50% ");
	expect("50%,ready,up", "up ready 50% ");
	expect("\tUP \t Ready ", "up ready ");
}

/* As with HAProxy. */
static void the_last_word_of_a_kind_counts(void **state)
{
	expect("up down", "down ");
	expect("drain ready", "ready ");
	expect("10% 20%", "20% ");
}

static void what_follows_a_number_sign_is_the_reason(void **state)
{
	expect("down#disk full", "down #disk full");
	expect("down # up 50%", "down #up 50%");
	expect("drain #", "drain ");
}

static void a_limit_of_connections_is_ignored(void **state)
{
	expect("up maxconn:30", "up ");
	expect("maxconn:30", "");
}

static void what_is_read_is_written_and_read_again(void **state)
{
	static const char *const lines[] = {"up ready 50% #a", "down #b # c", "maint 7%", "drain"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct health_advice one, again;
		char why[HEALTH_ADVICE_WHY], text[HEALTH_ADVICE_LINE + 1];

		memset(&one, 0, sizeof(one));
		memset(&again, 0, sizeof(again));
		assert_int_equal(health_advice_parse(lines[i], &one, why), 0);
		health_advice_format(&one, text);
		assert_int_equal(health_advice_parse(text, &again, why), 0);
		assert_int_equal(one.state, again.state);
		assert_int_equal(one.order, again.order);
		assert_int_equal(one.has_weight, again.has_weight);
		assert_int_equal(one.percent, again.percent);
		assert_string_equal(one.text, again.text);
	}
}

static void other_lines_are_refused_whole(void **state)
{
	char line[300];

	refuse("", "no word that says anything");
	refuse(" ,\t", "no word that says anything");
	refuse("#reason", "no word that says anything");
	refuse("up please", "unknown word \"please\"");
	refuse("50", "unknown word \"50\"");
	refuse("%", "unknown word \"%\"");
	refuse("-5%", "unknown word \"-5%\"");
	refuse("1001%", "unknown word \"1001%\"");
	refuse("99999999999999999999%", "unknown word \"99999999999999999999%\"");
	refuse("50%%", "unknown word \"50%%\"");
	refuse("HTTP/1.1 400 Bad Request", "unknown word \"HTTP/1.1\"");
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	refuse(line, "longer than 255 bytes");
}

static void a_long_reason_is_cut_off(void **state)
{
	char line[HEALTH_ADVICE_LINE + 1], why[HEALTH_ADVICE_WHY];
	struct health_advice advice;

	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "down#", 5);
	line[sizeof(line) - 1] = 0;
	assert_int_equal(health_advice_parse(line, &advice, why), 0);
	assert_int_equal(advice.state, HEALTH_ADVICE_DOWN);
	assert_int_equal(strlen(advice.text), HEALTH_ADVICE_TEXT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(states_orders_and_weights_are_read_together),
	    cmocka_unit_test(the_last_word_of_a_kind_counts),
	    cmocka_unit_test(what_follows_a_number_sign_is_the_reason),
	    cmocka_unit_test(a_limit_of_connections_is_ignored),
	    cmocka_unit_test(what_is_read_is_written_and_read_again),
	    cmocka_unit_test(other_lines_are_refused_whole),
	    cmocka_unit_test(a_long_reason_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
