/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Certificates and keys of health checks: whether they fit together shows when they are used. */
#include "pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"

/* Links are followed: those who renew certificates use them. Nothing blocks. */
static int open_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat file;
	int taken;

	if (fd < 0 || fstat(fd, &file))
		return -errno;
	if (!S_ISREG(file.st_mode))
		return -EINVAL;
	taken = fd;
	fd = -1;
	return taken;
}

/* The length, or -errno: -EFBIG beyond max, -EINVAL for what is no regular file. */
static ssize_t read_file(const char *path, size_t max, char *text)
{
	_cleanup_close_ int fd = open_file(path);
	ssize_t length;

	if (fd < 0)
		return fd;
	length = file_read(fd, text, max + 1);
	return length > (ssize_t)max ? -EFBIG : length;
}

static void complain(const struct config_place *at, const char *key, const char *path, int rc,
		     size_t max)
{
	if (rc == -EINVAL)
		config_complain(at, key, path, "expected a regular file");
	else if (rc == -EFBIG)
		config_complain(at, key, path, "expected at most %zu bytes", max);
	else
		config_complain(at, key, path, "%s", strerror(-rc));
}

void config_read_pem(const struct config_place *at, const char *key, const char *path,
		     const char *marker, size_t max, char **ret)
{
	bool fit = false;
	char *text;
	ssize_t length;

	if (*path != '/') {
		config_complain(at, key, path, "expected an absolute path");
		return;
	}
	text = malloc(max + 2);
	if (!text) {
		config_source_oom(at->source);
		return;
	}
	length = read_file(path, max, text);
	text[length > 0 ? length : 0] = 0;
	if (length < 0)
		complain(at, key, path, (int)length, max);
	else if (strlen(text) != (size_t)length || !strstr(text, marker))
		config_complain(at, key, path, "expected a file in PEM, with a line \"%s\"",
				marker);
	else
		fit = true;
	if (fit) {
		free(*ret);
		*ret = text;
	} else {
		explicit_bzero(text, max + 2);
		free(text);
	}
}
