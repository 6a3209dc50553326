/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs one probe: its timeout, and the verdict of verdict.h on what it found. */
#include "attempt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event_struct.h>

#include "common/clock.h"
#include "failure.h"
#include "verdict.h"

struct kind_state {
	const struct health_kind *kind;
	void *state;
};

struct attempts {
	struct event_base *base;
	const struct lateness *lateness;
	struct kind_state *kinds;
	unsigned kinds_count;
	unsigned running, max; /* 0: no limit */
};

struct attempt {
	struct attempts *attempts;
	const struct health_kind *kind;
	struct health_probe *probe;
	struct event timer; /* the timeout */
	uint32_t timeout_ms;
	bool repeated;
	uint64_t began_us;
	uint64_t late_us, beats; /* total lateness and beats of the loop when it began */
	attempt_done_fn *done;
	void *arg;
};

/* ---- results ---- */

/* How late the loop was, in all, since the attempt began. */
static uint64_t late_us(const struct attempt *attempt, uint64_t now_us)
{
	return lateness_total(lateness_meter(attempt->attempts->lateness), now_us) -
	       attempt->late_us;
}

static void attempt_free(struct attempt *attempt)
{
	event_del(&attempt->timer);
	attempt->attempts->running--;
	free(attempt);
}

/* Frees the attempt first: done may start another, or end everything. */
static void finish(struct attempt *attempt, struct attempt_result *result)
{
	attempt_done_fn *done = attempt->done;
	void *arg = attempt->arg;

	result->began_us = attempt->began_us;
	result->ended_us = clock_monotonic_us();
	attempt_free(attempt);
	done(arg, result);
}

static enum verdict current_verdict(const struct attempt *attempt, bool timed_out,
				    uint64_t *ret_late_us, uint64_t *ret_wait_us)
{
	uint64_t now_us = clock_monotonic_us();
	struct verdict_case of = {
	    .timeout_us = attempt->timeout_ms * 1000ULL,
	    .elapsed_us = now_us - attempt->began_us,
	    .late_us = late_us(attempt, now_us),
	    .beats = lateness_meter(attempt->attempts->lateness)->beats - attempt->beats,
	    .timed_out = timed_out,
	    .repeated = attempt->repeated,
	};

	*ret_late_us = of.late_us;
	if (timed_out && of.elapsed_us > of.timeout_us + of.late_us)
		*ret_late_us = of.elapsed_us - of.timeout_us;
	return verdict_of(&of, ret_wait_us);
}

/* The latency, or 0 if the loop was too late to measure it. */
static uint32_t measured(const struct attempt *attempt, uint32_t latency_us)
{
	return late_us(attempt, clock_monotonic_us()) > latency_us / 4 ? 0 : latency_us;
}

static void probe_done(void *arg, enum health_outcome outcome, const char *why, uint32_t latency_us)
{
	struct attempt *attempt = arg;
	struct attempt_result result = {.outcome = ATTEMPT_PASSED, .why = why ? why : ""};
	uint64_t wait_us;

	if (outcome == HEALTH_PASSED)
		result.latency_us = measured(attempt, latency_us);
	else if (outcome == HEALTH_NOT_RUN)
		result.outcome = ATTEMPT_NOT_RUN;
	else if (current_verdict(attempt, false, &result.late_us, &wait_us) == VERDICT_VOID)
		result.outcome = ATTEMPT_VOID;
	else
		result.outcome = ATTEMPT_FAILED;
	finish(attempt, &result);
}

/* ---- the timeout ---- */

static void wait_ms(struct attempt *attempt, uint64_t ms)
{
	struct timeval wait = clock_span_ms(ms);

	/* otherwise the time counts from the start of this turn of the loop */
	event_base_update_cache_time(attempt->attempts->base);
	event_add(&attempt->timer, &wait);
}

/* What has arrived while the loop was busy is handled first: it may be the answer. */
static void on_timeout(int fd, short what, void *arg)
{
	struct attempt *attempt = arg;
	const struct health_kind *kind = attempt->kind;
	struct attempt_result result = {.outcome = ATTEMPT_FAILED};
	enum verdict verdict;
	uint64_t wait_us;
	char why[FAILURE_TEXT];

	if (kind->serve(attempt->probe))
		return; /* the attempt is gone */
	verdict = current_verdict(attempt, true, &result.late_us, &wait_us);
	if (verdict == VERDICT_WAIT) {
		wait_ms(attempt, wait_us / 1000 + 1);
		return;
	}
	failure_timeout(why, kind->waits_for(attempt->probe), attempt->timeout_ms);
	kind->cancel(attempt->probe);
	result.why = why;
	if (verdict == VERDICT_VOID)
		result.outcome = ATTEMPT_VOID;
	finish(attempt, &result);
}

/* ---- attempts ---- */

static struct kind_state *find_state(const struct attempts *attempts,
				     const struct health_kind *kind)
{
	for (unsigned i = 0; i < attempts->kinds_count; i++)
		if (attempts->kinds[i].kind == kind)
			return &attempts->kinds[i];
	return NULL;
}

struct attempt *attempt_start(struct attempts *attempts, const struct health_probe_spec *spec,
			      bool repeated, attempt_done_fn *done, void *arg)
{
	const struct health_kind *kind = spec->kind;
	const struct kind_state *state = find_state(attempts, kind);
	const struct lateness_meter *meter = lateness_meter(attempts->lateness);
	struct attempt *attempt;

	if (!state) {
		errno = EINVAL;
		return NULL;
	}
	attempt = calloc(1, sizeof(*attempt));
	if (!attempt)
		return NULL;
	*attempt = (struct attempt){.attempts = attempts,
				    .kind = kind,
				    .timeout_ms = spec->config->timeout_ms,
				    .repeated = repeated,
				    .began_us = clock_monotonic_us(),
				    .beats = meter->beats,
				    .done = done,
				    .arg = arg};
	attempt->late_us = lateness_total(meter, attempt->began_us);
	attempt->probe = kind->start(state->state, attempts->base, spec, probe_done, attempt);
	if (!attempt->probe) {
		free(attempt);
		return NULL;
	}
	evtimer_assign(&attempt->timer, attempts->base, on_timeout, attempt);
	attempts->running++;
	wait_ms(attempt, attempt->timeout_ms);
	return attempt;
}

void attempt_cancel(struct attempt *attempt)
{
	attempt->kind->cancel(attempt->probe);
	attempt_free(attempt);
}

/* ---- kinds ---- */

static int open_kinds(struct attempts *attempts, bool confined, struct error *err)
{
	/* cppcheck-suppress comparePointers; both ends of one section */
	size_t count = (size_t)(__stop_health_kind - __start_health_kind);

	attempts->kinds = calloc(count, sizeof(*attempts->kinds));
	if (!attempts->kinds)
		return error_set(err, -ENOMEM, "health checks: out of memory");
	registry_for_each (health_kind, kind) {
		struct kind_state *state = &attempts->kinds[attempts->kinds_count];
		int rc;

		if (kind->confined != confined)
			continue;
		rc = kind->open ? kind->open(attempts->base, &state->state) : 0;
		if (rc)
			return error_set(err, rc, "health checks of type %s: %s", kind->name,
					 strerror(-rc));
		state->kind = kind;
		attempts->kinds_count++;
	}
	return 0;
}

int attempts_new(struct event_base *base, const struct lateness *lateness, bool confined,
		 struct attempts **ret, struct error *err)
{
	struct attempts *attempts = calloc(1, sizeof(*attempts));
	int rc;

	if (!attempts)
		return error_set(err, -ENOMEM, "health checks: out of memory");
	attempts->base = base;
	attempts->lateness = lateness;
	rc = open_kinds(attempts, confined, err);
	if (rc) {
		attempts_free(attempts);
		return rc;
	}
	*ret = attempts;
	return 0;
}

void attempts_free(struct attempts *attempts)
{
	if (!attempts)
		return;
	for (unsigned i = 0; i < attempts->kinds_count; i++)
		if (attempts->kinds[i].kind->close)
			attempts->kinds[i].kind->close(attempts->kinds[i].state);
	free(attempts->kinds);
	free(attempts);
}

void attempts_limit(struct attempts *attempts, unsigned max)
{
	attempts->max = max;
}

bool attempts_full(const struct attempts *attempts)
{
	return attempts->max && attempts->running >= attempts->max;
}

bool attempts_busy(const struct attempts *attempts, const struct health_kind *kind)
{
	const struct kind_state *state = kind->is_busy ? find_state(attempts, kind) : NULL;

	return state && kind->is_busy(state->state);
}
