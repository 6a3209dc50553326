/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fills structs from a tree, as a libcyaml schema says. libcyaml itself would parse the text once
 * more, which takes longer than what is done here and in all of the check of a config together. */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int load_value(yaml_document_t *document, const cyaml_schema_value_t *schema,
		      const yaml_node_t *node, void *to);

static const char *text_of(const yaml_node_t *node)
{
	return (const char *)node->data.scalar.value;
}

/* The numbers of words fit into a byte, in which schema.h has them. */
static uint8_t number_of_word(const cyaml_schema_value_t *schema, const yaml_node_t *node)
{
	const cyaml_strval_t *words = schema->enumeration.strings;
	uint32_t i = 0;

	while (i + 1 < schema->enumeration.count && strcmp(words[i].str, text_of(node)) != 0)
		i++;
	return (uint8_t)words[i].val;
}

static uint8_t numbers_of_words(yaml_document_t *document, const cyaml_schema_value_t *schema,
				const yaml_node_t *list)
{
	uint8_t all = 0;

	for (const yaml_node_item_t *item = list->data.sequence.items.start;
	     item < list->data.sequence.items.top; item++)
		all |= number_of_word(schema, yaml_document_get_node(document, *item));
	return all;
}

static int load_items(yaml_document_t *document, const cyaml_schema_value_t *entry,
		      const yaml_node_t *list, void **ret, unsigned *ret_count)
{
	const yaml_node_item_t *items = list->data.sequence.items.start;
	size_t count = (size_t)(list->data.sequence.items.top - items);
	size_t size = entry->flags & CYAML_FLAG_POINTER ? sizeof(void *) : entry->data_size;
	int rc = 0;

	if (!count)
		return 0;
	*ret = calloc(count, size);
	if (!*ret)
		return -ENOMEM;
	*ret_count = (unsigned)count;
	for (size_t i = 0; i < count && !rc; i++)
		rc = load_value(document, entry, yaml_document_get_node(document, items[i]),
				(char *)*ret + i * size);
	return rc;
}

/* Its key is NULL if the schema has none of this name: shape.c lets no such tree pass. */
static const cyaml_schema_field_t *field_of(const cyaml_schema_field_t *fields, const char *key)
{
	while (fields->key && strcmp(fields->key, key) != 0)
		fields++;
	return fields;
}

static int load_pairs(yaml_document_t *document, const cyaml_schema_field_t *fields,
		      const yaml_node_t *mapping, char *to)
{
	int rc = 0;

	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top && !rc; pair++) {
		const yaml_node_t *value = yaml_document_get_node(document, pair->value);
		const cyaml_schema_field_t *field =
		    field_of(fields, text_of(yaml_document_get_node(document, pair->key)));

		if (!field->key)
			rc = -EINVAL;
		else if (field->value.type == CYAML_SEQUENCE)
			rc = load_items(document, field->value.sequence.entry, value,
					(void **)(to + field->data_offset),
					(unsigned *)(to + field->count_offset));
		else
			rc = load_value(document, &field->value, value, to + field->data_offset);
	}
	return rc;
}

/* Of a value with CYAML_FLAG_POINTER the place is allocated, and its address goes to `to`. */
static int load_value(yaml_document_t *document, const cyaml_schema_value_t *schema,
		      const yaml_node_t *node, void *to)
{
	void *place = to;

	if (schema->type == CYAML_IGNORE)
		return 0;
	if (schema->flags & CYAML_FLAG_POINTER) {
		place = schema->type == CYAML_STRING ? strdup(text_of(node))
						     : calloc(1, schema->data_size);
		*(void **)to = place;
		if (!place)
			return -ENOMEM;
	}
	switch (schema->type) {
	case CYAML_MAPPING:
		return load_pairs(document, schema->mapping.fields, node, place);
	case CYAML_FLAGS:
		*(uint8_t *)place = numbers_of_words(document, schema, node);
		return 0;
	case CYAML_ENUM:
		*(uint8_t *)place = number_of_word(schema, node);
		return 0;
	default: /* a text */
		return 0;
	}
}

int config_load_tree(struct config_source *source, const cyaml_schema_value_t *schema, void **ret)
{
	return load_value(&source->document, schema, yaml_document_get_root_node(&source->document),
			  ret);
}
