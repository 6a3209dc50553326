/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/dataplane/paths.c on a real map: which addresses reports are taken for, how they are
 * read, and when they are forgotten. */
#include <bpf/bpf.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define LOOPBACK 1

static struct want want;

static int setup(void **state)
{
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10)->hop.ifindex = LOOPBACK;
	return 0;
}

/* pin: NULL: none. */
static struct dataplane *open_small(const char *pin)
{
	struct dataplane_options options = {.pin = pin,
					    .services = 4,
					    .backends = 8,
					    .slots = 4096,
					    .flows = 1024,
					    .hash_seed = 42};
	struct dataplane *dp = NULL;
	struct error err = {0};
	struct statfs fs;

	if (geteuid()) {
		print_message("# skip: needs root\n");
		skip();
	}
	if (pin && (statfs("/sys/fs/bpf", &fs) || fs.f_type != BPF_FS_MAGIC)) {
		print_message("# skip: no bpffs on /sys/fs/bpf\n");
		skip();
	}
	if (dataplane_open(&options, &dp, &err))
		fail_msg("dataplane_open: %s", err.text);
	dp->skip_grace = true;
	return dp;
}

#define REPORT(n) (&(const struct lb_path_key){.addr = {path_word(n)}, .family = 4})

static __be32 path_word(unsigned n)
{
	const struct addr address = want_address(n);
	__be32 word;

	memcpy(&word, address.bytes, sizeof(word));
	return word;
}

/* 0: no packet goes there, so the program takes no report; 1: it does. */
static int is_open(const struct dataplane *dp, unsigned n)
{
	struct lb_path path;

	return !bpf_map_lookup_elem(dp->paths_fd, REPORT(n), &path);
}

/* What the program does with a report. */
static void report(struct dataplane *dp, unsigned n, unsigned mtu, uint32_t tick)
{
	struct lb_path path = {.word = LB_PATH(mtu, tick), .router = {htonl(0xcb007101)}};

	assert_int_equal(bpf_map_update_elem(dp->paths_fd, REPORT(n), &path, BPF_EXIST), 0);
	dp->maps.settings->paths_lowered++;
}

static struct seen {
	unsigned changes;
	struct dp_path path; /* the last */
	uint16_t before;
} seen;

static void on_path(void *arg, const struct dp_path *path, uint16_t before)
{
	assert_ptr_equal(arg, &want);
	seen.changes++;
	seen.path = *path;
	seen.before = before;
}

/* The number of changes since the last call. */
static unsigned read_paths(struct dataplane *dp)
{
	seen = (struct seen){0};
	dataplane_read_paths(dp, on_path, &want);
	return seen.changes;
}

static unsigned known_mtu(const struct dataplane *dp, unsigned n)
{
	const struct addr address = want_address(n);
	const struct dp_path *path = dataplane_path(dp, &address);

	return path ? path->mtu : 0;
}

LB_TEST(reports_are_taken_for_addresses_of_backends)
{
	struct dataplane *dp = open_small(NULL);

	assert_false(is_open(dp, 0));
	want_commit(dp, &want, 1);
	assert_true(is_open(dp, 0) && is_open(dp, 1) && is_open(dp, 2));
	assert_false(is_open(dp, 3));
	dataplane_close(dp);
}

LB_TEST(no_reports_are_taken_where_no_tunnel_leads)
{
	struct dataplane *dp = open_small(NULL);

	want.service.forward = LB_FORWARD_L2;
	want_commit(dp, &want, 1);
	assert_false(is_open(dp, 0));
	want.service.forward = LB_FORWARD_GUE;
	want_commit(dp, &want, 1);
	assert_true(is_open(dp, 0));
	dataplane_close(dp);
}

LB_TEST(a_report_is_read_once)
{
	struct dataplane *dp = open_small(NULL);
	struct addr address;

	dp->clock = 1000;
	want_commit(dp, &want, 1);
	assert_int_equal(read_paths(dp), 0);
	report(dp, 1, 1400, 1000);
	assert_int_equal(known_mtu(dp, 1), 0);
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(seen.path.mtu, 1400);
	assert_int_equal(seen.before, 0);
	address = want_address(1);
	assert_true(addr_equal(&seen.path.address, &address));
	assert_true(addr_equal(&seen.path.router, &(struct addr){4, {203, 0, 113, 1}}));
	assert_int_equal(known_mtu(dp, 1), 1400);
	assert_int_equal(known_mtu(dp, 0), 0);
	assert_int_equal(read_paths(dp), 0);
	report(dp, 1, 1300, 1001);
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(seen.before, 1400);
	assert_int_equal(known_mtu(dp, 1), 1300);
	dataplane_close(dp);
}

/* Nothing else tells that time has passed. */
LB_TEST(a_report_is_forgotten_after_ten_minutes)
{
	struct dataplane *dp = open_small(NULL);

	dp->clock = 1100;
	want_commit(dp, &want, 1);
	report(dp, 1, 1400, 1000);
	report(dp, 2, 1300, 1100);
	assert_int_equal(read_paths(dp), 2);
	dp->clock = 1000 + LB_PATH_IDLE;
	assert_int_equal(read_paths(dp), 0);
	dp->clock++;
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(seen.path.mtu, 0);
	assert_int_equal(seen.before, 1400);
	assert_int_equal(known_mtu(dp, 1), 0);
	assert_int_equal(known_mtu(dp, 2), 1300);
	report(dp, 1, 1450, dp->clock);
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(known_mtu(dp, 1), 1450);
	dataplane_close(dp);
}

/* Else the program would not count the same MTU when it is reported again, and lbd not read it. */
LB_TEST(a_forgotten_report_is_gone_from_the_map)
{
	struct dataplane *dp = open_small(NULL);
	struct lb_path path;

	dp->clock = 1000;
	want_commit(dp, &want, 1);
	report(dp, 1, 1400, 1000);
	assert_int_equal(read_paths(dp), 1);
	dp->clock = 1000 + LB_PATH_IDLE + 1;
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(bpf_map_lookup_elem(dp->paths_fd, REPORT(1), &path), 0);
	assert_int_equal(LB_PATH_MTU(path.word), 0);
	dataplane_close(dp);
}

/* The program need not write the counter for that. */
LB_TEST(a_report_that_came_again_lives_on)
{
	struct dataplane *dp = open_small(NULL);

	dp->clock = 1000;
	want_commit(dp, &want, 1);
	report(dp, 1, 1400, 1000);
	assert_int_equal(read_paths(dp), 1);
	report(dp, 1, 1400, 1500);
	dp->maps.settings->paths_lowered--;
	dp->clock = 1000 + LB_PATH_IDLE + 1;
	assert_int_equal(read_paths(dp), 0);
	assert_int_equal(known_mtu(dp, 1), 1400);
	dataplane_close(dp);
}

LB_TEST(reports_outlive_a_restart)
{
	struct dataplane *dp;
	char pin[64];

	snprintf(pin, sizeof(pin), "/sys/fs/bpf/lbd-paths-%d", (int)getpid());
	dp = open_small(pin);
	want_commit(dp, &want, 1);
	report(dp, 1, 1400, dp_tick(dp));
	dataplane_close(dp);
	dp = open_small(pin);
	dataplane_unpin(dp); /* the descriptors stay */
	assert_int_equal(read_paths(dp), 1);
	assert_int_equal(known_mtu(dp, 1), 1400);
	want_commit(dp, &want, 1);
	assert_int_equal(read_paths(dp), 0);
	assert_int_equal(known_mtu(dp, 1), 1400);
	dataplane_close(dp);
}

LB_TEST(reports_about_removed_backends_are_removed)
{
	struct dataplane *dp = open_small(NULL);

	dp->clock = 1000;
	want_commit(dp, &want, 1);
	report(dp, 1, 1400, 1000);
	assert_int_equal(read_paths(dp), 1);
	want_remove(&want, 1);
	want_commit(dp, &want, 1);
	dp->clock = 1100;
	read_paths(dp);
	assert_false(is_open(dp, 1));
	assert_true(is_open(dp, 0) && is_open(dp, 2));
	report(dp, 0, 1300, 1100);
	assert_int_equal(read_paths(dp), 2); /* one new, one gone */
	assert_int_equal(known_mtu(dp, 1), 0);
	dataplane_close(dp);
}

/* The map has no room for more addresses than backends: those of removed ones make room. */
LB_TEST(backends_that_replace_all_others_take_reports)
{
	struct dataplane *dp = open_small(NULL);

	dp->clock = 1000;
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned n = 0; n < 3; n++)
			want_remove(&want, 3 * round + n);
		for (unsigned n = 3; n < 6; n++)
			want_add(&want, 3 * round + n, 10)->hop.ifindex = LOOPBACK;
		want_commit(dp, &want, 1);
		sweep_rounds(dp, 3, dp->clock += 4);
		for (unsigned n = 3; n < 6; n++)
			assert_true(is_open(dp, 3 * round + n));
	}
	dataplane_close(dp);
}

LB_TEST_MAIN("paths", .setup = setup)
