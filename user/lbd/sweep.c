/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sweep, in bounded steps: flow entries expire and are counted, then slots in transition settle, resizes end, ids
 * get free. docs/tracking.md has the rules. Called by state.c from a timer; dp_purge by dp_commit.c. */
#include "dataplane_internal.h"

#include <netinet/in.h>
#include <string.h>

#define COUNTED (1u << LB_FLOW_SYN | 1u << LB_FLOW_ESTABLISHED | 1u << LB_FLOW_UDP | 1u << LB_FLOW_KEPT)

/* ---- flow entries ---- */

/* Its service's idle time for its state, ticks. */
static uint32_t entry_idle(const struct lb_service *line, uint64_t entry)
{
	switch (LB_FLOW_STATE(entry)) {
	case LB_FLOW_SYN:
		return line->syn_idle;
	case LB_FLOW_CLOSING:
		return line->fin_idle;
	case LB_FLOW_UDP:
		return line->udp_idle;
	case LB_FLOW_AFFINITY:
		return line->affinity_idle;
	default:
		return line->tcp_idle;
	}
}

/* Entries of a backend that is gone, or that died while flows could go on past the table. (Where all are tracked the
 * table itself says where they are, and one that was silent meanwhile may stay.) */
static bool is_void(const struct dataplane *dp, uint64_t entry)
{
	uint32_t id = LB_FLOW_BACKEND(entry);

	if (id >= dp->maps.backend_slots || dp->backend_ids.state[id] != ID_USED)
		return true;
	return !(dp->traits[id] & BACKEND_ALIVE) && dp->stale_until[id];
}

static bool is_expired(const struct dataplane *dp, uint64_t entry, uint32_t now)
{
	const struct lb_service *line = &dp->maps.services[dp->maps.backends[LB_FLOW_BACKEND(entry)].service];

	return dp_flow_age(now, entry) > entry_idle(line, entry);
}

/* The overflow mark is the bucket's and stays. False: a packet was faster, the entry lives. */
static bool clear_entry(struct dataplane *dp, uint64_t *at, uint64_t entry)
{
	uint32_t id = LB_FLOW_BACKEND(entry);
	uint64_t empty = (at - dp->maps.flows) % LB_FLOW_WAYS ? 0 : entry & LB_FLOW_OVERFLOW;

	if (!__atomic_compare_exchange_n(at, &entry, empty, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	if (COUNTED >> LB_FLOW_STATE(entry) & 1 && id < dp->maps.backend_slots)
		__atomic_fetch_sub(&dp->maps.loads[id].active, 1, __ATOMIC_RELAXED);
	return true;
}

static void count_entry(struct dataplane *dp, uint64_t entry)
{
	dp->sweep.entries++;
	if (COUNTED >> LB_FLOW_STATE(entry) & 1)
		dp->counting[LB_FLOW_BACKEND(entry)]++;
	else if (LB_FLOW_STATE(entry) == LB_FLOW_CLOSING)
		dp->closing[LB_FLOW_BACKEND(entry)]++;
}

static void sweep_flows(struct dataplane *dp, uint32_t end, uint32_t now)
{
	for (; dp->sweep.at < end; dp->sweep.at++) {
		uint64_t *at = &dp->maps.flows[dp->sweep.at];
		uint64_t entry = dp_load(at);

		if (!LB_FLOW_STATE(entry))
			continue;
		if ((is_void(dp, entry) || is_expired(dp, entry, now)) && clear_entry(dp, at, entry))
			continue;
		count_entry(dp, entry);
	}
}

/* ---- fragments ---- */

static void sweep_frags(struct dataplane *dp, uint32_t end)
{
	for (; dp->sweep.at < end; dp->sweep.at++) {
		uint64_t word = dp_load(&dp->maps.frags[dp->sweep.at]);
		uint32_t id = LB_FRAG_BACKEND(word);

		if (id && (id >= dp->maps.backend_slots || dp->backend_ids.state[id] != ID_USED))
			__atomic_compare_exchange_n(&dp->maps.frags[dp->sweep.at], &word, 0, false, __ATOMIC_ACQ_REL,
						    __ATOMIC_RELAXED);
	}
}

/* ---- slots ---- */

/* One slot in transition. now: when the round began, so that the flow table has been looked at since. */
static void settle_slot(struct dataplane *dp, struct record *record, uint32_t index, uint32_t now)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t at = LB_REGION_BASE(line->ring) + index, slot = dp->maps.arena[at];
	uint16_t current = LB_SLOT_CURRENT(slot);

	if (!(slot & LB_SLOT_TRANSITION))
		return;
	if (dp_stamp_age(now, dp_load(&dp->maps.stamps[at])) > ring_idle(line, record->want.protocol)) {
		dp_slot_store(dp, at, LB_SLOT(current, current));
		return;
	}
	if (slot & LB_SLOT_LEARNING && dp_stamp_age(now, record->since[index]) > line->udp_idle)
		dp_slot_store(dp, at, slot & ~LB_SLOT_LEARNING);
}

/* All slots of the service were looked at. */
static void end_service(struct dataplane *dp, struct record *record)
{
	struct lb_service *line = &dp->maps.services[record->id];

	ring_count(dp, record, dp->sweep.now);
	if (record->in_transition)
		return;
	if (line->old_ring && !dp_retire_room(dp, 1)) {
		dp_retire(dp, line->old_ring);
		dp_store(&line->old_ring, 0);
	}
	if (!line->old_ring && !record->adopted && record->wanted_size != LB_REGION_SIZE(line->ring))
		dp_resize(dp, record);
}

static bool is_settled(const struct dataplane *dp, const struct record *record)
{
	return !record || (!record->in_transition && !dp->maps.services[record->id].old_ring);
}

/* Looks at no more than budget slots; returns how many. */
static size_t sweep_slots(struct dataplane *dp, size_t budget)
{
	struct sweep *sweep = &dp->sweep;
	size_t done = 0;

	while (sweep->at < dp->maps.service_slots && done < budget) {
		struct record *record = dp->by_id[sweep->at];
		uint32_t size;

		if (is_settled(dp, record)) {
			sweep->at++;
			sweep->slot = 0;
			continue;
		}
		size = LB_REGION_SIZE(dp->maps.services[record->id].ring);
		for (; sweep->slot < size && done < budget; sweep->slot++, done++)
			settle_slot(dp, record, sweep->slot, sweep->now);
		if (sweep->slot < size)
			break;
		end_service(dp, record);
		sweep->at++;
		sweep->slot = 0;
	}
	return done;
}

/* ---- rounds ---- */

static void begin_round(struct dataplane *dp, uint32_t now)
{
	struct sweep *sweep = &dp->sweep;
	size_t ids = dp->maps.backend_slots;

	dp_grace(dp);
	sweep->round++;
	sweep->now = now;
	sweep->entries = 0;
	memset(dp->counting, 0, ids * sizeof(*dp->counting));
	memset(dp->closing, 0, ids * sizeof(*dp->closing));
	for (size_t id = 0; id < ids; id++)
		dp->active_before[id] = __atomic_load_n(&dp->maps.loads[id].active, __ATOMIC_RELAXED);
}

/* Packets come and go while the table is counted: what was counted is right if it lies between what `active` was before
 * and is now. Otherwise it is off, and moved by the difference, as packets go on changing it. */
static void correct_active(struct dataplane *dp)
{
	for (uint32_t id = 1; id < dp->maps.backend_slots; id++) {
		int32_t before = dp->active_before[id], after, counted = dp->counting[id], least, most;

		after = __atomic_load_n(&dp->maps.loads[id].active, __ATOMIC_RELAXED);
		least = before < after ? before : after;
		most = before < after ? after : before;
		if (counted < least)
			__atomic_fetch_add(&dp->maps.loads[id].active, counted - least, __ATOMIC_RELAXED);
		else if (counted > most)
			__atomic_fetch_add(&dp->maps.loads[id].active, counted - most, __ATOMIC_RELAXED);
	}
}

static void end_flows(struct dataplane *dp)
{
	correct_active(dp);
	for (uint32_t id = 0; id < dp->maps.backend_slots; id++)
		dp->live_of[id] = dp->counting[id] + dp->closing[id];
	dp->sweep.entries_last = dp->sweep.entries;
}

static void end_round(struct dataplane *dp)
{
	dp_release_quarantine(dp, dp->sweep.round);
	dp->sweep.completed = dp->sweep.round;
}

static size_t left_in_round(const struct dataplane *dp)
{
	size_t left = 0;

	switch (dp->sweep.phase) {
	case SWEEP_FLOWS:
		left += dp->maps.flow_words - dp->sweep.at + dp->maps.frag_words;
		break;
	case SWEEP_FRAGS:
		left += dp->maps.frag_words - dp->sweep.at;
		break;
	case SWEEP_SLOTS:
		break;
	case SWEEP_IDLE:
		return 0;
	}
	for (size_t i = 0; i < dp->records_count; i++)
		if (!is_settled(dp, dp->records[i]))
			left += LB_REGION_SIZE(dp->maps.services[dp->records[i]->id].ring);
	return left + 1; /* the round has not ended */
}

/* The end of what a step may look at in a table of so many words. */
static uint32_t step_end(const struct sweep *sweep, size_t budget, uint32_t words)
{
	return budget < words - sweep->at ? sweep->at + budget : words;
}

static void next_phase(struct dataplane *dp)
{
	dp->sweep.phase++;
	dp->sweep.at = dp->sweep.slot = 0;
}

/* One phase's share of the step; returns what is left of the budget. */
static size_t step(struct dataplane *dp, size_t budget, uint32_t now)
{
	struct sweep *sweep = &dp->sweep;
	uint32_t from = sweep->at;

	switch (sweep->phase) {
	case SWEEP_FLOWS:
		sweep_flows(dp, step_end(sweep, budget, dp->maps.flow_words), now);
		budget -= sweep->at - from;
		if (sweep->at == dp->maps.flow_words) {
			end_flows(dp);
			next_phase(dp);
		}
		return budget;
	case SWEEP_FRAGS:
		sweep_frags(dp, step_end(sweep, budget, dp->maps.frag_words));
		budget -= sweep->at - from;
		if (sweep->at == dp->maps.frag_words)
			next_phase(dp);
		return budget;
	case SWEEP_SLOTS:
		budget -= sweep_slots(dp, budget);
		if (sweep->at == dp->maps.service_slots) {
			end_round(dp);
			sweep->phase = SWEEP_IDLE;
		}
		return budget;
	case SWEEP_IDLE:
		break;
	}
	return 0;
}

size_t dataplane_sweep(struct dataplane *dp, size_t budget, uint32_t now_tick)
{
	uint32_t now = now_tick ? now_tick : dp_tick(dp);

	if (dp->sweep.phase == SWEEP_IDLE) {
		begin_round(dp, now);
		next_phase(dp);
	}
	while (budget && dp->sweep.phase != SWEEP_IDLE)
		budget = step(dp, budget, now);
	return left_in_round(dp);
}

/* ---- at once ---- */

void dp_purge(struct dataplane *dp)
{
	dp_grace(dp);
	for (uint32_t i = 0; i < dp->maps.flow_words; i++) {
		uint64_t entry = dp_load(&dp->maps.flows[i]);

		if (LB_FLOW_STATE(entry) && is_void(dp, entry))
			clear_entry(dp, &dp->maps.flows[i], entry);
	}
	for (uint32_t id = 0; id < dp->maps.backend_slots; id++)
		dp->stale_until[id] = 0;
	for (uint32_t i = 0; i < dp->maps.frag_words; i++) {
		uint64_t word = dp_load(&dp->maps.frags[i]);
		uint32_t id = LB_FRAG_BACKEND(word);

		if (id && (id >= dp->maps.backend_slots || dp->backend_ids.state[id] != ID_USED))
			__atomic_compare_exchange_n(&dp->maps.frags[i], &word, 0, false, __ATOMIC_ACQ_REL,
						    __ATOMIC_RELAXED);
	}
	dp_release_quarantine(dp, UINT32_MAX);
}
