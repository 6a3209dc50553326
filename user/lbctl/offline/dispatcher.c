/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs of an lbd in libxdp's dispatcher, beside others. They are known by their maps. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "common/cleanup.h"
#include "common/pins.h"
#include "offline.h"

static bool has_dispatcher(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	_cleanup_close_ int fd = -1;

	if (bpf_xdp_query((int)ifindex, 0, &query))
		return false;
	fd = bpf_prog_get_fd_by_id(query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id);
	return fd >= 0 && pins_program_is_dispatcher(fd);
}

void dispatcher_each(uint32_t settings_id,
		     void (*fn)(void *arg, const char *interface, uint32_t ifindex, uint32_t id),
		     void *arg)
{
	struct if_nameindex *all = if_nameindex();

	libxdp_set_print(NULL);
	libbpf_set_print(NULL);
	for (struct if_nameindex *one = all; one && one->if_index; one++) {
		struct xdp_program *program = NULL;
		struct xdp_multiprog *there;

		if (!has_dispatcher(one->if_index))
			continue;
		there = xdp_multiprog__get_from_ifindex((int)one->if_index);
		if (libxdp_get_error(there))
			continue;
		while (!xdp_multiprog__is_legacy(there) &&
		       (program = xdp_multiprog__next_prog(program, there)))
			if (pins_program_uses(xdp_program__fd(program), settings_id))
				fn(arg, one->if_name, one->if_index, xdp_program__id(program));
		xdp_multiprog__close(there);
	}
	if (all)
		if_freenameindex(all);
}

int dispatcher_remove(uint32_t ifindex, uint32_t program_id)
{
	struct xdp_program *program = xdp_program__from_id(program_id);
	int rc = (int)libxdp_get_error(program);

	if (rc)
		return rc;
	rc = xdp_program__detach(program, (int)ifindex, XDP_MODE_UNSPEC, 0);
	xdp_program__close(program);
	return rc;
}
