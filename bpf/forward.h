/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends a packet to its backend: hop limit, room in front, link and outer header, egress. RFC 2003 (IP in IP), RFC 2473
 * (in IPv6), RFC 6040 (ECN, normal mode: the outer header has the inner's DSCP and ECN), draft-ietf-intarea-gue (GUE
 * variant 0), RFC 6935 and 6936 (its UDP checksum is zero over IPv6 too: the inner packet has its own).
 * Called by lb.h, last. */
#ifndef LB_FORWARD_H
#define LB_FORWARD_H

#include "csum.h"
#include "icmp.h"
#include "maps.h"
#include "packet.h"

#define OUTER_TTL      64
#define GUE_LEN        4
#define GUE_OVERHEAD   (sizeof(struct udphdr) + GUE_LEN)
#define GUE_FIRST_PORT 0xc000 /* 49152: the dynamic ports, of which the hash picks one */

struct gue_header {
	struct udphdr udp;
	__u8 version_hlen; /* variant 0, no control message, no extension words */
	__u8 protocol;     /* of the inner packet */
	__be16 flags;
};

_Static_assert(sizeof(struct gue_header) == GUE_OVERHEAD, "layout");

/* RFC 2003, section 3.1: forwarding counts one hop, inside. */
static __always_inline int hop_limit_decrease(const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = p->l3;

		if (ip->ttl <= 1)
			return LB_REASON_ttl_exceeded;
		ip->ttl--;
		ip->check = csum_ttl_decreased(ip->check);
	} else {
		struct ipv6hdr *ip = p->l3;

		if (ip->hop_limit <= 1)
			return LB_REASON_ttl_exceeded;
		ip->hop_limit--;
	}
	return LB_GO_ON;
}

/* Writes Ethernet, with the backend's tag if its link has one; NULL when the frame ends before `header` more bytes. */
static __always_inline void *link_write(void *data, void *end, const struct lb_backend *b, __be16 ethertype,
					__u32 header)
{
	struct ethhdr *eth = data;
	struct vlan_tag *tag = (void *)(eth + 1);

	if (likely(!b->vlan_tci)) {
		if ((void *)(eth + 1) + header > end)
			return NULL;
		eth->h_proto = ethertype;
	} else {
		if ((void *)(tag + 1) + header > end)
			return NULL;
		eth->h_proto = bpf_htons(ETH_P_8021Q);
		tag->tci = b->vlan_tci;
		tag->ethertype = ethertype;
	}
	/* both addresses at once: the backend's line begins with them */
	*(__u64 *)data = *(const __u64 *)b->dst_mac;
	*(__u32 *)(data + 8) = *(const __u32 *)(b->dst_mac + 8);
	return b->vlan_tci ? (void *)(tag + 1) : (void *)(eth + 1);
}

static __always_inline __be32 outer_source(const struct lb_backend *b, __be32 base, __u64 hash)
{
	return base ^ ((base ^ (__u32)hash) & b->spread);
}

static __always_inline void outer_write_v4(struct iphdr *ip, const struct packet *p, const struct route *r,
					   __u8 protocol, __u32 length)
{
	const struct lb_backend *b = r->backend;
	__be32 source = outer_source(b, b->outer_src[0], r->hash);
	__be16 tot_len = bpf_htons(length);

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = p->traffic_class;
	ip->tot_len = tot_len;
	ip->id = 0; /* with DF set it has no meaning (RFC 6864) */
	ip->frag_off = bpf_htons(IPV4_DF);
	ip->ttl = OUTER_TTL;
	ip->protocol = protocol;
	ip->check = csum_outer(b->csum, p->traffic_class, tot_len, OUTER_TTL, source & b->spread);
	ip->saddr = source;
	ip->daddr = b->outer_dst[0];
}

static __always_inline void outer_write_v6(struct ipv6hdr *ip, const struct packet *p, const struct route *r,
					   __u8 protocol, __u32 payload)
{
	const struct lb_backend *b = r->backend;
	const __u32 flow_label = (__u32)(r->hash >> 12) & 0xfffff;
	__be32 *word = (__be32 *)ip;

	word[0] = bpf_htonl(6u << 28 | (__u32)p->traffic_class << 20 | flow_label);
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = protocol;
	ip->hop_limit = OUTER_TTL;
	word[2] = b->outer_src[0];
	word[3] = b->outer_src[1];
	word[4] = b->outer_src[2];
	word[5] = outer_source(b, b->outer_src[3], r->hash);
	word[6] = b->outer_dst[0];
	word[7] = b->outer_dst[1];
	word[8] = b->outer_dst[2];
	word[9] = b->outer_dst[3];
}

static __always_inline void gue_write(struct gue_header *gue, const struct packet *p, const struct route *r,
				      __u8 protocol)
{
	gue->udp.source = bpf_htons(GUE_FIRST_PORT | (r->hash & 0x3fff));
	gue->udp.dest = r->settings->gue_port;
	gue->udp.len = bpf_htons(sizeof(*gue) + p->length);
	gue->udp.check = 0;
	gue->version_hlen = 0;
	gue->protocol = protocol;
	gue->flags = 0;
}

static __always_inline int egress_send(const struct packet *p, const struct lb_backend *b)
{
	if (b->ifindex == p->ctx->ingress_ifindex)
		return LB_REASON_forwarded_tx;
	if (bpf_redirect_map(&egress, b->ifindex, XDP_DROP) != XDP_REDIRECT)
		return LB_REASON_redirect_failed;
	return LB_REASON_forwarded_redirect;
}

/* Moves the frame's start so that Ethernet, a tag if the egress has one, and `outer` bytes fit before the IP packet. */
static __always_inline int make_room(const struct packet *p, const struct lb_backend *b, __u32 outer)
{
	int link = b->vlan_tci ? ETH_HLEN + LB_VLAN_LEN : ETH_HLEN;

	return bpf_xdp_adjust_head(p->ctx, (int)p->l3_offset - link - (int)outer);
}

static __always_inline int encap_v4(const struct packet *p, const struct route *r, __u8 protocol, __u32 gue)
{
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;
	struct iphdr *ip = link_write(data, end, r->backend, bpf_htons(ETH_P_IP), sizeof(*ip) + gue);

	if (!ip)
		return LB_REASON_no_headroom;
	outer_write_v4(ip, p, r, gue ? IPPROTO_UDP : protocol, p->length + sizeof(*ip) + gue);
	if (gue)
		gue_write((void *)(ip + 1), p, r, protocol);
	return LB_GO_ON;
}

static __always_inline int encap_v6(const struct packet *p, const struct route *r, __u8 protocol, __u32 gue)
{
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;
	struct ipv6hdr *ip = link_write(data, end, r->backend, bpf_htons(ETH_P_IPV6), sizeof(*ip) + gue);

	if (!ip)
		return LB_REASON_no_headroom;
	outer_write_v6(ip, p, r, gue ? IPPROTO_UDP : protocol, p->length + gue);
	if (gue)
		gue_write((void *)(ip + 1), p, r, protocol);
	return LB_GO_ON;
}

static __always_inline int forward_tunnel(const struct packet *p, const struct route *r, __u32 gue)
{
	const __u8 protocol = p->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	const bool v4 = r->backend->family == 4;
	const __u32 outer = gue + (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	int reason;

	if (unlikely(p->length + outer > r->backend->mtu))
		return icmp_too_big(p->ctx, r->backend->mtu > outer ? r->backend->mtu - outer : 0);
	reason = hop_limit_decrease(p);
	if (!goes_on(reason))
		return reason;
	if (make_room(p, r->backend, outer))
		return LB_REASON_no_headroom;
	reason = v4 ? encap_v4(p, r, protocol, gue) : encap_v6(p, r, protocol, gue);
	return !goes_on(reason) ? reason : egress_send(p, r->backend);
}

/* Direct routing: the packet stays as it is, to the last bit of its TTL. */
static __always_inline int forward_l2(const struct packet *p, const struct route *r)
{
	const __be16 ethertype = p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	const struct lb_backend *b = r->backend;
	void *data, *end;

	if (unlikely(p->length > b->mtu))
		return icmp_too_big(p->ctx, b->mtu);
	if (unlikely(p->l3_offset != ETH_HLEN || b->vlan_tci) && make_room(p, b, 0))
		return LB_REASON_no_headroom;
	data = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	if (!link_write(data, end, b, ethertype, 0))
		return LB_REASON_no_headroom;
	return egress_send(p, b);
}

static __always_inline int forward(const struct packet *p, const struct route *r)
{
	switch (r->service->forward) {
	case LB_FORWARD_IPIP:
		return forward_tunnel(p, r, 0);
	case LB_FORWARD_GUE:
		return forward_tunnel(p, r, GUE_OVERHEAD);
	default:
		return forward_l2(p, r);
	}
}

#endif
