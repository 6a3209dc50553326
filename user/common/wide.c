/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of one long value in place of those that libbpf would make. */
#include "wide.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

int wide_make(struct bpf_map *map, const char *name, size_t bytes)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd = -1;

	if (!map || bytes > INT32_MAX)
		return -EINVAL;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(__u32), (__u32)bytes, 1, &options);
	if (fd < 0)
		return -errno;
	return bpf_map__reuse_fd(map, fd) ? -errno : 0;
}

static bool is_wide(const struct bpf_map *map)
{
	return !strncmp(bpf_map__name(map), ".data.wide.", 11);
}

int wide_release(const struct bpf_object *object)
{
	struct bpf_map *map;
	int rc = 0;

	if (!object)
		return 0;
	bpf_object__for_each_map (map, object)
		if (!rc && is_wide(map) && bpf_map__value_size(map) != WIDE_LEAST)
			rc = wide_make(map, "released", WIDE_LEAST);
	return rc;
}
