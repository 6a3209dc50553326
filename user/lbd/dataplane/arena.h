/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Allocator of the slot arena: first fit over a sorted list of gaps. The list is kept in the
 * process only and rebuilt on a takeover. Pure. */
#ifndef LBD_ARENA_H
#define LBD_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Regions begin on a cache line of slots and are rounded up to whole lines: no two regions share a
 * line. */
#define ARENA_ALIGN 16u

struct arena_gap {
	uint32_t base, size; /* slots, multiples of ARENA_ALIGN */
};

struct arena {
	struct arena_gap *gaps; /* sorted by base, never adjacent */
	size_t count, room;
	size_t regions;
	uint32_t slots;
};

/* An empty arena of so many slots. 0 or -ENOMEM. */
int arena_init(struct arena *arena, uint32_t slots);
void arena_done(struct arena *arena);
/* Takes size (not 0) slots. 0, -ENOSPC if no gap is large enough, -ENOMEM. */
int arena_take(struct arena *arena, uint32_t size, uint32_t *ret_base);
/* Takes exactly this region, which a previous process used. 0, -EEXIST if part of it is taken,
 * -EINVAL if it is outside the arena or does not begin on a line, -ENOMEM. */
int arena_take_at(struct arena *arena, uint32_t base, uint32_t size);
/* Frees a region that was taken with the same size. Cannot fail: room for its gap was made when it
 * was taken. */
void arena_give(struct arena *arena, uint32_t base, uint32_t size);
/* Number of free slots. */
uint32_t arena_unused(const struct arena *arena);

#endif
