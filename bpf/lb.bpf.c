/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The load balancer's XDP program: the entry; the story is in lb.h.
 * Loaded by user/lbd/dataplane.c, attached by user/lbd/attach.c. */
#include "lb.h"

/* frags: takes frames in several buffers (jumbo frames). All headers it looks at are in the
 * first. */
SEC("xdp.frags")
int lb(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
