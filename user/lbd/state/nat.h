/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What services with `forward: nat` need of this host: the list of clients past the VIPs, the
 * host's own addresses, the ways to clients; and whether replies come back. */
#ifndef LBD_STATE_NAT_H
#define LBD_STATE_NAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct state;
struct service;
struct backend;
struct config;
struct attachment;

/* ---- replies that do not come: pure ---- */

#define SILENCE_LOOK_MS 10000
#define SILENCE_SYNS    5 /* fewer say nothing */

/* All zero: not looked at yet. CLOCK_MONOTONIC. */
struct silence {
	uint64_t looked_ms;
	uint64_t syns, replies; /* counts as of then */
	uint64_t unanswered;    /* SYNs in a span without any reply; 0: there are replies */
};

/* Is it time for another look? */
bool silence_is_due(const struct silence *silence, uint64_t now_ms);
/* Counts since ever. True: the silence has begun or ended. Without a SYN nothing is learnt. */
bool silence_look(struct silence *silence, uint64_t syns, uint64_t replies, uint64_t now_ms);

/* ---- state ---- */

/* Has the config such a service? family: of its VIP, 4 or 6; 0: either. */
bool nat_is_asked_for(const struct config *config, uint8_t family);
/* Puts what config says of NAT in force; with the first such service begins to follow this host's
 * addresses and routes. 0 or -errno: then nothing may be committed that has one. */
int nat_prepare(struct state *state, const struct config *config, struct error *err);
/* No more calls of neigh. */
void nat_stop(struct state *state);
/* Warns of what a reload ends: connections of backends that get packets elsewhere from now on. */
void nat_warn_of_change(const struct state *state, const struct config *config);
/* Backends whose replies do not come back. */
unsigned nat_count_silent(const struct service *service);
/* Each second: notes whether replies of the backend come back, and logs when that changes. */
void nat_look(struct backend *backend, uint64_t now_ms);
/* The services with `forward: nat` whose replies come in by this interface, as "web, db and 3
 * more"; returns their number. */
unsigned nat_services_behind(const struct state *state, const struct attachment *there,
			     char text[256]);

#endif
