/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors between the families (RFC 7915, sections 4.2, 4.3, 5.2 and 5.3), with the packet that
 * they quote. A router before a backend has no IPv4 address: its errors come from the VIP. */
#ifndef LB_TRANSLATE_ICMP_H
#define LB_TRANSLATE_ICMP_H

#include "embed.h"
#include "icmp.h"
#include "nat.h"
#include "packet.h"
#include "parse.h"
#include "path.h"
#include "quote.h"
#include "translate_back.h"
#include "translate_in.h"

#define V6_GROWS (V6_HEADER - V4_HEADER)

/* A type with its code, as one number; 0: an error that has no counterpart. */
#define ICMP_TYPE(type, code) ((__u32)(type) << 8 | (__u32)(code))

enum {
	ICMP_HOST = 1, /* codes of "unreachable" */
	ICMP_HOST_PROHIBITED = 10,
	ICMP_PRECEDENCE_VIOLATED = 14,
	ICMP_CODE_BAD_LENGTH = 2, /* of "parameter problem" */
	ICMP6_NO_ROUTE = 0,
	ICMP6_PROHIBITED = 1,
	ICMP6_ADDRESS = 3,
};

/* ---- types and codes ---- */

static __always_inline __u32 unreachable_to_v6(__u32 code)
{
	switch (code) {
	case ICMP_CODE_PROTOCOL:
		return ICMP_TYPE(ICMP6_PARAMETER_PROBLEM, ICMP6_CODE_NEXT_HEADER);
	case ICMP_CODE_PORT:
		return ICMP_TYPE(ICMP6_UNREACHABLE, ICMP6_CODE_PORT);
	case ICMP_CODE_FRAG_NEEDED:
		return ICMP_TYPE(ICMP6_PACKET_TOO_BIG, 0);
	case 9: /* communication is prohibited: net, host, by a filter, by precedence */
	case ICMP_HOST_PROHIBITED:
	case 13:
	case 15:
		return ICMP_TYPE(ICMP6_UNREACHABLE, ICMP6_PROHIBITED);
	default:
		return code < ICMP_PRECEDENCE_VIOLATED
			   ? ICMP_TYPE(ICMP6_UNREACHABLE, ICMP6_NO_ROUTE)
			   : 0;
	}
}

static __always_inline __u32 type_to_v6(__u32 type, __u32 code)
{
	if (type == ICMP_UNREACHABLE)
		return unreachable_to_v6(code);
	if (type == ICMP_TIME_EXCEEDED)
		return ICMP_TYPE(ICMP6_TIME_EXCEEDED, code & 0xff);
	/* not that a required option is missing: IPv6 has none of them */
	return type == ICMP_PARAMETER_PROBLEM && (code == 0 || code == ICMP_CODE_BAD_LENGTH)
		   ? ICMP_TYPE(ICMP6_PARAMETER_PROBLEM, 0)
		   : 0;
}

static __always_inline __u32 unreachable_to_v4(__u32 code)
{
	if (code == ICMP6_PROHIBITED)
		return ICMP_TYPE(ICMP_UNREACHABLE, ICMP_HOST_PROHIBITED);
	if (code == ICMP6_CODE_PORT)
		return ICMP_TYPE(ICMP_UNREACHABLE, ICMP_CODE_PORT);
	return code <= ICMP6_ADDRESS ? ICMP_TYPE(ICMP_UNREACHABLE, ICMP_HOST) : 0;
}

static __always_inline __u32 type_to_v4(__u32 type, __u32 code)
{
	switch (type) {
	case ICMP6_UNREACHABLE:
		return unreachable_to_v4(code);
	case ICMP6_PACKET_TOO_BIG:
		return ICMP_TYPE(ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED);
	case ICMP6_TIME_EXCEEDED:
		return ICMP_TYPE(ICMP_TIME_EXCEEDED, code & 0xff);
	case ICMP6_PARAMETER_PROBLEM:
		if (code == ICMP6_CODE_NEXT_HEADER)
			return ICMP_TYPE(ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL);
		return code == 0 ? ICMP_TYPE(ICMP_PARAMETER_PROBLEM, 0) : 0;
	default:
		return 0;
	}
}

/* ---- the pointer of a "parameter problem": the same field in the other header ---- */

#define POINTER_NONE 255

static __always_inline __u32 pointer_to_v6(__u32 at)
{
	if (at <= 1) /* version, TOS */
		return at;
	if (at <= 3)
		return 4; /* length */
	if (at == 8)
		return 7; /* TTL */
	if (at == 9)
		return 6; /* protocol */
	if (at < 12 || at >= V4_HEADER)
		return POINTER_NONE;
	return at < 16 ? 8 : 24; /* addresses */
}

static __always_inline __u32 pointer_to_v4(__u32 at)
{
	if (at <= 1)
		return at;
	if (at < 4 || at >= V6_HEADER)
		return POINTER_NONE;
	if (at <= 5)
		return 2;
	if (at == 6)
		return 9;
	if (at == 7)
		return 8;
	return at < 24 ? 12 : 16;
}

/* ---- MTU ---- */

static __always_inline __u32 mtu_to_v6(__u32 mtu, __u32 quoted_length, __u32 link_mtu)
{
	mtu = (mtu ? mtu : plateau_below(quoted_length)) + V6_GROWS;
	if (mtu > link_mtu)
		mtu = link_mtu;
	return mtu > IPV6_LEAST_MTU ? mtu : IPV6_LEAST_MTU;
}

/* extensions: bytes of extension headers in the quoted packet, which IPv4 does not have. */
static __always_inline __u32 mtu_to_v4(__u32 mtu, __u32 extensions, __u32 link_mtu)
{
	if (mtu > link_mtu)
		mtu = link_mtu;
	if (mtu < IPV6_LEAST_MTU)
		mtu = IPV6_LEAST_MTU;
	return mtu - V6_GROWS - (extensions & 255);
}

/* ---- the quote ---- */

/* Bytes of the quoted packet behind its IP header that are kept. */
static __always_inline __u32 quote_kept(const struct packet *p, const struct quote *q)
{
	__u32 left = bytes_left(p, q->l4);

	return left < QUOTE_MOST ? left : QUOTE_MOST;
}

/* Ends the frame behind them. at: where they begin, from the frame's start. */
static __always_inline bool quote_cut(struct xdp_md *ctx, __u32 at, __u32 kept)
{
	return !bpf_xdp_adjust_tail(ctx, (int)(at + kept) - (int)bpf_xdp_get_buff_len(ctx));
}

/* ---- to a backend, about its reply ---- */

struct error6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	struct ipv6hdr quote;
} __attribute__((aligned(8)));

/* What an error of this ICMP_TYPE says in IPv6: the same there (bits 32-47) and the second word of
 * its header (0-31); 0: no counterpart. rest: that word in IPv4; length: of the quoted packet.
 * Numbers alone, in a function of its own: the verifier of Linux 6.1 would walk all that follows
 * for each case. */
LB_NOINLINE __u64 error_to_v6(__u32 type4, __u32 rest, __u32 length, __u32 link_mtu)
{
	const __u32 type = type_to_v6(type4 >> 8, type4 & 0xff);
	__u32 word = 0;

	if (type == ICMP_TYPE(ICMP6_PACKET_TOO_BIG, 0))
		word = mtu_to_v6(rest & 0xffff, length, link_mtu);
	else if (type == ICMP_TYPE(ICMP6_PARAMETER_PROBLEM, ICMP6_CODE_NEXT_HEADER))
		word = offsetof(struct ipv6hdr, nexthdr);
	else if (type == ICMP_TYPE(ICMP6_PARAMETER_PROBLEM, 0))
		word = pointer_to_v6(rest >> 24);
	return word == POINTER_NONE ? 0 : (__u64)type << 32 | word;
}

/* The reply as the backend sent it. */
static __always_inline void quote6_make(struct ipv6hdr *to, const struct quote *q,
					const struct lb_backend *b)
{
	const struct iphdr *from = q->l3;
	const __u32 header = q->l4 - q->l3;

	*(__be32 *)to = bpf_htonl(6u << 28 | (__u32)from->tos << 20);
	to->payload_len = bpf_htons(bpf_ntohs(from->tot_len) - header);
	to->nexthdr = from->protocol;
	to->hop_limit = from->ttl;
	copy_address_v6(&to->saddr, b->outer_dst);
	embed_write((__u64 *)&to->daddr, from->daddr);
}

static __always_inline void quoted_reply_change(const struct packet *p, const struct quote *q,
						const struct lb_backend *b,
						const struct ipv6hdr *quote)
{
	const __be32 client = ((const struct iphdr *)q->l3)->daddr;

	if (b->nat.port)
		*(__be16 *)q->l4 = b->nat.port;
	quote_sum_shift(p, q, embed_change((const __u64 *)&quote->daddr, client) + b->nat.delta4);
}

static __always_inline bool error6_make(struct error6 *e, const struct packet *p,
					const struct quote *q, const struct lb_backend *b)
{
	const struct icmp_header *icmp = p->l4;
	const __u64 said = error_to_v6(ICMP_TYPE(icmp->type, icmp->code), bpf_ntohl(icmp->rest),
				       bpf_ntohs(((const struct iphdr *)q->l3)->tot_len), b->mtu);

	if (!said)
		return false;
	header6_write(&e->ip, p->l3, b, ICMP_HEADER + V6_HEADER + quote_kept(p, q));
	e->ip.nexthdr = IPPROTO_ICMPV6;
	e->icmp.type = said >> 40;
	e->icmp.code = said >> 32;
	e->icmp.rest = bpf_htonl((__u32)said);
	quote6_make(&e->quote, q, b);
	return true;
}

/* at: of the quoted transport header; kept: quote_kept. link: a constant here. */
static __always_inline int error6_put(const struct packet *p, const struct lb_backend *b,
				      const struct error6 *e, __u32 at, __u32 kept, __u32 link)
{
	void *data = quote_cut(p->ctx, at, kept)
			 ? headers_put(p, e, sizeof(*e), at - p->l3_offset, link)
			 : NULL;

	if (!data)
		return LB_REASON_no_headroom;
	link_write(data, b, bpf_htons(ETH_P_IPV6), link);
	return icmp_seal(p->ctx, 6, link, ICMP_HEADER + V6_HEADER + kept);
}

/* Where the quoted packet is, of an error whose sum is right: it is made anew. False: none is. */
static __always_inline bool error_read(struct packet *p, struct quote *q)
{
	__u64 header;

	if (p->kind != PACKET_WHOLE || !p->l4 || p->l4 + ICMP_HEADER > p->end ||
	    !quote_find(p, bytes_left(p, p->l4), q) || q->later)
		return false;
	header = p->l4 - p->l3;
	OPAQUE(header);
	return icmp_is_intact(p, header);
}

/* An ICMP error to a VIP, about a reply of this backend. The reason. */
LB_NOINLINE int error_in(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_backend *b = backend_at(backend);
	struct packet p = {.ctx = ctx};
	struct error6 e = {};
	struct quote q = {};
	__u32 at, kept;
	int reason;

	if (!continues(parse_link(&p)) || p.family != 4 || !continues(parse_ipv4(&p)) ||
	    !error_read(&p, &q))
		return LB_REASON_vip_malformed;
	if (hop_limit(&p) <= 1)
		return LB_REASON_ttl_exceeded;
	if (!error6_make(&e, &p, &q, b))
		return LB_REASON_untranslatable;
	quoted_reply_change(&p, &q, b, &e.quote);
	at = q.l4 - (void *)(long)ctx->data;
	kept = quote_kept(&p, &q);
	reason = b->vlan_tci ? error6_put(&p, b, &e, at, kept, ETH_HLEN + LB_VLAN_LEN)
			     : error6_put(&p, b, &e, at, kept, ETH_HLEN);
	return continues(reason) ? egress_send(&p, b) : reason;
}

/* ---- to a client, about its packet ---- */

/* The same in IPv4. rest: the second word in IPv6; extensions: bytes of extension headers in the
 * quoted packet. */
LB_NOINLINE __u64 error_to_v4(__u32 type6, __u32 rest, __u32 extensions, __u32 link_mtu)
{
	const __u32 type = type_to_v4(type6 >> 8, type6 & 0xff);
	__u32 pointer = 0;

	if (type == ICMP_TYPE(ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED))
		return (__u64)type << 32 | mtu_to_v4(rest, extensions, link_mtu);
	if (type == ICMP_TYPE(ICMP_PARAMETER_PROBLEM, 0))
		pointer = rest < V6_HEADER ? pointer_to_v4(rest) : POINTER_NONE;
	return pointer == POINTER_NONE ? 0 : (__u64)type << 32 | pointer << 24;
}

/* The packet as the client sent it, as far as that is known: the identification is not. */
static __always_inline void quote4_make(struct iphdr *to, const struct quote *q,
					const struct lb_return *line)
{
	const struct ipv6hdr *from = q->l3;
	const __u32 extensions = (__u32)(q->l4 - q->l3) - V6_HEADER;

	*(__u8 *)to = 0x45;
	to->tos = bpf_ntohl(*(const __be32 *)from) >> 20;
	to->tot_len = bpf_htons(V4_HEADER + bpf_ntohs(from->payload_len) - extensions);
	to->frag_off = bpf_htons(IPV4_DF);
	to->ttl = from->hop_limit;
	to->protocol = q->protocol;
	to->saddr = embed_read((const __u64 *)&from->saddr);
	to->daddr = line->vip[0];
	header4_seal(to);
}

static __always_inline void quoted_request_change(const struct packet *p, const struct quote *q,
						  const struct lb_return *line,
						  const struct iphdr *quote)
{
	const __u64 *client = (const void *)&((const struct ipv6hdr *)q->l3)->saddr;

	if (line->vip_port)
		((__be16 *)q->l4)[1] = line->vip_port;
	quote_sum_shift(p, q, (__u16)~embed_change(client, quote->saddr) + line->delta4);
}

static __always_inline bool error4_make(struct headers4 *e, const struct packet *p,
					const struct quote *q, const struct lb_return *line,
					__u32 link_mtu)
{
	const struct icmp_header *icmp = p->l4;
	const __u64 said = error_to_v4(ICMP_TYPE(icmp->type, icmp->code), bpf_ntohl(icmp->rest),
				       (__u32)(q->l4 - q->l3) - V6_HEADER, link_mtu);
	struct behind6 behind = {.protocol = IPPROTO_ICMP};

	if (!said)
		return false;
	*e = (struct headers4){};
	behind.offset = p->length - (ICMP_HEADER + V4_HEADER + quote_kept(p, q));
	header4_make(&e->ip, p, &behind, line);
	e->icmp.type = said >> 40;
	e->icmp.code = said >> 32;
	e->icmp.rest = bpf_htonl((__u32)said);
	quote4_make(&e->quote, q, line);
	return true;
}

/* Sends scratch->headers4 with `kept` bytes of the quoted packet, which begin at `at` of the frame.
 * The reason. */
LB_NOINLINE int error4_leave(struct xdp_md *ctx, __u32 at, __u32 kept)
{
	struct scratch *s = scratch_of();
	struct packet p = {.ctx = ctx};
	struct exit4 way;
	struct iphdr *ip;
	int reason;

	if (!s || !continues(parse_link(&p)))
		return LB_REASON_not_vip;
	if (!exit4_find(&p, s, &way))
		return LB_REASON_too_big;
	ip = &headers4_in(s)->ip;
	ip->ttl += way.kept;
	header4_seal(ip);
	if (!quote_cut(ctx, at, kept))
		return LB_REASON_no_headroom;
	p.end = (void *)(long)ctx->data_end;
	reason = headers4_leave(&p, s, &way, sizeof(struct headers4), at - p.l3_offset);
	if (reason == LB_REASON_no_headroom ||
	    !continues(icmp_seal(ctx, 4, way.link, ICMP_HEADER + V4_HEADER + kept)))
		return LB_REASON_no_headroom;
	return reason;
}

/* Whether the error goes to the one who sent what it quotes. */
static __always_inline bool is_to_sender(const struct packet *p, const struct quote *q)
{
	return same_address_v6(&((const struct ipv6hdr *)p->l3)->daddr,
			       &((const struct ipv6hdr *)q->l3)->saddr);
}

/* An ICMP error to an embedded client, about its packet to this backend: from the backend, or from
 * a router before it. The reason. */
LB_NOINLINE int error_back(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_return *line = return_of(backend);
	struct scratch *s = scratch_of();
	struct packet p = {.ctx = ctx};
	struct quote q = {};

	if (!s || !continues(parse_link(&p)) || p.family != 6 || !continues(parse_ipv6(&p)) ||
	    !error_read(&p, &q) || !is_to_sender(&p, &q))
		return LB_REASON_untranslatable;
	if (hop_limit(&p) <= 1)
		return LB_REASON_ttl_exceeded;
	if (!error4_make(headers4_in(s), &p, &q, line, backend_at(backend)->mtu))
		return LB_REASON_untranslatable;
	quoted_request_change(&p, &q, line, &headers4_in(s)->quote);
	return error4_leave(ctx, q.l4 - (void *)(long)ctx->data, quote_kept(&p, &q));
}

#endif
