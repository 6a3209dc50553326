/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a secret token from a file. */
#ifndef LBD_TOKEN_H
#define LBD_TOKEN_H

#include "common/error.h"

#define TOKEN_MIN 16
#define TOKEN_MAX 512

/* The file holds one token of TOKEN_MIN to TOKEN_MAX visible ASCII characters, and perhaps a line
 * end. It must be a regular file of root or of lbd's user, which others may not read and only its
 * owner may write. 0 with *ret on the heap, or -errno with the sentence in err. */
int token_read(const char *path, char **ret, struct error *err);

#endif
