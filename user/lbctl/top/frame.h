/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lines of text in tones, of which a screen of lbctl top is made. Out of memory is noted in the
 * frame; all calls accept a line that is NULL. */
#ifndef LBCTL_TOP_FRAME_H
#define LBCTL_TOP_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "lbctl/core/format.h"

#define TOP_SPANS 32

struct top_frame;

struct top_span { /* from this byte to the next span */
	size_t at;
	enum tone tone;
};

struct top_line {
	struct top_frame *frame;
	char *text;
	size_t length, room; /* bytes */
	unsigned width;      /* columns */
	struct top_span spans[TOP_SPANS];
	unsigned spans_count;
};

struct top_frame {
	struct top_line *lines;
	size_t lines_count, lines_room;
	size_t head_count;         /* lines above the body */
	size_t body_count, scroll; /* rows of the whole body, and those above the first shown */
	size_t page;               /* rows of the body that the terminal has room for */
	bool failed;               /* out of memory: something is missing */
};

struct top_line *frame_add(struct top_frame *frame);
void frame_done(struct top_frame *frame);

/* Appends text. Control characters become "?", as does all but ASCII where the locale does not take
 * UTF-8. */
void line_put(struct top_line *line, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Text cut or padded to this many columns. */
void line_cell(struct top_line *line, enum tone tone, const char *text, unsigned columns,
	       enum text_cut cut);
/* The same, at the right of the columns. */
void line_number(struct top_line *line, enum tone tone, const char *text, unsigned columns);
/* Spaces up to this column. */
void line_pad(struct top_line *line, enum tone tone, unsigned column);
/* Gives all of the line this tone. */
void line_repaint(struct top_line *line, enum tone tone);

#endif
