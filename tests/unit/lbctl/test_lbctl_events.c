/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl events against a stand-in for lbd: pages, following, and what it prints. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbctl_run.h"
#include "support/fake_lbd.h"

#define EVENT(seq, level, text)                                                                  \
	"{\"seq\":" #seq ",\"time\":\"2026-11-26T15:36:01.123Z\",\"time_ms\":1795707361123,"     \
	"\"kind\":\"backend-down\",\"level\":\"" level "\",\"service\":\"web\",\"text\":\"" text \
	"\","                                                                                    \
	"\"who\":\"lbd\"}"
#define PAGE(events, next, more, missed) \
	"{\"events\":[" events "],\"next\":" #next ",\"more\":" #more ",\"missed\":" #missed "}"

static struct lbctl_run run;
static struct fake_lbd fake;

/* Calls with these numbers, 1: the first, fail so. */
static struct failure {
	unsigned call;
	int rc;
} failures[2];

int __real_call_get(struct call *call, const char *path, json_t **ret, struct error *err);
int __wrap_call_get(struct call *call, const char *path, json_t **ret, struct error *err);
int __wrap_call_get(struct call *call, const char *path, json_t **ret, struct error *err)
{
	static unsigned calls; /* of one lbctl: it is a process of its own */

	calls++;
	for (unsigned i = 0; i < 2; i++)
		if (calls == failures[i].call)
			return error_set(err, failures[i].rc, "made up");
	return __real_call_get(call, path, ret, err);
}

static void answer(const struct fake_answer *answers)
{
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	setenv("LBD_SOCKET", fake.socket, 1);
}

/* A request that the stand-in does not know is refused, and ends lbctl also with --follow. */
static int stop(void **unused)
{
	fake_lbd_stop(&fake);
	memset(failures, 0, sizeof(failures));
	return 0;
}

static void expect_requests(const char *expected)
{
	char requests[1024];

	fake_lbd_requests(&fake, requests, sizeof(requests));
	if (strncmp(requests, expected, strlen(expected)) != 0)
		fail_msg("expected \"%s\", got \"%s\"", expected, requests);
}

static void all_pages_are_printed_oldest_first(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events", 200, PAGE(EVENT(5, "info", "one"), 5, true, false)},
	    {"GET /v1/events?after=5", 200, PAGE(EVENT(7, "info", "two"), 7, false, false)},
	    {NULL}});
	lbctl_run(&run, "events");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "2026-11-26 15:36:01.123  lbd         one\n"
				     "2026-11-26 15:36:01.123  lbd         two\n");
	assert_string_equal(run.err, "");
}

/* An answer that is no lbd's. */
static void pages_that_lead_nowhere_are_refused(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events", 200, PAGE(EVENT(5, "info", "one"), 5, true, false)},
	    {"GET /v1/events?after=5", 200, PAGE("", 5, true, false)},
	    {NULL}});
	lbctl_run(&run, "events");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.err, "lbctl: events: expected a page after event 5 from lbd, got "
				     "one up to event 5\n");
	expect_requests("GET /v1/events\nGET /v1/events?after=5\n");
}

static void json_is_one_event_in_each_line(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events?service=a%2Fb&since_s=600", 200,
	     PAGE(EVENT(5, "info", "one") "," EVENT(6, "info", "two"), 6, false, false)},
	    {NULL}});
	lbctl_run(&run, "events", "--json", "--since", "10m", "--service", "a/b");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, EVENT(5, "info", "one") "\n" EVENT(6, "info", "two") "\n");
}

static void follow_begins_with_now_and_waits_for_the_next_event(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events?since_s=0", 200, PAGE("", 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 200,
	     PAGE(EVENT(7, "info", "new"), 7, false, false)},
	    {NULL}});
	lbctl_run(&run, "events", "--follow");
	assert_non_null(strstr(run.out, "lbd         new\n"));
	expect_requests("GET /v1/events?since_s=0\nGET /v1/events?after=5&wait_s=10\n"
			"GET /v1/events?after=7&wait_s=10\n");
}

/* The stand-in closes the connection, as an lbd that is killed does: twice, as libcurl itself asks
 * again on a new connection. */
static void follow_goes_on_where_it_was_when_lbd_is_back(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events?since_s=60", 200, PAGE(EVENT(5, "info", "old"), 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 0, NULL},
	    {"GET /v1/events?after=5&wait_s=10", 0, NULL},
	    {"GET /v1/events?after=5&wait_s=10", 200,
	     PAGE(EVENT(7, "info", "new"), 7, false, false)},
	    {NULL}});
	lbctl_run(&run, "events", "--follow", "--since", "60");
	assert_non_null(strstr(run.out, "old\n"));
	assert_non_null(strstr(run.out, "new\n"));
	assert_non_null(strstr(run.err, "lbctl: events: lbd does not answer; it is asked again"));
	assert_non_null(strstr(run.err, "lbctl: events: lbd answers again\n"));
}

/* While lbd is started again: its socket is nobody's but root's at first, and many others wait. */
static void follow_goes_on_when_the_socket_is_not_open_to_all_yet(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events?since_s=0", 200, PAGE("", 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 200,
	     PAGE(EVENT(7, "info", "new"), 7, false, false)},
	    {NULL}});
	failures[0] = (struct failure){2, -EACCES};
	failures[1] = (struct failure){3, -EAGAIN};
	lbctl_run(&run, "events", "--follow");
	assert_non_null(strstr(run.out, "new\n"));
	assert_non_null(strstr(run.err, "lbctl: events: lbd answers again\n"));
}

static void who_may_not_ask_is_told_so_at_once(void **unused)
{
	answer((const struct fake_answer[]){{NULL}});
	failures[0] = (struct failure){1, -EACCES};
	lbctl_run(&run, "events", "--follow");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "made up"));
	expect_requests("");
}

/* lbd itself waits for events: this is none, or a broken one. */
static void follow_rests_where_it_is_answered_at_once_without_events(void **unused)
{
	uint64_t begun_ms = clock_monotonic_ms();

	answer((const struct fake_answer[]){
	    {"GET /v1/events?since_s=0", 200, PAGE("", 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 200, PAGE("", 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 200, PAGE("", 6, false, false)},
	    {"GET /v1/events?after=6&wait_s=10", 200,
	     PAGE(EVENT(6, "info", "again"), 6, false, false)},
	    {"GET /v1/events?after=6&wait_s=10", 200,
	     PAGE(EVENT(7, "info", "new"), 7, false, false)},
	    {NULL}});
	lbctl_run(&run, "events", "--follow");
	assert_non_null(strstr(run.out, "new\n"));
	assert_true(clock_monotonic_ms() - begun_ms >= 3 * 500);
}

static void who_is_too_slow_is_told_that_events_are_missing(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events", 200, PAGE(EVENT(5, "info", "one"), 5, true, true)},
	    {"GET /v1/events?after=5", 200, PAGE(EVENT(9, "info", "two"), 9, false, true)},
	    {NULL}});
	lbctl_run(&run, "events");
	assert_string_equal(run.err, "lbctl: events: some events are missing here: they are not "
				     "kept any more\n");
}

static void without_lbd_it_says_so(void **unused)
{
	setenv("LBD_SOCKET", "/nonexistent/lbd.sock", 1);
	lbctl_run(&run, "events", "--follow");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "lbd is not running"));
}

static void a_refusal_ends_it(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events?since_s=0", 200, PAGE("", 5, false, false)},
	    {"GET /v1/events?after=5&wait_s=10", 503,
	     "{\"error\":\"too many clients wait for events\",\"hint\":\"Try again\"}"},
	    {NULL}});
	lbctl_run(&run, "events", "--follow");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "too many clients wait for events"));
}

static void a_time_that_is_none_is_refused(void **unused)
{
	lbctl_run(&run, "events", "--since", "soon");
	assert_int_equal(run.exit_code, 2);
	assert_non_null(strstr(run.err, "events: --since soon: expected a duration"));
}

static void what_a_terminal_obeys_is_not_printed(void **unused)
{
	answer((const struct fake_answer[]){
	    {"GET /v1/events", 200, PAGE(EVENT(5, "info", "a\\u001b[2Jb"), 5, false, false)},
	    {NULL}});
	lbctl_run(&run, "events");
	assert_null(strchr(run.out, '\033'));
	assert_non_null(strstr(run.out, "a?[2Jb\n"));
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(all_pages_are_printed_oldest_first),
	    TEST(pages_that_lead_nowhere_are_refused),
	    TEST(json_is_one_event_in_each_line),
	    TEST(follow_begins_with_now_and_waits_for_the_next_event),
	    TEST(follow_goes_on_where_it_was_when_lbd_is_back),
	    TEST(follow_goes_on_when_the_socket_is_not_open_to_all_yet),
	    TEST(who_may_not_ask_is_told_so_at_once),
	    TEST(follow_rests_where_it_is_answered_at_once_without_events),
	    TEST(who_is_too_slow_is_told_that_events_are_missing),
	    TEST(a_refusal_ends_it),
	    TEST(what_a_terminal_obeys_is_not_printed),
	    cmocka_unit_test(without_lbd_it_says_so),
	    cmocka_unit_test(a_time_that_is_none_is_refused),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
