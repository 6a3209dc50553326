/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Path MTUs to the backends. A router on the way that finds a tunnel packet too long answers the
 * outer source with ICMP (RFC 2003, section 5.1; RFC 2473, section 8.1). The program notes what it
 * says in map `paths`; lbd then lowers the MTU of the backend, and the clients get answers of their
 * own when they send the next long packet. All of this is rare. */
#ifndef LB_PATH_H
#define LB_PATH_H

#include "admit.h"
#include "flow.h"
#include "icmp.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "service.h"

/* Bytes of the transport header that every router quotes (RFC 792). */
#define QUOTE_LEAST 8

static __always_inline bool is_icmp(const struct packet *p)
{
	return p->family == 4 ? ((struct iphdr *)p->l3)->protocol == IPPROTO_ICMP
			      : ((struct ipv6hdr *)p->l3)->nexthdr == IPPROTO_ICMPV6;
}

static __always_inline bool is_too_big(const struct packet *p)
{
	const struct icmp_header *icmp = p->l4;

	if (p->family == 6)
		return icmp->type == ICMP6_PACKET_TOO_BIG;
	return icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_CODE_FRAG_NEEDED;
}

/* ---- is the quoted packet one of ours? ---- */

/* ports: the first word after the outer header. */
static __always_inline bool is_tunnel(__u8 protocol, __u32 ports, const struct lb_settings *s)
{
	if (protocol == IPPROTO_UDP)
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		return (__be16)(ports >> 16) == s->gue_port;
#else
		return (__be16)ports == s->gue_port;
#endif
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

/* The error comes to the source of the packet that it quotes, which is within the prefix that lbd
 * sends from. Then key is where that packet went, and its length is returned; 0: not one of ours.
 * left: bytes of the IP packet from p->l4 on. */
static __always_inline __u32 tunnel_quoted_v4(const struct packet *p, __u32 left,
					      const struct lb_settings *s, struct lb_path_key *key)
{
	const struct iphdr *error = header_v4(p), *ip = p->l4 + ICMP_HEADER;

	if (!error || (void *)(ip + 1) + QUOTE_LEAST > p->end ||
	    left < ICMP_HEADER + sizeof(*ip) + QUOTE_LEAST || *(__u8 *)ip != 0x45)
		return 0;
	if (ip->saddr != error->daddr || !s->encap4 ||
	    (ip->saddr ^ s->encap4) & ~s->encap4_spread ||
	    !is_tunnel(ip->protocol, *(__u32 *)(ip + 1), s))
		return 0;
	key->addr[0] = ip->daddr;
	key->family = 4;
	return bpf_ntohs(ip->tot_len);
}

static __always_inline __u32 tunnel_quoted_v6(const struct packet *p, __u32 left,
					      const struct lb_settings *s, struct lb_path_key *key)
{
	const struct ipv6hdr *error = header_v6(p), *ip = p->l4 + ICMP_HEADER;
	const __be32 *source;

	if (!error || (void *)(ip + 1) + QUOTE_LEAST > p->end ||
	    left < ICMP_HEADER + sizeof(*ip) + QUOTE_LEAST || ip->version != 6)
		return 0;
	if (!same_v6(&ip->saddr, &error->daddr) || !is_tunnel(ip->nexthdr, *(__u32 *)(ip + 1), s))
		return 0;
	source = ip->saddr.in6_u.u6_addr32;
	if (!s->encap6[0] || source[0] != s->encap6[0] || source[1] != s->encap6[1] ||
	    source[2] != s->encap6[2] || (source[3] ^ s->encap6[3]) & ~s->encap6_spread)
		return 0;
	__builtin_memcpy(key->addr, ip->daddr.in6_u.u6_addr32, sizeof(key->addr));
	key->family = 6;
	return bpf_ntohs(ip->payload_len) + (__u32)sizeof(*ip);
}

/* ---- what it says ---- */

/* Routers older than RFC 1191 report 0: then the next lower MTU that links have (section 7.1). */
static __always_inline __u32 plateau_below(__u32 length)
{
	if (length > 1492)
		return 1492;
	return length > 1006 ? 1006 : LB_PATH_LEAST4;
}

/* length: of the quoted packet. 0: the report is of no use. */
static __always_inline __u32 reported_mtu(const struct packet *p, __u32 length)
{
	const struct icmp_header *icmp = p->l4;
	__u32 mtu = bpf_ntohl(icmp->rest);

	if (p->family == 4) {
		mtu &= 0xffff;
		if (!mtu)
			mtu = plateau_below(length);
		return mtu >= length ? 0 : mtu < LB_PATH_LEAST4 ? LB_PATH_LEAST4 : mtu;
	}
	return mtu >= length ? 0 : mtu < LB_PATH_LEAST6 ? LB_PATH_LEAST6 : mtu;
}

static __always_inline void path_note_router(const struct packet *p, struct lb_path *path)
{
	const struct iphdr *v4 = header_v4(p);
	const struct ipv6hdr *v6 = header_v6(p);

	if (p->family == 4 && v4)
		path->router[0] = v4->saddr;
	else if (v6)
		__builtin_memcpy(path->router, v6->saddr.in6_u.u6_addr32, sizeof(path->router));
}

/* A report never raises the MTU: that is left to time. Another CPU may have read the clock later,
 * and written a word with the next tick. A report that loses the race for the word is forgotten:
 * the next long packet draws another. */
static __always_inline void path_lower(const struct packet *p, struct lb_path *path, __u32 mtu)
{
	__u64 word = *(volatile __u64 *)&path->word;
	__u32 now = tick_now(), known = LB_PATH_MTU(word);

	if (!mtu || (known && mtu > known && (__s32)(now - LB_PATH_TICK(word)) <= LB_PATH_IDLE) ||
	    __sync_val_compare_and_swap(&path->word, word, LB_PATH(mtu, now)) != word)
		return;
	path_note_router(p, path);
	if (mtu != known)
		__sync_fetch_and_add(&settings.paths_lowered, 1);
}

/* Finds the ICMP header; neither options nor extension headers are expected before it. */
static __always_inline bool icmp_find(struct packet *p)
{
	const struct iphdr *v4 = header_v4(p);

	if (p->family == 4 &&
	    (!v4 || *(__u8 *)v4 != 0x45 || v4->frag_off & bpf_htons(IPV4_FRAGMENT)))
		return false;
	p->protocol = p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	p->l4 = p->l3 + (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	return p->l4 + ICMP_HEADER <= p->end;
}

/* An ICMP packet that is not to a VIP. Returns an enum lb_reason. */
LB_NOINLINE int path_report(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct lb_path_key key = {};
	struct lb_path *path;
	__u32 length, left;

	if (!continues(parse_link(&p)) || !icmp_find(&p) || !is_too_big(&p))
		return LB_REASON_not_vip;
	left = bytes_left(&p, p.l4);
	length = p.family == 4 ? tunnel_quoted_v4(&p, left, &settings, &key)
			       : tunnel_quoted_v6(&p, left, &settings, &key);
	path = bpf_map_lookup_elem(&paths, &key); /* none is at a key of zeros */
	if (!path || !is_own_mac(ctx))
		return LB_REASON_not_vip;
	if (icmp_is_intact(&p, p.length - left))
		path_lower(&p, path, reported_mtu(&p, length));
	return LB_REASON_path_mtu;
}

#endif
