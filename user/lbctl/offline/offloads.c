/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Turns offloads on again by the list that lbd keeps beside its socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ethtool.h"
#include "common/files.h"
#include "common/offload_file.h"
#include "offline.h"

struct list {
	struct offload_entry *entries;
	unsigned count;
};

/* lbd's user owns the file, so its content is not trusted: it can turn offloads on, and no more. */
static struct list read_list(const char *path)
{
	struct stat file;
	_cleanup_close_ int fd = file_open_regular(path, &file);
	_cleanup_free_ char *text = NULL;
	struct list list = {0};
	ssize_t length;
	int count = 0;

	if (fd < 0 || file.st_size > OFFLOAD_FILE_MAX)
		return list;
	text = malloc((size_t)file.st_size + 1);
	length = text ? file_read(fd, text, (size_t)file.st_size) : -1;
	if (length > 0)
		count = offload_file_parse(path, text, (size_t)length, &list.entries, NULL);
	list.count = count > 0 ? (unsigned)count : 0;
	return list;
}

/* Another interface with a program may need the same offload of the same device to be off. */
static bool is_listed(const struct list *list, const struct offload_entry *of)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->entries[i].device == of->device &&
		    !strcmp(list->entries[i].feature, of->feature))
			return true;
	return false;
}

static void turn_on(const struct offload_entry *entry, bool print)
{
	int index = ethtool_feature_find(entry->feature);
	char name[IF_NAMESIZE];
	int rc;

	if (index < 0 || !if_indextoname(entry->device, name))
		return;
	rc = ethtool_feature_set(name, index, true);
	if (rc)
		fprintf(stderr, "lbctl: warning: %s: cannot turn on %s again: %s\n", name,
			entry->feature, strerror(-rc));
	else if (print)
		printf("%s: %s turned on again\n", name, entry->feature);
}

static void turn_all_on(struct list *list, uint32_t ifindex, bool print)
{
	for (unsigned i = 0; i < list->count;) {
		const struct offload_entry entry = list->entries[i];

		if (entry.ifindex != ifindex) {
			i++;
			continue;
		}
		list->entries[i] = list->entries[--list->count];
		if (!is_listed(list, &entry))
			turn_on(&entry, print);
	}
}

void offloads_turn_on(const char *socket, uint32_t ifindex, bool print)
{
	_cleanup_free_ char *path = NULL;
	struct list list;
	unsigned before;
	int rc = 0;

	if (asprintf(&path, "%s.offloads.json", socket) < 0) {
		path = NULL;
		return;
	}
	list = read_list(path);
	before = list.count;
	turn_all_on(&list, ifindex, print);
	if (list.count < before)
		rc = offload_file_write(path, list.entries, list.count);
	if (rc)
		fprintf(stderr, "lbctl: warning: %s: cannot be written: %s\n", path, strerror(-rc));
	free(list.entries);
}
