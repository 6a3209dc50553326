/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The filter of lists: which texts, and which backends, it admits. */
#include "match.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool occurs(const char *word, size_t length, const char *text)
{
	for (; *text; text++)
		if (strncasecmp(text, word, length) == 0)
			return true;
	return false;
}

bool match_words(const char *filter, const char *const *texts, size_t count)
{
	filter += strspn(filter, " ");
	while (*filter) {
		size_t length = strcspn(filter, " "), i = 0;

		while (i < count && !occurs(filter, length, texts[i]))
			i++;
		if (i == count)
			return false;
		filter += length;
		filter += strspn(filter, " ");
	}
	return true;
}

const char *match_labels(const json_t *backend, char text[MATCH_LABELS])
{
	const char *zone = json_string_value(json_object_get(backend, "zone"));
	size_t used = 0;
	json_t *value;
	const char *key;

	*text = 0;
	if (zone)
		used += (size_t)snprintf(text, MATCH_LABELS, "zone=%s", zone);
	json_object_foreach (json_object_get(backend, "labels"), key, value)
		if (used < MATCH_LABELS && json_is_string(value))
			used += (size_t)snprintf(text + used, MATCH_LABELS - used, "%s%s=%s",
						 used ? " " : "", key, json_string_value(value));
	return text;
}

static const char *text_of(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text ? text : "";
}

bool match_backend(const char *filter, const json_t *backend)
{
	char labels[MATCH_LABELS];
	const char *const texts[] = {text_of(backend, "service"),   text_of(backend, "address"),
				     text_of(backend, "name"),      text_of(backend, "why"),
				     text_of(backend, "condition"), match_labels(backend, labels)};

	return match_words(filter, texts, sizeof(texts) / sizeof(*texts));
}
