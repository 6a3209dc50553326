/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Prometheus text format 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/. */
#include "metrics_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Help texts escape backslash and line feed, label values also the double quote. */
static void add_escaped(struct evbuffer *text, const char *value, const char *special)
{
	while (*value) {
		size_t plain = strcspn(value, special);

		evbuffer_add(text, value, plain);
		value += plain;
		if (*value) {
			evbuffer_add_printf(text, "\\%c", *value == '\n' ? 'n' : *value);
			value++;
		}
	}
}

void metrics_family(struct evbuffer *text, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(text, "# HELP %s ", name);
	add_escaped(text, help, "\\\n");
	evbuffer_add_printf(text, "\n# TYPE %s %s\n", name, type);
}

void metrics_sample(struct evbuffer *text, const char *name, const char *const *labels,
		    double value)
{
	char digits[32];

	evbuffer_add(text, name, strlen(name));
	for (const char *const *label = labels; label && *label; label += 2) {
		evbuffer_add_printf(text, "%c%s=\"", label == labels ? '{' : ',', label[0]);
		add_escaped(text, label[1], "\\\n\"");
		evbuffer_add(text, "\"", 1);
	}
	/* The shorter form if it reads back as the same value, as whole numbers below 10^15 do. */
	snprintf(digits, sizeof(digits), "%.15g", value);
	if (strtod(digits, NULL) != value)
		snprintf(digits, sizeof(digits), "%.17g", value);
	evbuffer_add_printf(text, "%s %s\n", labels && *labels ? "}" : "", digits);
}
