/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "offload_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "files.h"

static uint32_t number(const json_t *item, const char *field)
{
	return (uint32_t)json_integer_value(json_object_get(item, field));
}

static int take_items(const json_t *list, struct offload_entry **ret)
{
	struct offload_entry *entries = calloc(json_array_size(list) + 1, sizeof(*entries));
	const json_t *item;
	int count = 0;
	size_t i;

	if (!entries)
		return -ENOMEM;
	json_array_foreach (list, i, item) {
		const char *feature = json_string_value(json_object_get(item, "feature"));
		struct offload_entry *entry = &entries[count];

		if (!feature || snprintf(entry->feature, sizeof(entry->feature), "%s", feature) >=
				    (int)sizeof(entry->feature))
			continue;
		entry->ifindex = number(item, "for");
		entry->device = number(item, "device");
		count++;
	}
	*ret = entries;
	return count;
}

int offload_file_parse(const char *path, const char *text, size_t length,
		       struct offload_entry **ret, struct error *err)
{
	json_error_t why;
	json_t *list = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	int rc;

	if (!list)
		return error_set(err, -EINVAL, "%s:%d: %s", path, why.line, why.text);
	if (!json_is_array(list))
		rc = error_set(err, -EINVAL, "%s: expected a list", path);
	else if ((rc = take_items(list, ret)) < 0)
		error_set(err, rc, "%s: out of memory", path);
	json_decref(list);
	return rc;
}

static json_t *to_json(const struct offload_entry *entries, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < count; i++) {
		const struct offload_entry *entry = &entries[i];
		json_t *item =
		    json_pack("{s:I, s:I, s:s}", "for", (json_int_t)entry->ifindex, "device",
			      (json_int_t)entry->device, "feature", entry->feature);

		if (json_array_append_new(list, item)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int offload_file_write(const char *path, const struct offload_entry *entries, unsigned count)
{
	_cleanup_free_ char *text = NULL;
	json_t *list;

	if (!count)
		return file_remove(path);
	list = to_json(entries, count);
	text = list ? json_dumps(list, JSON_COMPACT) : NULL;
	json_decref(list);
	return text ? file_replace(path, text) : -ENOMEM;
}
