/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Are new flows sent by slot because the flow table has no room? */
#include "crowd.h"

#define PART_MS 10000
#define REST_MS (10 * 60 * 1000)

/* Clears the parts that began since the last call. */
static void forget_old(struct crowd *crowd, uint64_t part)
{
	if (part - crowd->part > CROWD_PARTS)
		crowd->part = part - CROWD_PARTS;
	while (crowd->part < part)
		crowd->in[++crowd->part % CROWD_PARTS] = 0;
}

static uint64_t growth(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

bool crowd_sample(struct crowd *crowd, uint64_t full, uint64_t by_slot, uint64_t now_ms)
{
	uint64_t more_full = growth(crowd->full, full),
		 more_by_slot = growth(crowd->by_slot, by_slot);
	uint64_t more =
	    more_full > more_by_slot ? more_full : more_by_slot; /* most flows count as both */
	bool known = crowd->known;

	forget_old(crowd, now_ms / PART_MS);
	crowd->known = true;
	crowd->full = full;
	crowd->by_slot = by_slot;
	if (!known || !more)
		return false;
	crowd->in[crowd->part % CROWD_PARTS] += more;
	if (crowd->warned && now_ms - crowd->warned_ms < REST_MS)
		return false;
	crowd->warned = true;
	crowd->warned_ms = now_ms;
	return true;
}

uint64_t crowd_last_minute(const struct crowd *crowd, uint64_t now_ms)
{
	uint64_t part = now_ms / PART_MS, sum = 0;

	for (uint64_t i = 0; i < CROWD_PARTS; i++)
		if (crowd->part >= i && part - (crowd->part - i) < CROWD_PARTS)
			sum += crowd->in[(crowd->part - i) % CROWD_PARTS];
	return sum;
}
