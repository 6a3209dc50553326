/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The size of the flow table: the part in use grows with the entries, and shrinks when it has been
 * almost empty for long; entries are moved with packets flowing. Rules: docs/tracking.md, "The size
 * of the table". */
#include "internal.h"

#include "lb_hash.h"
#include "common/log.h"
#include "lbd/host/host.h"

#define PAUSE_WORDS  4096 /* between two pauses */
#define MOVE_TRIES   8    /* packets may change an entry again and again while it is moved */
#define DORMANT_MOST 3 /* entries of a bucket beside which dormant ones stay in a smaller table */

/* Places for each entry that is needed: with fewer than PLACES_LEAST the table grows, with more
 * than PLACES_MOST for long it shrinks, to between PLACES_NEW and twice as many. */
#define PLACES_LEAST 4
#define PLACES_NEW   5
#define PLACES_MOST  10

static bool change_masks(struct dataplane *dp, union lb_flow_masks from, union lb_flow_masks to)
{
	__u64 expected = from.word;

	return __atomic_compare_exchange_n(&dp->maps.settings->flow_masks.word, &expected, to.word,
					   false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

union lb_flow_masks flows_masks(const struct dataplane *dp)
{
	return (union lb_flow_masks){.word = dp_load(&dp->maps.settings->flow_masks.word)};
}

static uint32_t whole_mask(const struct dataplane *dp)
{
	return dp->maps.flow_words / LB_FLOW_WAYS - 1;
}

static uint32_t words_of(uint32_t mask)
{
	return (mask + 1) * LB_FLOW_WAYS;
}

uint32_t flows_words(const struct dataplane *dp)
{
	const union lb_flow_masks masks = flows_masks(dp);

	return words_of(masks.look > masks.put ? masks.look : masks.put);
}

uint32_t flows_old_words(const struct dataplane *dp)
{
	return words_of(flows_masks(dp).look);
}

void flows_init(struct dataplane *dp)
{
	const uint32_t mask = LB_FLOW_SEGMENT(dp->maps.flow_shift);

	dp_store(&dp->maps.settings->flow_masks.word,
		 ((union lb_flow_masks){.look = mask, .put = mask}).word);
}

static bool is_mask(const struct dataplane *dp, uint32_t mask)
{
	return !(mask & (mask + 1)) && mask >= LB_FLOW_SEGMENT(dp->maps.flow_shift) &&
	       mask <= whole_mask(dp);
}

bool flows_are_valid(const struct dataplane *dp)
{
	const union lb_flow_masks masks = flows_masks(dp);

	return is_mask(dp, masks.look) && is_mask(dp, masks.put);
}

/* ---- the wanted size ---- */

/* The smallest part with so many places. */
static uint32_t mask_for(const struct dataplane *dp, uint64_t places)
{
	uint32_t mask = LB_FLOW_SEGMENT(dp->maps.flow_shift);

	while (mask < whole_mask(dp) && words_of(mask) < places)
		mask = mask * 2 + 1;
	return mask;
}

bool flows_resize(struct dataplane *dp, uint32_t mask)
{
	const union lb_flow_masks before = flows_masks(dp),
				  after = {.look = before.look, .put = mask};

	if (before.look != before.put || mask == before.put || !change_masks(dp, before, after))
		return false;
	log_debug("flow table: %u places in use, from now on %u", words_of(before.put),
		  words_of(mask));
	return true;
}

/* Entries that need a place: all but dormant ones at the last sweep, and those made since it
 * began. */
static uint64_t needed(const struct dataplane *dp)
{
	return dp->flows.needed +
	       (dataplane_event(dp, LB_EVENT_flow_inserted) - dp->flows.inserted);
}

/* A flow that finds both of its buckets full takes the whole table. One in a million does when a
 * quarter of the places are taken, one in ten thousand at three eighths. */
static bool grow(struct dataplane *dp, uint64_t entries)
{
	return entries * PLACES_LEAST > words_of(flows_masks(dp).put) &&
	       flows_resize(dp, mask_for(dp, entries * PLACES_NEW));
}

/* Since the last look so many flows were new that as many more could fill a larger part before what
 * is in this one has been moved: then that would find no place. */
static bool is_fast(struct dataplane *dp)
{
	uint64_t inserted = dataplane_event(dp, LB_EVENT_flow_inserted), before = dp->flows.looked;

	dp->flows.looked = inserted + 1; /* 0: lbd has not looked yet */
	return before && (inserted + 1 - before) * 16 > words_of(flows_masks(dp).put);
}

bool dataplane_grow(struct dataplane *dp)
{
	union lb_flow_masks masks;

	if (is_fast(dp))
		flows_resize(dp, whole_mask(dp));
	else
		grow(dp, needed(dp));
	masks = flows_masks(dp);
	return masks.look != masks.put && dp->sweep.phase == SWEEP_IDLE;
}

/* Less than a tenth full, for long. What is chosen for the most entries meanwhile is smaller then;
 * at most a fifth of it is taken, so it does not grow again at once. */
static void shrink(struct dataplane *dp, uint64_t entries)
{
	uint64_t places = words_of(flows_masks(dp).put);

	if (entries * PLACES_MOST >= places) {
		dp->flows.low = false;
		return;
	}
	if (!dp->flows.low) {
		dp->flows.low = true;
		dp->flows.low_since = dp->sweep.now;
		dp->flows.low_most = 0;
	}
	if (entries > dp->flows.low_most)
		dp->flows.low_most = entries;
	if (dp->sweep.now - dp->flows.low_since >= dp->flows.patience)
		flows_resize(dp, mask_for(dp, dp->flows.low_most * PLACES_NEW));
}

void flows_counted(struct dataplane *dp)
{
	dp->flows.needed = dp->sweep.entries - dp->sweep.dormant;
	dp->flows.inserted = dp->flows.inserted_next;
	if (!grow(dp, needed(dp)))
		shrink(dp, dp->flows.needed);
}

/* ---- moving ---- */

static uint64_t *bucket_at(const struct dataplane *dp, uint32_t bucket)
{
	return dp->maps.flows + (size_t)bucket * LB_FLOW_WAYS;
}

static bool overflows(const struct dataplane *dp, uint32_t bucket)
{
	return dp_load(bucket_at(dp, bucket)) & LB_FLOW_OVERFLOW;
}

static void mark_overflow(const struct dataplane *dp, uint32_t bucket)
{
	if (!overflows(dp, bucket))
		__atomic_fetch_or(bucket_at(dp, bucket), LB_FLOW_OVERFLOW, __ATOMIC_ACQ_REL);
}

/* Replaces a word; the bucket's overflow bit stays. Entries that are moved count as before. */
static bool replace(uint64_t *at, uint64_t before, uint64_t after)
{
	return __atomic_compare_exchange_n(at, &before, after | (before & LB_FLOW_OVERFLOW), false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* How well a copy may take the place of this word; 0: it may not. */
static unsigned suits(const struct dataplane *dp, uint64_t word, uint64_t entry)
{
	if (LB_FLOW_STATE(word) && (word ^ entry) >> LB_FLOW_FP_SHIFT == 0)
		return 4; /* a copy that an lbd has left that was killed meanwhile */
	if (!LB_FLOW_STATE(word))
		return 3;
	if (entry_is_void(dp, word))
		return 2;
	return LB_FLOW_STATE(word) == LB_FLOW_DORMANT;
}

/* The best place for a copy in the bucket or, if none is as good there, in the other one. */
static uint64_t *copy_place(const struct dataplane *dp, const uint32_t buckets[2], uint64_t entry,
			    unsigned *ret_suits)
{
	uint64_t *best = NULL;

	*ret_suits = 0;
	for (unsigned i = 0; i < 2 * LB_FLOW_WAYS; i++) {
		uint64_t *at = bucket_at(dp, buckets[i / LB_FLOW_WAYS]) + i % LB_FLOW_WAYS;
		unsigned now = suits(dp, dp_load(at), entry);

		if (now > *ret_suits) {
			*ret_suits = now;
			best = at;
		}
	}
	return best;
}

/* Makes a copy of the entry at its new place, where no look-up sees it before the old one is gone.
 * buckets: the one that corresponds to its present bucket, and that one's other. NULL: there is no
 * place, or packets are faster. */
static uint64_t *copy_make(struct dataplane *dp, const uint32_t buckets[2], uint64_t entry)
{
	for (unsigned i = 0; i < MOVE_TRIES; i++) {
		unsigned how;
		uint64_t *at = copy_place(dp, buckets, entry, &how), word;
		const uint64_t *second = bucket_at(dp, buckets[1]);

		if (!at)
			return NULL;
		word = dp_load(at);
		if (suits(dp, word, entry) != how)
			continue;
		if (at >= second && at < second + LB_FLOW_WAYS)
			mark_overflow(dp, buckets[0]);
		if (how < 3 ? entry_cover(dp, at, word, entry) : replace(at, word, entry)) {
			dp->sweep.dropped += how == 1;
			return at;
		}
	}
	return NULL;
}

static void copy_drop(uint64_t *copy, uint64_t entry)
{
	uint64_t word = dp_load(copy);

	if (!((word ^ entry) & ~LB_FLOW_OVERFLOW))
		replace(copy, word, 0);
}

/* Whether a dormant entry is to be dropped as the table shrinks: so many others are in its bucket
 * that few new entries would find a place. */
static bool is_in_the_way(const struct dataplane *dp, uint32_t to, uint64_t entry, uint32_t mask)
{
	unsigned others = 0;

	if (LB_FLOW_STATE(entry) != LB_FLOW_DORMANT || mask >= flows_masks(dp).look)
		return false;
	for (unsigned way = 0; way < LB_FLOW_WAYS; way++)
		others += LB_FLOW_STATE(dp_load(bucket_at(dp, to) + way)) != LB_FLOW_EMPTY;
	return others > DORMANT_MOST;
}

/* Moves the entry at `at`, in this bucket, if it belongs into another one. False: it could not. */
static bool move_entry(struct dataplane *dp, uint32_t bucket, uint64_t *at, uint32_t mask)
{
	const uint32_t shift = dp->maps.flow_shift;

	for (unsigned i = 0; i < MOVE_TRIES; i++) {
		uint64_t word = dp_load(at), entry = word & ~LB_FLOW_OVERFLOW, *copy;
		uint32_t to = lb_bucket_moved(bucket, entry, shift, mask);
		const uint32_t buckets[2] = {to, lb_bucket_other(to, entry, shift)};

		if (!LB_FLOW_STATE(word))
			return true;
		if (is_in_the_way(dp, to, entry, mask) && entry_change(dp, at, word, 0))
			return ++dp->sweep.dropped;
		if (to == bucket)
			return true;
		if (entry_is_void(dp, word) && entry_change(dp, at, word, 0))
			return true;
		/* this may be the second of its buckets: then the other one says so */
		if (overflows(dp, lb_bucket_other(bucket, entry, shift)))
			mark_overflow(dp, buckets[1]);
		copy = copy_make(dp, buckets, entry);
		if (copy && replace(at, word, 0)) {
			share_moved(dp, (uint32_t)(at - dp->maps.flows),
				    (uint32_t)(copy - dp->maps.flows));
			return true;
		}
		if (copy)
			copy_drop(copy, entry); /* a packet has changed the entry meanwhile */
		else if (LB_FLOW_STATE(entry) == LB_FLOW_DORMANT && entry_change(dp, at, word, 0))
			return ++dp->sweep.dropped; /* nobody needs it */
	}
	return false;
}

static void move_bucket(struct dataplane *dp, uint32_t bucket, uint32_t mask)
{
	for (unsigned way = 0; way < LB_FLOW_WAYS; way++)
		dp->flows.stuck += !move_entry(dp, bucket, bucket_at(dp, bucket) + way, mask);
}

void flows_move(struct dataplane *dp, uint32_t end)
{
	const uint32_t mask = flows_masks(dp).put;

	for (; dp->sweep.at < end; dp->sweep.at += LB_FLOW_WAYS) {
		if (dp->sweep.at % PAUSE_WORDS == 0)
			task_pause();
		move_bucket(dp, dp->sweep.at / LB_FLOW_WAYS, mask);
	}
}

/* Overflow bits are all that is left there. */
static void clear_rest(struct dataplane *dp, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++) {
		uint64_t word = dp_load(&dp->maps.flows[i]);

		if (word && !LB_FLOW_STATE(word))
			__atomic_compare_exchange_n(&dp->maps.flows[i], &word, 0, false,
						    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	}
}

void flows_moved(struct dataplane *dp)
{
	const union lb_flow_masks masks = flows_masks(dp);
	union lb_flow_masks after = {.look = masks.put, .put = masks.put};

	if (dp->flows.stuck && masks.put > masks.look)
		return; /* again in the next round */
	if (dp->flows.stuck)
		after.put = masks.look; /* the smaller part is too small: back */
	change_masks(dp, masks, after);
	dp->flows.low = false; /* of the size before, which a packet may have ended */
	if (after.put < masks.look)
		clear_rest(dp, words_of(after.put), words_of(masks.look));
}
