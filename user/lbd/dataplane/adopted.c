/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The backends that a takeover found in the maps, for the rest of lbd. */
#include "internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* The next hop that backends_publish wrote. */
static struct next_hop hop_of(const struct lb_backend *line)
{
	struct next_hop hop = {
	    .ifindex = line->ifindex, .vlan_tci = ntohs(line->vlan_tci), .mtu = line->link_mtu};

	memcpy(hop.src_mac, line->src_mac, sizeof(hop.src_mac));
	memcpy(hop.dst_mac, line->dst_mac, sizeof(hop.dst_mac));
	return hop;
}

uint32_t dataplane_backends_most(const struct dataplane *dp)
{
	return dp->maps.backend_slots - 1;
}

unsigned dataplane_adopted_backends(const struct dataplane *dp, const struct dp_service *key,
				    struct dp_backend **ret)
{
	const struct record *record = dp_find(dp, key);
	struct dp_backend *list;

	*ret = NULL;
	if (!record || !record->adopted || !record->count)
		return 0;
	list = calloc(record->count, sizeof(*list));
	if (!list)
		return 0;
	for (unsigned i = 0; i < record->count; i++) {
		const struct member *member = &record->members[i];

		list[i].address = member->want.address;
		list[i].usable = member->want.usable;
		list[i].port = member->want.port;
		list[i].weight = dp->slots_of[member->id];
		list[i].hop = hop_of(&dp->maps.backends[member->id]);
	}
	*ret = list;
	return record->count;
}
