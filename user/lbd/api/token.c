/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A file with a secret token: its mode, its owner, its one line. */
#include "token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"

static int check_file(const struct stat *st, const char *path, struct error *err)
{
	if (st->st_uid && st->st_uid != geteuid())
		return error_set(err, -EPERM,
				 "metrics-token-file: %s: owned by user %u: expected root or the "
				 "user that lbd runs as",
				 path, st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IRWXO))
		return error_set(
		    err, -EPERM,
		    "metrics-token-file: %s: mode %03o: expected 600 or 640: chmod 600 %s", path,
		    st->st_mode & 0777, path);
	return 0;
}

static bool is_token(const char *text, size_t length)
{
	if (length < TOKEN_MIN || length > TOKEN_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

int token_read(const char *path, char **ret, struct error *err)
{
	struct stat st;
	_cleanup_close_ int fd = file_open_regular(path, &st);
	char text[TOKEN_MAX + 4];
	ssize_t length;
	int rc;

	if (fd == -EINVAL)
		return error_set(err, fd, "metrics-token-file: %s: expected a regular file", path);
	if (fd < 0)
		return error_set(err, fd, "metrics-token-file: %s: %s", path, strerror(-fd));
	if ((rc = check_file(&st, path, err)))
		return rc;
	length = read(fd, text, sizeof(text));
	if (length < 0)
		return error_set(err, -errno, "metrics-token-file: %s: %s", path, strerror(errno));
	while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	if (!is_token(text, (size_t)length))
		rc =
		    error_set(err, -EINVAL,
			      "metrics-token-file: %s: expected one line of %d to %d visible ASCII "
			      "characters, as openssl rand -hex 32 prints",
			      path, TOKEN_MIN, TOKEN_MAX);
	else if (!(*ret = strndup(text, (size_t)length)))
		rc = error_set(err, -ENOMEM, "out of memory");
	explicit_bzero(text, sizeof(text));
	return rc;
}
