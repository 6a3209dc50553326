/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What nodes send to each other: frames of items of one kind, all of one size, little endian. Pure:
 * bytes to values and back. A frame is
 *   length of all of it, u32 | type u8 | version u8 | number of items u16 | sequence u64 | items
 *
 * Nodes of a fleet are upgraded one after the other, so two that speak different versions must
 * understand each other. HELLO and REFUSED are the same in all versions, and have number 1 in their
 * heads. HELLO says which versions its sender speaks; from there on both use the latest that they
 * have in common. What is new comes as frames of a new type, which only a version that has them
 * sends. */
#ifndef LBD_FLEET_FRAMES_H
#define LBD_FLEET_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lbd/dataplane/dataplane.h"

#define FRAME_FIRST  1 /* version of the protocol in the heads of HELLO and REFUSED */
#define FRAME_OLDEST 1 /* that is spoken */
#ifndef FRAME_LATEST
#define FRAME_LATEST 2 /* the same; less only in the lbd of tests of an upgrade (Makefile) */
#endif
#define FRAME_HEAD 16
#define FRAME_MOST (64 * 1024) /* bytes of a frame */
#define NODE_NAME  32          /* with the final NUL */

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_REFUSED,
	FRAME_BACKENDS,
	FRAME_SERVICES,
	FRAME_SLOTS,
	FRAME_FLOWS,
	FRAME_WANT,
	FRAME_END,
	FRAME_BEAT,
	FRAME_BYE,
	FRAME_NODE, /* since version 2 */
	FRAME_TYPES,
};

/* Versions that a node speaks, all from the oldest to the latest. */
struct fleet_range {
	uint8_t oldest, latest;
};

/* The first frame of a connection. */
struct fleet_hello {
	uint64_t boot;           /* random, of this start */
	uint64_t seed_digest;    /* of the hash seed, which is secret: tls_digest */
	uint64_t config_digest;  /* see digest.h */
	uint32_t buckets;        /* of the flow table */
	char name[NODE_NAME];    /* of the host */
	char version[NODE_NAME]; /* of lbd; HELLO has its first 23 characters */
	struct fleet_range speaks;
};

/* Why the peer ends the connection, in words. */
#define REFUSED_TEXT 200

/* Several times a second. */
struct fleet_beat {
	uint64_t sent_ms; /* CLOCK_MONOTONIC of the sender */
	uint64_t echo_ms; /* sent_ms of the last beat that it got from us; 0: none */
	uint64_t held_ms; /* since it got that beat */
	uint64_t config_digest;
	uint64_t conflicts, unplaced; /* dp_share_stats */
	uint32_t behind;              /* ms that its oldest unsent change has waited */
	uint8_t synced;
};

/* A whole frame. The items are read by frame_get_*. */
struct frame {
	enum frame_type type;
	uint8_t version;
	uint16_t count;
	uint64_t sequence;
	const uint8_t *items;
};

/* The first frame of the bytes: its length, 0: it is not complete; or -EBADMSG with why set. */
int frame_next(const uint8_t *bytes, size_t have, struct frame *ret, const char **why);

/* Item `index`, which must be below `count`, of a frame of the type. 0, or -EBADMSG: a value that
 * no node would send. */
int frame_get_hello(const struct frame *frame, struct fleet_hello *ret);
int frame_get_refused(const struct frame *frame, char ret[REFUSED_TEXT]);
int frame_get_backend(const struct frame *frame, unsigned index, struct dp_shared_backend *ret);
int frame_get_service(const struct frame *frame, unsigned index, struct dp_shared_service *ret);
void frame_get_slot(const struct frame *frame, unsigned index, struct dp_shared_slot *ret);
void frame_get_flow(const struct frame *frame, unsigned index, struct dp_shared_flow *ret);
uint32_t frame_get_number(const struct frame *frame); /* of WANT and END */
int frame_get_beat(const struct frame *frame, struct fleet_beat *ret);
/* Of NODE: the identity of the sender; 0: it has none. */
uint64_t frame_get_node(const struct frame *frame);

/* Frames one after the other, in memory of the caller. */
struct frame_writer {
	uint8_t *bytes;
	size_t room, used;
	size_t open;    /* where the last frame begins, if `count` */
	uint16_t count; /* items of the last frame; 0: there is none to add to */
	uint8_t type;
	uint8_t version;   /* of frames but HELLO and REFUSED; 0: the latest */
	uint64_t sequence; /* of the next frame */
};

/* Adds an item; items of one type one after the other are one frame. False: no room. */
bool frame_put_hello(struct frame_writer *writer, const struct fleet_hello *hello);
bool frame_put_refused(struct frame_writer *writer, const char *why);
bool frame_put_backend(struct frame_writer *writer, const struct dp_shared_backend *backend);
bool frame_put_service(struct frame_writer *writer, const struct dp_shared_service *service);
bool frame_put_slot(struct frame_writer *writer, const struct dp_shared_slot *slot);
bool frame_put_flow(struct frame_writer *writer, const struct dp_shared_flow *flow);
/* WANT, END */
bool frame_put_number(struct frame_writer *writer, enum frame_type type, uint32_t number);
bool frame_put_beat(struct frame_writer *writer, const struct fleet_beat *beat);
bool frame_put_bye(struct frame_writer *writer);
bool frame_put_node(struct frame_writer *writer, uint64_t identity);

#endif
