/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What frames.c and frames.bpf.c share: the traffic to make, and what came back. */
#ifndef VMTEST_FRAMES_H
#define VMTEST_FRAMES_H

#include <linux/types.h>

#define FRAMES_LENGTH      74 /* bytes of a frame: Ethernet, IPv4, TCP or UDP, a little payload */
#define FRAMES_SOURCES     0xc6120000u /* 198.18.0.0/15, set aside for such measurements (RFC 2544) */
#define FRAMES_SOURCE_BITS 17
/* Frames in flight: half a veth ring, so that none is lost because the ring is full */
#define FRAMES_BATCH 128

/* Which way frames go, and what must come back. */
enum frames_way {
	FRAMES_TUNNEL, /* from clients to the VIP; as IP-in-IP */
	FRAMES_NAT, /* a batch to the VIP, then one of the real's replies to it; both rewritten */
};

struct frames_traffic {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__be32 vip;
	__be16 port;
	__u8 protocol;    /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 tcp_flags;   /* the TCP header's flag byte */
	__u8 reply_flags; /* the same of replies */
	__u8 way;         /* enum frames_way */
	__be32 real;      /* of FRAMES_NAT: the only backend */
	__be16 real_port;
	__u32 flows;   /* frames take turns among so many */
	__u32 first;   /* number of the first flow */
	__u32 ifindex; /* where the frames go out */
	__u32 made;    /* frames so far */
};

struct frames_arrived {
	__u64 good; /* one of our packets, as it has to be */
	__u64 bad;  /* any other that the balancer made of one */
};

#endif
