/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads plain YAML by recursive descent. Each function that reads a node returns its number, from
 * 1, or 0: the text is not plain. Nodes are numbered as libyaml does: a collection before what is
 * in it. tests/unit/config/test_plain.c compares the two on texts that it changes at random. */
#include "plain.h"

#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define KEY_MAX   1000 /* libyaml takes up to 1024 characters for a key */

/* A scalar, or a key, before it is known which of the two it is. */
struct scalar {
	yaml_mark_t start, end;
	size_t value, length; /* in the text */
	yaml_scalar_style_t style;
};

struct numbers {
	int *list;
	size_t count, size;
};

struct reader {
	char *text; /* ends in a 0 */
	size_t length;
	size_t at, line, line_begin;
	yaml_node_t *nodes;
	size_t nodes_count, nodes_size;
	struct numbers open;     /* children of collections that have not ended, a stack */
	struct numbers children; /* of those that have ended */
	unsigned depth;
};

/* ---- characters ---- */

static char here(const struct reader *reader)
{
	return reader->text[reader->at];
}

static bool at_end(const struct reader *reader)
{
	return reader->at == reader->length;
}

static size_t column(const struct reader *reader)
{
	return reader->at - reader->line_begin;
}

static yaml_mark_t mark(const struct reader *reader)
{
	return (yaml_mark_t){reader->at, reader->line, column(reader)};
}

static bool ends_word(char c)
{
	return c == ' ' || c == '\n' || !c;
}

static bool is_dash(const struct reader *reader)
{
	return here(reader) == '-' && ends_word(reader->text[reader->at + 1]);
}

/* Only text and ends of lines, and no line that begins or ends a document. */
static bool is_ascii(const char *text, size_t length)
{
	bool fits = true;

	for (size_t i = 0; i < length; i++)
		fits &= (text[i] >= ' ' && text[i] <= '~') || text[i] == '\n';
	return fits;
}

static bool has_documents(const char *text)
{
	return !strncmp(text, "---", 3) || !strncmp(text, "...", 3) || strstr(text, "\n---") ||
	       strstr(text, "\n...");
}

static void skip_spaces(struct reader *reader)
{
	while (here(reader) == ' ')
		reader->at++;
}

/* To the next word: over spaces, comments and ends of lines. At its end, the text counts as one
 * that ends in a new line. */
static void skip(struct reader *reader)
{
	for (;;) {
		skip_spaces(reader);
		if (here(reader) == '#')
			while (!at_end(reader) && here(reader) != '\n')
				reader->at++;
		if (at_end(reader) ? !column(reader) : here(reader) != '\n')
			return;
		reader->at += !at_end(reader);
		reader->line++;
		reader->line_begin = reader->at;
	}
}

/* Behind a value, nothing else is in its line. */
static bool skip_line(struct reader *reader)
{
	size_t line = reader->line;

	skip(reader);
	return at_end(reader) || reader->line != line;
}

/* ---- nodes ---- */

static bool add_number(struct numbers *numbers, int number)
{
	if (numbers->count == numbers->size) {
		size_t size = numbers->size ? 2 * numbers->size : 1024;
		int *grown = realloc(numbers->list, size * sizeof(*grown));

		if (!grown)
			return false;
		numbers->list = grown;
		numbers->size = size;
	}
	numbers->list[numbers->count++] = number;
	return true;
}

static int add_node(struct reader *reader, const yaml_node_t *node)
{
	if (reader->nodes_count == reader->nodes_size) {
		size_t size = reader->nodes_size ? 2 * reader->nodes_size : 1024;
		yaml_node_t *grown = realloc(reader->nodes, size * sizeof(*grown));

		if (!grown || size > INT_MAX)
			return 0;
		reader->nodes = grown;
		reader->nodes_size = size;
	}
	reader->nodes[reader->nodes_count++] = *node;
	return (int)reader->nodes_count;
}

static int add_scalar(struct reader *reader, const struct scalar *scalar)
{
	yaml_node_t node = {
	    .type = YAML_SCALAR_NODE, .start_mark = scalar->start, .end_mark = scalar->end};

	node.data.scalar.value = (yaml_char_t *)reader->text + scalar->value;
	node.data.scalar.length = scalar->length;
	node.data.scalar.style = scalar->style;
	return add_node(reader, &node);
}

/* Of a key without a value: behind its colon. */
static int add_nothing(struct reader *reader, yaml_mark_t at)
{
	return add_scalar(reader, &(struct scalar){.start = at,
						   .end = at,
						   .value = reader->length,
						   .style = YAML_PLAIN_SCALAR_STYLE});
}

static int begin(struct reader *reader, yaml_node_type_t type, yaml_mark_t start, bool flow)
{
	yaml_node_t node = {.type = type, .start_mark = start};

	if (reader->depth == DEPTH_MAX)
		return 0;
	reader->depth++;
	if (type == YAML_SEQUENCE_NODE)
		node.data.sequence.style =
		    flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE;
	else
		node.data.mapping.style = flow ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE;
	return add_node(reader, &node);
}

/* Its children are in `open` from `first` on. Until the end they are known by their places: the
 * list may move. */
static int end(struct reader *reader, int number, size_t first)
{
	yaml_node_t *node = &reader->nodes[number - 1];
	uintptr_t place = reader->children.count;

	for (size_t i = first; i < reader->open.count; i++)
		if (!add_number(&reader->children, reader->open.list[i]))
			return 0;
	reader->open.count = first;
	reader->depth--;
	node->end_mark = mark(reader);
	if (node->type == YAML_SEQUENCE_NODE) {
		node->data.sequence.items.start = (yaml_node_item_t *)place;
		node->data.sequence.items.top = (yaml_node_item_t *)reader->children.count;
	} else {
		node->data.mapping.pairs.start = (yaml_node_pair_t *)place;
		node->data.mapping.pairs.top = (yaml_node_pair_t *)reader->children.count;
	}
	return number;
}

static bool add_child(struct reader *reader, int number)
{
	return number && add_number(&reader->open, number);
}

/* ---- scalars ---- */

static bool scan_quoted(struct reader *reader, struct scalar *ret)
{
	char quote = here(reader);

	ret->start = mark(reader);
	ret->value = ++reader->at;
	while (here(reader) != quote) {
		if (at_end(reader) || here(reader) == '\n' ||
		    (quote == '"' && here(reader) == '\\'))
			return false;
		reader->at++;
	}
	ret->length = reader->at++ - ret->value;
	ret->end = mark(reader);
	ret->style =
	    quote == '"' ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_SINGLE_QUOTED_SCALAR_STYLE;
	return !(quote == '\'' && here(reader) == quote); /* one quote, written as two */
}

static bool may_begin_word(const char *at)
{
	return *at == '-' ? isalnum((unsigned char)at[1]) : !strchr(" \n?:,[]{}#&*!|>'\"%@`", *at);
}

/* Within brackets it would go on in the next line, unless it ends there. */
static bool goes_on(const struct reader *reader)
{
	const char *next = reader->text + reader->at;

	if (*next != '\n')
		return false;
	next += strspn(next, " \n");
	return *next != ',' && *next != ']' && *next != '}' && *next != '#';
}

static bool scan_word(struct reader *reader, bool flow, struct scalar *ret)
{
	const char *text = reader->text;
	size_t at = reader->at, behind = at;

	if (!may_begin_word(text + at))
		return false;
	ret->start = mark(reader);
	ret->value = at;
	ret->style = YAML_PLAIN_SCALAR_STYLE;
	for (; text[at] && text[at] != '\n'; at++) {
		char c = text[at];

		if (c == ' ')
			continue;
		if ((c == '#' && text[at - 1] == ' ') || (c == ':' && ends_word(text[at + 1])) ||
		    (flow && strchr(",[]{}", c)))
			break;
		if (flow && (c == '?' || (c == ':' && strchr(",?[]{}", text[at + 1]))))
			return false;
		behind = at + 1;
	}
	ret->length = behind - ret->value;
	reader->at = behind;
	ret->end = mark(reader);
	skip_spaces(reader);
	return !flow || !goes_on(reader);
}

static bool scan(struct reader *reader, bool flow, struct scalar *ret)
{
	return here(reader) == '"' || here(reader) == '\'' ? scan_quoted(reader, ret)
							   : scan_word(reader, flow, ret);
}

/* The colon behind a key, in its line. flow: what follows a quoted key there need not be a space.
 */
static bool take_colon(struct reader *reader, const struct scalar *key, bool flow)
{
	skip_spaces(reader);
	if (here(reader) != ':' || (!flow && !ends_word(reader->text[reader->at + 1])) ||
	    reader->at - key->start.index > KEY_MAX)
		return false;
	reader->at++;
	return true;
}

static bool is_key(const struct reader *reader)
{
	const char *next = reader->text + reader->at;

	next += strspn(next, " ");
	return *next == ':' && ends_word(next[1]);
}

/* ---- within brackets ---- */

static int read_flow(struct reader *reader);

static int read_flow_sequence(struct reader *reader)
{
	int number = begin(reader, YAML_SEQUENCE_NODE, mark(reader), true);
	size_t first = reader->open.count;

	if (!number)
		return 0;
	reader->at++;
	for (skip(reader); here(reader) != ']'; skip(reader)) {
		if (!add_child(reader, read_flow(reader)))
			return 0;
		skip(reader);
		if (here(reader) == ',')
			reader->at++;
		else if (here(reader) != ']')
			return 0;
	}
	reader->at++;
	return end(reader, number, first);
}

static int read_flow_mapping(struct reader *reader)
{
	int number = begin(reader, YAML_MAPPING_NODE, mark(reader), true);
	size_t first = reader->open.count;
	struct scalar key;

	if (!number)
		return 0;
	reader->at++;
	for (skip(reader); here(reader) != '}'; skip(reader)) {
		if (!scan(reader, true, &key) || !take_colon(reader, &key, true) ||
		    !add_child(reader, add_scalar(reader, &key)))
			return 0;
		skip(reader);
		if (!add_child(reader, read_flow(reader)))
			return 0;
		skip(reader);
		if (here(reader) == ',')
			reader->at++;
		else if (here(reader) != '}')
			return 0;
	}
	reader->at++;
	return end(reader, number, first);
}

static int read_flow(struct reader *reader)
{
	struct scalar scalar;

	if (here(reader) == '[')
		return read_flow_sequence(reader);
	if (here(reader) == '{')
		return read_flow_mapping(reader);
	return scan(reader, true, &scalar) ? add_scalar(reader, &scalar) : 0;
}

/* ---- by indentation ---- */

static int read_mapping(struct reader *reader, const struct scalar *first_key);
static int read_sequence(struct reader *reader, bool of_key);

/* In the line of its key or dash. A scalar with a colon behind it begins a mapping, if it is an
 * item. */
static int read_in_line(struct reader *reader, bool of_key)
{
	struct scalar scalar;
	int number;

	if (here(reader) == '[' || here(reader) == '{') {
		number = read_flow(reader);
	} else if (is_dash(reader) || !scan(reader, false, &scalar)) {
		return 0;
	} else if (is_key(reader)) {
		return of_key ? 0 : read_mapping(reader, &scalar);
	} else {
		number = add_scalar(reader, &scalar);
	}
	return skip_line(reader) ? number : 0;
}

static int read_deeper_mapping(struct reader *reader)
{
	struct scalar key;

	return scan(reader, false, &key) ? read_mapping(reader, &key) : 0;
}

/* What belongs to a key, or to a dash, of a collection at this column. Behind it the reader is at
 * the next word, in another line. A list may stand in the column of its key. */
static int read_value(struct reader *reader, size_t parent, bool of_key)
{
	yaml_mark_t behind = mark(reader);

	skip(reader);
	if (!at_end(reader) && reader->line == behind.line)
		return read_in_line(reader, of_key);
	if (!of_key)
		return !at_end(reader) && column(reader) > parent && !is_dash(reader)
			   ? read_deeper_mapping(reader)
			   : 0;
	if (!at_end(reader) && is_dash(reader) && column(reader) >= parent)
		return read_sequence(reader, column(reader) == parent);
	if (at_end(reader) || column(reader) <= parent)
		return add_nothing(reader, behind);
	return read_deeper_mapping(reader);
}

/* True: the collection at this column goes on. *ret_fits: false: what comes is in no column. */
static bool goes_on_at(const struct reader *reader, size_t of, bool *ret_fits)
{
	*ret_fits = at_end(reader) || column(reader) <= of;
	return !at_end(reader) && column(reader) == of;
}

/* The reader is behind the first key. */
static int read_mapping(struct reader *reader, const struct scalar *first_key)
{
	size_t first = reader->open.count, at = first_key->start.column;
	int number = begin(reader, YAML_MAPPING_NODE, first_key->start, false);
	struct scalar key = *first_key;
	bool fits, more;

	if (!number)
		return 0;
	do {
		if (!take_colon(reader, &key, false) ||
		    !add_child(reader, add_scalar(reader, &key)) ||
		    !add_child(reader, read_value(reader, at, true)))
			return 0;
		more = goes_on_at(reader, at, &fits);
		if (!fits || (more && (is_dash(reader) || !scan(reader, false, &key))))
			return 0;
	} while (more);
	return end(reader, number, first);
}

/* of_key: it stands in the column of a key, and ends before the next one. */
static int read_sequence(struct reader *reader, bool of_key)
{
	size_t first = reader->open.count, at = column(reader);
	int number = begin(reader, YAML_SEQUENCE_NODE, mark(reader), false);
	bool fits, more;

	if (!number)
		return 0;
	do {
		reader->at++;
		if (!add_child(reader, read_value(reader, at, false)))
			return 0;
		more = goes_on_at(reader, at, &fits);
		if (!fits || (more && !is_dash(reader) && !of_key))
			return 0;
	} while (more && is_dash(reader));
	return end(reader, number, first);
}

/* ---- the whole ---- */

static int read_root(struct reader *reader)
{
	int number;

	skip(reader);
	if (at_end(reader))
		return 0;
	if (here(reader) == '[' || here(reader) == '{') {
		number = read_flow(reader);
		skip(reader);
	} else {
		number =
		    is_dash(reader) ? read_sequence(reader, false) : read_deeper_mapping(reader);
	}
	return at_end(reader) ? number : 0;
}

/* Places of children become their addresses, and each scalar ends in a 0: the character behind it
 * has been read. */
static void finish(struct reader *reader)
{
	int *children = reader->children.list;

	for (size_t i = 0; i < reader->nodes_count; i++) {
		yaml_node_t *node = &reader->nodes[i];

		if (node->type == YAML_SCALAR_NODE) {
			node->data.scalar.value[node->data.scalar.length] = 0;
		} else if (node->type == YAML_SEQUENCE_NODE) {
			node->data.sequence.items.start =
			    children + (uintptr_t)node->data.sequence.items.start;
			node->data.sequence.items.top = node->data.sequence.items.end =
			    children + (uintptr_t)node->data.sequence.items.top;
		} else {
			node->data.mapping.pairs.start =
			    (yaml_node_pair_t *)(children +
						 (uintptr_t)node->data.mapping.pairs.start);
			node->data.mapping.pairs.top = node->data.mapping.pairs.end =
			    (yaml_node_pair_t *)(children +
						 (uintptr_t)node->data.mapping.pairs.top);
		}
	}
}

/* Without a new line behind them, spaces or a comment decide where libyaml lets mappings end. */
static bool ends_in_mid_comment(const char *text)
{
	const char *last = strrchr(text, '\n');

	last = last ? last + 1 : text;
	if (!*last)
		return false;
	last += strspn(last, " ");
	return !*last || *last == '#';
}

static char *copy_text(const char *text, size_t length)
{
	char *copy = is_ascii(text, length) ? malloc(length + 1) : NULL;

	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = 0;
	if (!has_documents(copy) && !ends_in_mid_comment(copy))
		return copy;
	free(copy);
	return NULL;
}

bool config_plain_load(const char *text, size_t length, yaml_document_t *ret,
		       struct config_plain *ret_plain)
{
	struct reader reader = {.text = copy_text(text, length), .length = length};
	bool plain = reader.text && read_root(&reader) &&
		     /* an address, also if there is no collection with children */
		     add_number(&reader.children, 0);

	free(reader.open.list);
	if (!plain) {
		free(reader.text);
		free(reader.nodes);
		free(reader.children.list);
		return false;
	}
	finish(&reader);
	*ret = (yaml_document_t){0};
	ret->nodes.start = reader.nodes;
	ret->nodes.top = ret->nodes.end = reader.nodes + reader.nodes_count;
	*ret_plain = (struct config_plain){reader.text, reader.children.list};
	return true;
}

void config_plain_done(yaml_document_t *document, struct config_plain *plain)
{
	free(document->nodes.start);
	free(plain->text);
	free(plain->children);
	*document = (yaml_document_t){0};
	*plain = (struct config_plain){0};
}
