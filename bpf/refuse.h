/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet to a VIP that nothing takes: no service has its port, or the service has
 * no usable backend. Rejected as a host would, dropped, or passed to the kernel, as the config
 * says. */
#ifndef LB_REFUSE_H
#define LB_REFUSE_H

#include "icmp.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "reset.h"
#include "service.h"

/* Neighbour discovery with a hop limit of 255 (RFC 4861, section 3.1): it cannot come back from a
 * router, and is the kernel's if that has the VIP. */
LB_NOINLINE int is_neighbour_discovery(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	const struct ipv6hdr *ip;
	__u8 type;

	if (!continues(parse_link(&p)) || p.family != 6 || !continues(parse_transport(&p)))
		return 0;
	ip = header_v6(&p);
	if (!ip || !p.l4 || p.protocol != IPPROTO_ICMPV6 || ip->hop_limit != 255 ||
	    bytes_left(&p, p.l4) < ICMP_HEADER || p.l4 + ICMP_HEADER > p.end)
		return 0;
	type = *(__u8 *)p.l4;
	return type >= ICMP6_ROUTER_SOLICITATION && type <= ICMP6_REDIRECT;
}

/* Where the type of the next header is that the VIP does not speak, for "parameter problem". */
#define NEXT_HEADER_AT ((__u32)offsetof(struct ipv6hdr, nexthdr))

/* A protocol other than TCP, UDP and ICMP. After extension headers there is no error: it would have
 * to point at the last of them. */
static __always_inline int reject_protocol(const struct packet *p, __u32 sent_unsent)
{
	const struct ipv6hdr *ip = p->family == 6 ? header_v6(p) : NULL;

	if (p->family == 6 && (!ip || ip->nexthdr != p->protocol))
		return ICMP_ERROR_UNSENT(sent_unsent);
	return icmp_error(p->ctx, sent_unsent | ICMP_ERROR_PROTOCOL,
			  p->family == 6 ? NEXT_HEADER_AT : 0);
}

/* sent_unsent: ICMP_ERROR without a kind. */
LB_NOINLINE int reject(struct xdp_md *ctx, __u32 sent_unsent)
{
	struct packet p = {.ctx = ctx};
	int reason;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)) ||
	    p.kind == PACKET_LATER_FRAGMENT)
		return ICMP_ERROR_UNSENT(sent_unsent);
	if (p.protocol == IPPROTO_UDP)
		return icmp_error(ctx, sent_unsent | ICMP_ERROR_PORT, 0);
	if (p.protocol != IPPROTO_TCP)
		return reject_protocol(&p, sent_unsent);
	/* an established connection outlives its backend's absence, if that is short: no reset */
	reason = tcp_reset(ctx, ICMP_ERROR_SENT(sent_unsent) == LB_REASON_no_backend_rejected);
	if (continues(reason))
		return ICMP_ERROR_SENT(sent_unsent);
	return reason == LB_REASON_unserved ? (int)ICMP_ERROR_UNSENT(sent_unsent) : reason;
}

static __always_inline int refuse_no_backend(struct xdp_md *ctx, __u32 service_id)
{
	struct lb_service *service = bpf_map_lookup_elem(&services, &service_id);

	if (!service_id || !service)
		return LB_REASON_no_backend;
	if (service->no_backend == LB_REFUSE_REJECT)
		return reject(ctx, ICMP_ERROR(0, no_backend_rejected, no_backend));
	return service->no_backend == LB_REFUSE_PASS ? LB_REASON_no_backend_passed
						     : LB_REASON_no_backend;
}

/* reason: why there is no backend; service: its id, 0: none was found. Returns the reason with
 * which the packet ends. */
LB_NOINLINE int refuse(struct xdp_md *ctx, __u32 reason, __u32 service)
{
	__u32 refusal = settings.unserved;

	if (reason == LB_REASON_echo_answered)
		return echo_answer(ctx);
	if (reason == LB_REASON_no_backend)
		return refuse_no_backend(ctx, service);
	if (reason != LB_REASON_vip_no_service && reason != LB_REASON_vip_icmp_other)
		return reason;
	if (refusal == LB_REFUSE_PASS)
		return reason;
	if (reason == LB_REASON_vip_icmp_other)
		return is_neighbour_discovery(ctx) ? LB_REASON_vip_icmp_other : LB_REASON_unserved;
	if (refusal == LB_REFUSE_REJECT)
		return reject(ctx, ICMP_ERROR(0, unserved_rejected, unserved));
	return LB_REASON_unserved;
}

#endif
