/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What state does by the clock: the commit at the end of a turn of the loop, ramps and drains each
 * second, the sweep of the flow table in bounded steps. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"

#define TICK_US              1000000
#define SWEEP_ROUND_US       2000000
#define SWEEP_STEP_US        10000
#define SWEEP_STEP_ENTRIES   65536
#define LATENCY_STEP_PERCENT 5 /* a smaller change is not worth a commit */

/* ---- commit ---- */

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;
	uint64_t start = clock_monotonic_us();
	struct error err;
	int rc = world_commit(state, &state->world, &err);

	if (rc && !state->commit_failed)
		log_error("data plane not updated, trying again each second: %s", err.text);
	else if (!rc && state->commit_failed)
		log_info("data plane up to date again");
	state->commit_failed = rc;
	world_report(&state->world);
	state_rest(state, start);
}

/* ---- each second ---- */

/* Does the algorithm see another cost than the data plane was told? */
static bool latency_moved(const struct backend *backend)
{
	const struct algo *algorithm = backend->service->config->algorithm;
	uint64_t now = backend->latency_us, sent = backend->latency_sent_us;
	uint64_t apart = now > sent ? now - sent : sent - now;

	return algorithm->cost && apart * 100 > sent * LATENCY_STEP_PERCENT &&
	       algorithm->cost(1, (uint32_t)now) != algorithm->cost(1, (uint32_t)sent);
}

/* Asks the data plane whether the last flow of a draining backend is gone. */
static bool drain_ended(struct backend *backend)
{
	struct dp_backend_stats stats;
	struct dp_service key;

	if (backend->condition != BACKEND_DRAINING)
		return false;
	service_key(backend->service, &key);
	if (!dataplane_backend_stats(backend->service->state->options.dataplane, &key,
				     &backend->address, &stats))
		backend->drained = stats.drained;
	return backend->drained;
}

/* What still holds the drain at its deadline is given up: from now on the data plane must not use
 * the backend. */
static bool drain_forced(struct backend *backend, uint64_t now_ms)
{
	struct dp_backend_stats stats = {0};
	struct dp_service key;
	char label[SERVICE_LABEL], address[ADDR_TEXT];

	if (!backend->has_force || backend->drained || now_ms < backend->force_ms)
		return false;
	service_key(backend->service, &key);
	dataplane_backend_stats(backend->service->state->options.dataplane, &key, &backend->address,
				&stats);
	backend->given_up = stats.active > 0 ? (uint64_t)stats.active : 0;
	log_warning(
	    "%s: backend %s: drain forced at its deadline: %" PRIu64
	    " active flows and %u slots of older ones given up, their packets go to other backends",
	    service_label(backend->service, label), addr_format(&backend->address, address),
	    backend->given_up, stats.kept_slots);
	backend->forced = backend->drained = true;
	return true;
}

/* A dead backend has drained once it is certain that it is dead. */
static bool settles(const struct backend *backend)
{
	return backend->condition == BACKEND_DRAINING && backend->lost_ms;
}

struct tick {
	bool commit; /* the data plane is to be told something */
	bool forget; /* a removed backend is done */
};

static void backend_tick(struct backend *backend, struct tick *tick)
{
	bool ended = drain_ended(backend); /* asked whatever else is due */

	ended |= drain_forced(backend, clock_monotonic_ms());

	tick->commit |=
	    ended || settles(backend) || backend->ramp_start_ms || latency_moved(backend);
	tick->forget |=
	    backend->removed && (backend->drained || backend->condition == BACKEND_DRAINED);
}

static void watch_crowd(struct state *state)
{
	struct lb_reason_count counts[LB_COUNTERS];
	uint64_t now = clock_monotonic_ms();

	dataplane_reason_counts(state->options.dataplane, counts);
	if (crowd_sample(&state->crowd, counts[LB_EVENT_flow_table_full].packets,
			 counts[LB_EVENT_fallback_slot].packets, now))
		log_warning(
		    "flow table: no place for %" PRIu64
		    " new flows in the last minute: they go by slot, and a change of backends may "
		    "move them. Raise limits: flows (now %u; needs new maps), or shorten "
		    "idle-timeout; lbctl services says which service is limited",
		    crowd_last_minute(&state->crowd, now), state->config->limits.flows);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;
	struct tick tick = {.commit = state->commit_failed};
	struct error err;

	watch_crowd(state);
	for (unsigned i = 0; i < state->world.count; i++) {
		tick.commit |= !state->world.services[i]->opened || state->world.services[i]->blind;
		for (unsigned j = 0; j < state->world.services[i]->backends_count; j++)
			backend_tick(state->world.services[i]->backends[j], &tick);
	}
	if (tick.commit)
		state_touch(state);
	if (tick.forget && state_switch(state, state->config, &state->overrides, &err))
		log_error("drained backends not removed, trying again: %s", err.text);
}

/* ---- sweep ---- */

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct state *state = arg;
	size_t left = dataplane_sweep(state->options.dataplane, SWEEP_STEP_ENTRIES, 0);

	state_arm(state->sweep, left ? SWEEP_STEP_US : SWEEP_ROUND_US);
}

int state_clock_start(struct state *state)
{
	struct event_base *base = state->options.base;

	state->commit = event_new(base, -1, 0, on_commit, state);
	state->tick = event_new(base, -1, EV_PERSIST, on_tick, state);
	state->sweep = event_new(base, -1, 0, on_sweep, state);
	if (!state->commit || !state->tick || !state->sweep)
		return -ENOMEM;
	state_arm(state->tick, TICK_US);
	state_arm(state->sweep, SWEEP_ROUND_US);
	return 0;
}

void state_clock_stop(struct state *state)
{
	struct event **const events[] = {&state->commit, &state->tick, &state->sweep};

	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (*events[i])
			event_free(*events[i]);
		*events[i] = NULL;
	}
}
