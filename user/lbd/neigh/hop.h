/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From what the kernel said about route, link and neighbour to a next hop, or to the sentence
 * that says why there is none. Pure. */
#ifndef LBD_NEIGH_HOP_H
#define LBD_NEIGH_HOP_H

#include "common/rtnl.h"
#include "entry.h"
#include "neigh.h"

#define HOP_WHY 256

enum hop_verdict {
	HOP_READY,
	HOP_NONE,
	HOP_WAIT, /* not known yet: what was told before stays in force */
};

struct hop_facts {
	int route_error; /* -errno of the route request; 0: the fields below hold */
	struct rtnl_route route;
	const struct rtnl_link *link;  /* the route's; NULL: none */
	const struct rtnl_link *lower; /* below link when that is a VLAN; NULL: none */
	const struct entry *entry;     /* NULL: no neighbour is asked for on this link */
	const struct rtnl_link *last;  /* link of the route it had before; NULL: none */
};

/* Whether link (with lower, if it is a VLAN) can carry forwarded packets; if not, false and why. */
bool hop_link_usable(const struct rtnl_link *link, const struct rtnl_link *lower,
		     char why[HOP_WHY]);
/* Fills ret_hop (HOP_READY) or why (HOP_NONE). */
enum hop_verdict hop_decide(const struct hop_facts *facts, struct next_hop *ret_hop,
			    char why[HOP_WHY]);

#endif
