/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From text to values, key by key: ranges, addresses, defaults, and what excludes what within
 * one service. */
#ifndef LBD_CONFIG_VALUE_H
#define LBD_CONFIG_VALUE_H

#include "config.h"
#include "schema.h"

/* Fills config, which must be zero. Mistakes are complaints in source; then config is incomplete,
 * but can be freed. */
void config_read(struct config_source *source, const struct raw_config *raw, struct config *config);

#endif
