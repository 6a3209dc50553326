/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From what is known of a service's backends to who gets how much: conditions, slow start, backups, panic. Pure; called
 * by state_commit.c. */
#include "state_internal.h"

#include <stdio.h>
#include <string.h>

#define RAMP_FLOOR_PERCENT   5
#define LATENCY_HALF_LIFE_MS 5000
#define EQUAL_SHARE          100 /* of backends whose weights are ignored; a ramp still goes up to it */

const char *backend_condition_name(enum backend_condition condition)
{
	static const char *const names[] = {
	    [BACKEND_UP] = "up",           [BACKEND_STARTING] = "starting", [BACKEND_DRAINING] = "draining",
	    [BACKEND_DRAINED] = "drained", [BACKEND_CHECKING] = "checking", [BACKEND_NO_NEXT_HOP] = "no-next-hop",
	    [BACKEND_DOWN] = "down",
	};

	return names[condition];
}

const char *service_status_name(enum service_status status)
{
	static const char *const names[] = {
	    [SERVICE_UP] = "up",         [SERVICE_DEGRADED] = "degraded", [SERVICE_PANIC] = "panic",
	    [SERVICE_BACKUP] = "backup", [SERVICE_DOWN] = "down",
	};

	return names[status];
}

uint32_t latency_peak_ewma(uint32_t average_us, uint32_t sample_us, uint64_t elapsed_ms)
{
	uint64_t halvings = elapsed_ms / LATENCY_HALF_LIFE_MS;
	double part = (double)(elapsed_ms % LATENCY_HALF_LIFE_MS) / LATENCY_HALF_LIFE_MS, above;

	if (sample_us >= average_us || halvings > 31)
		return sample_us;
	/* What is left of the distance to the sample: 2^-(elapsed / half-life). Between whole halvings a parabola with
	 * the right slope at the start, or many samples within a half-life would add up to another. */
	above = (average_us - sample_us) >> halvings;
	return sample_us + (uint32_t)(above * (1 - part * (0.6931 - 0.1931 * part)));
}

static bool leaving(const struct backend *backend)
{
	return backend->drain || backend->removed;
}

/* Has everything answered that decides whether it may be used? */
static bool answered(const struct backend *backend)
{
	return backend->health == HEALTH_DOWN || (backend->health == HEALTH_UP && backend->hop_known);
}

static bool judged(const struct backend *backend)
{
	return backend->service->opened && answered(backend);
}

static bool reachable(const struct backend *backend)
{
	return backend->service->opened && backend->health == HEALTH_UP && backend->has_hop;
}

static bool service_opens(const struct service *service, uint64_t now_ms)
{
	if (service->opened || now_ms >= service->opens_ms)
		return true;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!leaving(service->backends[i]) && !answered(service->backends[i]))
			return false;
	return true;
}

static bool panics_to(const struct backend *backend)
{
	return backend->service->panic && !backend->backup && !leaving(backend) && judged(backend) && backend->has_hop;
}

bool backend_usable(const struct backend *backend)
{
	return reachable(backend) || panics_to(backend);
}

/* A backend that comes into rotation starts its ramp; at a first start all come at once, and none does. */
static void backend_follow(struct backend *backend, uint64_t now_ms)
{
	bool able = reachable(backend) && !leaving(backend) && backend->weight > 0;
	uint32_t slow_start_ms = backend->service->config->slow_start_ms;

	if (able && !backend->able) {
		backend->ramp_start_ms = backend->fresh ? 0 : now_ms;
		backend->fresh = false;
	}
	if (!able || !slow_start_ms || now_ms >= backend->ramp_start_ms + slow_start_ms)
		backend->ramp_start_ms = 0;
	backend->able = able;
}

static enum backend_condition backend_judge(const struct backend *backend)
{
	if (leaving(backend))
		return backend->drained || (judged(backend) && !reachable(backend)) ? BACKEND_DRAINED
										    : BACKEND_DRAINING;
	if (reachable(backend))
		return backend->ramp_start_ms ? BACKEND_STARTING : BACKEND_UP;
	if (!judged(backend))
		return BACKEND_CHECKING;
	return backend->hop_known && !backend->has_hop ? BACKEND_NO_NEXT_HOP : BACKEND_DOWN;
}

static void backend_set_condition(struct backend *backend, uint64_t wall_ms)
{
	enum backend_condition condition = backend_judge(backend);
	const char *why = "";

	if (!backend->since_ms || condition != backend->condition)
		backend->since_ms = wall_ms;
	backend->condition = condition;
	if (backend->hop_known && !backend->has_hop)
		why = backend->hop_why;
	else if (backend->health != HEALTH_UP)
		why = backend->health_why;
	if (strcmp(backend->why, why) != 0)
		snprintf(backend->why, sizeof(backend->why), "%s", why);
}

/* What its weight means to the algorithm. */
static uint32_t backend_share(const struct backend *backend)
{
	const struct algo *algorithm = backend->service->config->algorithm;

	return backend->weight && algorithm->ignores_weights ? EQUAL_SHARE : backend->weight;
}

static uint32_t backend_ramped(const struct backend *backend, uint64_t now_ms)
{
	uint64_t length = backend->service->config->slow_start_ms, elapsed, weight;

	if (!backend->ramp_start_ms)
		return backend_share(backend);
	elapsed = now_ms - backend->ramp_start_ms;
	weight = backend_share(backend) * (RAMP_FLOOR_PERCENT * length + (100 - RAMP_FLOOR_PERCENT) * elapsed) /
		 (100 * length);
	return weight ? (uint32_t)weight : 1;
}

static uint32_t backend_weigh(const struct backend *backend, uint64_t now_ms)
{
	if (leaving(backend))
		return 0;
	if (panics_to(backend))
		return backend_share(backend);
	if (!backend->able || backend->backup != backend->service->backups_active)
		return 0;
	return backend_ramped(backend, now_ms);
}

struct tally {
	unsigned primaries, primaries_able; /* of those asked to take flows and judged */
	unsigned backups_able;
	unsigned wanted; /* asked to take flows, judged or not */
};

static struct tally service_count(struct service *service)
{
	struct tally tally = {0};

	service->up = 0;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		service->up += backend->condition == BACKEND_UP || backend->condition == BACKEND_STARTING;
		if (leaving(backend) || !backend->weight)
			continue;
		tally.wanted++;
		if (backend->backup) {
			tally.backups_able += backend->able;
		} else if (judged(backend)) {
			tally.primaries++;
			tally.primaries_able += backend->able;
		}
	}
	return tally;
}

static enum service_status service_judge(struct service *service, const struct tally *tally)
{
	bool few = tally->primaries_able * 100ULL < (uint64_t)service->config->panic_threshold * tally->primaries;

	service->backups_active = !tally->primaries_able && tally->backups_able;
	service->panic = few && !service->backups_active;
	if (service->backups_active)
		return SERVICE_BACKUP;
	if (service->panic)
		return SERVICE_PANIC;
	if (!tally->primaries_able)
		return SERVICE_DOWN;
	return tally->primaries_able + tally->backups_able < tally->wanted ? SERVICE_DEGRADED : SERVICE_UP;
}

void service_weigh(struct service *service, uint64_t now_ms, uint64_t wall_ms)
{
	struct tally tally;

	service->opened = service_opens(service, now_ms);
	for (unsigned i = 0; i < service->backends_count; i++) {
		backend_follow(service->backends[i], now_ms);
		backend_set_condition(service->backends[i], wall_ms);
	}
	tally = service_count(service);
	service->status = service_judge(service, &tally);
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->effective_weight = backend_weigh(service->backends[i], now_ms);
}
