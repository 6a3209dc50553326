/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Schedules the probes and derives a check's status from their results. */
#include "health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>

#include <event2/event_struct.h>
#include <event2/util.h>

#include "common/clock.h"
#include "common/log.h"
#include "failure.h"
#include "schedule.h"
#include "source.h"
#include "verdict.h"

#define WARN_EVERY_MS 60000

struct kind_state {
	const struct health_kind *kind;
	void *state;
};

struct health_check {
	LIST_ENTRY(health_check) link;
	struct health *health;
	const struct kind_state *kind;
	struct health_spec config;
	struct addr backend;
	struct health_probe_spec spec;
	struct health_way way; /* mark 0: none yet */
	uint64_t way_packets;  /* when the probe began */
	struct event timer;    /* for the next probe or, while one runs, for its timeout */
	struct health_probe *probe;
	bool repeated; /* the probe before this one was void */
	bool placed;   /* its place in the interval has been drawn */
	enum health_status status;
	uint32_t streak;         /* probes in a row that contradict the status */
	uint64_t probe_us;       /* when the last probe began */
	uint64_t late_us, beats; /* total lateness and beats of the loop when the probe began */
	char why[FAILURE_TEXT];
	health_result_fn *result;
	void *arg;
};

struct health {
	struct event_base *base;
	const struct lateness *lateness;
	LIST_HEAD(check_list, health_check) checks;
	struct kind_state *kinds;
	unsigned kinds_count;
	unsigned running, running_max; /* probes; 0: no limit */
	struct sources *sources;
	uint64_t warned_ms, warned_late_ms;
};

/* The result of each probe, for --debug. */
static void log_result(const struct health_check *check, bool passed, const char *why,
		       uint32_t latency_us)
{
	static const char *const names[] = {
	    [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up", [HEALTH_DOWN] = "down"};
	char address[ADDR_TEXT], result[FAILURE_TEXT + 16], streak[48] = "";

	if (passed && latency_us)
		snprintf(result, sizeof(result), "passed in %u us", latency_us);
	else
		snprintf(result, sizeof(result), "%s%s", passed ? "passed" : "failed: ",
			 passed ? ", latency not measured: the loop was late" : why);
	if (check->streak)
		snprintf(streak, sizeof(streak), ", %u of %u probes until %s", check->streak,
			 passed ? check->config.rise : check->config.fall, passed ? "up" : "down");
	log_debug("health check of %s port %u: %s probe %s; %s%s",
		  addr_format(&check->backend, address), check->spec.port, check->config.type,
		  result, names[check->status], streak);
}

static uint32_t random_draw(void)
{
	uint32_t value;

	evutil_secure_rng_get_bytes(&value, sizeof(value));
	return value;
}

/* ---- results ---- */

static void set_status(struct health_check *check, enum health_status status)
{
	check->status = status;
	check->streak = 0;
}

/* Counts one probe that was run, and changes the status when rise or fall is reached. */
static void count(struct health_check *check, bool passed)
{
	enum health_status says = passed ? HEALTH_UP : HEALTH_DOWN;
	uint32_t needed = passed ? check->config.rise : check->config.fall;

	if (check->status == says) {
		check->streak = 0;
		return;
	}
	if (check->status != HEALTH_UNKNOWN && ++check->streak < needed)
		return;
	set_status(check, says);
}

/* The check may be gone afterwards. */
static void report(struct health_check *check, enum health_outcome outcome, uint32_t latency_us,
		   const char *reason)
{
	char why[FAILURE_TEXT];
	struct health_result result = {
	    .outcome = outcome,
	    .began_ms = check->probe_us / 1000,
	    .status = check->status,
	    .latency_us = latency_us,
	    .why = why,
	};

	snprintf(why, sizeof(why), "%s", reason);
	check->result(check->arg, &result);
}

/* This host lacks descriptors, memory or ports: that says nothing about the backend, which keeps
 * its status. The next probe comes after the interval. */
static void probe_not_run(struct health_check *check, const char *reason)
{
	struct health *health = check->health;
	char why[FAILURE_TEXT];
	char address[ADDR_TEXT];

	snprintf(why, sizeof(why), "probe not run: %.*s", FAILURE_TEXT - 32, reason);
	log_debug("health check of %s port %u: %s %s", addr_format(&check->backend, address),
		  check->spec.port, check->config.type, why);
	if (log_is_due(&health->warned_ms, WARN_EVERY_MS))
		log_warning(
		    "health check of %s port %u: %s; its status is unchanged (logged once a minute)",
		    addr_format(&check->backend, address), check->spec.port, why);
	report(check, HEALTH_NOT_RUN, 0, why);
}

/* ---- when to probe ---- */

static void wait_ms(struct health_check *check, uint64_t ms)
{
	struct timeval wait = clock_span_ms(ms);

	/* otherwise the time counts from the start of this turn of the loop */
	event_base_update_cache_time(check->health->base);
	event_add(&check->timer, &wait);
}

static void wait_for_next(struct health_check *check)
{
	uint64_t gone_ms = (clock_monotonic_us() - check->probe_us) / 1000;

	wait_ms(check,
		schedule_next(check->config.interval_ms, check->placed, gone_ms, random_draw()));
	check->placed = true;
}

static void wait_for_first(struct health_check *check)
{
	check->placed = check->status != HEALTH_UNKNOWN;
	wait_ms(check, schedule_first(check->config.interval_ms, check->placed, random_draw()));
}

/* ---- one probe ---- */

/* How late the loop was, in all, since the probe began. */
static uint64_t late_us(const struct health_check *check, uint64_t now_us)
{
	return lateness_total(lateness_meter(check->health->lateness), now_us) - check->late_us;
}

static void conclude(struct health_check *check, bool passed, const char *why, uint32_t latency_us)
{
	count(check, passed);
	check->repeated = false;
	wait_for_next(check);
	if (log_debugs())
		log_result(check, passed, why, latency_us);
	if (!passed)
		snprintf(check->why, sizeof(check->why), "%s", why);
	else if (check->status == HEALTH_UP)
		check->why[0] = 0;
	report(check, passed ? HEALTH_PASSED : HEALTH_FAILED, passed ? latency_us : 0, check->why);
}

/* Nothing is reported, as if the probe had not taken place. */
static void repeat_void(struct health_check *check, uint64_t late)
{
	struct health *health = check->health;
	char address[ADDR_TEXT];

	if (log_is_due(&health->warned_late_ms, WARN_EVERY_MS))
		log_warning(
		    "lbd was %llu ms late during a health check: probes that fail at such a time "
		    "are repeated before they count (logged once a minute)",
		    (unsigned long long)late / 1000);
	log_debug("health check of %s port %u: %s probe void: lbd was %llu ms late; it is repeated",
		  addr_format(&check->backend, address), check->spec.port, check->config.type,
		  (unsigned long long)late / 1000);
	check->repeated = true;
	/* at a random time: not all checks at the same moment */
	wait_ms(check, schedule_first(check->config.interval_ms, false, random_draw()));
}

static enum verdict current_verdict(const struct health_check *check, bool timed_out,
				    uint64_t *ret_late_us, uint64_t *ret_wait_us)
{
	uint64_t now_us = clock_monotonic_us();
	struct verdict_case of = {
	    .timeout_us = check->config.timeout_ms * 1000ULL,
	    .elapsed_us = now_us - check->probe_us,
	    .late_us = late_us(check, now_us),
	    .beats = lateness_meter(check->health->lateness)->beats - check->beats,
	    .timed_out = timed_out,
	    .repeated = check->repeated,
	};

	*ret_late_us = of.late_us;
	if (timed_out && of.elapsed_us > of.timeout_us + of.late_us)
		*ret_late_us = of.elapsed_us - of.timeout_us;
	return verdict_of(&of, ret_wait_us);
}

/* The latency, or 0 if the loop was too late to measure it. */
static uint32_t measured(const struct health_check *check, uint32_t latency_us)
{
	return late_us(check, clock_monotonic_us()) > latency_us / 4 ? 0 : latency_us;
}

static void probe_ended(struct health_check *check)
{
	check->probe = NULL;
	check->health->running--;
}

/* Otherwise it was a client's packet to the VIP, and any backend may have answered. */
static bool took_its_way(const struct health_check *check)
{
	const struct health_way *way = &check->way;

	if (!check->config.to_vip || way->sent(way->arg, way->mark) != check->way_packets)
		return true;
	way->missed(way->arg);
	return false;
}

static void probe_done(void *arg, enum health_outcome outcome, const char *why, uint32_t latency_us)
{
	struct health_check *check = arg;
	uint64_t late = 0, wait;

	probe_ended(check);
	event_del(&check->timer);
	if (outcome == HEALTH_NOT_RUN) {
		wait_for_next(check);
		probe_not_run(check, why);
	} else if (outcome == HEALTH_PASSED && !took_its_way(check)) {
		conclude(check, false,
			 "the check did not take the tunnel: another tc program or rule of this "
			 "host sent it elsewhere",
			 0);
	} else if (outcome == HEALTH_PASSED) {
		conclude(check, true, NULL, measured(check, latency_us));
	} else if (current_verdict(check, false, &late, &wait) == VERDICT_VOID) {
		repeat_void(check, late);
	} else {
		conclude(check, false, why, 0);
	}
}

/* What has arrived while the loop was busy is handled first: it may be the answer. */
static void probe_timed_out(struct health_check *check)
{
	const struct health_kind *kind = check->kind->kind;
	enum verdict verdict;
	uint64_t late, wait_us;
	char why[FAILURE_TEXT];

	if (kind->serve(check->probe))
		return; /* the check may be freed too */
	verdict = current_verdict(check, true, &late, &wait_us);
	if (verdict == VERDICT_WAIT) {
		wait_ms(check, wait_us / 1000 + 1);
		return;
	}
	failure_timeout(why, kind->waits_for(check->probe), check->config.timeout_ms);
	kind->cancel(check->probe);
	probe_ended(check);
	if (verdict == VERDICT_VOID)
		repeat_void(check, late);
	else
		conclude(check, false, why, 0);
}

/* False: the probe cannot take its way, and has failed or waits. The check may be gone. */
static bool find_way(struct health_check *check)
{
	const struct health_way *way = &check->way;
	char why[FAILURE_TEXT];

	if (!check->config.to_vip)
		return true;
	if (!way->mark) { /* no next hop is known yet */
		wait_for_next(check);
		return false;
	}
	if (way->prepare(way->arg, &way->to, why, sizeof(why))) {
		conclude(check, false, why, 0);
		return false;
	}
	check->spec.address = way->to;
	check->spec.mark = way->mark;
	check->way_packets = way->sent(way->arg, way->mark);
	return true;
}

/* False: none is fit, and the check has failed. It may be gone. */
static bool find_source(struct health_check *check)
{
	char why[FAILURE_TEXT];

	if (!sources_find(check->health->sources, &check->spec.address, &check->spec.source, why))
		return true;
	conclude(check, false, why, 0);
	return false;
}

static void start_probe(struct health_check *check)
{
	struct health *health = check->health;

	check->probe_us = clock_monotonic_us();
	check->late_us = lateness_total(lateness_meter(check->health->lateness), check->probe_us);
	check->beats = lateness_meter(check->health->lateness)->beats;
	if (health->running_max && health->running >= health->running_max) {
		wait_for_next(check);
		probe_not_run(
		    check,
		    "too many probes run at once: raise the limit of open files (LimitNOFILE)");
		return;
	}
	if (!find_way(check) || !find_source(check))
		return;
	check->probe = check->kind->kind->start(check->kind->state, health->base, &check->spec,
						probe_done, check);
	if (check->probe) {
		health->running++;
		wait_ms(check, check->config.timeout_ms);
		return;
	}
	wait_for_next(check);
	probe_not_run(check, strerror(errno));
}

static void on_timer(int fd, short what, void *arg)
{
	struct health_check *check = arg;

	if (check->probe)
		probe_timed_out(check);
	else
		start_probe(check);
}

/* ---- checks ---- */

static void config_done(struct health_spec *config)
{
	free(config->type);
	free(config->path);
	free(config->host);
}

static int config_copy(const struct health_spec *from, struct health_spec *ret)
{
	struct health_spec copy = *from;

	copy.type = strdup(from->type);
	copy.path = from->path ? strdup(from->path) : NULL;
	copy.host = from->host ? strdup(from->host) : NULL;
	if (!copy.type || (from->path && !copy.path) || (from->host && !copy.host)) {
		config_done(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static const struct kind_state *find_state(const struct health *health, const char *type)
{
	for (unsigned i = 0; i < health->kinds_count; i++)
		if (!strcmp(health->kinds[i].kind->name, type))
			return &health->kinds[i];
	return NULL;
}

struct health_check *health_add(struct health *health, const struct health_spec *spec,
				const struct addr *address, uint16_t port,
				enum health_status initial, health_result_fn *result, void *arg)
{
	const struct kind_state *kind = find_state(health, spec->type);
	struct health_check *check;

	if (!kind) {
		errno = EINVAL;
		return NULL;
	}
	check = calloc(1, sizeof(*check));
	if (!check || config_copy(spec, &check->config)) {
		free(check);
		errno = ENOMEM;
		return NULL;
	}
	check->health = health;
	check->kind = kind;
	check->backend = *address;
	check->spec = (struct health_probe_spec){
	    .address = *address, .port = spec->port ? spec->port : port, .config = &check->config};
	check->result = result;
	check->arg = arg;
	set_status(check, initial);
	evtimer_assign(&check->timer, health->base, on_timer, check);
	LIST_INSERT_HEAD(&health->checks, check, link);
	wait_for_first(check);
	return check;
}

void health_set_way(struct health_check *check, const struct health_way *way)
{
	bool first = check->config.to_vip && !check->way.mark && !check->probe;

	check->way = *way;
	if (first)
		wait_for_first(check);
}

void health_remove(struct health_check *check)
{
	if (!check)
		return;
	event_del(&check->timer);
	if (check->probe) {
		check->kind->kind->cancel(check->probe);
		probe_ended(check);
	}
	LIST_REMOVE(check, link);
	config_done(&check->config);
	free(check);
}

/* ---- the scheduler ---- */

const struct health_kind *health_kind_find(const char *name)
{
	registry_for_each (health_kind, kind)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* Each running probe has a descriptor: thousands of them need more than the usual 1024. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warning("raising the limit of open files to %llu: %m",
			    (unsigned long long)limit.rlim_max);
}

static int open_kinds(struct health *health, struct error *err)
{
	size_t count;
	int rc;

	/* cppcheck-suppress comparePointers; both ends of one section */
	count = (size_t)(__stop_health_kind - __start_health_kind);
	health->kinds = calloc(count, sizeof(*health->kinds));
	if (!health->kinds)
		return error_set(err, -ENOMEM, "health checks: out of memory");
	registry_for_each (health_kind, kind) {
		struct kind_state *state = &health->kinds[health->kinds_count];

		rc = kind->open ? kind->open(health->base, &state->state) : 0;
		if (rc)
			return error_set(err, rc, "health checks of type %s: %s", kind->name,
					 strerror(-rc));
		state->kind = kind;
		health->kinds_count++;
	}
	return 0;
}

int health_new(struct event_base *base, const struct lateness *lateness, struct health **ret,
	       struct error *err)
{
	struct health *health = calloc(1, sizeof(*health));
	int rc;

	if (!health)
		return error_set(err, -ENOMEM, "health checks: out of memory");
	health->base = base;
	health->lateness = lateness;
	LIST_INIT(&health->checks);
	raise_descriptor_limit();
	health->sources = sources_new();
	rc = health->sources ? open_kinds(health, err)
			     : error_set(err, -ENOMEM, "health checks: out of memory");
	if (rc) {
		health_free(health);
		return rc;
	}
	*ret = health;
	return 0;
}

int health_avoid(struct health *health, const struct addr *addresses, unsigned count)
{
	return sources_avoid(health->sources, addresses, count);
}

void health_limit(struct health *health, unsigned probes)
{
	health->running_max = probes;
}

void health_free(struct health *health)
{
	struct health_check *check;

	if (!health)
		return;
	while ((check = LIST_FIRST(&health->checks)))
		health_remove(check);
	for (unsigned i = 0; i < health->kinds_count; i++)
		if (health->kinds[i].kind->close)
			health->kinds[i].kind->close(health->kinds[i].state);
	sources_free(health->sources);
	free(health->kinds);
	free(health);
}
