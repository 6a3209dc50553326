/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a kind of source makes of a config before it is started, and now and then while it runs. In
 * lbd. */
#ifndef LBD_SOURCES_PREPARE_H
#define LBD_SOURCES_PREPARE_H

#include "kind.h"

#define PREPARE_MS      20000 /* from one look at a source's files to the next, while it works */
#define PREPARE_LATE_MS 5000
#define PREPARE_NOT     "out of memory or descriptors"

struct aside;

struct source_prepared {
	const struct source_kind *kind;
	struct config_from from; /* for config_from_done; rc is set: empty */
	struct error err;
	int rc;
};

/* May source_prepare be kept waiting? */
bool source_prepare_reads(const struct source_kind *kind, const struct config_from *from);
/* At once: for what reads no files, and where nothing else waits. */
void source_prepare(const struct source_kind *kind, const struct config_from *from,
		    struct source_prepared *ret);

struct source_preparing {
	struct event_base *base;
	/* From the loop. prepared->from may be taken over, and {0} put in its place. */
	void (*done)(void *arg, struct source_prepared *prepared);
	/* From the loop, once: the files have kept it waiting for PREPARE_LATE_MS. */
	void (*late)(void *arg);
	void *arg;
};

/* In a thread of its own, as the files may keep it waiting, for ever: for aside_drop until `done`
 * is called. NULL: out of memory or descriptors. */
struct aside *source_prepare_aside(const struct source_kind *kind, const struct config_from *from,
				   const struct source_preparing *options);
/* Why one is late: a constant sentence. */
const char *source_prepare_late(const struct aside *prepares);

#endif
