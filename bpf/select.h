/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which backend gets the packet: the slot decides, or, in a slot in transition and for services
 * that track always, the flow table, the keeper, or a new pick. Rules: docs/tracking.md, "The
 * packet"; the step numbers below are those of that section. */
#ifndef LB_SELECT_H
#define LB_SELECT_H

#include "connect.h"
#include "filter.h"
#include "flow.h"
#include "limit.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "service.h"
#include "slot.h"

/* Flags beside the backend's id in the result of flow_route. */
#define FLOW_RECORDED (1u << 31) /* a new entry was made */
#define FLOW_PICKED   (1u << 30) /* the client's affinity entry must be written */
#define FLOW_PROVED   (1u << 29) /* a flow was established: the affinity entry becomes firm */
#define FLOW_AGAIN    (1u << 28) /* the SYN was sent before: it opens no new flow */

/* All that the decision needs. */
struct flow_query {
	__u64 hash;        /* of the flow */
	__u64 slot_hash;   /* over the fields that the service hashes: picks the slot */
	__u64 client_hash; /* the client's affinity entry */
	__u32 slot;        /* the slot's word */
	__u32 slot_index;  /* in the arena */
	__u32 now;         /* tick */
	__u64 packet;      /* FLOW_PACKET, and the TCP sequence number (32-63) */
};

/* The packet besides its hashes, as one number: service id (bits 0-15), TCP flags (16-23), whether
 * it is TCP (24); for flow_route also the TCP sequence number (32-63). One word instead of several,
 * as each argument costs eight bytes of stack. */
#define FLOW_PACKET(service, tcp_flags, is_tcp) \
	((service) | (__u32)(tcp_flags) << 16 | (__u32)(is_tcp) << 24)

static __always_inline __u32 query_service(const struct flow_query *q)
{
	return q->packet & 0xffff;
}

static __always_inline __u32 query_flags(const struct flow_query *q)
{
	return q->packet >> 16 & 0xff;
}

static __always_inline bool query_tcp(const struct flow_query *q)
{
	return q->packet >> 24 & 1;
}

static __always_inline __u32 query_seq(const struct flow_query *q)
{
	return q->packet >> 32;
}

/* ---- look-ups ---- */

static __always_inline struct lb_backend *backend_find(__u32 id)
{
	struct lb_backend *backend = backend_at(id);

	return backend->flags & LB_BACKEND_USABLE ? backend : NULL;
}

/* Whether this service's packets may go to the backend: an entry may name one that has died
 * since. */
static __always_inline bool backend_serves(__u32 id, const struct lb_service *service)
{
	struct lb_backend *backend = backend_find(id);

	return backend && backend->service == service->id;
}

static __always_inline struct lb_load *load_find(__u32 id)
{
	return bpf_map_lookup_elem(&loads, &id);
}

/* ---- slots ---- */

/* Notes that a packet of this slot went to a backend other than its current. */
static __always_inline void slot_stamp(const struct flow_query *q)
{
	__u32 line = q->slot_index / 4;
	struct lb_stamp_line *stamp = bpf_map_lookup_elem(&stamps, &line);
	__u16 now = (__u16)q->now;

	if (stamp && stamp->tick[q->slot_index & 3] != now)
		stamp->tick[q->slot_index & 3] = now;
}

/* The backend of untracked older flows. If the keeper is 0 or unusable, it is current. While the
 * ring changes size, the keeper of a slot without one is in the frozen ring; a slot that has
 * settled since and changed again has its own. */
static __always_inline __u32 keeper_of(__u32 slot, __u64 slot_hash,
				       const struct lb_service *service)
{
	__u64 old_ring = region_read(&service->old_ring);
	__u32 keeper = LB_SLOT_KEEPER(slot);

	if (!keeper && LB_REGION_SIZE(old_ring) && slot & LB_SLOT_TRANSITION)
		keeper = LB_SLOT_KEEPER(slot_read(ring_slot_index(old_ring, slot_hash)));
	return backend_serves(keeper, service) ? keeper : LB_SLOT_CURRENT(slot);
}

/* A function of its own: inlined in each rule that asks for it, it is a third of what the verifier
 * has to walk. */
LB_NOINLINE __u32 slot_keeper(__u32 slot, __u64 slot_hash, __u32 service_id)
{
	struct lb_service *service = service_of(service_id);

	return service ? keeper_of(slot, slot_hash, service) : 0;
}

/* ---- step 3: pick ---- */

static __always_inline __u32 pick_turn(const struct lb_service *service)
{
	__u64 pick = region_read(&service->pick);
	struct lb_turn *turn = turn_of(service->id);

	if (!turn || !LB_REGION_SIZE(pick))
		return 0;
	return slot_read(LB_REGION_BASE(pick) +
			 __sync_fetch_and_add(&turn->next, 1) % LB_REGION_SIZE(pick));
}

struct candidate {
	__u64 cost;
	__u32 id;
};

/* Makes a member the best if it costs less than the best so far and takes new flows. Of two that
 * cost the same the one with after = 0 does, and of two with the same `after` the former. */
static __always_inline void consider(__u32 id, __u64 after, const struct lb_service *service,
				     struct candidate *best)
{
	struct lb_load *load = load_find(id);
	__s32 active;
	__u64 cost;

	if (!load || !load->cost)
		return;
	/* may be negative until the sweep corrects it */
	active = load->active > 0 ? load->active : 0;
	cost = (active + 1ULL) * load->cost * 2 + after;
	if (cost >= best->cost || !backend_serves(id, service))
		return;
	best->cost = cost;
	best->id = id;
}

/* 1 or 0, by the sign of the difference: after a comparison the verifier would walk what follows
 * for each number. */
static __always_inline __u64 is_below(__u64 number, __u64 other)
{
	number -= other;
	OPAQUE(number); /* else the compiler compares */
	return number >> 63;
}

/* The cheapest of all members. Of several the first one from `start` on, in a circle: otherwise the
 * first of idle ones would get all short flows. */
static __always_inline void consider_all(__u64 members, __u64 start,
					 const struct lb_service *service, struct candidate *best)
{
	__u32 at = LB_REGION_BASE(members);
	__s64 left = LB_REGION_SIZE(members);

	for (__u32 i = 0; i < LB_EXACT_MEMBERS / 2; i++) {
		const __u64 two = slots_read(at);

		if (left <= 0)
			break;
		consider((__u32)two, is_below(2 * i, start), service, best);
		if (left > 1)
			consider(two >> 32, is_below(2 * i + 1, start), service, best);
		left -= 2;
		at += 2;
	}
}

/* A number below `below`, made of a random one of 32 bits: as uniformly distributed. */
static __always_inline __u32 scale(__u32 random, __u32 below)
{
	return ((__u64)random * below) >> 32;
}

/* The least (active + 1) * cost: exact up to LB_EXACT_MEMBERS, above that the better of two drawn
 * at random (Mitzenmacher, "The power of two choices in randomized load balancing", 2001), from a
 * list in which each is as often as its weight says. Bits of the hash, which nobody outside knows,
 * are as good as random ones, and need no call. But who finds a tuple whose flows all go to one
 * member can use it again: with one of two drawn anew each time, he cannot make it the more loaded
 * one. */
static __always_inline __u32 pick_least(const struct lb_service *service, __u64 hash)
{
	const __u64 members = region_read(&service->pick);
	const __u32 base = LB_REGION_BASE(members), size = LB_REGION_SIZE(members);
	struct candidate best = {.cost = ~0ULL};
	__u32 first = scale((__u32)hash, size);

	if (likely(size <= LB_EXACT_MEMBERS)) {
		consider_all(members, first, service, &best);
	} else {
		consider(slot_read(base + first), 0, service, &best);
		consider(slot_read(base + scale(bpf_get_prandom_u32(), size)), 0, service, &best);
	}
	return best.id;
}

/* A function of its own: see slot_keeper. */
LB_NOINLINE __u32 pick_cost(__u32 service_id, __u64 hash)
{
	struct lb_service *service = service_of(service_id);

	return service ? pick_least(service, hash) : 0;
}

static __always_inline __u32 pick_by_algorithm(const struct flow_query *q,
					       const struct lb_service *service, __u32 current)
{
	switch (service->select) {
	case LB_SELECT_TURN:
		return pick_turn(service);
	case LB_SELECT_COST:
		return pick_cost(query_service(q), q->hash);
	default:
		return current;
	}
}

/* The backend of a new flow; 0: none. */
static __always_inline __u32 pick(const struct flow_query *q, const struct lb_service *service)
{
	const __u32 current = LB_SLOT_CURRENT(q->slot);
	__u32 id = pick_by_algorithm(q, service, current);

	if (backend_serves(id, service))
		return id;
	if (backend_serves(current, service))
		return current;
	id = slot_keeper(q->slot, q->slot_hash, query_service(q));
	return backend_serves(id, service) ? id : 0;
}

/* ---- affinity: new flows of a client go to the backend of its last one ---- */

static __always_inline bool takes_new(__u32 id)
{
	struct lb_load *load = load_find(id);

	return load && load->cost;
}

/* The client's last backend, if it still takes new flows; 0: none. */
LB_NOINLINE __u32 affinity_find(__u64 client_hash, __u32 service_id, __u32 now)
{
	struct lb_service *service = service_of(service_id);
	__u64 entry, *place = flow_find(client_hash, &entry);
	__u32 id;

	if (!place || !service)
		return 0;
	id = LB_FLOW_BACKEND(entry);
	if (!flow_is(LB_FLOW_STATE(entry), LB_FLOW_SET(AFFINITY) | LB_FLOW_SET(AFFINITY_NEW)) ||
	    !takes_new(id) || !backend_serves(id, service) ||
	    flow_age(entry, now) > service->affinity_idle)
		return 0;
	flow_refresh_to(client_hash, place, entry, LB_FLOW_STATE(entry), now);
	return id;
}

/* state: LB_FLOW_AFFINITY_NEW until a flow of the client is established, so that forged addresses
 * cannot fill the table with firm entries. */
LB_NOINLINE int affinity_write(__u64 client_hash, __u32 id, __u32 state, __u32 now)
{
	__u64 old, *place = flow_find(client_hash, &old);

	if (place &&
	    !flow_is(LB_FLOW_STATE(old), LB_FLOW_SET(AFFINITY) | LB_FLOW_SET(AFFINITY_NEW)))
		return 0; /* a flow has the same fingerprint: it keeps its entry */
	if (place && LB_FLOW_STATE(old) == LB_FLOW_AFFINITY && LB_FLOW_BACKEND(old) == id)
		/* it may have expired */
		return flow_refresh_to(client_hash, place, old, LB_FLOW_AFFINITY, now);
	if (!place)
		return flow_insert(client_hash, id, state, now);
	flow_replace(place, old, flow_entry(client_hash, id, state, now));
	if (state == LB_FLOW_AFFINITY)
		flow_tell(client_hash);
	return 0;
}

static __always_inline __u32 pick_with_affinity(const struct flow_query *q,
						const struct lb_service *service)
{
	__u32 id;

	if (likely(!(service->flags & LB_SERVICE_AFFINITY)))
		return pick(q, service);
	id = affinity_find(q->client_hash, query_service(q), q->now);
	if (id)
		return id;
	id = pick(q, service);
	return id ? id | FLOW_PICKED : 0;
}

/* ---- sequence numbers of SYNs ---- */

/* In a slot in transition, a SYN may be forged with the addresses of an older flow that has not
 * sent since. The first packet after it shows which: in a handshake, its sequence number follows
 * that of the SYN; otherwise the packet is of the older flow. One word per place, for the last SYN:
 * part of the hash (63-46), tick (45-32) and sequence number. Direct-mapped and lossy: if the word
 * is missing, the SYN counts as genuine. */
#define SYN_HASH (~0ULL << 46)
/* Bytes that the first packet may be ahead of the SYN: more than an initial window (RFC 6928) */
#define SYN_WINDOW 65536

static __always_inline __u64 *syn_place(__u64 hash)
{
	__u32 index = (__u32)hash & (LB_SYNS - 1);

	return bpf_map_lookup_elem(&syns, &index);
}

static __always_inline void syn_remember(__u64 hash, __u32 seq, __u32 now)
{
	__u64 *place = syn_place(hash);

	if (place)
		*(volatile __u64 *)place = (hash & SYN_HASH) | (__u64)FLOW_TICK(now) << 32 | seq;
}

/* Whether the packet cannot be of the handshake that the last SYN began. age: of its entry. The
 * number of an older SYN says nothing: later ones were not noted while the slot was stable. */
LB_NOINLINE int syn_denies(__u64 hash, __u32 seq, __u32 now, __u32 age)
{
	__u64 *place = syn_place(hash), word;

	if (!place)
		return 0;
	word = *(volatile __u64 *)place;
	return !((word ^ hash) & SYN_HASH) && flow_age(word >> 32, now) <= age &&
	       seq - (__u32)word - 1 >= SYN_WINDOW;
}

/* ---- step 2: the flow table ---- */

/* The backend of packets without an entry; stamps the slot if that is not current. */
static __always_inline __u32 go_to_keeper(const struct flow_query *q,
					  const struct lb_service *service)
{
	__u32 keeper = slot_keeper(q->slot, q->slot_hash, query_service(q));

	if (keeper != LB_SLOT_CURRENT(q->slot))
		slot_stamp(q);
	return keeper;
}

/* The backend of a tracked flow; stamps the slot if that is not current. A service that tracks
 * always finds its flows whatever happens to the slot, and needs no stamp. */
static __always_inline __u32 go_to_tracked(const struct flow_query *q,
					   const struct lb_service *service, __u32 id)
{
	if (!tracks_always(service) && id != LB_SLOT_CURRENT(q->slot))
		slot_stamp(q);
	return id;
}

/* Step 4: no place. The flow's later packets will go to the keeper, so this one does too. A UDP
 * flow without an entry looks like a new one with every packet: as long as such a flow may be live,
 * the keeper decides for all flows without an entry. */
static __always_inline __u32 flow_unplaced(const struct flow_query *q,
					   const struct lb_service *service)
{
	count_event(LB_EVENT_flow_table_full);
	if (service->select != LB_SELECT_SLOT)
		count_event(LB_EVENT_fallback_slot);
	flow_note_unplaced(query_service(q), q->now);
	flow_note_forgotten(query_service(q), q->now);
	return go_to_keeper(q, service);
}

/* Whether the packet may be of an older flow that has no entry. UDP has no SYN: while the slot is
 * learning, any flow may be an older one. */
static __always_inline bool may_be_older(const struct flow_query *q,
					 const struct lb_service *service)
{
	if (query_tcp(q))
		return !opens_flow(query_flags(q));
	return q->slot & LB_SLOT_LEARNING ||
	       lately_unplaced(query_service(q), q->now, service->udp_idle);
}

/* The state of the entry that this packet creates. A UDP flow that may be an older one is told to
 * the other nodes at once, as its next packet may come to one where it would look new. */
static __always_inline __u32 flow_first_state(const struct flow_query *q,
					      const struct lb_service *service)
{
	if (!query_tcp(q))
		return has_peers && may_be_older(q, service) ? LB_FLOW_UDP : LB_FLOW_UDP_NEW;
	return opens_flow(query_flags(q)) ? LB_FLOW_SYN
					  : flow_next_state(LB_FLOW_SYN, query_flags(q));
}

/* Whether the service has used up its share of the table, and the common half is used up too:
 * docs/tracking.md, "Shares". */
static __always_inline bool is_used_up(const struct lb_turn *turn)
{
	struct lb_turn *common;

	if (turn->held < turn->share)
		return false;
	common = turn_of(0);
	return common && common->share && common->held >= common->share;
}

static __always_inline bool is_limited(__u32 service)
{
	struct lb_turn *turn = turn_of(service);

	return turn && is_used_up(turn);
}

/* Records a new flow. place: of an entry to overwrite; NULL: a new entry is inserted. */
static __always_inline __u32 flow_record(const struct flow_query *q,
					 const struct lb_service *service, __u32 id, __u64 *place,
					 __u64 old)
{
	__u32 state = flow_first_state(q, service), placed;

	if (!place) {
		placed = flow_insert(q->hash, id, state, q->now);
	} else if (flow_replace(place, old, flow_entry(q->hash, id, state, q->now))) {
		placed = id;
		if (!flow_is(state, LB_FLOW_YOUNG))
			flow_tell(q->hash);
	} else {
		placed = flow_recorded(q->hash);
	}
	if (placed != id && !backend_serves(placed, service))
		return flow_unplaced(q, service);
	return go_to_tracked(q, service, placed) | FLOW_RECORDED;
}

static __always_inline __u32 flow_new(const struct flow_query *q, const struct lb_service *service,
				      __u64 *place, __u64 old)
{
	__u32 id = 0;

	if (!place && is_limited(query_service(q)))
		return flow_unplaced(q, service);
	if (may_be_older(q, service))
		id = slot_keeper(q->slot, q->slot_hash, query_service(q));
	if (!id || !backend_serves(id, service))
		id = pick_with_affinity(q, service);
	if (!id)
		return 0;
	return flow_record(q, service, id & LB_MAX_BACKENDS, place, old) | (id & FLOW_PICKED);
}

/* The next state of an older flow's mark when a packet confirms that the flow is live. If the
 * service tracks always, it becomes an ordinary entry. So it does after a SYN: that may have opened
 * a new flow, which must stay on the backend too. */
static __always_inline __u32 mark_next(const struct flow_query *q, const struct lb_service *service)
{
	if (query_flags(q) & (LB_TCP_FIN | LB_TCP_RST))
		return flow_next_state(LB_FLOW_ESTABLISHED, query_flags(q));
	if ((tracks_always(service) || opens_flow(query_flags(q))) && !is_limited(query_service(q)))
		return LB_FLOW_ESTABLISHED;
	return LB_FLOW_KEPT;
}

/* A mark of the keeper for an older flow. place: of the flow's entry, if it has one; known: that is
 * such a mark. False: there is none, as the table is full, or lbd was just moving the entry. */
static __always_inline bool leave_mark(const struct flow_query *q, __u32 keeper, __u64 *place,
				       bool known, __u64 mark)
{
	if (known)
		return true;
	if (!place)
		return query_flags(q) & LB_TCP_RST ||
		       flow_insert(q->hash, keeper, LB_FLOW_HEARD, q->now);
	if (!flow_replace(place, mark, flow_entry(q->hash, keeper, LB_FLOW_HEARD, q->now)))
		return false;
	flow_tell(q->hash);
	return true;
}

/* A TCP packet of an older flow: it has no entry that decides and opens no new flow. Its flow began
 * before the transition, or before the service tracked always, or found no place. Addresses can be
 * forged, so after the learning period a single packet does not keep the slot in transition: a live
 * flow has left its mark by then, and a packet in a later tick confirms it. place: of that mark;
 * NULL: none. */
static __always_inline __u32 flow_older(const struct flow_query *q,
					const struct lb_service *service, __u64 *place, __u64 mark)
{
	__u32 keeper = slot_keeper(q->slot, q->slot_hash, query_service(q));
	bool away = keeper != LB_SLOT_CURRENT(q->slot),
	     known = place && LB_FLOW_BACKEND(mark) == keeper;
	bool syn = opens_flow(query_flags(q));
	bool confirmed =
	    known && (syn || flow_age(mark, q->now) || LB_FLOW_STATE(mark) == LB_FLOW_KEPT);
	bool holds = confirmed || q->slot & LB_SLOT_LEARNING;

	if (!keeper || (!away && !tracks_always(service) && !syn && (!place || known)))
		return keeper;
	if (confirmed)
		flow_refresh_to(q->hash, place, mark, mark_next(q, service), q->now);
	else if (!leave_mark(q, keeper, place, known, mark)) {
		flow_note_forgotten(query_service(q), q->now);
		holds = true; /* without a mark it cannot be confirmed later */
	}
	if (!away)
		return keeper;
	count_event(LB_EVENT_keeper_packets);
	if (holds)
		slot_stamp(q);
	return keeper;
}

/* Whether a SYN on the tuple of an entry opens a new flow on another backend. A flow that may be
 * live keeps its backend, which answers with a challenge ACK (RFC 5961) or accepts a new
 * connection. It is a new flow elsewhere only if the backend takes no new flows, and the old flow
 * was closed, reset or dormant, and FLOW_REUSE_QUIET ticks have passed. */
static __always_inline bool reuses_tuple(__u64 entry, __u32 now)
{
	const __u32 over =
	    LB_FLOW_SET(FIN) | LB_FLOW_SET(RST) | LB_FLOW_SET(CLOSED) | LB_FLOW_SET(DORMANT);

	return flow_is(LB_FLOW_STATE(entry), over) && flow_age(entry, now) >= FLOW_REUSE_QUIET &&
	       !takes_new(LB_FLOW_BACKEND(entry));
}

/* The backend of a flow whose entry decides; renews the entry. */
static __always_inline __u32 flow_tracked(const struct flow_query *q,
					  const struct lb_service *service, __u64 *place,
					  __u64 entry)
{
	__u32 id = LB_FLOW_BACKEND(entry), before = LB_FLOW_STATE(entry);
	__u32 again = 0,
	      after = flow_refresh(q->hash, place, entry, query_flags(q), q->now, query_tcp(q));

	if (unlikely(service->flags & LB_SERVICE_AFFINITY) && before != after &&
	    flow_is(after, LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(UDP)))
		return go_to_tracked(q, service, id) | FLOW_PROVED;
	if (before == LB_FLOW_SYN && after == LB_FLOW_SYN)
		again = FLOW_AGAIN;
	OPAQUE(again);
	return go_to_tracked(q, service, id) | again;
}

/* Whether a mark names the slot's keeper and has not expired. */
static __always_inline bool is_live_mark(const struct flow_query *q,
					 const struct lb_service *service, __u64 mark)
{
	return flow_age(mark, q->now) <= service->tcp_idle &&
	       LB_FLOW_BACKEND(mark) == slot_keeper(q->slot, q->slot_hash, query_service(q));
}

/* What flow_route_by finds in the table. */
struct flow_found {
	__u64 *place; /* NULL: no entry; the other fields are not valid then */
	__u64 entry;
	__u32 serves; /* its backend may get this service's packets */
};

/* Whether the entry is a handshake that the packet does not belong to: its backend has become
 * unusable, or the sequence numbers do not match and the packet may be of an older flow of the
 * slot's keeper. */
static __always_inline bool is_of_other_handshake(const struct flow_query *q,
						  const struct lb_service *service,
						  const struct flow_found *found)
{
	if (LB_FLOW_STATE(found->entry) != LB_FLOW_SYN || opens_flow(query_flags(q)))
		return false;
	if (!found->serves)
		return true;
	return q->slot & LB_SLOT_TRANSITION &&
	       syn_denies(q->hash, query_seq(q), q->now, flow_age(found->entry, q->now)) &&
	       slot_keeper(q->slot, q->slot_hash, query_service(q)) !=
		   LB_FLOW_BACKEND(found->entry);
}

/* Whether the entry is of another service's flow, or of a client, with the same fingerprint: it
 * must not be changed. */
static __always_inline bool is_foreign(const struct flow_query *q, const struct flow_found *found)
{
	__u32 owner;

	if (flow_is(LB_FLOW_STATE(found->entry), LB_FLOW_SET(AFFINITY) | LB_FLOW_SET(AFFINITY_NEW)))
		return true;
	if (found->serves)
		return false;
	owner = owner_of(LB_FLOW_BACKEND(found->entry));
	return owner && owner != query_service(q);
}

/* Whether the packet is, or may be, of the entry's flow; *ret_id is its backend then. False: it is
 * of a new flow. */
static __always_inline bool flow_known(const struct flow_query *q, const struct lb_service *service,
				       const struct flow_found *found, bool syn, __u32 *ret_id)
{
	if (found->serves) {
		*ret_id = flow_tracked(q, service, found->place, found->entry);
		return true;
	}
	if (!query_tcp(q) || syn || !owner_of(LB_FLOW_BACKEND(found->entry)))
		return false;
	/* the backend is unusable: the entry stays, for when the backend is back before the flow is
	 * over */
	*ret_id = go_to_keeper(q, service);
	return true;
}

/* Properties of the entry found. In one word, as each would cost eight bytes of stack. */
#define FOUND_SERVES 1u
#define FOUND_MARK   2u
#define FOUND_REUSED 4u /* the packet is a SYN that opens another flow on the tuple */

static __always_inline __u32 flow_facts(const struct flow_query *q,
					const struct lb_service *service,
					const struct flow_found *found)
{
	__u32 facts = found->serves;

	if (flow_is(LB_FLOW_STATE(found->entry), LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT)) ||
	    is_of_other_handshake(q, service, found))
		facts |= FOUND_MARK;
	if (opens_flow(query_flags(q)) &&
	    (reuses_tuple(found->entry, q->now) ||
	     (facts & FOUND_MARK && !is_live_mark(q, service, found->entry))))
		facts |= FOUND_REUSED;
	return facts;
}

static __always_inline __u32 flow_route_by(const struct flow_query *q,
					   const struct lb_service *service)
{
	const bool syn = opens_flow(query_flags(q));
	struct flow_found found = {};
	__u32 facts = 0, id;

	if (syn && q->slot & LB_SLOT_TRANSITION)
		syn_remember(q->hash, query_seq(q), q->now);
	found.place = flow_find(q->hash, &found.entry);
	if (found.place) {
		found.serves = backend_serves(LB_FLOW_BACKEND(found.entry), service);
		if (is_foreign(q, &found))
			return flow_unplaced(q, service);
		facts = flow_facts(q, service, &found);
	}
	OPAQUE(facts); /* otherwise the verifier follows each path to this point up to the end */
	if (query_tcp(q) && !(facts & FOUND_REUSED) && (found.place ? facts & FOUND_MARK : !syn))
		return flow_older(q, service, found.place, found.entry);
	found.serves = facts & FOUND_SERVES;
	if (found.place && !(facts & FOUND_REUSED) && flow_known(q, service, &found, syn, &id))
		return id;
	return flow_new(q, service, found.place, found.entry);
}

/* The backend's id and flags (FLOW_RECORDED, ...); 0: none. All arguments are numbers, which need
 * no stack of the caller. */
LB_NOINLINE __u32 flow_route(__u64 hash, __u64 slot_hash, __u64 client_hash, __u32 slot_index,
			     __u64 packet)
{
	struct flow_query q = {
	    .hash = hash,
	    .slot_hash = slot_hash,
	    .client_hash = client_hash,
	    .slot = slot_read(slot_index),
	    .slot_index = slot_index,
	    .now = tick_now(),
	    .packet = packet,
	};
	struct lb_service *service = service_of(query_service(&q));
	__u32 id;

	if (!service)
		return 0;
	id = flow_route_by(&q, service);
	OPAQUE(id);
	if (query_tcp(&q) && connect_sampled(hash))
		connect_see(hash, (id & LB_MAX_BACKENDS) | query_flags(&q) << 16);
	return id;
}

/* Routes to a backend that was not found through the slots of its service. */
static __always_inline int route_to(struct route *r, __u32 id)
{
	struct lb_backend *backend = backend_find(id);

	if (!backend)
		return LB_REASON_no_backend;
	r->service = service_of(backend->service);
	if (!r->service)
		return LB_REASON_no_backend;
	r->backend_id = id;
	r->backend = backend;
	return LB_CONTINUE;
}

/* ---- step 1 ---- */

/* Whether the service hashes the whole tuple and has none of these flags: one comparison. */
static __always_inline bool selects_whole(const struct lb_service *service, __u8 family, __u8 flags)
{
	const union lb_selection mask4 = {.hash = 0xff, .flags = flags, .mask4 = 0xff};
	const union lb_selection mask6 = {.hash = 0xff, .flags = flags, .mask6 = 0xff};
	const union lb_selection want4 = {.hash = LB_HASH_FULL, .mask4 = 32};
	const union lb_selection want6 = {.hash = LB_HASH_FULL, .mask6 = 128};
	const __u64 word = lb_selection(service).word;

	return family == 4 ? (word & mask4.word) == want4.word : (word & mask6.word) == want6.word;
}

/* Whether the service hashes the whole tuple, does not track always and has neither a filter nor a
 * rate of new flows, as most do: then the slot alone decides, unless it is in transition. */
static __always_inline bool is_straight(const struct lb_service *service, __u8 family)
{
	return selects_whole(service, family,
			     LB_SERVICE_TRACKING | LB_SERVICE_FILTERED | LB_SERVICE_LIMIT);
}

static __always_inline __u64 slot_hash(const struct packet *p, const struct route *r)
{
	const struct lb_service *service = r->service;

	return packet_hash_prefix(p, &settings.key, lb_hash_ports(p->ports, service->hash),
				  p->protocol, service->mask4, service->mask6);
}

/* The hash of a client's affinity entry: the service's port is part of it, the client's port is
 * not. */
static __always_inline __u64 client_hash(const struct packet *p, const struct route *r)
{
	const struct lb_service *service = r->service;

	return packet_hash_prefix(p, &settings.key, lb_hash_ports(p->ports, LB_HASH_DPORT),
				  p->protocol | LB_HASH_DOMAIN_CLIENT, service->mask4,
				  service->mask6);
}

static __always_inline bool is_syn(const struct packet *p)
{
	return opens_flow(p->tcp_flags);
}

/* The sequence number of a TCP packet, host order; if the packet is not plain, the one that
 * parse_rare has stored. Read again here: kept since parsing, it would cost every packet space on
 * the stack. */
LB_NOINLINE __u32 packet_seq(struct xdp_md *ctx, __u32 l3_offset, __u32 family)
{
	const void *l3 = (void *)(long)ctx->data + (l3_offset & 31),
		   *end = (void *)(long)ctx->data_end;
	const struct ipv6hdr *ip6 = l3;
	const struct iphdr *ip = l3;
	struct scratch *scratch = scratch_of();

	if (family == 4 && (const void *)(ip + 1) <= end && *(__u8 *)ip == 0x45 &&
	    !(ip->frag_off & bpf_htons(IPV4_FRAGMENT)))
		return bpf_ntohl(tcp_seq(ip + 1, end));
	if (family == 6 && (const void *)(ip6 + 1) <= end && ip6->nexthdr == IPPROTO_TCP)
		return bpf_ntohl(tcp_seq(ip6 + 1, end));
	return scratch ? bpf_ntohl(scratch->transport.seq) : 0;
}

/* front: of the slot. A slot of the sample decides alone. */
static __always_inline void select_tracked(const struct packet *p, struct route *r, __u64 hash,
					   __u32 slot_index, __u32 front)
{
	const bool in_transition = front & LB_FRONT_TRANSITION;
	const bool is_tcp = p->protocol == IPPROTO_TCP;
	__u64 client, seq;
	__u32 id, opened;

	r->backend_id = front & LB_MAX_BACKENDS;
	if (in_transition && !tracks_always(r->service) &&
	    !(slot_read(slot_index) & LB_SLOT_TRANSITION)) {
		connect_pass(p, r->hash, r->backend_id);
		return;
	}
	client = unlikely(r->service->flags & LB_SERVICE_AFFINITY) ? client_hash(p, r) : 0;
	seq = is_tcp && in_transition ? packet_seq(p->ctx, p->l3_offset, p->family) : 0;
	id = flow_route(r->hash, hash, client, slot_index,
			FLOW_PACKET(r->service->id, p->tcp_flags, is_tcp) | seq << 32);
	if (unlikely(id & (FLOW_PICKED | FLOW_PROVED)))
		affinity_write(client, id & LB_MAX_BACKENDS,
			       id & FLOW_PROVED && !is_limited(r->service->id)
				   ? LB_FLOW_AFFINITY
				   : LB_FLOW_AFFINITY_NEW,
			       tick_now());
	/* a TCP flow counts when its SYN is sent, tracked or not, but not when it is sent again */
	opened = is_tcp ? r->new_flow & ~(id / FLOW_AGAIN) : id / FLOW_RECORDED;
	OPAQUE(opened);
	r->new_flow = opened & 1;
	r->backend_id = id & LB_MAX_BACKENDS;
}

/* LB_CONTINUE, or the reason why the service drops the packet. The lists of clients come first, so
 * that those denied use up nothing of the rates. */
static __always_inline int service_admits(const struct packet *p, const struct route *r)
{
	int reason = is_filtered(r) ? filter_source(p, r) : LB_CONTINUE;

	if (continues(reason) && r->service->flags & LB_SERVICE_LIMIT)
		reason = limit_new_flow(p, r);
	return reason;
}

/* Selects the backend of a packet whose protocol and ports are known. */
static __always_inline int select_backend(const struct packet *p, struct route *r)
{
	const bool straight = is_straight(r->service, p->family);
	__u64 ring = region_read(&r->service->ring), hash;
	__u32 front, index;

	r->hash = hash = packet_hash(p, &settings.key);
	r->new_flow = is_syn(p);
	if (unlikely(!straight)) {
		int reason = service_admits(p, r);

		if (!continues(reason))
			return reason;
		if (!selects_whole(r->service, p->family, 0))
			hash = slot_hash(p, r);
	}
	if (unlikely(!LB_REGION_SIZE(ring)))
		return LB_REASON_no_backend;
	index = ring_slot_index(ring, hash);
	front = front_read(index);
	if (unlikely(front & LB_FRONT_TRANSITION) ||
	    (unlikely(!straight) && tracks_always(r->service)))
		select_tracked(p, r, hash, index, front);
	else
		r->backend_id = front;
	r->backend = backend_find(r->backend_id);
	return r->backend ? LB_CONTINUE : LB_REASON_no_backend;
}

/* The id of the backend for the flow quoted in an ICMP error: the one that the flow's next packet
 * would go to. Nothing is recorded. */
LB_NOINLINE __u32 select_quoted(__u64 hash, __u64 slot_hash, __u32 service_id, __u32 protocol)
{
	struct lb_service *service = service_of(service_id);
	__u64 ring, entry, *place;
	__u32 slot;

	if (!service)
		return 0;
	ring = region_read(&service->ring);
	if (!LB_REGION_SIZE(ring))
		return 0;
	slot = slot_read(ring_slot_index(ring, slot_hash));
	if (!(slot & LB_SLOT_TRANSITION) && !tracks_always(service))
		return LB_SLOT_CURRENT(slot);
	place = flow_find(hash, &entry);
	if (place && !flow_is(LB_FLOW_STATE(entry), LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT)) &&
	    backend_serves(LB_FLOW_BACKEND(entry), service))
		return LB_FLOW_BACKEND(entry);
	if (protocol == IPPROTO_TCP || slot & LB_SLOT_LEARNING ||
	    lately_unplaced(service_id, tick_now(), service->udp_idle))
		return keeper_of(slot, slot_hash, service);
	return LB_SLOT_CURRENT(slot);
}

#endif
