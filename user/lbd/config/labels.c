/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `name`, `zone` and `labels` of a backend. Labels are read from the tree, as libcyaml knows no
 * mapping with any keys; schema.c has it ignore them. */
#include "labels.h"

#include <string.h>

#define EXPECTED "expected a mapping such as { zone: a }"

/* NULL: not a scalar, or with a zero byte in it. */
static const char *text_of(const yaml_node_t *node)
{
	if (node->type != YAML_SCALAR_NODE ||
	    strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
		return NULL;
	return (const char *)node->data.scalar.value;
}

static bool has_key(const struct config_label *labels, unsigned count, const char *key)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(labels[i].key, key))
			return true;
	return false;
}

/* False after a complaint. */
static bool read_label(const struct config_place *at, const yaml_node_pair_t *pair,
		       const struct config_label *before, unsigned count, struct config_label *ret)
{
	yaml_document_t *document = &at->source->document;
	const yaml_node_t *key_node = yaml_document_get_node(document, pair->key),
			  *value_node = yaml_document_get_node(document, pair->value);
	const char *key = text_of(key_node), *value = text_of(value_node);

	if (!key || !config_label_key_fits(key))
		config_complain_node(at, key_node, NULL, key, CONFIG_LABEL_KEY_EXPECTED);
	else if (has_key(before, count, key))
		config_complain_node(at, key_node, key, NULL, "given twice: expected once");
	else if (!value || !config_label_value_fits(value))
		config_complain_node(at, value_node, key, value, CONFIG_LABEL_VALUE_EXPECTED);
	else
		*ret = (struct config_label){key, value};
	return ret->key;
}

/* How many; -1 after a complaint. */
static int read_labels(const struct config_place *backend,
		       struct config_label labels[CONFIG_LABELS_MAX])
{
	const yaml_node_t *node = config_source_value(backend->source, backend->node, "labels");
	struct config_place at;
	unsigned count = 0;

	if (!node)
		return 0;
	config_place_field(backend, "labels", &at);
	if (node->type != YAML_MAPPING_NODE) {
		config_complain_node(backend, node, "labels", NULL, EXPECTED);
		return -1;
	}
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		if (count == CONFIG_LABELS_MAX) {
			config_complain_node(&at, node, NULL, NULL,
					     "too many: expected at most %d for a backend",
					     CONFIG_LABELS_MAX);
			return -1;
		}
		labels[count].key = NULL;
		if (!read_label(&at, pair, labels, count, &labels[count]))
			return -1;
		count++;
	}
	return (int)count;
}

void config_read_tag(const struct config_place *at, const char *name, const char *zone,
		     struct config_tag **ret)
{
	struct config_label labels[CONFIG_LABELS_MAX];
	int count = read_labels(at, labels);

	if (name && !config_tag_name_fits(name)) {
		config_complain(at, "name", name, CONFIG_TAG_NAME_EXPECTED);
		return;
	}
	if (zone && !config_zone_fits(zone)) {
		config_complain(at, "zone", zone, CONFIG_ZONE_EXPECTED);
		return;
	}
	if (count < 0 || (!count && !name && !zone))
		return;
	*ret = config_tag_new(name, zone, labels, (unsigned)count);
	if (!*ret)
		config_source_oom(at->source);
}
