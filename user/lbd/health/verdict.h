/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Decides whether a probe without a good answer counts against the backend, or whether only this
 * loop was late. */
#ifndef LBD_HEALTH_VERDICT_H
#define LBD_HEALTH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

enum verdict {
	VERDICT_FAILED, /* the backend had its time while this loop was listening */
	VERDICT_VOID,   /* the loop was late: the probe does not count and is repeated */
	VERDICT_WAIT,   /* the loop was late again: the probe gets the lost time in addition */
};

/* A repeated probe is never void: a loop that is always late still finds dead backends, only later,
 * as the time it was late does not count. Lateness is underestimated by up to the period of a beat,
 * so the loop must also have had a number of beats: more turns than a probe needs. All times in
 * us. */
#define VERDICT_BEATS 10

struct verdict_case {
	uint64_t timeout_us;
	uint64_t elapsed_us; /* since the probe began */
	/* total lateness of the loop in that time, as measured by its beats */
	uint64_t late_us;
	uint64_t beats; /* of the loop in that time */
	bool timed_out; /* no answer; false: a bad answer */
	bool repeated;  /* the probe before this one was void */
};

/* ret_wait_us: for VERDICT_WAIT, how much longer to wait. */
enum verdict verdict_of(const struct verdict_case *of, uint64_t *ret_wait_us);

#endif
