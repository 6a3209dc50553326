/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows routes and neighbours through rtnetlink (libmnl) and keeps the next hop of every watched
 * address up to date. One netlink socket for events and one for requests, both on the event
 * loop. */
#ifndef LBD_NEIGH_H
#define LBD_NEIGH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"

struct next_hop {
	/* of the egress device; if the route's device is a VLAN, of the device below */
	uint32_t ifindex;
	uint16_t vlan_tci; /* host order; 0: untagged */
	uint16_t mtu;      /* of the route or link: bytes of an IP packet, at most 65535 */
	uint8_t src_mac[6], dst_mac[6];
	struct addr source;  /* the source address that the kernel would choose */
	struct addr gateway; /* that packets go to first; family 0: the address is on the link */
};

bool next_hop_equal(const struct next_hop *a, const struct next_hop *b);

struct neigh;
struct neigh_watch;

/* Called from the loop whenever the next hop of a watched address appears, changes or disappears.
 * hop is NULL if there is none; why is the reason then: "no route", "no answer to ARP on eth1
 * (192.0.2.1)", "link eth1 is down". */
typedef void neigh_changed_fn(void *arg, const struct addr *address, const struct next_hop *hop,
			      const char *why);

/* 0, or -errno with err set. */
int neigh_new(struct event_base *base, struct neigh **ret, struct error *err);
void neigh_free(struct neigh *neigh);
/* Starts a watch. The callback is called later from the loop, at least once. An address may have
 * several watches. NULL: out of memory. */
struct neigh_watch *neigh_watch(struct neigh *neigh, const struct addr *address,
				neigh_changed_fn *changed, void *arg);
void neigh_unwatch(struct neigh_watch *watch);
/* Called whenever an interface appears, disappears, is renamed or changes its MAC address or
 * master. */
typedef void neigh_link_fn(void *arg, uint32_t ifindex, const char *name, bool present);
void neigh_on_link(struct neigh *neigh, neigh_link_fn *changed, void *arg);
/* Calls found for each MAC address for which the kernel accepts unicast frames on an interface: its
 * own first, then those of devices on it. If it is a bond or bridge, frames come in on its ports:
 * native XDP runs there, and sees the port's ifindex; generic XDP runs on the bond, and sees frames
 * for the MAC address of a port too. */
typedef void neigh_mac_fn(void *arg, uint32_t ifindex, const uint8_t mac[6]);
void neigh_macs(const struct neigh *neigh, uint32_t ifindex, bool native, neigh_mac_fn *found,
		void *arg);

/* A route of the main table by which packets leave. */
struct neigh_way {
	struct addr prefix;
	uint8_t length;
	/* its next hop; false: the kernel is to be asked for each packet, as the destinations are
	 * on the link, there are several hops, or the gateway does not answer */
	bool ready;
	struct next_hop hop;
};

/* Called from the loop, at least once and after each change, with all routes of both families, most
 * specific first: the whole list. It is empty if they do not say where a packet goes (policy
 * rules), or there are more than `most`. changed NULL: no more calls. */
typedef void neigh_ways_fn(void *arg, const struct neigh_way *ways, size_t count);
/* 0 or -errno. */
int neigh_on_ways(struct neigh *neigh, size_t most, neigh_ways_fn *changed, void *arg);
/* The same with the addresses of this host, of all interfaces. The first call comes before this
 * returns. */
typedef void neigh_local_fn(void *arg, const struct addr *addresses, size_t count);
int neigh_on_local(struct neigh *neigh, neigh_local_fn *changed, void *arg);

#endif
