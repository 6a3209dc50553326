/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The interfaces of this host, from the kernel's messages. */
#ifndef LBD_NEIGH_LINK_H
#define LBD_NEIGH_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rtnl.h"

struct link_table;

enum link_change {
	LINK_SAME,
	LINK_OTHER, /* MTU, up, carrier, VLAN */
	LINK_SEEN,  /* new, or another name, MAC address or master */
	LINK_GONE,
};

/* Called for each interface that changed. LINK_GONE: link is its last state. */
typedef void link_changed_fn(void *arg, enum link_change change, const struct rtnl_link *link);

struct link_table *link_table_new(link_changed_fn *changed, void *arg); /* NULL: out of memory */
void link_table_free(struct link_table *table);
/* NULL: there is none. */
const struct rtnl_link *link_find(const struct link_table *table, uint32_t ifindex);
/* 0 or -ENOMEM. */
int link_put(struct link_table *table, const struct rtnl_link *link);
/* Calls found for each MAC address for which the kernel accepts unicast frames that arrive on the
 * interface: its own first, then those of the VLAN, macvlan, bond and bridge devices on it, also
 * through several. */
void link_macs(const struct link_table *table, uint32_t ifindex,
	       void (*found)(void *arg, const uint8_t mac[6]), void *arg);
/* Calls found for each port of a bond, team or bridge. */
void link_ports(const struct link_table *table, uint32_t master,
		void (*found)(void *arg, uint32_t ifindex), void *arg);
void link_delete(struct link_table *table, uint32_t ifindex);
/* Reads all interfaces from the kernel and reports the changes. 0 or -errno. */
int link_table_read(struct link_table *table, struct rtnl *rtnl);

#endif
