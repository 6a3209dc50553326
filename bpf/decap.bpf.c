/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For backends: removes the outer header of packets for the VIPs of this host and passes them to
 * the kernel. IP in IP, GRE and GUE variant 0, each in all four combinations of IPv4 and IPv6; ECN
 * as in RFC 6040, section 4.2. Everything else passes unchanged. */
#include "parse.h"
#include "csum.h"

#define ECN_MASK    3
#define ECN_NOT_ECT 0
#define ECN_ECT1    1
#define ECN_CE      3
#define LINK_WORDS  ((ETH_HLEN + LB_MAX_TAGS * LB_VLAN_LEN) / 2)
#define GUE_PLAIN   0 /* variant 0, data, no extension words */

/* UDP destination of GUE: lbd's default; 0: none */
const volatile __be16 gue_port = bpf_htons(6080);

/* The VIPs of this host: 16 bytes, IPv4 as ::ffff:a.b.c.d. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, __u8);
} vips SEC(".maps");

struct decap_counts {
	__u64 passed; /* not in a tunnel, or not for a VIP of this host */
	__u64 decapsulated;
	/* for a VIP: congestion (ECN CE) that the inner packet cannot carry, or not enough room */
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_counts);
} counts SEC(".maps");

struct tunnel {
	__u32 inner_offset; /* of the inner IP header from the frame's start */
	__u8 family;        /* of the inner packet */
	__u8 outer_ecn;
};

/* ---- the inner packet ---- */

/* inner: the start of the inner packet. Kept as an offset, which the verifier tracks through
 * branches better than a pointer. */
static __always_inline bool set_inner(const struct packet *p, struct tunnel *t, void *inner,
				      __u8 protocol)
{
	__u64 offset = inner - (void *)(long)p->ctx->data;

	OPAQUE(offset);
	t->inner_offset = offset;
	t->family = protocol == IPPROTO_IPIP ? 4 : 6;
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

static __always_inline void *inner_header(const struct packet *p, const struct tunnel *t)
{
	return (void *)(long)p->ctx->data + (t->inner_offset & 4095);
}

/* GUE: UDP, then variant and length, the inner protocol, flags. */
static __always_inline bool parse_gue(const struct packet *p, struct tunnel *t)
{
	struct udphdr *udp = p->l4;
	__u8 *gue = (void *)(udp + 1);

	if (!gue_port || (void *)(gue + 4) > p->end || udp->dest != gue_port)
		return false;
	if (gue[0] != GUE_PLAIN || gue[2] || gue[3])
		return false;
	return set_inner(p, t, gue + 4, gue[1]);
}

/* GRE (RFC 2784): no checksum, key or sequence number, then the inner packet's EtherType. */
static __always_inline bool parse_gre(const struct packet *p, struct tunnel *t)
{
	__be16 *gre = p->l4;

	if ((void *)(gre + 2) > p->end || gre[0])
		return false;
	if (gre[1] == bpf_htons(ETH_P_IP))
		return set_inner(p, t, gre + 2, IPPROTO_IPIP);
	return gre[1] == bpf_htons(ETH_P_IPV6) && set_inner(p, t, gre + 2, IPPROTO_IPV6);
}

static __always_inline bool parse_tunnel(struct packet *p, struct tunnel *t)
{
	if (!continues(parse_transport(p)) || p->kind != PACKET_WHOLE)
		return false;
	t->outer_ecn = p->traffic_class & ECN_MASK;
	if (p->protocol == IPPROTO_UDP)
		return parse_gue(p, t);
	if (p->protocol == IPPROTO_GRE)
		return parse_gre(p, t);
	return set_inner(p, t, p->l4, p->protocol);
}

static __always_inline bool inner_is_for_us(const struct packet *p, const struct tunnel *t)
{
	struct in6_addr key = {};

	if (t->family == 4) {
		struct iphdr *ip = inner_header(p, t);

		if ((void *)(ip + 1) > p->end || ip->version != 4)
			return false;
		key.in6_u.u6_addr32[2] = bpf_htonl(0xffff);
		key.in6_u.u6_addr32[3] = ip->daddr;
	} else {
		struct ipv6hdr *ip = inner_header(p, t);

		if ((void *)(ip + 1) > p->end || ip->version != 6)
			return false;
		key = ip->daddr;
	}
	return bpf_map_lookup_elem(&vips, &key);
}

/* ---- ECN ---- */

/* RFC 6040, figure 4: the inner field after decapsulation, or -1: drop. */
static __always_inline int ecn_decapsulate(__u8 inner, __u8 outer)
{
	if (outer == ECN_CE)
		return inner == ECN_NOT_ECT ? -1 : ECN_CE;
	if (outer == ECN_ECT1 && inner != ECN_NOT_ECT && inner != ECN_CE)
		return ECN_ECT1;
	return inner;
}

static __always_inline bool ecn_set_v4(struct iphdr *ip, __u8 outer)
{
	int ecn = ecn_decapsulate(ip->tos & ECN_MASK, outer);
	__u8 tos;

	if (ecn < 0)
		return false;
	tos = (ip->tos & ~ECN_MASK) | ecn;
	if (tos != ip->tos) {
		ip->check = csum_replace(ip->check, CSUM_WORD(0, ip->tos), CSUM_WORD(0, tos));
		ip->tos = tos;
	}
	return true;
}

static __always_inline bool ecn_set_v6(struct ipv6hdr *ip, __u8 outer)
{
	__be32 *word = (__be32 *)ip;
	int ecn = ecn_decapsulate(bpf_ntohl(*word) >> 20 & ECN_MASK, outer);

	if (ecn < 0)
		return false;
	*word = (*word & ~bpf_htonl(ECN_MASK << 20)) | bpf_htonl((__u32)ecn << 20);
	return true;
}

static __always_inline bool ecn_set(const struct packet *p, const struct tunnel *t)
{
	struct iphdr *v4 = inner_header(p, t);
	struct ipv6hdr *v6 = inner_header(p, t);

	if (t->family == 4)
		return (void *)(v4 + 1) <= p->end && ecn_set_v4(v4, t->outer_ecn);
	return (void *)(v6 + 1) <= p->end && ecn_set_v6(v6, t->outer_ecn);
}

/* ---- removing the outer header ---- */

/* Moves the link header, with its tags, up to the inner packet. Copied to the stack first: source
 * and destination may overlap. */
static __always_inline bool strip(const struct packet *p, __u32 inner_offset, __u8 family)
{
	const __be16 ethertype = family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;
	__be16 link[LINK_WORDS];
	__u32 i;

	if (data + sizeof(link) > end)
		return false;
	for (i = 0; i < LINK_WORDS; i++)
		link[i] = 2 * (i + 1) == p->l3_offset ? ethertype : ((__be16 *)data)[i];
	if (bpf_xdp_adjust_head(p->ctx, (int)inner_offset - (int)p->l3_offset))
		return false;
	data = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	if (data + sizeof(link) > end)
		return false;
	for (i = 0; i < LINK_WORDS; i++)
		if (2 * i < p->l3_offset)
			((__be16 *)data)[i] = link[i];
	return true;
}

static __always_inline bool decapsulate(const struct packet *p, const struct tunnel *t)
{
	return ecn_set(p, t) && strip(p, t->inner_offset, t->family);
}

SEC("xdp.frags")
int decap(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct tunnel t = {};
	__u32 zero = 0;
	struct decap_counts *count = bpf_map_lookup_elem(&counts, &zero);

	if (!count)
		return XDP_PASS;
	if (!continues(parse_link(&p)) || !parse_tunnel(&p, &t) || !inner_is_for_us(&p, &t)) {
		count->passed++;
		return XDP_PASS;
	}
	if (!decapsulate(&p, &t)) {
		count->dropped++;
		return XDP_DROP;
	}
	count->decapsulated++;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
