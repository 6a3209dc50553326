/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks across the parts of a config: no duplicates, nothing over its limit, no VIP that is a
 * backend. */
#ifndef LBD_CONFIG_CHECK_H
#define LBD_CONFIG_CHECK_H

#include "config.h"
#include "source.h"

/* Records complaints in the sources. config must have been read from them without a complaint. */
void config_check(const struct config_sources *sources, const struct config *config);
/* As config_check_backend. has_as_vip: a service whose VIP the address is; has_as_real: another one
 * that has the same real; NULL: there is none. */
int config_check_address(const struct config_service *service, const struct addr *address,
			 uint16_t port, const struct config_service *has_as_vip,
			 const struct config_service *has_as_real, struct error *err);

#endif
