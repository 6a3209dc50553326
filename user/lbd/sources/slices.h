/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The EndpointSlices of one service (discovery.k8s.io/v1), as a list and the events of a watch tell
 * them, and the backends that they name together. Pure. */
#ifndef LBD_SOURCES_SLICES_H
#define LBD_SOURCES_SLICES_H

#include "list.h"

#define SLICES_LINE_MAX (2u << 20) /* bytes of an event: an object has 1.5 MiB at most */

struct slices;

/* from: the service, its namespace, port and family; outlives it. NULL: out of memory. */
struct slices *slices_new(const struct config_from *from);
void slices_free(struct slices *slices); /* NULL is fine */
/* "": nothing has been read. */
const char *slices_version(const struct slices *slices);
/* The answer to a list takes the place of all. 0, or -errno with err set: nothing has changed. */
int slices_read_list(struct slices *slices, const char *text, size_t length, struct error *err);

enum slices_event {
	SLICES_SAME,    /* only the version may be another */
	SLICES_CHANGED, /* what they name may be something else */
	SLICES_GONE,    /* the server has forgotten what came after the version: list again */
};
/* A line of a watch. One of these; or -errno with err set: list again before they name anything. */
int slices_read_event(struct slices *slices, const char *line, size_t length, struct error *err);
/* 0; -E2BIG or -ENOMEM with err set. */
int slices_name(const struct slices *slices, struct source_list *ret, struct error *err);

#endif
