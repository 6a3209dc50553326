/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Start and end of the state, and read access to it. Changes are in change.c; world.c, weigh.c and
 * commit.c carry them out. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

/* Are the entry's service and backend still in the config? An added backend needs the service
 * only. */
static bool still_applies(const struct state *state, const struct override *entry)
{
	const struct config_service *service = config_find_service(state->config, entry->service);

	if (!service || entry->added)
		return service;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (addr_equal(&service->backends[i].address, &entry->address))
			return true;
	return false;
}

/* A file that cannot be read must not prevent the start: then only the config counts. */
static void read_overrides(struct state *state, struct overrides *ret)
{
	char address[ADDR_TEXT];
	struct error err;

	if (!state->overrides_path)
		return;
	if (overrides_load(state->overrides_path, ret, &err)) {
		log_error("%s; earlier run-time changes are lost", err.text);
		return;
	}
	for (unsigned i = ret->count; i-- > 0;) {
		struct override *entry = &ret->list[i];

		if (still_applies(state, entry))
			continue;
		log_warning(
		    "%s: service \"%s\", backend %s: no longer in the config: run-time change dropped",
		    state->overrides_path, entry->service, addr_format(&entry->address, address));
		overrides_drop(ret, entry);
	}
	if (ret->count)
		log_info("%s: %u run-time changes are still in force; a reload drops them",
			 state->overrides_path, ret->count);
}

static int state_start(struct state *state, struct error *err)
{
	struct overrides overrides = {0};
	int rc;

	if (!state->config_path || (state->options.overrides_path && !state->overrides_path) ||
	    state_clock_start(state))
		return error_set(err, -ENOMEM, "out of memory");
	read_overrides(state, &overrides);
	rc = state_switch(state, state->config, &overrides, err);
	overrides_done(&overrides);
	if (!rc)
		state_follow_links(state);
	return rc;
}

int state_new(const struct state_options *options, struct state **ret, struct error *err)
{
	struct state *state = calloc(1, sizeof(*state));
	int rc;

	if (!state) {
		config_free(options->config);
		return error_set(err, -ENOMEM, "out of memory");
	}
	state->options = *options;
	state->config = options->config;
	state->config_path = strdup(options->config_path);
	state->overrides_path = options->overrides_path ? strdup(options->overrides_path) : NULL;
	state->first = true;
	rc = state_start(state, err);
	if (rc)
		state_free(state);
	else
		*ret = state;
	return rc;
}

void state_free(struct state *state)
{
	if (!state)
		return;
	neigh_on_link(state->options.neigh, NULL, NULL);
	if (state->options.attach)
		attach_on_change(state->options.attach, NULL, NULL);
	state_clock_stop(state);
	world_free(&state->world);
	overrides_done(&state->overrides);
	config_free(state->config);
	free(state->config_path);
	free(state->overrides_path);
	free(state);
}

const struct config *state_config(const struct state *state)
{
	return state->config;
}

const char *state_config_path(const struct state *state)
{
	return state->config_path;
}

unsigned state_overrides_count(const struct state *state)
{
	return state->overrides.count;
}

struct service *const *state_services(const struct state *state, unsigned *ret_count)
{
	*ret_count = state->world.count;
	return state->world.services;
}

struct service *state_find_service(const struct state *state, const char *name)
{
	for (unsigned i = 0; i < state->world.count; i++)
		if (!strcmp(state->world.services[i]->config->name, name))
			return state->world.services[i];
	return NULL;
}

void state_summarize(const struct state *state, struct state_summary *ret)
{
	*ret = (struct state_summary){.services = state->world.count};
	for (unsigned i = 0; i < state->world.count; i++) {
		const struct service *service = state->world.services[i];

		ret->services_down += service->status == SERVICE_DOWN;
		ret->services_panic += service->status == SERVICE_PANIC;
		ret->services_blind += service->status == SERVICE_BLIND;
		ret->services_backup += service->status == SERVICE_BACKUP;
		ret->backends += service->backends_count;
		ret->backends_up += service->up;
	}
}

uint64_t state_flows_without_place(const struct state *state)
{
	return crowd_last_minute(&state->crowd, clock_monotonic_ms());
}
