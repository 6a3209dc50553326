/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lateness of the loop against time that a backend had. No clock, no state. */
#include "verdict.h"

/* So much lateness no answer is lost by: what a timer is late on any machine, a tenth of the timeout. */
static bool is_late(const struct verdict_case *of)
{
	return of->late_us > of->timeout_us / 10;
}

enum verdict verdict_of(const struct verdict_case *of, uint64_t *ret_wait_us)
{
	uint64_t listened_us = of->elapsed_us > of->late_us ? of->elapsed_us - of->late_us : 0;

	if (!is_late(of))
		return VERDICT_FAILED;
	if (!of->repeated)
		return VERDICT_VOID;
	if (!of->timed_out || listened_us >= of->timeout_us)
		return VERDICT_FAILED;
	*ret_wait_us = of->timeout_us - listened_us;
	return VERDICT_WAIT;
}
