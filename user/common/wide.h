/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Wide maps: variables of a BPF program (sections ".data.wide.NAME") whose length is known at run
 * time only. In the object file such a variable has WIDE_LEAST bytes. Its map is an array of one
 * value, which is replaced before the object is loaded; libbpf takes the length of the new one for
 * that of its own copy of the variable, so the old one must be back when the object is closed. */
#ifndef LBD_WIDE_H
#define LBD_WIDE_H

#include <bpf/libbpf.h>
#include <stddef.h>

#define WIDE_LEAST 64

/* Replaces the map by a new one of so many bytes, of the kernel's name `name`. 0 or -errno. */
int wide_make(struct bpf_map *map, const char *name, size_t bytes);
/* Before an object is closed whose wide maps were made, or shared from another object. 0 or -errno:
 * then the object must not be closed, as libbpf would unmap what is not its own. NULL is fine. */
int wide_release(const struct bpf_object *object);

#endif
