/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GET /metrics in the Prometheus text format 0.0.4, and GET /healthz, over HTTP on a TCP port or a
 * Unix socket. The text is made once a second at most, however many ask, in slices of the loop. */
#ifndef LBD_METRICS_H
#define LBD_METRICS_H

#include "lbd/announce/announce.h"
#include "lbd/fleet/fleet.h"
#include "lbd/sources/sources.h"
#include "lbd/state/state.h"

struct metrics;
struct face;

struct metrics_options {
	struct event_base *base;
	struct state *state; /* and its config */
	struct dataplane *dp;
	const struct health *health;
	const struct attach *attach;            /* NULL: no interfaces */
	const struct announce *announce;        /* NULL: nothing is announced */
	const struct fleet *fleet;              /* NULL: there are no other nodes */
	const struct config_follower *follower; /* NULL: the config is in files */
	const struct lateness *lateness;
	/* for their metrics; they outlive this */
	const struct face *control, *remote;
	unsigned connections; /* at most; see budget.h */
};

/* Listens where the config says. Fails also if its token file cannot be read or may be read by
 * others. */
int metrics_new(const struct metrics_options *options, struct metrics **ret, struct error *err);
void metrics_free(struct metrics *metrics); /* NULL is fine */

#endif
