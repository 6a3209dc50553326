/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up the rights of lbd and becomes the command of `notify`. */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define OPEN_FILES 1024 /* lbd's own limit is far above, and some programs close all of them */

bool events_is_command(int argc, char *const *argv)
{
	return argc > 2 && !strcmp(argv[1], PROCESS_ARGUMENT);
}

static void limit_resources(void)
{
	static const struct rlimit none;
	struct rlimit files;

	setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur <= OPEN_FILES)
		return;
	files.rlim_cur = OPEN_FILES;
	setrlimit(RLIMIT_NOFILE, &files);
}

int events_run_command(int argc, char **argv)
{
	struct error err;

	if (rights_give_up(&err)) {
		dprintf(STDERR_FILENO, "its rights cannot be given up: %s\n", err.text);
		return PROCESS_NOT_STARTED;
	}
	limit_resources();
	umask(0022);
	if (chdir("/"))
		dprintf(STDERR_FILENO, "/: %s\n", strerror(errno));
	execve(argv[2], argv + 2, environ);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[2], strerror(errno));
	return PROCESS_NOT_STARTED;
}
