/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sweep, in bounded steps: expires and counts flow entries, then settles slots in transition,
 * ends resizes and frees ids. Rules: docs/tracking.md, "lbd: settling". */
#include "internal.h"

#include <netinet/in.h>
#include <string.h>

#include "lbd/host/host.h"

#define PAUSE_WORDS 4096 /* between two pauses */

/* How long a flow holds a drain after its end, ticks. FIN: RFC 5382 and conntrack keep a
 * half-closed flow for 2 minutes. RST, or the FIN of both: they may be forged, and the flow
 * continue. */
#define FIN_HOLDS 112
#define RST_HOLDS 10

/* ---- flow entries ---- */

static const struct lb_service *service_of(const struct dataplane *dp, uint64_t entry)
{
	return &dp->maps.services[dp->maps.backends[LB_FLOW_BACKEND(entry)].service];
}

/* Whether the flow's slot is stable, so that the entry is not looked up any more. The slot is found
 * by the high 32 bits of the hash, and the fingerprint has the upper 30 of them: the flow may be in
 * one of up to two slots. False for services that do not hash all fields: their slots are not
 * known. */
static bool is_settled_past(const struct dataplane *dp, uint64_t entry)
{
	const struct lb_service *line = service_of(dp, entry);
	const uint32_t *slots = dp_slots(dp, line->ring);
	uint32_t size = LB_REGION_SIZE(line->ring), high = (uint32_t)(entry >> LB_FLOW_FP_SHIFT)
							   << 2;
	uint32_t first = (uint32_t)((uint64_t)high * size >> 32),
		 last = (uint32_t)((uint64_t)(high | 3) * size >> 32);

	if (!size || line->flags & LB_SERVICE_TRACK_ALWAYS || line->hash != LB_HASH_FULL ||
	    line->mask4 != 32 || line->mask6 != 128)
		return false;
	return !(slots[first] & LB_SLOT_TRANSITION) && !(slots[last] & LB_SLOT_TRANSITION);
}

/* Whether an expired entry becomes dormant instead of being removed. If the service tracks always,
 * an entry stays valid however long its flow is silent; it is evicted when its place is needed. */
static bool may_be_dormant(const struct dataplane *dp, uint64_t entry)
{
	return LB_FLOW_LASTING >> LB_FLOW_STATE(entry) & 1 &&
	       service_of(dp, entry)->flags & LB_SERVICE_TRACK_ALWAYS &&
	       dp->traits[LB_FLOW_BACKEND(entry)] & BACKEND_ALIVE;
}

static uint64_t dormant_of(uint64_t entry)
{
	const uint64_t state = (uint64_t)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT;

	return (entry & ~state & ~LB_FLOW_OVERFLOW) | (uint64_t)LB_FLOW_DORMANT
							  << LB_FLOW_STATE_SHIFT;
}

/* Removes the entry or makes it dormant, if it is due. True: it was changed, and does not count any
 * more. */
static bool retire_entry(struct dataplane *dp, uint64_t *at, uint64_t entry, uint32_t now)
{
	uint32_t state = LB_FLOW_STATE(entry);

	if (entry_is_void(dp, entry) || is_settled_past(dp, entry))
		return entry_change(dp, at, entry, 0);
	if (state == LB_FLOW_DORMANT)
		return service_of(dp, entry)->flags & LB_SERVICE_TRACK_ALWAYS
			   ? false
			   : entry_change(dp, at, entry, 0);
	if (dp_flow_age(now, entry) <= entry_idle(dp, entry))
		return false;
	return entry_change(dp, at, entry, may_be_dormant(dp, entry) ? dormant_of(entry) : 0);
}

/* Counts the entry, for `active`, shares and drains. Entries of live flows hold a drain; marks of
 * older flows do not: they can be forged, and the slots hold the drain for such flows. */
static void count_entry(struct dataplane *dp, uint64_t entry, uint32_t now)
{
	uint32_t id = LB_FLOW_BACKEND(entry), state = LB_FLOW_STATE(entry),
		 age = dp_flow_age(now, entry);

	dp->sweep.entries++;
	dp->sweep.dormant += state == LB_FLOW_DORMANT;
	if (LB_FLOW_COUNTED >> state & 1)
		dp->counting[id]++;
	if (LB_FLOW_HELD >> state & 1)
		dp->holding[id]++;
	if (state == LB_FLOW_KEPT)
		dp->marked[id]++;
	else if ((state == LB_FLOW_FIN && age <= FIN_HOLDS) ||
		 ((state == LB_FLOW_RST || state == LB_FLOW_CLOSED) && age <= RST_HOLDS))
		dp->closing[id]++;
}

/* Frees a place in a bucket that is full and has dormant entries: an insert that must evict costs
 * more. */
static void make_room(struct dataplane *dp, uint64_t *bucket, uint32_t now)
{
	uint64_t *oldest = NULL, entry = 0;

	for (unsigned way = 0; way < LB_FLOW_WAYS; way++) {
		uint64_t word = dp_load(&bucket[way]);

		if (!LB_FLOW_STATE(word))
			return;
		if (LB_FLOW_STATE(word) != LB_FLOW_DORMANT ||
		    (oldest && dp_flow_age(now, word) <= dp_flow_age(now, entry)))
			continue;
		oldest = &bucket[way];
		entry = word;
	}
	if (oldest && entry_change(dp, oldest, entry, 0))
		dp->sweep.dropped++;
}

static void sweep_flows(struct dataplane *dp, uint32_t end, uint32_t now)
{
	for (; dp->sweep.at < end; dp->sweep.at++) {
		uint64_t *at = &dp->maps.flows[dp->sweep.at];
		uint64_t entry = dp_load(at);

		if (dp->sweep.at % PAUSE_WORDS == 0)
			task_pause();
		if (LB_FLOW_STATE(entry) && !retire_entry(dp, at, entry, now)) {
			count_entry(dp, dp_load(at), now);
			if (dp->told_ticks)
				share_entry(dp, dp->sweep.at, entry, now);
		}
		if (dp->sweep.at % LB_FLOW_WAYS == LB_FLOW_WAYS - 1)
			make_room(dp, at - (LB_FLOW_WAYS - 1), now);
	}
}

/* ---- fragments ---- */

static void sweep_frags(struct dataplane *dp, uint32_t end)
{
	for (; dp->sweep.at < end; dp->sweep.at++)
		frag_purge(dp, &dp->maps.frags[dp->sweep.at]);
}

/* ---- slots ---- */

static uint16_t record_idle(const struct dataplane *dp, const struct record *record)
{
	return ring_idle(&dp->maps.services[record->id], record->want.protocol);
}

/* Stamps wrap, and while nodes differ, or marks are lost, a slot may be in transition for days: one
 * that is so old grows no older. A packet that stamps at the same time counts. */
#define STAMP_OLDEST (2 * LB_FLOW_MAX_IDLE)

static uint32_t slot_silence(const struct dataplane *dp, uint32_t at, uint32_t now)
{
	uint16_t stamp = dp_load(&dp->maps.stamps[at]);
	uint32_t age = dp_stamp_age(now, stamp);

	if (age > STAMP_OLDEST)
		__atomic_compare_exchange_n(&dp->maps.stamps[at], &stamp,
					    (uint16_t)(now - STAMP_OLDEST), false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
	return age;
}

/* The same where there are other nodes. A slot becomes stable in two steps: current becomes the
 * keeper when all nodes are quiet, and the transition ends when all have done that. So whatever one
 * node does next, the untracked flows of another one are on its keeper. While rings have different
 * sizes, as after a time apart, one that still needs its old ring must do without, to become as the
 * others. */
static bool settle_with_peers(struct dataplane *dp, struct record *record, uint32_t index,
			      bool may_settle, uint32_t silence)
{
	uint32_t at = LB_REGION_BASE(dp->maps.services[record->id].ring) + index;
	uint32_t now = dp->sweep.now, slot = dp->maps.arena[at];
	uint16_t current = LB_SLOT_CURRENT(slot);
	struct claims_view view = claims_look(dp, record, index, current, now);
	bool quiet = may_settle && silence > record_idle(dp, record) + DP_SLACK;

	claims_note_quiet(dp, at, quiet);
	if (!view.moves)
		record->since[index] = (uint16_t)dp_tick(dp); /* a peer does not track yet */
	if (quiet && view.settles && LB_SLOT_KEEPER(slot) == current)
		dp_slot_store(dp, at, LB_SLOT(current, current));
	else if (quiet && LB_SLOT_KEEPER(slot) != current &&
		 (view.readies || (view.apart && !LB_SLOT_KEEPER(slot))))
		dp_slot_store(dp, at, LB_SLOT(current, current) | LB_SLOT_TRANSITION);
	else
		return false;
	return true;
}

/* Settles one slot, or ends its learning. Ages count up to the beginning of the round, as the flow
 * table was looked at after that. */
static void settle_slot(struct dataplane *dp, struct record *record, uint32_t index,
			bool may_settle)
{
	uint32_t at = LB_REGION_BASE(dp->maps.services[record->id].ring) + index;
	uint32_t now = dp->sweep.now, idle = record_idle(dp, record), slot = dp->maps.arena[at];
	uint16_t current = LB_SLOT_CURRENT(slot);
	uint32_t silence;

	if (!(slot & LB_SLOT_TRANSITION))
		return;
	silence = slot_silence(dp, at, now);
	if (claims_any(dp)) {
		if (settle_with_peers(dp, record, index, may_settle, silence))
			return;
	} else if (may_settle && silence > idle) {
		dp_slot_store(dp, at, LB_SLOT(current, current));
		return;
	}
	if (slot & LB_SLOT_LEARNING && dp_stamp_age(now, record->since[index]) > idle)
		dp_slot_store(dp, at, slot & ~LB_SLOT_LEARNING);
}

/* Without other nodes the last slot that settles ends that. With them it may be long before. */
static bool needs_old_ring(const struct dataplane *dp, const struct record *record)
{
	uint64_t ring = dp->maps.services[record->id].ring;

	if (!claims_any(dp))
		return record->in_transition;
	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
		if (claim_needs_old_ring(claims_of(dp, LB_REGION_BASE(ring) + i)))
			return true;
	return false;
}

/* After all slots of the service were looked at. */
static void end_service(struct dataplane *dp, struct record *record)
{
	struct lb_service *line = &dp->maps.services[record->id];

	ring_count(dp, record, dp->sweep.now);
	if (line->old_ring && !needs_old_ring(dp, record) && !dp_retire_room(dp, 1)) {
		dp_retire(dp, line->old_ring);
		dp_store(&line->old_ring, 0);
	}
	if (ring_is_due(dp, record))
		dp_resize(dp, record);
}

static bool is_settled(const struct dataplane *dp, const struct record *record)
{
	return !record ||
	       (!record->in_transition && !dp->maps.services[record->id].old_ring &&
		record->wanted_size == LB_REGION_SIZE(dp->maps.services[record->id].ring));
}

/* Looks at up to budget slots; returns how many. */
static size_t sweep_slots(struct dataplane *dp, size_t budget)
{
	struct sweep *sweep = &dp->sweep;
	size_t done = 0;

	while (sweep->at < dp->maps.service_slots && done < budget) {
		struct record *record = dp->by_id[sweep->at];
		bool may_settle;
		uint32_t size;

		if (is_settled(dp, record)) {
			sweep->at++;
			sweep->slot = 0;
			continue;
		}
		size = LB_REGION_SIZE(dp->maps.services[record->id].ring);
		may_settle = !ring_has_forgotten(dp, record, sweep->now);
		for (; sweep->slot < size && done < budget; sweep->slot++, done++)
			settle_slot(dp, record, sweep->slot, may_settle);
		if (sweep->slot < size)
			break;
		end_service(dp, record);
		sweep->at++;
		sweep->slot = 0;
	}
	return done;
}

/* ---- rounds ---- */

static void begin_round(struct dataplane *dp, uint32_t now)
{
	struct sweep *sweep = &dp->sweep;
	size_t ids = dp->maps.backend_slots;
	const union lb_flow_masks masks = flows_masks(dp);

	/* after the grace period no packet puts an entry where those before the change went */
	sweep->moves = masks.look != masks.put;
	dp->grace_owed |= sweep->moves;
	dp->flows.stuck = 0;
	dp_grace(dp);
	sweep->round++;
	sweep->now = now;
	sweep->entries = sweep->dormant = 0;
	dp->flows.inserted_next = dataplane_event(dp, LB_EVENT_flow_inserted);
	sources_sweep(dp, now);
	memset(dp->counting, 0, ids * sizeof(*dp->counting));
	memset(dp->closing, 0, ids * sizeof(*dp->closing));
	memset(dp->marked, 0, ids * sizeof(*dp->marked));
	memset(dp->holding, 0, ids * sizeof(*dp->holding));
	for (size_t id = 0; id < ids; id++)
		dp->active_before[id] =
		    __atomic_load_n(&dp->maps.loads[id].active, __ATOMIC_RELAXED);
	for (size_t i = 0; i < dp->records_count; i++) {
		struct record *record = dp->records[i];

		record->held_before =
		    __atomic_load_n(&dp->maps.turns[record->id].held, __ATOMIC_RELAXED);
		if (claims_any(dp))
			claims_expire(dp, record, now);
	}
}

/* Packets change the number while the table is counted. If the count lies between the number's
 * values before and now, the number is right. Otherwise it is corrected by the difference, with an
 * atomic add. Returns the number. */
static int32_t correct(int32_t *at, int32_t before, int32_t counted)
{
	int32_t after = __atomic_load_n(at, __ATOMIC_RELAXED);
	int32_t least = before < after ? before : after, most = before < after ? after : before,
		by = 0;

	if (counted < least)
		by = counted - least;
	else if (counted > most)
		by = counted - most;
	return by ? __atomic_add_fetch(at, by, __ATOMIC_RELAXED) : after;
}

static void correct_active(struct dataplane *dp)
{
	for (uint32_t id = 1; id < dp->maps.backend_slots; id++)
		correct(&dp->maps.loads[id].active, dp->active_before[id],
			(int32_t)dp->counting[id]);
}

static uint32_t count_held(const struct dataplane *dp, const struct record *record)
{
	uint32_t held = 0;

	for (unsigned i = 0; i < record->count; i++)
		held += dp->holding[record->members[i].id];
	return held;
}

/* Corrects `held` of each service, then recomputes what they hold beyond their shares. */
static void correct_held(struct dataplane *dp)
{
	struct lb_turn *common = &dp->maps.turns[0];
	int64_t beyond = 0;

	for (size_t i = 0; i < dp->records_count; i++) {
		struct record *record = dp->records[i];
		struct lb_turn *turn = &dp->maps.turns[record->id];
		int32_t held = correct(&turn->held, record->held_before, count_held(dp, record));

		beyond += held > turn->share ? held - turn->share : 0;
	}
	dp_update(&common->held, (int32_t)beyond);
}

static void end_flows(struct dataplane *dp)
{
	correct_active(dp);
	correct_held(dp);
	for (uint32_t id = 0; id < dp->maps.backend_slots; id++)
		dp->live_of[id] = dp->counting[id] - dp->marked[id] + dp->closing[id];
	dp->sweep.entries_last = dp->sweep.entries;
	flows_counted(dp);
}

static void end_round(struct dataplane *dp)
{
	dp_release_quarantine(dp, dp->sweep.round);
	dp->sweep.completed = dp->sweep.round;
	dp->evaluated = dp->sweep.now;
	dp_store(&dp->maps.settings->swept, dp->sweep.now);
}

static size_t left_in_round(const struct dataplane *dp)
{
	size_t left = 0;

	switch (dp->sweep.phase) {
	case SWEEP_MOVE:
		left += flows_words(dp);
		/* fall through */
	case SWEEP_FLOWS:
		left += flows_words(dp) - dp->sweep.at + dp->maps.frag_words;
		break;
	case SWEEP_FRAGS:
		left += dp->maps.frag_words - dp->sweep.at;
		break;
	case SWEEP_SLOTS:
		break;
	case SWEEP_IDLE:
		return 0;
	}
	for (size_t i = 0; i < dp->records_count; i++)
		if (!is_settled(dp, dp->records[i]))
			left += LB_REGION_SIZE(dp->maps.services[dp->records[i]->id].ring);
	return left + 1; /* the round has not ended */
}

/* Where this step ends in a table of so many words. */
static uint32_t step_end(const struct sweep *sweep, size_t budget, uint32_t words)
{
	return budget < words - sweep->at ? sweep->at + budget : words;
}

static void next_phase(struct dataplane *dp)
{
	dp->sweep.phase++;
	dp->sweep.at = dp->sweep.slot = 0;
}

/* Entries are moved before any is counted: otherwise the count could miss one. */
static size_t step_move(struct dataplane *dp, size_t budget)
{
	const uint32_t from = dp->sweep.at, words = dp->sweep.moves ? flows_old_words(dp) : 0;

	/* whole buckets */
	budget += LB_FLOW_WAYS - 1;
	budget -= budget % LB_FLOW_WAYS;
	flows_move(dp, step_end(&dp->sweep, budget, words));
	budget -= dp->sweep.at - from;
	if (dp->sweep.at == words) {
		if (dp->sweep.moves)
			flows_moved(dp);
		next_phase(dp);
	}
	return budget;
}

/* Runs the current phase with the budget; returns what is left of it. */
static size_t step(struct dataplane *dp, size_t budget, uint32_t now)
{
	struct sweep *sweep = &dp->sweep;
	uint32_t from = sweep->at;

	switch (sweep->phase) {
	case SWEEP_MOVE:
		return step_move(dp, budget);
	case SWEEP_FLOWS:
		sweep_flows(dp, step_end(sweep, budget, flows_words(dp)), now);
		budget -= sweep->at - from;
		if (sweep->at == flows_words(dp)) {
			end_flows(dp);
			next_phase(dp);
		}
		return budget;
	case SWEEP_FRAGS:
		sweep_frags(dp, step_end(sweep, budget, dp->maps.frag_words));
		budget -= sweep->at - from;
		if (sweep->at == dp->maps.frag_words)
			next_phase(dp);
		return budget;
	case SWEEP_SLOTS:
		budget -= sweep_slots(dp, budget);
		if (sweep->at == dp->maps.service_slots) {
			end_round(dp);
			sweep->phase = SWEEP_IDLE;
		}
		return budget;
	case SWEEP_IDLE:
		break;
	}
	return 0;
}

/* So many ticks between two steps: lbd was stopped. No idle time is that long, and ages are
 * unambiguous up to twice as many ticks. */
#define STOPPED_TICKS 8192

size_t dataplane_sweep(struct dataplane *dp, size_t budget, uint32_t now_tick)
{
	uint32_t now = now_tick ? now_tick : dp_tick(dp);

	if (dp->sweep.stepped && (int32_t)(now - dp->sweep.stepped) > STOPPED_TICKS)
		dp_restart_clocks(dp, now);
	dp->sweep.stepped = now;

	if (dp->sweep.phase == SWEEP_IDLE) {
		begin_round(dp, now);
		next_phase(dp);
	}
	while (budget && dp->sweep.phase != SWEEP_IDLE)
		budget = step(dp, budget, now);
	return left_in_round(dp);
}
