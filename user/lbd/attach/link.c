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

#define LIBBPF_REASON "Kernel error message: "

static char *reason_into; /* catch_reason copies the driver's reason to this */

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
	libbpf_print_fn_t before;

	reason_into = why;
	before = libbpf_set_print(catch_reason);
	if (!bpf_xdp_attach((int)ifindex, program_fd, flags | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL))
		bpf_xdp_detach((int)ifindex, flags, NULL);
	libbpf_set_print(before);
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

int link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id)
{
	_cleanup_close_ int link = bpf_obj_get(path);
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (link < 0 || bpf_obj_get_info_by_fd(link, &info, &size))
		return -errno;
	if (info.type != BPF_LINK_TYPE_XDP)
		return -EINVAL;
	*ret_ifindex = info.xdp.ifindex;
	*ret_program_id = info.prog_id;
	return 0;
}

int link_replace(const char *path, int program_fd)
{
	_cleanup_close_ int link = bpf_obj_get(path);

	if (link < 0 || bpf_link_update(link, program_fd, NULL))
		return -errno;
	return 0;
}

int link_detach(const char *path)
{
	_cleanup_close_ int link = bpf_obj_get(path);

	if (link < 0)
		return -errno;
	/* At once, rather than when the last reference goes. ENOLINK: its interface is gone. */
	if (bpf_link_detach(link) && errno != ENOLINK)
		return -errno;
	return unlink(path) ? -errno : 0;
}

bool link_path(char *text, size_t size, const char *directory, const char *name)
{
	int length = snprintf(text, size, "%s/", directory);

	for (; *name && length > 0 && (size_t)length < size; name++) {
		const char *format = *name == '.' || *name == '%' ? "%%%02x" : "%c";

		length += snprintf(text + length, size - (size_t)length, format, *name);
	}
	return length > 0 && (size_t)length < size;
}
