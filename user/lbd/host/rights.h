/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up what a process that lbd starts does not need: user and capabilities. For good: nothing
 * brings it back. */
#ifndef LBD_RIGHTS_H
#define LBD_RIGHTS_H

#include "common/error.h"

/* The user and group of a process that was root: "nobody", on Linux by convention. */
#define RIGHTS_USER 65534

/* Ends with the thread that started it; no user root (where it may change its user), no capability,
 * no new privileges, the first to go when memory runs out. Afterwards the capabilities are read
 * back: any that is left is an error. The bounding set is emptied where that is permitted
 * (CAP_SETPCAP); without new privileges it gives nothing. 0 or -errno. */
int rights_give_up(struct error *err);

#endif
