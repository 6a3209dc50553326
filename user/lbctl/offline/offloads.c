/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The list of receive offloads that lbd keeps beside its socket: [ { "for": ifindex, "device":
 * ifindex, "feature": the kernel's name } ]. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ethtool.h"
#include "common/files.h"
#include "offline.h"

#define FILE_BYTES (1u << 20)

/* lbd's user owns the file, so its content is not trusted: it can turn offloads on, and no more. */
static json_t *read_list(const char *path)
{
	struct stat file;
	_cleanup_close_ int fd = file_open_regular(path, &file);
	_cleanup_free_ char *text = NULL;
	ssize_t length;
	json_t *list;

	if (fd < 0 || file.st_size > FILE_BYTES)
		return NULL;
	text = malloc((size_t)file.st_size + 1);
	length = text ? file_read(fd, text, (size_t)file.st_size) : -1;
	list = length > 0 ? json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (json_is_array(list))
		return list;
	json_decref(list);
	return NULL;
}

static void write_list(const char *path, const json_t *list)
{
	_cleanup_free_ char *text = json_dumps(list, JSON_COMPACT);
	int rc = -ENOMEM;

	if (!json_array_size(list))
		rc = file_remove(path);
	else if (text)
		rc = file_replace(path, text);
	if (rc)
		fprintf(stderr, "lbctl: warning: %s: cannot be written: %s\n", path, strerror(-rc));
}

static uint32_t number(const json_t *item, const char *field)
{
	return (uint32_t)json_integer_value(json_object_get(item, field));
}

static const char *feature_of(const json_t *item)
{
	const char *name = json_string_value(json_object_get(item, "feature"));

	return name ? name : "";
}

/* Another interface with a program may need the same offload of the same device to be off. */
static bool is_listed(const json_t *list, uint32_t device, const char *feature)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (number(item, "device") == device && !strcmp(feature_of(item), feature))
			return true;
	return false;
}

static void turn_on(uint32_t device, const char *feature, bool print)
{
	int index = ethtool_feature_find(feature);
	char name[IF_NAMESIZE];
	int rc;

	if (index < 0 || !if_indextoname(device, name))
		return;
	rc = ethtool_feature_set(name, index, true);
	if (rc)
		fprintf(stderr, "lbctl: warning: %s: cannot turn on %s again: %s\n", name, feature,
			strerror(-rc));
	else if (print)
		printf("%s: %s turned on again\n", name, feature);
}

void offloads_turn_on(const char *socket, uint32_t ifindex, bool print)
{
	_cleanup_free_ char *path = NULL;
	json_t *list, *item;
	bool changed = false;
	size_t i = 0;

	if (asprintf(&path, "%s.offloads.json", socket) < 0) {
		path = NULL;
		return;
	}
	list = read_list(path);
	while ((item = json_array_get(list, i))) {
		if (number(item, "for") != ifindex) {
			i++;
			continue;
		}
		json_incref(item);
		json_array_remove(list, i);
		changed = true;
		if (!is_listed(list, number(item, "device"), feature_of(item)))
			turn_on(number(item, "device"), feature_of(item), print);
		json_decref(item);
	}
	if (changed)
		write_list(path, list);
	json_decref(list);
}
