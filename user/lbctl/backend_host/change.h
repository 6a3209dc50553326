/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes to the host of a backend that can be undone. Each kind has functions to make, unmake and
 * describe a change. */
#ifndef LBCTL_BACKEND_HOST_CHANGE_H
#define LBCTL_BACKEND_HOST_CHANGE_H

#include <jansson.h>
#include <net/if.h>

#include "record.h"

/* The setup of another interface, in the same network namespace. */
struct host_other {
	char interface[IF_NAMESIZE];
	struct host_record record;
};

struct host {
	const char *interface;
	unsigned ifindex; /* 0: no such interface (any more) */
	struct host_record record;
	unsigned changes; /* made or undone in this run */
	unsigned left;    /* not undone: changed since by someone else, or another needs it */
	int lock;         /* see share.h; -1: none */
	struct host_other *others;
	size_t others_count;
};

/* clang-format off */
/* Records the change, makes it, and prints it. Takes over change; NULL is -ENOMEM. accept, old and
 * new are as in accept.h. Kinds:
 *   { "kind": "sysctl", "path", "old", "new" }
 *   { "kind": "link", "name" }            the link is set up
 *   { "kind": "address", "address" }      the address is added to lo
 *   { "kind": "tunnel", "name", "type" }  the device is created
 *   { "kind": "proto", "name" }           the mode of an ip6tnl device, from ip6ip6 to any
 *   { "kind": "decap", "mode", "accept" } the decapsulator is attached
 *   { "kind": "accept", "old", "new" }    it accepts something else; "old": null: not known
 *   { "kind": "vip", "address" }          the decapsulator handles the VIP
 * On record only, with "shared": true: the setup of another interface made the change. */
/* clang-format on */
int host_change(struct host *host, json_t *change, struct error *err);
/* Undoes the recorded changes from index `from` on, last first; only those of the address vip
 * unless it is NULL. What someone else has changed since, and what another interface needs, is left
 * alone, and printed. 0, or the first error (the others are still tried, and what failed stays on
 * record). */
int host_undo(struct host *host, size_t from, const char *vip, struct error *err);

#endif
