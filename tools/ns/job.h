/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the benchmark's programs (tools/bench.bpf.c) and their driver share. */
#ifndef LBD_BENCH_JOB_H
#define LBD_BENCH_JOB_H

#include <linux/types.h>

/* Packets in one run of a program: the verifier walks the loop iteration by iteration */
#define BENCH_BLOCK_PACKETS      2048
#define BENCH_FRAME_MAX          128

#define BENCH_FIRST_SOURCE       0x0b000000u /* 11.0.0.0; eight flows from each client */
#define BENCH_SOURCE(job, flow)  (BENCH_FIRST_SOURCE + ((flow) >> 3) * (job)->source_step)
#define BENCH_PORT(flow)         (1024 + ((flow)&7) * 4099)
#define BENCH_SERVICE(job, flow) (((flow)*40503u >> 4) % (job)->services)

/* The offsets at which the fields begin that the harness writes, one store each, at least as wide
 * as any program reads them; then where they end, and 0. A load that spans two pending stores waits
 * for both, which never happens with packets from a network card. `bench_ns --count` reports such
 * loads. */
#define BENCH_FIELDS_V4                                 \
	{                                               \
		0, 8, 12, 14, 22, 26, 34, 38, 46, 54, 0 \
	}
#define BENCH_FIELDS_V6                                         \
	{                                                       \
		0, 8, 12, 14, 22, 30, 38, 46, 54, 58, 66, 74, 0 \
	}

/* What to send: a frame, and how flows differ from it. */
struct bench_job {
	__u32 length;      /* of the frame, bytes; 54 (IPv6: 74) to BENCH_FRAME_MAX */
	__u32 ipv6;        /* 1: the frame is IPv6 */
	__u32 flows;       /* distinct flows, 1 to 2^24 */
	__u32 services;    /* the VIP's last 16 bits count up to this, from 0 */
	__u32 source_step; /* from one client to the next */
	__u32 sequential;  /* 1: flow after flow, each once (new flows); 0: pseudo-random order */
	__u32 next;        /* where the sequence, or the random generator, stands */
	__u32 pad;
	__u8 frame[BENCH_FRAME_MAX];
};

struct bench_result {
	__u64 block_ns;    /* of the last block */
	__u64 verdicts[8]; /* since they were set to 0 */
	__u64 asked;       /* the packet is to be translated */
};

#endif
