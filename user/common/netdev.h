/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a network device can do with XDP: generic netlink family "netdev", Linux 6.3 and newer. */
#ifndef LBD_NETDEV_H
#define LBD_NETDEV_H

#include <stdint.h>

/* Bits of the kernel's enum netdev_xdp_act; older headers lack it. */
#define NETDEV_TAKES_FRAMES (1u << 2) /* NDO_XMIT: takes redirected frames */

struct netdev;

/* 0 or -errno. -EOPNOTSUPP: the kernel has no such family. */
int netdev_open(struct netdev **ret);
void netdev_close(struct netdev *netdev); /* NULL is allowed */
/* The features of one device as they are now. 0 or -errno; -ENODEV: no such device. netdev NULL:
 * -EOPNOTSUPP. */
int netdev_xdp_features(struct netdev *netdev, uint32_t ifindex, uint64_t *ret);

#endif
