/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The benchmark's harness. One run handles one block of packets. For each packet: writes it, calls
 * the candidate as a function, restores the headroom. Stores the time that the block took.
 * Candidates: the program that lbd loads (bpf/lb.h), two floors, and a no-op whose cost is that of
 * the harness. The verifier allows 512 bytes of stack for all frames together, so the only one
 * below the candidate's is that of the loop, which is kept as small
 * as possible. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lb_reasons.h"
#include "tools/ns/job.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_job);
} bench_jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_result);
} bench_results SEC(".maps");

static __always_inline struct bench_job *job(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bench_jobs, &zero);
}

static __always_inline struct bench_result *result(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bench_results, &zero);
}

/* A tail call cannot come from a loop. What it would call is called by the loop, after the main
 * program, which has ended the packet here. */
static __always_inline int ask_for_translation(void)
{
	struct bench_result *r = result();

	if (r)
		r->asked = 1;
	return LB_REASON_untranslatable;
}

#define bpf_tail_call(ctx, map, index) (reason = ask_for_translation())
#include "bpf/lb.h"
#include "bpf/translated.h"

/* ---- candidates: global functions, so that the verifier and the compiler see each alone ---- */

__noinline int candidate_noop(struct xdp_md *ctx)
{
	asm volatile("" ::"r"(ctx));
	return XDP_TX;
}

__noinline int candidate_floor_macswap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u8 mac[6];

	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
	return XDP_TX;
}

/* The minimum for any IP-in-IP balancer: headroom, Ethernet header, and an outer header in which
 * nothing depends on the packet. */
__noinline int candidate_floor_encap(struct xdp_md *ctx)
{
	struct ethhdr *eth, *old;
	struct iphdr *ip;
	void *data, *end;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = (void *)(eth + 1);
	old = data + sizeof(*ip);
	if ((void *)(old + 1) > end || (void *)(ip + 1) > end)
		return XDP_ABORTED;
	__builtin_memcpy(eth->h_dest, old->h_source, 6);
	__builtin_memcpy(eth->h_source, old->h_dest, 6);
	eth->h_proto = bpf_htons(ETH_P_IP);
	*ip = (struct iphdr){.version = 4,
			     .ihl = 5,
			     .ttl = 64,
			     .protocol = IPPROTO_IPIP,
			     .tot_len = bpf_htons(60),
			     .saddr = bpf_htonl(0xac100001),
			     .daddr = bpf_htonl(0x0a00000b),
			     .check = bpf_htons(0x1234)};
	return XDP_TX;
}

__noinline int candidate_lbd(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

/* The verdict for a packet that is translated. */
__noinline int candidate_translation(struct xdp_md *ctx, __u32 verdict)
{
	struct bench_result *r = result();

	if (!r || !r->asked)
		return verdict;
	r->asked = 0;
	return reason_action(translated(ctx) & 63);
}

/* ---- the harness ---- */

static __always_inline __u32 next_flow(struct bench_job *job)
{
	if (job->sequential)
		return job->next++;
	job->next = job->next * 1664525 + 1013904223;
	return (__u32)(((__u64)job->next * job->flows) >> 32);
}

#define READ(type, at) (*(const type *)(job->frame + (at)))
/* In one store: a volatile one is not split or joined. */
#define WRITE(type, at, value) (*(volatile type *)(data + (at)) = (value))
#define COPY(type, at)         WRITE(type, at, READ(type, at))

#define LOW_HALF               0x00000000ffffffffULL
#define HIGH_WORD              0xffff000000000000ULL /* the last 16 bits of an address */

static __always_inline void write_link(void *data, const struct bench_job *job)
{
	COPY(__u64, 0);
	COPY(__u32, 8);
	COPY(__u16, 12);
}

static __always_inline __u64 service_word(const struct bench_job *job, __u32 flow)
{
	return job->services > 1 ? (__u64)bpf_htons(BENCH_SERVICE(job, flow)) << 48 : 0;
}

static __always_inline __u32 ports_word(const struct bench_job *job, __u32 at, __u32 flow)
{
	return (READ(__u32, at) & bpf_htonl(0xffff)) | bpf_htonl(BENCH_PORT(flow) << 16);
}

/* Client and VIP are one field. */
static __always_inline void write_v4(void *data, const struct bench_job *job, __u32 flow)
{
	__u64 vip = READ(__u64, 26) & ~LOW_HALF & ~HIGH_WORD;

	COPY(__u64, 14);
	COPY(__u32, 22);
	WRITE(__u64, 26, vip | service_word(job, flow) | bpf_htonl(BENCH_SOURCE(job, flow)));
	WRITE(__u32, 34, ports_word(job, 34, flow));
	COPY(__u64, 38);
	COPY(__u64, 46);
}

static __always_inline void write_v6(void *data, const struct bench_job *job, __u32 flow)
{
	__u64 client = bpf_htonl(BENCH_SOURCE(job, flow));

	COPY(__u64, 14);
	COPY(__u64, 22);
	WRITE(__u64, 30, (READ(__u64, 30) & LOW_HALF) | client << 32);
	COPY(__u64, 38);
	WRITE(__u64, 46, (READ(__u64, 46) & ~HIGH_WORD) | service_word(job, flow));
	WRITE(__u32, 54, ports_word(job, 54, flow));
	COPY(__u64, 58);
	COPY(__u64, 66);
}

/* Writes the fields of BENCH_FIELDS_V4 or _V6. */
static __always_inline int write_packet(struct xdp_md *ctx, struct bench_job *job)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 flow = next_flow(job);

	if (data + 54 > end)
		return -1;
	write_link(data, job);
	if (!job->ipv6) {
		write_v4(data, job, flow);
		return 0;
	}
	if (data + 74 > end)
		return -1;
	write_v6(data, job, flow);
	return 0;
}

/* Restores the packet's length, so that the next one starts at the same place. */
static __always_inline void restore(struct xdp_md *ctx, __u32 length)
{
	long have = (long)ctx->data_end - (long)ctx->data;

	OPAQUE(have); /* otherwise the compiler uses 32-bit arithmetic on packet pointers */
	bpf_xdp_adjust_head(ctx, (int)have - (int)length);
}

LB_NOINLINE int packet_begin(struct xdp_md *ctx)
{
	struct bench_job *j = job();

	return j ? write_packet(ctx, j) : -1;
}

LB_NOINLINE int packet_end(struct xdp_md *ctx, __u32 verdict)
{
	struct bench_job *j = job();
	struct bench_result *r = result();

	if (!j || !r)
		return -1;
	r->verdicts[verdict & 7]++;
	restore(ctx, j->length);
	return 0;
}

LB_NOINLINE int block_begin(void)
{
	struct bench_result *r = result();

	if (!r)
		return -1;
	r->block_ns = bpf_ktime_get_ns();
	return 0;
}

LB_NOINLINE int block_end(void)
{
	struct bench_result *r = result();

	if (!r)
		return -1;
	r->block_ns = bpf_ktime_get_ns() - r->block_ns;
	return 0;
}

#define HARNESS(name, verdict)                                             \
	SEC("xdp") int bench_##name(struct xdp_md *ctx)                    \
	{                                                                  \
		if (block_begin())                                         \
			return XDP_ABORTED;                                \
		for (int i = 0; i < BENCH_BLOCK_PACKETS; i++)              \
			if (packet_begin(ctx) || packet_end(ctx, verdict)) \
				return XDP_ABORTED;                        \
		return block_end() ? XDP_ABORTED : XDP_PASS;               \
	}

HARNESS(noop, candidate_noop(ctx))
HARNESS(floor_macswap, candidate_floor_macswap(ctx))
HARNESS(floor_encap, candidate_floor_encap(ctx))
HARNESS(lbd, candidate_lbd(ctx))
HARNESS(translated, candidate_translation(ctx, candidate_lbd(ctx)))

/* One packet as given: to check verdict and bytes in the same process. */
SEC("xdp") int one_lbd(struct xdp_md *ctx)
{
	return candidate_lbd(ctx);
}

SEC("xdp") int one_translated(struct xdp_md *ctx)
{
	return candidate_translation(ctx, candidate_lbd(ctx));
}

/* To count what the floor executes. */
SEC("xdp") int one_floor_encap(struct xdp_md *ctx)
{
	return candidate_floor_encap(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
