/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs a sequence on the real program and maps, and checks each packet against a model of the
 * flows. The model knows only what the two ends of a flow know: which backend answered, whether
 * that backend is alive, and whether the flow kept sending. It ends a flow where the ends do, not
 * where the program does. There is no other model of the invariant in the tree.
 *
 * What the model checks (world_model.c):
 * - A TCP flow is established by the first packet after its SYN, on the backend that got the SYN;
 *   a UDP flow by its first datagram. While it sends at least once per idle timeout and its backend
 *   is usable, it does not move: whatever else changes, when the table is full, when others send
 *   SYN, FIN, RST or ACK in its name.
 * - A client that has sent FIN and goes on sending ACKs, each within the idle timeout and within
 *   4 minutes, does not move either.
 * - A SYN, its repetitions and the first packet after it go to one backend. A new flow goes to a
 *   backend that takes new flows.
 * - A backend that died and is back within one idle timeout gets the flows that were silent or
 *   dropped meanwhile.
 * - Where all flows are tracked and nothing changed, a flow that was silent for longer is still on
 *   its backend.
 *
 * - Of a service with `forward: nat`, every reply of a backend that got a packet within an idle
 *   timeout leaves with the VIP and the port that it came by, whatever became of the backend:
 *   dead, draining, removed, added again with another port; also while there is no lbd. What goes
 *   to this host or to a direct client, and what another port of the backend sends, is not changed
 *   (world_reply.c). FIN and RST in the name of a backend move no flow, either.
 * - Of such a service whose backends have IPv6 addresses, the same holds of what is translated in
 *   between: the packet has the client in its prefix, the reply is IPv4 again, and one to this host
 *   or to a VIP that is embedded so does not leave.
 *
 * The exceptions are in world_model.c, each at its check, marked "Excused:".
 *
 * What it does not cover:
 * - Real sequence numbers. A real end can tell a forged RST from a true one, and so can the model.
 *   A forged RST that hits the window does end a flow, and is not among the packets.
 * - Replies of tunnels, which do not pass the balancer. That a server goes on sending to a
 *   half-closed client shows in the client's ACKs.
 * - Several CPUs: there is one packet at a time, and none while lbd writes. test_tracking_counts.c
 *   has two CPUs on one flow table.
 * - Of the translation: checksums, MTU and what is not plain, which test_nat_translate.c has; a
 *   service with backends of both families; a prefix that changes; the tail call, in place of which
 *   the batch calls the same functions when the main program has returned, with its counters.
 * - Fragments, ICMP errors, tracking `never`, hashes of fewer fields other than source-hash, more
 *   than two services.
 * - The share of the table that each service is sure of: the model checks that no flow moves, not
 *   which flow found no place.
 * - Collisions where not all flows are tracked: the narrow hash is for services that track always.
 *   Nor collisions with the marks of lone packets.
 * - Time within a tick, a clock that jumps, a reload that fails half way. */
#ifndef LBD_TEST_WORLD_H
#define LBD_TEST_WORLD_H

#include "lb_hash.h"
#include "batch.h"
#include "memory_dataplane.h"
#include "sequence.h"

#define WORLD_BACKENDS (SEQUENCE_SERVICES * SEQUENCE_BACKENDS)
#define NO_FLOW        UINT16_MAX /* the packet belongs to no flow of the model */

enum flow_phase {
	FLOW_NONE,    /* over, or never begun */
	FLOW_OPENING, /* SYN sent */
	FLOW_LIVE,    /* established */
	FLOW_HALF,    /* the client has sent FIN, the server goes on */
};

struct flow {
	uint8_t phase;       /* enum flow_phase */
	bool firm;           /* has sent in a later tick than the one that established it */
	bool unplaced;       /* the table was full while it was not firm */
	bool orphan;         /* its entry may have been evicted while it was not firm */
	uint32_t isn;        /* of its SYN */
	bool doubtful;       /* a forged SYN came before the program had seen the flow */
	bool syn_forged;     /* the same, and only further ones since */
	uint32_t forged_isn; /* of the last of them */
	bool guessed;        /* a packet continued that one, before the owner got one */
	bool crossed;        /* a packet of another tuple with its hash came in its handshake */
	bool again;          /* its tuple was used before */
	bool fin;            /* a FIN was sent in its name, by itself or forged */
	bool forged;         /* a packet was forged in its name since its last one */
	uint16_t generation; /* a new one is a new tuple */
	int16_t owner;       /* the backend that answered, also when the flow is over; -1: none */
	int16_t answered;    /* the one that its last SYN, later its last packet, went to */
	int16_t went;        /* where the last packet of the tuple went, forged ones included */
	uint32_t deaths;     /* of that one, up to then */
	uint32_t removals;
	/* ticks */
	uint32_t opened, established, last; /* its own packets */
	uint32_t served;                    /* of the last one that its owner got */
	uint32_t heard;                     /* of the last one, forged ones included */
	uint32_t closing; /* of the first FIN or of an RST with nothing after it, forged or not */
};

enum shot_kind {
	SHOT_OPENS_FRESH, /* SYN or first datagram of a tuple that was never used */
	SHOT_OPENS_AGAIN, /* of a tuple that was used before: an entry of that flow may decide */
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

enum reply_fate {
	REPLY_RETURNED, /* gets VIP and port, and is sent */
	REPLY_KEPT,     /* stays as it is, and is the kernel's */
	REPLY_DROPPED,
};

/* What a reply must become. */
struct reply {
	uint16_t flow;     /* that it ends, for the program; or NO_FLOW */
	uint8_t number;    /* of the backend */
	uint8_t port;      /* which of its two */
	uint8_t fate;      /* enum reply_fate */
	uint8_t tcp_flags; /* FIN or RST: see flow */
};

/* One for each port of each backend, three that are none for each backend, and ends of flows. */
#define WORLD_ENDS    64
#define WORLD_REPLIES (5 * WORLD_BACKENDS + WORLD_ENDS)

struct world {
	struct batch *batch;
	const struct sequence *sequence;
	struct dataplane *dp; /* NULL: there is no lbd */
	struct want want[SEQUENCE_SERVICES];
	bool changed; /* want[] was changed and not yet committed */
	bool service_changed[SEQUENCE_SERVICES];
	uint32_t committed[SEQUENCE_SERVICES]; /* the last change came after this tick's packets */
	bool resized[SEQUENCE_SERVICES];       /* its ring was to change size */
	uint32_t tracked_since[SEQUENCE_SERVICES]; /* all flows, since this tick; UINT32_MAX: not */
	uint64_t rings[SEQUENCE_SERVICES]; /* as of the last look: a sweep may begin a resize */
	uint32_t now;
	const struct step *flood; /* under way; NULL: none */
	uint32_t flood_tick;      /* of this flood, from 0 */
	uint32_t flooded;         /* the last tick with a flood; 0: none yet */
	uint32_t deaths[WORLD_BACKENDS], removals[WORLD_BACKENDS];
	uint32_t undated[WORLD_BACKENDS]; /* the last death after which an lbd ended: 1, 2, ... */
	struct flow flows[SEQUENCE_FLOWS];
	struct pending pending[BATCH_MOST];
	unsigned pending_count;
	uint64_t full, evicted;           /* events counted so far */
	uint32_t full_tick, evicted_tick; /* the last ticks with such events; 0: none */
	uint32_t dropped_tick; /* in which the sweep last removed a dormant entry for its place */
	uint32_t at;           /* tick of the packet that is checked */
	bool nat[SEQUENCE_SERVICES];
	/* the tick in which a packet last went to this port of the backend; 0: none yet */
	uint32_t got[WORLD_BACKENDS][2];
	struct reply replies[WORLD_REPLIES]; /* after the pending packets */
	unsigned replies_count;
	FILE *trace;     /* a readable trace of the run; NULL: none */
	unsigned traced; /* the flow whose packets are in the trace */

	/* results */
	char failure[512]; /* empty: none */
	unsigned guilty;   /* the flow that the failure is about */
	uint64_t packets, checked, to_keepers, forged, woken, returned, replied;
	unsigned live_most;
};

/* Runs the sequence to its end or to the first failure, which is then in w->failure. w is
 * overwritten. trace: gets the changes of services and the packets of one flow; or NULL. */
void world_run(struct world *w, struct batch *batch, const struct sequence *s, FILE *trace,
	       unsigned traced);

/* world_trace.c: prints a packet of the traced flow, and its slot and entry. Nothing without a
 * trace. */
void world_trace_packet(const struct world *w, const struct pending *pending,
			const struct shot *shot);
void world_trace(const struct world *w);

/* world_flows.c */
unsigned world_service_of(const struct world *w, uint32_t flow);
struct lb_tuple world_tuple(const struct world *w, uint32_t flow);
/* Of a packet to this service from this client and port. */
struct lb_tuple world_tuple_from(const struct world *w, unsigned service, __be32 client,
				 __be16 port);
uint16_t world_port_of(const struct world *w, uint32_t flow);
uint32_t world_client_of(uint32_t flow);
/* The longest silence, in ticks, that does not end the flow. */
uint32_t world_patience(const struct world *w, uint32_t flow);
/* Queues a packet. Its tick is no earlier than those of the packets before it. */
void world_send(struct world *w, uint32_t flow, enum shot_kind kind, uint8_t tcp_flags,
		uint32_t tick);
/* One tick passes. Flows begin, send and end as the random numbers of the seed say. */
void world_tick(struct world *w, uint64_t seed);
/* So many ticks without an lbd. Some of the live flows go on sending, as rarely as the idle timeout
 * allows. */
void world_absence(struct world *w, uint64_t seed, uint32_t ticks);
/* The live flows send their last packet; without `all`, one in sixteen goes on. */
void world_end_flows(struct world *w, uint64_t seed, bool all);

/* world_attack.c */
/* Forged packets in the name of a flow, at random. */
void world_forge(struct world *w, uint32_t flow, uint64_t seed);
/* Queues the packets `from` to `to` of a flood. tick: of the flood, from 0. */
void world_flood(struct world *w, const struct step *step, uint32_t tick, uint32_t from,
		 uint32_t to);
/* Lone packets from tuples that no flow has, to all services. */
void world_trickle(struct world *w, uint64_t seed, uint32_t count);

/* world_reply.c */
/* Sets what the data plane knows beside services: addresses of this host, direct clients, ways. */
void world_set_ways(struct world *w);
/* The port of a backend, as it is added now. */
uint16_t world_real_port(const struct world *w, int number);
/* A packet of a flow went to the backend. */
void world_note_sent(struct world *w, int number, const struct shot *shot);
/* Puts replies behind the queued packets. */
void world_add_replies(struct world *w);
/* Checks what became of them. */
void world_check_replies(struct world *w);

/* world_model.c */
bool world_acts(const struct world *w, enum actor actor);
bool world_is_udp(const struct world *w, uint32_t flow);
const struct dp_backend *world_backend(const struct world *w, int number);
/* Sends the queued packets and checks where each went. */
void world_fire(struct world *w);
/* A packet with these flags was forged in the flow's name, by whichever of its ends. */
void world_note_forged(struct world *w, uint32_t flow, uint8_t tcp_flags);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
