/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rtnetlink: messages read into structs, and requests, one at a time. */
#ifndef LBD_RTNL_H
#define LBD_RTNL_H

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

struct rtnl_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	bool ethernet; /* has a 6-byte MAC address; false for tunnels, tun, ppp */
	bool up;       /* administratively */
	bool carrier;
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t master; /* ifindex of the bond or bridge that it is a port of; 0: none */
	bool macvlan;    /* takes its frames from the device below by their MAC address */
	bool vlan;       /* the fields below hold for a VLAN only, but for lower and elsewhere */
	bool vlan_elsewhere; /* the device below is in another network namespace */
	uint16_t vlan_id;
	uint16_t vlan_protocol; /* ETH_P_8021Q or ETH_P_8021AD */
	uint32_t lower;         /* ifindex of the device below */
};

struct rtnl_route {
	uint8_t type;        /* RTN_UNICAST, RTN_LOCAL, ... */
	uint32_t ifindex;    /* of the egress; 0: none */
	struct addr gateway; /* family 0: on the link. May be IPv6 for an IPv4 destination */
	struct addr source;
	uint32_t mtu;      /* of the route; 0: the link's */
	bool encapsulates; /* puts headers of its own on packets: ip route ... encap */
};

/* What a neighbour entry has from the program that made it. A request about the entry that does not
 * repeat it takes it away. */
struct rtnl_marks {
	bool learned; /* extern_learn: the kernel does not collect it */
	bool managed; /* the kernel itself keeps it verified */
};

struct rtnl_neighbour {
	uint32_t ifindex;
	struct addr address;
	uint16_t state; /* NUD_* */
	struct rtnl_marks marks;
	bool has_mac;
	uint8_t mac[6];
};

/* The destinations of a route message. */
struct rtnl_prefix {
	struct addr address; /* family is always set */
	unsigned length;
};

/* A route of a table. */
struct rtnl_way {
	struct rtnl_prefix prefix;
	struct rtnl_route route;
	uint32_t metric;
	bool plain; /* for all packets to the prefix, with one next hop, and nothing else to do */
};

/* ---- messages. False: another kind of message; *ret is undefined then ---- */

bool rtnl_read_link(const struct nlmsghdr *message, struct rtnl_link *ret);
bool rtnl_read_route(const struct nlmsghdr *message, struct rtnl_route *ret);
bool rtnl_read_prefix(const struct nlmsghdr *message, struct rtnl_prefix *ret);
bool rtnl_read_neighbour(const struct nlmsghdr *message, struct rtnl_neighbour *ret);

/* ---- requests: 0 or -errno; the kernel answers at once, -ETIMEDOUT after a second ---- */

struct rtnl;

int rtnl_open(struct rtnl **ret);
void rtnl_close(struct rtnl *rtnl);
/* Calls link for each interface. -EINTR: they changed meanwhile, ask again. */
int rtnl_links(struct rtnl *rtnl, void (*link)(void *arg, const struct rtnl_link *link), void *arg);
/* One interface. -ENODEV: there is none. */
int rtnl_link(struct rtnl *rtnl, uint32_t ifindex, struct rtnl_link *ret);
/* The route of this host to address: one next hop, also of a multipath route. -ENETUNREACH: no
 * route. */
int rtnl_route(struct rtnl *rtnl, const struct addr *address, struct rtnl_route *ret);
/* Calls way for each route of the main table; family: 4 or 6. -EINTR: they changed meanwhile, ask
 * again. */
int rtnl_ways(struct rtnl *rtnl, uint8_t family, void (*way)(void *arg, const struct rtnl_way *way),
	      void *arg);
/* Whether there are policy rules beside those that every host has. */
int rtnl_has_rules(struct rtnl *rtnl, uint8_t family, bool *ret);
/* Calls address for each address of every interface. -EINTR: as above. */
int rtnl_addresses(struct rtnl *rtnl, void (*address)(void *arg, const struct addr *address),
		   void *arg);
/* -ENOENT: the kernel has no such entry. */
int rtnl_neighbour(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address,
		   struct rtnl_neighbour *ret);
/* As if a packet were to be sent: creates the entry, and sends ARP or ND if the MAC is not known.
 * Not for entries that are permanent or noarp: they would lose that. */
int rtnl_solicit(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address,
		 struct rtnl_marks marks);
/* Verifies a valid entry now: its MAC stays in use while unicast probes are sent, and the entry
 * fails after the third without an answer. Not for permanent, noarp or managed ones. */
int rtnl_verify(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address, bool learned);

#endif
