/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts that may be missing, which is NULL. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdbool.h>
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

#endif
