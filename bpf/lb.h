/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The path of a packet, top to bottom; each stage has a header of its own. A stage returns
 * LB_CONTINUE, or the reason with which the packet ends. The straight path (straight.h) comes
 * first; this is the long one. */
#ifndef LB_H
#define LB_H

#include "packet.h"
#include "maps.h"
#include "parse.h"
#include "admit.h"
#include "service.h"
#include "filter.h"
#include "select.h"
#include "frag.h"
#include "icmp.h"
#include "path.h"
#include "rare.h"
#include "refuse.h"
#include "forward.h"
#include "reply_rare.h"
#include "translate.h"
#include "count.h"
#include "straight.h"

/* ICMP and later fragments have no ports of their own: they follow a flow that is found by other
 * means. */
static __always_inline bool is_follower(const struct packet *p)
{
	return p->kind == PACKET_LATER_FRAGMENT || p->protocol == IPPROTO_ICMP ||
	       p->protocol == IPPROTO_ICMPV6;
}

/* Parses a follower from the start, in a function of its own. */
static __always_inline int follower_parse(struct packet *p, struct route *r)
{
	if (!continues(parse_link(p)) || !continues(vip_find(p, r)))
		return LB_REASON_vip_malformed;
	return parse_transport(p);
}

static __always_inline int follower_end(int reason, const struct route *r)
{
	struct scratch *scratch = scratch_of();

	if (!scratch)
		return LB_REASON_vip_malformed;
	scratch->way.hash = r->hash;
	scratch->way.backend = r->backend_id;
	return reason;
}

LB_NOINLINE int follow_fragment(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct route r = {};

	if (!continues(follower_parse(&p, &r)))
		return LB_REASON_vip_malformed;
	return follower_end(fragment_follow(&p, &r), &r);
}

LB_NOINLINE int follow_icmp(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct route r = {};

	if (!continues(follower_parse(&p, &r)) || !p.l4)
		return LB_REASON_vip_malformed;
	if (p.protocol != (p.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return LB_REASON_vip_no_service;
	return follower_end(icmp_to_vip(&p, &r), &r);
}

static __always_inline int route_follower(const struct packet *p, struct route *r)
{
	int reason =
	    p->kind == PACKET_LATER_FRAGMENT ? follow_fragment(p->ctx) : follow_icmp(p->ctx);
	struct scratch *scratch = scratch_of();

	if (!continues(reason))
		return reason;
	if (!scratch)
		return LB_REASON_vip_malformed;
	r->hash = scratch->way.hash;
	reason = route_to(r, scratch->way.backend);
	if (!continues(reason) || !is_filtered(r))
		return reason;
	/* the lists may have changed since the first fragment was here */
	reason = p->kind == PACKET_LATER_FRAGMENT
		     ? filter_source(p, r)
		     : filter_client(p->family, scratch->way.client, r);
	if (!continues(reason))
		r->backend = NULL;
	return reason;
}

static __always_inline int route_flow(const struct packet *p, struct route *r)
{
	int reason = service_find(r, p->protocol, p->ports);

	return continues(reason) ? select_backend(p, r) : reason;
}

static __always_inline int route_rare(struct packet *p, struct route *r)
{
	int reason = parse_not_plain(p);

	if (!continues(reason))
		return reason;
	if (is_follower(p))
		return route_follower(p, r);
	reason = route_flow(p, r);
	if (p->kind == PACKET_FIRST_FRAGMENT)
		fragment_remember(p, r, reason);
	return reason;
}

/* Finds the backend of a packet to a VIP. Without r->backend the packet ends with the reason
 * returned. The caller tests the backend, not the reason: the verifier does not know that
 * LB_CONTINUE implies a backend. */
static __always_inline int route(struct packet *p, struct route *r)
{
	return likely(parse_plain(p)) ? route_flow(p, r) : route_rare(p, r);
}

/* A packet that is not to a VIP: about a tunnel packet, a reply, or none of ours. */
static __always_inline int not_vip(const struct packet *p)
{
	int reason = unlikely(is_icmp(p)) ? path_report(p->ctx) : LB_REASON_not_vip;

	if (reason != LB_REASON_not_vip || likely(!reals_word()))
		return reason;
	if (may_be_translated(p, reals_word()))
		reason = translate(p->ctx, 0);
	return reason == LB_REASON_not_vip || continues(reason) ? reply_rare(p) : reason;
}

/* A packet without a backend. Most are not to a VIP: they need no call. */
static __always_inline int end_refused(int reason, const struct packet *p, const struct route *r)
{
	if (likely(reason == LB_REASON_not_vip)) {
		reason = not_vip(p);
		/* without a counter, as in reply.h */
		return reason == LB_REASON_returned_tx ? XDP_TX : end(reason, p);
	}
	OPAQUE(reason);
	return end(refuse(p->ctx, reason, r->service ? r->service->id : 0), p);
}

/* From the IP header on. p->family is a constant here: each family gets its own code without
 * branches on it. */
static __always_inline int serve(struct packet *p)
{
	struct route r = {};
	int reason = vip_find(p, &r);

	if (continues(reason))
		reason = admit(p);
	if (continues(reason))
		reason = route(p, &r);
	if (!r.backend)
		return end_refused(reason, p, &r);
	return end_sent(forward(p, &r), p, &r);
}

static __always_inline int lb_packet(struct xdp_md *ctx)
{
	struct packet p = {};
	struct xdp_md *again = ctx;
	int reason = straight(ctx, &again);

	if (likely(!continues(reason)))
		return reason;
	OPAQUE(again); /* the long path begins anew: nothing is kept for it */
	p.ctx = again;
	reason = parse_link(&p);
	if (!continues(reason))
		return end(reason, &p);
	if (p.family == 4) {
		p.family = 4;
		return serve(&p);
	}
	p.family = 6;
	return serve(&p);
}

#endif
