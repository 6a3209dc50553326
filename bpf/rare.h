/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets that are not plain: parsed, and refused if they are source-routed or fragments of a
 * service that takes none. */
#ifndef LB_RARE_H
#define LB_RARE_H

#include "admit.h"
#include "frag.h"
#include "packet.h"
#include "parse.h"
#include "scratch.h"
#include "service.h"

/* Whether the service of a first fragment takes none. */
static __always_inline bool drops_fragments(struct packet *p, const struct transport *t)
{
	struct route r = {};

	p->protocol = t->protocol;
	p->ports = t->ports;
	p->fragment = t->fragment;
	if (!continues(vip_find(p, &r)) || !continues(service_find(&r, p->protocol, p->ports)) ||
	    !(r.service->flags & LB_SERVICE_NO_FRAGMENTS))
		return false;
	fragment_forbid(p, &r);
	return true;
}

/* A packet that parse_rare has parsed: whether it goes on. LB_CONTINUE, or the reason. */
LB_NOINLINE int rare_allowed(struct xdp_md *ctx)
{
	struct scratch *scratch = scratch_of();
	struct packet p = {.ctx = ctx};

	if (!scratch || !continues(parse_link(&p)))
		return LB_REASON_vip_malformed;
	if (p.family == 4 && has_source_route(ctx, p.l3_offset + sizeof(struct iphdr),
					      (*(__u8 *)p.l3 & 15) * 4 - sizeof(struct iphdr)))
		return LB_REASON_martian;
	if (scratch->transport.kind == PACKET_FIRST_FRAGMENT &&
	    drops_fragments(&p, &scratch->transport))
		return LB_REASON_fragment_refused;
	return LB_CONTINUE;
}

/* One call in the common path instead of two. */
LB_NOINLINE int parse_allowed(struct xdp_md *ctx)
{
	int reason = parse_rare(ctx);

	return continues(reason) ? rare_allowed(ctx) : reason;
}

static __always_inline int parse_not_plain(struct packet *p)
{
	int reason = parse_allowed(p->ctx);
	struct scratch *scratch = scratch_of();

	if (!scratch)
		return LB_REASON_vip_malformed;
	p->ports = scratch->transport.ports;
	p->fragment = scratch->transport.fragment;
	p->protocol = scratch->transport.protocol;
	p->tcp_flags = scratch->transport.tcp_flags;
	p->kind = scratch->transport.kind;
	return reason;
}

#endif
