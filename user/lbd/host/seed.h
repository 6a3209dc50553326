/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The key of the flow hash: from the config, else random, made once and kept in the state
 * directory. The pinned maps' seed counts before the kept one: every slot and entry in them was
 * found with it. 0 is none. */
#ifndef LBD_SEED_H
#define LBD_SEED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct seed {
	uint64_t value;
	bool configured;
	bool kept; /* the file holds this value */
};

/* The seed for maps that are made anew: `configured` unless 0, else the kept one, else a random
 * one. Writes nothing. 0 or -errno; a file that is there and holds no seed is an error. */
int seed_find(uint64_t configured, const char *directory, struct seed *ret, struct error *err);
/* Keeps the seed in force unless it is configured or kept already. The directory is made, its
 * parent is not. A failure is logged: lbd works, and makes another seed when maps are made anew. */
void seed_keep(const struct seed *seed, const char *directory, uint64_t in_force);

#endif
