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

/* The backend that the flow gets, if `next` is still the service's turn when it is taken; 0:
 * none. */
static __always_inline __u32 open_pick(const struct lb_service *service, __u32 current, __u64 next)
{
	__u64 list = region_read(&service->pick);

	if (service->select == LB_SELECT_COST)
		return pick_cost(service->id);
	if (service->select != LB_SELECT_TURN)
		return current;
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

/* The backend in the entry that was made; 0: the long path. packet: FLOW_PACKET of a SYN or a
 * datagram, and the length of the IP packet (32-63). */
LB_NOINLINE __u32 flow_open(__u64 hash, __u64 packet)
{
	const struct flow_query q = {.packet = packet, .now = tick_now()};
	const __u32 state = query_tcp(&q) ? LB_FLOW_SYN : LB_FLOW_UDP_NEW;
	const union lb_flow_masks masks = flow_masks();
	struct lb_service *service = service_of(query_service(&q));
	struct lb_turn *turn = turn_of(query_service(&q));
	struct lb_flow_bucket *bucket = flow_bucket(lb_bucket(hash, flow_shift, masks.put));
	__u64 *place, old, next;
	__u32 current, id;

	if (!service || !turn || !bucket || masks.look != masks.put)
		return 0;
	place = open_place(bucket, hash, &old);
	current = open_current(hash, service);
	if (!place || !current || is_used_up(turn) ||
	    (!query_tcp(&q) && lacked_place(turn, q.now, service->udp_idle)))
		return 0;
	next = *(volatile __u64 *)&turn->next;
	id = open_pick(service, current, next);
	if (!open_fits(id, service, packet >> 32) ||
	    !open_take(turn, service->select == LB_SELECT_TURN, next, place, old,
		       flow_entry(hash, id, state, q.now)))
		return 0;
	if (query_tcp(&q) && connect_sampled(hash))
		connect_see(hash, id | query_flags(&q) << 16);
	return id;
}

#endif
