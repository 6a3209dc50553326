/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` from an IPv4 VIP to IPv6 backends, and back: what the main program has of it. The
 * rest is a program of its own (translate_in.h, translate_back.h), so that it costs the others
 * nothing. Its result comes back here, as a tail call replaces only the function that makes it. */
#ifndef LB_TRANSLATE_H
#define LB_TRANSLATE_H

#include "maps.h"
#include "nat.h"
#include "packet.h"

/* Off in builds for tests and benchmarks that call the packet path from a program of another kind,
 * or from a frame of their own. */
#ifndef LB_TRANSLATE_ON
#define LB_TRANSLATE_ON 1
#endif

static __always_inline struct lb_handover *handover_of(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&handovers, &zero);
}

/* Has the packet translated and sent. backend: that it goes to; 0: it may be a reply. The reason,
 * or LB_CONTINUE: it is no reply of a translated service, and has not been changed. To be called
 * from the entry point's own frame alone: older frames than one of a tail call may have 255 bytes
 * of stack together. */
LB_NOINLINE int translate(struct xdp_md *ctx, __u32 backend)
{
	struct lb_handover *handover = handover_of();
	int reason = LB_REASON_untranslatable;

	OPAQUE(ctx); /* else it is no argument where it is not used */
	if (handover) {
		handover->backend = backend;
		if (LB_TRANSLATE_ON)
			bpf_tail_call(ctx, &programs, LB_PROGRAM_TRANSLATE);
	}
	/* hidden: the compiler sees no other value that this function could return */
	OPAQUE(reason);
	return reason;
}

/* Whether an IPv6 packet goes to a client that has only an IPv4 address. */
static __always_inline bool is_to_embedded(const struct packet *p)
{
	const __u64 *to = (const void *)&((const struct ipv6hdr *)p->l3)->daddr;

	return !(((to[0] ^ settings.embed[0]) & settings.embed_mask[0]) |
		 ((to[1] ^ settings.embed[1]) & settings.embed_mask[1]));
}

/* reals: reals_word. */
static __always_inline bool may_be_translated(const struct packet *p, __u64 reals)
{
	return p->family == 6 && reals & LB_REALS_TRANSLATED && is_to_embedded(p);
}

/* Whether a packet to this backend has to be translated. */
static __always_inline bool is_translated(const struct packet *p, const struct lb_backend *b)
{
	return p->family == 4 && b->family == 6;
}

#endif
