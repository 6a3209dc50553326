/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "fleet_check.h"

#include <netinet/in.h>

#include "fuzz.h"

void fleet_commit(struct dataplane *dp, struct want wants[FLEET_SERVICES])
{
	for (unsigned i = 0; i < FLEET_SERVICES; i++) {
		want_init(&wants[i], "192.0.2.1", i ? IPPROTO_UDP : IPPROTO_TCP, 80, "maglev");
		wants[i].service.slots = 13;
		for (unsigned b = 0; b < FLEET_BACKENDS; b++)
			want_add(&wants[i], 1 + b, 1);
	}
	want_commit(dp, wants, FLEET_SERVICES);
}

static bool is_of(const struct dataplane *dp, uint32_t id, uint32_t service)
{
	return !id || (id < dp->maps.backend_slots && dp->maps.backends[id].service == service &&
		       dp->backend_ids.state[id] == ID_USED);
}

static void check_slots(const struct dataplane *dp, const struct want *want)
{
	const struct record *record = dp_find(dp, &want->service);
	uint64_t ring = dp->maps.services[record->id].ring;

	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++) {
		uint32_t at = LB_REGION_BASE(ring) + i, slot = dp->maps.arena[at];

		require(dp->maps.fronts[at] == dp_front(dp, at, slot), "front %#x, slot %#x",
			dp->maps.fronts[at], slot);
		require(is_of(dp, LB_SLOT_CURRENT(slot), record->id) &&
			    is_of(dp, LB_SLOT_KEEPER(slot), record->id),
			"slot %#x", slot);
		require(slot & LB_SLOT_TRANSITION || LB_SLOT_CURRENT(slot) == LB_SLOT_KEEPER(slot),
			"slot %#x", slot);
	}
}

static void check_entries(const struct dataplane *dp)
{
	for (uint32_t i = 0; i < dp->maps.flow_words; i++) {
		uint64_t entry = dp->maps.flows[i];
		uint32_t id = LB_FLOW_BACKEND(entry);

		if (LB_FLOW_STATE(entry))
			require(LB_FLOW_STATE(entry) <= LB_FLOW_DORMANT && id &&
				    is_of(dp, id, dp->maps.backends[id].service),
				"entry %#llx", (unsigned long long)entry);
	}
}

void fleet_check(const struct dataplane *dp, const struct want wants[FLEET_SERVICES])
{
	for (unsigned i = 0; i < FLEET_SERVICES; i++)
		check_slots(dp, &wants[i]);
	check_entries(dp);
}
