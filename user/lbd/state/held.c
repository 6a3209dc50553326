/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The list of interfaces that were detached by hand. */
#include "held.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/text.h"

#define HELD_BYTES 65536
#define HELD_MAX   64 /* as many as the config may name */

void held_done(struct held *held)
{
	for (unsigned i = 0; i < held->count; i++)
		free(held->names[i]);
	free(held->names);
	*held = (struct held){0};
}

bool held_has(const struct held *held, const char *name)
{
	return lists_text(held->names, held->count, name);
}

int held_add(struct held *held, const char *name, struct error *err)
{
	char **names, *copy;

	if (held_has(held, name))
		return 0;
	names = realloc(held->names, (held->count + 1) * sizeof(*names));
	if (!names)
		return error_set(err, -ENOMEM, "out of memory");
	held->names = names;
	copy = strdup(name);
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	names[held->count++] = copy;
	return 0;
}

void held_filter(struct held *held, bool (*keep)(void *arg, const char *name), void *arg)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < held->count; i++) {
		if (keep(arg, held->names[i]))
			held->names[kept++] = held->names[i];
		else
			free(held->names[i]);
	}
	held->count = kept;
}

static bool is_another(void *arg, const char *name)
{
	return strcmp(arg, name) != 0;
}

void held_remove(struct held *held, const char *name)
{
	held_filter(held, is_another, (void *)name);
}

/* ---- the file ---- */

static int take_names(const json_t *list, const char *path, struct held *into, struct error *err)
{
	const json_t *item;
	size_t i;
	int rc = 0;

	if (!json_is_array(list) || json_array_size(list) > HELD_MAX)
		return error_set(err, -EINVAL, "%s: expected a list of at most %d interfaces", path,
				 HELD_MAX);
	json_array_foreach (list, i, item) {
		if (!json_is_string(item))
			return error_set(err, -EINVAL, "%s: entry %zu: expected a name", path, i);
		rc = held_add(into, json_string_value(item), err);
		if (rc)
			return rc;
	}
	return 0;
}

int held_load(const char *path, struct held *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(path, HELD_BYTES, &text, err);
	struct held held = {0};
	json_error_t why;
	json_t *list;
	int rc;

	if (length < 0 && length != -ENOENT)
		return (int)length;
	if (length >= 0) {
		list = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
		rc = list ? take_names(list, path, &held, err)
			  : error_set(err, -EINVAL, "%s:%d: %s", path, why.line, why.text);
		json_decref(list);
		if (rc) {
			held_done(&held);
			return rc;
		}
	}
	*ret = held;
	return 0;
}

int held_save(const struct held *held, const char *path, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	json_t *list;
	int rc;

	if (!held->count) {
		rc = file_remove(path);
		return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
	}
	list = json_array();
	for (unsigned i = 0; i < held->count; i++)
		json_array_append_new(list, json_string(held->names[i]));
	if (json_array_size(list) == held->count)
		text = json_dumps(list, 0);
	json_decref(list);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	rc = file_replace(path, text);
	return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}
