/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `api:`, the listener for requests from other machines. Its certificates and tokens are read with
 * the config, so that a config whose files do not fit is refused as a whole. */
#ifndef LBD_CONFIG_API_H
#define LBD_CONFIG_API_H

#include "config.h"
#include "schema.h"

/* Sets *ret, with one reference, or complains. */
void config_read_api(const struct config_place *root, const struct raw_api *raw,
		     struct config_api **ret);

#endif
