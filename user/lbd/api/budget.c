/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shares of descriptors: an eighth for metrics, a quarter for control, an eighth for the API's
 * listener if there is one, the rest for probes. */
#include "budget.h"

#include <dirent.h>
#include <limits.h>
#include <sys/resource.h>

/* For what opens descriptors later: links of interfaces attached at run time, files read at a
 * reload, sockets of the C library. At most this many, or a quarter of what is left. */
#define SPARE 128

static unsigned at_most(unsigned value, unsigned most)
{
	return value < most ? value : most;
}

static unsigned at_least_one(unsigned value)
{
	return value ? value : 1;
}

void budget_share(unsigned limit, unsigned open, bool remote, struct budget *ret)
{
	unsigned left = limit > open ? limit - open : 0;

	left -= at_most(SPARE, left / 4);
	ret->control = at_least_one(at_most(left / 4, BUDGET_CONTROL_MAX));
	ret->metrics = at_least_one(at_most(left / 8, BUDGET_METRICS_MAX));
	ret->remote = remote ? at_least_one(at_most(left / 8, BUDGET_REMOTE_MAX)) : 0;
	ret->probes = at_least_one(left - at_most(left, ret->control + ret->metrics + ret->remote));
}

static unsigned count_open(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!directory)
		return 64;
	while (readdir(directory))
		count++;
	closedir(directory);
	return count - 3; /* ".", ".." and the directory itself */
}

void budget_now(bool remote, struct budget *ret)
{
	struct rlimit limit = {.rlim_cur = 1024};

	getrlimit(RLIMIT_NOFILE, &limit);
	budget_share((unsigned)(limit.rlim_cur < INT_MAX ? limit.rlim_cur : INT_MAX), count_open(),
		     remote, ret);
}
