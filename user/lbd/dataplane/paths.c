/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Path MTUs that routers have reported (bpf/path.h): makes an element of map `paths` for each
 * address that tunnel packets go to, reads what the program has written there, and forgets it when
 * it is old. */
#include "internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"

/* Ticks between two rounds of removing elements that no backend has */
#define CLEAN_TICKS 60

/* What the map holds, at one moment. */
struct elements {
	struct lb_path_key *keys;
	struct lb_path *paths;
	uint32_t count;
};

static void elements_done(struct elements *elements)
{
	free(elements->keys);
	free(elements->paths);
}

static int elements_read(const struct dataplane *dp, struct elements *ret)
{
	uint32_t most = dp->maps.backend_slots, token;
	struct elements read = {.keys = calloc(most, sizeof(*read.keys)),
				.paths = calloc(most, sizeof(*read.paths)),
				.count = most};
	int rc = -ENOMEM;

	if (read.keys && read.paths)
		rc = bpf_map_lookup_batch(dp->paths_fd, NULL, &token, read.keys, read.paths,
					  &read.count, NULL);
	if (rc == -ENOENT) /* that was the last of them */
		rc = 0;
	if (rc) {
		elements_done(&read);
		return rc;
	}
	*ret = read;
	return 0;
}

static struct addr address_of(uint32_t family, const void *bytes)
{
	struct addr address = {.family = (uint8_t)family};

	memcpy(address.bytes, bytes, addr_length(&address));
	return address;
}

/* ---- the elements that there must be ---- */

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct lb_path_key));
}

/* The addresses of all backends, sorted. NULL: out of memory. */
static struct lb_path_key *keys_in_use(const struct dataplane *dp, size_t *ret_count)
{
	struct lb_path_key *keys = calloc(dp->maps.backend_slots, sizeof(*keys));
	size_t count = 0;

	for (uint32_t id = 1; keys && id < dp->maps.backend_slots; id++) {
		const struct lb_backend *line = &dp->maps.backends[id];

		if (!(line->flags & LB_BACKEND_USED))
			continue;
		memcpy(keys[count].addr, line->outer_dst, sizeof(keys[count].addr));
		keys[count++].family = line->family;
	}
	if (keys)
		qsort(keys, count, sizeof(*keys), compare_keys);
	*ret_count = count;
	return keys;
}

/* Removes the elements that no backend has. */
static void remove_unused(struct dataplane *dp)
{
	_cleanup_free_ struct lb_path_key *used = NULL;
	struct elements elements;
	size_t count;

	dp->paths_unused = false;
	dp->paths_cleaned = dp_tick(dp);
	used = keys_in_use(dp, &count);
	if (!used || elements_read(dp, &elements))
		return;
	for (uint32_t i = 0; i < elements.count; i++)
		if (!bsearch(&elements.keys[i], used, count, sizeof(*used), compare_keys))
			bpf_map_delete_elem(dp->paths_fd, &elements.keys[i]);
	elements_done(&elements);
}

void path_open(struct dataplane *dp, const struct addr *address)
{
	const struct lb_path_key key = dp_address_key(address);
	const struct lb_path path = {0};
	char text[ADDR_TEXT];
	int rc;

	if (dp->paths_fd < 0)
		return;
	rc = bpf_map_update_elem(dp->paths_fd, &key, &path, BPF_NOEXIST);
	if (rc == -E2BIG) {
		remove_unused(dp);
		rc = bpf_map_update_elem(dp->paths_fd, &key, &path, BPF_NOEXIST);
	}
	if (rc && rc != -EEXIST)
		log_warning("backend %s: path MTUs that routers report are not heeded: %s",
			    addr_format(address, text), strerror(-rc));
}

void path_close(struct dataplane *dp)
{
	dp->paths_unused = true;
}

/* ---- what was reported ---- */

static int compare_paths(const void *a, const void *b)
{
	return addr_compare(&((const struct dp_path *)a)->address,
			    &((const struct dp_path *)b)->address);
}

const struct dp_path *dataplane_path(const struct dataplane *dp, const struct addr *address)
{
	const struct dp_path key = {.address = *address};

	if (!dp->paths_count)
		return NULL;
	return bsearch(&key, dp->paths, dp->paths_count, sizeof(key), compare_paths);
}

static uint32_t path_age(const struct dataplane *dp, uint32_t tick)
{
	return dp_age(dp_tick(dp), tick, UINT32_MAX);
}

/* The program counts a report in paths_lowered only if the MTU is not the one in the map already.
 * A report that comes at the same moment may be lost; the next long packet brings another. */
static void forget(struct dataplane *dp, const struct lb_path_key *key)
{
	const struct lb_path path = {0};

	bpf_map_update_elem(dp->paths_fd, key, &path, BPF_EXIST);
}

/* Fills list, which has room for all; drops what is too old. Returns their number. */
static size_t list_paths(struct dataplane *dp, const struct elements *elements,
			 struct dp_path *list)
{
	size_t count = 0;

	for (uint32_t i = 0; i < elements->count; i++) {
		const struct lb_path *path = &elements->paths[i];
		uint32_t family = elements->keys[i].family;

		if (!LB_PATH_MTU(path->word))
			continue;
		if (path_age(dp, LB_PATH_TICK(path->word)) > LB_PATH_IDLE) {
			forget(dp, &elements->keys[i]);
			continue;
		}
		list[count++] =
		    (struct dp_path){.address = address_of(family, elements->keys[i].addr),
				     .router = address_of(family, path->router),
				     .mtu = (uint16_t)LB_PATH_MTU(path->word),
				     .tick = LB_PATH_TICK(path->word)};
	}
	qsort(list, count, sizeof(*list), compare_paths);
	return count;
}

/* Calls changed for each address whose MTU differs between two sorted lists. */
static void report_changes(const struct dp_path *old, size_t old_count, const struct dp_path *list,
			   size_t count, dp_path_fn *changed, void *arg)
{
	size_t i = 0, j = 0;

	while (i < old_count || j < count) {
		int order = i == old_count ? 1 : j == count ? -1 : compare_paths(&old[i], &list[j]);
		struct dp_path gone;

		if (order < 0) {
			gone = old[i++];
			gone.mtu = 0;
			changed(arg, &gone, old[i - 1].mtu);
		} else if (order > 0) {
			changed(arg, &list[j], 0);
			j++;
		} else {
			if (old[i].mtu != list[j].mtu)
				changed(arg, &list[j], old[i].mtu);
			i++, j++;
		}
	}
}

static bool path_expires(const struct dataplane *dp)
{
	for (size_t i = 0; i < dp->paths_count; i++)
		if (path_age(dp, dp->paths[i].tick) > LB_PATH_IDLE)
			return true;
	return false;
}

/* At the start, the reports that an earlier lbd has left. */
static bool must_read(const struct dataplane *dp, uint32_t lowered)
{
	return !dp->paths_read || lowered != dp->paths_lowered || path_expires(dp);
}

void dataplane_read_paths(struct dataplane *dp, dp_path_fn *changed, void *arg)
{
	_cleanup_free_ struct dp_path *old = NULL;
	uint32_t lowered = dp_load(&dp->maps.settings->paths_lowered);
	size_t old_count = dp->paths_count;
	struct elements elements;
	struct dp_path *list;

	if (dp->paths_fd < 0)
		return;
	if (dp->paths_unused && dp_tick(dp) - dp->paths_cleaned >= CLEAN_TICKS)
		remove_unused(dp);
	if (!must_read(dp, lowered) || elements_read(dp, &elements))
		return;
	list = calloc(elements.count + 1, sizeof(*list));
	if (list) {
		old = dp->paths;
		dp->paths = list;
		dp->paths_count = list_paths(dp, &elements, list);
		dp->paths_lowered = lowered;
		dp->paths_read = true;
		report_changes(old, old_count, list, dp->paths_count, changed, arg);
	}
	elements_done(&elements);
}
