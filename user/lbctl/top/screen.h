/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl top on a terminal (ncurses). */
#ifndef LBCTL_TOP_SCREEN_H
#define LBCTL_TOP_SCREEN_H

#include "lbctl/core/call.h"
#include "view.h"

/* Until a key or a signal ends it. 0, -ENOTTY without a terminal, or -errno, with err set. */
int top_screen_run(const struct call *call, const struct top_options *options, struct error *err);

#endif
