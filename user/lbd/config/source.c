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

int config_source_load_yaml(struct config_source *source, const char *name, const char *text,
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

int config_source_load(struct config_source *source, const char *name, const char *text,
		       size_t length)
{
	*source = (struct config_source){.name = name, .text = text, .length = length};
	if (config_plain_load(text, length, &source->document, &source->plain))
		return 0;
	return config_source_load_yaml(source, name, text, length);
}

void config_source_done(struct config_source *source)
{
	if (source->plain.text)
		config_plain_done(&source->document, &source->plain);
	else
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

yaml_node_t *config_source_item(struct config_source *source, const yaml_node_t *list, size_t index)
{
	if (!list || list->type != YAML_SEQUENCE_NODE ||
	    index >= (size_t)(list->data.sequence.items.top - list->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(&source->document, list->data.sequence.items.start[index]);
}

static yaml_node_t *item_node(const struct config_place *at, const char *key, size_t index)
{
	return config_source_item(at->source, config_source_value(at->source, at->node, key),
				  index);
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

static size_t append(char text[CONFIG_OBJECT], size_t used, const char *what)
{
	size_t room = CONFIG_OBJECT - 1 - used, length = strnlen(what, room);

	memcpy(text + used, what, length);
	text[used + length] = 0;
	return used + length;
}

/* "service web: backend 10.0.0.11" behind "service web". */
static void append_step(char text[CONFIG_OBJECT], const struct config_step *step)
{
	const yaml_node_t *label = step->label;
	size_t used = strnlen(text, 120);
	char shown[SHOWN_VALUE + 4];

	if (used)
		used = append(text, used, ": ");
	used = append(text, used, step->word);
	if (!step->number)
		return;
	used = append(text, used, " ");
	if (step->name)
		append(text, used, step->name);
	else if (label && label->type == YAML_SCALAR_NODE && label->data.scalar.length)
		append(text, used, printable((const char *)label->data.scalar.value, shown));
	else
		snprintf(text + used, CONFIG_OBJECT - used, "#%zu", step->number);
}

const char *config_place_object(const struct config_place *at, char text[CONFIG_OBJECT])
{
	*text = 0;
	for (unsigned i = 0; i < at->steps_count; i++)
		append_step(text, &at->steps[i]);
	return text;
}

void config_place_root(struct config_source *source, struct config_place *ret)
{
	*ret = (struct config_place){.source = source,
				     .node = yaml_document_get_root_node(&source->document)};
	ret->line = line_of(ret->node, 1);
}

/* Only the steps that there are: places are made for each backend. */
static void take_step(const struct config_place *at, yaml_node_t *node,
		      const struct config_step *step, struct config_place *ret)
{
	unsigned count = at->steps_count < CONFIG_DEPTH ? at->steps_count : CONFIG_DEPTH - 1;

	ret->source = at->source;
	ret->node = node;
	ret->line = line_of(node, at->line);
	for (unsigned i = 0; i < count; i++)
		ret->steps[i] = at->steps[i];
	ret->steps[count] = *step;
	ret->steps_count = count + 1;
}

void config_place_field(const struct config_place *at, const char *key, struct config_place *ret)
{
	take_step(at, config_source_value(at->source, at->node, key),
		  &(struct config_step){.word = key}, ret);
}

void config_place_node(const struct config_place *at, const char *key, size_t index,
		       yaml_node_t *item, struct config_place *ret)
{
	static const struct {
		const char *list, *one, *label;
	} words[] = {{"services", "service", "name"},
		     {"backends", "backend", "address"},
		     {"checks", "check", ""}};
	struct config_step step = {.word = key, .number = index + 1};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].list, key)) {
			step.word = words[i].one;
			step.label = config_source_value(at->source, item, words[i].label);
		}
	take_step(at, item, &step, ret);
}

void config_place_item(const struct config_place *at, const char *key, size_t index,
		       struct config_place *ret)
{
	config_place_node(at, key, index, item_node(at, key, index), ret);
}

void config_place_named(const struct config_place *at, const char *word, const char *name,
			struct config_place *ret)
{
	take_step(at, NULL, &(struct config_step){.word = word, .number = 1, .name = name}, ret);
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
	char shown[SHOWN_VALUE + 4], expected[640], place[540] = "", object[CONFIG_OBJECT];
	struct error complaint;

	if (source->error == -ENOMEM || !(earliest || source->all))
		return;
	vsnprintf(expected, sizeof(expected), format, args);
	if (!source->bare)
		snprintf(place, sizeof(place), "%.511s:%zu: ", source->name, line);
	config_place_object(at, object);
	error_set(&complaint, -EINVAL, "%s%s%s%s%s%s%s%s", place, object, *object ? ": " : "",
		  key ? key : "", key ? ": " : "", value ? printable(value, shown) : "",
		  value ? ": " : "", expected);
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
