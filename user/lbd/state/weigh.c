/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From what is known of a service's backends to who gets how much: conditions, slow start, backups,
 * panic, and what a host does that sees none of them any more. Pure. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define RAMP_FLOOR_PERCENT   5
#define LATENCY_HALF_LIFE_MS 5000
#define LOSS_MARGIN_MS       100  /* for timers that are late */
#define SIGHT_MARGIN_MS      1000 /* for next hops to answer after the link is back */
#define NEIGHBOUR_LOSS_MS    3000 /* the kernel asks a neighbour three times, once a second */
#define EQUAL_SHARE          100 /* of backends whose weights are ignored; a ramp still goes up to it */

const char *backend_condition_name(enum backend_condition condition)
{
	static const char *const names[] = {
	    [BACKEND_UP] = "up",
	    [BACKEND_STARTING] = "starting",
	    [BACKEND_DRAINING] = "draining",
	    [BACKEND_DRAINED] = "drained",
	    [BACKEND_CHECKING] = "checking",
	    [BACKEND_NO_NEXT_HOP] = "no-next-hop",
	    [BACKEND_DOWN] = "down",
	};

	return names[condition];
}

const char *service_status_name(enum service_status status)
{
	static const char *const names[] = {
	    [SERVICE_UP] = "up",         [SERVICE_DEGRADED] = "degraded", [SERVICE_PANIC] = "panic",
	    [SERVICE_BACKUP] = "backup", [SERVICE_BLIND] = "blind",       [SERVICE_DOWN] = "down",
	};

	return names[status];
}

uint32_t latency_peak_ewma(uint32_t average_us, uint32_t sample_us, uint64_t elapsed_ms)
{
	uint64_t halvings = elapsed_ms / LATENCY_HALF_LIFE_MS;
	double part = (double)(elapsed_ms % LATENCY_HALF_LIFE_MS) / LATENCY_HALF_LIFE_MS, above;

	if (sample_us >= average_us || halvings > 31)
		return sample_us;
	/* What is left of the distance to the sample: 2^-(elapsed / half-life). Between whole
	 * halvings a parabola with the right slope at the start, or many samples within a half-life
	 * would add up to another. */
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
	return backend->health == HEALTH_DOWN ||
	       (backend->health == HEALTH_UP && backend->hop_known);
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
	return backend->service->panic && !backend->backup && !leaving(backend) &&
	       judged(backend) && backend->has_hop;
}

bool backend_usable(const struct backend *backend)
{
	if (backend->forced)
		return false;
	if (backend->service->blind)
		return backend->frozen;
	return reachable(backend) || panics_to(backend);
}

/* ---- a blind host ---- */

uint32_t service_loss_window_ms(const struct service *service)
{
	const struct health_spec *health = &service->config->health;

	return health->interval_ms + health->timeout_ms + LOSS_MARGIN_MS;
}

static bool lost_lately(const struct backend *backend, uint64_t now_ms)
{
	return backend->lost_ms &&
	       now_ms - backend->lost_ms <= service_loss_window_ms(backend->service);
}

bool backend_may_return(const struct backend *backend, uint64_t now_ms)
{
	return backend->frozen || lost_lately(backend, now_ms);
}

/* What the data plane was told last, unless a loss may have shaped it that turns out to be the
 * first of many. */
static void service_remember(struct service *service, uint64_t now_ms)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (backend_may_return(service->backends[i], now_ms))
			return;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->calm.weight = backend->effective_weight;
		backend->calm.able = backend->able;
		backend->calm.ramp_start_ms = backend->ramp_start_ms;
	}
}

/* Probes that began after `failing` had begun to fail, and passed, show that this host was not cut
 * off all the while. */
static void backend_hear_witness(struct backend *failing, const struct backend *other)
{
	if (other == failing || !failing->failing_ms || failing->witness_ms)
		return;
	if (other->passed_ms && other->passed_began_ms >= failing->failing_ms)
		failing->witness_ms = other->passed_ms;
}

void backend_note_probe(struct backend *backend, bool passed, uint64_t began_ms, uint64_t now_ms)
{
	const struct service *service = backend->service;

	if (passed) {
		backend->passed_ms = now_ms;
		backend->passed_began_ms = began_ms;
		backend->failing_ms = backend->witness_ms = 0;
		for (unsigned i = 0; i < service->backends_count; i++)
			backend_hear_witness(service->backends[i], backend);
		return;
	}
	backend->failed_began_ms = began_ms;
	if (backend->failing_ms)
		return;
	backend->failing_ms = began_ms;
	for (unsigned i = 0; i < service->backends_count; i++)
		backend_hear_witness(backend, service->backends[i]);
}

/* Every other backend is probed between the first probe of a loss and the last. One that passed by
 * then is a witness; one that passed later may owe it to a link that has come back. With fall 1
 * there is only the probe itself, and the interval before it must do. */
static bool loss_has_witness(const struct backend *lost)
{
	const struct service *service = lost->service;
	const struct health_spec *health = &service->config->health;

	if (health->fall > 1)
		return lost->witness_ms && lost->witness_ms <= lost->failed_began_ms;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *other = service->backends[i];

		if (other != lost && other->passed_ms &&
		    other->passed_ms + health->interval_ms >= lost->failing_ms)
			return true;
	}
	return false;
}

/* Its next hop is gone though its checks have not failed yet: has a check of another one passed
 * while its neighbour was silent? Without checks nobody can be a witness. */
static bool hop_loss_has_witness(const struct backend *lost, uint64_t now_ms)
{
	const struct service *service = lost->service;
	uint64_t reach_ms = service_loss_window_ms(service);
	bool probed = false;

	if (reach_ms < NEIGHBOUR_LOSS_MS)
		reach_ms = NEIGHBOUR_LOSS_MS;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *other = service->backends[i];

		if (other == lost)
			continue;
		if (other->passed_ms && other->passed_ms + reach_ms >= now_ms)
			return true;
		probed |= other->passed_ms != 0;
	}
	return !probed;
}

struct sight {
	unsigned seen, lost; /* backends: can be reached; could be so lately */
	bool doubtful;       /* one was lost just now, without a witness */
};

/* A drained one may be stopped at any time: its loss says nothing. */
static void service_look(struct service *service, uint64_t now_ms, struct sight *ret)
{
	*ret = (struct sight){0};
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];
		bool sees = reachable(backend), loses = backend->seen && !sees && !backend->drained;

		if (sees || backend->drained)
			backend->lost_ms = 0;
		else if (loses)
			backend->lost_ms = now_ms;
		if (loses && backend->health == HEALTH_DOWN && backend->failing_ms)
			ret->doubtful |= !loss_has_witness(backend);
		else if (loses && backend->health == HEALTH_UP)
			ret->doubtful |= !hop_loss_has_witness(backend, now_ms);
		backend->seen = sees;
		ret->seen += sees;
		ret->lost += lost_lately(backend, now_ms);
	}
}

/* All that could be reached, two or more, are lost; or one is, and the others were silent all the
 * while. */
static bool is_blinded(const struct sight *sight)
{
	return sight->seen + sight->lost >= 2 && (!sight->seen || sight->doubtful);
}

static void service_freeze(struct service *service, uint64_t now_ms)
{
	service->blind = true;
	service->blind_ms = now_ms;
	service->sight_ms = 0;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->frozen = reachable(backend) || lost_lately(backend, now_ms);
		if (!backend->frozen)
			continue;
		backend->able = backend->calm.able;
		backend->ramp_start_ms = backend->calm.ramp_start_ms;
	}
}

/* Can be reached, as a check has shown since then, unless none has ended yet or there are none. */
static bool shows_since(const struct backend *backend, uint64_t since_ms)
{
	bool probed = backend->passed_ms || backend->failed_began_ms;

	return reachable(backend) && (!probed || backend->passed_ms >= since_ms);
}

/* Judged since the first one was back: reached, or failed by a probe that began after that. */
static bool judged_anew(const struct backend *backend)
{
	const struct service *service = backend->service;

	if (shows_since(backend, service->sight_ms) || backend->drained)
		return true;
	return backend->health == HEALTH_DOWN && backend->failed_began_ms > service->sight_ms;
}

/* When the first one was back; 0: none is. */
static uint64_t sight_since(const struct service *service, uint64_t now_ms)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (shows_since(service->backends[i], service->blind_ms))
			return service->sight_ms ? service->sight_ms : now_ms;
	return 0;
}

/* Not for the first that answers, which would get everything: for all, or for as long as a backend
 * takes to rise. */
static bool service_sees(const struct service *service, uint64_t now_ms)
{
	const struct health_spec *health = &service->config->health;
	uint64_t longest =
	    (uint64_t)health->rise * health->interval_ms + health->timeout_ms + SIGHT_MARGIN_MS;

	if (!service->sight_ms)
		return false;
	if (now_ms >= service->sight_ms + longest)
		return true;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!judged_anew(service->backends[i]))
			return false;
	return true;
}

/* When this host cannot tell its own failure from that of all backends, the ring stays as it was
 * before the first was lost, until all are judged again. A lone backend is always believed: nobody
 * could take its place. */
static void service_watch(struct service *service, uint64_t now_ms)
{
	struct sight sight;

	if (!service->blind)
		service_remember(service, now_ms);
	service_look(service, now_ms, &sight);
	if (!service->blind && is_blinded(&sight))
		service_freeze(service, now_ms);
	if (!service->blind)
		return;
	service->sight_ms = sight_since(service, now_ms);
	if (!service_sees(service, now_ms))
		return;
	service->blind = false;
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->frozen = false;
}

/* ---- one backend ---- */

/* A backend that comes into rotation starts its ramp; at a first start all come at once, and none
 * does. */
static void backend_follow(struct backend *backend, uint64_t now_ms)
{
	bool able = reachable(backend) && !leaving(backend) && backend->weight > 0;
	uint32_t slow_start_ms = backend->service->config->slow_start_ms;

	if (backend->frozen)
		return;
	if (able && !backend->able) {
		backend->ramp_start_ms = backend->fresh ? 0 : now_ms;
		backend->fresh = false;
	}
	if (!able || !slow_start_ms || now_ms >= backend->ramp_start_ms + slow_start_ms)
		backend->ramp_start_ms = 0;
	backend->able = able;
}

/* A dead backend keeps nothing, but it must be dead for certain. */
static bool backend_is_drained(const struct backend *backend, uint64_t now_ms)
{
	return backend->drained ||
	       (judged(backend) && !reachable(backend) && !backend_may_return(backend, now_ms));
}

static enum backend_condition backend_judge(const struct backend *backend, uint64_t now_ms)
{
	if (leaving(backend))
		return backend_is_drained(backend, now_ms) ? BACKEND_DRAINED : BACKEND_DRAINING;
	if (reachable(backend))
		return backend->ramp_start_ms ? BACKEND_STARTING : BACKEND_UP;
	if (!judged(backend))
		return BACKEND_CHECKING;
	return backend->hop_known && !backend->has_hop ? BACKEND_NO_NEXT_HOP : BACKEND_DOWN;
}

static void backend_set_condition(struct backend *backend, uint64_t now_ms, uint64_t wall_ms)
{
	enum backend_condition condition = backend_judge(backend, now_ms);
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
	weight = backend_share(backend) *
		 (RAMP_FLOOR_PERCENT * length + (100 - RAMP_FLOOR_PERCENT) * elapsed) /
		 (100 * length);
	return weight ? (uint32_t)weight : 1;
}

static uint32_t backend_weigh(const struct backend *backend, uint64_t now_ms)
{
	if (leaving(backend))
		return 0;
	if (backend->service->blind)
		return backend->frozen && backend->weight ? backend->calm.weight : 0;
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

		service->up +=
		    backend->condition == BACKEND_UP || backend->condition == BACKEND_STARTING;
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

/* Whose weights the frozen ring has. */
static bool frozen_on_backups(const struct service *service)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (service->backends[i]->backup && service->backends[i]->frozen &&
		    service->backends[i]->calm.weight)
			return true;
	return false;
}

static enum service_status service_judge(struct service *service, const struct tally *tally)
{
	bool few = tally->primaries_able * 100ULL <
		   (uint64_t)service->config->panic_threshold * tally->primaries;

	if (service->blind) {
		service->panic = false;
		service->backups_active = frozen_on_backups(service);
		return SERVICE_BLIND;
	}
	service->backups_active = !tally->primaries_able && tally->backups_able;
	service->panic = few && !service->backups_active;
	if (service->backups_active)
		return SERVICE_BACKUP;
	if (service->panic)
		return SERVICE_PANIC;
	if (!tally->primaries_able)
		return SERVICE_DOWN;
	return tally->primaries_able + tally->backups_able < tally->wanted ? SERVICE_DEGRADED
									   : SERVICE_UP;
}

void service_weigh(struct service *service, uint64_t now_ms, uint64_t wall_ms)
{
	struct tally tally;

	service->opened = service_opens(service, now_ms);
	service_watch(service, now_ms);
	for (unsigned i = 0; i < service->backends_count; i++) {
		backend_follow(service->backends[i], now_ms);
		backend_set_condition(service->backends[i], now_ms, wall_ms);
	}
	tally = service_count(service);
	service->status = service_judge(service, &tally);
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->effective_weight =
		    backend_weigh(service->backends[i], now_ms);
}
