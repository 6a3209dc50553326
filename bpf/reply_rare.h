/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies that are not plain, or cannot be sent as they are: with tags, options, extension headers,
 * fragments, ICMP errors; too long for the way to the client, or without a next hop here. */
#ifndef LB_REPLY_RARE_H
#define LB_REPLY_RARE_H

#include "frag.h"
#include "packet.h"
#include "parse.h"
#include "quote.h"
#include "reply.h"

/* ---- from which backend ---- */

/* kind: 0, or LB_REAL_TRANSLATED; a constant in every call. */

/* A backend's number, or the reason with which a packet ends that is not changed. */
#define FROM_NONE(reason) ((__u32)(reason) << 16)
#define FROM_REASON(from) ((from) >> 16)

static __always_inline __u64 reply_fragment_hash(const struct packet *p)
{
	__u32 protocol = p->family == 4 ? p->protocol : 0;

	return packet_hash_prefix(p, &settings.key, p->fragment, protocol | LB_HASH_DOMAIN_REPLY,
				  32, 128);
}

static __always_inline bool has_reals(const struct packet *p)
{
	__u32 id;

	return real_with(p->family, source_of(p), &id) != NULL;
}

/* The rest of the datagram comes from this backend too; 0: it is no reply. */
static __always_inline void reply_remember(const struct packet *p, __u32 id)
{
	__u64 hash = reply_fragment_hash(p), *place = fragment_place(hash);

	if (place && (id || has_reals(p)))
		fragment_write(place, hash, (__u64)id << LB_FRAG_BACKEND_SHIFT);
}

static __always_inline __u32 judged(const struct packet *p, __u32 id)
{
	int reason = reply_judge(p);

	return continues(reason) ? id : FROM_NONE(reason);
}

/* What may be a reply, and cannot be made one: without its VIP it must not leave. */
static __always_inline __u32 from_hidden(const struct packet *p, int dropped)
{
	int reason = has_reals(p) ? reply_judge(p) : LB_REASON_not_vip;

	return FROM_NONE(continues(reason) ? dropped : reason);
}

static __always_inline __u32 from_fragment(const struct packet *p)
{
	__u64 hash = reply_fragment_hash(p), *place = fragment_place(hash), word;

	if (!place)
		return FROM_NONE(LB_REASON_not_vip);
	word = *(volatile __u64 *)place;
	if ((word ^ hash) >> 32 || !fragment_is_fresh(word)) /* of an unknown datagram */
		/* not of a long ping or of ESP: that is the backend's own */
		return may_have_ports(p->protocol) ? from_hidden(p, LB_REASON_fragment_unknown)
						   : FROM_NONE(LB_REASON_not_vip);
	return LB_FRAG_BACKEND(word) ? judged(p, LB_FRAG_BACKEND(word))
				     : FROM_NONE(LB_REASON_not_vip);
}

static __always_inline __u32 from_ports(const struct packet *p, __u8 kind)
{
	__u32 id;

	if (!real_find(reals_word(), p->family, source_of(p), (__be16)p->ports, p->protocol | kind,
		       &id))
		id = 0;
	if (p->kind == PACKET_FIRST_FRAGMENT)
		reply_remember(p, id);
	return id ? judged(p, id) : FROM_NONE(LB_REASON_not_vip);
}

/* An ICMP error about a packet of the way in: it quotes a real as destination. It comes from the
 * backend, or from a router before it. */
static __always_inline __u32 from_quote(const struct packet *p, __u8 kind)
{
	struct quote q = {};
	const void *real;
	__u32 id;

	if (p->kind != PACKET_WHOLE || p->l4 + ICMP_HEADER > p->end ||
	    !is_error(p, *(__u8 *)p->l4) || !quote_find(p, bytes_left(p, p->l4), &q))
		return FROM_NONE(LB_REASON_not_vip);
	real = p->family == 4 ? (const void *)&((struct iphdr *)q.l3)->daddr
			      : (const void *)&((struct ipv6hdr *)q.l3)->daddr;
	if (q.later)
		return FROM_NONE(may_have_ports(q.protocol) && real_with(p->family, real, &id)
				     ? LB_REASON_fragment_unknown
				     : LB_REASON_not_vip);
	/* of another protocol it could pass for one with LB_REAL_TRANSLATED */
	if (!is_transport(q.protocol) ||
	    !real_find(reals_word(), p->family, real, ((__be16 *)q.l4)[1], q.protocol | kind, &id))
		return FROM_NONE(LB_REASON_not_vip);
	return judged(p, id);
}

static __always_inline bool is_icmp_of_family(const struct packet *p)
{
	return p->protocol == (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline __u32 from_packet(struct xdp_md *ctx, __u8 kind)
{
	struct packet p = {.ctx = ctx};
	int reason;

	if (!continues(parse_link(&p)) || is_cut_short(&p))
		return FROM_NONE(LB_REASON_not_vip);
	reason = parse_transport(&p);
	if (reason == LB_REASON_martian)
		return from_hidden(&p, reason);
	if (!continues(reason))
		return FROM_NONE(LB_REASON_not_vip);
	if (p.family == 4 && has_source_route(ctx, p.l3_offset + sizeof(struct iphdr),
					      (*(__u8 *)p.l3 & 15) * 4 - sizeof(struct iphdr)))
		return from_hidden(&p, LB_REASON_martian);
	if (p.kind == PACKET_LATER_FRAGMENT)
		return from_fragment(&p);
	if (p.protocol == IPPROTO_TCP || p.protocol == IPPROTO_UDP)
		return from_ports(&p, kind);
	return is_icmp_of_family(&p) ? from_quote(&p, kind) : FROM_NONE(LB_REASON_not_vip);
}

LB_NOINLINE __u32 reply_from(struct xdp_md *ctx)
{
	return from_packet(ctx, 0);
}

/* ---- changing it ---- */

/* A router's error keeps its source. */
static __always_inline bool reply_error_write(struct packet *p, const struct lb_return *line)
{
	bool own = is_real(line, p->family, source_of(p));
	struct quote q = {};
	__u32 change;

	if (p->l4 + ICMP_HEADER > p->end || !quote_find(p, bytes_left(p, p->l4), &q) || q.later)
		return false;
	change = quote_change(p, &q, true, line->real, line->vip, line->vip_port);
	icmp_shift(p, change, own ? address_change(p->family, line->real, line->vip) : 0);
	if (own)
		source_write(p, line);
	else
		hop_limit_decrease(p);
	return true;
}

/* Gives the packet its VIP, and takes one from its hop limit. */
LB_NOINLINE int reply_write(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_return *line = return_of(backend);
	struct packet p = {.ctx = ctx};
	__u16 *check;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)))
		return 0;
	if (p.kind == PACKET_LATER_FRAGMENT) {
		source_write(&p, line);
		return 1;
	}
	if (p.protocol != IPPROTO_TCP && p.protocol != IPPROTO_UDP)
		return reply_error_write(&p, line);
	check = transport_check_again(&p);
	if (!check)
		return 0;
	source_write(&p, line);
	source_port_write(&p, line);
	transport_shift(&p, check, line->delta4);
	return 1;
}

/* ---- leaving ---- */

/* The kernel takes one from the hop limit as well, and finishes a sum that it has marked as
 * unfinished: there the field must have the sum of the new pseudo-header. */
LB_NOINLINE int reply_to_kernel(struct xdp_md *ctx, __u32 backend)
{
	__u32 unfinished = settings.finished ? 0 : unfinished_find(ctx);
	struct packet p = {.ctx = ctx};
	__u16 *check;

	if (!continues(parse_link(&p)) || !reply_write(ctx, backend))
		return LB_REASON_not_vip;
	check = unfinished ? unfinished_check(&p, unfinished) : NULL;
	if (check)
		*check = pseudo_fold(&p, UNFINISHED_HEADER(unfinished));
	if (p.family == 4) {
		struct iphdr *ip = p.l3;

		ip->ttl++;
		ip->check = csum_shift(ip->check, CSUM_WORD(1, 0));
	} else {
		((struct ipv6hdr *)p.l3)->hop_limit++;
	}
	return LB_REASON_returned_kernel;
}

static __always_inline bool may_be_cut(const struct packet *p)
{
	return p->family == 4 && !(((struct iphdr *)p->l3)->frag_off & bpf_htons(IPV4_DF));
}

/* The packet goes by scratch->hop, if that is possible from here: the reason. */
static __always_inline int reply_by_hop(const struct packet *p, const struct scratch *s,
					__u32 backend)
{
	int reason = reply_egress(p, s->hop.ifindex);

	if (continues(reason))
		return reply_to_kernel(p->ctx, backend);
	if (!settings.finished)
		sum_finish(p->ctx);
	if (!reply_write(p->ctx, backend))
		return LB_REASON_not_vip;
	if (!(s->hop.vlan_tci ? link_replace(p, (const void *)&s->hop, ETH_HLEN + LB_VLAN_LEN)
			      : link_replace(p, (const void *)&s->hop, ETH_HLEN)))
		return LB_REASON_no_headroom;
	return reason;
}

/* Sends the reply of a backend. Whose hop limit ends here is the kernel's as it is: it answers, and
 * does not forward. too_big: the backend is to be told scratch->hop.mtu. */
LB_NOINLINE int reply_leave(struct xdp_md *ctx, __u32 backend)
{
	struct scratch *s = scratch_of();
	struct packet p = {.ctx = ctx};

	if (!s || !continues(parse_link(&p)) || hop_limit(&p) <= 1)
		return LB_REASON_not_vip;
	if (!hop_find(ctx, p.l3_offset, p.family, backend))
		return reply_to_kernel(ctx, backend);
	if (p.length <= s->hop.mtu)
		return reply_by_hop(&p, s, backend);
	return may_be_cut(&p) ? reply_to_kernel(ctx, backend) : LB_REASON_too_big;
}

/* Counts a packet of this backend that ends with this reason, if it was sent as a reply: it has its
 * VIP by now. length, vlan (link_vlan): as it came. The reason. */
static __always_inline int reply_counted(struct xdp_md *ctx, __u32 backend, __u32 length,
					 __u32 vlan, int reason)
{
	OPAQUE(reason);
	if (reason == LB_REASON_returned_tx || reason == LB_REASON_returned_redirect ||
	    reason == LB_REASON_returned_kernel) {
		count_returned(backend, length);
		reply_see(ctx, backend, vlan);
	}
	return reason;
}

/* Any packet that is not to a VIP, while there are reals. The reason with which it ends. */
static __always_inline int reply_rare(const struct packet *p)
{
	__u32 from = reply_from(p->ctx), vlan = link_vlan(p->ctx);
	struct scratch *s = scratch_of();
	int reason;

	if (FROM_REASON(from))
		return FROM_REASON(from);
	reason = reply_leave(p->ctx, from);
	if (reason == LB_REASON_too_big && s)
		return icmp_too_big(p->ctx, s->hop.mtu);
	return reply_counted(p->ctx, from, p->length, vlan, reason);
}

#endif
