/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers a TCP segment with a reset, as a host does whose port is closed: RFC 9293, section
 * 3.10.7.1. */
#ifndef LB_RESET_H
#define LB_RESET_H

#include "answer.h"
#include "csum.h"
#include "icmp.h"
#include "packet.h"
#include "parse.h"

struct reset {
	__u32 ports; /* turned round */
	__be32 seq, ack;
	__u32 flags;
};

/* What answers the segment at p->l4; false: nothing does. header: of IP, with all that follows
 * it. */
static __always_inline bool reset_plan(const struct packet *p, __u32 header, bool opening,
				       struct reset *ret)
{
	const struct tcphdr *tcp = p->l4;
	__u32 offset, length = p->length - header, flags = p->tcp_flags;

	if ((void *)(tcp + 1) > p->end || flags & LB_TCP_RST || (opening && !opens_flow(flags)))
		return false;
	offset = (((const __u8 *)tcp)[12] >> 4) * 4;
	if (offset < sizeof(*tcp) || offset > length)
		return false;
	ret->ports = turn_ports(*(const __u32 *)tcp);
	if (flags & LB_TCP_ACK) {
		ret->seq = tcp->ack_seq;
		ret->ack = 0;
		ret->flags = LB_TCP_RST;
		return true;
	}
	length += !!(flags & LB_TCP_SYN) + !!(flags & LB_TCP_FIN);
	ret->seq = 0;
	ret->ack = bpf_htonl(bpf_ntohl(tcp->seq) + length - offset);
	ret->flags = LB_TCP_RST | LB_TCP_ACK;
	return true;
}

static __always_inline void reset_write_v4(struct iphdr *ip)
{
	answer_write_v4(ip, ip->daddr, ip->saddr, 0, IPPROTO_TCP,
			bpf_htons(sizeof(*ip) + sizeof(struct tcphdr)));
}

static __always_inline void reset_write_v6(struct ipv6hdr *ip)
{
	struct in6_addr client = ip->saddr;

	answer_write_v6(ip, IPPROTO_TCP, bpf_htons(sizeof(struct tcphdr)));
	ip->saddr = ip->daddr;
	ip->daddr = client;
}

static __always_inline void reset_write_tcp(void *tcp, const struct reset *reset)
{
	__be32 *word = tcp;

	word[0] = reset->ports;
	word[1] = reset->seq;
	word[2] = reset->ack;
	word[3] = bpf_htonl(5u << 28 | reset->flags << 16);
	word[4] = 0;
}

/* Cuts the frame after `length` bytes, but not below FRAME_LEAST; what is left behind the packet is
 * zeroed. */
static __always_inline bool reset_cut(struct xdp_md *ctx, __u32 length)
{
	__u32 have = bpf_xdp_get_buff_len(ctx), i;
	__u32 keep = length < FRAME_LEAST && have >= FRAME_LEAST ? FRAME_LEAST : length;
	void *padding;

	if (bpf_xdp_adjust_tail(ctx, (int)keep - (int)have))
		return false;
	padding = (void *)(long)ctx->data + (length & 127);
	for (i = 0; i < FRAME_LEAST - ETH_HLEN - 40; i++)
		if (padding + i + 1 <= (void *)(long)ctx->data_end)
			*(__u8 *)(padding + i) = 0;
	return true;
}

/* header: of the answer's IP header, which has no options. */
static __always_inline int reset_send(struct packet *p, const struct reset *reset)
{
	const __u32 header = p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 l3_offset = p->l3_offset & 31, sum;
	void *data, *end, *ip;

	if (!reset_cut(p->ctx, l3_offset + header + sizeof(struct tcphdr)))
		return LB_REASON_no_headroom;
	data = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	ip = data + l3_offset;
	if (data + ETH_HLEN > end || ip + header + sizeof(struct tcphdr) > end)
		return LB_REASON_no_headroom;
	swap_macs(data);
	if (p->family == 4)
		reset_write_v4(ip);
	else
		reset_write_v6(ip);
	reset_write_tcp(ip + header, reset);
	sum = transport_sum(p->ctx, p->family, l3_offset,
			    TRANSPORT(IPPROTO_TCP, header, sizeof(struct tcphdr)));
	data = (void *)(long)p->ctx->data;
	ip = data + l3_offset;
	if (ip + header + sizeof(struct tcphdr) > (void *)(long)p->ctx->data_end)
		return LB_REASON_no_headroom;
	((struct tcphdr *)(ip + header))->check = ~sum;
	return LB_CONTINUE;
}

/* opening: only a SYN that opens a connection is answered. LB_CONTINUE: the frame is the answer
 * now; otherwise the reason why not, LB_REASON_unserved unless there was no room. The segment's
 * checksum is not verified: on a veth, hosts leave it to the card, and there is none. */
LB_NOINLINE int tcp_reset(struct xdp_md *ctx, __u32 opening)
{
	struct packet p = {.ctx = ctx};
	struct reset reset;
	__u64 header;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)) || !p.l4)
		return LB_REASON_unserved;
	header = p.l4 - p.l3;
	OPAQUE(header);
	if (p.kind != PACKET_WHOLE || p.protocol != IPPROTO_TCP || !is_answerable(&p) ||
	    !reset_plan(&p, header, opening, &reset) || !answer_allowed(ctx, ANSWER_REFUSAL))
		return LB_REASON_unserved;
	return reset_send(&p, &reset);
}

#endif
