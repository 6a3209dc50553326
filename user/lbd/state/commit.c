/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Commits a world to the data plane, switches from one world to the next, logs what changed. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

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
	    .backends = backends,
	    .backends_count = service->backends_count,
	};
	for (unsigned i = 0; i < service->backends_count; i++)
		ret->ring_backends += !service->backends[i]->removed;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		backends[i] = (struct dp_backend){
		    .address = backend->address,
		    .weight = backend->effective_weight,
		    .usable = backend_usable(backend),
		    .hop = backend->hop,
		    .latency_us = backend->latency_us,
		};
		backends[i].hop.mtu = backend_mtu(backend);
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

int world_commit(struct state *state, struct world *world, struct error *err)
{
	_cleanup_free_ struct dp_service *services = calloc(world->count + 1, sizeof(*services));
	_cleanup_free_ struct dp_backend *backends =
	    calloc(world_count_backends(world) + 1, sizeof(*backends));
	uint64_t now = clock_monotonic_ms(), wall = clock_wall_ms(), start, stores;
	struct dp_backend *next = backends;
	int rc;

	if (!services || !backends)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < world->count; i++) {
		service_weigh(world->services[i], now, wall);
		service_describe(world->services[i], next, &services[i]);
		next += world->services[i]->backends_count;
	}
	start = clock_monotonic_us();
	stores = dataplane_stores();
	rc = dataplane_commit(state->options.dataplane, services, world->count, err);
	if (log_debugs())
		debug_commit(state, world, backends, dataplane_stores() - stores,
			     clock_monotonic_us() - start, rc ? err : NULL);
	if (!rc)
		note_sent(state, world, backends);
	return rc;
}

/* ---- to the log ---- */

static void backend_report(struct backend *backend)
{
	char label[SERVICE_LABEL], address[ADDR_TEXT];
	enum backend_condition before = backend->reported;

	if (backend->condition == before)
		return;
	backend->reported = backend->condition;
	if (log_debugs())
		debug_condition(backend, before);
	service_label(backend->service, label);
	addr_format(&backend->address, address);
	switch (backend->condition) {
	case BACKEND_UP:
		log_info("%s: backend %s %s", label, address,
			 before == BACKEND_STARTING ? "up, slow start ended" : "up");
		break;
	case BACKEND_STARTING:
		log_info("%s: backend %s starting: slow start over %u s", label, address,
			 backend->service->config->slow_start_ms / 1000);
		break;
	case BACKEND_DRAINING:
		log_info("%s: backend %s draining%s", label, address,
			 backend->removed ? ", then removed" : "");
		break;
	case BACKEND_DRAINED:
		log_info("%s: backend %s drained: no flow depends on it any more", label, address);
		break;
	case BACKEND_CHECKING:
		log_info("%s: backend %s checking: waits for its first check", label, address);
		break;
	case BACKEND_NO_NEXT_HOP:
	case BACKEND_DOWN:
		log_warning("%s: backend %s %s: %s", label, address,
			    backend_condition_name(backend->condition), backend->why);
		break;
	}
}

static unsigned count_frozen(const struct service *service)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++)
		count += service->backends[i]->frozen;
	return count;
}

static const char *const refusal_done[] = {
    [LB_REFUSE_REJECT] = "rejected",
    [LB_REFUSE_DROP] = "dropped",
    [LB_REFUSE_PASS] = "passed to the kernel",
};

static void service_report(struct service *service)
{
	const struct health_spec *health = &service->config->health;
	char label[SERVICE_LABEL];
	bool recovered;

	if (log_debugs() && (service->status != service->reported || !service->open_logged))
		debug_status(service, service->reported);
	service->open_logged = service->opened;
	if (service->status == service->reported)
		return;
	service_label(service, label);
	recovered = service->reported != SERVICE_UP && service->reported != SERVICE_DEGRADED;
	service->reported = service->status;
	switch (service->status) {
	case SERVICE_UP:
	case SERVICE_DEGRADED:
		if (recovered)
			log_info("%s: %u of %u backends up", label, service->up,
				 service->backends_count);
		break;
	case SERVICE_PANIC:
		log_warning("%s: panic: fewer than %u %% of the backends are up: all are used",
			    label, service->config->panic_threshold);
		break;
	case SERVICE_BACKUP:
		log_warning("%s: only backups are up: they take the traffic", label);
		break;
	case SERVICE_BLIND:
		log_warning(
		    "%s: blind: none of %u backends has answered within %.3g s; the ring is "
		    "frozen until all have new check results",
		    label, count_frozen(service), (health->interval_ms + health->timeout_ms) / 1e3);
		break;
	case SERVICE_DOWN:
		log_warning("%s: down: %s: packets to it are %s", label, service_why(service),
			    refusal_done[service->config->no_backend]);
		break;
	}
}

void world_report(const struct world *world)
{
	for (unsigned i = 0; i < world->count; i++) {
		for (unsigned j = 0; j < world->services[i]->backends_count; j++)
			backend_report(world->services[i]->backends[j]);
		service_report(world->services[i]);
	}
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

/* The keys of the first one that only a start reads stay in force. */
static void retire_config(struct state *state)
{
	if (state->started) {
		config_free(state->config);
		return;
	}
	config_drop_services(state->config);
	state->started = state->config;
}

int state_switch(struct state *state, struct config *config, struct overrides *overrides,
		 struct error *err)
{
	bool changed = overrides != &state->overrides;
	struct world next;
	int rc = world_build(state, config, overrides, &state->world, &next);

	if (rc)
		return error_set(err, rc, "out of memory");
	if (changed)
		rc = kept_write(state, overrides, err);
	if (!rc) {
		/* Not stricter than the tables: a VIP that is new may be an address of the host. */
		if (config->unserved != LB_REFUSE_REJECT)
			dataplane_set_unserved(state->options.dataplane, config->unserved);
		rc = world_commit(state, &next, err);
		if (rc && changed)
			kept_restore(state);
		dataplane_set_unserved(state->options.dataplane,
				       rc ? state->config->unserved : config->unserved);
	}
	if (rc) {
		world_free(&next);
		return rc;
	}
	if (state->config != config || state->first)
		avoid_vips(state, config);
	world_hand_over(state, &state->world, &next);
	state->generation++;
	world_report(&state->world);
	if (state->config != config)
		retire_config(state);
	state->config = config;
	if (changed) {
		overrides_done(&state->overrides);
		state->overrides = *overrides;
		*overrides = (struct overrides){0};
	}
	state->first = false;
	return 0;
}
