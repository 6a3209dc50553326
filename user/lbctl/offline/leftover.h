/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* While no lbd answers: on which interfaces its program is still attached. */
#ifndef LBCTL_LEFTOVER_H
#define LBCTL_LEFTOVER_H

#include "common/error.h"

/* Adds that to err, which says that lbd is not running. Returns rc. */
int leftover_report(int rc, struct error *err);

#endif
