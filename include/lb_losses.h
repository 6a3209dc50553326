/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames that a program sent and no device took: shared by bpf/losses.bpf.c and lbd. */
#ifndef LB_LOSSES_H
#define LB_LOSSES_H

#include <linux/types.h>

#define LB_LOSSES 1024 /* pairs of devices */

struct lb_loss_key {
	__u32 from; /* ifindex of the device that the frame came in on */
	__u32 to;   /* and of the one that it was sent to */
};

struct lb_loss {
	__u64 frames;
	__s32 error; /* -errno of the last one */
	__u32 pad;
};

#endif
