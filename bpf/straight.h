/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The straight path, first of all: what almost every packet needs, in one piece of code without
 * calls. A whole TCP or UDP packet without tags, options or extensions, to a service that asks
 * nothing of it (lb_straight in lb_abi.h), in a stable slot or of an established flow in the flow
 * table, to a backend that it fits; a packet that is not to a VIP; and, with a call, the first one
 * of a flow whose service tracks always (open.h). It is made of the stages of the long path, which
 * lb.h calls for all else: for what is not straight nothing has been counted, and nothing changed
 * but the tick of a flow's entry, which the long path would change as well. */
#ifndef LB_STRAIGHT_H
#define LB_STRAIGHT_H

#include "admit.h"
#include "connect.h"
#include "count.h"
#include "flow.h"
#include "forward.h"
#include "maps.h"
#include "nat.h"
#include "open.h"
#include "packet.h"
#include "parse.h"
#include "path.h"
#include "reply.h"
#include "select.h"
#include "service.h"
#include "slot.h"
#include "translate.h"

/* Off in the build by which a test compares both paths. */
#ifndef LB_STRAIGHT_ON
#define LB_STRAIGHT_ON 1
#endif

/* ---- the service ---- */

/* The straight word of the packet's service; 0: the long path. */
static __always_inline __u64 straight_find(const struct packet *p, struct route *r)
{
	if (likely(r->vip->main == lb_vip_main(p->ports, p->protocol)))
		return *(const volatile __u64 *)&r->vip->straight;
	if (!continues(service_find(r, p->protocol, p->ports)))
		return 0;
	return lb_straight(r->service, p->family);
}

/* ---- the backend, usable or not; false: the long path ---- */

/* The entry of an established flow, of which this packet changes nothing but the tick. NULL: there
 * is none. While the table changes its size, one that was moved is not found here. */
static __always_inline __u64 *straight_entry(const struct packet *p, const struct route *r,
					     __u64 *ret_entry)
{
	const __u32 mask = *(const volatile __u32 *)&settings.flow_masks.look;
	struct lb_flow_bucket *bucket = flow_bucket(lb_bucket(r->hash, flow_shift, mask));
	__u64 *place;

	if (!bucket || p->tcp_flags & LB_TCP_EDGES)
		return NULL;
	place = flow_find_in(bucket, r->hash, ret_entry);
	return place && flow_is(LB_FLOW_STATE(*ret_entry), LB_FLOW_LASTING) ? place : NULL;
}

/* Gives the entry the present tick. False: another CPU has changed it, or the other nodes may have
 * to be told that the flow goes on. */
static __always_inline bool straight_renew(__u64 *place, __u64 entry, __u32 now)
{
	const __u64 renewed = flow_renewed(entry, LB_FLOW_STATE(entry), now);

	if (has_peers && flow_age(entry, now) > FLOW_BRISK)
		return false;
	return __sync_val_compare_and_swap(place, entry, renewed) == entry;
}

/* A packet of a slot in transition: only a flow in the table that is on the current backend is
 * straight. */
static __always_inline bool straight_moves(const struct packet *p, const struct route *r,
					   __u32 front)
{
	__u64 entry;
	__u32 now;

	if (!straight_entry(p, r, &entry) || LB_FLOW_BACKEND(entry) != front ||
	    !backend_find(front))
		return false;
	/* not at the place found: to keep it would cost packets of stable slots a register */
	now = tick_now();
	return LB_FLOW_TICK(entry) == FLOW_TICK(now) ||
	       flow_renew(r->hash, entry, flow_renewed(entry, LB_FLOW_STATE(entry), now));
}

/* A slot in transition decides nothing; but a flow that is on its current backend stamps nothing
 * either. */
static __always_inline bool straight_slot(const struct packet *p, struct route *r, __u64 word)
{
	__u32 size = (__u32)word & LB_STRAIGHT_SIZE;
	__u64 offset = front_offset(LB_STRAIGHT_UPPER(word) + lb_ring_index(r->hash, size));
	__u32 front = front_at(offset);

	if (unlikely(front & LB_FRONT_TRANSITION)) {
		front &= LB_MAX_BACKENDS;
		if (slot_read((__u32)(offset / sizeof(__u16))) & LB_SLOT_TRANSITION) {
			if (!straight_moves(p, r, front))
				return false;
		} else {
			connect_pass(p, r->hash, front);
		}
	}
	r->backend_id = front;
	r->backend = backend_at(front);
	return true;
}

/* A service that tracks always: the slot does not matter. */
static __always_inline bool straight_flow(const struct packet *p, struct route *r, __u64 word)
{
	__u64 entry, *place = straight_entry(p, r, &entry);
	__u32 now;

	if (!place)
		return false;
	r->backend_id = LB_FLOW_BACKEND(entry);
	/* usable: else the long path would not renew the entry */
	r->backend = backend_find(r->backend_id);
	if (!r->backend || r->backend->service != LB_STRAIGHT_UPPER(word))
		return false;
	now = tick_now();
	return likely(LB_FLOW_TICK(entry) == FLOW_TICK(now)) || straight_renew(place, entry, now);
}

/* ---- sending; LB_CONTINUE: the long path ---- */

/* family: of the outer header, a constant here like tunnel. */
static __always_inline int straight_encap(const struct packet *p, const struct route *r,
					  enum lb_forward tunnel, __u8 family)
{
	const __u32 outer = outer_length(family, tunnel);

	if (unlikely(p->length + outer > r->backend->mtu) || !continues(hop_limit_decrease(p)))
		return LB_CONTINUE;
	return family == 4 ? encap_v4(p, r, ETH_HLEN, tunnel) : encap_v6(p, r, ETH_HLEN, tunnel);
}

static __always_inline int straight_tunnel(const struct packet *p, const struct route *r,
					   enum lb_forward tunnel)
{
	const __u32 kind = lb_backend_kind(r->backend);

	if (kind == LB_BACKEND_STRAIGHT(4))
		return straight_encap(p, r, tunnel, 4);
	return kind == LB_BACKEND_STRAIGHT(6) ? straight_encap(p, r, tunnel, 6) : LB_CONTINUE;
}

static __always_inline int straight_direct(const struct packet *p, const struct lb_backend *b)
{
	const __u32 kind = lb_backend_kind(b);

	if ((kind != LB_BACKEND_STRAIGHT(4) && kind != LB_BACKEND_STRAIGHT(6)) ||
	    p->length > b->mtu || !continues(hop_limit_decrease(p)))
		return LB_CONTINUE;
	return direct(p, b, ETH_HLEN);
}

/* A sum that is finished here stays so, also where the long path sends the packet. */
static __always_inline int straight_nat(const struct packet *p, __u32 backend)
{
	if (!settings.finished)
		sum_finish(p->ctx);
	return p->family == 4 ? nat_plain_in_v4(p->ctx, backend, PLAIN(p))
			      : nat_plain_in_v6(p->ctx, backend, PLAIN(p));
}

static __always_inline int straight_forward(const struct packet *p, const struct route *r,
					    __u32 forward)
{
	if (likely(forward == LB_FORWARD_IPIP))
		return straight_tunnel(p, r, LB_FORWARD_IPIP);
	if (forward == LB_FORWARD_GUE)
		return straight_tunnel(p, r, LB_FORWARD_GUE);
	if (forward == LB_FORWARD_GRE)
		return straight_tunnel(p, r, LB_FORWARD_GRE);
	if (forward == LB_FORWARD_NAT)
		return straight_nat(p, r->backend_id);
	return straight_direct(p, r->backend);
}

/* ---- a new flow of a service that tracks always ---- */

/* OPENING of a packet that may be the first one of a flow, and can be sent on; 0: of none. */
static __always_inline __u64 opening_of(struct packet *p)
{
	if (!parse_plain(p) || (p->protocol == IPPROTO_TCP && !is_syn(p)) || hop_limit(p) <= 1)
		return 0;
	return OPENING(p);
}

/* Read again: kept for straight_open, this would cost all packets registers. */
static __always_inline __u64 opening_read(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx, .l3_offset = ETH_HLEN};

	if (!parse_untagged(&p))
		return 0;
	/* Linux 6.1 does not know that 16 bits are no more after their bytes are swapped */
	asm volatile("%0 &= 0x1ffff" : "+r"(p.length));
	if (p.family == 4) {
		p.family = 4;
		return opening_of(&p);
	}
	p.family = 6;
	return opening_of(&p);
}

/* Sends the first packet of a flow, whose entry is made. family: a constant here. */
static __always_inline int straight_first(struct xdp_md *ctx, const struct route *r, __u32 plain,
					  __u8 family)
{
	const __u32 header = family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct packet p = {.ctx = ctx};
	int reason;

	if (!plain_again(&p, plain, family, header + sizeof(struct tcphdr)))
		return LB_CONTINUE;
	p.traffic_class = traffic_class(&p);
	reason = straight_forward(&p, r, r->service->forward);
	if (unlikely(reason == NAT_JUDGE))
		reason = nat_judged_in(ctx, r->backend_id);
	/* the long path, if lbd has changed the backend since */
	return continues(reason) ? LB_CONTINUE : end_sent(reason, &p, r);
}

/* The XDP action for the first packet of a flow; LB_CONTINUE: it takes the long path. A function of
 * its own, but what it needs are none: what returns cost is in docs/performance.md. */
LB_NOINLINE int straight_open(struct xdp_md *ctx, __u64 hash, __u64 word)
{
	struct route r = {.hash = hash, .new_flow = 1};
	__u64 opening = opening_read(ctx);

	FORGET(opening, hash);
	if (!opening || !flow_open(&r, LB_STRAIGHT_UPPER(word), opening))
		return LB_CONTINUE;
	r.backend = backend_at(r.backend_id);
	return OPENING_FAMILY(opening) == 4 ? straight_first(ctx, &r, opening, 4)
					    : straight_first(ctx, &r, opening, 6);
}

/* A packet without an entry of an established flow. */
static __always_inline int straight_miss(const struct packet *p, const struct route *r, __u64 word)
{
	if (p->tcp_flags & (LB_TCP_FIN | LB_TCP_RST | LB_TCP_ACK) ||
	    !((__u32)word & LB_STRAIGHT_NEW))
		return LB_CONTINUE;
	return straight_open(p->ctx, r->hash, word);
}

/* ---- the packet ---- */

/* Whether a packet of a service with a rate of new flows may open one. */
static __always_inline bool may_open(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && !(p->tcp_flags & LB_TCP_ACK);
}

static __always_inline int straight_send(const struct packet *p, struct route *r, __u64 word,
					 bool tracked, __u32 forward)
{
	int reason;

	r->hash = packet_hash(p, &settings.key);
	if (tracked && (p->tcp_flags & LB_TCP_EDGES || !straight_flow(p, r, word)))
		return straight_miss(p, r, word);
	if (!tracked && !straight_slot(p, r, word))
		return LB_CONTINUE;
	reason = straight_forward(p, r, forward);
	/* not in straight_nat: see translate */
	if (unlikely(reason < LB_CONTINUE))
		reason = reason == NAT_TRANSLATE ? translate(p->ctx, r->backend_id)
						 : nat_judged_in(p->ctx, r->backend_id);
	if (continues(reason))
		return LB_CONTINUE;
	r->new_flow = is_syn(p);
	return end_sent(reason, p, r);
}

/* A packet to a VIP. */
static __always_inline int straight_serve(const struct packet *p, struct route *r)
{
	__u64 word;

	if (is_martian(p) || (!is_sole_mac_at(p->l3 - ETH_HLEN) && !is_first_mac(p)))
		return LB_CONTINUE;
	word = straight_find(p, r);
	/* the most common kinds of service: code without branches on the kind */
	if (likely(LB_STRAIGHT_KIND(word) == LB_STRAIGHT_KIND(LB_STRAIGHT_OPEN)))
		return straight_send(p, r, word, false, LB_FORWARD_IPIP);
	if (LB_STRAIGHT_KIND(word) == LB_STRAIGHT_KIND(LB_STRAIGHT_OPEN | LB_STRAIGHT_TRACKED))
		return straight_send(p, r, word, true, LB_FORWARD_IPIP);
	if (!word || ((__u32)word & LB_STRAIGHT_LIMITED && may_open(p)))
		return LB_CONTINUE;
	return straight_send(p, r, word, (__u32)word & LB_STRAIGHT_TRACKED,
			     LB_STRAIGHT_FORWARD(word));
}

/* A packet to an IPv4 client from a host with an IPv6 address. */
static __always_inline int straight_translated(const struct packet *p)
{
	int reason = translate(p->ctx, 0);

	if (continues(reason))
		return LB_CONTINUE;
	/* without a counter, as in reply.h */
	return likely(reason == LB_REASON_returned_tx) ? XDP_TX : end(reason, p);
}

/* What may be a reply. It is no function of its own, as the return from that would cost
 * (docs/performance.md). But it begins anew: the headers are read again, and the compiler takes the
 * context for another one, so that packets to VIPs and replies cost each other no register. again:
 * the context with which the long path goes on, for LB_CONTINUE. */
static __always_inline int straight_reply(struct xdp_md *ctx, struct xdp_md **again, __u32 length,
					  __u8 family, __u64 table)
{
	const __u32 header = family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct packet p = {.ctx = ctx};
	int action = LB_CONTINUE;

	OPAQUE(p.ctx);
	OPAQUE(length);
	if (plain_again(&p, length, family, header + sizeof(struct tcphdr)))
		action = reply_plain(&p, table);
	if (continues(action)) {
		OPAQUE(p.ctx);
		*again = p.ctx;
	}
	return action;
}

static __always_inline int straight_not_vip(const struct packet *p, const struct route *r,
					    struct xdp_md **again)
{
	if (unlikely(is_icmp(p)))
		return LB_CONTINUE;
	if (likely(!r->tables->reals) || is_from_no_real(p))
		return end(LB_REASON_not_vip, p);
	if (unlikely(may_be_translated(p, r->tables->reals)))
		return straight_translated(p);
	return straight_reply(p->ctx, again, p->length, p->family, r->tables->reals);
}

/* p->family is a constant here. */
static __always_inline int straight_ip(struct packet *p, struct xdp_md **again)
{
	struct route r = {};

	if (!continues(vip_find(p, &r)))
		return straight_not_vip(p, &r, again);
	return likely(parse_plain(p)) ? straight_serve(p, &r) : LB_CONTINUE;
}

/* The XDP action; LB_CONTINUE: the packet takes the long path. */
static __always_inline int straight(struct xdp_md *ctx, struct xdp_md **again)
{
	struct packet p = {.ctx = ctx, .l3_offset = ETH_HLEN};

	if (!LB_STRAIGHT_ON || !parse_untagged(&p))
		return LB_CONTINUE;
	if (p.family == 4) {
		p.family = 4;
		return straight_ip(&p, again);
	}
	p.family = 6;
	return straight_ip(&p, again);
}

#endif
