/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* YAML as configs are mostly written, read into the very tree that libyaml makes of it, in a
 * fifth of the time: libyaml looks at each byte several times, and allocates for each word. What is
 * not as plain is left to libyaml: anchors, tags, texts over several lines, escapes, bytes that are
 * not ASCII, and all that is wrong. */
#ifndef LBD_CONFIG_PLAIN_H
#define LBD_CONFIG_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

struct config_plain { /* what the nodes of the tree point into */
	char *text;   /* NULL: none */
	int *children;
};

/* False: it is not plain, or memory is short; nothing was made. Else the document has the nodes,
 * numbers, marks and styles that yaml_parser_load gives it, but no tags. It ends with
 * config_plain_done, never with a function of libyaml. */
bool config_plain_load(const char *text, size_t length, yaml_document_t *ret,
		       struct config_plain *ret_plain);
void config_plain_done(yaml_document_t *document, struct config_plain *plain);

#endif
