/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The load balancer's XDP program: the entry; the story is in lb.h.
 * Loaded by user/lbd/dataplane.c, attached by user/lbd/attach.c. */
#include "lb.h"

SEC("xdp")
int lb(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

/* Helpers of the kernel that are for GPL-compatible programs alone are not used, but bpf_redirect_map's kin may be. */
char _license[] SEC("license") = "Dual BSD/GPL";
