/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Time for the health checks: CLOCK_MONOTONIC, and libevent's way to write a span.
 * Called by health.c and the kinds in this directory. */
#ifndef LBD_HEALTH_CLOCK_H
#define LBD_HEALTH_CLOCK_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

static inline uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline struct timeval clock_timeval(uint64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

#endif
