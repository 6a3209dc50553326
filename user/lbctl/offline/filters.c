/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tc program that sends health checks to a VIP (bpf/detour.bpf.c). lbd removes it when it ends,
 * but not if it is killed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "lb_detour.h"
#include "common/cleanup.h"
#include "offline.h"

static bool is_detour(uint32_t program_id)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, "detour");
}

static void remove_from(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = LB_DETOUR_FILTER, .priority = 1);

	if (bpf_tc_query(&hook, &filter) || !is_detour(filter.prog_id))
		return;
	filter.prog_fd = 0; /* bpf_tc_detach wants only handle and priority */
	filter.prog_id = 0;
	filter.flags = 0;
	bpf_tc_detach(&hook, &filter);
}

void filters_remove(void)
{
	struct if_nameindex *all = if_nameindex();

	libbpf_set_print(NULL); /* most have none */
	for (struct if_nameindex *one = all; one && one->if_index; one++)
		remove_from(one->if_index);
	if (all)
		if_freenameindex(all);
}
