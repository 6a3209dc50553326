/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What network devices do with frames that an XDP program sends to them. */
#ifndef LBD_DEVICE_H
#define LBD_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/netdev.h"

#define DEVICE_WHY 256

enum device_takes {
	DEVICE_TAKES_UNKNOWN, /* a driver that this kernel tells nothing about */
	DEVICE_TAKES_FRAMES,
	DEVICE_TAKES_NONE,
};

/* Does the device take redirected frames from native XDP? For a veth the same holds for frames that
 * the program sends back. NONE: why says what is in the way and what to do. netdev NULL: the kernel
 * has no such family. */
enum device_takes device_takes(struct netdev *netdev, uint32_t ifindex, char why[DEVICE_WHY]);
/* Can native mode work there? False: why says why every packet would be lost. */
bool device_suits_native(struct netdev *netdev, uint32_t ifindex, char why[DEVICE_WHY]);
bool device_is_veth(const char *name);
/* A bond: in native mode the program runs on its ports, and each frame is redirected to the bond.
 */
bool device_is_bond(const char *name);
/* A card, whose packets come from a wire, with the checksums they were sent with: no host beside
 * this one left them to it, as on a veth, a tap or virtio. False: perhaps. */
bool device_is_card(const char *name);
/* Has the device an Ethernet header? */
bool device_is_ethernet(const char *name);
/* The other end of a veth, if it is in this network namespace; else 0. */
uint32_t device_peer(uint32_t ifindex);
/* The bond or bridge that a device is a port of; 0: none. */
uint32_t device_master(uint32_t ifindex);

/* Frames that a program on a veth sent back, since the veth was made. */
struct device_counts {
	uint64_t sent, lost;
};

/* 0 or -errno. */
int device_veth_counts(const char *name, struct device_counts *ret);

#endif
