/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A bounded list of sentences for people: warnings, differences. */
#ifndef COMMON_SENTENCES_H
#define COMMON_SENTENCES_H

#include <stdbool.h>

#define SENTENCES_MAX 100

struct sentences {
	char *list[SENTENCES_MAX];
	unsigned count;
	unsigned left_out; /* beyond SENTENCES_MAX, or for lack of memory */
};

void sentences_add(struct sentences *sentences, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool sentences_have(const struct sentences *sentences, const char *sentence);
void sentences_done(struct sentences *sentences);
void sentences_free(struct sentences *sentences); /* an allocated list, too; NULL is fine */

#endif
