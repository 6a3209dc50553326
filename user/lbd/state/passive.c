/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When connects of a backend fail, and how long it takes no new flow for that; and what the data
 * plane has seen of the backends of all services, each second. */
#include "passive.h"

#include "common/clock.h"
#include "internal.h"

/* ---- pure ---- */

bool passive_fails(const struct passive_sight *own, const struct passive_sight *others,
		   unsigned percent)
{
	if (own->connects < PASSIVE_CONNECTS || own->failed < PASSIVE_FAILED ||
	    own->failed * 100 < own->connects * percent)
		return false;
	/* less than half as often: cross-multiplied, as others may have none */
	return others->connects >= PASSIVE_CONNECTS &&
	       2 * others->failed * own->connects < own->failed * others->connects;
}

void passive_take_out(struct passive *passive, const struct passive_sight *own, uint64_t now_ms)
{
	uint64_t span_ms;

	if (passive->until_ms && now_ms >= passive->until_ms + PASSIVE_MOST_MS)
		passive->times = 0;
	span_ms = (uint64_t)PASSIVE_SPAN_MS << (passive->times < 8 ? passive->times : 8);
	passive->times++;
	passive->until_ms = now_ms + (span_ms < PASSIVE_MOST_MS ? span_ms : PASSIVE_MOST_MS);
	passive->failed = (unsigned)own->failed;
	passive->connects = (unsigned)own->connects;
}

bool passive_holds(const struct passive *passive, uint64_t now_ms)
{
	return now_ms < passive->until_ms;
}

/* ---- the backends ---- */

static struct passive_sight sight_of(const struct backend *backend, const struct dp_service *key)
{
	const struct dataplane *dp = backend->service->state->options.dataplane;
	struct dp_connects connects;

	if (!dataplane_connects(dp, key, &backend->address, &connects))
		return (struct passive_sight){0};
	return (struct passive_sight){.connects = connects.recent.sampled,
				      .failed = connects.recent.failed};
}

/* May one more of the backends be taken out? Of those of the levels in use, one stays, and half of
 * them (who can make connects to one backend fail can do so to all, one after the other), and those
 * that the panic threshold asks for. In a panic all are used, whatever is found. */
static bool may_lose_one(const struct service *service, uint64_t now_ms)
{
	unsigned takes = 0, out = 0, all = 0;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		if (!service->levels[backend_level(backend)].share || backend->backup ||
		    backend->drain || backend->removed || !backend_agreed_weight(backend))
			continue;
		all++;
		out += passive_holds(&backend->passive, now_ms);
		takes += backend->effective_weight > 0;
	}
	return !service->panic && takes > 1 && 2 * (out + 1) <= all &&
	       (takes - 1) * 100ULL >= (uint64_t)service->config->panic_threshold * all;
}

/* One that an operator has set up is used whatever is found. */
static bool may_be_taken_out(const struct backend *backend, uint64_t now_ms)
{
	const uint64_t until_ms = backend->passive.until_ms;

	return !backend->held && backend->effective_weight && backend->admin != ADMIN_UP &&
	       (!until_ms || now_ms >= until_ms + PASSIVE_REST_MS);
}

/* The worst of them, if it fails; one at a time, as the others get its flows. */
static struct backend *find_failing(const struct service *service, uint64_t now_ms,
				    struct passive_sight *ret)
{
	struct passive_sight sum = {0}, worst = {0};
	struct backend *found = NULL;
	struct dp_service key;

	service_key(service, &key);
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];
		struct passive_sight own = sight_of(backend, &key);

		sum.connects += own.connects;
		sum.failed += own.failed;
		if (!may_be_taken_out(backend, now_ms) || own.connects < PASSIVE_CONNECTS ||
		    (found && own.failed * worst.connects <= worst.failed * own.connects))
			continue;
		worst = own;
		found = backend;
	}
	sum.connects -= worst.connects;
	sum.failed -= worst.failed;
	*ret = worst;
	return found && passive_fails(&worst, &sum, service->config->health.passive) ? found : NULL;
}

bool service_look_for_failing(struct service *service, uint64_t now_ms)
{
	struct passive_sight sight;
	struct backend *backend;

	if (!service->config->health.passive || service->blind || !may_lose_one(service, now_ms))
		return false;
	backend = find_failing(service, now_ms, &sight);
	if (!backend)
		return false;
	passive_take_out(&backend->passive, &sight, now_ms);
	return true;
}
