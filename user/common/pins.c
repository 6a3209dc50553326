/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

#define MAPS_MOST 64 /* of a program */

/* ---- links ---- */

bool pins_link_path(char *text, size_t size, const char *links, const char *name)
{
	int length = snprintf(text, size, "%s/", links);

	for (; *name && length > 0 && (size_t)length < size; name++) {
		const char *format = *name == '.' || *name == '%' ? "%%%02x" : "%c";

		length += snprintf(text + length, size - (size_t)length, format, *name);
	}
	return length > 0 && (size_t)length < size;
}

bool pins_link_name(const char *file, char *name, size_t size)
{
	size_t length = 0;

	for (; *file && length + 1 < size; file++) {
		if (*file != '%') {
			name[length++] = *file;
			continue;
		}
		if (strncmp(file, "%2e", 3) != 0 && strncmp(file, "%25", 3) != 0)
			return false;
		name[length++] = file[2] == 'e' ? '.' : '%';
		file += 2;
	}
	name[length] = 0;
	return !*file && length;
}

int pins_link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id)
{
	_cleanup_close_ int link = bpf_obj_get(path);
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (link < 0 || bpf_obj_get_info_by_fd(link, &info, &size))
		return -errno;
	if (info.type != BPF_LINK_TYPE_XDP)
		return -EINVAL;
	*ret_ifindex = info.xdp.ifindex;
	*ret_program_id = info.prog_id;
	return 0;
}

/* Not in its place: a pin that is replaced takes the program off its interface. */
int pins_link_rename(const char *path, const char *to, bool *ret_swapped)
{
	*ret_swapped = false;
	if (!renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EEXIST || renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_EXCHANGE))
		return -errno;
	*ret_swapped = true;
	return 0;
}

int pins_link_detach(const char *path)
{
	_cleanup_close_ int link = bpf_obj_get(path);

	if (link < 0)
		return -errno;
	/* At once, rather than when the last reference goes. ENOLINK: its interface is gone. */
	if (bpf_link_detach(link) && errno != ENOLINK)
		return -errno;
	return unlink(path) ? -errno : 0;
}

/* ---- whose a program is ---- */

/* How many; 0 also if they cannot be read. */
static unsigned maps_of(int program, uint32_t ids[MAPS_MOST])
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	info.nr_map_ids = MAPS_MOST;
	info.map_ids = (uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return 0;
	return info.nr_map_ids < MAPS_MOST ? info.nr_map_ids : MAPS_MOST;
}

bool pins_program_uses(int program, uint32_t map_id)
{
	uint32_t ids[MAPS_MOST] = {0};
	unsigned count = maps_of(program, ids);

	for (unsigned i = 0; i < count; i++)
		if (ids[i] == map_id)
			return true;
	return false;
}

static bool is_named(uint32_t map_id, const char *name)
{
	_cleanup_close_ int fd = bpf_map_get_fd_by_id(map_id);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, name);
}

/* Other load balancers have maps of some of these names, but not of all. */
bool pins_program_is_lbd(int program)
{
	static const char *const names[] = {"fronts", "stamps", "turns", "offenders"};
	const unsigned wanted = sizeof(names) / sizeof(*names);
	uint32_t ids[MAPS_MOST] = {0};
	unsigned count = maps_of(program, ids), found = 0;

	for (unsigned i = 0; i < count; i++)
		for (unsigned n = 0; n < wanted; n++)
			found += is_named(ids[i], names[n]);
	return found == wanted;
}

bool pins_program_is_dispatcher(int program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return !bpf_obj_get_info_by_fd(program, &info, &size) &&
	       !strcmp(info.name, "xdp_dispatcher");
}

uint32_t pins_settings_id(const char *pin)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(path, sizeof(path), "%s/maps/settings", pin) >= (int)sizeof(path))
		return 0;
	fd = bpf_obj_get(path);
	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/* ---- all directories ---- */

static bool has(const char *pin, const char *what)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", pin, what) < (int)sizeof(path) &&
	       !access(path, F_OK);
}

int pins_each(bool (*fn)(void *arg, const char *pin), void *arg)
{
	DIR *directory = opendir(PINS_BPFFS);
	struct dirent *entry;
	char pin[PATH_MAX];
	bool more = true;

	if (!directory)
		return -errno;
	while (more && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.' ||
		    snprintf(pin, sizeof(pin), PINS_BPFFS "/%s", entry->d_name) >= (int)sizeof(pin))
			continue;
		if (has(pin, "maps/settings") || has(pin, "links"))
			more = fn(arg, pin);
	}
	closedir(directory);
	return 0;
}

struct search {
	uint32_t ifindex, program_id;
	const char *name;
	char *pin;
	size_t size;
	bool found;
};

static bool is_owner(void *arg, const char *pin)
{
	struct search *search = arg;
	uint32_t ifindex, program_id;
	char links[PATH_MAX], path[PATH_MAX];

	if (snprintf(links, sizeof(links), "%s/links", pin) < (int)sizeof(links) &&
	    pins_link_path(path, sizeof(path), links, search->name) &&
	    !pins_link_inspect(path, &ifindex, &program_id))
		search->found = ifindex == search->ifindex && program_id == search->program_id;
	if (search->found)
		snprintf(search->pin, search->size, "%s", pin);
	return !search->found;
}

/* The unit's lbd may not list the file system, but may search the usual directory. */
bool pins_find_owner(uint32_t ifindex, const char *name, uint32_t program_id, char *ret_pin,
		     size_t size)
{
	struct search search = {.ifindex = ifindex,
				.program_id = program_id,
				.name = name,
				.pin = ret_pin,
				.size = size};

	if (is_owner(&search, PINS_DEFAULT))
		pins_each(is_owner, &search);
	return search.found;
}
