/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program beside others through libxdp's dispatcher: a copy of it on the same maps,
 * loaded as an extension of the dispatcher. */
#include "internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "common/wide.h"
#include "lb.skel.h"

/* The copy calls through map `programs`. All who use such a map take frames in several buffers, as
 * section xdp.frags says, or none does: else the kernel refuses to load one (EINVAL). libxdp takes
 * that flag away from what it makes an extension, and libbpf gives it to programs of type XDP
 * alone. So it is put back at the last moment. */
static int take_frags(struct bpf_program *program, struct bpf_prog_load_opts *opts, long cookie)
{
	(void)program, (void)cookie;
	opts->prog_flags |= BPF_F_XDP_HAS_FRAGS;
	return 0;
}

int dispatcher_prepare(void)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = take_frags);
	int rc = libbpf_register_prog_handler("xdp.frags", BPF_PROG_TYPE_XDP, BPF_XDP, &opts);

	return rc < 0 ? rc : 0;
}

/* libxdp looks up the programs on an interface by id. Where it may not, it attaches alone and
 * without a link, and lbd could not undo that. */
static bool may_look_up_programs(void)
{
	return bpf_prog_get_fd_by_id(0) >= 0 || errno != EPERM; /* 0 is no program's id */
}

bool dispatcher_allowed(void)
{
	/* An extension without a target: EINVAL where the kernel knows extensions, EPERM where it
	 * refuses them. */
	const struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					   {.code = BPF_JMP | BPF_EXIT}};
	int fd;

	if (!may_look_up_programs())
		return false;
	fd = bpf_prog_load(BPF_PROG_TYPE_EXT, "lbd_probe", "Dual BSD/GPL", program, 2, NULL);
	if (fd < 0)
		return errno != EPERM;
	close(fd);
	return true;
}

/* The program to attach; the object may hold others. */
static struct bpf_program *main_program(struct dataplane *dp)
{
	struct bpf_program *program;

	bpf_object__for_each_program (program, dataplane_object(dp)) {
		if (bpf_program__fd(program) == dataplane_program_fd(dp))
			return program;
	}
	return NULL;
}

/* Every map, also that of the constants: the copy is the same program on the same data. */
static int share_maps(struct bpf_object *from, struct bpf_object *to)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, to) {
		struct bpf_map *original = dataplane_map_find(from, map);
		int rc = original ? bpf_map__reuse_fd(map, bpf_map__fd(original)) : -ENOENT;

		if (rc)
			return rc;
	}
	return 0;
}

static int prepare_copy(struct dataplane *dp, struct lb_bpf *copy, const char **ret_section)
{
	struct bpf_program *original = main_program(dp), *program;
	int rc = share_maps(dataplane_object(dp), copy->obj);

	if (rc)
		return rc;
	if (!original)
		return -ENOENT;
	bpf_object__for_each_program (program, copy->obj) {
		if (strcmp(bpf_program__name(program), bpf_program__name(original)) != 0)
			bpf_program__set_autoload(program, false);
		else /* for libxdp: a dispatcher takes such frames if all of its programs do */
			rc = bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
	}
	*ret_section = bpf_program__section_name(original);
	return rc;
}

/* Where there can be no dispatcher, libxdp attaches the program alone and without a link: undoes
 * that. */
static int undo_lone_program(uint32_t ifindex)
{
	struct xdp_multiprog *there = xdp_multiprog__get_from_ifindex((int)ifindex);
	int rc = 0;

	if (libxdp_get_error(there))
		return -ENOENT;
	if (xdp_multiprog__is_legacy(there)) {
		xdp_multiprog__detach(there);
		rc = -EOPNOTSUPP;
	}
	xdp_multiprog__close(there);
	return rc;
}

int dispatcher_attach(struct dataplane *dp, uint32_t ifindex, bool native, char why[256])
{
	struct lb_bpf *copy = lb_bpf__open();
	struct xdp_program *program;
	const char *section;
	int rc;

	if (!copy) {
		rc = -errno;
		snprintf(why, 256, "cannot open the program: %s", strerror(-rc));
		return rc;
	}
	rc = prepare_copy(dp, copy, &section);
	if (!rc) {
		program = xdp_program__from_bpf_obj(copy->obj, section);
		rc = (int)libxdp_get_error(program);
		if (!rc) {
			rc = xdp_program__attach(program, (int)ifindex,
						 native ? XDP_MODE_NATIVE : XDP_MODE_SKB, 0);
			xdp_program__close(program);
		}
		if (!rc)
			rc = undo_lone_program(ifindex);
	}
	if (!wide_release(copy->obj)) /* else memory is lost, as descriptors or memory are short */
		lb_bpf__destroy(copy);
	if (rc)
		libxdp_strerror(rc, why, 256);
	return rc;
}

int dispatcher_detach(uint32_t ifindex, uint32_t program_id)
{
	struct xdp_program *program = xdp_program__from_id(program_id);
	int rc = (int)libxdp_get_error(program);

	if (rc)
		return rc;
	rc = xdp_program__detach(program, (int)ifindex, XDP_MODE_UNSPEC, 0);
	xdp_program__close(program);
	return rc;
}
