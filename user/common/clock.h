/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clocks as integers, and spans of time for libevent. */
#ifndef LBD_CLOCK_H
#define LBD_CLOCK_H

#include <stdint.h>
#include <sys/time.h>

/* CLOCK_MONOTONIC. */
uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_us(void);
uint64_t clock_monotonic_ms(void);
/* us since begin_us of clock_monotonic_us; at most UINT32_MAX, 71 min. */
uint32_t clock_since_us(uint64_t begin_us);
/* CLOCK_REALTIME. */
uint64_t clock_wall_ms(void);

static inline struct timeval clock_span_us(uint64_t us)
{
	return (struct timeval){.tv_sec = (time_t)(us / 1000000),
				.tv_usec = (suseconds_t)(us % 1000000)};
}

static inline struct timeval clock_span_ms(uint64_t ms)
{
	return clock_span_us(ms * 1000);
}

#endif
