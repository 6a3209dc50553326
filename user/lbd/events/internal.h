/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this room. */
#ifndef LBD_EVENTS_INTERNAL_H
#define LBD_EVENTS_INTERNAL_H

#include "common/error.h"
#include "lbd/host/host.h"
#include "events.h"

/* ---- ring.c: the last events in memory; pure ---- */

struct event_entry {
	uint64_t seq, wall_ms;
	size_t length;
	char *service; /* behind the JSON; NULL: none */
	char json[];
};

struct event_ring {
	struct event_entry *list[EVENTS_MAX];
	unsigned first, count;
	size_t bytes;
	uint64_t gone; /* seq of the last one that gave way; 0: none has */
};

/* Takes a copy. The oldest ones give way. 0 or -ENOMEM. */
int ring_add(struct event_ring *ring, const struct event_record *record);
/* The first one with a number above seq; NULL: none. */
const struct event_entry *ring_after(const struct event_ring *ring, uint64_t seq);
/* The last one with a number below seq; NULL: none. */
const struct event_entry *ring_before(const struct event_ring *ring, uint64_t seq);
uint64_t ring_last(const struct event_ring *ring); /* 0: empty */
void ring_done(struct event_ring *ring);

/* ---- keep.c: the file ---- */

struct keep;

/* Reads the file into the ring; one that cannot be used is renamed to end in .bad, and logged.
 * base: NULL: keep_wake writes at once. 0 or -ENOMEM. */
int keep_new(struct event_base *base, const char *path, struct event_ring *ring, struct keep **ret,
	     struct error *err);
/* There are new events. */
void keep_wake(struct keep *keep);
/* Writes what is left; NULL is fine. */
void keep_free(struct keep *keep);

/* ---- hook.c: the command of `notify` ---- */

struct hook;

int hook_new(const struct events_options *options, const struct event_ring *ring,
	     struct hook **ret);
void hook_free(struct hook *hook); /* NULL is fine */
void hook_set(struct hook *hook, const char *command);
void hook_wake(struct hook *hook);
const uint64_t *hook_counts(const struct hook *hook);

#endif
