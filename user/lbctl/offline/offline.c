/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "offline.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/pins.h"
#include "lb_abi.h"

#define FREED_TRIES 100 /* times 10 ms */

/* ---- what there is ---- */

static int add(struct offline *offline, const struct offline_program *program)
{
	struct offline_program *list =
	    reallocarray(offline->list, offline->count + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	offline->list = list;
	list[offline->count++] = *program;
	return 0;
}

static bool runs_here(uint32_t ifindex, uint32_t program_id)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	return ifindex && !bpf_xdp_query((int)ifindex, 0, &query) &&
	       (query.drv_prog_id == program_id || query.skb_prog_id == program_id ||
		query.hw_prog_id == program_id);
}

/* A file of PIN/links. An interface elsewhere has the name that the pin has. */
static int add_link(struct offline *offline, const char *file)
{
	struct offline_program found = {0};

	if (snprintf(found.path, sizeof(found.path), "%s/links/%s", offline->pin, file) >=
		(int)sizeof(found.path) ||
	    pins_link_inspect(found.path, &found.ifindex, &found.program_id))
		return 0; /* no XDP link */
	found.elsewhere = !runs_here(found.ifindex, found.program_id) ||
			  !if_indextoname(found.ifindex, found.interface);
	if (found.elsewhere && !pins_link_name(file, found.interface, sizeof(found.interface)))
		return 0;
	return add(offline, &found);
}

static int add_links(struct offline *offline)
{
	char links[PATH_MAX];
	struct dirent *entry;
	DIR *directory;
	int rc = 0;

	if (snprintf(links, sizeof(links), "%s/links", offline->pin) >= (int)sizeof(links))
		return -ENAMETOOLONG;
	directory = opendir(links);
	while (directory && !rc && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			rc = add_link(offline, entry->d_name);
	if (directory)
		closedir(directory);
	return rc;
}

static void add_in_dispatcher(void *arg, const char *interface, uint32_t ifindex, uint32_t id)
{
	struct offline_program found = {.ifindex = ifindex, .program_id = id};

	snprintf(found.interface, sizeof(found.interface), "%s", interface);
	add(arg, &found);
}

/* ---- the directory ---- */

static int running(const struct offline *offline, struct error *err)
{
	return error_set(err, -EBUSY,
			 "%s: an lbd runs (pid %d): detach without --offline, or stop it first: "
			 "systemctl stop lbd",
			 offline->pin, file_lock_holder(offline->lock));
}

/* lbd holds this lock for as long as it runs. Only to look, it is not taken: lbd may be about to
 * start. */
static int check_lock(struct offline *offline, bool take, struct error *err)
{
	offline->lock = open(offline->pin, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (offline->lock < 0 && errno == ENOENT)
		return -ENOENT;
	if (offline->lock < 0)
		return error_set(err, -errno, "%s: %s", offline->pin, strerror(errno));
	if (take)
		return flock(offline->lock, LOCK_EX | LOCK_NB) ? running(offline, err) : 0;
	return file_lock_holder(offline->lock) ? running(offline, err) : 0;
}

static int check_bpffs(const struct offline *offline, struct error *err)
{
	struct statfs fs;

	if (!fstatfs(offline->lock, &fs) && fs.f_type == BPF_FS_MAGIC)
		return 0;
	return error_set(err, -EINVAL,
			 "%s: expected a directory of pins on a bpf file system, such as %s",
			 offline->pin, PINS_DEFAULT);
}

int offline_open(const char *pin, bool lock, struct offline *ret, struct error *err)
{
	struct offline offline = {.lock = -1};
	uint32_t settings;
	int rc;

	if (snprintf(offline.pin, sizeof(offline.pin), "%s", pin) >= (int)sizeof(offline.pin))
		return error_set(err, -ENAMETOOLONG, "pin: the path is too long");
	rc = check_lock(&offline, lock, err);
	if (!rc)
		rc = check_bpffs(&offline, err);
	if (!rc && (rc = add_links(&offline)))
		error_set(err, rc, "%s: %s", pin, strerror(-rc));
	if (rc) {
		offline_close(&offline);
		return rc;
	}
	settings = pins_settings_id(pin);
	if (settings)
		dispatcher_each(settings, add_in_dispatcher, &offline);
	offline.found = offline.count;
	*ret = offline;
	return 0;
}

void offline_close(struct offline *offline)
{
	free(offline->list);
	if (offline->lock >= 0)
		close(offline->lock);
	*offline = (struct offline){.lock = -1};
}

/* ---- taking off ---- */

void offline_leave_out(struct offline *offline, unsigned number)
{
	struct offline_program *gone = &offline->list[number], off = *gone;

	*gone = offline->list[--offline->count];
	offline->list[offline->count] = off;
}

int offline_detach(struct offline *offline, unsigned number, struct error *err)
{
	const struct offline_program *gone = &offline->list[number];
	int rc = *gone->path ? pins_link_detach(gone->path)
			     : dispatcher_remove(gone->ifindex, gone->program_id);

	if (rc)
		return error_set(err, rc, "%s: cannot detach program %u: %s", gone->interface,
				 gone->program_id, strerror(-rc));
	offline_leave_out(offline, number);
	return 0;
}

/* First of all maps: without it what is left is no set that the next lbd would take over, or refuse
 * as incomplete, if this ends halfway. */
static int remove_settings(const char *maps)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/settings", maps) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static int remove_maps(const struct offline *offline)
{
	char maps[PATH_MAX], path[PATH_MAX];
	struct dirent *entry;
	DIR *directory;
	int rc = 0;

	if (snprintf(maps, sizeof(maps), "%s/maps", offline->pin) >= (int)sizeof(maps))
		return -ENAMETOOLONG;
	directory = opendir(maps);
	if (!directory)
		return errno == ENOENT ? 0 : -errno;
	rc = remove_settings(maps);
	while (!rc && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/%s", maps, entry->d_name) <
			(int)sizeof(path) &&
		    unlink(path))
			rc = -errno;
	closedir(directory);
	return rc || !rmdir(maps) ? rc : -errno;
}

/* The program that others call through the pinned map `programs`: the map holds it, no interface
 * has it. 0: none. */
static uint32_t called_program(const struct offline *offline)
{
	const uint32_t place = LB_PROGRAM_TRANSLATE;
	char path[PATH_MAX];
	uint32_t id = 0;
	_cleanup_close_ int fd = -1;

	if (snprintf(path, sizeof(path), "%s/maps/programs", offline->pin) >= (int)sizeof(path))
		return 0;
	fd = bpf_obj_get(path);
	return fd < 0 || bpf_map_lookup_elem(fd, &place, &id) ? 0 : id;
}

/* A program that is out of the list: with `links` any, else only one in a dispatcher. Each copy is
 * in one dispatcher, and the kernel may free it only when this process ends, as libxdp leaves
 * descriptors of what it has looked at open (1.3.1). */
static bool is_left_out(const struct offline *offline, uint32_t id, bool links)
{
	for (unsigned i = offline->count; i < offline->found; i++)
		if ((links || !*offline->list[i].path) && offline->list[i].program_id == id)
			return true;
	return false;
}

/* Of all loaded programs but `called` and those left out, in every network namespace; 0: none. */
static uint32_t find_user(const struct offline *offline, uint32_t settings, uint32_t called,
			  bool links)
{
	uint32_t id = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);

		if (fd >= 0 && id != called && !is_left_out(offline, id, links) &&
		    pins_program_uses(fd, settings))
			return id;
	}
	return 0;
}

/* The kernel frees a program that was taken off a moment later. */
static uint32_t find_lasting_user(const struct offline *offline)
{
	const uint32_t settings = pins_settings_id(offline->pin), called = called_program(offline);
	const struct timespec rest = {.tv_nsec = 10000000};
	uint32_t user = 0;

	if (!settings)
		return 0;
	for (unsigned i = 0;
	     i < FREED_TRIES && (user = find_user(offline, settings, called, false)); i++)
		nanosleep(&rest, NULL);
	return user;
}

uint32_t offline_user(const struct offline *offline)
{
	const uint32_t settings = offline->count ? 0 : pins_settings_id(offline->pin);

	return settings ? find_user(offline, settings, called_program(offline), true) : 0;
}

int offline_unpin(struct offline *offline, bool *ret, uint32_t *ret_user, struct error *err)
{
	char links[PATH_MAX];
	int rc;

	*ret = false;
	*ret_user = 0;
	if (offline->count)
		return 0;
	*ret_user = find_lasting_user(offline);
	if (*ret_user)
		return 0;
	rc = remove_maps(offline);
	if (rc)
		return error_set(err, rc, "%s/maps: cannot be removed: %s", offline->pin,
				 strerror(-rc));
	if (snprintf(links, sizeof(links), "%s/links", offline->pin) < (int)sizeof(links))
		rmdir(links);
	if (rmdir(offline->pin))
		return error_set(err, -errno, "%s: cannot be removed: %s", offline->pin,
				 strerror(errno));
	*ret = true;
	return 0;
}
