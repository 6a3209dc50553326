/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Parses single values: numbers with units and ranges, texts, addresses. */
#include "scalar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Leading digits; *ret_rest is the text after them. strtoull alone would also accept signs and
 * blanks. */
static int parse_digits(const char *text, int base, uint64_t *ret, const char **ret_rest)
{
	const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
	size_t length = strspn(text, digits);

	if (!length)
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, NULL, base);
	*ret_rest = text + length;
	return errno == ERANGE ? -ERANGE : 0;
}

static int parse_count(const char *text, uint64_t *ret)
{
	const char *rest;
	int rc = parse_digits(text, 10, ret, &rest);

	return rc ? rc : *rest ? -EINVAL : 0;
}

static int parse_seed(const char *text, uint64_t *ret)
{
	const char *rest;
	bool hex = !strncmp(text, "0x", 2);
	int rc = parse_digits(hex ? text + 2 : text, hex ? 16 : 10, ret, &rest);

	return rc ? rc : *rest ? -EINVAL : 0;
}

static int parse_percent(const char *text, uint64_t *ret)
{
	const char *rest;
	int rc = parse_digits(text, 10, ret, &rest);

	return rc ? rc : *rest && strcmp(rest, "%") ? -EINVAL : 0;
}

/* The list of units ends with a NULL name. */
static int parse_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	const char *rest;
	int rc = parse_digits(text, 10, ret, &rest);

	if (rc)
		return rc;
	for (; units->name; units++)
		if (!strcmp(rest, units->name))
			return __builtin_mul_overflow(*ret, units->factor, ret) ? -ERANGE : 0;
	return -EINVAL;
}

/* With the largest unit that gives a whole number; units are in ascending order. */
static const char *format_with_unit(uint64_t value, const struct unit *units, char text[24])
{
	const struct unit *best = units;

	for (; units->name; units++)
		if (value % units->factor == 0)
			best = units;
	snprintf(text, 24, "%" PRIu64 "%s", value / best->factor, best->name);
	return text;
}

static const struct unit sizes[] = {{"", 1},        {"K", 1 << 10}, {"k", 1 << 10},
				    {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};

/* A count of 0 is refused by the range, and so is one that does not fit. */
static const struct unit rates[] = {{"/m", 1}, {"/s", 60}, {NULL, 0}};

static int parse_rate(const char *text, uint64_t *ret)
{
	return parse_with_unit(text, rates, ret);
}

static int parse_size(const char *text, uint64_t *ret)
{
	return parse_with_unit(text, sizes, ret);
}

static const char *format_count(uint64_t value, char text[24])
{
	snprintf(text, 24, "%" PRIu64, value);
	return text;
}

static const char *format_rate(uint64_t value, char text[24])
{
	return format_with_unit(value, rates, text);
}

static const char *format_size(uint64_t value, char text[24])
{
	return format_with_unit(value, sizes, text);
}

static const char *format_percent(uint64_t value, char text[24])
{
	snprintf(text, 24, "%" PRIu64 "%%", value);
	return text;
}

const struct config_scalar config_count = {parse_count, format_count, NULL};
const struct config_scalar config_seed = {parse_seed, format_count,
					  "a number, decimal or 0x and hexadecimal"};
const struct config_scalar config_duration = {duration_parse, duration_exact, DURATION_SYNTAX};
const struct config_scalar config_size = {parse_size, format_size,
					  "a number, optionally with k, M or G"};
const struct config_scalar config_rate = {parse_rate, format_rate, "a number and /s or /m"};
const struct config_scalar config_percent = {parse_percent, format_percent, NULL};

void config_read_number(const struct config_place *at, const char *key, const char *text,
			const struct config_range *range, uint64_t *ret)
{
	const char *syntax = range->scalar->syntax, *word = range->word;
	char min[24], max[24];
	uint64_t value = 0;
	int rc;

	if (word && !strcmp(text, word)) {
		*ret = 0;
		return;
	}
	rc = range->scalar->parse(text, &value);
	if (rc == 0 && value >= range->min && value <= range->max) {
		*ret = value;
		return;
	}
	if (rc == -EDOM) {
		config_complain(at, key, text, "expected a unit (ms, s, m, h or d), such as %.20ss",
				text);
		return;
	}
	if (rc != -EINVAL)
		syntax = NULL;
	config_complain(
	    at, key, text, "expected %s to %s%s%s%s%s%s", range->scalar->format(range->min, min),
	    range->scalar->format(range->max, max), word ? " or " : "", word ? word : "",
	    syntax ? " (" : "", syntax ? syntax : "", syntax ? ")" : "");
}

/* ---- tables of keys ---- */

static uint64_t load(const void *at, size_t width)
{
	if (width == 1)
		return *(const uint8_t *)at;
	if (width == 2)
		return *(const uint16_t *)at;
	return width == 4 ? *(const uint32_t *)at : *(const uint64_t *)at;
}

static void store(void *at, size_t width, uint64_t value)
{
	if (width == 1)
		*(uint8_t *)at = (uint8_t)value;
	else if (width == 2)
		*(uint16_t *)at = (uint16_t)value;
	else if (width == 4)
		*(uint32_t *)at = (uint32_t)value;
	else
		*(uint64_t *)at = value;
}

static const char *text_at(const void *raw, size_t offset)
{
	return *(char *const *)((const char *)raw + offset);
}

void config_read_numbers(const struct config_place *at, const struct config_number_key *keys,
			 const void *raw, void *value)
{
	for (; keys->key; keys++) {
		const char *text = text_at(raw, keys->raw);
		void *to = (char *)value + keys->value;
		uint64_t number = load(to, keys->width);

		if (!text)
			continue;
		config_read_number(at, keys->key, text, &keys->range, &number);
		store(to, keys->width, number);
	}
}

void config_copy_text(const struct config_place *at, const char *text, char **ret)
{
	char *copy = strdup(text);

	if (!copy) {
		config_source_oom(at->source);
		return;
	}
	free(*ret);
	*ret = copy;
}

void config_read_texts(const struct config_place *at, const struct config_text_key *keys,
		       const void *raw, void *value)
{
	for (; keys->key; keys++) {
		const char *text = text_at(raw, keys->raw);

		if (!text)
			continue;
		if (keys->valid(text))
			config_copy_text(at, text, (char **)((char *)value + keys->value));
		else
			config_complain(at, keys->key, text, "expected %s", keys->expected);
	}
}

/* ---- addresses ---- */

void config_read_address(const struct config_place *at, const char *key, const char *text,
			 struct addr *ret)
{
	struct addr addr;
	const char *why;

	if (!text) {
		config_complain_missing(at, key, "expected an IPv4 or IPv6 address");
		return;
	}
	if (addr_parse(text, &addr)) {
		config_complain(
		    at, key, text,
		    "expected an IPv4 or IPv6 address, without a port or prefix length");
		return;
	}
	why = addr_why_no_host(&addr);
	if (why)
		config_complain(at, key, text, "%s: expected the address of one host", why);
	else
		*ret = addr;
}

bool config_is_word(const char *text, size_t most)
{
	size_t length = strlen(text);

	return length && length <= most &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		   length;
}

bool config_parse_endpoint(const char *text, struct addr *ret_address, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	bool brackets = length >= 2 && text[0] == '[' && text[length - 1] == ']';
	char host[ADDR_TEXT + 2] = "";
	struct addr address;
	uint64_t port = 0;

	if (length < sizeof(host))
		snprintf(host, sizeof(host), "%.*s", (int)(brackets ? length - 2 : length),
			 text + brackets);
	if (addr_parse(host, &address) || (address.family == 6) != brackets ||
	    config_count.parse(colon + 1, &port) || port < 1 || port > 65535)
		return false;
	*ret_address = address;
	*ret_port = (uint16_t)port;
	return true;
}
