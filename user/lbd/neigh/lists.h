/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two lists for the data plane, kept as the kernel has them: the routes of the main table with
 * their next hops, and the addresses of this host. */
#ifndef LBD_NEIGH_LISTS_H
#define LBD_NEIGH_LISTS_H

#include "common/rtnl.h"
#include "neigh.h"

struct neigh_lists;

/* NULL: out of memory. */
struct neigh_lists *lists_new(struct neigh *neigh);
void lists_free(struct neigh_lists *lists);
int lists_on_ways(struct neigh_lists *lists, size_t most, neigh_ways_fn *changed, void *arg);
int lists_on_local(struct neigh_lists *lists, struct rtnl *rtnl, neigh_local_fn *changed,
		   void *arg);
/* Both are to be read again. */
void lists_lost(struct neigh_lists *lists);
/* A route has changed. True: the list is to be read again soon. With a routing daemon's hundreds of
 * thousands it is not read at all. */
bool lists_on_route(struct neigh_lists *lists);
/* Reads what is to be read, and reports what has changed. False: the kernel did not answer. */
bool lists_work(struct neigh_lists *lists, struct rtnl *rtnl);

/* neigh.c: neigh_watch for a route that is given; NULL: the kernel's. */
struct neigh_watch *neigh_watch_route(struct neigh *neigh, const struct addr *address,
				      const struct rtnl_route *route, neigh_changed_fn *changed,
				      void *arg);

#endif
