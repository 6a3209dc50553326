/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clocks as integers, and spans of time for libevent. */
#include "clock.h"

#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_monotonic_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_monotonic_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

uint32_t clock_since_us(uint64_t begin_us)
{
	uint64_t us = clock_monotonic_us() - begin_us;

	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

uint64_t clock_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000000;
}
