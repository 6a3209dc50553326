/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How far a drain has come, as a value. */
#ifndef LBCTL_DRAIN_PROGRESS_H
#define LBCTL_DRAIN_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain_progress {
	bool gone;    /* lbd knows no such backend any more: it was removed, and forgotten when
		       * drained */
	bool drained; /* nothing depends on it */
	bool undone;  /* somebody gave it new flows again */
	bool forced;  /* its deadline came first, and lbd gave up what was left */
	bool held;    /* last_packet_s is known */
	bool has_deadline;
	uint64_t active, kept_slots;
	uint64_t since_s;       /* how long it drains */
	uint64_t last_packet_s; /* since the last packet of what holds it */
	uint64_t forced_in_s;
	uint64_t given_up; /* flows, when it was forced */
};

/* Of the backend with this address in an answer of GET /v1/backends. */
void drain_read(const json_t *answer, const char *address, struct drain_progress *ret);
bool drain_over(const struct drain_progress *progress);
/* The same of one backend; NULL: there is none. */
void drain_read_backend(const json_t *backend, struct drain_progress *ret);
/* What remains, in one line: "12 active flows, 34 slots kept for older ones". */
void drain_describe(const struct drain_progress *progress, char *text, size_t size);
/* Since when, how busy, how long yet, as far as lbd tells: ", draining for 3 min, last packet 2 s
 * ago, forced in 7 min", or "". */
void drain_describe_times(const struct drain_progress *progress, char *text, size_t size);

#endif
