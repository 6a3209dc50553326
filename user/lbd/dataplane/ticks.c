/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The clock of the data plane, in ticks. */
#include "internal.h"

#include <time.h>

uint32_t dp_tick(const struct dataplane *dp)
{
	struct timespec now;

	if (dp->clock)
		return dp->clock;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return ((uint64_t)now.tv_sec * 1000000000 + now.tv_nsec) >> LB_TICK_SHIFT;
}

uint16_t dp_ticks(uint32_t ms)
{
	uint64_t ticks = ((uint64_t)ms * 1000000 + (1ull << LB_TICK_SHIFT) - 1) >> LB_TICK_SHIFT;

	if (!ticks)
		return 1;
	return ticks < LB_FLOW_MAX_IDLE ? ticks : LB_FLOW_MAX_IDLE;
}
