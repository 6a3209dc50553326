/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One service of a config: from text to values, defaults, and what excludes what within it. */
#ifndef LBD_CONFIG_SERVICE_H
#define LBD_CONFIG_SERVICE_H

#include "config.h"
#include "schema.h"

/* Looks for mistakes in `defaults`, also when no service inherits them. */
void config_read_defaults(const struct config_place *root, const struct raw_service *defaults);
/* Fills service, which must be zero. defaults may be NULL. What cannot be read is a complaint. */
void config_read_service(const struct config_place *root, unsigned index,
			 const struct raw_service *defaults, const struct raw_service *own,
			 struct config_service *service);
void config_service_done(struct config_service *service);

#endif
