/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XDP decapsulator (bpf/decap.bpf.c) on an interface of a backend: found through the attached
 * program, which also leads to its maps. */
#include "decap.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/cleanup.h"
#include "decap.skel.h"

#define PROGRAM_NAME "decap"
#define MAX_MAPS     16

struct vip_key { /* IPv4 as ::ffff:a.b.c.d */
	uint8_t bytes[16];
};

static int program_info(uint32_t id, struct bpf_prog_info *info)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	uint32_t length = sizeof(*info);

	if (fd < 0)
		return fd;
	return bpf_obj_get_info_by_fd(fd, info, &length);
}

int decap_find(unsigned ifindex, struct decap *ret, struct error *err)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct bpf_prog_info info = {0};
	int rc = bpf_xdp_query((int)ifindex, 0, &query);

	*ret = (struct decap){0};
	if (rc)
		return error_set(err, rc, "interface %u: cannot query its XDP program: %s", ifindex,
				 strerror(-rc));
	ret->program_id = query.prog_id       ? query.prog_id
			  : query.drv_prog_id ? query.drv_prog_id
					      : query.skb_prog_id;
	ret->native = query.attach_mode != XDP_ATTACHED_SKB;
	if (!ret->program_id)
		return 0;
	rc = program_info(ret->program_id, &info);
	if (rc)
		return error_set(err, rc, "XDP program %u: cannot get its info: %s",
				 ret->program_id, strerror(-rc));
	memcpy(ret->program_name, info.name, sizeof(ret->program_name));
	ret->program_name[sizeof(ret->program_name) - 1] = 0;
	ret->presence = strcmp(ret->program_name, PROGRAM_NAME) == 0 ? DECAP_OURS : DECAP_OTHER;
	return 0;
}

/* ---- attach ---- */

static int attach_as(unsigned ifindex, int program, uint32_t mode)
{
	return bpf_xdp_attach((int)ifindex, program, mode | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
}

static int attach_in_mode(unsigned ifindex, int program, const char *mode, bool *ret_native,
			  struct error *err)
{
	int rc = -EOPNOTSUPP;

	if (strcmp(mode, "generic") != 0)
		rc = attach_as(ifindex, program, XDP_FLAGS_DRV_MODE);
	*ret_native = rc == 0;
	/* If native mode fails (driver, MTU, queues), generic mode may still work. */
	if (rc && rc != -EBUSY && rc != -EEXIST && strcmp(mode, "native") != 0)
		rc = attach_as(ifindex, program, XDP_FLAGS_SKB_MODE);
	if (rc == -EOPNOTSUPP && strcmp(mode, "native") == 0)
		return error_set(err, rc,
				 "--mode native: the driver of the interface has no native XDP.\n"
				 "Use --mode auto");
	if (rc)
		return error_set(err, rc, "cannot attach the decapsulator in %s mode: %s", mode,
				 strerror(-rc));
	return 0;
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

/* Not -EINVAL, which would mean wrong usage. */
static int explain_load(int rc, struct error *err)
{
	struct utsname host;

	if (rc == EPERM)
		return error_set(
		    err, -EPERM,
		    "cannot load the decapsulator: expected root, or CAP_BPF and CAP_NET_ADMIN");
	if (uname(&host))
		strcpy(host.release, "?");
	return error_set(
	    err, -EOPNOTSUPP,
	    "kernel %s refused the decapsulator: %s: expected Linux 6.1 or later. Use --tunnel for "
	    "the kernel's own tunnels instead",
	    host.release, strerror(rc));
}

int decap_attach(unsigned ifindex, const char *mode, bool *ret_native, struct error *err)
{
	struct decap_bpf *skeleton;
	int rc;

	libbpf_set_print(silent); /* the error is reported below, once */
	skeleton = decap_bpf__open_and_load();
	if (!skeleton)
		return explain_load(errno, err);
	rc = attach_in_mode(
	    ifindex, bpf_program__fd(bpf_object__find_program_by_name(skeleton->obj, PROGRAM_NAME)),
	    mode, ret_native, err);
	decap_bpf__destroy(skeleton);
	return rc;
}

int decap_detach(unsigned ifindex, const struct decap *decap, struct error *err)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(decap->program_id);
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = fd);
	int rc = fd < 0 ? fd : 0;

	if (!rc)
		rc = bpf_xdp_detach((int)ifindex,
				    XDP_FLAGS_REPLACE |
					(decap->native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE),
				    &options);
	if (rc)
		return error_set(err, rc, "cannot detach the decapsulator (program %u): %s",
				 decap->program_id, strerror(-rc));
	return 0;
}

/* ---- maps ---- */

/* Opens a map of the program by name. Returns its descriptor, which the caller closes, or -ENOENT.
 */
static int open_map(const struct decap *decap, const char *name, struct bpf_map_info *info)
{
	uint32_t ids[MAX_MAPS], length;
	struct bpf_prog_info program = {.nr_map_ids = MAX_MAPS,
					.map_ids = (uint64_t)(uintptr_t)ids};

	if (decap->presence != DECAP_OURS || program_info(decap->program_id, &program))
		return -ENOENT;
	for (uint32_t i = 0; i < program.nr_map_ids && i < MAX_MAPS; i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);

		length = sizeof(*info);
		memset(info, 0, sizeof(*info));
		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, info, &length) == 0 &&
		    strcmp(info->name, name) == 0)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

static struct vip_key key_of(const struct addr *vip)
{
	struct vip_key key = {{0}};

	if (vip->family == 6) {
		memcpy(key.bytes, vip->bytes, 16);
	} else {
		key.bytes[10] = key.bytes[11] = 0xff;
		memcpy(key.bytes + 12, vip->bytes, 4);
	}
	return key;
}

bool decap_has_vip(const struct decap *decap, const struct addr *vip)
{
	struct vip_key key = key_of(vip);
	struct bpf_map_info info;
	_cleanup_close_ int fd = open_map(decap, "vips", &info);
	uint64_t value[8];

	return fd >= 0 && info.value_size <= sizeof(value) &&
	       bpf_map_lookup_elem(fd, &key, value) == 0;
}

int decap_set_vip(const struct decap *decap, const struct addr *vip, bool present,
		  struct error *err)
{
	struct vip_key key = key_of(vip);
	struct bpf_map_info info;
	_cleanup_close_ int fd = open_map(decap, "vips", &info);
	uint64_t value[8] = {1};
	char text[ADDR_TEXT];
	int rc;

	if (fd < 0 || info.key_size != sizeof(key) || info.value_size > sizeof(value))
		return error_set(
		    err, -EPROTO,
		    "XDP program %u: a decapsulator of another version: expected that of this "
		    "lbctl.\nDetach it first: lbctl backend-host undo, or ip link set dev IFACE "
		    "xdp off",
		    decap->program_id);
	rc =
	    present ? bpf_map_update_elem(fd, &key, value, BPF_ANY) : bpf_map_delete_elem(fd, &key);
	if (rc == 0 || (!present && rc == -ENOENT))
		return 0;
	if (rc == -E2BIG || rc == -ENOSPC)
		return error_set(err, rc,
				 "VIP %s: the decapsulator is full: expected at most %u VIPs",
				 addr_format(vip, text), info.max_entries);
	return error_set(err, rc, "VIP %s: cannot update the decapsulator: %s",
			 addr_format(vip, text), strerror(-rc));
}
