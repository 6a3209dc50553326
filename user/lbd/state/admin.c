/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The names of the states that an operator gives a backend. */
#include "admin.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {
    [ADMIN_AUTO] = "auto",
    [ADMIN_UP] = "up",
    [ADMIN_DOWN] = "down",
    [ADMIN_MAINTENANCE] = "maintenance",
};

const char *admin_state_name(enum admin_state state)
{
	return names[state];
}

int admin_state_parse(const char *text, enum admin_state *ret)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], text)) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}
