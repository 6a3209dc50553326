/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What comes by itself: backends, from the sources that services name (`backends-from`), and the
 * config of a fleet, from etcd. Both are handed to state. A source that fails, or names fewer than
 * `min`, changes nothing.
 */
#ifndef LBD_SOURCES_H
#define LBD_SOURCES_H

#include <event2/event.h>

#include "common/error.h"
#include "lbd/announce/announce.h"
#include "lbd/fleet/fleet.h"
#include "lbd/host/host.h"
#include "lbd/state/state.h"
#include "rollout.h"

struct source_table;

struct source_table_options {
	struct event_base *base;
	struct state *state;
	struct tasks *tasks; /* NULL: what takes long runs at once */
};

/* Nothing is followed before source_table_begin. */
int source_table_new(const struct source_table_options *options, struct source_table **ret,
		     struct error *err);
/* Once state has made its first commit: follows what the config names, and each change of it. */
void source_table_begin(struct source_table *sources);
/* Without tasks left; NULL is fine. */
void source_table_free(struct source_table *sources);

/* ---- the config of a fleet ---- */

struct config_fetched {
	char *text;
	bool waits; /* it is being rolled out, and this node has not had its turn */
};

/* Before there is a loop: asks the servers for the text, for some seconds at most. 0 with *ret
 * allocated, or -errno with err set. */
int config_fetch(const struct config_remote *where, struct config_fetched *ret, struct error *err);

struct config_follower;

struct config_follower_options {
	struct event_base *base;
	struct state *state;
	struct tasks *tasks; /* NULL: what takes long runs at once */
	const struct config_remote *where;
	const struct announce *announce; /* NULL: nothing is announced */
	const struct fleet *fleet;       /* NULL: there are no other nodes */
	bool is_copy;                    /* the config in force is of the copy on disk */
};

int config_follower_new(const struct config_follower_options *options, struct config_follower **ret,
			struct error *err);
/* Once state has made its first commit: follows the text, and takes it over in this node's turn. */
void config_follower_begin(struct config_follower *follower);
/* Without tasks left; NULL is fine. */
void config_follower_free(struct config_follower *follower);

/* Of the last config_follower_write. */
struct config_write {
	uint64_t number; /* 0: there was none */
	bool pending;
	bool made;
	char why[SOURCE_WHY]; /* of one that was not; "" */
};

struct config_follower_view {
	const struct config_remote *where;
	uint64_t heard_ms;   /* CLOCK_MONOTONIC: etcd has answered last; 0: not yet */
	uint64_t failed_ms;  /* CLOCK_MONOTONIC since when it cannot be read; 0: it can */
	const char *why;     /* of that; "" */
	uint64_t revision;   /* in which the text in etcd was written; 0: not known */
	bool in_force;       /* that text is; else an earlier one */
	bool is_copy;        /* the one in force is of the copy on disk, and etcd was not heard */
	const char *refused; /* why the text in etcd was refused; "" */
	const char *waits;   /* for what this node waits before it takes it over; "" */
	bool has_former;     /* etcd has the text before */
	const struct rollout *rollout; /* of the text in etcd; NULL: none */
	const char *live;              /* nodes that are there, each a line */
	struct config_write write;
};

/* Pointers hold until the next turn of the loop. */
void config_follower_look(const struct config_follower *follower, struct config_follower_view *ret);

struct config_write_options {
	const char *text;  /* NULL: the one before that in etcd, which it puts back */
	const char *by;    /* who asks, on which node */
	unsigned most;     /* 1 to ROLLOUT_NODES_MAX */
	uint64_t limit_ms; /* 1 to ROLLOUT_LIMIT_MAX: until a node must be usable */
	bool trial;        /* writes nothing */
};

struct config_written {
	uint64_t number;             /* of the write: config_write; of a trial, of the last one */
	uint64_t digest;             /* of the text */
	struct reload_report report; /* what it changes here, for reload_report_done */
};

/* Checks the text here, as a reload would, and hands it to etcd with the record of a rollout. In a
 * task. 0, or -errno with err set; -EBUSY: not now. How it ends is in the view. */
int config_follower_write(struct config_follower *follower,
			  const struct config_write_options *options, struct config_written *ret,
			  struct error *err);

/* Is this the source process? main asks before all else. */
bool source_table_is_worker(int argc, char *const *argv);
/* Has main asked? A program that does not would run as itself once more. */
bool source_table_can_spawn(void);
/* Does not return unless it cannot start. */
int source_table_run_worker(void);

#endif
