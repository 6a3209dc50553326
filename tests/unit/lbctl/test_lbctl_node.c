/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/node.c: the drain of a whole balancer, and the wait for its end; and the node in
 * lbctl status. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define STATUS "GET /v1/status"
#define DRAIN  "POST /v1/node/drain"
#define NODE(state, metric, announced, why, drain)                                                \
	"{\"node\":{\"state\":\"" state "\",\"why\":\"" why "\",\"table\":76,\"metric\":" #metric \
	",\"vips\":4,\"announced\":" #announced                                                   \
	",\"not_announced\":[],\"fault\":\"\",\"drain\":" drain "}}"
#define DRAINING(quiet_ms)            \
	NODE("draining", 2000, 4, "", \
	     "{\"since_s\":1,\"withdrawn\":false,\"quiet_ms\":" #quiet_ms "}")
#define WITHDRAWN                             \
	NODE("withdrawn", 2000, 0, "drained", \
	     "{\"since_s\":9,\"withdrawn\":true,\"quiet_ms\":9000}")
#define UP NODE("up", 10, 4, "", "null")

static struct lbctl_run run;
static char requests[8192];

static void run_against(const struct fake_answer *answers, const char *verb, const char *option,
			const char *value)
{
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "node", verb, "--socket", fake.socket, option, value);
	fake_lbd_requests(&fake, requests, sizeof(requests));
	fake_lbd_stop(&fake);
}

static void a_drain_shows_the_metric(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, DRAINING(0)}, {NULL}};

	run_against(answers, "drain", NULL, NULL);
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "node: draining: 4 of 4 VIPs announced with metric 2000\n");
	assert_null(strstr(requests, STATUS));
	assert_null(strstr(requests, "withdraw"));
}

static void wait_withdraws_once_nothing_is_forwarded_for_5_s(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200, DRAINING(0)},     {DRAIN, 200, WITHDRAWN},
	    {STATUS, 200, DRAINING(10)},   {STATUS, 200, DRAINING(4999)},
	    {STATUS, 200, DRAINING(5000)}, {NULL}};
	const char *withdraw;

	run_against(answers, "drain", "--wait", NULL);
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.err, "");
	assert_non_null(strstr(run.out, "waiting until no packet is forwarded for 5s"));
	assert_non_null(strstr(run.out, "safe to stop"));
	withdraw = strstr(requests, DRAIN " {\"withdraw\":true}");
	assert_non_null(withdraw);
	assert_null(strstr(withdraw, STATUS)); /* it was asked for last */
}

static void wait_with_json_prints_nothing_else(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, DRAINING(0)},
					      {DRAIN, 200, WITHDRAWN},
					      {STATUS, 200, DRAINING(10)},
					      {STATUS, 200, DRAINING(5000)},
					      {NULL}};
	json_t *answer;

	run_against(answers, "drain", "--wait", "--json");
	assert_int_equal(run.exit_code, 0);
	answer = json_loads(run.out, 0, NULL);
	assert_non_null(answer);
	json_decref(answer);
}

static void timeout_exits_3_and_leaves_the_routes(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200, DRAINING(0)}, {STATUS, 200, DRAINING(10)}, {NULL}};

	run_against(answers, "drain", "--timeout", "300ms");
	assert_int_equal(run.exit_code, 3);
	assert_non_null(strstr(run.err, "routers still send traffic here"));
	assert_null(strstr(requests, "withdraw"));
	assert_null(strstr(run.out, "safe to stop"));
}

static void a_drain_that_somebody_ended_exits_1(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 200, DRAINING(0)}, {STATUS, 200, DRAINING(10)}, {STATUS, 200, UP}, {NULL}};

	run_against(answers, "drain", "--wait", NULL);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "somebody ended the drain"));
	assert_null(strstr(requests, "withdraw"));
}

static void a_bad_timeout_is_refused_before_the_drain_begins(void **state)
{
	const struct fake_answer answers[] = {{NULL}};

	run_against(answers, "drain", "--timeout", "soon");
	assert_int_equal(run.exit_code, 2);
	assert_non_null(strstr(run.err, "--timeout soon: expected a duration"));
	assert_string_equal(requests, "");
}

static void undrain_ends_it_and_shows_the_node(void **state)
{
	const struct fake_answer answers[] = {{DRAIN, 200, UP}, {NULL}};

	run_against(answers, "undrain", NULL, NULL);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(requests, DRAIN " {\"on\":false}"));
	assert_string_equal(run.out, "node: up: 4 of 4 VIPs announced with metric 10\n");
}

static void what_lbd_refuses_is_shown(void **state)
{
	const struct fake_answer answers[] = {
	    {DRAIN, 409, "{\"error\":\"the config has no `announce:`\",\"hint\":\"\"}"}, {NULL}};

	run_against(answers, "drain", "--wait", NULL);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "the config has no `announce:`"));
}

/* ---- lbctl status ---- */

static void status_of(const char *body)
{
	const struct fake_answer answers[] = {{STATUS, 200, body}, {NULL}};
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "status", "--socket", fake.socket);
	fake_lbd_stop(&fake);
	assert_int_equal(run.exit_code, 0);
}

static void status_shows_the_node(void **state)
{
	status_of(UP);
	assert_non_null(
	    strstr(run.out, "Node           up: 4 of 4 VIPs announced, table 76, metric 10\n"));
	status_of(NODE("blind", 10, 0, "no backend answers", "null"));
	assert_non_null(
	    strstr(run.out, "Node           blind: 0 of 4 VIPs announced: no backend answers\n"));
	status_of("{\"node\":null}");
	assert_null(strstr(run.out, "Node"));
}

static void status_shows_vips_that_are_not_announced_and_what_failed(void **state)
{
	status_of("{\"node\":{\"state\":\"up\",\"vips\":2,\"announced\":1,\"table\":76,"
		  "\"metric\":10,\"fault\":\"rtnetlink: no\",\"not_announced\":[{\"vip\":"
		  "\"192.0.2.10\",\"why\":\"web: 0 of 2 backends up, expected 1\"}]}}");
	assert_non_null(
	    strstr(run.out, "Not announced: 192.0.2.10: web: 0 of 2 backends up, expected 1"));
	assert_non_null(strstr(run.out, "Warning: rtnetlink: no"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_drain_shows_the_metric),
	    cmocka_unit_test(wait_withdraws_once_nothing_is_forwarded_for_5_s),
	    cmocka_unit_test(wait_with_json_prints_nothing_else),
	    cmocka_unit_test(timeout_exits_3_and_leaves_the_routes),
	    cmocka_unit_test(a_drain_that_somebody_ended_exits_1),
	    cmocka_unit_test(a_bad_timeout_is_refused_before_the_drain_begins),
	    cmocka_unit_test(undrain_ends_it_and_shows_the_node),
	    cmocka_unit_test(what_lbd_refuses_is_shown),
	    cmocka_unit_test(status_shows_the_node),
	    cmocka_unit_test(status_shows_vips_that_are_not_announced_and_what_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
