/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the benchmark's programs (bench.bpf.c) and their driver (bench_ns.c) share. */
#ifndef LBD_BENCH_H
#define LBD_BENCH_H

#include <linux/types.h>

/* Packets in one run of a program: the verifier walks the loop iteration by iteration */
#define BENCH_BLOCK_PACKETS     2048
#define BENCH_FRAME_MAX         128

#define BENCH_FIRST_SOURCE      0x0b000000u /* 11.0.0.0; eight flows from each client */
#define BENCH_SOURCE(job, flow) (BENCH_FIRST_SOURCE + ((flow) >> 3) * (job)->source_step)

/* What to send: a frame, and how flows differ from it. */
struct bench_job {
	__u32 length;        /* of the frame, bytes; 54 to BENCH_FRAME_MAX */
	__u32 flows;         /* distinct flows, 1 to 2^24 */
	__u32 services;      /* the VIP's last 16 bits count up to this, from the frame's own */
	__u32 source_offset; /* of the 32 bits of the client's address that vary */
	__u32 source_step;   /* from one client to the next */
	__u32 port_offset;   /* of the client's port */
	__u32 vip_offset;    /* of the VIP's last 16 bits */
	__u32 sequential;    /* 1: flow after flow, each once (new flows); 0: pseudo-random order */
	__u32 next;          /* where the sequence, or the random generator, stands */
	__u8 frame[BENCH_FRAME_MAX];
};

struct bench_result {
	__u64 block_ns;    /* of the last block */
	__u64 verdicts[8]; /* since they were set to 0 */
};

#endif
