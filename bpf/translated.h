/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program that translates between IPv4 and IPv6, from top to bottom. What it returns is the
 * reason with which the packet ends, for the main program: it is no XDP action. */
#ifndef LB_TRANSLATED_H
#define LB_TRANSLATED_H

#include "embed.h"
#include "packet.h"
#include "reply_rare.h"
#include "translate.h"
#include "translate_back.h"
#include "translate_icmp.h"
#include "translate_in.h"

/* A packet to a VIP of a service that translates. */
static __always_inline int translate_in(struct xdp_md *ctx, __u32 backend)
{
	struct packet p = {.ctx = ctx};

	if (backend_at(backend)->family != 6 || !settings.embed_length ||
	    !continues(parse_link(&p)) || p.family != 4)
		return LB_REASON_untranslatable;
	if (!settings.finished)
		sum_finish(ctx);
	return ((struct iphdr *)p.l3)->protocol == IPPROTO_ICMP ? error_in(ctx, backend)
								: in_send(ctx, backend);
}

LB_NOINLINE __u32 back_from(struct xdp_md *ctx)
{
	return from_packet(ctx, LB_REAL_TRANSLATED);
}

/* A fragment or an error may be of a backend that has a service with an IPv6 VIP as well. */
static __always_inline bool is_of_translated(__u32 backend)
{
	return return_of(backend)->protocol & LB_REAL_TRANSLATED;
}

/* Of what comes from a backend the rest is TCP and UDP. */
static __always_inline bool is_error_of_v6(const struct packet *p)
{
	struct behind6 behind;

	return behind6_find(p, &behind) && behind.protocol == IPPROTO_ICMPV6;
}

LB_NOINLINE int is_local_v4(__be32 address)
{
	struct lb_path_key key = {.addr = {address}, .family = 4};

	return bpf_map_lookup_elem(&locals, &key) != NULL;
}

/* Whether it can be the address of a client: not this host's, nor a VIP. */
static __always_inline bool is_client_v4(__be32 address)
{
	__u32 bit = lb_address_bit(address, 0, 0, 0);

	if (!is_host_v4(address) || is_vip_v4(address))
		return false;
	return likely(!(settings.local[bit / 64 & 3] >> (bit & 63) & 1)) || !is_local_v4(address);
}

static __always_inline int back_leave(struct xdp_md *ctx, __u32 backend)
{
	const __u32 vlan = link_vlan(ctx);
	struct packet p = {.ctx = ctx};
	int reason;

	if (!continues(parse_link(&p)) || p.family != 6 ||
	    !is_client_v4(embed_read((const __u64 *)&((struct ipv6hdr *)p.l3)->daddr)))
		return LB_REASON_untranslatable;
	reason = is_error_of_v6(&p) ? error_back(ctx, backend) : back_send(ctx, backend);
	return reply_counted(ctx, backend, p.length, vlan, reason); /* it is IPv4 by now */
}

/* A packet that is not to a VIP: it may be a reply to an embedded client. */
static __always_inline int translate_back(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	__u32 from;

	if (!settings.embed_length || !continues(parse_link(&p)) || p.family != 6 ||
	    !is_to_embedded(&p))
		return LB_CONTINUE;
	from = back_from(ctx);
	if (FROM_REASON(from) == LB_REASON_not_vip)
		return LB_CONTINUE;
	if (FROM_REASON(from))
		return FROM_REASON(from);
	return is_of_translated(from) ? back_leave(ctx, from) : LB_CONTINUE;
}

static __always_inline int translated(struct xdp_md *ctx)
{
	struct lb_handover *handover = handover_of();

	if (!handover)
		return LB_REASON_untranslatable;
	return handover->backend ? translate_in(ctx, handover->backend) : translate_back(ctx);
}

#endif
