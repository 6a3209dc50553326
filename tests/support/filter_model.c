/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A naive model of allow and deny lists. */
#include "filter_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- the model ---- */

static bool bit_of(const struct addr *address, unsigned bit)
{
	return address->bytes[bit / 8] & (0x80 >> bit % 8);
}

static bool contains(const struct filter_prefix *prefix, const struct addr *address)
{
	if (prefix->address.family != address->family)
		return false;
	for (unsigned bit = 0; bit < prefix->length; bit++)
		if (bit_of(&prefix->address, bit) != bit_of(address, bit))
			return false;
	return true;
}

/* The length of the longest prefix that contains the address; -1: none does. */
static int longest(const struct filter_list *list, const struct addr *address)
{
	int most = -1;

	for (uint32_t i = 0; list && i < list->count; i++)
		if (contains(&list->prefixes[i], address) && list->prefixes[i].length > most)
			most = list->prefixes[i].length;
	return most;
}

bool model_denies(const struct filter_list *allow, const struct filter_list *deny,
		  const struct addr *address)
{
	int allowed = longest(allow, address), denied = longest(deny, address);

	if (allowed < 0 && denied < 0)
		return allow;
	return denied > allowed;
}

/* ---- random lists ---- */

static uint64_t dice;

void model_seed(uint64_t seed)
{
	dice = seed * 0x9e3779b97f4a7c15ULL + 1;
}

uint32_t model_random(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return below ? (uint32_t)((dice >> 32) % below) : (uint32_t)(dice >> 32);
}

static struct addr random_address(uint8_t family)
{
	struct addr address = {.family = family};

	for (size_t i = 0; i < addr_length(&address); i++)
		address.bytes[i] = (uint8_t)model_random(256);
	return address;
}

/* Of the one before, near it, or anywhere: so that prefixes are nested, and neighbours. */
static struct addr next_address(const struct filter_list *list, uint8_t family)
{
	const struct filter_prefix *before =
	    list->count ? &list->prefixes[model_random(list->count)] : NULL;
	struct addr address = random_address(family);
	unsigned bit;

	if (!before || before->address.family != family || model_random(4) == 0)
		return address;
	address = before->address;
	bit = model_random((uint32_t)addr_length(&address) * 8);
	address.bytes[bit / 8] ^= (uint8_t)(model_random(2) << (7 - bit % 8));
	return address;
}

static struct filter_prefix random_prefix(const struct filter_list *list)
{
	uint8_t family = model_random(2) ? 4 : 6;
	struct filter_prefix prefix = {.address = next_address(list, family)};
	uint32_t bits = (uint32_t)addr_length(&prefix.address) * 8;

	prefix.length = (uint8_t)model_random(bits + 1);
	for (uint32_t bit = prefix.length; bit < bits; bit++)
		prefix.address.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return prefix;
}

static bool has(const struct filter_list *list, const struct filter_prefix *prefix)
{
	for (uint32_t i = 0; list && i < list->count; i++)
		if (list->prefixes[i].length == prefix->length &&
		    addr_equal(&list->prefixes[i].address, &prefix->address))
			return true;
	return false;
}

static void add(struct filter_list *list, const struct addr *address, unsigned length)
{
	char text[ADDR_TEXT], prefix[ADDR_TEXT + 8];
	struct error err;

	snprintf(prefix, sizeof(prefix), "%s/%u", addr_format(address, text), length);
	if (filter_list_add(list, prefix, list->count + 1, &err))
		fail_msg("%s", err.text);
}

struct filter_list *model_list(uint32_t most, const struct filter_list *other)
{
	struct filter_list *list = filter_list_new("model", false);
	uint32_t wanted = model_random(most + 1);

	assert_non_null(list);
	while (wanted--) {
		struct filter_prefix prefix = random_prefix(other && other->count ? other : list);

		if (!has(other, &prefix))
			add(list, &prefix.address, prefix.length);
	}
	return list;
}

/* ---- random addresses ---- */

/* Adds -1, 0 or 1 to the address as a number. */
static void nudge(struct addr *address)
{
	int step = (int)model_random(3) - 1;

	for (size_t i = addr_length(address); step && i-- > 0;) {
		uint8_t before = address->bytes[i];

		address->bytes[i] = (uint8_t)(before + step);
		if (step > 0 ? before != 255 : before != 0)
			break;
	}
}

struct addr model_address(const struct filter_list *allow, const struct filter_list *deny,
			  uint8_t family)
{
	const struct filter_list *list = allow && (!deny || model_random(2)) ? allow : deny;
	const struct filter_prefix *prefix;
	struct addr address = random_address(family);

	if (!list || !list->count || model_random(5) == 0)
		return address;
	prefix = &list->prefixes[model_random(list->count)];
	if (prefix->address.family != family)
		return address;
	address = prefix->address;
	if (model_random(2)) /* its last address */
		for (unsigned bit = prefix->length; bit < addr_length(&address) * 8; bit++)
			address.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	nudge(&address);
	return address;
}

/* ---- lists of a test ---- */

struct filter_list *list_of(const char *prefixes)
{
	struct filter_list *list = filter_list_new("test", false);
	char *copy = strdup(prefixes), *rest = copy, *word;
	struct error err;

	assert_non_null(list);
	assert_non_null(copy);
	while ((word = strsep(&rest, " ")))
		if (*word && filter_list_add(list, word, list->count + 1, &err))
			fail_msg("%s", err.text);
	free(copy);
	return list;
}

struct filter *filter_of(const char *allow, const char *deny)
{
	struct filter_list *a = allow ? list_of(allow) : NULL, *d = deny ? list_of(deny) : NULL;
	struct filter *filter = filter_of_lists(a, d);

	filter_list_unref(a);
	filter_list_unref(d);
	return filter;
}

struct filter *filter_of_lists(const struct filter_list *allow, const struct filter_list *deny)
{
	struct filter *filter;
	struct error err = {0};

	if (filter_new(allow, deny, &filter, &err))
		fail_msg("%s", err.text);
	return filter;
}
