/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The key of the flow hash: from the config, else a random one that is created once and kept in the
 * state directory. */
#include "seed.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"

#define FILE_NAME "hash-seed"
#define DIGITS    16

static int seed_path(const char *directory, char path[PATH_MAX], struct error *err)
{
	if (snprintf(path, PATH_MAX, "%s/" FILE_NAME, directory) >= PATH_MAX)
		return error_set(err, -ENAMETOOLONG, "state: %s: the path is too long", directory);
	return 0;
}

/* 0x and 16 hexadecimal digits, not zero; a line end may follow. */
static int parse(const char *text, uint64_t *ret)
{
	uint64_t value;

	if (strncmp(text, "0x", 2) || strspn(text + 2, "0123456789abcdefABCDEF") != DIGITS ||
	    (text[2 + DIGITS] && strcmp(text + 2 + DIGITS, "\n")))
		return -EINVAL;
	value = strtoull(text + 2, NULL, 16);
	if (!value)
		return -EINVAL;
	*ret = value;
	return 0;
}

/* Who can write the file chooses the seed, and who can read it can choose flows for a slot. */
static int check_file(const struct stat *file, const char *path, struct error *err)
{
	if (file->st_uid != geteuid())
		return error_set(err, -EPERM,
				 "%s: owned by user %u: expected user %u, which lbd runs as", path,
				 (unsigned)file->st_uid, (unsigned)geteuid());
	if (file->st_mode & 077)
		return error_set(
		    err, -EPERM,
		    "%s: mode %04o: expected 0600, because the seed is secret: chmod 600 %s", path,
		    file->st_mode & 07777, path);
	return 0;
}

/* *ret is 0 when there is no file. */
static int read_kept(const char *path, uint64_t *ret, struct error *err)
{
	struct stat file;
	_cleanup_close_ int fd = file_open_regular(path, &file);
	char text[64] = "";
	ssize_t length;
	int rc;

	*ret = 0;
	if (fd == -ENOENT)
		return 0;
	if (fd == -ELOOP)
		return error_set(err, fd, "%s: is a symbolic link: expected a regular file", path);
	if (fd == -EINVAL)
		return error_set(
		    err, fd, "%s: expected a regular file; if you remove it, lbd creates a new one",
		    path);
	if (fd < 0)
		return error_set(err, fd, "%s: %s", path, strerror(-fd));
	rc = check_file(&file, path, err);
	if (rc)
		return rc;
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (memchr(text, 0, (size_t)length) || parse(text, ret))
		return error_set(
		    err, -EINVAL,
		    "%s: holds no seed: expected 0x and %d hexadecimal digits, not all 0. Restore "
		    "the seed (lbctl status shows that of pinned maps), or remove the file: lbd then "
		    "keeps the seed of the pinned maps, or creates a new one",
		    path, DIGITS);
	return 0;
}

static int make_random(uint64_t *ret, struct error *err)
{
	uint64_t value = 0;

	while (!value) {
		ssize_t n = getrandom(&value, sizeof(value), 0);

		if (n < 0 && errno != EINTR)
			return error_set(
			    err, -errno,
			    "hash-seed: no random number: %s; set hash-seed in the config",
			    strerror(errno));
		if (n != sizeof(value))
			value = 0;
	}
	*ret = value;
	return 0;
}

int seed_find(uint64_t configured, const char *directory, struct seed *ret, struct error *err)
{
	struct seed seed = {.value = configured, .configured = configured};
	char path[PATH_MAX];
	int rc;

	if (!configured) {
		rc = seed_path(directory, path, err);
		if (!rc)
			rc = read_kept(path, &seed.value, err);
		seed.kept = seed.value;
		if (!rc && !seed.kept)
			rc = make_random(&seed.value, err);
		if (rc)
			return rc;
	}
	*ret = seed;
	return 0;
}

void seed_keep(const struct seed *seed, const char *directory, uint64_t in_force)
{
	char path[PATH_MAX], text[2 + DIGITS + 2];
	struct error err;
	int rc;

	if (seed->configured || (seed->kept && seed->value == in_force))
		return;
	if (seed_path(directory, path, &err)) {
		log_warning("%s", err.text);
		return;
	}
	snprintf(text, sizeof(text), "0x%016" PRIx64 "\n", in_force);
	rc = directory_make(directory, 0700);
	if (!rc)
		rc = file_replace(path, text);
	if (rc)
		log_warning(
		    "hash-seed: cannot be kept in %s: %s. New maps, such as after a reboot, get "
		    "another seed: make the directory writable, or set hash-seed in the config",
		    path, strerror(-rc));
	else if (seed->kept)
		log_info("hash-seed: the seed of the pinned maps is now kept in %s", path);
	else
		log_info("hash-seed: kept in %s", path);
}
