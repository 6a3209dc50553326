/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shares the descriptors that the process may have between health probes, control socket and
 * metrics. The shares do not overlap: none can use up what another needs. */
#ifndef LBD_BUDGET_H
#define LBD_BUDGET_H

#define BUDGET_CONTROL_MAX 512
#define BUDGET_METRICS_MAX 128

struct budget {
	unsigned probes;  /* health probes that run at the same time */
	unsigned control; /* connections of the control socket */
	unsigned metrics; /* connections of the metrics listener */
};

/* Pure. limit: RLIMIT_NOFILE; open: descriptors in use before any of the three has one. Every share
 * is at least 1, also where there are too few. */
void budget_share(unsigned limit, unsigned open, struct budget *ret);
/* The same for this process as it is now. */
void budget_now(struct budget *ret);

#endif
