/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd's side of the probe process: starts it, sends it the probes, and takes the results. It is not
 * trusted, as a server may have taken it over: what it sends is checked, can at most end probes
 * that it runs, and keeps nothing else from running. If it ends, hangs, or sends what it should
 * not, it is ended and started again. */
#ifndef LBD_HEALTH_REMOTE_H
#define LBD_HEALTH_REMOTE_H

#include "attempt.h"

struct remote;
struct remote_probe;

struct remote_options {
	struct event_base *base;
	/* Arguments of this program that make it the probe process; NULL at the end. */
	const char *const *arguments;
	unsigned tick_ms;     /* between two pings */
	unsigned ticks;       /* without an answer until it is ended */
	unsigned patience_ms; /* beyond twice its timeout a probe must have a result */
	unsigned backoff_ms;  /* before the second start in a row; then twice as long each time */
	unsigned backoff_max_ms;
};

/* Options as lbd has them. */
struct remote_options remote_defaults(struct event_base *base);

/* Starts nothing yet. 0 or -ENOMEM. */
int remote_new(const struct remote_options *options, struct remote **ret);
/* Ends the process. Every probe must have ended. NULL is fine. */
void remote_free(struct remote *remote);
/* Starts the process, if it was not started before. */
void remote_need(struct remote *remote);

/* As attempt_start. ATTEMPT_LOST: the process has ended. NULL with errno ENOTCONN: there is no
 * process now; else this host is out of resources, or refuses the source or mark. */
struct remote_probe *remote_start(struct remote *remote, const struct health_probe_spec *spec,
				  bool repeated, attempt_done_fn *done, void *arg);
void remote_cancel(struct remote_probe *probe);

void remote_process(const struct remote *remote, struct health_process *ret);

#endif
