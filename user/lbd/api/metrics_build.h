/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Builds the text of all metrics in slices of the loop. */
#ifndef LBD_METRICS_BUILD_H
#define LBD_METRICS_BUILD_H

#include "lbd/announce/announce.h"
#include "lbd/fleet/fleet.h"
#include "lbd/sources/sources.h"
#include "lbd/state/state.h"
#include "face.h"

enum metrics_face { METRICS_CONTROL, METRICS_OWN, METRICS_API, METRICS_FACES };

struct metrics_source {
	struct state *state;
	struct dataplane *dp;
	const struct health *health;
	const struct attach *attach;            /* NULL: no interfaces */
	const struct announce *announce;        /* NULL: nothing is announced */
	const struct fleet *fleet;              /* NULL: there are no other nodes */
	const struct config_follower *follower; /* NULL: the config is in files */
	const struct lateness *lateness;
	const struct face *faces[METRICS_FACES]; /* NULL: there is none */
	double start_time;                       /* seconds since 1970 */
};

struct metrics_build;

/* Starts to build. made frees the build, then or later. 0 or -ENOMEM. */
int metrics_build_new(struct event_base *base, const struct metrics_source *source,
		      text_made_fn *made, void *arg, struct metrics_build **ret);
void metrics_build_free(struct metrics_build *build); /* ends it if it runs; NULL is fine */

#endif
