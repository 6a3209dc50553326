/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up what a process that reads answers of servers does not need: user, capabilities,
 * resources and system calls. For good: nothing brings it back. */
#ifndef LBD_HEALTH_CONFINE_H
#define LBD_HEALTH_CONFINE_H

#include "common/error.h"

/* rights_give_up (host/rights.h), and no core file, no file to write, no other process. 0 or
 * -errno. */
int confine_rights(struct error *err);
/* From now on only the system calls that probes over TCP need: no file can be opened, of sockets
 * only TCP, no memory can be made executable. Another call fails with EPERM; those that only an
 * intruder makes (exec, fork, ptrace, bpf, ...) end the process with SIGSYS. 0 or -errno. */
int confine_calls(struct error *err);

#endif
