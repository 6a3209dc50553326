/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way in of `forward: nat` for packets that are not plain: with tags, options, extension
 * headers, fragments, ICMP errors. */
#ifndef LB_NAT_IN_H
#define LB_NAT_IN_H

#include "nat.h"
#include "packet.h"
#include "parse.h"
#include "quote.h"
#include "send.h"
#include "translate.h"

/* An ICMP error to the VIP, about a reply: it quotes the VIP as source. */
static __always_inline int nat_error_in(const struct packet *p, __u32 backend)
{
	const struct lb_return *line = return_of(backend);
	struct quote q = {};
	__u32 change;

	if (p->l4 + ICMP_HEADER > p->end || !quote_find(p, bytes_left(p, p->l4), &q) || q.later)
		return LB_REASON_vip_malformed;
	change = quote_change(p, &q, false, line->vip, line->real, line->port);
	icmp_shift(p, change, address_change(p->family, line->vip, line->real));
	return LB_CONTINUE;
}

/* Translates what is behind the IP header. LB_CONTINUE, or the reason. */
static __always_inline int nat_behind_in(const struct packet *p, const struct lb_backend *b,
					 __u32 backend)
{
	__u16 *check;

	if (p->kind == PACKET_LATER_FRAGMENT)
		return LB_CONTINUE;
	if (!is_transport(p->protocol))
		return nat_error_in(p, backend);
	check = transport_check_again(p);
	if (!check)
		return LB_REASON_vip_malformed;
	destination_port_write(p, b);
	transport_shift(p, check, b->nat.delta4);
	return LB_CONTINUE;
}

/* Any packet that is to be sent to the backend, and fits. Returns the reason. */
LB_NOINLINE int nat_in(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_backend *b = backend_at(backend);
	struct packet p = {.ctx = ctx};
	int reason;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)))
		return LB_REASON_vip_malformed;
	if (unlikely(is_transport(p.protocol) ? is_hairpin(&p, b, turns_back(&p, b))
					      : is_itself(&p, b)))
		return LB_REASON_nat_hairpin;
	reason = client_judge_rare(&p);
	if (continues(reason))
		reason = nat_behind_in(&p, b, backend);
	if (!continues(reason))
		return reason;
	destination_write(&p, b);
	if (likely(link_length(b) == ETH_HLEN))
		return direct(&p, b, ETH_HLEN);
	return direct(&p, b, ETH_HLEN + LB_VLAN_LEN);
}

static __always_inline int forward_nat(const struct packet *p, const struct route *r)
{
	const struct lb_backend *b = r->backend;

	if (unlikely(is_translated(p, b)))
		return translate(p->ctx, r->backend_id);
	if (unlikely(p->length > b->mtu))
		return icmp_too_big(p->ctx, b->mtu);
	if (unlikely(hop_limit(p) <= 1))
		return icmp_time_exceeded(p->ctx);
	if (!settings.finished)
		sum_finish(p->ctx);
	return nat_in(p->ctx, r->backend_id);
}

#endif
