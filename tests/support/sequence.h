/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A random sequence of changes to services with flows on them: a list of steps that can be run,
 * shortened and printed. It is made from a seed. Each step has a seed of its own, so that it does
 * the same when the steps around it are left out. */
#ifndef LBD_TEST_SEQUENCE_H
#define LBD_TEST_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SEQUENCE_SERVICES 2
#define SEQUENCE_BACKENDS 6 /* numbers of a service: 0.. */
#define SEQUENCE_STEPS    40
#define SEQUENCE_FLOWS    5000

/* What flows and others do beyond opening, sending and ending, and which further promises are
 * checked. Each can be left out. */
enum actor {
	ACTOR_HALF_CLOSE,     /* clients send FIN and go on with ACKs */
	ACTOR_SLOW_HANDSHAKE, /* a SYN is answered, or repeated, some ticks later */
	ACTOR_FORGED_RST,     /* a forged packet in the name of a flow */
	ACTOR_FORGED_FIN,
	ACTOR_FORGED_SYN,
	ACTOR_FORGED_ACK,
	ACTOR_FLOOD,    /* STEP_FLOOD */
	ACTOR_TRICKLE,  /* lone packets of tuples that no flow has, while all should settle */
	ACTOR_AWAY,     /* STEP_AWAY */
	ACTOR_RETURN,   /* a dead backend that is back within an idle timeout gets its flows */
	ACTOR_WAKE,     /* where all flows are tracked and nothing changed, silence loses none */
	ACTOR_UDP_FULL, /* UDP flows stay, also after the table was full */
	ACTOR_CLOSING_FULL, /* a full table keeps flows in whose name a FIN or RST came */
	ACTOR_TABLE,        /* STEP_TABLE */
	ACTOR_COLLIDE, /* TABLE_NARROW; without it the test makes such sequences with TABLE_ROOMY */
	ACTORS,
};
#define ACTORS_ALL ((1u << ACTORS) - 1)
extern const char *const sequence_actors[ACTORS];

enum step_kind {
	/* changes */
	STEP_ADD, /* value: weight */
	STEP_REMOVE,
	STEP_DIE,
	STEP_RECOVER,
	STEP_DRAIN,
	STEP_WEIGHT,    /* value */
	STEP_RESIZE,    /* value: slots */
	STEP_TRACKING,  /* value: 1 always, 0 auto */
	STEP_ALGORITHM, /* value: of sequence_algorithms */
	/* the rest */
	STEP_PASS,     /* value: ticks, in each of which flows come, send and end */
	STEP_SWEEP,    /* value: entries to look at */
	STEP_SETTLE,   /* most flows end, time passes, the sweep goes round */
	STEP_TAKEOVER, /* this lbd ends, another one adopts the maps */
	STEP_FLOOD,    /* value: packets a tick, for two ticks, beside the flows; flood: the kind */
	STEP_AWAY,     /* value: ticks without an lbd; the next commit is that of another one */
	/* the flow table gets another size, also one that is too small; value: doublings of the
	 * smallest */
	STEP_TABLE,
};

enum flood { /* of tuples that no flow has */
	     FLOOD_SYN,
	     FLOOD_ANSWERED,    /* SYN and ACK */
	     FLOOD_ESTABLISHED, /* and an ACK in the next tick */
	     FLOOD_ACK,
	     FLOODS,
};

struct step {
	enum step_kind kind;
	uint8_t service, backend, flood;
	bool with_next; /* a change: committed with the next one; STEP_PASS: without a sweep */
	uint32_t value;
	uint64_t seed;
};

/* The size of the flow table. TABLE_NARROW: as TABLE_ROOMY, with so few bits in the hash that flows
 * collide; all services track always. */
enum sequence_table { TABLE_ROOMY, TABLE_TIGHT, TABLE_LARGE, TABLE_NARROW, TABLES };

struct sequence {
	uint64_t seed;
	enum sequence_table table;
	uint32_t tick;   /* in which it begins */
	uint32_t actors; /* bits by enum actor */
	unsigned services;
	struct sequence_service {
		bool udp, v6, always, affinity;
		uint8_t algorithm; /* of sequence_algorithms */
		uint32_t idle;     /* ticks */
		uint32_t slots;
		unsigned backends; /* it begins with numbers 0.. */
	} service[SEQUENCE_SERVICES];
	struct step steps[SEQUENCE_STEPS];
	unsigned steps_count;
	uint16_t flows[SEQUENCE_FLOWS]; /* the numbers of those that take part */
	unsigned flows_count;
};

/* source-hash is the last. Its slots hash other fields, so no service changes to it or from it. */
#define SEQUENCE_ALGORITHMS 5
extern const char *const sequence_algorithms[SEQUENCE_ALGORITHMS];

/* table: TABLE_LARGE has thousands of flows, the others up to some hundreds. */
void sequence_make(uint64_t seed, enum sequence_table table, struct sequence *ret);
/* Leaves out all actors but these (bits by enum actor), and their steps. */
void sequence_allow(struct sequence *s, uint32_t actors);
/* Prints what it begins with, then a line for each step. */
void sequence_print(const struct sequence *s, FILE *to);
/* "backend 3 dies"; value in ticks, slots, weight. */
void step_print(const struct step *step, FILE *to);
/* Leaves out steps, flows, ticks, actors and backends as long as the sequence still fails, until no
 * single one can be left out (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
 * input", 2002). runs: how often `fails` is called at most. */
void sequence_shrink(struct sequence *s, bool (*fails)(void *arg, const struct sequence *s),
		     void *arg, unsigned runs);

/* A number below `below`, from a seed, an actor and a purpose. It depends on nothing else. */
uint32_t sequence_roll(uint64_t seed, uint32_t actor, uint32_t purpose, uint32_t below);

#endif
