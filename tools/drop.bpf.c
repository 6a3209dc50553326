/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops everything: the end of the line in tools/bench-veth, where the driver's counter says how
 * much arrived. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
