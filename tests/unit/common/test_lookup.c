/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/lookup.c: places found by hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/lookup.h"
#include "support/test_addr.h"

static bool has(const struct lookup *lookup, uint64_t hash, uint32_t place)
{
	struct lookup_walk walk;
	unsigned times = 0;
	uint32_t found;

	lookup_walk(lookup, hash, &walk);
	while (lookup_next(&walk, &found))
		times += found == place;
	assert_in_range(times, 0, 1);
	return times;
}

static void an_empty_one_has_nothing(void **state)
{
	struct lookup lookup = {0};

	assert_false(has(&lookup, 1, 0));
	lookup_clear(&lookup);
	assert_int_equal(lookup_reserve(&lookup, 1), 0);
	assert_false(has(&lookup, 1, 0));
	lookup_done(&lookup);
}

/* A model in an array, over many additions and removals of hashes that often collide. */
static void what_was_added_is_found_until_it_is_removed(void **state)
{
	enum { PLACES = 300 };
	static uint64_t hashes[PLACES];
	static bool there[PLACES];
	struct lookup lookup = {0};
	uint32_t random = 1, count = 0;

	for (unsigned step = 0; step < 20000; step++) {
		uint32_t place = (random = random * 1103515245 + 12345) >> 8;

		place %= PLACES;
		if (there[place]) {
			lookup_remove(&lookup, hashes[place], place);
			count--;
		} else {
			hashes[place] = (random >> 16) % 40 * (place % 3 ? 1 : 1ull << 32);
			assert_int_equal(lookup_reserve(&lookup, ++count), 0);
			lookup_add(&lookup, hashes[place], place);
		}
		there[place] = !there[place];
		assert_int_equal(lookup.count, count);
		for (uint32_t i = step % 16; i < PLACES; i += 16)
			assert_int_equal(has(&lookup, hashes[i], i), there[i]);
	}
	lookup_clear(&lookup);
	for (uint32_t i = 0; i < PLACES; i++)
		assert_false(has(&lookup, hashes[i], i));
	lookup_done(&lookup);
}

static void texts_and_numbers_do_not_run_together(void **state)
{
	struct addr four = test_addr("1.2.3.4"), six = test_addr("102:304::");
	uint64_t ab = lookup_hash_text(lookup_hash_text(LOOKUP_START, "a"), "b");

	assert_true(ab != lookup_hash_text(lookup_hash_text(LOOKUP_START, "ab"), ""));
	assert_true(ab != lookup_hash_text(lookup_hash_text(LOOKUP_START, ""), "ab"));
	assert_true(lookup_hash_addr(LOOKUP_START, &four) != lookup_hash_addr(LOOKUP_START, &six));
	assert_true(lookup_hash_number(LOOKUP_START, 1) != lookup_hash_number(LOOKUP_START, 256));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_one_has_nothing),
	    cmocka_unit_test(what_was_added_is_found_until_it_is_removed),
	    cmocka_unit_test(texts_and_numbers_do_not_run_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
