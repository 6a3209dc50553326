/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates of new flows, per service and per source prefix: docs/limits.md. Only packets that may open
 * a flow of a service with a rate come here. */
#ifndef LB_LIMIT_BPF_H
#define LB_LIMIT_BPF_H

#include "lb_limit.h"

#include "count.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "service.h"
#include "slot.h"

/* Attempts to change a word. Only a flow that is let through changes one, so a word that is lost so
 * often in a row belongs to a bucket that is being emptied: the flow counts as over the rate. */
#define LIMIT_TRIES 3

static __always_inline __u64 word_read(__u64 *place)
{
	return *(volatile __u64 *)place;
}

static __always_inline bool word_replace(__u64 *place, __u64 old, __u64 word)
{
	return __sync_val_compare_and_swap(place, old, word) == old;
}

/* ---- the service's rate ---- */

/* Takes a flow out of the service's bucket; false: over the rate. */
static __always_inline bool limit_take(struct lb_limit *limit, __u64 now)
{
	const __u64 cost = limit->cost, span = limit->span;
	int i;

	for (i = 0; i < LIMIT_TRIES; i++) {
		__u64 old = word_read(&limit->full_at);
		__u64 debt = lb_limit_debt(lb_limit_ahead(old, now), span, cost, LB_LIMIT_SLACK);

		if (debt + cost > span)
			return false;
		if (word_replace(&limit->full_at, old, now + debt + cost))
			return true;
	}
	return false;
}

/* ---- the rate of a source prefix ---- */

#define SOURCE_OWN LB_SOURCE_WAYS /* beside the way: the word there is of the prefix itself */

/* 1, or 0 for 0: without a branch, which the verifier would follow both ways for each word. */
static __always_inline __u64 is_set(__u64 word)
{
	OPAQUE(word);
	return (word | -word) >> 63;
}

/* How readily the word gives way to another prefix: an empty place or a full bucket first, then the
 * bucket that loses least by being forgotten. 0: it is the prefix's own. */
static __always_inline __u64 source_rank(__u64 word, __u64 hash, __u64 now)
{
	__u64 rank = (__u64)(lb_source_ahead(word, now) - LB_SOURCE_PAST) * is_set(word) + 1;

	return rank * is_set((word ^ hash) >> LB_SOURCE_TIME_BITS);
}

/* The way of the prefix's own word, plus SOURCE_OWN; else that of the word to be replaced. A
 * function of its own, as the verifier would walk it anew with each attempt. */
LB_NOINLINE __u32 source_way(__u32 index, __u64 hash, __u64 now)
{
	struct lb_source_bucket *bucket = bpf_map_lookup_elem(&sources, &index);
	__u64 best = 1ULL << 62; /* more than any rank */
	__s64 less;
	__u32 i;

	if (!bucket)
		return 0;
#pragma unroll
	for (i = 0; i < LB_SOURCE_WAYS; i++) {
		less =
		    source_rank(word_read(&bucket->word[i]), hash, now) * LB_SOURCE_WAYS + i - best;
		best += less & less >> 63; /* the lesser one, without a branch */
		OPAQUE(best); /* one word at a time: all at once would not fit into registers */
	}
	return best < LB_SOURCE_WAYS ? best + SOURCE_OWN : best & (LB_SOURCE_WAYS - 1);
}

/* Takes a flow out of a bucket with this word. The word afterwards; 0: over the rate. */
static __always_inline __u64 source_after(__u64 old, __u64 hash, const struct lb_limit *limit,
					  __u64 now)
{
	const __u64 cost = limit->source_cost, span = limit->source_span;
	__s64 ahead =
	    old && lb_source_matches(old, hash) ? lb_source_ahead(old, now) : LB_SOURCE_PAST;
	__u64 debt = lb_limit_debt(ahead, span, cost, LB_SOURCE_SLACK);

	return debt + cost > span ? 0 : lb_source_word(hash, now + debt + cost);
}

/* Takes a flow out of the prefix's bucket; false: over the rate. now: units of LB_SOURCE_SHIFT. A
 * prefix without a word has a full bucket. */
static __always_inline bool source_take(__u64 hash, const struct lb_limit *limit, __u64 now)
{
	__u32 index = lb_source_bucket_of(hash), way = 0;
	struct lb_source_bucket *bucket = bpf_map_lookup_elem(&sources, &index);
	int i;

	if (!bucket)
		return true;
	for (i = 0; i < LIMIT_TRIES; i++) {
		__u64 *place, old, word;

		way = source_way(index, hash, now);
		place = &bucket->word[way & (LB_SOURCE_WAYS - 1)];
		old = word_read(place);
		if (way & SOURCE_OWN && !lb_source_matches(old, hash)) {
			way = 0; /* another prefix has taken the place: this one has no word */
			continue;
		}
		word = source_after(old, hash, limit, now);
		if (!word)
			return false;
		if (word_replace(place, old, word))
			return true;
	}
	return !(way & SOURCE_OWN); /* a word of another prefix says nothing about this one */
}

/* ---- what is counted ---- */

static __always_inline struct lb_offender *offender_at(__u32 set, __u32 way)
{
	__u32 index = bpf_get_smp_processor_id() * LB_OFFENDERS + set * LB_OFFENDER_WAYS + way;

	return bpf_map_lookup_elem(&offenders, &index);
}

/* The place of the prefix with this tag, or the one to be replaced: empty, idle for long, or with
 * the fewest drops. */
static __always_inline struct lb_offender *offender_find(__u64 tag, __u32 now)
{
	__u32 set = lb_offender_place_of(tag), way = 0, i;
	__u64 least = ~0ULL, weight;

	for (i = 0; i < LB_OFFENDER_WAYS; i++) {
		struct lb_offender *o = offender_at(set, i);

		if (!o)
			return NULL;
		weight = o->dropped;
		if (!o->tag || now - o->last > LB_OFFENDER_IDLE)
			weight = 0;
		if (o->tag == tag) {
			way = i;
			break;
		}
		if (weight < least) {
			least = weight;
			way = i;
		}
	}
	OPAQUE(way);
	return offender_at(set, way);
}

/* Gives the place to another prefix. A reader that sees a mixture finds that the tag is not the
 * hash of the rest. */
static __always_inline void offender_begin(struct lb_offender *o, const struct lb_tuple *source,
					   __u32 service, __u32 length, __u32 now)
{
	__u64 before = !o->tag || now - o->last > LB_OFFENDER_IDLE ? 0 : o->dropped;

	*(volatile __u64 *)&o->tag = 0;
	__builtin_memcpy(o->addr, source->client, sizeof(o->addr));
	o->service = service;
	o->family = source->family;
	o->length = length;
	o->dropped = o->inherited = before;
}

/* One row for each CPU: no other writes to it at the same time. */
LB_NOINLINE int offender_count(const struct lb_tuple *source, __u64 tag, __u32 service,
			       __u32 length)
{
	__u32 now = tick_now();
	struct lb_offender *o = offender_find(tag, now);

	if (!o || !source)
		return 0;
	if (o->tag != tag)
		offender_begin(o, source, service, length, now);
	o->dropped++;
	o->last = now;
	*(volatile __u64 *)&o->tag = tag;
	return 0;
}

/* ---- the packet ---- */

/* The packet, as one number: service id (bits 0-15), TCP flags (16-23), protocol (24-31), offset of
 * the IP header (32-39), family (40-47). */
#define LIMIT_PACKET(p, id)                                                                    \
	((__u64)(p)->family << 40 | (__u64)(p)->l3_offset << 32 | (__u32)(p)->protocol << 24 | \
	 (__u32)(p)->tcp_flags << 16 | (__u32)(id))

/* The packet's tuple; false: its header cannot be read. */
static __always_inline bool limit_tuple(struct xdp_md *ctx, __u32 ports, __u64 packet,
					struct lb_tuple *ret)
{
	const void *l3 = (void *)(long)ctx->data + (packet >> 32 & 31),
		   *end = (void *)(long)ctx->data_end;
	const struct ipv6hdr *ip6 = l3;
	const struct iphdr *ip = l3;

	ret->ports = ports;
	ret->protocol = packet >> 24;
	ret->family = packet >> 40;
	if (ret->family == 4) {
		if ((const void *)(ip + 1) > end)
			return false;
		ret->client[0] = ip->saddr;
		ret->vip[0] = ip->daddr;
	} else {
		if ((const void *)(ip6 + 1) > end)
			return false;
		__builtin_memcpy(ret->client, &ip6->saddr, sizeof(ret->client));
		__builtin_memcpy(ret->vip, &ip6->daddr, sizeof(ret->vip));
	}
	return true;
}

/* Whether the packet is of a flow that the table knows. TCP: a SYN that is sent again; any other
 * SYN opens a connection, also on a tuple that has had one. UDP has no SYN: a datagram without an
 * entry is a flow's first, unless flows may have none. */
static __always_inline bool limit_knows(const struct lb_tuple *tuple, __u32 id, __u32 now)
{
	struct lb_service *service = service_of(id);
	__u64 ring = service ? region_read(&service->ring) : 0, entry, *place;
	__u32 index = ring_slot_index(ring, tuple_hash(tuple, id));

	if (!service || !(front_read(index) & LB_FRONT_TRANSITION || tracks_always(service)))
		return false;
	place = flow_find(tuple_hash(tuple, 0), &entry);
	if (tuple->protocol == IPPROTO_TCP)
		return place && LB_FLOW_STATE(entry) == LB_FLOW_SYN;
	return place || slot_read(index) & LB_SLOT_LEARNING ||
	       lately_unplaced(id, now, service->udp_idle);
}

/* Shortens the client's address to the prefix that has a rate of its own. */
static __always_inline void limit_shorten(struct lb_tuple *tuple, const struct lb_limit *limit)
{
	if (tuple->family == 4) {
		tuple->client[0] &= limit->mask4;
		return;
	}
	tuple->client[0] &= limit->mask6[0];
	tuple->client[1] &= limit->mask6[1];
	tuple->client[2] &= limit->mask6[2];
	tuple->client[3] &= limit->mask6[3];
}

static __always_inline bool limit_takes_source(struct lb_tuple *source, __u32 id,
					       const struct lb_limit *limit, __u64 now)
{
	struct lb_service_count *count;
	__u64 hash;

	limit_shorten(source, limit);
	hash = lb_source_hash(source, &settings.key, id);
	if (source_take(hash, limit, lb_source_now(now)))
		return true;
	count = service_count_of(id);
	if (count)
		count->over_source++;
	offender_count(source, hash, id, source->family == 4 ? limit->length4 : limit->length6);
	return false;
}

static __always_inline bool limit_takes_service(struct lb_limit *limit, __u32 id, __u64 now)
{
	struct lb_service_count *count;

	if (limit_take(limit, now))
		return true;
	count = service_count_of(id);
	if (count)
		count->over_service++;
	return false;
}

/* LB_CONTINUE, or the reason why the packet is dropped. The source's rate comes first, so that a
 * source above it uses up nothing of the service's. packet: LIMIT_PACKET. */
LB_NOINLINE int limit_check(struct xdp_md *ctx, __u32 ports, __u64 packet)
{
	__u32 id = packet & 0xffff, flags = packet >> 16 & 0xff;
	struct lb_limit *limit = bpf_map_lookup_elem(&limits, &id);
	__u64 now = bpf_ktime_get_coarse_ns();
	struct lb_tuple tuple = {};

	if (!limit || !limit_tuple(ctx, ports, packet, &tuple) ||
	    (tuple.protocol == IPPROTO_TCP && !opens_flow(flags)) ||
	    limit_knows(&tuple, id, now >> LB_TICK_SHIFT))
		return LB_CONTINUE;
	if (limit->source_cost && !limit_takes_source(&tuple, id, limit, now))
		return LB_REASON_over_source_rate;
	if (limit->cost && !limit_takes_service(limit, id, now))
		return LB_REASON_over_service_rate;
	return LB_CONTINUE;
}

/* A packet of a service with a rate of new flows. What can open none is let through without a look:
 * all TCP packets of established flows have ACK, and UDP has no flags. */
static __always_inline int limit_new_flow(const struct packet *p, const struct route *r)
{
	if (likely(p->tcp_flags & LB_TCP_ACK))
		return LB_CONTINUE;
	return limit_check(p->ctx, p->ports, LIMIT_PACKET(p, r->service->id));
}

#endif
