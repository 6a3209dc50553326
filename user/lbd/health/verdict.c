/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Compares the lateness of the loop with the time that a backend had. No clock, no state. */
#include "verdict.h"

#include "lbd/host/host.h"

/* Lateness up to a tenth of the timeout is normal for timers and loses no answer. A timeout that
 * itself comes late shows lateness that the beats have missed. */
static bool is_late(const struct verdict_case *of)
{
	uint64_t some_us = of->timeout_us / 10;

	return of->late_us > some_us ||
	       (of->timed_out && of->elapsed_us > of->timeout_us + some_us);
}

enum verdict verdict_of(const struct verdict_case *of, uint64_t *ret_wait_us)
{
	uint64_t listened_us = of->elapsed_us > of->late_us ? of->elapsed_us - of->late_us : 0;

	if (!is_late(of))
		return VERDICT_FAILED;
	if (!of->repeated)
		return VERDICT_VOID;
	if (!of->timed_out || (listened_us >= of->timeout_us && of->beats >= VERDICT_BEATS))
		return VERDICT_FAILED;
	*ret_wait_us = LATENESS_BEAT_US;
	if (listened_us < of->timeout_us && of->timeout_us - listened_us > LATENESS_BEAT_US)
		*ret_wait_us = of->timeout_us - listened_us;
	return VERDICT_WAIT;
}
