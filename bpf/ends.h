/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a reply of `forward: nat` with SYN, FIN or RST says of its connection: how long the backend
 * took to answer, that it refuses, that an end has closed. Other replies ask nothing here. Rules:
 * docs/tracking.md, "Replies". */
#ifndef LB_ENDS_H
#define LB_ENDS_H

#include "connect.h"
#include "count.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "service.h"
#include "slot.h"

/* The VLAN by which a frame came in, as its tag has it: LINK_VLAN of the TCI, 0: none. Two tags are
 * those of no backend's link. */
#define LINK_VLAN 0x0fff
#define LINK_ODD  0xffff

static __always_inline __u32 link_vlan(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const __be16 *type = data + 2 * ETH_ALEN; /* of what follows; TCI; type */

	if (data + ETH_HLEN + LB_VLAN_LEN > end || !is_vlan(type[0]))
		return 0;
	return is_vlan(type[2]) ? LINK_ODD : bpf_ntohs(type[1]) & LINK_VLAN;
}

/* Whether the frame came in where lbd sends to the backend, by the same VLAN: what claims to be a
 * reply and comes in elsewhere may be forged by a client. vlan: link_vlan, as it came. */
static __always_inline bool is_believed(const struct xdp_md *ctx, const struct lb_backend *b,
					__u32 vlan)
{
	return b->flags & LB_BACKEND_USED && b->ifindex == ctx->ingress_ifindex &&
	       (bpf_ntohs(b->vlan_tci) & LINK_VLAN) == vlan;
}

/* Whether it is a reset that answers a SYN: only that has the sequence number 0 and acknowledges
 * (RFC 9293, section 3.5.2); any other one has the number that the connection is at. */
static __always_inline bool refuses(__u32 flags, __u32 seq)
{
	return (flags & (LB_TCP_RST | LB_TCP_ACK)) == (LB_TCP_RST | LB_TCP_ACK) && !seq;
}

static __always_inline void count_refused(__u32 backend)
{
	__u32 index = bpf_get_smp_processor_id() * backend_slots + backend;
	struct lb_backend_count *count = bpf_map_lookup_elem(&backend_counts, &index);

	if (count)
		count->refused++;
}

/* The tuple of the client's packets, whether the reply has its VIP already or not. */
static __always_inline struct lb_tuple tuple_back(const struct packet *p,
						  const struct lb_return *line)
{
	const __be16 *port = p->l4; /* the backend's, the client's */
	const __be16 vip_port = line->vip_port ? line->vip_port : port[0];
	struct lb_tuple tuple = {.protocol = IPPROTO_TCP, .family = p->family};

	if (p->family == 4) {
		tuple.client[0] = ((const struct iphdr *)p->l3)->daddr;
		tuple.vip[0] = line->vip[0];
	} else {
		__builtin_memcpy(tuple.client, &((const struct ipv6hdr *)p->l3)->daddr, 16);
		__builtin_memcpy(tuple.vip, line->vip, 16);
	}
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	tuple.ports = port[1] | (__u32)vip_port << 16;
#else
	tuple.ports = (__u32)port[1] << 16 | vip_port;
#endif
	return tuple;
}

/* Whether the connection may be in the sample of connect.h or in the flow table. */
static __always_inline bool is_looked_up(const struct lb_tuple *tuple,
					 const struct lb_service *service)
{
	if (tracks_always(service))
		return true;
	return front_read(
		   ring_slot_index(region_read(&service->ring), tuple_hash(tuple, service->id))) &
	       LB_FRONT_TRANSITION;
}

/* The state after a FIN or RST of the backend. A handshake stays one: where connects are refused,
 * entries that count as active keep a backend from being the least loaded. Marks stay, too, as they
 * decide nothing. */
static __always_inline __u32 flow_state_back(__u32 state, __u32 tcp_flags)
{
	const __u32 open = LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(ENDING) | LB_FLOW_SET(FIN);

	if (!flow_is(state, open))
		return state;
	if (tcp_flags & LB_TCP_RST)
		return LB_FLOW_RST;
	return state == LB_FLOW_FIN ? LB_FLOW_CLOSED : LB_FLOW_ENDING;
}

/* A FIN or RST of the backend. */
LB_NOINLINE int flow_end(__u64 hash, __u32 backend, __u32 tcp_flags)
{
	__u64 entry, *place = flow_find(hash, &entry);
	__u32 state = LB_FLOW_STATE(entry), after;

	if (!place || LB_FLOW_BACKEND(entry) != backend)
		return 0;
	after = flow_state_back(state, tcp_flags);
	if (after != state)
		flow_refresh_to(hash, place, entry, after, tick_now());
	return 0;
}

/* A reply with SYN, FIN or RST. what: backend (0-15), TCP flags (16-23), whether it refuses (24).
 */
static __always_inline void tuple_see(const struct lb_tuple *tuple, __u32 what)
{
	struct lb_service *service = service_of(owner_of(what & LB_MAX_BACKENDS));
	__u64 hash;

	if (!service || !is_looked_up(tuple, service))
		return;
	hash = tuple_hash(tuple, 0);
	if (what & CONNECT_REFUSED || what >> 16 & LB_TCP_SYN) {
		if (!tracks_always(service) || connect_sampled(hash))
			connect_answer(hash, what);
	} else {
		flow_end(hash, what & LB_MAX_BACKENDS, what >> 16 & 0xff);
	}
}

/* Any packet that was sent as a reply of this backend. vlan: link_vlan, as it came. */
LB_NOINLINE int reply_see(struct xdp_md *ctx, __u32 backend, __u32 vlan)
{
	struct packet p = {.ctx = ctx};
	struct lb_tuple tuple;
	__u32 what;

	if (!is_believed(ctx, backend_at(backend), vlan) || !continues(parse_link(&p)) ||
	    !continues(parse_transport(&p)) || !(p.tcp_flags & LB_TCP_EDGES) || !p.l4 ||
	    p.l4 + sizeof(struct tcphdr) > p.end)
		return 0;
	what = (backend & LB_MAX_BACKENDS) | (__u32)p.tcp_flags << 16;
	if (refuses(p.tcp_flags, ((const struct tcphdr *)p.l4)->seq)) {
		count_refused(backend & LB_MAX_BACKENDS);
		what |= CONNECT_REFUSED;
	}
	tuple = tuple_back(&p, return_of(backend));
	tuple_see(&tuple, what);
	return 0;
}

#endif
