/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Passive checks: a backend whose connects fail, as the traffic itself shows, takes no new flow for
 * a while, whatever its checks find. Outlier detection as Envoy has it, at Layer 4. Pure. */
#ifndef LBD_PASSIVE_H
#define LBD_PASSIVE_H

#include <stdbool.h>
#include <stdint.h>

#define PASSIVE_CONNECTS 20              /* fewer say nothing */
#define PASSIVE_FAILED   10              /* ... and fewer that fail are chance */
#define PASSIVE_SPAN_MS  30000           /* how long it is out for the first time */
#define PASSIVE_MOST_MS  (5 * 60 * 1000) /* ... and at most; as long without is forgotten */
#define PASSIVE_REST_MS  15000           /* then the window of 10 s has nothing from before */

/* All zero: it was never out. CLOCK_MONOTONIC. */
struct passive {
	unsigned times; /* in a row */
	uint64_t until_ms;
	unsigned failed, connects; /* why it was out */
};

/* Connects of the last seconds. */
struct passive_sight {
	uint64_t connects, failed;
};

/* Do they fail, so often as `percent` says, and far more often than those of all other backends
 * together? A flood of forged SYNs fails everywhere alike. */
bool passive_fails(const struct passive_sight *own, const struct passive_sight *others,
		   unsigned percent);
/* It is out from now on. */
void passive_take_out(struct passive *passive, const struct passive_sight *own, uint64_t now_ms);
bool passive_holds(const struct passive *passive, uint64_t now_ms);

#endif
