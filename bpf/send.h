/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Link header and egress: what all ways of sending a packet on have in common. */
#ifndef LB_SEND_H
#define LB_SEND_H

#include "csum.h"
#include "maps.h"
#include "packet.h"

static __always_inline __u32 hop_limit(const struct packet *p)
{
	return p->family == 4 ? ((struct iphdr *)p->l3)->ttl : ((struct ipv6hdr *)p->l3)->hop_limit;
}

/* RFC 2003, section 3.1: forwarding counts as one hop, in the inner header. */
static __always_inline int hop_limit_decrease(const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = p->l3;
		__u32 *word = (__u32 *)&ip->ttl; /* TTL, protocol and checksum */

		if (ip->ttl <= 1)
			return LB_REASON_ttl_exceeded;
		*word = csum_ttl_word(*word);
	} else {
		struct ipv6hdr *ip = p->l3;

		if (ip->hop_limit <= 1)
			return LB_REASON_ttl_exceeded;
		ip->hop_limit--;
	}
	return LB_CONTINUE;
}

/* Length of the Ethernet header that is sent, with the VLAN tag of the backend's link. */
static __always_inline __u32 link_length(const struct lb_backend *b)
{
	return likely(!b->vlan_tci) ? ETH_HLEN : ETH_HLEN + LB_VLAN_LEN;
}

/* Copies both addresses at once, as the backend's line begins with them. */
static __always_inline void macs_write(void *data, const struct lb_backend *b)
{
	*(__u64 *)data = *(const __u64 *)(const void *)b;
	*(__u32 *)(data + 8) = *(const __u32 *)((const void *)b + 8);
}

/* link: link_length, a constant on the common path. */
static __always_inline void link_write(void *data, const struct lb_backend *b, __be16 ethertype,
				       __u32 link)
{
	__be16 *type = data + 2 * ETH_ALEN;

	macs_write(data, b);
	if (link != ETH_HLEN) {
		type[0] = bpf_htons(ETH_P_8021Q);
		type[1] = b->vlan_tci;
		type += 2;
	}
	*type = ethertype;
}

static __always_inline __be16 inner_ethertype(const struct packet *p)
{
	return p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

static __always_inline int egress_redirect(const struct lb_backend *b)
{
	if (bpf_redirect_map(&egress, b->ifindex, XDP_DROP) != XDP_REDIRECT)
		return LB_REASON_redirect_failed;
	return LB_REASON_forwarded_redirect;
}

static __always_inline int egress_send(const struct packet *p, const struct lb_backend *b)
{
	return b->ifindex == p->ctx->ingress_ifindex ? LB_REASON_forwarded_tx : egress_redirect(b);
}

/* Room for `outer` bytes and the link header before the IP packet; ret_data: the frame's new
 * start. */
static __always_inline bool make_room(const struct packet *p, __u32 link, __u32 outer,
				      void **ret_data)
{
	if (bpf_xdp_adjust_head(p->ctx, (int)p->l3_offset - (int)(link + outer)))
		return false;
	*ret_data = (void *)(long)p->ctx->data;
	return *ret_data + link + outer <= (void *)(long)p->ctx->data_end;
}

/* Puts the link header before the IP packet; false: there is no room. link: a constant here. The
 * verifier of Linux 6.1 does not connect a length in a register with a tag that was spilled to the
 * stack. */
static __always_inline bool link_replace(const struct packet *p, const struct lb_backend *b,
					 __u32 link)
{
	void *data = (void *)(long)p->ctx->data;

	if (unlikely(p->l3_offset != link) || data + link > p->end) {
		if (!make_room(p, link, 0, &data))
			return false;
	}
	link_write(data, b, inner_ethertype(p), link);
	return true;
}

/* link: a constant here. */
static __always_inline int direct(const struct packet *p, const struct lb_backend *b, __u32 link)
{
	return link_replace(p, b, link) ? egress_send(p, b) : LB_REASON_no_headroom;
}

#endif
