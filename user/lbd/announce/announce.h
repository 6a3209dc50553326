/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Announces the VIPs to what speaks to routers: each VIP is a route of lbd's own protocol in lbd's
 * own table, for BIRD or FRR to export; and a file holds a number that keepalived adds to its
 * priority. A route is there only while traffic to its VIP is served. Routes and file outlive lbd,
 * as the data plane does. */
#ifndef LBD_ANNOUNCE_H
#define LBD_ANNOUNCE_H

#include <event2/event.h>

#include "lbd/fleet/fleet.h"
#include "lbd/state/state.h"

enum node_state {
	NODE_STARTING,  /* first results of health checks are missing */
	NODE_SYNCING,   /* its peers have not told it everything yet: `peers` */
	NODE_UP,        /* announced: each VIP that has a usable service */
	NODE_DRAINING,  /* the same with the drain-metric, by order */
	NODE_BLIND,     /* no backend answers, as all were lost at once: nothing is announced */
	NODE_WITHDRAWN, /* nothing is announced: by order, not attached, or no VIP is usable */
	NODE_STATES
};

#define ANNOUNCE_WHY            256
#define ANNOUNCE_DEFAULT_RECORD LB_API_SOCKET ".announce.json"

struct announce_vip {
	struct addr address;
	bool usable;    /* enough of its services have enough backends */
	bool announced; /* its route is there, as of the last look */
	char why[128];  /* why it is not usable; "" */
};

struct announce_node {
	bool on; /* the config has `announce:`; else only that is set */
	enum node_state state;
	char why[ANNOUNCE_WHY]; /* of BLIND, WITHDRAWN, STARTING and SYNCING; "" */
	uint64_t since_ms;      /* CLOCK_MONOTONIC when the state began */
	uint32_t table, metric; /* of the routes, in force */
	unsigned vips, announced;
	char fault[ANNOUNCE_WHY]; /* what failed: routes or file are not as they should be; "" */
	bool drains;              /* by order, in whatever state */
	bool withdrawn;           /* by order */
	uint64_t drain_ms;        /* CLOCK_MONOTONIC when the drain began */
	uint64_t packet_ms;       /* CLOCK_MONOTONIC of the last forwarded packet, if it drains */
};

struct announce;

struct announce_options {
	struct event_base *base;
	struct state *state;
	struct attach *attach;     /* NULL: the node counts as attached */
	const struct fleet *fleet; /* NULL: there are no other nodes */
	struct dataplane *dp;
	const char *record; /* copied; the file that says what is announced, for lbd --withdraw */
};

/* The node is STARTING, and nothing is announced or withdrawn before announce_begin. */
int announce_new(const struct announce_options *options, struct announce **ret, struct error *err);
/* Once the interfaces are attached: announces what can be announced now, and follows state and
 * interfaces from then on. Routes of an earlier lbd that are still wanted stay. Netlink that fails
 * is no error: it is logged, shown and tried again each second. */
int announce_begin(struct announce *announce, struct error *err);
/* Routes and file stay as they are. NULL is fine. */
void announce_free(struct announce *announce);

void announce_node(const struct announce *announce, struct announce_node *ret);
/* "starting", "up", ... */
const char *announce_state_name(enum node_state state);
/* By address; owned by announce, valid until the next turn of the loop. */
const struct announce_vip *announce_vips(const struct announce *announce, unsigned *ret_count);
/* Is there a route to the VIP? */
bool announce_has(const struct announce *announce, const struct addr *vip);

/* Without a running lbd: removes the routes that the record lists, and writes the file for
 * keepalived. A record that does not exist is no error: then nothing is announced. */
int announce_withdraw(const char *record, struct error *err);

#endif
