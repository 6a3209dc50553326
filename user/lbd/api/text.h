/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A text that grows while it is written and is then shared by everyone who sends it. */
#ifndef LBD_TEXT_H
#define LBD_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* From this size on a text is memory of its own, which free() gives back to the system: see
 * M_MMAP_THRESHOLD in main.c. */
#define TEXT_LARGE (128 * 1024)

struct text {
	unsigned refs;
	bool failed; /* memory ran out; the text is incomplete and must not be sent */
	size_t length, size;
	char *bytes;
};

/* Called from the loop, once, when a text has been built. text: whole, the caller's; NULL: out of
 * memory. */
typedef void text_made_fn(void *arg, struct text *text);

/* With one reference. NULL: out of memory. */
struct text *text_new(void);
struct text *text_ref(struct text *text);
void text_unref(struct text *text); /* the last one frees it; NULL is fine */

void text_add(struct text *text, const char *bytes, size_t length);
void text_add_string(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
