/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The latencies of the last minutes as a histogram: each octave from 8 us to 16 s in four parts, so
 * that a quantile is off by an eighth at most. Pure. */
#ifndef LBD_LATENCIES_H
#define LBD_LATENCIES_H

#include <stdint.h>

#define LATENCIES_BUCKETS 85 /* the first is below 8 us, the last goes on without end */
#define LATENCIES_HALF_MS (5ULL * 60 * 1000) /* of the time that is kept: half of the most */

struct latencies {
	uint64_t half;                         /* number of the half since the clock's start */
	uint16_t counts[2][LATENCIES_BUCKETS]; /* of even and of odd halves */
};

/* Of many. */
struct latency_sum {
	uint64_t total, counts[LATENCIES_BUCKETS];
};

/* now_ms: CLOCK_MONOTONIC. */
void latencies_add(struct latencies *latencies, uint64_t now_ms, uint32_t latency_us);
/* Adds those of the last 5 to 10 minutes. */
void latencies_sum(const struct latencies *latencies, uint64_t now_ms, struct latency_sum *sum);
/* The latency that so many percent do not exceed, 1 to 100: the middle of its bucket. 0: the sum is
 * empty. */
uint32_t latency_quantile(const struct latency_sum *sum, unsigned percent);

#endif
