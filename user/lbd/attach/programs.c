/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What loading the programs beside the main one has in common. */
#include "programs.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

libbpf_print_fn_t programs_quiet(void)
{
	return libbpf_set_print(silent);
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
