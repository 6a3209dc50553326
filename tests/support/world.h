/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs a sequence on the real program and maps, with flows whose model knows only this: which backend an established
 * flow was answered by, which backends live, and whether the flow kept sending within its idle timeout.
 * Used by tests/bpf/test_invariant.c. */
#ifndef LBD_TEST_WORLD_H
#define LBD_TEST_WORLD_H

#include "batch.h"
#include "memory_dataplane.h"
#include "sequence.h"

#define WORLD_BACKENDS (SEQUENCE_SERVICES * SEQUENCE_BACKENDS)

struct flow {
	bool live;           /* established */
	bool woken;          /* one packet so far, of UDP, or after a longer silence than the idle timeout */
	uint16_t generation; /* a new one is a new tuple */
	int16_t owner;       /* the backend that answered; -1: none */
	int16_t answered;    /* the one its SYN went to */
	uint32_t deaths;     /* of the owner, when it last answered */
	uint32_t removals;
	uint32_t last;       /* tick of its last packet */
};

enum shot_kind {
	SHOT_OPENS_FRESH, /* SYN or first datagram of a tuple that was never used */
	SHOT_OPENS_AGAIN, /* of a tuple that was used before: what is left of that flow may decide */
	SHOT_SYN_REPEATED,
	SHOT_ESTABLISHES, /* the first packet after the SYN */
	SHOT_LIVES,
	SHOT_ENDS,  /* the last packet of a flow that lives */
	SHOT_WAKES, /* after a longer silence than the idle timeout: it may be anywhere */
	SHOT_KINDS,
};

struct pending {
	uint16_t flow;
	uint8_t kind; /* enum shot_kind */
};

struct world {
	struct batch *batch;
	const struct sequence *sequence;
	struct dataplane *dp;
	struct want want[SEQUENCE_SERVICES];
	bool changed; /* wants that were not committed yet */
	uint32_t now;
	uint32_t deaths[WORLD_BACKENDS]; /* and removals */
	uint32_t removals[WORLD_BACKENDS];
	struct flow flows[SEQUENCE_FLOWS];
	struct pending pending[BATCH_MOST];
	unsigned pending_count;
	uint64_t full, evicted; /* events counted so far */
	uint32_t full_at;       /* the last tick in which a flow found no place; 0: never */
	FILE *trace;            /* what happens, for people; NULL: not told */
	unsigned told;          /* the flow whose packets are told */

	/* results */
	char failure[512]; /* empty: none */
	unsigned guilty;   /* the flow it is about */
	uint64_t packets, checked, to_keepers;
	unsigned live_most;
};

/* Runs it to the end or to the first failure, which is then in w->failure. w is written anew. trace: where to tell what
 * happens to services, and to one flow; or NULL. */
void world_run(struct world *w, struct batch *batch, const struct sequence *s, FILE *trace, unsigned told);

/* world_trace.c: the told flow's packet, and what the maps have for the flow; nothing when there is no trace. */
void world_trace_packet(const struct world *w, const struct pending *pending, const struct shot *shot);
void world_trace(const struct world *w);

/* world_flows.c */
unsigned world_service_of(const struct world *w, uint32_t flow);
uint16_t world_port_of(const struct world *w, uint32_t flow);
uint32_t world_client_of(uint32_t flow);
/* One tick passes; flows come, send and end as the step's dice say. */
void world_tick(struct world *w, uint64_t seed);
/* Every flow that lives (all: or all but one in sixteen) sends its last packet. */
void world_end_flows(struct world *w, uint64_t seed, bool all);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
