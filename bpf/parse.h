/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From bytes to struct packet: Ethernet and VLAN tags, IPv4 with options, IPv6 with extension
 * headers, TCP, UDP. parse_link runs before the VIP is known: what it cannot parse is passed.
 * parse_transport runs after: what it cannot parse is dropped. */
#ifndef LB_PARSE_H
#define LB_PARSE_H

#include "packet.h"
#include "scratch.h"

#define IPV4_FRAGMENT  0x3fff /* MF and the offset */
#define IPV4_OFFSET    0x1fff
#define IPV4_DF        0x4000
#define IPV6_OFFSET    0xfff8
#define IPV6_MORE      0x0001
#define MAX_EXTENSIONS 8
#define MAX_EXT_LENGTH 1024

struct vlan_tag {
	__be16 tci;
	__be16 ethertype; /* of what follows */
};

/* Bytes of the IP packet from `at` on, 0 if it ends before. Not of the frame: Ethernet pads short
 * ones. */
static __always_inline __u32 bytes_left(const struct packet *p, const void *at)
{
	__u64 offset = at - p->l3;

	OPAQUE(offset); /* else the compiler subtracts the pointers in 32 bits */
	return offset < p->length ? p->length - (__u32)offset : 0;
}

static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Skips tags: moves *offset behind them and returns the ethertype found there, 0 if the frame is
 * truncated. */
static __always_inline __be16 parse_tags(void *data, void *end, __be16 ethertype, __u32 *offset)
{
	struct vlan_tag *tag;
	int i;

#pragma unroll
	for (i = 0; i < LB_MAX_TAGS && is_vlan(ethertype); i++) {
		tag = data + *offset;
		if ((void *)(tag + 1) > end)
			return 0;
		ethertype = tag->ethertype;
		*offset += LB_VLAN_LEN;
	}
	return ethertype;
}

static __always_inline int parse_ip_fixed(struct packet *p, __be16 ethertype)
{
	if (ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = p->l3;

		if ((void *)(ip + 1) > p->end)
			return LB_REASON_malformed;
		p->family = 4;
		p->length = bpf_ntohs(ip->tot_len);
		return LB_CONTINUE;
	}
	if (ethertype == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = p->l3;

		if ((void *)(ip + 1) > p->end)
			return LB_REASON_malformed;
		p->family = 6;
		p->length = bpf_ntohs(ip->payload_len) + (__u32)sizeof(*ip);
		return LB_CONTINUE;
	}
	return LB_REASON_not_ip;
}

static __always_inline int parse_link(struct packet *p)
{
	void *data = (void *)(long)p->ctx->data;
	__be16 ethertype;

	p->end = (void *)(long)p->ctx->data_end;
	p->length = p->end - data;
	if (data + ETH_HLEN > p->end)
		return LB_REASON_malformed;
	p->l3_offset = ETH_HLEN;
	/* not through struct ethhdr: that is packed, and would be read byte by byte */
	ethertype = *(__be16 *)(data + 2 * ETH_ALEN);
	if (unlikely(is_vlan(ethertype))) {
		ethertype = parse_tags(data, p->end, ethertype, &p->l3_offset);
		if (!ethertype)
			return LB_REASON_malformed;
	}
	OPAQUE(p->l3_offset);
	p->l3 = data + (p->l3_offset & 31);
	return parse_ip_fixed(p, ethertype);
}

/* So many bytes after the Ethernet header are readable: all of the headers of IPv4 and TCP, tested
 * once. Ethernet has no shorter frames. */
#define UNTAGGED_LEAST (sizeof(struct iphdr) + sizeof(struct tcphdr))

/* parse_link for a frame without tags that is at least so long; false: it may be another. l3_offset
 * must be set. */
static __always_inline bool parse_untagged(struct packet *p)
{
	void *data = (void *)(long)p->ctx->data;

	p->end = (void *)(long)p->ctx->data_end;
	if (data + ETH_HLEN + UNTAGGED_LEAST > p->end)
		return false;
	p->l3 = data + ETH_HLEN;
	if (!continues(parse_ip_fixed(p, *(__be16 *)(data + 2 * ETH_ALEN))))
		return false;
	return p->family == 4 || p->l3 + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) <= p->end;
}

/* ---- IPv6 extension headers: the result is packed into one number ---- */

/* Extensions: protocol (bits 0-7), kind (8-9), length of all extension headers (16-31),
 * identification of the fragment (32-63, wire order); the flag below. All ones: truncated, or too
 * many; one less: source-routed. */
#define EXTENSIONS_BAD         (~0ULL)
#define EXTENSIONS_ROUTED      (~1ULL)
#define EXTENSIONS_PROTOCOL(x) ((__u8)(x))
#define EXTENSIONS_KIND(x)     ((__u32)((x) >> 8) & 3)
#define EXTENSIONS_LENGTH(x)   ((__u32)((x) >> 16) & 0xffff)
#define EXTENSIONS_FRAGMENT(x) ((__u32)((x) >> 32))
#define EXTENSIONS_CUT_LAST    (1u << 10) /* the last of them is the fragment header */

static __always_inline bool is_extension(__u32 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT;
}

/* A routing header of type 0 (RFC 5095), or one that is not used up: the destination is a station
 * on the way, and the sum covers the address of the last one (RFC 8200, sections 4.4 and 8.1). */
static __always_inline bool leads_on(const __u8 *routing)
{
	return !routing[2] || routing[3];
}

/* Whether a later fragment begins 8 bytes into the TCP header: it would put other flags over those
 * that were judged (RFC 1858, section 3.2; RFC 3128). position, eight: as the header has them. */
static __always_inline bool overlaps_flags(__u8 protocol, __be16 position, __be16 eight)
{
	return protocol == IPPROTO_TCP && position == eight;
}

/* offset: of the first extension header from the frame's start; next: its type; length: bytes of
 * the IP packet from there on. */
LB_NOINLINE __u64 parse_extensions(struct xdp_md *ctx, __u32 offset, __u32 next, __u32 length)
{
	void *first = (void *)(long)ctx->data + (offset & 4095), *end = (void *)(long)ctx->data_end;
	__u32 at = 0, kind = PACKET_WHOLE, fragment = 0, last = 0;
	int i;

	for (i = 0; i < MAX_EXTENSIONS && is_extension(next); i++) {
		struct ipv6_opt_hdr *ext;
		__u32 bytes;

		if (at > MAX_EXT_LENGTH || at + 8 > length)
			return EXTENSIONS_BAD;
		ext = first + at;
		if ((void *)ext + 8 > end)
			return EXTENSIONS_BAD;
		bytes = (ext->hdrlen + 1u) * 8;
		if (next == IPPROTO_ROUTING && leads_on((const __u8 *)ext))
			return EXTENSIONS_ROUTED;
		if (next == IPPROTO_FRAGMENT) {
			__be16 position = *(__be16 *)((void *)ext + 2);

			bytes = 8;
			fragment = *(__u32 *)((void *)ext + 4);
			if (overlaps_flags(ext->nexthdr, position & bpf_htons(IPV6_OFFSET),
					   bpf_htons(8)))
				return EXTENSIONS_BAD;
			if (position & bpf_htons(IPV6_OFFSET))
				kind = PACKET_LATER_FRAGMENT;
			else if (position & bpf_htons(IPV6_MORE))
				kind = PACKET_FIRST_FRAGMENT;
		}
		last = next;
		next = ext->nexthdr;
		at += bytes;
		if (kind == PACKET_LATER_FRAGMENT)
			break;
	}
	if (at > MAX_EXT_LENGTH || at > length ||
	    (kind != PACKET_LATER_FRAGMENT && is_extension(next)))
		return EXTENSIONS_BAD;
	return (__u64)fragment << 32 | at << 16 | kind << 8 | next |
	       (last == IPPROTO_FRAGMENT ? EXTENSIONS_CUT_LAST : 0);
}

/* ---- transport ---- */

/* header: length of the IP header with its options or extensions; l4 is already l3 + header. */
static __always_inline int parse_ports(struct packet *p, __u32 header)
{
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = p->l4;

		if ((void *)(tcp + 1) > p->end || p->length < header + sizeof(*tcp))
			return LB_REASON_vip_malformed;
		p->ports = *(__u32 *)tcp;
		p->tcp_flags = ((__u8 *)tcp)[13];
	} else if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = p->l4;

		if ((void *)(udp + 1) > p->end || p->length < header + sizeof(*udp))
			return LB_REASON_vip_malformed;
		p->ports = *(__u32 *)udp;
	}
	return LB_CONTINUE;
}

static __always_inline int parse_ipv4(struct packet *p)
{
	struct iphdr *ip = p->l3;
	__u8 first = *(__u8 *)p->l3;
	__u32 header = sizeof(*ip);

	if (unlikely(first != 0x45)) {
		header = (first & 15) * 4;
		if (first >> 4 != 4 || header < sizeof(*ip))
			return LB_REASON_vip_malformed;
	}
	if (p->length < header)
		return LB_REASON_vip_malformed;
	p->protocol = ip->protocol;
	p->traffic_class = ip->tos;
	if (unlikely(ip->frag_off & bpf_htons(IPV4_FRAGMENT))) {
		p->fragment = ip->id;
		p->kind = ip->frag_off & bpf_htons(IPV4_OFFSET) ? PACKET_LATER_FRAGMENT
								: PACKET_FIRST_FRAGMENT;
		if (p->kind == PACKET_LATER_FRAGMENT)
			return overlaps_flags(ip->protocol, ip->frag_off & bpf_htons(IPV4_OFFSET),
					      bpf_htons(1))
				   ? LB_REASON_vip_malformed
				   : LB_CONTINUE;
	}
	p->l4 = p->l3 + header;
	return parse_ports(p, header);
}

static __always_inline int parse_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = p->l3;
	__u32 header = sizeof(*ip);
	__u32 word = bpf_ntohl(*(__be32 *)ip);
	__u64 extensions;

	if (word >> 28 != 6)
		return LB_REASON_vip_malformed;
	p->protocol = ip->nexthdr;
	p->traffic_class = word >> 20;
	if (unlikely(is_extension(p->protocol))) {
		extensions = parse_extensions(p->ctx, p->l3_offset + header, p->protocol,
					      p->length - header);
		if (extensions >= EXTENSIONS_ROUTED)
			return extensions == EXTENSIONS_BAD ? LB_REASON_vip_malformed
							    : LB_REASON_martian;
		p->protocol = EXTENSIONS_PROTOCOL(extensions);
		p->kind = EXTENSIONS_KIND(extensions);
		p->fragment = EXTENSIONS_FRAGMENT(extensions);
		if (p->kind == PACKET_LATER_FRAGMENT)
			return LB_CONTINUE;
		header += EXTENSIONS_LENGTH(extensions) & 2047;
	}
	p->l4 = p->l3 + header;
	return parse_ports(p, header);
}

static __always_inline int parse_transport(struct packet *p)
{
	return p->family == 4 ? parse_ipv4(p) : parse_ipv6(p);
}

/* Whether the frame is shorter than the IP header claims. Of a frame in several buffers only the
 * first is readable, so the total length is asked for. */
static __always_inline bool is_cut_short(const struct packet *p)
{
	return p->l3 + p->length > p->end &&
	       bpf_xdp_get_buff_len(p->ctx) < p->l3_offset + p->length;
}

/* The sequence number of a TCP packet, wire order. */
static __always_inline __u32 tcp_seq(const void *tcp, const void *end)
{
	const struct tcphdr *header = tcp;

	return (const void *)(header + 1) <= end ? header->seq : 0;
}

/* Parses a packet that is not plain, from the start. Returns LB_CONTINUE or the reason. */
LB_NOINLINE int parse_rare(struct xdp_md *ctx)
{
	struct scratch *scratch = scratch_of();
	struct packet p = {.ctx = ctx};
	int reason;

	if (!scratch || !continues(parse_link(&p)) || is_cut_short(&p))
		return LB_REASON_vip_malformed;
	reason = parse_transport(&p);
	if (continues(reason) && p.protocol == IPPROTO_TCP && p.l4)
		p.seq = tcp_seq(p.l4, p.end);
	scratch->transport = (struct transport){.ports = p.ports,
						.fragment = p.fragment,
						.seq = p.seq,
						.protocol = p.protocol,
						.tcp_flags = p.tcp_flags,
						.kind = p.kind};
	return reason;
}

/* DSCP and ECN. */
static __always_inline __u8 traffic_class(const struct packet *p)
{
	return p->family == 4 ? ((const struct iphdr *)p->l3)->tos
			      : bpf_ntohl(*(const __be32 *)p->l3) >> 20;
}

/* The common case: a whole TCP or UDP packet without options or extensions, with all headers in the
 * first buffer. False only means that parse_transport has to look at the packet; the traffic class
 * is set either way. */
static __always_inline bool parse_plain_ports(struct packet *p, __u32 header)
{
	if (p->l3 + p->length > p->end)
		return false;
	p->l4 = p->l3 + header;
	return (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP) &&
	       continues(parse_ports(p, header));
}

static __always_inline bool parse_plain_v4(struct packet *p)
{
	const struct iphdr *ip = p->l3;

	p->traffic_class = ip->tos;
	p->protocol = ip->protocol;
	if (*(__u8 *)p->l3 != 0x45 || ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return false;
	return parse_plain_ports(p, sizeof(*ip));
}

static __always_inline bool parse_plain_v6(struct packet *p)
{
	const struct ipv6hdr *ip = p->l3;
	__u32 word = bpf_ntohl(*(__be32 *)p->l3);

	p->traffic_class = word >> 20;
	p->protocol = ip->nexthdr;
	return word >> 28 == 6 && parse_plain_ports(p, sizeof(*ip));
}

static __always_inline bool parse_plain(struct packet *p)
{
	return p->family == 4 ? parse_plain_v4(p) : parse_plain_v6(p);
}

/* The header again, for functions that are not inlined: in their copy of struct packet the verifier
 * no longer connects the family with the readable length. In fact never NULL. */
static __always_inline struct iphdr *header_v4(const struct packet *p)
{
	struct iphdr *ip = p->l3;

	return (void *)(ip + 1) > p->end ? NULL : ip;
}

static __always_inline struct ipv6hdr *header_v6(const struct packet *p)
{
	struct ipv6hdr *ip = p->l3;

	return (void *)(ip + 1) > p->end ? NULL : ip;
}

/* The hashes directly from the packet: two 64-bit loads per address, as packet data may be read
 * unaligned. */
static __always_inline __u64 packet_hash_prefix(const struct packet *p,
						const struct lb_hash_key *key, __u32 ports,
						__u32 protocol, __u32 bits4, __u32 bits6)
{
	if (p->family == 4) {
		const struct iphdr *ip = p->l3;

		return lb_hash_v4_prefix(key, ip->saddr, ip->daddr, ports, protocol, bits4);
	} else {
		const struct ipv6hdr *ip = p->l3;
		const __u64 *client = (const void *)&ip->saddr, *vip = (const void *)&ip->daddr;

		return lb_hash_v6_prefix(key, client[0], client[1], vip[0], vip[1], ports, protocol,
					 bits6);
	}
}

static __always_inline __u64 packet_hash(const struct packet *p, const struct lb_hash_key *key)
{
	return packet_hash_prefix(p, key, p->ports, p->protocol, 32, 128);
}

#endif
