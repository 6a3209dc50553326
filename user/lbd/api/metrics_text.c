/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Prometheus text format 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/. */
#include "metrics_text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: whole numbers up to here are exact */

/* Help texts escape backslash and line feed, label values also the double quote. */
static void add_escaped(struct text *text, const char *value, const char *special)
{
	while (*value) {
		size_t plain = strcspn(value, special);

		text_add(text, value, plain);
		value += plain;
		if (*value) {
			text_printf(text, "\\%c", *value == '\n' ? 'n' : *value);
			value++;
		}
	}
}

void metrics_family(struct text *text, const char *name, const char *type, const char *help)
{
	text_printf(text, "# HELP %s ", name);
	add_escaped(text, help, "\\\n");
	text_printf(text, "\n# TYPE %s %s\n", name, type);
}

void metrics_labels(struct text *text, const char *const *labels)
{
	if (!labels || !*labels)
		return;
	for (const char *const *label = labels; *label; label += 2) {
		text_add(text, label == labels ? "{" : ",", 1);
		text_add_string(text, label[0]);
		text_add_string(text, "=\"");
		add_escaped(text, label[1], "\\\n\"");
		text_add(text, "\"", 1);
	}
	text_add(text, "}", 1);
}

/* Most values are whole numbers, and there may be a hundred thousand samples. */
static void add_whole(struct text *text, uint64_t value)
{
	char digits[20];
	unsigned at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	text_add(text, digits + at, sizeof(digits) - at);
}

static void add_value(struct text *text, double value)
{
	char digits[32];

	if (value >= 0 && value <= EXACT_MAX && value == (double)(uint64_t)value) {
		add_whole(text, (uint64_t)value);
		return;
	}
	/* The shorter form if it reads back as the same value. */
	snprintf(digits, sizeof(digits), "%.15g", value);
	if (strtod(digits, NULL) != value)
		snprintf(digits, sizeof(digits), "%.17g", value);
	text_add_string(text, digits);
}

void metrics_line(struct text *text, const char *name, const char *labels, size_t labels_length,
		  double value)
{
	text_add_string(text, name);
	text_add(text, labels, labels_length);
	text_add(text, " ", 1);
	add_value(text, value);
	text_add(text, "\n", 1);
}

void metrics_bucket(struct text *text, const char *name, const char *labels, size_t labels_length,
		    const char *bound, double value)
{
	text_add_string(text, name);
	text_add(text, labels, labels_length - 1); /* without the closing brace */
	text_printf(text, ",le=\"%s\"}", bound);
	metrics_line(text, "", NULL, 0, value);
}

void metrics_sample(struct text *text, const char *name, const char *const *labels, double value)
{
	text_add_string(text, name);
	metrics_labels(text, labels);
	metrics_line(text, "", NULL, 0, value);
}
