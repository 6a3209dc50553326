/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a packet to a VIP is this host's to handle: the frame is for one of its own MAC
 * addresses, and the source address is one that a host can have, without a route of its own. */
#ifndef LB_ADMIT_H
#define LB_ADMIT_H

#include "maps.h"
#include "packet.h"
#include "parse.h"

/* ---- the frame's destination ---- */

/* The addresses that the kernel accepts on an interface are its own, and those of VLAN, macvlan,
 * bond and bridge devices on it: lbd writes them. An interface that lbd has not written (it was
 * attached a moment ago) takes every unicast address. */
LB_NOINLINE int is_own_mac(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 ifindex = ctx->ingress_ifindex, known = 0, i, j;
	struct lb_link *link;
	__u64 mac;

	if (data + ETH_HLEN > end || *(__u8 *)data & 1)
		return 0;
	mac = *(__u64 *)data & LB_MAC_MASK;
	mac = mac ? mac : LB_MAC_NONE; /* a place without an address is zero */
	for (i = 0; i < LB_LINKS; i++) {
		__u32 index = (ifindex + i) & (LB_LINKS - 1);

		link = bpf_map_lookup_elem(&links, &index);
		if (!link || link->ifindex != ifindex)
			continue;
		known = 1;
		for (j = 0; j < LB_LINK_MACS; j++)
			if (link->mac[j] == mac)
				return 1;
	}
	return !known;
}

/* The only interface's first address. frame: readable to the end of the Ethernet header. */
static __always_inline bool is_sole_mac_at(const void *frame)
{
	return (*(const __u64 *)frame & LB_MAC_MASK) == settings.own_mac;
}

static __always_inline bool is_sole_mac(const struct packet *p)
{
	const void *data = (void *)(long)p->ctx->data;

	return data + ETH_HLEN <= p->end && is_sole_mac_at(data);
}

/* The first address of an interface in its own place: one more cache line, but no call. */
static __always_inline bool is_first_mac(const struct packet *p)
{
	__u32 ifindex = p->ctx->ingress_ifindex, index = ifindex & (LB_LINKS - 1);
	struct lb_link *link = bpf_map_lookup_elem(&links, &index);
	const void *data = (void *)(long)p->ctx->data;

	return link && data + ETH_HLEN <= p->end && link->ifindex == ifindex &&
	       link->mac[0] == (*(const __u64 *)data & LB_MAC_MASK);
}

/* ---- the source address ---- */

/* "This network", loopback, multicast and broadcast (RFC 1122, section 3.2.1.3; RFC 6890), and the
 * VIP itself ("LAND"). Not 240.0.0.0/4: hosts may use it. */
static __always_inline bool is_martian_v4(const struct iphdr *ip)
{
	__u32 first = *(const __u8 *)&ip->saddr;

	if (likely(first - 1 < 223 && first != 127))
		return ip->saddr == ip->daddr;
	return first < 240 || ip->saddr == ~0u;
}

/* Multicast, and the first 64 bits zero: unspecified, loopback, IPv4-mapped and IPv4-compatible
 * (RFC 4291, section 2.5); and the VIP itself. */
static __always_inline bool is_martian_v6(const struct ipv6hdr *ip)
{
	const __u64 *source = (const void *)&ip->saddr, *vip = (const void *)&ip->daddr;

	return !source[0] || ip->saddr.in6_u.u6_addr8[0] == 0xff ||
	       (source[0] == vip[0] && source[1] == vip[1]);
}

static __always_inline bool is_martian(const struct packet *p)
{
	return p->family == 4 ? is_martian_v4(p->l3) : is_martian_v6(p->l3);
}

/* ---- source routes ---- */

#define IPV4_OPTIONS_MOST 40
#define IPV4_NOP          1 /* the only options without a length: this and 0, the end */
#define IPV4_LSRR         131
#define IPV4_SSRR         137

/* 1 or 0, without a branch; both below 2^31. */
static __always_inline __u32 is_less(__u32 a, __u32 b)
{
	__u32 difference = a - b;

	difference >>= 31;
	OPAQUE(difference);
	return difference;
}

static __always_inline __u32 is_same(__u32 a, __u32 b)
{
	return is_less(a ^ b, 1);
}

/* Whether the options of an IPv4 header, at `offset` of the frame, hold a source route: no host
 * needs one, and it leads round filters (RFC 7126, sections 4.3 and 4.4). What follows the end of
 * the list is zero (RFC 791), so reading on is harmless; hosts drop options of impossible length.
 * Byte by byte and without branches: the verifier would follow every way through them. */
LB_NOINLINE int has_source_route(struct xdp_md *ctx, __u32 offset, __u32 options)
{
	__u32 last = options - 1, next = 0, found = 0, i;
	struct scratch *s = scratch_of();

	if (!s || last >= IPV4_OPTIONS_MOST)
		return 0;
	OPAQUE(last);
	last &= 63;
	if (bpf_xdp_load_bytes(ctx, offset, s->bytes, last + 1))
		return 0;
	for (i = 0; i < IPV4_OPTIONS_MOST && i < last; i++) {
		__u32 option = s->bytes[i], begins = is_less(next, i + 1);
		__u32 single = is_less(option, IPV4_NOP + 1);

		found |= begins & (is_same(option, IPV4_LSRR) | is_same(option, IPV4_SSRR));
		next += begins * (i + single + s->bytes[i + 1] * (1 - single) - next);
	}
	return found;
}

static __always_inline int admit(const struct packet *p)
{
	if (unlikely(!is_sole_mac(p)) && !is_first_mac(p) && !is_own_mac(p->ctx))
		return LB_REASON_vip_other_mac;
	if (unlikely(is_martian(p)))
		return LB_REASON_martian;
	return LB_CONTINUE;
}

#endif
