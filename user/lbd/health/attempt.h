/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One probe from start to result: its timeout, and whether the lateness of the loop that it runs on
 * makes it void. Runs in lbd or in the probe process, as its kind says; the result is of the
 * process that ran it. */
#ifndef LBD_HEALTH_ATTEMPT_H
#define LBD_HEALTH_ATTEMPT_H

#include "health.h"

struct attempts; /* the kinds of one process, and their probes that run */
struct attempt;

enum attempt_outcome {
	ATTEMPT_PASSED,
	ATTEMPT_FAILED,
	ATTEMPT_NOT_RUN, /* this host lacked a resource */
	ATTEMPT_VOID,    /* it failed while the loop was late: see verdict.h */
	ATTEMPT_LOST,    /* the process that ran it has ended */
};

struct attempt_result {
	enum attempt_outcome outcome;
	uint64_t began_us, ended_us; /* CLOCK_MONOTONIC */
	uint64_t late_us;            /* ATTEMPT_VOID: how late the loop was */
	uint32_t latency_us;         /* ATTEMPT_PASSED: or 0 if the loop was late */
	const char *why;             /* "" if it passed, but of an agent what it has said */
};

/* Called from the loop, exactly once unless the attempt is cancelled, and never from within start.
 * The attempt is gone by then. */
typedef void attempt_done_fn(void *arg, const struct attempt_result *result);

/* Opens the kinds that run confined, or those that do not. lateness: of base's loop. */
int attempts_new(struct event_base *base, const struct lateness *lateness, bool confined,
		 struct attempts **ret, struct error *err);
/* Every attempt must have ended. NULL is fine. */
void attempts_free(struct attempts *attempts);
/* At most so many at the same time; 0, the default: no limit. */
void attempts_limit(struct attempts *attempts, unsigned max);
bool attempts_full(const struct attempts *attempts);
/* Must one more of this kind wait? */
bool attempts_busy(const struct attempts *attempts, const struct health_kind *kind);

/* spec, of a kind that was opened, and what it points to outlive the attempt. repeated: the attempt
 * before this one was void. NULL with errno set: this host is out of resources, or EINVAL: the kind
 * is not opened here. */
struct attempt *attempt_start(struct attempts *attempts, const struct health_probe_spec *spec,
			      bool repeated, attempt_done_fn *done, void *arg);
void attempt_cancel(struct attempt *attempt);

#endif
