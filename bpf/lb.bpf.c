/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The load balancer's XDP program, and the one that it has packets between IPv4 and IPv6 translated
 * by: their entry points. The packet path begins in lb.h. */
#include "lb.h"
#include "translated.h"

/* xdp.frags: accepts frames in several buffers (jumbo frames). All headers that are read are in the
 * first buffer. */
SEC("xdp.frags")
int lb(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

/* In map `programs`. Not to be attached: it returns a reason. */
SEC("xdp.frags")
int lb_translate(struct xdp_md *ctx)
{
	return translated(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
