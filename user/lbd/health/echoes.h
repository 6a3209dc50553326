/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Echoes to the VIP by the way of a backend's traffic, as long as the longest packet of a client,
 * beside checks that pass there: those are short. What they find is judged by hole.h. */
#ifndef LBD_HEALTH_ECHOES_H
#define LBD_HEALTH_ECHOES_H

#include "failure.h"
#include "health.h"
#include "proof.h"

struct echoes;
struct remote;
struct sources;

/* Rounds of all backends together: one in this span, so 200 a second. Each backend of 2000 has one
 * every 10 s, those of 10 000 every 50 s. */
#define ECHOES_SPAN_US 5000

/* What they need; it outlives them. */
struct echoes_means {
	const struct health_way *way; /* to.family is that of the VIP; longest is given */
	struct remote *remote;
	struct sources *sources;
	uint64_t *last_us; /* when the last round of any backend began; CLOCK_MONOTONIC */
	uint16_t most;     /* bytes of a packet */
	/* Which long ones backends of that VIP have answered; echoes are a user of it until their
	 * end. NULL is allowed: then no loss counts. */
	struct proof *proof;
};

/* May a round begin? Then it is the last one. */
bool echoes_may_begin(uint64_t *last_us, uint64_t now_us);

/* NULL: out of memory. Then the proof is still the caller's. */
struct echoes *echoes_new(const struct echoes_means *means);
/* What runs is abandoned. NULL is allowed, also below. */
void echoes_free(struct echoes *echoes);
/* A check has passed by that way: time for a round, if one is due. */
void echoes_step(struct echoes *echoes);
/* Is there a hole that counts against the backend? Then why says so. */
bool echoes_lost(const struct echoes *echoes, char why[FAILURE_TEXT]);
/* Adds what is known to *ret. */
void echoes_tell(const struct echoes *echoes, struct health_mtu *ret);

#endif
