/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The levels of a service: of each priority the backends of the node's own zone, then the others of
 * it; last the backups, in the same two parts. New flows go to the first levels that are healthy
 * enough. Pure. */
#ifndef LBD_STATE_LEVELS_H
#define LBD_STATE_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

#include "lbd/config/config.h"

#define LEVELS_PRIMARY (2 * (CONFIG_MAX_PRIORITY + 1)) /* the levels before those of backups */
#define LEVELS         (LEVELS_PRIMARY + 2)
#define LEVEL_WHOLE    1000000 /* the share of a level that gets all new flows */

struct level {
	/* Sums over its backends; weights as the algorithm sees them, in any one unit. */
	uint64_t capacity; /* weights, but of new backends without results */
	uint64_t healthy;  /* of those that take new flows; less in slow start */
	unsigned count;    /* backends that are wanted, with results */
	unsigned up;       /* of these, those that take new flows */
	unsigned usable;   /* of these, those that can be used in a panic */
	unsigned leaving;  /* besides: down, drain or are removed, and keep flows of a panic */
	/* what levels_share makes of them */
	uint32_t share; /* of the service's new flows */
	bool panic;     /* too few are up: all that are usable get flows */
};

/* The level of a backend. local: it is in the zone of the node. */
static inline unsigned level_of(uint8_t priority, bool backup, bool local)
{
	return (backup ? LEVELS_PRIMARY : 2u * priority) + !local;
}

/* Sets share and panic of a run of levels, of which the first come first. panic_threshold: percent;
 * 0: never. Envoy's algorithm of priority levels with its overprovisioning factor of 1.4 ("Priority
 * levels" and "Panic threshold" of its documentation, intro/arch_overview/upstream/load_balancing),
 * by weights, as with its `weighted_priority_health`. A level takes what 1.4 times its healthy part
 * can carry, and leaves the rest to the next ones; if all together cannot carry all, each gets its
 * part of it. With only one level that has backends, the threshold alone makes a panic. */
void levels_share(struct level *levels, unsigned count, unsigned panic_threshold);

/* Turns weights within levels into weights in the service. */
struct level_scale {
	uint64_t sums[LEVELS];  /* of the weights that take new flows */
	uint32_t most[LEVELS];  /* the greatest of them */
	uint64_t rates[LEVELS]; /* private from here on */
	uint64_t top;           /* 0: weights stay, as one level takes all */
};

/* Sums and greatest weights are given. */
void levels_scale(const struct level levels[LEVELS], struct level_scale *scale);
/* At most CONFIG_MAX_WEIGHT, which the greatest of the service gets, unless weights stay; at least
 * 1. weight: above 0. */
uint32_t level_weight(const struct level_scale *scale, unsigned level, uint32_t weight);

#endif
