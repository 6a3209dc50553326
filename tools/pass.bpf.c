/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Passes everything. On the lab's end of the load balancer's cable: a veth takes frames sent by
 * XDP_TX only when its own end runs NAPI, and with GRO as the means of that its NAPI was seen to
 * stop for good under load (kernel 6.18). Attached by tools/lab.sh. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
