/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops everything: the receiving end in tools/bench-veth, where the driver counts what arrives. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
