/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measures how late the event loop is, by a timer. */
#include "lateness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event_struct.h>

#include "common/clock.h"

#define MINUTE_US   60000000ULL
#define NOT_RUNNING UINT64_MAX

/* ---- the meter ---- */

void lateness_start(struct lateness_meter *meter, uint64_t now_us)
{
	memset(meter, 0, sizeof(*meter));
	meter->due_us = now_us + LATENESS_BEAT_US;
	meter->minute_us = now_us;
}

static uint64_t overdue(const struct lateness_meter *meter, uint64_t now_us)
{
	return now_us > meter->due_us ? now_us - meter->due_us : 0;
}

static unsigned bucket_of(uint64_t late_us)
{
	static const uint64_t bounds[LATENESS_BUCKETS - 1] = LATENESS_BOUNDS;
	unsigned i = 0;

	while (i < LATENESS_BUCKETS - 1 && late_us > bounds[i])
		i++;
	return i;
}

static void turn_minute(struct lateness_meter *meter, uint64_t now_us)
{
	if (now_us - meter->minute_us < MINUTE_US)
		return;
	meter->last_minute_us =
	    now_us - meter->minute_us < 2 * MINUTE_US ? meter->this_minute_us : 0;
	meter->this_minute_us = 0;
	meter->minute_us = now_us;
}

void lateness_beat(struct lateness_meter *meter, uint64_t now_us)
{
	uint64_t late_us = overdue(meter, now_us);

	meter->buckets[bucket_of(late_us)]++;
	meter->beats++;
	meter->sum_us += late_us;
	if (late_us > meter->max_us)
		meter->max_us = late_us;
	turn_minute(meter, now_us);
	if (late_us > meter->this_minute_us)
		meter->this_minute_us = late_us;
	meter->due_us = now_us + LATENESS_BEAT_US;
}

uint64_t lateness_total(const struct lateness_meter *meter, uint64_t now_us)
{
	return meter->sum_us + overdue(meter, now_us);
}

uint64_t lateness_recent(const struct lateness_meter *meter, uint64_t now_us)
{
	uint64_t late_us = overdue(meter, now_us);

	if (meter->this_minute_us > late_us)
		late_us = meter->this_minute_us;
	return meter->last_minute_us > late_us ? meter->last_minute_us : late_us;
}

/* ---- the meter of a loop ---- */

struct lateness {
	struct event_base *base;
	struct event beat;
	struct lateness_meter meter;
};

/* The first beat comes when the loop begins to run; time before that is no lateness. */
static void on_beat(int fd, short what, void *arg)
{
	const struct timeval wait = clock_span_us(LATENESS_BEAT_US);
	struct lateness *lateness = arg;

	if (lateness->meter.due_us == NOT_RUNNING)
		lateness_start(&lateness->meter, clock_monotonic_us());
	else
		lateness_beat(&lateness->meter, clock_monotonic_us());
	event_base_update_cache_time(
	    lateness->base); /* else the wait would begin with this turn of the loop */
	event_add(&lateness->beat, &wait);
}

int lateness_new(struct event_base *base, struct lateness **ret)
{
	struct lateness *lateness = calloc(1, sizeof(*lateness));

	if (!lateness)
		return -ENOMEM;
	lateness->base = base;
	evtimer_assign(&lateness->beat, base, on_beat, lateness);
	lateness->meter.due_us = NOT_RUNNING;
	event_active(&lateness->beat, EV_TIMEOUT, 0);
	*ret = lateness;
	return 0;
}

void lateness_free(struct lateness *lateness)
{
	if (!lateness)
		return;
	event_del(&lateness->beat);
	free(lateness);
}

const struct lateness_meter *lateness_meter(const struct lateness *lateness)
{
	return &lateness->meter;
}
