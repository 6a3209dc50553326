/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `backends-from` of a service: where backends come from by themselves. */
#ifndef LBD_CONFIG_FROM_H
#define LBD_CONFIG_FROM_H

#include "config.h"
#include "schema.h"

/* Checks and copies it; at is the service. */
void config_read_from(const struct config_place *at, const struct raw_from *raw,
		      struct config_from *ret);

/* URLs of the servers of one etcd cluster, separated by blanks. */
bool config_from_urls_fit(const char *text);

#endif
