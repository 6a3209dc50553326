/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* First-fit allocation of arena regions with coalescing gaps. */
#include "arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t round_up(uint32_t size)
{
	return ((uint64_t)size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

/* n regions leave at most n + 1 gaps between them. */
static int make_room(struct arena *arena, size_t regions)
{
	size_t room = arena->room ? arena->room : 16;
	struct arena_gap *gaps;

	if (regions + 1 <= arena->room)
		return 0;
	while (room < regions + 1)
		room *= 2;
	gaps = reallocarray(arena->gaps, room, sizeof(*gaps));
	if (!gaps)
		return -ENOMEM;
	arena->gaps = gaps;
	arena->room = room;
	return 0;
}

static void gap_insert(struct arena *arena, size_t at, struct arena_gap gap)
{
	memmove(&arena->gaps[at + 1], &arena->gaps[at], (arena->count - at) * sizeof(gap));
	arena->gaps[at] = gap;
	arena->count++;
}

static void gap_remove(struct arena *arena, size_t at)
{
	arena->count--;
	memmove(&arena->gaps[at], &arena->gaps[at + 1], (arena->count - at) * sizeof(*arena->gaps));
}

int arena_init(struct arena *arena, uint32_t slots)
{
	*arena = (struct arena){.slots = slots / ARENA_ALIGN * ARENA_ALIGN};
	if (make_room(arena, 1))
		return -ENOMEM;
	if (arena->slots)
		gap_insert(arena, 0, (struct arena_gap){0, arena->slots});
	return 0;
}

void arena_done(struct arena *arena)
{
	free(arena->gaps);
	*arena = (struct arena){0};
}

int arena_take(struct arena *arena, uint32_t size, uint32_t *ret_base)
{
	uint64_t need = round_up(size);

	if (make_room(arena, arena->regions + 1))
		return -ENOMEM;
	for (size_t i = 0; i < arena->count; i++) {
		struct arena_gap *gap = &arena->gaps[i];

		if (gap->size < need)
			continue;
		*ret_base = gap->base;
		gap->base += need;
		gap->size -= need;
		if (!gap->size)
			gap_remove(arena, i);
		arena->regions++;
		return 0;
	}
	return -ENOSPC;
}

int arena_take_at(struct arena *arena, uint32_t base, uint32_t size)
{
	uint64_t end = base + round_up(size);

	if (!size || base % ARENA_ALIGN || end > arena->slots)
		return -EINVAL;
	if (make_room(arena, arena->regions + 1))
		return -ENOMEM;
	for (size_t i = 0; i < arena->count; i++) {
		struct arena_gap gap = arena->gaps[i];
		uint64_t gap_end = (uint64_t)gap.base + gap.size;

		if (base < gap.base || end > gap_end)
			continue;
		gap_remove(arena, i);
		if (end < gap_end)
			gap_insert(arena, i, (struct arena_gap){end, gap_end - end});
		if (gap.base < base)
			gap_insert(arena, i, (struct arena_gap){gap.base, base - gap.base});
		arena->regions++;
		return 0;
	}
	return -EEXIST;
}

void arena_give(struct arena *arena, uint32_t base, uint32_t size)
{
	struct arena_gap gap = {base, round_up(size)};
	size_t at = 0;

	while (at < arena->count && arena->gaps[at].base < base)
		at++;
	if (at < arena->count && gap.base + gap.size == arena->gaps[at].base) {
		gap.size += arena->gaps[at].size;
		gap_remove(arena, at);
	}
	if (at && arena->gaps[at - 1].base + arena->gaps[at - 1].size == gap.base)
		arena->gaps[at - 1].size += gap.size;
	else
		gap_insert(arena, at, gap);
	arena->regions--;
}

uint32_t arena_unused(const struct arena *arena)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < arena->count; i++)
		sum += arena->gaps[i].size;
	return sum;
}
