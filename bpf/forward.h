/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends a packet to its backend: hop limit, headroom, link header and outer header, egress. RFC
 * 2003 (IP in IP), RFC 2473 (in IPv6), RFC 6040 (ECN, normal mode: the outer header has the inner's
 * DSCP and ECN), RFC 2784 and 7676 (GRE, in IPv6), draft-ietf-intarea-gue (GUE variant 0), RFC 6935
 * and 6936 (its UDP checksum is zero over IPv6 too: the inner packet has its own). */
#ifndef LB_FORWARD_H
#define LB_FORWARD_H

#include "csum.h"
#include "icmp.h"
#include "maps.h"
#include "nat_in.h"
#include "packet.h"
#include "send.h"

/* TTL, protocol and checksum (in wire order) combined into the one word that is written. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OUTER_WORD(ttl, protocol, check) ((__u32)(check) << 16 | (__u32)(protocol) << 8 | (ttl))
#else
#define OUTER_WORD(ttl, protocol, check) ((__u32)(ttl) << 24 | (__u32)(protocol) << 16 | (check))
#endif
#define GUE_LEN 4
/* 49152: the first of the dynamic ports; the hash picks one of them */
#define GUE_FIRST_PORT 0xc000

struct gue_header {
	struct udphdr udp;
	__u8 version_hlen; /* variant 0, no control message, no extension words */
	__u8 protocol;     /* of the inner packet */
	__be16 flags;
};

_Static_assert(sizeof(struct gue_header) == sizeof(struct udphdr) + GUE_LEN, "layout");

struct gre_header {
	__be16 flags_version; /* 0: no checksum, no key, no sequence number */
	__be16 ethertype;     /* of the inner packet */
};

static __always_inline __be32 outer_source(const struct lb_backend *b, __be32 base, __u64 hash)
{
	return base | ((__u32)hash & b->spread);
}

/* Written word by word. The identification is 0: with DF set it has no meaning (RFC 6864). */
static __always_inline void outer_write_v4(void *to, const struct packet *p, const struct route *r,
					   __u8 protocol, __u32 length)
{
	const struct lb_backend *b = r->backend;
	__be32 source = outer_source(b, b->outer_src[0], r->hash), *word = to;
	__be32 first = bpf_htonl(0x45000000 | (__u32)p->traffic_class << 16 | length);

	word[0] = first;
	word[1] = bpf_htonl(IPV4_DF);
	word[2] = OUTER_WORD(OUTER_TTL, protocol, csum_outer(b->csum, first, source));
	word[3] = source;
	word[4] = b->outer_dst[0];
}

/* Two words at once. */
static __always_inline void copy_two(__be32 *to, const __be32 *from)
{
	*(__u64 *)to = *(const __u64 *)from;
}

static __always_inline void outer_write_v6(void *to, const struct packet *p, const struct route *r,
					   __u8 protocol, __u32 payload)
{
	const struct lb_backend *b = r->backend;
	const __u32 flow_label = (__u32)(r->hash >> 12) & 0xfffff;
	__be32 *word = to;

	word[0] = bpf_htonl(6u << 28 | (__u32)p->traffic_class << 20 | flow_label);
	word[1] = bpf_htonl(payload << 16 | (__u32)protocol << 8 | OUTER_TTL);
	copy_two(word + 2, b->outer_src);
	word[4] = b->outer_src[2];
	word[5] = outer_source(b, b->outer_src[3], r->hash);
	copy_two(word + 6, b->outer_dst);
	copy_two(word + 8, b->outer_dst + 2);
}

static __always_inline __u8 inner_protocol(const struct packet *p)
{
	return p->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

/* ---- tunnels: enum lb_forward, a constant in every call ---- */

/* Bytes between the outer and the inner IP header. */
static __always_inline __u32 tunnel_overhead(enum lb_forward tunnel)
{
	if (tunnel == LB_FORWARD_GUE)
		return sizeof(struct gue_header);
	return tunnel == LB_FORWARD_GRE ? sizeof(struct gre_header) : 0;
}

static __always_inline __u8 outer_protocol(const struct packet *p, enum lb_forward tunnel)
{
	if (tunnel == LB_FORWARD_GUE)
		return IPPROTO_UDP;
	return tunnel == LB_FORWARD_GRE ? IPPROTO_GRE : inner_protocol(p);
}

static __always_inline void gue_write(struct gue_header *gue, const struct packet *p,
				      const struct route *r)
{
	gue->udp.source = bpf_htons(GUE_FIRST_PORT | (r->hash & 0x3fff));
	gue->udp.dest = settings.gue_port;
	gue->udp.len = bpf_htons(sizeof(*gue) + p->length);
	gue->udp.check = 0;
	gue->version_hlen = 0;
	gue->protocol = inner_protocol(p);
	gue->flags = 0;
}

static __always_inline void gre_write(struct gre_header *gre, const struct packet *p)
{
	gre->flags_version = 0;
	gre->ethertype = inner_ethertype(p);
}

static __always_inline void between_write(void *to, const struct packet *p, const struct route *r,
					  enum lb_forward tunnel)
{
	if (tunnel == LB_FORWARD_GUE)
		gue_write(to, p, r);
	else if (tunnel == LB_FORWARD_GRE)
		gre_write(to, p);
}

/* link and tunnel are constants here: each combination gets its own code without branches on
 * them. */
static __always_inline int encap_v4(const struct packet *p, const struct route *r, __u32 link,
				    enum lb_forward tunnel)
{
	const __u32 outer = sizeof(struct iphdr) + tunnel_overhead(tunnel);
	void *data;

	if (!make_room(p, link, outer, &data))
		return LB_REASON_no_headroom;
	link_write(data, r->backend, bpf_htons(ETH_P_IP), link);
	outer_write_v4(data + link, p, r, outer_protocol(p, tunnel), p->length + outer);
	between_write(data + link + sizeof(struct iphdr), p, r, tunnel);
	return egress_send(p, r->backend);
}

static __always_inline int encap_v6(const struct packet *p, const struct route *r, __u32 link,
				    enum lb_forward tunnel)
{
	const __u32 outer = sizeof(struct ipv6hdr) + tunnel_overhead(tunnel);
	void *data;

	if (!make_room(p, link, outer, &data))
		return LB_REASON_no_headroom;
	link_write(data, r->backend, bpf_htons(ETH_P_IPV6), link);
	outer_write_v6(data + link, p, r, outer_protocol(p, tunnel),
		       p->length + tunnel_overhead(tunnel));
	between_write(data + link + sizeof(struct ipv6hdr), p, r, tunnel);
	return egress_send(p, r->backend);
}

static __always_inline int encap(const struct packet *p, const struct route *r, __u32 link,
				 enum lb_forward tunnel)
{
	return r->backend->family == 4 ? encap_v4(p, r, link, tunnel)
				       : encap_v6(p, r, link, tunnel);
}

/* family: of the outer header. */
static __always_inline __u32 outer_length(__u8 family, enum lb_forward tunnel)
{
	return tunnel_overhead(tunnel) +
	       (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* A packet that is too long for what a router has reported, but not for the link, is sent all the
 * same if its sender cannot be told: the report may be forged, and use up the answers as well. */
static __always_inline bool is_tried(const struct packet *p, const struct lb_backend *b,
				     __u32 length)
{
	return length <= b->link_mtu && !too_big_possible(p->ctx, p->kind, p->protocol);
}

static __always_inline int forward_tunnel(const struct packet *p, const struct route *r,
					  enum lb_forward tunnel)
{
	const struct lb_backend *b = r->backend;
	const __u32 outer = outer_length(b->family, tunnel);
	int reason;

	if (unlikely(p->length + outer > b->mtu) && !is_tried(p, b, p->length + outer))
		return icmp_too_big(p->ctx, b->mtu > outer ? b->mtu - outer : 0);
	reason = hop_limit_decrease(p);
	if (!continues(reason))
		return icmp_time_exceeded(p->ctx);
	if (likely(link_length(b) == ETH_HLEN))
		return encap(p, r, ETH_HLEN, tunnel);
	return encap(p, r, ETH_HLEN + LB_VLAN_LEN, tunnel);
}

/* Direct routing: of the IP packet nothing changes but its hop limit. Without that, balancers that
 * are each other's backends would send a packet round for ever. */
static __always_inline int forward_l2(const struct packet *p, const struct route *r)
{
	const struct lb_backend *b = r->backend;

	if (unlikely(p->length > b->mtu))
		return icmp_too_big(p->ctx, b->mtu);
	if (!continues(hop_limit_decrease(p)))
		return icmp_time_exceeded(p->ctx);
	if (likely(link_length(b) == ETH_HLEN))
		return direct(p, b, ETH_HLEN);
	return direct(p, b, ETH_HLEN + LB_VLAN_LEN);
}

static __always_inline int forward(const struct packet *p, const struct route *r)
{
	switch (r->service->forward) {
	case LB_FORWARD_IPIP:
		return forward_tunnel(p, r, LB_FORWARD_IPIP);
	case LB_FORWARD_GUE:
		return forward_tunnel(p, r, LB_FORWARD_GUE);
	case LB_FORWARD_GRE:
		return forward_tunnel(p, r, LB_FORWARD_GRE);
	case LB_FORWARD_NAT:
		return forward_nat(p, r);
	default:
		return forward_l2(p, r);
	}
}

#endif
