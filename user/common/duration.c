/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "duration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In descending order; the first name of a unit is the one that is printed. */
static const struct unit {
	const char *name, *other;
	uint64_t ms;
} units[] = {
    {"d", NULL, 24 * 60 * 60 * 1000},
    {"h", NULL, 60 * 60 * 1000},
    {"m", "min", 60 * 1000},
    {"s", NULL, 1000},
    {"ms", NULL, 1},
};

#define UNITS (sizeof(units) / sizeof(units[0]))

static bool is_name(const char *name, const char *text, size_t length)
{
	return name && strlen(name) == length && !memcmp(name, text, length);
}

/* From this unit on; UNITS: none. */
static size_t find_unit(size_t from, const char *text, size_t length)
{
	while (from < UNITS && !is_name(units[from].name, text, length) &&
	       !is_name(units[from].other, text, length))
		from++;
	return from;
}

static int add(uint64_t *sum, uint64_t number, uint64_t factor)
{
	uint64_t product;

	return __builtin_mul_overflow(number, factor, &product) ||
		       __builtin_add_overflow(*sum, product, sum)
		   ? -ERANGE
		   : 0;
}

/* One number and its unit; moves *text behind them, and *from to the next unit. */
static int take(const char **text, size_t *from, uint64_t *sum)
{
	size_t digits = strspn(*text, "0123456789");
	size_t length = strcspn(*text + digits, "0123456789"), unit;
	uint64_t number;

	if (!digits)
		return -EINVAL;
	errno = 0;
	number = strtoull(*text, NULL, 10);
	if (errno)
		return -ERANGE;
	unit = find_unit(*from, *text + digits, length);
	if (unit == UNITS)
		return -EINVAL;
	*text += digits + length;
	*from = unit + 1;
	return add(sum, number, units[unit].ms);
}

/* Digits alone. */
static int bare(const char *text, uint64_t *ret)
{
	uint64_t number;

	errno = 0;
	number = strtoull(text, NULL, 10);
	if (errno)
		return -ERANGE;
	*ret = number;
	return number ? -EDOM : 0;
}

int duration_parse(const char *text, uint64_t *ret_ms)
{
	uint64_t sum = 0;
	size_t from = 0;
	int rc = 0;

	if (*text && !text[strspn(text, "0123456789")])
		return bare(text, ret_ms);
	do
		rc = take(&text, &from, &sum);
	while (!rc && *text);
	if (!rc)
		*ret_ms = sum;
	return rc;
}

const char *duration_exact(uint64_t ms, char text[DURATION_TEXT])
{
	size_t unit = 0;

	while (ms % units[unit].ms)
		unit++;
	if (ms)
		snprintf(text, DURATION_TEXT, "%" PRIu64 "%s", ms / units[unit].ms,
			 units[unit].name);
	else
		strcpy(text, "0s");
	return text;
}

const char *duration_about(uint64_t ms, char text[DURATION_TEXT])
{
	uint64_t s = ms / 1000, minutes = s / 60, hours = minutes / 60, days = hours / 24;

	if (s < 60)
		snprintf(text, DURATION_TEXT, "%" PRIu64 "s", s);
	else if (minutes < 60)
		snprintf(text, DURATION_TEXT, "%" PRIu64 "m", minutes);
	else if (hours < 24)
		snprintf(text, DURATION_TEXT, "%" PRIu64 "h%" PRIu64 "m", hours, minutes % 60);
	else
		snprintf(text, DURATION_TEXT, "%" PRIu64 "d%" PRIu64 "h", days, hours % 24);
	return text;
}

const char *duration_measured(uint64_t us, char text[DURATION_TEXT])
{
	double value = (double)us;

	if (value < 999.5)
		snprintf(text, DURATION_TEXT, "%.0fus", value);
	else if (value < 999500)
		snprintf(text, DURATION_TEXT, value < 99950 ? "%.1fms" : "%.0fms", value / 1000);
	else
		snprintf(text, DURATION_TEXT, "%.1fs", value / 1000000);
	return text;
}
