/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that must be whole or not there, and the directories they are in. */
#ifndef LBD_FILES_H
#define LBD_FILES_H

#include <sys/types.h>

/* Writes text to path, whole or not at all: a temporary file beside it (mode 0600), fsync, rename,
 * fsync of the directory. Follows no symbolic link at either path. 0 or -errno. */
int file_replace(const char *path, const char *text);

/* Makes a directory if it is not there. 0 or -errno. */
int directory_make(const char *path, mode_t mode);
/* The same with every directory above it that is missing. */
int directory_make_all(const char *path, mode_t mode);

#endif
