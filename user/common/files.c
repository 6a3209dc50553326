/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Atomic replacement of files, and creation of directories. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* Removes a file left by a crash first: it may have another owner, or be no regular file. */
static int write_durably(const char *path, const char *text)
{
	_cleanup_close_ int fd = -1;
	size_t length = strlen(text), done = 0;

	if (unlink(path) && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (done < length) {
		ssize_t n = write(fd, text + done, length - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* Writes the rename to disk too. */
static int sync_directory_of(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd =
	    copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return copy ? -errno : -ENOMEM;
	return fsync(fd) ? -errno : 0;
}

int file_replace(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	int rc;

	if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	rc = write_durably(temporary, text);
	if (!rc && rename(temporary, path))
		rc = -errno;
	if (rc)
		unlink(temporary);
	return rc ? rc : sync_directory_of(path);
}

int directory_make(const char *path, mode_t mode)
{
	return mkdir(path, mode) && errno != EEXIST ? -errno : 0;
}

int directory_make_all(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *slash = copy + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		int rc;

		*slash = 0;
		rc = directory_make(copy, mode);
		if (rc)
			return rc;
	}
	return directory_make(copy, mode);
}
