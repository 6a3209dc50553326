/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A text that many ask for: it is made when somebody asks, once a second at most, and is shared by
 * all who ask within that second. */
#ifndef LBD_SNAPSHOT_H
#define LBD_SNAPSHOT_H

#include <event2/event.h>

#include "face.h"

struct snapshot;

struct snapshot_options {
	struct event_base *base;
	const char *type; /* of the content */
	/* Starts to build another text, in slices of the loop. When it is done, snapshot_made is
	 * called with the snapshot, once. 0 with the build in *ret, or -ENOMEM. */
	int (*begin)(void *arg, struct snapshot *snapshot, void **ret);
	void (*end)(void *build); /* frees it, and ends it if it runs; NULL is fine */
	void *arg;
};

int snapshot_new(const struct snapshot_options *options, struct snapshot **ret); /* 0 or -ENOMEM */
void snapshot_free(struct snapshot *snapshot);                                   /* NULL is fine */

/* Answers the call with a text that is at most a second old; or with an older one, as long as
 * others are still taking the one before it. */
void snapshot_answer(struct snapshot *snapshot, struct face_call *call);
/* A text_made_fn; arg is the snapshot. */
void snapshot_made(void *arg, struct text *text);
/* Nobody waits for it or takes a text, so that it may be freed or be of something else. */
bool snapshot_is_idle(const struct snapshot *snapshot);

#endif
