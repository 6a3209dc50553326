/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that a program keeps for its next run: read with care, replaced whole. Directories. */
#ifndef LBD_FILES_H
#define LBD_FILES_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "error.h"

/* Writes text to path completely or not at all: a temporary file beside it (mode 0600), fsync,
 * rename, fsync of the directory. Follows no symbolic link at either path. 0 or -errno. */
int file_replace(const char *path, const char *text);

/* Adds text at the end of path, a regular file that is made (mode 0600) if it does not exist, and
 * writes that to disk. Follows no link. 0 or -errno; then a part of text may be there. */
int file_append(const char *path, const char *text);

/* The first half of a replacement of a person's file: writes text to `beside`, with owner and mode
 * of path, and to disk. What is at `beside` is not touched (-EEXIST); after an error nothing is
 * left there. 0 or -errno. */
int file_write_beside(const char *path, const char *beside, const char *text);
/* Writes to disk what was renamed in the directory of path. 0 or -errno. */
int file_sync_directory(const char *path);

/* Removes path, and writes that to disk. 0 or -errno; 0 if it does not exist. */
int file_remove(const char *path);

/* Opens a regular file for reading; no link is followed, and nothing blocks. The descriptor with
 * the file's state in *ret, or -errno: -ELOOP for a symbolic link, -EINVAL for what is no regular
 * file. */
int file_open_regular(const char *path, struct stat *ret);
/* Reads to the end, max bytes at most. The length or -errno. */
ssize_t file_read(int fd, char *text, size_t max);
/* Reads a file that this program wrote earlier. It must be a regular file of at most max bytes,
 * owned by root or by the user this process runs as; no link is followed, and nothing blocks. *ret
 * is allocated and ends with a 0. The length, -ENOENT without a sentence in err if there is none,
 * or -errno with err naming the file and what was expected. */
ssize_t file_read_kept(const char *path, size_t max, char **ret, struct error *err);
/* Whether such an error says nothing of the file: for want of descriptors or memory, or of a disk
 * that failed, it could not be read. The file may be good. */
bool file_may_be_good(int rc);
/* Moves a file that cannot be used out of the way, to path and ".bad", for a person to look at. 0
 * or -errno. *ret says which, for the log: "the file is now PATH.bad", "it cannot be renamed: ...".
 */
int file_set_aside(const char *path, struct error *ret);

/* The pid that holds the flock of an open file, from /proc/locks; 0: unknown. */
int file_lock_holder(int fd);

/* Creates a directory if it does not exist. 0 or -errno. */
int directory_make(const char *path, mode_t mode);
/* The same, with its missing parents. */
int directory_make_all(const char *path, mode_t mode);

#endif
