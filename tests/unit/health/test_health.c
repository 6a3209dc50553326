/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks: rise and fall with a scripted kind, the real kinds with servers on the same loop.
 * Tests wait for a condition, however long it takes; rules about time are tested with a simulated
 * clock in test_lateness.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "health_loop.h"
#include "lbd/health/health.h"
#include "support/test_addr.h"
#include "support/test_loop.h"
#include "support/test_netns.h"

/* libevent uses the coarse clock: a timer may be early by its resolution, up to 10 ms */
#define COARSE_MS 15

/* ---- what a check reported ---- */

struct reported {
	unsigned results, changes, passed;
	enum health_outcome outcome;
	uint64_t began_ms, ended_ms;
	enum health_status status;
	uint32_t latency_us;
	char why[320], last_failure[320];
	struct health_check *remove;    /* a check to remove in the callback */
	const struct reported *removed; /* what that check has reported */
	unsigned removed_results;       /* how often, until it was removed */
};

static void on_result(void *arg, const struct health_result *result)
{
	struct reported *reported = arg;

	reported->changes += result->status != reported->status;
	reported->outcome = result->outcome;
	reported->began_ms = result->began_ms;
	reported->ended_ms = result->ended_ms;
	reported->passed += result->latency_us > 0;
	reported->status = result->status;
	reported->latency_us = result->latency_us;
	snprintf(reported->why, sizeof(reported->why), "%s", result->why);
	if (result->why[0])
		snprintf(reported->last_failure, sizeof(reported->last_failure), "%s", result->why);
	reported->results++;
	if (reported->remove) {
		health_remove(reported->remove);
		reported->remove = NULL;
		reported->removed_results = reported->removed ? reported->removed->results : 0;
	}
}

static struct health_spec spec_of(const char *type)
{
	return (struct health_spec){.type = (char *)type,
				    .path = (char *)"/",
				    .status_min = 200,
				    .status_max = 399,
				    .interval_ms = 200,
				    .timeout_ms = PATIENT_MS,
				    .rise = 2,
				    .fall = 3};
}

static struct health_check *add(const struct health_spec *spec, const char *address, uint16_t port,
				enum health_status initial, struct reported *reported)
{
	const struct addr addr = test_addr(address);
	struct health_check *check;

	reported->status = initial;
	check = health_add(health, spec, &addr, port, initial, on_result, reported);
	assert_non_null(check);
	return check;
}

/* Probes until a latency was measured, which a late loop does not do; returns the last result. */
static struct reported probe_measured(const struct health_spec *spec, const char *address,
				      uint16_t port)
{
	struct reported reported = {0};
	struct health_check *check = add(spec, address, port, HEALTH_UNKNOWN, &reported);

	assert_true(run_until(&reported.passed, 1));
	health_remove(check);
	return reported;
}

/* Probes once; returns the result. */
static struct reported probe_once(const struct health_spec *spec, const char *address,
				  uint16_t port)
{
	struct reported reported = {0};
	struct health_check *check = add(spec, address, port, HEALTH_UNKNOWN, &reported);

	assert_true(run_until(&reported.results, 1));
	health_remove(check);
	return reported;
}

static struct health_process probe_process(void)
{
	struct health_process process;

	health_process(health, &process);
	return process;
}

/* ---- a kind with scripted results: '+', '-', '!' (not run), '?' (cannot start), '~' (hangs)
 * ---- */

static const char *script;
static unsigned script_started, script_cancelled;
static uint64_t script_times[64];

struct health_probe {
	char says;
	struct event *event;
	health_done_fn *done;
	void *arg;
};

static void script_cancel(struct health_probe *probe)
{
	script_cancelled++;
	event_free(probe->event);
	free(probe);
}

static void script_end(int fd, short what, void *arg)
{
	struct health_probe probe = *(struct health_probe *)arg;

	free(arg);
	event_free(probe.event);
	probe.done(probe.arg,
		   probe.says == '+'   ? HEALTH_PASSED
		   : probe.says == '-' ? HEALTH_FAILED
				       : HEALTH_NOT_RUN,
		   probe.says == '+' ? NULL : "scripted", 7);
}

static bool script_serve(struct health_probe *probe)
{
	return false;
}

static const char *script_waits_for(const struct health_probe *probe)
{
	return "script: timed out";
}

static struct health_probe *script_start(void *state, struct event_base *loop,
					 const struct health_probe_spec *spec, health_done_fn *done,
					 void *arg)
{
	struct health_probe *probe;
	struct timeval soon = {.tv_usec = 1000};

	if (script_started < 64)
		script_times[script_started] = clock_monotonic_ms();
	script_started++;
	if (*script == '?') {
		script++;
		errno = EMFILE;
		return NULL;
	}
	probe = malloc(sizeof(*probe));
	assert_non_null(probe);
	probe->says = *script ? *script++ : '+';
	probe->done = done;
	probe->arg = arg;
	probe->event = evtimer_new(loop, script_end, probe);
	if (probe->says != '~')
		event_add(probe->event, &soon);
	return probe;
}

REGISTER(health_kind, scripted) = {.name = "scripted",
				   .start = script_start,
				   .serve = script_serve,
				   .waits_for = script_waits_for,
				   .cancel = script_cancel};

/* The statuses after each probe of the script, as letters: ? unknown, u up, d down; capital where
 * the status has changed. */
static void assert_statuses(const char *probes, enum health_status initial, const char *expected)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;
	char seen[64] = "";

	script = probes;
	spec.interval_ms = 10;
	check = add(&spec, "192.0.2.1", 80, initial, &reported);
	for (unsigned i = 0; i < strlen(probes); i++) {
		unsigned changes = reported.changes;

		assert_true(run_until(&reported.results, i + 1));
		assert_int_equal(reported.results, i + 1);
		seen[i] = "?ud"[reported.status];
		if (reported.changes != changes)
			seen[i] = "!UD"[reported.status];
	}
	health_remove(check);
	assert_string_equal(seen, expected);
}

static void first_probe_of_an_unknown_backend_decides_alone(void **state)
{
	assert_statuses("+", HEALTH_UNKNOWN, "U");
	assert_statuses("-", HEALTH_UNKNOWN, "D");
}

static void fall_counts_failures_in_a_row(void **state)
{
	assert_statuses("+--+---+", HEALTH_UNKNOWN, "UuuuuuDd");
}

static void rise_counts_successes_in_a_row(void **state)
{
	assert_statuses("-+-++", HEALTH_UNKNOWN, "DdddU");
}

static void kept_status_is_not_a_change_and_needs_the_full_count(void **state)
{
	assert_statuses("+---", HEALTH_UP, "uuuD");
	assert_statuses("-++", HEALTH_DOWN, "ddU");
}

static void probe_that_could_not_run_does_not_change_the_status(void **state)
{
	assert_statuses("!?", HEALTH_UNKNOWN, "??");
	assert_statuses("!?!?!?!?", HEALTH_UP, "uuuuuuuu");
	/* it does not interrupt a series of failures either */
	assert_statuses("-!-?-", HEALTH_UP, "uuuuD");
}

static void each_probe_is_counted_under_its_result(void **state)
{
	const uint64_t *counts = health_counts(health);

	assert_statuses("++-!?+", HEALTH_UNKNOWN, "Uuuuuu");
	assert_int_equal(counts[HEALTH_COUNT_passed], 3);
	assert_int_equal(counts[HEALTH_COUNT_failed], 1);
	assert_int_equal(counts[HEALTH_COUNT_not_run], 2);
}

static void probe_over_the_limit_is_not_run_until_another_ends(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported hanging = {0}, reported = {0};
	struct health_check *first, *second;

	health_limit(health, 1);
	script = "~";
	script_started = 0;
	spec.interval_ms = 10;
	spec.timeout_ms = PATIENT_MS;
	first = add(&spec, "192.0.2.1", 80, HEALTH_UP, &hanging);
	assert_true(run_until(&script_started, 1));
	second = add(&spec, "192.0.2.2", 80, HEALTH_UP, &reported);
	assert_true(run_until(&reported.results, 2));
	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_non_null(strstr(reported.why, "too many probes run at once"));
	assert_int_equal(script_started, 1);
	health_remove(first);
	assert_true(run_until(&reported.passed, 2)); /* each ends and makes room for the next */
	health_remove(second);
	health_limit(health, 0);
}

/* ---- several checks of a backend ---- */

/* Of `count` scripted checks with one result: the script has a letter for each of them, round by
 * round. Returns the last result after so many rounds. */
static struct reported probe_several(const char *results, unsigned count, bool any,
				     enum health_status initial, unsigned rounds)
{
	struct health_spec spec = spec_of("several");
	struct health_spec list[HEALTH_CHECKS_MAX];
	struct reported reported = {0};
	struct health_check *check;

	for (unsigned i = 0; i < count; i++)
		list[i] = spec_of("scripted");
	spec.checks = list;
	spec.checks_count = count;
	spec.any = any;
	spec.interval_ms = 10;
	script = results;
	script_started = script_cancelled = 0;
	check = add(&spec, "192.0.2.1", 80, initial, &reported);
	assert_true(run_until(&reported.results, rounds));
	health_remove(check);
	return reported;
}

static void of_several_checks_all_must_pass(void **state)
{
	struct reported reported = probe_several("+++", 3, false, HEALTH_UNKNOWN, 1);

	assert_int_equal(reported.status, HEALTH_UP);
	assert_string_equal(reported.why, "");
	reported = probe_several("+-+", 3, false, HEALTH_UNKNOWN, 1);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "check 2, scripted: scripted");
}

static void of_several_checks_one_that_passes_is_enough_with_any(void **state)
{
	struct reported reported = probe_several("--+", 3, true, HEALTH_UNKNOWN, 1);

	assert_int_equal(reported.status, HEALTH_UP);
	reported = probe_several("---", 3, true, HEALTH_UNKNOWN, 1);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why,
			    "none of 3 checks has passed: check 1, scripted: scripted");
}

static void a_check_that_decides_ends_the_others(void **state)
{
	struct reported reported = probe_several("~-~", 3, false, HEALTH_UNKNOWN, 1);

	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "check 2, scripted: scripted");
	assert_int_equal(script_started, 3);
	assert_int_equal(script_cancelled, 2);
	reported = probe_several("~+~", 3, true, HEALTH_UNKNOWN, 1);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(script_cancelled, 2);
}

static void several_checks_count_as_one_probe_each_time(void **state)
{
	struct reported reported = probe_several("-+"
						 "-+"
						 "-+",
						 2, false, HEALTH_UP, 3);

	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_int_equal(reported.changes, 1);
	reported = probe_several("++"
				 "+-"
				 "++"
				 "+-"
				 "++",
				 2, false, HEALTH_UP, 5);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(reported.changes, 0);
}

static void one_of_several_checks_that_could_not_run_leaves_the_status(void **state)
{
	struct reported reported = probe_several("+!"
						 "+?",
						 2, false, HEALTH_UP, 2);

	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_non_null(strstr(reported.why, "check 2, scripted: "));
	/* unless another one decides */
	reported = probe_several("!-", 2, false, HEALTH_UNKNOWN, 1);
	assert_int_equal(reported.status, HEALTH_DOWN);
	reported = probe_several("!+", 2, true, HEALTH_UNKNOWN, 1);
	assert_int_equal(reported.status, HEALTH_UP);
	reported = probe_several("-!", 2, true, HEALTH_UP, 1);
	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
}

static void several_checks_may_be_removed_by_their_own_result(void **state)
{
	static const char *const scripts[] = {"~-", "??"}; /* later, and while they are started */

	for (unsigned i = 0; i < 2; i++) {
		struct health_spec spec = spec_of("several"),
				   list[] = {spec_of("scripted"), spec_of("scripted")};
		struct reported reported = {0};

		spec.checks = list;
		spec.checks_count = 2;
		script = scripts[i];
		reported.remove = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
		assert_true(run_until(&reported.results, 1));
		assert_null(reported.remove);
	}
}

static void an_unknown_kind_among_several_is_refused(void **state)
{
	struct health_spec spec = spec_of("several"), list[] = {spec_of("tcp"), spec_of("pigeon")};
	const struct addr addr = test_addr("192.0.2.1");

	spec.checks = list;
	spec.checks_count = 2;
	assert_null(health_add(health, &spec, &addr, 80, HEALTH_UP, on_result, NULL));
	assert_int_equal(errno, EINVAL);
}

/* ---- checks that go to the VIP ---- */

struct fake_way {
	int refusal;
	uint64_t packets, each; /* sent so far, and by each probe */
	unsigned missed;
};

static int fake_prepare(void *arg, const struct addr *to, char *why, size_t size)
{
	struct fake_way *way = arg;

	snprintf(why, size, "no way");
	return way->refusal;
}

/* Asked before and after each probe. */
static uint64_t fake_sent(void *arg, uint32_t mark)
{
	struct fake_way *way = arg;

	assert_int_equal(mark, 0x77);
	return way->packets += way->each;
}

static void fake_missed(void *arg)
{
	((struct fake_way *)arg)->missed++;
}

/* To the VIP `to`. */
static void set_way_to(struct health_check *check, struct fake_way *fake, const char *to)
{
	struct health_way way = {.to = test_addr(to),
				 .mark = 0x77,
				 .arg = fake,
				 .prepare = fake_prepare,
				 .sent = fake_sent,
				 .missed = fake_missed};

	health_set_way(check, &way);
}

static void set_way(struct health_check *check, struct fake_way *fake)
{
	set_way_to(check, fake, "198.51.100.1");
}

static struct health_check *add_to_vip(struct reported *reported, const char *results)
{
	struct health_spec spec = spec_of("scripted");

	script = results;
	script_started = 0;
	spec.to = HEALTH_TO_VIP;
	spec.interval_ms = 10;
	return add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, reported);
}

static void check_to_the_vip_waits_for_its_way(void **state)
{
	struct reported reported = {0};
	struct fake_way fake = {.each = 1};
	struct health_check *check = add_to_vip(&reported, "+");

	test_loop_run(base, 50);
	assert_int_equal(script_started, 0);
	set_way(check, &fake);
	assert_true(run_until(&reported.results, 1));
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(fake.missed, 0);
	health_remove(check);
}

static void check_to_the_vip_that_did_not_take_its_way_fails(void **state)
{
	struct reported reported = {0};
	struct fake_way fake = {0};
	struct health_check *check = add_to_vip(&reported, "+");

	set_way(check, &fake);
	assert_true(run_until(&reported.results, 1));
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why,
			    "the check did not take the tunnel: another tc program or "
			    "rule of this host sent it elsewhere");
	assert_int_equal(fake.missed, 1);
	health_remove(check);
}

/* It says nothing about the backend. */
static void check_to_the_vip_without_descriptors_for_its_way_is_not_run(void **state)
{
	struct reported reported = {0};
	struct fake_way fake = {.refusal = -EMFILE};
	struct health_check *check = add_to_vip(&reported, "+");

	set_way(check, &fake);
	assert_true(run_until(&reported.results, 1));
	assert_int_equal(reported.status, HEALTH_UNKNOWN);
	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
	assert_int_equal(script_started, 0);
	health_remove(check);
}

static void check_to_the_vip_without_a_way_says_why(void **state)
{
	struct reported reported = {0};
	struct fake_way fake = {.refusal = -ENETUNREACH};
	struct health_check *check = add_to_vip(&reported, "+");

	set_way(check, &fake);
	assert_true(run_until(&reported.results, 1));
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "no way");
	assert_int_equal(script_started, 0);
	health_remove(check);
}

static void why_holds_the_last_failure_until_up_again(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;

	script = "-++";
	spec.interval_ms = 10;
	check = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, 1));
	assert_string_equal(reported.why, "scripted");
	assert_int_equal(reported.latency_us, 0);
	assert_true(run_until(&reported.results, 2));
	assert_string_equal(reported.why, "scripted");
	assert_true(run_until(&reported.results, 3));
	assert_string_equal(reported.why, "");
	/* a late loop measures no latency: wait for a probe that did */
	reported.passed = 0;
	assert_true(run_until(&reported.passed, 1));
	assert_string_equal(reported.why, "");
	assert_int_equal(reported.latency_us, 7);
	health_remove(check);
}

/* If a probe ends more than an interval after its start because the loop was late, the next one
 * comes sooner. */
static bool was_late(void)
{
	return lateness_meter(lateness)->max_us > LATENESS_BEAT_US / 2;
}

/* Probes may come later on a busy machine; the calculated times are tested in test_lateness.c. */
static void probes_start_an_interval_apart(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;

	script = "";
	script_started = 0;
	spec.interval_ms = 100;
	check = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, 10));
	for (unsigned i = 2; i < 10; i++)
		assert_true(script_times[i] - script_times[i - 1] >= 95 - COARSE_MS || was_late());
	health_remove(check);
}

/* The interval alone would be half a second at least. */
static void contradicted_probes_come_faster(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;

	script = "----+++";
	script_started = 0;
	spec.interval_ms = 1000;
	spec.fast_ms = 20;
	spec.fall = 4;
	check = add(&spec, "192.0.2.1", 80, HEALTH_UP, &reported);
	assert_true(run_until(&reported.changes, 1));
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_int_equal(script_started, 4);
	for (unsigned i = 1; i < 4; i++)
		assert_true(script_times[i] - script_times[i - 1] < 500 || was_late());
	/* what agrees with the status does not */
	assert_true(run_until(&reported.results, 5));
	health_remove(check);
	assert_true(script_times[4] - script_times[3] >= 500 - COARSE_MS || was_late());
}

static void first_probes_are_spread(void **state)
{
	enum { CHECKS = 60 };
	struct health_spec spec = spec_of("scripted");
	struct health_check *checks[CHECKS];
	struct reported reported = {0};
	uint64_t start = clock_monotonic_ms();

	script = "";
	script_started = 0;
	spec.interval_ms = 1600;
	for (unsigned i = 0; i < CHECKS; i++)
		checks[i] = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, CHECKS));
	/* of 400; fewer by chance: once in 2^60 */
	assert_true(script_times[CHECKS - 1] - start >= 200);
	for (unsigned i = 0; i < CHECKS; i++)
		health_remove(checks[i]);
}

static void probe_that_does_not_end_has_timed_out(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;
	uint64_t start = clock_monotonic_ms();

	script = "~~"; /* two results if the loop is late */
	script_cancelled = 0;
	spec.timeout_ms = 150;
	check = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, 1));
	assert_true(clock_monotonic_ms() - start >= 150 - COARSE_MS);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "script: timed out after 150ms");
	assert_in_range(script_cancelled, 1, 2);
	health_remove(check);
}

static void check_removed_during_a_probe_is_silent(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};
	struct health_check *check;

	script = "~";
	script_started = script_cancelled = 0;
	check = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&script_started, 1));
	health_remove(check);
	assert_int_equal(script_cancelled, 1);
	test_loop_run(base, 100);
	assert_int_equal(reported.results, 0);
}

static void check_may_be_removed_by_its_own_result(void **state)
{
	struct health_spec spec = spec_of("scripted");
	struct reported reported = {0};

	script = "+";
	spec.interval_ms = 10;
	reported.remove = add(&spec, "192.0.2.1", 80, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, 1));
	test_loop_run(base, 50);
	assert_int_equal(reported.results, 1);
}

static void unknown_kind_is_refused(void **state)
{
	struct health_spec spec = spec_of("carrier-pigeon");
	struct addr addr = {.family = 4};

	assert_null(health_kind_find("carrier-pigeon"));
	assert_null(health_add(health, &spec, &addr, 80, HEALTH_UNKNOWN, on_result, NULL));
	assert_int_equal(errno, EINVAL);
	assert_non_null(health_kind_find("tcp"));
	assert_non_null(health_kind_find("http"));
	assert_non_null(health_kind_find("https"));
}

/* ---- a server on the same loop ---- */

struct server {
	struct evconnlistener *listener;
	uint16_t port;
	const char *answer; /* NULL: none */
	unsigned delay_ms;  /* before the answer */
	bool close;         /* close after the answer, or without one */
	bool reset;         /* close with RST */
	bool any;           /* answer any bytes, not only a complete request */
	unsigned accepted, requests;
	struct addr from; /* of the last connection */
	uint32_t mark;    /* of its SYN: see tcp_fwmark_accept */
	char request[4096];
};

struct connection {
	struct server *server;
	struct bufferevent *bev;
	struct event *timer;
	bool answered;
};

static void connection_end(struct connection *connection)
{
	static const struct linger reset = {.l_onoff = 1};

	if (connection->server->reset)
		setsockopt(bufferevent_getfd(connection->bev), SOL_SOCKET, SO_LINGER, &reset,
			   sizeof(reset));
	event_free(connection->timer);
	bufferevent_free(connection->bev);
	free(connection);
}

static void on_server_event(struct bufferevent *bev, short what, void *arg)
{
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		connection_end(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct connection *connection = arg;

	if (connection->server->close && connection->answered)
		connection_end(connection);
}

static void serve(int fd, short what, void *arg)
{
	struct connection *connection = arg;
	struct server *server = connection->server;

	connection->answered = server->answer;
	if (server->answer)
		bufferevent_write(connection->bev, server->answer, strlen(server->answer));
	else if (server->close)
		connection_end(connection);
}

static void on_request(struct bufferevent *bev, void *arg)
{
	struct connection *connection = arg;
	struct server *server = connection->server;
	struct timeval delay = {.tv_sec = server->delay_ms / 1000,
				.tv_usec = server->delay_ms % 1000 * 1000};
	size_t used = strlen(server->request);

	used += bufferevent_read(bev, server->request + used, sizeof(server->request) - 1 - used);
	server->request[used] = 0;
	if (!server->any && !strstr(server->request, "\r\n\r\n"))
		return;
	server->requests++;
	event_base_update_cache_time(base); /* the delay begins here */
	event_add(connection->timer, &delay);
}

static void on_accept(struct evconnlistener *listener, int fd, struct sockaddr *from, int length,
		      void *arg)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	socklen_t mark_length = sizeof(uint32_t);

	assert_non_null(connection);
	connection->server = arg;
	connection->server->accepted++;
	assert_int_equal(addr_from_sockaddr(from, &connection->server->from), 0);
	assert_int_equal(
	    getsockopt(fd, SOL_SOCKET, SO_MARK, &connection->server->mark, &mark_length), 0);
	connection->server->request[0] = 0;
	connection->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	connection->timer = evtimer_new(base, serve, connection);
	bufferevent_setcb(connection->bev, on_request, on_written, on_server_event, connection);
	bufferevent_enable(connection->bev, EV_READ | EV_WRITE);
}

static void server_start(struct server *server, const char *address)
{
	const struct addr addr = test_addr(address);
	struct sockaddr_storage at;
	socklen_t length = sizeof(at);

	server->listener =
	    evconnlistener_new_bind(base, on_accept, server, LEV_OPT_CLOSE_ON_FREE, 4096,
				    (struct sockaddr *)&at, (int)addr_to_sockaddr(&addr, 0, &at));
	assert_non_null(server->listener);
	assert_int_equal(
	    getsockname(evconnlistener_get_fd(server->listener), (struct sockaddr *)&at, &length),
	    0);
	server->port = ntohs(((struct sockaddr_in *)&at)->sin_port);
}

static void server_stop(struct server *server)
{
	evconnlistener_free(server->listener);
	test_loop_run(base, 30); /* connections end with the probe's RST */
}

/* A port without a listener. */
static uint16_t closed_port(void)
{
	struct server server = {0};

	server_start(&server, "127.0.0.1");
	server_stop(&server);
	return server.port;
}

/* A listener whose queue is full: SYNs are dropped. */
struct full {
	int fds[8];
	uint16_t port;
};

static void full_start(struct full *full)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);

	full->fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(full->fds[0], (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(full->fds[0], 0), 0);
	assert_int_equal(getsockname(full->fds[0], (struct sockaddr *)&at, &length), 0);
	full->port = ntohs(at.sin_port);
	for (unsigned i = 1; i < 8; i++) {
		full->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(full->fds[i], (struct sockaddr *)&at, sizeof(at));
	}
}

static void full_stop(struct full *full)
{
	for (unsigned i = 0; i < 8; i++)
		close(full->fds[i]);
}

/* ---- tcp ---- */

static void tcp_up_with_latency_when_something_listens(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct server server = {0};
	uint64_t start = clock_monotonic_ms();
	struct reported reported;

	server_start(&server, "127.0.0.1");
	reported = probe_measured(&spec, "127.0.0.1", server.port);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_true(reported.latency_us / 1000 <= clock_monotonic_ms() - start);
	assert_int_equal(reported.outcome, HEALTH_PASSED);
	assert_true(reported.began_ms + 1 >= start && reported.began_ms <= clock_monotonic_ms());
	assert_string_equal(reported.why, "");
	server_stop(&server);
}

static void tcp_works_over_ipv6(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct server server = {0};

	server_start(&server, "::1");
	assert_int_equal(probe_once(&spec, "::1", server.port).status, HEALTH_UP);
	server_stop(&server);
}

static void tcp_port_of_the_check_wins_over_the_services(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct server server = {0};

	server_start(&server, "127.0.0.1");
	spec.port = server.port;
	assert_int_equal(probe_once(&spec, "127.0.0.1", closed_port()).status, HEALTH_UP);
	server_stop(&server);
}

static void each_of_several_checks_has_its_port(void **state)
{
	struct server server = {0}, other = {0};
	struct health_spec spec = spec_of("several"), list[] = {spec_of("tcp"), spec_of("tcp")};
	struct reported reported;

	server_start(&server, "127.0.0.1");
	server_start(&other, "127.0.0.1");
	spec.checks = list;
	spec.checks_count = 2;
	spec.port = server.port;
	list[1].port = other.port;
	reported = probe_once(&spec, "127.0.0.1", 1);
	assert_int_equal(reported.status, HEALTH_UP);
	server_stop(&other);
	reported = probe_once(&spec, "127.0.0.1", 1);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "check 2, tcp: connect: refused");
	server_stop(&server);
}

static void tcp_refused_is_reported(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct reported reported = probe_once(&spec, "127.0.0.1", closed_port());

	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "connect: refused");
	assert_int_equal(reported.latency_us, 0);
	assert_int_equal(reported.outcome, HEALTH_FAILED);
}

static void tcp_timeout_is_strict_and_reported(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct full full;
	struct reported reported;
	uint64_t start;

	full_start(&full);
	spec.timeout_ms = 150;
	start = clock_monotonic_ms();
	reported = probe_once(&spec, "127.0.0.1", full.port);
	assert_true(clock_monotonic_ms() - start >= 150 - COARSE_MS);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "connect: timed out after 150ms");
	spec.timeout_ms = 1000;
	assert_string_equal(probe_once(&spec, "127.0.0.1", full.port).why,
			    "connect: timed out after 1s");
	full_stop(&full);
}

/* ---- a late loop ---- */

/* A server in a process of its own, which is never late: answers every connection at once. */
static pid_t prompt_server_start(uint16_t *ret_port)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 4096), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &length), 0);
	*ret_port = ntohs(at.sin_port);
	pid = fork();
	if (!pid) /* a failing test does not stop it */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!pid) {
		int fd = accept(listener, NULL, NULL);

		(void)!write(fd, answer, sizeof(answer) - 1);
		/* the connection stays open: a close with an unread request would send RST */
		shutdown(fd, SHUT_WR);
	}
	close(listener);
	return pid;
}

static void prompt_server_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Runs the loop until each of the checks has so many results, with a pause of pause_ms in every
 * turn. */
static void run_late(const struct reported *reported, unsigned checks, unsigned wanted,
		     unsigned pause_ms)
{
	uint64_t end = clock_monotonic_ms() + HANG_MS;
	unsigned done = 0;

	while (done < checks && clock_monotonic_ms() < end) {
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		usleep(pause_ms * 1000);
		for (done = 0; done < checks && reported[done].results >= wanted;)
			done++;
	}
	assert_int_equal(done, checks);
}

/* Many checks, so that a turn of the loop finds many answers and many due timeouts. A turn begins
 * a part of them only (schedule_may_begin), and takes long here. */
static void assert_not_blamed_for_a_late_loop(const char *type, uint32_t timeout_ms, unsigned count,
					      unsigned results)
{
	enum { CHECKS = 100 };
	struct health_spec spec = spec_of(type);
	struct health_check *checks[CHECKS];
	struct reported reported[CHECKS] = {0};
	uint16_t port;
	pid_t pid = prompt_server_start(&port);

	spec.interval_ms = timeout_ms + 10;
	spec.timeout_ms = timeout_ms;
	for (unsigned i = 0; i < count; i++)
		checks[i] = add(&spec, "127.0.0.1", port, HEALTH_UNKNOWN, &reported[i]);
	run_late(reported, count, results, timeout_ms * 3 / 2);
	for (unsigned i = 0; i < count; i++) {
		assert_string_equal(reported[i].last_failure, "");
		assert_int_equal(reported[i].status, HEALTH_UP);
		assert_int_equal(reported[i].outcome, HEALTH_PASSED);
		health_remove(checks[i]);
	}
	prompt_server_stop(pid);
}

static void tcp_backend_is_not_blamed_for_a_late_loop(void **state)
{
	assert_not_blamed_for_a_late_loop("tcp", 30, 100, 5);
}

/* The probe process is on time, and so the server must be within the timeout. */
static void http_backend_is_not_blamed_for_a_late_loop(void **state)
{
	assert_not_blamed_for_a_late_loop("http", 2000, 40, 2);
}

static void dead_backend_is_found_by_a_loop_that_is_always_late(void **state)
{
	static const char *const types[] = {"tcp", "http"};
	struct full full;

	full_start(&full);
	for (unsigned i = 0; i < 2; i++) {
		struct health_spec spec = spec_of(types[i]);
		struct reported reported = {0};
		struct health_check *check;

		spec.interval_ms = 200;
		spec.timeout_ms = 150;
		check = add(&spec, "127.0.0.1", full.port, HEALTH_UP, &reported);
		run_late(&reported, 1, 3, 200);
		assert_int_equal(reported.status, HEALTH_DOWN);
		assert_string_equal(reported.why, "connect: timed out after 150ms");
		health_remove(check);
	}
	full_stop(&full);
}

/* ---- the probe process ---- */

static bool run_until_process(bool holds(const struct health_process *process))
{
	uint64_t end = clock_monotonic_ms() + HANG_MS;
	struct health_process process = probe_process();

	while (!holds(&process) && clock_monotonic_ms() < end) {
		test_loop_run(base, 5);
		process = probe_process();
	}
	return holds(&process);
}

static bool runs(const struct health_process *process)
{
	return process->running;
}

static bool runs_again(const struct health_process *process)
{
	return process->running && process->restarts == 1;
}

static bool has_probes(const struct health_process *process)
{
	return process->running && process->probes;
}

static void probe_process_is_started_by_the_first_check_that_needs_it(void **state)
{
	struct health_spec tcp = spec_of("tcp"), http = spec_of("http");
	struct server server = {0};
	struct reported reported = {0};
	struct health_check *check;

	server_start(&server, "127.0.0.1");
	probe_once(&tcp, "127.0.0.1", server.port);
	assert_false(probe_process().needed);
	assert_int_equal(probe_process().pid, 0);
	check = add(&http, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(probe_process().needed);
	assert_true(run_until_process(runs));
	assert_int_not_equal(probe_process().pid, getpid());
	health_remove(check);
	server_stop(&server);
}

/* A line of /proc/PID/status, without its name. */
static void status_line(pid_t pid, const char *name, char value[128])
{
	char path[64], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	*value = 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			sscanf(line + strlen(name) + 1, " %127[^\n]", value);
	fclose(file);
}

static void probe_process_has_no_rights(void **state)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
	struct health_spec spec = spec_of("http");
	struct server server = {0};
	struct reported reported = {0};
	struct health_check *check;
	char value[128];

	server_start(&server, "127.0.0.1");
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(run_until_process(runs));
	for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		status_line(probe_process().pid, sets[i], value);
		assert_string_equal(value, "0000000000000000");
	}
	status_line(probe_process().pid, "NoNewPrivs", value);
	assert_string_equal(value, "1");
	status_line(probe_process().pid, "Seccomp", value);
	assert_string_equal(value, "2");
	if (!geteuid() && prctl(PR_CAPBSET_READ, CAP_SETPCAP) == 1) {
		status_line(probe_process().pid, "CapBnd", value);
		assert_string_equal(value, "0000000000000000");
	}
	if (!geteuid() && prctl(PR_CAPBSET_READ, CAP_SETUID) == 1) {
		status_line(probe_process().pid, "Uid", value);
		assert_string_equal(value, "65534\t65534\t65534\t65534");
		status_line(probe_process().pid, "Groups", value);
		assert_string_equal(value, "");
	}
	health_remove(check);
	server_stop(&server);
}

/* Where a descriptor leads; "" if there is none. */
static void target_of(pid_t pid, int fd, char target[64])
{
	char path[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	length = readlink(path, target, 63);
	target[length > 0 ? length : 0] = 0;
}

static void probe_process_has_no_descriptor_of_its_parent(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {0};
	struct reported reported = {0};
	struct health_check *check;
	char target[64], own[64];
	int kept = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */

	server_start(&server, "127.0.0.1");
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(run_until_process(runs));
	target_of(probe_process().pid, 3, target);
	if (!*target) {
		health_remove(check);
		skip(); /* /proc/PID/fd of a process that is not dumpable takes CAP_SYS_PTRACE */
	}
	for (int fd = 0; fd < 3; fd++) {
		target_of(probe_process().pid, fd, target);
		assert_string_equal(target, "/");
	}
	for (int fd = 3; fd < 64; fd++) {
		target_of(probe_process().pid, fd, target);
		if (!*target || !strcmp(target, "anon_inode:[eventpoll]") ||
		    !strcmp(target, "anon_inode:[eventfd]"))
			continue; /* all of a kind have the same name */
		assert_true(!strncmp(target, "socket:", 7) || !strncmp(target, "pipe:", 5));
		for (int mine = 0; mine < 64; mine++) {
			target_of(getpid(), mine, own);
			assert_string_not_equal(target, own);
		}
	}
	close(kept);
	health_remove(check);
	server_stop(&server);
}

static void killed_probe_process_takes_no_backend_down_and_checks_go_on(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
				.delay_ms = 50};
	struct reported reported = {0};
	struct health_check *check;
	pid_t before;

	server_start(&server, "127.0.0.1");
	spec.fall = 1;
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UP, &reported);
	assert_true(run_until_process(has_probes));
	before = probe_process().pid;
	assert_int_equal(kill(before, SIGKILL), 0);
	assert_true(run_until_process(runs_again));
	assert_int_not_equal(probe_process().pid, before);
	assert_string_equal(probe_process().why, "killed by SIGKILL");
	reported.passed = 0;
	assert_true(run_until(&reported.passed, 3));
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(reported.changes, 0);
	if (*reported.last_failure)
		assert_non_null(strstr(reported.last_failure, "probe not run: "));
	health_remove(check);
	server_stop(&server);
}

/* Stopped for longer than the timeout, with the answers of a prompt server waiting. */
static void http_backend_is_not_blamed_for_a_late_probe_process(void **state)
{
	enum { CHECKS = 50 };
	struct health_spec spec = spec_of("http");
	struct health_check *checks[CHECKS];
	struct reported reported[CHECKS] = {0};
	uint16_t port;
	pid_t server = prompt_server_start(&port);

	spec.interval_ms = 1600;
	spec.timeout_ms = 1500;
	spec.fall = 1;
	for (unsigned i = 0; i < CHECKS; i++)
		checks[i] = add(&spec, "127.0.0.1", port, HEALTH_UP, &reported[i]);
	assert_true(run_until_process(has_probes));
	kill(probe_process().pid, SIGSTOP);
	test_loop_run(base, 3500);
	kill(probe_process().pid, SIGCONT);
	for (unsigned i = 0; i < CHECKS; i++) {
		reported[i].passed = 0;
		assert_true(run_until(&reported[i].passed, 1));
		assert_string_equal(reported[i].last_failure, "");
		assert_int_equal(reported[i].status, HEALTH_UP);
		assert_int_equal(reported[i].changes, 0);
		health_remove(checks[i]);
	}
	assert_int_equal(probe_process().restarts, 0);
	prompt_server_stop(server);
}

/* This loop sleeps while the answer comes: a probe has ended before the sleep is over, however late
 * its result is read. */
static void http_times_are_those_of_the_probe_not_of_this_loop(void **state)
{
	struct health_spec spec = spec_of("http");
	struct reported reported = {0};
	struct health_check *check;
	uint16_t port;
	pid_t server = prompt_server_start(&port);
	bool seen = false;

	check = add(&spec, "127.0.0.1", port, HEALTH_UNKNOWN, &reported);
	for (unsigned i = 0; i < 500 && !seen; i++) {
		uint64_t before_ms;

		usleep(100000);
		before_ms = clock_monotonic_ms();
		usleep(20000);
		reported.results = 0;
		event_base_loop(base, EVLOOP_NONBLOCK);
		seen = reported.results && reported.ended_ms < before_ms;
		assert_true(reported.began_ms <= reported.ended_ms);
	}
	assert_true(seen);
	assert_int_equal(reported.outcome, HEALTH_PASSED);
	health_remove(check);
	prompt_server_stop(server);
}

static void probe_process_ends_with_its_parent(void **state)
{
	struct health_spec spec = spec_of("http");
	int fds[2];
	pid_t parent, child = 0;

	assert_int_equal(pipe(fds), 0);
	parent = fork();
	if (!parent) {
		struct reported reported = {0};

		event_reinit(base);
		add(&spec, "127.0.0.1", 1, HEALTH_UNKNOWN, &reported);
		run_until_process(runs);
		child = probe_process().pid;
		(void)!write(fds[1], &child, sizeof(child));
		for (;;)
			pause();
	}
	assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
	assert_true(child > 0);
	close(fds[0]);
	close(fds[1]);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	for (unsigned i = 0; i < 6000 && !kill(child, 0); i++)
		usleep(10000);
	assert_int_equal(kill(child, 0), -1);
}

static void tcp_backend_that_goes_and_comes_is_followed(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct server server = {0};
	struct reported reported = {0};
	struct health_check *check;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	unsigned before;

	server_start(&server, "127.0.0.1");
	spec.interval_ms = 100;
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.changes, 1));
	before = reported.results;
	server_stop(&server);
	assert_true(run_until(&reported.changes, 2));
	assert_int_equal(reported.status, HEALTH_DOWN);
	/* fall, and one probe that may have been running */
	assert_in_range(reported.results - before, 3, 4);
	at.sin_port = htons(server.port);
	server.listener = evconnlistener_new_bind(base, on_accept, &server,
						  LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16,
						  (struct sockaddr *)&at, sizeof(at));
	assert_non_null(server.listener);
	assert_true(run_until(&reported.changes, 3));
	assert_int_equal(reported.status, HEALTH_UP);
	health_remove(check);
	server_stop(&server);
}

static void tcp_check_removed_during_a_probe_is_silent(void **state)
{
	struct health_spec spec = spec_of("tcp");
	struct reported reported = {0};
	struct health_check *check;
	struct full full;

	full_start(&full);
	spec.interval_ms = 20;
	check = add(&spec, "127.0.0.1", full.port, HEALTH_UNKNOWN, &reported);
	test_loop_run(base, 60); /* the probe has begun, and does not end */
	health_remove(check);
	test_loop_run(base, 200);
	assert_int_equal(reported.results, 0);
	full_stop(&full);
}

static unsigned count_time_wait(uint16_t port)
{
	char line[512], wanted[32];
	unsigned count = 0;
	FILE *file = fopen("/proc/net/tcp", "r");

	assert_non_null(file);
	snprintf(wanted, sizeof(wanted), ":%04X 06 ", port); /* remote port, state TIME_WAIT */
	while (fgets(line, sizeof(line), file))
		count += strstr(line, wanted) != NULL;
	fclose(file);
	return count;
}

static void probes_leave_no_port_in_time_wait(void **state)
{
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
	struct health_spec tcp = spec_of("tcp"), http = spec_of("http");

	server_start(&server, "127.0.0.1");
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(probe_once(&tcp, "127.0.0.1", server.port).status, HEALTH_UP);
		assert_int_equal(probe_once(&http, "127.0.0.1", server.port).status, HEALTH_UP);
	}
	assert_int_equal(count_time_wait(server.port), 0);
	server_stop(&server);
}

/* There is no free descriptor during one probe. */
static void running_out_of_descriptors_takes_no_backend_down(void **state)
{
	struct server server = {0};
	struct health_spec spec = spec_of("tcp");
	struct reported reported = {0};
	struct rlimit limit, low;
	struct health_check *check;
	int lowest;

	server_start(&server, "127.0.0.1");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	lowest = dup(0);
	close(lowest);
	low = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max};
	spec.fall = 1;
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UP, &reported);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	run_until(&reported.results, 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(reported.results >= 2);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
	assert_non_null(strstr(reported.why, "probe not run: "));
	assert_non_null(strstr(reported.why, "oo many open files"));
	assert_true(run_until(&reported.passed, 1));
	health_remove(check);
	server_stop(&server);
}

/* The process has 32 descriptors; as many probes as it can run wait for their answers. to_vip: it
 * is given their sockets. */
static void assert_out_of_descriptors_takes_no_backend_down(bool to_vip)
{
	enum { CHECKS = 64, DESCRIPTORS = 32 };
	struct server server = {0};
	struct health_spec spec = spec_of("http");
	struct reported reported[CHECKS] = {0};
	struct health_check *checks[CHECKS];
	struct fake_way fake = {.each = 1};
	struct rlimit limit, low = {.rlim_cur = DESCRIPTORS};
	unsigned not_run = 0;

	server_start(&server, "127.0.0.1");
	spec.fall = 1;
	spec.to = to_vip ? HEALTH_TO_VIP : HEALTH_TO_BACKEND;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (unsigned i = 0; i < CHECKS; i++) { /* the first one starts the process */
		checks[i] = add(&spec, "127.0.0.1", server.port, HEALTH_UP, &reported[i]);
		set_way_to(checks[i], &fake, "127.0.0.1");
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(run_until(&server.requests, 10));
	for (uint64_t end = clock_monotonic_ms() + HANG_MS;
	     not_run < CHECKS - DESCRIPTORS && clock_monotonic_ms() < end;) {
		test_loop_run(base, 10);
		not_run = 0;
		for (unsigned i = 0; i < CHECKS; i++)
			not_run += reported[i].results > 0;
	}
	assert_in_range(not_run, CHECKS - DESCRIPTORS, CHECKS - 10);
	for (unsigned i = 0; i < CHECKS; i++) {
		assert_int_equal(reported[i].status, HEALTH_UP);
		assert_int_equal(reported[i].changes, 0);
		if (reported[i].results)
			assert_non_null(strstr(reported[i].why, "oo many open files"));
		health_remove(checks[i]);
	}
	server_stop(&server);
}

static void probe_process_out_of_descriptors_takes_no_backend_down(void **state)
{
	assert_out_of_descriptors_takes_no_backend_down(false);
}

static void probe_process_without_room_for_a_socket_takes_no_backend_down(void **state)
{
	needs_root();
	assert_out_of_descriptors_takes_no_backend_down(true);
}

static void limit_of_open_files_is_raised(void **state)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

/* ---- http ---- */

static struct reported http_answer(const char *answer)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = answer, .close = true};
	struct reported reported;

	server_start(&server, "127.0.0.1");
	reported = probe_once(&spec, "127.0.0.1", server.port);
	server_stop(&server);
	return reported;
}

static void http_status_in_range_is_up(void **state)
{
	assert_int_equal(http_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").status,
			 HEALTH_UP);
	assert_int_equal(http_answer("HTTP/1.1 204 No Content\r\n\r\n").status, HEALTH_UP);
	assert_int_equal(http_answer("HTTP/1.0 200 OK\r\n\r\nuntil the end").status, HEALTH_UP);
	/* a redirect counts as an answer and is not followed */
	assert_int_equal(
	    http_answer("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n").status,
	    HEALTH_UP);
}

static void http_status_out_of_range_is_reported(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 204 No Content\r\n\r\n"};
	struct reported reported =
	    http_answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");

	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "HTTP status 503, expected 200-399");
	spec.status_min = spec.status_max = 200;
	server_start(&server, "127.0.0.1");
	assert_string_equal(probe_once(&spec, "127.0.0.1", server.port).why,
			    "HTTP status 204, expected 200");
	server_stop(&server);
}

static void http_status_is_one_of_a_list(void **state)
{
	struct server server = {.answer = "HTTP/1.1 204 No Content\r\n\r\n", .close = true};
	struct health_spec spec = spec_of("http");
	struct reported reported;

	spec.status = (char *)"200, 204,301-308";
	spec.status_min = 200;
	spec.status_max = 308;
	server_start(&server, "127.0.0.1");
	reported = probe_once(&spec, "127.0.0.1", server.port);
	assert_int_equal(reported.status, HEALTH_UP);
	server_stop(&server);
	server = (struct server){.answer = "HTTP/1.1 300 Or\r\n\r\n", .close = true};
	server_start(&server, "127.0.0.1");
	reported = probe_once(&spec, "127.0.0.1", server.port);
	assert_string_equal(reported.why, "HTTP status 300, expected 200, 204,301-308");
	server_stop(&server);
}

static void http_garbage_is_reported(void **state)
{
	struct reported reported = http_answer("SSH-2.0-OpenSSH_9.2p1\r\n");

	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "HTTP: the answer is not HTTP");
}

static void http_connection_closed_early_is_reported(void **state)
{
	assert_string_equal(http_answer(NULL).why, "HTTP: connection closed without an answer");
	assert_string_equal(http_answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").why,
			    "HTTP: connection closed in the middle of the answer");
}

static void http_connection_reset_is_reported(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.reset = true, .close = true};

	server_start(&server, "127.0.0.1");
	assert_string_equal(probe_once(&spec, "127.0.0.1", server.port).why,
			    "HTTP: connection reset before the answer was complete");
	server_stop(&server);
}

static void http_refused_is_reported_as_by_tcp(void **state)
{
	struct health_spec spec = spec_of("http");

	assert_string_equal(probe_once(&spec, "127.0.0.1", closed_port()).why, "connect: refused");
}

static void http_timeouts_report_what_is_missing(void **state)
{
	struct health_spec spec = spec_of("http"), tls = spec_of("https");
	struct server server = {0};
	struct full full;

	spec.timeout_ms = tls.timeout_ms = 150;
	full_start(&full);
	assert_string_equal(probe_once(&spec, "127.0.0.1", full.port).why,
			    "connect: timed out after 150ms");
	full_stop(&full);
	server_start(&server, "127.0.0.1");
	assert_string_equal(probe_once(&spec, "127.0.0.1", server.port).why,
			    "HTTP: no answer after 150ms");
	assert_string_equal(probe_once(&tls, "127.0.0.1", server.port).why,
			    "TLS: handshake not complete after 150ms");
	server.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow";
	assert_string_equal(probe_once(&spec, "127.0.0.1", server.port).why,
			    "HTTP: answer not complete after 150ms");
	server_stop(&server);
}

static void http_answer_after_the_timeout_does_not_count(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
				.delay_ms = HANG_MS};
	uint64_t start;

	server_start(&server, "127.0.0.1");
	spec.timeout_ms = 150;
	start = clock_monotonic_ms();
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_DOWN);
	assert_true(clock_monotonic_ms() - start >= 150 - COARSE_MS);
	server_stop(&server);
}

static void http_latency_is_connect_to_answer(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
				.delay_ms = 100};
	uint64_t start = clock_monotonic_ms();
	struct reported reported;

	server_start(&server, "127.0.0.1");
	reported = probe_measured(&spec, "127.0.0.1", server.port);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_true(reported.latency_us >= (100 - COARSE_MS) * 1000);
	assert_true(reported.latency_us / 1000 <= clock_monotonic_ms() - start);
	server_stop(&server);
}

static void http_long_body_is_cut_off_and_long_headers_refused(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n";
	char *answer = calloc(1, 300000);

	assert_non_null(answer);
	memset(answer, 'x', 299999);
	memcpy(answer, head, sizeof(head) - 1);
	assert_int_equal(http_answer(answer).status, HEALTH_UP);
	/* headers without end */
	memset(answer, 'x', 299999);
	memcpy(answer, head, 17);
	for (size_t i = 17; i + 100 < 299999; i += 100) {
		memcpy(answer + i, "X: ", 3);
		memcpy(answer + i + 98, "\r\n", 2);
	}
	assert_string_equal(http_answer(answer).why, "HTTP: headers longer than 64 KiB");
	free(answer);
}

static void http_request_is_as_configured(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
	char expected[128];

	server_start(&server, "::1");
	spec.path = (char *)"/a/../health?deep=1";
	assert_int_equal(probe_once(&spec, "::1", server.port).status, HEALTH_UP);
	assert_ptr_equal(strstr(server.request, "GET /a/../health?deep=1 HTTP/1.1\r\n"),
			 server.request);
	snprintf(expected, sizeof(expected), "\r\nHost: [::1]:%u\r\n", server.port);
	assert_non_null(strstr(server.request, expected));
	assert_non_null(strstr(server.request, "\r\nUser-Agent: lbd/" LBD_VERSION "\r\n"));
	assert_non_null(strstr(server.request, "\r\nConnection: close\r\n"));
	spec.host = (char *)"www.example.com:8080";
	spec.path = NULL;
	assert_int_equal(probe_once(&spec, "::1", server.port).status, HEALTH_UP);
	assert_ptr_equal(strstr(server.request, "GET / HTTP/1.1\r\n"), server.request);
	assert_non_null(strstr(server.request, "\r\nHost: www.example.com:8080\r\n"));
	server_stop(&server);
}

static void http_host_may_be_an_ipv6_address(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};

	server_start(&server, "127.0.0.1");
	spec.host = (char *)"[2001:db8::10]:8080";
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_non_null(strstr(server.request, "\r\nHost: [2001:db8::10]:8080\r\n"));
	spec.host = (char *)"[2001:db8::10]";
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_non_null(strstr(server.request, "\r\nHost: [2001:db8::10]\r\n"));
	server_stop(&server);
}

/* RFC 9110, section 8.6: without it some servers answer 411. */
static void http_says_that_a_request_with_a_body_has_none(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};

	server_start(&server, "127.0.0.1");
	spec.method = (char *)"POST";
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_ptr_equal(strstr(server.request, "POST / HTTP/1.1\r\n"), server.request);
	assert_non_null(strstr(server.request, "\r\nContent-Length: 0\r\n"));
	spec.headers = (char *)"X-A: b\ncontent-length: 0";
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_null(strstr(server.request, "\r\nContent-Length: 0\r\n"));
	spec.headers = NULL;
	spec.method = (char *)"OPTIONS";
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_null(strstr(server.request, "Content-Length"));
	server_stop(&server);
}

static void http_ignores_proxies_of_the_environment(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	server_start(&server, "127.0.0.1");
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	server_stop(&server);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

static void http_makes_a_new_connection_for_every_probe(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {
	    .answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"};
	struct reported reported = {0};
	struct health_check *check;

	server_start(&server, "127.0.0.1");
	spec.interval_ms = 20;
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&reported.results, 5));
	assert_true(server.accepted >= reported.results);
	health_remove(check);
	server_stop(&server);
}

static void http_check_removed_during_a_probe_is_silent(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {0};
	struct reported reported = {0};
	struct health_check *check;

	server_start(&server, "127.0.0.1");
	check = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported);
	assert_true(run_until(&server.requests, 1));
	health_remove(check);
	test_loop_run(base, 200);
	assert_int_equal(reported.results, 0);
	server_stop(&server);
}

static void http_checks_may_be_removed_by_each_others_results(void **state)
{
	enum { CHECKS = 20 };
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
	struct health_check *checks[CHECKS];
	struct reported reported[CHECKS] = {0};

	server_start(&server, "127.0.0.1");
	spec.interval_ms = 20;
	for (unsigned i = 0; i < CHECKS; i++)
		checks[i] = add(&spec, "127.0.0.1", server.port, HEALTH_UNKNOWN, &reported[i]);
	for (unsigned i = 0; i < CHECKS; i += 2) {
		reported[i].remove = checks[i + 1];
		reported[i].removed = &reported[i + 1];
	}
	for (unsigned i = 0; i < CHECKS; i += 2)
		assert_true(run_until(&reported[i].results, 5));
	for (unsigned i = 0; i < CHECKS; i += 2) {
		assert_int_equal(reported[i].status, HEALTH_UP);
		assert_string_equal(reported[i].last_failure, "");
		assert_int_equal(reported[i + 1].results, reported[i].removed_results);
		health_remove(checks[i]);
	}
	server_stop(&server);
}

/* ---- http with a source and by a way ---- */

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/* The kernel would choose 127.0.0.1, which is a VIP here. */
static void http_leaves_from_the_source_that_is_no_vip(void **state)
{
	struct health_spec spec = spec_of("http");
	struct server server = {.answer = ok};
	const struct addr vip = test_addr("127.0.0.1"), other = test_addr("127.0.0.77");

	needs_root();
	here("ip addr add 127.0.0.77/32 dev lo");
	server_start(&server, "127.0.0.1");
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_true(addr_equal(&server.from, &vip));
	assert_int_equal(health_avoid(health, &vip, 1), 0);
	assert_int_equal(probe_once(&spec, "127.0.0.1", server.port).status, HEALTH_UP);
	assert_true(addr_equal(&server.from, &other));
	here("ip addr del 127.0.0.77/32 dev lo");
	assert_int_equal(probe_process().restarts, 0);
	server_stop(&server);
}

/* 192.0.2.1 does not answer here: the probe goes to the VIP. */
static struct reported http_to_the_vip(struct server *server, const char *vip,
				       struct fake_way *fake)
{
	struct health_spec spec = spec_of("http");
	struct reported reported = {0};
	struct health_check *check;

	spec.to = HEALTH_TO_VIP;
	server_start(server, vip);
	check = add(&spec, "192.0.2.1", server->port, HEALTH_UNKNOWN, &reported);
	set_way_to(check, fake, vip);
	assert_true(run_until(&reported.results, 1));
	health_remove(check);
	server_stop(server);
	return reported;
}

static void http_to_the_vip_carries_the_mark_of_its_way(void **state)
{
	struct server server = {.answer = ok}, server6 = {.answer = ok};
	struct fake_way fake = {.each = 1};
	struct reported reported;

	needs_root();
	here("echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept");
	reported = http_to_the_vip(&server, "127.0.0.1", &fake);
	assert_string_equal(reported.why, "");
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(server.mark, 0x77);
	reported = http_to_the_vip(&server6, "::1", &fake);
	assert_int_equal(reported.status, HEALTH_UP);
	assert_int_equal(server6.mark, 0x77);
	assert_int_equal(fake.missed, 0);
}

static void http_to_the_vip_that_did_not_take_its_way_fails(void **state)
{
	struct server server = {.answer = ok};
	struct fake_way fake = {0};
	struct reported reported;

	needs_root();
	reported = http_to_the_vip(&server, "127.0.0.1", &fake);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_int_equal(reported.outcome, HEALTH_FAILED);
	assert_non_null(strstr(reported.why, "did not take the tunnel"));
	assert_int_equal(server.requests, 1);
	assert_int_equal(fake.missed, 1);
}

/* Effective, not permitted: it can be taken back. */
static void set_right_to_mark(bool right)
{
	const uint32_t needed = 1U << CAP_NET_ADMIN | 1U << CAP_NET_RAW;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];

	assert_int_equal(syscall(SYS_capget, &header, sets), 0);
	sets[0].effective = right ? sets[0].effective | needed : sets[0].effective & ~needed;
	assert_int_equal(syscall(SYS_capset, &header, sets), 0);
}

static void http_without_the_right_to_mark_is_not_run(void **state)
{
	struct server server = {.answer = ok};
	struct fake_way fake = {.each = 1};
	struct reported reported;

	needs_root();
	set_right_to_mark(false);
	reported = http_to_the_vip(&server, "127.0.0.1", &fake);
	set_right_to_mark(true);
	assert_int_equal(reported.status, HEALTH_UNKNOWN);
	assert_int_equal(reported.outcome, HEALTH_NOT_RUN);
	assert_string_equal(reported.why, "probe not run: Operation not permitted");
	assert_int_equal(server.accepted, 0);
}

/* ---- https ---- */

#define TLS_FILES                                                                                             \
	"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=wrong.example -keyout k.pem -out c.pem " \
	">/dev/null 2>&1"

/* openssl s_server in a directory of its own; 0 if there is no openssl. */
static pid_t tls_server_start(char directory[32], uint16_t port)
{
	char accept[32];
	pid_t pid;

	if (system("command -v openssl >/dev/null") != 0)
		return 0;
	strcpy(directory, "/tmp/lbd-tls-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(accept, sizeof(accept), "127.0.0.1:%u", port);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chdir(directory) || system(TLS_FILES))
		_exit(1);
	freopen("/dev/null", "r+", stdout);
	freopen("/dev/null", "r+", stderr);
	execlp("openssl", "openssl", "s_server", "-accept", accept, "-cert", "c.pem", "-key",
	       "k.pem", "-www", "-servername", "sni.example", "-servername_fatal", "-cert2",
	       "c.pem", "-key2", "k.pem", NULL);
	_exit(1);
}

static void tls_server_stop(pid_t pid, const char *directory)
{
	char command[128];

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void https_unverified_certificate_is_up_and_the_host_is_the_sni(void **state)
{
	struct health_spec spec = spec_of("https");
	uint16_t port = closed_port();
	struct reported reported = {0};
	struct health_check *check;
	char directory[32];
	pid_t pid = tls_server_start(directory, port);

	if (!pid)
		skip(); /* no openssl command */
	spec.rise = 1;
	spec.host = (char *)"sni.example";
	check = add(&spec, "127.0.0.1", port, HEALTH_UNKNOWN, &reported);
	run_until(&reported.passed, 1);
	health_remove(check);
	assert_string_equal(reported.why, "");
	assert_int_equal(reported.status, HEALTH_UP);
	/* this server refuses any other name with a TLS alert */
	spec.host = (char *)"other.example";
	reported = probe_once(&spec, "127.0.0.1", port);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_ptr_equal(strstr(reported.why, "TLS: "), reported.why);
	tls_server_stop(pid, directory);
}

static void https_to_a_plain_server_is_a_tls_failure(void **state)
{
	struct health_spec spec = spec_of("https");
	struct server server = {.answer = "HTTP/1.1 400 Bad Request\r\n\r\n", .any = true};
	struct reported reported;

	server_start(&server, "127.0.0.1");
	reported = probe_once(&spec, "127.0.0.1", server.port);
	assert_int_equal(reported.status, HEALTH_DOWN);
	assert_string_equal(reported.why, "TLS: wrong version number");
	server_stop(&server);
}

/* ---- many ---- */

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* `count` checks with one interval and one listener: each is up after its first probe, and stays
 * up. */
static void assert_many_are_up(const char *type, unsigned count, const char *answer)
{
	struct health_spec spec = spec_of(type);
	struct server server = {.answer = answer};
	struct reported *reported = calloc(count, sizeof(*reported));
	struct health_check **checks = calloc(count, sizeof(struct health_check *));
	double cpu;
	unsigned results = 0;

	assert_non_null(reported);
	assert_non_null(checks);
	server_start(&server, "0.0.0.0");
	spec.interval_ms = 1000;
	cpu = cpu_seconds();
	for (unsigned i = 0; i < count; i++) {
		char address[32];

		snprintf(address, sizeof(address), "127.0.%u.%u", i / 250 + 1, i % 250 + 1);
		checks[i] = add(&spec, address, server.port, HEALTH_UNKNOWN, &reported[i]);
	}
	for (unsigned i = 0; i < count; i++)
		assert_true(run_until(&reported[i].results, 3));
	cpu = cpu_seconds() - cpu;
	for (unsigned i = 0; i < count; i++) {
		results += reported[i].results;
		assert_string_equal(reported[i].last_failure, "");
		assert_int_equal(reported[i].status, HEALTH_UP);
		assert_int_equal(reported[i].changes, 1);
		health_remove(checks[i]);
	}
	print_message("# %u %s probes, and their server: %.0f us of CPU each\n", results, type,
		      cpu * 1e6 / results);
	server_stop(&server);
	free(checks);
	free(reported);
}

static void two_thousand_tcp_checks_at_once_are_all_up(void **state)
{
	assert_many_are_up("tcp", 2000, NULL);
}

static void five_hundred_http_checks_at_once_are_all_up(void **state)
{
	assert_many_are_up("http", 500, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* In a network namespace of its own, if permitted, so that firewall rules and used ports of the
 * host do not interfere. */
static int enter(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	return netns_enter(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_loop, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(first_probe_of_an_unknown_backend_decides_alone),
	    TEST(fall_counts_failures_in_a_row),
	    TEST(rise_counts_successes_in_a_row),
	    TEST(kept_status_is_not_a_change_and_needs_the_full_count),
	    TEST(probe_that_could_not_run_does_not_change_the_status),
	    TEST(each_probe_is_counted_under_its_result),
	    TEST(probe_over_the_limit_is_not_run_until_another_ends),
	    TEST(of_several_checks_all_must_pass),
	    TEST(of_several_checks_one_that_passes_is_enough_with_any),
	    TEST(a_check_that_decides_ends_the_others),
	    TEST(several_checks_count_as_one_probe_each_time),
	    TEST(one_of_several_checks_that_could_not_run_leaves_the_status),
	    TEST(several_checks_may_be_removed_by_their_own_result),
	    TEST(each_of_several_checks_has_its_port),
	    TEST(an_unknown_kind_among_several_is_refused),
	    TEST(check_to_the_vip_waits_for_its_way),
	    TEST(check_to_the_vip_that_did_not_take_its_way_fails),
	    TEST(check_to_the_vip_without_descriptors_for_its_way_is_not_run),
	    TEST(check_to_the_vip_without_a_way_says_why),
	    TEST(why_holds_the_last_failure_until_up_again),
	    TEST(probes_start_an_interval_apart),
	    TEST(contradicted_probes_come_faster),
	    TEST(first_probes_are_spread),
	    TEST(probe_that_does_not_end_has_timed_out),
	    TEST(check_removed_during_a_probe_is_silent),
	    TEST(check_may_be_removed_by_its_own_result),
	    TEST(unknown_kind_is_refused),
	    TEST(tcp_up_with_latency_when_something_listens),
	    TEST(tcp_works_over_ipv6),
	    TEST(tcp_port_of_the_check_wins_over_the_services),
	    TEST(tcp_refused_is_reported),
	    TEST(tcp_timeout_is_strict_and_reported),
	    TEST(tcp_backend_is_not_blamed_for_a_late_loop),
	    TEST(http_backend_is_not_blamed_for_a_late_loop),
	    TEST(dead_backend_is_found_by_a_loop_that_is_always_late),
	    TEST(probe_process_is_started_by_the_first_check_that_needs_it),
	    TEST(probe_process_has_no_rights),
	    TEST(probe_process_has_no_descriptor_of_its_parent),
	    TEST(killed_probe_process_takes_no_backend_down_and_checks_go_on),
	    TEST(http_backend_is_not_blamed_for_a_late_probe_process),
	    TEST(http_times_are_those_of_the_probe_not_of_this_loop),
	    TEST(probe_process_ends_with_its_parent),
	    TEST(tcp_backend_that_goes_and_comes_is_followed),
	    TEST(tcp_check_removed_during_a_probe_is_silent),
	    TEST(probes_leave_no_port_in_time_wait),
	    TEST(running_out_of_descriptors_takes_no_backend_down),
	    TEST(probe_process_out_of_descriptors_takes_no_backend_down),
	    TEST(probe_process_without_room_for_a_socket_takes_no_backend_down),
	    TEST(limit_of_open_files_is_raised),
	    TEST(http_status_in_range_is_up),
	    TEST(http_status_out_of_range_is_reported),
	    TEST(http_status_is_one_of_a_list),
	    TEST(http_garbage_is_reported),
	    TEST(http_connection_closed_early_is_reported),
	    TEST(http_connection_reset_is_reported),
	    TEST(http_refused_is_reported_as_by_tcp),
	    TEST(http_timeouts_report_what_is_missing),
	    TEST(http_answer_after_the_timeout_does_not_count),
	    TEST(http_latency_is_connect_to_answer),
	    TEST(http_long_body_is_cut_off_and_long_headers_refused),
	    TEST(http_request_is_as_configured),
	    TEST(http_host_may_be_an_ipv6_address),
	    TEST(http_says_that_a_request_with_a_body_has_none),
	    TEST(http_ignores_proxies_of_the_environment),
	    TEST(http_makes_a_new_connection_for_every_probe),
	    TEST(http_check_removed_during_a_probe_is_silent),
	    TEST(http_checks_may_be_removed_by_each_others_results),
	    TEST(http_leaves_from_the_source_that_is_no_vip),
	    TEST(http_to_the_vip_carries_the_mark_of_its_way),
	    TEST(http_to_the_vip_that_did_not_take_its_way_fails),
	    TEST(http_without_the_right_to_mark_is_not_run),
	    TEST(https_unverified_certificate_is_up_and_the_host_is_the_sni),
	    TEST(https_to_a_plain_server_is_a_tls_failure),
	    TEST(two_thousand_tcp_checks_at_once_are_all_up),
	    TEST(five_hundred_http_checks_at_once_are_all_up),
	};

	if (health_is_worker(argc, argv))
		return health_run_worker();
	return cmocka_run_group_tests(tests, enter, NULL);
}
