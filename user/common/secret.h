/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a file that holds a secret. */
#ifndef LBD_SECRET_H
#define LBD_SECRET_H

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

/* It must be a regular file of root or of lbd's user, which others may not read and only its owner
 * may write. At most room bytes are read, without a NUL at the end: so many mean that it is longer.
 * what: the config key, for errors. The length, or -errno with the sentence in err. The caller
 * clears the text (explicit_bzero). */
ssize_t secret_read(const char *what, const char *path, char *text, size_t room, struct error *err);

#endif
