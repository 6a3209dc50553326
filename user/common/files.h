/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that must be whole or not there. */
#ifndef LBD_FILES_H
#define LBD_FILES_H

/* Writes text to path, whole or not at all: a temporary file beside it (mode 0600), fsync, rename, fsync of the
 * directory. Follows no symbolic link at either path. 0 or -errno. */
int file_replace(const char *path, const char *text);

#endif
