/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the keys of lbctl top do. */
#ifndef LBCTL_TOP_KEYS_H
#define LBCTL_TOP_KEYS_H

#include "view.h"

enum top_after {
	TOP_AFTER_DRAW,
	TOP_AFTER_SORT, /* the order has changed: top_model_sort, then draw */
	TOP_AFTER_QUIT,
};

/* A key as getch of curses returns it. page: rows of the body on the screen. */
enum top_after top_key(struct top_options *options, int key, size_t page);

#endif
