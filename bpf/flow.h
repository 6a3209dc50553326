/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: two buckets of eight words, one cache line each; changed by compare-and-exchange on single words, so
 * a flow's packets may arrive on any CPU. Rules: docs/tracking.md, "Flow table". Called by select.h and icmp.h. */
#ifndef LB_FLOW_H
#define LB_FLOW_H

#include "count.h"
#include "maps.h"
#include "packet.h"

#define FLOW_TRIES           3 /* of an insert that loses races */
#define FLOW_QUIET           2 /* ticks after which a closing flow may be evicted */
#define FLOW_FINGERPRINT     (~0ULL << LB_FLOW_FP_SHIFT)
#define FLOW_TICK(now)       ((__u32)(now)&LB_FLOW_TICK_MASK)
#define FLOW_AGE(entry, now) (((__u32)(now)-LB_FLOW_TICK(entry)) & LB_FLOW_TICK_MASK)
#define FLOW_COUNTED         (1u << LB_FLOW_SYN | 1u << LB_FLOW_ESTABLISHED | 1u << LB_FLOW_UDP | 1u << LB_FLOW_KEPT)

static __always_inline __u32 tick_now(void)
{
	return bpf_ktime_get_coarse_ns() >> LB_TICK_SHIFT;
}

static __always_inline __u64 flow_read(__u64 *place)
{
	return *(volatile __u64 *)place;
}

static __always_inline __u64 flow_entry(__u64 hash, __u32 backend, __u32 state, __u32 now)
{
	return (hash & FLOW_FINGERPRINT) | (__u64)backend << LB_FLOW_BACKEND_SHIFT | state << LB_FLOW_STATE_SHIFT |
	       FLOW_TICK(now);
}

static __always_inline struct lb_flow_bucket *flow_bucket(__u32 index)
{
	return bpf_map_lookup_elem(&flows, &index);
}

/* active += by, when an entry in this state is one that counts. */
static __always_inline void flow_count_active(__u32 backend, __u32 state, int by)
{
	struct lb_load *load;

	if (!(FLOW_COUNTED >> state & 1))
		return;
	load = bpf_map_lookup_elem(&loads, &backend);
	if (load)
		__sync_fetch_and_add(&load->active, by);
}

/* Whether an entry is of the flow with this hash, as far as a fingerprint can tell. */
static __always_inline bool flow_matches(__u64 entry, __u64 hash)
{
	return (entry ^ hash) >> LB_FLOW_FP_SHIFT == 0 && LB_FLOW_STATE(entry);
}

/* The way of a flow's entry, LB_FLOW_WAYS: none. */
static __always_inline __u32 flow_way_of(struct lb_flow_bucket *bucket, __u64 hash)
{
	__u32 way = LB_FLOW_WAYS, i;

#pragma unroll
	for (i = 0; i < LB_FLOW_WAYS; i++) {
		if (flow_matches(flow_read(&bucket->flow[i]), hash)) {
			way = i;
			break;
		}
	}
	OPAQUE(way); /* else the verifier follows each of the ways to the program's end */
	return way;
}

/* Reads again what it found: the one word that is then acted upon is the one that was checked. */
static __always_inline __u64 *flow_find_in(struct lb_flow_bucket *bucket, __u64 hash, __u64 *ret_entry)
{
	__u32 way = flow_way_of(bucket, hash);

	if (way >= LB_FLOW_WAYS)
		return NULL;
	*ret_entry = flow_read(&bucket->flow[way]);
	return flow_matches(*ret_entry, hash) ? &bucket->flow[way] : NULL;
}

/* The place of a flow's entry and what was read there; NULL: none. */
static __always_inline __u64 *flow_find(__u64 hash, __u64 *ret_entry)
{
	__u32 index = lb_bucket(hash, flow_mask);
	struct lb_flow_bucket *bucket = flow_bucket(index);
	__u64 *place;

	*ret_entry = 0;
	if (!bucket)
		return NULL;
	place = flow_find_in(bucket, hash, ret_entry);
	if (likely(place) || likely(!(flow_read(&bucket->flow[0]) & LB_FLOW_OVERFLOW)))
		return place;
	bucket = flow_bucket(lb_bucket_other(index, hash, flow_mask));
	return bucket ? flow_find_in(bucket, hash, ret_entry) : NULL;
}

/* Puts an entry where old was read. False: somebody else was faster. The bucket's overflow mark stays. */
static __always_inline bool flow_replace(__u64 *place, __u64 old, __u64 entry)
{
	if (__sync_val_compare_and_swap(place, old, entry | (old & LB_FLOW_OVERFLOW)) != old)
		return false;
	flow_count_active(LB_FLOW_BACKEND(entry), LB_FLOW_STATE(entry), 1);
	flow_count_active(LB_FLOW_BACKEND(old), LB_FLOW_STATE(old), -1);
	return true;
}

/* ---- a place for a new entry ---- */

/* The idle time after which an entry is over, by its own service; 0 when its backend is gone. Ticks. */
static __always_inline __u32 flow_idle(__u64 entry)
{
	__u32 id = LB_FLOW_BACKEND(entry);
	struct lb_backend *backend = bpf_map_lookup_elem(&backends, &id);
	struct lb_service *service;

	if (!backend || !(backend->flags & LB_BACKEND_USED))
		return 0;
	id = backend->service;
	service = bpf_map_lookup_elem(&services, &id);
	if (!service)
		return 0;
	switch (LB_FLOW_STATE(entry)) {
	case LB_FLOW_SYN:
		return service->syn_idle;
	case LB_FLOW_CLOSING:
		return service->fin_idle;
	case LB_FLOW_UDP:
		return service->udp_idle;
	case LB_FLOW_AFFINITY:
		return service->affinity_idle;
	default:
		return service->tcp_idle;
	}
}

/* How willingly an entry is given up: the higher the sooner, 0 never. Expired ones, then the oldest of SYN and KEPT,
 * then the oldest CLOSING that is quiet. Entries touched in this tick or the last cannot have expired: no look-up for
 * them. */
LB_APART __u32 flow_rank(__u64 entry, __u32 now)
{
	__u32 age = FLOW_AGE(entry, now), state = LB_FLOW_STATE(entry);

	if (age > 1 && age > flow_idle(entry))
		return 3 << LB_FLOW_TICK_BITS;
	if (state == LB_FLOW_SYN || state == LB_FLOW_KEPT)
		return 2 << LB_FLOW_TICK_BITS | age;
	if (state == LB_FLOW_CLOSING && age >= FLOW_QUIET)
		return 1 << LB_FLOW_TICK_BITS | age;
	return 0;
}

/* The entry of a bucket that is given up most willingly: its rank times LB_FLOW_WAYS plus its way. */
static __always_inline __u32 flow_victim_in(struct lb_flow_bucket *bucket, __u32 now)
{
	__u32 best = 0, i;

	for (i = 0; i < LB_FLOW_WAYS; i++) {
		__u32 rank = flow_rank(flow_read(&bucket->flow[i]), now) * LB_FLOW_WAYS + i;

		best = rank > best ? rank : best;
		OPAQUE(best);
	}
	return best;
}

static __always_inline __u64 *flow_empty_in(struct lb_flow_bucket *bucket, __u64 *ret_old)
{
	__u32 way = LB_FLOW_WAYS, i;

#pragma unroll
	for (i = 0; i < LB_FLOW_WAYS; i++) {
		*ret_old = flow_read(&bucket->flow[i]);
		if (!LB_FLOW_STATE(*ret_old)) {
			way = i;
			break;
		}
	}
	OPAQUE(way);
	return way < LB_FLOW_WAYS ? &bucket->flow[way] : NULL;
}

/* Marks the first bucket before an entry of its is placed in the second, so that no lookup can miss it. */
static __always_inline void flow_mark_overflow(struct lb_flow_bucket *first)
{
	if (!(flow_read(&first->flow[0]) & LB_FLOW_OVERFLOW))
		__sync_fetch_and_or(&first->flow[0], LB_FLOW_OVERFLOW);
}

enum flow_fill { FLOW_FULL, FLOW_FILLED, FLOW_RACED };

/* Takes the place of an entry that may be given up, when both buckets are full. */
LB_APART int flow_evict(__u64 hash, __u64 entry, __u32 now)
{
	__u32 index = lb_bucket(hash, flow_mask);
	struct lb_flow_bucket *first = flow_bucket(index);
	struct lb_flow_bucket *second = flow_bucket(lb_bucket_other(index, hash, flow_mask));
	__u32 victim, other;
	__u64 *place, old;

	if (!first || !second)
		return FLOW_FULL;
	victim = flow_victim_in(first, now);
	other = flow_victim_in(second, now);
	if (other / LB_FLOW_WAYS > victim / LB_FLOW_WAYS) {
		flow_mark_overflow(first);
		first = second;
		victim = other;
	}
	place = &first->flow[victim % LB_FLOW_WAYS];
	old = flow_read(place);
	/* again: it may have come to life since */
	if (!flow_rank(old, now))
		return FLOW_FULL;
	if (!flow_replace(place, old, entry))
		return FLOW_RACED;
	count_event(LB_EVENT_flow_evicted);
	return FLOW_FILLED;
}

/* Takes an empty place. */
LB_APART int flow_fill(__u64 hash, __u64 entry)
{
	__u32 index = lb_bucket(hash, flow_mask);
	struct lb_flow_bucket *first = flow_bucket(index), *second;
	__u64 *place, old;

	if (!first)
		return FLOW_FULL;
	place = flow_empty_in(first, &old);
	if (unlikely(!place)) {
		second = flow_bucket(lb_bucket_other(index, hash, flow_mask));
		if (!second)
			return FLOW_FULL;
		place = flow_empty_in(second, &old);
		if (!place)
			return FLOW_FULL;
		flow_mark_overflow(first);
	}
	return flow_replace(place, old, entry) ? FLOW_FILLED : FLOW_RACED;
}

/* The backend that the flow's entry names, 0: it has none. */
LB_APART __u32 flow_recorded(__u64 hash)
{
	__u64 entry;

	return flow_find(hash, &entry) ? LB_FLOW_BACKEND(entry) : 0;
}

/* The backend that the table now has for the flow: this one, or another when a packet of the same flow was faster on
 * another CPU; 0: there is no place. Not apart itself: a call less, and less stack. */
static __always_inline __u32 flow_insert(__u64 hash, __u32 backend, __u32 state, __u32 now)
{
	__u64 entry = flow_entry(hash, backend, state, now);
	int i, filled;
	__u32 other;

	for (i = 0; i < FLOW_TRIES; i++) {
		filled = flow_fill(hash, entry);
		if (filled == FLOW_FULL)
			filled = flow_evict(hash, entry, now);
		if (likely(filled == FLOW_FILLED)) {
			count_reason(bpf_get_smp_processor_id(), LB_EVENT_flow_inserted, 0);
			return backend;
		}
		if (filled == FLOW_FULL)
			return 0;
		/* both aimed at the same place: the winner may have been of the same flow */
		other = flow_recorded(hash);
		if (other)
			return other;
	}
	return 0;
}

/* ---- a packet of a tracked flow ---- */

/* The state after this packet. */
static __always_inline __u32 flow_next_state(__u32 state, __u32 tcp_flags)
{
	if (state == LB_FLOW_UDP || state == LB_FLOW_AFFINITY || state == LB_FLOW_CLOSING)
		return state;
	if (tcp_flags & (LB_TCP_FIN | LB_TCP_RST))
		return LB_FLOW_CLOSING;
	if (state == LB_FLOW_SYN && !(tcp_flags & LB_TCP_SYN))
		return LB_FLOW_ESTABLISHED;
	return state;
}

/* Writes only when tick or state changed; a lost race leaves what the winner wrote, which is as good. */
static __always_inline void flow_refresh(__u64 *place, __u64 entry, __u32 tcp_flags, __u32 now)
{
	__u32 before = LB_FLOW_STATE(entry), after = flow_next_state(before, tcp_flags);
	const __u64 changing = (7ULL << LB_FLOW_STATE_SHIFT) | LB_FLOW_TICK_MASK;
	__u64 fresh = (entry & ~changing) | after << LB_FLOW_STATE_SHIFT | FLOW_TICK(now);

	if (fresh == entry)
		return;
	if (__sync_val_compare_and_swap(place, entry, fresh) == entry && after == LB_FLOW_CLOSING &&
	    before != LB_FLOW_CLOSING)
		flow_count_active(LB_FLOW_BACKEND(entry), before, -1);
}

#endif
