/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One connection to a peer, from the TLS handshake to its end: HELLO, then frames both ways. */
#ifndef LBD_FLEET_SESSION_H
#define LBD_FLEET_SESSION_H

#include <event2/event.h>

#include "frames.h"
#include "lbd/host/host.h"
#include "tls.h"

#define SESSION_TICK_MS 20

enum session_state {
	SESSION_SHAKES, /* TLS handshake */
	SESSION_GREETS, /* HELLO is sent, the peer's is missing */
	SESSION_OPENS,  /* both fit; the data plane does not know of it yet */
	SESSION_OPEN,
	SESSION_PARTS, /* refused: the reason is being sent */
	SESSION_CLOSED,
};

/* How a session ended. */
enum session_end {
	SESSION_LOST,    /* the connection failed, or the peer was silent */
	SESSION_STOPPED, /* the peer's lbd was stopped */
	SESSION_REFUSED, /* by one of the two: the nodes do not fit; or the key is another */
	SESSION_REPLACED,
};

#define SESSION_WHY 256

struct session;

/* What all sessions of a node share. Outlives them. */
struct session_node {
	struct event_base *base;
	struct tasks *tasks; /* NULL: what comes is taken at once (tests) */
	struct dataplane *dp;
	SSL_CTX *tls;
	struct fleet_keys keys;
	uint64_t boot, config_digest;
	uint64_t identity; /* 0: none */
	struct fleet_range speaks;
	char name[NODE_NAME];
	uint8_t *chunk; /* FRAME_MOST bytes, for frames to be sent */
};

struct session_options {
	struct session_node *node;
	bool connects; /* this end made the connection */
	/* Of the peer in the data plane, below DP_PEERS. */
	unsigned number;
	/* The peer's HELLO fits: an earlier session of it ends now. */
	void (*greeted)(void *arg, struct session *session);
	/* It has ended, and may be freed later: not in this call. */
	void (*ended)(void *arg, struct session *session);
	void *arg;
};

/* Takes ownership of fd, a connected socket, also on error. NULL: out of memory. */
struct session *session_new(const struct session_options *options, int fd);
/* NULL is fine. The peer notices the end, and with `stops` that lbd is stopped. */
void session_free(struct session *session, bool stops);
/* Ends it, as if by itself: `ended` is called. */
void session_close(struct session *session, enum session_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* To be called each SESSION_TICK_MS, after dataplane_share_scan: sends what has changed, and looks
 * whether the peer is alive. now_ms: CLOCK_MONOTONIC. */
void session_tick(struct session *session, uint64_t now_ms);

struct session_view {
	enum session_state state;
	enum session_end end;            /* of a closed one */
	const char *why;                 /* likewise */
	const char *key;                 /* id of the key; "" */
	const struct fleet_hello *hello; /* of SESSION_OPENS and SESSION_OPEN */
	unsigned version;                /* of the protocol, likewise */
	uint64_t identity;               /* of the peer; 0: it has not said it */
	struct fleet_beat beat;          /* the peer's last one; 0 */
	bool synced;                     /* the peer has told everything */
	bool told;                       /* so have we */
	uint32_t behind_ms;              /* for how long something has been waiting to be sent */
	uint32_t rtt_ms;                 /* of beats; UINT32_MAX: not known yet */
	uint64_t sent, received;         /* bytes of frames */
};
void session_look(const struct session *session, uint64_t now_ms, struct session_view *ret);

#endif
