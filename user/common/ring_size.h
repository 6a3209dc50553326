/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes of rings: primes, as Maglev needs them. */
#ifndef LBD_RING_SIZE_H
#define LBD_RING_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool is_prime(uint32_t n);

/* Slots for each backend, at least. What a packet reads of the rings of many busy services must
 * stay in the CPU's caches, so a ring is no larger than its shares need. */
enum ring_grain {
	/* the shares of unequal weights, down to a hundredth of the average; and where a client is
	 * to keep its backend: the loss of one moves 2 to 3 % of the slots of the others */
	RING_FINE = 100,
	/* equal shares, to 4 %; the loss of one backend moves 4 to 6 % of the others' slots */
	RING_COARSE = 25,
};

/* The size for this many backends: a prime of a series that doubles (251, 509, 1021, ...), with as
 * many slots for each as the grain says, as long as the series reaches. */
uint32_t ring_size(size_t backends, enum ring_grain grain);

#endif
