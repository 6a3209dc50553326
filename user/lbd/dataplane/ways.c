/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the program asks about a reply's destination: is it this host, does it reach the reals past
 * the VIPs, and by which way is it sent (lb_abi.h, "replies"). */
#include "internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

/* ---- lists ---- */

static struct lb_prefix prefix_of(const struct addr *address, unsigned length)
{
	struct addr mask = {.family = address->family};
	struct lb_prefix prefix = {0};

	memset(mask.bytes, 0xff, addr_length(&mask));
	addr_clear_beyond(&mask, length);
	memcpy(prefix.addr, address->bytes, sizeof(prefix.addr));
	memcpy(prefix.mask, mask.bytes, sizeof(prefix.mask));
	return prefix;
}

/* The place after the one in use. */
static uint32_t next_place(uint32_t list4, uint32_t list6)
{
	uint32_t used = LB_LIST_PLACE(list4) > LB_LIST_PLACE(list6) ? LB_LIST_PLACE(list4)
								    : LB_LIST_PLACE(list6);

	return (used + 1) % LB_LIST_PLACES;
}

static uint32_t add_prefixes(struct lb_direct_list *list, uint32_t at, uint8_t family,
			     const struct dp_prefix *prefixes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (prefixes[i].address.family == family)
			list->prefix[at++] = prefix_of(&prefixes[i].address, prefixes[i].length);
	return at;
}

int dataplane_set_direct(struct dataplane *dp, const struct dp_prefix *prefixes, size_t count)
{
	struct lb_settings *settings = dp->maps.settings;
	uint32_t place = next_place(settings->direct4, settings->direct6), of_v4, all;
	struct lb_direct_list *list = &dp->maps.directs[place];

	if (count > LB_DIRECTS)
		return -ENOSPC;
	of_v4 = add_prefixes(list, 0, 4, prefixes, count);
	all = add_prefixes(list, of_v4, 6, prefixes, count);
	dp_store(&settings->direct4, of_v4 ? LB_LIST(place, 0, of_v4) : 0);
	dp_store(&settings->direct6, all > of_v4 ? LB_LIST(place, of_v4, all - of_v4) : 0);
	return 0;
}

static struct lb_hop hop_of(const struct neigh_way *way)
{
	struct lb_hop hop = {.prefix = prefix_of(&way->prefix, way->length)};

	if (!way->ready)
		return hop;
	memcpy(hop.dst_mac, way->hop.dst_mac, sizeof(hop.dst_mac));
	memcpy(hop.src_mac, way->hop.src_mac, sizeof(hop.src_mac));
	hop.vlan_tci = htons(way->hop.vlan_tci);
	hop.mtu = way->hop.mtu;
	hop.ifindex = way->hop.ifindex;
	hop.plain_mtu = hop.vlan_tci ? 0 : hop.mtu;
	return hop;
}

static uint32_t add_ways(struct dataplane *dp, struct lb_hop_list *list, uint32_t at,
			 uint8_t family, const struct neigh_way *ways, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ways[i].prefix.family != family)
			continue;
		/* a redirect must be possible before the program tries it; else the kernel sends */
		if (ways[i].ready)
			dataplane_add_egress(dp, ways[i].hop.ifindex);
		list->hop[at++] = hop_of(&ways[i]);
	}
	return at;
}

void dataplane_set_hops(struct dataplane *dp, const struct neigh_way *ways, size_t count)
{
	struct lb_settings *settings = dp->maps.settings;
	uint32_t place = next_place(settings->hops4, settings->hops6), of_v4, all;
	struct lb_hop_list *list = &dp->maps.hops[place];

	if (count > LB_HOPS)
		count = 0;
	of_v4 = add_ways(dp, list, 0, 4, ways, count);
	all = add_ways(dp, list, of_v4, 6, ways, count);
	dp_store(&settings->hops4, LB_LIST(place, 0, of_v4));
	dp_store(&settings->hops6, LB_LIST(place, of_v4, all - of_v4));
}

/* ---- the addresses of this host ---- */

static bool is_listed(const struct lb_path_key *key, const struct addr *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct lb_path_key other = dp_address_key(&addresses[i]);

		if (!memcmp(key, &other, sizeof(other)))
			return true;
	}
	return false;
}

/* Removes what is not in the list. */
static void remove_others(const struct dataplane *dp, const struct addr *addresses, size_t count)
{
	struct lb_path_key key, next;
	bool more = !bpf_map_get_next_key(dp->locals_fd, NULL, &key);

	while (more) {
		more = !bpf_map_get_next_key(dp->locals_fd, &key, &next);
		if (!is_listed(&key, addresses, count))
			bpf_map_delete_elem(dp->locals_fd, &key);
		key = next;
	}
}

/* At every moment what is in both lists is found: an element is there before its bit is, and a bit
 * goes before the element does. */
int dataplane_set_local(struct dataplane *dp, const struct addr *addresses, size_t count)
{
	uint64_t bits[LB_ADDRESS_BITS / 64] = {0};
	const __u32 one = 1;
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		const struct lb_path_key key = dp_address_key(&addresses[i]);

		dp_set_address_bit(bits, key.addr);
		if (dp->locals_fd >= 0 && bpf_map_update_elem(dp->locals_fd, &key, &one, BPF_ANY))
			rc = -errno;
	}
	for (unsigned i = 0; i < LB_ADDRESS_BITS / 64; i++)
		dp_update(&dp->maps.settings->local[i], bits[i]);
	if (dp->locals_fd >= 0)
		remove_others(dp, addresses, count);
	return rc;
}

void dataplane_set_unfinished(struct dataplane *dp, bool possible)
{
	dp_update(&dp->maps.settings->finished, (uint8_t)!possible);
}
