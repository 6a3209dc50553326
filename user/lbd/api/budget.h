/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shares the descriptors that the process may have between health probes, control socket, metrics
 * and the API's listener. The shares do not overlap: none can use up what another needs. */
#ifndef LBD_BUDGET_H
#define LBD_BUDGET_H

#include <stdbool.h>

#define BUDGET_CONTROL_MAX 512
#define BUDGET_METRICS_MAX 128
#define BUDGET_REMOTE_MAX  256

struct budget {
	unsigned probes;  /* health probes that run at the same time */
	unsigned control; /* connections of the control socket */
	unsigned metrics; /* connections of the metrics listener */
	unsigned remote;  /* connections of the API's listener; 0 without one */
};

/* Pure. limit: RLIMIT_NOFILE; open: descriptors in use before any of these has one. remote: is
 * there a listener of the API? Every share is at least 1, also where there are too few. */
void budget_share(unsigned limit, unsigned open, bool remote, struct budget *ret);
/* The same for this process as it is now. */
void budget_now(bool remote, struct budget *ret);

#endif
