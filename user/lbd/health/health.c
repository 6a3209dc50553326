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

#include "attempt.h"
#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "failure.h"
#include "remote.h"
#include "schedule.h"
#include "source.h"

#define WARN_EVERY_MS 60000

struct health_check {
	LIST_ENTRY(health_check) link;
	struct health *health;
	const struct health_kind *kind;
	struct health_spec config;
	struct addr backend;
	struct health_probe_spec spec;
	struct health_way way; /* mark 0: none yet */
	uint64_t way_packets;  /* when the probe began */
	struct event timer;    /* for the next probe */
	/* the probe that runs, here or in the probe process */
	struct attempt *local;
	struct remote_probe *remote;
	bool repeated; /* the probe before this one was void */
	bool lost;     /* the probe before this one had no process, or lost it */
	bool placed;   /* its place in the interval has been drawn */
	enum health_status status;
	uint32_t streak;   /* probes in a row that contradict the status */
	uint64_t start_us; /* when the last probe was started */
	char why[FAILURE_TEXT];
	health_result_fn *result;
	void *arg;
};

struct health {
	struct event_base *base;
	LIST_HEAD(check_list, health_check) checks;
	struct attempts *attempts;
	struct remote *remote;
	struct sources *sources;
	struct schedule_pace pace;
	uint64_t warned_ms, warned_late_ms;
	uint64_t counts[HEALTH_COUNTS];
};

/* The result of each probe, for --debug. */
static void log_result(const struct health_check *check, bool passed, const char *why,
		       uint32_t latency_us)
{
	static const char *const names[] = {
	    [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up", [HEALTH_DOWN] = "down"};
	char address[ADDR_TEXT], result[FAILURE_TEXT + 16], streak[48] = "";
	char latency[DURATION_TEXT];

	if (passed && latency_us)
		snprintf(result, sizeof(result), "passed in %s",
			 duration_measured(latency_us, latency));
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
static void report(struct health_check *check, enum health_outcome outcome,
		   const struct attempt_result *of, const char *reason)
{
	char why[FAILURE_TEXT];
	struct health_result result = {
	    .outcome = outcome,
	    .began_ms = of->began_us / 1000,
	    .ended_ms = of->ended_us / 1000,
	    .status = check->status,
	    .latency_us = outcome == HEALTH_PASSED ? of->latency_us : 0,
	    .why = why,
	};

	snprintf(why, sizeof(why), "%s", reason);
	check->result(check->arg, &result);
}

/* This host lacks descriptors, memory or ports: that says nothing about the backend, which keeps
 * its status. The next probe comes after the interval. */
static void probe_not_run(struct health_check *check, const struct attempt_result *result)
{
	struct health *health = check->health;
	char why[FAILURE_TEXT];
	char address[ADDR_TEXT];

	health->counts[HEALTH_COUNT_not_run]++;
	snprintf(why, sizeof(why), "probe not run: %.*s", FAILURE_TEXT - 32, result->why);
	log_debug("health check of %s port %u: %s %s", addr_format(&check->backend, address),
		  check->spec.port, check->config.type, why);
	if (log_is_due(&health->warned_ms, WARN_EVERY_MS))
		log_warning(
		    "health check of %s port %u: %s; its status is unchanged (logged once a minute)",
		    addr_format(&check->backend, address), check->spec.port, why);
	report(check, HEALTH_NOT_RUN, result, why);
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
	uint64_t gone_ms = (clock_monotonic_us() - check->start_us) / 1000;

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

static void conclude(struct health_check *check, const struct attempt_result *result)
{
	bool passed = result->outcome == ATTEMPT_PASSED;

	check->health->counts[passed ? HEALTH_COUNT_passed : HEALTH_COUNT_failed]++;
	count(check, passed);
	check->repeated = check->lost = false;
	wait_for_next(check);
	if (log_debugs())
		log_result(check, passed, result->why, result->latency_us);
	if (!passed)
		snprintf(check->why, sizeof(check->why), "%s", result->why);
	else if (check->status == HEALTH_UP)
		check->why[0] = 0;
	report(check, passed ? HEALTH_PASSED : HEALTH_FAILED, result, check->why);
}

/* At a random time: not all checks at the same moment. */
static void wait_for_repetition(struct health_check *check)
{
	wait_ms(check, schedule_first(check->config.interval_ms, false, random_draw()));
}

/* Soon once, as the process is started again, but not twice in a row: it may be this very probe
 * that ends the process, or it cannot be started. */
static void wait_after_loss(struct health_check *check)
{
	if (check->lost)
		wait_for_next(check);
	else
		wait_for_repetition(check);
	check->lost = true;
}

/* Nothing is reported, as if the probe had not taken place. */
static void repeat_void(struct health_check *check, uint64_t late)
{
	struct health *health = check->health;
	char address[ADDR_TEXT], time[DURATION_TEXT];

	duration_exact(late / 1000, time);
	health->counts[HEALTH_COUNT_repeated]++;
	if (log_is_due(&health->warned_late_ms, WARN_EVERY_MS))
		log_warning(
		    "lbd was %s late during a health check: probes that fail at such a time "
		    "are repeated before they count (logged once a minute)",
		    time);
	log_debug("health check of %s port %u: %s probe void: lbd was %s late; it is repeated",
		  addr_format(&check->backend, address), check->spec.port, check->config.type,
		  time);
	check->repeated = true;
	wait_for_repetition(check);
}

/* The same. The process that ran it has ended, which remote.c logs. */
static void repeat_lost(struct health_check *check)
{
	char address[ADDR_TEXT];

	check->health->counts[HEALTH_COUNT_repeated]++;
	log_debug("health check of %s port %u: %s probe lost with its process; it is repeated",
		  addr_format(&check->backend, address), check->spec.port, check->config.type);
	wait_after_loss(check);
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

static void probe_passed(struct health_check *check, const struct attempt_result *result)
{
	struct attempt_result failed = *result;

	if (took_its_way(check)) {
		conclude(check, result);
		return;
	}
	failed.outcome = ATTEMPT_FAILED;
	failed.why = "the check did not take the tunnel: another tc program or rule of this "
		     "host sent it elsewhere";
	conclude(check, &failed);
}

static void on_attempt(void *arg, const struct attempt_result *result)
{
	struct health_check *check = arg;

	check->local = NULL;
	check->remote = NULL;
	switch (result->outcome) {
	case ATTEMPT_PASSED:
		probe_passed(check, result);
		break;
	case ATTEMPT_FAILED:
		took_its_way(check); /* else the way is made again for the next probe */
		conclude(check, result);
		break;
	case ATTEMPT_NOT_RUN:
		wait_for_next(check);
		probe_not_run(check, result);
		break;
	case ATTEMPT_VOID:
		repeat_void(check, result->late_us);
		break;
	case ATTEMPT_LOST:
		repeat_lost(check);
		break;
	}
}

/* Of a probe that was not started. */
static struct attempt_result result_now(const struct health_check *check,
					enum attempt_outcome outcome, const char *why)
{
	return (struct attempt_result){.outcome = outcome,
				       .began_us = check->start_us,
				       .ended_us = clock_monotonic_us(),
				       .why = why};
}

static void not_started(struct health_check *check, const char *why)
{
	struct attempt_result result = result_now(check, ATTEMPT_NOT_RUN, why);

	wait_for_next(check);
	probe_not_run(check, &result);
}

/* It cannot be sent, and so fails. */
static void not_sent(struct health_check *check, const char *why)
{
	struct attempt_result result = result_now(check, ATTEMPT_FAILED, why);

	conclude(check, &result);
}

static void no_process(struct health_check *check)
{
	struct health_process process;
	struct attempt_result result;
	char why[FAILURE_TEXT];

	remote_process(check->health->remote, &process);
	snprintf(why, sizeof(why), "the probe process is being started again: %.*s",
		 FAILURE_TEXT - 64, process.why);
	result = result_now(check, ATTEMPT_NOT_RUN, why);
	wait_after_loss(check);
	probe_not_run(check, &result);
}

/* False: the probe cannot take its way, and has failed or waits. The check may be gone. */
static bool find_way(struct health_check *check)
{
	const struct health_way *way = &check->way;
	char why[FAILURE_TEXT];
	int rc;

	if (!check->config.to_vip)
		return true;
	if (!way->mark) { /* no next hop is known yet */
		wait_for_next(check);
		return false;
	}
	rc = way->prepare(way->arg, &way->to, why, sizeof(why));
	if (rc) {
		if (failure_is_local(-rc))
			not_started(check, why);
		else
			not_sent(check, why);
		return false;
	}
	check->spec.address = way->to;
	check->spec.mark = way->mark;
	check->way_packets = way->sent(way->arg, way->mark);
	return true;
}

/* False: none is fit, and the check has failed or is not run. It may be gone. */
static bool find_source(struct health_check *check)
{
	char why[FAILURE_TEXT];
	int rc =
	    sources_find(check->health->sources, &check->spec.address, &check->spec.source, why);

	if (rc == -EADDRNOTAVAIL)
		not_sent(check, why);
	else if (rc)
		not_started(check, why);
	return !rc;
}

static void start_confined(struct health_check *check)
{
	if (!find_way(check) || !find_source(check))
		return;
	check->remote =
	    remote_start(check->health->remote, &check->spec, check->repeated, on_attempt, check);
	if (check->remote)
		return;
	if (errno == ENOTCONN)
		no_process(check);
	else
		not_started(check, strerror(errno));
}

static void start_here(struct health_check *check)
{
	struct attempts *attempts = check->health->attempts;

	if (attempts_full(attempts)) {
		not_started(
		    check,
		    "too many probes run at once: raise the limit of open files (LimitNOFILE)");
		return;
	}
	if (!find_way(check) || !find_source(check))
		return;
	check->local = attempt_start(attempts, &check->spec, check->repeated, on_attempt, check);
	if (!check->local)
		not_started(check, strerror(errno));
}

static void on_timer(int fd, short what, void *arg)
{
	struct health_check *check = arg;
	uint64_t now_us = clock_monotonic_us();

	if (!schedule_may_begin(&check->health->pace, now_us)) {
		wait_ms(check, 1 + random_draw() % SCHEDULE_CROWD_MS);
		return;
	}
	check->start_us = now_us;
	if (check->kind->confined)
		start_confined(check);
	else
		start_here(check);
}

/* ---- checks ---- */

struct health_check *health_add(struct health *health, const struct health_spec *spec,
				const struct addr *address, uint16_t port,
				enum health_status initial, health_result_fn *result, void *arg)
{
	const struct health_kind *kind = health_kind_of(spec);
	struct health_check *check;

	if (!kind) {
		errno = EINVAL;
		return NULL;
	}
	check = calloc(1, sizeof(*check));
	if (!check || health_spec_copy(spec, &check->config)) {
		free(check);
		errno = ENOMEM;
		return NULL;
	}
	check->health = health;
	check->kind = kind;
	check->backend = *address;
	check->spec = (struct health_probe_spec){.kind = kind,
						 .address = *address,
						 .port = spec->port ? spec->port : port,
						 .socket = -1,
						 .config = &check->config};
	check->result = result;
	check->arg = arg;
	set_status(check, initial);
	evtimer_assign(&check->timer, health->base, on_timer, check);
	LIST_INSERT_HEAD(&health->checks, check, link);
	if (kind->confined)
		remote_need(health->remote);
	wait_for_first(check);
	return check;
}

void health_set_way(struct health_check *check, const struct health_way *way)
{
	bool first = check->config.to_vip && !check->way.mark && !check->local && !check->remote;

	check->way = *way;
	if (first)
		wait_for_first(check);
}

void health_remove(struct health_check *check)
{
	if (!check)
		return;
	event_del(&check->timer);
	if (check->local)
		attempt_cancel(check->local);
	if (check->remote)
		remote_cancel(check->remote);
	LIST_REMOVE(check, link);
	health_spec_done(&check->config);
	free(check);
}

/* ---- the scheduler ---- */

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

int health_new(struct event_base *base, const struct lateness *lateness, struct health **ret,
	       struct error *err)
{
	struct health *health = calloc(1, sizeof(*health));
	struct remote_options options = remote_defaults(base);
	int rc;

	if (!health)
		return error_set(err, -ENOMEM, "health checks: out of memory");
	health->base = base;
	LIST_INIT(&health->checks);
	raise_descriptor_limit();
	health->sources = sources_new();
	rc = attempts_new(base, lateness, false, &health->attempts, err);
	if (!rc && (!health->sources || remote_new(&options, &health->remote)))
		rc = error_set(err, -ENOMEM, "health checks: out of memory");
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
	attempts_limit(health->attempts, probes);
}

const uint64_t *health_counts(const struct health *health)
{
	return health->counts;
}

void health_process(const struct health *health, struct health_process *ret)
{
	remote_process(health->remote, ret);
}

void health_free(struct health *health)
{
	struct health_check *check;

	if (!health)
		return;
	while ((check = LIST_FIRST(&health->checks)))
		health_remove(check);
	attempts_free(health->attempts);
	remote_free(health->remote);
	sources_free(health->sources);
	free(health);
}
