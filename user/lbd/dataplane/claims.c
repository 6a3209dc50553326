/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What other nodes say of their slots, and what that permits ours. Rules: docs/tracking.md, "More
 * than one node". */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring_size.h"
#include "lbd/host/host.h"

#define PAUSE_SLOTS   4096 /* between two pauses */
#define PAUSE_REFS    1024
#define UNKNOWN_SLOTS (256 * 1024) /* likewise, of those that are only written */

bool claims_any(const struct dataplane *dp)
{
	return dp->quiet;
}

/* ---- peers ---- */

bool dataplane_peer_synced(const struct dataplane *dp, unsigned number)
{
	const struct peer *peer = dp->peers[number];

	return peer && peer->open && peer->answered == peer->wanted;
}

/* The claims of a lost peer hold until its flows, which come to us now, have had time to show
 * themselves. */
static bool counts(const struct peer *peer, uint32_t now, uint32_t idle)
{
	return peer->open || (int32_t)(now - peer->lost_at) <= (int32_t)(idle + DP_SLACK);
}

static uint16_t local_of(const struct peer *peer, uint32_t ref)
{
	return ref ? peer->local[ref] : 0;
}

/* ---- one slot ---- */

static void look_at(const struct peer *peer, const struct claims *claims, uint32_t index,
		    uint16_t current, uint32_t now, struct claims_view *view)
{
	uint32_t claim = claims->slot[index];
	bool fresh = peer->open && (int32_t)(now - claims->evaluated) <= (int32_t)DP_SLACK;
	bool still = !(claim & LB_SLOT_TRANSITION) || claim & CLAIM_QUIET;
	bool quiet = !(claim & LB_SLOT_TRANSITION) || (claim & CLAIM_QUIET && fresh);
	bool same = local_of(peer, LB_SLOT_CURRENT(claim)) == current;
	bool kept = same && local_of(peer, LB_SLOT_KEEPER(claim)) == current;

	view->allows &= kept && still;
	view->moves &= (claim & LB_SLOT_TRANSITION) != 0;
	view->readies &= same && quiet;
	view->settles &= kept && quiet;
}

/* A peer without such a service sends its flows nowhere. */
struct claims_view claims_look(const struct dataplane *dp, const struct record *record,
			       uint32_t index, uint16_t current, uint32_t now)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t idle = ring_idle(line, record->want.protocol);
	struct claims_view view = {true, true, true, true, false};

	for (unsigned i = 0; claims_any(dp) && i < DP_PEERS; i++) {
		const struct claims *claims = record->claims[i];
		const struct peer *peer = dp->peers[i];

		if (!peer || !counts(peer, now, idle))
			continue;
		if (!dataplane_peer_synced(dp, i) || (claims && claims->size <= index))
			view.readies = view.settles = false;
		if (!claims || view.apart)
			continue;
		if (claims->held != LB_REGION_SIZE(line->ring))
			view = (struct claims_view){.apart = true};
		else if (claims->slot[index] == CLAIM_UNKNOWN)
			view.readies = view.settles = view.moves = false;
		else
			look_at(peer, claims, index, current, now, &view);
	}
	return view;
}

/* ---- enforcing ---- */

bool claims_fresh(const struct dataplane *dp, const struct record *record)
{
	return dp->join == DP_JOINS || (int32_t)(dp->sweep.completed - record->fresh_round) < 0;
}

/* The keeper of untracked flows that the peers have; 0: none is known. */
static uint16_t keeper_of_peers(const struct dataplane *dp, const struct record *record,
				uint32_t index)
{
	for (unsigned i = 0; i < DP_PEERS; i++) {
		const struct claims *claims = record->claims[i];
		uint32_t claim =
		    claims && !claims->fresh && index < claims->held ? claims->slot[index] : 0;
		uint16_t keeper = claim && claim != CLAIM_UNKNOWN
				      ? local_of(dp->peers[i], LB_SLOT_KEEPER(claim))
				      : 0;

		if (keeper && keeper != PEER_NOBODY && dp->traits[keeper] & BACKEND_PRESENT &&
		    dp->maps.backends[keeper].service == record->id)
			return keeper;
	}
	return 0;
}

/* UDP where all flows are tracked: what has no entry is a new flow. */
static uint32_t flags_of(const struct dataplane *dp, const struct record *record)
{
	const struct lb_service *line = &dp->maps.services[record->id];

	if (record->want.protocol == IPPROTO_UDP && line->flags & LB_SERVICE_TRACK_ALWAYS)
		return LB_SLOT_TRANSITION;
	return LB_SLOT_TRANSITION | LB_SLOT_LEARNING;
}

static void put_in_transition(struct dataplane *dp, struct record *record, uint32_t index,
			      uint16_t keeper)
{
	uint64_t ring = dp->maps.services[record->id].ring;
	uint32_t at = LB_REGION_BASE(ring) + index, now = dp_tick(dp);

	if (!(dp->maps.arena[at] & LB_SLOT_TRANSITION))
		record->in_transition++;
	record->since[index] = (uint16_t)now;
	dp_store(&dp->maps.stamps[at], (uint16_t)now);
	claims_note_quiet(dp, at, false);
	dp_slot_store(dp, at,
		      LB_SLOT(LB_SLOT_CURRENT(dp->maps.arena[at]), keeper) | flags_of(dp, record));
}

void claims_enforce(struct dataplane *dp, struct record *record, uint32_t index)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t slot = dp_slots(dp, line->ring)[index];
	uint16_t current = LB_SLOT_CURRENT(slot), keeper = LB_SLOT_KEEPER(slot), theirs;

	if (line->flags & LB_SERVICE_TRACK_NEVER || record->adopted)
		return;
	if (claims_fresh(dp, record) && !line->old_ring) {
		theirs = keeper_of_peers(dp, record, index);
		if (theirs && theirs != keeper) {
			put_in_transition(dp, record, index, theirs);
			return;
		}
	}
	if (!(slot & LB_SLOT_TRANSITION) &&
	    !claims_look(dp, record, index, current, dp_tick(dp)).allows)
		put_in_transition(dp, record, index, keeper);
}

void claims_enforce_all(struct dataplane *dp, struct record *record)
{
	for (uint32_t i = 0; i < LB_REGION_SIZE(dp->maps.services[record->id].ring); i++) {
		if (i % PAUSE_SLOTS == 0)
			task_pause();
		claims_enforce(dp, record, i);
	}
}

void claims_note_quiet(const struct dataplane *dp, uint32_t at, bool quiet)
{
	uint64_t bit = 1ULL << at % 64;

	if (!dp->quiet || !(dp->quiet[at / 64] & bit) == !quiet)
		return;
	dp->quiet[at / 64] ^= bit;
	share_slot(dp, at);
}

/* ---- what peers say ---- */

static struct record *record_of(const struct dataplane *dp, const struct addr *vip,
				uint8_t protocol, uint16_t port)
{
	const struct dp_service key = {.vip = *vip, .protocol = protocol, .port = port};

	return dp_find(dp, &key);
}

static uint16_t translate(const struct dataplane *dp, const struct peer_backend *backend)
{
	const struct record *record =
	    record_of(dp, &backend->vip, backend->protocol, backend->port);
	const struct member *member = record ? record_find(record, &backend->address) : NULL;

	return member ? member->id : PEER_NOBODY;
}

/* Everything is asked for again. */
static void claims_want(struct dataplane *dp)
{
	for (unsigned i = 0; i < DP_PEERS; i++) {
		if (!dp->peers[i] || !dp->peers[i]->open)
			continue;
		dp->peers[i]->wanted++;
		dp->peers[i]->wants = true;
	}
}

void claims_translate(struct dataplane *dp)
{
	if (!dp->ids_changed)
		return;
	for (unsigned i = 0; i < DP_PEERS; i++) {
		struct peer *peer = dp->peers[i];

		for (uint32_t ref = 1; peer && ref <= LB_MAX_BACKENDS; ref++) {
			if (ref % PAUSE_REFS == 0)
				task_pause(); /* only tasks translate */
			if (peer->backends[ref].vip.family)
				peer->local[ref] = translate(dp, &peer->backends[ref]);
		}
	}
	if (dp->ids_taken)
		claims_want(dp);
	dp->ids_changed = dp->ids_taken = false;
}

int dataplane_take_backend(struct dataplane *dp, unsigned number,
			   const struct dp_shared_backend *backend)
{
	struct peer *peer = dp->peers[number];
	struct peer_backend *at;

	if (!peer || !backend->ref || backend->ref > LB_MAX_BACKENDS)
		return -EBADMSG;
	at = &peer->backends[backend->ref];
	at->vip = backend->vip;
	at->address = backend->address;
	at->port = backend->port;
	at->protocol = backend->protocol;
	peer->local[backend->ref] = translate(dp, at);
	return 0;
}

static void drop_claims(struct record *record, unsigned number)
{
	free(record->claims[number]);
	record->claims[number] = NULL;
}

static uint64_t count_held(const struct dataplane *dp, unsigned number)
{
	uint64_t held = 0;

	for (size_t i = 0; i < dp->records_count; i++)
		held += dp->records[i]->claims[number] ? dp->records[i]->claims[number]->held : 0;
	return held;
}

/* A peer's rings take memory here. Twice as many slots as we have ourselves: its limit may be
 * another one, and while rings change size we may know of one before the other. */
static bool has_room(const struct dataplane *dp, unsigned number, uint32_t size)
{
	struct peer *peer = dp->peers[number];
	const uint64_t most = 2 * (uint64_t)dp->maps.arena_slots;

	if (peer->held + size > most)
		peer->held = count_held(dp, number);
	if (peer->held + size > most)
		return false;
	peer->held += size;
	return true;
}

/* Of all slots of a ring, which may take hundreds of MiB. */
static void mark_unknown(struct claims *claims)
{
	for (uint32_t at = 0; at < claims->held; at += UNKNOWN_SLOTS) {
		uint32_t left = claims->held - at,
			 count = left < UNKNOWN_SLOTS ? left : UNKNOWN_SLOTS;

		memset(claims->slot + at, 0xff, count * sizeof(*claims->slot));
		task_pause(); /* only tasks make claims */
	}
}

/* Where there is no room the ring counts as one of another size. */
static struct claims *make_claims(const struct dataplane *dp, struct record *record,
				  unsigned number, uint32_t size)
{
	struct claims *claims = record->claims[number];
	uint32_t held;

	if (claims && claims->size == size)
		return claims;
	drop_claims(record, number);
	held = has_room(dp, number, size) ? size : 0;
	claims = malloc(sizeof(*claims) + held * sizeof(*claims->slot));
	if (!claims)
		return NULL;
	*claims = (struct claims){.size = size, .held = held};
	mark_unknown(claims);
	record->claims[number] = claims;
	return claims;
}

/* A flow that found no place at a peer may come to us. Ticks differ in phase, so what comes back to
 * the node that said it first may look a tick later: that is no news. */
static void note_unplaced(const struct dataplane *dp, const struct record *record, uint16_t age,
			  uint32_t now)
{
	struct lb_turn *turn = &dp->maps.turns[record->id];
	uint32_t ours = dp_load(&turn->unplaced), theirs = now - age;

	if (age != UINT16_MAX && (!ours || (int32_t)(theirs - ours) > 1))
		dp_store(&turn->unplaced, theirs);
}

/* The ring becomes as large as the largest that a config asks for, when it may. */
static void want_size(const struct dataplane *dp, struct record *record)
{
	uint32_t asked = claims_size(dp, record);

	record->wanted_size = asked > record->configured ? asked : record->configured;
}

/* A ring that no config asks for: is not heard. */
#define RING_MOST (1u << 28)

int dataplane_take_service(struct dataplane *dp, unsigned number,
			   const struct dp_shared_service *service)
{
	struct peer *peer = dp->peers[number];
	uint32_t now = dp_tick(dp);
	struct record *record;
	struct claims *claims;
	bool resized;

	if (!peer || !service->ref || service->ref > LB_MAX_SERVICES || service->size > RING_MOST ||
	    service->configured > RING_MOST || (service->size && !is_prime(service->size)) ||
	    (service->configured && !is_prime(service->configured)))
		return -EBADMSG;
	peer->services[service->ref] = (struct peer_service){
	    .vip = service->vip, .port = service->port, .protocol = service->protocol};
	record = record_of(dp, &service->vip, service->protocol, service->port);
	if (!record)
		return 0;
	if (!service->size) {
		drop_claims(record, number);
		return 0;
	}
	resized = !record->claims[number] || record->claims[number]->size != service->size;
	claims = make_claims(dp, record, number, service->size);
	if (!claims)
		return -ENOMEM;
	claims->configured = service->configured;
	claims->evaluated = now - service->evaluated;
	claims->digest = service->digest;
	claims->fresh = service->fresh;
	note_unplaced(dp, record, service->unplaced, now);
	want_size(dp, record);
	if (!resized)
		return 0;
	if (claims_fresh(dp, record) && !record->adopted && !record->want.track_never &&
	    LB_REGION_SIZE(dp->maps.services[record->id].ring) != service->size &&
	    !dp->maps.services[record->id].old_ring)
		dp_resize(dp, record);
	claims_enforce_all(dp, record);
	return 0;
}

static struct record *record_of_ref(const struct dataplane *dp, const struct peer *peer,
				    uint32_t ref)
{
	const struct peer_service *service;

	if (!ref || ref > LB_MAX_SERVICES)
		return NULL;
	service = &peer->services[ref];
	return service->vip.family ? record_of(dp, &service->vip, service->protocol, service->port)
				   : NULL;
}

/* Before the nodes knew of each other, both had untracked flows in the slot, on different keepers:
 * if such a flow comes to the other node, it moves. */
static bool is_conflict(const struct dataplane *dp, const struct peer *peer,
			const struct record *record, uint32_t index, uint32_t claim)
{
	uint16_t ours = LB_SLOT_KEEPER(dp_slots(dp, dp->maps.services[record->id].ring)[index]);
	uint16_t theirs = local_of(peer, LB_SLOT_KEEPER(claim));

	return peer->answered != peer->wanted && !claims_fresh(dp, record) && ours && theirs &&
	       ours != theirs;
}

int dataplane_take_slot(struct dataplane *dp, unsigned number, const struct dp_shared_slot *slot)
{
	struct peer *peer = dp->peers[number];
	struct record *record = peer ? record_of_ref(dp, peer, slot->service) : NULL;
	struct claims *claims = record ? record->claims[number] : NULL;

	if (!peer || slot->claim == CLAIM_UNKNOWN)
		return -EBADMSG;
	if (!claims)
		return 0; /* a service that we do not have */
	if (slot->index >= claims->size)
		return -EBADMSG;
	if (!claims->held)
		return 0;
	if (slot->index < LB_REGION_SIZE(dp->maps.services[record->id].ring) &&
	    claims->slot[slot->index] == CLAIM_UNKNOWN && !claims->fresh &&
	    is_conflict(dp, peer, record, slot->index, slot->claim))
		dp->conflicts++;
	claims->slot[slot->index] = slot->claim;
	if (claims->held == LB_REGION_SIZE(dp->maps.services[record->id].ring))
		claims_enforce(dp, record, slot->index);
	return 0;
}

int dataplane_take_end(struct dataplane *dp, unsigned number, uint32_t end)
{
	struct peer *peer = dp->peers[number];

	if (!peer || end > peer->wanted)
		return -EBADMSG;
	peer->answered = end;
	return 0;
}

/* ---- sizes ---- */

uint32_t claims_size(const struct dataplane *dp, const struct record *record)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && record->claims[i] && record->claims[i]->configured > most)
			most = record->claims[i]->configured;
	return most;
}

/* Whether a live peer has a ring of the size that this one's config asks for, and ours does not:
 * that peer may hear what we do not. If each changed its ring in turn, none would ever settle. */
static bool others_have(const struct dataplane *dp, const struct record *record,
			const struct claims *claims, uint32_t now, uint32_t idle)
{
	for (unsigned i = 0; i < DP_PEERS && claims->configured > record->configured; i++)
		if (record->claims[i] && counts(dp->peers[i], now, idle) &&
		    record->claims[i]->size == claims->configured)
			return true;
	return false;
}

/* Only here: claims that were kept would ask for a size without end, against nodes that know
 * nothing of that peer. What replaces a ring then is a change of size like any other. */
void claims_expire(struct dataplane *dp, struct record *record, uint32_t now)
{
	uint32_t idle = ring_idle(&dp->maps.services[record->id], record->want.protocol);

	for (unsigned i = 0; i < DP_PEERS; i++) {
		if (!record->claims[i] || counts(dp->peers[i], now, idle))
			continue;
		if (others_have(dp, record, record->claims[i], now, idle))
			continue;
		drop_claims(record, i);
		want_size(dp, record);
	}
}

uint32_t claims_fresh_size(const struct dataplane *dp, const struct record *record)
{
	for (unsigned i = 0; claims_fresh(dp, record) && i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open && record->claims[i] &&
		    !record->claims[i]->fresh)
			return record->claims[i]->size;
	return 0;
}

/* Without a current there is none to become the keeper: then a quiet slot needs nothing. */
bool claim_needs_old_ring(uint32_t claim)
{
	return claim & LB_SLOT_TRANSITION && !LB_SLOT_KEEPER(claim) &&
	       (LB_SLOT_CURRENT(claim) || !(claim & CLAIM_QUIET));
}

static bool needs_old_ring(const struct claims *claims)
{
	for (uint32_t i = 0; i < claims->held; i++)
		if (claims->slot[i] != CLAIM_UNKNOWN && claim_needs_old_ring(claims->slot[i]))
			return true;
	return false;
}

uint32_t claims_of(const struct dataplane *dp, uint32_t at)
{
	uint32_t claim = dp_load(&dp->maps.arena[at]) & ~CLAIM_QUIET;

	return dp->quiet[at / 64] >> at % 64 & 1 ? claim | CLAIM_QUIET : claim;
}

uint32_t claims_pull(const struct dataplane *dp, const struct record *record)
{
	uint32_t idle = ring_idle(&dp->maps.services[record->id], record->want.protocol), most = 0;

	for (unsigned i = 0; i < DP_PEERS; i++) {
		const struct claims *claims = record->claims[i];

		if (!dp->peers[i] || !claims || claims->size <= most ||
		    !counts(dp->peers[i], dp_tick(dp), idle) ||
		    (dp->peers[i]->open && !dataplane_peer_synced(dp, i)))
			continue;
		if (needs_old_ring(claims))
			most = claims->size;
	}
	return most;
}

bool claims_come(const struct dataplane *dp)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open)
			return dp->join == DP_JOINED;
	return false;
}

bool claims_missing(const struct dataplane *dp)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && dp->peers[i]->open && !dataplane_peer_synced(dp, i))
			return true;
	return false;
}

bool claims_resizing(const struct dataplane *dp, const struct record *record, uint32_t size)
{
	uint32_t idle = ring_idle(&dp->maps.services[record->id], record->want.protocol);

	if (claims_missing(dp))
		return true;
	if (dp->join == DP_RETURNS)
		return true;
	for (unsigned i = 0; i < DP_PEERS; i++)
		if (dp->peers[i] && counts(dp->peers[i], dp_tick(dp), idle) && record->claims[i] &&
		    record->claims[i]->size == size && needs_old_ring(record->claims[i]))
			return true;
	return false;
}

/* ---- begin and end ---- */

void claims_done(struct record *record)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		drop_claims(record, i);
}

static void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	share_done(peer);
	free(peer->backends);
	free(peer->local);
	free(peer->services);
	free(peer);
}

void claims_end(struct dataplane *dp)
{
	for (unsigned i = 0; i < DP_PEERS; i++)
		peer_free(dp->peers[i]);
	free(dp->quiet);
	free(dp->told_ticks);
}

static struct peer *peer_new(struct dataplane *dp)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->backends = calloc(LB_MAX_BACKENDS + 1, sizeof(*peer->backends));
	peer->local = calloc(LB_MAX_BACKENDS + 1, sizeof(*peer->local));
	peer->services = calloc(LB_MAX_SERVICES + 1, sizeof(*peer->services));
	if (peer->backends && peer->local && peer->services && !share_open(dp, peer))
		return peer;
	peer_free(peer);
	return NULL;
}

/* Its references may mean something else from now on. */
static void forget_claims(struct dataplane *dp, unsigned number)
{
	struct peer *peer = dp->peers[number];

	for (size_t i = 0; i < dp->records_count; i++)
		drop_claims(dp->records[i], number);
	peer->held = 0;
	memset(peer->backends, 0, (LB_MAX_BACKENDS + 1) * sizeof(*peer->backends));
	memset(peer->services, 0, (LB_MAX_SERVICES + 1) * sizeof(*peer->services));
	for (uint32_t ref = 0; ref <= LB_MAX_BACKENDS; ref++)
		peer->local[ref] = PEER_NOBODY;
}

int dataplane_peer_open(struct dataplane *dp, unsigned number)
{
	struct peer *peer;

	if (!dp->quiet)
		dp->quiet = calloc(dp->maps.arena_slots / 64 + 1, sizeof(*dp->quiet));
	if (!dp->quiet)
		return -ENOMEM;
	if (!dp->peers[number])
		dp->peers[number] = peer_new(dp);
	peer = dp->peers[number];
	if (!peer)
		return -ENOMEM;
	forget_claims(dp, number);
	peer->open = true;
	peer->answered = peer->asked = 0;
	peer->wanted = 1;
	peer->wants = true;
	peer->owes_end = peer->again = false;
	share_all(dp, peer);
	return 0;
}

void dataplane_peer_close(struct dataplane *dp, unsigned number)
{
	struct peer *peer = dp->peers[number];

	if (!peer || !peer->open)
		return;
	peer->open = false;
	peer->lost_at = dp_tick(dp);
}

void dataplane_peer_forget(struct dataplane *dp, unsigned number)
{
	if (!dp->peers[number])
		return;
	for (size_t i = 0; i < dp->records_count; i++)
		drop_claims(dp->records[i], number);
	peer_free(dp->peers[number]);
	dp->peers[number] = NULL;
}

void dataplane_join(struct dataplane *dp, enum dp_join join)
{
	dp->join = join;
}

void dataplane_share_stats(const struct dataplane *dp, struct dp_share_stats *ret)
{
	*ret = (struct dp_share_stats){.conflicts = dp->conflicts, .unplaced = dp->unshared};
}

void dataplane_peer_stats(const struct dataplane *dp, unsigned number, struct dp_peer_stats *ret)
{
	*ret = (struct dp_peer_stats){0};
	for (size_t i = 0; i < dp->records_count; i++) {
		const struct claims *claims = dp->records[i]->claims[number];

		if (!claims)
			continue;
		ret->services++;
		ret->others += claims->digest != dp->records[i]->digest;
	}
}
