/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Commits that pause (host/tasks.h): what they make, and what others read in between. Every pause
 * is one. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/host/host.h"
#include "support/memory_dataplane.h"

#define SERVICES    6
#define BACKENDS    5 /* of each */
#define PATIENCE_MS 60000

static const struct memory_limits limits = {SERVICES + 8, SERVICES *BACKENDS * 3, 1 << 16, 64};

struct job {
	struct dataplane *dp;
	struct want *wants;
	unsigned count;
	bool ended;
	int rc;
};

static struct event_base *base;
static struct tasks *tasks;

static int set_up(void **unused)
{
	int rc;

	base = loop_new();
	rc = tasks_new(base, &tasks);
	if (!rc)
		tasks_set_turn(tasks, 0);
	return rc;
}

static int tear_down(void **unused)
{
	tasks_finish(tasks);
	tasks_free(tasks);
	event_base_free(base);
	libevent_global_shutdown();
	return 0;
}

static struct want *make_wants(void)
{
	struct want *wants = calloc(SERVICES, sizeof(*wants));
	char vip[32];

	assert_non_null(wants);
	for (unsigned i = 0; i < SERVICES; i++) {
		snprintf(vip, sizeof(vip), "192.0.2.%u", i + 1);
		want_init(&wants[i], vip, IPPROTO_TCP, 80, i % 2 ? "maglev" : "least-conn");
		for (unsigned j = 0; j < BACKENDS; j++)
			want_add(&wants[i], i * BACKENDS + j, 100);
	}
	return wants;
}

/* Another backend in the place of the first of each service, and other weights. */
static void change(struct want *wants)
{
	for (unsigned i = 0; i < SERVICES; i++) {
		want_remove(&wants[i], i * BACKENDS);
		want_add(&wants[i], 1000 + i, 100);
		want_find(&wants[i], i * BACKENDS + 1)->weight = 0;
	}
}

/* Fails no test: it is on another thread. */
static void run_commit(void *arg)
{
	struct dp_service services[SERVICES];
	struct job *job = arg;
	struct error err;

	for (unsigned i = 0; i < job->count; i++)
		services[i] = job->wants[i].service;
	job->rc = dataplane_commit(job->dp, services, job->count, &err);
	job->ended = true;
}

/* Calls look between the turns. code: what the commit returns. Returns how often. */
static unsigned commit_in_turns(struct job *job, void (*look)(struct job *job), int code)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;
	unsigned looks = 0;

	assert_int_equal(tasks_add(tasks, run_commit, job), 0);
	for (; !job->ended && clock_monotonic_ms() < end; looks++) {
		event_base_loop(base, EVLOOP_ONCE);
		if (look)
			look(job);
	}
	assert_true(job->ended);
	assert_int_equal(job->rc, code);
	return looks;
}

static void assert_same_maps(const struct dp_maps *a, const struct dp_maps *b)
{
	assert_memory_equal(a->arena, b->arena, a->arena_slots * sizeof(*a->arena));
	assert_memory_equal(a->fronts, b->fronts, a->arena_slots * sizeof(*a->fronts));
	assert_memory_equal(a->services, b->services, a->service_slots * sizeof(*a->services));
	assert_memory_equal(a->backends, b->backends, a->backend_slots * sizeof(*a->backends));
	assert_memory_equal(a->loads, b->loads, a->backend_slots * sizeof(*a->loads));
	assert_memory_equal(a->vips, b->vips, a->vip_buckets * sizeof(*a->vips));
	assert_memory_equal(a->ports, b->ports, a->port_buckets * sizeof(*a->ports));
	assert_memory_equal(a->settings, b->settings, sizeof(*a->settings));
}

static void a_commit_with_pauses_makes_the_same_maps_as_one_without(void **unused)
{
	struct memory_dataplane *one = memory_dataplane_new(limits),
				*other = memory_dataplane_new(limits);
	struct want *wants = make_wants();
	struct job job = {.dp = other->dp, .wants = wants, .count = SERVICES};

	one->dp->clock = other->dp->clock = 5;
	/* the two were made in two ticks of the real clock, perhaps */
	other->maps.settings->swept = one->maps.settings->swept;
	want_commit(one->dp, wants, SERVICES);
	assert_in_range(commit_in_turns(&job, NULL, 0), SERVICES, UINT32_MAX);
	assert_same_maps(&one->maps, &other->maps);

	change(wants);
	job.ended = false;
	want_commit(one->dp, wants, SERVICES - 1);
	job.count = SERVICES - 1;
	commit_in_turns(&job, NULL, 0);
	assert_same_maps(&one->maps, &other->maps);
	memory_dataplane_free(one);
	memory_dataplane_free(other);
	free(wants);
}

/* ---- counters ---- */

#define PACKETS 1000 /* of each backend */

static void count_packets(struct memory_dataplane *memory)
{
	for (uint32_t id = 1; id < memory->maps.backend_slots; id++)
		if (memory->maps.backends[id].flags & LB_BACKEND_USED)
			memory->maps.backend_counts[id].packets = PACKETS;
}

static void expect_all_packets(struct job *job)
{
	struct dp_service_stats stats;

	for (unsigned i = 0; i < SERVICES - 1; i++) {
		assert_int_equal(dataplane_service_stats(job->dp, &job->wants[i].service, &stats),
				 0);
		assert_int_equal(stats.counts.packets, BACKENDS * PACKETS);
	}
	/* the one that is removed is there or not, but can be asked for */
	dataplane_service_stats(job->dp, &job->wants[SERVICES - 1].service, &stats);
}

static void the_counters_of_a_service_stay_while_its_backends_are_removed(void **unused)
{
	struct memory_dataplane *memory = memory_dataplane_new(limits);
	struct want *wants = make_wants();
	struct job job = {.dp = memory->dp, .wants = wants, .count = SERVICES - 1};

	want_commit(memory->dp, wants, SERVICES);
	count_packets(memory);
	change(wants);
	memory->dp->skip_grace = false; /* the wait for packets is one more moment to look */
	commit_in_turns(&job, expect_all_packets, 0);
	expect_all_packets(&job);
	dp_grace(memory->dp);
	expect_all_packets(&job);
	memory_dataplane_free(memory);
	free(wants);
}

/* ---- counts of slots ---- */

#define RING 509

/* Those of the last count or of the next one, never of one that has not ended. */
static void expect_all_slots(struct job *job)
{
	for (unsigned i = 0; i < SERVICES; i++) {
		const struct dp_service *key = &job->wants[i].service;
		struct dp_backend_stats stats;
		uint32_t slots = 0;

		for (unsigned j = 0; j < BACKENDS; j++) {
			assert_int_equal(dataplane_backend_stats(job->dp, key,
								 &key->backends[j].address, &stats),
					 0);
			slots += stats.slots;
		}
		assert_int_equal(slots, RING);
	}
}

static void the_slots_of_a_service_are_all_of_one_count(void **unused)
{
	struct memory_dataplane *memory = memory_dataplane_new(limits);
	struct want *wants = make_wants();
	struct job job = {.dp = memory->dp, .wants = wants, .count = SERVICES};

	for (unsigned i = 0; i < SERVICES; i++)
		wants[i].service.slots = RING;
	want_commit(memory->dp, wants, SERVICES);
	expect_all_slots(&job);
	for (unsigned i = 0; i < SERVICES; i++)
		want_find(&wants[i], i * BACKENDS + 1)->weight = 0;
	assert_in_range(commit_in_turns(&job, expect_all_slots, 0), SERVICES, UINT32_MAX);
	expect_all_slots(&job);
	memory_dataplane_free(memory);
	free(wants);
}

/* ---- a refused commit ---- */

static void a_refused_commit_with_pauses_changes_nothing(void **unused)
{
	struct memory_dataplane *memory = memory_dataplane_new(limits),
				*same = memory_dataplane_new(limits);
	struct want *wants = make_wants();
	struct job job = {.dp = memory->dp, .wants = wants, .count = SERVICES};

	want_commit(memory->dp, wants, SERVICES);
	want_commit(same->dp, wants, SERVICES);
	change(wants);
	wants[SERVICES - 1].service.slots = 100; /* no prime */
	commit_in_turns(&job, NULL, -EINVAL);
	assert_same_maps(&memory->maps, &same->maps);
	memory_dataplane_free(memory);
	memory_dataplane_free(same);
	free(wants);
}

/* ---- other nodes ---- */

static unsigned count_turns_of_change(bool with_peer)
{
	struct memory_dataplane *memory = memory_dataplane_new(limits);
	struct want *wants = make_wants();
	struct job job = {.dp = memory->dp, .wants = wants, .count = SERVICES};
	unsigned turns;

	want_commit(memory->dp, wants, SERVICES);
	if (with_peer)
		assert_int_equal(dataplane_peer_open(memory->dp, 0), 0);
	change(wants);
	turns = commit_in_turns(&job, NULL, 0);
	memory_dataplane_free(memory);
	free(wants);
	return turns;
}

/* What a peer names gets its ids after a commit: 16 383 references, each looked up. */
static void the_references_of_a_peer_are_translated_with_pauses(void **unused)
{
	unsigned without = count_turns_of_change(false);

	assert_in_range(count_turns_of_change(true), without + 15, UINT32_MAX);
}

struct taking {
	struct dataplane *dp;
	struct dp_shared_service service;
	bool ended;
	int rc;
};

static void run_taking(void *arg)
{
	struct taking *taking = arg;

	taking->rc = dataplane_take_service(taking->dp, 0, &taking->service);
	taking->ended = true;
}

static unsigned count_turns_of_ring(struct dataplane *dp, const struct want *want, uint32_t size)
{
	struct taking taking = {.dp = dp,
				.service = {.ref = 1,
					    .vip = want->service.vip,
					    .port = 80,
					    .protocol = IPPROTO_TCP,
					    .size = size}};
	unsigned turns = 0;

	assert_int_equal(tasks_add(tasks, run_taking, &taking), 0);
	while (tasks_turn(tasks, 0))
		turns++;
	assert_true(taking.ended && !taking.rc);
	return turns;
}

/* A million slots, which are 4 MiB here. */
static void a_large_ring_of_a_peer_is_made_with_pauses(void **unused)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 16, 1 << 20, 64});
	struct want want;
	unsigned small;

	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&want, 1, 1);
	want.service.slots = 13;
	want.service.track_never = true; /* nothing else follows from what a peer has */
	want_commit(memory->dp, &want, 1);
	assert_int_equal(dataplane_peer_open(memory->dp, 0), 0);
	tasks_by_hand(tasks);
	small = count_turns_of_ring(memory->dp, &want, 17);
	assert_in_range(count_turns_of_ring(memory->dp, &want, 1048573), small + 3, small + 3);
	memory_dataplane_free(memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_commit_with_pauses_makes_the_same_maps_as_one_without),
	    TEST(the_counters_of_a_service_stay_while_its_backends_are_removed),
	    TEST(the_slots_of_a_service_are_all_of_one_count),
	    TEST(a_refused_commit_with_pauses_changes_nothing),
	    TEST(the_references_of_a_peer_are_translated_with_pauses),
	    TEST(a_large_ring_of_a_peer_is_made_with_pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
