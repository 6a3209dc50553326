/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What frames.c and frames.bpf.c share: the traffic to make, and what came back. */
#ifndef VMTEST_FRAMES_H
#define VMTEST_FRAMES_H

#include <linux/types.h>

#define FRAMES_LENGTH      74 /* bytes of a frame: Ethernet, IPv4, TCP or UDP, a little payload */
#define FRAMES_SOURCES     0xc6120000u /* 198.18.0.0/15, set aside for such measurements (RFC 2544) */
#define FRAMES_SOURCE_BITS 17

struct frames_traffic {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__be32 vip;
	__be16 port;
	__u8 protocol;  /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 tcp_flags; /* the TCP header's flag byte */
	__u32 flows;    /* frames take turns among so many */
	__u32 first;    /* number of the first flow */
	__u32 ifindex;  /* where the frames go out */
	__u32 made;     /* frames so far */
};

struct frames_arrived {
	__u64 good; /* IP-in-IP with one of our packets inside */
	__u64 bad;  /* IP-in-IP with anything else inside */
};

#endif
