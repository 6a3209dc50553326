/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts; some may be missing, which is NULL. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* *failed is set if memory runs out; NULL stays NULL. */
static inline char *copy_text(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;

	*failed |= text && !copy;
	return copy;
}

/* Is it one of the list, some of which may be missing? */
static inline bool lists_text(char *const *list, unsigned count, const char *text)
{
	for (unsigned i = 0; i < count; i++)
		if (same_text(list[i], text))
			return true;
	return false;
}

/* Bytes of the mark (U+FEFF) that some editors begin a text in UTF-8 with; 0: there is none. */
static inline size_t text_mark(const char *text, size_t length)
{
	static const char mark[] = "\xef\xbb\xbf";

	return length >= 3 && !memcmp(text, mark, 3) ? 3 : 0;
}

/* A text that comes in parts: after each it ends with a 0. False: memory ran out, and nothing has
 * changed. */
static inline bool add_text(char **text, size_t *length, const char *part, size_t part_length)
{
	char *grown = realloc(*text, *length + part_length + 1);

	if (!grown)
		return false;
	memcpy(grown + *length, part, part_length);
	*text = grown;
	*length += part_length;
	grown[*length] = 0;
	return true;
}

#endif
