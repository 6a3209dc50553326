/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Filters in the maps, on plain memory: layout, sharing, what a commit writes. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/filter_model.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want wants[3]; /* two services of IPv4, one of IPv6 */

static int setup(void **state)
{
	static const char *const vips[] = {"192.0.2.1", "192.0.2.2", "2001:db8::1"};

	memory = memory_dataplane_new((struct memory_limits){64, 64, 1 << 16, 64});
	dp = memory->dp;
	dp->clock = 10000;
	for (int i = 0; i < 3; i++) {
		want_init(&wants[i], vips[i], IPPROTO_TCP, 80, "maglev");
		want_add(&wants[i], 1, 1);
	}
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < 3; i++)
		filter_unref(wants[i].service.filter);
	memory_dataplane_free(memory);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* The service's filter: these prefixes are denied; NULL: none. */
static void deny(struct want *want, const char *prefixes)
{
	filter_unref(want->service.filter);
	want->service.filter = prefixes ? filter_of(NULL, prefixes) : NULL;
}

static uint32_t id_of(const struct want *want)
{
	return dp_find(dp, &want->service)->id;
}

static struct lb_filter_head head_of(const struct want *want)
{
	struct lb_filter_head head = {0};

	if (dp->filters.blocks && id_of(want) < dp->filters.count)
		memcpy(&head, &dp->filters.blocks[id_of(want)], sizeof(head));
	return head;
}

static bool is_flagged(const struct want *want)
{
	return want_line(dp, want)->flags & LB_SERVICE_FILTERED;
}

/* ---- reading the image ---- */

static uint32_t top_of(const struct addr *address)
{
	const uint8_t *b = address->bytes;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool is_reached(const struct lb_filter_table *table, uint32_t at, const struct addr *address)
{
	const uint32_t *words = dp->filters.blocks->word + table->bounds;
	struct lb_filter_bound bound;
	uint64_t half[2] = {0};

	if (address->family == 4)
		return words[at] <= top_of(address);
	memcpy(&bound, words + at * sizeof(bound) / sizeof(*words), sizeof(bound));
	for (int i = 0; i < 16; i++)
		half[i / 8] = half[i / 8] << 8 | address->bytes[i];
	return bound.high < half[0] || (bound.high == half[0] && bound.low <= half[1]);
}

/* The array of verdicts says the same, or leaves it to the search. */
static void expect_verdict(const struct lb_filter_table *table, const struct addr *address,
			   bool denied)
{
	uint32_t place = (uint32_t)((uint64_t)top_of(address) >> table->verdicts_shift);
	uint32_t word = dp->filters.blocks->word[table->verdicts + place / LB_FILTER_VERDICTS];
	uint32_t verdict = word >> 2 * (place % LB_FILTER_VERDICTS) & 3;

	assert_in_range(table->verdicts_shift, LB_FILTER_VERDICTS_LEAST, 32);
	if (verdict != LB_FILTER_MIXED)
		assert_int_equal(verdict, denied ? LB_FILTER_DENIED : LB_FILTER_ALLOWED);
}

/* The verdict of the image, which also must have its bounds where the directory says. */
static bool denies(const struct want *want, const struct addr *address)
{
	struct lb_filter_head head = head_of(want);
	const struct lb_filter_table *table = address->family == 4 ? &head.v4 : &head.v6;
	const uint32_t *directory = dp->filters.blocks->word + table->directory;
	uint64_t entry = (uint64_t)top_of(address) >> table->shift;
	uint32_t below = directory[entry];

	assert_in_range(table->shift, LB_FILTER_SHIFT_LEAST, 32);
	assert_int_equal(table->bounds % LB_FILTER_WORDS, 0);
	if (below)
		assert_true(is_reached(table, below - 1, address));
	while (below < directory[entry + 1] && is_reached(table, below, address))
		below++;
	expect_verdict(table, address, (below & 1) ^ table->denies);
	return (below & 1) ^ table->denies;
}

/* ---- tests ---- */

TEST(without_lists_there_is_no_map_and_no_flag)
{
	struct dp_memory used;

	want_commit(dp, wants, 3);
	assert_null(dp->filters.blocks);
	for (int i = 0; i < 3; i++)
		assert_false(is_flagged(&wants[i]));
	dataplane_memory(dp, &used);
	assert_int_equal(used.filters, 0);
}

TEST(only_a_service_with_lists_has_the_flag)
{
	struct dp_memory used;

	deny(&wants[1], "10.0.0.0/8");
	want_commit(dp, wants, 3);
	assert_false(is_flagged(&wants[0]));
	assert_true(is_flagged(&wants[1]));
	assert_int_equal(head_of(&wants[0]).v4.shift, 0);
	assert_int_not_equal(head_of(&wants[1]).v4.shift, 0);
	dataplane_memory(dp, &used);
	assert_int_equal(used.filters, FILTER_CHUNK_BYTES);
	assert_int_equal(dp->maps.settings->filters, dp->filters.first + 1);
}

TEST(equal_lists_are_stored_once)
{
	uint32_t blocks;

	deny(&wants[0], "10.0.0.0/8 192.0.2.0/24");
	want_commit(dp, wants, 3);
	blocks = dp->filters.count;
	deny(&wants[1], "192.0.2.0/24 10.0.0.0/9 10.128.0.0/9");
	deny(&wants[2], "10.0.0.0/8");
	want_commit(dp, wants, 3);
	assert_int_equal(head_of(&wants[0]).v4.bounds, head_of(&wants[1]).v4.bounds);
	assert_int_not_equal(head_of(&wants[0]).v4.bounds, head_of(&wants[2]).v4.bounds);
	assert_int_not_equal(dp->filters.count, blocks);
}

TEST(a_change_of_a_list_is_one_store)
{
	struct filter_image *image = &dp->filters;
	struct lb_filter_block *blocks;
	uint64_t stores;

	deny(&wants[0], "10.0.0.0/8");
	want_commit(dp, wants, 3);
	blocks = image->blocks;
	stores = dataplane_stores();
	want_commit(dp, wants, 3);
	assert_ptr_equal(image->blocks, blocks);
	deny(&wants[0], "10.0.0.0/9 10.128.0.0/9"); /* the same addresses */
	want_commit(dp, wants, 3);
	assert_ptr_equal(image->blocks, blocks);
	deny(&wants[0], "10.0.0.0/9");
	want_commit(dp, wants, 3);
	assert_int_equal(dataplane_stores(), stores + 1);
	assert_true(denies(&wants[0], &(struct addr){4, {10}}));
	assert_false(denies(&wants[0], &(struct addr){4, {10, 128}}));
}

TEST(lists_that_are_taken_away_leave_nothing)
{
	deny(&wants[0], "10.0.0.0/8");
	deny(&wants[2], "2001:db8::/32");
	want_commit(dp, wants, 3);
	deny(&wants[0], NULL);
	want_commit(dp, wants, 3);
	assert_false(is_flagged(&wants[0]));
	assert_int_equal(head_of(&wants[0]).v4.shift, 0);
	assert_true(is_flagged(&wants[2]));
	deny(&wants[2], NULL);
	want_commit(dp, wants, 3);
	assert_false(is_flagged(&wants[2]));
	assert_null(dp->filters.blocks);
	assert_int_equal(dp->maps.settings->filters, 0);
}

TEST(a_service_that_is_removed_takes_its_filter_along)
{
	uint32_t id;

	deny(&wants[1], "10.0.0.0/8");
	want_commit(dp, wants, 3);
	id = id_of(&wants[1]);
	want_commit(dp, wants, 1);
	deny(&wants[0], "11.0.0.0/8");
	want_commit(dp, wants, 1);
	assert_null(dp->filters.of[id]);
	assert_true(is_flagged(&wants[0]));
}

TEST(an_id_that_is_used_again_counts_from_zero)
{
	struct dp_service_stats stats;
	uint32_t id;

	want_commit(dp, wants, 3);
	id = id_of(&wants[2]);
	dp->maps.service_counts[id].denied = 3;
	dp->maps.service_counts[dp->maps.service_slots + id].denied = 4;
	assert_int_equal(dataplane_service_stats(dp, &wants[2].service, &stats), 0);
	assert_int_equal(stats.denied, 7);
	assert_int_equal(dataplane_service_stats(dp, &wants[1].service, &stats), 0);
	assert_int_equal(stats.denied, 0);
	want_commit(dp, wants, 2);
	sweep_rounds(dp, 4, 10100);
	want_commit(dp, wants, 3);
	assert_int_equal(id_of(&wants[2]), id);
	assert_int_equal(dataplane_service_stats(dp, &wants[2].service, &stats), 0);
	assert_int_equal(stats.denied, 0);
}

TEST(a_new_lbd_makes_the_filters_of_its_config)
{
	deny(&wants[0], "10.0.0.0/8");
	deny(&wants[1], "11.0.0.0/8");
	want_commit(dp, wants, 3);
	dp = memory_dataplane_restart(memory);
	deny(&wants[0], NULL);
	deny(&wants[1], "12.0.0.0/8");
	want_commit(dp, wants, 3);
	assert_false(is_flagged(&wants[0]));
	assert_true(is_flagged(&wants[1]));
	assert_true(denies(&wants[1], &(struct addr){4, {12}}));
	assert_false(denies(&wants[1], &(struct addr){4, {11}}));
}

TEST(the_image_says_of_random_lists_what_the_naive_model_says)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct filter_list *allow, *denied;

		model_seed(seed);
		allow = model_list(50, NULL);
		denied = model_list(50, allow);
		filter_unref(wants[0].service.filter);
		filter_unref(wants[2].service.filter);
		wants[0].service.filter = filter_of_lists(allow, denied);
		wants[2].service.filter = filter_ref(wants[0].service.filter);
		want_commit(dp, wants, 3);
		for (int i = 0; i < 100; i++) {
			struct addr address = model_address(allow, denied, i % 2 ? 4 : 6);

			assert_int_equal(denies(&wants[i % 2 ? 0 : 2], &address),
					 model_denies(allow, denied, &address));
		}
		filter_list_unref(allow);
		filter_list_unref(denied);
	}
}

LB_TEST_MAIN("dataplane filters")
