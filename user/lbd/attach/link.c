/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program alone by a pinned bpf_link: it stays attached when lbd ends, and its program
 * can be replaced without a gap. */
#include "internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "programs.h"

#define LIBBPF_REASON "Kernel error message: "

static _Thread_local char *reason_into; /* catch_reason copies the driver's reason to this */

static int catch_reason(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[512], *reason;

	vsnprintf(line, sizeof(line), format, args);
	reason = strstr(line, LIBBPF_REASON);
	if (!reason)
		return 0;
	reason += strlen(LIBBPF_REASON);
	reason[strcspn(reason, "\n")] = 0;
	snprintf(reason_into, 256, "%s", reason);
	return 0;
}

/* bpf_link_create does not return the driver's reason, but netlink does: tries the same there, to
 * be refused again with the reason. */
static void ask_for_reason(int program_fd, uint32_t ifindex, uint32_t flags, char why[256])
{
	reason_into = why;
	programs_print_to(catch_reason);
	if (!bpf_xdp_attach((int)ifindex, program_fd, flags | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL))
		bpf_xdp_detach((int)ifindex, flags, NULL);
	programs_print_as_usual();
}

int link_attach(int program_fd, uint32_t ifindex, bool native, const char *path, char why[256])
{
	uint32_t flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	_cleanup_close_ int link = bpf_link_create(program_fd, (int)ifindex, BPF_XDP, &options);
	int rc = 0;

	if (link < 0)
		rc = -errno;
	else if (bpf_obj_pin(link, path))
		rc = -errno;
	if (!rc)
		return 0;
	snprintf(why, 256, "%s", strerror(-rc));
	if (link < 0)
		ask_for_reason(program_fd, ifindex, flags, why);
	else
		snprintf(why, 256, "%s: %s", path, strerror(-rc));
	return rc;
}

int link_replace(const char *path, int program_fd)
{
	_cleanup_close_ int link = bpf_obj_get(path);

	if (link < 0 || bpf_link_update(link, program_fd, NULL))
		return -errno;
	return 0;
}
