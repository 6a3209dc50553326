/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How new flows are shared among the levels of a service. */
#include "levels.h"

/* Envoy's overprovisioning factor, 1.4: a level of which 5 of 7 parts are healthy takes all. */
#define FACTOR_TENTHS 14
#define RATE_SHIFT    28 /* LEVEL_WHOLE << RATE_SHIFT times CONFIG_MAX_WEIGHT fits into 64 bits */

/* What it can carry, at most LEVEL_WHOLE. Rounded up: thirds must sum up to the whole. */
static uint32_t score(const struct level *level)
{
	uint64_t can, needed = level->capacity * 10;

	if (!level->healthy || !needed)
		return 0;
	can = (level->healthy * FACTOR_TENTHS * LEVEL_WHOLE + needed - 1) / needed;
	return can < LEVEL_WHOLE ? (uint32_t)can : LEVEL_WHOLE;
}

/* Each takes what it can of what those before have left. */
static void share_in_order(struct level *levels, unsigned count)
{
	uint32_t rest = LEVEL_WHOLE;

	for (unsigned i = 0; i < count; i++) {
		uint32_t can = score(&levels[i]);

		levels[i].share = can < rest ? can : rest;
		rest -= levels[i].share;
	}
}

/* Together they can carry less than there is: total. What rounding leaves goes to the first that is
 * up. */
static void share_in_proportion(struct level *levels, unsigned count, uint64_t total)
{
	struct level *first = levels;
	uint32_t rest = LEVEL_WHOLE;

	for (unsigned i = count; i--;) {
		uint32_t can = score(&levels[i]);

		levels[i].share = (uint32_t)((uint64_t)can * LEVEL_WHOLE / total);
		rest -= levels[i].share;
		if (can)
			first = &levels[i];
	}
	first->share += rest;
}

/* None of all is up. The first level of which packets can reach a backend is used whole, as if its
 * checks were wrong. */
static void share_dead(struct level *levels, unsigned count)
{
	struct level *first = NULL;

	for (unsigned i = 0; i < count; i++)
		if (levels[i].count && (!first || (!first->usable && levels[i].usable)))
			first = &levels[i];
	if (!first)
		return;
	first->share = LEVEL_WHOLE;
	first->panic = true;
}

static bool is_few(const struct level *level, unsigned panic_threshold)
{
	return level->up * 100ULL < (uint64_t)panic_threshold * (level->count + level->leaving);
}

void levels_share(struct level *levels, unsigned count, unsigned panic_threshold)
{
	unsigned used = 0;
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		levels[i].share = 0;
		levels[i].panic = false;
		total += score(&levels[i]);
		used += levels[i].count > 0;
	}
	if (!total) {
		if (panic_threshold)
			share_dead(levels, count);
		return;
	}
	if (total >= LEVEL_WHOLE)
		share_in_order(levels, count);
	else
		share_in_proportion(levels, count, total);
	for (unsigned i = 0; i < count; i++)
		levels[i].panic = levels[i].share && (total < LEVEL_WHOLE || used == 1) &&
				  is_few(&levels[i], panic_threshold);
}

/* ---- weights ---- */

void levels_scale(const struct level levels[LEVELS], struct level_scale *scale)
{
	unsigned used = 0;

	scale->top = 0;
	for (unsigned i = 0; i < LEVELS; i++) {
		uint64_t sum = scale->sums[i], greatest;

		scale->rates[i] = sum ? ((uint64_t)levels[i].share << RATE_SHIFT) / sum : 0;
		greatest = scale->rates[i] * scale->most[i];
		used += sum > 0;
		if (greatest > scale->top)
			scale->top = greatest;
	}
	if (used < 2)
		scale->top = 0;
}

uint32_t level_weight(const struct level_scale *scale, unsigned level, uint32_t weight)
{
	uint64_t part;

	if (!scale->top)
		return weight;
	part = (weight * scale->rates[level] * CONFIG_MAX_WEIGHT + scale->top / 2) / scale->top;
	return part ? (uint32_t)part : 1;
}
