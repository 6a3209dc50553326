/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What loading the programs beside the main one has in common. libbpf has one function for its
 * lines; here each thread may have another, as the event loop and the tasks' waits use libbpf at
 * the same time. */
#include "programs.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

static libbpf_print_fn_t usual;
static _Thread_local libbpf_print_fn_t own;
static _Thread_local bool has_own;

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	libbpf_print_fn_t to = has_own ? own : usual;

	return to ? to(level, format, args) : 0;
}

static void install(void)
{
	usual = libbpf_set_print(print);
}

void programs_print_to(libbpf_print_fn_t to)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	own = to;
	has_own = true;
}

void programs_print_as_usual(void)
{
	has_own = false;
}

/* The inode's number is the namespace's in the kernel. */
int programs_namespace(uint32_t *ret)
{
	struct stat namespace;

	if (stat("/proc/self/ns/net", &namespace))
		return -errno;
	*ret = (uint32_t) namespace.st_ino;
	return 0;
}
