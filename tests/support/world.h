/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs a sequence on the real program and maps, with flows whose model knows only what the two ends of a flow know:
 * which backend answered it, whether that backend lives, and whether the flow kept sending. The model ends a flow where
 * its ends do, not where the program does.
 *
 * What it holds (world_model.c):
 * - A flow is established by the first packet after its SYN, at the backend where the SYN went; a UDP flow by its first
 *   datagram. While it sends at least once per idle timeout and its backend is usable, it does not move: not when
 *   anything else changes, not when the table is full, not when others send SYN, FIN, RST or ACK in its name.
 * - A client that sent FIN goes on sending ACKs, each within the idle timeout and 4 minutes: it lives on.
 * - SYN, its repetitions and the first packet after it go to one backend. A new flow goes to a backend that takes some.
 * - A backend that died and is back within one idle timeout has the flows that were silent or dropped meanwhile.
 * - Where all flows are tracked and nothing changed, a flow that was silent for longer is still where it was.
 * What it excuses is in world_model.c, each at its test, marked "Excused:".
 *
 * What it cannot see:
 * - True sequence numbers. A real end tells a forged RST from the true one, and the model says which it is; so a forged
 *   RST that hits the window, which does end a flow, is not among its packets.
 * - Answers. They do not pass the balancer; that a server goes on sending to a half-closed client is the client's ACKs.
 * - Several CPUs: one packet at a time, none while lbd writes. Lost races and the order of writes are seen elsewhere.
 * - Fragments, ICMP errors, tracking `never`, hashes of fewer fields but source-hash, more than two services.
 * - The places that a full table is sure to keep for each service: it sees that no flow moves, not who found none.
 * - Collisions where flows are not all tracked: the narrow hash is only for services that track always. Nor those with
 *   the marks that strangers' lone packets leave.
 * - Time within a tick; a clock that jumps; a reload that fails half way. */
#ifndef LBD_TEST_WORLD_H
#define LBD_TEST_WORLD_H

#include "batch.h"
#include "memory_dataplane.h"
#include "sequence.h"

#define WORLD_BACKENDS (SEQUENCE_SERVICES * SEQUENCE_BACKENDS)
#define NO_FLOW        UINT16_MAX /* the packet is of a flood */

enum flow_phase {
	FLOW_NONE,    /* over, or never was */
	FLOW_OPENING, /* SYN sent */
	FLOW_LIVE,    /* established */
	FLOW_HALF,    /* the client has sent FIN, the server goes on */
};

struct flow {
	uint8_t phase;       /* enum flow_phase */
	bool firm;           /* has sent in a later tick than the one that established it */
	bool unplaced;       /* the table was full while it was not firm */
	uint32_t isn;        /* of its SYN */
	bool doubtful;       /* a forged SYN came before it could be known */
	bool again;          /* its tuple was used before */
	bool fin;            /* somebody sent FIN in its name, perhaps itself */
	bool forged;         /* somebody sent in its name since its last packet */
	uint16_t generation; /* a new one is a new tuple */
	int16_t owner;       /* the backend that answered, still there when the flow is over; -1: none */
	int16_t answered;    /* the one that its last SYN, later its last packet, went to */
	int16_t went;        /* where the last packet of the tuple went, whoever sent it */
	uint32_t deaths;     /* of that one, up to then */
	uint32_t removals;
	/* ticks */
	uint32_t opened, established, last; /* its own packets */
	uint32_t served;                    /* of the last one that its owner got */
	uint32_t closing; /* of the first FIN, or an RST after which it sent nothing, whose ever; 0: none */
	uint32_t heard;   /* of the last one by whoever */
};

enum shot_kind {
	SHOT_OPENS_FRESH, /* SYN or first datagram of a tuple that was never used */
	SHOT_OPENS_AGAIN, /* of a tuple that was used before: what is left of that flow may decide */
	SHOT_SYN_REPEATED,
	SHOT_ESTABLISHES, /* the first packet after the SYN */
	SHOT_LIVES,
	SHOT_HALF_CLOSES, /* FIN: the server goes on */
	SHOT_ENDS,        /* the last packet of a flow that lives */
	SHOT_WAKES,       /* after a longer silence than the idle timeout */
	SHOT_FORGED,      /* RST, FIN or ACK in the flow's name */
	SHOT_FORGED_SYN,
	SHOT_FLOOD,
	SHOT_KINDS,
};

struct pending {
	uint16_t flow; /* or NO_FLOW */
	uint8_t kind;  /* enum shot_kind */
	uint8_t service;
};

struct world {
	struct batch *batch;
	const struct sequence *sequence;
	struct dataplane *dp; /* NULL: there is no lbd */
	struct want want[SEQUENCE_SERVICES];
	bool changed; /* wants that were not committed yet */
	bool service_changed[SEQUENCE_SERVICES];
	uint32_t committed[SEQUENCE_SERVICES];     /* tick of the last change, after that tick's packets */
	bool resized[SEQUENCE_SERVICES];           /* its ring was to change size */
	uint32_t tracked_since[SEQUENCE_SERVICES]; /* tick since which all flows are; UINT32_MAX: they are not */
	uint64_t rings[SEQUENCE_SERVICES];         /* a sweep may begin a resize */
	uint32_t now;
	const struct step *flood; /* under way; NULL: none */
	uint32_t flood_tick;      /* from 0 */
	uint32_t flooded;         /* the last tick in which one was; 0: never */
	uint32_t deaths[WORLD_BACKENDS], removals[WORLD_BACKENDS];
	struct flow flows[SEQUENCE_FLOWS];
	struct pending pending[BATCH_MOST];
	unsigned pending_count;
	uint64_t full, evicted;           /* events counted so far */
	uint32_t full_tick, evicted_tick; /* the last ticks in which some were; 0: none */
	uint32_t at;                      /* tick of the packet that is checked */
	FILE *trace;                      /* what happens, for people; NULL: not told */
	unsigned told;                    /* the flow whose packets are told */

	/* results */
	char failure[512]; /* empty: none */
	unsigned guilty;   /* the flow it is about */
	uint64_t packets, checked, to_keepers, forged, woken, returned;
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
/* The longest silence, in ticks, that does not end the flow. */
uint32_t world_patience(const struct world *w, uint32_t flow);
/* Adds a packet to those that are sent next, at a tick that is no earlier than theirs. */
void world_send(struct world *w, uint32_t flow, enum shot_kind kind, uint8_t tcp_flags, uint32_t tick);
/* One tick passes; flows come, send and end as the step's dice say. */
void world_tick(struct world *w, uint64_t seed);
/* No lbd for so many ticks; some of the flows that live go on sending as seldom as they may. */
void world_absence(struct world *w, uint64_t seed, uint32_t ticks);
/* Every flow that lives (all: or all but one in sixteen) sends its last packet. */
void world_end_flows(struct world *w, uint64_t seed, bool all);

/* world_attack.c */
/* Packets in the name of a flow, as the dice say. */
void world_forge(struct world *w, uint32_t flow, uint64_t seed);
/* Adds a part of a tick's flood; tick: of the flood, from 0. */
void world_flood(struct world *w, const struct step *step, uint32_t tick, uint32_t from, uint32_t to);
/* Lone packets of tuples that nobody has, to all services. */
void world_trickle(struct world *w, uint64_t seed, uint32_t count);

/* world_model.c */
bool world_acts(const struct world *w, enum actor actor);
bool world_is_udp(const struct world *w, uint32_t flow);
const struct dp_backend *world_backend(const struct world *w, int number);
/* Sends what is pending and checks where it went. */
void world_fire(struct world *w);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
