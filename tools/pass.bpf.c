/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Passes everything. For the lab's end of the load balancer's veth pair: a veth accepts frames sent
 * by XDP_TX only if its own end runs NAPI. An XDP program enables NAPI; with GRO instead, NAPI can
 * stop for good under load (seen with Linux 6.18). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
