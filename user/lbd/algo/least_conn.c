/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new flow goes to the backend with the fewest active flows per weight. */
#include "algo.h"

/* Weights go up to 10 000: there a cost is still exact to 0.06 %. */
#define COST_OF_WEIGHT_1 (1u << 24)

static uint32_t cost(uint32_t weight, uint32_t latency_us)
{
	(void)latency_us;
	return weight < COST_OF_WEIGHT_1 ? COST_OF_WEIGHT_1 / weight : 1;
}

REGISTER(algo, least_conn) = {
    .name = "least-conn",
    .short_name = "lc",
    .help = "new flows to the backend with the fewest active flows per weight",
    .select = LB_SELECT_COST,
    .hash = LB_HASH_FULL,
    .cost = cost,
};
