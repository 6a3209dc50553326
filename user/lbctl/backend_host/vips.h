/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The VIPs of a backend, without repeats. */
#ifndef LBCTL_BACKEND_HOST_VIPS_H
#define LBCTL_BACKEND_HOST_VIPS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/addr.h"
#include "common/error.h"
#include "lbctl/core/call.h"

#define VIPS_MAX 256

struct vips {
	struct addr list[VIPS_MAX];
	size_t count;
};

/* Reads the --vip options of a call. 0, or -EINVAL with err set. */
int vips_read(const struct call *call, struct vips *ret, struct error *err);
/* Does nothing if the VIP is in the list already. The list must have room: count < VIPS_MAX. */
void vips_add(struct vips *vips, const struct addr *vip);
/* Can it be a VIP or the address of a host: neither loopback, link-local, nor IPv4 in IPv6. */
bool addr_is_unicast(const struct addr *addr);
bool vips_have_family(const struct vips *vips, uint8_t family);

#endif
