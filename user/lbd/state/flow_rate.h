/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A count per second over the last 5 to 10 s. Pure. */
#ifndef LBD_FLOW_RATE_H
#define LBD_FLOW_RATE_H

#include <stdint.h>

#define FLOW_RATE_WINDOW_MS 5000

/* All zero: nothing was counted yet. */
struct flow_rate {
	struct {
		uint64_t at_ms, count;
	} began, last; /* of this window, and of the one before; at_ms 0: there is none */
	double per_s;
};

/* The count at now_ms (CLOCK_MONOTONIC, not 0). One that is less than the former began anew. */
void flow_rate_add(struct flow_rate *rate, uint64_t now_ms, uint64_t count);

#endif
