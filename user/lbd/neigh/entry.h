/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's neighbour entries that next hops depend on: follows their state and verifies them.
 * One entry serves all addresses behind it. */
#ifndef LBD_NEIGH_ENTRY_H
#define LBD_NEIGH_ENTRY_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/rtnl.h"

enum entry_verdict {
	ENTRY_WAITING, /* asked, no result yet */
	ENTRY_ALIVE,
	ENTRY_DEAD,
};

struct target;
struct entry_table;

struct entry {
	LIST_ENTRY(entry) chain;
	struct entry_table *table;
	uint32_t ifindex;
	struct addr address;
	enum entry_verdict verdict;
	bool fixed; /* permanent, noarp or managed: needs no verification */
	bool known; /* mac is valid: it was alive and has not died since */
	struct rtnl_marks marks;
	uint8_t mac[6];
	int error; /* -errno of the last request to the kernel about it; 0: success */
	struct event timer;
	/* owned by neigh.c: the targets whose next hop it is */
	LIST_HEAD(entry_targets, target) targets;
};

/* Called from the loop when an entry's verdict, MAC or error has changed. */
typedef void entry_changed_fn(struct entry *entry);

/* NULL: out of memory. */
struct entry_table *entry_table_new(struct event_base *base, struct rtnl *rtnl,
				    entry_changed_fn *changed);
void entry_table_free(struct entry_table *table);
/* Returns the entry; a new one asks the kernel at once. NULL: out of memory. */
struct entry *entry_get(struct entry_table *table, uint32_t ifindex, const struct addr *address);
/* Frees the entry if it has no targets. NULL is allowed. */
void entry_put(struct entry *entry);
/* Handles a neighbour message of the kernel; gone: the kernel has deleted the entry. */
void entry_on_event(struct entry_table *table, const struct rtnl_neighbour *neighbour, bool gone);
/* For lost messages: asks about every entry, within GRACE_MS. */
void entry_table_refresh(struct entry_table *table);

#endif
