/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What of two configs must be the same so that nodes choose the same backends. */
#ifndef LBD_FLEET_DIGEST_H
#define LBD_FLEET_DIGEST_H

#include "lbd/config/config.h"

/* Of services, backends, weights and sources of backends in the file, whatever their order and
 * names. Not for secrets. */
uint64_t config_digest(const struct config *config);

#endif
