/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new flow goes where latency, times active flows plus one, per weight is least (after Finagle's
 * peak EWMA balancer). The latency is the health probes': under DSR no reply passes here.
 * Registered in algo.h's list. */
#include "algo.h"

/* At weight 1; keeps 0.1 us apart at weight 100, and up to 2 s at weight 1 */
#define COST_OF_1_US 1024u
#define UNKNOWN_US 1000u /* nobody in the service has been measured: any equal figure will do */
#define COST_MAX    (1ull << 31) /* the range that algo.h promises */

/* A backend that has not been measured counts like the median of its service, which dp_picks.c puts
 * in latency_us; 0 comes here only while none has been. */
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
	"new flows where the latency of health probes, times active flows plus one, per weight is least",
    .select = LB_SELECT_COST,
    .hash = LB_HASH_FULL,
    .cost = cost,
};
