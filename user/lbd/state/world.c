/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Builds the services and backends that config and run-time changes describe, with the state they
 * had in the present world. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/text.h"

/* A service opens an interval, a timeout and this long after its start: time for the first probes
 * and next hops. */
#define OPENING_EXTRA_MS 1000

/* ---- making and freeing ---- */

void backend_drop_remarks(struct backend *backend)
{
	remark_drop(&backend->why);
	remark_drop(&backend->failed_why);
	remark_drop(&backend->health_why);
	remark_drop(&backend->hop_why);
	remark_drop(&backend->bound_why);
	remark_drop(&backend->agent.text);
	remark_drop(&backend->agent.fault);
}

static void backend_free(struct backend *backend)
{
	if (!backend)
		return;
	if (backend->former)
		backend->former->successor = NULL;
	if (backend->successor)
		backend->successor->former = NULL;
	health_remove(backend->check);
	health_remove(backend->agent_check);
	backend_drop_way(backend);
	if (backend->watch)
		neigh_unwatch(backend->watch);
	backend_drop_remarks(backend);
	free(backend->handle);
	config_tag_unref(backend->tag);
	free(backend);
}

/* A probe that ends in a pause looks at all backends of its service: those that are gone must not
 * be among them. */
static void service_free(struct service *service)
{
	while (service->backends_count) {
		backend_free(service->backends[--service->backends_count]);
		task_pause();
	}
	free(service->backends);
	free(service);
}

void world_free(struct world *world)
{
	for (unsigned i = 0; i < world->count; i++)
		service_free(world->services[i]);
	free(world->services);
	*world = (struct world){0};
}

static struct backend *backend_new(struct service *service, const struct addr *address)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	if (!backend)
		return NULL;
	backend->service = service;
	backend->address = *address;
	backend->condition = backend->reported = BACKEND_CHECKING;
	return backend;
}

static struct backend *service_append(struct service *service, const struct addr *address)
{
	unsigned count = service->backends_count;
	struct backend **list = realloc(service->backends, (count + 1) * sizeof(struct backend *)),
		       *backend;

	if (!list)
		return NULL;
	service->backends = list;
	backend = backend_new(service, address);
	if (!backend)
		return NULL;
	list[service->backends_count++] = backend;
	return backend;
}

static struct service *world_append(struct world *world, struct state *state,
				    struct config_service *config)
{
	struct service **list =
			   realloc(world->services, (world->count + 1) * sizeof(struct service *)),
		       *service;

	if (!list)
		return NULL;
	world->services = list;
	service = calloc(1, sizeof(*service));
	if (!service)
		return NULL;
	service->state = state;
	service->config = config;
	service->status = service->reported = SERVICE_DOWN;
	list[world->count++] = service;
	return service;
}

/* ---- state from before ---- */

/* Both searches begin at *at, behind what the last one found: the order is mostly the same, and
 * then ten thousand searches cost no more than one. */
static struct service *world_find(const struct world *world, const struct config_service *config,
				  unsigned *at)
{
	for (unsigned i = 0; i < world->count; i++) {
		unsigned index = (*at + i) % world->count;

		if (config_same_service(world->services[index]->config, config)) {
			*at = index + 1;
			return world->services[index];
		}
	}
	return NULL;
}

static struct backend *find_from(const struct service *service, const struct addr *address,
				 unsigned *at)
{
	for (unsigned i = 0; i < service->backends_count; i++) {
		unsigned index = (*at + i) % service->backends_count;

		if (addr_equal(&service->backends[index]->address, address)) {
			*at = index + 1;
			return service->backends[index];
		}
	}
	return NULL;
}

/* agent: of a new backend. */
static void backend_agent_continue(struct backend_agent *agent, const struct backend_agent *former)
{
	*agent = *former;
	agent->text = agent->fault = NULL;
	remark_share(&agent->text, former->text);
	remark_share(&agent->fault, former->fault);
}

/* Copies all but the values of config and run-time changes and the object's own handles. What is
 * found from now on is for both. */
static void backend_continue(struct backend *backend, struct backend *former)
{
	backend->former = former;
	former->successor = backend;
	backend->condition = former->condition;
	backend->reported = former->reported;
	backend->since_ms = former->since_ms;
	backend->latency_us = former->latency_us;
	backend->response_us = former->response_us;
	backend->latencies = former->latencies;
	backend->passed = former->passed;
	backend->failed = former->failed;
	backend->losses = former->losses;
	backend->failed_ms = former->failed_ms;
	remark_share(&backend->failed_why, former->failed_why);
	backend->sent = former->sent;
	backend->latency_at_ms = former->latency_at_ms;
	backend->has_hop = former->has_hop;
	backend->hop = former->hop;
	backend->hop_known = former->hop_known;
	backend->hop_found = former->hop_found;
	backend->health = former->health;
	if (backend->service->config->agent.type)
		backend_agent_continue(&backend->agent, &former->agent);
	backend->ramp_start_ms = former->ramp_start_ms;
	backend->eligible = former->eligible;
	backend->first_start = former->first_start;
	backend->missed = former->missed;
	backend->effective_weight = former->effective_weight;
	backend->passed_ms = former->passed_ms;
	backend->passed_began_ms = former->passed_began_ms;
	backend->failed_began_ms = former->failed_began_ms;
	backend->failing = former->failing;
	backend->latest = former->latest;
	backend->again = former->again;
	backend->cut_off = former->cut_off;
	backend->was_reachable = former->was_reachable;
	backend->lost_ms = former->lost_ms;
	backend->damping = former->damping;
	backend->passive = former->passive;
	backend->silence = former->silence;
	backend->frozen = former->frozen;
	backend->used_in_panic = former->used_in_panic;
	backend->before_loss = former->before_loss;
	remark_share(&backend->health_why, former->health_why);
	remark_share(&backend->hop_why, former->hop_why);
	remark_share(&backend->bound_why, former->bound_why);
	if (backend->drain && former->drain && former->drain_ms < backend->drain_ms)
		backend->drain_ms = former->drain_ms;
	if (backend->drain || backend->removed)
		backend->drained |= former->drained && !former->forced;
	if (backend->forced)
		backend->given_up = former->given_up;
	if (backend->hop_known) /* the next config may forward in another way */
		backend_reach(backend);
}

/* A backend that the adopted maps use counts as up until a probe or its neighbour shows
 * otherwise. */
static void backend_adopt(struct backend *backend, const struct dp_backend *adopted)
{
	backend->has_hop = backend->hop_known = backend->hop_found = true;
	backend->hop = adopted->hop;
	backend->health = HEALTH_UP;
	backend->eligible = true;
}

/* ---- building ---- */

/* A drain whose deadline has passed was forced, by this lbd or by an earlier one. */
static void backend_drain(struct backend *backend, const struct override *change)
{
	backend->drain = true;
	backend->drain_ms = change->drain_ms;
	backend->has_force = change->has_force;
	backend->force_ms = change->force_ms;
	backend->forced = backend->drained =
	    change->has_force && clock_monotonic_ms() >= change->force_ms;
}

/* When it began is known from the present world: backend_continue. */
static void backend_drain_by_file(struct backend *backend)
{
	backend->drain = true;
	backend->drain_ms = clock_monotonic_ms();
}

/* Run-time changes, by what each service needs of them; and where this node is. */
struct changes {
	const char *zone; /* NULL: not known */
	const struct overrides *all;
	struct overrides_added added;
	bool *in_file; /* of all: the file has the backend */
};

/* 0 or -ENOMEM. */
static int changes_make(const struct overrides *overrides, const char *zone, struct changes *ret)
{
	struct changes changes = {
	    .zone = zone, .all = overrides, .in_file = calloc(overrides->count + 1, sizeof(bool))};

	if (!changes.in_file || overrides_list_added(overrides, &changes.added)) {
		free(changes.in_file);
		return -ENOMEM;
	}
	*ret = changes;
	return 0;
}

static void changes_done(struct changes *changes)
{
	free(changes->in_file);
	free(changes->added.list);
}

/* What decides on its level. It has its tag, and with it its zone. zone: of this node. */
static void backend_rank(struct backend *backend, uint8_t priority, bool backup, const char *zone)
{
	backend->priority = priority;
	backend->backup = backup;
	backend->elsewhere = zone && !same_text(config_tag_zone(backend->tag), zone);
}

static int add_from_file(struct service *service, const struct changes *changes)
{
	const struct config_service *config = service->config;

	for (unsigned i = 0; i < config->backends_count; i++) {
		const struct config_backend *wanted = &config->backends[i];
		const struct override *change =
		    overrides_find(changes->all, config->name, &wanted->address);
		struct backend *backend;

		task_pause();
		if (change)
			changes->in_file[change - changes->all->list] = true;
		if (change && change->removed)
			continue;
		backend = service_append(service, &wanted->address);
		if (!backend)
			return -ENOMEM;
		backend->tag = config_tag_ref(wanted->tag);
		backend->port = config_real_port(config, wanted->port);
		backend_rank(backend, wanted->priority, wanted->backup, changes->zone);
		backend->target = wanted->target;
		backend->weight = change && change->has_weight ? change->weight : wanted->weight;
		backend->admin = change ? change->admin : ADMIN_AUTO;
		if (change && change->drain)
			backend_drain(backend, change);
		else if (wanted->drain && !(change && change->undrain))
			backend_drain_by_file(backend);
	}
	return 0;
}

static int add_from_overrides(struct service *service, const struct changes *changes)
{
	unsigned count;
	const struct override *const *list =
	    overrides_added_to(&changes->added, service->config->name, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct override *change = list[i];
		struct backend *backend;

		if (changes->in_file[change - changes->all->list])
			continue;
		backend = service_append(service, &change->address);
		if (!backend)
			return -ENOMEM;
		backend->tag = config_tag_ref(change->tag);
		backend_rank(backend, change->priority, change->backup, changes->zone);
		backend->target = change->target;
		backend->port = config_real_port(service->config, change->port);
		backend->weight = change->weight;
		backend->admin = change->admin;
		backend->origin =
		    override_comes_by_itself(change) ? change->origin : ORIGIN_runtime;
		backend->ttl_ms = change->ttl_ms;
		backend->until_ms = change->until_ms;
		if (change->drain)
			backend_drain(backend, change);
	}
	return 0;
}

static bool has_no_flows(const struct backend *backend, uint64_t now_ms)
{
	return backend->removed_now || backend->drained ||
	       ((!backend_agreed_up(backend) || !backend->has_hop) && !backend->used_in_panic &&
		!backend_may_return(backend, now_ms));
}

/* A service may have become one with `forward: nat` since. */
static uint16_t leaving_port(const struct service *service, const struct backend *before)
{
	if (service->config->forward != LB_FORWARD_NAT)
		return 0;
	return before->port ? before->port : config_real_port(service->config, 0);
}

/* Backends that are no longer wanted stay while flows depend on them. */
static int keep_leaving(struct service *service, const struct service *former, const char *zone)
{
	uint64_t now = clock_monotonic_ms();
	unsigned at = 0;

	for (unsigned i = 0; i < former->backends_count; i++) {
		struct backend *before = former->backends[i], *backend;

		task_pause();
		if (find_from(service, &before->address, &at) || has_no_flows(before, now))
			continue;
		backend = service_append(service, &before->address);
		if (!backend)
			return -ENOMEM;
		backend->tag = config_tag_ref(before->tag);
		backend->port = leaving_port(service, before);
		backend->weight = before->weight;
		backend->admin = before->admin;
		backend_rank(backend, before->priority, before->backup, zone);
		backend->target = before->target;
		backend->removed = true;
		backend->origin = before->origin;
		backend->drain_ms = before->drain || before->removed ? before->drain_ms : now;
		backend->has_force = before->has_force;
		backend->force_ms = before->force_ms;
	}
	return 0;
}

/* No pause after the first copy: what a probe says of one backend may concern the others. */
static int continue_former(struct service *service, const struct service *former, const char *zone)
{
	int rc = keep_leaving(service, former, zone);
	unsigned at = 0;

	service->status = former->status;
	service->reported = former->reported;
	service->sent = former->sent;
	/* one that had no backend waits for the results of its first ones, as at a start */
	if (former->backends_count) {
		service->opened = former->opened;
		service->open_logged = former->open_logged;
		service->opens_ms = former->opens_ms;
	}
	service->blind = former->blind;
	service->blind_ms = former->blind_ms;
	service->first_back_ms = former->first_back_ms;
	service->may_confirm = former->may_confirm;
	service->passed_began_ms = former->passed_began_ms;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];
		struct backend *before = find_from(former, &backend->address, &at);

		if (before)
			backend_continue(backend, before);
	}
	return rc;
}

static int continue_adopted(struct service *service)
{
	_cleanup_free_ struct dp_backend *adopted = NULL;
	struct dp_service key;
	unsigned count, at = 0;

	service_key(service, &key);
	count = dataplane_adopted_backends(service->state->options.dataplane, &key, &adopted);
	for (unsigned i = 0; i < count; i++) {
		struct backend *backend = find_from(service, &adopted[i].address, &at);

		task_pause();
		if (backend)
			backend->missed = !adopted[i].usable;
		if (!adopted[i].usable)
			continue;
		if (!backend) {
			backend = service_append(service, &adopted[i].address);
			if (!backend)
				return -ENOMEM;
			backend->removed = true;
			backend->port = ntohs(adopted[i].port);
			backend->drain_ms = clock_monotonic_ms();
		}
		backend_adopt(backend, &adopted[i]);
		service->opened = true;
	}
	return 0;
}

static int service_build(struct service *service, const struct changes *changes,
			 const struct service *former)
{
	struct state *state = service->state;
	bool adopted = state->first && dataplane_adopted(state->options.dataplane);
	int rc = add_from_file(service, changes);

	service->uptime = former ? former->uptime : availability_of(state, service->config);
	if (former) {
		service->answered_added = former->answered_added;
		service->unanswered_added = former->unanswered_added;
		service->rate = former->rate;
	}
	service->opens_ms = clock_monotonic_ms() + service->config->health.interval_ms +
			    service->config->health.timeout_ms + OPENING_EXTRA_MS;
	if (!rc)
		rc = add_from_overrides(service, changes);
	if (!rc && adopted)
		rc = continue_adopted(service);
	if (!rc && former)
		rc = continue_former(service, former, changes->zone);
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->first_start |= !backend->former && !former && !adopted;
		if (!service_is_checked(service->config))
			backend->health = HEALTH_UP;
	}
	return rc;
}

int world_build(struct state *state, struct config *config, const struct overrides *overrides,
		const struct world *present, struct world *ret)
{
	struct world world = {0};
	struct changes changes;
	unsigned at = 0;
	int rc = changes_make(overrides, zone_under(state, config), &changes);

	if (rc)
		return rc;
	for (unsigned i = 0; i < config->services_count && !rc; i++) {
		struct service *service = world_append(&world, state, &config->services[i]);

		rc = service ? service_build(service, &changes,
					     world_find(present, service->config, &at))
			     : -ENOMEM;
	}
	changes_done(&changes);
	if (rc)
		world_free(&world);
	else
		*ret = world;
	return rc;
}
