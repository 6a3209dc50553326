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
#include "packet.h"
#include "select.h"
#include "service.h"
#include "slot.h"

/* An empty place in the first bucket of a flow without an entry. NULL: there is none, or the flow
 * may have an entry, here or in its second bucket. */
static __always_inline __u64 *open_place(struct lb_flow_bucket *bucket, __u64 hash, __u64 *ret_old)
{
	if (flow_way_of(bucket, hash) < LB_FLOW_WAYS ||
	    flow_read(&bucket->flow[0]) & LB_FLOW_OVERFLOW)
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

/* The backend that the flow gets, if `next` is still the service's turn when it is taken; 0: none,
 * or it is in question. */
static __always_inline __u32 open_pick(const struct lb_service *service, __u64 hash, __u64 next)
{
	__u32 current = open_current(hash, service);
	__u64 list = region_read(&service->pick);

	if (!current || service->select == LB_SELECT_SLOT)
		return current;
	if (service->select == LB_SELECT_COST)
		return pick_least(service, hash);
	return LB_REGION_SIZE(list) ? slot_read(LB_REGION_BASE(list) + next % LB_REGION_SIZE(list))
				    : 0;
}

/* Whether the straight path sends an IP packet of this length to the backend. */
static __always_inline bool open_fits(__u32 id, const struct lb_service *service, __u32 length)
{
	const struct lb_backend *b = backend_at(id);
	const __u32 kind = lb_backend_kind(b);

	/* the program that translates is not called from here (translate.h) */
	if (service->forward == LB_FORWARD_NAT && return_of(id)->protocol & LB_REAL_TRANSLATED)
		return false;
	if (service->forward != LB_FORWARD_L2 && service->forward != LB_FORWARD_NAT)
		length += outer_length(b->family, service->forward);
	return (kind == LB_BACKEND_STRAIGHT(4) || kind == LB_BACKEND_STRAIGHT(6)) &&
	       b->service == service->id && length <= b->mtu;
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

/* Asked anew each time: if the answer were kept, the verifier would follow both to the end. */
static __always_inline bool plain_is_tcp(__u32 plain)
{
	OPAQUE(plain);
	return (__u8)(plain >> 16) == IPPROTO_TCP;
}

/* The backend in the entry that was made; 0: the long path. plain: PLAIN of a SYN or a datagram. */
static __always_inline __u32 flow_open(__u64 hash, __u32 service_id, __u32 plain)
{
	const __u32 state = plain_is_tcp(plain) ? LB_FLOW_SYN : LB_FLOW_UDP_NEW, now = tick_now();
	const union lb_flow_masks masks = flow_masks();
	struct lb_service *service = service_of(service_id);
	struct lb_turn *turn = turn_of(service_id);
	struct lb_flow_bucket *bucket = flow_bucket(lb_bucket(hash, flow_shift, masks.put));
	__u64 *place, old, next, id;

	if (!service || !turn || !bucket || masks.look != masks.put)
		return 0;
	flow_read(&bucket->flow[0]); /* its line may take long to come */
	if (is_used_up(turn) ||
	    (!plain_is_tcp(plain) && lacked_place(turn, now, service->udp_idle)))
		return 0;
	next = *(volatile __u64 *)&turn->next;
	id = open_pick(service, hash, next);
	FORGET(id, hash);
	if (!open_fits(id, service, plain & 0xffff))
		return 0;
	/* last, as the verifier follows each of the places from here on */
	place = open_place(bucket, hash, &old);
	if (!place || !open_take(turn, service->select == LB_SELECT_TURN, next, place, old,
				 flow_entry(hash, id, state, now)))
		return 0;
	if (plain_is_tcp(plain) && connect_sampled(hash))
		connect_see(hash, id | plain >> 24 << 16);
	return id;
}

#endif
