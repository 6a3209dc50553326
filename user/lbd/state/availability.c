/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which services have a usable backend, and which share of the connects that are timed was
 * answered: added up each second, and kept on disk. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "internal.h"
#include "lbd/host/host.h"

#define SAVE_MS (10 * 60 * 1000)
/* After a longer pause than this nobody knows what was. */
#define SPAN_MAX_MS 5000

static void load(struct state *state)
{
	struct error err, outcome;

	if (!uptimes_load(state->uptimes, state->uptime_path, &err))
		return;
	file_set_aside(state->uptime_path, &outcome);
	log_warning("%s: the availability of before is not known; %s", err.text, outcome.text);
}

int availability_start(struct state *state)
{
	state->uptimes = uptimes_new();
	if (!state->uptimes)
		return -ENOMEM;
	state->uptime_saved_ms = clock_monotonic_ms();
	if (state->uptime_path)
		load(state);
	return 0;
}

/* Records of services that are gone are kept for when they come back, but not all and not for
 * ever. As a part of a task: no other world is in the making. */
static void tidy(struct state *state)
{
	for (unsigned i = 0; i < state->world.count; i++)
		if (state->world.services[i]->uptime)
			uptime_use(state->world.services[i]->uptime);
	uptimes_tidy(state->uptimes, clock_wall_ms());
}

static void save(struct state *state)
{
	struct error err;
	int rc;

	if (!state->uptime_path || !state->uptimes)
		return;
	rc = uptimes_save(state->uptimes, state->uptime_path, clock_wall_ms(), &err);
	if (rc && !state->uptime_failed)
		log_warning("%s: availabilities are not kept over a restart", err.text);
	state->uptime_failed = rc;
	state->uptime_saved_ms = clock_monotonic_ms();
}

/* A service that is blind, or was never open, is neither up nor down: lbd does not know. */
static bool is_known(const struct service *service)
{
	return service->opened && !service->blind && service->uptime;
}

/* What has come since it was last added; a service that was made anew in the data plane begins with
 * 0. */
static uint64_t take_new(uint64_t now, uint64_t *added)
{
	uint64_t more = now >= *added ? now - *added : now;

	*added = now;
	return more;
}

static void add_connects(struct service *service, uint64_t wall)
{
	const struct dataplane *dp = service->state->options.dataplane;
	struct dp_connects connects;
	struct dp_service key;
	uint64_t answered, unanswered;

	service_key(service, &key);
	if (!dataplane_service_connects(dp, &key, &connects))
		return;
	answered = take_new(connects.answered, &service->answered_added);
	unanswered = take_new(connects.unanswered + connects.refused, &service->unanswered_added);
	if (service->uptime)
		uptime_add_connects(service->uptime, wall, answered, unanswered);
}

void availability_tick(struct state *state)
{
	uint64_t now = clock_monotonic_ms(), wall = clock_wall_ms(), since = state->uptime_ms;

	state->uptime_ms = now;
	for (unsigned i = 0; i < state->world.count; i++) {
		struct service *service = state->world.services[i];

		task_pause();
		add_connects(service, wall);
		if (since && now - since <= SPAN_MAX_MS && is_known(service))
			uptime_add(service->uptime, wall, (uint32_t)(now - since),
				   service->status != SERVICE_DOWN);
	}
	if (state->uptimes && now - state->uptime_saved_ms >= SAVE_MS) {
		tidy(state);
		save(state);
		state->uptime_saved_ms = now; /* also without a file */
	}
}

void availability_stop(struct state *state)
{
	save(state);
	uptimes_free(state->uptimes);
	state->uptimes = NULL;
}

struct uptime *availability_of(struct state *state, const struct config_service *config)
{
	char vip[ADDR_TEXT], key[UPTIME_KEY];

	if (!state->uptimes)
		return NULL;
	snprintf(key, sizeof(key), config->vip.family == 6 ? "[%s]:%u/%s" : "%s:%u/%s",
		 addr_format(&config->vip, vip), config->port,
		 config->protocol == CONFIG_TCP ? "tcp" : "udp");
	return uptimes_get(state->uptimes, key);
}
