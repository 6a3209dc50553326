/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends take new flows in turn, each the same number. */
#include "algo.h"

REGISTER(algo, round_robin) = {
    .name = "round-robin",
    .short_name = "rr",
    .help = "new flows in turn, the same number to each backend whatever its weight",
    .select = LB_SELECT_TURN,
    .hash = LB_HASH_FULL,
    .ignores_weights = true,
};
