/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The source address of a probe. A VIP that is also an address of this host must not be it: the
 * backend has the same address on lo, and answers itself. The kernel prefers such an address where
 * it is the longest match (RFC 6724, rule 8). */
#ifndef LBD_HEALTH_SOURCE_H
#define LBD_HEALTH_SOURCE_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "failure.h"
#include "health.h"

/* An address of this host. */
struct source {
	struct addr address;
	char interface[IF_NAMESIZE];
	bool avoid; /* it is a VIP */
};

/* The best address in place of the one that the kernel would choose, which is list[kernel]: of the
 * same interface if possible, then the one with the longest common prefix with `to`. NULL: there is
 * none. Pure. */
const struct source *source_choose(const struct source *list, unsigned count, unsigned kernel,
				   const struct addr *to);

struct sources;

struct sources *sources_new(void);          /* NULL: out of memory */
void sources_free(struct sources *sources); /* NULL is allowed */
/* From now on these addresses, which are copied, are no sources. 0 or -ENOMEM: those of before
 * stay. */
int sources_avoid(struct sources *sources, const struct addr *addresses, unsigned count);
/* The address to bind a probe of `to` to; family 0: leave it to the kernel. -EADDRNOTAVAIL: the
 * kernel would choose a VIP, and there is no other; another -errno: this host lacks descriptors or
 * memory to know it; why says so. Costs little while no VIP is an address of this host. */
int sources_find(struct sources *sources, const struct addr *to, struct addr *ret,
		 char why[FAILURE_TEXT]);
/* Binds a socket to such an address, without a port: that is chosen with the connection. Gives it
 * the mark, unless that is 0. 0 or -1 with errno set. */
int source_set(int fd, const struct addr *source, uint32_t mark);
/* Whether only lbd can make the probe's socket: it gets an address or a mark, which takes rights,
 * or is not TCP. */
bool source_is_set(const struct health_probe_spec *spec);
/* A socket for the probe, with its source and mark. One of TCP sends RST when closed, so that no
 * probe leaves a port in TIME_WAIT. -1 with errno set. */
int source_socket(const struct health_probe_spec *spec);
/* Begins to connect it to the backend: 0, also while that goes on, or a positive errno. */
int source_connect(int fd, const struct health_probe_spec *spec);
/* What became of its connection: 0 or a positive errno. */
int source_error(int fd);

#endif
