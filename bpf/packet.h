/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the stages know about a packet, and where it is sent. Both structs are kept in registers: a
 * function that is not inlined gets a copy, made only where such a rare call is made. */
#ifndef LB_PACKET_H
#define LB_PACKET_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lb_abi.h"
#include "lb_hash.h"
#include "lb_reasons.h"

#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* For a rare or long part, out of the common path. Global on purpose: the verifier checks a global
 * function once, on its own, instead of once for every path that calls it. It may take the context,
 * numbers and pointers to plain structs, and cannot take packet or map pointers of its caller. */
#define LB_NOINLINE __attribute__((noinline))

/* Hides a number from the compiler, which then cannot duplicate the code that follows for each of
 * its values: the verifier would walk every copy. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* Hides a 64-bit number from the verifier too, which would follow each of the values that it can
 * tell apart to the end. by: any 64-bit number of which it knows nothing. */
#define FORGET(x, by) asm volatile("%0 ^= %1\n%0 ^= %1" : "+r"(x) : "r"(by))

/* What a stage returns when the next one is to continue; anything else is an enum lb_reason. */
#define LB_CONTINUE (-1)

/* Tests the sign: the verifier of Linux 6.1 learns nothing from "not equal", and would continue
 * with a reason that has ended the packet. */
static __always_inline bool continues(int reason)
{
	return reason < 0;
}

#define LB_TCP_FIN 0x01
#define LB_TCP_SYN 0x02
#define LB_TCP_RST 0x04
#define LB_TCP_ACK 0x10
/* A packet with one of these opens or ends a flow: it changes more of its entry than the tick. */
#define LB_TCP_EDGES (LB_TCP_FIN | LB_TCP_SYN | LB_TCP_RST)

#define LB_VLAN_LEN  4
#define LB_MAX_TAGS  2

enum packet_kind {
	PACKET_WHOLE,
	PACKET_FIRST_FRAGMENT,
	PACKET_LATER_FRAGMENT,
};

struct packet {
	struct xdp_md *ctx;
	void *l3;        /* the IP header, readable to its fixed length */
	void *l4;        /* readable to the fixed length of TCP or UDP if protocol is one of them */
	void *end;       /* of the linear part */
	__u32 l3_offset; /* of l3 from the frame's start */
	/* bytes: of the IP packet according to its header; of the frame if it is not IP */
	__u32 length;
	__u32 ports;        /* the first word of TCP or UDP: client's, VIP's, wire order */
	__u32 fragment;     /* identification of a fragment, wire order */
	__u32 seq;          /* of a TCP packet that is not plain, wire order; for scratch.h */
	__u8 family;        /* 4 or 6 */
	__u8 protocol;      /* after IPv6 extension headers */
	__u8 traffic_class; /* DSCP and ECN */
	__u8 tcp_flags;     /* LB_TCP_*; 0 unless TCP */
	__u8 kind;          /* enum packet_kind */
};

/* Where the packet goes, filled stage by stage. */
struct route {
	struct lb_tables *tables;   /* in use when the packet arrived */
	__u64 multiplier;           /* of the tables */
	struct lb_service *service; /* of the backend */
	struct lb_backend *backend; /* NULL: none; otherwise the packet goes there */
	__u64 hash;                 /* of the flow */
	struct lb_vip *vip;
	__u32 vip_hash;
	__u32 backend_id;
	__u32 new_flow; /* to be counted as a new flow */
};

#endif
