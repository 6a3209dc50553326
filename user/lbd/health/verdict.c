/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lateness of the loop against time that a backend had. No clock, no state. */
#include "verdict.h"

#include "lbd/host/host.h"

/* So much lateness no answer is lost by: what a timer is late on any machine, a tenth of the
 * timeout. The timeout that comes late itself tells of what the beats missed. */
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
