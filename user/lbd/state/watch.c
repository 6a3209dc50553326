/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Results of health checks and next hops, and the handover of checks and neighbour watches from one
 * world to the next. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

/* ---- results ---- */

/* The text may hold bytes that a server sent; it is printed on terminals and in JSON. */
static void copy_plain(char into[256], const char *text)
{
	snprintf(into, 256, "%s", text);
	for (; *into; into++)
		if (*into < ' ' || *into > '~')
			*into = '?';
}

/* True: it was another one. */
static bool set_plain(struct remark **remark, const char *text)
{
	char plain[256];

	copy_plain(plain, text);
	return remark_set(remark, plain);
}

static void count_result(struct backend *backend, const struct health_result *result, uint64_t now)
{
	if (result->latency_us && result->outcome == HEALTH_PASSED)
		latencies_add(&backend->latencies, now, result->latency_us);
	backend->passed += result->outcome == HEALTH_PASSED;
	if (result->outcome == HEALTH_FAILED) {
		backend->failed++;
		backend->failed_ms = clock_wall_ms();
		set_plain(&backend->failed_why, result->why ? result->why : "");
	}
	backend->losses += backend->health == HEALTH_UP && result->status == HEALTH_DOWN;
}

/* True: status or reason are new. */
static bool take_result(struct backend *backend, const struct health_result *result, uint64_t now)
{
	bool changed;

	if (result->latency_us) {
		backend->latency_us = latency_peak_ewma(backend->latency_us, result->latency_us,
							now - backend->latency_at_ms);
		backend->latency_at_ms = now;
	}
	count_result(backend, result, now);
	if (result->outcome != HEALTH_NOT_RUN)
		backend_note_probe(backend, result->outcome == HEALTH_PASSED, result->began_ms,
				   result->ended_ms);
	changed = set_plain(&backend->health_why, result->why ? result->why : "");
	changed |= result->status != backend->health;
	backend->health = result->status;
	return changed;
}

/* The next world may be under way: its backends must know what is found until it is in force. */
void backend_on_health(void *arg, const struct health_result *result)
{
	struct backend *backend = *(struct backend **)arg;
	uint64_t now = clock_monotonic_ms();
	bool changed = take_result(backend, result, now);

	if (backend->successor)
		changed |= take_result(backend->successor, result, now);
	if (changed)
		state_touch(backend->service->state);
}

/* Without an answer, what it said last stays: whether the backend works, its check says. */
static bool take_answer(struct backend *backend, const struct health_result *result)
{
	char said[256];

	if (result->outcome != HEALTH_PASSED) {
		set_plain(&backend->agent.fault, result->why);
		return false;
	}
	remark_drop(&backend->agent.fault);
	copy_plain(said, result->said);
	return backend_take_advice(backend, said);
}

void backend_on_agent(void *arg, const struct health_result *result)
{
	struct backend *backend = *(struct backend **)arg;
	bool changed = take_answer(backend, result);

	if (backend->successor)
		changed |= take_answer(backend->successor, result);
	if (changed)
		state_touch(backend->service->state);
}

static void take_hop(struct backend *backend, const struct next_hop *hop, const char *why)
{
	backend->hop_known = true;
	backend->hop_found = hop;
	if (hop)
		backend->hop = *hop;
	set_plain(&backend->hop_why, hop || !why ? "" : why);
	backend_reach(backend);
}

void backend_on_next_hop(void *arg, const struct addr *address, const struct next_hop *hop,
			 const char *why)
{
	struct backend *backend = *(struct backend **)arg;

	if (hop)
		warn_of_narrow_link(backend, hop);
	take_hop(backend, hop, why);
	if (backend->successor)
		take_hop(backend->successor, hop, why);
	backend_set_way(backend);
	state_touch(backend->service->state);
}

/* ---- from one world to the next ---- */

/* That of a check which names none: where clients' packets arrive. real: with `forward: nat`. */
static uint16_t default_port(const struct config_service *config, uint16_t real)
{
	return config->forward == LB_FORWARD_NAT ? real : config->port;
}

bool service_same_check(const struct config_service *a, const struct config_service *b)
{
	struct health_spec x = a->health, y = b->health;

	if (!x.port)
		x.port = default_port(a, config_real_port(a, 0));
	if (!y.port)
		y.port = default_port(b, config_real_port(b, 0));
	return health_spec_same(&x, &y);
}

/* Is it checked at the same place, and in the same way? */
static bool same_check(const struct backend *a, const struct backend *b)
{
	return a->target.port == b->target.port && a->port == b->port &&
	       addr_equal(&a->target.address, &b->target.address) &&
	       service_same_check(a->service->config, b->service->config);
}

static bool same_agent(const struct backend *a, const struct backend *b)
{
	return a->target.agent_port == b->target.agent_port &&
	       addr_equal(&a->target.address, &b->target.address) &&
	       health_spec_same(&a->service->config->agent, &b->service->config->agent);
}

static void backend_take_over(struct backend *backend)
{
	struct backend *former = backend->former;

	backend->former = NULL;
	if (!former)
		return;
	backend->handle = former->handle;
	former->handle = NULL;
	if (backend->handle)
		*backend->handle = backend;
	backend->watch = former->watch;
	former->watch = NULL;
	backend->way = former->way;
	backend->has_way = former->has_way;
	former->has_way = false;
	/* one that is not taken over would report to the new backend */
	if (same_check(former, backend))
		backend->check = former->check;
	else
		health_remove(former->check);
	former->check = NULL;
	if (same_agent(former, backend))
		backend->agent_check = former->agent_check;
	else
		health_remove(former->agent_check);
	former->agent_check = NULL;
}

static const struct addr *checked_address(const struct backend *backend)
{
	return backend->target.address.family ? &backend->target.address : &backend->address;
}

/* A check that does not name its port goes to that of the backend, if it has one. */
static struct health_check *add_check(struct backend *backend)
{
	const struct config_service *config = backend->service->config;
	struct health_spec spec = config->health;

	if (backend->target.port)
		spec.port = backend->target.port;
	return health_add(backend->service->state->options.health, &spec, checked_address(backend),
			  default_port(config, backend->port), backend->health, backend_on_health,
			  backend->handle);
}

static bool wants_agent(const struct backend *backend)
{
	return backend->service->config->agent.type && !backend->removed;
}

static struct health_check *add_agent(struct backend *backend)
{
	struct health_spec spec = backend->service->config->agent;

	if (backend->target.agent_port)
		spec.port = backend->target.agent_port;
	return health_add(backend->service->state->options.health, &spec, checked_address(backend),
			  0, HEALTH_UNKNOWN, backend_on_agent, backend->handle);
}

/* A command that checks the backend is told about it; a reload may have changed it. */
static void name_check(const struct backend *backend)
{
	const struct config_service *config = backend->service->config;
	const char *name = config_tag_name(backend->tag);
	char vip[ADDR_TEXT], address[ADDR_TEXT], port[8] = "any";
	const struct health_names names = {
	    .service = config->name,
	    .vip = addr_format(&config->vip, vip),
	    .vip_port = port,
	    .protocol = config->protocol == CONFIG_TCP ? "tcp" : "udp",
	    .backend = name ? name : addr_format(&backend->address, address),
	};

	if (config->port)
		snprintf(port, sizeof(port), "%u", config->port);
	if (health_name(backend->check, &names))
		log_error("service %s: backend %s: out of memory: the command that checks it does "
			  "not get their names",
			  config->name, names.backend);
}

/* Out of memory: the backend stays unchecked, and without traffic if it had none. Logged, and
 * retried at the next change. */
static void backend_start(struct backend *backend)
{
	struct state *state = backend->service->state;
	const struct config_service *config = backend->service->config;
	char text[CONFIG_BACKEND_LABEL], label[SERVICE_LABEL];

	if (!backend->handle)
		backend->handle = malloc(sizeof(struct backend *));
	if (backend->handle) {
		*backend->handle = backend;
		if (!backend->watch)
			backend->watch = neigh_watch(state->options.neigh, &backend->address,
						     backend_on_next_hop, backend->handle);
		if (!backend->check && service_is_checked(config))
			backend->check = add_check(backend);
		if (backend->check && health_needs_names(backend->check))
			name_check(backend);
		if (!backend->agent_check && wants_agent(backend))
			backend->agent_check = add_agent(backend);
	}
	backend_set_way(backend);
	if (!backend->watch || (!backend->check && service_is_checked(config)) ||
	    (!backend->agent_check && wants_agent(backend)))
		log_error("%s: backend %s: out of memory: neither checked nor watched",
			  service_label(backend->service, label), backend_label(backend, text));
}

/* Logs backends that have drained and are not in the next world. */
static void report_gone(const struct service *service)
{
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		if (backend->removed && backend->handle && !backend->removed_now &&
		    report_names(service->state))
			report_backend(backend, EVENT_backend_gone, LOG_INFO, "",
				       " drained and removed");
	}
}

void world_take_over(const struct world *next)
{
	for (unsigned i = 0; i < next->count; i++)
		for (unsigned j = 0; j < next->services[i]->backends_count; j++) {
			backend_take_over(next->services[i]->backends[j]);
			task_pause();
		}
}

void world_retire(struct world *old)
{
	for (unsigned i = 0; i < old->count; i++)
		report_gone(old->services[i]);
	world_free(old);
}

void world_start(const struct world *world)
{
	for (unsigned i = 0; i < world->count; i++)
		for (unsigned j = 0; j < world->services[i]->backends_count; j++) {
			backend_start(world->services[i]->backends[j]);
			task_pause();
		}
}
