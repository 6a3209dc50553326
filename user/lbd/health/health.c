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
#include "echoes.h"
#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/printable.h"
#include "common/remark.h"
#include "failure.h"
#include "member.h"
#include "schedule.h"

#define WARN_EVERY_MS 60000

struct health_check {
	LIST_ENTRY(health_check) link;
	struct health *health;
	struct health_spec config;
	struct addr backend;
	struct members all; /* what its members have in common */
	struct event timer; /* for the next probe */
	bool lost;          /* the probe before this one had no process, or lost it */
	bool placed;        /* its place in the interval has been drawn */
	enum health_status status;
	uint32_t streak; /* probes in a row that contradict the status */
	struct remark *why;
	health_result_fn *result;
	void *arg;
	struct health_names names; /* of copies; service NULL: none */

	unsigned waits;             /* members whose result is still to come */
	bool no_process;            /* one of them could not be started for lack of it */
	const struct member *first; /* the one that kept.why is of; NULL: none has ended */
	struct attempt_result kept; /* of those that have ended, unless another one decides */
	struct remark *kept_why;

	unsigned members_count;
	struct member members[];
};

struct health {
	struct event_base *base;
	LIST_HEAD(check_list, health_check) checks;
	struct attempts *attempts;
	struct remote *remote;
	struct sources *sources;
	struct proofs *proofs;
	struct schedule_pace pace;
	uint64_t echoes_us; /* see echoes_means.last_us */
	uint64_t warned_ms, warned_late_ms;
	uint64_t counts[HEALTH_COUNTS];
};

/* What is checked, for the log. */
#define CHECK_LABEL (ADDR_TEXT + 64)

static const char *check_label(const struct health_check *check, char text[CHECK_LABEL])
{
	const struct member *first = &check->members[0];
	char address[ADDR_TEXT];

	addr_format(&check->backend, address);
	if (check->members_count > 1)
		snprintf(text, CHECK_LABEL, "health check of %s: %s of %u checks", address,
			 check->config.any ? "any" : "all", check->members_count);
	else
		snprintf(text, CHECK_LABEL, "health check of %s port %u: %s", address,
			 first->direct.spec.port, first->config->type);
	return text;
}

/* The result of each probe, for --debug. */
static void log_result(const struct health_check *check, bool passed, const char *why,
		       uint32_t latency_us)
{
	static const char *const names[] = {
	    [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up", [HEALTH_DOWN] = "down"};
	char label[CHECK_LABEL], result[FAILURE_TEXT + 16], streak[48] = "";
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
	log_debug("%s probe %s; %s%s", check_label(check, label), result, names[check->status],
		  streak);
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
	    .said = outcome == HEALTH_PASSED ? of->why : "",
	};

	snprintf(why, sizeof(why), "%s", reason);
	check->result(check->arg, &result);
}

/* This host lacks descriptors, memory or ports: that says nothing about the backend, which keeps
 * its status. The next probe comes after the interval. */
static void probe_not_run(struct health_check *check, const struct attempt_result *result)
{
	struct health *health = check->health;
	char why[FAILURE_TEXT], label[CHECK_LABEL];

	health->counts[HEALTH_COUNT_not_run]++;
	snprintf(why, sizeof(why), "probe not run: %.*s", FAILURE_TEXT - 32, result->why);
	log_debug("%s %s", check_label(check, label), why);
	if (log_is_due(&health->warned_ms, WARN_EVERY_MS))
		log_warning("%s: %s; its status is unchanged (logged once a minute)",
			    check_label(check, label), why);
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

static bool is_changing(const struct health_check *check)
{
	return check->streak && check->config.fast_ms;
}

/* Faster while what it finds contradicts the status, which is then certain sooner. Its place in the
 * interval is drawn once that is over: those that were lost together would keep pace. */
static void wait_for_next(struct health_check *check)
{
	uint64_t gone_ms = (clock_monotonic_us() - check->all.start_us) / 1000;
	bool fast = is_changing(check);
	uint32_t interval_ms = fast ? check->config.fast_ms : check->config.interval_ms;

	wait_ms(check, schedule_next(interval_ms, check->placed, gone_ms, random_draw()));
	check->placed = !fast;
}

static void wait_for_first(struct health_check *check)
{
	check->placed = check->status != HEALTH_UNKNOWN;
	wait_ms(check, schedule_first(check->config.interval_ms, check->placed, random_draw()));
}

/* ---- the result of a probe ---- */

static void conclude(struct health_check *check, const struct attempt_result *result)
{
	bool passed = result->outcome == ATTEMPT_PASSED;

	check->health->counts[passed ? HEALTH_COUNT_passed : HEALTH_COUNT_failed]++;
	count(check, passed);
	check->all.repeated = check->lost = false;
	wait_for_next(check);
	if (log_debugs())
		log_result(check, passed, result->why, result->latency_us);
	if (!passed)
		remark_set(&check->why, result->why);
	else if (check->status == HEALTH_UP)
		remark_drop(&check->why);
	report(check, passed ? HEALTH_PASSED : HEALTH_FAILED, result, remark_text(check->why));
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
	char label[CHECK_LABEL], time[DURATION_TEXT];

	duration_exact(late / 1000, time);
	health->counts[HEALTH_COUNT_repeated]++;
	if (log_is_due(&health->warned_late_ms, WARN_EVERY_MS))
		log_warning(
		    "lbd was %s late during a health check: probes that fail at such a time "
		    "are repeated before they count (logged once a minute)",
		    time);
	log_debug("%s probe void: lbd was %s late; it is repeated", check_label(check, label),
		  time);
	check->all.repeated = true;
	wait_for_repetition(check);
}

/* The same. The process that ran it has ended, which remote.c logs. */
static void repeat_lost(struct health_check *check)
{
	char label[CHECK_LABEL];

	check->health->counts[HEALTH_COUNT_repeated]++;
	log_debug("%s probe lost with its process; it is repeated", check_label(check, label));
	wait_after_loss(check);
}

/* ---- several checks, one result ---- */

/* The check may be gone afterwards, as after all functions below that end a round. */
static void end_round(struct health_check *check, const struct attempt_result *result)
{
	switch (result->outcome) {
	case ATTEMPT_PASSED:
	case ATTEMPT_FAILED:
		conclude(check, result);
		break;
	case ATTEMPT_NOT_RUN:
		if (check->no_process)
			wait_after_loss(check);
		else
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

static void stop_members(struct health_check *check)
{
	for (unsigned i = 0; i < check->members_count; i++)
		member_stop(&check->members[i]);
	check->waits = 0;
}

/* "check 2, http: HTTP status 503, expected 200-399" */
static void name_check(const struct member *member, const char *why, char text[FAILURE_TEXT])
{
	snprintf(text, FAILURE_TEXT, "check %td, %.15s: %.*s", member - member->check->members + 1,
		 member->config->type, FAILURE_TEXT - 48, why);
}

/* A check without a result says more about the whole than those with one, if none decides. */
static int gravity(enum attempt_outcome outcome)
{
	switch (outcome) {
	case ATTEMPT_LOST:
		return 3;
	case ATTEMPT_VOID:
		return 2;
	case ATTEMPT_NOT_RUN:
		return 1;
	default:
		return 0;
	}
}

/* The slowest answer: if one was not measured, neither is the whole. */
static uint32_t slowest(uint32_t a, uint32_t b)
{
	if (!a || !b)
		return 0;
	return a > b ? a : b;
}

/* More than what is kept; of two that say the same, the first in the list. */
static bool says_more(const struct member *member, const struct attempt_result *result)
{
	const struct health_check *check = member->check;
	int more = check->first ? gravity(result->outcome) - gravity(check->kept.outcome) : 1;

	return more > 0 || (!more && member < check->first);
}

/* Adds the result of a member that decides nothing: one that passed where all must, or failed where
 * one is enough, or had no result. */
static void keep_result(struct member *member, const struct attempt_result *result)
{
	struct health_check *check = member->check;
	struct attempt_result *kept = &check->kept;
	const struct attempt_result before = check->first ? *kept : *result;
	char why[FAILURE_TEXT];

	if (says_more(member, result)) {
		*kept = *result;
		name_check(member, result->why, why);
		remark_set(&check->kept_why, why);
		kept->why = remark_text(check->kept_why);
		check->first = member;
	}
	kept->latency_us = slowest(before.latency_us, result->latency_us);
	kept->began_us = before.began_us < result->began_us ? before.began_us : result->began_us;
	kept->ended_us = before.ended_us > result->ended_us ? before.ended_us : result->ended_us;
}

/* The first that fails decides where all must pass, and the first that passes where one is enough.
 * True: the round has ended, and the check may be gone. */
static bool on_member(struct member *member, const struct attempt_result *result)
{
	struct health_check *check = member->check;
	enum attempt_outcome decides = check->config.any ? ATTEMPT_PASSED : ATTEMPT_FAILED;
	struct attempt_result of = *result;
	char why[FAILURE_TEXT];

	check->waits--;
	check->no_process |= member->no_process;
	if (check->members_count > 1 && result->outcome != decides) {
		keep_result(member, result);
		if (check->waits)
			return false;
		of = check->kept;
		if (of.outcome == ATTEMPT_FAILED) {
			snprintf(why, sizeof(why), "none of %u checks has passed: %.*s",
				 check->members_count, FAILURE_TEXT - 48, of.why);
			of.why = why;
		}
	} else if (check->members_count > 1) {
		stop_members(check);
		name_check(member, result->why, why);
		of.why = why;
	}
	end_round(check, &of);
	return true;
}

/* ---- one round ---- */

/* Does it lack its way, as no next hop is known yet? */
static bool lacks_way(const struct health_check *check)
{
	return !check->all.way.mark && health_spec_to_vip(&check->config);
}

static bool is_busy(const struct health_check *check)
{
	for (unsigned i = 0; i < check->members_count; i++)
		if (attempts_busy(check->health->attempts, check->members[i].kind))
			return true;
	return false;
}

static void on_timer(int fd, short what, void *arg)
{
	struct health_check *check = arg;
	struct schedule_pace *pace = &check->health->pace;
	uint64_t now_us = clock_monotonic_us();

	if (is_busy(check) || !schedule_may_begin(pace, now_us)) {
		wait_ms(check, 1 + random_draw() % SCHEDULE_CROWD_MS);
		return;
	}
	pace->begun += check->members_count - 1;
	check->all.start_us = now_us;
	if (lacks_way(check)) {
		wait_for_next(check);
		return;
	}
	check->waits = check->members_count;
	check->first = NULL;
	check->no_process = false;
	for (unsigned i = 0; i < check->members_count; i++)
		if (member_start(&check->members[i]))
			return;
}

/* ---- names ---- */

#define NAMES (sizeof(struct health_names) / sizeof(char *))

static void free_names(struct health_names *names)
{
	const char **list = (const char **)names;

	for (unsigned i = 0; i < NAMES; i++)
		free((char *)list[i]);
	*names = (struct health_names){0};
}

static int copy_names(const struct health_names *from, struct health_names *ret)
{
	const char *const *list = (const char *const *)from;
	const char **copies = (const char **)ret;

	for (unsigned i = 0; i < NAMES; i++)
		if (!(copies[i] = strdup(list[i]))) {
			free_names(ret);
			return -ENOMEM;
		}
	return 0;
}

bool health_needs_names(const struct health_check *check)
{
	for (unsigned i = 0; i < check->members_count; i++)
		if (check->members[i].kind->aside)
			return true;
	return false;
}

/* What runs now has its own copy of them. */
int health_name(struct health_check *check, const struct health_names *names)
{
	int rc = 0;

	free_names(&check->names);
	if (health_needs_names(check))
		rc = copy_names(names, &check->names);
	for (unsigned i = 0; i < check->members_count; i++)
		member_name(&check->members[i], check->names.service ? &check->names : NULL);
	return rc;
}

/* ---- checks ---- */

static void free_check(struct health_check *check)
{
	health_spec_done(&check->config);
	free_names(&check->names);
	remark_drop(&check->why);
	remark_drop(&check->kept_why);
	free(check);
}

/* False: one of them has no kind. */
static bool make_members(struct health_check *check, const struct addr *address, uint16_t port)
{
	unsigned count;
	const struct health_spec *list = health_spec_list(&check->config, &count);

	check->members_count = count;
	for (unsigned i = 0; i < count; i++) {
		const struct health_kind *kind = health_kind_of(&list[i]);
		uint16_t of_all = check->config.port ? check->config.port : port;

		if (!kind)
			return false;
		member_init(&check->members[i], check, &check->all, &list[i], kind, address,
			    list[i].port ? list[i].port : of_all);
	}
	return true;
}

struct health_check *health_add(struct health *health, const struct health_spec *spec,
				const struct addr *address, uint16_t port,
				enum health_status initial, health_result_fn *result, void *arg)
{
	struct health_check *check;
	unsigned count;

	health_spec_list(spec, &count);
	check = calloc(1, sizeof(*check) + count * sizeof(check->members[0]));
	if (!check || health_spec_copy(spec, &check->config)) {
		free(check);
		errno = ENOMEM;
		return NULL;
	}
	check->all = (struct members){.attempts = health->attempts,
				      .remote = health->remote,
				      .sources = health->sources,
				      .done = on_member};
	if (!make_members(check, address, port)) {
		free_check(check);
		errno = EINVAL;
		return NULL;
	}
	check->health = health;
	check->backend = *address;
	check->result = result;
	check->arg = arg;
	set_status(check, initial);
	evtimer_assign(&check->timer, health->base, on_timer, check);
	LIST_INSERT_HEAD(&health->checks, check, link);
	for (unsigned i = 0; i < count; i++)
		if (check->members[i].kind->confined)
			remote_need(health->remote);
	wait_for_first(check);
	return check;
}

bool health_wants_way(const struct health_check *check, uint16_t port)
{
	for (unsigned i = 0; i < check->members_count; i++)
		if (member_wants_way(&check->members[i], port))
			return true;
	return false;
}

/* Without the memory for it, none goes to the VIP of its own accord. */
static void set_proof(struct health_check *check, const struct health_way *way)
{
	struct proofs *proofs = check->health->proofs;
	struct proof *former = check->all.proof;

	uint64_t now_ms = clock_monotonic_ms();

	check->all.proof = way->port ? proof_get(proofs, &way->to, way->port, now_ms) : NULL;
	proof_put(former, now_ms);
}

/* Of the VIP alone: which of its services a long packet is for does not matter. Without the memory
 * for it, none is tried. */
static void add_echoes(struct health_check *check)
{
	struct health *health = check->health;
	struct echoes_means means = {.way = &check->all.way,
				     .remote = health->remote,
				     .sources = health->sources,
				     .last_us = &health->echoes_us,
				     .most = (uint16_t)check->config.mtu};
	uint64_t now_ms = clock_monotonic_ms();

	means.proof = proof_get(health->proofs, &check->all.way.to, 0, now_ms);
	check->all.echoes = echoes_new(&means);
	if (!check->all.echoes)
		proof_put(means.proof, now_ms);
}

void health_set_way(struct health_check *check, const struct health_way *way)
{
	bool first = lacks_way(check) && !check->waits;

	check->all.way = *way;
	set_proof(check, way);
	if (!check->all.echoes && check->config.mtu && way->longest)
		add_echoes(check);
	if (first)
		wait_for_first(check);
}

void health_aim(const struct health_check *check, struct health_aim *ret)
{
	for (unsigned i = 0; i < check->members_count; i++)
		member_aim(&check->members[i], ret);
	/* names of devices may be any bytes, and a character may be cut: JSON takes text alone */
	make_printable(ret->why, false);
}

bool health_mtu(const struct health_check *check, struct health_mtu *ret)
{
	if (!check || !check->all.echoes)
		return false;
	echoes_tell(check->all.echoes, ret);
	return true;
}

void health_remove(struct health_check *check)
{
	if (!check)
		return;
	event_del(&check->timer);
	for (unsigned i = 0; i < check->members_count; i++)
		member_done(&check->members[i]);
	echoes_free(check->all.echoes);
	proof_put(check->all.proof, clock_monotonic_ms());
	LIST_REMOVE(check, link);
	free_check(check);
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
	health->proofs = proofs_new();
	rc = attempts_new(base, lateness, false, &health->attempts, err);
	if (!rc && (!health->sources || !health->proofs || remote_new(&options, &health->remote)))
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
	proofs_free(health->proofs);
	free(health);
}
