/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Computes a next hop from the state of route, link and neighbour, or the reason why there is none.
 * Pure. */
#ifndef LBD_NEIGH_HOP_H
#define LBD_NEIGH_HOP_H

#include "common/rtnl.h"
#include "entry.h"
#include "neigh.h"

#define HOP_WHY 256

enum hop_verdict {
	HOP_READY,
	HOP_NONE,
	HOP_WAIT, /* not known yet: the previous result stays */
};

struct hop_facts {
	int route_error; /* -errno of the route request; 0: the fields below hold */
	struct rtnl_route route;
	const struct rtnl_link *link;  /* of the route; NULL: none */
	const struct rtnl_link *lower; /* below link if that is a VLAN; NULL: none */
	const struct entry *entry;     /* NULL: none is needed, or out of memory */
	const struct rtnl_link *last;  /* of the last route there was; NULL: none */
};

/* Whether link (over lower, if it is a VLAN) can carry forwarded packets. False: why is the
 * reason. */
bool hop_link_usable(const struct rtnl_link *link, const struct rtnl_link *lower,
		     char why[HOP_WHY]);
/* Fills ret_hop (HOP_READY) or why (HOP_NONE). */
enum hop_verdict hop_decide(const struct hop_facts *facts, struct next_hop *ret_hop,
			    char why[HOP_WHY]);

#endif
