/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd's state on plain memory, with tasks, behind a control socket. Before it is included:
 * PATIENCE_MS, after which a test hangs. */
#ifndef LBD_TEST_API_SERVED_H
#define LBD_TEST_API_SERVED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/api/api.h"
#include "lbd/host/host.h"
#include "support/memory_dataplane.h"

static struct event_base *base;
static struct tasks *tasks;
static struct lateness *lateness;
static struct memory_dataplane *memory;
static struct neigh *neigh;
static struct health *health;
static struct state *state;
static struct api *api;
static bool begun;

static inline void turn(uint64_t until)
{
	assert_true(clock_monotonic_ms() < until);
	event_base_loop(base, EVLOOP_ONCE);
}

static inline uint64_t patience_ends(void)
{
	return clock_monotonic_ms() + PATIENCE_MS;
}

/* They have not begun. overrides_path: NULL: none are kept. */
static inline void make_state_and_api(struct config *config, const char *overrides_path,
				      unsigned connections)
{
	struct error err = {0};
	const struct state_options options = {.base = base,
					      .config = config,
					      .config_path = "lbd.yaml",
					      .overrides_path = overrides_path,
					      .dataplane = memory->dp,
					      .neigh = neigh,
					      .health = health,
					      .tasks = tasks};
	if (state_new(&options, &state, &err))
		fail_msg("%s", err.text);
	const struct api_options for_api = {.base = base,
					    .state = state,
					    .dp = memory->dp,
					    .health = health,
					    .lateness = lateness,
					    .tasks = tasks,
					    .connections = connections};
	if (api_new(&for_api, &api, &err))
		fail_msg("%s", err.text);
}

/* What a state needs; `base` is there. */
static inline void make_parts(struct memory_limits limits)
{
	struct error err = {0};

	memory = memory_dataplane_new(limits);
	if (tasks_new(base, &tasks) || lateness_new(base, &lateness) ||
	    neigh_new(base, &neigh, &err) || health_new(base, lateness, &health, &err))
		fail_msg("%s", err.text);
}

static void run_begin(void *arg)
{
	struct error err;

	begun = !state_begin(state, &err);
}

static inline void begin_state(void)
{
	uint64_t until = patience_ends();

	begun = false;
	assert_int_equal(tasks_add(tasks, run_begin, NULL), 0);
	while (!begun)
		turn(until);
	neigh_on_link(neigh, NULL, NULL);
}

/* All but `base`. */
static inline void end_served(void)
{
	tasks_finish(tasks);
	api_free(api);
	state_free(state);
	health_free(health);
	tasks_free(tasks);
	lateness_free(lateness);
	neigh_free(neigh);
	memory_dataplane_free(memory);
}

#endif
