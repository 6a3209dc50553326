/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maglev tables: coverage, shares, determinism, disruption, steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/ring_size.h"
#include "lbd/dataplane/maglev.h"
#include "lbd/host/tasks.h"

#define SIZE 65537
#define MOST 1000

static struct maglev_backend backends[MOST];
static uint16_t table[SIZE], other[SIZE];
static uint32_t share[MOST + 1];

static void make(size_t count, uint32_t weight)
{
	for (size_t i = 0; i < count; i++)
		backends[i] = (struct maglev_backend){
		    .address = {4, {10, 0, i >> 8, i & 255}}, .weight = weight, .id = i + 1};
}

static void fill(size_t count, uint16_t *to, uint32_t size)
{
	assert_int_equal(maglev_fill(backends, count, 7, to, size), 0);
}

static void count_shares(const uint16_t *from, uint32_t size)
{
	memset(share, 0, sizeof(share));
	for (uint32_t i = 0; i < size; i++)
		share[from[i]]++;
}

static void every_slot_is_taken_and_equal_backends_differ_by_a_slot(void **state)
{
	make(MOST, 100);
	fill(MOST, table, SIZE);
	count_shares(table, SIZE);
	assert_int_equal(share[0], 0);
	for (unsigned id = 1; id <= MOST; id++)
		assert_in_range(share[id], SIZE / MOST, SIZE / MOST + 1);
}

static void weights_are_shares_within_two_percent(void **state)
{
	make(3, 0);
	for (unsigned i = 0; i < 3; i++)
		backends[i].weight = i + 1;
	for (uint32_t size = ring_size(3, RING_FINE); size < SIZE;
	     size = ring_size(size / 50, RING_FINE)) {
		fill(3, table, size);
		count_shares(table, size);
		for (unsigned id = 1; id <= 3; id++)
			assert_in_range(share[id] * 600, size * id * 98, size * id * 102);
	}
}

static void order_and_ids_do_not_matter(void **state)
{
	make(100, 10);
	fill(100, table, SIZE);
	for (unsigned i = 0; i < 50; i++) {
		struct maglev_backend swap = backends[i];

		backends[i] = backends[99 - i];
		backends[99 - i] = swap;
	}
	for (unsigned i = 0; i < 100; i++)
		backends[i].id += 1000;
	fill(100, other, SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(table[i] + 1000, other[i]);
}

static void a_table_is_the_same_in_every_version(void **state)
{
	uint64_t sum = 14695981039346656037ULL;

	make(10, 3);
	fill(10, table, 1021);
	for (unsigned i = 0; i < 1021; i++)
		sum = (sum ^ table[i]) * 1099511628211ULL;
	/* If this value changes, an upgrade moves flows, and instances of both versions
	 * disagree. */
	assert_true(sum == 0xc950a8665843bf76ULL);
}

static void another_seed_gives_another_table(void **state)
{
	unsigned same = 0;

	make(10, 1);
	fill(10, table, SIZE);
	assert_int_equal(maglev_fill(backends, 10, 8, other, SIZE), 0);
	for (unsigned i = 0; i < SIZE; i++)
		same += table[i] == other[i];
	assert_in_range(same, SIZE / 12, SIZE / 8);
}

static unsigned moved_of_others(uint16_t id, uint32_t size)
{
	unsigned moved = 0;

	for (unsigned i = 0; i < size; i++)
		moved += table[i] != id && table[i] != other[i];
	return moved;
}

static void a_lost_backend_moves_under_two_percent_of_the_others(void **state)
{
	make(100, 100);
	fill(100, table, SIZE);
	backends[37].weight = 0;
	fill(100, other, SIZE);
	assert_in_range(moved_of_others(38, SIZE), 0, SIZE / 50);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_not_equal(other[i], 38);
}

static void a_changed_weight_moves_little_more_than_its_share(void **state)
{
	unsigned moved = 0;

	make(100, 100);
	fill(100, table, SIZE);
	backends[5].weight = 50;
	fill(100, other, SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		moved += table[i] != other[i];
	assert_in_range(moved, SIZE / 200, SIZE / 40);
}

static void no_weight_at_all_leaves_the_table_empty(void **state)
{
	make(2, 0);
	fill(2, table, 251);
	for (unsigned i = 0; i < 251; i++)
		assert_int_equal(table[i], 0);
	fill(0, table, 251);
	assert_int_equal(table[0], 0);
}

static void ipv6_and_ipv4_backends_share_a_table(void **state)
{
	make(2, 1);
	backends[1].address = (struct addr){6, {0x20, 1, 0xd, 0xb8, [15] = 1}};
	fill(2, table, 251);
	count_shares(table, 251);
	assert_in_range(share[1], 125, 126);
	assert_in_range(share[2], 125, 126);
}

static void a_size_that_is_no_prime_is_refused(void **state)
{
	make(1, 1);
	assert_true(maglev_fill(backends, 1, 7, table, 250) < 0);
	assert_true(maglev_fill(backends, 1, 7, table, 1) < 0);
}

static void check_sizes(enum ring_grain grain)
{
	for (size_t count = 0; count <= 16384; count++) {
		uint32_t size = ring_size(count, grain);

		assert_true(is_prime(size));
		assert_true(size >= grain * count);
		assert_true(size == 251 || size <= 21 * grain * count / 10);
	}
}

static void sizes_are_primes_with_a_hundred_slots_a_backend(void **state)
{
	check_sizes(RING_FINE);
}

static void coarse_sizes_are_primes_with_25_slots_a_backend(void **state)
{
	check_sizes(RING_COARSE);
}

/* What RING_COARSE promises for every number of backends: equal ones differ by a slot, which is at
 * most a 25th of a share, and a lost one moves few slots of the others. */
static void in_coarse_tables_a_lost_backend_moves_under_a_tenth_of_the_others(void **state)
{
	for (size_t count = 10; count <= MOST; count = count * 3 / 2) {
		uint32_t size = ring_size(count, RING_COARSE);

		make(count, 100);
		fill(count, table, size);
		count_shares(table, size);
		for (unsigned id = 1; id <= count; id++)
			assert_in_range(share[id], size / count, size / count + 1);
		backends[3].weight = 0;
		fill(count, other, size);
		assert_in_range(moved_of_others(4, size), 0, size / 10);
	}
}

static void fill_as_task(void *arg)
{
	fill(*(const unsigned *)arg, table, SIZE);
}

/* Pauses come after a number of steps, so turns count the steps. */
static unsigned turns_to_fill(unsigned count)
{
	struct event_base *base = event_base_new();
	struct tasks *tasks;
	unsigned turns = 1;

	make(count, 100);
	assert_non_null(base);
	assert_int_equal(tasks_new(base, &tasks), 0);
	tasks_by_hand(tasks);
	assert_int_equal(tasks_add(tasks, fill_as_task, &count), 0);
	while (tasks_turn(tasks, 0))
		turns++;
	tasks_free(tasks);
	event_base_free(base);
	return turns;
}

/* One step per backend and slot would be hundreds of times as many. What it cannot see is work that
 * is not counted as a step. */
static void a_thousand_backends_take_few_more_steps_than_ten(void **state)
{
	unsigned few = turns_to_fill(10), many = turns_to_fill(MOST);

	print_message("# turns: %u, of 10 backends %u\n", many, few);
	assert_in_range(few, 2, 1000);
	assert_in_range(many, 2, 5 * few);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_slot_is_taken_and_equal_backends_differ_by_a_slot),
	    cmocka_unit_test(weights_are_shares_within_two_percent),
	    cmocka_unit_test(order_and_ids_do_not_matter),
	    cmocka_unit_test(a_table_is_the_same_in_every_version),
	    cmocka_unit_test(another_seed_gives_another_table),
	    cmocka_unit_test(a_lost_backend_moves_under_two_percent_of_the_others),
	    cmocka_unit_test(a_changed_weight_moves_little_more_than_its_share),
	    cmocka_unit_test(no_weight_at_all_leaves_the_table_empty),
	    cmocka_unit_test(ipv6_and_ipv4_backends_share_a_table),
	    cmocka_unit_test(a_size_that_is_no_prime_is_refused),
	    cmocka_unit_test(sizes_are_primes_with_a_hundred_slots_a_backend),
	    cmocka_unit_test(coarse_sizes_are_primes_with_25_slots_a_backend),
	    cmocka_unit_test(in_coarse_tables_a_lost_backend_moves_under_a_tenth_of_the_others),
	    cmocka_unit_test(a_thousand_backends_take_few_more_steps_than_ten),
	};

	return cmocka_run_group_tests_name("maglev", tests, NULL, NULL);
}
