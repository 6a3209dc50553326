/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libFuzzer entry for what another node sends: any bytes, as frames, to a node on plain memory. A
 * frame is refused or applied; whatever was applied, the maps are such that packets go to backends
 * of their service, and what the node then says itself are frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/fleet/exchange.h"
#include "fleet_check.h"
#include "fuzz.h"

#define PEER 0

static uint8_t said[1 << 18];

static void take(struct dataplane *dp, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1); /* the sanitizer sees a read beyond it */
	struct frame frame;
	const char *why = "";
	int length = 1;

	memcpy(copy, data, size);
	for (size_t at = 0; length > 0 && at < size; at += (size_t)length) {
		length = frame_next(copy + at, size - at, &frame, &why);
		require(length <= FRAME_MOST && (length >= 0 || *why), "length %d", length);
		if (length <= 0)
			break;
		require((size_t)length <= size - at, "a frame beyond the bytes");
		why = "";
		if (exchange_take(dp, PEER, &frame, &why) < 0) {
			require(*why, "refused without a reason");
			break;
		}
	}
	free(copy);
}

static void check_said(struct dataplane *dp)
{
	struct frame_writer writer = {.bytes = said, .room = sizeof(said)};
	const char *why;
	struct frame frame;

	exchange_fill(dp, PEER, &writer);
	for (size_t at = 0; at < writer.used;) {
		int length = frame_next(said + at, writer.used - at, &frame, &why);

		require(length > 0, "what the node says is no frame");
		at += (size_t)length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 16, 1 << 10, 16});
	struct want wants[FLEET_SERVICES];
	struct dataplane *dp = memory->dp;

	dp->clock = 10000;
	fleet_commit(dp, wants);
	require(!dataplane_peer_open(dp, PEER), "no memory");
	take(dp, data, size);
	for (unsigned i = 0; i < 3; i++) {
		while (dataplane_sweep(dp, 100000, ++dp->clock))
			;
		fleet_check(dp, wants);
		check_said(dp);
	}
	memory_dataplane_free(memory);
	return 0;
}
