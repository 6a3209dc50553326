/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: a flow has two buckets of eight words, one cache line each. Entries are changed
 * by compare-and-exchange on single words, so the packets of a flow may arrive on any CPU. Rules:
 * docs/tracking.md, "Flow table". */
#ifndef LB_FLOW_H
#define LB_FLOW_H

#include "count.h"
#include "maps.h"
#include "packet.h"

#define FLOW_TRIES 3 /* attempts of an insert that loses races */
/* Ticks after which a flow that FIN or RST was seen of is evicted before fresh handshakes */
#define FLOW_QUIET 8
/* Ticks after which a packet of a flow that looks closed shows that it is not: the last
 * acknowledgement comes sooner */
#define FLOW_CLOSED_QUIET 3
/* Ticks after which a SYN may open a new flow on a tuple that looks closed */
#define FLOW_REUSE_QUIET 112
#define FLOW_FINGERPRINT (~0ULL << LB_FLOW_FP_SHIFT)
#define FLOW_TICK(now)   ((__u32)(now)&LB_FLOW_TICK_MASK)

/* Ticks since the entry's last packet. Another CPU may have written a later tick than the one this
 * packet has read: that counts as age 0. */
static __always_inline __u32 flow_age(__u64 entry, __u32 now)
{
	__u32 age = (now - LB_FLOW_TICK(entry)) & LB_FLOW_TICK_MASK;

	return age > LB_FLOW_TICK_MASK - 64 ? 0 : age;
}

/* Whether a state is in a set (LB_FLOW_SET). */
static __always_inline bool flow_is(__u32 state, __u32 set)
{
	return set >> state & 1;
}

LB_NOINLINE __u32 tick_read(__u32 jiffies)
{
	const __u32 tick = bpf_ktime_get_coarse_ns() >> LB_TICK_SHIFT;

	*(volatile __u64 *)&tick_read_last = (__u64)jiffies << 32 | tick;
	return tick;
}

/* The first packet of a jiffy, on any CPU, reads the clock. The kernel changes it once in a jiffy,
 * so the tick is right, or a jiffy late. jiffies is a load, the clock a call: where returns are
 * protected from speculation (Safe RET) it costs as much as all other stages of a tracked packet
 * but one. */
static __always_inline __u32 tick_now(void)
{
	const __u32 jiffies = (__u32)bpf_jiffies64();
	const __u64 last = *(const volatile __u64 *)&tick_read_last;

	return likely(last >> 32 == jiffies) ? (__u32)last : tick_read(jiffies);
}

static __always_inline __u64 flow_read(__u64 *place)
{
	return *(volatile __u64 *)place;
}

static __always_inline __u64 flow_entry(__u64 hash, __u32 backend, __u32 state, __u32 now)
{
	return (hash & FLOW_FINGERPRINT) | (__u64)backend << LB_FLOW_BACKEND_SHIFT |
	       (__u64)state << LB_FLOW_STATE_SHIFT | FLOW_TICK(now);
}

static __always_inline struct lb_flow_bucket *flow_bucket(__u32 index)
{
	return bpf_map_lookup_elem(&flows, &index);
}

static __always_inline struct lb_turn *turn_of(__u32 service)
{
	return bpf_map_lookup_elem(&turns, &service);
}

/* The service of a backend; 0: the backend is gone. */
static __always_inline __u32 owner_of(__u32 backend_id)
{
	struct lb_backend *backend = backend_at(backend_id);

	return backend->flags & LB_BACKEND_USED ? backend->service : 0;
}

/* Adds `by` to the places that a service holds. */
static __always_inline void turn_hold(struct lb_turn *turn, int by)
{
	__s32 before = __sync_fetch_and_add(&turn->held, by);
	struct lb_turn *common;

	if (by > 0 ? before < turn->share : before <= turn->share)
		return;
	common = turn_of(0); /* beyond the share: counts for the common half */
	if (common)
		__sync_fetch_and_add(&common->held, by);
}

static __always_inline void load_add(__u32 backend, int by)
{
	struct lb_load *load = bpf_map_lookup_elem(&loads, &backend);

	if (load)
		__sync_fetch_and_add(&load->active, by);
}

/* Adds `by` to active and held if entries in this state count for them. */
static __always_inline void flow_count(__u32 backend, __u32 state, int by)
{
	struct lb_turn *turn;

	if (flow_is(state, LB_FLOW_HELD)) {
		turn = turn_of(owner_of(backend));
		if (turn)
			turn_hold(turn, by);
	}
	if (flow_is(state, LB_FLOW_COUNTED))
		load_add(backend, by);
}

/* Whether an entry belongs to the flow with this hash, as far as the fingerprint shows. */
static __always_inline bool flow_matches(__u64 entry, __u64 hash)
{
	return (entry ^ hash) >> LB_FLOW_FP_SHIFT == 0 && LB_FLOW_STATE(entry);
}

/* The part of the table in use. Both masks in one read, as they belong together. */
static __always_inline union lb_flow_masks flow_masks(void)
{
	return (union lb_flow_masks){.word = *(const volatile __u64 *)&settings.flow_masks.word};
}

/* The way of a flow's entry; LB_FLOW_WAYS: none. */
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
	OPAQUE(way); /* otherwise the verifier follows each of the ways to the end of the program */
	return way;
}

/* Reads the entry again: the word that is checked must be the word that is returned. */
static __always_inline __u64 *flow_at(struct lb_flow_bucket *bucket, __u32 way, __u64 hash,
				      __u64 *ret_entry)
{
	if (way >= LB_FLOW_WAYS)
		return NULL;
	*ret_entry = flow_read(&bucket->flow[way]);
	return flow_matches(*ret_entry, hash) ? &bucket->flow[way] : NULL;
}

static __always_inline __u64 *flow_find_in(struct lb_flow_bucket *bucket, __u64 hash,
					   __u64 *ret_entry)
{
	return flow_at(bucket, flow_way_of(bucket, hash), hash, ret_entry);
}

/* The number of the flow's place in the part of the table with this mask, from 1; 0: it has no
 * entry there. */
LB_NOINLINE __u32 flow_seek(__u64 hash, __u32 mask)
{
	__u32 index = lb_bucket(hash, flow_shift, mask), way;
	struct lb_flow_bucket *bucket = flow_bucket(index);

	if (!bucket)
		return 0;
	way = flow_way_of(bucket, hash);
	if (way >= LB_FLOW_WAYS && unlikely(flow_read(&bucket->flow[0]) & LB_FLOW_OVERFLOW)) {
		index = lb_bucket_other(index, hash, flow_shift);
		bucket = flow_bucket(index);
		way = bucket ? flow_way_of(bucket, hash) : LB_FLOW_WAYS;
	}
	return way < LB_FLOW_WAYS ? index * LB_FLOW_WAYS + way + 1 : 0;
}

static __always_inline __u64 *flow_find_by(__u64 hash, __u32 mask, __u64 *ret_entry)
{
	__u32 at = flow_seek(hash, mask);
	struct lb_flow_bucket *bucket;

	if (!at--)
		return NULL;
	bucket = flow_bucket(at / LB_FLOW_WAYS);
	return bucket ? flow_at(bucket, at % LB_FLOW_WAYS, hash, ret_entry) : NULL;
}

/* The place of a flow's entry, and the entry read there; NULL: none. While the table changes its
 * size, an entry goes from the place that is looked at first to the other, and for a moment it is
 * in both: in this order it is never missed, and the word that counts is found. */
static __always_inline __u64 *flow_find(__u64 hash, __u64 *ret_entry)
{
	const union lb_flow_masks masks = flow_masks();
	__u64 *place;

	*ret_entry = 0;
	place = flow_find_by(hash, masks.look, ret_entry);
	if (place || likely(masks.put == masks.look))
		return place;
	return flow_find_by(hash, masks.put, ret_entry);
}

/* Puts the entry into a place that is empty in old. False: another CPU was faster. The bucket's
 * overflow bit stays. */
static __always_inline bool flow_take(__u64 *place, __u64 old, __u64 entry)
{
	if (__sync_val_compare_and_swap(place, old, entry | (old & LB_FLOW_OVERFLOW)) != old)
		return false;
	flow_count(LB_FLOW_BACKEND(entry), LB_FLOW_STATE(entry), 1);
	return true;
}

/* Replaces old by entry. False: another CPU was faster. */
static __always_inline bool flow_replace(__u64 *place, __u64 old, __u64 entry)
{
	if (!flow_take(place, old, entry))
		return false;
	flow_count(LB_FLOW_BACKEND(old), LB_FLOW_STATE(old), -1);
	return true;
}

/* ---- for the other nodes ---- */

static __always_inline void dirty_set(__u32 bucket)
{
	__u32 line = bucket / LB_DIRTY_BUCKETS;
	struct lb_dirty_line *at = bpf_map_lookup_elem(&dirty, &line);
	volatile __u8 *byte = at ? &at->bucket[bucket % LB_DIRTY_BUCKETS] : NULL;

	if (byte && !*byte)
		*byte = 1;
}

/* Notes that the other nodes have to learn of an entry that was just put into the bucket. */
static __always_inline void flow_tell_in(__u32 bucket, __u64 entry)
{
	if (has_peers && !flow_is(LB_FLOW_STATE(entry), LB_FLOW_YOUNG))
		dirty_set(bucket);
}

static __always_inline void flow_tell_by(__u64 hash, __u32 mask)
{
	__u32 index = lb_bucket(hash, flow_shift, mask);
	struct lb_flow_bucket *first = flow_bucket(index);

	dirty_set(index);
	if (first && flow_read(&first->flow[0]) & LB_FLOW_OVERFLOW)
		dirty_set(lb_bucket_other(index, hash, flow_shift));
}

/* The same for the entry of a flow. It is in the second bucket only if the first has overflowed;
 * while the table changes its size, in either part. */
static __always_inline int flow_tell_in_all(__u64 hash)
{
	const union lb_flow_masks masks = flow_masks();

	flow_tell_by(hash, masks.put);
	if (unlikely(masks.look != masks.put))
		flow_tell_by(hash, masks.look);
	return 0;
}

LB_NOINLINE int flow_tell_peers(__u64 hash)
{
	return flow_tell_in_all(hash);
}

static __always_inline void flow_tell(__u64 hash)
{
	if (has_peers)
		flow_tell_peers(hash);
}

/* Ticks without a packet after which a flow's next one may have to be told: idle timeouts are
 * longer than four times that. Shorter ones are seen by the sweep often enough. */
#define FLOW_BRISK 8

/* A packet has renewed an entry: the other nodes are told if it is in another state, or its flow
 * was silent for so long that they would soon take it for expired. */
LB_NOINLINE int flow_tell_renewed(__u64 hash, __u64 entry, __u64 updated)
{
	__u32 state = LB_FLOW_STATE(updated), age = flow_age(entry, LB_FLOW_TICK(updated)), owner;
	struct lb_service *service;

	if (flow_is(state, LB_FLOW_YOUNG))
		return 0;
	if (state == LB_FLOW_STATE(entry)) {
		if (likely(age <= FLOW_BRISK))
			return 0;
		owner = owner_of(LB_FLOW_BACKEND(entry));
		service = bpf_map_lookup_elem(&services, &owner);
		if (service && 4 * age <= lb_flow_idle(service, state))
			return 0;
	}
	return flow_tell_in_all(hash); /* inlined, as a call would need more stack */
}

/* ---- a place for a new entry ---- */

/* Notes that a new flow of this service found no place. */
static __always_inline void flow_note_unplaced(__u32 service, __u32 now)
{
	struct lb_turn *turn = turn_of(service);

	if (turn && turn->unplaced != now)
		turn->unplaced = now;
}

/* Whether a new flow found no place within the last `idle` ticks. */
static __always_inline bool lacked_place(const struct lb_turn *turn, __u32 now, __u32 idle)
{
	return turn->unplaced && (__s32)(now - turn->unplaced) <= (__s32)idle;
}

static __always_inline bool lately_unplaced(__u32 service, __u32 now, __u32 idle)
{
	struct lb_turn *turn = turn_of(service);

	return turn && lacked_place(turn, now, idle);
}

/* Notes that an older flow of this service lost its mark: its next packet will look like its first
 * one. */
static __always_inline void flow_note_forgotten(__u32 service, __u32 now)
{
	struct lb_turn *turn = turn_of(service);

	if (turn && turn->forgotten != now)
		turn->forgotten = now;
}

/* How readily an entry is evicted. */
enum flow_class {
	FLOW_FIRM,     /* never */
	FLOW_LAST,     /* KEPT, or FIN or RST seen in an earlier tick */
	FLOW_RECENT,   /* embryonic, of this tick */
	FLOW_CLOSED,   /* FIN or RST seen, and no packet for FLOW_QUIET ticks */
	FLOW_SILENT,   /* dormant: no packet for longer than the idle timeout */
	FLOW_UNPROVED, /* embryonic, or HEARD, of an earlier tick */
	FLOW_OVER,     /* expired and not needed any more, or its backend is gone */
};

static __always_inline __u32 flow_class_of(__u32 state, __u32 age, const struct lb_service *service)
{
	const __u32 unproved = LB_FLOW_SET(SYN) | LB_FLOW_SET(AFFINITY_NEW) | LB_FLOW_SET(HEARD);

	if (age > lb_flow_idle(service, state))
		return service->flags & LB_SERVICE_TRACK_ALWAYS && flow_is(state, LB_FLOW_LASTING)
			   ? FLOW_SILENT
			   : FLOW_OVER;
	if (flow_is(state, unproved))
		return age ? FLOW_UNPROVED : FLOW_RECENT;
	if (flow_is(state, LB_FLOW_SET(FIN) | LB_FLOW_SET(RST) | LB_FLOW_SET(CLOSED)))
		return age >= FLOW_QUIET ? FLOW_CLOSED : age ? FLOW_LAST : FLOW_FIRM;
	return state == LB_FLOW_KEPT ? FLOW_LAST : FLOW_FIRM;
}

/* The entry with the highest rank is evicted first; 0: never. Ordered by class, then by age.
 * Established entries of this tick or the last cannot have expired, so they need no look-up. */
LB_NOINLINE __u32 flow_rank(__u64 entry, __u32 now)
{
	__u32 age = flow_age(entry, now), state = LB_FLOW_STATE(entry), id, class;
	struct lb_service *service;

	if (age <= 1 && flow_is(state, LB_FLOW_LASTING))
		return 0;
	if (state == LB_FLOW_DORMANT)
		return FLOW_SILENT << LB_FLOW_TICK_BITS | age;
	id = owner_of(LB_FLOW_BACKEND(entry));
	service = bpf_map_lookup_elem(&services, &id);
	class = id && service ? flow_class_of(state, age, service) : FLOW_OVER;
	return class ? class << LB_FLOW_TICK_BITS | age : 0;
}

/* The first entry of a bucket to evict: its rank times LB_FLOW_WAYS plus its way. Among equals a
 * random one: if it were always the first or the last, a flood could choose which entry it pushes
 * out. */
static __always_inline __u32 flow_victim_in(struct lb_flow_bucket *bucket, __u32 now)
{
	__u32 toss = bpf_get_prandom_u32() % LB_FLOW_WAYS, best = 0, i;

	for (i = 0; i < LB_FLOW_WAYS; i++) {
		__u32 rank =
		    flow_rank(flow_read(&bucket->flow[i]), now) * LB_FLOW_WAYS + (i ^ toss);

		best = rank > best ? rank : best;
		OPAQUE(best);
	}
	return best ^ toss;
}

static __always_inline __u64 *flow_empty_in(struct lb_flow_bucket *bucket, __u64 *ret_old)
{
	__u64 way = LB_FLOW_WAYS, i;

#pragma unroll
	for (i = 0; i < LB_FLOW_WAYS; i++) {
		*ret_old = flow_read(&bucket->flow[i]);
		if (!LB_FLOW_STATE(*ret_old)) {
			way = i;
			break;
		}
	}
	FORGET(way, *ret_old); /* as in flow_way_of */
	if (way >= LB_FLOW_WAYS)
		return NULL;
	OPAQUE(way); /* the compiler adds it only where the verifier knows how large it is */
	return &bucket->flow[way];
}

/* Sets the overflow bit of the first bucket before one of its entries is placed in the second, so
 * that no lookup can miss the entry. */
static __always_inline void flow_mark_overflow(struct lb_flow_bucket *first)
{
	if (!(flow_read(&first->flow[0]) & LB_FLOW_OVERFLOW))
		__sync_fetch_and_or(&first->flow[0], LB_FLOW_OVERFLOW);
}

enum flow_fill { FLOW_FULL, FLOW_FILLED, FLOW_RACED };

/* The whole table comes into use, as the part is full here before lbd has seen that it needs more.
 * Not a larger part: new flows could fill that before lbd has moved what is in this one, which
 * would then find no place there, and a part cannot grow while it is not moved. False: it is used
 * whole already, or its size is changing. */
LB_NOINLINE int flow_grow(void)
{
	union lb_flow_masks masks = flow_masks(), after = masks;

	if (masks.look != masks.put || masks.put == flow_mask)
		return false;
	after.put = flow_mask;
	__sync_val_compare_and_swap(&settings.flow_masks.word, masks.word, after.word);
	return true;
}

/* Whether an entry of this rank is of use to nobody, so that a small table need not grow to keep
 * it. */
static __always_inline bool is_spare(__u32 rank)
{
	__u32 class = rank >> LB_FLOW_TICK_BITS;

	return class == FLOW_OVER || class == FLOW_SILENT;
}

/* Both buckets are full: replaces an entry that may be evicted. */
LB_NOINLINE int flow_evict(__u64 hash, __u64 entry, __u32 now)
{
	__u32 index = lb_bucket(hash, flow_shift, flow_masks().put);
	struct lb_flow_bucket *first = flow_bucket(index);
	struct lb_flow_bucket *second = flow_bucket(lb_bucket_other(index, hash, flow_shift));
	__u32 victim, other;
	__u64 *place, old;

	if (!first || !second)
		return FLOW_FULL;
	victim = flow_victim_in(first, now);
	other = flow_victim_in(second, now);
	if (!is_spare(victim / LB_FLOW_WAYS) && !is_spare(other / LB_FLOW_WAYS) && flow_grow())
		return FLOW_RACED; /* there is more room now */
	if (other / LB_FLOW_WAYS > victim / LB_FLOW_WAYS) {
		flow_mark_overflow(first);
		first = second;
		victim = other;
		index = lb_bucket_other(index, hash, flow_shift);
	}
	place = &first->flow[victim % LB_FLOW_WAYS];
	old = flow_read(place);
	/* checked again: a packet may have renewed it since */
	if (!flow_rank(old, now))
		return FLOW_FULL;
	if (!flow_replace(place, old, entry))
		return FLOW_RACED;
	flow_tell_in(index, entry);
	count_event(LB_EVENT_flow_evicted);
	if (flow_is(LB_FLOW_STATE(old), LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT)))
		flow_note_forgotten(owner_of(LB_FLOW_BACKEND(old)), now);
	return FLOW_FILLED;
}

/* Inserts into an empty place. */
LB_NOINLINE int flow_fill(__u64 hash, __u64 entry)
{
	__u32 index = lb_bucket(hash, flow_shift, flow_masks().put);
	struct lb_flow_bucket *first = flow_bucket(index), *second;
	__u64 *place, old;

	if (!first)
		return FLOW_FULL;
	place = flow_empty_in(first, &old);
	if (unlikely(!place)) {
		index = lb_bucket_other(index, hash, flow_shift);
		second = flow_bucket(index);
		if (!second)
			return FLOW_FULL;
		place = flow_empty_in(second, &old);
		if (!place)
			return FLOW_FULL;
		flow_mark_overflow(first);
	}
	if (!flow_take(place, old, entry))
		return FLOW_RACED;
	flow_tell_in(index, entry);
	return FLOW_FILLED;
}

/* The backend in the flow's entry; 0: the flow has no entry. */
LB_NOINLINE __u32 flow_recorded(__u64 hash)
{
	__u64 entry;

	return flow_find(hash, &entry) ? LB_FLOW_BACKEND(entry) : 0;
}

/* Returns the backend that the table now has for the flow: this one, or another if a packet of the
 * same flow was faster on another CPU; 0: there is no place. Inlined, as a call would need more
 * stack. */
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
		/* lost a race for the place: the winner may be a packet of the same flow */
		other = flow_recorded(hash);
		if (other)
			return other;
	}
	return 0;
}

/* ---- a packet of a tracked flow ---- */

static __always_inline bool opens_flow(__u32 tcp_flags)
{
	return (tcp_flags & (LB_TCP_SYN | LB_TCP_ACK)) == LB_TCP_SYN;
}

/* The state after this packet. */
static __always_inline __u32 flow_next_state(__u32 state, __u32 tcp_flags)
{
	if (flow_is(state, LB_FLOW_SET(UDP_NEW) | LB_FLOW_SET(UDP)))
		return LB_FLOW_UDP;
	if (flow_is(state, LB_FLOW_SET(AFFINITY) | LB_FLOW_SET(AFFINITY_NEW)))
		return state;
	if (tcp_flags & LB_TCP_RST)
		return LB_FLOW_RST;
	if (tcp_flags & LB_TCP_FIN)
		return flow_is(state, LB_FLOW_SET(ENDING) | LB_FLOW_SET(CLOSED)) ? LB_FLOW_CLOSED
										 : LB_FLOW_FIN;
	if (tcp_flags & LB_TCP_SYN && state == LB_FLOW_SYN)
		return LB_FLOW_SYN;
	/* half-closed: the client still acknowledges what the server sends, or still sends; closed:
	 * it acknowledges the server's FIN. A SYN opens a new flow on the same backend */
	if (flow_is(state, LB_FLOW_SET(FIN) | LB_FLOW_SET(ENDING) | LB_FLOW_SET(CLOSED)) &&
	    !(tcp_flags & LB_TCP_SYN))
		return state;
	/* also after RST: as the client continues, the server has rejected it (RFC 5961) */
	return LB_FLOW_ESTABLISHED;
}

static __always_inline __u64 flow_renewed(__u64 entry, __u32 state, __u32 now)
{
	const __u64 changing =
	    ((__u64)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT) | LB_FLOW_TICK_MASK;

	return (entry & ~changing) | (__u64)state << LB_FLOW_STATE_SHIFT | FLOW_TICK(now);
}

/* Writes `updated` in place of the entry, wherever it is: lbd may have moved it since it was read,
 * or an overflow bit may be set in the word. False: another packet was faster; its entry stays,
 * which is just as recent. */
LB_NOINLINE int flow_renew(__u64 hash, __u64 entry, __u64 updated)
{
	__u64 found, *place = flow_find(hash, &found);

	if (!place || (found ^ entry) & ~LB_FLOW_OVERFLOW)
		return false;
	updated = (updated & ~LB_FLOW_OVERFLOW) | (found & LB_FLOW_OVERFLOW);
	if (__sync_val_compare_and_swap(place, found, updated) != found)
		return false;
	if (has_peers)
		flow_tell_renewed(hash, entry, updated);
	return true;
}

/* Writes only if tick or state changed. Returns the new state. */
static __always_inline __u32 flow_refresh_to(__u64 hash, __u64 *place, __u64 entry, __u32 after,
					     __u32 now)
{
	__u64 updated = flow_renewed(entry, after, now);
	__u32 before = LB_FLOW_STATE(entry);

	if (updated == entry)
		return after;
	if (unlikely(__sync_val_compare_and_swap(place, entry, updated) != entry)) {
		if (!flow_renew(hash, entry, updated))
			return after;
	} else if (has_peers) {
		flow_tell_renewed(hash, entry, updated);
	}
	if (before == after)
		return after;
	flow_count(LB_FLOW_BACKEND(entry), before, -1);
	flow_count(LB_FLOW_BACKEND(entry), after, 1);
	return after;
}

static __always_inline __u32 flow_refresh(__u64 hash, __u64 *place, __u64 entry, __u32 tcp_flags,
					  __u32 now, bool is_tcp)
{
	__u32 state = LB_FLOW_STATE(entry), after;

	if (state == LB_FLOW_DORMANT && !is_tcp)
		after = LB_FLOW_UDP;
	else if (state == LB_FLOW_CLOSED && flow_age(entry, now) >= FLOW_CLOSED_QUIET)
		after = flow_next_state(LB_FLOW_ESTABLISHED, tcp_flags);
	else
		after = flow_next_state(state, tcp_flags);
	return flow_refresh_to(hash, place, entry, after, now);
}

#endif
