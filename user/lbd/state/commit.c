/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Commits a world to the data plane, and switches from one world to the next. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "reals.h"

/* ---- to the data plane ---- */

/* Before the first results are in nobody knows that there is no backend: a client that is not
 * answered tries again, one that is refused does not. */
static uint8_t refusal_of(const struct service *service)
{
	uint8_t no_backend = service->config->no_backend;

	return !service->opened && no_backend == LB_REFUSE_REJECT ? LB_REFUSE_DROP : no_backend;
}

static struct dp_limit limit_of(const struct config_limit *config)
{
	return (struct dp_limit){
	    .service = {config->service.per_minute, config->service.burst},
	    .source = {config->source.per_minute, config->source.burst},
	    .source4 = config->source4,
	    .source6 = config->source6,
	};
}

static void service_describe(const struct service *service, struct dp_backend *backends,
			     struct dp_service *ret)
{
	const struct config_service *config = service->config;

	*ret = (struct dp_service){
	    .vip = config->vip,
	    .protocol = config->protocol,
	    .port = config->port,
	    .algorithm = config->algorithm,
	    .hash = config->hash,
	    .forward = config->forward,
	    .no_backend = refusal_of(service),
	    .mask4 = config->mask4,
	    .mask6 = config->mask6,
	    .track_always = config->tracking == CONFIG_TRACKING_ALWAYS ||
			    config->algorithm->select != LB_SELECT_SLOT,
	    .track_never = config->tracking == CONFIG_TRACKING_NEVER &&
			   config->algorithm->select == LB_SELECT_SLOT,
	    .affinity = config->affinity,
	    .no_fragments = config->no_fragments,
	    .limit = limit_of(&config->limit),
	    .tcp_idle_ms = config->tcp_idle_ms,
	    .udp_idle_ms = config->udp_idle_ms,
	    .affinity_ms = config->affinity_timeout_ms,
	    .filter = config->lists.filter,
	    .slots = config->slots,
	    .ring_grain = config_ring_grain(config),
	    .backends = backends,
	    .backends_count = service->backends_count,
	};
	for (unsigned i = 0; i < service->backends_count; i++)
		ret->ring_backends += !service->backends[i]->removed;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		backends[i] = (struct dp_backend){
		    .address = backend->address,
		    .port = htons(backend->port),
		    .weight = backend->effective_weight,
		    .usable = backend_usable(backend),
		    .hop = backend->hop,
		    .path_mtu = backend_mtu(backend),
		    .latency_us = backend_response_us(backend),
		    .waits = backend->bound_why,
		};
	}
}

static unsigned world_count_backends(const struct world *world)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++)
		count += world->services[i]->backends_count;
	return count;
}

/* backends: those of the world, in its order. */
static void note_sent(struct state *state, struct world *world, const struct dp_backend *backends)
{
	state->services_sent = world->count;
	state->backends_sent = world_count_backends(world);
	for (unsigned i = 0; i < world->count; i++) {
		world->services[i]->sent = true;
		for (unsigned j = 0; j < world->services[i]->backends_count; j++)
			world->services[i]->backends[j]->sent = *backends++;
	}
}

/* ---- backends whose reals are not free ---- */

/* The file has changed while no lbd ran, or before one was killed: nobody can be asked to undo
 * it. The backends that cannot be had yet are left out, and taken as soon as they are free. A
 * change while lbd runs is refused as a whole. */
static bool may_be_bound(const struct state *state, const struct backend *backend)
{
	return state->first || backend->bound_why;
}

static bool any_may_be_bound(const struct state *state, const struct world *world)
{
	for (unsigned i = 0; i < world->count; i++) {
		const struct service *service = world->services[i];

		/* one that waits does so no more when its service is no NAT now */
		for (unsigned j = 0; j < service->backends_count; j++)
			if (service->backends[j]->bound_why ||
			    (state->first && service->config->forward == LB_FORWARD_NAT))
				return true;
		task_pause();
	}
	return false;
}

/* Both lists have the order of the world. */
static void take_bound(const struct state *state, const struct world *world,
		       const struct dp_bound *bound, size_t count)
{
	size_t at = 0;

	for (unsigned i = 0; i < world->count; i++) {
		const struct service *service = world->services[i];

		for (unsigned j = 0; j < service->backends_count; j++) {
			struct backend *backend = service->backends[j];
			bool is = at < count && bound[at].service == i && bound[at].backend == j;

			if (may_be_bound(state, backend))
				remark_set(&backend->bound_why, is ? bound[at].why : "");
			at += is;
		}
		task_pause();
	}
}

/* Room for the description of the world: for use before it is weighed. 0 or -ENOMEM. */
static int note_bound(const struct state *state, const struct world *world,
		      struct dp_service *services, struct dp_backend *backends)
{
	_cleanup_free_ struct dp_bound *bound = NULL;
	size_t count;
	int rc;

	if (!any_may_be_bound(state, world))
		return 0;
	for (unsigned i = 0; i < world->count; i++) {
		service_describe(world->services[i], backends, &services[i]);
		backends += world->services[i]->backends_count;
		task_pause();
	}
	rc = dataplane_find_bound(state->options.dataplane, services, world->count, &bound, &count);
	if (!rc)
		take_bound(state, world, bound, count);
	return rc;
}

int world_commit(struct state *state, struct world *world, struct error *err)
{
	_cleanup_free_ struct dp_service *services = calloc(world->count + 1, sizeof(*services));
	_cleanup_free_ struct dp_backend *backends =
	    calloc(world_count_backends(world) + 1, sizeof(*backends));
	struct dp_backend *next = backends;
	uint64_t start, stores;
	int rc;

	if (!services || !backends || note_bound(state, world, services, backends))
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < world->count; i++) {
		service_weigh(world->services[i], clock_monotonic_ms(), clock_wall_ms());
		service_describe(world->services[i], next, &services[i]);
		next += world->services[i]->backends_count;
		task_pause();
	}
	start = clock_monotonic_us();
	stores = dataplane_stores();
	rc = dataplane_commit(state->options.dataplane, services, world->count, err);
	if (log_debugs())
		debug_commit(state, world, backends, dataplane_stores() - stores,
			     clock_monotonic_us() - start, rc ? err : NULL);
	task_pause();
	if (!rc)
		note_sent(state, world, backends);
	return rc;
}

/* ---- from one world to the next ---- */

/* Health checks do not leave from a VIP. */
static void avoid_vips(const struct state *state, const struct config *config)
{
	struct addr *vips;

	if (!state->options.health)
		return;
	vips = calloc(config->services_count + 1, sizeof(*vips));
	for (unsigned i = 0; vips && i < config->services_count; i++)
		vips[i] = config->services[i].vip;
	if (!vips || health_avoid(state->options.health, vips, config->services_count))
		log_warning("out of memory: health checks may leave with a VIP as source address");
	free(vips);
}

/* Not stricter than the tables: a VIP that is new may be an address of the host. */
static int commit_with_unserved(struct state *state, struct world *next,
				const struct config *config, struct error *err)
{
	struct dataplane *dp = state->options.dataplane;
	int rc;

	if (config->unserved != LB_REFUSE_REJECT)
		dataplane_set_unserved(dp, config->unserved);
	rc = world_commit(state, next, err);
	dataplane_set_unserved(dp, rc ? state->config->unserved : config->unserved);
	return rc;
}

/* The keys of the first one that only a start reads stay in force. */
static void retire_config(struct state *state, struct config *former)
{
	if (state->started) {
		config_free(former);
		return;
	}
	config_drop_services(former);
	state->started = former;
}

/* Until here nothing of it was seen, and from here on it is all there is: no pause in between. */
static void put_in_force(struct state *state, struct world *next, struct config *config,
			 struct overrides *overrides)
{
	struct world old = state->world;
	struct config *former = state->config;

	state->world = *next;
	state->config = config;
	state->generation++;
	if (overrides != &state->overrides) {
		overrides_done(&state->overrides);
		state->overrides = *overrides;
		*overrides = (struct overrides){0};
	}
	world_retire(&old);
	world_start(&state->world);
	report_world(state);
	if (former != config)
		retire_config(state, former);
}

int state_switch(struct state *state, struct config *config, struct overrides *overrides,
		 struct error *err)
{
	bool changed = overrides != &state->overrides;
	struct error again; /* it has worked before */
	struct world next;
	int rc = world_build(state, config, overrides, &state->world, &next);

	if (rc)
		return error_set(err, rc, "out of memory");
	rc = reals_check_world(&state->world, &next, err);
	if (!rc)
		rc = nat_prepare(state, config, err);
	if (!rc && changed)
		rc = kept_write(state, config, overrides, err);
	if (!rc) {
		rc = commit_with_unserved(state, &next, config, err);
		if (rc && changed)
			kept_restore(state);
	}
	if (rc) {
		nat_prepare(state, state->config, &again);
		world_free(&next);
		return rc;
	}
	if (state->config != config)
		avoid_vips(state, config);
	world_take_over(&next);
	put_in_force(state, &next, config, overrides);
	state_tell(state);
	return 0;
}

/* ---- the first world ---- */

int state_show_first(struct state *state, struct error *err)
{
	const struct world none = {0};
	uint64_t now = clock_monotonic_ms(), wall = clock_wall_ms();

	if (world_build(state, state->config, &state->overrides, &none, &state->world))
		return error_set(err, -ENOMEM, "out of memory");
	state->generation++;
	for (unsigned i = 0; i < state->world.count; i++)
		service_weigh(state->world.services[i], now, wall);
	return 0;
}

int state_commit_first(struct state *state, struct error *err)
{
	const struct world none = {0};
	struct world refused = state->world;
	int rc = reals_check_world(&none, &state->world, err);

	if (!rc)
		rc = nat_prepare(state, state->config, err);
	if (!rc)
		rc = commit_with_unserved(state, &state->world, state->config, err);
	if (rc) {
		state->world = (struct world){0};
		state->generation++;
		world_free(&refused);
		return rc;
	}
	state->first = false;
	avoid_vips(state, state->config);
	world_start(&state->world);
	report_world(state);
	state_tell(state);
	return 0;
}
