/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A text as lines of words, with the quoting of its dialect. */
#ifndef LBCTL_IMPORT_WORDS_H
#define LBCTL_IMPORT_WORDS_H

#include "import.h"

enum words_rules {
	WORDS_PLAIN = 0,       /* "#" begins a comment; no quotes */
	WORDS_QUOTES = 1 << 0, /* "..." and '...' hold blanks */
	WORDS_ESCAPES = 1 << 1 /* a backslash takes the next character as it is */
};

struct words {
	struct import_place at;
	unsigned count;
	char **word; /* count of them, and NULL */
	bool open;   /* a quote does not end in its line */
};

struct lines {
	const struct import_file *file;
	size_t offset;
	unsigned number; /* of the last line read */
};

/* The next line that has a word; false: no more. Lines end with LF or CRLF. */
bool lines_next(struct import *im, struct lines *lines, unsigned rules, struct words *ret);

/* What separates words in a line; a 0 byte is no text. */
bool words_is_blank(char c);
/* Adds a word. *room starts at 0, for each struct words its own. */
void words_add(struct import *im, struct words *words, char *word, size_t *room);
/* The word at this place; "" beyond the last. */
static inline const char *words_at(const struct words *words, unsigned at)
{
	return at < words->count ? words->word[at] : "";
}
bool words_is(const struct words *words, unsigned at, const char *text);
/* Is it one of the words from this one on? */
bool words_has(const struct words *words, unsigned from, const char *text);
/* All words from this one on with a blank between, for a note. */
const char *words_join(struct import *im, const struct words *words, unsigned from);

#endif
