/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The journal of the changes of `backend-host setup`, for undo: a JSON file per interface, written
 * before each change is made. */
#include "record.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14; not in every libc's headers */
#endif

#define RECORD_BYTES (1u << 20)

/* 0 in the namespace of process 1, else the cookie of the namespace, which is unique until a
 * reboot. Files below /proc/PID/net have a different inode in every namespace; /proc/1/ns/net would
 * need the right to trace process 1. */
static uint64_t namespace_cookie(void)
{
	_cleanup_close_ int fd = -1;
	struct stat own, first;
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	if (stat("/proc/self/net/dev", &own))
		return 0;
	if (stat("/proc/1/net/dev", &first) == 0 && own.st_ino == first.st_ino)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length))
		return own.st_ino;
	return cookie;
}

/* -ENOENT: there is none. */
static int parse(struct host_record *record, const char *path, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(path, RECORD_BYTES, &text, err);
	json_t *root, *changes;
	json_error_t at;

	if (length < 0)
		return (int)length;
	root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &at);
	changes = json_object_get(root, "changes");
	if (!json_is_array(changes)) {
		json_decref(root);
		return error_set(
		    err, -EPROTO,
		    "%s: expected a record of backend-host setup: %s.\n"
		    "The changes are unknown: restore the settings by hand and remove the file",
		    path, root ? "no list of changes" : at.text);
	}
	record->changes = json_incref(changes);
	json_decref(root);
	return 0;
}

/* One that is not root's any more may hold anything, and must not stop this lbctl. */
static int parse_former(struct host_record *record, struct error *err)
{
	int rc = parse(record, record->former, err);

	if (rc != -EPERM)
		return rc;
	fprintf(stderr, "lbctl: warning: %s: not used: the changes that it names stay\n",
		err->text);
	return -ENOENT;
}

int host_record_open(const char *directory, const char *former, const char *interface,
		     struct host_record *ret, struct error *err)
{
	uint64_t cookie = namespace_cookie();
	char suffix[32] = "";
	int rc;

	if (cookie)
		snprintf(suffix, sizeof(suffix), "@%llu", (unsigned long long)cookie);
	snprintf(ret->path, sizeof(ret->path), "%s/backend-host-%s%s.json", directory, interface,
		 suffix);
	snprintf(ret->former, sizeof(ret->former), "%s/backend-host-%s%s.json", former, interface,
		 suffix);
	rc = parse(ret, ret->path, err);
	if (rc == -ENOENT)
		rc = parse_former(ret, err);
	if (rc != -ENOENT)
		return rc;
	ret->changes = json_array();
	return ret->changes ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void host_record_close(struct host_record *record)
{
	json_decref(record->changes);
	record->changes = NULL;
}

static int write_file(const char *path, json_t *changes)
{
	_cleanup_free_ char *text = NULL;
	json_t *root = json_pack("{s:O}", "changes", changes);

	if (root)
		text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return text ? file_replace(path, text) : -ENOMEM;
}

int host_record_save(const struct host_record *record, struct error *err)
{
	char directory[sizeof(record->path)];
	int rc;

	if (json_array_size(record->changes) == 0) {
		if (unlink(record->path) && errno != ENOENT)
			return error_set(err, -errno, "%s: cannot remove: %s", record->path,
					 strerror(errno));
		unlink(record->former);
		return 0;
	}
	snprintf(directory, sizeof(directory), "%.*s",
		 (int)(strrchr(record->path, '/') - record->path), record->path);
	rc = directory_make(directory, 0755);
	if (rc)
		return error_set(err, rc, "%s: cannot create: %s", directory, strerror(-rc));
	rc = write_file(record->path, record->changes);
	if (rc)
		return error_set(err, rc, "%s: cannot write: %s", record->path, strerror(-rc));
	unlink(record->former);
	return 0;
}
