/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/drain.c and drain/: the progress of a drain, and the wait for its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbctl/drain/progress.h"
#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define BACKENDS "GET /v1/backends?service=web"
#define DRAIN    "POST /v1/backend/drain"
#define OF(condition, active, kept, drained)                                        \
	"{\"service\":\"web\",\"address\":\"10.0.0.12\",\"condition\":\"" condition \
	"\",\"active\":" #active ",\"kept_slots\":" #kept ",\"drained\":" #drained "}"
#define LIST(backend) "{\"backends\":[" backend "]}"
#define ONE(backend)  "{\"backend\":" backend "}"

static struct lbctl_run run;

static struct drain_progress progress_of(const char *text)
{
	json_t *answer = json_loads(text, 0, NULL);
	struct drain_progress progress;

	assert_non_null(answer);
	drain_read(answer, "10.0.0.12", &progress);
	json_decref(answer);
	return progress;
}

static void a_draining_backend_is_not_yet_drained(void **state)
{
	struct drain_progress progress = progress_of(LIST(OF("draining", 12, 1, false)));
	char text[128];

	assert_false(drain_over(&progress));
	drain_describe(&progress, text, sizeof(text));
	assert_string_equal(text, "12 active flows, 1 slot kept for older flows");
}

static void no_active_flow_is_not_yet_drained_while_slots_are_kept(void **state)
{
	struct drain_progress progress = progress_of(LIST(OF("draining", 0, 3, false)));

	assert_false(drain_over(&progress));
}

static void a_backend_that_lbd_has_removed_is_drained(void **state)
{
	struct drain_progress progress = progress_of(LIST(""));

	assert_true(progress.gone);
	assert_true(drain_over(&progress));
}

static void a_draining_backend_that_is_down_is_waited_for_until_lbd_reports_drained(void **state)
{
	struct drain_progress progress = progress_of(LIST(OF("down", 0, 0, false)));

	assert_false(drain_over(&progress));
}

static void a_backend_that_is_up_again_ends_the_wait(void **state)
{
	struct drain_progress progress = progress_of(LIST(OF("up", 3, 0, false)));

	assert_true(progress.undone);
	assert_true(drain_over(&progress));
}

#define DRAINING(drain)                                                              \
	"{\"service\":\"web\",\"address\":\"10.0.0.12\",\"condition\":\"draining\"," \
	"\"active\":2,\"kept_slots\":0,\"drained\":false,\"drain\":" drain "}"
#define FORCED                                                                      \
	"{\"service\":\"web\",\"address\":\"10.0.0.12\",\"condition\":\"drained\"," \
	"\"active\":0,\"kept_slots\":0,\"drained\":true,\"drain\":{\"since_s\":60," \
	"\"last_packet_s\":null,\"forced_in_s\":null,\"forced\":true,\"given_up\":7}}"

static void what_holds_a_drain_is_shown_with_its_age(void **state)
{
	char text[160];
	struct drain_progress progress = progress_of(LIST(
	    DRAINING("{\"since_s\":180,\"last_packet_s\":2,\"forced_in_s\":420,\"forced\":false,"
		     "\"given_up\":0}")));

	drain_describe_times(&progress, text, sizeof(text));
	assert_string_equal(text, ", draining for 3m, last packet 2s ago, forced in 7m");
	progress = progress_of(
	    LIST(DRAINING("{\"since_s\":180,\"last_packet_s\":null,\"forced_in_s\":null,"
			  "\"forced\":false,\"given_up\":0}")));
	drain_describe_times(&progress, text, sizeof(text));
	assert_string_equal(text, ", draining for 3m");
}

static void run_against(const struct fake_answer *answers, char *requests, size_t size,
			const char *option, const char *value)
{
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "drain", "web", "10.0.0.12", "--socket", fake.socket, option, value);
	fake_lbd_requests(&fake, requests, size);
	fake_lbd_stop(&fake);
}

static void wait_prints_a_line_per_change_and_exits_0_when_drained(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("drained", 0, 0, true))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--wait", NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(requests, "\"address\":\"10.0.0.12\""));
	assert_non_null(strstr(requests, "\"on\":true"));
	assert_string_equal(run.err, "");
	assert_non_null(strstr(run.out,
			       "web 10.0.0.12: 2 active flows, 1 slot kept for older flows\n"
			       "web 10.0.0.12: no flow depends on it"));
	assert_non_null(strstr(run.out, "safe to stop the host"));
}

/* The answer to the request, with the backend as it was seen last. */
static void wait_with_json_prints_the_answer_and_nothing_else(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200,
	     "{\"backend\":" OF("draining", 2, 1, false) ",\"warnings\":[\"web is down\"]}"},
	    {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
	    {BACKENDS, 200, LIST(OF("drained", 0, 0, true))},
	    {NULL}};
	char requests[4096];
	json_t *answer;

	run_against(answers, requests, sizeof(requests), "--wait", "--json");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.err, "");
	answer = json_loads(run.out, 0, NULL);
	assert_non_null(answer);
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(answer, "backend"), "condition")),
	    "drained");
	assert_int_equal(json_array_size(json_object_get(answer, "warnings")), 1);
	json_decref(answer);
}

/* It was removed when it had drained: what was seen last has no other. */
static void json_of_a_backend_that_is_gone_is_the_answer_to_the_request(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200, ONE(OF("draining", 2, 1, false))}, {BACKENDS, 200, LIST("")}, {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--wait", "--json");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "\"draining\""));
	assert_int_equal(run.out[0], '{');
}

static void a_wait_with_json_that_times_out_prints_nothing(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--timeout=300ms", "--json");
	assert_int_equal(run.exit_code, 3);
	assert_string_equal(run.out, "");
	assert_non_null(strstr(run.err, "2 active flows, 1 slot kept"));
}

static void timeout_exits_3_and_says_what_remains(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--timeout", "300ms");
	assert_int_equal(run.exit_code, 3);
	assert_non_null(strstr(run.err, "2 active flows, 1 slot kept"));
	assert_null(strstr(run.out, "safe to stop"));
}

static void a_drain_that_somebody_ended_exits_1(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("draining", 2, 1, false))},
					      {BACKENDS, 200, LIST(OF("up", 2, 0, false))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--wait", NULL);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "takes new flows again"));
	assert_null(strstr(run.out, "safe to stop"));
}

static void a_forced_drain_exits_0_and_says_how_many_flows_were_given_up(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200, ONE(OF("draining", 2, 1, false))}, {BACKENDS, 200, LIST(FORCED)}, {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--wait", NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "web 10.0.0.12: drain forced: 7 active flows given up, and "
					"no other backend takes their packets"));
	assert_non_null(strstr(run.out, "safe to stop the host"));
	assert_null(strstr(run.out, "no flow depends on it"));
}

static void the_deadline_is_sent_to_lbd(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--force-after", "10m");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(requests, "\"force_after_ms\":600000"));
	run_against(answers, requests, sizeof(requests), NULL, NULL);
	assert_null(strstr(requests, "force_after_ms"));
}

static void a_bad_deadline_is_refused_before_the_drain_begins(void **state)
{
	const struct fake_answer answers[] = {{NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), "--force-after", "soon");
	assert_int_equal(run.exit_code, 2);
	assert_non_null(strstr(run.err, "--force-after soon: expected a duration"));
	assert_null(strstr(requests, "drain"));
}

static void without_wait_it_says_how_to_wait(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, ONE(OF("draining", 2, 1, false))},
					      {NULL}};
	char requests[4096];

	run_against(answers, requests, sizeof(requests), NULL, NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "2 active flows"));
	assert_non_null(strstr(run.out, "lbctl drain web 10.0.0.12 --wait"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_draining_backend_is_not_yet_drained),
	    cmocka_unit_test(no_active_flow_is_not_yet_drained_while_slots_are_kept),
	    cmocka_unit_test(a_backend_that_lbd_has_removed_is_drained),
	    cmocka_unit_test(
		a_draining_backend_that_is_down_is_waited_for_until_lbd_reports_drained),
	    cmocka_unit_test(a_backend_that_is_up_again_ends_the_wait),
	    cmocka_unit_test(wait_prints_a_line_per_change_and_exits_0_when_drained),
	    cmocka_unit_test(wait_with_json_prints_the_answer_and_nothing_else),
	    cmocka_unit_test(json_of_a_backend_that_is_gone_is_the_answer_to_the_request),
	    cmocka_unit_test(a_wait_with_json_that_times_out_prints_nothing),
	    cmocka_unit_test(timeout_exits_3_and_says_what_remains),
	    cmocka_unit_test(a_drain_that_somebody_ended_exits_1),
	    cmocka_unit_test(what_holds_a_drain_is_shown_with_its_age),
	    cmocka_unit_test(a_forced_drain_exits_0_and_says_how_many_flows_were_given_up),
	    cmocka_unit_test(the_deadline_is_sent_to_lbd),
	    cmocka_unit_test(a_bad_deadline_is_refused_before_the_drain_begins),
	    cmocka_unit_test(without_wait_it_says_how_to_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
