/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which losses of a backend are flaps, and how long it is held back for them. */
#include "damping.h"

#define DOUBLINGS 5 /* from the first span to the limit */

void damping_returned(struct damping *damping, uint64_t lost_ms, uint64_t now_ms, uint64_t limit_ms)
{
	bool soon = damping->returned_ms && lost_ms < damping->returned_ms + limit_ms;

	damping->losses = soon ? damping->losses + 1 : 0;
	damping->returned_ms = now_ms;
}

uint64_t damping_span_ms(const struct damping *damping, uint64_t limit_ms)
{
	unsigned doubled = damping->losses ? damping->losses - 1 : 0;

	if (!damping->losses)
		return 0;
	return doubled < DOUBLINGS ? limit_ms >> (DOUBLINGS - doubled) : limit_ms;
}

uint64_t damping_until_ms(const struct damping *damping, uint64_t limit_ms)
{
	return damping->losses ? damping->returned_ms + damping_span_ms(damping, limit_ms) : 0;
}
