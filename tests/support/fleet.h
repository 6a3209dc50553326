/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two or three nodes, each the real program on maps of its own with an lbd, that tell each other of
 * slots and flows in real frames; and a model of the flows, which knows only what the ends of a
 * flow know. A router gives each flow a node and may give it another one at any tick.
 *
 * What happens at random: backends are added, removed, drained, get weights, and each node learns
 * of that some ticks later than another; backends die on all nodes or in the eyes of one; the lists
 * of nodes have another order, and their clocks differ; rings change size; an lbd is replaced; a
 * node reboots with empty maps; the nodes lose each other and meet again.
 *
 * What must hold: a flow that sends once per idle timeout stays on its backend, whichever node gets
 * its packets, while that node can use the backend. In the end, with the same config and without
 * flows, no slot differs and none is in transition.
 *
 * Excused, each at its check: docs/tracking.md, "More than one node", lists them.
 *
 * What it does not cover: one tick is the least time, and all that nodes say arrives within it;
 * forged packets, full tables and collisions, which are those of tests/support/world.h. */
#ifndef LBD_TEST_FLEET_H
#define LBD_TEST_FLEET_H

#include <stdio.h>

#include "batch.h"
#include "memory_dataplane.h"

#define FLEET_NODES    3
#define FLEET_SERVICES 2
#define FLEET_BACKENDS 6 /* of a service */
#define FLEET_NUMBERS  (FLEET_SERVICES * FLEET_BACKENDS)
#define FLEET_FLOWS    160

enum fleet_actor {
	FLEET_LATE,    /* a node learns of a change some ticks after the others */
	FLEET_HEALTH,  /* backends die, also in the eyes of one node */
	FLEET_REMOVES, /* backends are removed */
	FLEET_RESIZES,
	FLEET_RESTARTS, /* another lbd takes over, some ticks later */
	FLEET_REBOOTS,  /* a node loses all, and joins again */
	FLEET_PARTS,    /* the nodes lose each other */
	FLEET_ACTORS,
};
#define FLEET_ALL ((1u << FLEET_ACTORS) - 1)

struct fleet_flow {
	uint8_t phase;              /* enum of fleet.c */
	bool firm;                  /* a node has seen two of its packets within an idle timeout */
	uint32_t seen[FLEET_NODES]; /* tick of the last one; 0: none */
	uint8_t service, home, opened_by;
	uint16_t generation;
	int16_t owner;
	uint32_t isn, opened, last;
	uint32_t known; /* tick since which the others can know of it */
	uint32_t removals[FLEET_NODES], deaths[FLEET_NODES];
};

struct fleet_node {
	struct batch *batch;
	struct dataplane *dp; /* NULL: no lbd */
	bool runs;            /* forwards */
	bool serves;          /* and is announced */
	uint32_t offset;      /* of its clock, ticks */
	uint32_t away_since;  /* tick at which the last lbd ended */
	uint32_t back_at;     /* tick at which lbd or the node is back; 0: it is there */
	uint32_t applies_at;  /* tick at which it learns of the wanted config; 0: it has */
	struct want want[FLEET_SERVICES];
	bool dead[FLEET_NUMBERS];
	bool applied_dead[FLEET_NUMBERS]; /* as of the last commit */
	uint32_t removals[FLEET_NUMBERS], deaths[FLEET_NUMBERS];
	uint32_t added[FLEET_NUMBERS];             /* tick */
	uint32_t joined_in_resize[FLEET_SERVICES]; /* tick; 0: never */
};

struct fleet {
	uint64_t seed;
	uint32_t actors; /* bits by enum fleet_actor */
	unsigned nodes_count, services_count, flows_count;
	uint32_t now, end;
	struct fleet_node nodes[FLEET_NODES];
	bool linked[FLEET_NODES][FLEET_NODES];
	/* the last tick at which two nodes that forwarded did not hear each other; 0: never */
	uint32_t apart[FLEET_NODES][FLEET_NODES];
	struct fleet_service {
		bool udp, always;
		const char *algorithm;
		uint32_t idle, slots, resized; /* ticks; of the ring; tick of the last change */
		uint32_t weight[FLEET_BACKENDS];
		bool present[FLEET_BACKENDS];
	} service[FLEET_SERVICES];
	struct fleet_flow flows[FLEET_FLOWS];
	uint8_t *wire; /* bytes between nodes */
	FILE *trace;
	unsigned traced;

	/* results */
	char failure[512];
	unsigned guilty;
	uint64_t packets, checked, shifted, checked_after_shift, told;
};

/* Runs the seed to its end or to the first failure, in fleet->failure. batches: one a node. */
void fleet_run(struct fleet *fleet, struct batch *batches, uint64_t seed, uint32_t actors,
	       FILE *trace, unsigned traced);

#endif
