/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket, HTTP with JSON bodies on a Unix socket, see include/lb_api.h; and the same
 * for other machines, with TLS, if the config has `api:`. */
#ifndef LBD_API_H
#define LBD_API_H

#include "lbd/announce/announce.h"
#include "lbd/fleet/fleet.h"
#include "lbd/sources/sources.h"
#include "lbd/state/state.h"
#include "budget.h"
#include "metrics.h"

struct api;

struct api_options {
	struct event_base *base;
	struct state *state; /* its config has the path and the group of the socket */
	struct attach *attach;
	const struct announce *announce;  /* NULL: nothing is announced */
	const struct fleet *fleet;        /* NULL: there are no other nodes */
	struct config_follower *follower; /* NULL: the config is in files */
	struct dataplane *dp;
	const struct health *health;
	const struct lateness *lateness;
	struct tasks *tasks;         /* for changes; NULL: they are made at once */
	unsigned connections;        /* at most; see budget.h */
	unsigned remote_connections; /* the same of the listener of `api:` */
};

int api_new(const struct api_options *options, struct api **ret, struct error *err);
/* Without tasks left that it has added; NULL is fine. */
void api_free(struct api *api);
const struct face *api_face(const struct api *api);
const struct face *api_remote_face(const struct api *api); /* NULL: there is none */

#endif
