/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The VIPs of a backend, without repeats. */
#include "vips.h"

#include <errno.h>

bool vips_have_family(const struct vips *vips, uint8_t family)
{
	for (size_t i = 0; i < vips->count; i++)
		if (vips->list[i].family == family)
			return true;
	return false;
}

void vips_add(struct vips *vips, const struct addr *vip)
{
	for (size_t i = 0; i < vips->count; i++)
		if (addr_equal(&vips->list[i], vip))
			return;
	vips->list[vips->count++] = *vip;
}

/* Not 240.0.0.0/4 either. */
bool addr_is_unicast(const struct addr *addr)
{
	return !addr_why_no_host(addr) && (addr->family == 6 || addr->bytes[0] < 240);
}

int vips_read(const struct call *call, struct vips *ret, struct error *err)
{
	const char *text;
	unsigned at = 0;

	ret->count = 0;
	while ((text = call_next_option(call, "--vip", &at))) {
		struct addr vip;

		if (ret->count == VIPS_MAX)
			return error_set(err, -EINVAL, "%s: --vip %s: expected at most %d VIPs",
					 call->verb->name, text, VIPS_MAX);
		if (addr_parse(text, &vip))
			return error_set(
			    err, -EINVAL,
			    "%s: --vip %s: expected an address without a prefix, such as "
			    "192.0.2.10 or 2001:db8::10",
			    call->verb->name, text);
		if (!addr_is_unicast(&vip))
			return error_set(
			    err, -EINVAL,
			    "%s: --vip %s: expected a unicast address, not loopback or link-local",
			    call->verb->name, text);
		vips_add(ret, &vip);
	}
	return 0;
}
