/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the program that sends many packets, tests/bpf/batch.bpf.c, and its driver, batch.c. */
#ifndef LBD_TEST_BATCH_ABI_H
#define LBD_TEST_BATCH_ABI_H

#include <linux/types.h>

#define BATCH_MOST      32768 /* shots */
#define BATCH_ROUND     1024  /* in one run of the program: the verifier unrolls the loop */
#define BATCH_FRAME     74    /* bytes: Ethernet, IPv6, TCP; IPv4 and UDP have a longer payload */
#define BATCH_TEMPLATES 8     /* power of two */
#define BATCH_SYNS      (1 << 18) /* entries of the map syns */

/* The hash of tests/bpf/batch_narrow.bpf.c: ten bits of the real one, so that tuples collide as if
 * an attacker could forge collisions. The ten bits are spread over all 64, so that buckets,
 * fingerprints and slots are still chosen evenly. */
#define BATCH_NARROW(h) (((h) >> 54) * 0x9e3779b97f4a7c15ULL + 0x94d049bb133111ebULL)

/* One packet: a template, the fields that differ from it, and the outcome. */
struct shot {
	__be32 client; /* the last word of its address */
	__be16 port;
	__u8 tcp_flags; /* of TCP templates */
	__u8 template;
	__u32 tick;       /* in which it arrives */
	__u32 after;      /* ns after the tick began */
	__be32 outer_dst; /* where it was sent to; of IPv6 the last word */
	__u32 verdict;    /* enum xdp_action */
	__be32 seq;       /* of TCP templates */
	/* A reply: from this address (the last word of its) and port, to `client` and `port`. 0: no
	 * reply. */
	__be32 real;
	__be16 real_port;
	/* outcome: what was sent has these ports, this source, and is of this family */
	__be16 ports[2];
	__u16 family;
	__be32 source;
	__u32 pad1; /* elements of a map are whole 64-bit words */
};

struct template
{
	__u8 frame[BATCH_FRAME];
	__u8 family;
	__u8 is_tcp;
	__u8 pad[4];
};

struct batch_control {
	__u64 clock_ns; /* what the program's clock says; set from each shot */
	__u64 dice;     /* state of its random numbers; not 0 */
	__u32 asked;    /* the packet is to be translated */
	__u32 answered; /* it has been looked at, and is none */
	__u32 shots;    /* how many of batch_shots are to be fired */
	__u32 fired;    /* how many were */
	struct template templates[BATCH_TEMPLATES];
};

#endif
