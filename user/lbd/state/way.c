/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks that go to the VIP: gives each the way to its backend, as the data plane sends a
 * client's packets. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

static struct detours *detours_of(const struct state *state)
{
	return attach_detours(state->options.attach);
}

static int prepare(void *arg, const struct addr *to, char *why, size_t size)
{
	char reason[DETOUR_WHY] = "";
	int rc = detour_prepare(detours_of(arg), to, reason);

	if (rc)
		snprintf(why, size, "%s", reason);
	return rc;
}

static uint64_t sent(void *arg, uint32_t mark)
{
	return detour_packets(detours_of(arg), mark & ~LB_DETOUR_MASK);
}

static void missed(void *arg)
{
	detour_missed(detours_of(arg));
}

/* By way of the backend that is in force. */
static uint16_t longest(void *owner)
{
	return backend_longest(*(struct backend **)owner);
}

/* In place of the functions above, when there is no way. */
static int refuse(void *arg, const struct addr *to, char *why, size_t size)
{
	const struct state *state = arg;

	snprintf(why, size,
		 "check not sent: the program that sends it through the tunnel is refused: %s",
		 strerror(-state->way_error));
	return state->way_error;
}

void backend_describe_way(const struct backend *backend, struct detour_spec *ret)
{
	const struct dataplane *dp = backend->service->state->options.dataplane;
	const struct config_service *service = backend->service->config;

	*ret = (struct detour_spec){.hop = backend->hop,
				    .forward = service->forward,
				    .vip = service->vip,
				    .backend = backend->address,
				    .source = dataplane_outer_source(dp, backend->address.family),
				    .gue_port = dataplane_gue_port(dp)};
}

/* The reason stays when another backend gets a way afterwards: that helps this one nothing. */
static void add_way(struct backend *backend)
{
	struct state *state = backend->service->state;
	int rc = detour_add(detours_of(state), &backend->way);

	backend->has_way = !rc;
	if (rc)
		state->way_error = rc;
}

/* The port at which a check is as a client's connection to the VIP. 0: none is, as a client's
 * packet goes to another port or address, or its kind is another. */
static uint16_t port_of_clients(const struct backend *backend)
{
	const struct config_service *service = backend->service->config;

	return service->protocol == CONFIG_TCP && service->forward != LB_FORWARD_NAT &&
		       !backend->target.address.family
		   ? service->port
		   : 0;
}

static bool needs_way(const struct backend *backend)
{
	const struct state *state = backend->service->state;

	return backend->check && backend->hop_found && state->options.attach && detours_of(state) &&
	       health_wants_way(backend->check, port_of_clients(backend));
}

/* What a backend has to have, besides its server, to answer at the VIP. */
static const char *needed_at_vip(const struct config_service *service)
{
	return service->forward == LB_FORWARD_L2
		   ? "is the VIP on its lo?"
		   : "is its decapsulator there (lbd-backend status), and the VIP on its lo?";
}

void backend_aim(const struct backend *backend, struct health_aim *ret)
{
	if (!backend->check)
		return;
	health_aim(backend->check, ret);
	if (ret->vip || ret->why[0] || backend->service->config->health.to != HEALTH_TO_AUTO)
		return;
	if (backend->target.address.family)
		snprintf(ret->why, sizeof(ret->why), "it has an address of its own for checks");
	else if (!port_of_clients(backend))
		snprintf(ret->why, sizeof(ret->why), "the service is of UDP, or of any port");
	else if (!health_wants_way(backend->check, port_of_clients(backend)))
		snprintf(ret->why, sizeof(ret->why), "its port is not that of the service, %u",
			 port_of_clients(backend));
	else if (!backend->hop_found)
		snprintf(ret->why, sizeof(ret->why), "its next hop is not known");
}

bool backend_long_packets(const struct backend *backend, struct health_mtu *ret)
{
	return health_mtu(backend->check, ret);
}

void backend_set_way(struct backend *backend)
{
	struct state *state = backend->service->state;
	const struct config_service *service = backend->service->config;
	struct health_way way = {.to = service->vip,
				 .port = port_of_clients(backend),
				 .lacks = needed_at_vip(service),
				 .arg = state,
				 .prepare = prepare,
				 .sent = sent,
				 .missed = missed,
				 .longest = longest,
				 .owner = backend->handle};
	struct detour_spec spec;

	if (!needs_way(backend))
		return;
	if (!backend->has_way)
		add_way(backend);
	if (backend->has_way) {
		backend_describe_way(backend, &spec);
		detour_set(detours_of(state), backend->way, &spec);
	} else {
		way.prepare = refuse;
	}
	way.mark = detour_mark(backend->way);
	health_set_way(backend->check, &way);
}

/* What was lacking, descriptors or memory, may be there now. One failure is enough a round: what
 * the next ones need is the same. */
void state_retry_ways(struct state *state)
{
	char text[CONFIG_BACKEND_LABEL], label[SERVICE_LABEL];

	for (unsigned i = 0; i < state->world.count; i++) {
		const struct service *service = state->world.services[i];

		for (unsigned j = 0; j < service->backends_count; j++) {
			struct backend *backend = service->backends[j];

			if (!needs_way(backend) || backend->has_way)
				continue;
			backend_set_way(backend);
			if (!backend->has_way)
				return;
			log_info("%s: backend %s: its checks have a way to the VIP now",
				 service_label(service, label), backend_label(backend, text));
		}
	}
}

void backend_drop_way(struct backend *backend)
{
	if (backend->has_way)
		detour_remove(detours_of(backend->service->state), backend->way);
	backend->has_way = false;
}
