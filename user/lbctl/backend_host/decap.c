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
#include "lbctl/core/tool.h"
#include "decap.skel.h"
#include "maps.h"

#define PROGRAM_NAME "decap"

int decap_program_info(uint32_t id, struct bpf_prog_info *info)
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
	rc = decap_program_info(ret->program_id, &info);
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

/* The VIPs and counters of the old instance (NULL: there is none) become those of the new one. */
static int take_over(struct decap_bpf *skeleton, const struct decap *old, struct error *err)
{
	int rc = old ? maps_reuse(old, skeleton->maps.vips, "vips") : 0;

	if (rc)
		return error_set(
		    err, -EPROTO,
		    "XDP program %u: a decapsulator of another version: its VIPs cannot be taken "
		    "over.\nDetach it first: " TOOL " " TOOL_HOST
		    "undo, or ip link set dev IFACE xdp "
		    "off",
		    old->program_id);
	if (old)
		maps_reuse(old, skeleton->maps.counts, "counts");
	return 0;
}

static int load(const json_t *accept, const struct decap *old, struct decap_bpf **ret,
		struct error *err)
{
	struct decap_bpf *skeleton;
	int rc;

	libbpf_set_print(NULL); /* the error is reported below, once */
	skeleton = decap_bpf__open();
	if (!skeleton)
		return explain_load(errno, err);
	rc = maps_size(skeleton, accept, err);
	if (!rc)
		rc = take_over(skeleton, old, err);
	if (!rc && decap_bpf__load(skeleton))
		rc = explain_load(errno, err);
	if (!rc)
		rc = maps_fill(skeleton, accept, err);
	if (rc)
		decap_bpf__destroy(skeleton);
	else
		*ret = skeleton;
	return rc;
}

int decap_attach(unsigned ifindex, const char *mode, const json_t *accept, bool *ret_native,
		 struct error *err)
{
	struct decap_bpf *skeleton;
	int rc = load(accept, NULL, &skeleton, err);

	if (rc)
		return rc;
	rc = attach_in_mode(ifindex, bpf_program__fd(skeleton->progs.decap), mode, ret_native, err);
	decap_bpf__destroy(skeleton);
	return rc;
}

static uint32_t mode_of(const struct decap *decap)
{
	return decap->native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
}

int decap_replace(unsigned ifindex, const struct decap *decap, const json_t *accept,
		  struct error *err)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(decap->program_id);
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = fd);
	struct decap_bpf *skeleton;
	int rc = load(accept, decap, &skeleton, err);

	if (rc)
		return rc;
	rc = fd < 0 ? fd
		    : bpf_xdp_attach((int)ifindex, bpf_program__fd(skeleton->progs.decap),
				     XDP_FLAGS_REPLACE | mode_of(decap), &options);
	decap_bpf__destroy(skeleton);
	return rc ? error_set(err, rc, "cannot replace the decapsulator (program %u): %s",
			      decap->program_id, strerror(-rc))
		  : 0;
}

int decap_detach(unsigned ifindex, const struct decap *decap, struct error *err)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(decap->program_id);
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = fd);
	int rc = fd < 0 ? fd : 0;

	if (!rc)
		rc = bpf_xdp_detach((int)ifindex, XDP_FLAGS_REPLACE | mode_of(decap), &options);
	if (rc)
		return error_set(err, rc, "cannot detach the decapsulator (program %u): %s",
				 decap->program_id, strerror(-rc));
	return 0;
}

/* ---- VIPs ---- */

bool decap_has_vip(const struct decap *decap, const struct addr *vip)
{
	struct in6_addr key = maps_key(vip);
	struct bpf_map_info info;
	_cleanup_close_ int fd = maps_open(decap, "vips", &info);
	uint64_t value[8];

	return fd >= 0 && info.value_size <= sizeof(value) &&
	       bpf_map_lookup_elem(fd, &key, value) == 0;
}

int decap_set_vip(const struct decap *decap, const struct addr *vip, bool present,
		  struct error *err)
{
	struct in6_addr key = maps_key(vip);
	struct bpf_map_info info;
	_cleanup_close_ int fd = maps_open(decap, "vips", &info);
	uint64_t value[8] = {1};
	char text[ADDR_TEXT];
	int rc;

	if (fd < 0 || info.key_size != sizeof(key) || info.value_size > sizeof(value))
		return error_set(
		    err, -EPROTO,
		    "XDP program %u: a decapsulator of another version: expected that of this " TOOL
		    ".\nDetach it first: " TOOL " " TOOL_HOST "undo, or ip link set dev IFACE "
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
