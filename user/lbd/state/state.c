/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Start and end of the state, and read access to it. Changes are in change.c; world.c, weigh.c and
 * commit.c carry them out. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

/* Run-time changes must not prevent the start: without them only the config counts. */
static int first_world(struct state *state, struct error *err)
{
	int rc = state_commit_first(state, err);

	while (rc && rc != -ENOMEM && (state->overrides.count || state->overrides.services_count)) {
		log_error("%s", err->text);
		if (!kept_shed(state))
			break;
		rc = state_show_first(state, err);
		if (!rc)
			rc = state_commit_first(state, err);
	}
	return rc;
}

int state_begin(struct state *state, struct error *err)
{
	struct error why;
	int rc = first_world(state, err);

	if (rc)
		return rc;
	kept_write(state, state->config, &state->overrides, &why);
	state_follow_links(state);
	return 0;
}

static int state_start(struct state *state, struct error *err)
{
	const struct state_options *options = &state->options;
	int rc;

	if (availability_start(state) || state_clock_start(state))
		return error_set(err, -ENOMEM, "out of memory");
	if ((rc = kept_read(state, err)) || (rc = kept_read_held(state, err)))
		return rc;
	state_read_paths(state, clock_monotonic_ms()); /* what an earlier lbd has left */
	rc = state_show_first(state, err);
	return rc || options->tasks ? rc : state_begin(state, err);
}

int state_new(const struct state_options *options, struct state **ret, struct error *err)
{
	struct state *state = calloc(1, sizeof(*state));
	bool failed = false;
	int rc;

	if (!state) {
		config_free(options->config);
		return error_set(err, -ENOMEM, "out of memory");
	}
	state->options = *options;
	state->config = options->config;
	state->config_path = copy_text(options->config_path, &failed);
	state->overrides_path = copy_text(options->overrides_path, &failed);
	state->overrides_former = copy_text(options->overrides_former, &failed);
	state->held_path = copy_text(options->held_path, &failed);
	state->uptime_path = copy_text(options->uptime_path, &failed);
	failed |= shared_new(options->remote, &state->shared) != 0;
	state->first = true;
	state->config_age.applied_ms = clock_wall_ms();
	rc = failed ? error_set(err, -ENOMEM, "out of memory") : state_start(state, err);
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
	nat_stop(state);
	if (state->options.attach)
		attach_on_change(state->options.attach, NULL, NULL);
	state_clock_stop(state);
	report_others(state);
	availability_stop(state);
	leases_stop(state);
	sourced_done(state);
	world_free(&state->world);
	overrides_done(&state->overrides);
	config_free(state->config);
	config_free(state->started);
	shared_free(state->shared);
	free(state->config_path);
	free(state->overrides_path);
	free(state->overrides_former);
	held_done(&state->held);
	free(state->held_path);
	free(state->uptime_path);
	free(state);
}

bool state_is_started(const struct state *state)
{
	return !state->first;
}

const struct config *state_config(const struct state *state)
{
	return state->config;
}

const char *zone_under(const struct state *state, const struct config *config)
{
	return state->options.zone ? state->options.zone : config->zone;
}

const char *state_zone(const struct state *state)
{
	return zone_under(state, state->config);
}

const char *state_config_path(const struct state *state)
{
	return state->config_path;
}

void state_config_age(const struct state *state, struct config_age *ret)
{
	*ret = state->config_age;
}

unsigned state_overrides_count(const struct state *state)
{
	unsigned count = state->overrides.services_count;

	for (unsigned i = 0; i < state->overrides.count; i++)
		count += !override_comes_by_itself(&state->overrides.list[i]) ||
			 state->overrides.list[i].drain;
	return count;
}

struct service *const *state_services(const struct state *state, unsigned *ret_count)
{
	*ret_count = state->world.count;
	return state->world.services;
}

uint64_t state_generation(const struct state *state)
{
	return state->generation;
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
		ret->backends_silent += nat_count_silent(service);
	}
}

uint64_t state_flows_without_place(const struct state *state)
{
	return crowd_last_minute(&state->crowd, clock_monotonic_ms());
}
