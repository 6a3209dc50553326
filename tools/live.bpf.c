/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Generates frames instead of a driver: with BPF_F_TEST_XDP_LIVE_FRAMES each run of the program
 * sends a frame through an interface. The client's address counts through the flows. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADERS 42 /* Ethernet, IPv4, UDP */

const volatile __u32 ifindex = 1;
const volatile __u32 flows = 1;
const volatile __u8 headers[HEADERS] = {1};
__u32 made;

SEC("xdp") int live(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);

	if (data + HEADERS > end)
		return XDP_ABORTED;
	/* Pages are recycled with what the load balancer wrote into them. */
	for (int i = 0; i < HEADERS; i += 2)
		*(__u16 *)(data + i) = *(const volatile __u16 *)(headers + i);
	ip->saddr = bpf_htonl(0x0b000000 | made++ % flows);
	return bpf_redirect(ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
