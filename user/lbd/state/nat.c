/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services with `forward: nat`: what they need of this host, and what the traffic shows. */
#include "nat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/plural.h"
#include "internal.h"

#define NAMED 3 /* services in a sentence */

/* ---- replies that do not come ---- */

bool silence_is_due(const struct silence *silence, uint64_t now_ms)
{
	return !silence->looked_ms || now_ms - silence->looked_ms >= SILENCE_LOOK_MS;
}

bool silence_look(struct silence *silence, uint64_t syns, uint64_t replies, uint64_t now_ms)
{
	bool before = silence->unanswered, first = !silence->looked_ms;
	uint64_t opened = syns - silence->syns, answers = replies - silence->replies;

	silence->looked_ms = now_ms;
	silence->syns = syns;
	silence->replies = replies;
	if (first)
		return false;
	if (answers)
		silence->unanswered = 0;
	else if (opened >= SILENCE_SYNS)
		silence->unanswered = opened;
	return before != !!silence->unanswered;
}

/* Only of TCP: there are services over UDP that nobody answers. */
static bool is_answered(const struct config_service *service)
{
	return service->forward == LB_FORWARD_NAT && service->protocol == CONFIG_TCP;
}

const char *backend_hint(const struct backend *backend, char text[BACKEND_HINT])
{
	*text = 0;
	if (backend->silence.unanswered && is_answered(backend->service->config))
		snprintf(text, BACKEND_HINT,
			 "%" PRIu64 " SYNs in, nothing back in 10 s: is its route to clients "
			 "through this machine, or another of its balancers?",
			 backend->silence.unanswered);
	return text;
}

unsigned nat_count_silent(const struct service *service)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count && is_answered(service->config); i++)
		count += service->backends[i]->silence.unanswered > 0;
	return count;
}

void nat_look(struct backend *backend, uint64_t now_ms)
{
	struct state *state = backend->service->state;
	struct dp_backend_stats stats;
	struct dp_service key;
	char hint[BACKEND_HINT];

	if (!is_answered(backend->service->config) || !silence_is_due(&backend->silence, now_ms))
		return;
	service_key(backend->service, &key);
	if (dataplane_backend_stats(state->options.dataplane, &key, &backend->address, &stats) ||
	    !silence_look(&backend->silence, stats.counts.flows, stats.returned.packets, now_ms) ||
	    !report_names(state))
		return;
	backend_hint(backend, hint);
	if (*hint)
		report_backend(backend, EVENT_backend_silent, LOG_WARNING, hint, ": %s", hint);
	else
		report_backend(backend, EVENT_backend_replies, LOG_INFO, "",
			       ": its replies come back");
}

/* ---- what the data plane needs to know ---- */

bool nat_is_asked_for(const struct config *config, uint8_t family)
{
	for (unsigned i = 0; i < config->services_count; i++)
		if (config->services[i].forward == LB_FORWARD_NAT &&
		    (!family || config->services[i].vip.family == family))
			return true;
	return false;
}

static int set_direct(const struct state *state, const struct config_nat *nat)
{
	struct dp_prefix prefixes[CONFIG_DIRECT_MAX];

	for (unsigned i = 0; i < nat->direct_count; i++)
		prefixes[i] = (struct dp_prefix){.address = nat->direct[i].addr,
						 .length = nat->direct[i].length};
	return dataplane_set_direct(state->options.dataplane, prefixes, nat->direct_count);
}

static void on_local(void *arg, const struct addr *addresses, size_t count)
{
	struct state *state = arg;
	int rc = dataplane_set_local(state->options.dataplane, addresses, count);

	state->local_error = rc;
	if (rc)
		log_error("forward: nat: %zu address%s of this host: %s: replies of backends to "
			  "some of them, such as those to health checks, are lost",
			  count, plural(count, "", "es"), strerror(-rc));
}

static void on_ways(void *arg, const struct neigh_way *ways, size_t count)
{
	struct state *state = arg;

	dataplane_set_hops(state->options.dataplane, ways, count);
}

/* For lbd's whole life: services with `forward: nat` may come and go. */
static int follow(struct state *state)
{
	int rc = neigh_on_local(state->options.neigh, on_local, state);

	if (!rc)
		rc = state->local_error;
	return rc ? rc : neigh_on_ways(state->options.neigh, LB_HOPS, on_ways, state);
}

int nat_prepare(struct state *state, const struct config *config, struct error *err)
{
	const struct dp_prefix prefix = {.address = config->nat.prefix.addr,
					 .length = config->nat.prefix.length};
	int rc = set_direct(state, &config->nat);

	dataplane_set_embed(state->options.dataplane, &prefix);
	if (rc)
		return error_set(err, rc, "nat: direct: %u prefix%s: %s", config->nat.direct_count,
				 plural(config->nat.direct_count, "", "es"), strerror(-rc));
	if (state->follows_nat || !nat_is_asked_for(config, 0))
		return 0;
	rc = follow(state);
	if (rc)
		return error_set(err, rc,
				 "forward: nat: this host's addresses and routes cannot be "
				 "followed: %s",
				 strerror(-rc));
	state->follows_nat = true;
	return 0;
}

void nat_stop(struct state *state)
{
	if (!state->follows_nat)
		return;
	neigh_on_local(state->options.neigh, NULL, NULL);
	neigh_on_ways(state->options.neigh, 0, NULL, NULL);
}

/* ---- what a reload ends ---- */

/* One line for a service, however many backends it has. */
static void warn_of_ports(const struct state *state, const struct config_service *was,
			  const struct config_service *service)
{
	const struct config_backend *first = NULL;
	char text[CONFIG_BACKEND_LABEL], more[32] = "";
	uint16_t from = 0, to = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *backend = &service->backends[i],
					    *before = config_find_backend(was, &backend->address);

		if (!before ||
		    config_real_port(was, before->port) ==
			config_real_port(service, backend->port) ||
		    count++)
			continue;
		first = backend;
		from = config_real_port(was, before->port);
		to = config_real_port(service, backend->port);
	}
	if (!count)
		return;
	if (count > 1)
		snprintf(more, sizeof(more), " and %u more", count - 1);
	state_warn(state,
		   "service %s: backend %s%s: port %u -> %u: connections end, as their packets go "
		   "to the new port",
		   service->name, config_backend_label(first->tag, &first->address, text), more,
		   from, to);
}

static bool has_translated(const struct config *config)
{
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		for (unsigned j = 0; j < service->backends_count; j++)
			if (service->forward == LB_FORWARD_NAT &&
			    service->backends[j].address.family != service->vip.family)
				return true;
	}
	return false;
}

static void warn_of_prefix(const struct state *state, const struct config *config)
{
	const struct config_prefix *was = &state->config->nat.prefix, *now = &config->nat.prefix;
	char from[ADDR_TEXT], to[ADDR_TEXT];

	if (!was->length || !now->length || config_prefix_equal(was, now) ||
	    !has_translated(config))
		return;
	state_warn(
	    state, "nat: prefix: %s/%u -> %s/%u: connections of IPv4 clients to IPv6 backends end",
	    addr_format(&was->addr, from), was->length, addr_format(&now->addr, to), now->length);
}

void nat_warn_of_change(const struct state *state, const struct config *config)
{
	warn_of_prefix(state, config);
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i],
					    *was =
						config_find_same(state->config, &service->vip,
								 service->protocol, service->port);
		bool is_nat = service->forward == LB_FORWARD_NAT;

		if (!was)
			continue;
		if ((was->forward == LB_FORWARD_NAT) != is_nat)
			state_warn(state,
				   "service %s: forward: %s nat: its connections end, as backends "
				   "get their packets at %s",
				   service->name, is_nat ? "becomes" : "is no longer",
				   is_nat ? "their own address" : "the VIP");
		else if (is_nat)
			warn_of_ports(state, was, service);
	}
}

/* ---- what leaves with an interface ---- */

/* master: a bond's ports are attached, and its own index is that of the next hop; 0: none. */
static bool comes_in_by(const struct service *service, uint32_t ifindex, uint32_t master)
{
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		if (!backend->hop_found || backend->hop.ifindex == ifindex ||
		    (master && backend->hop.ifindex == master))
			return true;
	}
	return false;
}

unsigned nat_services_behind(const struct state *state, const struct attachment *there,
			     char text[256])
{
	uint32_t master = nat_is_asked_for(state->config, 0) ? device_master(there->ifindex) : 0;
	unsigned count = 0;
	size_t length = 0;

	*text = 0;
	for (unsigned i = 0; i < state->world.count; i++) {
		const struct service *service = state->world.services[i];

		if (service->config->forward != LB_FORWARD_NAT ||
		    !comes_in_by(service, there->ifindex, master) || count++ >= NAMED)
			continue;
		length += (size_t)snprintf(text + length, 256 - length, "%s%.63s",
					   length ? ", " : "", service->config->name);
	}
	if (count > NAMED)
		snprintf(text + length, 256 - length, " and %u more", count - NAMED);
	return count;
}
