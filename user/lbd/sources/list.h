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
	char name[CONFIG_TAG_TEXT + 1], zone[CONFIG_TAG_TEXT + 1]; /* "": none */
	uint32_t labels_count;
	struct {
		char key[CONFIG_LABEL_KEY + 1], value[CONFIG_TAG_TEXT + 1];
	} labels[CONFIG_LABELS_MAX];
};

#define SOURCE_WEIGHT 100 /* where a source gives none */

struct source_list {
	struct source_item *items;
	unsigned count, room;
	unsigned ignored;     /* that could not be used */
	char why[SOURCE_WHY]; /* the first of these; "" */
};

void source_list_done(struct source_list *list);
/* 0; -E2BIG: CONFIG_FROM_MAX are in it; -ENOMEM. */
int source_list_add(struct source_list *list, const struct source_item *item);
/* Notes that something the source names cannot be used. */
void source_list_ignore(struct source_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* By address, each once; one that is named twice counts as ignored. */
void source_list_sort(struct source_list *list);
/* The same, for lists in which that is no mistake. */
void source_list_merge(struct source_list *list);
bool source_list_equal(const struct source_list *a, const struct source_list *b);

/* With the default weight and nothing else; false: it is not the address of a host. */
bool source_item_init(struct source_item *item, const char *address);
/* Is every field what the config would take? For what comes from the other process. */
bool source_item_is_sound(const struct source_item *item);
/* Reads weight, priority, zone, name and labels out of an object. What it has besides is refused.
 * 0, or -EINVAL with the end of a sentence in err. */
int source_item_read(struct source_item *item, json_t *object, struct error *err);

/* The text of a file, lines or JSON, as docs/config.md says; all of it or nothing. 0; -EINVAL,
 * -E2BIG or -ENOMEM with err set. */
int source_list_parse(const char *text, size_t length, struct source_list *ret, struct error *err);

#endif
