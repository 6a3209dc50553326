/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For backends: removes the outer header of packets for the VIPs of this host and passes them to
 * the kernel. IP in IP, GRE and GUE (variants 0 and 1), each in all four combinations of IPv4 and
 * IPv6; ECN as in RFC 6040, section 4.2. Only tunnels from the load balancer's prefixes to an
 * address of this host are opened, once. Everything else passes unchanged. */
#include "parse.h"
#include "csum.h"

#define ECN_MASK               3
#define ECN_NOT_ECT            0
#define ECN_ECT1               1
#define ECN_CE                 3
#define LINK_WORDS             ((ETH_HLEN + LB_MAX_TAGS * LB_VLAN_LEN) / 2)
#define GUE_PLAIN              0 /* variant 0, data, no extension words */
#define GUE_VARIANT1           1 /* the IP packet follows UDP directly */

#define ICMP_UNREACHABLE       3
#define ICMP_TIME_EXCEEDED     11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP6_LAST_ERROR       127

/* UDP destination of GUE: lbd's default */
const volatile __be16 gue_port = bpf_htons(6080);
/* Every port of a VIP is served: the map of ports is not asked. */
const volatile bool every_port = true;

/* The VIPs of this host: 16 bytes, IPv4 as ::ffff:a.b.c.d. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, __u8);
} vips SEC(".maps");

/* The sizes of the following maps are set before loading. Outer sources that are accepted. The
 * family comes first, as ::/0 is not to match IPv4. IPv4 in the first four bytes. */
struct prefix {
	__u32 length; /* bits: 32 of the family, then those of the prefix */
	__u32 family; /* 4 or 6 */
	struct in6_addr address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct prefix);
	__type(value, __u8);
} prefixes SEC(".maps");

/* Outer destinations that are accepted: the addresses of this host, like the VIPs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct in6_addr);
	__type(value, __u8);
} addresses SEC(".maps");

struct served {
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct served);
	__type(value, __u8);
} ports SEC(".maps");

/* Every packet is counted once. All but `decapsulated` and `dropped` pass to the kernel unchanged.
 */
struct decap_counts {
	__u64 passed; /* not in a tunnel */
	__u64 decapsulated;
	/* accepted, but congestion (ECN CE) that the inner packet cannot carry, or no room */
	__u64 dropped;
	__u64 foreign_source;      /* the outer source is in none of the prefixes */
	__u64 foreign_destination; /* the outer destination is no address of this host */
	__u64 not_a_vip;           /* the inner destination is no VIP of this host */
	__u64 port_not_served;     /* the inner packet is for no port that is served */
	__u64 nested;              /* the inner packet is a tunnel itself */
	__u64 fragmented;          /* a fragment of a tunnel packet */
	__u64 unsupported;         /* GRE or GUE with options, or carrying something else than IP */
	__u64 malformed;           /* truncated, or headers that contradict each other */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_counts);
} counts SEC(".maps");

/* What happens to a packet: the index of its counter. OPEN is counted after decapsulation. */
#define COUNTER(name) (offsetof(struct decap_counts, name) / sizeof(__u64))

enum fate {
	OPEN = -1, /* as LB_CONTINUE: continues() tests the sign */
	PASSED = COUNTER(passed),
	FOREIGN_SOURCE = COUNTER(foreign_source),
	FOREIGN_DESTINATION = COUNTER(foreign_destination),
	NOT_A_VIP = COUNTER(not_a_vip),
	PORT_NOT_SERVED = COUNTER(port_not_served),
	NESTED = COUNTER(nested),
	FRAGMENTED = COUNTER(fragmented),
	UNSUPPORTED = COUNTER(unsupported),
	MALFORMED = COUNTER(malformed),
};

struct tunnel {
	__u32 inner_offset; /* of the inner IP header from the frame's start */
	__u8 family;        /* of the inner packet */
	__u8 outer_ecn;
};

/* ---- addresses ---- */

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	return !address->in6_u.u6_addr32[0] && !address->in6_u.u6_addr32[1] &&
	       address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

/* The key of a destination. False: an IPv6 packet to ::ffff:a.b.c.d, which no host has. */
static __always_inline bool destination_key(const struct packet *p, struct in6_addr *key)
{
	if (p->family == 4) {
		const struct iphdr *ip = p->l3;

		*key = (struct in6_addr){};
		key->in6_u.u6_addr32[2] = bpf_htonl(0xffff);
		key->in6_u.u6_addr32[3] = ip->daddr;
		return true;
	}
	*key = ((const struct ipv6hdr *)p->l3)->daddr;
	return !is_mapped(key);
}

static __always_inline bool source_is_ours(const struct packet *p)
{
	struct prefix key = {.length = 32 + 128, .family = p->family};

	if (p->family == 4)
		key.address.in6_u.u6_addr32[0] = ((const struct iphdr *)p->l3)->saddr;
	else
		key.address = ((const struct ipv6hdr *)p->l3)->saddr;
	return bpf_map_lookup_elem(&prefixes, &key);
}

static __always_inline bool destination_is_ours(const struct packet *p)
{
	struct in6_addr key;

	return destination_key(p, &key) && bpf_map_lookup_elem(&addresses, &key);
}

static __always_inline bool destination_is_vip(const struct packet *p)
{
	struct in6_addr key;

	return destination_key(p, &key) && bpf_map_lookup_elem(&vips, &key);
}

/* ---- the outer packet ---- */

static __always_inline bool is_tunnel_protocol(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

/* inner: the start of the inner packet. Kept as an offset, which the verifier tracks through
 * branches better than a pointer. */
static __always_inline int set_inner(const struct packet *p, struct tunnel *t, void *inner,
				     __u8 protocol)
{
	__u64 offset = inner - (void *)(long)p->ctx->data;

	OPAQUE(offset);
	t->inner_offset = offset;
	t->family = protocol == IPPROTO_IPIP ? 4 : 6;
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 ? OPEN : UNSUPPORTED;
}

/* draft-ietf-intarea-gue: the variant is the first two bits after UDP. Variant 0: length, inner
 * protocol, flags. Variant 1: an IP packet, whose version begins with the same two bits. */
static __always_inline int parse_gue(const struct packet *p, struct tunnel *t)
{
	__u8 *gue = p->l4 + sizeof(struct udphdr);

	if ((void *)(gue + 4) > p->end)
		return MALFORMED;
	if (gue[0] >> 6 == GUE_VARIANT1)
		return set_inner(p, t, gue,
				 gue[0] >> 4 == 4   ? IPPROTO_IPIP
				 : gue[0] >> 4 == 6 ? IPPROTO_IPV6
						    : IPPROTO_RAW);
	if (gue[0] != GUE_PLAIN || gue[2] || gue[3])
		return UNSUPPORTED;
	return set_inner(p, t, gue + 4, gue[1]);
}

/* GRE (RFC 2784): no checksum, key or sequence number, then the inner packet's EtherType. */
static __always_inline int parse_gre(const struct packet *p, struct tunnel *t)
{
	__be16 *gre = p->l4;

	if ((void *)(gre + 2) > p->end)
		return MALFORMED;
	if (gre[0])
		return UNSUPPORTED;
	if (gre[1] == bpf_htons(ETH_P_IP))
		return set_inner(p, t, gre + 2, IPPROTO_IPIP);
	return set_inner(p, t, gre + 2,
			 gre[1] == bpf_htons(ETH_P_IPV6) ? IPPROTO_IPV6 : IPPROTO_RAW);
}

/* Whether it is a tunnel at all. */
static __always_inline int parse_outer(struct packet *p)
{
	int reason = parse_link(p);

	if (!continues(reason))
		return reason == LB_REASON_not_ip ? PASSED : MALFORMED;
	if (!continues(parse_transport(p)))
		return MALFORMED;
	if (p->protocol == IPPROTO_UDP) {
		/* A later fragment has no ports: they read as 0. */
		if (p->ports >> 16 != gue_port)
			return PASSED;
	} else if (!is_tunnel_protocol(p->protocol)) {
		return PASSED;
	}
	return OPEN;
}

static __always_inline int parse_tunnel(struct packet *p, struct tunnel *t)
{
	if (!source_is_ours(p))
		return FOREIGN_SOURCE;
	if (!destination_is_ours(p))
		return FOREIGN_DESTINATION;
	if (p->kind != PACKET_WHOLE)
		return FRAGMENTED;
	if (is_cut_short(p))
		return MALFORMED;
	t->outer_ecn = p->traffic_class & ECN_MASK;
	if (p->protocol == IPPROTO_UDP)
		return parse_gue(p, t);
	if (p->protocol == IPPROTO_GRE)
		return parse_gre(p, t);
	return set_inner(p, t, p->l4, p->protocol);
}

/* ---- the inner packet ---- */

static __always_inline void *inner_header(const struct packet *p, const struct tunnel *t)
{
	return (void *)(long)p->ctx->data + (t->inner_offset & 4095);
}

/* lbd forwards ICMP errors too: without them path MTU discovery fails. */
static __always_inline bool is_icmp_error(const struct packet *inner)
{
	const __u8 *type = inner->l4;
	__u32 header = inner->l4 - inner->l3;

	if ((const void *)(type + 1) > inner->end || header >= inner->length)
		return false;
	if (inner->protocol == IPPROTO_ICMP)
		return *type == ICMP_UNREACHABLE || *type == ICMP_TIME_EXCEEDED ||
		       *type == ICMP_PARAMETER_PROBLEM;
	return *type <= ICMP6_LAST_ERROR;
}

/* A later fragment has no ports. Without its first fragment, which is checked, the kernel does not
 * reassemble it. */
static __always_inline bool port_is_served(const struct packet *inner)
{
	struct served key = {.port = inner->ports >> 16, .protocol = inner->protocol};

	if (every_port || inner->kind == PACKET_LATER_FRAGMENT)
		return true;
	if (inner->protocol == (inner->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return is_icmp_error(inner);
	return bpf_map_lookup_elem(&ports, &key);
}

static __always_inline int check_inner(const struct packet *p, const struct tunnel *t)
{
	struct packet inner = {.ctx = p->ctx, .end = p->end, .l3_offset = t->inner_offset & 4095};

	inner.l3 = inner_header(p, t);
	if (!continues(parse_ip_fixed(&inner, t->family == 4 ? bpf_htons(ETH_P_IP)
							     : bpf_htons(ETH_P_IPV6))))
		return MALFORMED;
	if (*(__u8 *)inner.l3 >> 4 != t->family ||
	    t->inner_offset + inner.length > p->l3_offset + p->length)
		return MALFORMED;
	if (!destination_is_vip(&inner))
		return NOT_A_VIP;
	if (!continues(parse_transport(&inner)))
		return MALFORMED;
	if (is_tunnel_protocol(inner.protocol))
		return NESTED;
	return port_is_served(&inner) ? OPEN : PORT_NOT_SERVED;
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

/* Not for OPEN. The index is checked for the verifier. */
static __always_inline void count_passed(struct decap_counts *counter, __u32 fate)
{
	if (fate < sizeof(*counter) / sizeof(__u64))
		((__u64 *)counter)[fate]++;
}

SEC("xdp.frags")
int decap(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	struct tunnel t = {};
	__u32 zero = 0;
	struct decap_counts *count = bpf_map_lookup_elem(&counts, &zero);
	int fate;

	if (!count)
		return XDP_PASS;
	fate = parse_outer(&p);
	if (continues(fate))
		fate = parse_tunnel(&p, &t);
	if (continues(fate))
		fate = check_inner(&p, &t);
	if (!continues(fate)) {
		count_passed(count, fate);
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
