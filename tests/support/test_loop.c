/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An event loop in tests. */
#include "test_loop.h"

#include "common/clock.h"

void test_loop_run(struct event_base *base, uint64_t ms)
{
	uint64_t end = clock_monotonic_ms() + ms, now;

	/* a loop exit left over may end a round early */
	while ((now = clock_monotonic_ms()) < end) {
		struct timeval rest = clock_span_ms(end - now);

		event_base_loopexit(base, &rest);
		event_base_dispatch(base);
	}
}
