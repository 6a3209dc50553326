/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Prints what one flow sends and what the maps hold for it, for a reader who looks into a sequence
 * that fails. The model does not use any of this. */
#include "world.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <string.h>

#include "lb_hash.h"

void world_trace_packet(const struct world *w, const struct pending *pending,
			const struct shot *shot)
{
	static const char *const kinds[SHOT_KINDS] = {
	    [SHOT_OPENS_FRESH] = "opens",
	    [SHOT_OPENS_AGAIN] = "opens again",
	    [SHOT_SYN_REPEATED] = "repeats its SYN",
	    [SHOT_ESTABLISHES] = "is established",
	    [SHOT_LIVES] = "sends",
	    [SHOT_HALF_CLOSES] = "sends FIN, the server goes on",
	    [SHOT_FORGED] = "is forged a packet",
	    [SHOT_FORGED_SYN] = "is forged a SYN",
	    [SHOT_ENDS] = "sends its last packet",
	    [SHOT_WAKES] = "sends after a long silence",
	};

	if (!w->trace || pending->flow != w->traced)
		return;
	fprintf(w->trace, "    tick %u: flow %u %s", w->at, pending->flow, kinds[pending->kind]);
	if (!world_is_udp(w, pending->flow))
		fprintf(w->trace, ", number %u", ntohl(shot->seq));
	fprintf(w->trace, ": ");
	if (shot->verdict == XDP_TX)
		fprintf(w->trace, "to backend %u\n",
			(ntohl(shot->outer_dst) & 0xff) % SEQUENCE_BACKENDS);
	else
		fprintf(w->trace, "nowhere\n");
}

static void print_backend(const struct world *w, const char *what, uint32_t id)
{
	const struct lb_backend *b = &w->dp->maps.backends[id];
	uint32_t address = ntohl(b->outer_dst[b->family == 6 ? 3 : 0]);

	if (id)
		fprintf(w->trace, "%s backend %u", what, (address & 0xff) % SEQUENCE_BACKENDS);
	else
		fprintf(w->trace, "%s none", what);
}

static void trace_slot(const struct world *w, const struct want *want, uint64_t hash)
{
	const struct lb_service *line = want_line(w->dp, want);
	uint32_t size, *slots = want_slots(w->dp, want, &size);
	uint32_t index = lb_ring_index(hash, size), slot = slots[index];

	print_backend(w, "    its slot: current", LB_SLOT_CURRENT(slot));
	print_backend(w, ", keeper", LB_SLOT_KEEPER(slot));
	if (slot & LB_SLOT_TRANSITION)
		fprintf(w->trace, ", in transition%s, stamped %u ticks ago",
			slot & LB_SLOT_LEARNING ? " and learning" : "",
			(uint16_t)(w->now - dp_stamps(w->dp, line->ring)[index]));
	if (line->old_ring) {
		index = lb_ring_index(hash, LB_REGION_SIZE(line->old_ring));
		slot = dp_slots(w->dp, line->old_ring)[index];
		print_backend(w, "; the old ring's keeper:", LB_SLOT_KEEPER(slot));
	}
}

static uint64_t entry_of(const struct world *w, uint64_t hash)
{
	const union lb_flow_masks masks = flows_masks(w->dp);
	const uint32_t shift = w->dp->maps.flow_shift;
	const uint64_t *flows = w->dp->maps.flows;

	for (unsigned at = 0; at < 4; at++) {
		uint32_t bucket = lb_bucket(hash, shift, at < 2 ? masks.look : masks.put);

		if (at % 2)
			bucket = lb_bucket_other(bucket, hash, shift);
		for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
			uint64_t entry = flows[bucket * LB_FLOW_WAYS + i];

			if (LB_FLOW_STATE(entry) && (entry ^ hash) >> LB_FLOW_FP_SHIFT == 0)
				return entry;
		}
	}
	return 0;
}

static uint64_t as_the_build(const struct world *w, uint64_t hash)
{
	return w->batch->narrow ? BATCH_NARROW(hash) : hash;
}

void world_trace(const struct world *w)
{
	static const char *const states[LB_FLOW_STATE_MASK + 1] = {
	    "none", "SYN",          "ESTABLISHED", "FIN",   "RST",  "UDP_NEW",
	    "UDP",  "AFFINITY_NEW", "AFFINITY",    "HEARD", "KEPT", "DORMANT"};
	const struct want *want = &w->want[world_service_of(w, w->traced)];
	const struct lb_hash_key *key;
	uint64_t entry;
	struct lb_tuple tuple;

	if (!w->trace || w->traced == NO_FLOW)
		return;
	key = &w->dp->maps.settings->key;
	tuple = world_tuple(w, w->traced);
	trace_slot(w, want, as_the_build(w, lb_slot_hash(&tuple, key, want_line(w->dp, want))));
	entry = entry_of(w, as_the_build(w, lb_flow_hash(&tuple, key)));
	fprintf(w->trace, "; its entry: %s", states[LB_FLOW_STATE(entry)]);
	if (entry) {
		print_backend(w, ",", LB_FLOW_BACKEND(entry));
		fprintf(w->trace, ", %u ticks old",
			(uint32_t)(w->now - LB_FLOW_TICK(entry)) & LB_FLOW_TICK_MASK);
	}
	fprintf(w->trace, "\n");
}
