/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies of backends of `forward: nat`: what is not to a VIP, but from a real. The source says
 * which VIP and port it gets; no slot and no flow is asked. What cannot be sent from here gets its
 * VIP as well, before the kernel has it. */
#ifndef LB_REPLY_H
#define LB_REPLY_H

#include "admit.h"
#include "count.h"
#include "ends.h"
#include "frag.h"
#include "icmp.h"
#include "nat.h"
#include "packet.h"
#include "parse.h"
#include "path.h"
#include "send.h"
#include "way.h"

/* ---- which packets are changed ---- */

static __always_inline __u32 local_bit(const struct packet *p)
{
	const __be32 *word;

	if (p->family == 4)
		return lb_address_bit(((const struct iphdr *)p->l3)->daddr, 0, 0, 0);
	word = (const void *)&((const struct ipv6hdr *)p->l3)->daddr;
	return lb_address_bit(word[0], word[1], word[2], word[3]);
}

/* Whether the destination is not an address of this host. False: it may be one. */
static __always_inline bool is_remote(const struct packet *p)
{
	__u32 bit = local_bit(p);

	return !(settings.local[bit / 64 & 3] >> (bit & 63) & 1);
}

LB_NOINLINE int is_local(struct xdp_md *ctx, __u32 l3_offset, __u32 family)
{
	struct packet p = {.end = (void *)(long)ctx->data_end,
			   .l3 = (void *)(long)ctx->data + (l3_offset & 31)};
	const struct ipv6hdr *v6 = header_v6(&p);
	const struct iphdr *v4 = header_v4(&p);
	struct lb_path_key key = {.family = family};

	if (family == 4 && v4)
		key.addr[0] = v4->daddr;
	else if (v6)
		__builtin_memcpy(key.addr, v6->daddr.in6_u.u6_addr32, sizeof(key.addr));
	return bpf_map_lookup_elem(&locals, &key) != NULL;
}

static __always_inline int is_direct_v4(const struct lb_direct_list *list, __u32 part, __be32 to)
{
	__u32 first = LB_LIST_FIRST(part), i;

	for (i = 0; i < LB_DIRECTS && i < LB_LIST_LENGTH(part); i++) {
		const struct lb_prefix *prefix = &list->prefix[(first + i) & (LB_DIRECTS - 1)];

		if (!((to ^ prefix->addr[0]) & prefix->mask[0]))
			return 1;
	}
	return 0;
}

static __always_inline int is_direct_v6(const struct lb_direct_list *list, __u32 part,
					const void *to)
{
	__u32 first = LB_LIST_FIRST(part), i;

	for (i = 0; i < LB_DIRECTS && i < LB_LIST_LENGTH(part); i++) {
		const struct lb_prefix *prefix = &list->prefix[(first + i) & (LB_DIRECTS - 1)];

		if (is_within_v6(to, prefix))
			return 1;
	}
	return 0;
}

LB_NOINLINE int is_direct(struct xdp_md *ctx, __u32 l3_offset, __u32 family)
{
	struct packet p = {.end = (void *)(long)ctx->data_end,
			   .l3 = (void *)(long)ctx->data + (l3_offset & 31)};
	const struct ipv6hdr *v6 = header_v6(&p);
	const struct iphdr *v4 = header_v4(&p);
	__u32 part = family == 4 ? settings.direct4 : settings.direct6;
	__u32 place = LB_LIST_PLACE(part);
	const struct lb_direct_list *list = bpf_map_lookup_elem(&directs, &place);

	if (!list)
		return 0;
	if (family == 4)
		return v4 ? is_direct_v4(list, part, v4->daddr) : 0;
	return v6 ? is_direct_v6(list, part, &v6->daddr) : 0;
}

/* Whether what a real sends to this destination is for a client of the VIP: LB_CONTINUE, or the
 * reason. */
static __always_inline int reply_judge_to(const struct packet *p)
{
	if (unlikely(!is_remote(p)) && is_local(p->ctx, p->l3_offset, p->family))
		return LB_REASON_not_vip;
	if (unlikely(p->family == 4 ? settings.direct4 : settings.direct6) &&
	    is_direct(p->ctx, p->l3_offset, p->family))
		return LB_REASON_nat_direct;
	return LB_CONTINUE;
}

/* The same of a packet from a real: a copy of another host's frame is not for this one to send. */
static __always_inline int reply_judge(const struct packet *p)
{
	if (unlikely(!is_sole_mac(p)) && !is_first_mac(p) && !is_own_mac(p->ctx))
		return LB_REASON_not_vip;
	return reply_judge_to(p);
}

/* ---- changing them ---- */

static __always_inline void source_write(const struct packet *p, const struct lb_return *line)
{
	if (p->family == 4) {
		struct iphdr *ip = p->l3;

		ip->ttl--;
		ip->check = csum_shift_16(ip->check, line->delta3);
		ip->saddr = line->vip[0];
	} else {
		struct ipv6hdr *ip = p->l3;

		ip->hop_limit--;
		copy_address_v6(&ip->saddr, line->vip);
	}
}

/* The ports are readable. */
static __always_inline void source_port_write(const struct packet *p, const struct lb_return *line)
{
	if (line->vip_port)
		*(__be16 *)p->l4 = line->vip_port;
}

/* ---- sending them ---- */

static __always_inline void count_returned(__u32 id, __u32 bytes)
{
	__u32 index = bpf_get_smp_processor_id() * backend_slots + id;
	struct lb_return_count *count = bpf_map_lookup_elem(&return_counts, &index);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
}

/* The reason with which a packet leaves through this interface; LB_CONTINUE: it cannot. */
static __always_inline int reply_egress(const struct packet *p, __u32 ifindex)
{
	if (ifindex == p->ctx->ingress_ifindex)
		return LB_REASON_returned_tx;
	if (bpf_redirect_map(&egress, ifindex, XDP_DROP) != XDP_REDIRECT)
		return LB_CONTINUE;
	return LB_REASON_returned_redirect;
}

/* The same as an XDP action, with the packet counted: returned_tx has no counter, lbd derives it
 * from what all backends have returned. */
static __always_inline int reply_sent(const struct packet *p, __u32 ifindex)
{
	int reason = reply_egress(p, ifindex);

	if (likely(reason == LB_REASON_returned_tx))
		return XDP_TX;
	return continues(reason) ? LB_CONTINUE : end(LB_REASON_returned_redirect, p);
}

/* Read from the packet again, as it is asked last: to keep the flags would cost a register. */
static __always_inline bool is_edge(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && ((const __u8 *)p->l4)[13] & LB_TCP_EDGES;
}

/* ---- the straight path ---- */

/* Whether a plain packet, if it is from a real, is for a client of the VIP. False: it may not be,
 * or not be this host's to send. Asked before the real is looked up: so little has to be kept over
 * the calls. */
static __always_inline bool reply_is_plain(const struct packet *p)
{
	if (unlikely(!is_sole_mac_at(p->l3 - ETH_HLEN)) && !is_first_mac(p))
		return false;
	if (unlikely(!is_remote(p)) && is_local(p->ctx, p->l3_offset, p->family))
		return false;
	return likely(!(p->family == 4 ? settings.direct4 : settings.direct6)) ||
	       !is_direct(p->ctx, p->l3_offset, p->family);
}

/* Read from the packet again: it would have to be kept over those calls. */
static __always_inline __u8 protocol_again(const struct packet *p)
{
	return p->family == 4 ? *(const volatile __u8 *)&((struct iphdr *)p->l3)->protocol
			      : *(const volatile __u8 *)&((struct ipv6hdr *)p->l3)->nexthdr;
}

/* A plain packet without tags that is not to a VIP, while there are reals. The XDP action;
 * LB_CONTINUE: reply_rare has to look at it, as at any whose way the kernel has to be asked for;
 * nothing has been changed. table: reals_word. p->family is a constant here. */
static __always_inline int reply_plain(struct packet *p, __u64 table)
{
	const struct lb_return *line;
	const struct lb_hop *hop;
	int action;
	__u32 id;

	if (!parse_plain(p) || !reply_is_plain(p))
		return LB_CONTINUE;
	p->protocol = protocol_again(p);
	line = real_find(table, p->family, source_of(p), *(__be16 *)p->l4, p->protocol, &id);
	if (unlikely(!line))
		return end(LB_REASON_not_vip, p);
	hop = hop_to(p);
	if (!hop || p->length > hop->plain_mtu || hop_limit(p) <= 1)
		return LB_CONTINUE;
	action = reply_sent(p, hop->ifindex);
	if (continues(action))
		return LB_CONTINUE;
	if (unlikely(!settings.finished))
		sum_finish(p->ctx);
	p->protocol = line->protocol; /* the same, which was not kept */
	macs_write(p->l3 - ETH_HLEN, (const void *)hop);
	source_write(p, line);
	source_port_write(p, line);
	transport_shift_plain(p, line->delta4);
	if (unlikely(is_edge(p)))
		reply_see(p->ctx, id, 0);
	count_returned(id, p->length);
	return action;
}

#endif
