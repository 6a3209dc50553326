/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The counters of the attached decapsulator, named by its own BTF, so that an lbctl older or newer
 * than the program shows every counter under its correct name. */
#include "decap.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define MAX_MAPS 16

struct counter_map {
	int fd;
	struct bpf_map_info info;
	struct btf *btf;
	size_t stride; /* bytes from one CPU's value to the next */
	int copies;    /* values that a lookup returns */
};

static bool holds_counters(const struct bpf_map_info *info)
{
	return (info->type == BPF_MAP_TYPE_ARRAY || info->type == BPF_MAP_TYPE_PERCPU_ARRAY) &&
	       info->btf_id && info->btf_value_type_id && info->name[0] != '.' &&
	       !strchr(info->name, '.');
}

/* The values of one element on all CPUs; allocated, NULL if it cannot be read. */
static void *read_element(const struct counter_map *map, uint32_t key)
{
	void *values = calloc((size_t)map->copies, map->stride);

	if (values && bpf_map_lookup_elem(map->fd, &key, values) == 0)
		return values;
	free(values);
	return NULL;
}

static int add_counter(json_t *into, const struct counter_map *map, const void *values,
		       size_t offset, const char *name)
{
	uint64_t sum = 0;

	for (int cpu = 0; cpu < map->copies; cpu++) {
		uint64_t value;

		memcpy(&value, (const char *)values + (size_t)cpu * map->stride + offset,
		       sizeof(value));
		sum += value;
	}
	return json_object_set_new(into, name, json_integer((json_int_t)sum));
}

/* A struct of 64-bit members: each is a counter. prefix names the element, "" if it is the only
 * one. */
static int add_members(json_t *into, const struct counter_map *map, const struct btf_type *type,
		       const void *values, const char *prefix)
{
	const struct btf_member *member = btf_members(type);

	for (unsigned i = 0; i < btf_vlen(type); i++, member++) {
		const char *name = btf__name_by_offset(map->btf, member->name_off);
		char full[128];

		if (btf__resolve_size(map->btf, member->type) != sizeof(uint64_t))
			continue;
		snprintf(full, sizeof(full), "%s%s%s", prefix, *prefix ? "_" : "", name);
		if (add_counter(into, map, values, btf_member_bit_offset(type, i) / 8, full))
			return -ENOMEM;
	}
	return 0;
}

/* The number of an element, "" for the only one. (The key of an array is an integer in BTF: there
 * is no enum to name it.) */
static void name_element(const struct counter_map *map, uint32_t key, char name[64])
{
	if (map->info.max_entries == 1)
		name[0] = 0;
	else
		snprintf(name, 64, "%s_%u", map->info.name, key);
}

static int add_map(json_t *into, const struct counter_map *map)
{
	int id = btf__resolve_type(map->btf, map->info.btf_value_type_id), rc = 0;
	const struct btf_type *type = id > 0 ? btf__type_by_id(map->btf, (uint32_t)id) : NULL;

	for (uint32_t key = 0; type && !rc && key < map->info.max_entries; key++) {
		_cleanup_free_ void *values = read_element(map, key);
		char name[64];

		if (!values)
			continue;
		name_element(map, key, name);
		if (btf_is_struct(type))
			rc = add_members(into, map, type, values, name);
		else if (map->info.value_size == sizeof(uint64_t))
			rc = add_counter(into, map, values, 0, *name ? name : map->info.name);
	}
	return rc;
}

/* Opens a map that holds counters; false if it does not. */
static bool open_counters(uint32_t id, struct counter_map *ret)
{
	uint32_t length = sizeof(ret->info);

	*ret = (struct counter_map){.fd = bpf_map_get_fd_by_id(id)};
	if (ret->fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(ret->fd, &ret->info, &length) == 0 && holds_counters(&ret->info))
		ret->btf = btf__load_from_kernel_by_id(ret->info.btf_id);
	if (!ret->btf) {
		close(ret->fd);
		return false;
	}
	ret->stride = (ret->info.value_size + 7) / 8 * 8;
	ret->copies = ret->info.type == BPF_MAP_TYPE_PERCPU_ARRAY ? libbpf_num_possible_cpus() : 1;
	return true;
}

json_t *decap_counters(const struct decap *decap)
{
	uint32_t ids[MAX_MAPS], length = sizeof(struct bpf_prog_info);
	struct bpf_prog_info program = {.nr_map_ids = MAX_MAPS,
					.map_ids = (uint64_t)(uintptr_t)ids};
	json_t *counters = json_object();
	_cleanup_close_ int fd = -1;
	int rc = 0;

	if (!counters || decap->presence != DECAP_OURS)
		return counters;
	fd = bpf_prog_get_fd_by_id(decap->program_id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &program, &length))
		return counters;
	for (uint32_t i = 0; !rc && i < program.nr_map_ids && i < MAX_MAPS; i++) {
		struct counter_map map;

		if (!open_counters(ids[i], &map))
			continue;
		rc = map.copies > 0 ? add_map(counters, &map) : 0;
		btf__free(map.btf);
		close(map.fd);
	}
	if (!rc)
		return counters;
	json_decref(counters);
	return NULL;
}
