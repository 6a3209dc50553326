/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A bounded list of sentences. */
#include "sentences.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sentences_add(struct sentences *sentences, const char *format, ...)
{
	char *text;
	va_list args;

	va_start(args, format);
	if (sentences->count == SENTENCES_MAX || vasprintf(&text, format, args) < 0)
		sentences->left_out++;
	else
		sentences->list[sentences->count++] = text;
	va_end(args);
}

bool sentences_have(const struct sentences *sentences, const char *sentence)
{
	for (unsigned i = 0; i < sentences->count; i++)
		if (!strcmp(sentences->list[i], sentence))
			return true;
	return false;
}

void sentences_done(struct sentences *sentences)
{
	for (unsigned i = 0; i < sentences->count; i++)
		free(sentences->list[i]);
	*sentences = (struct sentences){0};
}

void sentences_free(struct sentences *sentences)
{
	if (sentences)
		sentences_done(sentences);
	free(sentences);
}
