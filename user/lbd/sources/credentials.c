/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads certificates, keys and tokens of sources. */
#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"

#define PEM_MAX   16384
#define TOKEN_MAX 8192 /* Kubernetes' are signed texts (JWT) of 1 to 2 KiB */

/* A link is followed: a mounted token of Kubernetes is one. */
static int read_text(const char *path, size_t most, char **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat state;
	char *text;
	ssize_t length;

	if (fd < 0 || fstat(fd, &state))
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(state.st_mode) || (size_t)state.st_size > most)
		return error_set(err, -EINVAL, "%s: expected a file of at most %zu bytes", path,
				 most);
	text = calloc(1, most + 1);
	length = text ? file_read(fd, text, most) : -ENOMEM;
	if (length < 0) {
		free(text);
		return error_set(err, (int)length, "%s: %s", path, strerror(-(int)length));
	}
	*ret = text;
	return 0;
}

/* The path becomes what is in the file. */
static int read_pem(char **text, struct error *err)
{
	char *pem;
	int rc = *text ? read_text(*text, PEM_MAX, &pem, err) : 0;

	if (rc || !*text)
		return rc;
	if (!*pem) { /* "" is for the source process one that is not given */
		free(pem);
		return error_set(err, -EINVAL, "%s: expected PEM: it is empty", *text);
	}
	free(*text);
	*text = pem;
	return 0;
}

/* It becomes a line of a request: nothing in it may end that. */
static int read_token(char **text, struct error *err)
{
	char *token;
	int rc = *text ? read_text(*text, TOKEN_MAX, &token, err) : 0;
	size_t length;

	if (rc || !*text)
		return rc;
	length = strlen(token);
	while (length && strchr(" \t\r\n", token[length - 1]))
		token[--length] = 0;
	for (const char *c = token; *c && length; c++)
		if (*c <= ' ' || *c > '~')
			length = 0;
	if (!length) {
		free(token);
		return error_set(err, -EINVAL, "%s: expected a token: one line, without blanks",
				 *text);
	}
	free(*text);
	*text = token;
	return 0;
}

int credentials_read(struct config_from *from, struct error *err)
{
	int rc = read_pem(&from->ca, err);

	if (!rc)
		rc = read_pem(&from->cert, err);
	if (!rc)
		rc = read_pem(&from->key, err);
	return rc ? rc : read_token(&from->token, err);
}
