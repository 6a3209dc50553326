/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Decides conditions and effective weights of a service's backends, and its status: health, slow
 * start, drains, priorities, zones, backups, panic, flaps, and what happens when all backends are
 * lost at once. Pure: no clock, no log, no I/O. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#include "common/duration.h"
#include "common/plural.h"

#define RAMP_FLOOR_PERCENT   5
#define LATENCY_HALF_LIFE_MS 5000
#define LOSS_MARGIN_MS       100  /* for late timers */
#define RECOVERY_MARGIN_MS   1000 /* until next hops answer after the link is up again */
#define NEIGHBOUR_LOSS_MS    3000 /* the kernel asks a neighbour three times, once a second */
#define EQUAL_SHARE          100  /* weight of each backend where weights are ignored */
#define RAMP_STEPS           1000 /* of a weight of 1, in what is healthy of a level */

const char *backend_condition_name(enum backend_condition condition)
{
	static const char *const names[] = {
	    [BACKEND_UP] = "up",
	    [BACKEND_STARTING] = "starting",
	    [BACKEND_DRAINING] = "draining",
	    [BACKEND_DRAINED] = "drained",
	    [BACKEND_CHECKING] = "checking",
	    [BACKEND_DAMPED] = "damped",
	    [BACKEND_MAINTENANCE] = "maintenance",
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
	/* The distance to the sample shrinks by 2^-(elapsed / half-life). Between whole halvings
	 * this is a parabola whose slope is right at 0: otherwise many samples within one half-life
	 * would give another result than one. */
	above = (average_us - sample_us) >> halvings;
	return sample_us + (uint32_t)(above * (1 - part * (0.6931 - 0.1931 * part)));
}

/* ---- the operator and the agent ---- */

/* It must not be used, whatever its check says. An operator's word counts more than an agent's; but
 * nobody's makes its real free. */
static bool is_told_off(const struct backend *backend)
{
	if (backend->bound_why)
		return true;
	if (backend->admin)
		return backend->admin != ADMIN_UP;
	return backend->agent.down || backend->agent.maint;
}

/* With what an operator has said. */
static enum health_status agreed_health(const struct backend *backend)
{
	return backend->admin == ADMIN_UP ? HEALTH_UP : backend->health;
}

uint32_t backend_agreed_weight(const struct backend *backend)
{
	const struct backend_agent *agent = &backend->agent;
	uint64_t weight = (uint64_t)backend->weight * agent->percent / 100;

	if (backend->admin == ADMIN_MAINTENANCE)
		return 0;
	if (backend->admin == ADMIN_UP)
		return backend->weight;
	if (agent->drain || agent->maint)
		return 0;
	if (!agent->has_weight || !backend->weight)
		return backend->weight;
	if (!weight && agent->percent)
		return 1;
	return weight < CONFIG_MAX_WEIGHT ? (uint32_t)weight : CONFIG_MAX_WEIGHT;
}

static void take_state(struct backend_agent *agent, const struct health_advice *advice)
{
	if (advice->state)
		agent->down = advice->state == HEALTH_ADVICE_DOWN;
	if (advice->order) {
		agent->drain = advice->order == HEALTH_ADVICE_DRAIN;
		agent->maint = advice->order == HEALTH_ADVICE_MAINT;
	}
	if (advice->has_weight) {
		agent->has_weight = true;
		agent->percent = advice->percent;
	}
}

/* Is its text shown? One that changes with each answer, as the load does, must not cause commits.
 */
static bool has_reason(const struct backend_agent *agent)
{
	return agent->down || agent->drain || agent->maint ||
	       (agent->has_weight && !agent->percent);
}

bool backend_take_advice(struct backend *backend, const char *said)
{
	struct backend_agent *agent = &backend->agent, before = *agent;
	struct health_advice advice;
	char why[HEALTH_ADVICE_WHY];
	bool other_text;

	if (health_advice_parse(said, &advice, why))
		return false;
	agent->heard = true;
	take_state(agent, &advice);
	other_text = remark_set(&agent->text, advice.text);
	return agent->down != before.down || agent->drain != before.drain ||
	       agent->maint != before.maint || agent->has_weight != before.has_weight ||
	       agent->percent != before.percent || (has_reason(agent) && other_text);
}

/* Why it has no share, or less, for users; "" if the agent is content. */
static void describe_agent(const struct backend_agent *agent, char *why, size_t size)
{
	const char *what = agent->maint                           ? "maint"
			   : agent->down                          ? "down"
			   : agent->drain                         ? "drain"
			   : agent->has_weight && !agent->percent ? "0%"
								  : NULL;

	*why = 0;
	if (what) /* of ten thousand backends most have none: each is described in every commit */
		snprintf(why, size, "its agent says: %s%s%s", what, agent->text ? ": " : "",
			 remark_text(agent->text));
}

/* ---- */

bool backend_agreed_up(const struct backend *backend)
{
	return agreed_health(backend) == HEALTH_UP && !is_told_off(backend);
}

static bool is_leaving(const struct backend *backend)
{
	return backend->drain || backend->removed;
}

/* Is there enough to decide: a failed check, or a passed one and a result for the next hop? */
static bool has_results(const struct backend *backend)
{
	enum health_status health = agreed_health(backend);

	return health == HEALTH_DOWN || is_told_off(backend) ||
	       (health == HEALTH_UP && backend->hop_known);
}

static bool is_decided(const struct backend *backend)
{
	return backend->service->opened && has_results(backend);
}

static bool is_reachable(const struct backend *backend)
{
	return backend->service->opened && backend_agreed_up(backend) && backend->has_hop;
}

static bool service_opens(const struct service *service, uint64_t now_ms)
{
	if (service->opened || now_ms >= service->opens_ms)
		return true;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!is_leaving(service->backends[i]) && !has_results(service->backends[i]))
			return false;
	return true;
}

static bool is_usable_in_panic(const struct backend *backend)
{
	return is_decided(backend) && backend->has_hop && !is_told_off(backend);
}

/* A level that has no other backend any more says nothing against those that leave. */
static bool panic_lasts(const struct backend *backend)
{
	const struct level *level = &backend->service->levels[backend_level(backend)];

	return level->panic || (!level->count && backend->used_in_panic);
}

/* One that leaves has flows there only if it was used before it left, or before it was lost: just
 * now, if it was the first of many. While the service is blind all stays as it was. */
static void follow_panic(struct backend *backend, uint64_t now_ms)
{
	bool was_used = backend->used_in_panic || is_reachable(backend);

	if (backend->service->blind)
		return;
	was_used |= backend_may_return(backend, now_ms);
	backend->used_in_panic = panic_lasts(backend) && is_usable_in_panic(backend) &&
				 (!is_leaving(backend) || was_used);
}

bool backend_usable(const struct backend *backend)
{
	if (backend->forced || is_told_off(backend))
		return false;
	if (backend->service->blind)
		return backend->frozen;
	return is_reachable(backend) || backend->used_in_panic;
}

/* ---- all backends lost at once ---- */

uint32_t service_loss_window_ms(const struct service *service)
{
	const struct health_spec *health = &service->config->health;

	return health->interval_ms + health->timeout_ms + LOSS_MARGIN_MS;
}

static bool lost_recently(const struct backend *backend, uint64_t now_ms)
{
	return backend->lost_ms &&
	       now_ms - backend->lost_ms <= service_loss_window_ms(backend->service);
}

bool backend_may_return(const struct backend *backend, uint64_t now_ms)
{
	return backend->frozen || lost_recently(backend, now_ms);
}

/* Remembers the weights in force, unless a backend was lost so recently that its loss may be the
 * first of many. */
static void remember_before_loss(struct service *service, uint64_t now_ms)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (backend_may_return(service->backends[i], now_ms))
			return;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->before_loss.weight = backend->effective_weight;
		backend->before_loss.eligible = backend->eligible;
		backend->before_loss.ramp_start_ms = backend->ramp_start_ms;
	}
}

static bool awaits(const struct failing *failing)
{
	return failing->began_ms && !failing->confirmed_ms;
}

static bool any_awaits(const struct backend *backend)
{
	return awaits(&backend->failing) || awaits(&backend->latest) || awaits(&backend->again);
}

static void confirm(struct failing *failing, const struct backend *passed)
{
	if (awaits(failing) && passed->passed_ms && passed->passed_began_ms >= failing->began_ms)
		failing->confirmed_ms = passed->passed_ms;
}

/* A probe of another backend that began after one failed, and passed, shows that this host was not
 * cut off during the whole time. */
static void note_confirmation(struct backend *failing, const struct backend *passed)
{
	if (passed == failing)
		return;
	confirm(&failing->failing, passed);
	confirm(&failing->latest, passed);
	confirm(&failing->again, passed);
}

/* Thousands of probes a second pass while none fails: they must not look at every backend. */
static void note_passed(struct service *service, const struct backend *backend)
{
	if (backend->passed_began_ms > service->passed_began_ms)
		service->passed_began_ms = backend->passed_began_ms;
	if (!service->may_confirm)
		return;
	service->may_confirm = false;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *other = service->backends[i];

		note_confirmation(other, backend);
		service->may_confirm |= any_awaits(other);
	}
}

static bool may_find(const struct failing *failing, const struct service *service)
{
	return awaits(failing) && service->passed_began_ms >= failing->began_ms;
}

/* And if all fail, none may look for one that has passed since. */
static void note_failing(struct service *service, struct backend *backend)
{
	for (unsigned i = 0; i < service->backends_count; i++) {
		if (!may_find(&backend->failing, service) && !may_find(&backend->latest, service) &&
		    !may_find(&backend->again, service))
			break;
		note_confirmation(backend, service->backends[i]);
	}
	service->may_confirm |= any_awaits(backend);
}

/* Is there one that passed between the first of the failed probes and the last? One that passed
 * later may have passed because a link has come back. */
static bool is_confirmed(const struct failing *failing, uint64_t last_began_ms)
{
	return failing->confirmed_ms && failing->confirmed_ms <= last_began_ms;
}

/* Has another backend, which was alive until then, failed since the last probe of this one did, or
 * at the same time? */
static bool another_failed(const struct backend *backend)
{
	const struct service *service = backend->service;
	const struct health_spec *health = &service->config->health;
	uint64_t alive_ms = (uint64_t)(health->fall + 1) * health->interval_ms + health->timeout_ms;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *other = service->backends[i];

		if (other != backend && other->failed_began_ms &&
		    other->failed_began_ms + health->timeout_ms >= backend->latest.began_ms &&
		    other->passed_ms + alive_ms >= backend->failing.began_ms)
			return true;
	}
	return false;
}

/* This probe and the one before have failed, and none that passed in between is known of. */
static bool may_be_one_cut(const struct backend *backend, uint64_t began_ms)
{
	if (is_confirmed(&backend->latest, began_ms))
		return false;
	return awaits(&backend->latest) || another_failed(backend);
}

/* Has one been back before this time, while the service is blind? */
static bool one_is_back_before(const struct service *service, uint64_t began_ms)
{
	return service->blind && service->first_back_ms && service->first_back_ms < began_ms;
}

void backend_note_probe(struct backend *backend, bool passed, uint64_t began_ms, uint64_t ended_ms)
{
	struct service *service = backend->service;

	if (passed) {
		backend->passed_ms = ended_ms;
		backend->passed_began_ms = began_ms;
		backend->failing = backend->latest = (struct failing){0};
		backend->cut_off = false;
		note_passed(service, backend);
		return;
	}
	backend->failed_began_ms = began_ms;
	if (!backend->failing.began_ms)
		backend->failing.began_ms = began_ms;
	else if (may_be_one_cut(backend, began_ms))
		backend->cut_off = true;
	backend->latest = (struct failing){.began_ms = began_ms};
	if (!backend->again.began_ms && one_is_back_before(service, began_ms))
		backend->again.began_ms = began_ms;
	note_failing(service, backend);
}

/* The probes that passed last: ten thousand backends may be lost at once, and none of them may look
 * at all others. */
struct passes {
	const struct backend *latest;  /* NULL: none has passed */
	uint64_t latest_ms, second_ms; /* the latter of all others; 0: none */
};

static struct passes find_passes(const struct service *service)
{
	struct passes passes = {0};

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		if (backend->passed_ms > passes.latest_ms) {
			passes.second_ms = passes.latest_ms;
			passes.latest_ms = backend->passed_ms;
			passes.latest = backend;
		} else if (backend->passed_ms > passes.second_ms) {
			passes.second_ms = backend->passed_ms;
		}
	}
	return passes;
}

/* CLOCK_MONOTONIC; 0: none. */
static uint64_t last_pass_of_others(const struct passes *passes, const struct backend *backend)
{
	return passes->latest == backend ? passes->second_ms : passes->latest_ms;
}

/* Every other backend is probed between the first failed probe of a loss and the last. One failure
 * of a link must not count as two failed probes. With fall: 1 there is only one failed probe, so
 * the interval before it counts. */
static bool loss_is_confirmed(const struct backend *lost, const struct passes *passes)
{
	const struct health_spec *health = &lost->service->config->health;
	uint64_t passed_ms = last_pass_of_others(passes, lost);

	if (health->fall > 1)
		return !lost->cut_off && is_confirmed(&lost->failing, lost->failed_began_ms);
	return passed_ms && passed_ms + health->interval_ms >= lost->failing.began_ms;
}

/* The next hop is gone and the health check has not failed yet: has a probe of another backend
 * passed while the neighbour did not answer? Without probes nothing can contradict the loss, unless
 * the links of this host are in doubt already. */
static bool hop_loss_is_confirmed(const struct backend *lost, const struct passes *passes,
				  uint64_t now_ms)
{
	uint64_t reach_ms = service_loss_window_ms(lost->service);
	uint64_t passed_ms = last_pass_of_others(passes, lost);

	if (reach_ms < NEIGHBOUR_LOSS_MS)
		reach_ms = NEIGHBOUR_LOSS_MS;
	return passed_ms ? passed_ms + reach_ms >= now_ms : !lost->service->blind;
}

struct losses {
	unsigned reachable; /* backends */
	unsigned lost;      /* recently */
	bool unconfirmed;   /* one was lost now, and no probe of another confirms it */
};

/* A drained backend may be stopped at any time, one that its agent takes out has been heard, and an
 * operator knows of one that was set down: their loss does not count. */
static void find_losses(struct service *service, uint64_t now_ms, struct losses *ret)
{
	const struct passes passes = find_passes(service);

	*ret = (struct losses){0};
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];
		bool reachable = is_reachable(backend);
		bool expected = backend->drained || is_told_off(backend);
		bool lost = backend->was_reachable && !reachable && !expected;

		/* while the ring is frozen, this host may be what failed */
		if (reachable && backend->lost_ms && !backend->frozen)
			damping_returned(&backend->damping, backend->lost_ms, now_ms,
					 service->config->flap_damping_ms);
		if (reachable || expected)
			backend->lost_ms = 0;
		else if (lost)
			backend->lost_ms = now_ms;
		if (lost && agreed_health(backend) == HEALTH_DOWN && backend->failing.began_ms)
			ret->unconfirmed |= !loss_is_confirmed(backend, &passes);
		else if (lost && agreed_health(backend) == HEALTH_UP)
			ret->unconfirmed |= !hop_loss_is_confirmed(backend, &passes, now_ms);
		backend->was_reachable = reachable;
		ret->reachable += reachable;
		ret->lost += lost_recently(backend, now_ms);
	}
}

/* Two or more backends were reachable, and either all of them are lost, or one is and its loss is
 * not confirmed. */
static bool makes_blind(const struct losses *losses)
{
	return losses->reachable + losses->lost >= 2 && (!losses->reachable || losses->unconfirmed);
}

static void freeze(struct service *service, uint64_t now_ms)
{
	service->blind = true;
	service->blind_ms = now_ms;
	service->first_back_ms = 0;
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->frozen = is_reachable(backend) || lost_recently(backend, now_ms) ||
				  backend->used_in_panic;
		if (!backend->frozen)
			continue;
		backend->eligible = backend->before_loss.eligible;
		backend->ramp_start_ms = backend->before_loss.ramp_start_ms;
	}
}

/* Is it reachable, and has a probe passed since then? Without probes, or where an operator
 * overrules them, the next hop decides. */
static bool is_back_since(const struct backend *backend, uint64_t since_ms)
{
	bool probed =
	    backend->admin != ADMIN_UP && (backend->passed_ms || backend->failed_began_ms);

	return is_reachable(backend) && (!probed || backend->passed_ms >= since_ms);
}

/* Since the first backend was back: is it reachable, or have two of its probes failed, and one that
 * passed shows that not one failure of a link was the cause of both? What is not frozen has no
 * place in the ring that could be lost. */
static bool is_decided_again(const struct backend *backend)
{
	if (!backend->frozen || backend->drained || is_told_off(backend) ||
	    is_back_since(backend, backend->service->first_back_ms))
		return true;
	return backend->health == HEALTH_DOWN && backend->failing.began_ms &&
	       is_confirmed(&backend->again, backend->failed_began_ms);
}

/* One that lives is back by then, since none of its probes fails any more. */
static bool had_time_to_rise(const struct backend *backend, uint64_t now_ms)
{
	const struct health_spec *health = &backend->service->config->health;
	uint64_t since_ms = backend->service->first_back_ms;

	if (backend->failed_began_ms > since_ms)
		since_ms = backend->failed_began_ms;
	return now_ms >= since_ms + (uint64_t)health->rise * health->interval_ms +
			     health->timeout_ms + RECOVERY_MARGIN_MS;
}

/* Sets first_back_ms, to 0 if none is. What failed before says nothing. */
static void find_first_back(struct service *service, uint64_t now_ms)
{
	bool one = false;

	for (unsigned i = 0; i < service->backends_count && !one; i++)
		one = is_back_since(service->backends[i], service->blind_ms);
	if (one && service->first_back_ms && service->first_back_ms >= service->blind_ms)
		return;
	service->first_back_ms = one ? now_ms : 0;
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->again = (struct failing){0};
}

/* The first backend that is back would get all traffic. So this waits until it is certain of all
 * others whether they live. */
static bool blindness_is_over(const struct service *service, uint64_t now_ms)
{
	if (!service->first_back_ms)
		return false;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!is_decided_again(service->backends[i]) &&
		    !had_time_to_rise(service->backends[i], now_ms))
			return false;
	return true;
}

/* When all backends are lost at once, this host may be what failed: the ring stays as it was before
 * the first loss, until all backends have new results. The loss of an only backend always counts:
 * no other could take its traffic. */
static void service_follow_losses(struct service *service, uint64_t now_ms)
{
	struct losses losses;

	if (!service->blind)
		remember_before_loss(service, now_ms);
	find_losses(service, now_ms, &losses);
	if (!service->blind && makes_blind(&losses))
		freeze(service, now_ms);
	else if (losses.unconfirmed)
		service->blind_ms = now_ms; /* the link has failed again: all results are old */
	if (!service->blind)
		return;
	find_first_back(service, now_ms);
	if (!blindness_is_over(service, now_ms))
		return;
	service->blind = false;
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->frozen = false;
}

/* ---- levels ---- */

/* A weight as the algorithm sees it. */
static uint32_t as_share(const struct backend *backend, uint32_t weight)
{
	return weight && backend->service->config->algorithm->ignores_weights ? EQUAL_SHARE
									      : weight;
}

/* The part of an amount that the backend gets as far as its ramp is. */
static uint64_t ramped(const struct backend *backend, uint64_t amount, uint64_t now_ms)
{
	uint64_t length = backend->service->config->slow_start_ms;
	uint64_t elapsed = now_ms - backend->ramp_start_ms;

	if (!backend->ramp_start_ms || elapsed >= length)
		return amount;
	return amount * (RAMP_FLOOR_PERCENT * length + (100 - RAMP_FLOOR_PERCENT) * elapsed) /
	       (100 * length);
}

typedef bool takes_fn(const struct backend *backend, uint64_t now_ms);

static uint64_t capacity_of(const struct backend *backend)
{
	return (uint64_t)as_share(backend, backend->weight) * RAMP_STEPS;
}

/* Capacity is what the config gives, health what is there of it. So one that drains or is
 * maintained, or whose agent says 0 %, is missed; what it lacks at more percent is not. */
static void count_backend(const struct backend *backend, bool takes, uint64_t now_ms,
			  struct level *level)
{
	uint64_t weight = capacity_of(backend);

	level->capacity += weight;
	if (is_leaving(backend) || !backend_agreed_weight(backend))
		return;
	level->count++;
	level->usable += is_usable_in_panic(backend);
	if (!takes)
		return;
	level->up++;
	level->healthy += ramped(backend, weight, now_ms);
}

/* Its check failed, it leaves, and it has flows, as its level panics. Were it not counted as down
 * until they are over, its own drain might end that panic, and move them. */
static bool leaves_in_panic(const struct backend *backend)
{
	return is_leaving(backend) && backend->used_in_panic && is_usable_in_panic(backend) &&
	       !is_reachable(backend) && !backend->drained;
}

/* One without results does not count, unless it was there and down already when this lbd took over:
 * else what is left of its level would get all new flows until the first checks end. */
static void count_levels(const struct service *service, takes_fn *takes, uint64_t now_ms,
			 struct level ret[LEVELS])
{
	memset(ret, 0, LEVELS * sizeof(*ret));
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];
		struct level *level = &ret[backend_level(backend)];

		level->leaving += leaves_in_panic(backend);
		if (backend->removed)
			continue;
		if (is_decided(backend))
			count_backend(backend, takes(backend, now_ms), now_ms, level);
		else if (backend->missed)
			level->capacity += capacity_of(backend);
	}
}

static unsigned count_up(const struct level levels[LEVELS], unsigned from, unsigned to)
{
	unsigned count = 0;

	for (unsigned i = from; i < to; i++)
		count += levels[i].up;
	return count;
}

/* ---- those that flap, and those whose connects fail ---- */

static uint64_t passive_until_ms(const struct backend *backend)
{
	return backend->service->config->health.passive ? backend->passive.until_ms : 0;
}

uint64_t backend_hold_until_ms(const struct backend *backend)
{
	uint64_t passive_ms = passive_until_ms(backend),
		 damping_ms =
		     damping_until_ms(&backend->damping, backend->service->config->flap_damping_ms);

	return passive_ms > damping_ms ? passive_ms : damping_ms;
}

static bool may_be_held(const struct backend *backend, uint64_t now_ms)
{
	return backend->admin != ADMIN_UP && now_ms < backend_hold_until_ms(backend);
}

bool backend_hold_is_over(const struct backend *backend, uint64_t now_ms)
{
	return backend->held && !may_be_held(backend, now_ms);
}

static bool takes_steadily(const struct backend *backend, uint64_t now_ms)
{
	return is_reachable(backend) && !may_be_held(backend, now_ms);
}

/* One of them is better than none: they are held back only while another takes new flows, and while
 * that makes no panic, in which dead ones would be used. Where no primary is steady, backups take
 * over. */
static bool can_hold(const struct service *service, uint64_t now_ms)
{
	struct level levels[LEVELS];
	bool panic = false;

	count_levels(service, takes_steadily, now_ms, levels);
	if (!count_up(levels, 0, LEVELS_PRIMARY))
		return count_up(levels, LEVELS_PRIMARY, LEVELS);
	levels_share(levels, LEVELS_PRIMARY, service->config->panic_threshold);
	for (unsigned i = 0; i < LEVELS_PRIMARY; i++)
		panic |= levels[i].panic;
	return !panic;
}

/* One that drains takes no new flow anyway, and shows why by its drain. */
static void service_hold(struct service *service, uint64_t now_ms)
{
	bool any = false;

	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		backend->held =
		    is_reachable(backend) && !is_leaving(backend) && may_be_held(backend, now_ms);
		any |= backend->held;
	}
	if (!any || (!service->blind && can_hold(service, now_ms)))
		return;
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->held = false;
}

/* ---- one backend ---- */

/* A backend that becomes eligible starts its ramp, but not when lbd starts for the first time: then
 * all become eligible together. */
static void update_eligible(struct backend *backend, uint64_t now_ms)
{
	bool eligible = is_reachable(backend) && !backend->held && !is_leaving(backend) &&
			backend_agreed_weight(backend) > 0;
	uint32_t slow_start_ms = backend->service->config->slow_start_ms;

	backend->missed &= !is_decided(backend);
	if (backend->frozen)
		return;
	if (eligible && !backend->eligible) {
		backend->ramp_start_ms = backend->first_start ? 0 : now_ms;
		backend->first_start = false;
	}
	if (!eligible || !slow_start_ms || now_ms >= backend->ramp_start_ms + slow_start_ms)
		backend->ramp_start_ms = 0;
	backend->eligible = eligible;
}

/* A dead backend has no flows to drain, but its loss must be certain, and believed. */
static bool backend_is_drained(const struct backend *backend, uint64_t now_ms)
{
	return backend->drained ||
	       (is_decided(backend) && !is_reachable(backend) && !backend->used_in_panic &&
		!backend_may_return(backend, now_ms));
}

static enum backend_condition decide_condition(const struct backend *backend, uint64_t now_ms)
{
	if (is_leaving(backend))
		return backend_is_drained(backend, now_ms) ? BACKEND_DRAINED : BACKEND_DRAINING;
	if (backend->admin == ADMIN_MAINTENANCE)
		return BACKEND_MAINTENANCE;
	if (backend->held)
		return BACKEND_DAMPED;
	if (is_reachable(backend))
		return backend->ramp_start_ms ? BACKEND_STARTING : BACKEND_UP;
	if (!is_decided(backend))
		return BACKEND_CHECKING;
	return backend->hop_known && !backend->has_hop ? BACKEND_NO_NEXT_HOP : BACKEND_DOWN;
}

/* Why it is what an operator has made it, and what would be without. */
static void describe_admin(const struct backend *backend, char *why, size_t size)
{
	bool fails = backend->health == HEALTH_DOWN;

	snprintf(why, size, "set to %s by an operator%s%.150s", admin_state_name(backend->admin),
		 fails ? "; its check fails: " : "",
		 remark_text(fails ? backend->health_why : NULL));
}

static void describe_damping(const struct backend *backend, uint64_t now_ms, char *why, size_t size)
{
	uint64_t limit_ms = backend->service->config->flap_damping_ms;
	char limit[DURATION_TEXT], span[DURATION_TEXT], times[32] = "";

	if (now_ms < passive_until_ms(backend)) {
		snprintf(why, size,
			 "%u of %u connect%s failed, as the traffic shows: no new flow for a while",
			 backend->passive.failed, backend->passive.connects,
			 plural_s(backend->passive.connects));
		return;
	}
	if (backend->damping.losses > 1)
		snprintf(times, sizeof(times), " %u times, each", backend->damping.losses);
	snprintf(why, size, "lost again%s within %s of its return: no new flow for %s", times,
		 duration_exact(limit_ms, limit),
		 duration_exact(damping_span_ms(&backend->damping, limit_ms), span));
}

static void backend_set_condition(struct backend *backend, uint64_t now_ms, uint64_t wall_ms)
{
	enum backend_condition condition = decide_condition(backend, now_ms);
	char others[256];
	const char *why = others;

	if (backend->admin && !is_leaving(backend))
		describe_admin(backend, others, sizeof(others));
	else if (backend->held)
		describe_damping(backend, now_ms, others, sizeof(others));
	else
		describe_agent(&backend->agent, others, sizeof(others));
	if (!backend->since_ms || condition != backend->condition)
		backend->since_ms = wall_ms;
	backend->condition = condition;
	if (backend->bound_why)
		why = remark_text(backend->bound_why);
	else if (backend->admin && is_told_off(backend) && !is_leaving(backend))
		why = others;
	else if (backend->hop_known && !backend->has_hop)
		why = remark_text(backend->hop_why);
	else if (agreed_health(backend) != HEALTH_UP)
		why = remark_text(backend->health_why);
	remark_set(&backend->why, why);
}

/* Its full weight. */
static uint32_t backend_share(const struct backend *backend)
{
	return as_share(backend, backend_agreed_weight(backend));
}

static uint32_t backend_ramped(const struct backend *backend, uint64_t now_ms)
{
	uint64_t weight = ramped(backend, backend_share(backend), now_ms);

	return weight ? (uint32_t)weight : 1;
}

/* Its weight in the ring of a service that is blind. */
static uint32_t frozen_weight(const struct backend *backend)
{
	return backend->frozen && !is_leaving(backend) && !is_told_off(backend) &&
		       backend_agreed_weight(backend)
		   ? backend->before_loss.weight
		   : 0;
}

/* Among the backends of its level. */
static uint32_t backend_weigh(const struct backend *backend, uint64_t now_ms)
{
	if (is_leaving(backend))
		return 0;
	if (backend->service->blind)
		return frozen_weight(backend);
	if (backend->used_in_panic)
		return backend_share(backend);
	if (!backend->eligible || !backend->service->levels[backend_level(backend)].share)
		return 0;
	return backend_ramped(backend, now_ms);
}

/* Where several levels take new flows, weights get the proportions of their shares. */
static void scale_weights(struct service *service)
{
	struct level_scale scale = {0};

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];
		unsigned level = backend_level(backend);
		uint32_t weight = backend->effective_weight;

		scale.sums[level] += weight;
		if (weight > scale.most[level])
			scale.most[level] = weight;
	}
	levels_scale(service->levels, &scale);
	for (unsigned i = 0; i < service->backends_count; i++) {
		struct backend *backend = service->backends[i];

		if (backend->effective_weight)
			backend->effective_weight =
			    level_weight(&scale, backend_level(backend), backend->effective_weight);
	}
}

static bool is_eligible(const struct backend *backend, uint64_t now_ms)
{
	(void)now_ms;
	return backend->eligible;
}

static void service_count_up(struct service *service)
{
	service->up = 0;
	for (unsigned i = 0; i < service->backends_count; i++)
		service->up += service->backends[i]->condition == BACKEND_UP ||
			       service->backends[i]->condition == BACKEND_STARTING;
}

/* Does the frozen ring send traffic to backups? */
static bool frozen_on_backups(const struct service *service)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (service->backends[i]->backup && service->backends[i]->frozen &&
		    service->backends[i]->before_loss.weight)
			return true;
	return false;
}

/* What the frozen ring gives each level, for users: they ask how much spills just then. */
static void share_as_frozen(struct service *service)
{
	uint64_t sums[LEVELS] = {0}, all = 0;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		sums[backend_level(backend)] += frozen_weight(backend);
		all += frozen_weight(backend);
	}
	for (unsigned i = 0; i < LEVELS && all; i++)
		service->levels[i].share = (uint32_t)(sums[i] * LEVEL_WHOLE / all);
}

/* Backups take all, and only when no other backend can take anything. */
static void service_share(struct service *service, uint64_t now_ms)
{
	struct level *levels = service->levels;

	service->panic = false;
	count_levels(service, is_eligible, now_ms, levels);
	if (service->blind) {
		service->backups_active = frozen_on_backups(service);
		share_as_frozen(service);
		return;
	}
	service->backups_active =
	    !count_up(levels, 0, LEVELS_PRIMARY) && count_up(levels, LEVELS_PRIMARY, LEVELS);
	if (service->backups_active)
		levels_share(levels + LEVELS_PRIMARY, LEVELS - LEVELS_PRIMARY, 0);
	else
		levels_share(levels, LEVELS_PRIMARY, service->config->panic_threshold);
	for (unsigned i = 0; i < LEVELS; i++)
		service->panic |= levels[i].panic;
}

/* Has it a backend that is wanted and takes no new flows for its condition? */
static bool lacks_one(const struct service *service)
{
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		if (!is_leaving(backend) && backend_agreed_weight(backend) && !backend->eligible)
			return true;
	}
	return false;
}

static enum service_status decide_status(const struct service *service)
{
	if (service->blind)
		return SERVICE_BLIND;
	if (service->backups_active)
		return SERVICE_BACKUP;
	if (service->panic)
		return SERVICE_PANIC;
	if (!count_up(service->levels, 0, LEVELS_PRIMARY))
		return SERVICE_DOWN;
	return lacks_one(service) ? SERVICE_DEGRADED : SERVICE_UP;
}

static void weigh_backends(struct service *service, uint64_t now_ms)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		service->backends[i]->effective_weight =
		    backend_weigh(service->backends[i], now_ms);
	if (!service->blind)
		scale_weights(service);
}

void service_weigh(struct service *service, uint64_t now_ms, uint64_t wall_ms)
{
	service->opened = service_opens(service, now_ms);
	service_follow_losses(service, now_ms);
	service_hold(service, now_ms);
	for (unsigned i = 0; i < service->backends_count; i++)
		update_eligible(service->backends[i], now_ms);
	service_share(service, now_ms);
	for (unsigned i = 0; i < service->backends_count; i++) {
		follow_panic(service->backends[i], now_ms);
		backend_set_condition(service->backends[i], now_ms, wall_ms);
	}
	service_count_up(service);
	service->status = decide_status(service);
	weigh_backends(service, now_ms);
}
