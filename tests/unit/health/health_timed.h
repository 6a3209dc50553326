/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Probes of a kind that a test makes up: they end after a while, or when they are cancelled. */
#ifndef LBD_TEST_HEALTH_TIMED_H
#define LBD_TEST_HEALTH_TIMED_H

#include <stdlib.h>

#include <event2/event.h>

#include "lbd/health/health.h"

struct health_probe {
	const char *why;
	struct event *event;
	health_done_fn *done;
	void *arg;
};

static void end_probe(int fd, short what, void *arg)
{
	struct health_probe probe = *(struct health_probe *)arg;

	event_free(probe.event);
	free(arg);
	probe.done(probe.arg, probe.why ? HEALTH_FAILED : HEALTH_PASSED, probe.why, 7);
}

/* why: what it fails for; NULL: it passes; "": no answer, until it is cancelled. */
static struct health_probe *new_probe(struct event_base *loop, const char *why, unsigned after_us,
				      health_done_fn *done, void *arg)
{
	struct health_probe *probe = malloc(sizeof(*probe));
	struct timeval soon = {.tv_usec = after_us};

	assert_non_null(probe);
	*probe = (struct health_probe){.why = why, .done = done, .arg = arg};
	probe->event = evtimer_new(loop, end_probe, probe);
	if (!why || *why)
		event_add(probe->event, &soon);
	return probe;
}

static bool serve_probe(struct health_probe *probe)
{
	return false;
}

static const char *probe_waits_for(const struct health_probe *probe)
{
	return "connect: timed out";
}

static void cancel_probe(struct health_probe *probe)
{
	event_free(probe->event);
	free(probe);
}

#endif
