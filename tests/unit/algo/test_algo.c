/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Properties of all registered algorithms: names, coverage, determinism, weights, disruption; then
 * those of single algorithms. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"

#define BACKENDS 100

static struct want want;

static struct memory_dataplane *commit(const struct algo *algo, bool weighted)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 256, 65536, 16});

	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, algo->name);
	for (unsigned n = 0; n < BACKENDS; n++)
		want_add(&want, n, weighted ? 1 + n % 3 : 10);
	want_commit(memory->dp, &want, 1);
	return memory;
}

/* Counts the slots of which each backend is current, by number; returns the size of the ring. */
static uint32_t slot_shares(const struct memory_dataplane *memory, uint32_t share[BACKENDS])
{
	uint32_t size, *slots = want_slots(memory->dp, &want, &size);

	memset(share, 0, BACKENDS * sizeof(*share));
	for (uint32_t i = 0; i < size; i++) {
		const struct lb_backend *line = &memory->maps.backends[LB_SLOT_CURRENT(slots[i])];

		share[((const uint8_t *)line->outer_dst)[3]]++;
	}
	return size;
}

/* The same for the pick list. */
static uint32_t pick_shares(const struct memory_dataplane *memory, uint32_t share[BACKENDS])
{
	uint64_t pick = want_line(memory->dp, &want)->pick;

	memset(share, 0, BACKENDS * sizeof(*share));
	for (uint32_t i = 0; i < LB_REGION_SIZE(pick); i++) {
		uint32_t id = memory->maps.arena[LB_REGION_BASE(pick) + i];

		share[((const uint8_t *)memory->maps.backends[id].outer_dst)[3]]++;
	}
	return LB_REGION_SIZE(pick);
}

static void names_are_unique_and_found_in_both_forms(void **state)
{
	unsigned count = 0;

	registry_for_each (algo, a) {
		assert_ptr_equal(algo_find(a->name), a);
		assert_ptr_equal(algo_find(a->short_name), a);
		assert_true(a->help[0]);
		assert_int_equal(a->cost != NULL, a->select == LB_SELECT_COST);
		count++;
	}
	assert_true(count >= 6);
	assert_null(algo_find("best"));
	assert_null(algo_find(""));
}

static void the_promised_algorithms_are_there(void **state)
{
	static const char *const names[][2] = {
	    {"maglev", "mh"},      {"source-hash", "sh"},
	    {"round-robin", "rr"}, {"weighted-round-robin", "wrr"},
	    {"least-conn", "lc"},  {"least-response-time", "lrt"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_non_null(algo_find(names[i][0]));
		assert_ptr_equal(algo_find(names[i][0]), algo_find(names[i][1]));
	}
	assert_int_equal(algo_find("maglev")->hash, LB_HASH_FULL);
	assert_int_equal(algo_find("source-hash")->hash, 0);
}

/* Every algorithm has slots: those that pick use them when the flow table is full. */
static void every_backend_is_covered_by_every_algorithm(void **state)
{
	uint32_t share[BACKENDS];

	registry_for_each (algo, a) {
		struct memory_dataplane *memory = commit(a, false);

		slot_shares(memory, share);
		for (unsigned n = 0; n < BACKENDS; n++)
			assert_true(share[n] > 0);
		if (pick_shares(memory, share) || a->select != LB_SELECT_SLOT)
			for (unsigned n = 0; n < BACKENDS; n++)
				assert_true(share[n] > 0);
		memory_dataplane_free(memory);
	}
}

static void two_instances_with_one_config_decide_alike(void **state)
{
	registry_for_each (algo, a) {
		struct memory_dataplane *one = commit(a, true), *two = commit(a, true);

		assert_memory_equal(one->maps.arena, two->maps.arena,
				    one->maps.arena_slots * sizeof(uint32_t));
		assert_memory_equal(one->maps.backends, two->maps.backends,
				    one->maps.backend_slots * sizeof(struct lb_backend));
		memory_dataplane_free(one);
		memory_dataplane_free(two);
	}
}

static void check_shares(const uint32_t share[BACKENDS], uint32_t size, uint32_t slack)
{
	uint32_t sum = 0;

	for (unsigned n = 0; n < BACKENDS; n++)
		sum += 1 + n % 3;
	for (unsigned n = 0; n < BACKENDS; n++) {
		uint32_t ideal = size * (1 + n % 3);

		assert_in_range(share[n] * sum + slack * sum, ideal, ideal + 2 * slack * sum);
	}
}

static void weights_are_kept_to_two_slots_and_to_a_turn(void **state)
{
	uint32_t share[BACKENDS];

	registry_for_each (algo, a) {
		struct memory_dataplane *memory = commit(a, true);

		check_shares(share, slot_shares(memory, share), 2);
		if (a->select == LB_SELECT_TURN)
			check_shares(share, pick_shares(memory, share), 0);
		memory_dataplane_free(memory);
	}
}

static void a_lost_backend_moves_under_two_percent_of_the_other_slots(void **state)
{
	registry_for_each (algo, a) {
		struct memory_dataplane *memory = commit(a, false);
		uint32_t size, *slots = want_slots(memory->dp, &want, &size), moved = 0;
		uint32_t *before = calloc(size, sizeof(*before)),
			 id = want_id(memory->dp, &want, 50);

		assert_non_null(before);
		memcpy(before, slots, size * sizeof(*before));
		want_remove(&want, 50);
		want_commit(memory->dp, &want, 1);
		for (uint32_t i = 0; i < size; i++) {
			assert_int_not_equal(LB_SLOT_CURRENT(slots[i]), id);
			moved += LB_SLOT_CURRENT(before[i]) != id &&
				 LB_SLOT_CURRENT(before[i]) != LB_SLOT_CURRENT(slots[i]);
		}
		assert_true(moved * 50 < size);
		free(before);
		memory_dataplane_free(memory);
	}
}

static void a_backend_without_weight_gets_no_new_flow(void **state)
{
	uint32_t share[BACKENDS];

	registry_for_each (algo, a) {
		struct memory_dataplane *memory = commit(a, false);

		want_find(&want, 3)->weight = 0;
		want_commit(memory->dp, &want, 1);
		slot_shares(memory, share);
		assert_int_equal(share[3], 0);
		pick_shares(memory, share);
		assert_int_equal(share[3], 0);
		assert_int_equal(memory->maps.loads[want_id(memory->dp, &want, 3)].cost, 0);
		memory_dataplane_free(memory);
	}
}

/* ---- turns ---- */

static void turns(struct memory_dataplane *memory, const uint32_t *weights, unsigned count)
{
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "wrr");
	for (unsigned n = 0; n < count; n++)
		want_add(&want, n, weights[n]);
	want_commit(memory->dp, &want, 1);
}

static void heavy_backends_take_turns_with_light_ones(void **state)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 256, 65536, 16});
	uint32_t share[BACKENDS], run = 0;
	uint64_t pick;

	turns(memory, (uint32_t[]){500, 100, 100}, 3);
	assert_int_equal(pick_shares(memory, share), 7);
	pick = want_line(memory->dp, &want)->pick;
	for (unsigned i = 0; i < 14; i++) {
		uint32_t id = memory->maps.arena[LB_REGION_BASE(pick) + i % 7];

		run = id == want_id(memory->dp, &want, 0) ? run + 1 : 0;
		/* also across the end of the list: a a b a c a a | a a b ... */
		assert_true(run <= 4);
	}
	memory_dataplane_free(memory);
}

static void awkward_weights_make_a_bounded_list_that_serves_all(void **state)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 256, 65536, 16});
	uint32_t share[BACKENDS], size;

	turns(memory, (uint32_t[]){9973, 7919, 1, 5003}, 4);
	size = pick_shares(memory, share);
	assert_in_range(size, 8000, 8193);
	assert_int_equal(share[2], 1);
	assert_in_range(share[0] * 1000 / size, 435, 437);
	assert_in_range(share[3] * 1000 / size, 217, 220);
	memory_dataplane_free(memory);
}

/* ---- costs ---- */

static void least_conn_costs_are_in_inverse_proportion_to_weights(void **state)
{
	const struct algo *lc = algo_find("lc");

	for (uint32_t weight = 1; weight <= 10000; weight++)
		assert_in_range((uint64_t)lc->cost(weight, 0) * weight, (1u << 24) * 0.999,
				1u << 24);
	assert_true(lc->cost(UINT32_MAX, 0) >= 1);
}

static void least_response_time_costs_follow_latency_and_stay_in_range(void **state)
{
	const struct algo *lrt = algo_find("lrt");

	assert_in_range(lrt->cost(100, 110000) / lrt->cost(100, 10000), 10, 11);
	assert_int_equal(lrt->cost(1, 5000), 2 * lrt->cost(2, 5000));
	assert_int_equal(lrt->cost(100, 0), lrt->cost(100, 1000));
	assert_true(lrt->cost(10000, 1) >= 1);
	assert_true(lrt->cost(1, UINT32_MAX) <= 1u << 31);
}

static void a_backend_that_was_not_measured_costs_like_the_median(void **state)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 256, 65536, 16});
	const struct lb_load *loads = memory->maps.loads;

	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "lrt");
	for (unsigned n = 0; n < 4; n++)
		want_add(&want, n, 10)->latency_us = n * 1000;
	want_commit(memory->dp, &want, 1);
	assert_int_equal(loads[want_id(memory->dp, &want, 0)].cost,
			 loads[want_id(memory->dp, &want, 2)].cost);
	assert_true(loads[want_id(memory->dp, &want, 1)].cost <
		    loads[want_id(memory->dp, &want, 3)].cost);
	memory_dataplane_free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_unique_and_found_in_both_forms),
	    cmocka_unit_test(the_promised_algorithms_are_there),
	    cmocka_unit_test(every_backend_is_covered_by_every_algorithm),
	    cmocka_unit_test(two_instances_with_one_config_decide_alike),
	    cmocka_unit_test(weights_are_kept_to_two_slots_and_to_a_turn),
	    cmocka_unit_test(a_lost_backend_moves_under_two_percent_of_the_other_slots),
	    cmocka_unit_test(a_backend_without_weight_gets_no_new_flow),
	    cmocka_unit_test(heavy_backends_take_turns_with_light_ones),
	    cmocka_unit_test(awkward_weights_make_a_bounded_list_that_serves_all),
	    cmocka_unit_test(least_conn_costs_are_in_inverse_proportion_to_weights),
	    cmocka_unit_test(least_response_time_costs_follow_latency_and_stay_in_range),
	    cmocka_unit_test(a_backend_that_was_not_measured_costs_like_the_median),
	};

	return cmocka_run_group_tests_name("algo", tests, NULL, NULL);
}
