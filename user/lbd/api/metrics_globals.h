/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The metrics that belong to no service. */
#ifndef LBD_METRICS_GLOBALS_H
#define LBD_METRICS_GLOBALS_H

#include "metrics_build.h"

void metrics_write_globals(struct text *text, const struct metrics_source *source);

#endif
