/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When the next probe begins. draw: a random number; times in ms. */
#ifndef LBD_HEALTH_SCHEDULE_H
#define LBD_HEALTH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_FIRST_MAX_MS 500

/* Time until the next probe. From start to start it is an interval, or up to 5 % less: the jitter
 * keeps checks from synchronizing, and never prolongs the fall * interval + timeout after which a
 * dead backend is down, as long as the loop is on time and schedule_may_begin lets it begin. First
 * probes come early, so the second one (placed: false) draws the check's place in the interval.
 * gone_ms: since the last start. If that is more than an interval, the loop was late, and all
 * checks with it: each draws a new place, otherwise all would begin at the same moment from then
 * on. */
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

/* Thousands of probes may be due at the same moment, after a start above all, and each takes tens
 * of us to begin: in one turn of the loop they would keep everything else waiting. */
#define SCHEDULE_SPAN_US   2000
#define SCHEDULE_SPAN_MOST 24 /* probes that begin in it */
#define SCHEDULE_CROWD_MS  50 /* the others begin within this time, or try again */

struct schedule_pace {
	uint64_t span_us; /* CLOCK_MONOTONIC when the present span began */
	unsigned begun;   /* probes in it */
};

/* May one more begin now? */
static inline bool schedule_may_begin(struct schedule_pace *pace, uint64_t now_us)
{
	if (now_us - pace->span_us >= SCHEDULE_SPAN_US) {
		pace->span_us = now_us;
		pace->begun = 0;
	}
	if (pace->begun >= SCHEDULE_SPAN_MOST)
		return false;
	pace->begun++;
	return true;
}

#endif
