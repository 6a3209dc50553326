/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The data plane on real maps and the real program: opening, pins, takeover, refusals. Pins are
 * under /sys/fs/bpf/lbd-test-PID, which is removed at the end. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define LOOPBACK 1

static char pin[64];
static struct want want;

static struct dataplane_options options(void)
{
	return (struct dataplane_options){.pin = pin,
					  .services = 64,
					  .backends = 256,
					  .slots = 65536,
					  .flows = 4096,
					  .hash_seed = 42,
					  .gue_port = 6080,
					  .encap_source4 = {4, {172, 16}},
					  .encap_source4_len = 16,
					  .encap_source6 = {6, {1}},
					  .encap_source6_len = 64};
}

static void need_bpf(void)
{
	struct statfs fs;

	if (geteuid()) {
		print_message("# skip: needs root\n");
		skip();
	}
	if (statfs("/sys/fs/bpf", &fs) || fs.f_type != BPF_FS_MAGIC) {
		print_message("# skip: no bpffs on /sys/fs/bpf\n");
		skip();
	}
}

static struct dataplane *open_with(const struct dataplane_options *opts)
{
	struct dataplane *dp = NULL;
	struct error err = {0};

	need_bpf();
	if (dataplane_open(opts, &dp, &err))
		fail_msg("dataplane_open: %s", err.text);
	return dp;
}

static struct dataplane *open_pinned(void)
{
	struct dataplane_options opts = options();

	return open_with(&opts);
}

static void refused(const struct dataplane_options *opts, int code, const char *says)
{
	struct dataplane *dp = NULL;
	struct error err = {0};

	assert_int_equal(dataplane_open(opts, &dp, &err), code);
	assert_null(dp);
	if (!strstr(err.text, says))
		fail_msg("expected \"%s\" in \"%s\"", says, err.text);
}

static int setup(void **state)
{
	snprintf(pin, sizeof(pin), "/sys/fs/bpf/lbd-test-%d", (int)getpid());
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10)->hop.ifindex = LOOPBACK;
	return 0;
}

/* Of the pinned map, in path. */
static const char *map_path(char path[128], const char *name)
{
	snprintf(path, 128, "%s/maps/%s", pin, name);
	return path;
}

static void unlink_pin(const char *name)
{
	char path[128];

	unlink(map_path(path, name));
}

static int teardown(void **state)
{
	static const char *const names[] = {
	    "links",         "vips",           "ports",     "services", "arena",
	    "fronts",        "stamps",         "backends",  "loads",    "turns",
	    "flows",         "frags",          "dirty",     "totals",   "backend_counts",
	    "reason_counts", "service_counts", "filters",   "egress",   "paths",
	    "limits",        "sources",        "offenders", "reals",    "hops",
	    "returns",       "return_counts",  "directs",   "locals",   "programs",
	    "handovers",     "settings"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink_pin(names[i]);
	snprintf(path, sizeof(path), "%s/maps", pin);
	rmdir(path);
	rmdir(pin);
	return 0;
}

/* ---- opening ---- */

LB_TEST(what_is_mapped_is_what_the_kernel_has)
{
	struct dataplane *dp = open_pinned();
	uint32_t id, ifindex = LOOPBACK, value = 0, zero = 0;
	static struct lb_backend lines[LB_MAX_BACKENDS + 1];
	struct lb_service service;
	int fd;

	want_commit(dp, &want, 1);
	id = want_id(dp, &want, 1);
	fd = bpf_object__find_map_fd_by_name(dataplane_object(dp), LB_BACKENDS_MAP);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, lines), 0);
	assert_memory_equal(&lines[id], &dp->maps.backends[id], sizeof(lines[id]));
	assert_int_equal(lines[id].flags, LB_BACKEND_USED | LB_BACKEND_USABLE);
	id = want_line(dp, &want)->id;
	fd = bpf_object__find_map_fd_by_name(dataplane_object(dp), "services");
	assert_int_equal(bpf_map_lookup_elem(fd, &id, &service), 0);
	assert_memory_equal(&service, want_line(dp, &want), sizeof(service));
	fd = bpf_object__find_map_fd_by_name(dataplane_object(dp), "egress");
	assert_int_equal(bpf_map_lookup_elem(fd, &ifindex, &value), 0);
	assert_int_equal(value, LOOPBACK);
	dataplane_close(dp);
}

LB_TEST(the_program_is_an_xdp_program)
{
	struct dataplane *dp = open_pinned();
	struct bpf_prog_info info = {0};
	__u32 length = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(dataplane_program_fd(dp), &info, &length), 0);
	assert_int_equal(info.type, BPF_PROG_TYPE_XDP);
	dataplane_close(dp);
}

LB_TEST(memory_is_what_the_limits_say)
{
	struct dataplane *dp = open_pinned();
	struct dp_memory memory;

	dataplane_memory(dp, &memory);
	assert_int_equal(memory.flow_capacity, 8192); /* twice the limit */
	assert_int_equal(memory.flows, 8192 * 8);
	assert_int_equal(memory.arena, 65536 * 8);
	assert_int_equal(memory.total, memory.flows + memory.arena + memory.services +
					   memory.backends + memory.counters + memory.other);
	dataplane_close(dp);
}

/* 1000 services, 10 000 backends, room for a million flows. */
LB_TEST(the_maps_of_a_large_installation_stay_below_300_mb)
{
	struct dataplane_options opts = options();
	struct dataplane *dp;
	struct dp_memory memory;

	opts.pin = NULL;
	opts.services = 1024;
	opts.backends = 16384;
	opts.slots = 4 << 20;
	opts.flows = 1000000;
	dp = open_with(&opts);
	dataplane_memory(dp, &memory);
	print_message("# %llu MB\n", (unsigned long long)memory.total >> 20);
	assert_true(memory.total < 300u << 20);
	dataplane_close(dp);
}

LB_TEST(without_a_pin_nothing_is_left)
{
	struct dataplane_options opts = options();
	struct stat st;

	opts.pin = NULL;
	dataplane_close(open_with(&opts));
	assert_int_equal(stat(pin, &st), -1);
}

LB_TEST(impossible_limits_are_refused_with_the_range)
{
	struct dataplane_options opts = options();

	opts.backends = 40000;
	refused(&opts, -EINVAL, "limits.backends: 40000: expected 1 to 32767");
	opts = options();
	opts.services = 0;
	refused(&opts, -EINVAL, "limits.services: 0: expected 1 to 16384");
	opts = options();
	opts.slots = 1u << 29;
	refused(&opts, -EINVAL, "limits.slots: 536870912: expected 1 to 268435456");
}

LB_TEST(a_directory_that_is_not_on_a_bpffs_is_refused)
{
	struct dataplane_options opts = options();
	char path[] = "/tmp/lbd-test-XXXXXX", maps[64];

	need_bpf();
	assert_non_null(mkdtemp(path));
	opts.pin = path;
	refused(&opts, -EINVAL, "expected a directory on a bpffs");
	snprintf(maps, sizeof(maps), "%s/maps", path);
	rmdir(maps);
	rmdir(path);
}

/* ---- takeover ---- */

LB_TEST(a_second_lbd_takes_over_and_touches_no_slot)
{
	struct dataplane *dp = open_pinned();
	uint16_t id[3];
	uint32_t size, *slots, *before;
	struct dp_service_stats stats;

	assert_false(dataplane_adopted(dp));
	want_commit(dp, &want, 1);
	want_add(&want, 3, 10)->hop.ifindex = LOOPBACK; /* leaves slots in transition */
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < 3; n++)
		id[n] = want_id(dp, &want, n);
	dp->maps.backend_counts[id[0]].packets = 12;
	slots = want_slots(dp, &want, &size);
	before = calloc(size, sizeof(*before));
	assert_non_null(before);
	memcpy(before, slots, size * sizeof(*before));
	dataplane_close(dp);

	dp = open_pinned();
	assert_true(dataplane_adopted(dp));
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(want_id(dp, &want, n), id[n]);
	slots = want_slots(dp, &want, &size);
	assert_memory_equal(before, slots, size * sizeof(*before));
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_int_equal(stats.counts.packets, 12);
	free(before);
	dataplane_close(dp);
}

LB_TEST(pinned_maps_keep_their_sizes_and_their_seed)
{
	struct dataplane_options opts = options();
	struct dataplane *dp = open_pinned();

	want_commit(dp, &want, 1);
	dataplane_close(dp);
	opts.backends = 512;
	opts.slots = 131072;
	opts.flows = 100000;
	opts.hash_seed = 43;
	dp = open_with(&opts);
	assert_int_equal(dp->maps.backend_slots, 257);
	assert_int_equal(dp->maps.arena_slots, 65536);
	assert_int_equal(dp->maps.flow_words, 8192);
	assert_true(dp->maps.settings->flow_seed == 42);
	dataplane_close(dp);
}

LB_TEST(another_abi_version_is_refused_and_left_alone)
{
	struct dataplane_options opts = options();
	struct dataplane *dp = open_pinned();

	want_commit(dp, &want, 1);
	dp->maps.settings->abi_version = 77;
	dataplane_close(dp);
	refused(&opts, -EPROTO, "the pinned maps have ABI version 77, expected ");
	refused(&opts, -EPROTO, "ABI version 77");
}

LB_TEST(a_set_of_pins_that_is_not_whole_is_refused)
{
	struct dataplane_options opts = options();

	dataplane_close(open_pinned());
	unlink_pin("arena");
	refused(&opts, -EPROTO, "the set of pinned maps is incomplete");
}

/* In place of a map. */
static void pin_in_place_of(const char *name, uint32_t flags, uint32_t value_size, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, value_size, entries, &options);
	char path[128];

	unlink_pin(name);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, map_path(path, name)), 0);
	close(fd);
}

static void pin_another(uint32_t value_size, uint32_t entries)
{
	pin_in_place_of("vips", BPF_F_MMAPABLE, value_size, entries);
}

/* The pinned map is replaced by one with half as many entries, which is otherwise like it. A wide
 * one has them all in its only value. */
static void pin_shorter(const char *name)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	char path[128];
	int fd = bpf_obj_get(map_path(path, name));

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	close(fd);
	if (info.max_entries > 1)
		pin_in_place_of(name, info.map_flags, info.value_size, info.max_entries / 2);
	else
		pin_in_place_of(name, info.map_flags, info.value_size / 2, 1);
}

LB_TEST(a_wide_map_that_is_no_array_of_its_elements_is_refused)
{
	struct dataplane_options opts = options();

	dataplane_close(open_pinned());
	pin_another(64 * sizeof(struct lb_vip_bucket) + 8, 1);
	refused(&opts, -EPROTO, "a map of another type or layout than expected");
	pin_another(3 * sizeof(struct lb_vip_bucket), 1);
	refused(&opts, -EPROTO, "a map of another type or layout than expected");
	pin_another(sizeof(struct lb_vip_bucket), 16);
	refused(&opts, -EPROTO, "a map of another type or layout than expected");
}

/* As if it were of a set with smaller limits: lbd would read beyond its end. */
LB_TEST(a_map_that_is_shorter_than_the_others_is_refused)
{
	static const char *const names[] = {
	    "turns",          "totals",        "limits",        "service_counts",
	    "backend_counts", "return_counts", "reason_counts", "offenders",
	    "stamps",         "dirty",         "loads",         "services",
	    "arena",          "fronts",        "returns",       "flows"};
	struct dataplane_options opts = options();
	char path[128];

	dataplane_close(open_pinned());
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = bpf_obj_get(map_path(path, names[i]));

		assert_true(fd >= 0);
		pin_shorter(names[i]);
		refused(&opts, -EPROTO, "beside the other maps");
		unlink_pin(names[i]);
		assert_int_equal(bpf_obj_pin(fd, map_path(path, names[i])), 0);
		close(fd);
	}
	dataplane_close(open_pinned()); /* it was for their lengths that they were refused */
}

LB_TEST(a_map_whose_length_no_limit_decides_has_that_length)
{
	struct dataplane_options opts = options();

	dataplane_close(open_pinned());
	pin_shorter("sources");
	refused(&opts, -EPROTO, "a map of another type or layout than expected");
}

LB_TEST(a_map_that_cannot_be_mapped_is_refused)
{
	struct dataplane_options opts = options();

	dataplane_close(open_pinned());
	pin_in_place_of("totals", 0, sizeof(struct lb_total), 65);
	refused(&opts, -EPROTO, "a map of another type or layout than expected");
}

/* lbd was stopped while it made its first pins. */
LB_TEST(remains_of_a_set_that_was_never_complete_are_replaced)
{
	struct dataplane *dp = open_pinned();

	dataplane_close(dp);
	unlink_pin("settings");
	dp = open_pinned();
	assert_false(dataplane_adopted(dp));
	want_commit(dp, &want, 1);
	dataplane_close(dp);
	dp = open_pinned();
	assert_true(dataplane_adopted(dp));
	dataplane_close(dp);
}

/* An attached program uses the maps: in place of them it would get empty ones. */
LB_TEST(without_settings_what_is_attached_keeps_its_maps)
{
	struct dataplane_options opts = options();
	struct dataplane *dp = open_pinned();
	char links[128], attached[160], path[128];

	want_commit(dp, &want, 1);
	snprintf(links, sizeof(links), "%s/links", pin);
	snprintf(attached, sizeof(attached), "%s/eth0", links);
	assert_int_equal(mkdir(links, 0700), 0);
	assert_int_equal(bpf_obj_pin(dp->egress_fd, attached), 0); /* any object will do */
	dataplane_close(dp);
	unlink_pin("settings");
	refused(&opts, -EPROTO, "maps/settings: missing, while a program is attached");
	assert_int_equal(access(map_path(path, "vips"), F_OK), 0);
	unlink(attached);
	rmdir(links);
	dataplane_close(open_pinned());
}

LB_TEST(unpinning_leaves_nothing)
{
	struct dataplane *dp = open_pinned();
	struct stat st;

	assert_int_equal(stat(pin, &st), 0);
	dataplane_unpin(dp);
	assert_int_equal(stat(pin, &st), -1);
	dataplane_close(dp);
}

/* After a removal the next commit waits for a grace period and may then use what was freed. */
LB_TEST(removals_wait_for_packets_in_flight)
{
	struct dataplane *dp = open_pinned();
	uint16_t id;

	want_commit(dp, &want, 1);
	id = want_id(dp, &want, 0);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	assert_int_equal(dp->backend_ids.state[id], ID_LEAVING);
	sweep_rounds(dp, 2, 0);
	assert_int_equal(dp->backend_ids.state[id], ID_FREE);
	want_commit(dp, NULL, 0);
	want_commit(dp, &want, 1);
	want_commit(dp, NULL, 0);
	dataplane_close(dp);
}

LB_TEST_MAIN("dataplane", .setup = setup, .teardown = teardown)
