/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes the event loop, and runs long work in slices. */
#include "loop.h"

#include <stdlib.h>

#include <event2/event_struct.h>

#include "common/clock.h"

#define LESS_IMPORTANT_MAX 16   /* events below the core before the loop looks at the core again */
#define LESS_IMPORTANT_US  4000 /* the same in time */
#define SLICE_US           2000

struct event_base *loop_new(void)
{
	const struct timeval interval = clock_span_us(LESS_IMPORTANT_US);
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && !event_config_set_max_dispatch_interval(config, &interval, LESS_IMPORTANT_MAX,
							      LOOP_CONTROL))
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	if (base && event_base_priority_init(base, LOOP_PRIORITIES)) {
		event_base_free(base);
		return NULL;
	}
	return base;
}

int loop_priority_in(const struct event_base *base, enum loop_priority priority)
{
	int count = event_base_get_npriorities((struct event_base *)base);

	return (int)priority < count ? (int)priority : count - 1;
}

/* ---- work in slices ---- */

struct loop_work {
	struct event next;
	loop_step *step;
	void *arg;
};

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct loop_work *work = arg;
	uint64_t end_us = clock_monotonic_us() + SLICE_US;

	/* first, as a step may stop, restart or free the work */
	loop_work_start(work, 0);
	do {
		if (!work->step(work->arg))
			return;
	} while (clock_monotonic_us() < end_us);
}

struct loop_work *loop_work_new(struct event_base *base, enum loop_priority priority,
				loop_step *step, void *arg)
{
	struct loop_work *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	work->step = step;
	work->arg = arg;
	evtimer_assign(&work->next, base, on_slice, work);
	event_priority_set(&work->next, loop_priority_in(base, priority));
	return work;
}

void loop_work_free(struct loop_work *work)
{
	if (!work)
		return;
	event_del(&work->next);
	free(work);
}

/* A timer, not an event that is active at once: the loop asks the kernel for other events first. */
void loop_work_start(struct loop_work *work, unsigned after_ms)
{
	const struct timeval wait = clock_span_ms(after_ms);

	event_add(&work->next, &wait);
}

void loop_work_stop(struct loop_work *work)
{
	event_del(&work->next);
}
