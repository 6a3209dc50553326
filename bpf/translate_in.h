/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From an IPv4 client to an IPv6 backend (RFC 7915, section 4): the destination becomes the
 * backend's address and port, the client's address is embedded. What does not fit is answered as
 * for a tunnel, also without DF: a packet cannot become two here. */
#ifndef LB_TRANSLATE_IN_H
#define LB_TRANSLATE_IN_H

#include "embed.h"
#include "icmp.h"
#include "nat.h"
#include "packet.h"
#include "parse.h"
#include "send.h"

#define V6_HEADER     ((__u32)sizeof(struct ipv6hdr))
#define V4_HEADER     ((__u32)sizeof(struct iphdr))
#define FRAGMENT6_LEN 8

/* The headers that an IPv4 packet gets in place of its own. */
struct headers6 {
	struct ipv6hdr ip;
	__u8 fragment[FRAGMENT6_LEN]; /* if the packet is one */
} __attribute__((aligned(8)));

static __always_inline void header6_write(struct ipv6hdr *to, const struct iphdr *from,
					  const struct lb_backend *b, __u32 payload)
{
	*(__be32 *)to = bpf_htonl(6u << 28 | (__u32)from->tos << 20);
	to->payload_len = bpf_htons(payload);
	to->nexthdr = from->protocol;
	to->hop_limit = from->ttl - 1;
	embed_write((__u64 *)&to->saddr, from->saddr);
	copy_address_v6(&to->daddr, b->outer_dst);
}

/* Offset and "more fragments" are at other bits; the identification has 16 more, which are zero. */
static __always_inline void fragment6_write(struct headers6 *headers, const struct iphdr *from)
{
	const __u32 place = bpf_ntohs(from->frag_off);
	__be16 *half = (void *)headers->fragment;

	half[0] = bpf_htons((__u32)from->protocol << 8);
	half[1] = bpf_htons((place & IPV4_OFFSET) << 3 | (place >> 13 & 1));
	half[2] = 0;
	half[3] = from->id;
	headers->ip.nexthdr = IPPROTO_FRAGMENT;
}

static __always_inline void headers6_make(struct headers6 *headers, const struct packet *p,
					  const struct lb_backend *b, __u32 payload)
{
	header6_write(&headers->ip, p->l3, b, payload);
	if (p->kind != PACKET_WHOLE)
		fragment6_write(headers, p->l3);
}

/* What is behind the IP header gets the backend's port and its sum. blank: a datagram has none, and
 * must get one over IPv6 (RFC 7915, section 4.5). */
static __always_inline int in_transport(const struct packet *p, const struct lb_backend *b,
					const struct headers6 *headers, bool *blank)
{
	__u16 *check = transport_check_again(p);
	__u32 change;

	if (!check)
		return LB_REASON_vip_malformed;
	*blank = p->protocol == IPPROTO_UDP && !*check;
	if (*blank && p->kind != PACKET_WHOLE)
		return LB_REASON_untranslatable;
	change = embed_change((const __u64 *)&headers->ip.saddr, ((struct iphdr *)p->l3)->saddr);
	destination_port_write(p, b);
	transport_shift(p, check, csum_fold(change + b->nat.delta4));
	return LB_CONTINUE;
}

/* Puts `bytes` of headers in place of the first `former` of the IP packet, and leaves room for a
 * link header before them. bytes, link: constants here. NULL: there is no room. */
static __always_inline void *headers_put(const struct packet *p, const void *headers, __u32 bytes,
					 __u32 former, __u32 link)
{
	void *data;

	if (bpf_xdp_adjust_head(p->ctx, (int)(p->l3_offset + former) - (int)(link + bytes)))
		return NULL;
	data = (void *)(long)p->ctx->data;
	if (data + link + bytes > (void *)(long)p->ctx->data_end)
		return NULL;
	__builtin_memcpy(data + link, headers, bytes);
	return data;
}

/* In place of `header` bytes of IPv4. link, more: constants here. */
static __always_inline int headers6_put(const struct packet *p, const struct lb_backend *b,
					const struct headers6 *headers, __u32 header, __u32 link,
					__u32 more)
{
	void *data = headers_put(p, headers, V6_HEADER + more, header, link);

	if (!data)
		return LB_REASON_no_headroom;
	link_write(data, b, bpf_htons(ETH_P_IPV6), link);
	return LB_CONTINUE;
}

static __always_inline int headers6_put_for(const struct packet *p, const struct lb_backend *b,
					    const struct headers6 *headers, __u32 header)
{
	const bool tagged = b->vlan_tci;

	if (p->kind == PACKET_WHOLE)
		return tagged ? headers6_put(p, b, headers, header, ETH_HLEN + LB_VLAN_LEN, 0)
			      : headers6_put(p, b, headers, header, ETH_HLEN, 0);
	return tagged ? headers6_put(p, b, headers, header, ETH_HLEN + LB_VLAN_LEN, FRAGMENT6_LEN)
		      : headers6_put(p, b, headers, header, ETH_HLEN, FRAGMENT6_LEN);
}

/* Bytes of a datagram, as its own header has them: behind it there may be options of UDP (RFC
 * 9868), which the sum does not cover. left: to the end of the packet. */
static __always_inline __u32 datagram_length(struct xdp_md *ctx, __u32 l3_offset, __u32 left)
{
	const struct udphdr *udp = (void *)(long)ctx->data + (l3_offset & 31) + V6_HEADER;
	__u32 length = left;

	if ((const void *)(udp + 1) <= (void *)(long)ctx->data_end)
		length = bpf_ntohs(udp->len);
	return length >= sizeof(*udp) && length < left ? length : left;
}

/* Gives a datagram of IPv6 without extension headers its sum, which is 0 so far. left: as of
 * datagram_length. */
LB_NOINLINE int datagram_seal(struct xdp_md *ctx, __u32 l3_offset, __u32 left)
{
	__u32 length = datagram_length(ctx, l3_offset, left);
	__u32 sum = transport_sum(ctx, 6, l3_offset, TRANSPORT(IPPROTO_UDP, V6_HEADER, length));
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + (l3_offset & 31) + V6_HEADER;

	if ((void *)(udp + 1) > end)
		return LB_REASON_no_headroom;
	sum = (__u16)~sum;
	udp->check = sum ? sum : 0xffff;
	return LB_CONTINUE;
}

static __always_inline int in_write(const struct packet *p, const struct lb_backend *b,
				    __u32 header)
{
	const __u32 more = p->kind == PACKET_WHOLE ? 0 : FRAGMENT6_LEN;
	const __u32 behind = p->length - header;
	struct headers6 headers = {};
	bool blank = false;
	int reason = LB_CONTINUE;

	headers6_make(&headers, p, b, behind + more);
	if (p->kind != PACKET_LATER_FRAGMENT)
		reason = in_transport(p, b, &headers, &blank);
	if (continues(reason))
		reason = headers6_put_for(p, b, &headers, header);
	if (continues(reason) && blank)
		reason = datagram_seal(p->ctx, link_length(b), behind);
	return continues(reason) ? egress_send(p, b) : reason;
}

/* A TCP or UDP packet, or a fragment of one. */
LB_NOINLINE int in_send(struct xdp_md *ctx, __u32 backend)
{
	const struct lb_backend *b = backend_at(backend);
	struct packet p = {.ctx = ctx};
	__u32 header, grows;
	int reason;

	if (!continues(parse_link(&p)) || p.family != 4 || !continues(parse_ipv4(&p)))
		return LB_REASON_vip_malformed;
	reason = client_judge_rare(&p);
	if (!continues(reason))
		return reason;
	header = (*(__u8 *)p.l3 & 15) * 4;
	OPAQUE(header);
	header &= 63;
	grows = V6_HEADER + (p.kind == PACKET_WHOLE ? 0 : FRAGMENT6_LEN) - header;
	if (p.length + grows > b->mtu)
		return icmp_too_big(ctx, b->mtu - grows);
	if (hop_limit(&p) <= 1)
		return icmp_time_exceeded(ctx);
	return in_write(&p, b, header);
}

#endif
