/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/metrics_text.c: the rules of the Prometheus text format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/api/metrics_text.h"

static void expect(struct text *text, const char *expected)
{
	assert_false(text->failed);
	assert_int_equal(text->length, strlen(expected));
	assert_memory_equal(text->bytes, expected, text->length);
	text_unref(text);
}

static void family_states_help_and_type(void **unused)
{
	struct text *text = text_new();

	metrics_family(text, "lbd_x_total", "counter", "Things, in a \\ path\nof two lines.");
	expect(
	    text,
	    "# HELP lbd_x_total Things, in a \\\\ path\\nof two lines.\n# TYPE lbd_x_total counter\n");
}

static void label_values_are_escaped(void **unused)
{
	struct text *text = text_new();

	metrics_sample(text, "lbd_up",
		       (const char *[]){"service", "a \"b\"\\c\nd", "port", "80", NULL}, 1);
	expect(text, "lbd_up{service=\"a \\\"b\\\"\\\\c\\nd\",port=\"80\"} 1\n");
}

static void sample_without_labels_has_no_braces(void **unused)
{
	struct text *text = text_new();

	metrics_sample(text, "lbd_up", NULL, 0);
	expect(text, "lbd_up 0\n");
}

static void a_bucket_has_its_bound_after_the_labels(void **unused)
{
	struct text *labels = text_new(), *text = text_new();

	metrics_labels(labels, (const char *[]){"service", "web", "port", "80", NULL});
	metrics_bucket(text, "lbd_x_bucket", labels->bytes, labels->length, "0.5", 7);
	text_unref(labels);
	expect(text, "lbd_x_bucket{service=\"web\",port=\"80\",le=\"0.5\"} 7\n");
}

static void counters_keep_every_digit(void **unused)
{
	struct text *text = text_new();

	metrics_sample(text, "n", NULL, 9007199254740992.0);
	metrics_sample(text, "n", NULL, 1234567.0);
	metrics_sample(text, "n", NULL, 0.000459);
	metrics_sample(text, "n", NULL, 18446744073709551616.0);
	metrics_sample(text, "n", NULL, -3);
	expect(text, "n 9007199254740992\nn 1234567\nn 0.000459\n"
		     "n 1.8446744073709552e+19\nn -3\n");
}

static void shared_labels_read_as_those_of_a_sample(void **unused)
{
	const char *const labels[] = {"a", "1\"", "b", "2", NULL};
	struct text *shared = text_new(), *text = text_new();

	metrics_labels(shared, labels);
	metrics_line(text, "n", shared->bytes, shared->length, 5);
	metrics_sample(text, "n", labels, 5);
	text_unref(shared);
	expect(text, "n{a=\"1\\\"\",b=\"2\"} 5\nn{a=\"1\\\"\",b=\"2\"} 5\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(family_states_help_and_type),
	    cmocka_unit_test(label_values_are_escaped),
	    cmocka_unit_test(sample_without_labels_has_no_braces),
	    cmocka_unit_test(a_bucket_has_its_bound_after_the_labels),
	    cmocka_unit_test(counters_keep_every_digit),
	    cmocka_unit_test(shared_labels_read_as_those_of_a_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
