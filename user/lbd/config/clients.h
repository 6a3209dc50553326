/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads `api: clients`. */
#ifndef LBD_CONFIG_CLIENTS_H
#define LBD_CONFIG_CLIENTS_H

#include "config.h"
#include "schema.h"

/* at: `api`. Tokens and authorities have been read. Complains, or sets api->clients. */
void config_read_clients(const struct config_place *at, const struct raw_api *raw,
			 struct config_api *api);
void config_free_clients(struct config_api *api);

#endif
