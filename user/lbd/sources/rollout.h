/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a config is rolled out over a fleet: the record that its nodes write in turns, and what a
 * node is to do about it. Pure. */
#ifndef LBD_SOURCES_ROLLOUT_H
#define LBD_SOURCES_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lbd/state/state.h"

#define ROLLOUT_NODES_MAX 64
#define ROLLOUT_WHY       SOURCE_WHY
#define ROLLOUT_LIMIT_MS  60000 /* by default */
#define ROLLOUT_LIMIT_MAX 3600000

/* Of a node, in JSON in lower case. One that is not in the record has yet to take its turn. */
enum rollout_progress { ROLLOUT_APPLYING, ROLLOUT_DONE, ROLLOUT_FAILED, ROLLOUT_PROGRESSES };
const char *rollout_progress_name(enum rollout_progress progress);

struct rollout_node {
	char name[CONFIG_NODE_TEXT + 1];
	enum rollout_progress progress;
	char why[ROLLOUT_WHY]; /* of one that has failed; "" */
};

struct rollout {
	uint64_t digest;               /* of the text that it is about */
	unsigned most;                 /* nodes that apply it at the same time */
	uint64_t limit_ms;             /* until a node must be usable with it */
	char by[2 * CONFIG_NODE_TEXT]; /* who asked for it, and on which node */
	uint64_t time_ms;              /* CLOCK_REALTIME of that node */
	struct rollout_node nodes[ROLLOUT_NODES_MAX];
	unsigned count;
};

/* Never 0. */
uint64_t rollout_digest(const char *text);

/* 0, or -EINVAL with err set; then *ret is undefined. */
int rollout_parse(const char *text, size_t length, struct rollout *ret, struct error *err);
/* Allocated. NULL: out of memory. */
char *rollout_format(const struct rollout *rollout);
/* NULL: it is not in the record. */
const struct rollout_node *rollout_find(const struct rollout *rollout, const char *node);
/* 0 or -ENOSPC. why may be longer than there is room for. */
int rollout_set(struct rollout *rollout, const char *node, enum rollout_progress progress,
		const char *why);

/* ---- what is to be done ---- */

/* As one node sees it. */
struct rollout_view {
	const struct rollout *rollout; /* NULL: there is none */
	const char *live;              /* the names of nodes that are there, each a line */
	uint64_t digest;               /* of the text in etcd */
	bool in_force;                 /* here */
	bool refused;                  /* here: it was tried, and nothing changed */
	const char *node;              /* this one */
};

enum rollout_step {
	ROLLOUT_REST,   /* nothing, or to wait: why says for what */
	ROLLOUT_APPLY,  /* the text, now */
	ROLLOUT_TAKE,   /* its turn: to write that it is applying it */
	ROLLOUT_PROVE,  /* that it is usable with the text: then to write that it is done */
	ROLLOUT_ADMIT,  /* to write that it has failed */
	ROLLOUT_SETTLE, /* to write that it is done: nothing was to be changed */
};

/* A text that no record is about was put there by hand: each node applies it at once. */
enum rollout_step rollout_decide(const struct rollout_view *view, char why[ROLLOUT_WHY]);

enum rollout_outcome { ROLLOUT_RUNS, ROLLOUT_ENDED, ROLLOUT_STOPPED, ROLLOUT_OUTCOMES };
const char *rollout_outcome_name(enum rollout_outcome outcome);
/* node: this one, which is there whatever live says. why: of one that is stopped; else "". */
enum rollout_outcome rollout_judge(const struct rollout *rollout, const char *live,
				   const char *node, char why[ROLLOUT_WHY]);
/* Is the node one of the lines? */
bool rollout_is_live(const char *live, const char *node);

#endif
