/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The arena allocator: regions never overlap, gaps coalesce, a takeover gets the same regions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/dataplane/arena.h"

static void regions_begin_on_lines_and_do_not_overlap(void **state)
{
	struct arena arena;
	uint32_t a, b, c;

	assert_int_equal(arena_init(&arena, 1024), 0);
	assert_int_equal(arena_take(&arena, 251, &a), 0);
	assert_int_equal(arena_take(&arena, 1, &b), 0);
	assert_int_equal(arena_take(&arena, 16, &c), 0);
	assert_int_equal(a, 0);
	assert_int_equal(b, 256);
	assert_int_equal(c, 272);
	assert_int_equal(arena_unused(&arena), 1024 - 288);
	arena_done(&arena);
}

static void a_full_arena_refuses_and_is_whole_again_when_all_is_freed(void **state)
{
	struct arena arena;
	uint32_t base[4], over;

	assert_int_equal(arena_init(&arena, 64), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(arena_take(&arena, 10, &base[i]), 0);
	assert_int_equal(arena_take(&arena, 1, &over), -ENOSPC);
	arena_give(&arena, base[2], 10);
	arena_give(&arena, base[0], 10);
	assert_int_equal(arena_take(&arena, 17, &over), -ENOSPC);
	arena_give(&arena, base[1], 10);
	arena_give(&arena, base[3], 10);
	assert_int_equal(arena.count, 1);
	assert_int_equal(arena_take(&arena, 64, &over), 0);
	arena_done(&arena);
}

static void regions_of_a_former_process_are_taken_where_they_are(void **state)
{
	struct arena arena;
	uint32_t base;

	assert_int_equal(arena_init(&arena, 256), 0);
	assert_int_equal(arena_take_at(&arena, 64, 30), 0);
	assert_int_equal(arena_take_at(&arena, 80, 16), -EEXIST);
	assert_int_equal(arena_take_at(&arena, 48, 17), -EEXIST);
	assert_int_equal(arena_take_at(&arena, 240, 17), -EINVAL);
	assert_int_equal(arena_take_at(&arena, 8, 8), -EINVAL);
	assert_int_equal(arena_take_at(&arena, 0, 0), -EINVAL);
	assert_int_equal(arena_take_at(&arena, 0xfffffff0, 0xfffffff0), -EINVAL);
	assert_int_equal(arena_take_at(&arena, 240, 16), 0);
	assert_int_equal(arena_take(&arena, 65, &base), 0);
	assert_int_equal(base, 96);
	assert_int_equal(arena_take(&arena, 64, &base), 0);
	assert_int_equal(base, 0);
	arena_done(&arena);
}

/* A thousand random steps, compared with a byte map. */
static void random_use_agrees_with_a_map_of_lines(void **state)
{
	enum { SLOTS = 4096, LINES = SLOTS / ARENA_ALIGN, LIVE = 64 };
	static uint8_t map[LINES];
	struct {
		uint32_t base, size;
	} live[LIVE] = {0};
	struct arena arena;

	memset(map, 0, sizeof(map));
	srand(1);
	assert_int_equal(arena_init(&arena, SLOTS), 0);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = rand() % LIVE;
		uint32_t lines, used = 0;

		if (live[i].size) {
			arena_give(&arena, live[i].base, live[i].size);
			lines = (live[i].size + ARENA_ALIGN - 1) / ARENA_ALIGN;
			memset(&map[live[i].base / ARENA_ALIGN], 0, lines);
			live[i].size = 0;
		} else {
			live[i].size = 1 + rand() % 200;
			if (arena_take(&arena, live[i].size, &live[i].base)) {
				live[i].size = 0;
			} else {
				lines = (live[i].size + ARENA_ALIGN - 1) / ARENA_ALIGN;
				for (uint32_t l = 0; l < lines; l++)
					assert_int_equal(map[live[i].base / ARENA_ALIGN + l]++, 0);
			}
		}
		for (unsigned l = 0; l < LINES; l++)
			used += map[l];
		assert_int_equal(arena_unused(&arena), (LINES - used) * ARENA_ALIGN);
	}
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(regions_begin_on_lines_and_do_not_overlap),
	    cmocka_unit_test(a_full_arena_refuses_and_is_whole_again_when_all_is_freed),
	    cmocka_unit_test(regions_of_a_former_process_are_taken_where_they_are),
	    cmocka_unit_test(random_use_agrees_with_a_map_of_lines),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
