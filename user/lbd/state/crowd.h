/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Are new flows sent by slot because the flow table has no room? Keeps one minute of the data
 * plane's counters. Pure. */
#ifndef LBD_STATE_CROWD_H
#define LBD_STATE_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define CROWD_PARTS 6 /* of 10 s */

struct crowd {
	bool known; /* the counters have been read once; what they held then does not count */
	uint64_t full, by_slot;   /* events flow_table_full and fallback_slot, as last read */
	uint64_t part;            /* the current one */
	uint64_t in[CROWD_PARTS]; /* flows without room, by part */
	bool warned;
	uint64_t warned_ms;
};

/* Adds the present counters; now_ms: CLOCK_MONOTONIC. True when a warning is due: at the first such
 * flow, then at most once in ten minutes. */
bool crowd_sample(struct crowd *crowd, uint64_t full, uint64_t by_slot, uint64_t now_ms);
/* Flows without room in the last 50 to 60 s. */
uint64_t crowd_last_minute(const struct crowd *crowd, uint64_t now_ms);

#endif
