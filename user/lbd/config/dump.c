/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Trees as texts, by libyaml's emitter, which knows what has to be quoted. */
#include "dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

struct buffer {
	char *bytes;
	size_t length;
};

static int append(void *arg, unsigned char *bytes, size_t length)
{
	struct buffer *buffer = arg;
	char *grown = realloc(buffer->bytes, buffer->length + length + 1);

	if (!grown)
		return 0;
	memcpy(grown + buffer->length, bytes, length);
	buffer->bytes = grown;
	buffer->length += length;
	grown[buffer->length] = 0;
	return 1;
}

static int dump(yaml_document_t *document, struct buffer *ret)
{
	yaml_emitter_t emitter;
	int done;

	if (!yaml_emitter_initialize(&emitter)) {
		yaml_document_delete(document);
		return -ENOMEM;
	}
	yaml_emitter_set_output(&emitter, append, ret);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	done = yaml_emitter_open(&emitter);
	if (!done)
		yaml_document_delete(document);
	done = done && yaml_emitter_dump(&emitter, document) && yaml_emitter_close(&emitter);
	yaml_emitter_delete(&emitter);
	return done && ret->bytes ? 0 : -ENOMEM;
}

/* The text of the document in *ret, allocated. Ends the document, also on failure: it is zero
 * afterwards. 0 or -ENOMEM. */
static int dump_text(yaml_document_t *document, char **ret)
{
	struct buffer buffer = {0};
	int rc = dump(document, &buffer);

	memset(document, 0, sizeof(*document));
	if (rc)
		free(buffer.bytes);
	else
		*ret = buffer.bytes;
	return rc;
}

/* ---- a part of a tree ---- */

/* copies: of each node of `from` its number in `to`, or 0. */
static int copy_node(yaml_document_t *from, int number, yaml_document_t *to, int *copies);

static int copy_items(yaml_document_t *from, const yaml_node_t *list, yaml_document_t *to, int copy,
		      int *copies)
{
	for (const yaml_node_item_t *item = list->data.sequence.items.start;
	     item < list->data.sequence.items.top; item++) {
		int one = copy_node(from, *item, to, copies);

		if (!one || !yaml_document_append_sequence_item(to, copy, one))
			return 0;
	}
	return copy;
}

static int copy_pairs(yaml_document_t *from, const yaml_node_t *mapping, yaml_document_t *to,
		      int copy, int *copies)
{
	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		int key = copy_node(from, pair->key, to, copies),
		    value = key ? copy_node(from, pair->value, to, copies) : 0;

		if (!value || !yaml_document_append_mapping_pair(to, copy, key, value))
			return 0;
	}
	return copy;
}

/* The number of the copy; 0: out of memory. Aliases lead to a node again, also to one they are
 * in. */
static int copy_node(yaml_document_t *from, int number, yaml_document_t *to, int *copies)
{
	const yaml_node_t *node = yaml_document_get_node(from, number);
	int *copy = &copies[number], before = *copy;

	if (before)
		return before;
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		*copy = yaml_document_add_sequence(to, node->tag, node->data.sequence.style);
		return *copy ? copy_items(from, node, to, *copy, copies) : 0;
	case YAML_MAPPING_NODE:
		*copy = yaml_document_add_mapping(to, node->tag, node->data.mapping.style);
		return *copy ? copy_pairs(from, node, to, *copy, copies) : 0;
	default:
		return *copy = yaml_document_add_scalar(to, node->tag, node->data.scalar.value,
							(int)node->data.scalar.length,
							node->data.scalar.style);
	}
}

/* to becomes a mapping of one pair, whose key and value are copied. */
static int copy_pair(yaml_document_t *from, const yaml_node_pair_t *pair, yaml_document_t *to)
{
	int *copies = calloc((size_t)(from->nodes.top - from->nodes.start) + 1, sizeof(*copies));
	int root = copies ? yaml_document_add_mapping(to, NULL, YAML_BLOCK_MAPPING_STYLE) : 0;
	int key = root ? copy_node(from, pair->key, to, copies) : 0;
	int value = key ? copy_node(from, pair->value, to, copies) : 0;

	free(copies);
	return value && yaml_document_append_mapping_pair(to, root, key, value) ? 0 : -ENOMEM;
}

int config_dump_pair(yaml_document_t *document, const yaml_node_pair_t *pair, char **ret)
{
	yaml_document_t part;

	if (!yaml_document_initialize(&part, NULL, NULL, NULL, 1, 1))
		return -ENOMEM;
	if (copy_pair(document, pair, &part)) {
		yaml_document_delete(&part);
		return -ENOMEM;
	}
	return dump_text(&part, ret);
}

/* ---- JSON ---- */

static bool has_mappings(yaml_document_t *document, const yaml_node_t *list)
{
	const yaml_node_item_t *first = list->data.sequence.items.start;

	return first < list->data.sequence.items.top &&
	       yaml_document_get_node(document, *first)->type == YAML_MAPPING_NODE;
}

/* As a person would write it: no quotes that are not needed. */
static void set_style(yaml_document_t *document, yaml_node_t *node, bool root)
{
	if (node->type == YAML_SCALAR_NODE)
		node->data.scalar.style = YAML_ANY_SCALAR_STYLE;
	else if (node->type == YAML_MAPPING_NODE)
		node->data.mapping.style =
		    root ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
	else if (node->type == YAML_SEQUENCE_NODE)
		node->data.sequence.style = has_mappings(document, node) ? YAML_BLOCK_SEQUENCE_STYLE
									 : YAML_FLOW_SEQUENCE_STYLE;
}

char *config_dump_block(const char *json)
{
	struct config_source source;
	char *text = NULL;

	if (!config_source_load(&source, "service", json, strlen(json))) {
		yaml_document_t *document = &source.document;

		for (yaml_node_t *node = document->nodes.start; node < document->nodes.top; node++)
			set_style(document, node, node == document->nodes.start);
		if (dump_text(document, &text))
			text = NULL;
	}
	config_source_done(&source);
	return text;
}
