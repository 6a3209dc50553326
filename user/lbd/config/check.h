/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What holds between the parts of a config: nothing twice, nothing over its limit, no VIP that
 * is a backend. */
#ifndef LBD_CONFIG_CHECK_H
#define LBD_CONFIG_CHECK_H

#include "config.h"
#include "source.h"

/* Complains in source. config must be complete: read without a complaint. */
void config_check(struct config_source *source, const struct config *config);

#endif
