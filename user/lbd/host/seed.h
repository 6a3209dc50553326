/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The key of the flow hash: from the config, else a random one that is created once and kept in the
 * state directory. The seed of pinned maps has priority over the kept one: their slots and entries
 * depend on it. 0: no seed. */
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

/* The seed for new maps: `configured` unless 0, else the kept one, else a random one. Writes
 * nothing. 0 or -errno; a file without a seed in it is an error. */
int seed_find(uint64_t configured, const char *directory, struct seed *ret, struct error *err);
/* Keeps the seed in force unless it is configured or kept already. Creates the directory, but not
 * its parent. A failure is only logged: then the next maps get another seed. */
void seed_keep(const struct seed *seed, const char *directory, uint64_t in_force);

#endif
