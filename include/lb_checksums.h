/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets with and without whole checksums, by device: shared by bpf/checksums.bpf.c and lbd. */
#ifndef LB_CHECKSUMS_H
#define LB_CHECKSUMS_H

#include <linux/types.h>

#define LB_CHECKSUMS 64 /* devices */

struct lb_checksums {
	__u32 whole;
	__u32 unfinished; /* the sender left them to its device */
};

#endif
