/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text to a tree of statements: comments begin with # or !, quotes hold blanks, braces make blocks,
 * and `include` puts the statements of other files in its place. */
#include "blocks.h"

#include <glob.h>
#include <string.h>

#define MAX_INCLUDES 8 /* files within files */

bool statement_is_any(const struct statement *statement, const char *const *keywords, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (statement_is(statement, keywords[i]))
			return true;
	return false;
}

/* ---- tokens ---- */

enum token { TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LINE, TOKEN_END };

struct reader {
	struct import *im;
	const struct import_file *file;
	const char *at, *end;
	unsigned line;
	char *word; /* of TOKEN_WORD */
};

static struct import_place place_of(const struct reader *reader)
{
	return (struct import_place){reader->file, reader->line};
}

static void skip_blanks(struct reader *reader)
{
	while (reader->at < reader->end && words_is_blank(*reader->at))
		reader->at++;
	if (reader->at == reader->end || (*reader->at != '#' && *reader->at != '!'))
		return;
	while (reader->at < reader->end && *reader->at != '\n')
		reader->at++;
}

/* What one word is made of. ${NAME} and {a,b} of file names belong to a word; a brace that ends a
 * word opens or closes a block. */
struct scan {
	char quote;
	unsigned braces;
};

static bool is_end(const struct scan *scan, const char *at, const char *end)
{
	if (*at == '\n')
		return true;
	if (scan->quote)
		return false;
	if (*at == '{')
		return at + 1 == end || words_is_blank(at[1]) || at[1] == '\n';
	if (*at == '}')
		return !scan->braces;
	return words_is_blank(*at) || *at == '#' || *at == '!';
}

/* The end of the word at this place. What it says goes to out, which may be NULL; *ret_length bytes
 * of it. */
static const char *scan_word(const char *at, const char *end, char *out, size_t *ret_length)
{
	struct scan scan = {0};
	size_t length = 0;

	for (; at < end && !is_end(&scan, at, end); at++) {
		bool quotes = *at == '"' || *at == '\'';
		char c = *at ? *at : ' ';

		if (scan.quote && *at == scan.quote) {
			scan.quote = 0;
			continue;
		}
		if (!scan.quote && quotes) {
			scan.quote = *at;
			continue;
		}
		if (scan.quote && *at == '\\' && at + 1 < end && at[1] != '\n')
			c = *++at;
		else if (!scan.quote)
			scan.braces += (*at == '{') - (*at == '}');
		if (out)
			out[length] = c;
		length++;
	}
	*ret_length = length;
	return at;
}

static enum token take_word(struct reader *reader)
{
	size_t length;

	scan_word(reader->at, reader->end, NULL, &length);
	reader->word = import_allocate(reader->im, length + 1);
	reader->at = scan_word(reader->at, reader->end, reader->word, &length);
	return TOKEN_WORD;
}

static enum token next_token(struct reader *reader)
{
	skip_blanks(reader);
	if (reader->at == reader->end)
		return TOKEN_END;
	switch (*reader->at) {
	case '\n':
		reader->at++;
		return TOKEN_LINE;
	case '{':
		reader->at++;
		return TOKEN_OPEN;
	case '}':
		reader->at++;
		return TOKEN_CLOSE;
	default:
		return take_word(reader);
	}
}

/* ---- statements ---- */

struct level {
	struct statement **end;  /* where the next statement goes */
	struct statement **link; /* where the last one is */
	struct statement *last;
};

struct builder {
	struct reader reader;
	struct level levels[BLOCKS_MAX_DEPTH + 1];
	unsigned depth;
	unsigned beyond;   /* open blocks deeper than that */
	unsigned includes; /* files that are being read within files */
	bool joined;       /* the statement goes on in this line */
	size_t room;       /* for words of the last statement */
};

static void add_statement(struct builder *builder)
{
	struct level *level = &builder->levels[builder->depth];
	struct statement *statement = import_allocate(builder->reader.im, sizeof(*statement));

	statement->words.at = place_of(&builder->reader);
	*level->end = statement;
	level->link = level->end;
	level->end = &statement->next;
	level->last = statement;
	builder->joined = true;
	builder->room = 0;
}

static void add_word(struct builder *builder)
{
	struct words *words;

	if (builder->beyond)
		return;
	if (!builder->joined)
		add_statement(builder);
	words = &builder->levels[builder->depth].last->words;
	words_add(builder->reader.im, words, builder->reader.word, &builder->room);
}

/* A brace belongs to the statement before it, in this line or the one above. */
static void open_block(struct builder *builder)
{
	struct level *level = &builder->levels[builder->depth];

	if (builder->beyond || builder->depth == BLOCKS_MAX_DEPTH || !level->last ||
	    level->last->has_block) {
		if (!builder->beyond++)
			import_left(builder->reader.im, place_of(&builder->reader),
				    "a block that belongs to nothing, or in more than %u others",
				    BLOCKS_MAX_DEPTH);
		return;
	}
	level->last->has_block = true;
	builder->depth++;
	builder->levels[builder->depth] = (struct level){.end = &level->last->block};
	builder->joined = false;
}

static void close_block(struct builder *builder)
{
	builder->joined = false;
	if (builder->beyond)
		builder->beyond--;
	else if (builder->depth)
		builder->depth--;
	else
		import_left(builder->reader.im, place_of(&builder->reader),
			    "}: ends a block that does not begin");
}

/* ---- included files ---- */

static void build(struct builder *builder, const struct import_file *file);

static void include_file(struct builder *builder, const char *path, struct import_place at)
{
	const struct import_file *file;
	struct error err = {""};

	if (import_open(builder->reader.im, path, &file, &err))
		import_left(builder->reader.im, at, "include: %s", err.text);
	else
		build(builder, file);
}

/* Relative to the directory of the file that includes. */
static const char *resolve_path(struct import *im, const struct import_file *from, const char *path)
{
	const char *slash = strrchr(from->name, '/');

	if (*path == '/' || !slash)
		return path;
	return import_print(im, "%.*s/%s", (int)(slash - from->name), from->name, path);
}

static void include(struct builder *builder, const struct statement *statement)
{
	struct import *im = builder->reader.im;
	struct import_place at = statement->words.at;
	const char *pattern = resolve_path(im, at.file, statement_word(statement, 1));
	glob_t found = {0};

	if (!im->may_open || builder->includes == MAX_INCLUDES) {
		import_left(im, at, "include %s: not read", pattern);
		return;
	}
	if (glob(pattern, GLOB_BRACE, NULL, &found) || !found.gl_pathc)
		import_left(im, at, "include %s: no such file", pattern);
	builder->includes++;
	for (size_t i = 0; i < found.gl_pathc; i++)
		include_file(builder, import_copy(im, found.gl_pathv[i], strlen(found.gl_pathv[i])),
			     at);
	builder->includes--;
	globfree(&found);
}

static bool is_include(const struct statement *statement)
{
	static const char *const words[] = {"include",  "includer", "includem",
					    "includew", "includeb", "includea"};

	return statement_is_any(statement, words, sizeof(words) / sizeof(*words));
}

/* At the end of a line. What is included takes the place of the statement. */
static void end_statement(struct builder *builder)
{
	struct level *level = &builder->levels[builder->depth];
	const struct statement *last = level->last;
	bool ends = builder->joined && !builder->beyond && last && !last->has_block;

	builder->joined = false;
	if (!ends || !is_include(last))
		return;
	*level->link = NULL;
	level->end = level->link;
	level->last = NULL;
	include(builder, last);
}

static void build(struct builder *builder, const struct import_file *file)
{
	struct reader outer = builder->reader;
	enum token token;

	builder->reader = (struct reader){.im = outer.im,
					  .file = file,
					  .at = file->text,
					  .end = file->text + file->length,
					  .line = 1};
	while ((token = next_token(&builder->reader)) != TOKEN_END) {
		if (token == TOKEN_WORD)
			add_word(builder);
		else if (token == TOKEN_OPEN)
			open_block(builder);
		else if (token == TOKEN_CLOSE)
			close_block(builder);
		else
			end_statement(builder);
		builder->reader.line += token == TOKEN_LINE;
	}
	end_statement(builder);
	builder->reader = outer;
}

struct statement *blocks_read(struct import *im, const struct import_file *file)
{
	struct builder builder = {.reader = {.im = im}};
	struct import_place at = {file, 0};
	struct statement *first = NULL;

	builder.levels[0].end = &first;
	build(&builder, file);
	if (builder.depth)
		at = builder.levels[builder.depth - 1].last->words.at;
	if (builder.depth || builder.beyond)
		import_left(im, at, "a block that begins here does not end");
	return first;
}
