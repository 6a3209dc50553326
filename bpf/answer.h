/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all packets that a VIP itself sends have in common: whom they may be sent to, how many, and
 * their checksums. All of this is rare, so nothing here is inlined into the common path. */
#ifndef LB_ANSWER_H
#define LB_ANSWER_H

#include "csum.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "scratch.h"
#include "service.h"

#define ANSWER_TTL 64
/* Frames are not cut below this: drivers differ in whether they pad what they send */
#define FRAME_LEAST 60

/* ---- which senders are answered ---- */

/* RFC 1122, section 3.2.2: no error to an address that is not a single host. */
static __always_inline bool is_one_host_v4(const struct iphdr *ip)
{
	__u32 first = ip ? bpf_ntohl(ip->saddr) >> 24 : 0;

	return first != 0 && first != 127 && first < 224;
}

/* RFC 4443, section 2.4 (e.6): not to the unspecified address or multicast. */
static __always_inline bool is_one_host_v6(const struct ipv6hdr *ip)
{
	const __be32 *word;

	if (!ip)
		return false;
	word = ip->saddr.in6_u.u6_addr32;
	return ip->saddr.in6_u.u6_addr8[0] != 0xff && (word[0] | word[1] | word[2] | word[3]);
}

static __always_inline bool is_answerable(const struct packet *p)
{
	return p->family == 4 ? is_one_host_v4(header_v4(p)) : is_one_host_v6(header_v6(p));
}

/* ---- how many ---- */

static __always_inline __u32 answers_per_tick(__u32 kind)
{
	return kind == ANSWER_ECHO || kind == ANSWER_TOO_BIG ? settings.short_per_tick
							     : settings.icmp_per_tick;
}

/* What this CPU has sent in this tick, if it may still send an answer of this kind (enum
 * answer_kind) and the frame is from one station: an answer to a group address would reach all of
 * it. Else NULL. */
static __always_inline struct icmp_budget *budget_of(struct xdp_md *ctx, __u32 kind)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmp_budget *budget = bpf_map_lookup_elem(&icmp_budgets, &kind);
	__u32 now = tick_now();

	if (!budget || data + ETH_HLEN > end || ((const __u8 *)data)[ETH_ALEN] & 1)
		return NULL;
	if (budget->tick != now) {
		budget->tick = now;
		budget->sent = 0;
	}
	return budget->sent < answers_per_tick(kind) ? budget : NULL;
}

/* Takes an answer out of the budget, if there is one. */
LB_NOINLINE int answer_allowed(struct xdp_md *ctx, __u32 kind)
{
	struct icmp_budget *budget = budget_of(ctx, kind);

	if (!budget)
		return 0;
	budget->sent++;
	return 1;
}

/* Whether the sender of a packet that is too long can be told so. Takes no answer. A function, as
 * the verifier would walk what follows anew for each of the conditions. */
LB_NOINLINE int too_big_possible(struct xdp_md *ctx, __u32 kind, __u32 protocol)
{
	if (kind == PACKET_LATER_FRAGMENT || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return 0;
	return budget_of(ctx, ANSWER_TOO_BIG) ? 1 : 0;
}

/* ---- headers ---- */

/* An IP header without options from the VIP to the client. */
static __always_inline void answer_write_v4(struct iphdr *ip, __be32 vip, __be32 client, __u8 tos,
					    __u8 protocol, __be16 tot_len)
{
	*(__u8 *)ip = 0x45;
	ip->tos = tos;
	ip->tot_len = tot_len;
	ip->id = 0;
	ip->frag_off = bpf_htons(IPV4_DF);
	ip->ttl = ANSWER_TTL;
	ip->protocol = protocol;
	ip->saddr = vip;
	ip->daddr = client;
	ip->check = csum_outer(csum_of_constants(client, ANSWER_TTL, protocol),
			       bpf_htonl(0x45000000 | (__u32)tos << 16 | bpf_ntohs(tot_len)), vip);
}

/* All but the addresses. */
static __always_inline void answer_write_v6(struct ipv6hdr *ip, __u8 protocol, __be16 payload_len)
{
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = payload_len;
	ip->nexthdr = protocol;
	ip->hop_limit = ANSWER_TTL;
}

/* ---- checksums ---- */

#define SUM_CHUNKS (65536 / SCRATCH_BYTES)

/* The one's complement sum of 1 to SCRATCH_BYTES bytes at `offset` of the frame, in any of its
 * buffers, plus `sum`; folded. Padded with zeros to whole words: older kernels sum no other
 * lengths. A function of its own, for the verifier would walk it anew in each turn of a loop. */
LB_NOINLINE __u32 chunk_sum(struct xdp_md *ctx, __u32 offset, __u32 bytes, __u32 sum)
{
	struct scratch *s = scratch_of();
	__u32 last = bytes - 1;

	if (!s || last >= SCRATCH_BYTES)
		return 0;
	/* The verifier of Linux 6.1 must see that the length is not 0, in the register it is in. */
	OPAQUE(last);
	last &= SCRATCH_BYTES - 1;
	bytes = last + 1;
	*(__u32 *)&s->bytes[last & (SCRATCH_BYTES - 4)] = 0;
	if (bpf_xdp_load_bytes(ctx, offset, s->bytes, bytes))
		return 0;
	return csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)s->bytes, (bytes + 3) & ~3u, sum));
}

/* What is summed, as one number: the protocol, the offset of its header from the IP header, and the
 * length with its payload. */
#define TRANSPORT(protocol, header, length) \
	((__u64)(protocol) << 48 | (__u64)(header) << 32 | (__u32)(length))

/* The sum of the pseudo-header of RFC 9293, section 3.1, and RFC 8200, section 8.1. */
static __always_inline __u32 pseudo_sum(struct xdp_md *ctx, __u32 family, __u32 l3_offset,
					__u32 protocol, __u32 length)
{
	__u32 sum = CSUM_WORD(0, protocol) + (__u32)bpf_htons(length);

	if (family == 4)
		return chunk_sum(ctx, l3_offset + offsetof(struct iphdr, saddr), 8, sum);
	return chunk_sum(ctx, l3_offset + offsetof(struct ipv6hdr, saddr), 32, sum);
}

/* The sum over a transport header and its payload, and the pseudo-header unless it is ICMP of IPv4;
 * 0xffff if the checksum in it is right. transport: TRANSPORT. */
LB_NOINLINE __u32 transport_sum(struct xdp_md *ctx, __u32 family, __u32 l3_offset, __u64 transport)
{
	__u32 length = (__u32)transport & 0xffff, protocol = transport >> 48, sum = 0, i;
	__u32 at = l3_offset + (transport >> 32 & 0xffff);

	if (protocol != IPPROTO_ICMP)
		sum = pseudo_sum(ctx, family, l3_offset, protocol, length);
	for (i = 0; i < SUM_CHUNKS && length > SCRATCH_BYTES; i++) {
		sum = chunk_sum(ctx, at, SCRATCH_BYTES, sum);
		at += SCRATCH_BYTES;
		length -= SCRATCH_BYTES;
	}
	return chunk_sum(ctx, at, length, sum);
}

#endif
