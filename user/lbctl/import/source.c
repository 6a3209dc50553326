/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that are read, and the names of hosts that are looked up. */
#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/printable.h"
#include "value.h"

/* ---- files ---- */

static int open_source(const char *path, int *ret, struct error *err)
{
	struct stat st;

	*ret = !strcmp(path, "-") ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (*ret < 0 || fstat(*ret, &st))
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return error_set(err, -EISDIR, "%s: is a directory: expected a file, or -", path);
	return 0;
}

/* Reads to the end: the size of a pipe is not known beforehand. */
static int read_all(struct import *im, int fd, const char *path, struct import_file *file,
		    struct error *err)
{
	const size_t most = IMPORT_MAX_BYTES;
	size_t room = 64 * 1024;
	ssize_t got;

	file->text = import_allocate(im, room + 1);
	while ((got = read(fd, file->text + file->length, room - file->length)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(err, -errno, "%s: %s", path, strerror(errno));
		file->length += (size_t)got;
		im->bytes += (size_t)got;
		if (im->bytes > most)
			return error_set(err, -EFBIG,
					 "%s: expected at most %zu MiB, with all included files",
					 path, most >> 20);
		if (file->length < room)
			continue;
		room *= 2;
		file->text = memcpy(import_allocate(im, room + 1), file->text, file->length);
	}
	return 0;
}

int import_open(struct import *im, const char *path, const struct import_file **ret,
		struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct import_file *file;
	int rc;

	if (im->files_count == IMPORT_MAX_FILES)
		return error_set(err, -EMFILE, "%s: expected at most %u files", path,
				 IMPORT_MAX_FILES);
	im->files_count++;
	rc = open_source(path, &fd, err);
	if (rc)
		return rc;
	file = import_allocate(im, sizeof(*file));
	file->name = import_copy(im, path, strlen(path));
	make_printable((char *)file->name, false);
	rc = read_all(im, fd, path, file, err);
	if (!rc)
		*ret = file;
	return rc;
}

/* ---- names ---- */

struct import_name {
	struct import_name *next;
	const char *name;
	struct addr address; /* family 0: it has none */
};

/* The first address of this family; family 0: of either. */
bool import_resolve(const char *name, uint8_t family, struct addr *ret)
{
	struct addrinfo hints = {.ai_family = family == 4   ? AF_INET
					      : family == 6 ? AF_INET6
							    : AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	bool has = false;

	if (getaddrinfo(name, NULL, &hints, &found))
		return false;
	for (const struct addrinfo *one = found; one && !has; one = one->ai_next)
		has = !addr_from_sockaddr(one->ai_addr, ret);
	freeaddrinfo(found);
	return has;
}

/* Names are letters, digits, dots, dashes and underscores; all else is no name, and is not asked
 * for. */
static bool is_host_name(const char *text)
{
	return *text && strlen(text) <= 253 && *text != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		   strlen(text) &&
	       strspn(text, "0123456789.") != strlen(text);
}

static struct import_name *look_up(struct import *im, struct import_place at, const char *text)
{
	struct import_name *name;
	char address[ADDR_TEXT];

	for (name = im->names; name; name = name->next)
		if (!strcmp(name->name, text))
			return name;
	if (im->names_count == IMPORT_MAX_NAMES)
		return NULL;
	im->names_count++;
	name = import_allocate(im, sizeof(*name));
	name->name = import_copy(im, text, strlen(text));
	name->next = im->names;
	im->names = name;
	if (im->resolve && im->resolve(text, 0, &name->address))
		import_note(im, at, "%s: lbd takes addresses: this name has %s now", text,
			    addr_format(&name->address, address));
	else
		name->address = (struct addr){0};
	return name;
}

bool value_address(struct import *im, struct import_place at, const char *text, struct addr *ret)
{
	const struct import_name *name;

	if (!addr_parse(text, ret))
		return true;
	if (!is_host_name(text))
		return false;
	name = look_up(im, at, text);
	if (!name || !name->address.family)
		return false;
	*ret = name->address;
	return true;
}
