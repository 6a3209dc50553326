/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A file with a secret token: its one line. */
#include "token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/secret.h"

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
	char text[TOKEN_MAX + 4];
	ssize_t length = secret_read("metrics-token-file", path, text, sizeof(text), err);
	int rc = 0;

	if (length < 0)
		return (int)length;
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
