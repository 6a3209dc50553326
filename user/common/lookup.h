/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds things of a list by what they are called, in a time that does not grow with the list. It
 * holds only hashes and places in the list: who looks compares what is there. */
#ifndef LBD_LOOKUP_H
#define LBD_LOOKUP_H

#include <stdint.h>

#include "addr.h"

struct lookup {
	struct lookup_entry *entries; /* NULL: nothing can be found yet */
	uint32_t size;                /* of them: a power of two, or 0 */
	uint32_t count;               /* of them that are used */
};

/* Of what is found: places that may be it. */
struct lookup_walk {
	const struct lookup *lookup;
	uint64_t hash;
	uint32_t at;
};

#define LOOKUP_START 0xcbf29ce484222325ull

/* Goes on with a hash, which begins with LOOKUP_START. Keys are not secret: who may write a config
 * could make many that collide, and would only slow down what he asks for. */
uint64_t lookup_hash_text(uint64_t hash, const char *text);
uint64_t lookup_hash_number(uint64_t hash, uint32_t number);
uint64_t lookup_hash_addr(uint64_t hash, const struct addr *addr);

/* Makes room for so many in all. 0; or -ENOMEM, and nothing has changed. */
int lookup_reserve(struct lookup *lookup, uint32_t count);
/* There is room: lookup_reserve. Two things may have the same hash. */
void lookup_add(struct lookup *lookup, uint64_t hash, uint32_t place);
/* It is there. */
void lookup_remove(struct lookup *lookup, uint64_t hash, uint32_t place);
/* Forgets all, and keeps the room. */
void lookup_clear(struct lookup *lookup);
void lookup_done(struct lookup *lookup);

void lookup_walk(const struct lookup *lookup, uint64_t hash, struct lookup_walk *ret);
/* false: there are no more. */
bool lookup_next(struct lookup_walk *walk, uint32_t *ret_place);

#endif
