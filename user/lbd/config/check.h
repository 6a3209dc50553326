/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks across the parts of a config: no duplicates, nothing over its limit, no VIP that is a
 * backend. */
#ifndef LBD_CONFIG_CHECK_H
#define LBD_CONFIG_CHECK_H

#include "config.h"
#include "source.h"

/* Records complaints in source. config must have been read without a complaint. */
void config_check(struct config_source *source, const struct config *config);

#endif
