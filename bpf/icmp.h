/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP and ICMPv6 for a VIP: echo requests are answered, errors that quote a flow of the VIP go to
 * that flow's backend, and a packet too long for its tunnel is answered with "fragmentation needed"
 * (RFC 1191) or "packet too big" (RFC 4443). All of this is rare, so nothing here is inlined into
 * the common path. */
#ifndef LB_ICMP_H
#define LB_ICMP_H

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
};

#define ICMP_CODE_FRAG_NEEDED 4

#define ICMP_TTL              64
#define ICMP_PRECEDENCE       0xc0 /* internetwork control: RFC 1812, section 4.3.2.5 */
#define ICMP_HEADER           ((__u32)sizeof(struct icmp_header))
/* Bytes of the packet that are quoted; an answer stays below 576 and 1280 bytes */
#define QUOTE_LONG    512
#define QUOTE_SHORT   128
#define MAX_L3_OFFSET (ETH_HLEN + LB_MAX_TAGS * LB_VLAN_LEN)

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

	ip->check = csum_replace(ip->check, CSUM_WORD(ip->ttl, 0), CSUM_WORD(ICMP_TTL, 0));
	ip->ttl = ICMP_TTL;
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
	ip->hop_limit = ICMP_TTL;
	icmp->check = csum_replace(icmp->check, CSUM_WORD(ICMP6_ECHO_REQUEST, 0),
				   CSUM_WORD(ICMP6_ECHO_REPLY, 0));
	icmp->type = ICMP6_ECHO_REPLY;
}

static __always_inline int echo_answer(struct packet *p)
{
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;

	if (data + ETH_HLEN > end || p->l4 + ICMP_HEADER > p->end)
		return LB_REASON_vip_malformed;
	if (!is_answerable(p))
		return LB_REASON_vip_icmp_other;
	if (p->family == 4)
		echo_write_v4(header_v4(p), p->l4);
	else
		echo_write_v6(header_v6(p), p->l4);
	swap_macs(data);
	return LB_REASON_echo_answered;
}

/* ---- errors that quote a flow ---- */

/* The quoted packet went from the VIP to the client, so the tuple is reversed. ports: as quoted. */
static __always_inline __u32 turn_ports(__u32 ports)
{
	return ports << 16 | ports >> 16;
}

/* Reads the quoted IPv4 packet into tuple; false: it is not a flow of this VIP. */
static __always_inline bool quoted_v4(const struct packet *p, struct lb_tuple *tuple)
{
	const struct iphdr *outer = header_v4(p), *ip = p->l4 + ICMP_HEADER;
	const __u32 *ports;
	__u32 header;

	if (!outer || (void *)(ip + 1) > p->end)
		return false;
	header = (*(__u8 *)ip & 15) * 4;
	if (*(__u8 *)ip >> 4 != 4 || header < sizeof(*ip) || ip->saddr != outer->daddr ||
	    ip->frag_off & bpf_htons(IPV4_OFFSET))
		return false;
	ports = (void *)ip + header;
	if ((void *)(ports + 1) > p->end)
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

static __always_inline bool quoted_v6(const struct packet *p, struct lb_tuple *tuple)
{
	const struct ipv6hdr *outer = header_v6(p), *ip = p->l4 + ICMP_HEADER;
	const __u32 *ports;
	__u64 extensions;

	if (!outer || (void *)(ip + 1) > p->end || ip->version != 6 ||
	    !same_v6(&ip->saddr, &outer->daddr))
		return false;
	extensions =
	    parse_extensions(p->ctx, (void *)(ip + 1) - (void *)(long)p->ctx->data, ip->nexthdr);
	if (extensions == EXTENSIONS_BAD || EXTENSIONS_KIND(extensions) == PACKET_LATER_FRAGMENT)
		return false;
	ports = (void *)(ip + 1) + (EXTENSIONS_LENGTH(extensions) & 2047);
	if ((void *)(ports + 1) > p->end)
		return false;
	__builtin_memcpy(tuple->client, ip->daddr.in6_u.u6_addr32, sizeof(tuple->client));
	__builtin_memcpy(tuple->vip, ip->saddr.in6_u.u6_addr32, sizeof(tuple->vip));
	tuple->protocol = EXTENSIONS_PROTOCOL(extensions);
	tuple->ports = turn_ports(*ports);
	return true;
}

static __always_inline int error_follow(const struct packet *p, struct route *r)
{
	struct lb_tuple tuple = {.family = p->family};

	if (!(p->family == 4 ? quoted_v4(p, &tuple) : quoted_v6(p, &tuple)))
		return LB_REASON_vip_icmp_other;
	if (tuple.protocol != IPPROTO_TCP && tuple.protocol != IPPROTO_UDP)
		return LB_REASON_vip_icmp_other;
	if (!continues(service_find(r, tuple.protocol, tuple.ports)))
		return LB_REASON_vip_icmp_other;
	r->hash = quoted_hash(&tuple, 0);
	return route_to(r, select_quoted(r->hash, quoted_hash(&tuple, r->service->id),
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
	__u8 type, code;

	if (p->l4 + ICMP_HEADER > p->end)
		return LB_REASON_vip_malformed;
	type = ((__u8 *)p->l4)[0];
	code = ((__u8 *)p->l4)[1];
	if (p->kind != PACKET_WHOLE)
		return LB_REASON_vip_icmp_other;
	if (type == echo && code == 0)
		return echo_answer(p);
	return is_error(p, type) ? error_follow(p, r) : LB_REASON_vip_icmp_other;
}

/* ---- packet too big ---- */

/* Whether this CPU may still send an ICMP error in this tick. */
static __always_inline bool icmp_allowed(void)
{
	__u32 zero = 0, now = tick_now();
	struct lb_settings *s = settings_of();
	struct icmp_budget *budget = bpf_map_lookup_elem(&icmp_budgets, &zero);

	if (!s || !budget)
		return false;
	if (budget->tick != now) {
		budget->tick = now;
		budget->sent = 0;
	}
	if (budget->sent >= s->icmp_per_tick)
		return false;
	budget->sent++;
	return true;
}

/* RFC 1122: no error about an ICMP packet or a later fragment, nor to an address that is not a
 * single host; RFC 1191: only with DF. */
static __always_inline bool too_big_owed(const struct packet *p)
{
	const struct iphdr *ip;

	if (p->kind == PACKET_LATER_FRAGMENT || !is_answerable(p))
		return false;
	if (p->family == 6)
		return p->protocol != IPPROTO_ICMPV6;
	ip = header_v4(p);
	return p->protocol != IPPROTO_ICMP && ip && ip->frag_off & bpf_htons(IPV4_DF);
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

/* The quoted packet begins `by` bytes after ip. */
static __always_inline void too_big_write_v4(struct iphdr *ip, __u32 by, __u32 quote, __u32 mtu)
{
	struct iphdr *quoted = (void *)ip + by;
	struct icmp_header *icmp = (void *)(ip + 1);
	__be16 tot_len = bpf_htons(by + quote);
	__u32 sum;

	icmp->type = ICMP_UNREACHABLE;
	icmp->code = ICMP_CODE_FRAG_NEEDED;
	icmp->check = 0;
	icmp->rest = bpf_htonl(mtu & 0xffff);
	*(__u8 *)ip = 0x45;
	ip->tos = ICMP_PRECEDENCE;
	ip->tot_len = tot_len;
	ip->id = 0;
	ip->frag_off = bpf_htons(IPV4_DF);
	ip->ttl = ICMP_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
	ip->check = csum_outer(lb_backend_csum(ip->saddr, 0, ip->daddr, IPPROTO_ICMP),
			       ICMP_PRECEDENCE, tot_len, ICMP_TTL, 0);
	sum = bpf_csum_diff(NULL, 0, (void *)icmp, ICMP_HEADER, 0);
	icmp->check = ~csum_fold(bpf_csum_diff(NULL, 0, (void *)quoted, quote, sum));
}

static __always_inline void too_big_write_v6(struct ipv6hdr *ip, __u32 by, __u32 quote, __u32 mtu)
{
	struct ipv6hdr *quoted = (void *)ip + by;
	struct icmp_header *icmp = (void *)(ip + 1);
	__u32 length = ICMP_HEADER + quote, sum;

	icmp->type = ICMP6_PACKET_TOO_BIG;
	icmp->code = 0;
	icmp->check = 0;
	icmp->rest = bpf_htonl(mtu);
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ICMP_TTL;
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
	sum = CSUM_WORD(0, IPPROTO_ICMPV6) + (__u32)bpf_htons(length);
	sum = bpf_csum_diff(NULL, 0, (void *)&ip->saddr, 2 * sizeof(ip->saddr), sum);
	sum = bpf_csum_diff(NULL, 0, (void *)icmp, ICMP_HEADER, sum);
	icmp->check = ~csum_fold(bpf_csum_diff(NULL, 0, (void *)quoted, quote, sum));
}

/* Truncates the frame to `quote` bytes of the packet and puts the headers of the answer in
 * front. */
static __always_inline int too_big_answer(struct packet *p, __u32 quote, __u32 mtu)
{
	const __u32 by =
	    (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + ICMP_HEADER;
	__u32 l3_offset = p->l3_offset;
	void *data, *end, *ip;

	if (l3_offset < ETH_HLEN || l3_offset > MAX_L3_OFFSET)
		return LB_REASON_too_big;
	if (bpf_xdp_adjust_tail(p->ctx,
				(int)(l3_offset + quote) - (int)bpf_xdp_get_buff_len(p->ctx)) ||
	    bpf_xdp_adjust_head(p->ctx, -(int)by))
		return LB_REASON_no_headroom;
	data = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	ip = data + l3_offset;
	if (data + by + MAX_L3_OFFSET > end || ip + by + quote > end)
		return LB_REASON_no_headroom;
	link_return(data, l3_offset, by);
	if (p->family == 4)
		too_big_write_v4(ip, by, quote, mtu);
	else
		too_big_write_v6(ip, by, quote, mtu);
	return LB_REASON_too_big_answered;
}

/* mtu: the longest packet that would fit, bytes. Returns an enum lb_reason. */
LB_NOINLINE int icmp_too_big(struct xdp_md *ctx, __u32 mtu)
{
	struct packet p = {.ctx = ctx};

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)))
		return LB_REASON_too_big;
	if (!too_big_owed(&p) || !icmp_allowed())
		return LB_REASON_too_big;
	if (p.length >= QUOTE_LONG && p.l3 + QUOTE_LONG <= p.end)
		return too_big_answer(&p, QUOTE_LONG, mtu);
	if (p.length >= QUOTE_SHORT && p.l3 + QUOTE_SHORT <= p.end)
		return too_big_answer(&p, QUOTE_SHORT, mtu);
	return LB_REASON_too_big;
}

#endif
