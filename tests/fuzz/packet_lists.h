/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `allow` and `deny` of the packet target's services, put into the maps by lbd's own code. */
#ifndef LBD_FUZZ_PACKET_LISTS_H
#define LBD_FUZZ_PACKET_LISTS_H

#include "packet_world.h"

/* The services have their flags already. */
void lists_install(struct fixture *f, const struct world_service *services, unsigned count);

#endif
