/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Removes entries of the flow and fragment tables: one by one for the sweep, or at once all those
 * of backends that are gone. */
#include "internal.h"

#include "lbd/host/host.h"

#define PAUSE_WORDS 8192 /* between two pauses */

uint32_t entry_idle(const struct dataplane *dp, uint64_t entry)
{
	const struct lb_service *line =
	    &dp->maps.services[dp->maps.backends[LB_FLOW_BACKEND(entry)].service];

	return lb_flow_idle(line, LB_FLOW_STATE(entry)) + (claims_any(dp) ? DP_SLACK / 2 : 0);
}

bool entry_is_void(const struct dataplane *dp, uint64_t entry)
{
	uint32_t id = LB_FLOW_BACKEND(entry);

	return id >= dp->maps.backend_slots || dp->backend_ids.state[id] != ID_USED;
}

static void count_entry(const struct dataplane *dp, uint64_t entry, int by)
{
	uint32_t id = LB_FLOW_BACKEND(entry);

	if (id >= dp->maps.backend_slots)
		return;
	if (LB_FLOW_COUNTED >> LB_FLOW_STATE(entry) & 1)
		__atomic_fetch_add(&dp->maps.loads[id].active, by, __ATOMIC_RELAXED);
	if (LB_FLOW_HELD >> LB_FLOW_STATE(entry) & 1)
		__atomic_fetch_add(&dp->maps.turns[dp->maps.backends[id].service].held, by,
				   __ATOMIC_RELAXED);
}

bool entry_cover(struct dataplane *dp, uint64_t *at, uint64_t entry, uint64_t copy)
{
	if ((at - dp->maps.flows) % LB_FLOW_WAYS == 0)
		copy |= entry & LB_FLOW_OVERFLOW;
	if (!__atomic_compare_exchange_n(at, &entry, copy, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	count_entry(dp, entry, -1);
	return true;
}

bool entry_change(struct dataplane *dp, uint64_t *at, uint64_t entry, uint64_t to)
{
	if (!entry_cover(dp, at, entry, to))
		return false;
	count_entry(dp, to, 1);
	return true;
}

void frag_purge(struct dataplane *dp, uint64_t *at)
{
	uint64_t word = dp_load(at);
	uint32_t id = LB_FRAG_BACKEND(word);

	if (id && (id >= dp->maps.backend_slots ||
		   (dp->backend_ids.state[id] != ID_USED && !dp->maps.returns[id].family)))
		__atomic_compare_exchange_n(at, &word, 0, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
}

void dp_purge(struct dataplane *dp)
{
	dp_grace(dp);
	for (uint32_t i = 0; i < flows_words(dp); i++) {
		uint64_t entry = dp_load(&dp->maps.flows[i]);

		if (i % PAUSE_WORDS == 0)
			task_pause();
		if (LB_FLOW_STATE(entry) && entry_is_void(dp, entry))
			entry_change(dp, &dp->maps.flows[i], entry, 0);
	}
	for (uint32_t i = 0; i < dp->maps.frag_words; i++)
		frag_purge(dp, &dp->maps.frags[i]);
	dp_release_quarantine(dp, UINT32_MAX);
}
