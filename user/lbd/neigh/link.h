/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The interfaces of this host, as the kernel last told. */
#ifndef LBD_NEIGH_LINK_H
#define LBD_NEIGH_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rtnl.h"

struct link_table;

enum link_change {
	LINK_SAME,
	LINK_OTHER, /* MTU, up, carrier, VLAN */
	LINK_SEEN,  /* new, or another name or MAC: what neigh_on_link tells of */
	LINK_GONE,
};

/* Called for each interface that changed, with its name (the last one when it is gone). */
typedef void link_changed_fn(void *arg, enum link_change change, const struct rtnl_link *link);

struct link_table *link_table_new(link_changed_fn *changed, void *arg); /* NULL: out of memory */
void link_table_free(struct link_table *table);
/* NULL: there is none. */
const struct rtnl_link *link_find(const struct link_table *table, uint32_t ifindex);
/* 0 or -ENOMEM. */
int link_put(struct link_table *table, const struct rtnl_link *link);
void link_delete(struct link_table *table, uint32_t ifindex);
/* Asks the kernel for all of them, and tells what differs. 0 or -errno. */
int link_table_read(struct link_table *table, struct rtnl *rtnl);

#endif
