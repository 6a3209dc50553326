/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Weighted Maglev tables (Eisenbud et al., NSDI 2016, section 3.4). Pure: the same backends give
 * the same table on every machine. */
#include "maglev.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/ring_size.h"
#include "lbd/host/host.h"

#define PAUSE_STEPS 16384 /* between two pauses */

/* A backend's permutation of the slots: start, start + skip, start + 2 skip, ... modulo the
 * size. */
struct walker {
	uint64_t credit; /* a slot costs the largest weight */
	uint32_t weight;
	uint32_t next, skip;
	uint16_t id;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint32_t scale(uint64_t hash, uint32_t range)
{
	return (uint32_t)(((hash >> 32) * range) >> 32);
}

static uint64_t hash_address(const struct addr *address, uint64_t seed)
{
	uint64_t part[2], hash;

	memcpy(part, address->bytes, sizeof(part));
	hash = mix(seed + 0x9e3779b97f4a7c15ULL * (address->family + 1u));
	hash = mix(hash ^ le64toh(part[0]));
	return mix(hash ^ le64toh(part[1]));
}

uint64_t maglev_label(const struct addr *address)
{
	return hash_address(address, 0);
}

static void walker_init(struct walker *walker, const struct maglev_backend *backend, uint64_t seed,
			uint32_t size)
{
	uint64_t hash = hash_address(&backend->address, seed);

	*walker = (struct walker){
	    .weight = backend->weight,
	    .next = scale(hash, size),
	    .skip = 1 + scale(mix(hash + 0x9e3779b97f4a7c15ULL), size - 1),
	    .id = backend->id,
	};
}

static int compare_backends(const void *a, const void *b)
{
	const struct maglev_backend *const *x = a, *const *y = b;

	return addr_compare(&(*x)->address, &(*y)->address);
}

/* The walkers of the backends with weight, sorted by address: the order decides who goes first in a
 * round. */
static struct walker *make_walkers(const struct maglev_backend *backends, size_t count,
				   uint64_t seed, uint32_t size, size_t *ret_count)
{
	_cleanup_free_ const struct maglev_backend **sorted = calloc(count + 1, sizeof(*sorted));
	struct walker *walkers = calloc(count + 1, sizeof(*walkers));
	size_t used = 0;

	if (!sorted || !walkers) {
		free(walkers);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (backends[i].weight)
			sorted[used++] = &backends[i];
	qsort(sorted, used, sizeof(*sorted), compare_backends);
	for (size_t i = 0; i < used; i++)
		walker_init(&walkers[i], sorted[i], seed, size);
	*ret_count = used;
	return walkers;
}

/* Returns the steps it took: the last slots of a large table take millions together. */
static uint32_t take_slot(struct walker *walker, uint16_t *table, uint32_t size)
{
	uint32_t at = walker->next, steps = 1;

	for (; table[at]; steps++) {
		at += walker->skip;
		if (at >= size)
			at -= size;
	}
	table[at] = walker->id;
	walker->next = at;
	return steps;
}

int maglev_fill(const struct maglev_backend *backends, size_t count, uint64_t seed, uint16_t *table,
		uint32_t size)
{
	_cleanup_free_ struct walker *walkers = NULL;
	uint32_t heaviest = 0, filled = 0, steps = 0;
	size_t used;

	if (!is_prime(size))
		return -EINVAL;
	walkers = make_walkers(backends, count, seed, size, &used);
	if (!walkers)
		return -ENOMEM;
	task_pause();
	memset(table, 0, size * sizeof(*table));
	task_pause();
	for (size_t i = 0; i < used; i++)
		if (walkers[i].weight > heaviest)
			heaviest = walkers[i].weight;
	while (used) {
		for (size_t i = 0; i < used; i++) {
			struct walker *walker = &walkers[i];

			walker->credit += walker->weight;
			steps++;
			if (steps >= PAUSE_STEPS) {
				steps = 0;
				task_pause();
			}
			if (walker->credit < heaviest)
				continue;
			walker->credit -= heaviest;
			steps += take_slot(walker, table, size);
			if (++filled == size)
				return 0;
		}
	}
	return 0;
}
