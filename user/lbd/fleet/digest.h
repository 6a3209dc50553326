/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What of two configs must be the same so that nodes choose the same backends. */
#ifndef LBD_FLEET_DIGEST_H
#define LBD_FLEET_DIGEST_H

#include "lbd/config/config.h"

/* Of services, backends, weights, priorities, zones and sources of backends in the file, whatever
 * their order and names. zone: of the node, which counts where backends have zones; NULL: none. Not
 * for secrets. */
uint64_t config_digest(const struct config *config, const char *zone);

#endif
