/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The probe process: runs the probes of the kinds that read what servers send, without rights. lbd
 * starts its own program again as such: that gives it memory of its own, which holds neither maps
 * nor seeds nor tokens and is laid out anew, and it can be started again at any time. */
#ifndef LBD_HEALTH_WORKER_H
#define LBD_HEALTH_WORKER_H

#include <stdbool.h>

/* The one argument of the probe process. */
#define WORKER_ARGUMENT "--probe-process"
#define WORKER_FD       3 /* its socket to lbd; 0 to 2 lead nowhere */

/* Has main asked health_is_worker? A program that does not would run as itself once more. */
bool worker_can_start(void);

#endif
