/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Weighted Maglev: fills a lookup table (Eisenbud et al., NSDI 2016, section 3.4; weights as
 * turns in proportion). Pure. */
#ifndef LBD_MAGLEV_H
#define LBD_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"

struct maglev_backend {
	struct addr address; /* identifies the backend: the order of the list does not matter */
	uint32_t weight;     /* 0: gets no slot */
	uint16_t id;         /* the value written into the table; not 0 */
};

/* Fills table[size] (size: a prime) with ids, 0 everywhere if no backend has weight. 0, -ENOMEM, or
 * -EINVAL (size not prime). */
int maglev_fill(const struct maglev_backend *backends, size_t count, uint64_t seed, uint16_t *table,
		uint32_t size);
/* A hash of the address, the same on every machine. */
uint64_t maglev_label(const struct addr *address);

#endif
