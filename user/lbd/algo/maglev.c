/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The whole flow decides, through a Maglev table: nothing is stored, and a lost backend moves its
 * own flows alone. Registered in algo.h's list. */
#include "algo.h"

REGISTER(algo, maglev) = {
    .name = "maglev",
    .short_name = "mh",
    .help = "by the hash of the flow: stateless, and a lost backend moves its own flows alone",
    .select = LB_SELECT_SLOT,
    .hash = LB_HASH_FULL,
};
