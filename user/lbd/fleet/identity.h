/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which node it is, whatever address or name it has: a random number that is made once and kept
 * with what survives a reboot. */
#ifndef LBD_FLEET_IDENTITY_H
#define LBD_FLEET_IDENTITY_H

#include <stdint.h>

/* From the file, which is made if it is not there. 0: it can be neither read nor made, which is
 * logged. */
uint64_t identity_find(const char *path);

#endif
