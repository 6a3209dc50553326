/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From an IPv6 backend to an IPv4 client (RFC 7915, section 5): the source becomes the VIP and its
 * port, the destination the client that is embedded in it. What is too long for the way to the
 * client, and may be cut, is the kernel's to send, as is all that has no next hop here. */
#ifndef LB_TRANSLATE_BACK_H
#define LB_TRANSLATE_BACK_H

#include "embed.h"
#include "icmp.h"
#include "nat.h"
#include "packet.h"
#include "parse.h"
#include "reply_rare.h"
#include "send.h"
#include "translate_in.h"

/* RFC 7915, section 5.1: up to here a packet may be cut on its way. IPv6 cannot be told of a path
 * that is narrower (1280 bytes, less the difference of the headers). */
#define CUT_MOST (IPV6_LEAST_MTU - (V6_HEADER - V4_HEADER))

#define V4_MOST  65535 /* bytes of a packet */

/* ---- the way to the client ---- */

/* The kernel's answer for a packet from the VIP to the client, in scratch->hop; 0: it has none. */
LB_NOINLINE int client_hop_ask(struct xdp_md *ctx, __be32 vip, __be32 client, __u32 protocol)
{
	struct bpf_fib_lookup fib = {
	    .family = FIB_INET,
	    .ifindex = ctx->ingress_ifindex,
	    .l4_protocol = protocol,
	    .ipv4_src = vip,
	    .ipv4_dst = client,
	};
	struct scratch *s = scratch_of();

	return s ? hop_of_kernel(ctx, &fib, s) : 0;
}

/* The next hop to the client, in scratch->hop; 0: the kernel has to send. */
LB_NOINLINE int client_hop(struct xdp_md *ctx, __be32 vip, __be32 client, __u32 protocol)
{
	const struct lb_hop *hop = hop_in_v4(settings.hops4, client);
	struct scratch *s = scratch_of();

	if (!hop || !hop->ifindex)
		return client_hop_ask(ctx, vip, client, protocol);
	if (s)
		hop_copy(&s->hop, hop);
	return s != NULL;
}

/* ---- the header ---- */

/* The headers that an IPv6 packet gets in place of its own. They are in scratch->headers4: on the
 * stack, the verifier of Linux 6.1 would walk all that follows for each form that they can have. */
struct headers4 {
	struct iphdr ip;
	struct icmp_header icmp; /* of an error, like the header that it quotes */
	struct iphdr quote;
} __attribute__((aligned(8)));

static __always_inline struct headers4 *headers4_in(struct scratch *s)
{
	_Static_assert(sizeof(struct headers4) == sizeof(s->headers4), "layout");
	return (void *)s->headers4;
}

/* What an IPv6 packet says of itself, beyond its fixed header. */
struct behind6 {
	__u32 offset; /* from the IP header, of what is behind the extension headers */
	__be16 place; /* flags and offset of a fragment, as IPv4 has them */
	__be16 id;
	__u8 kind; /* enum packet_kind */
	__u8 protocol;
};

/* The fragment header must be the last of them: what is behind it is what IPv4 can fragment. And it
 * must be one of a fragment: not that of a whole packet in an earlier header's fragment. */
static __always_inline bool fragment6_read(const struct packet *p, __u64 extensions,
					   struct behind6 *ret)
{
	const __u8 *header = p->l3 + ret->offset - FRAGMENT6_LEN;
	__u32 place;

	if (!(extensions & EXTENSIONS_CUT_LAST) || (const void *)header + FRAGMENT6_LEN > p->end)
		return false;
	place = bpf_ntohs(*(const __be16 *)(header + 2));
	if (place & 6 || !place) /* 6: reserved */
		return false;
	ret->place = bpf_htons(place >> 3 | (place & IPV6_MORE) << 13);
	ret->id = *(const __be16 *)(header + 6);
	return true;
}

/* False: IPv4 has no counterpart. */
static __always_inline bool behind6_find(const struct packet *p, struct behind6 *ret)
{
	const struct ipv6hdr *ip = p->l3;
	__u64 extensions;

	if (!is_extension(ip->nexthdr)) {
		*ret = (struct behind6){.offset = V6_HEADER, .protocol = ip->nexthdr};
		return true;
	}
	extensions =
	    parse_extensions(p->ctx, p->l3_offset + V6_HEADER, ip->nexthdr, p->length - V6_HEADER);
	if (extensions >= EXTENSIONS_ROUTED)
		return false;
	*ret = (struct behind6){
	    .offset = V6_HEADER + (EXTENSIONS_LENGTH(extensions) & 2047),
	    .kind = EXTENSIONS_KIND(extensions),
	    .protocol = EXTENSIONS_PROTOCOL(extensions),
	};
	return ret->kind == PACKET_WHOLE || fragment6_read(p, extensions, ret);
}

/* For a packet that may be cut: it must differ from those of others that are on their way. It does
 * as their content does: by the sum, and what is there of TCP's sequence number or the payload. */
static __always_inline __be16 identification_of(const struct packet *p)
{
	const void *more = p->l4 + (p->protocol == IPPROTO_TCP ? 4 : 8);
	__u16 *check = transport_check_again(p);
	__u32 word = 0;

	if (!check)
		return 0;
	/* not the padding of the frame, which is no part of the packet */
	if (more + sizeof(word) <= p->end && bytes_left(p, more) >= sizeof(word))
		word = *(const __u32 *)more;
	return (word ^ *check * 0x85ebca6bu) * 0x9e3779b1u >> 16;
}

/* p->l4: behind the extension headers. The identification of what is not cut has no meaning (RFC
 * 6864). */
static __always_inline void header4_make(struct iphdr *to, const struct packet *p,
					 const struct behind6 *behind, const struct lb_return *line)
{
	const struct ipv6hdr *from = p->l3;
	const __u32 length = V4_HEADER + p->length - behind->offset;

	*(__u8 *)to = 0x45;
	to->tos = bpf_ntohl(*(const __be32 *)from) >> 20;
	to->tot_len = bpf_htons(length);
	to->id = behind->id;
	to->frag_off = behind->place;
	if (behind->kind == PACKET_WHOLE && (length > CUT_MOST || behind->protocol == IPPROTO_ICMP))
		to->frag_off = bpf_htons(IPV4_DF);
	else if (behind->kind == PACKET_WHOLE)
		to->id = identification_of(p);
	to->ttl = from->hop_limit - 1;
	to->protocol = behind->protocol;
	to->saddr = line->vip[0];
	to->daddr = embed_read((const __u64 *)&from->daddr);
}

static __always_inline void header4_seal(struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;

	ip->check = 0;
	ip->check = (__u16)~csum_fold_words((__u64)word[0] + word[1] + word[2] + word[3] + word[4]);
}

/* ---- what is behind it ---- */

/* The field has the sum of the pseudo-header alone: so it must be for the kernel. */
static __always_inline void unfinished_write(__u16 *check, const struct iphdr *ip)
{
	__u64 sum = CSUM_WORD(0, ip->protocol) +
		    (__u64)bpf_htons(bpf_ntohs(ip->tot_len) - V4_HEADER) + ip->saddr + ip->daddr;

	*check = csum_fold_words(sum);
}

/* l4: of a TCP or UDP header. unfinished: its sum is left to an interface. */
static __always_inline bool back_transport(const struct packet *p, const struct lb_return *line,
					   const struct iphdr *ip, bool unfinished)
{
	const __u64 *client = (const void *)&((const struct ipv6hdr *)p->l3)->daddr;
	__u16 *check = transport_check_again(p);
	__u32 change;

	if (!check)
		return false;
	change = (__u16)~embed_change(client, ip->daddr);
	source_port_write(p, line);
	if (unfinished)
		unfinished_write(check, ip);
	else
		transport_shift(p, check, csum_fold(change + line->delta4));
	return true;
}

/* ---- sending it ---- */

/* How a packet leaves: by scratch->hop, or, if `kept`, as the kernel's, by the link that it came in
 * by: its link header stays, with its tags. */
struct exit4 {
	int reason;
	bool kept;
	__u8 link; /* length of the link header */
};

#define LINK_MOST 24 /* MAX_L3_OFFSET in words */

static __always_inline bool headers4_by(const struct packet *p, const void *headers, __u32 bytes,
					__u32 offset, const struct lb_hop *hop, __u32 link)
{
	void *data = headers_put(p, headers, bytes, offset, link);

	if (!data)
		return false;
	link_write(data, (const void *)hop, bpf_htons(ETH_P_IP), link);
	return true;
}

static __always_inline bool headers4_kept(const struct packet *p, const void *headers, __u32 bytes,
					  __u32 offset, __u32 link)
{
	const void *frame = (void *)(long)p->ctx->data;
	__u64 former[LINK_MOST / sizeof(__u64)];
	void *data;

	if (frame + LINK_MOST > p->end)
		return false;
	__builtin_memcpy(former, frame, LINK_MOST);
	data = headers_put(p, headers, bytes, offset, link);
	if (!data)
		return false;
	__builtin_memcpy(data, former, link);
	*(__be16 *)(data + link - sizeof(__be16)) = bpf_htons(ETH_P_IP);
	return true;
}

/* Sends the packet with the first `bytes` of scratch->headers4. The reason. */
static __always_inline int headers4_leave(const struct packet *p, const struct scratch *s,
					  const struct exit4 *way, __u32 bytes, __u32 offset)
{
	const void *headers = s->headers4;
	bool put;

	if (!way->kept)
		put = way->link == ETH_HLEN
			  ? headers4_by(p, headers, bytes, offset, &s->hop, ETH_HLEN)
			  : headers4_by(p, headers, bytes, offset, &s->hop, ETH_HLEN + LB_VLAN_LEN);
	else if (way->link == ETH_HLEN)
		put = headers4_kept(p, headers, bytes, offset, ETH_HLEN);
	else if (way->link == ETH_HLEN + LB_VLAN_LEN)
		put = headers4_kept(p, headers, bytes, offset, ETH_HLEN + LB_VLAN_LEN);
	else
		put = headers4_kept(p, headers, bytes, offset, MAX_L3_OFFSET);
	return put ? way->reason : LB_REASON_no_headroom;
}

/* How the packet with the header of scratch->headers4 leaves. False: it has to be answered, as it
 * may not be cut. */
static __always_inline bool exit4_find(const struct packet *p, struct scratch *s, struct exit4 *ret)
{
	const struct iphdr *ip = &headers4_in(s)->ip;

	*ret =
	    (struct exit4){.reason = LB_REASON_returned_kernel, .kept = true, .link = p->l3_offset};
	if (!client_hop(p->ctx, ip->saddr, ip->daddr, ip->protocol))
		return true;
	if (bpf_ntohs(ip->tot_len) > s->hop.mtu)
		return !(ip->frag_off & bpf_htons(IPV4_DF));
	ret->reason = reply_egress(p, s->hop.ifindex);
	if (continues(ret->reason)) {
		ret->reason = LB_REASON_returned_kernel;
		return true;
	}
	ret->kept = false;
	ret->link = s->hop.vlan_tci ? ETH_HLEN + LB_VLAN_LEN : ETH_HLEN;
	return true;
}

/* The backend is told what fits, in its own family. */
static __always_inline int back_too_big(struct xdp_md *ctx, const struct scratch *s)
{
	const __u32 mtu = s->hop.mtu + (V6_HEADER - V4_HEADER);

	return icmp_too_big(ctx, mtu > IPV6_LEAST_MTU ? mtu : IPV6_LEAST_MTU);
}

static __always_inline int back_write(struct packet *p, const struct behind6 *behind,
				      const struct lb_return *line, struct scratch *s,
				      const struct exit4 *way)
{
	struct iphdr *ip = &headers4_in(s)->ip;
	bool unfinished = false;

	if (!settings.finished && way->kept)
		unfinished = unfinished_find(p->ctx) != 0;
	else if (!settings.finished)
		sum_finish(p->ctx);
	if (behind->kind != PACKET_LATER_FRAGMENT && !back_transport(p, line, ip, unfinished))
		return LB_REASON_vip_malformed;
	ip->ttl += way->kept; /* the kernel takes one as well */
	header4_seal(ip);
	return headers4_leave(p, s, way, V4_HEADER, behind->offset);
}

/* A TCP or UDP packet of a backend, or a fragment of one. The reason. */
LB_NOINLINE int back_send(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_return *line = return_of(backend);
	struct scratch *s = scratch_of();
	struct packet p = {.ctx = ctx};
	struct behind6 behind;
	struct exit4 way;

	if (!s || !continues(parse_link(&p)) || p.family != 6)
		return LB_REASON_not_vip;
	if (hop_limit(&p) <= 1)
		return icmp_time_exceeded(ctx);
	/* IPv6 does not count its own header */
	if (!behind6_find(&p, &behind) || p.length - behind.offset > V4_MOST - V4_HEADER ||
	    !is_transport(behind.protocol)) /* a later fragment may say anything */
		return LB_REASON_untranslatable;
	p.l4 = p.l3 + behind.offset;
	p.protocol = behind.protocol;
	header4_make(&headers4_in(s)->ip, &p, &behind, line);
	if (!exit4_find(&p, s, &way))
		return back_too_big(ctx, s);
	return back_write(&p, &behind, line, s, &way);
}

#endif
