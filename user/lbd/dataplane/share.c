/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What other nodes are told of slots and entries, and the entries that they tell. What is to be
 * sent is a bit for each peer and slot or bucket: a change that is not sent yet is sent once,
 * however often it changes. Rules: docs/tracking.md, "More than one node". */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lb_hash.h"

#define SCAN_STEP sizeof(uint64_t) /* bytes of `dirty` that are looked at together */

static uint32_t buckets_of(const struct dataplane *dp)
{
	return dp->maps.flow_words / LB_FLOW_WAYS;
}

/* Those that entries are in. */
static uint32_t buckets_in_use(const struct dataplane *dp)
{
	return flows_words(dp) / LB_FLOW_WAYS;
}

uint32_t dataplane_flow_buckets(const struct dataplane *dp)
{
	return buckets_of(dp);
}

/* ---- bits ---- */

static size_t bit_words(uint32_t count)
{
	return count / 64 + 1;
}

static void bit_set(uint64_t *bits, uint32_t at)
{
	bits[at / 64] |= 1ULL << at % 64;
}

static void bit_clear(uint64_t *bits, uint32_t at)
{
	bits[at / 64] &= ~(1ULL << at % 64);
}

/* The first that is set, from `at` on; `end`: none. */
static uint32_t bit_next(const uint64_t *bits, uint32_t at, uint32_t end)
{
	while (at < end) {
		uint64_t word = bits[at / 64] >> at % 64;

		if (word) {
			at += (uint32_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at = (at / 64 + 1) * 64;
	}
	return end;
}

/* ---- what is to be sent ---- */

void share_slot(const struct dataplane *dp, uint32_t at)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open)
			bit_set(dp->peers[i]->slots, at);
}

static void share_bucket(const struct dataplane *dp, uint32_t bucket)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open)
			bit_set(dp->peers[i]->buckets, bucket);
}

/* All slots of a ring are sent with it. Bits beyond the end of the table are never looked at. */
void share_all(const struct dataplane *dp, struct peer *peer)
{
	memset(peer->buckets, 0xff, bit_words(buckets_of(dp)) * sizeof(*peer->buckets));
	memset(peer->told, 0, (LB_MAX_BACKENDS + 1) * sizeof(*peer->told));
	memset(peer->told_services, 0, dp->maps.service_slots * sizeof(*peer->told_services));
	memset(peer->told_rings, 0, dp->maps.service_slots * sizeof(*peer->told_rings));
	peer->at_bucket = 0;
}

int share_open(struct dataplane *dp, struct peer *peer)
{
	if (!dp->told_ticks)
		dp->told_ticks = calloc(dp->maps.flow_words, sizeof(*dp->told_ticks));
	peer->slots = calloc(bit_words(dp->maps.arena_slots), sizeof(*peer->slots));
	peer->buckets = calloc(bit_words(buckets_of(dp)), sizeof(*peer->buckets));
	peer->told = calloc(LB_MAX_BACKENDS + 1, sizeof(*peer->told));
	peer->told_services = calloc(dp->maps.service_slots, sizeof(*peer->told_services));
	peer->told_round = calloc(dp->maps.service_slots, sizeof(*peer->told_round));
	peer->told_rings = calloc(dp->maps.service_slots, sizeof(*peer->told_rings));
	peer->told_keys = calloc(dp->maps.service_slots, sizeof(*peer->told_keys));
	return dp->told_ticks && peer->slots && peer->buckets && peer->told &&
		       peer->told_services && peer->told_round && peer->told_rings &&
		       peer->told_keys
		   ? 0
		   : -ENOMEM;
}

void share_done(struct peer *peer)
{
	free(peer->slots);
	free(peer->buckets);
	free(peer->told);
	free(peer->told_services);
	free(peer->told_round);
	free(peer->told_rings);
	free(peer->told_keys);
}

void share_moved(const struct dataplane *dp, uint32_t from, uint32_t to)
{
	uint32_t before = from / LB_FLOW_WAYS, after = to / LB_FLOW_WAYS;

	if (!dp->told_ticks)
		return;
	dp->told_ticks[to] = dp->told_ticks[from];
	if (dp_load(&dp->maps.dirty[before]))
		dp_store(&dp->maps.dirty[after], (uint8_t)1);
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && bit_next(dp->peers[i]->buckets, before, before + 1) == before)
			bit_set(dp->peers[i]->buckets, after);
}

/* The entry as other nodes are told of it: with a state that says as much of what may be lost, and
 * that the protocol has. */
static uint64_t told_as(uint64_t entry)
{
	const uint64_t mask = (uint64_t)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT;
	const uint32_t state = LB_FLOW_STATE(entry);

	if (state != LB_FLOW_ENDING && state != LB_FLOW_CLOSED)
		return entry;
	return (entry & ~mask) |
	       (uint64_t)(state == LB_FLOW_ENDING ? LB_FLOW_ESTABLISHED : LB_FLOW_FIN)
		   << LB_FLOW_STATE_SHIFT;
}

/* entry: as it is told. */
static bool is_shared(uint64_t entry)
{
	const uint32_t none = LB_FLOW_SET(EMPTY) | LB_FLOW_YOUNG;

	return !(none >> LB_FLOW_STATE(entry) & 1) && LB_FLOW_STATE(entry) <= LB_FLOW_DORMANT;
}

static const struct lb_service *service_of(const struct dataplane *dp, uint64_t entry)
{
	return &dp->maps.services[dp->maps.backends[LB_FLOW_BACKEND(entry)].service];
}

void share_entry(struct dataplane *dp, uint32_t word, uint64_t entry, uint32_t now)
{
	uint32_t age = dp_flow_age(now, entry),
		 told = dp_age(now, dp->told_ticks[word], LB_FLOW_TICK_MASK);

	if (is_shared(told_as(entry)) && LB_FLOW_STATE(entry) != LB_FLOW_DORMANT && told > age &&
	    4 * told >= lb_flow_idle(service_of(dp, entry), LB_FLOW_STATE(entry)))
		share_bucket(dp, word / LB_FLOW_WAYS);
}

static bool any_open(const struct dataplane *dp)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open)
			return true;
	return false;
}

/* The byte is cleared first: what changes from now on sets it again. */
void dataplane_share_scan(struct dataplane *dp)
{
	uint32_t lines = (buckets_in_use(dp) + LB_DIRTY_BUCKETS - 1) / LB_DIRTY_BUCKETS;
	const line_word *words = (const line_word *)dp->maps.dirty;

	if (!any_open(dp))
		return;
	for (uint32_t i = 0; i < lines * LB_DIRTY_BUCKETS; i += SCAN_STEP) {
		if (!__atomic_load_n(&words[i / SCAN_STEP], __ATOMIC_RELAXED))
			continue;
		for (uint32_t at = i; at < i + SCAN_STEP; at++)
			if (at < buckets_of(dp) &&
			    __atomic_exchange_n(&dp->maps.dirty[at], 0, __ATOMIC_SEQ_CST))
				share_bucket(dp, at);
	}
}

static bool has_slots_left(const struct dataplane *dp, const struct peer *peer)
{
	for (size_t i = 0; i < dp->records_count; i++) {
		uint32_t id = dp->records[i]->id;
		uint64_t ring = dp->maps.services[id].ring;
		uint32_t end = LB_REGION_BASE(ring) + LB_REGION_SIZE(ring);

		if (peer->told_rings[id] != ring ||
		    bit_next(peer->slots, LB_REGION_BASE(ring), end) < end)
			return true;
	}
	return false;
}

bool dataplane_peer_told(const struct dataplane *dp, unsigned number)
{
	const struct peer *peer = dp->peers[number];

	return peer && peer->open && !peer->wants && !peer->owes_end && !has_slots_left(dp, peer) &&
	       bit_next(peer->buckets, 0, buckets_in_use(dp)) >= buckets_in_use(dp);
}

static void begin_answer(const struct dataplane *dp, struct peer *peer, uint32_t want)
{
	share_all(dp, peer);
	peer->owes_end = true;
	peer->end = want;
	peer->again = false;
}

/* A node asks again when it has been answered. One that does so earlier, and without end, must not
 * have this one begin anew each time. */
void dataplane_take_want(struct dataplane *dp, unsigned number, uint32_t want)
{
	struct peer *peer = dp->peers[number];

	if (!peer)
		return;
	if (!peer->owes_end) {
		begin_answer(dp, peer, want);
		return;
	}
	peer->again = true;
	peer->next_end = want;
}

/* ---- sending: services, slots, flows ---- */

struct sharing {
	struct dataplane *dp;
	struct peer *peer;
	const struct dp_share_sink *sink;
	uint32_t now;
};

static bool tell_backend(const struct sharing *s, uint32_t id)
{
	const struct dataplane *dp = s->dp;
	const struct lb_backend *line = &dp->maps.backends[id];
	const struct record *record =
	    line->service < dp->maps.service_slots ? dp->by_id[line->service] : NULL;
	struct dp_shared_backend backend = {.ref = (uint16_t)id};
	uint32_t serial = 1 + dp->backend_ids.serial[id];

	if (!id || s->peer->told[id] == serial || !record)
		return true;
	backend.vip = record->want.vip;
	backend.port = record->want.port;
	backend.protocol = record->want.protocol;
	backend.address.family = line->family;
	memcpy(backend.address.bytes, line->outer_dst, sizeof(line->outer_dst));
	if (!s->sink->backend(s->sink->arg, &backend))
		return false;
	s->peer->told[id] = serial;
	return true;
}

static uint16_t short_age(uint32_t now, uint32_t then)
{
	return now - then < UINT16_MAX ? (uint16_t)(now - then) : UINT16_MAX - 1;
}

static bool tell_service(const struct sharing *s, const struct record *record)
{
	const struct dataplane *dp = s->dp;
	uint32_t unplaced = dp_load(&dp->maps.turns[record->id].unplaced);
	struct dp_shared_service service = {
	    .ref = (uint16_t)record->id,
	    .vip = record->want.vip,
	    .port = record->want.port,
	    .protocol = record->want.protocol,
	    .size = LB_REGION_SIZE(dp->maps.services[record->id].ring),
	    .configured = record->configured,
	    .evaluated = short_age(s->now, dp->evaluated),
	    .unplaced = unplaced ? short_age(s->now, unplaced) : UINT16_MAX,
	    .fresh = claims_fresh(dp, record),
	    .digest = record->digest,
	};

	return s->sink->service(s->sink->arg, &service);
}

/* The id was another service's, or that service is gone. */
static bool tell_end_of(const struct sharing *s, uint32_t id)
{
	const struct peer_service *was = &s->peer->told_keys[id];
	const struct dp_shared_service service = {
	    .ref = (uint16_t)id, .vip = was->vip, .port = was->port, .protocol = was->protocol};

	return s->sink->service(s->sink->arg, &service);
}

/* Also those whose ring has another size now, whose slots are all to be sent. */
static bool share_service(const struct sharing *s, uint32_t id)
{
	const struct record *record = s->dp->by_id[id];
	uint32_t serial = record ? 1 + s->dp->service_ids.serial[id] : 0;
	uint64_t ring = s->dp->maps.services[id].ring;
	struct peer *peer = s->peer;

	if (record && record->adopted)
		return true;
	if (peer->told_services[id] == serial &&
	    (!record ||
	     (peer->told_round[id] == s->dp->sweep.completed && peer->told_rings[id] == ring)))
		return true;
	if (peer->told_services[id] && peer->told_services[id] != serial && !tell_end_of(s, id))
		return false;
	peer->told_services[id] = 0;
	if (!record || !LB_REGION_SIZE(ring))
		return true;
	if (!tell_service(s, record))
		return false;
	for (uint32_t i = 0; peer->told_rings[id] != ring && i < LB_REGION_SIZE(ring); i++)
		bit_set(peer->slots, LB_REGION_BASE(ring) + i);
	peer->told_services[id] = serial;
	peer->told_round[id] = s->dp->sweep.completed;
	peer->told_rings[id] = ring;
	peer->told_keys[id] = (struct peer_service){
	    .vip = record->want.vip, .port = record->want.port, .protocol = record->want.protocol};
	return true;
}

static bool share_one_slot(const struct sharing *s, uint32_t service, uint32_t base, uint32_t at)
{
	const struct dp_shared_slot slot = {
	    .service = (uint16_t)service, .index = at - base, .claim = claims_of(s->dp, at)};

	return tell_backend(s, LB_SLOT_CURRENT(slot.claim)) &&
	       tell_backend(s, LB_SLOT_KEEPER(slot.claim)) && s->sink->slot(s->sink->arg, &slot);
}

static bool share_slots(const struct sharing *s, uint32_t id)
{
	uint64_t ring = s->dp->maps.services[id].ring;
	uint32_t base = LB_REGION_BASE(ring), end = base + LB_REGION_SIZE(ring), at = base;

	if (!s->peer->told_services[id])
		return true;
	while ((at = bit_next(s->peer->slots, at, end)) < end) {
		if (!share_one_slot(s, id, base, at))
			return false;
		bit_clear(s->peer->slots, at++);
	}
	return true;
}

/* Bit 33 of a word that is sent: its other bucket has overflowed, so the entry may be in its
 * second. */
#define SHARED_SECOND LB_FLOW_OVERFLOW

static bool share_flow(const struct sharing *s, uint32_t bucket, uint32_t word)
{
	const uint64_t *flows = s->dp->maps.flows;
	uint64_t entry = told_as(dp_load(&flows[word]));
	uint32_t other = lb_bucket_other(bucket, entry, s->dp->maps.flow_shift);
	struct dp_shared_flow flow = {.bucket = bucket};

	if (!is_shared(entry) || entry_is_void(s->dp, entry))
		return true;
	flow.word = entry & ~(LB_FLOW_OVERFLOW | LB_FLOW_TICK_MASK);
	flow.word |= dp_flow_age(s->now, entry);
	flow.word |= dp_load(&flows[other * LB_FLOW_WAYS]) & LB_FLOW_OVERFLOW;
	if (!tell_backend(s, LB_FLOW_BACKEND(entry)) || !s->sink->flow(s->sink->arg, &flow))
		return false;
	s->dp->told_ticks[word] = LB_FLOW_TICK(entry);
	return true;
}

/* Buckets that are looked at in one go: most of them may be empty, and fill no room. */
#define LOOK_MOST 32768

static bool share_flows(const struct sharing *s)
{
	uint32_t end = buckets_in_use(s->dp), left = LOOK_MOST;
	struct peer *peer = s->peer;

	while ((peer->at_bucket = bit_next(peer->buckets, peer->at_bucket, end)) < end) {
		if (!left--)
			return false;
		for (uint32_t i = 0; i < LB_FLOW_WAYS; i++)
			if (!share_flow(s, peer->at_bucket, peer->at_bucket * LB_FLOW_WAYS + i))
				return false;
		bit_clear(peer->buckets, peer->at_bucket);
	}
	peer->at_bucket = 0;
	return true;
}

/* One request at a time: each begins anew, so that those that come one after the other, as backends
 * are added, would be answered when there are no more of them. */
static bool share_want(const struct sharing *s)
{
	struct peer *peer = s->peer;

	if (!peer->wants || peer->asked != peer->answered)
		return true;
	if (!s->sink->want(s->sink->arg, peer->wanted))
		return false;
	peer->asked = peer->wanted;
	peer->wants = false;
	return true;
}

bool dataplane_share(struct dataplane *dp, unsigned number, const struct dp_share_sink *sink)
{
	struct peer *peer = dp->peers[number];
	const struct sharing s = {dp, peer, sink, dp_tick(dp)};

	if (!peer || !peer->open)
		return true;
	if (!share_want(&s))
		return false;
	for (uint32_t id = 1; id < dp->maps.service_slots; id++)
		if (!share_service(&s, id) || !share_slots(&s, id))
			return false;
	if (!share_flows(&s))
		return false;
	if (peer->owes_end && !sink->end(sink->arg, peer->end))
		return false;
	peer->owes_end = false;
	if (peer->again)
		begin_answer(dp, peer, peer->next_end);
	return !peer->owes_end;
}

/* ---- entries of peers ---- */

#define TAKE_TRIES 8 /* packets may change a place again and again */

static bool owners_differ(const struct dataplane *dp, uint64_t a, uint64_t b)
{
	return dp->maps.backends[LB_FLOW_BACKEND(a)].service !=
	       dp->maps.backends[LB_FLOW_BACKEND(b)].service;
}

/* Packets may change a word at any time: who finds one also gets what it was then, and changes it
 * only if it still is. */
static uint64_t *find_in(const struct dataplane *dp, uint32_t bucket, uint64_t entry, uint64_t *ret)
{
	uint64_t *ways = dp->maps.flows + bucket * LB_FLOW_WAYS;

	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		uint64_t word = dp_load(&ways[i]);

		if (!LB_FLOW_STATE(word) || (word ^ entry) >> LB_FLOW_FP_SHIFT)
			continue;
		*ret = word;
		return &ways[i];
	}
	return NULL;
}

/* Whether the place may be given to an entry of a peer. */
static bool is_free_for(const struct dataplane *dp, uint64_t word, uint64_t entry, uint32_t now)
{
	const uint32_t weak =
	    LB_FLOW_YOUNG | LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT) | LB_FLOW_SET(DORMANT);
	uint32_t state = LB_FLOW_STATE(word);

	if (!state || entry_is_void(dp, word))
		return true;
	if (dp_flow_age(now, word) > entry_idle(dp, word))
		return true;
	return weak >> state & 1 && LB_FLOW_FIRM >> LB_FLOW_STATE(entry) & 1 &&
	       state != LB_FLOW_UDP_NEW;
}

/* An empty place first. */
static uint64_t *place_in(const struct dataplane *dp, uint32_t bucket, uint64_t entry, uint32_t now,
			  bool empty, uint64_t *ret)
{
	uint64_t *ways = dp->maps.flows + bucket * LB_FLOW_WAYS;

	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		uint64_t word = dp_load(&ways[i]);

		if (empty ? LB_FLOW_STATE(word) : !is_free_for(dp, word, entry, now))
			continue;
		*ret = word;
		return &ways[i];
	}
	return NULL;
}

static void mark_overflow(const struct dataplane *dp, uint32_t bucket)
{
	uint64_t *first = &dp->maps.flows[bucket * LB_FLOW_WAYS];

	if (!(dp_load(first) & LB_FLOW_OVERFLOW))
		__atomic_fetch_or(first, LB_FLOW_OVERFLOW, __ATOMIC_ACQ_REL);
}

/* A mark that is lost, and a flow without an entry, have the meaning that they have for a packet
 * (bpf/select.h). */
static void note_no_place(struct dataplane *dp, uint64_t entry, uint32_t now)
{
	struct lb_turn *turn = &dp->maps.turns[service_of(dp, entry)->id];

	dp->unshared++;
	dp_store(&turn->forgotten, now);
	if (LB_FLOW_STATE(entry) == LB_FLOW_UDP)
		dp_store(&turn->unplaced, now);
}

/* False: a packet was faster. */
static bool put(struct dataplane *dp, uint64_t *at, uint64_t ours, uint64_t entry)
{
	if (!entry_change(dp, at, ours, entry))
		return false;
	dp->told_ticks[at - dp->maps.flows] = LB_FLOW_TICK(entry);
	return true;
}

/* The mark of a live flow gives its place away: the slots that it held stay until it has left
 * another, as when a packet takes the place (bpf/flow.h). */
static void note_evicted(const struct dataplane *dp, uint64_t word, uint32_t now)
{
	const uint32_t marks = LB_FLOW_SET(HEARD) | LB_FLOW_SET(KEPT);

	if (marks >> LB_FLOW_STATE(word) & 1 && !entry_is_void(dp, word) &&
	    dp_flow_age(now, word) <= entry_idle(dp, word))
		dp_store(&dp->maps.turns[service_of(dp, word)->id].forgotten, now);
}

/* The best place in the bucket, or in its other one. NULL: there is none. */
static uint64_t *place_at(const struct dataplane *dp, uint32_t bucket, uint64_t entry, uint32_t now,
			  uint64_t *ret)
{
	uint32_t other = lb_bucket_other(bucket, entry, dp->maps.flow_shift);
	uint64_t *at = NULL;

	for (unsigned i = 0; !at && i < 4; i++) {
		at = place_in(dp, i & 1 ? other : bucket, entry, now, i < 2, ret);
		if (at && (i & 1))
			mark_overflow(dp, bucket);
	}
	return at;
}

/* As a packet does that finds no place (bpf/flow.h). False: it is used whole already, or its size
 * is changing. */
static bool use_whole(struct dataplane *dp)
{
	return flows_resize(dp, buckets_of(dp) - 1);
}

/* bucket: as in a part of the table of any size. second: it may be the second of the flow's
 * buckets. False: a packet was faster. */
static bool place_new(struct dataplane *dp, uint32_t bucket, uint64_t entry, bool second,
		      uint32_t now)
{
	const uint32_t shift = dp->maps.flow_shift;
	uint32_t to = lb_bucket_moved(bucket, entry, shift, flows_masks(dp).put);
	uint64_t ours, *at = place_at(dp, to, entry, now, &ours);

	if (!at && use_whole(dp)) {
		to = lb_bucket_moved(bucket, entry, shift, buckets_of(dp) - 1);
		at = place_at(dp, to, entry, now, &ours);
	}
	if (!at) {
		note_no_place(dp, entry, now);
		return true;
	}
	if (second)
		mark_overflow(dp, lb_bucket_other(to, entry, shift));
	if (!put(dp, at, ours, entry))
		return false;
	note_evicted(dp, ours, now);
	return true;
}

/* While the table changes its size an entry is in one part or the other. */
static uint64_t *find_entry(const struct dataplane *dp, uint32_t bucket, uint64_t entry,
			    uint64_t *ret)
{
	const union lb_flow_masks masks = flows_masks(dp);
	const uint32_t shift = dp->maps.flow_shift;
	uint64_t *at = NULL;

	for (unsigned i = 0; !at && i < 4; i++) {
		uint32_t first =
		    lb_bucket_moved(bucket, entry, shift, i < 2 ? masks.look : masks.put);

		at = find_in(dp, i % 2 ? lb_bucket_other(first, entry, shift) : first, entry, ret);
	}
	return at;
}

/* False: a packet was faster. */
static bool take_entry(struct dataplane *dp, uint32_t bucket, uint64_t entry, bool second,
		       uint32_t now)
{
	uint64_t ours, merged, *at = find_entry(dp, bucket, entry, &ours);

	if (!at)
		return place_new(dp, bucket, entry, second, now);
	if (entry_is_void(dp, ours))
		return put(dp, at, ours, entry); /* of a backend that is gone */
	if (owners_differ(dp, ours, entry))
		return true;
	merged = merge_entries(ours & ~LB_FLOW_OVERFLOW, entry, now);
	return merged == (ours & ~LB_FLOW_OVERFLOW) || put(dp, at, ours, merged);
}

int dataplane_take_flow(struct dataplane *dp, unsigned number, const struct dp_shared_flow *flow)
{
	struct peer *peer = dp->peers[number];
	uint32_t now = dp_tick(dp), age = LB_FLOW_TICK(flow->word);
	uint16_t id = peer ? peer->local[LB_FLOW_BACKEND(flow->word)] : 0;
	uint64_t entry = flow->word & ~0ULL << LB_FLOW_FP_SHIFT;
	bool second = flow->word & SHARED_SECOND, taken = false;

	if (!peer || flow->bucket >= buckets_of(dp) || !is_shared(flow->word))
		return -EBADMSG;
	if (!id || id == PEER_NOBODY)
		return 0;
	entry |= (uint64_t)id << LB_FLOW_BACKEND_SHIFT | ((now - age) & LB_FLOW_TICK_MASK) |
		 (uint64_t)LB_FLOW_STATE(flow->word) << LB_FLOW_STATE_SHIFT;
	if (flow->bucket > flows_masks(dp).put)
		use_whole(dp); /* a larger part is in use at the peer, and more will come of it */
	for (unsigned i = 0; !taken && i < TAKE_TRIES; i++)
		taken = take_entry(dp, flow->bucket, entry, second, now);
	if (!taken)
		note_no_place(dp, entry, now);
	return 0;
}
