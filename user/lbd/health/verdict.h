/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a probe without a good answer says something about the backend, or only that this loop
 * was late. */
#ifndef LBD_HEALTH_VERDICT_H
#define LBD_HEALTH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

enum verdict {
	VERDICT_FAILED, /* the backend had its time, and this loop listened */
	VERDICT_VOID,   /* the loop was late: the probe says nothing and is made again */
	VERDICT_WAIT,   /* the loop was late again: the probe gets the time that it lost */
};

/* A probe that is made again is not void: a loop that is always late still finds out which backends
 * are dead, only later, as the time it was late does not count. A beat tells lateness short by up
 * to its period, so what is listened for takes a number of beats too: more turns of the loop than a
 * probe needs. All times in us. */
#define VERDICT_BEATS 10

struct verdict_case {
	uint64_t timeout_us;
	uint64_t elapsed_us; /* since the probe began */
	/* how late the loop was in that time, all in all, as far as its beats tell */
	uint64_t late_us;
	uint64_t beats; /* of the loop in that time */
	bool timed_out; /* no answer has come; else a bad one */
	bool repeated;  /* the probe before this one was void */
};

/* ret_wait_us: for VERDICT_WAIT, how much longer. */
enum verdict verdict_of(const struct verdict_case *of, uint64_t *ret_wait_us);

#endif
