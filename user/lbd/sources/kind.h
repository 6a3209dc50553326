/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A kind of source: its file fills in this struct and registers it. */
#ifndef LBD_SOURCES_KIND_H
#define LBD_SOURCES_KIND_H

#include "common/registry.h"
#include "list.h"
#include "sources.h"

/* Called from the loop or a task with what the source names now, in any order, which is taken over;
 * or with NULL, and why it failed. Not from within start. */
typedef void source_report_fn(void *arg, struct source_list *list, const char *why);

/* How an order has ended; why of one that has failed. */
enum source_outcome {
	SOURCE_MADE,
	SOURCE_OVERTAKEN, /* another has written meanwhile: nothing was */
	SOURCE_LOST,      /* it has failed, or nobody knows whether it was made */
	SOURCE_OUTCOMES
};
typedef void source_done_fn(void *arg, uint32_t number, enum source_outcome outcome,
			    const char *why);

struct source_env {
	struct event_base *base;
	struct tasks *tasks; /* NULL: what takes long runs at once */
	void *shared;        /* of open */
	source_report_fn *report;
	source_done_fn *done;
};

struct source_kind {
	const char *name; /* the key in `backends-from`: config_from_kind */
	/* It reads what others on the network send, so it runs in the source process, without
	 * rights: there it can open no file and make only the system calls of lbd/host/confine.c,
	 * UDP among them. What its libraries open belongs in `open`. */
	bool confined;
	/* It names a port of each backend, also where nobody has asked for one: it counts for
	 * services that can use it, and is no mistake for others. */
	bool has_ports;
	/* In lbd, before it is started: what of the machine's own files it needs is put into *from,
	 * a copy of the config's. Called again while it fails. NULL: nothing. 0, or -errno with
	 * err set. */
	int (*prepare)(struct config_from *from, struct error *err);
	/* What all sources of the kind share. NULL: nothing. 0 or -errno. */
	int (*open)(struct event_base *base, void **ret, struct error *err);
	void (*close)(void *shared);
	/* Follows what from names, which outlives it, and reports with arg until stop. NULL: out of
	 * memory. */
	void *(*start)(const struct source_env *env, const struct config_from *from, void *arg);
	void (*stop)(void *run);
	/* Writes what body says, takes it over, and ends with done. One at a time. NULL: the kind
	 * only reads. */
	void (*order)(void *run, uint32_t number, char *body);
};

REGISTRY(source_kind, struct source_kind);

#define SOURCE_KIND_FLEET "etcd-fleet" /* that names documents, not backends */

const struct source_kind *source_kind_find(const char *name);

#endif
