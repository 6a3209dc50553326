/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks keys and types of a config's tree against a libcyaml schema. To find every mistake it also
 * takes out of the tree what is wrong, so that the rest can be loaded. */
#include "shape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spelling.h"

/* Aliases can expand a small file to a large tree: limits the items of all lists together before
 * load.c copies them. */
#define MAX_ITEMS 100000

struct shape {
	struct config_source *source;
	size_t items; /* of all lists so far */
	bool prune;
	/* With prune: what was found of each node, as aliases lead to it again, and with which
	 * keys: an alias may put it where others are known. */
	struct seen {
		const cyaml_schema_field_t *fields; /* NULL: not seen yet */
		bool fit;
	} * seen;
};

/* Each check returns whether the node can be loaded, after it was pruned. */
static bool check_mapping(struct shape *shape, const cyaml_schema_field_t *fields,
			  const struct config_place *at);

/* ---- words ---- */

static const char *type_name(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	default:
		return node->data.scalar.length ? (const char *)node->data.scalar.value : "nothing";
	}
}

/* Appends ", word" or " or word" to a list in text. */
static void append_word(char *text, size_t size, const char *word, bool first, bool last)
{
	size_t length = strlen(text);

	snprintf(text + length, size - length, "%s%s", first ? "" : last ? " or " : ", ", word);
}

static const char *list_words(const cyaml_schema_value_t *schema, char text[], size_t size)
{
	*text = 0;
	for (uint32_t i = 0; i < schema->enumeration.count; i++)
		append_word(text, size, schema->enumeration.strings[i].str, i == 0,
			    i + 1 == schema->enumeration.count);
	return text;
}

static const char *list_keys(const cyaml_schema_field_t *fields, char text[], size_t size)
{
	*text = 0;
	for (const cyaml_schema_field_t *field = fields; field->key; field++)
		append_word(text, size, field->key, field == fields, !field[1].key);
	return text;
}

/* ---- the nearest known key ---- */

/* The known key that was probably meant: a third of the letters may differ, at least one, or key
 * may be the beginning of it. NULL if none is near. */
static const char *nearest_key(const cyaml_schema_field_t *fields, const char *key)
{
	unsigned length = (unsigned)strlen(key), best = length / 3 ? length / 3 : 1;
	const char *nearest = NULL;

	for (; fields->key; fields++) {
		unsigned d = spelling_distance(key, fields->key);

		if (d < best + !nearest) {
			best = d;
			nearest = fields->key;
		} else if (!nearest && length >= 3 && !strncmp(key, fields->key, length)) {
			nearest = fields->key;
		}
	}
	return nearest;
}

/* Of a key that another text of the config may have. NULL: any other. */
static const char *other_place(const struct config_place *at)
{
	if (*at->object)
		return NULL;
	switch (at->source->part) {
	case CONFIG_PART_INCLUDED:
		return "in an included file: all else is in the main file";
	case CONFIG_PART_FLEET:
		return "in etcd: socket and state are in the node's own file, and nothing is "
		       "included";
	case CONFIG_PART_NODE:
		return "in the node's own file: all else is in etcd";
	default:
		return NULL;
	}
}

static void complain_key(const cyaml_schema_field_t *fields, const struct config_place *at,
			 const yaml_node_t *node)
{
	const char *key = (const char *)node->data.scalar.value,
		   *nearest = nearest_key(fields, key), *place = other_place(at);
	char text[400];

	if (!strcmp(key, "<<"))
		config_complain_node(
		    at, node, NULL, key,
		    "merge keys are not supported: use `defaults`, or an alias for a whole value");
	else if (nearest)
		config_complain_node(at, node, NULL, key, "unknown key: did you mean %s?", nearest);
	else if (place)
		config_complain_node(at, node, NULL, key, "expected only %s %s",
				     list_keys(fields, text, sizeof(text)), place);
	else
		config_complain_node(at, node, NULL, key, "unknown key: expected %s",
				     list_keys(fields, text, sizeof(text)));
}

/* ---- values ---- */

static bool is_text(const struct config_place *at, const char *key, const yaml_node_t *node,
		    const char *expected)
{
	const char *value;

	if (node->type != YAML_SCALAR_NODE) {
		config_complain_node(at, node, key, type_name(node), "expected %s", expected);
		return false;
	}
	value = (const char *)node->data.scalar.value;
	if (node->data.scalar.length > CONFIG_MAX_TEXT)
		config_complain_node(at, node, key, value, "expected at most %d bytes",
				     CONFIG_MAX_TEXT);
	else if (strlen(value) != node->data.scalar.length)
		config_complain_node(at, node, key, value, "expected text without a zero byte");
	else
		return true;
	return false;
}

static bool check_word(const cyaml_schema_value_t *schema, const struct config_place *at,
		       const char *key, const yaml_node_t *node)
{
	char words[200];

	list_words(schema, words, sizeof(words));
	if (!is_text(at, key, node, words))
		return false;
	for (uint32_t i = 0; i < schema->enumeration.count; i++)
		if (!strcmp((const char *)node->data.scalar.value,
			    schema->enumeration.strings[i].str))
			return true;
	config_complain_node(at, node, key, (const char *)node->data.scalar.value, "expected %s",
			     words);
	return false;
}

static bool is_list(struct shape *shape, const struct config_place *at, const char *key,
		    const yaml_node_t *node)
{
	if (node->type != YAML_SEQUENCE_NODE) {
		config_complain_node(at, node, key, type_name(node), "expected a list");
		return false;
	}
	shape->items += (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (shape->items > MAX_ITEMS)
		config_complain_node(at, node, key, NULL,
				     "too long: expected at most %d items in all lists together",
				     MAX_ITEMS);
	return shape->items <= MAX_ITEMS;
}

static bool check_words(struct shape *shape, const cyaml_schema_value_t *schema,
			const struct config_place *at, const char *key, const yaml_node_t *node)
{
	bool fit = true;

	if (!is_list(shape, at, key, node))
		return false;
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++)
		fit &= check_word(schema, at, key,
				  yaml_document_get_node(&shape->source->document, *item));
	return fit;
}

static bool check_item(struct shape *shape, const cyaml_schema_value_t *entry,
		       const struct config_place *at, const char *key, size_t index,
		       const yaml_node_t *node)
{
	struct config_place place;

	if (entry->type == CYAML_STRING)
		return is_text(at, key, node, "a single value");
	config_place_item(at, key, index, &place);
	return check_mapping(shape, entry->mapping.fields, &place);
}

static void take_out_item(yaml_node_t *list, size_t index)
{
	yaml_node_item_t *item = list->data.sequence.items.start + index;

	memmove(item, item + 1, (size_t)(list->data.sequence.items.top - item - 1) * sizeof(*item));
	list->data.sequence.items.top--;
}

static bool check_list(struct shape *shape, const cyaml_schema_value_t *schema,
		       const struct config_place *at, const char *key, yaml_node_t *node)
{
	const yaml_node_item_t *items;
	size_t count, i = 0;

	if (!is_list(shape, at, key, node))
		return false;
	items = node->data.sequence.items.start;
	count = (size_t)(node->data.sequence.items.top - items);
	if (count < schema->sequence.min)
		config_complain_node(at, node, key, NULL, "empty: expected at least one");
	if (count > schema->sequence.max) {
		config_complain_node(at, node, key, NULL, "%zu items: expected at most %u", count,
				     schema->sequence.max);
		return false;
	}
	while (i < count && shape->items <= MAX_ITEMS) {
		bool fit = check_item(shape, schema->sequence.entry, at, key, i,
				      yaml_document_get_node(&shape->source->document, items[i]));

		if (fit || !shape->prune) {
			i++;
		} else {
			take_out_item(node, i);
			count--;
		}
	}
	return count >= schema->sequence.min;
}

static bool check_value(struct shape *shape, const cyaml_schema_value_t *schema,
			const struct config_place *at, const char *key, yaml_node_t *node)
{
	struct config_place place;

	switch (schema->type) {
	case CYAML_MAPPING:
		config_place_field(at, key, &place);
		return check_mapping(shape, schema->mapping.fields, &place);
	case CYAML_SEQUENCE:
		return check_list(shape, schema, at, key, node);
	case CYAML_FLAGS:
		return check_words(shape, schema, at, key, node);
	case CYAML_IGNORE: /* checked by those who read it */
		return true;
	case CYAML_ENUM:
		return check_word(schema, at, key, node);
	default:
		return is_text(at, key, node, "a single value");
	}
}

/* ---- mappings ---- */

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, const char *key)
{
	for (; fields->key; fields++)
		if (!strcmp(fields->key, key))
			return fields;
	return NULL;
}

static bool is_missing(const cyaml_schema_field_t *field, const struct config_place *at)
{
	return !(field->value.flags & CYAML_FLAG_OPTIONAL) &&
	       !config_source_value(at->source, at->node, field->key);
}

/* Required keys that are not there, a bit for each field. */
static uint64_t find_missing(const cyaml_schema_field_t *fields, const struct config_place *at)
{
	uint64_t missing = 0;

	for (unsigned i = 0; i < 64 && fields[i].key; i++)
		missing |= (uint64_t)is_missing(&fields[i], at) << i;
	return missing;
}

static void complain_missing(const cyaml_schema_field_t *fields, const struct config_place *at,
			     uint64_t missing)
{
	char words[200];

	for (unsigned i = 0; i < 64 && fields[i].key; i++)
		if (missing >> i & 1)
			config_complain_missing(
			    at, fields[i].key, "expected %s",
			    fields[i].value.type == CYAML_ENUM
				? list_words(&fields[i].value, words, sizeof(words))
				: "a list");
}

static bool check_pair(struct shape *shape, const cyaml_schema_field_t *fields,
		       const struct config_place *at, const yaml_node_pair_t *pair)
{
	const yaml_node_t *key_node = yaml_document_get_node(&shape->source->document, pair->key);
	yaml_node_t *value = yaml_document_get_node(&shape->source->document, pair->value);
	const yaml_node_pair_t *first;
	const cyaml_schema_field_t *field;

	if (!is_text(at, NULL, key_node, "a key"))
		return false;
	field = find_field(fields, (const char *)key_node->data.scalar.value);
	if (!field) {
		complain_key(fields, at, key_node);
		return false;
	}
	first = config_source_pair(at->source, at->node, field->key);
	if (first != pair) {
		const yaml_node_t *before =
		    yaml_document_get_node(&shape->source->document, first->key);

		config_complain_node(at, key_node, field->key, NULL,
				     "given twice: expected once, see line %zu",
				     before->start_mark.line + 1);
		return false;
	}
	return check_value(shape, &field->value, at, field->key, value);
}

static void take_out_pair(yaml_node_t *mapping, yaml_node_pair_t *pair)
{
	memmove(pair, pair + 1,
		(size_t)(mapping->data.mapping.pairs.top - pair - 1) * sizeof(*pair));
	mapping->data.mapping.pairs.top--;
}

static bool check_pairs(struct shape *shape, const cyaml_schema_field_t *fields,
			const struct config_place *at)
{
	uint64_t missing = find_missing(fields, at);
	yaml_node_pair_t *pair = at->node->data.mapping.pairs.start;

	while (pair < at->node->data.mapping.pairs.top) {
		if (check_pair(shape, fields, at, pair) || !shape->prune)
			pair++;
		else
			take_out_pair(at->node, pair);
	}
	complain_missing(fields, at, missing);
	return !find_missing(fields, at);
}

static bool check_mapping(struct shape *shape, const cyaml_schema_field_t *fields,
			  const struct config_place *at)
{
	size_t number = (size_t)(at->node - shape->source->document.nodes.start);
	char keys[400];
	bool fit;

	if (at->node->type != YAML_MAPPING_NODE) {
		config_complain_node(at, at->node, NULL, type_name(at->node),
				     "expected a mapping with the keys %s",
				     list_keys(fields, keys, sizeof(keys)));
		return false;
	}
	if (shape->seen && shape->seen[number].fields == fields)
		return shape->seen[number].fit;
	fit = check_pairs(shape, fields, at);
	if (shape->seen)
		shape->seen[number] = (struct seen){fields, fit};
	return fit;
}

int config_shape_check(struct config_source *source, const cyaml_schema_value_t *schema)
{
	struct shape shape = {.source = source};
	struct config_place root;

	config_place_root(source, &root);
	check_mapping(&shape, schema->mapping.fields, &root);
	return source->error;
}

int config_shape_prune(struct config_source *source, const cyaml_schema_value_t *schema)
{
	const yaml_document_t *document = &source->document;
	struct shape shape = {.source = source, .prune = true};
	struct config_place root;
	bool fit;

	shape.seen =
	    calloc((size_t)(document->nodes.top - document->nodes.start) + 1, sizeof(*shape.seen));
	if (!shape.seen) {
		config_source_oom(source);
		return source->error;
	}
	config_place_root(source, &root);
	fit = check_mapping(&shape, schema->mapping.fields, &root) && shape.items <= MAX_ITEMS;
	free(shape.seen);
	return fit ? 0 : -EINVAL;
}
