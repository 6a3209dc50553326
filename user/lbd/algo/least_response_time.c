/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new flow goes to the backend with the least latency * (active flows + 1) / weight (after
 * Finagle's peak EWMA balancer). With DSR no reply passes the balancer: the latency is that of
 * clients' connects, whose half passes, or of health probes where there are few. */
#include "algo.h"

/* Cost of 1 us at weight 1: resolves 0.1 us at weight 100, and reaches 2 s at weight 1 */
#define COST_OF_1_US 1024u
/* No backend of the service was measured: any value will do if it is the same for all */
#define UNKNOWN_US 1000u
#define COST_MAX   (1ull << 31) /* the upper bound in algo.h */

/* For a backend that was not measured yet, latency_us is the median of its service (picks.c); it is
 * 0 only while no backend was measured. */
static uint32_t cost(uint32_t weight, uint32_t latency_us)
{
	uint64_t cost = (uint64_t)(latency_us ? latency_us : UNKNOWN_US) * COST_OF_1_US / weight;

	if (cost > COST_MAX)
		return COST_MAX;
	return cost ? cost : 1;
}

REGISTER(algo, least_response_time) = {
    .name = "least-response-time",
    .short_name = "lrt",
    .help =
	"new flows where the time of connects or health probes, times active flows plus one, per weight is least",
    .select = LB_SELECT_COST,
    .hash = LB_HASH_FULL,
    .by_latency = true,
    .cost = cost,
};
