/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an lbd that has ended left on this host: programs that forward without health checks, and
 * the pins that hold them. Takes it off. Works on the kernel, without lbd. */
#ifndef LBCTL_OFFLINE_H
#define LBCTL_OFFLINE_H

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct offline_program {
	char interface[IF_NAMESIZE];
	uint32_t ifindex; /* 0: the interface is gone */
	uint32_t program_id;
	bool elsewhere;      /* the interface is in another network namespace, or gone */
	char path[PATH_MAX]; /* of its link; "": in libxdp's dispatcher */
};

/* A directory of pins. */
struct offline {
	char pin[PATH_MAX];
	int lock;
	struct offline_program *list;
	unsigned count, found; /* still there; at first: what was left out is behind the others */
};

/* lock: keeps an lbd from starting on it until offline_close; needed to change something. 0;
 * -ENOENT: no such directory (err untouched); -EBUSY: an lbd runs, err has its pid; or -errno. */
int offline_open(const char *pin, bool lock, struct offline *ret, struct error *err);
void offline_close(struct offline *offline);
/* Takes one program off its interface, and out of the list. */
int offline_detach(struct offline *offline, unsigned number, struct error *err);
/* Takes one out of the list alone. */
void offline_leave_out(struct offline *offline, unsigned number);
/* The *ret_user of offline_unpin if what is left out of the list were taken off. */
uint32_t offline_user(const struct offline *offline);
/* When no program is left: removes the pinned maps and the directory. *ret: they were removed.
 * *ret_user: they were not, as this program still uses the maps, which no link here shows: in a
 * dispatcher of another network namespace; else 0. */
int offline_unpin(struct offline *offline, bool *ret, uint32_t *ret_user, struct error *err);

/* ---- dispatcher.c ---- */

/* Calls fn for each program in a dispatcher of this network namespace that uses this map. */
void dispatcher_each(uint32_t settings_id,
		     void (*fn)(void *arg, const char *interface, uint32_t ifindex, uint32_t id),
		     void *arg);
/* Takes one program out of the dispatcher, which goes with its last. 0 or -errno. */
int dispatcher_remove(uint32_t ifindex, uint32_t program_id);

/* ---- filters.c ---- */

/* Removes the tc program of health checks to a VIP from every interface of this network namespace.
 * For when no lbd is left on this host. */
void filters_remove(void);

/* ---- offloads.c ---- */

/* Turns on the receive offloads that lbd turned off for this interface, as SOCKET.offloads.json
 * lists them, and takes them off the list. */
void offloads_turn_on(const char *socket, uint32_t ifindex, bool print);

#endif
