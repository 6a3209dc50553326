/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that a program keeps for its next run. Directories. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* To the disk. */
static int write_all(int fd, const char *text)
{
	size_t length = strlen(text), done = 0;

	while (done < length) {
		ssize_t n = write(fd, text + done, length - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* like: has the owner and mode that the new file gets; NULL: they are the process's, and 0600. */
static int write_new(const char *path, const char *text, const struct stat *like)
{
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (like && (fchown(fd, like->st_uid, like->st_gid) || fchmod(fd, like->st_mode & 0777)))
		return -errno;
	return write_all(fd, text);
}

int file_sync_directory(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd =
	    copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return copy ? -errno : -ENOMEM;
	return fsync(fd) ? -errno : 0;
}

/* Leaves nothing behind but what was there before: -EEXIST. */
static int write_or_remove(const char *path, const char *text, const struct stat *like)
{
	int rc = write_new(path, text, like);

	if (rc && rc != -EEXIST)
		unlink(path);
	return rc;
}

int file_replace(const char *path, const char *text)
{
	char temporary[PATH_MAX];
	int rc;

	if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	/* left by a crash: it may have another owner, or be no regular file */
	if (unlink(temporary) && errno != ENOENT)
		return -errno;
	rc = write_or_remove(temporary, text, NULL);
	if (rc)
		return rc;
	if (rename(temporary, path)) {
		rc = -errno;
		unlink(temporary);
		return rc;
	}
	return file_sync_directory(path);
}

int file_write_beside(const char *path, const char *beside, const char *text)
{
	struct stat like;

	return stat(path, &like) ? -errno : write_or_remove(beside, text, &like);
}

/* O_NONBLOCK: a FIFO in its place does not block. */
static int append_durably(const char *path, const char *text)
{
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat file;

	if (fd < 0 || fstat(fd, &file))
		return -errno;
	if (!S_ISREG(file.st_mode) || file.st_nlink != 1)
		return -EINVAL;
	return write_all(fd, text);
}

int file_append(const char *path, const char *text)
{
	bool is_new = access(path, F_OK);
	int rc = append_durably(path, text);

	return rc || !is_new ? rc : file_sync_directory(path);
}

int file_remove(const char *path)
{
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return file_sync_directory(path);
}

int file_set_aside(const char *path, struct error *ret)
{
	char bad[PATH_MAX];
	int rc = 0;

	if (snprintf(bad, sizeof(bad), "%s.bad", path) >= (int)sizeof(bad))
		rc = -ENAMETOOLONG;
	else if (rename(path, bad))
		rc = -errno;
	return rc ? error_set(ret, rc, "it cannot be renamed: %s", strerror(-rc))
		  : error_set(ret, 0, "the file is now %s.bad", path);
}

int file_open_regular(const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int opened = fd;

	if (fd < 0 || fstat(fd, ret))
		return -errno;
	if (!S_ISREG(ret->st_mode))
		return -EINVAL;
	fd = -1;
	return opened;
}

/* Anybody else's file could make lbd do what only its own user may order. */
static int check_kept(const struct stat *file, const char *path, size_t max, struct error *err)
{
	if (file->st_uid && file->st_uid != geteuid())
		return error_set(err, -EPERM, "%s: owned by user %u: expected root or user %u",
				 path, (unsigned)file->st_uid, (unsigned)geteuid());
	if (file->st_size > (off_t)max)
		return error_set(err, -EFBIG, "%s: %lld bytes: expected at most %zu", path,
				 (long long)file->st_size, max);
	return 0;
}

ssize_t file_read(int fd, char *text, size_t max)
{
	size_t length = 0;

	while (length < max) {
		ssize_t n = read(fd, text + length, max - length);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n > 0)
			length += (size_t)n;
	}
	return (ssize_t)length;
}

ssize_t file_read_kept(const char *path, size_t max, char **ret, struct error *err)
{
	struct stat file;
	_cleanup_close_ int fd = file_open_regular(path, &file);
	_cleanup_free_ char *text = NULL;
	ssize_t length;
	int rc;

	if (fd == -ENOENT)
		return -ENOENT;
	if (fd == -ELOOP)
		return error_set(err, fd, "%s: is a symbolic link: expected a regular file", path);
	if (fd == -EINVAL)
		return error_set(err, fd, "%s: expected a regular file", path);
	if (fd < 0)
		return error_set(err, fd, "%s: %s", path, strerror(-fd));
	rc = check_kept(&file, path, max, err);
	if (rc)
		return rc;
	text = malloc((size_t)file.st_size + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	length = file_read(fd, text, (size_t)file.st_size);
	if (length < 0)
		return error_set(err, (int)length, "%s: %s", path, strerror((int)-length));
	text[length] = 0;
	*ret = text;
	text = NULL;
	return length;
}

bool file_may_be_good(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -EIO || rc == -ETIMEDOUT;
}

/* A line of it: "1: FLOCK  ADVISORY  WRITE 123 00:1b:456 0 EOF". */
int file_lock_holder(int fd)
{
	_cleanup_fclose_ FILE *locks = fopen("/proc/locks", "re");
	char line[256];
	struct stat st;

	if (!locks || fstat(fd, &st))
		return 0;
	while (fgets(line, sizeof(line), locks)) {
		unsigned long inode;
		int pid;

		if (sscanf(line, "%*s FLOCK %*s %*s %d %*x:%*x:%lu", &pid, &inode) == 2 &&
		    inode == st.st_ino)
			return pid;
	}
	return 0;
}

int directory_make(const char *path, mode_t mode)
{
	return mkdir(path, mode) && errno != EEXIST ? -errno : 0;
}

int directory_make_all(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *slash = copy + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		int rc;

		*slash = 0;
		rc = directory_make(copy, mode);
		if (rc)
			return rc;
	}
	return directory_make(copy, mode);
}
