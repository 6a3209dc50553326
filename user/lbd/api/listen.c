/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes listening sockets. */
#include "listen.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "lbd/host/host.h"

#define BACKLOG 1024

/* ---- Unix ---- */

static bool is_listened_on(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return false;
	rc = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	return !rc || rc == EAGAIN;
}

static int remove_stale(const char *what, const struct sockaddr_un *address, struct error *err)
{
	const char *path = address->sun_path;
	struct stat there;

	if (lstat(path, &there))
		return errno == ENOENT
			   ? 0
			   : error_set(err, -errno, "%s: %s: %s", what, path, strerror(errno));
	if (!S_ISSOCK(there.st_mode))
		return error_set(
		    err, -EEXIST,
		    "%s: %s: exists and is no socket: remove it, or choose another path", what,
		    path);
	if (is_listened_on(address))
		return error_set(err, -EADDRINUSE,
				 "%s: %s: in use by another process: choose another path", what,
				 path);
	return unlink(path) ? error_set(err, -errno, "%s: %s: %s", what, path, strerror(errno)) : 0;
}

/* Until the chmod only root and lbd's user can use the socket: see the umask in listen_unix. */
static void open_to_group(const char *what, const char *path, const char *group)
{
	const struct group *entry = getgrnam(group);

	if (!entry)
		log_warning(
		    "%s: %s: group \"%s\" does not exist: only root can use the socket. To create the group: groupadd --system %s",
		    what, path, group, group);
	else if (chown(path, (uid_t)-1, entry->gr_gid) || chmod(path, 0660))
		log_warning("%s: %s: cannot give it to group \"%s\": %s", what, path, group,
			    strerror(errno));
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t length)
{
	int rc = bind(fd, address, length) || listen(fd, BACKLOG) ? -errno : 0;

	if (rc)
		close(fd);
	return rc;
}

int listen_unix(const char *what, const char *path, const char *group, int *ret_fd,
		struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before;
	int fd, rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG, "%s: %s: expected at most %zu bytes", what,
				 path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	if ((rc = host_make_parent(path, err)) || (rc = remove_stale(what, &address, err)))
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(err, -errno, "%s: %s: %s", what, path, strerror(errno));
	before = umask(0177);
	rc = bind_and_listen(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (rc)
		return error_set(err, rc, "%s: %s: %s", what, path, strerror(-rc));
	open_to_group(what, path, group);
	*ret_fd = fd;
	return 0;
}

/* ---- TCP ---- */

int listen_tcp(const char *what, const struct addr *address, uint16_t port, const char *hint,
	       int *ret_fd, struct error *err)
{
	struct sockaddr_storage local;
	socklen_t length = addr_to_sockaddr(address, port, &local);
	int fd = socket(local.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, rc;
	char text[ADDR_TEXT];

	if (fd < 0) {
		rc = -errno;
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		rc = bind_and_listen(fd, (const struct sockaddr *)&local, length);
	}
	if (rc)
		return error_set(err, rc, "%s: %s port %u: %s; %s", what,
				 addr_format(address, text), port, strerror(-rc), hint);
	*ret_fd = fd;
	return 0;
}

int listen_local(const struct face_call *call, struct addr *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct sockaddr_storage local = {0};
	socklen_t length = sizeof(local);
	struct addr address;
	int rc = face_local(call, (struct sockaddr *)&local, &length);

	if (!rc)
		rc = addr_from_sockaddr((const struct sockaddr *)&local, &address);
	if (rc)
		return rc;
	*ret = address;
	if (address.family == 6 && !memcmp(address.bytes, mapped, sizeof(mapped))) {
		*ret = (struct addr){.family = 4};
		memcpy(ret->bytes, address.bytes + sizeof(mapped), 4);
	}
	return 0;
}
