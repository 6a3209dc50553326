/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Map `links`: the MAC addresses for which frames are this host's, for each interface. */
#include "internal.h"

#include <errno.h>
#include <string.h>

static uint64_t mac_word(const uint8_t mac[6])
{
	uint64_t word = 0;

	memcpy(&word, mac, 6);
	return word;
}

static struct lb_link *link_with_room(struct lb_link plan[LB_LINKS], uint32_t ifindex)
{
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (plan[i].ifindex == ifindex && !plan[i].mac[LB_LINK_MACS - 1])
			return &plan[i];
	return NULL;
}

/* An empty element. Where the interface already is, so that it need not move under its packets;
 * else its own place or the next that is free. NULL: all are in use. */
static struct lb_link *link_take(const struct dataplane *dp, struct lb_link plan[LB_LINKS],
				 uint32_t ifindex)
{
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (dp->maps.links[i].ifindex == ifindex && !plan[i].ifindex)
			return &plan[i];
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (!plan[(ifindex + i) % LB_LINKS].ifindex)
			return &plan[(ifindex + i) % LB_LINKS];
	return NULL;
}

static bool link_has(const struct lb_link plan[LB_LINKS], const struct dp_mac *mac)
{
	for (unsigned i = 0; i < LB_LINKS; i++)
		for (unsigned j = 0; plan[i].ifindex == mac->ifindex && j < LB_LINK_MACS; j++)
			if (plan[i].mac[j] == mac_word(mac->mac))
				return true;
	return false;
}

static bool link_add(const struct dataplane *dp, struct lb_link plan[LB_LINKS],
		     const struct dp_mac *mac)
{
	struct lb_link *link = link_with_room(plan, mac->ifindex);
	unsigned i = 0;

	if (link_has(plan, mac))
		return true;
	if (!link)
		link = link_take(dp, plan, mac->ifindex);
	if (!link)
		return false;
	link->ifindex = mac->ifindex;
	while (link->mac[i])
		i++;
	link->mac[i] = mac_word(mac->mac);
	return true;
}

/* With only some of its addresses an interface would lose the packets to the others. */
static void link_remove(struct lb_link plan[LB_LINKS], uint32_t ifindex)
{
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (plan[i].ifindex == ifindex)
			plan[i] = (struct lb_link){0};
}

/* The ifindex says whose addresses they are: while they change hands there is none. */
static void link_store(struct lb_link *at, const struct lb_link *link)
{
	if (at->ifindex != link->ifindex)
		dp_update(&at->ifindex, 0);
	for (unsigned i = 0; i < LB_LINK_MACS; i++)
		dp_update(&at->mac[i], link->mac[i]);
	dp_update(&at->ifindex, link->ifindex);
}

/* The first address of the list if that is about one interface. */
static uint64_t sole_mac(const struct dp_mac *macs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (macs[i].ifindex != macs[0].ifindex)
			return LB_MAC_NONE;
	return count ? mac_word(macs[0].mac) : LB_MAC_NONE;
}

static bool is_listed(const uint32_t *list, unsigned count, uint32_t ifindex)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i] == ifindex)
			return true;
	return false;
}

int dataplane_set_macs(struct dataplane *dp, const struct dp_mac *macs, size_t count)
{
	struct lb_link plan[LB_LINKS] = {0};
	uint32_t failed[LB_LINKS];
	unsigned failures = 0;
	int rc = 0;

	for (size_t i = 0; i < count && failures < LB_LINKS; i++)
		if (!is_listed(failed, failures, macs[i].ifindex) &&
		    !link_add(dp, plan, &macs[i])) {
			link_remove(plan, macs[i].ifindex);
			failed[failures++] = macs[i].ifindex;
			rc = -ENOSPC;
		}
	dp_update(&dp->maps.settings->own_mac, sole_mac(macs, count));
	/* those that are in use first: an interface that gets more addresses must not be without */
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (plan[i].ifindex)
			link_store(&dp->maps.links[i], &plan[i]);
	for (unsigned i = 0; i < LB_LINKS; i++)
		if (!plan[i].ifindex)
			link_store(&dp->maps.links[i], &plan[i]);
	return rc;
}
