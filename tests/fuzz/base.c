/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the fuzz targets share. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/log.h"

static char directory[64];

void fuzz_fail(const char *file, int line, const char *holds, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: %s: ", file, line, holds);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static void remove_directory(void)
{
	DIR *list = opendir(directory);
	struct dirent *entry;

	while (list && (entry = readdir(list)))
		unlinkat(dirfd(list), entry->d_name, 0);
	if (list)
		closedir(list);
	rmdir(directory);
}

void fuzz_begin(bool own_network)
{
	const char *parent = getenv("TMPDIR");

	log_set_level(LOG_CRIT);
	if (own_network && unshare(CLONE_NEWNET)) {
		fprintf(stderr, "a network namespace is needed: %s\n", strerror(errno));
		exit(FUZZ_SKIPPED);
	}
	snprintf(directory, sizeof(directory), "%s/lbd-fuzz.XXXXXX", parent ? parent : "/tmp");
	require(mkdtemp(directory), "%s: %s", directory, strerror(errno));
	atexit(remove_directory);
}

const char *fuzz_path(char text[128], const char *name)
{
	snprintf(text, 128, "%s/%s", directory, name);
	return text;
}

void fuzz_put(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "%s: %s", path, strerror(errno));
	close(fd);
}

bool fuzz_is_host(const struct addr *addr)
{
	static const uint8_t zeros[16];
	const uint8_t *b = addr->bytes;

	if (addr->family == 4)
		return memcmp(b, zeros, 4) != 0 && b[0] != 127 && (b[0] & 0xf0) != 0xe0 &&
		       memcmp(b, "\xff\xff\xff\xff", 4) != 0;
	if (addr->family != 6 || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80))
		return false;
	if (memcmp(b, zeros, 10) != 0)
		return true;
	if (b[10] == 0xff && b[11] == 0xff)
		return false;
	return memcmp(b + 10, zeros, 5) != 0 || b[15] > 1;
}
