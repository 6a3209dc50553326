/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Timers: the commit of collected changes, ramps and drains each second, and the sweep of the flow
 * table in bounded steps. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/plural.h"

#define TICK_US              1000000
#define PATHS_US             200000
#define WAYS_MS              10000
#define SWEEP_ROUND_US       2000000
#define SWEEP_STEP_US        10000
#define SWEEP_STEP_ENTRIES   65536
#define LATENCY_STEP_PERCENT 5 /* a smaller change is not worth a commit */

/* ---- commit ---- */

static void run_commit(void *arg)
{
	struct state *state = arg;
	uint64_t start = clock_monotonic_us();
	struct error err;
	int rc;

	/* what is found from now on may be too late for this one, and asks for another */
	state->commit_waits = false;
	if (state->first) /* the start has failed: there is nothing to commit */
		return;
	rc = world_commit(state, &state->world, &err);
	if (rc && !state->commit_failed)
		log_error("data plane not updated: %s; retrying each second", err.text);
	else if (!rc && state->commit_failed)
		log_info("data plane updated again");
	state->commit_failed = rc;
	report_world(state);
	state_tell(state);
	state_rest(state, start);
}

/* Whether the task that *waits is about was added. If not, memory is short: the event, which has
 * fired, comes again later. */
static bool add_once(struct state *state, bool *waits, task_fn *run)
{
	if (*waits)
		return true;
	*waits = true;
	if (!state_do(state, run, state))
		return true;
	*waits = false;
	return false;
}

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;

	if (!add_once(state, &state->commit_waits, run_commit))
		state_arm(state->commit, TICK_US);
}

/* ---- each second ---- */

/* Does the algorithm see another cost than the data plane has? */
static bool latency_moved(const struct backend *backend)
{
	const struct algo *algorithm = backend->service->config->algorithm;
	uint64_t now = backend_response_us(backend), sent = backend->sent.latency_us;
	uint64_t change = now > sent ? now - sent : sent - now;

	return algorithm->cost && change * 100 > sent * LATENCY_STEP_PERCENT &&
	       algorithm->cost(1, (uint32_t)now) != algorithm->cost(1, (uint32_t)sent);
}

/* Has the last flow of a draining backend ended, by the data plane's count? */
static bool drain_ended(struct backend *backend)
{
	struct dp_service key;

	if (backend->condition != BACKEND_DRAINING)
		return false;
	service_key(backend->service, &key);
	dataplane_read_drained(backend->service->state->options.dataplane, &key, &backend->address,
			       &backend->drained);
	return backend->drained;
}

/* At the deadline the remaining flows are given up: from now on the data plane must not use the
 * backend. */
static bool drain_forced(struct backend *backend, uint64_t now_ms)
{
	struct dp_backend_stats stats = {0};
	struct dp_service key;

	if (!backend->has_force || backend->drained || now_ms < backend->force_ms)
		return false;
	service_key(backend->service, &key);
	dataplane_backend_stats(backend->service->state->options.dataplane, &key, &backend->address,
				&stats);
	backend->given_up = stats.active > 0 ? (uint64_t)stats.active : 0;
	if (report_names(backend->service->state))
		report_backend(
		    backend, EVENT_backend_forced, LOG_WARNING, "",
		    ": drain forced at its deadline: %" PRIu64
		    " active flow%s and %u slot%s of older flows given up; their packets "
		    "go to other backends",
		    backend->given_up, plural_s(backend->given_up), stats.kept_slots,
		    plural_s(stats.kept_slots));
	backend->forced = backend->drained = true;
	return true;
}

/* Such a backend is drained once its loss is certain. */
static bool is_lost_while_draining(const struct backend *backend)
{
	return backend->condition == BACKEND_DRAINING && backend->lost_ms &&
	       !backend->used_in_panic;
}

struct tick {
	bool commit; /* something may have changed for the data plane */
	bool remove; /* a removed backend has drained */
};

static void backend_tick(struct backend *backend, struct tick *tick)
{
	bool ended = drain_ended(backend);

	ended |= drain_forced(backend, clock_monotonic_ms());
	tick->commit |= ended || is_lost_while_draining(backend) || backend->ramp_start_ms ||
			latency_moved(backend) || backend->bound_why ||
			backend_hold_is_over(backend, clock_monotonic_ms());
	tick->remove |=
	    backend->removed && (backend->drained || backend->condition == BACKEND_DRAINED);
}

static void watch_crowd(struct state *state)
{
	const struct dataplane *dp = state->options.dataplane;
	uint64_t now = clock_monotonic_ms();

	if (crowd_sample(&state->crowd, dataplane_event(dp, LB_EVENT_flow_table_full),
			 dataplane_event(dp, LB_EVENT_fallback_slot), now))
		log_warning(
		    "flow table: no room for %" PRIu64
		    " new flows in the last minute: they are sent by slot, and a change of backends "
		    "may move them. Raise limits: flows (now %u; needs new maps), or shorten "
		    "idle-timeout; lbctl services shows which service is limited",
		    crowd_last_minute(&state->crowd, now), state->config->limits.flows);
}

static void retry_ways(struct state *state)
{
	uint64_t now = clock_monotonic_ms();

	if (!state->way_error || now - state->way_ms < WAYS_MS)
		return;
	state->way_ms = now;
	state_retry_ways(state);
}

static void run_tick(void *arg)
{
	struct state *state = arg;
	struct tick tick = {.commit = state->commit_failed};
	struct error err;

	state->tick_waits = false;
	report_others(state);
	watch_crowd(state);
	dataplane_connects_tick(state->options.dataplane, clock_monotonic_ms());
	availability_tick(state);
	leases_tick(state);
	retry_ways(state);
	for (unsigned i = 0; i < state->world.count; i++) {
		tick.commit |= !state->world.services[i]->opened || state->world.services[i]->blind;
		tick.commit |=
		    service_look_for_failing(state->world.services[i], clock_monotonic_ms());
		service_time_responses(state->world.services[i]);
		service_count_flows(state->world.services[i], clock_monotonic_ms());
		for (unsigned j = 0; j < state->world.services[i]->backends_count; j++) {
			backend_tick(state->world.services[i]->backends[j], &tick);
			nat_look(state->world.services[i]->backends[j], clock_monotonic_ms());
			task_pause();
		}
	}
	if (tick.commit)
		state_touch(state);
	if (tick.remove && state_switch(state, state->config, &state->overrides, &err))
		log_error("drained backends not removed: %s; retrying each second", err.text);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;

	add_once(state, &state->tick_waits, run_tick);
}

/* ---- five times a second ---- */

/* So soon only after few changes. The client sends its long packet again after 200 ms at the
 * earliest (RFC 6298 with Linux's minimum). */
static void on_paths(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;

	state_read_paths(state, clock_monotonic_ms());
	if (dataplane_grow(state->options.dataplane) && !state->sweep_waits)
		state_arm(state->sweep, SWEEP_STEP_US);
}

/* ---- sweep ---- */

static void run_sweep(void *arg)
{
	struct state *state = arg;
	uint64_t start = clock_monotonic_us();
	size_t left = dataplane_sweep(state->options.dataplane, SWEEP_STEP_ENTRIES, 0);

	state->sweep_waits = false;
	if (log_debugs())
		debug_sweep(state, start, !left);
	state_arm(state->sweep, left ? SWEEP_STEP_US : SWEEP_ROUND_US);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;

	if (!add_once(state, &state->sweep_waits, run_sweep))
		state_arm(state->sweep, SWEEP_ROUND_US);
}

int state_clock_start(struct state *state)
{
	struct event_base *base = state->options.base;

	state->commit = event_new(base, -1, 0, on_commit, state);
	state->tick = event_new(base, -1, EV_PERSIST, on_tick, state);
	state->paths = event_new(base, -1, EV_PERSIST, on_paths, state);
	state->sweep = event_new(base, -1, 0, on_sweep, state);
	if (!state->commit || !state->tick || !state->paths || !state->sweep)
		return -ENOMEM;
	state_arm(state->tick, TICK_US);
	state_arm(state->paths, PATHS_US);
	state_arm(state->sweep, SWEEP_ROUND_US);
	return 0;
}

void state_clock_stop(struct state *state)
{
	struct event **const events[] = {&state->commit, &state->tick, &state->paths,
					 &state->sweep};

	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (*events[i])
			event_free(*events[i]);
		*events[i] = NULL;
	}
}
