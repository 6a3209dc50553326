/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The load balancer's XDP program: its entry point. The packet path begins in lb.h. */
#include "lb.h"

/* xdp.frags: accepts frames in several buffers (jumbo frames). All headers that are read are in the
 * first buffer. */
SEC("xdp.frags")
int lb(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
