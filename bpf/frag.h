/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Later fragments carry no ports: they follow the first fragment of their datagram. A small
 * direct-mapped table holds its backend. If two datagrams in flight share a place (p = 1/8192
 * each), one of them is lost; a wrong match needs 32 more hash bits to agree within FRAG_IDLE. */
#ifndef LB_FRAG_H
#define LB_FRAG_H

#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "select.h"

#define FRAG_IDLE 30 /* ticks: as long as receivers commonly wait for the rest of a datagram */

/* What identifies a datagram: RFC 791 includes the protocol, RFC 8200 does not. */
static __always_inline __u64 fragment_hash(const struct packet *p, const struct route *r)
{
	__u32 protocol = p->family == 4 ? p->protocol : 0;

	return packet_hash_prefix(p, &settings.key, p->fragment, protocol | LB_HASH_DOMAIN_FRAGMENT,
				  32, 128);
}

static __always_inline __u64 *fragment_place(__u64 hash)
{
	__u32 index = (__u32)hash & (LB_FRAGS - 1);

	return bpf_map_lookup_elem(&frags, &index);
}

static __always_inline bool fragment_is_fresh(__u64 word)
{
	return word & LB_FRAG_USED && flow_age(word, tick_now()) <= FRAG_IDLE;
}

static __always_inline void fragment_write(__u64 *place, __u64 hash, __u64 way)
{
	*(volatile __u64 *)place = hash >> 32 << 32 | LB_FRAG_USED | way | FLOW_TICK(tick_now());
}

/* A first fragment: the rest of the datagram goes the same way, to the backend, or to the kernel if
 * no service has the port. */
static __always_inline void fragment_remember(const struct packet *p, const struct route *r,
					      int reason)
{
	__u64 hash = fragment_hash(p, r), *place = fragment_place(hash);
	__u64 backend = continues(reason) ? r->backend_id : 0;

	if (place && (continues(reason) || reason == LB_REASON_vip_no_service))
		fragment_write(place, hash, backend << LB_FRAG_BACKEND_SHIFT);
}

/* A first fragment that is dropped: so is the rest of the datagram. It does not take the place of a
 * datagram that is not. */
static __always_inline void fragment_forbid(const struct packet *p, const struct route *r)
{
	__u64 hash = fragment_hash(p, r), *place = fragment_place(hash), word;

	if (!place)
		return;
	word = *(volatile __u64 *)place;
	if (word & LB_FRAG_DROPPED || !fragment_is_fresh(word))
		fragment_write(place, hash, LB_FRAG_DROPPED);
}

/* Whether a later fragment with this protocol may be of a TCP or UDP packet: what is fragmented of
 * IPv6 may begin with extension headers. */
static __always_inline bool may_have_ports(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || is_extension(protocol);
}

static __always_inline int fragment_lost(const struct packet *p)
{
	if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6)
		return LB_REASON_vip_icmp_other;
	return may_have_ports(p->protocol) ? LB_REASON_fragment_unknown : LB_REASON_vip_no_service;
}

/* Finds the backend of a later fragment. */
static __always_inline int fragment_follow(const struct packet *p, struct route *r)
{
	__u64 hash = fragment_hash(p, r), *place = fragment_place(hash), word;
	__u32 id;

	if (!place)
		return fragment_lost(p);
	word = *(volatile __u64 *)place;
	if ((word ^ hash) >> 32 || !fragment_is_fresh(word))
		return fragment_lost(p);
	if (word & LB_FRAG_DROPPED)
		return LB_REASON_fragment_refused;
	id = LB_FRAG_BACKEND(word);
	if (!id)
		return LB_REASON_vip_no_service;
	r->hash = hash;
	return route_to(r, id);
}

#endif
