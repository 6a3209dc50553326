/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long a backend takes to answer, for algorithms that go by it: by the connects of its clients,
 * and where there are few, by its checks. Pure. */
#ifndef LBD_RESPONSE_H
#define LBD_RESPONSE_H

#include <stdint.h>

#define RESPONSE_CONNECTS 20 /* with so many only they count */

struct response_sight {
	uint64_t answered;   /* connects of the last seconds */
	uint32_t connect_us; /* their mean */
	uint32_t check_us;   /* 0: unknown */
};

/* What the way to the clients adds to the time of a check: the median over the backends with enough
 * connects. 0: there is none. Sorts within scratch, which has count items. */
uint32_t response_distance_us(const struct response_sight *sights, unsigned count,
			      uint32_t *scratch);
/* 0: unknown. Below RESPONSE_CONNECTS the time of its checks counts for those that are missing: a
 * backend that gets few flows as it is slow is tried again by a few, not by as many as the others
 * get. */
uint32_t response_us(const struct response_sight *sight, uint32_t distance_us);

#endif
