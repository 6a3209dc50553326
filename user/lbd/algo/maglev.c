/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hash of the whole flow selects a slot of a Maglev table: nothing is stored, and a lost
 * backend moves its own flows only. */
#include "algo.h"

REGISTER(algo, maglev) = {
    .name = "maglev",
    .short_name = "mh",
    .help = "by the hash of the flow: stateless, and a lost backend moves its own flows only",
    .select = LB_SELECT_SLOT,
    .hash = LB_HASH_FULL,
};
