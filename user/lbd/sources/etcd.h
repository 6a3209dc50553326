/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows keys of one etcd cluster, whatever they are. */
#ifndef LBD_SOURCES_ETCD_H
#define LBD_SOURCES_ETCD_H

#include <event2/event_struct.h>

#include "gateway.h"

#define ETCD_SERVERS_MAX 8

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
	struct gateway_call keys, watch;
	char *servers[ETCD_SERVERS_MAX]; /* in texts */
	unsigned servers_count, server;
	char *texts;
	char next[24]; /* the revision that the watch begins with */
	uint64_t retry_ms;
	bool again;   /* something has changed while all keys are asked for */
	bool gathers; /* the timer runs from a first change */
};

/* Until etcd_unfollow it reports to env with arg. from outlives it. 0; -EINVAL: it names no
 * servers; -ENOMEM. */
int etcd_follow(struct etcd_run *run, const struct etcd_dialect *dialect,
		const struct source_env *env, const struct config_from *from, void *arg);
void etcd_unfollow(struct etcd_run *run);
/* The one that is asked at the moment. */
const char *etcd_server(const struct etcd_run *run);

#endif
