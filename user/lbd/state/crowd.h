/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Do new flows go by slot because the flow table has no place for them? A minute's memory of what
 * the data plane counts. Pure. */
#ifndef LBD_STATE_CROWD_H
#define LBD_STATE_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define CROWD_PARTS 6 /* of 10 s */

struct crowd {
	bool known; /* the counters have been read once: what they held before is not news */
	uint64_t full, by_slot;   /* events flow_table_full and fallback_slot, as last read */
	uint64_t part;            /* the one under way */
	uint64_t in[CROWD_PARTS]; /* flows without a place */
	bool warned;
	uint64_t warned_ms;
};

/* Takes in the counters; now_ms: CLOCK_MONOTONIC. True when the log should warn: at the first, and
 * at most each ten minutes while it lasts. */
bool crowd_sample(struct crowd *crowd, uint64_t full, uint64_t by_slot, uint64_t now_ms);
/* Flows without a place in the last minute: 50 to 60 s. */
uint64_t crowd_last_minute(const struct crowd *crowd, uint64_t now_ms);

#endif
