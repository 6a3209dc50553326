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

int config_dump(yaml_document_t *document, char **ret, size_t *ret_length)
{
	struct buffer buffer = {0};
	int rc = dump(document, &buffer);

	memset(document, 0, sizeof(*document));
	if (rc) {
		free(buffer.bytes);
		return rc;
	}
	*ret = buffer.bytes;
	*ret_length = buffer.length;
	return 0;
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
	size_t length;

	if (!config_source_load(&source, "service", json, strlen(json))) {
		yaml_document_t *document = &source.document;

		for (yaml_node_t *node = document->nodes.start; node < document->nodes.top; node++)
			set_style(document, node, node == document->nodes.start);
		if (config_dump(document, &text, &length))
			text = NULL;
	}
	config_source_done(&source);
	return text;
}
