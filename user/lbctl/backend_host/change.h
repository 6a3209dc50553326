/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes to a backend's host that can be taken back: each kind knows how to make, unmake and
 * describe itself. */
#ifndef LBCTL_BACKEND_HOST_CHANGE_H
#define LBCTL_BACKEND_HOST_CHANGE_H

#include <jansson.h>

#include "record.h"

struct host {
	const char *interface;
	unsigned ifindex; /* 0: there is no such interface (any more) */
	struct host_record record;
	unsigned changes; /* made or taken back in this run */
	unsigned left;    /* not taken back, for somebody else changed it since */
};

/* Records the change, makes it, and says so on stdout. Takes over change, NULL is out of memory.
 * Kinds: { "kind": "sysctl", "path", "old", "new" }      { "kind": "link", "name" }: set up {
 * "kind": "address", "address" }: on lo          { "kind": "tunnel", "name", "type" }: a device
 * that is made { "kind": "decap", "mode" }: attached            { "kind": "vip", "address" }: taken
 * by the decapsulator { "kind": "proto", "name" }: of an ip6tnl device, from ip6ip6 to any */
int host_change(struct host *host, json_t *change, struct error *err);
/* Takes back what was recorded from this place on, last first; only that of one address unless vip
 * is NULL. What somebody else changed since is left alone, and said. 0, or the first error (the
 * rest is tried, and what failed stays on record). */
int host_undo(struct host *host, size_t from, const char *vip, struct error *err);

#endif
