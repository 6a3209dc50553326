/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How far a drain has come, as a value. Used by drain.c and its test. */
#ifndef LBCTL_DRAIN_H
#define LBCTL_DRAIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain_progress {
	bool gone;    /* lbd knows no such backend any more: it was removed, and forgotten when drained */
	bool drained; /* nothing depends on it */
	bool undone;  /* somebody gave it new flows again */
	uint64_t active, kept_slots;
};

/* Of the backend with this address in an answer of GET /v1/backends. */
void drain_read(const json_t *answer, const char *address, struct drain_progress *ret);
bool drain_over(const struct drain_progress *progress);
/* What remains, in one line: "12 active flows, 34 slots still kept for older ones". */
void drain_describe(const struct drain_progress *progress, char *text, size_t size);

#endif
