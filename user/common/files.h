/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Atomic replacement of files, and creation of directories. */
#ifndef LBD_FILES_H
#define LBD_FILES_H

#include <sys/types.h>

/* Writes text to path completely or not at all: a temporary file beside it (mode 0600), fsync,
 * rename, fsync of the directory. Follows no symbolic link at either path. 0 or -errno. */
int file_replace(const char *path, const char *text);

/* Creates a directory if it does not exist. 0 or -errno. */
int directory_make(const char *path, mode_t mode);
/* The same, with its missing parents. */
int directory_make_all(const char *path, mode_t mode);

#endif
