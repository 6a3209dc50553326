/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way to a client: the next hop that lbd knows for its address, else the one that the kernel's
 * tables (FIB and neighbours) have. */
#ifndef LB_WAY_H
#define LB_WAY_H

#include "maps.h"
#include "nat.h"
#include "packet.h"
#include "scratch.h"

/* Of the C library's headers, which do not exist for BPF. */
#define FIB_INET  2
#define FIB_INET6 10

static __always_inline bool is_within_v4(__be32 address, const struct lb_prefix *prefix)
{
	return !((address ^ prefix->addr[0]) & prefix->mask[0]);
}

/* Often there is only one way: it is asked about before the loop. */
static __always_inline const struct lb_hop *hop_in_v4(__u32 part, __be32 address)
{
	const struct lb_hop *hop = hop_first(part);
	__u32 i;

	if (!LB_LIST_LENGTH(part))
		return NULL;
	if (is_within_v4(address, &hop->prefix))
		return hop;
	for (i = 1; i < LB_HOPS && i < LB_LIST_LENGTH(part); i++) {
		hop = hop_at(LB_LIST_AT(part) + i);
		if (is_within_v4(address, &hop->prefix))
			return hop;
	}
	return NULL;
}

/* Whether the address, as in a packet, is within the prefix. */
static __always_inline bool is_within_v6(const void *address, const struct lb_prefix *prefix)
{
	const __u64 *at = address, *want = (const void *)prefix->addr,
		    *mask = (const void *)prefix->mask;

	/* one branch, not two: the verifier walks each for every prefix of a list */
	return !(((at[0] ^ want[0]) & mask[0]) | ((at[1] ^ want[1]) & mask[1]));
}

static __always_inline const struct lb_hop *hop_in_v6(__u32 part, const void *address)
{
	const struct lb_hop *hop = hop_first(part);
	__u32 i;

	if (!LB_LIST_LENGTH(part))
		return NULL;
	if (is_within_v6(address, &hop->prefix))
		return hop;
	for (i = 1; i < LB_HOPS && i < LB_LIST_LENGTH(part); i++) {
		hop = hop_at(LB_LIST_AT(part) + i);
		if (is_within_v6(address, &hop->prefix))
			return hop;
	}
	return NULL;
}

/* The kernel's answer, in s->hop; 0: it has none. */
static __always_inline int hop_of_kernel(struct xdp_md *ctx, struct bpf_fib_lookup *fib,
					 struct scratch *s)
{
	if (bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	__builtin_memcpy(s->hop.dst_mac, fib->dmac, ETH_ALEN);
	__builtin_memcpy(s->hop.src_mac, fib->smac, ETH_ALEN);
	s->hop.vlan_tci = 0;
	s->hop.mtu = fib->mtu_result;
	s->hop.ifindex = fib->ifindex;
	return 1;
}

/* The kernel's answer for a packet from the VIP to the client. False: the packet is the kernel's to
 * send: it has to resolve a neighbour, to answer, or to drop it. */
LB_NOINLINE int hop_ask(struct xdp_md *ctx, __u32 l3_offset, __u32 family, __u32 backend)
{
	struct bpf_fib_lookup fib = {.ifindex = ctx->ingress_ifindex};
	const void *l3 = (void *)(long)ctx->data + (l3_offset & 31);
	const void *end = (void *)(long)ctx->data_end;
	const struct lb_return *line = return_of(backend);
	struct scratch *s = scratch_of();

	if (!s)
		return 0;
	if (family == 4) {
		const struct iphdr *ip = l3;

		if ((const void *)(ip + 1) > end)
			return 0;
		fib.family = FIB_INET;
		fib.tos = ip->tos;
		fib.l4_protocol = ip->protocol;
		fib.ipv4_src = line->vip[0];
		fib.ipv4_dst = ip->daddr;
	} else {
		const struct ipv6hdr *ip = l3;

		if ((const void *)(ip + 1) > end)
			return 0;
		fib.family = FIB_INET6;
		fib.l4_protocol = ip->nexthdr;
		copy_address_v6(fib.ipv6_src, line->vip);
		copy_address_v6(fib.ipv6_dst, &ip->daddr);
	}
	return hop_of_kernel(ctx, &fib, s);
}

/* The way to the packet's destination, which may be that the kernel is asked. NULL: the same. */
static __always_inline const struct lb_hop *hop_to(const struct packet *p)
{
	return p->family == 4 ? hop_in_v4(settings.hops4, ((const struct iphdr *)p->l3)->daddr)
			      : hop_in_v6(settings.hops6, &((const struct ipv6hdr *)p->l3)->daddr);
}

/* All but the prefix. */
static __always_inline void hop_copy(struct lb_hop *to, const struct lb_hop *from)
{
	__u64 *word = (void *)to;
	const __u64 *source = (const void *)from;

	word[0] = source[0];
	word[1] = source[1];
	to->ifindex = from->ifindex;
}

/* Puts the next hop of a reply of this backend into scratch->hop; false: there is none. */
LB_NOINLINE int hop_find(struct xdp_md *ctx, __u32 l3_offset, __u32 family, __u32 backend)
{
	struct packet p = {.end = (void *)(long)ctx->data_end,
			   .l3 = (void *)(long)ctx->data + (l3_offset & 31),
			   .family = family};
	struct scratch *s = scratch_of();
	const struct lb_hop *hop = NULL;

	if (family == 4 ? header_v4(&p) != NULL : header_v6(&p) != NULL)
		hop = hop_to(&p);
	if (!hop || !hop->ifindex)
		return hop_ask(ctx, l3_offset, family, backend);
	if (s)
		hop_copy(&s->hop, hop);
	return s != NULL;
}

#endif
