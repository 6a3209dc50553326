/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The slots of a service's ring, and the slot of a flow. */
#ifndef LB_SLOT_H
#define LB_SLOT_H

#include "maps.h"
#include "packet.h"
#include "service.h"

/* Read as one word, so that base and size belong together. */
static __always_inline __u64 region_read(const __u64 *region)
{
	return *(const volatile __u64 *)region;
}

static __always_inline __u32 ring_slot_index(__u64 ring, __u64 hash)
{
	return LB_REGION_BASE(ring) + lb_ring_index(hash, LB_REGION_SIZE(ring));
}

/* The hash of a flow whose tuple was copied out of a packet: of the whole tuple, or with a
 * service_id of the fields that this service hashes. */
LB_NOINLINE __u64 tuple_hash(const struct lb_tuple *tuple, __u32 service_id)
{
	struct lb_service *service = service_of(service_id);

	if (!tuple || !service)
		return 0;
	return service_id ? lb_slot_hash(tuple, &settings.key, service)
			  : lb_flow_hash(tuple, &settings.key);
}

#endif
