/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds the service: destination address -> VIP, then VIP, protocol and port -> service. Both
 * tables are hash tables in plain arrays, one cache line per bucket; lbd picks a seed with which no
 * bucket overflows. */
#ifndef LB_SERVICE_H
#define LB_SERVICE_H

#include "maps.h"
#include "packet.h"

/* Puts the tables in use into the route; the packet uses the same ones throughout. */
static __always_inline void tables_find(struct route *r)
{
	r->tables = &settings.tables[settings.active & 1];
	r->multiplier = r->tables->multiplier;
}

static __always_inline int vip_find_v4(struct route *r, __be32 address)
{
	struct lb_vip_bucket *bucket;
	__u32 index;
	int i;

	r->vip_hash = lb_vip_hash(&address, 4, r->multiplier);
	index = r->tables->vip_base + (r->vip_hash & r->tables->vip_mask);
	bucket = vip_bucket_at(index);
#pragma unroll
	for (i = 0; i < LB_VIP_WAYS; i++) {
		/* an empty place has no family */
		if (bucket->vip[i].addr[0] != address || bucket->vip[i].family != 4)
			continue;
		r->vip = &bucket->vip[i];
		return LB_CONTINUE;
	}
	return LB_REASON_not_vip;
}

static __always_inline int vip_find_v6(struct route *r, const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;
	struct lb_vip_bucket *bucket;
	__u32 index;
	int i;

	r->vip_hash = lb_vip_hash(word, 6, r->multiplier);
	index = r->tables->vip_base + (r->vip_hash & r->tables->vip_mask);
	bucket = vip_bucket_at(index);
#pragma unroll
	for (i = 0; i < LB_VIP_WAYS; i++) {
		struct lb_vip *vip = &bucket->vip[i];
		const __u64 *half = (const void *)vip->addr, *wanted = (const void *)word;

		if (half[1] != wanted[1] || half[0] != wanted[0] || vip->family != 6)
			continue;
		r->vip = vip;
		return LB_CONTINUE;
	}
	return LB_REASON_not_vip;
}

static __always_inline int vip_find(const struct packet *p, struct route *r)
{
	tables_find(r);
	if (p->family == 4)
		return vip_find_v4(r, ((struct iphdr *)p->l3)->daddr);
	return vip_find_v6(r, &((struct ipv6hdr *)p->l3)->daddr);
}

/* The service id, 0: none. port: host order. */
static __always_inline __u32 port_find(const struct route *r, __u8 protocol, __u32 port)
{
	__u64 key = LB_PORT_KEY(r->vip->id, port, protocol);
	__u32 index = r->tables->port_base +
		      (lb_port_hash(r->vip_hash, key, r->multiplier) & r->tables->port_mask);
	struct lb_port_bucket *bucket = bpf_map_lookup_elem(&ports, &index);
	int i;

	if (!bucket)
		return 0;
#pragma unroll
	for (i = 0; i < LB_PORT_WAYS; i++) {
		__u64 word = *(volatile __u64 *)&bucket->port[i];

		if ((word ^ key) >> 24 == 0)
			return LB_PORT_SERVICE(word);
	}
	return 0;
}

/* ports: the first word of the TCP or UDP header of a packet to the VIP. */
static __always_inline int service_find(struct route *r, __u8 protocol, __u32 ports)
{
	__u32 id, any;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	id = port_find(r, protocol, bpf_ntohs(ports >> 16));
#else
	id = port_find(r, protocol, ports & 0xffff);
#endif
	if (unlikely(!id)) {
		any = protocol == IPPROTO_TCP ? LB_VIP_ANY_TCP : LB_VIP_ANY_UDP;
		if (!(r->vip->flags & any))
			return LB_REASON_vip_no_service;
		id = port_find(r, protocol, 0);
	}
	/* with service_of(id), the verifier of Linux 6.18 refuses the program */
	r->service = bpf_map_lookup_elem(&services, &id);
	if (!r->service || !r->service->id)
		return LB_REASON_vip_no_service;
	return LB_CONTINUE;
}

static __always_inline struct lb_service *service_of(__u32 id)
{
	return bpf_map_lookup_elem(&services, &id);
}

/* Whether every packet of the service is looked up in the flow table, not only in transitions. */
static __always_inline bool tracks_always(const struct lb_service *service)
{
	return service->flags & LB_SERVICE_TRACKING;
}

#endif
