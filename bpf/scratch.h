/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Results that rare functions return to the common path. */
#ifndef LB_SCRATCH_H
#define LB_SCRATCH_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lb_abi.h"

/* What parse_rare has found; the common path copies it. */
struct transport {
	__u32 ports;
	__u32 fragment;
	__u32 seq;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 kind;
	__u8 pad;
};

/* Where a follower goes. */
struct follower_way {
	__u64 hash;
	__u32 backend;
	__u32 pad;
	/* of an ICMP error: the client of the flow that it quotes. Any router may send one, so the
	 * source address does not count for `allow` and `deny` */
	__be32 client[4];
};

#define SCRATCH_BYTES 512

/* Not on the stack: that has 512 bytes for all frames together, and the common path needs them. */
struct scratch {
	struct transport transport;
	struct follower_way way;
	struct lb_hop hop; /* of a reply; its prefix is not set */
	__u64 headers4[6]; /* struct headers4 of translate_back.h */
	/* a part of the frame, for chunk_sum. The verifier takes the length, rounded up to words,
	 * for three more than it can be */
	__u8 bytes[SCRATCH_BYTES + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_of(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

#endif
