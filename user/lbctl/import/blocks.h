/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A keepalived.conf as a tree: statements of words, some with a block of statements in braces. */
#ifndef LBCTL_IMPORT_BLOCKS_H
#define LBCTL_IMPORT_BLOCKS_H

#include "import.h"
#include "words.h"

#define BLOCKS_MAX_DEPTH 16

struct statement {
	struct statement *next;
	struct words words; /* at least one */
	struct statement *block;
	bool has_block;
};

/* All statements of a file and of those it includes. What is no tree is named in notes. */
struct statement *blocks_read(struct import *im, const struct import_file *file);

static inline bool statement_is(const struct statement *statement, const char *keyword)
{
	return words_is(&statement->words, 0, keyword);
}
bool statement_is_any(const struct statement *statement, const char *const *keywords, size_t count);
/* A word of a statement after its keyword, from 1; "" beyond the last. */
static inline const char *statement_word(const struct statement *statement, unsigned at)
{
	return words_at(&statement->words, at);
}

#endif
