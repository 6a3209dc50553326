/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Samples whether the packets that a native program sees on a veth have whole checksums
 * (bpf/checksums.bpf.c). */
#ifndef LBD_CHECKSUMS_H
#define LBD_CHECKSUMS_H

#include <stdint.h>

#include "lb_checksums.h"
#include "common/error.h"

struct checksums;

/* Looks at nothing yet. 0 or -errno; without BTF of the kernel, or CAP_PERFMON, this fails. */
int checksums_new(struct checksums **ret, struct error *err);
void checksums_free(struct checksums *checksums); /* NULL is allowed */
/* Begins to look at a device, or goes on. 0 or -errno. */
int checksums_watch(struct checksums *checksums, uint32_t ifindex);
/* What was seen since then. 0, or -ENOENT: it is not looked at. */
int checksums_read(const struct checksums *checksums, uint32_t ifindex, struct lb_checksums *ret);
/* Stops to look at a device; with the last one the program leaves the kernel's way. */
void checksums_forget(struct checksums *checksums, uint32_t ifindex);

#endif
