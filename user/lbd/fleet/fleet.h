/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The nodes that serve the same VIPs, as the config lists them under `peers`: a connection to each,
 * on which they tell each other of slots and flows. Rules: docs/tracking.md, "More than one node".
 */
#ifndef LBD_FLEET_H
#define LBD_FLEET_H

#include <event2/event.h>

#include "lbd/host/host.h"
#include "lbd/state/state.h"

struct fleet;

struct fleet_options {
	struct event_base *base;
	struct tasks *tasks; /* NULL: what peers send is taken at once (tests) */
	struct dataplane *dp;
	const struct state *state;        /* whose config is followed; NULL: none (tests) */
	const struct config_peers *peers; /* copied */
	const struct addr *own;           /* NULL: found among the nodes (tests) */
	const char *identity; /* path of the file with the node's identity; NULL: it has none */
};

/* Reads the keys, as fleet_new does, and a reload. 0, or -errno with the sentence in err. */
int fleet_check_keys(const struct config_peers *peers, struct error *err);
/* Reads the keys. Until fleet_begin nothing is listened on, and the node is joining. 0, or -errno
 * with the sentence in err. */
int fleet_new(const struct fleet_options *options, struct fleet **ret, struct error *err);
/* After the first commit. An address that is not there yet, or in use, is no error: it is logged,
 * shown and tried again each second. */
int fleet_begin(struct fleet *fleet, struct error *err);
/* Peers notice that lbd is stopped. NULL is fine. */
void fleet_free(struct fleet *fleet);

#define FLEET_WHY 256

/* Has the node not yet been told what its peers know? Ends for good when all that can be reached
 * have told everything and have been told everything, or after 10 s. Then why says what it waits
 * for. fleet: NULL is fine. */
bool fleet_is_joining(const struct fleet *fleet, char why[FLEET_WHY]);

/* In JSON and metrics in lower case. */
#define FLEET_PEER_STATES(X)                                                \
	X(UNREACHABLE, "unreachable") /* no connection */                   \
	X(GREETING, "greeting")       /* handshake, and who it is */        \
	X(SYNCING, "syncing")         /* not all has been told and taken */ \
	X(SYNCED, "synced")                                                 \
	X(REFUSED, "refused") /* the nodes do not fit: why says it */

enum fleet_peer_state {
#define X(name, text) FLEET_##name,
	FLEET_PEER_STATES(X)
#undef X
};

struct fleet_peer_view {
	struct addr address;
	enum fleet_peer_state state;
	const char *why;   /* of UNREACHABLE and REFUSED; else the end of the last session; "" */
	uint64_t since_ms; /* CLOCK_MONOTONIC when the state began */
	bool connects;     /* this node makes the connection */
	const char *name, *version;   /* of the peer, the last that was heard of; "" */
	uint64_t identity;            /* likewise; 0: not heard of */
	const char *key;              /* id of the key in use; "" */
	uint64_t connections, losses; /* since lbd's start */
	/* of SYNCING and SYNCED: */
	unsigned protocol; /* version that both speak */
	bool same_config;
	bool synced;                    /* the peer says that it has been told everything */
	unsigned services, other_rings; /* that both have; of these, with another ring */
	uint32_t lag_ms;                /* until what changes there is known here */
	uint32_t behind_ms;             /* for how long something here waits to be sent */
	uint64_t sent, received;        /* bytes of this connection */
	uint64_t conflicts, unplaced;   /* as the peer counts them */
};

struct fleet_view {
	bool joining;
	char why[FLEET_WHY];
	const char *fault; /* why peers cannot connect; "" */
	const char *name;  /* of this node */
	uint64_t identity; /* likewise; 0: none */
	struct addr own;   /* family 0: not known yet */
	uint16_t port;
	char key[16]; /* id of the first key */
	uint64_t config_digest;
	uint64_t conflicts, unplaced; /* dp_share_stats */
	uint64_t strangers;           /* connections from addresses that are no peer's */
	unsigned peers;
};

void fleet_look(const struct fleet *fleet, struct fleet_view *ret);
/* i below `peers` of the view; pointers hold until the next turn of the loop. */
void fleet_look_at(const struct fleet *fleet, unsigned i, struct fleet_peer_view *ret);
/* What an operator should know of who the nodes are: two with the same name or identity, one that
 * is another node than before. A sentence each. */
void fleet_note(const struct fleet *fleet, struct sentences *ret);
const char *fleet_peer_state_name(enum fleet_peer_state state);

#endif
