/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds services and backends of a config, in a time that does not grow with it: for who looks for
 * many. Who looks for one takes config_find_*. */
#ifndef LBD_CONFIG_INDEX_H
#define LBD_CONFIG_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "common/lookup.h"

struct config;
struct config_service;
struct config_backend;

/* Of a config that does not change meanwhile. */
struct config_index {
	const struct config *config;
	/* Of services: by name, by VIP, protocol and port, and the first of each VIP. Of backends,
	 * in the order of the config: by service and address, by service and name; of services
	 * with `forward: nat`: by protocol and address of each backend. */
	struct lookup names, keys, vips, backends, tags, reals;
	unsigned *first; /* of each service: the number of its first backend */
};

/* 0 or -ENOMEM. */
int config_index_make(const struct config *config, struct config_index *ret);
void config_index_done(struct config_index *index);

const struct config_service *config_index_name(const struct config_index *index, const char *name);
/* With the same VIP, protocol and port. */
const struct config_service *config_index_same(const struct config_index *index,
					       const struct addr *vip, uint8_t protocol,
					       uint16_t port);
/* service: of this config; NULL has no backends. */
const struct config_backend *config_index_backend(const struct config_index *index,
						  const struct config_service *service,
						  const struct addr *address);
/* name: NULL: none has it. */
const struct config_backend *config_index_named(const struct config_index *index,
						const struct config_service *service,
						const char *name);
/* As config_find_real. */
const struct config_service *config_index_real(const struct config_index *index,
					       const struct config_service *service,
					       const struct addr *address, uint16_t port);
/* As config_check_backend. */
int config_index_check_backend(const struct config_index *index,
			       const struct config_service *service, const struct addr *address,
			       uint16_t port, struct error *err);

#endif
