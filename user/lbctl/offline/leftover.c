/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "leftover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/pins.h"
#include "offline.h"

#define NAMES_SHOWN 10
#define ELSEWHERE   " (in another network namespace)"

struct leftover {
	char names[NAMES_SHOWN * (IF_NAMESIZE + 2 + sizeof(ELSEWHERE))];
	unsigned count;
};

static void add_name(struct leftover *leftover, const struct offline_program *program)
{
	size_t used = strlen(leftover->names);

	if (leftover->count++ < NAMES_SHOWN)
		snprintf(leftover->names + used, sizeof(leftover->names) - used, "%s%s%s",
			 used ? ", " : "", program->interface, program->elsewhere ? ELSEWHERE : "");
}

/* Pins of an lbd that runs, with another socket, are no leftover. */
static bool look_at(void *arg, const char *pin)
{
	struct leftover *leftover = arg;
	struct offline offline;

	if (offline_open(pin, false, &offline, NULL))
		return true;
	for (unsigned i = 0; i < offline.count; i++)
		if (offline.list[i].ifindex)
			add_name(leftover, &offline.list[i]);
	offline_close(&offline);
	return true;
}

int leftover_report(int rc, struct error *err)
{
	const struct error before = *err;
	struct leftover leftover = {0};

	if (geteuid() != 0)
		return error_set(
		    err, rc,
		    "%s\nWhere its program is still attached, root can see: sudo lbctl "
		    "status",
		    before.text);
	pins_each(look_at, &leftover);
	if (!leftover.count)
		return rc;
	return error_set(err, rc,
			 "%s\nIts program is still attached on %s%s: it forwards there, without "
			 "health checks.\nTo end that without lbd: lbctl detach --offline --all",
			 before.text, leftover.names, leftover.count > NAMES_SHOWN ? ", ..." : "");
}
