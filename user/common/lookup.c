/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A hash table with open addressing: at most half of it is used, and an entry is in the first place
 * from its own on that was free. */
#include "lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lookup_entry {
	uint64_t hash;
	uint32_t place;
	bool used;
};

/* ---- hashes: FNV-1a, by Fowler, Noll and Vo ---- */

static uint64_t add_bytes(uint64_t hash, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * 0x100000001b3ull;
	return hash;
}

/* With its end: "a" and "b" after it is not "ab". */
uint64_t lookup_hash_text(uint64_t hash, const char *text)
{
	return add_bytes(hash, text, strlen(text) + 1);
}

uint64_t lookup_hash_number(uint64_t hash, uint32_t number)
{
	return add_bytes(hash, &number, sizeof(number));
}

uint64_t lookup_hash_addr(uint64_t hash, const struct addr *addr)
{
	return add_bytes(add_bytes(hash, &addr->family, 1), addr->bytes, addr_length(addr));
}

/* ---- the table ---- */

/* The low bits of a product depend on the low bits of its factors alone. */
static uint32_t home_of(const struct lookup *lookup, uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32) & (lookup->size - 1);
}

static uint32_t after(const struct lookup *lookup, uint32_t at)
{
	return (at + 1) & (lookup->size - 1);
}

void lookup_add(struct lookup *lookup, uint64_t hash, uint32_t place)
{
	uint32_t at = home_of(lookup, hash);

	while (lookup->entries[at].used)
		at = after(lookup, at);
	lookup->entries[at] = (struct lookup_entry){hash, place, true};
	lookup->count++;
}

int lookup_reserve(struct lookup *lookup, uint32_t count)
{
	struct lookup next = {.size = lookup->size ? lookup->size : 16};

	while (next.size < 2 * (uint64_t)count)
		next.size *= 2;
	if (next.size == lookup->size)
		return 0;
	next.entries = calloc(next.size, sizeof(*next.entries));
	if (!next.entries)
		return -ENOMEM;
	for (uint32_t i = 0; i < lookup->size; i++)
		if (lookup->entries[i].used)
			lookup_add(&next, lookup->entries[i].hash, lookup->entries[i].place);
	free(lookup->entries);
	*lookup = next;
	return 0;
}

/* Would the entry, which is behind the free place, be looked for there? */
static bool may_move(const struct lookup *lookup, uint32_t at, uint32_t free_place)
{
	uint32_t home = home_of(lookup, lookup->entries[at].hash), mask = lookup->size - 1;

	return ((at - home) & mask) >= ((at - free_place) & mask);
}

void lookup_remove(struct lookup *lookup, uint64_t hash, uint32_t place)
{
	uint32_t at = home_of(lookup, hash), gap;

	while (lookup->entries[at].place != place || lookup->entries[at].hash != hash)
		at = after(lookup, at);
	gap = at;
	for (at = after(lookup, at); lookup->entries[at].used; at = after(lookup, at)) {
		if (!may_move(lookup, at, gap))
			continue;
		lookup->entries[gap] = lookup->entries[at];
		gap = at;
	}
	lookup->entries[gap] = (struct lookup_entry){0};
	lookup->count--;
}

void lookup_clear(struct lookup *lookup)
{
	if (lookup->entries)
		memset(lookup->entries, 0, lookup->size * sizeof(*lookup->entries));
	lookup->count = 0;
}

void lookup_done(struct lookup *lookup)
{
	free(lookup->entries);
	*lookup = (struct lookup){0};
}

/* ---- looking ---- */

void lookup_walk(const struct lookup *lookup, uint64_t hash, struct lookup_walk *ret)
{
	*ret = (struct lookup_walk){lookup, hash, lookup->size ? home_of(lookup, hash) : 0};
}

bool lookup_next(struct lookup_walk *walk, uint32_t *ret_place)
{
	const struct lookup_entry *entries = walk->lookup->entries;

	while (entries && entries[walk->at].used) {
		uint32_t at = walk->at;

		walk->at = after(walk->lookup, at);
		if (entries[at].hash != walk->hash)
			continue;
		*ret_place = entries[at].place;
		return true;
	}
	return false;
}
