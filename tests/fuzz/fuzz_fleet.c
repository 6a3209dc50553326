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
#include "support/memory_dataplane.h"
#include "fuzz.h"

#define PEER     0
#define SERVICES 2
#define BACKENDS 3

static uint8_t said[1 << 18];

static struct dataplane *begin(struct memory_dataplane *memory, struct want wants[SERVICES])
{
	struct dataplane *dp = memory->dp;

	dp->clock = 10000;
	for (unsigned i = 0; i < SERVICES; i++) {
		want_init(&wants[i], "192.0.2.1", i ? IPPROTO_UDP : IPPROTO_TCP, 80, "maglev");
		wants[i].service.slots = 13;
		for (unsigned b = 0; b < BACKENDS; b++)
			want_add(&wants[i], 1 + b, 1);
	}
	want_commit(dp, wants, SERVICES);
	require(!dataplane_peer_open(dp, PEER), "no memory");
	return dp;
}

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

static bool is_of(const struct dataplane *dp, uint32_t id, uint32_t service)
{
	return !id || (id < dp->maps.backend_slots && dp->maps.backends[id].service == service &&
		       dp->backend_ids.state[id] == ID_USED);
}

static void check_slots(const struct dataplane *dp, const struct want *want)
{
	const struct record *record = dp_find(dp, &want->service);
	uint64_t ring = dp->maps.services[record->id].ring;

	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++) {
		uint32_t at = LB_REGION_BASE(ring) + i, slot = dp->maps.arena[at];

		require(dp->maps.fronts[at] == dp_front(dp, at, slot), "front %#x, slot %#x",
			dp->maps.fronts[at], slot);
		require(is_of(dp, LB_SLOT_CURRENT(slot), record->id) &&
			    is_of(dp, LB_SLOT_KEEPER(slot), record->id),
			"slot %#x", slot);
		require(slot & LB_SLOT_TRANSITION || LB_SLOT_CURRENT(slot) == LB_SLOT_KEEPER(slot),
			"slot %#x", slot);
	}
}

static void check_entries(const struct dataplane *dp)
{
	for (uint32_t i = 0; i < dp->maps.flow_words; i++) {
		uint64_t entry = dp->maps.flows[i];
		uint32_t id = LB_FLOW_BACKEND(entry);

		if (LB_FLOW_STATE(entry))
			require(LB_FLOW_STATE(entry) <= LB_FLOW_DORMANT && id &&
				    is_of(dp, id, dp->maps.backends[id].service),
				"entry %#llx", (unsigned long long)entry);
	}
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
	struct want wants[SERVICES];
	struct dataplane *dp = begin(memory, wants);

	take(dp, data, size);
	for (unsigned i = 0; i < 3; i++) {
		while (dataplane_sweep(dp, 100000, ++dp->clock))
			;
		for (unsigned service = 0; service < SERVICES; service++)
			check_slots(dp, &wants[service]);
		check_entries(dp);
		check_said(dp);
	}
	memory_dataplane_free(memory);
	return 0;
}
