/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reals in use: of services with `forward: nat`, the address, protocol and port of each backend. A
 * reply names nothing else, so a real is of one service, also for as long as replies to the clients
 * of a service that it leaves may come. */
#ifndef LBD_REALS_H
#define LBD_REALS_H

#include <stdbool.h>

#include "common/error.h"
#include "common/lookup.h"
#include "lbd/config/config.h"

struct world;

struct real {
	const struct config_service *service;
	struct addr address;
	uint16_t port; /* 0: any */
	bool leaves;   /* its backend has been removed, and drains */
};

struct reals {
	struct real *list;
	unsigned count, size;
	struct lookup lookup; /* by protocol and address */
};

/* Those of the world; other services stay as they are. 0 or -ENOMEM. */
int reals_of_world(const struct world *world, struct reals *ret);
void reals_done(struct reals *reals);
/* Adds a backend of the service. 0, also if it is there (then even if another service has it too,
 * as an earlier lbd may leave it) or the service is no NAT; -ENOMEM; -EINVAL: another service has
 * the real, and the end of a sentence that begins with the address is in err. */
int reals_admit(struct reals *reals, const struct config_service *service,
		const struct addr *address, uint16_t port, struct error *err);
/* Does a real of the next world belong to another service there, or in the present one? -EINVAL, a
 * sentence with both names in err; 0 or -ENOMEM. What an earlier lbd left behind does not count: it
 * would keep this one from its start. */
int reals_check_world(const struct world *present, const struct world *next, struct error *err);
/* The same of the backends that a config names. */
int reals_check_config(const struct world *present, const struct config *config, struct error *err);

#endif
