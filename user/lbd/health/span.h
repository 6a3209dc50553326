/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A time span for libevent. */
#ifndef LBD_HEALTH_SPAN_H
#define LBD_HEALTH_SPAN_H

#include <stdint.h>
#include <sys/time.h>

static inline struct timeval span_of_ms(uint64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000),
				.tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

#endif
