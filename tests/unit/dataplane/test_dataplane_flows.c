/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The size of the flow table on plain memory: when it grows and shrinks, and that no entry is lost
 * when they move. The test looks entries up with the rules of docs/tracking.md alone. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lb_hash.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define NOW      10000
#define IDLE     280 /* ticks */
#define BUCKETS  64  /* 512 places */
#define SEGMENT  2   /* bits: four buckets, 32 places */
#define SHIFT    (LB_FLOW_FP_SHIFT - SEGMENT)
#define PLACES   (BUCKETS * LB_FLOW_WAYS)
#define PATIENCE 5 /* ticks */

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want;

static void start(void)
{
	dp = memory_dataplane_restart(memory);
	dp->clock = NOW;
	dp->flows.patience = PATIENCE;
	want_commit(dp, &want, 1);
}

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, BUCKETS});
	memory->maps.flow_shift = SHIFT;
	memory->maps.settings->abi_version = 0; /* as new: the size is chosen again */
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "round-robin");
	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	start();
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

#define FLOWS_TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* ---- entries, as the program puts and finds them ---- */

static uint64_t hash_of(uint32_t flow)
{
	return lb_hash_finish(flow + 1);
}

static uint64_t entry_of(uint32_t flow, uint32_t state)
{
	uint64_t fingerprint = hash_of(flow) & ~0ULL << LB_FLOW_FP_SHIFT;

	return fingerprint | (uint64_t)want_id(dp, &want, flow % 2) << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)state << LB_FLOW_STATE_SHIFT | (NOW & LB_FLOW_TICK_MASK);
}

static uint64_t *bucket(uint32_t index)
{
	return dp->maps.flows + (size_t)index * LB_FLOW_WAYS;
}

static uint64_t *way_in(uint32_t index, bool (*is)(uint64_t word, uint64_t hash), uint64_t hash)
{
	for (unsigned way = 0; way < LB_FLOW_WAYS; way++)
		if (is(bucket(index)[way], hash))
			return &bucket(index)[way];
	return NULL;
}

static bool is_empty(uint64_t word, uint64_t hash)
{
	return !LB_FLOW_STATE(word);
}

static bool is_of(uint64_t word, uint64_t hash)
{
	return LB_FLOW_STATE(word) && (word ^ hash) >> LB_FLOW_FP_SHIFT == 0;
}

static uint64_t *find_by(uint64_t hash, uint32_t mask)
{
	uint32_t first = lb_bucket(hash, SHIFT, mask);
	uint64_t *at = way_in(first, is_of, hash);

	if (at || !(bucket(first)[0] & LB_FLOW_OVERFLOW))
		return at;
	return way_in(lb_bucket_other(first, hash, SHIFT), is_of, hash);
}

static uint64_t *find(uint32_t flow)
{
	const union lb_flow_masks masks = flows_masks(dp);

	return find_by(hash_of(flow), masks.look) ?: find_by(hash_of(flow), masks.put);
}

/* False: there is no place. */
static bool put(uint32_t flow, uint32_t state)
{
	const uint64_t hash = hash_of(flow);
	uint32_t first = lb_bucket(hash, SHIFT, flows_masks(dp).put);
	uint64_t *at = way_in(first, is_empty, hash);

	if (!at) {
		at = way_in(lb_bucket_other(first, hash, SHIFT), is_empty, hash);
		if (!at)
			return false;
		bucket(first)[0] |= LB_FLOW_OVERFLOW;
	}
	*at = entry_of(flow, state) | (*at & LB_FLOW_OVERFLOW);
	dp->maps.reason_counts[LB_EVENT_flow_inserted].packets++;
	return true;
}

static void put_all(uint32_t first, uint32_t end, uint32_t state)
{
	for (uint32_t flow = first; flow < end; flow++)
		assert_true(put(flow, state));
}

static bool is_there(uint32_t flow, uint32_t state)
{
	const uint64_t *at = find(flow);

	return at && (*at & ~LB_FLOW_OVERFLOW) == entry_of(flow, state);
}

static void expect_all(uint32_t first, uint32_t end, uint32_t state)
{
	for (uint32_t flow = first; flow < end; flow++)
		if (!is_there(flow, state))
			fail_msg("flow %u is lost", flow);
}

static unsigned entries(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PLACES; i++)
		count += LB_FLOW_STATE(dp->maps.flows[i]) != LB_FLOW_EMPTY;
	return count;
}

static void expect_masks(uint32_t look, uint32_t put_mask)
{
	assert_int_equal(flows_masks(dp).look, look);
	assert_int_equal(flows_masks(dp).put, put_mask);
}

/* ---- sizes ---- */

FLOWS_TEST(a_new_table_uses_its_smallest_part)
{
	struct dp_memory m;

	expect_masks(3, 3);
	dataplane_memory(dp, &m);
	assert_int_equal(m.flow_places, 32);
	assert_int_equal(m.flow_capacity, PLACES);
}

FLOWS_TEST(the_smallest_part_follows_from_the_whole)
{
	const struct {
		uint32_t buckets, smallest;
	} cases[] = {{2, 2},        {512, 512},         {1024, 512},       {8192, 512},
		     {16384, 1024}, {1 << 18, 1 << 14}, {1 << 28, 1 << 24}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(LB_FLOW_SEGMENT(lb_flow_shift(cases[i].buckets)) + 1,
				 cases[i].smallest);
}

FLOWS_TEST(a_table_that_is_a_quarter_full_grows_with_the_sweep)
{
	put_all(0, 8, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	expect_masks(3, 3);
	put_all(8, 9, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	expect_masks(3, 7);
	expect_all(0, 9, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	expect_masks(7, 7);
	expect_all(0, 9, LB_FLOW_ESTABLISHED);
	assert_int_equal(entries(), 9);
}

/* At any number of entries: none makes it smaller than it has to be for as many. */
FLOWS_TEST(a_table_that_has_shrunk_does_not_grow_for_the_same_entries)
{
	for (uint32_t most = 0; most <= 60; most++) {
		uint32_t mask;

		flows_resize(dp, BUCKETS - 1);
		put_all(0, most, LB_FLOW_ESTABLISHED);
		for (int ticks = 0; ticks <= 4 * PATIENCE; ticks += PATIENCE)
			sweep_rounds(dp, 1, NOW + ticks);
		mask = flows_masks(dp).put;
		assert_true(mask == BUCKETS - 1 ? most * 10 >= PLACES
						: most * 5 <= (mask + 1) * LB_FLOW_WAYS);
		sweep_rounds(dp, 2, NOW + 5 * PATIENCE);
		expect_masks(mask, mask);
		expect_all(0, most, LB_FLOW_ESTABLISHED);
		memset(dp->maps.flows, 0, PLACES * sizeof(*dp->maps.flows));
	}
}

FLOWS_TEST(a_table_that_fills_between_two_sweeps_grows_at_once)
{
	sweep_rounds(dp, 1, NOW);
	put_all(0, 8, LB_FLOW_SYN);
	assert_false(dataplane_grow(dp));
	expect_masks(3, 3);
	put_all(8, 10, LB_FLOW_SYN);
	assert_true(dataplane_grow(dp)); /* 50 places: the next power of two is 64 */
	expect_masks(3, 7);
	dataplane_sweep(dp, 1, NOW);
	assert_false(dataplane_grow(dp)); /* it is on its way */
	sweep_rounds(dp, 1, NOW);
	expect_masks(7, 7);
	expect_all(0, 10, LB_FLOW_SYN);
}

/* A larger part could be full before what is in this one has been moved. */
FLOWS_TEST(a_table_into_which_flows_come_fast_is_used_whole)
{
	sweep_rounds(dp, 1, NOW);
	assert_false(dataplane_grow(dp));
	put_all(0, 2, LB_FLOW_SYN);
	assert_false(dataplane_grow(dp));
	expect_masks(3, 3);
	put_all(2, 5, LB_FLOW_SYN); /* more than a sixteenth of 32 places since the last look */
	assert_true(dataplane_grow(dp));
	expect_masks(3, BUCKETS - 1);
}

/* As an lbd that takes over a table does: what was inserted before its time says nothing. */
FLOWS_TEST(the_first_look_takes_nothing_for_fast)
{
	sweep_rounds(dp, 1, NOW);
	put_all(0, 8, LB_FLOW_SYN);
	assert_false(dataplane_grow(dp));
	expect_masks(3, 3);
}

FLOWS_TEST(dormant_entries_let_nothing_grow)
{
	put_all(0, 20, LB_FLOW_DORMANT);
	sweep_rounds(dp, 2, NOW);
	expect_masks(3, 3);
}

FLOWS_TEST(the_whole_table_does_not_grow)
{
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	put_all(0, 300, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 2, NOW);
	assert_false(dataplane_grow(dp));
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	expect_all(0, 300, LB_FLOW_ESTABLISHED);
}

FLOWS_TEST(a_table_that_is_almost_empty_for_long_shrinks)
{
	flows_resize(dp, BUCKETS - 1);
	put_all(0, 12, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	sweep_rounds(dp, 1, NOW + PATIENCE - 1);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW + PATIENCE);
	expect_masks(BUCKETS - 1, 7); /* 60 places: the next power of two is 64 */
	expect_all(0, 12, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW + PATIENCE);
	expect_masks(7, 7);
	expect_all(0, 12, LB_FLOW_ESTABLISHED);
	assert_int_equal(entries(), 12);
}

/* The smallest part was almost empty for long; then a packet has taken the whole table. */
FLOWS_TEST(a_table_that_a_packet_enlarged_waits_before_it_shrinks)
{
	const uint32_t then = NOW + 3 * PATIENCE;

	put_all(0, 2, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	sweep_rounds(dp, 1, then);
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 2, then);
	sweep_rounds(dp, 1, then + PATIENCE - 1);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	sweep_rounds(dp, 1, then + PATIENCE);
	expect_masks(BUCKETS - 1, 3);
}

FLOWS_TEST(a_crowd_meanwhile_makes_it_wait_again)
{
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	put_all(0, 70, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW + 1);
	for (uint32_t flow = 0; flow < 70; flow++)
		*find(flow) &= LB_FLOW_OVERFLOW;
	sweep_rounds(dp, 1, NOW + 2);
	sweep_rounds(dp, 1, NOW + PATIENCE);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW + 2 + PATIENCE);
	expect_masks(BUCKETS - 1, 3);
}

/* ---- moving ---- */

FLOWS_TEST(no_entry_is_lost_through_any_sequence_of_sizes)
{
	uint32_t random = 1;

	put_all(0, 8, LB_FLOW_ESTABLISHED);
	for (unsigned i = 0; i < 300; i++) {
		random = random * 1664525 + 1013904223;
		flows_resize(dp, (4u << (random >> 16) % 5) - 1);
		expect_all(0, 8, LB_FLOW_ESTABLISHED);
		while (dataplane_sweep(dp, 8, NOW))
			expect_all(0, 8, LB_FLOW_ESTABLISHED);
		assert_int_equal(flows_masks(dp).look, flows_masks(dp).put);
	}
	assert_int_equal(entries(), 8);
}

/* Two flows in each segment that is there have the same buckets. */
FLOWS_TEST(an_entry_in_the_second_bucket_is_found_after_it_has_moved)
{
	uint32_t flows[12], count = 0;

	for (uint32_t flow = 0; count < 12; flow++)
		if (lb_bucket(hash_of(flow), SHIFT, 7) == 6) {
			assert_true(put(flow, LB_FLOW_ESTABLISHED));
			flows[count++] = flow;
		}
	flows_resize(dp, 7);
	sweep_rounds(dp, 1, NOW);
	expect_masks(7, 7);
	for (uint32_t i = 0; i < count; i++)
		assert_true(is_there(flows[i], LB_FLOW_ESTABLISHED));
}

FLOWS_TEST(new_entries_go_to_the_new_part_and_are_found_beside_the_old)
{
	put_all(0, 10, LB_FLOW_ESTABLISHED);
	flows_resize(dp, BUCKETS - 1);
	put_all(10, 200, LB_FLOW_ESTABLISHED);
	expect_all(0, 200, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	expect_all(0, 200, LB_FLOW_ESTABLISHED);
	assert_int_equal(dp->maps.loads[want_id(dp, &want, 0)].active, 100);
}

FLOWS_TEST(the_sweep_counts_entries_wherever_they_are)
{
	put_all(0, 10, LB_FLOW_ESTABLISHED);
	dataplane_sweep(dp, 1, NOW); /* a round has begun */
	flows_resize(dp, BUCKETS - 1);
	put_all(10, 20, LB_FLOW_ESTABLISHED);
	while (dataplane_sweep(dp, 100, NOW))
		;
	assert_int_equal(dp->sweep.entries_last, 20);
}

FLOWS_TEST(a_part_that_is_too_small_for_its_entries_is_left_again)
{
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	put_all(0, 100, LB_FLOW_ESTABLISHED);
	flows_resize(dp, 3);
	sweep_rounds(dp, 1, NOW);
	expect_masks(3, BUCKETS - 1);
	expect_all(0, 100, LB_FLOW_ESTABLISHED);
	sweep_rounds(dp, 1, NOW);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	expect_all(0, 100, LB_FLOW_ESTABLISHED);
	assert_int_equal(entries(), 100);
}

FLOWS_TEST(dormant_entries_give_way_to_live_ones)
{
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	put_all(0, 8, LB_FLOW_ESTABLISHED);
	put_all(8, 108, LB_FLOW_DORMANT);
	flows_resize(dp, 3);
	sweep_rounds(dp, 1, NOW);
	expect_masks(3, 3);
	expect_all(0, 8, LB_FLOW_ESTABLISHED);
	assert_in_range(entries(), 12, 24);
	assert_int_equal(dp->sweep.dropped, 108 - entries());
}

FLOWS_TEST(dormant_entries_move_with_a_table_that_grows)
{
	put_all(0, 20, LB_FLOW_DORMANT);
	flows_resize(dp, 7);
	sweep_rounds(dp, 1, NOW);
	expect_masks(7, 7);
	expect_all(0, 20, LB_FLOW_DORMANT);
	assert_int_equal(dp->sweep.dropped, 0);
}

/* The number of a flow that is in another bucket of the whole table than of the smallest part. */
static uint32_t flow_that_moves(void)
{
	uint32_t flow = 0;

	while (lb_bucket(hash_of(flow), SHIFT, BUCKETS - 1) < 4)
		flow++;
	return flow;
}

FLOWS_TEST(an_entry_takes_the_place_of_a_dormant_one_where_all_are_taken)
{
	uint32_t flow = flow_that_moves(), to = lb_bucket(hash_of(flow), SHIFT, BUCKETS - 1);
	uint32_t other = lb_bucket_other(to, hash_of(flow), SHIFT);

	put_all(flow, flow + 1, LB_FLOW_ESTABLISHED);
	flows_resize(dp, BUCKETS - 1);
	for (unsigned way = 0; way < LB_FLOW_WAYS; way++) {
		bucket(to)[way] = entry_of(1000 + way, LB_FLOW_DORMANT);
		bucket(other)[way] = entry_of(2000 + way, LB_FLOW_DORMANT);
	}
	dataplane_sweep(dp, 32, NOW); /* what moves has moved */
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	assert_true(is_there(flow, LB_FLOW_ESTABLISHED));
	assert_int_equal(entries(), 16);
	assert_int_equal(dp->sweep.dropped, 1);
	assert_int_equal(dp->maps.loads[want_id(dp, &want, 0)].active, 0); /* as before */
}

FLOWS_TEST(what_an_empty_part_leaves_is_cleared)
{
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	for (unsigned i = 0; i < BUCKETS; i++)
		bucket(i)[0] |= LB_FLOW_OVERFLOW;
	flows_resize(dp, 3);
	sweep_rounds(dp, 1, NOW);
	for (unsigned i = 0; i < PLACES; i++)
		assert_int_equal(dp->maps.flows[i],
				 i < 32 && i % LB_FLOW_WAYS == 0 ? LB_FLOW_OVERFLOW : 0);
}

FLOWS_TEST(an_entry_of_a_backend_that_is_gone_does_not_move)
{
	put_all(0, 1, LB_FLOW_ESTABLISHED);
	*find(0) |= (uint64_t)LB_MAX_BACKENDS << LB_FLOW_BACKEND_SHIFT;
	flows_resize(dp, BUCKETS - 1);
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(entries(), 0);
}

/* ---- another lbd ---- */

FLOWS_TEST(another_lbd_goes_on_where_the_first_was_killed)
{
	put_all(0, 12, LB_FLOW_ESTABLISHED);
	flows_resize(dp, BUCKETS - 1);
	for (unsigned words = 0; words < 32; words += 8) {
		dataplane_sweep(dp, 8, NOW);
		start();
		expect_masks(3, BUCKETS - 1);
		expect_all(0, 12, LB_FLOW_ESTABLISHED);
	}
	sweep_rounds(dp, 1, NOW);
	expect_masks(BUCKETS - 1, BUCKETS - 1);
	expect_all(0, 12, LB_FLOW_ESTABLISHED);
}

/* Killed between the copy and the end of the original; then a packet has changed the original. */
FLOWS_TEST(a_copy_that_was_left_is_replaced_by_the_original)
{
	uint32_t flow = flow_that_moves();
	uint64_t *copy;

	put_all(flow, flow + 1, LB_FLOW_ESTABLISHED);
	flows_resize(dp, BUCKETS - 1);
	copy = bucket(lb_bucket(hash_of(flow), SHIFT, BUCKETS - 1)) + 3;
	*copy = entry_of(flow, LB_FLOW_SYN);
	assert_true(is_there(flow, LB_FLOW_ESTABLISHED));
	start();
	sweep_rounds(dp, 1, NOW);
	assert_true(is_there(flow, LB_FLOW_ESTABLISHED));
	assert_int_equal(entries(), 1);
	assert_true(*copy == entry_of(flow, LB_FLOW_ESTABLISHED));
}

FLOWS_TEST(a_size_that_cannot_be_is_refused)
{
	static const union lb_flow_masks wrong[] = {
	    {{1, 3}}, {{3, 1}}, {{3, 127}}, {{5, 7}}, {{0, 0}}};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct dataplane *other = calloc(1, sizeof(*other));
		struct error err = {0};

		assert_non_null(other);
		other->maps = memory->maps;
		other->egress_fd = other->paths_fd = other->filters_fd = -1;
		other->maps.settings->flow_masks = wrong[i];
		assert_int_equal(dp_start(other, &memory->options, &err), -EPROTO);
		assert_non_null(strstr(err.text, "the flow table has a size that it cannot have"));
		dataplane_close(other);
	}
	memory->maps.settings->flow_masks = (union lb_flow_masks){{3, 3}};
}

LB_TEST_MAIN("dataplane: flows")
