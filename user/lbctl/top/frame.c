/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lines of text in tones, of which a screen of lbctl top is made. */
#include "frame.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

struct top_line *frame_add(struct top_frame *frame)
{
	if (frame->lines_count == frame->lines_room) {
		size_t room = frame->lines_room ? 2 * frame->lines_room : 32;
		struct top_line *grown = realloc(frame->lines, room * sizeof(*grown));

		frame->failed |= !grown;
		if (!grown)
			return NULL;
		frame->lines = grown;
		frame->lines_room = room;
	}
	frame->lines[frame->lines_count] = (struct top_line){.frame = frame};
	return &frame->lines[frame->lines_count++];
}

void frame_done(struct top_frame *frame)
{
	for (size_t i = 0; i < frame->lines_count; i++)
		free(frame->lines[i].text);
	free(frame->lines);
	*frame = (struct top_frame){0};
}

static bool reserve(struct top_line *line, size_t length)
{
	size_t room = line->room ? line->room : 256;
	char *grown;

	while (room <= line->length + length)
		room *= 2;
	if (room == line->room)
		return true;
	grown = realloc(line->text, room);
	if (!grown)
		return false;
	line->text = grown;
	line->room = room;
	return true;
}

static void begin_span(struct top_line *line, enum tone tone)
{
	if (line->spans_count && line->spans[line->spans_count - 1].tone == tone)
		return;
	if (line->spans_count < TOP_SPANS)
		line->spans[line->spans_count++] = (struct top_span){line->length, tone};
}

static void append(struct top_line *line, enum tone tone, const char *text)
{
	size_t length = strlen(text);
	bool utf8 = text_is_utf8();
	char *at;

	if (!length)
		return;
	if (!reserve(line, length)) {
		line->frame->failed = true;
		return;
	}
	begin_span(line, tone);
	at = line->text + line->length;
	memcpy(at, text, length + 1);
	line->length += length;
	for (char *c = at; *c; c++)
		*c = !utf8 && (unsigned char)*c >= 0x80 ? '?' : text_printable(*c);
	line->width += text_width(at);
}

void line_put(struct top_line *line, enum tone tone, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int length;

	if (!line)
		return;
	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0) {
		text = NULL;
		line->frame->failed = true;
		return;
	}
	append(line, tone, text);
}

void line_cell(struct top_line *line, enum tone tone, const char *text, unsigned columns,
	       enum text_cut cut)
{
	_cleanup_free_ char *fits = NULL;
	size_t size = strlen(text) + 8; /* an ellipsis has three bytes */
	unsigned end;

	if (!line)
		return;
	end = line->width + columns;
	fits = malloc(size);
	if (fits)
		append(line, tone, text_fit(text, columns, cut, fits, size));
	line->frame->failed |= !fits;
	line_pad(line, tone, end);
}

void line_number(struct top_line *line, enum tone tone, const char *text, unsigned columns)
{
	unsigned width = text_width(text);

	if (!line)
		return;
	if (width < columns)
		line_pad(line, tone, line->width + columns - width);
	line_cell(line, tone, text, width < columns ? width : columns, CUT_END);
}

void line_pad(struct top_line *line, enum tone tone, unsigned column)
{
	if (line && line->width < column)
		line_put(line, tone, "%*s", (int)(column - line->width), "");
}

void line_repaint(struct top_line *line, enum tone tone)
{
	if (!line || !line->spans_count)
		return;
	line->spans[0].tone = tone;
	line->spans_count = 1;
}
