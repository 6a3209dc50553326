/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP and ICMPv6 for a VIP: echo requests are answered, errors that quote a flow of the VIP go to
 * that flow's backend, and packets that cannot be forwarded are answered with an error: too long
 * for the tunnel (RFC 1191, RFC 4443), hop limit exceeded, nothing there to take it. All of this is
 * rare, so nothing here is inlined into the common path. */
#ifndef LB_ICMP_H
#define LB_ICMP_H

#include "answer.h"
#include "csum.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "select.h"
#include "service.h"

/* linux/icmp.h includes the C library's headers, which do not exist for BPF. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 rest; /* of the header: identifier and sequence, pointer, or MTU */
};

enum icmp_type {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	ICMP6_UNREACHABLE = 1,
	ICMP6_PACKET_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_PARAMETER_PROBLEM = 4,
	ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_ROUTER_SOLICITATION = 133, /* the first of neighbour discovery */
	ICMP6_REDIRECT = 137,            /* its last */
};

enum icmp_code {
	ICMP_CODE_PROTOCOL = 2, /* of "unreachable" */
	ICMP_CODE_PORT = 3,
	ICMP_CODE_FRAG_NEEDED = 4,
	ICMP6_CODE_PORT = 4,
	ICMP6_CODE_NEXT_HEADER = 1, /* of "parameter problem": unrecognized */
};

#define ICMP_PRECEDENCE 0xc0 /* internetwork control: RFC 1812, section 4.3.2.5 */
#define ICMP_HEADER     ((__u32)sizeof(struct icmp_header))
/* Bytes of the packet that are quoted at most; an answer stays below 576 and 1280 bytes */
#define QUOTE_MOST 512
/* RFC 8200, section 5: no path is narrower, and hosts ignore an error that says so (RFC 8201,
 * section 4). lbd warns of such a path. */
#define IPV6_LEAST_MTU 1280
#define MAX_L3_OFFSET  (ETH_HLEN + LB_MAX_TAGS * LB_VLAN_LEN)

/* ---- echo ---- */

static __always_inline void swap_macs(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}

/* One word changes, so the checksum can be updated without reading the rest. A result of zero can
 * stand for data of all zeros, whose checksum is 0xffff, or for a sum of 0xffff, for which every
 * receiver accepts 0xffff too: RFC 1624, section 3. */
static __always_inline void echo_write_v4(struct iphdr *ip, struct icmp_header *icmp)
{
	__be32 client;
	__u16 check;

	if (!ip)
		return;
	client = ip->saddr;
	check = csum_replace(icmp->check, CSUM_WORD(ICMP_ECHO_REQUEST, 0),
			     CSUM_WORD(ICMP_ECHO_REPLY, 0));

	ip->check = csum_replace(ip->check, CSUM_WORD(ip->ttl, 0), CSUM_WORD(ANSWER_TTL, 0));
	ip->ttl = ANSWER_TTL;
	ip->saddr = ip->daddr;
	ip->daddr = client;
	icmp->type = ICMP_ECHO_REPLY;
	icmp->check = check ? check : 0xffff;
}

static __always_inline void echo_write_v6(struct ipv6hdr *ip, struct icmp_header *icmp)
{
	struct in6_addr client;

	if (!ip)
		return;
	client = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = client;
	ip->hop_limit = ANSWER_TTL;
	icmp->check = csum_replace(icmp->check, CSUM_WORD(ICMP6_ECHO_REQUEST, 0),
				   CSUM_WORD(ICMP6_ECHO_REPLY, 0));
	icmp->type = ICMP6_ECHO_REPLY;
}

/* Whether the checksum is right. header: length of the IP header with what follows it. */
static __always_inline bool icmp_is_intact(const struct packet *p, __u32 header)
{
	return transport_sum(p->ctx, p->family, p->l3_offset,
			     TRANSPORT(p->protocol, header, p->length - header)) == 0xffff;
}

/* Not called by follow, as its frame and those of the checksum would be too much for the stack. */
LB_NOINLINE int echo_answer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct packet p = {.ctx = ctx};
	__u64 header;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)) || !p.l4 ||
	    data + ETH_HLEN > end || p.l4 + ICMP_HEADER > p.end)
		return LB_REASON_vip_malformed;
	header = p.l4 - p.l3;
	OPAQUE(header);
	if (!is_answerable(&p) || !answer_allowed(ctx, ANSWER_ECHO) || !icmp_is_intact(&p, header))
		return LB_REASON_echo_refused;
	if (p.family == 4)
		echo_write_v4(header_v4(&p), p.l4);
	else
		echo_write_v6(header_v6(&p), p.l4);
	swap_macs(data);
	return LB_REASON_echo_answered;
}

/* ---- errors that quote a flow ---- */

/* The quoted packet went from the VIP to the client, so the tuple is reversed. ports: as quoted. */
static __always_inline __u32 turn_ports(__u32 ports)
{
	return ports << 16 | ports >> 16;
}

/* Reads the quoted IPv4 packet into tuple; false: it is not a flow of this VIP. left: bytes of the
 * IP packet from p->l4 on. */
static __always_inline bool quoted_v4(const struct packet *p, __u32 left, struct lb_tuple *tuple)
{
	const struct iphdr *outer = header_v4(p), *ip = p->l4 + ICMP_HEADER;
	const __u32 *ports;
	__u32 header;

	if (!outer || (void *)(ip + 1) > p->end || left < ICMP_HEADER + sizeof(*ip))
		return false;
	header = (*(__u8 *)ip & 15) * 4;
	if (*(__u8 *)ip >> 4 != 4 || header < sizeof(*ip) || ip->saddr != outer->daddr ||
	    ip->frag_off & bpf_htons(IPV4_OFFSET))
		return false;
	ports = (void *)ip + header;
	if ((void *)(ports + 1) > p->end || left < ICMP_HEADER + header + sizeof(*ports))
		return false;
	tuple->client[0] = ip->daddr;
	tuple->vip[0] = ip->saddr;
	tuple->protocol = ip->protocol;
	tuple->ports = turn_ports(*ports);
	return true;
}

static __always_inline bool same_v6(const struct in6_addr *a, const struct in6_addr *b)
{
	const __be32 *x = a->in6_u.u6_addr32, *y = b->in6_u.u6_addr32;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline bool quoted_v6(const struct packet *p, __u32 left, struct lb_tuple *tuple)
{
	const struct ipv6hdr *outer = header_v6(p), *ip = p->l4 + ICMP_HEADER;
	const __u32 before = ICMP_HEADER + sizeof(*ip);
	const __u32 *ports;
	__u64 extensions;

	if (!outer || (void *)(ip + 1) > p->end || left < before || ip->version != 6 ||
	    !same_v6(&ip->saddr, &outer->daddr))
		return false;
	extensions = parse_extensions(p->ctx, (void *)(ip + 1) - (void *)(long)p->ctx->data,
				      ip->nexthdr, left - before);
	if (extensions >= EXTENSIONS_ROUTED || EXTENSIONS_KIND(extensions) == PACKET_LATER_FRAGMENT)
		return false;
	ports = (void *)(ip + 1) + (EXTENSIONS_LENGTH(extensions) & 2047);
	if ((void *)(ports + 1) > p->end ||
	    left < before + EXTENSIONS_LENGTH(extensions) + sizeof(*ports))
		return false;
	__builtin_memcpy(tuple->client, ip->daddr.in6_u.u6_addr32, sizeof(tuple->client));
	__builtin_memcpy(tuple->vip, ip->saddr.in6_u.u6_addr32, sizeof(tuple->vip));
	tuple->protocol = EXTENSIONS_PROTOCOL(extensions);
	tuple->ports = turn_ports(*ports);
	return true;
}

static __always_inline int error_follow(const struct packet *p, __u32 left, struct route *r)
{
	struct lb_tuple tuple = {.family = p->family};
	struct scratch *scratch;

	if (!(p->family == 4 ? quoted_v4(p, left, &tuple) : quoted_v6(p, left, &tuple)))
		return LB_REASON_vip_icmp_other;
	if (tuple.protocol != IPPROTO_TCP && tuple.protocol != IPPROTO_UDP)
		return LB_REASON_vip_icmp_other;
	if (!continues(service_find(r, tuple.protocol, tuple.ports)))
		return LB_REASON_vip_icmp_other;
	scratch = scratch_of();
	if (scratch)
		__builtin_memcpy(scratch->way.client, tuple.client, sizeof(tuple.client));
	r->hash = tuple_hash(&tuple, 0);
	return route_to(r, select_quoted(r->hash, tuple_hash(&tuple, r->service->id),
					 r->service->id, tuple.protocol));
}

static __always_inline bool is_error(const struct packet *p, __u8 type)
{
	if (p->family == 4)
		return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETER_PROBLEM;
	return type == ICMP6_UNREACHABLE || type == ICMP6_PACKET_TOO_BIG ||
	       type == ICMP6_TIME_EXCEEDED || type == ICMP6_PARAMETER_PROBLEM;
}

static __always_inline int icmp_to_vip(struct packet *p, struct route *r)
{
	const __u8 echo = p->family == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
	const __u32 left = bytes_left(p, p->l4);
	__u8 type, code;

	if (left < ICMP_HEADER || p->l4 + ICMP_HEADER > p->end)
		return LB_REASON_vip_malformed;
	type = ((__u8 *)p->l4)[0];
	code = ((__u8 *)p->l4)[1];
	if (p->kind != PACKET_WHOLE)
		return LB_REASON_vip_icmp_other;
	if (type == echo && code == 0)
		return LB_REASON_echo_answered; /* by echo_answer */
	return is_error(p, type) ? error_follow(p, left, r) : LB_REASON_vip_icmp_other;
}

/* ---- errors that a VIP sends ---- */

enum icmp_error_kind {
	ICMP_ERROR_TOO_BIG,
	ICMP_ERROR_TIME_EXCEEDED,
	ICMP_ERROR_PORT,     /* nothing listens */
	ICMP_ERROR_PROTOCOL, /* the VIP does not speak it */
	ICMP_ERROR_KINDS,
};

/* What is to be sent, as one number: the kind, and the reasons with which the packet ends if the
 * error is sent, and if not. */
#define ICMP_ERROR(kind, sent, unsent) \
	((__u32)(kind) | (__u32)LB_REASON_##sent << 8 | (__u32)LB_REASON_##unsent << 16)
#define ICMP_ERROR_KIND(error)   ((error)&0xff)
#define ICMP_ERROR_SENT(error)   ((error) >> 8 & 0xff)
#define ICMP_ERROR_UNSENT(error) ((error) >> 16 & 0xff)

/* Type (high byte) and code of each kind. */
static __always_inline __u32 icmp_error_type(__u32 family, __u32 kind)
{
	switch (kind) {
	case ICMP_ERROR_TOO_BIG:
		return family == 4 ? ICMP_UNREACHABLE << 8 | ICMP_CODE_FRAG_NEEDED
				   : ICMP6_PACKET_TOO_BIG << 8;
	case ICMP_ERROR_TIME_EXCEEDED:
		return family == 4 ? ICMP_TIME_EXCEEDED << 8 : ICMP6_TIME_EXCEEDED << 8;
	case ICMP_ERROR_PORT:
		return family == 4 ? ICMP_UNREACHABLE << 8 | ICMP_CODE_PORT
				   : ICMP6_UNREACHABLE << 8 | ICMP6_CODE_PORT;
	default:
		return family == 4 ? ICMP_UNREACHABLE << 8 | ICMP_CODE_PROTOCOL
				   : ICMP6_PARAMETER_PROBLEM << 8 | ICMP6_CODE_NEXT_HEADER;
	}
}

static __always_inline __u32 icmp_error_budget(__u32 kind)
{
	switch (kind) {
	case ICMP_ERROR_TOO_BIG:
		return ANSWER_TOO_BIG;
	case ICMP_ERROR_TIME_EXCEEDED:
		return ANSWER_TIME_EXCEEDED;
	default:
		return ANSWER_REFUSAL;
	}
}

/* RFC 1122, section 3.2.2: no error about an ICMP packet or a later fragment, nor to an address
 * that is not a single host. RFC 1191 asks for DF before "fragmentation needed" is sent; without DF
 * it is the only thing that can be done for a packet that does not fit, and Linux heeds it. */
static __always_inline bool icmp_error_owed(const struct packet *p)
{
	if (p->kind == PACKET_LATER_FRAGMENT || !is_answerable(p))
		return false;
	return p->protocol != (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Moves the link header from offset `by` to the start of the frame, with its addresses swapped. */
static __always_inline void link_return(void *data, __u32 l3_offset, __u32 by)
{
	struct ethhdr *to = data, *from = data + by;
	__u32 at;

	__builtin_memcpy(to->h_dest, from->h_source, ETH_ALEN);
	__builtin_memcpy(to->h_source, from->h_dest, ETH_ALEN);
#pragma unroll
	for (at = 2 * ETH_ALEN; at < MAX_L3_OFFSET; at += 2)
		if (at < l3_offset)
			*(__be16 *)(data + at) = *(__be16 *)(data + by + at);
}

static __always_inline void icmp_write(struct icmp_header *icmp, __u32 type, __u32 rest)
{
	icmp->type = type >> 8;
	icmp->code = type;
	icmp->check = 0;
	icmp->rest = bpf_htonl(rest);
}

/* The quoted packet begins `by` bytes after ip. */
static __always_inline void icmp_error_write_v4(struct iphdr *ip, __u32 by, __u32 quote)
{
	struct iphdr *quoted = (void *)ip + by;

	answer_write_v4(ip, quoted->daddr, quoted->saddr, ICMP_PRECEDENCE, IPPROTO_ICMP,
			bpf_htons(by + quote));
}

static __always_inline void icmp_error_write_v6(struct ipv6hdr *ip, __u32 by, __u32 quote)
{
	struct ipv6hdr *quoted = (void *)ip + by;

	answer_write_v6(ip, IPPROTO_ICMPV6, bpf_htons(ICMP_HEADER + quote));
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
}

/* Writes the checksum of the ICMP packet, which is 0 so far. header: of IP; length: of ICMP. */
static __always_inline int icmp_seal(struct xdp_md *ctx, __u32 family, __u32 l3_offset,
				     __u32 length)
{
	const __u32 header = family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __u32 protocol = family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	__u32 sum = transport_sum(ctx, family, l3_offset, TRANSPORT(protocol, header, length));
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmp_header *icmp = data + (l3_offset & 31) + header;

	if ((void *)(icmp + 1) > end)
		return LB_REASON_no_headroom;
	icmp->check = ~sum;
	return LB_CONTINUE;
}

/* Truncates the frame to `quote` bytes of the packet and puts the headers of the answer in
 * front. */
static __always_inline int icmp_error_send(struct packet *p, __u32 quote, __u32 type, __u32 rest)
{
	const __u32 by =
	    (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + ICMP_HEADER;
	__u32 l3_offset = p->l3_offset;
	void *data, *end, *ip;

	if (l3_offset < ETH_HLEN || l3_offset > MAX_L3_OFFSET)
		return LB_REASON_no_headroom;
	if (bpf_xdp_adjust_tail(p->ctx,
				(int)(l3_offset + quote) - (int)bpf_xdp_get_buff_len(p->ctx)) ||
	    bpf_xdp_adjust_head(p->ctx, -(int)by))
		return LB_REASON_no_headroom;
	data = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	ip = data + l3_offset;
	if (data + by + MAX_L3_OFFSET > end || ip + by + by - ICMP_HEADER > end)
		return LB_REASON_no_headroom;
	link_return(data, l3_offset, by);
	icmp_write(ip + by - ICMP_HEADER, type, rest);
	if (p->family == 4)
		icmp_error_write_v4(ip, by, quote);
	else
		icmp_error_write_v6(ip, by, quote);
	return icmp_seal(p->ctx, p->family, l3_offset, ICMP_HEADER + quote);
}

/* error: ICMP_ERROR; rest: the second word of the ICMP header. Returns an enum lb_reason. */
LB_NOINLINE int icmp_error(struct xdp_md *ctx, __u32 error, __u32 rest)
{
	struct packet p = {.ctx = ctx};
	int reason;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)))
		return ICMP_ERROR_UNSENT(error);
	if (ICMP_ERROR_KIND(error) == ICMP_ERROR_TOO_BIG && p.family == 6 && rest < IPV6_LEAST_MTU)
		return ICMP_ERROR_UNSENT(error);
	if (!icmp_error_owed(&p) || !answer_allowed(ctx, icmp_error_budget(ICMP_ERROR_KIND(error))))
		return ICMP_ERROR_UNSENT(error);
	reason = icmp_error_send(&p, p.length < QUOTE_MOST ? p.length : QUOTE_MOST,
				 icmp_error_type(p.family, ICMP_ERROR_KIND(error)), rest);
	return continues(reason) ? (int)ICMP_ERROR_SENT(error) : reason;
}

/* mtu: the longest packet that would fit, bytes. */
static __always_inline int icmp_too_big(struct xdp_md *ctx, __u32 mtu)
{
	return icmp_error(ctx, ICMP_ERROR(ICMP_ERROR_TOO_BIG, too_big_answered, too_big), mtu);
}

static __always_inline int icmp_time_exceeded(struct xdp_md *ctx)
{
	return icmp_error(
	    ctx, ICMP_ERROR(ICMP_ERROR_TIME_EXCEEDED, time_exceeded_answered, ttl_exceeded), 0);
}

#endif
