/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/duration.c: what config, command line and control socket accept, and what they
 * print. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/duration.h"

static void expect(const char *text, int code, uint64_t ms)
{
	uint64_t got = 77;

	assert_int_equal(duration_parse(text, &got), code);
	assert_int_equal(got, code && code != -EDOM ? 77 : ms);
}

static void numbers_with_units_are_durations(void **unused)
{
	expect("250ms", 0, 250);
	expect("90s", 0, 90000);
	expect("5m", 0, 300000);
	expect("5min", 0, 300000);
	expect("2h", 0, 7200000);
	expect("1d", 0, 86400000);
	expect("0s", 0, 0);
}

static void several_units_are_added(void **unused)
{
	expect("1h30m", 0, 5400000);
	expect("1d2h3m4s5ms", 0, 93784005);
	expect("2s500ms", 0, 2500);
}

static void a_bare_number_has_the_unit_of_its_place_and_0_none(void **unused)
{
	expect("90", -EDOM, 90);
	expect("0", 0, 0);
}

static void what_is_no_duration_is_refused(void **unused)
{
	static const char *const texts[] = {"",    "s",    "-1s",  "1.5s", " 1s",    "1 s",
					    "1s ", "1x",   "1m1h", "1s1s", "1h30",   "30m1",
					    "+1s", "0x1s", "1S",   "1sm",  "3 days", "1ms1s"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		expect(texts[i], -EINVAL, 0);
}

static void what_does_not_fit_is_out_of_range(void **unused)
{
	expect("18446744073709551616", -ERANGE, 0);
	expect("18446744073709551616ms", -ERANGE, 0);
	expect("18446744073709551615s", -ERANGE, 0);
	expect("213503982334d18446744073709551615ms", -ERANGE, 0);
	expect("18446744073709551615ms", 0, UINT64_MAX);
}

/* What is printed can be typed. */
static void what_is_printed_is_read_as_the_same(void **unused)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {{0, "0s"},        {250, "250ms"},    {1000, "1s"},      {2500, "2500ms"},
		     {90000, "90s"},   {300000, "5m"},    {5400000, "90m"},  {7200000, "2h"},
		     {86400000, "1d"}, {90000000, "25h"}, {8589000, "8589s"}};
	char text[DURATION_TEXT];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(duration_exact(cases[i].ms, text), cases[i].text);
		expect(text, 0, cases[i].ms);
	}
	duration_exact(UINT64_MAX, text);
	expect(text, 0, UINT64_MAX);
}

static void ages_are_rounded_down_to_one_unit_or_two(void **unused)
{
	char text[DURATION_TEXT];

	assert_string_equal(duration_about(59999, text), "59s");
	assert_string_equal(duration_about(725000, text), "12m");
	assert_string_equal(duration_about(11520000, text), "3h12m");
	expect(text, 0, 11520000);
	assert_string_equal(duration_about(439200000, text), "5d2h");
	duration_about(UINT64_MAX, text);
}

static void measurements_have_three_digits(void **unused)
{
	char text[DURATION_TEXT];

	assert_string_equal(duration_measured(0, text), "0us");
	assert_string_equal(duration_measured(340, text), "340us");
	assert_string_equal(duration_measured(1200, text), "1.2ms");
	assert_string_equal(duration_measured(130000, text), "130ms");
	assert_string_equal(duration_measured(2500000, text), "2.5s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_with_units_are_durations),
	    cmocka_unit_test(several_units_are_added),
	    cmocka_unit_test(a_bare_number_has_the_unit_of_its_place_and_0_none),
	    cmocka_unit_test(what_is_no_duration_is_refused),
	    cmocka_unit_test(what_does_not_fit_is_out_of_range),
	    cmocka_unit_test(what_is_printed_is_read_as_the_same),
	    cmocka_unit_test(ages_are_rounded_down_to_one_unit_or_two),
	    cmocka_unit_test(measurements_have_three_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
