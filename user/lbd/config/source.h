/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The text of a config as a tree with line numbers, and the one error that is reported: the first
 * by line. */
#ifndef LBD_CONFIG_SOURCE_H
#define LBD_CONFIG_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "common/error.h"

#define CONFIG_MISTAKES 100 /* that are kept */

/* Every complaint, in the order in which they were found. */
struct config_mistakes {
	struct config_mistake {
		unsigned file; /* config_source.file */
		size_t line;
		char *text;
	} list[CONFIG_MISTAKES];
	size_t count, left_out;
};

/* What a text is, which decides on the keys that it may have. */
enum config_part {
	CONFIG_PART_MAIN,
	CONFIG_PART_INCLUDED,
	CONFIG_PART_FLEET, /* the main one, in etcd */
	CONFIG_PART_NODE,  /* beside that one: of this node alone */
};

struct config_source {
	const char *name; /* of the file, for errors */
	unsigned file;    /* 0: the main file; then those that it includes */
	enum config_part part;
	bool bare;                   /* no file: errors have neither its name nor a line */
	const char *text;            /* borrowed */
	size_t length;               /* of text, bytes */
	yaml_document_t document;    /* of libyaml; valid until config_source_done */
	size_t error_line;           /* of the earliest complaint, from 1 */
	int error;                   /* 0, -EINVAL, or -ENOMEM */
	struct error complaint;      /* the earliest, in the user's words */
	struct config_mistakes *all; /* NULL: only the earliest is kept */
	bool pruned; /* the tree lacks what was wrong: a key that is missing may have been there */
	struct config_list_cache *lists; /* borrowed; see lists.h */
};

/* All files of a config. */
struct config_sources {
	struct config_source *list;
	unsigned count;
	unsigned first; /* config_source.file of the first of them */
};

#define CONFIG_OBJECT 256

/* A place in the text, and its name in errors. */
struct config_place {
	struct config_source *source;
	yaml_node_t *node;          /* NULL: not in the text */
	size_t line;                /* of the node, else of its parent */
	char object[CONFIG_OBJECT]; /* "", "service web", "service web: backend 10.0.0.11" */
};

/* Parses text; name and text must outlive source. 0, or -EINVAL or -ENOMEM with source->complaint
 * set. Call config_source_done in every case. */
int config_source_load(struct config_source *source, const char *name, const char *text,
		       size_t length);
void config_source_done(struct config_source *source);
/* The source whose error counts: one that has run out of memory, else the first with a complaint;
 * NULL: none has one. */
struct config_source *config_sources_failed(const struct config_sources *sources);

/* Takes the keys of the top level that other has, but this one, out of source. Both are YAML. */
void config_source_hide(struct config_source *source, struct config_source *other, const char *but);

/* The first pair of a mapping with this key, and its value; NULL if there is none. */
const yaml_node_pair_t *config_source_pair(struct config_source *source, const yaml_node_t *mapping,
					   const char *key);
yaml_node_t *config_source_value(struct config_source *source, const yaml_node_t *mapping,
				 const char *key);

void config_place_root(struct config_source *source, struct config_place *ret);
/* The mapping under a key: "service web: health". */
void config_place_field(const struct config_place *at, const char *key, struct config_place *ret);
/* Item `index` of the list under a key, a mapping: "service web" if it has a name, else "service
 * #2". */
void config_place_item(const struct config_place *at, const char *key, size_t index,
		       struct config_place *ret);

/* How a sentence about one place names another: "line 12"; "FILE:12" in another file; "the config"
 * if it is in no text that is at hand. */
#define CONFIG_WHERE 192
const char *config_place_where(const struct config_place *at, const struct config_place *other,
			       char text[CONFIG_WHERE]);

/* Records "FILE:LINE: object: key: value: what was expected" unless an earlier line is recorded
 * already. The line is that of the key's value, else of the place. key and value are left out if
 * NULL. value may hold any bytes. */
void config_complain(const struct config_place *at, const char *key, const char *value,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a key that is not there, or has no value that can be used. */
void config_complain_missing(const struct config_place *at, const char *key, const char *format,
			     ...) __attribute__((format(printf, 3, 4)));
/* The same for item `index` of the list under key. */
void config_complain_item(const struct config_place *at, const char *key, size_t index,
			  const char *value, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for the node itself. */
void config_complain_node(const struct config_place *at, const yaml_node_t *node, const char *key,
			  const char *value, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Records that memory ran out, which replaces every other complaint. */
void config_source_oom(struct config_source *source);

#endif
