/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the decapsulator (bpf/decap.bpf.c). */
#ifndef LBCTL_BACKEND_HOST_MAPS_H
#define LBCTL_BACKEND_HOST_MAPS_H

#include <bpf/libbpf.h>
#include <jansson.h>
#include <netinet/in.h>

#include "common/addr.h"
#include "common/error.h"
#include "decap.h"

struct decap_bpf;

/* The key of an address: IPv4 as ::ffff:a.b.c.d. */
struct in6_addr maps_key(const struct addr *addr);
/* Opens a map of the attached program by name; one that begins with a dot by its end, as libbpf
 * puts a part of the object's name before it. Returns its descriptor, which the caller closes, or
 * -ENOENT. */
int maps_open(const struct decap *decap, const char *name, struct bpf_map_info *ret_info);
/* Makes the map of the attached program that of a program to be loaded. -EPROTO if they differ in
 * layout. */
int maps_reuse(const struct decap *decap, struct bpf_map *map, const char *name);

/* Before loading: constants and the sizes of maps, as accept (accept.h) needs them. */
int maps_size(struct decap_bpf *skeleton, const json_t *accept, struct error *err);
/* After loading: fills the maps. 0, or -errno with err set. */
int maps_fill(struct decap_bpf *skeleton, const json_t *accept, struct error *err);

#endif
