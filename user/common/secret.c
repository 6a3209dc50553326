/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A file with a secret: its kind, its mode, its owner. */
#include "secret.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "files.h"

static int check_file(const char *what, const struct stat *st, const char *path, struct error *err)
{
	if (st->st_uid && st->st_uid != geteuid())
		return error_set(err, -EPERM,
				 "%s: %s: owned by user %u: expected root or the user that lbd "
				 "runs as",
				 what, path, st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IRWXO))
		return error_set(err, -EPERM,
				 "%s: %s: mode %03o: expected 600 or 640: chmod 600 %s", what, path,
				 st->st_mode & 0777, path);
	return 0;
}

ssize_t secret_read(const char *what, const char *path, char *text, size_t room, struct error *err)
{
	struct stat st;
	_cleanup_close_ int fd = file_open_regular(path, &st);
	ssize_t length;
	int rc;

	if (fd == -EINVAL)
		return error_set(err, fd, "%s: %s: expected a regular file", what, path);
	if (fd < 0)
		return error_set(err, fd, "%s: %s: %s", what, path, strerror(-fd));
	if ((rc = check_file(what, &st, path, err)))
		return rc;
	length = file_read(fd, text, room);
	if (length < 0)
		return error_set(err, (int)length, "%s: %s: %s", what, path,
				 strerror(-(int)length));
	return length;
}
