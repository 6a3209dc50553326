/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mapping `health` of a service or of `defaults`: text to values, defaults, and keys that do
 * not go together. Mistakes are complaints in the place's source. */
#ifndef LBD_CONFIG_HEALTH_H
#define LBD_CONFIG_HEALTH_H

#include "config.h"
#include "schema.h"
#include "source.h"

/* parent: the place that holds the key `health`. What raw leaves out stays in *health. */
void config_read_health(const struct config_place *parent, const struct raw_health *raw,
			struct health_spec *health);
/* Once all else of the service is read: its defaults, and which keys its own mapping may have. */
void config_finish_health(const struct config_place *service_at, const struct raw_service *own,
			  struct config_service *service);
/* The mapping `agent`, in the same two steps. */
void config_read_agent(const struct config_place *parent, const struct raw_agent *raw,
		       struct health_spec *agent);
void config_finish_agent(const struct config_place *service_at, const struct raw_service *own,
			 struct config_service *service);
/* The mapping `health` of a backend: where it is checked. */
void config_read_target(const struct config_place *backend_at, const struct raw_target *raw,
			struct config_target *ret);
/* After config_finish_health. */
void config_finish_target(const struct config_place *backend_at,
			  const struct config_service *service, const struct config_target *target);

#endif
