/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket: HTTP with JSON bodies on a Unix socket, see include/lb_api.h. */
#ifndef LBD_API_H
#define LBD_API_H

#include "lbd/state/state.h"
#include "metrics.h"

struct api;

/* Binds path, mode 0660 and group. Creates its directory if missing, replaces a stale socket. */
int api_new(struct event_base *base, struct state *state, struct attach *attach,
	    struct dataplane *dp, const struct lateness *lateness, const char *path,
	    const char *group, struct api **ret, struct error *err);
void api_free(struct api *api);

#endif
