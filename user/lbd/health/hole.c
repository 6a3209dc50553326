/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts rounds in which long packets alone are lost. No clock, no I/O. */
#include "hole.h"

/* What was found of a longer packet holds for a shorter one, but not the other way round. A hole
 * stays one until a packet has passed: the next round shows it. */
void hole_set_length(struct hole *hole, uint16_t length)
{
	if (length == hole->length)
		return;
	if (!length || (hole->state == HOLE_NONE && length > hole->length))
		hole->state = HOLE_UNKNOWN;
	hole->length = length;
	hole->lost = hole->silent = 0;
	hole->due_ms = 0;
}

bool hole_is_due(const struct hole *hole, uint64_t now_ms)
{
	return hole->length && now_ms >= hole->due_ms;
}

bool hole_wants_short(const struct hole *hole)
{
	return hole->doubted || hole->state != HOLE_NONE;
}

/* Only a short packet that arrives tells a long one that is lost from a backend that answers no
 * echo. */
static void take_loss(struct hole *hole, uint64_t now_ms)
{
	hole->silent = 0;
	hole->due_ms = now_ms;
	if (hole->lost < HOLE_ROUNDS)
		hole->lost++;
	if (hole->lost < HOLE_ROUNDS)
		return;
	hole->state = HOLE_FOUND;
	hole->of = hole->length;
	hole->due_ms = now_ms + HOLE_AGAIN_MS;
}

/* Once does not matter. But nothing is held against a backend that can be judged no more. */
static void take_nothing(struct hole *hole)
{
	if (hole->unknown < HOLE_ROUNDS)
		hole->unknown++;
	if (hole->unknown < HOLE_ROUNDS || hole->state != HOLE_FOUND)
		return;
	hole->state = HOLE_UNKNOWN;
	hole->lost = 0;
}

/* A hole ends so too: a backend that answers no echo any more would stay lost for ever. */
static void take_silence(struct hole *hole, uint64_t now_ms)
{
	hole->lost = 0;
	hole->due_ms = now_ms;
	if (hole->silent < HOLE_ROUNDS)
		hole->silent++;
	if (hole->silent < HOLE_ROUNDS)
		return;
	hole->state = HOLE_UNKNOWN;
	hole->due_ms = now_ms + HOLE_SILENT_MS;
}

void hole_take(struct hole *hole, enum hole_answer of_long, enum hole_answer of_short,
	       uint64_t now_ms)
{
	hole->due_ms = now_ms + HOLE_INTERVAL_MS;
	if (of_long == HOLE_NOT_ASKED) {
		take_nothing(hole);
		return;
	}
	hole->unknown = 0;
	hole->doubted = of_long == HOLE_SILENT;
	if (of_long == HOLE_ANSWERED) {
		hole->state = HOLE_NONE;
		hole->lost = hole->silent = 0;
	} else if (of_short == HOLE_ANSWERED) {
		take_loss(hole, now_ms);
	} else if (of_short == HOLE_SILENT) {
		take_silence(hole, now_ms);
	} else {
		hole->due_ms = now_ms; /* again, with a short one beside it */
	}
}
