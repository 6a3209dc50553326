/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends take new flows in turn, in proportion to their weights and without bursts
 * (dataplane/picks.c makes the list). */
#include "algo.h"

REGISTER(algo, weighted_round_robin) = {
    .name = "weighted-round-robin",
    .short_name = "wrr",
    .help = "new flows in turn, in proportion to the weights and without bursts",
    .select = LB_SELECT_TURN,
    .hash = LB_HASH_FULL,
};
