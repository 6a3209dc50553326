/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/printable.h, and that errors and log lines pass through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"
#include "common/log.h"
#include "common/printable.h"
#include "support/test_log.h"

static void expect(const char *text, const char *expected)
{
	char copy[128];

	snprintf(copy, sizeof(copy), "%s", text);
	make_printable(copy, false);
	assert_string_equal(copy, expected);
}

static void text_of_any_script_stays(void **unused)
{
	expect("", "");
	expect("web-1 \"quoted\" 100 %", "web-1 \"quoted\" 100 %");
	expect("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
	       "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void what_terminals_obey_is_replaced(void **unused)
{
	expect("a\x1b[31mred\x1b]0;title\x07", "a?[31mred?]0;title?");
	expect("tab\tbell\x07 del\x7f", "tab?bell? del?");
	expect("line\r\nfeed", "line??feed");
	expect("c1 \xc2\x9b"
	       "31m",
	       "c1 ?31m"); /* CSI as UTF-8 */
	expect("c1 \x9b"
	       "31m",
	       "c1 ?31m"); /* CSI as one byte */
	expect("bidi \xe2\x80\xae"
	       "abc",
	       "bidi ?abc");
}

static void bytes_that_are_no_utf8_are_replaced(void **unused)
{
	expect("\xff\xfe", "??");
	expect("cut \xe2\x82", "cut ??");
	expect("overlong \xc0\x9b", "overlong ??");
	expect("surrogate \xed\xa0\x80", "surrogate ???");
	expect("beyond \xf4\x90\x80\x80", "beyond ????");
}

static void line_ends_stay_where_they_are_wanted(void **unused)
{
	char text[] = "first\nsecond\x1b";

	make_printable(text, true);
	assert_string_equal(text, "first\nsecond?");
}

static void errors_hold_no_escapes(void **unused)
{
	struct error err;

	error_set(&err, -EINVAL, "%s: no such interface\nhint", "eth\x1b[2J");
	assert_string_equal(err.text, "eth?[2J: no such interface\nhint");
}

static void a_log_line_is_one_line_without_escapes(void **unused)
{
	struct test_log log;
	const char *text;

	test_log_begin(&log);
	log_warning("%s: renamed", "eth\x1b[2J\nlbd: error: forged");
	text = test_log_end(&log);
	assert_true(*text);
	assert_null(strchr(text, '\x1b'));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	assert_non_null(strstr(text, "eth?[2J?lbd: error: forged: renamed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_of_any_script_stays),
	    cmocka_unit_test(what_terminals_obey_is_replaced),
	    cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
	    cmocka_unit_test(line_ends_stay_where_they_are_wanted),
	    cmocka_unit_test(errors_hold_no_escapes),
	    cmocka_unit_test(a_log_line_is_one_line_without_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
