/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text to values for all keys but those of services: ranges, addresses, defaults. */
#ifndef LBD_CONFIG_VALUE_H
#define LBD_CONFIG_VALUE_H

#include "config.h"
#include "schema.h"

/* Fills config, which must be zero, but for its services. Mistakes are complaints in source; then
 * config is incomplete, and fit only for config_free. */
void config_read(struct config_source *source, const struct raw_config *raw, struct config *config);
/* The same, for a second text: what it does not say stays. */
void config_read_more(struct config_source *source, const struct raw_config *raw,
		      struct config *config);
/* The services of all files, with the `defaults` of the first. raws: of each source; NULL: it could
 * not be loaded. Likewise. */
void config_read_services(const struct config_sources *sources, struct raw_config *const *raws,
			  struct config *config);

#endif
