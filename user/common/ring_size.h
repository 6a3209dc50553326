/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes of rings: primes, as Maglev needs them. */
#ifndef LBD_RING_SIZE_H
#define LBD_RING_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool is_prime(uint32_t n);
/* The size for this many backends: a prime of a series that doubles (251, 509, 1021, ...), with at
 * least 100 slots per backend as long as the series reaches. */
uint32_t ring_size(size_t backends);

#endif
