/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The text of a config as a tree with line numbers, and the one error that is reported: the first
 * by line. */
#include "source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_VALUE 64 /* bytes of a wrong value that an error repeats */

/* ---- parsing ---- */

/* libyaml gives a byte offset instead of a line when it cannot even decode the text. */
static size_t line_of_offset(const struct config_source *source, size_t offset)
{
	size_t line = 1;

	for (size_t at = 0; at < offset && at < source->length; at++)
		line += source->text[at] == '\n';
	return line;
}

static bool line_starts_with_tab(const struct config_source *source, size_t line)
{
	const char *at = source->text, *end = source->text + source->length;

	while (line > 1 && at < end)
		line -= *at++ == '\n';
	while (at < end && *at == ' ')
		at++;
	return at < end && *at == '\t';
}

static int complain_not_yaml(struct config_source *source, const yaml_parser_t *parser)
{
	size_t line = parser->problem_mark.line + 1, context_line = parser->context_mark.line + 1;
	char context[128] = "";

	if (parser->error == YAML_MEMORY_ERROR ||
	    !parser->problem) { /* libyaml's composer does not set the error */
		config_source_oom(source);
		return source->error;
	}
	if (parser->error == YAML_READER_ERROR)
		line = line_of_offset(source, parser->problem_offset);
	if (line_starts_with_tab(source, line))
		snprintf(context, sizeof(context), ": indent with spaces, not tabs");
	else if (parser->context && context_line != line)
		snprintf(context, sizeof(context), " %s that begins in line %zu", parser->context,
			 context_line);
	else if (parser->context)
		snprintf(context, sizeof(context), " %s", parser->context);
	return source->error = error_set(&source->complaint, -EINVAL, "%s:%zu: not YAML: %s%s",
					 source->name, line, parser->problem, context);
}

/* A second document is an error: it would be ignored. */
static int check_single(struct config_source *source, yaml_parser_t *parser)
{
	const yaml_node_t *root = yaml_document_get_root_node(&source->document);
	yaml_document_t second;
	size_t line;

	if (!root)
		return source->error = error_set(
			   &source->complaint, -EINVAL,
			   "%s:1: empty: expected at least `services:` and a list", source->name);
	if (!yaml_parser_load(parser, &second))
		return complain_not_yaml(source, parser);
	line = second.start_mark.line + 1;
	root = yaml_document_get_root_node(&second);
	if (root)
		error_set(&source->complaint, 0, "%s:%zu: a second YAML document: expected one",
			  source->name, line);
	source->error = root ? -EINVAL : 0;
	yaml_document_delete(&second);
	return source->error;
}

int config_source_load(struct config_source *source, const char *name, const char *text,
		       size_t length)
{
	yaml_parser_t parser;
	int rc;

	*source = (struct config_source){.name = name, .text = text, .length = length};
	if (!yaml_parser_initialize(&parser)) {
		config_source_oom(source);
		return source->error;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	if (yaml_parser_load(&parser, &source->document))
		rc = check_single(source, &parser);
	else
		rc = complain_not_yaml(source, &parser);
	yaml_parser_delete(&parser);
	return rc;
}

void config_source_done(struct config_source *source)
{
	yaml_document_delete(&source->document);
}

struct config_source *config_sources_failed(const struct config_sources *sources)
{
	for (unsigned i = 0; i < sources->count; i++)
		if (sources->list[i].error == -ENOMEM)
			return &sources->list[i];
	for (unsigned i = 0; i < sources->count; i++)
		if (sources->list[i].error)
			return &sources->list[i];
	return NULL;
}

/* ---- places ---- */

const yaml_node_pair_t *config_source_pair(struct config_source *source, const yaml_node_t *mapping,
					   const char *key)
{
	if (!mapping || mapping->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *node = yaml_document_get_node(&source->document, pair->key);

		if (node->type == YAML_SCALAR_NODE &&
		    !strcmp((const char *)node->data.scalar.value, key))
			return pair;
	}
	return NULL;
}

yaml_node_t *config_source_value(struct config_source *source, const yaml_node_t *mapping,
				 const char *key)
{
	const yaml_node_pair_t *pair = config_source_pair(source, mapping, key);

	return pair ? yaml_document_get_node(&source->document, pair->value) : NULL;
}

static bool is_hidden(struct config_source *source, const yaml_node_pair_t *pair,
		      struct config_source *other, const char *but)
{
	const yaml_node_t *key = yaml_document_get_node(&source->document, pair->key);
	const char *name = (const char *)key->data.scalar.value;

	return key->type == YAML_SCALAR_NODE && strcmp(name, but) != 0 &&
	       config_source_pair(other, yaml_document_get_root_node(&other->document), name);
}

void config_source_hide(struct config_source *source, struct config_source *other, const char *but)
{
	yaml_node_t *root = yaml_document_get_root_node(&source->document);
	yaml_node_pair_t *pair;

	if (root->type != YAML_MAPPING_NODE)
		return;
	for (pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;) {
		if (!is_hidden(source, pair, other, but)) {
			pair++;
			continue;
		}
		memmove(pair, pair + 1,
			(size_t)(root->data.mapping.pairs.top - pair - 1) * sizeof(*pair));
		root->data.mapping.pairs.top--;
	}
}

static yaml_node_t *item_node(const struct config_place *at, const char *key, size_t index)
{
	const yaml_node_t *list = config_source_value(at->source, at->node, key);

	if (!list || list->type != YAML_SEQUENCE_NODE ||
	    index >= (size_t)(list->data.sequence.items.top - list->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(&at->source->document,
				      list->data.sequence.items.start[index]);
}

/* Escapes can put any byte into a value: replaces those that must not reach a terminal. */
static const char *printable(const char *value, char text[SHOWN_VALUE + 4])
{
	size_t length = 0;

	if (!*value)
		return "\"\"";
	for (; length < SHOWN_VALUE && value[length]; length++)
		text[length] = (unsigned char)value[length] < ' ' || value[length] == 0x7f
				   ? '?'
				   : value[length];
	while (value[length] && length && ((unsigned char)value[length] & 0xc0) == 0x80)
		length--; /* not within a UTF-8 character */
	strcpy(text + length, value[length] ? "..." : "");
	return text;
}

static size_t line_of(const yaml_node_t *node, size_t otherwise)
{
	return node ? node->start_mark.line + 1 : otherwise;
}

/* Objects are named far more often than shown: without printf. */
static size_t append(char text[CONFIG_OBJECT], size_t used, const char *what, size_t most)
{
	size_t room = CONFIG_OBJECT - 1 - used, length = strnlen(what, most < room ? most : room);

	memcpy(text + used, what, length);
	text[used + length] = 0;
	return used + length;
}

/* "service web: backend": the place, and what it has an item of. */
static size_t put_object(const struct config_place *at, const char *what, struct config_place *ret)
{
	size_t used = append(ret->object, 0, at->object, 120);

	if (*at->object)
		used = append(ret->object, used, ": ", SIZE_MAX);
	return append(ret->object, used, what, SIZE_MAX);
}

void config_place_root(struct config_source *source, struct config_place *ret)
{
	*ret = (struct config_place){.source = source,
				     .node = yaml_document_get_root_node(&source->document)};
	ret->line = line_of(ret->node, 1);
}

void config_place_field(const struct config_place *at, const char *key, struct config_place *ret)
{
	ret->source = at->source;
	ret->node = config_source_value(at->source, at->node, key);
	ret->line = line_of(ret->node, at->line);
	put_object(at, key, ret);
}

void config_place_item(const struct config_place *at, const char *key, size_t index,
		       struct config_place *ret)
{
	static const struct {
		const char *list, *one, *label;
	} words[] = {{"services", "service", "name"},
		     {"backends", "backend", "address"},
		     {"checks", "check", ""}};
	const yaml_node_t *label = NULL;
	const char *one = key;
	char text[SHOWN_VALUE + 4];
	size_t used;

	ret->source = at->source;
	ret->node = item_node(at, key, index);
	ret->line = line_of(ret->node, at->line);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].list, key)) {
			one = words[i].one;
			label = config_source_value(at->source, ret->node, words[i].label);
		}
	used = append(ret->object, put_object(at, one, ret), " ", SIZE_MAX);
	if (label && label->type == YAML_SCALAR_NODE && label->data.scalar.length)
		append(ret->object, used, printable((const char *)label->data.scalar.value, text),
		       SIZE_MAX);
	else
		snprintf(ret->object + used, sizeof(ret->object) - used, "#%zu", index + 1);
}

const char *config_place_where(const struct config_place *at, const struct config_place *other,
			       char text[CONFIG_WHERE])
{
	if (!other->node || other->source->bare)
		snprintf(text, CONFIG_WHERE, "the config");
	else if (at->source == other->source)
		snprintf(text, CONFIG_WHERE, "line %zu", other->line);
	else
		snprintf(text, CONFIG_WHERE, "%.160s:%zu", other->source->name, other->line);
	return text;
}

/* ---- complaints ---- */

void config_source_oom(struct config_source *source)
{
	source->error = error_set(&source->complaint, -ENOMEM, "%s: out of memory", source->name);
}

/* What an alias repeats is said once. */
static void keep_mistake(struct config_source *source, size_t line, const char *text)
{
	struct config_mistakes *all = source->all;
	char *copy;

	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].line == line && !strcmp(all->list[i].text, text))
			return;
	copy = all->count < CONFIG_MISTAKES ? strdup(text) : NULL;
	if (copy)
		all->list[all->count++] = (struct config_mistake){source->file, line, copy};
	else
		all->left_out++;
}

__attribute__((format(printf, 5, 0))) static void complain(const struct config_place *at,
							   const yaml_node_t *node, const char *key,
							   const char *value, const char *format,
							   va_list args)
{
	struct config_source *source = at->source;
	size_t line = line_of(node, at->line);
	bool earliest = !source->error || line < source->error_line;
	char shown[SHOWN_VALUE + 4], expected[640], place[540] = "";
	struct error complaint;

	if (source->error == -ENOMEM || !(earliest || source->all))
		return;
	vsnprintf(expected, sizeof(expected), format, args);
	if (!source->bare)
		snprintf(place, sizeof(place), "%.511s:%zu: ", source->name, line);
	error_set(&complaint, -EINVAL, "%s%s%s%s%s%s%s%s", place, at->object,
		  *at->object ? ": " : "", key ? key : "", key ? ": " : "",
		  value ? printable(value, shown) : "", value ? ": " : "", expected);
	if (source->all)
		keep_mistake(source, line, complaint.text);
	if (!earliest)
		return;
	source->error_line = line;
	source->error = -EINVAL;
	source->complaint = complaint;
}

void config_complain(const struct config_place *at, const char *key, const char *value,
		     const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(at, key ? config_source_value(at->source, at->node, key) : NULL, key, value,
		 format, args);
	va_end(args);
}

void config_complain_missing(const struct config_place *at, const char *key, const char *format,
			     ...)
{
	va_list args;

	if (at->source->pruned)
		return;
	va_start(args, format);
	complain(at, config_source_value(at->source, at->node, key), key, "missing", format, args);
	va_end(args);
}

void config_complain_item(const struct config_place *at, const char *key, size_t index,
			  const char *value, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(at, item_node(at, key, index), key, value, format, args);
	va_end(args);
}

void config_complain_node(const struct config_place *at, const yaml_node_t *node, const char *key,
			  const char *value, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(at, node, key, value, format, args);
	va_end(args);
}
