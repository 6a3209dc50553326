/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rings of slots: the change of every slot, and of a ring's size. Rules: docs/tracking.md, "lbd:
 * changes". */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/plural.h"
#include "common/ring_size.h"
#include "lbd/host/host.h"
#include "maglev.h"

#define PAUSE_SLOTS    4096 /* between two pauses */
#define NO_ROOM_LOG_MS 60000

static void pause_at(uint32_t slot)
{
	if (slot % PAUSE_SLOTS == 0)
		task_pause();
}

static bool is_present(const struct dataplane *dp, uint32_t id)
{
	return dp->traits[id] & BACKEND_PRESENT;
}

uint16_t ring_idle(const struct lb_service *line, uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? line->udp_idle : line->tcp_idle;
}

bool ring_has_forgotten(const struct dataplane *dp, const struct record *record, uint32_t now)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t forgotten = dp_load(&dp->maps.turns[record->id].forgotten);

	return forgotten &&
	       (int32_t)(now - forgotten) <= 2 * ring_idle(line, record->want.protocol);
}

/* ---- the plan ---- */

/* Depends on the configuration only: two balancers with the same configuration have the same ring,
 * whatever happened before. */
static uint32_t wanted_size(const struct service_plan *plan)
{
	if (plan->want.slots)
		return plan->want.slots;
	return ring_size(plan->want.ring_backends ? plan->want.ring_backends : plan->count,
			 plan->want.ring_grain ? plan->want.ring_grain : RING_FINE);
}

static uint16_t *make_table(const struct dataplane *dp, const struct service_plan *plan,
			    uint32_t size)
{
	_cleanup_free_ struct maglev_backend *backends = calloc(plan->count + 1, sizeof(*backends));
	uint16_t *table = calloc(size, sizeof(*table));

	if (!backends || !table) {
		free(table);
		return NULL;
	}
	for (unsigned i = 0; i < plan->count; i++) {
		const struct member *member = &plan->members[i];
		uint32_t weight = member->want.usable ? member->want.weight : 0;

		backends[i] = (struct maglev_backend){member->want.address, weight, member->id};
		dp->label_of[member->id] = maglev_label(&member->want.address);
	}
	if (maglev_fill(backends, plan->count, dp->maps.settings->flow_seed, table, size)) {
		free(table);
		return NULL;
	}
	return table;
}

/* FNV-1a over the backends' labels in the order of the slots. */
static uint64_t table_digest(const struct dataplane *dp, const uint16_t *table, uint32_t size)
{
	uint64_t digest = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < size; i++) {
		pause_at(i);
		digest = (digest ^ dp->label_of[table[i]]) * 0x100000001b3ULL;
	}
	return digest;
}

static int take_region(struct dataplane *dp, struct service_plan *plan, struct error *err)
{
	uint32_t base;
	char key[DP_KEY_TEXT];
	int rc = arena_take(&dp->arena, plan->ring.size, &base);

	if (rc)
		return error_set(
		    err, rc,
		    "%s: limits.slots: %u: no room for %u more slot%s (unused: %u), expected a larger limit",
		    dp_key_text(&plan->want, key), dp->maps.arena_slots, plan->ring.size,
		    plural_s(plan->ring.size), arena_unused(&dp->arena));
	plan->ring.region = LB_REGION(base, plan->ring.size);
	plan->ring.since = calloc(plan->ring.size, sizeof(*plan->ring.since));
	return plan->ring.since ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* Whether no slot of the ring has a keeper of its own: those of its untracked flows are all in the
 * old ring. */
static bool is_untouched(const struct dataplane *dp, uint64_t ring)
{
	const uint32_t *slots = dp_slots(dp, ring);

	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
		if (!(slots[i] & LB_SLOT_TRANSITION) || LB_SLOT_KEEPER(slots[i]))
			return false;
	return true;
}

/* The size to have until the next change. */
static uint32_t size_now(const struct dataplane *dp, const struct service_plan *plan)
{
	const struct lb_service *line = &dp->maps.services[plan->record->id];
	uint32_t size = LB_REGION_SIZE(line->ring), pull = claims_pull(dp, plan->record),
		 fresh = claims_fresh_size(dp, plan->record);

	if (plan->want.track_never)
		return plan->ring.wanted;
	if (line->old_ring)
		return pull > size && is_untouched(dp, line->ring) ? pull : size;
	if (fresh)
		return fresh;
	if (pull)
		return pull;
	return size && claims_resizing(dp, plan->record, size) ? size : plan->ring.wanted;
}

bool ring_is_due(const struct dataplane *dp, const struct record *record)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t size = LB_REGION_SIZE(line->ring), pull = claims_pull(dp, record);

	if (record->adopted || record->want.track_never)
		return false;
	if (line->old_ring)
		return pull > size && is_untouched(dp, line->ring);
	return pull ? pull != size
		    : record->wanted_size != size && !claims_resizing(dp, record, size);
}

int ring_plan_make(struct dataplane *dp, struct service_plan *plan, struct error *err)
{
	const struct lb_service *line = &dp->maps.services[plan->record->id];
	uint32_t size = LB_REGION_SIZE(line->ring), old_size = LB_REGION_SIZE(line->old_ring);
	struct ring_plan *ring = &plan->ring;
	char key[DP_KEY_TEXT];
	int rc;

	ring->configured = ring->wanted = wanted_size(plan);
	if (claims_size(dp, plan->record) > ring->wanted && !plan->want.track_never)
		ring->wanted = claims_size(dp, plan->record);
	ring->size = size_now(dp, plan);
	ring->again = line->old_ring && ring->size != size && !plan->want.track_never;
	if (!is_prime(ring->wanted))
		return error_set(err, -EINVAL, "%s: slots: %u: expected a prime number",
				 dp_key_text(&plan->want, key), ring->wanted);
	if (ring->size != size) {
		rc = take_region(dp, plan, err);
		if (rc == -ENOSPC && ring->size != ring->configured) {
			/* no room for what a peer has: slots then stay in transition */
			if (log_is_due(&dp->no_room_ms, NO_ROOM_LOG_MS))
				log_warning("%s; a peer's ring has that size, and until this one "
					    "has, slots stay in transition",
					    err->text);
			ring->size = size ? size : ring->configured;
			ring->again = false;
			rc = size ? 0 : take_region(dp, plan, err);
		}
		if (rc)
			return rc;
		if (ring->size != size && !ring->again)
			old_size = size;
	}
	ring->table = make_table(dp, plan, ring->size);
	if (ring->table)
		ring->digest = table_digest(dp, ring->table, ring->size);
	if (old_size)
		ring->old_table = make_table(dp, plan, old_size);
	if (!ring->table || (old_size && !ring->old_table))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

void ring_plan_done(struct dataplane *dp, struct ring_plan *ring)
{
	dp_free_region(dp, ring->region);
	free(ring->since);
	free(ring->table);
	free(ring->old_table);
	*ring = (struct ring_plan){0};
}

/* ---- one slot ---- */

static struct slot_change stable(uint16_t wanted)
{
	return (struct slot_change){.slot = LB_SLOT(wanted, wanted)};
}

/* No flow of ours depends on the slot; a peer has another backend for it. */
static struct slot_change begun_anew(uint16_t wanted, struct slot_rules rules)
{
	uint32_t flags = LB_SLOT_TRANSITION | (rules.learns ? LB_SLOT_LEARNING : 0);

	return (struct slot_change){LB_SLOT(wanted, wanted) | flags, true, true};
}

struct slot_change slot_after(uint32_t slot, uint16_t wanted, bool current_present,
			      enum keeper_claim claim, struct slot_rules rules)
{
	uint16_t current = LB_SLOT_CURRENT(slot), keeper = LB_SLOT_KEEPER(slot);
	uint32_t flags = slot & (LB_SLOT_TRANSITION | LB_SLOT_LEARNING);

	if (rules.never)
		return stable(wanted);
	if (!flags) {
		if (!current_present)
			return rules.contested ? begun_anew(wanted, rules) : stable(wanted);
		if (current == wanted)
			return (struct slot_change){.slot = slot};
		flags = LB_SLOT_TRANSITION | (rules.learns ? LB_SLOT_LEARNING : 0);
		return (struct slot_change){LB_SLOT(wanted, current) | flags, true, true};
	}
	if (claim != KEEPER_STANDS && !(rules.resizing && !keeper))
		keeper = claim == KEEPER_SUPERSEDED && current_present ? current : wanted;
	/* older flows left no mark, or were not recorded, while their keeper was current: they get
	 * an idle timeout from now on */
	if (rules.hears && current != wanted && (current == keeper || (rules.resizing && !keeper)))
		return (struct slot_change){LB_SLOT(wanted, keeper) | flags | LB_SLOT_LEARNING,
					    true, true};
	return (struct slot_change){LB_SLOT(wanted, keeper) | flags, current != wanted, false};
}

/* ---- a ring that keeps its size ---- */

/* When a service starts or stops tracking always, slots that stay on their backend need a
 * transition too. It stops: flows that only the table knows must be looked up until they are over.
 * It starts: flows that are not in the table must leave a mark (TCP) or be learnt (UDP, where a
 * miss would be a new flow). */
static uint32_t forced_flags(const struct lb_service *line, const struct service_plan *plan)
{
	bool was = line->flags & LB_SERVICE_TRACK_ALWAYS, is = plan->want.track_always;

	if (plan->want.track_never || was == is)
		return 0;
	if (was && plan->want.protocol == IPPROTO_UDP)
		return LB_SLOT_TRANSITION;
	return LB_SLOT_TRANSITION | LB_SLOT_LEARNING;
}

/* Whether slots are to learn in a new transition. TCP: always, as live older flows leave marks
 * within an idle timeout. UDP has no SYN: a flow from before the transition that has no entry looks
 * like a new one, and must be learnt. If all flows were tracked before, or have been learnt since,
 * a flow without an entry is a new one, and a backend is picked for it. */
static bool may_learn(const struct dataplane *dp, const struct lb_service *line,
		      const struct service_plan *plan)
{
	const uint32_t *slots = dp_slots(dp, line->ring);

	if (plan->want.protocol != IPPROTO_UDP || !(line->flags & LB_SERVICE_TRACK_ALWAYS))
		return true;
	for (uint32_t i = 0; i < LB_REGION_SIZE(line->ring); i++)
		if (slots[i] & LB_SLOT_LEARNING)
			return true;
	return false;
}

static enum keeper_claim keeper_claim(const struct dataplane *dp, const struct record *record,
				      uint32_t id)
{
	uint32_t unplaced = dp_load(&dp->maps.turns[record->id].unplaced);
	uint8_t traits = dp->traits[id];

	if (traits & BACKEND_ALIVE && !(traits & BACKEND_REVIVED))
		return KEEPER_STANDS;
	if (unplaced && dp->died_at[id] && (int32_t)(unplaced - dp->died_at[id]) >= 0)
		return KEEPER_SUPERSEDED;
	return traits & BACKEND_PRESENT ? KEEPER_STANDS : KEEPER_GONE;
}

static void update_slots(struct dataplane *dp, struct service_plan *plan)
{
	const struct lb_service *line = &dp->maps.services[plan->record->id];
	struct slot_rules rules = {.never = plan->want.track_never,
				   .learns = may_learn(dp, line, plan),
				   .hears = plan->want.protocol == IPPROTO_TCP,
				   .resizing = line->old_ring != 0};
	const uint32_t *slots = dp_slots(dp, line->ring);
	uint32_t base = LB_REGION_BASE(line->ring);
	uint16_t *stamps = dp_stamps(dp, line->ring);
	uint32_t forced = forced_flags(line, plan), now = dp_tick(dp);
	/* what a peer has for a slot is not known yet, or not again */
	bool missing = claims_missing(dp);

	/* a peer's slot may have been stable, and not have recorded its flows */
	rules.hears |= rules.learns && claims_any(dp);
	for (uint32_t i = 0; i < plan->ring.size; i++) {
		struct slot_change change;

		if (i % PAUSE_SLOTS == 0) {
			task_pause();
			now = dp_tick(dp); /* a slot must not look as if it had changed earlier */
		}
		rules.contested =
		    missing || !claims_look(dp, plan->record, i, plan->ring.table[i], now).allows;
		change = slot_after(
		    slots[i], plan->ring.table[i], is_present(dp, LB_SLOT_CURRENT(slots[i])),
		    keeper_claim(dp, plan->record, LB_SLOT_KEEPER(slots[i])), rules);

		/* a slot that is already in transition needs an idle timeout from now on too:
		 * tracked flows did not stamp it */
		if (forced) {
			change.began |= !(change.slot & LB_SLOT_TRANSITION);
			change.slot |= change.began ? forced : 0;
			change.moved = true;
		}
		if (change.began)
			plan->record->since[i] = now;
		if (change.moved) {
			dp_store(&stamps[i], (uint16_t)now);
			claims_note_quiet(dp, base + i, false);
		}
		dp_slot_store(dp, base + i, change.slot);
	}
}

/* The old ring has the keepers of untracked flows while the new one settles: only keepers that die
 * are replaced. Their slots do not wait for them to come back: a slot of the new ring may stand for
 * several slots of the old one, and flows that went to its current meanwhile, as they found no
 * place in the table, could not be told from those of the other slots. */
static void update_old_keepers(struct dataplane *dp, const struct service_plan *plan,
			       uint64_t region, bool pauses)
{
	uint32_t *slots = dp_slots(dp, region);
	uint32_t own = LB_SLOT(0, LB_MAX_BACKENDS);

	for (uint32_t i = 0; i < LB_REGION_SIZE(region); i++) {
		if (pauses)
			pause_at(i);
		if (!(dp->traits[LB_SLOT_KEEPER(slots[i])] & BACKEND_ALIVE))
			dp_update(&slots[i],
				  (slots[i] & ~own) | LB_SLOT(0, plan->ring.old_table[i]));
	}
}

/* When the ring becomes the old one: flows without a place in the table that went to current while
 * the keeper was dead stay there. */
static void supersede_keepers(struct dataplane *dp, const struct record *record, uint64_t region)
{
	uint32_t *slots = dp_slots(dp, region);
	uint32_t own = LB_SLOT(0, LB_MAX_BACKENDS);

	for (uint32_t i = 0; i < LB_REGION_SIZE(region); i++)
		if (slots[i] & LB_SLOT_TRANSITION &&
		    keeper_claim(dp, record, LB_SLOT_KEEPER(slots[i])) == KEEPER_SUPERSEDED)
			dp_update(&slots[i],
				  (slots[i] & ~own) | LB_SLOT(0, LB_SLOT_CURRENT(slots[i])));
}

/* ---- a ring that changes size ---- */

/* Whether no live flow depends on the ring: all slots are stable, and their backends are gone. */
static bool is_bare(const struct dataplane *dp, uint64_t region)
{
	const uint32_t *slots = dp_slots(dp, region);

	for (uint32_t i = 0; i < LB_REGION_SIZE(region); i++)
		if (slots[i] & LB_SLOT_TRANSITION || is_present(dp, LB_SLOT_CURRENT(slots[i])))
			return false;
	return true;
}

/* Whether there may be live UDP flows that found no place in the table and go to their keepers. */
static bool lately_unplaced(const struct dataplane *dp, uint32_t service, uint32_t now)
{
	uint32_t unplaced = dp_load(&dp->maps.turns[service].unplaced);

	return unplaced && (int32_t)(now - unplaced) <= dp->maps.services[service].udp_idle;
}

/* A UDP slot that has learnt has no untracked flows left: later flows must not be learnt with its
 * keeper. */
static void forget_learnt(struct dataplane *dp, uint64_t region)
{
	uint32_t *slots = dp_slots(dp, region);

	for (uint32_t i = 0; i < LB_REGION_SIZE(region); i++) {
		uint16_t current = LB_SLOT_CURRENT(slots[i]);

		if (slots[i] & LB_SLOT_TRANSITION && !(slots[i] & LB_SLOT_LEARNING))
			dp_update(&slots[i], LB_SLOT(current, current) | LB_SLOT_TRANSITION);
	}
}

/* No packet sees them yet. */
static void fill_new(struct dataplane *dp, struct service_plan *plan, bool stable_at_once,
		     bool learns)
{
	uint32_t base = LB_REGION_BASE(plan->ring.region);
	uint32_t flags = LB_SLOT_TRANSITION | (learns ? LB_SLOT_LEARNING : 0);
	/* peers have claimed slots of a ring of another size, or may soon say what they have for a
	 * service that is new here, and has packets already */
	bool contested = !plan->want.track_never &&
			 (claims_size(dp, plan->record) || (plan->made && claims_come(dp)));

	for (uint32_t i = 0; i < plan->ring.size; i++) {
		uint16_t wanted = plan->ring.table[i], keeper = stable_at_once ? wanted : 0;

		pause_at(i);
		claims_note_quiet(dp, base + i, false);
		dp_slot_store(dp, base + i,
			      LB_SLOT(wanted, keeper) | (stable_at_once && !contested ? 0 : flags));
	}
}

/* Just before packets see them: a pause in between would make the slots settle early. */
static void stamp_new(struct dataplane *dp, struct service_plan *plan, uint32_t now)
{
	uint16_t *stamps = dp_stamps(dp, plan->ring.region);

	for (uint32_t i = 0; i < plan->ring.size; i++)
		stamps[i] = plan->ring.since[i] = (uint16_t)now;
}

static void change_ring(struct dataplane *dp, struct service_plan *plan)
{
	struct lb_service *line = &dp->maps.services[plan->record->id];
	uint64_t old_ring = line->old_ring, ring = line->ring;
	bool fresh = claims_fresh_size(dp, plan->record), learns = may_learn(dp, line, plan);
	bool bare = plan->want.track_never || fresh || is_bare(dp, ring);
	uint32_t now;

	fill_new(dp, plan, bare, learns);
	now = dp_tick(dp);
	stamp_new(dp, plan, now);
	if (plan->ring.again) {
		update_old_keepers(dp, plan, old_ring, false);
	} else if (!bare) {
		if (learns && plan->want.protocol == IPPROTO_UDP &&
		    !lately_unplaced(dp, plan->record->id, now))
			forget_learnt(dp, ring);
		supersede_keepers(dp, plan->record, ring);
		update_old_keepers(dp, plan, ring, false);
		/* A packet between the two stores finds the same keeper in both rings. */
		dp_store(&line->old_ring, ring);
	}
	dp_store(&line->ring, plan->ring.region);
	if (bare && old_ring)
		dp_store(&line->old_ring, 0);
	if (bare || plan->ring.again)
		dp_retire(dp, ring);
	if (!plan->ring.again)
		dp_retire(dp, old_ring);
	plan->ring.region = 0;
	free(plan->record->since);
	plan->record->since = plan->ring.since;
	plan->ring.since = NULL;
}

void ring_apply(struct dataplane *dp, struct service_plan *plan)
{
	struct lb_service *line = &dp->maps.services[plan->record->id];

	plan->record->wanted_size = plan->ring.wanted;
	plan->record->configured = plan->ring.configured;
	if (plan->ring.region) {
		change_ring(dp, plan);
		return;
	}
	update_slots(dp, plan);
	if (!line->old_ring)
		return;
	if (plan->want.track_never) {
		dp_retire(dp, line->old_ring);
		dp_store(&line->old_ring, 0);
	} else {
		update_old_keepers(dp, plan, line->old_ring, true);
	}
}

/* ---- counts ---- */

/* The slots of the old ring that overlap with one slot's part of the hash range, for one slot after
 * the other. Without a division for each: a ring has up to two million. */
struct overlap {
	uint64_t size, old_size; /* old_size 0: there is no old ring */
	uint64_t first;          /* in the old ring */
	uint64_t first_scaled;   /* first * size */
	uint64_t end_scaled;     /* of the slot: (its index + 1) * old_size */
};

static struct overlap overlap_of_first(const struct lb_service *line)
{
	uint64_t old_size = LB_REGION_SIZE(line->old_ring);

	return (struct overlap){
	    .size = LB_REGION_SIZE(line->ring), .old_size = old_size, .end_scaled = old_size};
}

static void overlap_next(struct overlap *overlap)
{
	for (; overlap->first_scaled + overlap->size <= overlap->end_scaled; overlap->first++)
		overlap->first_scaled += overlap->size;
	overlap->end_scaled += overlap->old_size;
}

/* The keepers of a slot are in all slots of the old ring that overlap with it. */
static void count_old_keepers(struct dataplane *dp, const struct overlap *overlap,
			      const uint32_t *old, uint32_t current)
{
	uint64_t at = overlap->first, scaled = overlap->first_scaled;

	for (; scaled < overlap->end_scaled; at++, scaled += overlap->size)
		if (LB_SLOT_KEEPER(old[at]) != current)
			dp->kept_so_far[LB_SLOT_KEEPER(old[at])]++;
}

/* Counts slots_so_far and kept_so_far of the members. Returns the slots in transition. */
static uint32_t count_slots(struct dataplane *dp, const struct record *record, uint32_t now)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	const uint32_t *slots = dp_slots(dp, line->ring), *old = dp_slots(dp, line->old_ring);
	const uint16_t *stamps = dp_stamps(dp, line->ring);
	uint16_t idle = ring_idle(line, record->want.protocol);
	bool forgotten = ring_has_forgotten(dp, record, now);
	struct overlap overlap = overlap_of_first(line);
	uint32_t in_transition = 0;

	for (uint32_t i = 0; i < LB_REGION_SIZE(line->ring); i++, overlap_next(&overlap)) {
		uint32_t slot, current, keeper;

		pause_at(i);
		slot = slots[i];
		current = LB_SLOT_CURRENT(slot);
		keeper = LB_SLOT_KEEPER(slot);
		dp->slots_so_far[current]++;
		if (!(slot & LB_SLOT_TRANSITION))
			continue;
		in_transition++;
		if (!forgotten && dp_stamp_age(now, dp_load(&stamps[i])) > idle)
			continue;
		if (line->old_ring && !keeper)
			count_old_keepers(dp, &overlap, old, current);
		else if (keeper != current)
			dp->kept_so_far[keeper]++;
	}
	return in_transition;
}

/* In the pauses others read the counts: until all slots are counted they get the former ones. */
void ring_count(struct dataplane *dp, struct record *record, uint32_t now)
{
	uint32_t in_transition;

	for (unsigned i = 0; i < record->count; i++) {
		uint16_t id = record->members[i].id;

		dp->slots_so_far[id] = dp->kept_so_far[id] = 0;
	}
	in_transition = count_slots(dp, record, now);
	for (unsigned i = 0; i < record->count; i++) {
		uint16_t id = record->members[i].id;

		dp->slots_of[id] = dp->slots_so_far[id];
		dp->kept_of[id] = dp->kept_so_far[id];
	}
	record->in_transition = in_transition;
}
