/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether the way to a backend loses long packets: an MTU hole, a link that is narrower than the
 * others, and no router says "too big". Judges rounds of echoes, a long one and, as soon as there
 * is doubt, a short one beside it. No I/O; times in ms of one clock, which begins beyond 0. */
#ifndef LBD_HEALTH_HOLE_H
#define LBD_HEALTH_HOLE_H

#include <stdbool.h>
#include <stdint.h>

#define HOLE_ROUNDS      3     /* in a row: one lost packet proves nothing */
#define HOLE_INTERVAL_MS 10000 /* from one round to the next */
#define HOLE_AGAIN_MS    5000  /* while there is a hole */
#define HOLE_SILENT_MS   60000 /* of a backend that answers no echo */

enum hole_state {
	HOLE_UNKNOWN, /* nothing is known yet, or no echo is answered */
	HOLE_NONE,    /* long packets arrive */
	HOLE_FOUND,   /* short ones alone arrive */
};

enum hole_answer {
	HOLE_NOT_ASKED, /* or this host lacked something, or was late: that says nothing */
	HOLE_ANSWERED,
	HOLE_SILENT,
};

struct hole {
	enum hole_state state;
	uint16_t length; /* of the long packets now, bytes; 0: there are none */
	uint16_t of;     /* HOLE_FOUND: how long those were that were lost */
	uint8_t lost;    /* rounds in a row in which the short one alone was answered */
	uint8_t silent;  /* ... none of the two */
	uint8_t unknown; /* ... of which nothing is known */
	bool doubted;    /* the last long one had no answer */
	uint64_t due_ms; /* the next round; 0: now */
};

/* From now on long packets have this length. Another one is tried at once. */
void hole_set_length(struct hole *hole, uint16_t length);
bool hole_is_due(const struct hole *hole, uint64_t now_ms);
/* Does the next round need the short one? Not as long as the long ones are answered. */
bool hole_wants_short(const struct hole *hole);
/* A round has ended. */
void hole_take(struct hole *hole, enum hole_answer of_long, enum hole_answer of_short,
	       uint64_t now_ms);

#endif
