/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The model: where each packet may go, as the ends of its flow see it. The exceptions are marked
 * "Excused:" and are in README.md, "Limits". The model reads the program's state, and lbd's, for
 * exceptions only: whether a slot learns, whether the table was full or an entry was evicted, and
 * whether the sweep dropped a dormant entry for its place. */
#include "world.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <string.h>

#define FIN     0x01
#define SYN     0x02
#define RST     0x04

#define GUESSED 65536 /* bytes from a SYN on, in which a packet's sequence number continues it */

void world_fail(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->failure[0])
		return;
	va_start(args, format);
	vsnprintf(w->failure, sizeof(w->failure), format, args);
	va_end(args);
}

bool world_acts(const struct world *w, enum actor actor)
{
	return w->sequence->actors >> actor & 1;
}

bool world_is_udp(const struct world *w, uint32_t flow)
{
	return w->sequence->service[world_service_of(w, flow)].udp;
}

const struct dp_backend *world_backend(const struct world *w, int number)
{
	return want_find((struct want *)&w->want[number / SEQUENCE_BACKENDS], number);
}

static const char *name_of(int number, char text[32])
{
	if (number < 0)
		return "nowhere";
	snprintf(text, 32, "backend %d", number % SEQUENCE_BACKENDS);
	return text;
}

/* ---- questions about services and backends ---- */

static bool is_usable(const struct world *w, int number)
{
	const struct dp_backend *backend = number >= 0 ? world_backend(w, number) : NULL;

	return backend && backend->usable;
}

static bool takes_new(const struct dp_backend *backend)
{
	return backend && backend->usable && backend->weight;
}

static bool anyone_takes_new(const struct world *w, unsigned service)
{
	for (unsigned i = 0; i < w->want[service].service.backends_count; i++)
		if (takes_new(&w->want[service].backends[i]))
			return true;
	return false;
}

static bool any_slot_learns(const struct world *w, unsigned service)
{
	uint32_t size, *slots;

	if (!w->dp)
		return true;
	slots = want_slots(w->dp, &w->want[service], &size);
	for (uint32_t i = 0; i < size; i++)
		if (slots[i] & LB_SLOT_LEARNING)
			return true;
	return false;
}

/* The flow was established after its service began to track all flows, which it still does. */
static bool is_tracked(const struct world *w, uint32_t flow)
{
	return w->flows[flow].established > w->tracked_since[world_service_of(w, flow)];
}

/* The service was changed after this tick's packets, or later. */
static bool changed_since(const struct world *w, uint32_t flow, uint32_t tick)
{
	return w->committed[world_service_of(w, flow)] >= tick;
}

static bool evicted_since(const struct world *w, uint32_t tick)
{
	return w->evicted_tick >= tick;
}

static bool pressed_since(const struct world *w, uint32_t tick)
{
	return w->full_tick >= tick || w->evicted_tick >= tick;
}

/* ---- which flows must be on their backend ---- */

/* Whether the last packet's backend, which died since, gets the flow again when it is back.
 * Excused: while a ring changes size, its dead keepers are replaced at once. And where the table
 * was full, a flow that began meanwhile may have no place either, and stays where it went. An lbd
 * that finds a backend dead does not know since when: for it, the table was full meanwhile if it
 * ever was. */
static bool is_kept_for(const struct world *w, uint32_t number, int backend)
{
	const struct flow *flow = &w->flows[number];

	return world_acts(w, ACTOR_RETURN) && !w->batch->narrow &&
	       !w->resized[world_service_of(w, number)] && !pressed_since(w, flow->opened) &&
	       !(w->full_tick && w->undated[backend] > flow->deaths);
}

/* A backend that died gets a flow again if it is back within an idle timeout of the last packet
 * that it got of the flow. */
static bool owner_is_there(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	if (!is_usable(w, flow->owner) || flow->removals != w->removals[flow->owner])
		return false;
	return flow->deaths == w->deaths[flow->owner] ||
	       (is_kept_for(w, number, flow->owner) &&
		w->at - flow->served <= world_patience(w, number));
}

/* Excused: a flow that was not yet seen in two ticks has no firm place in the table, and a full
 * table may evict it. One datagram is not yet a flow: when the service changes, the next one looks
 * new. */
static bool is_excused_as_new(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	if (flow->firm)
		return false;
	if (world_is_udp(w, number))
		return pressed_since(w, flow->opened) || changed_since(w, number, flow->opened);
	return evicted_since(w, flow->opened);
}

/* Excused unless ACTOR_CLOSING_FULL: a full table evicts flows in whose name a FIN came, or an RST
 * and nothing since. */
static bool is_excused_as_closing(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	return !world_acts(w, ACTOR_CLOSING_FULL) && flow->closing &&
	       evicted_since(w, flow->closing);
}

/* Excused: where hashes collide, a flow without a place may match the entry of a later one; the
 * FIN of another flow makes the entry of both one that a full table evicts; and a packet of another
 * one in a handshake shows, by its number, that the entry is not of its own flow. */
static bool is_excused_as_colliding(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	return w->batch->narrow &&
	       (flow->unplaced || flow->crossed || evicted_since(w, flow->opened));
}

/* Excused: the handshake's entry was evicted. The flow goes on by its slot, as an older one; while
 * the keeper is dead it is taken for one of the keeper's, which gets it back. */
static bool is_excused_as_orphan(const struct world *w, uint32_t number)
{
	return w->flows[number].orphan && changed_since(w, number, w->flows[number].opened);
}

/* Whether the next packet of the flow must go to its owner. */
static bool is_bound(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	if (flow->phase < FLOW_LIVE || flow->owner < 0 ||
	    w->at - flow->last > world_patience(w, number))
		return false;
	if (world_is_udp(w, number) && !world_acts(w, ACTOR_UDP_FULL) && w->full_tick)
		return false;
	return !flow->doubtful && !flow->guessed && owner_is_there(w, number) &&
	       !is_excused_as_new(w, number) && !is_excused_as_closing(w, number) &&
	       !is_excused_as_colliding(w, number) && !is_excused_as_orphan(w, number);
}

/* Where all flows are tracked and nothing changed, a silence longer than the idle timeout ends no
 * connection.
 * Excused: flows that are half-closed or were not firm; flows in whose name a FIN was forged, or
 * any packet since their last one; flows of a tuple that was used before; UDP; crowded tables and
 * floods; and where the sweep has dropped a dormant entry since, as a table that becomes smaller
 * needs the place. */
static bool is_bound_asleep(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	if (w->sequence->table != TABLE_ROOMY || w->flooded >= flow->last)
		return false;
	return world_acts(w, ACTOR_WAKE) && !w->batch->narrow && flow->phase == FLOW_LIVE &&
	       flow->owner >= 0 && flow->firm && !flow->unplaced && !flow->forged && !flow->fin &&
	       !flow->doubtful && !flow->again && !world_is_udp(w, number) &&
	       is_tracked(w, number) && owner_is_there(w, number) &&
	       flow->deaths == w->deaths[flow->owner] && !changed_since(w, number, flow->last) &&
	       !pressed_since(w, flow->last) && w->dropped_tick < flow->last;
}

/* Whether the program can know that the flow is live when a SYN is forged in its name. It cannot
 * know an untracked flow that has not sent since its service changed, nor a flow whose entry or
 * mark found no place: then the SYN opens a new flow. */
static bool is_known(const struct world *w, uint32_t number)
{
	const struct flow *flow = &w->flows[number];

	if (is_tracked(w, number) && flow->firm && !flow->unplaced &&
	    !pressed_since(w, flow->opened))
		return true;
	return !changed_since(w, number, flow->last) && !pressed_since(w, flow->last);
}

static uint64_t hash_of(const struct world *w, const struct lb_tuple *tuple)
{
	return lb_flow_hash(tuple, &w->batch->owner->maps.settings->key);
}

static uint32_t syn_place(const struct world *w, uint32_t number)
{
	const struct lb_tuple tuple = world_tuple(w, number);

	return (uint32_t)hash_of(w, &tuple) & (BATCH_SYNS - 1);
}

static bool shares_syn(const struct world *w, uint32_t number)
{
	const uint32_t place = syn_place(w, number);
	bool shared = false;

	for (unsigned i = 0; i < w->sequence->flows_count && !shared; i++)
		shared =
		    w->sequence->flows[i] != number && syn_place(w, w->sequence->flows[i]) == place;
	return shared;
}

/* Whether the next packet of the flow itself shows, by its sequence number, that such a SYN was
 * forged. Excused: there are few places for the numbers of SYNs. Floods overwrite them, and a few
 * flows share one. And they are noted for slots in transition only: a flow of a stable one has an
 * entry, unless the table was full. */
static bool shows_forged_syn(const struct world *w, uint32_t number)
{
	return w->sequence->table == TABLE_ROOMY && !w->batch->narrow &&
	       !world_acts(w, ACTOR_FLOOD) && !pressed_since(w, 1) && !shares_syn(w, number);
}

static void check_owner(struct world *w, uint32_t number, int to, const char *what)
{
	const struct flow *flow = &w->flows[number];
	char owner[32], name[32];

	w->checked++;
	w->returned += flow->deaths != w->deaths[flow->owner];
	if (to != flow->owner)
		world_fail(w, "tick %u: flow %u is %s on %s, which is alive, but %s went to %s",
			   w->at, number, flow->phase == FLOW_HALF ? "half-closed" : "established",
			   name_of(flow->owner, owner), what, name_of(to, name));
}

/* ---- a flow begins ---- */

/* Excused: UDP, for an idle timeout after the table was full: the flow may be an older one without
 * a place. */
static bool may_be_learnt(const struct world *w, uint32_t number, const bool *learning)
{
	unsigned service = world_service_of(w, number);

	return world_is_udp(w, number) &&
	       (learning[service] ||
		(w->full_tick && w->at - w->full_tick <= w->sequence->service[service].idle));
}

/* Excused: a tuple that is used again may go where it went before, also when that backend drains. A
 * flow that finds no place goes by its slot. UDP in the learning period may be an older flow. */
static bool is_excused_to_old(const struct world *w, uint32_t number, int to)
{
	const struct flow *flow = &w->flows[number];

	return (flow->heard && (flow->went == to || flow->owner == to)) ||
	       pressed_since(w, w->at) || w->batch->narrow;
}

static void check_new(struct world *w, uint32_t number, int to, const bool *learning)
{
	unsigned service = world_service_of(w, number);
	char name[32];

	if (!anyone_takes_new(w, service) || may_be_learnt(w, number, learning))
		return;
	w->checked++;
	if (to < 0 || (!takes_new(world_backend(w, to)) && !is_excused_to_old(w, number, to)))
		world_fail(w, "tick %u: new flow %u went to %s, which takes no new flows", w->at,
			   number, name_of(to, name));
}

static void note_answer(const struct world *w, struct flow *flow, int to)
{
	flow->answered = to;
	flow->deaths = to >= 0 ? w->deaths[to] : 0;
	flow->removals = to >= 0 ? w->removals[to] : 0;
}

static void establish(struct world *w, struct flow *flow, int to)
{
	flow->phase = to >= 0 ? FLOW_LIVE : FLOW_NONE;
	flow->owner = to;
	flow->established = flow->served = w->at;
	note_answer(w, flow, to);
}

static void begin_flow(struct world *w, uint32_t number, int to)
{
	struct flow *flow = &w->flows[number];

	flow->firm = flow->doubtful = flow->fin = flow->orphan = false;
	flow->syn_forged = flow->guessed = flow->crossed = false;
	flow->closing = 0;
	flow->unplaced = w->full_tick == w->at;
	flow->opened = w->at;
	note_answer(w, flow, to);
	if (world_is_udp(w, number))
		establish(w, flow, to);
	else
		flow->phase = to >= 0 ? FLOW_OPENING : FLOW_NONE;
}

/* Excused: the entry of an embryonic flow may be evicted; a SYN that is repeated after the service
 * changed, or after the table got room for it, counts as a new one; and a backend that died may be
 * superseded. */
static bool is_excused_in_handshake(const struct world *w, uint32_t number, enum shot_kind kind)
{
	const struct flow *flow = &w->flows[number];

	if (!is_usable(w, flow->answered) || flow->removals != w->removals[flow->answered] ||
	    (flow->deaths != w->deaths[flow->answered] &&
	     !is_kept_for(w, number, flow->answered)) ||
	    evicted_since(w, flow->opened) || w->batch->narrow)
		return true;
	return kind == SHOT_SYN_REPEATED &&
	       (changed_since(w, number, flow->opened) || pressed_since(w, flow->opened));
}

/* If the packet may go elsewhere and does, the server there does not know the flow: the handshake
 * fails. */
static void go_on_opening(struct world *w, uint32_t number, int to, enum shot_kind kind)
{
	struct flow *flow = &w->flows[number];
	char before[32], after[32];

	if (flow->phase != FLOW_OPENING)
		return;
	if (to != flow->answered && !is_excused_in_handshake(w, number, kind))
		world_fail(w, "tick %u: flow %u: the SYN went to %s, the next packet to %s", w->at,
			   number, name_of(flow->answered, before), name_of(to, after));
	flow->unplaced |= w->full_tick == w->at;
	if (kind == SHOT_SYN_REPEATED)
		note_answer(w, flow, to);
	else if (to == flow->answered)
		establish(w, flow, to);
	else
		flow->phase = FLOW_NONE;
	if (to < 0)
		flow->phase = FLOW_NONE;
}

/* ---- a flow goes on ---- */

/* A packet that was dropped while the owner was dead ends nothing. One that another backend got
 * ends the flow, and so does the removal of the owner, even if it was added again. */
static void go_on(struct world *w, uint32_t number, int to)
{
	struct flow *flow = &w->flows[number];

	if (to < 0 && flow->owner >= 0 && !is_usable(w, flow->owner))
		return;
	if (to != flow->owner || to < 0 || flow->removals != w->removals[to]) {
		flow->phase = FLOW_NONE;
		return;
	}
	if (!flow->firm && w->at > flow->established) {
		flow->firm = true;
		flow->orphan = !world_is_udp(w, number) && evicted_since(w, flow->opened);
	}
	flow->unplaced |= !flow->firm && w->full_tick == w->at;
	/* if its entry was evicted meanwhile, only its slot leads to this backend, for now */
	if (!flow->fin && !(flow->closing && evicted_since(w, flow->closing)))
		flow->closing = 0;
	flow->guessed = false;
	flow->served = w->at;
	note_answer(w, flow, to);
}

/* A packet after an RST shows that the ends ignored the RST. A packet after a FIN shows nothing. */
static void note_closing(const struct world *w, struct flow *flow, uint8_t tcp_flags)
{
	if (!flow->closing && tcp_flags & (FIN | RST))
		flow->closing = w->at;
	flow->fin |= tcp_flags & FIN;
}

/* Excused: the flow's next packet, or another forged one, continues the number of a forged SYN. A
 * forger who does not know the flow's number hits that once in 2^32 / GUESSED. It excuses the
 * packets up to the flow's own next one: the program has seen the flow then. */
static void note_guess(struct flow *flow, const struct shot *shot)
{
	if (!flow->syn_forged || shot->tcp_flags & SYN)
		return;
	flow->guessed |= ntohl(shot->seq) - flow->forged_isn - 1 < GUESSED;
	flow->syn_forged = false;
}

/* Notes which other flows are in a handshake while this packet, which has their hash, comes. */
static void note_crossing(struct world *w, const struct pending *pending, const struct shot *shot)
{
	const struct lb_tuple tuple =
	    world_tuple_from(w, pending->service, shot->client, shot->port);

	for (unsigned i = 0; i < w->sequence->flows_count; i++) {
		uint32_t number = w->sequence->flows[i];
		struct flow *flow = &w->flows[number];
		struct lb_tuple other;

		if (number == pending->flow || flow->phase != FLOW_OPENING)
			continue;
		other = world_tuple(w, number);
		flow->crossed |=
		    BATCH_NARROW(hash_of(w, &other)) == BATCH_NARROW(hash_of(w, &tuple));
	}
}

void world_note_forged(struct world *w, uint32_t number, uint8_t tcp_flags)
{
	struct flow *flow = &w->flows[number];

	w->forged++;
	flow->forged = true;
	note_closing(w, flow, tcp_flags);
}

static void check_forged(struct world *w, uint32_t number, int to, enum shot_kind kind,
			 const struct shot *shot)
{
	struct flow *flow = &w->flows[number];

	world_note_forged(w, number, shot->tcp_flags);
	if (kind == SHOT_FORGED_SYN && !is_known(w, number)) {
		flow->doubtful |= !shows_forged_syn(w, number);
		flow->syn_forged = true;
		flow->forged_isn = ntohl(shot->seq);
		return;
	}
	if (is_bound(w, number))
		check_owner(w, number, to,
			    kind == SHOT_FORGED_SYN ? "a forged SYN" : "a forged packet");
}

/* Excused: a flow that was silent for longer than the idle timeout is over; a datagram begins a new
 * one. */
static void wake_anywhere(struct world *w, uint32_t number, int to)
{
	if (world_is_udp(w, number))
		begin_flow(w, number, to);
	else
		w->flows[number].phase = FLOW_NONE;
}

static void check_own(struct world *w, uint32_t number, int to, enum shot_kind kind)
{
	struct flow *flow = &w->flows[number];
	bool asleep = kind == SHOT_WAKES && is_bound_asleep(w, number);

	if (flow->phase < FLOW_LIVE)
		return;
	w->woken += asleep;
	if (kind == SHOT_WAKES && !asleep) {
		wake_anywhere(w, number, to);
		return;
	}
	if (asleep || is_bound(w, number))
		check_owner(w, number, to, asleep ? "after a silence" : "a packet");
	go_on(w, number, to);
	if (kind == SHOT_ENDS)
		flow->phase = FLOW_NONE;
	else if (kind == SHOT_HALF_CLOSES && flow->phase == FLOW_LIVE) {
		flow->phase = FLOW_HALF;
		note_closing(w, flow, FIN);
	}
}

static void check(struct world *w, const struct pending *pending, const struct shot *shot, int to,
		  const bool *learning)
{
	struct flow *flow = &w->flows[pending->flow];

	note_guess(flow, shot);
	switch (pending->kind) {
	case SHOT_FORGED:
	case SHOT_FORGED_SYN:
		check_forged(w, pending->flow, to, pending->kind, shot);
		flow->heard = w->at;
		flow->went = to;
		return;
	case SHOT_OPENS_FRESH:
	case SHOT_OPENS_AGAIN:
		check_new(w, pending->flow, to, learning);
		begin_flow(w, pending->flow, to);
		flow->again = pending->kind == SHOT_OPENS_AGAIN;
		break;
	case SHOT_SYN_REPEATED:
	case SHOT_ESTABLISHES:
		go_on_opening(w, pending->flow, to, pending->kind);
		break;
	default:
		check_own(w, pending->flow, to, pending->kind);
	}
	flow->last = flow->heard = w->at;
	flow->went = to;
	flow->forged = false;
}

/* ---- packets ---- */

/* The number of the backend, -1: none. No packet may go to another service's, a dead or a removed
 * one. */
static int destination(struct world *w, const struct pending *pending, const struct shot *shot)
{
	int number = ntohl(shot->outer_dst) & 0xff;

	if (shot->verdict != XDP_TX)
		return -1;
	if (number / SEQUENCE_BACKENDS != (int)pending->service)
		world_fail(w, "tick %u: flow %u of service %u went to backend %d of another one",
			   w->at, pending->flow, pending->service, number);
	else if (!is_usable(w, number))
		world_fail(w, "tick %u: flow %u went to backend %d, which is dead or removed",
			   w->at, pending->flow, number % SEQUENCE_BACKENDS);
	if (!w->failure[0])
		world_note_sent(w, number, shot);
	return w->failure[0] ? -1 : number;
}

/* Whether an event happened in the packets just sent. */
static void note_event(struct world *w, enum lb_event event, uint64_t *before, uint32_t *tick)
{
	uint64_t now = dataplane_event(w->batch->owner, event);

	if (now != *before)
		*tick = w->now;
	*before = now;
}

void world_fire(struct world *w)
{
	bool learning[SEQUENCE_SERVICES] = {false};

	if (!w->pending_count)
		return;
	world_add_replies(w);
	batch_fire(w->batch, w->pending_count + w->replies_count);
	note_event(w, LB_EVENT_flow_table_full, &w->full, &w->full_tick);
	note_event(w, LB_EVENT_flow_evicted, &w->evicted, &w->evicted_tick);
	for (unsigned i = 0; i < w->sequence->services; i++)
		learning[i] = w->sequence->service[i].udp && any_slot_learns(w, i);
	for (unsigned i = 0; i < w->pending_count && !w->failure[0]; i++) {
		const struct pending *pending = &w->pending[i];
		const struct shot *shot = &w->batch->shots[i];
		int to;

		w->at = shot->tick;
		w->guilty = pending->flow;
		to = destination(w, pending, shot);
		if (w->batch->narrow)
			note_crossing(w, pending, shot);
		if (pending->kind == SHOT_FLOOD)
			continue;
		world_trace_packet(w, pending, shot);
		check(w, pending, shot, to, learning);
	}
	world_check_replies(w);
	w->packets += w->pending_count + w->replies_count;
	w->pending_count = 0;
}
