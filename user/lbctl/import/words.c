/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lines and words. */
#include "words.h"

#include <string.h>

bool words_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' || c == 0;
}

static char unescape(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 0:
		return ' ';
	default:
		return c;
	}
}

/* Reads one word at from, writes it without its quotes to to. Returns what follows it. */
static const char *take_word(const char *from, const char *end, unsigned rules, char **to,
			     bool *ret_open)
{
	char quote = 0, *out = *to;

	for (; from < end && (quote || (!words_is_blank(*from) && *from != '#')); from++) {
		bool escapes = (rules & WORDS_ESCAPES) && quote != '\'';

		if (*from == '\\' && escapes && from + 1 < end)
			*out++ = unescape(*++from);
		else if (quote && *from == quote)
			quote = 0;
		else if (!quote && (rules & WORDS_QUOTES) && (*from == '"' || *from == '\''))
			quote = *from;
		else
			*out++ = *from ? *from : ' ';
	}
	*ret_open |= quote != 0;
	*to = out;
	return from;
}

void words_add(struct import *im, struct words *words, char *word, size_t *room)
{
	char **grown;

	if (words->count + 1 >= *room) {
		*room = *room ? 2 * *room : 16;
		grown = import_allocate(im, *room * sizeof(char *));
		if (words->count)
			memcpy(grown, words->word, words->count * sizeof(char *));
		words->word = grown;
	}
	words->word[words->count++] = word;
	words->word[words->count] = NULL;
}

/* Words do not grow when their quotes go, but each needs an end. */
static void split(struct import *im, const char *line, size_t length, unsigned rules,
		  struct words *words)
{
	const char *from = line, *end = line + length;
	char *to = import_allocate(im, 2 * length + 1);
	size_t room = 0;

	while (from < end && *from != '#') {
		char *word = to;

		if (words_is_blank(*from)) {
			from++;
			continue;
		}
		from = take_word(from, end, rules, &to, &words->open);
		*to++ = 0;
		words_add(im, words, word, &room);
	}
}

bool lines_next(struct import *im, struct lines *lines, unsigned rules, struct words *ret)
{
	const struct import_file *file = lines->file;

	while (lines->offset < file->length) {
		const char *line = file->text + lines->offset;
		const char *feed = memchr(line, '\n', file->length - lines->offset);
		size_t length = feed ? (size_t)(feed - line) : file->length - lines->offset;

		lines->offset += length + 1;
		lines->number++;
		*ret = (struct words){.at = {file, lines->number}};
		split(im, line, length, rules, ret);
		if (ret->count)
			return true;
	}
	return false;
}

bool words_is(const struct words *words, unsigned at, const char *text)
{
	return !strcmp(words_at(words, at), text);
}

bool words_has(const struct words *words, unsigned from, const char *text)
{
	for (unsigned i = from; i < words->count; i++)
		if (words_is(words, i, text))
			return true;
	return false;
}

const char *words_join(struct import *im, const struct words *words, unsigned from)
{
	char text[128];
	size_t length = 0;

	text[0] = 0;
	for (unsigned i = from; i < words->count && length < sizeof(text); i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
					   i > from ? " " : "", words->word[i]);
	if (length >= sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);
	return import_copy(im, text, strlen(text));
}
