/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The source of the product with a clock and random numbers that the test sets, so that hours pass
 * at once and a seed repeats a run. One BPF_PROG_TEST_RUN sends many packets through it. The
 * program under test is called from a plain loop, not from a callback: that adds one stack frame of
 * the smallest size to those of the product, and the verifier allows 512 bytes for all frames
 * together. */
#include <stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lb_reasons.h"
#include "support/batch_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct batch_control);
} batch_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BATCH_MOST);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct shot);
} batch_shots SEC(".maps");

static __always_inline struct batch_control *control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&batch_control, &zero);
}

static __always_inline __u64 test_clock_ns(void)
{
	struct batch_control *c = control();

	return c ? c->clock_ns : 0;
}

static __always_inline __u32 test_dice(void)
{
	struct batch_control *c = control();

	if (!c)
		return 0;
	c->dice ^= c->dice << 13;
	c->dice ^= c->dice >> 7;
	c->dice ^= c->dice << 17;
	return c->dice >> 32;
}

/* What stands for the translation's result: the packet ends, and is looked at afterwards; or, when
 * it has been, goes on. */
static __always_inline int ask_for_translation(void)
{
	struct batch_control *c = control();

	if (!c || c->answered)
		return -1; /* LB_CONTINUE */
	c->asked = 1;
	return LB_REASON_untranslatable;
}

#define bpf_ktime_get_coarse_ns test_clock_ns
#define bpf_jiffies64()         (test_clock_ns() >> 20)
#define bpf_get_prandom_u32     test_dice
#define LB_SYNS                 BATCH_SYNS /* so that hardly two of a sequence share a place */
/* The program that translates is called from the loop, with the result of the main one: the frames
 * of both together would be more than the verifier allows. */
#define bpf_tail_call(ctx, map, index) (reason = ask_for_translation())
#include "bpf/lb.h"
#include "bpf/translated.h"

/* The next shot, or NULL when all were fired. */
static __always_inline struct shot *next_shot(void)
{
	struct batch_control *c = control();
	__u32 number;

	if (!c || c->fired >= c->shots)
		return NULL;
	number = c->fired;
	return bpf_map_lookup_elem(&batch_shots, &number);
}

/* l4: offset of the TCP header. */
static __always_inline void set_tcp(void *data, __u32 l4, const struct shot *shot)
{
	*(__be32 *)(data + l4 + 4) = shot->seq;
	*(__u8 *)(data + l4 + 13) = shot->tcp_flags;
}

/* Offsets from the frame's start, of the last words of the addresses, and of the transport
 * header. */
#define SOURCE(family)       ((family) == 4 ? 26 : 34)
#define DESTINATION(family)  ((family) == 4 ? 30 : 50)
#define TRANSPORT_AT(family) ((family) == 4 ? 34 : 54)

/* family: a constant here. */
static __always_inline void fill(void *data, const struct template *t, __u32 family,
				 const struct shot *shot)
{
	const __u32 l4 = TRANSPORT_AT(family);

	if (shot->real) {
		*(__be32 *)(data + SOURCE(family)) = shot->real;
		*(__be32 *)(data + DESTINATION(family)) = shot->client;
		*(__be16 *)(data + l4) = shot->real_port;
		*(__be16 *)(data + l4 + 2) = shot->port;
	} else {
		*(__be32 *)(data + SOURCE(family)) = shot->client;
		*(__be16 *)(data + l4) = shot->port;
	}
	if (t->is_tcp)
		set_tcp(data, l4, shot);
}

static __always_inline int write_packet(struct xdp_md *ctx, const struct shot *shot)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct batch_control *c = control();
	struct template *t;

	if (!c || data + BATCH_FRAME > end || shot->template >= BATCH_TEMPLATES)
		return -1;
	t = &c->templates[shot->template & (BATCH_TEMPLATES - 1)];
	__builtin_memcpy(data, t->frame, BATCH_FRAME);
	if (t->family == 4)
		fill(data, t, 4, shot);
	else
		fill(data, t, 6, shot);
	return 0;
}

/* family: a constant here. */
static __always_inline void note_sent(const void *data, const void *end, __u32 family,
				      struct shot *shot)
{
	const __u32 l4 = TRANSPORT_AT(family);

	if (data + l4 + 4 > end)
		return;
	shot->family = family;
	shot->outer_dst = *(__be32 *)(data + DESTINATION(family));
	shot->source = *(__be32 *)(data + SOURCE(family));
	shot->ports[0] = *(__be16 *)(data + l4);
	shot->ports[1] = *(__be16 *)(data + l4 + 2);
}

static __always_inline void note(struct xdp_md *ctx, struct shot *shot, __u32 verdict)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	shot->verdict = verdict;
	if (data + ETH_HLEN > end)
		return;
	if (*(__be16 *)(data + 2 * ETH_ALEN) == bpf_htons(ETH_P_IP))
		note_sent(data, end, 4, shot);
	else
		note_sent(data, end, 6, shot);
}

/* The next packet starts where this one did. */
static __always_inline void restore(struct xdp_md *ctx)
{
	long have = (long)ctx->data_end - (long)ctx->data;

	OPAQUE(have); /* else the compiler reorders into 32-bit arithmetic on packet pointers */
	bpf_xdp_adjust_head(ctx, (int)have - BATCH_FRAME);
}

/* Global functions: verified on their own, and their variables are not on the stack of the program
 * under test. */
LB_NOINLINE int load_shot(struct xdp_md *ctx)
{
	struct batch_control *c = control();
	struct shot *shot = next_shot();

	if (!c || !shot)
		return -1;
	c->clock_ns = ((__u64)shot->tick << LB_TICK_SHIFT) + shot->after;
	return write_packet(ctx, shot);
}

LB_NOINLINE int one_packet(struct xdp_md *ctx)
{
	return lb_packet(ctx);
}

#define AGAIN (-1)

/* The verdict; AGAIN: the main program has to go on with the packet. */
LB_NOINLINE int translate_shot(struct xdp_md *ctx, __u32 verdict)
{
	struct batch_control *c = control();
	int reason;

	if (!c || !c->asked)
		return verdict;
	c->asked = 0;
	reason = translated(ctx);
	c->answered = continues(reason);
	return c->answered ? AGAIN : reason_action(reason);
}

LB_NOINLINE int end_shot(struct xdp_md *ctx, __u32 verdict)
{
	struct batch_control *c = control();
	struct shot *shot = next_shot();

	if (!c || !shot)
		return -1;
	note(ctx, shot, verdict);
	restore(ctx);
	c->answered = 0;
	c->fired++;
	return 0;
}

/* The next BATCH_ROUND shots, or what is left of them. Fewer fired than asked for is an error. */
SEC("xdp") int fire(struct xdp_md *ctx)
{
	for (int i = 0; i < BATCH_ROUND; i++) {
		int verdict;

		if (load_shot(ctx))
			break;
		verdict = translate_shot(ctx, one_packet(ctx));
		if (verdict == AGAIN)
			verdict = one_packet(ctx);
		if (end_shot(ctx, verdict))
			return XDP_ABORTED;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
