/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The progress of a drain: read from an answer of lbd, and described in words. */
#ifndef LBCTL_DRAIN_PROGRESS_H
#define LBCTL_DRAIN_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain_progress {
	bool gone;    /* lbd no longer has the backend: it was removed, and has drained */
	bool drained; /* no flow depends on it */
	bool undone;  /* the drain was ended: it takes new flows again */
	bool forced;  /* the deadline passed, and lbd gave up the flows that were left */
	bool held;    /* last_packet_s is known */
	bool has_deadline;
	uint64_t active, kept_slots;
	uint64_t since_s;       /* since the drain began */
	uint64_t last_packet_s; /* since the last packet of the flows that hold it */
	uint64_t forced_in_s;
	uint64_t given_up; /* flows, when it was forced */
	unsigned others;   /* other backends that take new flows */
};

/* Reads the backend with this address from an answer of GET /v1/backends. Returns that part of it;
 * NULL: lbd no longer has it. */
json_t *drain_read(const json_t *answer, const char *address, struct drain_progress *ret);
bool drain_over(const struct drain_progress *progress);
/* Reads one backend of it; NULL: lbd no longer has it. */
void drain_read_backend(const json_t *backend, struct drain_progress *ret);
/* What remains, in one line: "12 active flows, 34 slots kept for older flows". */
void drain_describe(const struct drain_progress *progress, char *text, size_t size);
/* The times that lbd reports: ", draining for 3m, last packet 2s ago, forced in 7m", or "".
 */
void drain_describe_times(const struct drain_progress *progress, char *text, size_t size);

#endif
