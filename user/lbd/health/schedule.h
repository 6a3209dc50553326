/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When the next probe begins. draw: a random number; times in ms. */
#ifndef LBD_HEALTH_SCHEDULE_H
#define LBD_HEALTH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_FIRST_MAX_MS 500

/* Time until the next probe. From start to start it is an interval, or up to 5 % less: the jitter
 * keeps checks from synchronizing, and never prolongs the fall * interval + timeout after which a
 * dead backend is down, as long as the loop is on time. First probes come early, so the second one
 * (placed: false) draws the check's place in the interval. gone_ms: since the last start. If that
 * is more than an interval, the loop was late, and all checks with it: each draws a new place,
 * otherwise all would begin at the same moment from then on. */
static inline uint64_t schedule_next(uint32_t interval_ms, bool placed, uint64_t gone_ms,
				     uint32_t draw)
{
	uint64_t next_ms =
	    interval_ms - draw % (placed ? interval_ms / 20 + 1 : interval_ms / 2 + 1);

	if (gone_ms > interval_ms)
		return draw % (interval_ms / 2 + 1);
	return next_ms > gone_ms ? next_ms - gone_ms : 0;
}

/* Time until the first or a repeated probe. If the status is not known, the result is waited for,
 * so the probe comes soon; otherwise at a random place in the interval. */
static inline uint64_t schedule_first(uint32_t interval_ms, bool known, uint32_t draw)
{
	uint32_t within_ms = interval_ms;

	if (!known)
		within_ms =
		    within_ms / 4 < SCHEDULE_FIRST_MAX_MS ? within_ms / 4 : SCHEDULE_FIRST_MAX_MS;
	return within_ms ? draw % within_ms : 0;
}

#endif
