/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Both ends of the comparison with IPVS: generates frames instead of a driver, and receives what
 * the load balancer sends. Loaded by frames.c. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frames_traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frames_arrived);
} arrived SEC(".maps");

static void write_ipv4(struct iphdr *ip, const struct frames_traffic *t, __u32 flow)
{
	const __u16 *words = (const __u16 *)ip;
	__u32 sum = 0;

	*ip = (struct iphdr){
	    .version = 4,
	    .ihl = 5,
	    .tot_len = bpf_htons(FRAMES_LENGTH - ETH_HLEN),
	    .ttl = 64,
	    .protocol = t->protocol,
	    .saddr = bpf_htonl(FRAMES_SOURCES | (flow & ((1u << FRAMES_SOURCE_BITS) - 1))),
	    .daddr = t->vip,
	};
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = (__u16)~sum;
}

static void write_tcp(struct tcphdr *tcp, const struct frames_traffic *t, __be16 source)
{
	*tcp = (struct tcphdr){.source = source, .dest = t->port, .doff = 5, .window = 0xffff};
	((__u8 *)tcp)[13] = t->tcp_flags;
}

static void write_udp(struct udphdr *udp, const struct frames_traffic *t, __be16 source)
{
	*udp = (struct udphdr){
	    .source = source,
	    .dest = t->port,
	    .len = bpf_htons(FRAMES_LENGTH - ETH_HLEN - sizeof(struct iphdr)),
	};
}

/* Frames are recycled with their old content, so every header is written again. */
SEC("xdp")
int frames_make(struct xdp_md *ctx)
{
	struct ethhdr *eth = (struct ethhdr *)(long)ctx->data;
	struct iphdr *ip = (struct iphdr *)(eth + 1);
	struct frames_traffic *t;
	__u32 zero = 0, flow;
	__be16 source;

	t = bpf_map_lookup_elem(&traffic, &zero);
	if (!t || (void *)eth + FRAMES_LENGTH > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	flow = t->first + t->made++ % (t->flows ?: 1);
	source = bpf_htons(1024 + (flow >> FRAMES_SOURCE_BITS));
	__builtin_memcpy(eth->h_dest, t->dst_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, t->src_mac, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
	write_ipv4(ip, t, flow);
	if (t->protocol == IPPROTO_TCP)
		write_tcp((struct tcphdr *)(ip + 1), t, source);
	else
		write_udp((struct udphdr *)(ip + 1), t, source);
	return (int)bpf_redirect(t->ifindex, 0);
}

static int is_ours(const struct iphdr *outer, const struct iphdr *inner,
		   const struct frames_traffic *t)
{
	return outer->ihl == 5 && inner->daddr == t->vip && inner->protocol == t->protocol &&
	       inner->tot_len == bpf_htons(FRAMES_LENGTH - ETH_HLEN) &&
	       bpf_ntohl(inner->saddr) >> FRAMES_SOURCE_BITS ==
		   FRAMES_SOURCES >> FRAMES_SOURCE_BITS;
}

SEC("xdp")
int frames_take(struct xdp_md *ctx)
{
	struct ethhdr *eth = (struct ethhdr *)(long)ctx->data;
	struct iphdr *outer = (struct iphdr *)(eth + 1), *inner = outer + 1;
	struct frames_traffic *t;
	struct frames_arrived *count;
	__u32 zero = 0;

	if ((void *)(inner + 1) > (void *)(long)ctx->data_end ||
	    eth->h_proto != bpf_htons(ETH_P_IP) || outer->protocol != IPPROTO_IPIP)
		return XDP_PASS;
	t = bpf_map_lookup_elem(&traffic, &zero);
	count = bpf_map_lookup_elem(&arrived, &zero);
	if (!t || !count)
		return XDP_PASS;
	if (!is_ours(outer, inner, t)) {
		count->bad++;
		return XDP_PASS;
	}
	count->good++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
