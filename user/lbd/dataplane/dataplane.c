/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Opens and closes the data plane: opens the embedded program, sizes the maps, pins them or reuses
 * pinned ones, loads the program, maps the maps into memory. */
#include "dataplane.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"
#include "common/wide.h"
#include "lbd/host/host.h"
#include "internal.h"
#include "lb.skel.h"

/* The maps that outlive the process. `settings` is pinned last: if it exists, the set is
 * complete. */
enum map_index {
	MAP_LINKS,
	MAP_VIPS,
	MAP_PORTS,
	MAP_SERVICES,
	MAP_REALS,
	MAP_RETURNS,
	MAP_RETURN_COUNTS,
	MAP_DIRECTS,
	MAP_HOPS,
	MAP_ARENA,
	MAP_FRONTS,
	MAP_STAMPS,
	MAP_BACKENDS,
	MAP_LOADS,
	MAP_TURNS,
	MAP_FLOWS,
	MAP_DIRTY,
	MAP_FRAGS,
	MAP_BACKEND_COUNTS,
	MAP_REASON_COUNTS,
	MAP_SERVICE_COUNTS,
	MAP_TOTALS,
	MAP_FILTERS,
	MAP_LIMITS,
	MAP_SOURCES,
	MAP_OFFENDERS,
	MAP_EGRESS,
	MAP_PATHS,
	MAP_LOCALS,
	MAP_PROGRAMS,
	MAP_HANDOVERS,
	MAP_SETTINGS,
	MAPS,
};

static const char *const map_names[MAPS] = {
    "links",          "vips",          "ports",          "services", "reals",   "returns",
    "return_counts",  "directs",       "hops",           "arena",    "fronts",  "stamps",
    "backends",       "loads",         "turns",          "flows",    "dirty",   "frags",
    "backend_counts", "reason_counts", "service_counts", "totals",   "filters", "limits",
    "sources",        "offenders",     "egress",         "paths",    "locals",  "programs",
    "handovers",      "settings",
};

/* The names that libbpf knows those by that are variables of the program. */
static const char *const variables[MAPS] = {
    [MAP_SETTINGS] = LB_SETTINGS_MAP, [MAP_BACKENDS] = LB_BACKENDS_MAP,
    [MAP_HOPS] = LB_HOPS_MAP,         [MAP_VIPS] = LB_VIPS_MAP,
    [MAP_ARENA] = LB_ARENA_MAP,       [MAP_FRONTS] = LB_FRONTS_MAP,
    [MAP_REALS] = LB_REALS_MAP,       [MAP_RETURNS] = LB_RETURNS_MAP,
};

/* Bytes of an element of those that are wide (common/wide.h). */
static const size_t element_size[MAPS] = {
    [MAP_VIPS] = sizeof(struct lb_vip_bucket), [MAP_ARENA] = sizeof(uint32_t),
    [MAP_FRONTS] = sizeof(uint16_t),           [MAP_REALS] = sizeof(struct lb_real_bucket),
    [MAP_RETURNS] = sizeof(struct lb_return),
};

struct mapping {
	struct bpf_map *map;
	void *at; /* NULL: not mapped */
	size_t bytes;
};

/* ---- libbpf's messages ---- */

#define LOG_TAIL_LINES 40 /* of a verifier log: the error is at its end */

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;
	const char *from;
	unsigned lines = 0;

	if (level == LIBBPF_DEBUG || vasprintf(&text, format, args) < 0)
		return 0;
	for (from = text + strlen(text); from > text; from--)
		if (from[-1] == '\n' && ++lines > LOG_TAIL_LINES)
			break;
	for (char *line, *rest = (char *)from; (line = strsep(&rest, "\n"));)
		if (*line)
			log_debug("%s", line);
	return 0;
}

/* ---- sizes ---- */

static uint32_t flow_buckets(uint32_t flows)
{
	uint32_t buckets = 2;

	while ((uint64_t)buckets * LB_FLOW_WAYS < 2 * (uint64_t)flows)
		buckets *= 2;
	return buckets;
}

static uint32_t dirty_lines(uint32_t buckets)
{
	return (buckets + LB_DIRTY_BUCKETS - 1) / LB_DIRTY_BUCKETS;
}

static uint32_t entries_of(const struct dataplane *dp, unsigned map)
{
	const struct bpf_map *at = dp->mappings[map].map;

	return element_size[map] ? bpf_map__value_size(at) / element_size[map]
				 : bpf_map__max_entries(at);
}

/* The least one that is not below. */
static size_t power_of_two(size_t least)
{
	size_t power = 1;

	while (power < least)
		power *= 2;
	return power;
}

/* Number of cache lines for so many slots. */
static uint32_t arena_lines(uint32_t slots)
{
	return (slots + ARENA_ALIGN - 1) / ARENA_ALIGN;
}

/* The arena is one value, and those of 2 GiB and more are refused by the kernel. */
#define SLOTS_MOST (1u << 28)

static int check_limit(struct error *err, const char *name, uint32_t value, uint32_t most)
{
	if (value && value <= most)
		return 0;
	return error_set(err, -EINVAL, "limits.%s: %u: expected 1 to %u", name, value, most);
}

static int check_limits(const struct dataplane_options *options, struct error *err)
{
	int rc = check_limit(err, "services", options->services, LB_MAX_SERVICES);

	if (!rc)
		rc = check_limit(err, "backends", options->backends, LB_MAX_BACKENDS);
	if (!rc)
		rc = check_limit(err, "slots", options->slots, SLOTS_MOST);
	return rc ? rc : check_limit(err, "flows", options->flows, 1u << 30);
}

/* What the lengths of maps follow from. */
struct sizes {
	uint32_t services, backends; /* with the one of id 0, which is none */
	uint32_t slot_lines, flow_buckets, cpus;
};

/* 0: it does not follow from these alone. */
static void find_entries(const struct sizes *sizes, uint32_t entries[MAPS])
{
	const uint32_t found[MAPS] = {
	    [MAP_SERVICES] = sizes->services,
	    [MAP_RETURN_COUNTS] = sizes->cpus * sizes->backends,
	    [MAP_STAMPS] =
		sizes->slot_lines * (ARENA_ALIGN * sizeof(uint16_t) / sizeof(struct lb_stamp_line)),
	    [MAP_LOADS] = sizes->backends,
	    [MAP_TURNS] = sizes->services,
	    [MAP_FLOWS] = sizes->flow_buckets,
	    [MAP_DIRTY] = dirty_lines(sizes->flow_buckets),
	    [MAP_BACKEND_COUNTS] = sizes->cpus * sizes->backends,
	    [MAP_REASON_COUNTS] = sizes->cpus * LB_COUNTERS,
	    [MAP_SERVICE_COUNTS] = sizes->services * sizes->cpus,
	    [MAP_TOTALS] = sizes->services,
	    [MAP_PATHS] = sizes->backends,
	    [MAP_LIMITS] = sizes->services,
	    [MAP_OFFENDERS] = sizes->cpus * LB_OFFENDERS,
	};

	memcpy(entries, found, sizeof(found));
}

static int size_maps(struct dataplane *dp, const struct dataplane_options *options, uint32_t cpus)
{
	const struct sizes sizes = {.services = options->services + 1,
				    .backends = options->backends + 1,
				    .slot_lines = arena_lines(options->slots),
				    .flow_buckets = flow_buckets(options->flows),
				    .cpus = cpus};
	uint32_t entries[MAPS];
	int rc = 0;

	find_entries(&sizes, entries);
	entries[MAP_PORTS] = 2 * tables_port_buckets(options->services);
	for (unsigned i = 0; !rc && i < MAPS; i++)
		if (entries[i])
			rc = bpf_map__set_max_entries(dp->mappings[i].map, entries[i]);
	return rc;
}

/* Maps that a takeover does not need. */
static int make_wide(struct dataplane *dp, const struct dataplane_options *options)
{
	const size_t slots = power_of_two((size_t)arena_lines(options->slots) * ARENA_ALIGN);
	const size_t elements[MAPS] = {
	    [MAP_VIPS] = 2 * (size_t)tables_vip_buckets(options->services),
	    [MAP_ARENA] = slots,
	    [MAP_FRONTS] = slots,
	    [MAP_REALS] = 2 * (size_t)reals_buckets(options->backends),
	    [MAP_RETURNS] = power_of_two((size_t)options->backends + 1),
	};
	int rc = 0;

	for (unsigned i = 0; !rc && i < MAPS; i++)
		if (element_size[i])
			rc = wide_make(dp->mappings[i].map, map_names[i],
				       elements[i] * element_size[i]);
	return rc;
}

/* ---- pins ---- */

static int pin_path(const struct dataplane *dp, unsigned map, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/maps/%s", dp->pin, map_names[map]) < PATH_MAX
		   ? 0
		   : -ENAMETOOLONG;
}

static int prepare_directory(const struct dataplane *dp, struct error *err)
{
	char path[PATH_MAX];
	struct statfs fs;
	int rc;

	if (snprintf(path, sizeof(path), "%s/maps", dp->pin) >= (int)sizeof(path))
		return error_set(err, -ENAMETOOLONG, "pin: the path is too long");
	rc = directory_make_all(path, 0700);
	if (rc)
		return error_set(err, rc, "pin: %s: cannot be created: %s", path, strerror(-rc));
	if (statfs(path, &fs) || fs.f_type != BPF_FS_MAGIC)
		return error_set(
		    err, -EINVAL,
		    "pin: %s: expected a directory on a bpffs (mount one: mount -t bpf bpf /sys/fs/bpf)",
		    dp->pin);
	return 0;
}

static int check_version(const struct dataplane *dp, int fd, struct error *err)
{
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	_cleanup_free_ struct lb_settings *settings = NULL;
	const __u32 key = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return error_set(err, -errno, "pin: %s/maps/settings: %s", dp->pin,
				 strerror(errno));
	settings = calloc(1, info.value_size + sizeof(*settings));
	if (!settings)
		return error_set(err, -ENOMEM, "out of memory");
	if (info.type != BPF_MAP_TYPE_ARRAY || bpf_map_lookup_elem(fd, &key, settings))
		return error_set(err, -EPROTO, "pin: %s/maps/settings: not the settings map of lbd",
				 dp->pin);
	if (settings->abi_version != LB_ABI_VERSION)
		return error_set(
		    err, -EPROTO,
		    "pin: %s: the pinned maps have ABI version %u, expected %u. Forwarding "
		    "continues. Start the version of lbd that created them (one that ran as root: "
		    "first chown -R root:root %s). Or start over, which ends forwarding and breaks "
		    "all flows: rm -r %s (and xdp-loader unload IFACE --all, if it is in a "
		    "dispatcher)",
		    dp->pin, settings->abi_version, LB_ABI_VERSION, dp->pin, dp->pin);
	return 0;
}

/* The program masks the index into a wide map. */
static bool is_wide_length(size_t bytes, size_t element)
{
	size_t elements = bytes / element;

	return elements && elements * element == bytes && !(elements & (elements - 1));
}

/* By the limits of who made it. */
static bool is_sized(unsigned index)
{
	uint32_t entries[MAPS];

	find_entries(&(struct sizes){1, 1, 1, 1, 1}, entries);
	return entries[index] || index == MAP_PORTS;
}

static bool is_like(const struct dataplane *dp, unsigned index, const struct bpf_map_info *info)
{
	const struct bpf_map *map = dp->mappings[index].map;

	if (info->type != bpf_map__type(map) || info->key_size != bpf_map__key_size(map) ||
	    (info->map_flags ^ bpf_map__map_flags(map)) & BPF_F_MMAPABLE)
		return false;
	if (element_size[index])
		return info->max_entries == 1 &&
		       is_wide_length(info->value_size, element_size[index]);
	return info->value_size == bpf_map__value_size(map) &&
	       (is_sized(index) || info->max_entries == bpf_map__max_entries(map));
}

/* Uses a pinned map instead of creating one; it keeps its size. */
static int reuse_map(struct dataplane *dp, unsigned index, struct error *err)
{
	struct bpf_map *map = dp->mappings[index].map;
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	pin_path(dp, index, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return error_set(
		    err, -EPROTO,
		    "pin: %s: %s: the set of pinned maps is incomplete. To end its forwarding and start over: rm -r %s",
		    path, strerror(errno), dp->pin);
	if (bpf_obj_get_info_by_fd(fd, &info, &length) || !is_like(dp, index, &info))
		return error_set(
		    err, -EPROTO,
		    "pin: %s: a map of another type or layout than expected. To end its forwarding and start over: rm -r %s",
		    path, dp->pin);
	if (bpf_map__reuse_fd(map, fd))
		return error_set(err, -errno, "pin: %s: %s", path, strerror(errno));
	return 0;
}

/* Whether the room that attaches has left links: their program uses maps of this pin. */
static bool has_links(const struct dataplane *dp)
{
	char path[PATH_MAX];
	DIR *directory = snprintf(path, sizeof(path), "%s/links", dp->pin) < (int)sizeof(path)
			     ? opendir(path)
			     : NULL;
	struct dirent *entry;
	bool found = false;

	while (directory && !found && (entry = readdir(directory)))
		found = entry->d_name[0] != '.';
	if (directory)
		closedir(directory);
	return found;
}

/* Nothing is attached before the set is complete. What is attached would get empty maps. */
static int refuse_to_start_over(const struct dataplane *dp, struct error *err)
{
	return error_set(
	    err, -EPROTO,
	    "pin: %s/maps/settings: missing, while a program is attached (%s/links): the set of "
	    "pinned maps is incomplete. To end its forwarding and start over: rm -r %s",
	    dp->pin, dp->pin, dp->pin);
}

/* Whether there is a set of maps to take over. Removes the remains of an incomplete one. */
static int find_pins(struct dataplane *dp, bool *ret_found, struct error *err)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	pin_path(dp, MAP_SETTINGS, path);
	fd = bpf_obj_get(path);
	*ret_found = fd >= 0;
	if (fd >= 0)
		return check_version(dp, fd, err);
	if (errno != ENOENT)
		return error_set(err, -errno, "pin: %s: %s%s", path, strerror(errno),
				 errno == EPERM ? ": needs root or CAP_BPF and CAP_NET_ADMIN" : "");
	if (has_links(dp))
		return refuse_to_start_over(dp, err);
	for (unsigned i = 0; i < MAPS; i++) {
		pin_path(dp, i, path);
		unlink(path);
	}
	return 0;
}

static void warn_limit(const char *name, uint32_t has, uint32_t wanted)
{
	if (has != wanted)
		log_warning(
		    "limits.%s: %u ignored: the pinned maps keep %u; limits change when the maps are recreated",
		    name, wanted, has);
}

/* By now the map sizes are those of the pinned maps. */
static uint32_t pinned_slot_lines(const struct dataplane *dp)
{
	return entries_of(dp, MAP_STAMPS) /
	       (ARENA_ALIGN * sizeof(uint16_t) / sizeof(struct lb_stamp_line));
}

static void warn_limits(const struct dataplane *dp, const struct dataplane_options *options)
{
	uint32_t lines = pinned_slot_lines(dp);

	warn_limit("services", entries_of(dp, MAP_SERVICES) - 1, options->services);
	warn_limit("backends", entries_of(dp, MAP_LOADS) - 1, options->backends);
	if (lines != arena_lines(options->slots))
		warn_limit("slots", lines * ARENA_ALIGN, options->slots);
	if (entries_of(dp, MAP_FLOWS) != flow_buckets(options->flows))
		warn_limit("flows", entries_of(dp, MAP_FLOWS) * LB_FLOW_WAYS / 2, options->flows);
}

static int check_length(const struct dataplane *dp, unsigned index, uint32_t expected,
			struct error *err)
{
	const uint32_t entries = entries_of(dp, index);
	char path[PATH_MAX];

	pin_path(dp, index, path);
	return entries == expected
		   ? 0
		   : error_set(err, -EPROTO,
			       "pin: %s: a map of %u entries, expected %u beside the other maps. "
			       "To end their forwarding and start over: rm -r %s",
			       path, entries, expected, dp->pin);
}

/* One of another set would be read beyond its end. */
static int check_lengths(const struct dataplane *dp, uint32_t cpus, struct error *err)
{
	const struct sizes sizes = {.services = entries_of(dp, MAP_SERVICES),
				    .backends = entries_of(dp, MAP_LOADS),
				    .slot_lines = pinned_slot_lines(dp),
				    .flow_buckets =
					(uint32_t)power_of_two(entries_of(dp, MAP_FLOWS)),
				    .cpus = cpus};
	const size_t slots = (size_t)sizes.slot_lines * ARENA_ALIGN;
	uint32_t entries[MAPS];
	int rc = 0;

	find_entries(&sizes, entries);
	entries[MAP_ARENA] = entries[MAP_FRONTS] = (uint32_t)power_of_two(slots);
	entries[MAP_RETURNS] = (uint32_t)power_of_two(sizes.backends);
	for (unsigned i = 0; !rc && i < MAPS; i++)
		rc = entries[i] ? check_length(dp, i, entries[i], err) : 0;
	return rc;
}

static int reuse_pins(struct dataplane *dp, const struct dataplane_options *options, uint32_t cpus,
		      bool *ret_found, struct error *err)
{
	int rc = prepare_directory(dp, err);

	if (!rc)
		rc = find_pins(dp, ret_found, err);
	for (unsigned i = 0; !rc && *ret_found && i < MAPS; i++)
		rc = reuse_map(dp, i, err);
	if (!rc && *ret_found)
		rc = check_lengths(dp, cpus, err);
	if (!rc && *ret_found)
		warn_limits(dp, options);
	return rc;
}

static int pin_maps(struct dataplane *dp, struct error *err)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < MAPS; i++) {
		pin_path(dp, i, path);
		if (bpf_map__pin(dp->mappings[i].map, path))
			return error_set(err, -errno, "pin: %s: %s", path, strerror(errno));
	}
	return 0;
}

void dataplane_unpin(struct dataplane *dp)
{
	char path[PATH_MAX];

	if (!dp->pin)
		return;
	for (unsigned i = MAPS; i-- > 0;) {
		pin_path(dp, i, path);
		if (unlink(path) && errno != ENOENT)
			log_warning("pin: %s: cannot be removed: %s", path, strerror(errno));
	}
	if (snprintf(path, sizeof(path), "%s/maps", dp->pin) < (int)sizeof(path))
		rmdir(path);
	rmdir(dp->pin);
}

/* ---- load ---- */

static const char *what_is_short(int rc)
{
	return rc == -EMFILE || rc == -ENFILE ? "LimitNOFILE of the unit, or ulimit -n: too small?"
					      : "limits: too large?";
}

static int explain_load(int rc, struct error *err)
{
	char missing[HOST_CAPABILITIES];
	struct utsname host;

	if (*host_missing_capabilities(missing))
		return error_set(err, -EPERM, "the program cannot be loaded (%s): missing: %s",
				 strerror(-rc), missing);
	if (rc == -EPERM)
		return error_set(
		    err, rc,
		    "the program cannot be loaded: needs root or CAP_BPF and CAP_NET_ADMIN");
	if (rc == -ENOMEM || rc == -E2BIG || rc == -EMFILE || rc == -ENFILE)
		return error_set(err, rc, "the program and its maps cannot be loaded: %s (%s)",
				 strerror(-rc), what_is_short(rc));
	if (uname(&host))
		strcpy(host.release, "?");
	return error_set(err, rc,
			 "the kernel's verifier refused the program: %s (kernel %s, expected %s or "
			 "later; the end of its log is shown at level debug)",
			 strerror(-rc), host.release, KERNEL_OLDEST_TESTED);
}

static int find_maps(struct dataplane *dp, struct error *err)
{
	dp->mappings = calloc(MAPS, sizeof(*dp->mappings));
	if (!dp->mappings)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < MAPS; i++) {
		const char *name = variables[i] ? variables[i] : map_names[i];

		dp->mappings[i].map = bpf_object__find_map_by_name(dp->skel->obj, name);
		if (!dp->mappings[i].map)
			return error_set(err, -ENOENT, "the program has no map %s", name);
	}
	return 0;
}

static int map_memory(struct dataplane *dp, struct error *err)
{
	for (unsigned i = 0; i < MAPS; i++) {
		struct mapping *mapping = &dp->mappings[i];
		size_t page = sysconf(_SC_PAGESIZE), bytes;
		void *at;

		bytes = (bpf_map__value_size(mapping->map) + 7) / 8 * 8 *
			(size_t)bpf_map__max_entries(mapping->map);
		mapping->bytes = (bytes + page - 1) / page * page;
		if (!(bpf_map__map_flags(mapping->map) & BPF_F_MMAPABLE))
			continue;
		at = mmap(NULL, mapping->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(mapping->map), 0);
		if (at == MAP_FAILED)
			return error_set(err, -errno, "map %s: cannot be mapped: %s", map_names[i],
					 strerror(errno));
		mapping->at = at;
	}
	return 0;
}

static void name_maps(struct dataplane *dp, uint32_t cpus)
{
	dp->maps = (struct dp_maps){
	    .settings = dp->mappings[MAP_SETTINGS].at,
	    .links = dp->mappings[MAP_LINKS].at,
	    .vips = dp->mappings[MAP_VIPS].at,
	    .ports = dp->mappings[MAP_PORTS].at,
	    .services = dp->mappings[MAP_SERVICES].at,
	    .reals = dp->mappings[MAP_REALS].at,
	    .returns = dp->mappings[MAP_RETURNS].at,
	    .return_counts = dp->mappings[MAP_RETURN_COUNTS].at,
	    .directs = dp->mappings[MAP_DIRECTS].at,
	    .hops = dp->mappings[MAP_HOPS].at,
	    .arena = dp->mappings[MAP_ARENA].at,
	    .fronts = dp->mappings[MAP_FRONTS].at,
	    .stamps = dp->mappings[MAP_STAMPS].at,
	    .backends = dp->mappings[MAP_BACKENDS].at,
	    .loads = dp->mappings[MAP_LOADS].at,
	    .turns = dp->mappings[MAP_TURNS].at,
	    .flows = dp->mappings[MAP_FLOWS].at,
	    .dirty = dp->mappings[MAP_DIRTY].at,
	    .frags = dp->mappings[MAP_FRAGS].at,
	    .backend_counts = dp->mappings[MAP_BACKEND_COUNTS].at,
	    .reason_counts = dp->mappings[MAP_REASON_COUNTS].at,
	    .service_counts = dp->mappings[MAP_SERVICE_COUNTS].at,
	    .totals = dp->mappings[MAP_TOTALS].at,
	    .limits = dp->mappings[MAP_LIMITS].at,
	    .sources = dp->mappings[MAP_SOURCES].at,
	    .offenders = dp->mappings[MAP_OFFENDERS].at,
	    .vip_buckets = entries_of(dp, MAP_VIPS),
	    .port_buckets = entries_of(dp, MAP_PORTS),
	    .real_buckets = entries_of(dp, MAP_REALS),
	    .return_lines = entries_of(dp, MAP_RETURNS),
	    .service_slots = entries_of(dp, MAP_SERVICES),
	    .backend_slots = entries_of(dp, MAP_LOADS),
	    .arena_slots = pinned_slot_lines(dp) * ARENA_ALIGN,
	    .front_count = entries_of(dp, MAP_FRONTS),
	    .flow_words = entries_of(dp, MAP_FLOWS) * LB_FLOW_WAYS,
	    .flow_shift = lb_flow_shift(entries_of(dp, MAP_FLOWS)),
	    .frag_words = entries_of(dp, MAP_FRAGS),
	    .cpus = cpus,
	};
	dp->egress_fd = bpf_map__fd(dp->mappings[MAP_EGRESS].map);
	dp->paths_fd = bpf_map__fd(dp->mappings[MAP_PATHS].map);
	dp->locals_fd = bpf_map__fd(dp->mappings[MAP_LOCALS].map);
	dp->paths_unused = true; /* an earlier lbd may have left some */
	dp->filters_fd = bpf_map__fd(dp->mappings[MAP_FILTERS].map);
	/* locals allocates as elements are made: few */
	dp->other_bytes = dp->mappings[MAP_EGRESS].bytes + dp->mappings[MAP_PATHS].bytes;
}

static int open_object(struct dataplane *dp, const struct dataplane_options *options, uint32_t cpus,
		       bool *ret_pinned, struct error *err)
{
	int rc;

	libbpf_set_print(print_libbpf);
	dp->skel = lb_bpf__open();
	if (!dp->skel)
		return error_set(err, -errno, "the embedded program cannot be opened: %s",
				 strerror(errno));
	rc = find_maps(dp, err);
	if (rc)
		return rc;
	rc = size_maps(dp, options, cpus);
	if (rc)
		return error_set(err, rc, "the maps cannot be sized: %s", strerror(-rc));
	dp->skel->rodata->has_peers = options->has_peers;
	/* libxdp loads its copy of the main program without a type of attachment, and programs that
	 * share a map of programs have the same one (Linux 6.18) */
	bpf_program__set_expected_attach_type(dp->skel->progs.lb, 0);
	bpf_program__set_expected_attach_type(dp->skel->progs.lb_translate, 0);
	rc = dp->pin ? reuse_pins(dp, options, cpus, ret_pinned, err) : 0;
	if (rc || *ret_pinned)
		return rc;
	rc = make_wide(dp, options);
	return rc ? error_set(err, rc, "the maps cannot be made: %s (%s)", strerror(-rc),
			      what_is_short(rc))
		  : 0;
}

/* In a takeover the earlier main program calls the new ones from now on. */
static int put_programs(const struct dataplane *dp, struct error *err)
{
	const int translate = bpf_program__fd(dp->skel->progs.lb_translate);
	const __u32 place = LB_PROGRAM_TRANSLATE;

	if (bpf_map_update_elem(bpf_map__fd(dp->mappings[MAP_PROGRAMS].map), &place, &translate,
				BPF_ANY))
		return error_set(err, -errno, "map programs: cannot be written: %s",
				 strerror(errno));
	return 0;
}

int dataplane_load(struct dataplane *dp, struct error *err)
{
	int rc;

	if (dp->loaded)
		return 0;
	dp->skel->rodata->flow_mask = entries_of(dp, MAP_FLOWS) - 1;
	dp->skel->rodata->flow_shift = lb_flow_shift(entries_of(dp, MAP_FLOWS));
	dp->skel->rodata->backend_slots = entries_of(dp, MAP_LOADS);
	dp->skel->rodata->service_slots = entries_of(dp, MAP_SERVICES);
	dp->skel->rodata->vip_mask = entries_of(dp, MAP_VIPS) - 1;
	dp->skel->rodata->slot_mask = entries_of(dp, MAP_FRONTS) - 1;
	dp->skel->rodata->real_mask = entries_of(dp, MAP_REALS) - 1;
	dp->skel->rodata->return_mask = entries_of(dp, MAP_RETURNS) - 1;
	dp->skel->rodata->connect_mask = dp->sample ? dp->sample - 1 : ~0u;
	if (dp->sample)
		bpf_map__set_max_entries(dp->skel->maps.connects_of, entries_of(dp, MAP_LOADS));
	rc = bpf_object__load(dp->skel->obj); /* the skeleton maps variables at their old length */
	if (rc)
		return explain_load(rc, err);
	rc = put_programs(dp, err);
	if (rc)
		return rc;
	/* at the start open_all does that: the maps have no names yet */
	rc = dp->maps.settings ? connects_map(dp) : 0;
	if (rc)
		return error_set(err, rc, "map connects_of: cannot be mapped: %s", strerror(-rc));
	dp->loaded = true;
	return 0;
}

/* The maps of a takeover are there; others are made with the program. */
static int find_memory(struct dataplane *dp, uint32_t cpus, bool pinned, struct error *err)
{
	int rc = pinned ? 0 : dataplane_load(dp, err);

	if (!rc)
		rc = map_memory(dp, err);
	if (!rc)
		name_maps(dp, cpus);
	return rc;
}

static int open_all(struct dataplane *dp, const struct dataplane_options *options,
		    struct error *err)
{
	int cpus = libbpf_num_possible_cpus(), rc;
	bool pinned = false;

	if (cpus < 0)
		return error_set(err, cpus, "the number of CPUs cannot be read: %s",
				 strerror(-cpus));
	rc = open_object(dp, options, cpus, &pinned, err);
	if (!rc)
		rc = find_memory(dp, cpus, pinned, err);
	if (!rc)
		rc = dp_start(dp, options, err);
	if (!rc && dp->loaded && connects_map(dp))
		rc = error_set(err, -ENOMEM, "map connects_of: cannot be mapped");
	if (!rc && dp->pin && !pinned)
		rc = pin_maps(dp, err);
	return rc;
}

int dataplane_open_maps(const struct dataplane_options *options, struct dataplane **ret,
			struct error *err)
{
	struct dataplane *dp;
	int rc = check_limits(options, err);

	if (rc)
		return rc;
	dp = calloc(1, sizeof(*dp));
	if (dp && options->pin)
		dp->pin = strdup(options->pin);
	if (!dp || (options->pin && !dp->pin)) {
		free(dp);
		return error_set(err, -ENOMEM, "out of memory");
	}
	dp->egress_fd = dp->paths_fd = dp->locals_fd = -1;
	dp->filters_fd = dp->grace_map_fd = -1;
	dp->sample = options->sample;
	rc = open_all(dp, options, err);
	if (rc)
		dataplane_close(dp);
	else
		*ret = dp;
	return rc;
}

int dataplane_open(const struct dataplane_options *options, struct dataplane **ret,
		   struct error *err)
{
	struct dataplane *dp;
	int rc = dataplane_open_maps(options, &dp, err);

	if (rc)
		return rc;
	rc = dataplane_load(dp, err);
	if (rc)
		dataplane_close(dp);
	else
		*ret = dp;
	return rc;
}

void dataplane_close(struct dataplane *dp)
{
	if (!dp)
		return;
	dp_stop(dp);
	for (unsigned i = 0; dp->mappings && i < MAPS; i++)
		if (dp->mappings[i].at)
			munmap(dp->mappings[i].at, dp->mappings[i].bytes);
	free(dp->mappings);
	if (dp->skel && !wide_release(dp->skel->obj)) /* else it is lost, with the process */
		lb_bpf__destroy(dp->skel);
	free(dp->pin);
	free(dp);
}

/* ---- for attaching ---- */

bool dataplane_adopted(const struct dataplane *dp)
{
	return dp->adopted;
}

int dataplane_program_fd(const struct dataplane *dp)
{
	return bpf_program__fd(dp->skel->progs.lb);
}

struct bpf_object *dataplane_object(const struct dataplane *dp)
{
	return dp->skel->obj;
}

struct bpf_map *dataplane_map_find(const struct bpf_object *object, const struct bpf_map *like)
{
	const char *name = bpf_map__name(like), *section = strrchr(name, '.');

	if (bpf_map__is_internal(like) && section && !strcmp(section, LB_BACKENDS_MAP))
		name = LB_BACKENDS_MAP;
	return bpf_object__find_map_by_name(object, name);
}

int dataplane_add_egress(struct dataplane *dp, uint32_t ifindex)
{
	if (dp->egress_fd < 0)
		return 0;
	return bpf_map_update_elem(dp->egress_fd, &ifindex, &ifindex, BPF_ANY) ? -errno : 0;
}
