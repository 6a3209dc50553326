/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by fleet.c (start, time, who is asked), peer.c (one peer) and show.c. */
#ifndef LBD_FLEET_INTERNAL_H
#define LBD_FLEET_INTERNAL_H

#include <event2/listener.h>

#include "fleet.h"
#include "identity.h"
#include "session.h"

#define PEER_SESSIONS 3 /* the one in use, and those that may take its place */
/* A node that boots waits so long for peers that cannot be reached, or have not connected. */
#define JOIN_LEAST_MS 3000

struct fleet_peer {
	struct fleet *fleet;
	struct addr address;
	unsigned number; /* in the data plane */
	bool connects;   /* this node makes the connection */
	bool begun;      /* a session with a connection that it has made, in this tick */

	struct session *sessions[PEER_SESSIONS];
	struct session *greeted; /* the one that counts, of these; NULL */
	struct event *connected; /* a connection that is being made; NULL: none is */
	int fd;                  /* of that */
	uint64_t try_ms;         /* CLOCK_MONOTONIC of the next try to connect */

	enum fleet_peer_state state;
	uint64_t since_ms;
	char why[FLEET_WHY];    /* how the last try or session ended; "" */
	char logged[FLEET_WHY]; /* the last reason that is in the log */
	unsigned reasons;       /* since it was synced */
	uint64_t reason_ms;
	unsigned syncs;  /* in the log, since it was last synced for long */
	bool was_synced; /* that is in the log */
	char name[NODE_NAME], version[NODE_NAME];
	uint64_t identity;          /* the last that was heard of; 0: none */
	uint64_t former, former_ms; /* the one before, if it was another; since when */
	uint64_t connections, losses;
};

struct fleet {
	struct fleet_options options;
	struct config_peers peers_config; /* key_file: own copy */
	struct session_node node;
	struct event *tick;
	unsigned ticks;
	struct evconnlistener *listener; /* NULL: not yet */
	bool rests;                      /* no more connections are accepted in this tick */
	unsigned accepted;               /* in this tick */
	char fault[FLEET_WHY];

	struct addr own; /* family 0: not found yet */
	struct fleet_peer list[DP_PEERS];
	unsigned count;

	bool begun, joined;
	uint64_t begun_ms;
	char waits[FLEET_WHY]; /* what joining waits for */
	/* of the config whose digest and keys are in force; 0: none was seen yet */
	uint64_t generation, applied_ms;
	uint64_t strangers, stranger_ms;
	struct sentences noted; /* of fleet_note, that are in the log */
};

/* ---- peer.c ---- */

void peer_init(struct fleet_peer *peer, struct fleet *fleet, const struct addr *address,
	       unsigned number);
/* Takes ownership of fd, a connection that the peer has made. False: it was closed at once. */
bool peer_accept(struct fleet_peer *peer, int fd);
void peer_tick(struct fleet_peer *peer, uint64_t now_ms);
/* Ends what was made with keys that are in force no more. */
void peer_check_key(struct fleet_peer *peer);
void peer_done(struct fleet_peer *peer, bool stops);
/* The session in use; false: there is none. */
bool peer_look(const struct fleet_peer *peer, uint64_t now_ms, struct session_view *ret);

#endif
