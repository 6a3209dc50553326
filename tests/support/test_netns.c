/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests that run commands in a network namespace of their own. */
#include "test_netns.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static bool entered;

int netns_enter(void **state)
{
	entered = unshare(CLONE_NEWNET) == 0;
	if (entered)
		here("ip link set lo up");
	return 0;
}

bool netns_entered(void)
{
	return entered;
}

void needs_root(void)
{
	if (!entered)
		skip();
}

void here(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}
