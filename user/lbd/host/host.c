/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Prepares the host before the data plane is opened. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"

#define BPFFS "/sys/fs/bpf"

void host_raise_memlock(void)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		log_debug("RLIMIT_MEMLOCK not raised: %s", strerror(errno));
}

#define DESCRIPTORS 16384 /* as many as probes of ten thousand backends need, and more */

void host_make_room_for_descriptors(void)
{
	struct rlimit limit, raised;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	raised = limit;
	if (raised.rlim_cur < DESCRIPTORS)
		raised.rlim_cur = raised.rlim_max < DESCRIPTORS ? raised.rlim_max : DESCRIPTORS;
	if (raised.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised))
		return;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC,
		   raised.rlim_cur < DESCRIPTORS ? (int)raised.rlim_cur - 1 : DESCRIPTORS - 1);
	if (fd >= 0)
		close(fd);
	else
		log_debug("the table of descriptors cannot grow: %s", strerror(errno));
}

/* ---- directories ---- */

int host_make_parent(const char *path, struct error *err)
{
	_cleanup_free_ char *copy = strdup(path);
	const char *directory = copy ? dirname(copy) : NULL;
	int rc;

	if (!directory)
		return error_set(err, -ENOMEM, "out of memory");
	rc = directory_make(directory, 0755);
	if (rc)
		return error_set(err, rc, "socket: %s: cannot create the directory %s: %s", path,
				 directory, strerror(-rc));
	return 0;
}

/* Of path, or of the first of its parents that exists. 0: it is on a bpf file system; -ENODEV: on
 * another one; or -errno. */
static int check_bpffs(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	const char *at = copy;
	struct statfs fs;

	if (!copy)
		return -ENOMEM;
	while (statfs(at, &fs)) {
		if (errno != ENOENT || !strcmp(at, "/") || !strcmp(at, "."))
			return -errno;
		at = dirname(copy);
	}
	return fs.f_type == BPF_FS_MAGIC ? 0 : -ENODEV;
}

/* Under `ip netns exec` and in some containers only this process and its children see the mount. */
static void warn_if_mount_is_private(void)
{
	struct stat own, first;

	if (!stat("/proc/self/ns/mnt", &own) && !stat("/proc/1/ns/mnt", &first) &&
	    own.st_ino != first.st_ino)
		log_warning(
		    BPFFS
		    ": mounted in this mount namespace only: pins and programs are lost when its last process ends");
}

int host_prepare_pin(const char *path, struct error *err)
{
	size_t length = strlen(BPFFS);
	bool usual = !strncmp(path, BPFFS, length) && (path[length] == '/' || !path[length]);
	int rc = check_bpffs(path);

	if (rc == -EACCES)
		return error_set(
		    err, rc,
		    "pin: %s: %s: user %u must be able to search the directories above "
		    "it and to write to it, see ExecStartPre in dist/lbd.service",
		    path, strerror(-rc), (unsigned)geteuid());
	if (rc && usual) {
		if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
			return error_set(
			    err, -errno,
			    "pin: %s: no bpf file system is mounted, and mounting one failed (%s): mount -t bpf bpf " BPFFS,
			    path, strerror(errno));
		log_info(BPFFS ": bpf file system mounted");
		warn_if_mount_is_private();
		rc = check_bpffs(path);
	}
	if (rc)
		return error_set(
		    err, -EINVAL,
		    "pin: %s: expected a directory on a bpf file system, such as " BPFFS "/lbd",
		    path);
	rc = directory_make_all(path, 0700);
	if (rc)
		return error_set(err, rc, "pin: %s: cannot create the directory: %s", path,
				 strerror(-rc));
	return 0;
}

/* ---- capabilities ---- */

static bool is_effective(const struct __user_cap_data_struct data[2], unsigned capability)
{
	return data[capability / 32].effective >> capability % 32 & 1;
}

/* CAP_SYS_ADMIN implies those of BPF, as before Linux 5.8. */
const char *host_missing_capabilities(char text[HOST_CAPABILITIES])
{
	static const struct {
		unsigned number;
		bool implied;
		const char *name;
	} needed[] = {{CAP_BPF, true, "CAP_BPF"},
		      {CAP_PERFMON, true, "CAP_PERFMON"},
		      {CAP_NET_ADMIN, false, "CAP_NET_ADMIN"}};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	size_t used = 0;

	*text = 0;
	if (syscall(SYS_capget, &header, data))
		return text;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!is_effective(data, needed[i].number) &&
		    !(needed[i].implied && is_effective(data, CAP_SYS_ADMIN)))
			used += (size_t)snprintf(text + used, HOST_CAPABILITIES - used, "%s%s",
						 used ? ", " : "", needed[i].name);
	return text;
}

/* ---- locks ---- */

static int lock(const char *path, int flags, const char *key, const char *value, int *ret,
		struct error *err)
{
	_cleanup_close_ int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set(err, -errno, "%s: %s: %s: %s", key, value, path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		int pid = file_lock_holder(fd);
		char holder[32] = "";

		if (pid)
			snprintf(holder, sizeof(holder), " (pid %d)", pid);
		return error_set(
		    err, -EBUSY,
		    "%s: %s: in use by another lbd%s: stop it first, or configure another path",
		    key, value, holder);
	}
	*ret = fd;
	fd = -1;
	return 0;
}

int host_lock(const char *socket, const char *pin, struct host_locks *ret, struct error *err)
{
	struct host_locks locks = {-1, -1};
	char path[PATH_MAX];
	int rc;

	if (snprintf(path, sizeof(path), "%s.lock", socket) >= (int)sizeof(path))
		return error_set(err, -ENAMETOOLONG, "socket: the path is too long");
	rc = lock(path, O_RDWR | O_CREAT | O_NOFOLLOW, "socket", socket, &locks.socket, err);
	if (!rc)
		rc = lock(pin, O_RDONLY | O_DIRECTORY, "pin", pin, &locks.pin, err);
	if (rc)
		host_unlock(&locks);
	else
		*ret = locks;
	return rc;
}

void host_unlock(struct host_locks *locks)
{
	cleanup_close_at(&locks->socket);
	cleanup_close_at(&locks->pin);
	*locks = (struct host_locks){-1, -1};
}
