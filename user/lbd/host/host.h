/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the host must give before the data plane is opened: a bpf file system, locked memory, and
 * no other lbd on the same pin or socket. */
#ifndef LBD_HOST_H
#define LBD_HOST_H

#include "common/error.h"
#include "kernel.h"
#include "lateness.h"
#include "notify.h"
#include "seed.h"

/* Old kernels count maps against RLIMIT_MEMLOCK. Failing is not an error: newer ones do not. */
void host_raise_memlock(void);
/* Makes sure that path lies on a bpf file system (mounts one at /sys/fs/bpf if need be) and
 * exists. */
int host_prepare_pin(const char *path, struct error *err);
/* Makes the directory of a file, one level deep. */
int host_make_parent(const char *path, struct error *err);

struct host_locks {
	int socket, pin; /* descriptors; -1: not held */
};

/* Takes both locks, which end with the process. -EBUSY names the process that holds one. */
int host_lock(const char *socket, const char *pin, struct host_locks *ret, struct error *err);
void host_unlock(struct host_locks *locks);

#endif
