/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the program that looks at checksums, and attaches it while there is a device to look at. */
#include "checksums.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksums.skel.h"
#include "programs.h"

struct checksums {
	struct checksums_bpf *program;
	unsigned count; /* devices */
};

static int load(struct checksums *checksums)
{
	int rc;

	checksums->program = checksums_bpf__open();
	if (!checksums->program)
		return -errno;
	rc = programs_namespace(&checksums->program->rodata->namespace);
	return rc ? rc : checksums_bpf__load(checksums->program);
}

int checksums_new(struct checksums **ret, struct error *err)
{
	struct checksums *checksums = calloc(1, sizeof(*checksums));
	int rc;

	if (!checksums)
		return error_set(err, -ENOMEM, "out of memory");
	programs_print_to(NULL);
	rc = load(checksums);
	programs_print_as_usual();
	if (rc) {
		checksums_free(checksums);
		return error_set(err, rc, "checksums are not looked at: %s", strerror(-rc));
	}
	*ret = checksums;
	return 0;
}

void checksums_free(struct checksums *checksums)
{
	if (!checksums)
		return;
	checksums_bpf__destroy(checksums->program);
	free(checksums);
}

static int map_fd(const struct checksums *checksums)
{
	return bpf_map__fd(checksums->program->maps.checksums);
}

int checksums_watch(struct checksums *checksums, uint32_t ifindex)
{
	const struct lb_checksums none = {0};
	int rc = 0;

	if (bpf_map_update_elem(map_fd(checksums), &ifindex, &none, BPF_NOEXIST))
		return errno == EEXIST ? 0 : -errno;
	if (!checksums->count++)
		rc = checksums_bpf__attach(checksums->program);
	if (rc)
		checksums_forget(checksums, ifindex);
	return rc;
}

int checksums_read(const struct checksums *checksums, uint32_t ifindex, struct lb_checksums *ret)
{
	return bpf_map_lookup_elem(map_fd(checksums), &ifindex, ret) ? -errno : 0;
}

void checksums_forget(struct checksums *checksums, uint32_t ifindex)
{
	if (bpf_map_delete_elem(map_fd(checksums), &ifindex))
		return;
	if (!--checksums->count)
		checksums_bpf__detach(checksums->program);
}
