/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* In place of user/lbd/attach/attach.c: a list of attached interfaces without a program. Interfaces
 * eth0 and eth1 exist, and eth1 knows no native mode. */
#ifndef LBD_STAND_IN_ATTACH_H
#define LBD_STAND_IN_ATTACH_H

#include "lbd/attach/attach.h"

struct attach *stand_in_attach_new(void);          /* for as long as the process lives */
void stand_in_attach_clear(struct attach *attach); /* nothing is attached */

#endif
