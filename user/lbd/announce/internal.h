/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this room. */
#ifndef LBD_ANNOUNCE_INTERNAL_H
#define LBD_ANNOUNCE_INTERNAL_H

#include "common/netlink.h"
#include "lbd/events/events.h"
#include "announce.h"

/* ---- decide.c: pure ---- */

struct node_facts {
	const char
	    *detached; /* why no packet can come in: no interface, no carrier; NULL: they can */
	bool opened;   /* since lbd's start, every service has had its first results */
	const char *syncing; /* what it waits for from its peers; NULL: nothing */
	struct node_order order;
};

/* What the services say together. */
struct node_tally {
	unsigned services, unopened, blind;
	unsigned up; /* backends of services that are open and not blind */
	unsigned vips, usable;
};

/* What vips_collect found the last time; none at the start. */
struct vips_before {
	const struct announce_vip *vips;
	unsigned count;
};

/* The VIPs of the services by address, each once. 0 with *ret to be freed, or -ENOMEM. */
int vips_collect(struct service *const *services, unsigned count,
		 const struct config_announce *config, const struct vips_before *before,
		 struct announce_vip **ret, struct node_tally *ret_tally);
/* By address, among those of vips_collect; NULL: it is none of them. */
struct announce_vip *vips_find(const struct announce_vip *vips, unsigned count,
			       const struct addr *address);
/* why: for users; "" where the state says all. */
enum node_state node_decide(const struct node_facts *facts, const struct node_tally *tally,
			    char why[ANNOUNCE_WHY]);
/* What keepalived is to add to its priority. A node that is blind or withdrawn is worse than one
 * that drains. */
int node_priority(enum node_state state);

/* ---- routes.c ---- */

/* Those of one table that have lbd's protocol. */
struct route_set {
	uint32_t table;
	uint8_t protocol;
};

/* Makes the routes of the set those to the VIPs that are `wanted`, with this metric. What is new is
 * added before what is old is removed, so that a route whose metric changes is never missing. Sets
 * `announced` of each VIP. vips: by address; wanted: for each of them. 0, or -errno of the first
 * request that failed, with err naming it; the others are still made. */
int routes_apply(struct netlink *netlink, const struct route_set *set, struct announce_vip *vips,
		 const bool *wanted, unsigned count, uint32_t metric, struct error *err);
/* Sets `announced` of each VIP that has a route of the set, whatever its metric. */
int routes_look(struct netlink *netlink, const struct route_set *set, struct announce_vip *vips,
		unsigned count, struct error *err);
/* Removes all routes of the set. Their number in *ret_count. */
int routes_withdraw(struct netlink *netlink, const struct route_set *set, unsigned *ret_count,
		    struct error *err);
int routes_open(struct netlink *netlink, struct error *err);

/* ---- record.c: files that outlive lbd ---- */

struct announce_record {
	struct route_set set;
	char *file; /* for keepalived; NULL: none */
};

/* -ENOENT without a sentence in err: there is none. */
int announce_record_read(const char *path, struct announce_record *ret, struct error *err);
int announce_record_write(const char *path, const struct announce_record *record,
			  struct error *err);
void announce_record_done(struct announce_record *record);
/* Writes the number for keepalived. */
int priority_write(const char *path, int priority, struct error *err);

#endif
