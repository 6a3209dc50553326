/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes of rings: primes, as Maglev needs them. */
#include "ring_size.h"

bool is_prime(uint32_t n)
{
	if (n < 4)
		return n >= 2;
	if (n % 2 == 0)
		return false;
	for (uint32_t d = 3; (uint64_t)d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return true;
}

uint32_t ring_size(size_t backends, enum ring_grain grain)
{
	/* The largest primes below powers of two, except 65537, the size in the Maglev paper. */
	static const uint32_t ladder[] = {251,   509,   1021,   2039,   4093,   8191,    16381,
					  32749, 65537, 131071, 262139, 524287, 1048573, 2097143};
	size_t i = 0;

	while (i + 1 < sizeof(ladder) / sizeof(*ladder) && ladder[i] < grain * backends)
		i++;
	return ladder[i];
}
