/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Trees as texts. */
#ifndef LBD_CONFIG_DUMP_H
#define LBD_CONFIG_DUMP_H

#include <yaml.h>

/* The text of one pair of a mapping in the document, "key: value", with what aliases in it lead to;
 * allocated. 0 or -ENOMEM. */
int config_dump_pair(yaml_document_t *document, const yaml_node_pair_t *pair, char **ret);

/* A JSON object as the lines of a YAML mapping, whose inner mappings are in braces and whose lists
 * of mappings have a line for each; allocated. NULL: out of memory, or it is no JSON. */
char *config_dump_block(const char *json);

#endif
