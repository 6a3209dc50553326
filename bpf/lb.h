/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One packet's story, top to bottom; a header for each stage. A stage returns LB_GO_ON or the reason that ends the
 * story. Included by lb.bpf.c, which is the program, and by tools/bench.bpf.c, which measures it. */
#ifndef LB_H
#define LB_H

#include "packet.h"
#include "maps.h"
#include "parse.h"
#include "service.h"
#include "select.h"
#include "frag.h"
#include "icmp.h"
#include "forward.h"
#include "count.h"

/* ICMP and later fragments have no ports of their own: they follow a flow that is found otherwise. */
static __always_inline bool is_follower(const struct packet *p)
{
	return p->kind == PACKET_LATER_FRAGMENT || p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6;
}

/* Where a follower was found to go. */
struct follower_way {
	__u64 hash;
	__u32 backend;
	__u32 pad;
};

LB_APART int follow(struct xdp_md *ctx, struct follower_way *ret)
{
	struct packet p = {.ctx = ctx};
	struct route r = {};
	int reason;

	if (!ret || !goes_on(parse_link(&p)) || !goes_on(vip_find(&p, &r)) || !goes_on(parse_transport(&p)))
		return LB_REASON_vip_malformed;
	if (p.kind == PACKET_LATER_FRAGMENT)
		reason = fragment_follow(&p, &r);
	else if (p.protocol == (p.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		reason = icmp_to_vip(&p, &r);
	else
		reason = LB_REASON_vip_no_service;
	ret->hash = r.hash;
	ret->backend = r.backend_id;
	return reason;
}

static __always_inline int route_follower(const struct packet *p, struct route *r)
{
	struct follower_way way = {};
	int reason = follow(p->ctx, &way);

	if (!goes_on(reason))
		return reason;
	r->hash = way.hash;
	return route_to(r, way.backend);
}

static __always_inline int route_flow(const struct packet *p, struct route *r)
{
	int reason = service_find(r, p->protocol, p->ports);

	if (goes_on(reason))
		reason = select_backend(p, r);
	if (unlikely(p->kind == PACKET_FIRST_FRAGMENT))
		fragment_remember(p, r, reason);
	return reason;
}

/* A packet for a VIP, to its end. */
static __always_inline int serve(struct packet *p, struct route *r)
{
	int reason = parse_whole(p);

	if (!goes_on(reason))
		return reason;
	reason = unlikely(is_follower(p)) ? route_follower(p, r) : route_flow(p, r);
	/* not by the reason: the verifier does not see that a good one means a backend */
	return r->backend ? forward(p, r) : reason;
}

static __always_inline int lb_packet(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct route r = {};
	int reason;

	reason = parse_link(&p);
	if (goes_on(reason))
		reason = vip_find(&p, &r);
	if (goes_on(reason))
		reason = serve(&p, &r);
	count_packet(reason, &p, &r);
	return reason_action(reason);
}

#endif
