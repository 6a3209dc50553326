/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Both ends of the comparison with IPVS: generates frames instead of a driver, and receives what
 * the load balancer sends. Loaded by frames.c. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
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

struct ends {
	__be32 source, destination;
	__be16 source_port, destination_port;
};

static void write_ipv4(struct iphdr *ip, const struct frames_traffic *t, const struct ends *ends)
{
	const __u16 *words = (const __u16 *)ip;
	__u32 sum = 0;

	*ip = (struct iphdr){
	    .version = 4,
	    .ihl = 5,
	    .tot_len = bpf_htons(FRAMES_LENGTH - ETH_HLEN),
	    .ttl = 64,
	    .protocol = t->protocol,
	    .saddr = ends->source,
	    .daddr = ends->destination,
	};
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = (__u16)~sum;
}

static void write_tcp(struct tcphdr *tcp, const struct ends *ends, __u8 flags)
{
	*tcp = (struct tcphdr){.source = ends->source_port,
			       .dest = ends->destination_port,
			       .doff = 5,
			       .window = 0xffff};
	((__u8 *)tcp)[13] = flags;
}

static void write_udp(struct udphdr *udp, const struct ends *ends)
{
	*udp = (struct udphdr){
	    .source = ends->source_port,
	    .dest = ends->destination_port,
	    .len = bpf_htons(FRAMES_LENGTH - ETH_HLEN - sizeof(struct iphdr)),
	};
}

static void set_ends(struct ends *ends, const struct frames_traffic *t, __u32 flow, bool reply)
{
	__be32 client = bpf_htonl(FRAMES_SOURCES | (flow & ((1u << FRAMES_SOURCE_BITS) - 1)));
	__be16 port = bpf_htons(1024 + (flow >> FRAMES_SOURCE_BITS));

	*ends = reply ? (struct ends){t->real, client, t->real_port, port}
		      : (struct ends){client, t->vip, port, t->port};
}

/* Frames are recycled with their old content, so every header is written again. */
SEC("xdp")
int frames_make(struct xdp_md *ctx)
{
	struct ethhdr *eth = (struct ethhdr *)(long)ctx->data;
	struct iphdr *ip = (struct iphdr *)(eth + 1);
	struct frames_traffic *t;
	__u32 zero = 0, number;
	struct ends ends;
	bool reply;

	t = bpf_map_lookup_elem(&traffic, &zero);
	if (!t || (void *)eth + FRAMES_LENGTH > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	number = t->made++;
	/* no reply is in the batch of its request: the stack handles a batch stage by stage */
	reply = t->way == FRAMES_NAT && number / FRAMES_BATCH & 1;
	if (t->way == FRAMES_NAT)
		number = number / FRAMES_BATCH / 2 * FRAMES_BATCH + number % FRAMES_BATCH;
	set_ends(&ends, t, t->first + number % (t->flows ?: 1), reply);
	__builtin_memcpy(eth->h_dest, t->dst_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, t->src_mac, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
	write_ipv4(ip, t, &ends);
	if (t->protocol == IPPROTO_TCP)
		write_tcp((struct tcphdr *)(ip + 1), &ends, reply ? t->reply_flags : t->tcp_flags);
	else
		write_udp((struct udphdr *)(ip + 1), &ends);
	return (int)bpf_redirect(t->ifindex, 0);
}

static bool is_client(__be32 address)
{
	return bpf_ntohl(address) >> FRAMES_SOURCE_BITS == FRAMES_SOURCES >> FRAMES_SOURCE_BITS;
}

static bool is_of_traffic(const struct iphdr *ip, const struct frames_traffic *t)
{
	return ip->protocol == t->protocol && ip->tot_len == bpf_htons(FRAMES_LENGTH - ETH_HLEN);
}

static int is_ours(const struct iphdr *outer, const struct iphdr *inner,
		   const struct frames_traffic *t)
{
	return outer->ihl == 5 && inner->daddr == t->vip && is_of_traffic(inner, t) &&
	       is_client(inner->saddr);
}

/* Is it rewritten, whichever way it goes? The ports are at one place in both protocols. */
static int is_rewritten(const struct iphdr *ip, const struct frames_traffic *t)
{
	const struct udphdr *ports = (const struct udphdr *)(ip + 1);

	if (!is_of_traffic(ip, t))
		return 0;
	return is_client(ip->saddr) ? ip->daddr == t->real && ports->dest == t->real_port
				    : ip->saddr == t->vip && ports->source == t->port;
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
	    eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	t = bpf_map_lookup_elem(&traffic, &zero);
	count = bpf_map_lookup_elem(&arrived, &zero);
	if (!t || !count)
		return XDP_PASS;
	if (t->way == FRAMES_NAT ? !is_client(outer->saddr) && !is_client(outer->daddr)
				 : outer->protocol != IPPROTO_IPIP)
		return XDP_PASS;
	if (!(t->way == FRAMES_NAT ? is_rewritten(outer, t) : is_ours(outer, inner, t))) {
		count->bad++;
		return XDP_PASS;
	}
	count->good++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
