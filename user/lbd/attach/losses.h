/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames that the program sent and no device took, as the kernel's tracepoints see them
 * (bpf/losses.bpf.c). */
#ifndef LBD_LOSSES_H
#define LBD_LOSSES_H

#include <stdint.h>

#include "common/error.h"

struct losses;

/* Starts to count. 0 or -errno; without BTF of the kernel, or CAP_PERFMON, this fails. */
int losses_new(struct losses **ret, struct error *err);
void losses_free(struct losses *losses); /* NULL is allowed */

/* More frames from one device to another (ifindex) were lost. error: -errno of the last; 0: none
 * given. */
typedef void losses_fn(void *arg, uint32_t from, uint32_t to, uint64_t frames, int error);
/* Calls found for each pair of devices with losses since the last call. */
void losses_read(struct losses *losses, losses_fn *found, void *arg);

#endif
