/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors about packets of `forward: nat`: they quote a packet as it was where the error arose,
 * and the one who gets the error must find there what it sent. The quote's address, port and
 * checksums are translated, and the sum of the ICMP packet with them. */
#ifndef LB_QUOTE_H
#define LB_QUOTE_H

#include "csum.h"
#include "icmp.h"
#include "maps.h"
#include "nat.h"
#include "packet.h"
#include "parse.h"

/* The quoted packet, in an ICMP packet of p->l4. */
struct quote {
	void *l3, *l4; /* l4: readable to the end of the ports */
	__u8 protocol;
	/* without ports: of a fragment that is not the first; l4 is NULL */
	bool later;
};

/* left: bytes of the IP packet from p->l4 on. False: there is no whole header. */
static __always_inline bool quote_find_v4(const struct packet *p, __u32 left, struct quote *ret)
{
	const struct iphdr *ip = p->l4 + ICMP_HEADER;
	__u32 header;

	if ((void *)(ip + 1) > p->end || left < ICMP_HEADER + sizeof(*ip))
		return false;
	header = (*(__u8 *)ip & 15) * 4;
	if (*(__u8 *)ip >> 4 != 4 || header < sizeof(*ip))
		return false;
	ret->l3 = (void *)ip;
	ret->l4 = (void *)ip + header;
	ret->protocol = ip->protocol;
	ret->later = ip->frag_off & bpf_htons(IPV4_OFFSET);
	return ret->later ||
	       (ret->l4 + sizeof(__u32) <= p->end && left >= ICMP_HEADER + header + sizeof(__u32));
}

static __always_inline bool quote_find_v6(const struct packet *p, __u32 left, struct quote *ret)
{
	const struct ipv6hdr *ip = p->l4 + ICMP_HEADER;
	const __u32 before = ICMP_HEADER + sizeof(*ip);
	__u64 extensions;
	__u32 length;

	if ((void *)(ip + 1) > p->end || left < before || ip->version != 6)
		return false;
	extensions = parse_extensions(p->ctx, (void *)(ip + 1) - (void *)(long)p->ctx->data,
				      ip->nexthdr, left - before);
	if (extensions >= EXTENSIONS_ROUTED)
		return false;
	length = EXTENSIONS_LENGTH(extensions) & 2047;
	ret->l3 = (void *)ip;
	ret->l4 = (void *)(ip + 1) + length;
	ret->protocol = EXTENSIONS_PROTOCOL(extensions);
	ret->later = EXTENSIONS_KIND(extensions) == PACKET_LATER_FRAGMENT;
	return ret->later ||
	       (ret->l4 + sizeof(__u32) <= p->end && left >= before + length + sizeof(__u32));
}

static __always_inline bool quote_find(const struct packet *p, __u32 left, struct quote *ret)
{
	return p->family == 4 ? quote_find_v4(p, left, ret) : quote_find_v6(p, left, ret);
}

/* ---- what changes ---- */

/* The sum of the change of an address, folded. */
static __always_inline __u32 address_change(__u32 family, const __be32 *from, const __be32 *to)
{
	__u64 sum = (__u64)(__u32)~from[0] + to[0];

	if (family == 6)
		sum += (__u64)(__u32)~from[1] + (__u32)~from[2] + (__u32)~from[3] + to[1] + to[2] +
		       to[3];
	return csum_fold_words(sum);
}

/* Replaces a 16-bit word that is part of sums; the change, for csum_shift. */
static __always_inline __u32 half_replace(__u16 *at, __u16 to)
{
	__u32 change = (__u16) ~*at + (__u32)to;

	*at = to;
	return change;
}

/* The sum in the quoted header, if it was quoted: of TCP it need not be (RFC 792: 8 bytes). change:
 * of what it covers. Returns how the sum over the quote changes. */
static __always_inline __u32 quote_sum_shift(const struct packet *p, const struct quote *q,
					     __u32 change)
{
	__u16 *check = q->l4 + (q->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
							   : offsetof(struct udphdr, check));
	__u16 shifted;

	if ((void *)(check + 1) > p->end || bytes_left(p, check) < sizeof(*check) ||
	    (q->protocol == IPPROTO_UDP && !*check))
		return 0;
	shifted = csum_shift(*check, change);
	return half_replace(check, shifted || q->protocol != IPPROTO_UDP ? shifted : 0xffff);
}

/* from, to: addresses of the quoted packet's one end, as destination or source; port: its new one,
 * 0: it stays. Returns how the sum of the ICMP packet changes but for its own addresses. */
static __always_inline __u32 quote_change(const struct packet *p, const struct quote *q,
					  bool destination, const __be32 *from, const __be32 *to,
					  __be16 port)
{
	__u32 address = address_change(p->family, from, to), change = 0, sum = address;

	if (p->family == 4) {
		struct iphdr *ip = q->l3;

		*(destination ? &ip->daddr : &ip->saddr) = to[0];
		sum += half_replace(&ip->check, csum_shift(ip->check, address));
	} else {
		struct ipv6hdr *ip = q->l3;

		copy_address_v6(destination ? &ip->daddr : &ip->saddr, to);
	}
	if (q->later)
		return csum_fold(sum);
	if (port)
		change = half_replace((__u16 *)q->l4 + destination, port);
	sum += change + quote_sum_shift(p, q, address + change);
	return csum_fold(sum);
}

/* change: of the quote; address: of what ICMPv6 covers beside it. */
static __always_inline void icmp_shift(const struct packet *p, __u32 change, __u32 address)
{
	struct icmp_header *icmp = p->l4;

	if (p->family == 6)
		change += address;
	icmp->check = csum_shift(icmp->check, change);
}

#endif
