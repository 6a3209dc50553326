/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows keys of one etcd cluster, whatever they are, by the JSON gateway of its API v3. */
#ifndef LBD_SOURCES_ETCD_H
#define LBD_SOURCES_ETCD_H

#include <event2/event_struct.h>

#include "transfer.h"

/* What is asked for, and how an answer is read: keys.h, documents.h. */
struct etcd_dialect {
	/* revision: NULL: all that there is; else the watch from that one on. Allocated. */
	char *(*request)(const char *key, const char *revision);
	int (*read)(const char *body, size_t length, const char *key, struct source_list *ret,
		    char ret_next[24], struct error *err);
};

struct etcd_run {
	const struct etcd_dialect *dialect;
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct event timer; /* the next request for all keys */
	struct transfer keys, watch;
	struct servers servers;
	char next[24];               /* the revision that the watch begins with */
	bool again;                  /* something has changed while all keys are asked for */
	bool gathers;                /* the timer runs from a first change */
	uint64_t asked_ms, watch_ms; /* CLOCK_MONOTONIC: for all keys, for the watch */
	bool answered;               /* the watch has been */
	char tail[16];               /* the last bytes that it has told */
	size_t tail_length;
};

/* Until etcd_unfollow it reports to env with arg. from outlives it. 0; -EINVAL: it names
 * no servers, or out of memory. */
int etcd_follow(struct etcd_run *run, const struct etcd_dialect *dialect,
		const struct source_env *env, const struct config_from *from, void *arg);
void etcd_unfollow(struct etcd_run *run);
/* Another request to the server whose turn it is. Takes over body; NULL is out of memory. endless:
 * its answer is. 0 or -ENOMEM. */
int etcd_ask(const struct etcd_run *run, struct transfer *transfer, const char *path, char *body,
	     bool endless);

#endif
