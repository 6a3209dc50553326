/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two entries of one flow, ours and that of a peer, become one. Rules: docs/tracking.md, "More than
 * one node". */
#include "internal.h"

/* What an entry says of its flow. */
enum word_class {
	WORD_NONE,
	WORD_MARK,  /* an older flow was seen: decides nothing */
	WORD_YOUNG, /* a packet opened it: may be forged, or of a flow that a peer knows */
	WORD_FIRM,
};

static enum word_class class_of(uint64_t entry)
{
	const uint32_t marks = LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT);
	uint32_t set = 1u << LB_FLOW_STATE(entry);

	if (set & LB_FLOW_SET(EMPTY))
		return WORD_NONE;
	if (set & marks)
		return WORD_MARK;
	return set & LB_FLOW_YOUNG ? WORD_YOUNG : WORD_FIRM;
}

static uint64_t with_tick_of(uint64_t entry, uint64_t other)
{
	return (entry & ~(uint64_t)LB_FLOW_TICK_MASK) | LB_FLOW_TICK(other);
}

/* Of one backend: the firmer, then the newer state, and the newer tick. */
static uint64_t merge_same(uint64_t ours, uint64_t theirs, bool newer)
{
	uint64_t most =
	    class_of(theirs) != class_of(ours) ? class_of(theirs) > class_of(ours) : newer;

	if (!most)
		return newer ? with_tick_of(ours, theirs) : ours;
	return newer ? theirs : with_tick_of(theirs, ours);
}

/* Of two marks KEPT is the more: the flow was seen twice. */
static uint64_t merge_marks(uint64_t ours, uint64_t theirs, bool newer)
{
	uint64_t kept = LB_FLOW_STATE(ours) == LB_FLOW_KEPT ? ours : theirs;

	return with_tick_of(kept, newer ? theirs : ours);
}

uint64_t merge_entries(uint64_t ours, uint64_t theirs, uint32_t now)
{
	bool newer = dp_flow_age(now, theirs) < dp_flow_age(now, ours);

	if (!class_of(ours))
		return theirs;
	if (LB_FLOW_BACKEND(ours) == LB_FLOW_BACKEND(theirs))
		return class_of(ours) == WORD_MARK && class_of(theirs) == WORD_MARK
			   ? merge_marks(ours, theirs, newer)
			   : merge_same(ours, theirs, newer);
	if (class_of(ours) != class_of(theirs))
		return class_of(theirs) > class_of(ours) ? theirs : ours;
	return newer ? theirs : ours;
}
