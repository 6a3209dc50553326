/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Statistics from the maps: counts of services and backends, what still depends on a backend,
 * memory. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

uint64_t dp_stores;

uint64_t dataplane_stores(void)
{
	return dp_stores;
}

static uint64_t read_count(const __u64 *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void add_backend(const struct dataplane *dp, uint32_t id, struct dp_counts *sum)
{
	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
		const struct lb_backend_count *count =
		    &dp->maps.backend_counts[(size_t)cpu * dp->maps.backend_slots + id];

		sum->packets += read_count(&count->packets);
		sum->bytes += read_count(&count->bytes);
		sum->flows += read_count(&count->flows);
		sum->refused += read_count(&count->refused);
	}
}

/* Only what LB_FORWARD_NAT sends to has any. */
static void add_returned(const struct dataplane *dp, uint32_t id, struct dp_returned *sum)
{
	if (!dp->maps.returns[id].family)
		return;
	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
		const struct lb_return_count *count =
		    &dp->maps.return_counts[(size_t)cpu * dp->maps.backend_slots + id];

		sum->packets += read_count(&count->packets);
		sum->bytes += read_count(&count->bytes);
	}
}

uint32_t dp_returned_to(const struct dataplane *dp, uint32_t id)
{
	const struct lb_return *line = &dp->maps.returns[id];
	const struct dp_service key = dp_return_key(line);
	const struct record *record = line->family ? dp_find(dp, &key) : NULL;

	return record ? record->id : 0;
}

static bool is_removed(const struct dataplane *dp, uint32_t id)
{
	return dp->backend_ids.state[id] == ID_LEAVING || dp->traits[id] & BACKEND_DROPPED;
}

static bool is_returned_to(const struct lb_return *line, const struct dp_service *key)
{
	return line->family && line->vip_port == htons(key->port) &&
	       line->protocol == dp_return_protocol(key, line->family) &&
	       !memcmp(line->vip, key->vip.bytes, sizeof(line->vip));
}

/* Of removed backends whose counts are not in the total yet: their replies may still come. With
 * thousands of backends, this is asked for each of a thousand services: the lines of those that are
 * not removed are not read. */
static void add_late_returned(const struct dataplane *dp, const struct dp_service *key,
			      struct dp_returned *sum)
{
	const struct ids *ids = &dp->backend_ids;

	if (!ids->leaving && !ids->quarantined && !dp->dropped)
		return;
	for (uint32_t id = 1; id < ids->count; id++)
		if ((is_removed(dp, id) || ids->state[id] == ID_QUARANTINED) &&
		    is_returned_to(&dp->maps.returns[id], key))
			add_returned(dp, id, sum);
}

/* Adds removed backends whose counts are not in the total yet: a counter never decreases. */
static void add_removed(const struct dataplane *dp, uint32_t service, struct dp_counts *sum)
{
	if (!dp->backend_ids.leaving && !dp->dropped)
		return;
	for (uint32_t id = 1; id < dp->backend_ids.count; id++)
		if (is_removed(dp, id) && dp->maps.backends[id].service == service)
			add_backend(dp, id, sum);
}

static struct lb_service_count service_counts(const struct dataplane *dp, uint32_t id)
{
	struct lb_service_count sum = {0};

	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
		const struct lb_service_count *row =
		    &dp->maps.service_counts[(size_t)cpu * dp->maps.service_slots + id];

		sum.denied += read_count(&row->denied);
		sum.over_service += read_count(&row->over_service);
		sum.over_source += read_count(&row->over_source);
	}
	return sum;
}

static bool is_limited(const struct dataplane *dp, const struct record *record)
{
	const struct lb_turn *turn = &dp->maps.turns[record->id], *common = &dp->maps.turns[0];

	return dp_load(&turn->held) >= turn->share && dp_load(&common->held) >= common->share;
}

bool dataplane_is_limited(const struct dataplane *dp, const struct dp_service *key)
{
	const struct record *record = dp_find(dp, key);

	return record && is_limited(dp, record);
}

int dataplane_service_stats(const struct dataplane *dp, const struct dp_service *key,
			    struct dp_service_stats *ret)
{
	const struct record *record = dp_find(dp, key);
	const struct lb_total *total;
	struct lb_service_count counts;

	if (!record)
		return -ENOENT;
	total = &dp->maps.totals[record->id];
	counts = service_counts(dp, record->id);
	*ret = (struct dp_service_stats){
	    .counts = {total->packets, total->bytes, total->flows, total->refused},
	    .returned = {total->returned_packets, total->returned_bytes},
	    .slots = LB_REGION_SIZE(dp->maps.services[record->id].ring),
	    .slots_in_transition = record->in_transition,
	    .ring_digest = record->digest,
	    .limited = is_limited(dp, record),
	    .denied = counts.denied,
	    .over_rate = counts.over_service,
	    .over_source_rate = counts.over_source,
	};
	for (unsigned i = 0; i < record->count; i++) {
		add_backend(dp, record->members[i].id, &ret->counts);
		add_returned(dp, record->members[i].id, &ret->returned);
	}
	add_removed(dp, record->id, &ret->counts);
	if (record->want.forward == LB_FORWARD_NAT)
		add_late_returned(dp, &record->want, &ret->returned);
	return 0;
}

/* Whether there may be flows without an entry: not if the service has tracked every flow since it
 * was created and found a place for each. */
static bool has_untracked(const struct dataplane *dp, const struct record *record)
{
	return record->ever_by_slot ||
	       dataplane_event(dp, LB_EVENT_flow_table_full) != record->full_before;
}

/* docs/tracking.md, "lbd: settling": a whole round since the drain began has found that no slot
 * keeps the backend and no live entry names it. */
static bool is_drained(const struct dataplane *dp, const struct record *record,
		       const struct member *member)
{
	if (!(dp->traits[member->id] & BACKEND_DRAINS))
		return false;
	if (record->want.track_never)
		return true;
	if (dp->sweep.completed <= member->drain_round || dp->live_of[member->id])
		return false;
	return !dp->kept_of[member->id] || !has_untracked(dp, record);
}

/* Time since the last packet of a slot that keeps the backend went elsewhere than to current, in
 * whole ticks. */
static uint32_t held_ms(const struct dataplane *dp, const struct record *record,
			const struct member *member)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	const uint32_t *slots = dp_slots(dp, line->ring), now = dp_tick(dp);
	const uint16_t *stamps = dp_stamps(dp, line->ring);
	uint32_t least = UINT32_MAX;

	if (!(dp->traits[member->id] & BACKEND_DRAINS) || !dp->kept_of[member->id])
		return UINT32_MAX;
	for (uint32_t i = 0; i < LB_REGION_SIZE(line->ring); i++) {
		uint32_t keeper = LB_SLOT_KEEPER(slots[i]),
			 age = dp_stamp_age(now, dp_load(&stamps[i]));

		if (slots[i] & LB_SLOT_TRANSITION && age < least &&
		    (keeper == member->id || (line->old_ring && !keeper)))
			least = age;
	}
	return least == UINT32_MAX ? least
				   : (uint32_t)(((uint64_t)least << LB_TICK_SHIFT) / 1000000);
}

int dataplane_backend_stats(const struct dataplane *dp, const struct dp_service *key,
			    const struct addr *backend, struct dp_backend_stats *ret)
{
	const struct record *record = dp_find(dp, key);
	const struct member *member = record ? record_find(record, backend) : NULL;
	int32_t active;

	if (!member)
		return -ENOENT;
	active = __atomic_load_n(&dp->maps.loads[member->id].active, __ATOMIC_RELAXED);
	*ret = (struct dp_backend_stats){
	    .active = active > 0 ? active : 0,
	    .slots = dp->slots_of[member->id],
	    .kept_slots = has_untracked(dp, record) ? dp->kept_of[member->id] : 0,
	    .held_ms = held_ms(dp, record, member),
	    .drained = is_drained(dp, record, member),
	};
	add_backend(dp, member->id, &ret->counts);
	add_returned(dp, member->id, &ret->returned);
	return 0;
}

int dataplane_read_drained(const struct dataplane *dp, const struct dp_service *key,
			   const struct addr *backend, bool *ret)
{
	const struct record *record = dp_find(dp, key);
	const struct member *member = record ? record_find(record, backend) : NULL;

	if (!member)
		return -ENOENT;
	*ret = is_drained(dp, record, member);
	return 0;
}

uint64_t dataplane_event(const struct dataplane *dp, enum lb_event event)
{
	uint64_t sum = 0;

	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++)
		sum +=
		    read_count(&dp->maps.reason_counts[(size_t)cpu * LB_COUNTERS + event].packets);
	return sum;
}

/* Packets that all backends have got, those that are gone included. */
static struct dp_counts all_forwarded(const struct dataplane *dp)
{
	struct dp_counts sum = {0};

	for (uint32_t id = 0; id < dp->maps.service_slots; id++) {
		sum.packets += dp->maps.totals[id].packets;
		sum.bytes += dp->maps.totals[id].bytes;
	}
	for (uint32_t id = 1; id < dp->backend_ids.count; id++)
		if (dp->backend_ids.state[id] == ID_USED || dp->backend_ids.state[id] == ID_LEAVING)
			add_backend(dp, id, &sum);
	return sum;
}

/* The same of replies. */
static struct dp_returned all_returned(const struct dataplane *dp)
{
	struct dp_returned sum = {0};

	for (uint32_t id = 0; id < dp->maps.service_slots; id++) {
		sum.packets += dp->maps.totals[id].returned_packets;
		sum.bytes += dp->maps.totals[id].returned_bytes;
	}
	for (uint32_t id = 1; id < dp->backend_ids.count; id++)
		add_returned(dp, id, &sum);
	return sum;
}

/* Also right for a value below 0. */
static __u64 raised(__u64 last, __u64 value)
{
	return (int64_t)(value - last) > 0 ? value : last;
}

/* What was forwarded, less what was redirected. That is read later, so a packet that is redirected
 * meanwhile makes the difference too small, never too large; and the result never decreases. */
static void derive_forwarded_tx(struct dataplane *dp, const struct dp_counts *forwarded,
				struct lb_reason_count counts[LB_COUNTERS])
{
	const struct lb_reason_count *redirected = &counts[LB_REASON_forwarded_redirect];
	struct lb_reason_count *last = &dp->forwarded_tx;

	last->packets = raised(last->packets, forwarded->packets - redirected->packets);
	last->bytes = raised(last->bytes, forwarded->bytes - redirected->bytes);
	counts[LB_REASON_forwarded_tx] = *last;
}

/* The same of replies: less what was redirected, and what the kernel got. */
static void derive_returned_tx(struct dataplane *dp, const struct dp_returned *returned,
			       struct lb_reason_count counts[LB_COUNTERS])
{
	const struct lb_reason_count *redirected = &counts[LB_REASON_returned_redirect];
	const struct lb_reason_count *passed = &counts[LB_REASON_returned_kernel];
	struct lb_reason_count *last = &dp->returned_tx;

	last->packets =
	    raised(last->packets, returned->packets - redirected->packets - passed->packets);
	last->bytes = raised(last->bytes, returned->bytes - redirected->bytes - passed->bytes);
	counts[LB_REASON_returned_tx] = *last;
}

void dataplane_reason_counts(struct dataplane *dp, struct lb_reason_count ret[LB_COUNTERS])
{
	const struct dp_counts forwarded = all_forwarded(dp);
	const struct dp_returned returned = all_returned(dp);

	for (unsigned i = 0; i < LB_COUNTERS; i++) {
		ret[i] = (struct lb_reason_count){0};
		for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
			const struct lb_reason_count *row =
			    &dp->maps.reason_counts[(size_t)cpu * LB_COUNTERS];

			ret[i].packets += read_count(&row[i].packets);
			ret[i].bytes += read_count(&row[i].bytes);
		}
	}
	derive_forwarded_tx(dp, &forwarded, ret);
	derive_returned_tx(dp, &returned, ret);
}

void dataplane_memory(const struct dataplane *dp, struct dp_memory *ret)
{
	const struct dp_maps *maps = &dp->maps;

	*ret = (struct dp_memory){
	    .flows = maps->flow_words * sizeof(uint64_t),
	    .arena = maps->arena_slots * (uint64_t)sizeof(uint16_t) +
		     maps->front_count * (uint64_t)(sizeof(uint32_t) + sizeof(uint16_t)),
	    .services =
		maps->service_slots * (uint64_t)(sizeof(struct lb_service) +
						 sizeof(struct lb_turn) + sizeof(struct lb_limit)) +
		maps->vip_buckets * (uint64_t)sizeof(struct lb_vip_bucket) +
		maps->port_buckets * (uint64_t)sizeof(struct lb_port_bucket) +
		maps->real_buckets * (uint64_t)sizeof(struct lb_real_bucket),
	    .backends = (LB_MAX_BACKENDS + 1) * sizeof(struct lb_backend) +
			maps->backend_slots * (uint64_t)sizeof(struct lb_load) +
			maps->return_lines * (uint64_t)sizeof(struct lb_return),
	    .counters =
		maps->cpus * (maps->backend_slots * (uint64_t)(sizeof(struct lb_backend_count) +
							       sizeof(struct lb_return_count)) +
			      LB_COUNTERS * sizeof(struct lb_reason_count) +
			      maps->service_slots * sizeof(struct lb_service_count) +
			      LB_OFFENDERS * sizeof(struct lb_offender)) +
		maps->service_slots * (uint64_t)sizeof(struct lb_total),
	    .filters = dp->filters.chunks * (uint64_t)FILTER_CHUNK_BYTES,
	    .other = sizeof(struct lb_settings) + maps->frag_words * sizeof(uint64_t) +
		     LB_SOURCE_BUCKETS * sizeof(struct lb_source_bucket) +
		     LB_LIST_PLACES * (sizeof(struct lb_direct_list) + sizeof(struct lb_hop_list)) +
		     dp->other_bytes,
	    .flow_capacity = maps->flow_words,
	    .flow_entries = dp->sweep.entries_last,
	    .flow_places = flows_words(dp),
	};
	ret->total = ret->flows + ret->arena + ret->services + ret->backends + ret->counters +
		     ret->filters + ret->other;
}
