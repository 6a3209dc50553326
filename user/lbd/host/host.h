/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Prepares the host before the data plane is opened: a bpf file system, locked memory, and locks
 * against a second lbd on the same pin or socket. */
#ifndef LBD_HOST_H
#define LBD_HOST_H

#include "common/error.h"
#include "aside.h"
#include "command.h"
#include "confine.h"
#include "curl_loop.h"
#include "kernel.h"
#include "lateness.h"
#include "loop.h"
#include "notify.h"
#include "rights.h"
#include "seed.h"
#include "spawn.h"
#include "tasks.h"

/* Raises RLIMIT_MEMLOCK, which old kernels (before 5.11) apply to maps. A failure is no error. */
void host_raise_memlock(void);
#define HOST_CAPABILITIES 64
/* Those that lbd needs and this process lacks, as "CAP_BPF, CAP_PERFMON"; "": none, or that is not
 * known. */
const char *host_missing_capabilities(char text[HOST_CAPABILITIES]);
/* Before there is a second thread: from then on the kernel waits tens of ms for an RCU grace period
 * each time the table of open descriptors must grow. A failure is no error. */
void host_make_room_for_descriptors(void);
/* Creates the directory path on a bpf file system; mounts one at /sys/fs/bpf if there is none. */
int host_prepare_pin(const char *path, struct error *err);
/* Creates the directory of a file, one level deep. */
int host_make_parent(const char *path, struct error *err);

struct host_locks {
	int socket, pin; /* descriptors; -1: not held */
};

/* Takes both locks, which end with the process. -EBUSY with the pid of the holder, if
 * it can be found, in err. */
int host_lock(const char *socket, const char *pin, struct host_locks *ret, struct error *err);
void host_unlock(struct host_locks *locks);

#endif
