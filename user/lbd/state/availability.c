/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which services have a usable backend, and which share of the connects that are timed was
 * answered: added up each second, and kept on disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "internal.h"
#include "lbd/host/host.h"

#define SAVE_MS (10 * 60 * 1000)
#define LATE_MS 30000 /* a disk that takes longer is worth a line of the log */
#define STOP_MS 5000  /* so long a stop waits for the disk, for each write */
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

/* ---- the file ---- */

/* A write to disk, in a thread of its own: a disk that stalls keeps it waiting, and whoever waits
 * for it. */
struct saving {
	struct state *state; /* for the loop alone */
	char *path, *text;
	int rc;
};

static void saving_free(void *arg)
{
	struct saving *saving = arg;

	free(saving->path);
	free(saving->text);
	free(saving);
}

static void write_out(void *arg)
{
	struct saving *saving = arg;

	saving->rc = file_replace(saving->path, saving->text);
}

/* Once, until it is written again. */
static void note_failure(struct state *state, const char *why)
{
	if (!state->uptime_failed)
		log_warning("%s: %s: availabilities are not kept over a restart",
			    state->uptime_path, why);
	state->uptime_failed = true;
}

static void on_written(void *arg)
{
	const struct saving *saving = arg;
	struct state *state = saving->state;

	state->uptime_saving = NULL;
	if (saving->rc) {
		note_failure(state, strerror(-saving->rc));
		return;
	}
	if (state->uptime_failed)
		log_info("%s: written again", state->uptime_path);
	state->uptime_failed = false;
}

static void on_late(void *arg)
{
	const struct saving *saving = arg;

	note_failure(saving->state, "the disk does not answer");
}

/* NULL: out of memory. */
static struct saving *saving_new(struct state *state)
{
	struct saving *saving = calloc(1, sizeof(*saving));

	if (!saving)
		return NULL;
	saving->state = state;
	saving->path = strdup(state->uptime_path);
	saving->text = uptimes_text(state->uptimes, clock_wall_ms());
	if (saving->path && saving->text)
		return saving;
	saving_free(saving);
	return NULL;
}

static struct aside_options aside_of(const struct state *state, struct saving *saving)
{
	return (struct aside_options){.base = state->options.base,
				      .call = write_out,
				      .done = on_written,
				      .late = on_late,
				      .limit_ms = LATE_MS,
				      .extra = 1,
				      .free = saving_free,
				      .arg = saving};
}

static void save(struct state *state)
{
	struct saving *saving;
	struct aside_options options;

	if (!state->uptime_path)
		return;
	saving = saving_new(state);
	if (saving) {
		options = aside_of(state, saving);
		state->uptime_saving = aside_start(&options);
	}
	if (state->uptime_saving)
		return;
	if (saving)
		saving_free(saving);
	note_failure(state, "out of memory or descriptors");
}

/* lbd ends, and nothing waits for it any more; but a disk that stalls must not keep it. */
static void save_last(struct state *state)
{
	struct saving *saving;
	struct aside_options options;
	int rc = -ENOMEM;

	if (state->uptime_saving && !aside_finish(state->uptime_saving, STOP_MS)) {
		note_failure(state, "the disk does not answer");
		aside_drop(state->uptime_saving);
		state->uptime_saving = NULL;
		return;
	}
	saving = saving_new(state);
	if (saving) {
		options = aside_of(state, saving);
		options.limit_ms = STOP_MS;
		rc = aside_within(&options);
	}
	if (!rc)
		return;
	if (saving && rc != -ETIMEDOUT)
		saving_free(saving);
	note_failure(state, rc == -ETIMEDOUT ? "the disk does not answer" : strerror(-rc));
}

/* ---- what is added ---- */

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
	/* while the last has not returned there is no other: they would write to the same file */
	if (state->uptimes && !state->uptime_saving && now - state->uptime_saved_ms >= SAVE_MS) {
		tidy(state);
		save(state);
		state->uptime_saved_ms = now; /* also without a file */
	}
}

void availability_stop(struct state *state)
{
	if (state->uptime_path && state->uptimes)
		save_last(state);
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
