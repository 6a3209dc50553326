/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A growing text with a count of its references. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_FIRST 512

struct text *text_new(void)
{
	struct text *text = calloc(1, sizeof(*text));

	if (text)
		text->refs = 1;
	return text;
}

struct text *text_ref(struct text *text)
{
	text->refs++;
	return text;
}

void text_unref(struct text *text)
{
	if (!text || --text->refs)
		return;
	free(text->bytes);
	free(text);
}

/* Room for `more` bytes beyond the length. */
static bool make_room(struct text *text, size_t more)
{
	size_t size = text->size ? text->size : SIZE_FIRST;
	char *grown;

	if (text->failed)
		return false;
	if (text->size - text->length >= more)
		return true;
	while (size - text->length < more)
		size += size / 2;
	grown = realloc(text->bytes, size);
	if (!grown) {
		text->failed = true;
		return false;
	}
	text->bytes = grown;
	text->size = size;
	return true;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
	if (!length || !make_room(text, length))
		return;
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
}

void text_add_string(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args, again;
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	if (length < 0)
		text->failed = true;
	else if (make_room(text, (size_t)length + 1)) {
		vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
		text->length += (size_t)length;
	}
	va_end(again);
	va_end(args);
}
