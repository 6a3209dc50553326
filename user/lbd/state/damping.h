/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flap damping: a backend that is lost again soon after its return takes no new flow for a while,
 * and the longer the more often that happens. As route flap damping (RFC 2439), but with a bound
 * that the config states: `flap-damping`. Pure. */
#ifndef LBD_DAMPING_H
#define LBD_DAMPING_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: it was never lost. CLOCK_MONOTONIC. */
struct damping {
	unsigned losses;      /* in a row, each soon after a return */
	uint64_t returned_ms; /* last; 0: never */
};

/* The backend, which was lost at lost_ms, is back at now_ms. limit_ms: of the config; within that
 * time after a return a loss is soon. */
void damping_returned(struct damping *damping, uint64_t lost_ms, uint64_t now_ms,
		      uint64_t limit_ms);
/* How long it takes no new flow after its last return: 1/32 of the limit after the second loss,
 * twice as long after each other one, and the limit at most. */
uint64_t damping_span_ms(const struct damping *damping, uint64_t limit_ms);
/* Until when that is; 0: it is not held back. */
uint64_t damping_until_ms(const struct damping *damping, uint64_t limit_ms);

#endif
