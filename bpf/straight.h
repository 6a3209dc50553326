/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The straight path, first of all: what almost every packet needs, in one piece of code without
 * calls. A whole TCP or UDP packet without tags, options or extensions, to a service that asks
 * nothing of it (lb_straight in lb_abi.h), in a stable slot or of an established flow in the flow
 * table, to a backend that it fits; and a packet that is not to a VIP. It is made of the stages of
 * the long path, which lb.h calls for all else: for what is not straight nothing has been changed
 * and nothing counted. */
#ifndef LB_STRAIGHT_H
#define LB_STRAIGHT_H

#include "admit.h"
#include "count.h"
#include "flow.h"
#include "forward.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "path.h"
#include "select.h"
#include "service.h"
#include "slot.h"

/* Off in the build by which a test compares both paths. */
#ifndef LB_STRAIGHT_ON
#define LB_STRAIGHT_ON 1
#endif

/* So many bytes after the Ethernet header are readable: all of the headers of IPv4 and TCP, tested
 * once. Ethernet has no shorter frames. */
#define STRAIGHT_LEAST (sizeof(struct iphdr) + sizeof(struct tcphdr))

/* ---- the service ---- */

/* The straight word of the packet's service; 0: the long path. */
static __always_inline __u64 straight_find(const struct packet *p, struct route *r)
{
	if (likely(r->vip->main == lb_vip_main(p->ports, p->protocol)))
		return *(const volatile __u64 *)&r->vip->straight;
	if (!continues(service_find(r, p->protocol, p->ports)))
		return 0;
	return lb_straight(r->service, p->family);
}

/* ---- the backend, usable or not; false: the long path ---- */

/* The backend of an established flow whose entry this packet would not change: it has this tick
 * already, and the packet neither opens nor ends a flow. 0: there is no such entry. */
static __always_inline __u32 straight_entry(const struct packet *p, const struct route *r)
{
	struct lb_flow_bucket *bucket = flow_bucket(lb_bucket(r->hash, flow_mask));
	const __u32 lasting = LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(UDP);
	__u64 entry;

	if (!bucket || p->tcp_flags & (LB_TCP_FIN | LB_TCP_SYN | LB_TCP_RST) ||
	    !flow_find_in(bucket, r->hash, &entry) || !flow_is(LB_FLOW_STATE(entry), lasting) ||
	    LB_FLOW_TICK(entry) != FLOW_TICK(tick_now()))
		return 0;
	return LB_FLOW_BACKEND(entry);
}

/* A slot in transition decides nothing; but a flow that is on its current backend stamps nothing
 * either. */
static __always_inline bool straight_slot(const struct packet *p, struct route *r, __u64 word)
{
	__u32 size = (__u32)word & LB_STRAIGHT_SIZE;
	__u32 front = front_read(LB_STRAIGHT_UPPER(word) + lb_ring_index(r->hash, size));

	if (unlikely(front & LB_FRONT_TRANSITION)) {
		front &= LB_MAX_BACKENDS;
		if (straight_entry(p, r) != front)
			return false;
	}
	r->backend_id = front;
	r->backend = backend_at(front);
	return true;
}

/* A service that tracks always: the slot does not matter. */
static __always_inline bool straight_flow(const struct packet *p, struct route *r, __u64 word)
{
	r->backend_id = straight_entry(p, r);
	r->backend = backend_at(r->backend_id);
	return r->backend->service == LB_STRAIGHT_UPPER(word);
}

/* ---- sending; LB_CONTINUE: the long path ---- */

/* family: of the outer header, a constant here like tunnel. */
static __always_inline int straight_encap(const struct packet *p, const struct route *r,
					  enum lb_forward tunnel, __u8 family)
{
	const __u32 outer = outer_length(family, tunnel);

	if (unlikely(p->length + outer > r->backend->mtu) || !continues(hop_limit_decrease(p)))
		return LB_CONTINUE;
	return family == 4 ? encap_v4(p, r, ETH_HLEN, tunnel) : encap_v6(p, r, ETH_HLEN, tunnel);
}

static __always_inline int straight_tunnel(const struct packet *p, const struct route *r,
					   enum lb_forward tunnel)
{
	const __u32 kind = lb_backend_kind(r->backend);

	if (kind == LB_BACKEND_STRAIGHT(4))
		return straight_encap(p, r, tunnel, 4);
	return kind == LB_BACKEND_STRAIGHT(6) ? straight_encap(p, r, tunnel, 6) : LB_CONTINUE;
}

static __always_inline int straight_direct(const struct packet *p, const struct lb_backend *b)
{
	const __u32 kind = lb_backend_kind(b);

	if ((kind != LB_BACKEND_STRAIGHT(4) && kind != LB_BACKEND_STRAIGHT(6)) ||
	    p->length > b->mtu)
		return LB_CONTINUE;
	return direct(p, b, ETH_HLEN);
}

static __always_inline int straight_forward(const struct packet *p, const struct route *r,
					    __u32 forward)
{
	if (likely(forward == LB_FORWARD_IPIP))
		return straight_tunnel(p, r, LB_FORWARD_IPIP);
	if (forward == LB_FORWARD_GUE)
		return straight_tunnel(p, r, LB_FORWARD_GUE);
	if (forward == LB_FORWARD_GRE)
		return straight_tunnel(p, r, LB_FORWARD_GRE);
	return straight_direct(p, r->backend);
}

/* ---- the packet ---- */

/* Whether a packet of a service with a rate of new flows may open one. */
static __always_inline bool may_open(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && !(p->tcp_flags & LB_TCP_ACK);
}

static __always_inline int straight_send(const struct packet *p, struct route *r, __u64 word,
					 bool tracked, __u32 forward)
{
	r->hash = packet_hash(p, &settings.key);
	if (tracked ? !straight_flow(p, r, word) : !straight_slot(p, r, word))
		return LB_CONTINUE;
	return straight_forward(p, r, forward);
}

/* A packet to a VIP. */
static __always_inline int straight_serve(const struct packet *p, struct route *r)
{
	__u64 word;

	if (is_martian(p) || (!is_sole_mac_at(p->l3 - ETH_HLEN) && !is_first_mac(p)))
		return LB_CONTINUE;
	word = straight_find(p, r);
	/* the most common kinds of service: code without branches on the kind */
	if (likely(LB_STRAIGHT_KIND(word) == LB_STRAIGHT_KIND(LB_STRAIGHT_OPEN)))
		return straight_send(p, r, word, false, LB_FORWARD_IPIP);
	if (LB_STRAIGHT_KIND(word) == LB_STRAIGHT_KIND(LB_STRAIGHT_OPEN | LB_STRAIGHT_TRACKED))
		return straight_send(p, r, word, true, LB_FORWARD_IPIP);
	if (!word || ((__u32)word & LB_STRAIGHT_LIMITED && may_open(p)))
		return LB_CONTINUE;
	return straight_send(p, r, word, (__u32)word & LB_STRAIGHT_TRACKED,
			     LB_STRAIGHT_FORWARD(word));
}

/* p->family is a constant here. */
static __always_inline int straight_ip(struct packet *p)
{
	struct route r = {};
	int reason;

	if (!continues(vip_find(p, &r)))
		return likely(!is_icmp(p)) ? end(LB_REASON_not_vip, p) : LB_CONTINUE;
	reason = parse_plain(p) ? straight_serve(p, &r) : LB_CONTINUE;
	if (continues(reason))
		return LB_CONTINUE;
	r.new_flow = is_syn(p);
	return end_sent(reason, p, &r);
}

/* The XDP action; LB_CONTINUE: the packet takes the long path. */
static __always_inline int straight(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx, .l3_offset = ETH_HLEN};
	void *data = (void *)(long)ctx->data;

	if (!LB_STRAIGHT_ON)
		return LB_CONTINUE;
	p.end = (void *)(long)ctx->data_end;
	if (data + ETH_HLEN + STRAIGHT_LEAST > p.end)
		return LB_CONTINUE;
	p.l3 = data + ETH_HLEN;
	if (!continues(parse_ip_fixed(&p, *(__be16 *)(data + 2 * ETH_ALEN))))
		return LB_CONTINUE;
	if (p.family == 4) {
		p.family = 4;
		return straight_ip(&p);
	}
	if (p.l3 + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) > p.end)
		return LB_CONTINUE;
	p.family = 6;
	return straight_ip(&p);
}

#endif
