/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a source names: a list of plain values, which may cross to another process. Bounded, and
 * each value checked as it is added. */
#ifndef LBD_SOURCES_LIST_H
#define LBD_SOURCES_LIST_H

#include <jansson.h>

#include "lbd/state/state.h"

struct source_item {
	struct addr address;
	uint32_t weight, priority;
	uint32_t port;                                             /* 0: none is named */
	char name[CONFIG_TAG_TEXT + 1], zone[CONFIG_TAG_TEXT + 1]; /* "": none */
	uint32_t labels_count;
	struct {
		char key[CONFIG_LABEL_KEY + 1], value[CONFIG_TAG_TEXT + 1];
	} labels[CONFIG_LABELS_MAX];
};

#define SOURCE_WEIGHT 100 /* where a source gives none */

/* What belongs to the config of a fleet, as of one revision. */
enum source_document_kind {
	SOURCE_CONFIG,
	SOURCE_FORMER,  /* the config before */
	SOURCE_ROLLOUT, /* how it is rolled out: rollout.h */
	SOURCE_LIVE,    /* the nodes that follow it now, each a line */
	SOURCE_DOCUMENTS
};

struct source_document {
	char *bytes; /* with a 0 after them; NULL: it is not there, or empty */
	size_t length;
	uint64_t revision; /* in which it was written; 0: it is not there */
};

#define SOURCE_DOCUMENT_MAX (3u << 20)  /* bytes of one */
#define SOURCE_RECORD_MAX   (64u << 10) /* ... of ROLLOUT and LIVE, which lbd reads at once */

struct source_list {
	struct source_item *items;
	unsigned count, room;
	unsigned ignored;     /* that could not be used */
	char why[SOURCE_WHY]; /* the first of these; "" */
	bool has_documents;   /* it names these, and no items */
	struct source_document documents[SOURCE_DOCUMENTS];
};

void source_list_done(struct source_list *list);
/* 0; -E2BIG: CONFIG_FROM_MAX are in it; -ENOMEM. */
int source_list_add(struct source_list *list, const struct source_item *item);
size_t source_document_max(enum source_document_kind which);
/* Adds to the bytes. 0; -E2BIG: they would be more than most; -ENOMEM. */
int source_document_add(struct source_document *document, size_t most, const char *part,
			size_t length);
/* Notes that something the source names cannot be used. */
void source_list_ignore(struct source_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* By address, each once; one that is named twice counts as ignored. */
void source_list_sort(struct source_list *list);
/* The same, for lists in which that is no mistake. */
void source_list_merge(struct source_list *list);
bool source_list_equal(const struct source_list *a, const struct source_list *b);

/* JSON that a source says, by json_loadb with these flags. NULL: it is none, or has more values
 * than anybody needs: each takes up to a hundred times as much memory as text. */
json_t *source_json(const char *text, size_t length, size_t flags);
/* Of what a source says in JSON. NULL: no text, or with a NUL in it. */
const char *source_text(const json_t *value);
const char *source_text_in(const json_t *object, const char *key);
/* 0: no port. */
uint16_t source_port(const json_t *value);

/* With the default weight and nothing else; false: it is not the address of a host, or one of a
 * link, 169.254.0.0/16 among them: there clouds answer what only this host should know. */
bool source_item_init(struct source_item *item, const char *address);
/* Of a file, which is this host's own: it may be of a link. */
bool source_item_init_own(struct source_item *item, const char *address);
/* Is every field what the config would take? For what comes from the other process. */
bool source_item_is_sound(const struct source_item *item);
/* Reads weight, priority, port, zone, name and labels out of an object. What it has besides is
 * refused. 0, or -EINVAL with the end of a sentence in err. */
int source_item_read(struct source_item *item, json_t *object, struct error *err);

/* The text of a file, lines or JSON, as docs/config.md says; all of it or nothing. 0; -EINVAL,
 * -E2BIG or -ENOMEM with err set. */
int source_list_parse(const char *text, size_t length, struct source_list *ret, struct error *err);

#endif
