/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What holds of a node's maps, whatever another node has sent. */
#ifndef LBD_FUZZ_FLEET_CHECK_H
#define LBD_FUZZ_FLEET_CHECK_H

#include "support/memory_dataplane.h"

#define FLEET_SERVICES 2
#define FLEET_BACKENDS 3 /* of each */

/* Commits the services of a small node: one of TCP and one of UDP. */
void fleet_commit(struct dataplane *dp, struct want wants[FLEET_SERVICES]);
/* Slots and entries name backends of their service. */
void fleet_check(const struct dataplane *dp, const struct want wants[FLEET_SERVICES]);

#endif
