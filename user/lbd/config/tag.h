/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The name, the zone and the labels of a backend: one immutable value, which config, run-time
 * changes and the backend in force share. */
#ifndef LBD_CONFIG_TAG_H
#define LBD_CONFIG_TAG_H

#include <stdbool.h>

#include "common/addr.h"

#define CONFIG_LABELS_MAX 8  /* of a backend: each value is in the metrics */
#define CONFIG_TAG_TEXT   63 /* bytes of a name, of a zone, and of a label's value */
#define CONFIG_LABEL_KEY  32 /* bytes of a label's key */

struct config_label {
	const char *key, *value;
};

/* Counted references, which only tasks and a start change. */
struct config_tag {
	unsigned refs;
	const char *name, *zone; /* NULL: none */
	unsigned labels_count;
	struct config_label labels[CONFIG_LABELS_MAX]; /* by key */
	char text[];                                   /* what they point to */
};

/* What errors say of a name, a key and a value that do not fit. */
#define CONFIG_TAG_NAME_EXPECTED \
	"expected 1 to 63 letters, digits or any of . _ -, beginning with a letter"
#define CONFIG_ZONE_SYNTAX   "1 to 63 letters, digits or any of . _ - : /, such as eu-west-1a"
#define CONFIG_ZONE_EXPECTED "expected " CONFIG_ZONE_SYNTAX
#define CONFIG_LABEL_KEY_EXPECTED \
	"expected 1 to 32 letters, digits or _, beginning with a letter, as the key of a label"
#define CONFIG_LABEL_VALUE_EXPECTED "expected 1 to 63 visible ASCII characters or blanks"

bool config_tag_name_fits(const char *name);
bool config_zone_fits(const char *zone);
bool config_label_key_fits(const char *key);
bool config_label_value_fits(const char *value);

/* With one reference. name, zone NULL: none. At most CONFIG_LABELS_MAX labels, in any order, keys
 * once. NULL: out of memory. */
struct config_tag *config_tag_new(const char *name, const char *zone,
				  const struct config_label *labels, unsigned count);
struct config_tag *config_tag_ref(struct config_tag *tag); /* NULL is fine: nothing of the three */
void config_tag_unref(struct config_tag *tag);             /* NULL is fine */
bool config_tag_equal(const struct config_tag *a, const struct config_tag *b);
bool config_tag_same_labels(const struct config_tag *a, const struct config_tag *b);
static inline const char *config_tag_name(const struct config_tag *tag)
{
	return tag ? tag->name : NULL;
}

static inline const char *config_tag_zone(const struct config_tag *tag)
{
	return tag ? tag->zone : NULL;
}

/* "web-1 10.0.0.11", or "10.0.0.11" without a name: for log lines and errors. */
#define CONFIG_BACKEND_LABEL (CONFIG_TAG_TEXT + 1 + ADDR_TEXT)
const char *config_backend_label(const struct config_tag *tag, const struct addr *address,
				 char text[CONFIG_BACKEND_LABEL]);

#endif
