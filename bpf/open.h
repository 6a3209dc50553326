/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* New flows for the straight path: a plain SYN, or a datagram without an entry, of a service with
 * LB_STRAIGHT_NEW. Steps 2 and 3 of docs/tracking.md, "The packet", where nothing is in question:
 * the slot is stable, the flow has no entry, its first bucket has an empty place, and the backend
 * that is next can be sent to. Nothing is changed before all of this is known, so for any other
 * flow the long path begins anew. */
#ifndef LB_OPEN_H
#define LB_OPEN_H

#include "connect.h"
#include "count.h"
#include "flow.h"
#include "forward.h"
#include "maps.h"
#include "nat.h"
#include "packet.h"
#include "select.h"
#include "service.h"
#include "slot.h"

/* The first packet of a flow as one number: PLAIN (0-31), and its family (32-35). */
#define OPENING(p)        (PLAIN(p) | (__u64)(p)->family << 32)
#define OPENING_FAMILY(o) ((__u32)((o) >> 32))

/* Asked anew each time: if the answer were kept, the verifier would follow both to the end. */
static __always_inline bool opening_is_tcp(__u64 opening)
{
	OPAQUE(opening);
	return PLAIN_PROTOCOL(opening) == IPPROTO_TCP;
}

/* The most that any way of forwarding puts before a packet. */
#define OPEN_OUTER (sizeof(struct ipv6hdr) + sizeof(struct gue_header))

/* An empty place in the first bucket of a flow without an entry. NULL: there is none, or the flow
 * may have an entry, here or in its second bucket. */
static __always_inline __u64 *open_place(struct lb_flow_bucket *bucket, __u64 hash, __u64 *ret_old)
{
	__u64 others = 1ULL << LB_FLOW_FP_SHIFT; /* differences from here on */
	int i;

	OPAQUE(others); /* in a register */
#pragma unroll
	for (i = 0; i < LB_FLOW_WAYS; i++)
		if (unlikely((flow_read(&bucket->flow[i]) ^ hash) < others))
			return NULL;
	if (flow_read(&bucket->flow[0]) & LB_FLOW_OVERFLOW)
		return NULL;
	return flow_empty_in(bucket, ret_old);
}

/* The current backend of the flow's slot; 0: none, or the slot is in transition. */
static __always_inline __u32 open_current(__u64 hash, const struct lb_service *service)
{
	__u64 ring = region_read(&service->ring);
	__u32 front = LB_REGION_SIZE(ring) ? front_read(ring_slot_index(ring, hash)) : 0;

	return front & LB_FRONT_TRANSITION ? 0 : front;
}

/* The backend that is next in the service's turn list; 0: none. ret_turn: its turn, as long as
 * nobody else has taken it. */
static __always_inline __u32 open_next(const struct lb_service *service, const struct lb_turn *turn,
				       __u64 *ret_turn)
{
	const __u64 list = region_read(&service->pick);
	const __u32 size = LB_REGION_SIZE(list);

	*ret_turn = *(const volatile __u64 *)&turn->next;
	return size ? slot_read(LB_REGION_BASE(list) + *ret_turn % size) : 0;
}

/* The backend that the flow gets; 0: none. */
static __always_inline __u32 open_pick(const struct lb_service *service, __u64 hash,
				       const struct lb_turn *turn, __u64 *ret_turn)
{
	const __u32 current = open_current(hash, service);

	if (!current || service->select == LB_SELECT_SLOT)
		return current;
	return service->select == LB_SELECT_COST ? pick_least(service, hash)
						 : open_next(service, turn, ret_turn);
}

/* Whether the straight path sends an IP packet of this length to the backend. One that fits just so
 * is left to the long path. */
static __always_inline bool open_fits(__u32 id, const struct lb_service *service, __u32 length)
{
	const struct lb_backend *b = backend_at(id);
	const __u32 kind = lb_backend_kind(b);

	/* the program that translates is not called from here (translate.h) */
	if (service->forward == LB_FORWARD_NAT && return_of(id)->protocol & LB_REAL_TRANSLATED)
		return false;
	return (kind == LB_BACKEND_STRAIGHT(4) || kind == LB_BACKEND_STRAIGHT(6)) &&
	       b->service == service->id && length + OPEN_OUTER <= b->mtu;
}

/* Takes the turn and the place, if no other CPU was faster with either. Other nodes are not told:
 * the entry is of a state in LB_FLOW_YOUNG. */
static __always_inline bool open_take(struct lb_turn *turn, bool turns, __u64 next, __u64 *place,
				      __u64 old, __u64 entry)
{
	if ((turns && __sync_val_compare_and_swap(&turn->next, next, next + 1) != next) ||
	    __sync_val_compare_and_swap(place, old, entry | (old & LB_FLOW_OVERFLOW)) != old)
		return false;
	turn_hold(turn, 1);
	load_add(LB_FLOW_BACKEND(entry), 1);
	count_reason(bpf_get_smp_processor_id(), LB_EVENT_flow_inserted, 0);
	return true;
}

/* Makes the entry of a flow, and finds the backend that is in it. False: the long path. opening: a
 * SYN or a datagram. */
static __always_inline bool flow_open(struct route *r, __u32 service_id, __u64 opening)
{
	const __u32 now = tick_now();
	const union lb_flow_masks masks = flow_masks();
	struct lb_service *service = service_of(service_id);
	struct lb_turn *turn = turn_of(service_id);
	struct lb_flow_bucket *bucket = flow_bucket(lb_bucket(r->hash, flow_shift, masks.put));
	__u64 *place, old, next = 0, id;
	__u64 entry =
	    flow_entry(r->hash, 0, opening_is_tcp(opening) ? LB_FLOW_SYN : LB_FLOW_UDP_NEW, now);

	if (!service || !turn || !bucket || masks.look != masks.put)
		return false;
	flow_read(&bucket->flow[0]); /* its line may take long to come */
	if (is_used_up(turn) ||
	    (!opening_is_tcp(opening) && lacked_place(turn, now, service->udp_idle)))
		return false;
	id = open_pick(service, r->hash, turn, &next);
	FORGET(id, r->hash);
	if (!open_fits(id, service, PLAIN_LENGTH(opening)))
		return false;
	entry |= id << LB_FLOW_BACKEND_SHIFT;
	/* last, as the verifier follows each of the places from here on */
	place = open_place(bucket, r->hash, &old);
	if (!place || !open_take(turn, service->select == LB_SELECT_TURN, next, place, old, entry))
		return false;
	if (opening_is_tcp(opening) && connect_sampled(r->hash))
		connect_see(r->hash, id | PLAIN_FLAGS(opening) << 16);
	r->service = service;
	r->backend_id = id;
	return true;
}

#endif
