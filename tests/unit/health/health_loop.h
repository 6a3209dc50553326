/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A loop with a scheduler of health checks, for a test at a time. */
#ifndef LBD_TEST_HEALTH_LOOP_H
#define LBD_TEST_HEALTH_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "lbd/health/health.h"

#define HANG_MS    240000 /* a wait that long means that the test hangs */
#define PATIENT_MS 30000  /* a timeout that no probe reaches */

static struct event_base *base;
static struct lateness *lateness;
static struct health *health;

static inline void turn(void)
{
	struct timeval tick = {.tv_usec = 5000};

	event_base_loopexit(base, &tick);
	event_base_loop(base, EVLOOP_ONCE);
}

/* Turns the loop until *flag reaches wanted. False: it hangs. */
static inline bool run_until(const unsigned *flag, unsigned wanted)
{
	uint64_t end = clock_monotonic_ms() + HANG_MS;

	while (*flag < wanted && clock_monotonic_ms() < end)
		turn();
	return *flag >= wanted;
}

static int start_loop(void **state)
{
	struct error err;

	base = event_base_new();
	return !base || lateness_new(base, &lateness) || health_new(base, lateness, &health, &err);
}

static int stop_loop(void **state)
{
	health_free(health);
	lateness_free(lateness);
	event_base_free(base);
	return 0;
}

#endif
