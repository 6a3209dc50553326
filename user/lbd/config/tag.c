/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The name, the zone and the labels of a backend. */
#include "tag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "scalar.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

/* ---- what fits ---- */

/* lbctl takes an address or a name: none is both. */
bool config_tag_name_fits(const char *name)
{
	return config_is_word(name, CONFIG_TAG_TEXT) && strchr(LETTERS, *name);
}

/* As clouds call them. */
bool config_zone_fits(const char *zone)
{
	return *zone && strlen(zone) <= CONFIG_TAG_TEXT &&
	       strspn(zone, LETTERS DIGITS "._-:/") == strlen(zone);
}

/* It is a part of a label's name in the metrics as it is. */
bool config_label_key_fits(const char *key)
{
	return *key && strlen(key) <= CONFIG_LABEL_KEY && strchr(LETTERS, *key) &&
	       strspn(key, LETTERS DIGITS "_") == strlen(key);
}

bool config_label_value_fits(const char *value)
{
	size_t length = strlen(value);

	for (size_t i = 0; i < length; i++)
		if (value[i] < ' ' || value[i] > '~')
			return false;
	return length && length <= CONFIG_TAG_TEXT;
}

/* ---- the value ---- */

/* Copies text to *at, and moves *at behind it. */
static const char *put(char **at, const char *text)
{
	char *copy = *at;

	*at = stpcpy(copy, text) + 1;
	return copy;
}

static int by_key(const void *a, const void *b)
{
	const struct config_label *x = a, *y = b;

	return strcmp(x->key, y->key);
}

struct config_tag *config_tag_new(const char *name, const char *zone,
				  const struct config_label *labels, unsigned count)
{
	size_t size = (name ? strlen(name) + 1 : 0) + (zone ? strlen(zone) + 1 : 0);
	struct config_tag *tag;
	char *at;

	for (unsigned i = 0; i < count; i++)
		size += strlen(labels[i].key) + strlen(labels[i].value) + 2;
	tag = calloc(1, sizeof(*tag) + size);
	if (!tag)
		return NULL;
	at = tag->text;
	tag->refs = 1;
	tag->name = name ? put(&at, name) : NULL;
	tag->zone = zone ? put(&at, zone) : NULL;
	for (unsigned i = 0; i < count; i++) {
		tag->labels[i].key = put(&at, labels[i].key);
		tag->labels[i].value = put(&at, labels[i].value);
	}
	tag->labels_count = count;
	qsort(tag->labels, count, sizeof(tag->labels[0]), by_key);
	return tag;
}

struct config_tag *config_tag_ref(struct config_tag *tag)
{
	if (tag)
		tag->refs++;
	return tag;
}

void config_tag_unref(struct config_tag *tag)
{
	if (tag && !--tag->refs)
		free(tag);
}

bool config_tag_same_labels(const struct config_tag *a, const struct config_tag *b)
{
	unsigned count = a ? a->labels_count : 0;

	if (count != (b ? b->labels_count : 0))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (strcmp(a->labels[i].key, b->labels[i].key) != 0 ||
		    strcmp(a->labels[i].value, b->labels[i].value) != 0)
			return false;
	return true;
}

bool config_tag_equal(const struct config_tag *a, const struct config_tag *b)
{
	return a == b ||
	       (same_text(config_tag_name(a), config_tag_name(b)) &&
		same_text(config_tag_zone(a), config_tag_zone(b)) && config_tag_same_labels(a, b));
}

const char *config_backend_label(const struct config_tag *tag, const struct addr *address,
				 char text[CONFIG_BACKEND_LABEL])
{
	const char *name = config_tag_name(tag);
	char shown[ADDR_TEXT];

	snprintf(text, CONFIG_BACKEND_LABEL, "%s%s%s", name ? name : "", name ? " " : "",
		 addr_format(address, shown));
	return text;
}
