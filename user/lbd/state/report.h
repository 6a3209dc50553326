/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many changes of backends and services have a log line of their own. The budget itself has no
 * clock, for tests. */
#ifndef LBD_STATE_REPORT_H
#define LBD_STATE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#define REPORT_NAMED      100 /* lines in a second */
#define REPORT_CONDITIONS 9   /* enum backend_condition */
#define REPORT_STATUSES   6   /* enum service_status */

struct report {
	uint64_t second_ms; /* CLOCK_MONOTONIC when the present second began; 0: none has */
	unsigned named;     /* lines in it */
	/* Changes without a line, by what backends and services have become. */
	unsigned backends[REPORT_CONDITIONS], services[REPORT_STATUSES];
	unsigned others; /* other lines that were left out */
};

/* May one more change have a line? */
bool report_may_name(struct report *report, uint64_t now_ms);

#endif
