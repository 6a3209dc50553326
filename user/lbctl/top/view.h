/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A screen of lbctl top as lines of text in tones, for a terminal or plain output. Pure. */
#ifndef LBCTL_TOP_VIEW_H
#define LBCTL_TOP_VIEW_H

#include "frame.h"
#include "model.h"

#define TOP_FILTER 64 /* bytes */

enum top_view {
	TOP_VIEW_TREE, /* services, and their backends below each */
	TOP_VIEW_SERVICES,
	TOP_VIEW_BACKENDS, /* of all services, in one order */
	TOP_VIEW_REASONS,
	TOP_VIEWS
};

struct top_options {
	unsigned columns, rows; /* of the terminal; rows 0: every line, and no footer */
	enum top_view view;
	enum top_sort sort;
	bool reverse, paused, help;
	char filter[TOP_FILTER]; /* as in match_words */
	bool typing;             /* the filter is being typed */
	size_t scroll;           /* rows of the body above the screen */
	uint64_t interval_ms;
	const char *clock; /* when the sample was taken, or NULL */
	const char *alarm; /* why the figures are old, or NULL: they are not */
};

/* The backends of TOP_VIEW_BACKENDS are sorted here; else the model has its order. Scrolling beyond
 * the end is put right in the frame. Release with frame_done. */
void top_view_render(const struct top_model *model, const struct top_options *options,
		     struct top_frame *ret);

#endif
