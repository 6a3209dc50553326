/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A state whose changes are tasks (host/tasks.h), on a data plane in plain memory: what is seen
 * while one is under way, and what is found meanwhile. Every pause is one. */
#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/host/host.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"

#define SERVICES    12
#define BACKENDS    3 /* of each */
#define PATIENCE_MS 60000

/* ---- a disk that keeps whoever writes waiting ---- */

static atomic_bool disk_stalls;
static atomic_uint writes_begun, writes_ended;

int __wrap_file_replace(const char *path, const char *text);
int __real_file_replace(const char *path, const char *text);

int __wrap_file_replace(const char *path, const char *text)
{
	int rc;

	atomic_fetch_add(&writes_begun, 1);
	while (atomic_load(&disk_stalls))
		usleep(1000);
	rc = __real_file_replace(path, text);
	atomic_fetch_add(&writes_ended, 1);
	return rc;
}

static struct event_base *base;
static struct tasks *tasks;
static struct lateness *lateness;
static struct memory_dataplane *memory;
static struct neigh *neigh;
static struct health *health;
static struct state *state;
static bool ready;
static int ready_rc;

static struct config *make_config(unsigned slots)
{
	char text[8192];
	struct config *config;
	struct error err;
	int length = snprintf(text, sizeof(text), "metrics: off\nservices:\n");

	for (unsigned i = 0; i < SERVICES; i++) {
		length += snprintf(text + length, sizeof(text) - (size_t)length,
				   "  - { name: s%u, vip: 192.0.2.%u, protocol: tcp, port: 80, "
				   "slots: %u, health: { type: none }, backends: [",
				   i, i + 1, slots);
		for (unsigned j = 0; j < BACKENDS; j++)
			length += snprintf(text + length, sizeof(text) - (size_t)length,
					   "%s{ address: 10.0.%u.%u }", j ? ", " : "", i, j + 1);
		length += snprintf(text + length, sizeof(text) - (size_t)length, "] }\n");
	}
	if (config_parse(text, (size_t)length, "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static void run_begin(void *arg)
{
	struct error err;

	ready_rc = state_begin(state, &err);
	ready = true;
}

static void begin(void)
{
	struct error err = {0};

	base = loop_new();
	memory = memory_dataplane_new(
	    (struct memory_limits){SERVICES + 2, 2 * SERVICES * BACKENDS, 1 << 15, 64});
	if (tasks_new(base, &tasks) || lateness_new(base, &lateness) ||
	    neigh_new(base, &neigh, &err) || health_new(base, lateness, &health, &err))
		fail_msg("%s", err.text);
	tasks_set_turn(tasks, 0);
	const struct state_options options = {.base = base,
					      .config = make_config(251),
					      .config_path = "lbd.yaml",
					      .dataplane = memory->dp,
					      .neigh = neigh,
					      .health = health,
					      .tasks = tasks};

	ready = false;
	if (state_new(&options, &state, &err))
		fail_msg("%s", err.text);
	assert_int_equal(tasks_add(tasks, run_begin, NULL), 0);
}

static uint64_t patience_ends(void)
{
	return clock_monotonic_ms() + PATIENCE_MS;
}

static unsigned turns; /* of the loop */

static void turn(uint64_t until)
{
	assert_true(clock_monotonic_ms() < until);
	event_base_loop(base, EVLOOP_ONCE);
	turns++;
}

static bool all_hops_known(void)
{
	for (unsigned i = 0; i < state->world.count; i++)
		for (unsigned j = 0; j < state->world.services[i]->backends_count; j++)
			if (!state->world.services[i]->backends[j]->hop_known)
				return false;
	return true;
}

/* The state of a host that has found its next hops, or none. */
static void begin_usual(void)
{
	uint64_t until = patience_ends();

	begin();
	while (!ready || !all_hops_known() || state->commit_waits)
		turn(until);
	assert_int_equal(ready_rc, 0);
	neigh_on_link(neigh, NULL, NULL);
}

static int end(void **unused)
{
	atomic_store(&disk_stalls, false);
	tasks_finish(tasks);
	state_free(state);
	health_free(health);
	tasks_free(tasks);
	lateness_free(lateness);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	libevent_global_shutdown();
	return 0;
}

static struct backend *backend_of(unsigned service)
{
	return state->world.services[service]->backends[0];
}

/* ---- a change ---- */

struct change {
	uint32_t weight;
	bool ended;
	int rc;
	unsigned told;  /* of a reload of lists: calls of the function of state_on_change */
	unsigned turns; /* of a save: those of the loop meanwhile */
};

/* Of the first backend of the last service. */
static void run_weight(void *arg)
{
	struct change *change = arg;
	struct addr address;
	struct error err;

	addr_parse("10.0.11.1", &address);
	change->rc = state_backend_weight(state, "s11", &address, change->weight, &err);
	change->ended = true;
}

static void run_refused(void *arg)
{
	struct overrides none = {0};
	struct change *change = arg;
	struct config *config = make_config(8191); /* together more than there is room for */
	struct error err;

	change->rc = state_switch(state, config, &none, &err);
	if (change->rc)
		config_free(config);
	change->ended = true;
}

static void run_to_end(const struct change *change)
{
	uint64_t until = patience_ends();

	while (!change->ended)
		turn(until);
}

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

static unsigned told;

/* Nothing else commits meanwhile. */
static void run_lists(void *arg)
{
	struct change *change = arg;
	struct lists_report report;
	struct error err;

	told = 0;
	change->rc = state_reload_lists(state, &report, &err);
	change->told = told;
	change->ended = true;
}

static void run_save(void *arg)
{
	struct change *change = arg;
	unsigned before = turns;
	struct saved saved;
	struct error err;

	change->rc = state_save(state, &saved, &err);
	change->turns = turns - before;
	change->ended = true;
}

/* ---- the first world ---- */

static void the_first_world_is_shown_before_its_commit_has_ended(void **unused)
{
	uint64_t until = patience_ends();
	unsigned shown = 0, count;

	begin();
	assert_false(state_is_started(state));
	while (!ready) {
		state_services(state, &count);
		shown += count == SERVICES;
		turn(until);
	}
	assert_int_equal(ready_rc, 0);
	assert_true(state_is_started(state));
	assert_in_range(shown, 1, UINT32_MAX);
	state_services(state, &count);
	assert_int_equal(count, SERVICES);
}

static void a_first_world_that_is_refused_changes_nothing_afterwards(void **unused)
{
	uint64_t stores;

	begin();
	memory->dp->maps.service_slots = 4; /* fewer than there are services */
	tasks_finish(tasks);
	assert_true(ready);
	assert_int_equal(ready_rc, -ENOSPC);
	assert_int_equal(state->world.count, 0);
	/* an lbd that ends commits no empty world, which would remove what it has taken over */
	stores = dataplane_stores();
	state_touch(state);
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_ONCE);
	tasks_finish(tasks);
	assert_int_equal(dataplane_stores(), stores);
	memory->dp->maps.service_slots = SERVICES + 3;
}

/* ---- what is found meanwhile ---- */

/* Runs the change until the next world has the backend. */
static struct backend *until_successor(unsigned service)
{
	uint64_t until = patience_ends();

	while (!backend_of(service)->successor)
		turn(until);
	return backend_of(service);
}

static void a_verdict_that_comes_during_a_change_is_not_lost(void **unused)
{
	const struct health_result down = {
	    .outcome = HEALTH_FAILED, .status = HEALTH_DOWN, .why = "connect: refused"};
	struct change change = {.weight = 7};
	struct backend *former;

	begin_usual();
	assert_int_equal(tasks_add(tasks, run_weight, &change), 0);
	former = until_successor(0);
	backend_on_health(former->handle, &down);
	assert_int_equal(former->health, HEALTH_DOWN);
	run_to_end(&change);
	assert_int_equal(change.rc, 0);
	assert_ptr_not_equal(backend_of(0), former);
	assert_int_equal(backend_of(0)->health, HEALTH_DOWN);
	assert_string_equal(remark_text(backend_of(0)->health_why), "connect: refused");
	assert_true(backend_of(0)->failed >= 1);
	for (uint64_t until = patience_ends();
	     strcmp(remark_text(backend_of(0)->why), "connect: refused") && backend_of(0)->has_hop;)
		turn(until);
}

static void what_a_check_said_before_a_change_is_known_after_it(void **unused)
{
	const struct health_result down = {
	    .outcome = HEALTH_FAILED, .status = HEALTH_DOWN, .why = "connect: refused"};
	const struct health_result up = {.outcome = HEALTH_PASSED, .status = HEALTH_UP};
	struct change change = {.weight = 7};

	begin_usual();
	backend_on_health(backend_of(0)->handle, &down);
	backend_on_health(backend_of(0)->handle, &up);
	backend_on_health(backend_of(1)->handle, &down);
	assert_int_equal(tasks_add(tasks, run_weight, &change), 0);
	run_to_end(&change);
	assert_int_equal(change.rc, 0);
	assert_string_equal(remark_text(backend_of(0)->health_why), "");
	assert_string_equal(remark_text(backend_of(0)->failed_why), "connect: refused");
	assert_string_equal(remark_text(backend_of(1)->health_why), "connect: refused");
}

static void a_next_hop_that_comes_during_a_change_is_not_lost(void **unused)
{
	const struct next_hop hop = {.ifindex = 7, .mtu = 1234};
	struct change change = {.weight = 7};
	struct backend *former;

	begin_usual();
	assert_int_equal(tasks_add(tasks, run_weight, &change), 0);
	former = until_successor(0);
	backend_on_next_hop(former->handle, &former->address, &hop, NULL);
	run_to_end(&change);
	assert_true(backend_of(0)->has_hop);
	assert_int_equal(backend_of(0)->hop.mtu, 1234);
	for (uint64_t until = patience_ends(); backend_of(0)->sent.hop.mtu != 1234;)
		turn(until);
}

/* ---- all or nothing ---- */

static void a_change_is_not_seen_before_it_is_in_force(void **unused)
{
	uint64_t until = patience_ends(), before;
	struct change change = {.weight = 7};
	struct backend *former;

	begin_usual();
	former = backend_of(SERVICES - 1);
	before = state_generation(state);
	assert_int_equal(tasks_add(tasks, run_weight, &change), 0);
	while (state_generation(state) == before) {
		assert_ptr_equal(backend_of(SERVICES - 1), former);
		assert_int_equal(former->weight, 100);
		turn(until);
	}
	assert_int_equal(backend_of(SERVICES - 1)->weight, 7);
	assert_int_equal(backend_of(SERVICES - 1)->sent.weight, backend_of(0)->has_hop ? 7 : 0);
	run_to_end(&change);
}

static void a_refused_change_leaves_the_present_world_as_it_was(void **unused)
{
	struct change change = {0};
	struct service **services;
	uint64_t generation;

	begin_usual();
	services = state->world.services;
	generation = state_generation(state);
	assert_int_equal(tasks_add(tasks, run_refused, &change), 0);
	run_to_end(&change);
	assert_int_equal(change.rc, -ENOSPC);
	assert_ptr_equal(state->world.services, services);
	assert_int_equal(state_generation(state), generation);
	for (unsigned i = 0; i < SERVICES; i++) {
		assert_null(backend_of(i)->successor);
		assert_non_null(backend_of(i)->watch);
	}
}

/* How many backends of the present service have one in the next world; *ret: one of these. */
static unsigned count_successors(const struct service *service, const struct backend **ret)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++) {
		if (!service->backends[i]->successor)
			continue;
		*ret = service->backends[i]->successor;
		count++;
	}
	return count;
}

/* A result of a probe concerns all backends of the service: none of them may be gone. */
static void a_world_that_is_freed_bit_by_bit_has_no_backend_that_is_gone(void **unused)
{
	uint64_t until = patience_ends();
	struct change change = {0};
	unsigned partly = 0;

	begin_usual();
	assert_int_equal(tasks_add(tasks, run_refused, &change), 0);
	while (!change.ended) {
		for (unsigned i = 0; i < SERVICES; i++) {
			const struct backend *next = NULL;
			unsigned count = count_successors(state->world.services[i], &next);

			if (next)
				assert_int_equal(next->service->backends_count, count);
			partly += count && count < BACKENDS;
		}
		turn(until);
	}
	assert_int_equal(change.rc, -ENOSPC);
	assert_in_range(partly, 1, UINT32_MAX);
}

static void changes_wait_for_one_another(void **unused)
{
	struct change first = {.weight = 7}, refused = {0}, last = {.weight = 9};
	uint64_t until = patience_ends();

	begin_usual();
	assert_int_equal(tasks_add(tasks, run_weight, &first), 0);
	assert_int_equal(tasks_add(tasks, run_refused, &refused), 0);
	assert_int_equal(tasks_add(tasks, run_weight, &last), 0);
	while (!last.ended) {
		assert_true(!refused.ended || first.ended);
		turn(until);
	}
	assert_int_equal(first.rc, 0);
	assert_int_equal(refused.rc, -ENOSPC);
	assert_int_equal(last.rc, 0);
	assert_int_equal(backend_of(SERVICES - 1)->weight, 9);
}

/* It weighs all services: a verdict may have come since the last commit. */
static void a_reload_of_lists_is_a_commit_that_others_are_told_of(void **unused)
{
	struct change change = {0};

	begin_usual();
	state_on_change(state, count_call, &told);
	assert_int_equal(tasks_add(tasks, run_lists, &change), 0);
	run_to_end(&change);
	assert_int_equal(change.rc, 0);
	assert_int_equal(change.told, 1);
}

/* The file is not there, and that is found out beside the loop. */
static void the_loop_goes_on_while_the_file_is_read_for_a_save(void **unused)
{
	struct change change = {0};

	begin_usual();
	assert_int_equal(tasks_add(tasks, run_save, &change), 0);
	run_to_end(&change);
	assert_int_equal(change.rc, -ENOENT);
	assert_in_range(change.turns, 1, UINT32_MAX);
}

/* ---- a disk that stalls ---- */

#define UPTIMES "/tmp/test_state_tasks.availability"

/* The next tick saves the availabilities. */
static void make_save_due(void)
{
	state->uptime_saved_ms = clock_monotonic_ms() - 11 * 60 * 1000;
}

static void begin_with_file(void)
{
	begin_usual();
	unlink(UPTIMES);
	state->uptime_path = strdup(UPTIMES);
	atomic_store(&writes_begun, 0);
	atomic_store(&writes_ended, 0);
	make_save_due();
}

static void stall_with_a_write(void)
{
	atomic_store(&disk_stalls, true);
	for (uint64_t until = patience_ends(); !atomic_load(&writes_begun);)
		turn(until);
}

/* Of the data plane too. */
static bool soon_is(const struct backend *backend, enum backend_condition condition)
{
	uint64_t until = clock_monotonic_ms() + 10000;
	bool usable = condition == BACKEND_UP;

	while ((backend->condition != condition || backend->sent.usable != usable) &&
	       clock_monotonic_ms() < until)
		turn(until);
	return backend->condition == condition && backend->sent.usable == usable;
}

/* Whatever this host's routes are. */
static void give_hops(const struct service *service)
{
	const struct next_hop hop = {.ifindex = 7, .mtu = 1500};

	for (unsigned i = 0; i < service->backends_count; i++)
		backend_on_next_hop(service->backends[i]->handle, &service->backends[i]->address,
				    &hop, NULL);
}

static void a_backend_that_fails_is_taken_out_while_the_disk_stalls(void **unused)
{
	const struct health_result result = {
	    .outcome = HEALTH_FAILED, .status = HEALTH_DOWN, .why = "connect: refused"};
	const struct backend *backend;
	bool down;

	begin_with_file();
	give_hops(state->world.services[0]);
	backend = backend_of(0);
	assert_true(soon_is(backend, BACKEND_UP));
	stall_with_a_write();
	backend_on_health(backend->handle, &result);
	down = soon_is(backend, BACKEND_DOWN);
	assert_int_equal(atomic_load(&writes_ended), 0);
	atomic_store(&disk_stalls, false);
	assert_true(down);
}

static void a_change_is_made_while_the_disk_stalls(void **unused)
{
	struct change change = {.weight = 7};
	uint64_t until = clock_monotonic_ms() + 10000;

	begin_with_file();
	stall_with_a_write();
	assert_int_equal(tasks_add(tasks, run_weight, &change), 0);
	while (!change.ended && clock_monotonic_ms() < until)
		turn(until);
	assert_int_equal(atomic_load(&writes_ended), 0);
	atomic_store(&disk_stalls, false);
	assert_true(change.ended);
}

static void one_write_of_availabilities_is_under_way_at_a_time(void **unused)
{
	uint64_t until = patience_ends();

	begin_with_file();
	stall_with_a_write();
	for (unsigned ticks = 0; ticks < 3; ticks++) {
		uint64_t before = state->uptime_ms;

		make_save_due();
		while (state->uptime_ms == before)
			turn(until);
	}
	assert_int_equal(atomic_load(&writes_begun), 1);
	atomic_store(&disk_stalls, false);
	while (atomic_load(&writes_ended) < 2)
		turn(until); /* what was due meanwhile follows */
	assert_int_equal(access(UPTIMES, F_OK), 0);
	unlink(UPTIMES);
}

/* What had been begun, and then what has come since. */
static void a_stop_completes_the_write(void **unused)
{
	begin_with_file();
	stall_with_a_write();
	atomic_store(&disk_stalls, false);
	tasks_finish(tasks);
	state_free(state);
	state = NULL;
	assert_int_equal(atomic_load(&writes_begun), 2);
	assert_int_equal(atomic_load(&writes_ended), 2);
	assert_int_equal(access(UPTIMES, F_OK), 0);
	unlink(UPTIMES);
}

static void a_stop_does_not_wait_for_ever(void **unused)
{
	begin_with_file();
	stall_with_a_write();
	tasks_finish(tasks);
	state_free(state);
	state = NULL;
	assert_int_equal(atomic_load(&writes_begun), 1); /* no second one beside it */
	assert_int_equal(atomic_load(&writes_ended), 0);
	atomic_store(&disk_stalls, false);
	for (uint64_t until = patience_ends(); !atomic_load(&writes_ended); usleep(1000))
		assert_true(clock_monotonic_ms() < until);
	unlink(UPTIMES);
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_first_world_is_shown_before_its_commit_has_ended),
	    TEST(a_first_world_that_is_refused_changes_nothing_afterwards),
	    TEST(a_verdict_that_comes_during_a_change_is_not_lost),
	    TEST(what_a_check_said_before_a_change_is_known_after_it),
	    TEST(a_next_hop_that_comes_during_a_change_is_not_lost),
	    TEST(a_change_is_not_seen_before_it_is_in_force),
	    TEST(a_refused_change_leaves_the_present_world_as_it_was),
	    TEST(a_world_that_is_freed_bit_by_bit_has_no_backend_that_is_gone),
	    TEST(changes_wait_for_one_another),
	    TEST(a_reload_of_lists_is_a_commit_that_others_are_told_of),
	    TEST(the_loop_goes_on_while_the_file_is_read_for_a_save),
	    TEST(a_backend_that_fails_is_taken_out_while_the_disk_stalls),
	    TEST(a_change_is_made_while_the_disk_stalls),
	    TEST(one_write_of_availabilities_is_under_way_at_a_time),
	    TEST(a_stop_completes_the_write),
	    TEST(a_stop_does_not_wait_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
