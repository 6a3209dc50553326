/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Computes a next hop from route, link and neighbour, or the reason why there is none. */
#include "hop.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

static enum hop_verdict none(char why[HOP_WHY], const char *text)
{
	snprintf(why, HOP_WHY, "%s", text);
	return HOP_NONE;
}

static enum hop_verdict no_route(const struct hop_facts *facts, char why[HOP_WHY])
{
	switch (facts->route_error) {
	case -ENETUNREACH:
		/* the kernel removes the routes of a link that goes down */
		if (facts->last && !facts->last->up) {
			snprintf(why, HOP_WHY, "link %s is down", facts->last->name);
			return HOP_NONE;
		}
		return none(why, "no route");
	case -EHOSTUNREACH:
		return none(why, "no route: the matching one is of type unreachable");
	case -EACCES:
		return none(why, "no route: the matching one is of type prohibit");
	case -EINVAL:
		return none(why, "no route: the matching one is of type blackhole");
	default:
		snprintf(why, HOP_WHY, "asking the kernel for the route: %s",
			 strerror(-facts->route_error));
		return HOP_NONE;
	}
}

#define ENCAPSULATES "its route encapsulates packets (encap): not supported"

static const char *route_problem(const struct rtnl_route *route)
{
	switch (route->type) {
	case RTN_UNICAST:
		return route->encapsulates ? ENCAPSULATES : NULL;
	case RTN_LOCAL:
		return "is an address of this host";
	case RTN_BROADCAST:
		return "is a broadcast address";
	case RTN_ANYCAST:
		return "is an anycast address of this host";
	case RTN_MULTICAST:
		return "is a multicast address";
	default:
		return "no route: the matching one is not unicast";
	}
}

bool hop_link_usable(const struct rtnl_link *link, const struct rtnl_link *lower, char why[HOP_WHY])
{
	const struct rtnl_link *out = link->vlan ? lower : link;

	if (!link->up)
		snprintf(why, HOP_WHY, "link %s is down", link->name);
	else if (!link->carrier)
		snprintf(why, HOP_WHY, "link %s has no carrier", link->name);
	else if (!link->ethernet)
		snprintf(why, HOP_WHY,
			 "link %s is not Ethernet: forwarding through it is not supported",
			 link->name);
	else if (link->vlan && (link->vlan_elsewhere || !lower))
		snprintf(
		    why, HOP_WHY,
		    "link %s is a VLAN of a device in another network namespace: not supported",
		    link->name);
	else if (link->vlan && lower->vlan)
		snprintf(why, HOP_WHY, "link %s is a VLAN inside VLAN %s: not supported",
			 link->name, lower->name);
	else if (link->vlan && link->vlan_protocol != ETH_P_8021Q)
		snprintf(why, HOP_WHY, "link %s is an 802.1ad VLAN: only 802.1Q is supported",
			 link->name);
	else if (!out->ethernet)
		snprintf(why, HOP_WHY, "link %s, below %s, is not Ethernet: not supported",
			 out->name, link->name);
	else
		return true;
	return false;
}

static enum hop_verdict no_answer(const struct hop_facts *facts, char why[HOP_WHY])
{
	const struct entry *entry = facts->entry;
	char address[ADDR_TEXT];

	addr_format(&entry->address, address);
	if (entry->error == -ENOBUFS)
		snprintf(
		    why, HOP_WHY,
		    "the kernel's neighbour table is full (raise net.%s.neigh.default.gc_thresh3)",
		    entry->address.family == 4 ? "ipv4" : "ipv6");
	else if (entry->error)
		snprintf(why, HOP_WHY, "asking the kernel to resolve %s on %s: %s", address,
			 facts->link->name, strerror(-entry->error));
	else
		snprintf(why, HOP_WHY, "no answer to %s on %s (%s%s)",
			 entry->address.family == 4 ? "ARP" : "neighbour discovery",
			 facts->link->name, facts->route.gateway.family ? "gateway " : "", address);
	return HOP_NONE;
}

static uint16_t mtu_of(const struct rtnl_route *route, const struct rtnl_link *link)
{
	uint32_t mtu = route->mtu && route->mtu < link->mtu ? route->mtu : link->mtu;

	return mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu;
}

enum hop_verdict hop_decide(const struct hop_facts *facts, struct next_hop *ret_hop,
			    char why[HOP_WHY])
{
	const struct rtnl_link *link = facts->link;

	if (facts->route_error)
		return no_route(facts, why);
	if (route_problem(&facts->route))
		return none(why, route_problem(&facts->route));
	if (!link)
		return none(why, "no route: its link is gone");
	if (!hop_link_usable(link, facts->lower, why))
		return HOP_NONE;
	if (!facts->entry)
		return none(why, "out of memory");
	if (facts->entry->verdict == ENTRY_WAITING)
		return HOP_WAIT;
	if (facts->entry->verdict == ENTRY_DEAD)
		return no_answer(facts, why);
	*ret_hop = (struct next_hop){
	    .ifindex = link->vlan ? link->lower : link->ifindex,
	    .vlan_tci = link->vlan ? link->vlan_id : 0,
	    .mtu = mtu_of(&facts->route, link),
	    .source = facts->route.source,
	    .gateway = facts->route.gateway,
	};
	memcpy(ret_hop->src_mac, link->mac, 6);
	memcpy(ret_hop->dst_mac, facts->entry->mac, 6);
	return HOP_READY;
}
