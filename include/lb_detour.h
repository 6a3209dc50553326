/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way of health checks that go to a VIP: shared by bpf/detour.bpf.c and lbd. */
#ifndef LB_DETOUR_H
#define LB_DETOUR_H

#include <linux/types.h>

/* The marks of such sockets: this, and the number of the way in the low 16 bits. */
#define LB_DETOUR_MARK   0x4c420000u
#define LB_DETOUR_MASK   0xffff0000u
#define LB_DETOUR_WAYS   32768
#define LB_DETOUR_FILTER 0x4c42    /* the handle of the program among tc filters of priority 1 */
#define LB_DETOUR_ROOM   (40 + 12) /* IPv6, UDP and GUE */
#define LB_DETOUR_HEADER (14 + LB_DETOUR_ROOM)

/* How a backend is reached. */
struct lb_detour {
	__u32 ifindex;  /* of the device that it leaves through; 0: no way */
	__u16 vlan_tci; /* host order; 0: untagged */
	__u8 outer;     /* family of the outer header, 4 or 6; 0: none, forward: l2 */
	__u8 room;      /* bytes of header[] between Ethernet and the inner packet */
	__u8 udp;       /* where the UDP header begins in header[]; 0: there is none */
	__u8 pad1;
	__u16 csum;  /* IPv4: one's complement sum of the header, length and checksum being 0 */
	__u64 flags; /* of bpf_skb_adjust_room */
	/* Ethernet and outer header; lengths and checksum are filled in for each packet. */
	__u8 header[LB_DETOUR_HEADER];
	__u8 pad2[6];
	__u64 packets; /* sent this way */
};

_Static_assert(sizeof(struct lb_detour) == 104, "lb_detour");

#endif
