/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame of lbctl top as lines of text with colours, for a terminal or plain output. Pure. */
#ifndef LBCTL_TOP_VIEW_H
#define LBCTL_TOP_VIEW_H

#include "lbctl/core/format.h"
#include "model.h"

#define TOP_SPANS 4
#define TOP_LINE  512 /* bytes */

struct top_span { /* from this byte to the next span */
	unsigned at;
	enum tone tone;
};

struct top_line {
	char text[TOP_LINE];
	struct top_span spans[TOP_SPANS];
	unsigned spans_count;
};

struct top_options {
	unsigned columns;
	enum top_sort sort;
	bool drops; /* the table of reasons instead of services and backends */
};

/* The head (title, totals, column names) is fixed, the body scrolls. */
struct top_frame {
	struct top_line *lines;
	size_t lines_count, lines_room, head_count;
	bool failed; /* out of memory: lines are missing */
};

void top_view_render(const struct top_model *model, const struct top_options *options,
		     struct top_frame *ret);
void top_view_done(struct top_frame *frame);

#endif
