/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests lbctl backends and services: filters, orders, exact counts and --watch; and the reasons
 * made of an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/match.h"
#include "lbctl/list/select.h"
#include "lbctl/list/why.h"
#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define BACKEND(service, address, condition, weight, effective, latency, packets, flows, more)   \
	"{\"service\":\"" service "\",\"address\":\"" address "\",\"condition\":\"" condition    \
	"\",\"why\":\"\",\"since_s\":75,\"weight\":" #weight ",\"effective_weight\":" #effective \
	",\"latency_us\":" #latency ",\"packets\":" #packets                                     \
	",\"bytes\":1234567,\"flows\":" #flows ",\"active\":0" more "}"
#define BACKENDS                                                                                 \
	"{\"backends\":[" BACKEND(                                                               \
	    "web", "10.0.0.9", "up", 100, 100, 300, 50, 12345,                                   \
	    "") "," BACKEND("web", "10.0.0.10", "down", 100, 0, 0, 700, 3,                       \
			    "") "," BACKEND("api", "10.0.0.11", "no-next-hop", 100, 0, 900, 60,  \
					    200, "") "," BACKEND("api", "10.0.0.12", "draining", \
								 100, 0, 400, 60, 200, "") "]}"
#define SERVICE(name, status, packets, flows)                                              \
	"{\"name\":\"" name "\",\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":\"tcp\","  \
	"\"status\":\"" status "\",\"backends\":2,\"backends_up\":1,\"packets\":" #packets \
	",\"bytes\":1,\"flows\":" #flows ",\"why\":\"\"}"
#define SERVICES                                                   \
	"{\"services\":[" SERVICE("s10", "up", 1, 30) "," SERVICE( \
	    "s2", "down", 2, 20) "," SERVICE("s1", "degraded", 3, 10) "]}"

/* An lbd of before the filter answers with all: lbctl filters too. */
static const struct fake_answer answers[] = {{"GET /v1/backends", 200, BACKENDS},
					     {"GET /v1/backends?filter=api", 200, BACKENDS},
					     {"GET /v1/backends?filter=nothing", 200, BACKENDS},
					     {"GET /v1/services", 200, SERVICES},
					     {NULL}};

static struct lbctl_run run;
static char requests[2048]; /* that it made */

static void run_with(const struct fake_answer *given, const char *const *words)
{
	const char *all[16] = {NULL};
	struct fake_lbd fake;
	size_t count = 0;

	assert_int_equal(fake_lbd_start(&fake, given), 0);
	for (; words[count]; count++)
		all[count] = words[count];
	all[count] = "--socket";
	all[count + 1] = fake.socket;
	lbctl_run_after(&run, NULL, all);
	fake_lbd_requests(&fake, requests, sizeof(requests));
	fake_lbd_stop(&fake);
}

#define RUN(...) run_with(answers, (const char *const[]){__VA_ARGS__, NULL})

/* The words occur in the output in this order. */
static void in_order(const char *const *words)
{
	const char *at = run.out;

	assert_int_equal(run.exit_code, 0);
	for (; *words; words++) {
		const char *found = strstr(at, *words);

		if (!found)
			fail_msg("no '%s' in its place in:\n%s", *words, run.out);
		at = found + strlen(*words);
	}
}

#define IN_ORDER(...) in_order((const char *const[]){__VA_ARGS__, NULL})

/* Whether it is fields of backends that are asked for, not all that lbd knows of them. */
static bool asks_for_fields(const char *verb, const char *option)
{
	RUN(verb, option);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(requests, "GET /v1/backends"));
	return strstr(requests, "?fields=service%2Caddress%2C") != NULL;
}

static void a_table_is_made_of_the_fields_that_it_shows_and_json_has_all(void **state)
{
	static const char *const verbs[] = {"backends", "connects", "health"};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		assert_true(asks_for_fields(verbs[i], NULL));
		assert_false(asks_for_fields(verbs[i], "--json"));
	}
}

#define REFUSED(error) "{\"error\":\"" error "\",\"hint\":\"\"}"

/* How many of the requests hold this text. */
static unsigned count_requests(const char *text)
{
	unsigned count = 0;

	for (const char *at = requests; (at = strstr(at, text)); at += strlen(text))
		count++;
	return count;
}

/* In a fleet that is being upgraded lbctl is newer than lbd for a while. */
static void an_lbd_that_lacks_a_field_is_asked_for_all(void **state)
{
	static const char *const verbs[] = {"backends", "connects", "health"};
	const struct fake_answer older[] = {
	    {"GET /v1/backends", 400,
	     REFUSED("fields: \\\"refused\\\": expected fields that a backend has without this")},
	    {"GET /v1/backends", 200, BACKENDS},
	    {"GET /v1/services", 200, "{\"services\":[]}"},
	    {NULL}};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		run_with(older, (const char *const[]){verbs[i], NULL});
		assert_int_equal(run.exit_code, 0);
		assert_non_null(strstr(run.out, "10.0.0.12"));
		assert_int_equal(count_requests("GET /v1/backends"), 2);
		assert_int_equal(count_requests("fields="), 1);
	}
}

static void what_is_refused_for_another_reason_is_not_asked_again(void **state)
{
	const struct fake_answer others[] = {
	    {"GET /v1/backends", 400, REFUSED("filter: expected at most 256 bytes, got 300")},
	    {NULL}};

	run_with(others, (const char *const[]){"backends", NULL});
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "filter: expected at most 256 bytes"));
	assert_int_equal(count_requests("GET /v1/backends"), 1);
}

static void each_word_of_a_filter_must_occur(void **state)
{
	const char *const texts[] = {"web", "192.0.2.10:80/tcp", "Down"};

	assert_true(match_words("", texts, 3));
	assert_true(match_words("  ", texts, 3));
	assert_true(match_words("WEB", texts, 3));
	assert_true(match_words("down 2.10", texts, 3));
	assert_false(match_words("down up", texts, 3));
	assert_false(match_words("webb", texts, 3));
	assert_false(match_words("web", texts, 0));
}

static void down_shows_what_is_down_alone(void **state)
{
	const struct fake_answer down[] = {
	    {"GET /v1/backends?down=true", 200, BACKENDS},
	    {"GET /v1/backends?service=w%20b&down=true", 200, "{\"backends\":[]}"},
	    {NULL}};

	run_with(down, (const char *const[]){"backends", "--down", "w b", NULL});
	assert_string_equal(run.out, "No backend matches\n");
	/* an lbd of before answers with all */
	run_with(down, (const char *const[]){"backends", "--down", NULL});
	IN_ORDER("10.0.0.10", "10.0.0.11");
	assert_null(strstr(run.out, "10.0.0.9 "));
	assert_null(strstr(run.out, "10.0.0.12"));
	RUN("services", "--down");
	IN_ORDER("s2 ");
	assert_null(strstr(run.out, "s1"));
}

/* Of a service with forward: nat both directions are counted. */
static void replies_are_shown_beside_what_goes_to_backends(void **state)
{
	const struct fake_answer nat[] = {
	    {"GET /v1/backends", 200,
	     "{\"backends\":[" BACKEND("web", "10.0.0.9", "up", 100, 100, 300, 50, 12345, ",\"port\":8080,\"returned_packets\":4711,\"returned_bytes\":9000,\"refused\":17,\"hint\":\"\"") "," BACKEND(
		 "web", "2001:db8::9", "up", 100, 100, 300, 50, 12345,
		 ",\"port\":8080,\"returned_packets\":0,\"returned_bytes\":0,"
		 "\"hint\":\"120 SYNs in, nothing back in 10 s\"") "," BACKEND("dsr", "10.0.0.10",
									       "up", 100, 100, 0,
									       700, 3,
									       ",\"port\":null,\"returned_packets\":0,\"returned_bytes\":0,\"hint\":\"\"") "]}"},
	    {"GET /v1/services", 200,
	     "{\"services\":[{\"name\":\"web\",\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":"
	     "\"tcp\",\"status\":\"up\",\"forward\":\"nat\",\"returned_bytes\":9000,\"why\":"
	     "\"\"},{\"name\":\"dsr\",\"vip\":\"192.0.2.11\",\"port\":80,\"protocol\":\"tcp\","
	     "\"status\":\"up\",\"forward\":\"gre\",\"returned_bytes\":0,\"why\":\"\"}]}"},
	    {NULL}};

	run_with(nat, (const char *const[]){"backends", "--exact", NULL});
	IN_ORDER("REPLIES", "REPLY BYTES", "REFUSED", "10.0.0.9:8080", " 4711", " 9000", " 17\n",
		 "[2001:db8::9]:8080", "10.0.0.10 ", " - ", " -\n",
		 "web [2001:db8::9]:8080 up: 120 SYNs in, nothing back in 10 s");
	run_with(nat, (const char *const[]){"services", "--exact", NULL});
	IN_ORDER("REPLY BYTES", "web", " 9000\n", "dsr", " -\n");
	RUN("backends");
	assert_null(strstr(run.out, "REPLIES"));
	RUN("services");
	assert_null(strstr(run.out, "REPLY BYTES"));
}

#define CHECKS(failure)                                                                           \
	",\"checks\":{\"passed\":12345,\"failed\":7,\"losses\":2,\"p50_us\":420,\"p95_us\":1100," \
	"\"p99_us\":null,\"last_failure\":" failure "}"
#define SHARES(name) \
	"{\"name\":\"" name "\",\"availability\":{\"1h\":1.0,\"24h\":0.99987,\"30d\":null}}"

static void health_shows_what_checks_found_and_availability(void **state)
{
	const struct fake_answer health[] = {
	    {"GET /v1/backends?service=web", 200,
	     "{\"backends\":[" BACKEND(
		 "web", "10.0.0.9", "up", 100, 100, 300, 50, 1,
		 CHECKS(
		     "{\"why\":\"connect: timed out\",\"ago_s\":130}") ",\"from\":\"lease\"") "," BACKEND("web",
													  "10.0.0.10",
													  "up",
													  100,
													  100,
													  0,
													  0,
													  0,
													  CHECKS(
													      "null")) "]}"},
	    {"GET /v1/backends?service=web&filter=nothing", 200, "{\"backends\":[]}"},
	    {"GET /v1/services", 200, "{\"services\":[" SHARES("api") "," SHARES("web") "]}"},
	    {NULL}};

	run_with(health, (const char *const[]){"health", "web", NULL});
	IN_ORDER("P50", "P95", "P99", "10.0.0.9 ", "up", "420us", "1.1ms", "-", "12.3k", "7", "2",
		 "10.0.0.10",
		 "web 10.0.0.9 (registered): a check failed 2m ago: connect: timed out\n",
		 "web: usable 100% of the last hour, 99.98% of the last day\n");
	assert_null(strstr(run.out, "api"));
	assert_null(strstr(run.out, "10.0.0.10: a check"));
	run_with(health, (const char *const[]){"health", "web", "--json", NULL});
	IN_ORDER("\"backends\"", "\"last_failure\"", "\"services\"", "\"availability\"");
	run_with(health, (const char *const[]){"health", "web", "--filter", "nothing", NULL});
	assert_string_equal(run.out, "No backend matches\n");
}

static void health_and_services_say_where_checks_go(void **state)
{
#define TO(to, why) ",\"checks\":{\"to\":" to ",\"to_why\":\"" why "\"}"
	const struct fake_answer of_ways[] = {
	    {"GET /v1/backends", 200,
	     "{\"backends\":[" BACKEND("web", "10.0.0.9", "up", 1, 1, 0, 0, 0, TO("\"vip\"", "")) "," BACKEND(
		 "dns", "10.0.0.9", "up",
		 1, 1, 0, 0, 0,
		 TO("\"backend\"",
		    "the check is of type dns")) "," BACKEND("dns", "10.0.0.10", "up", 1, 1, 0, 0,
							     0,
							     TO("\"backend\"",
								"the check is of type dns")) "," BACKEND("any",
													 "10.0.0.9",
													 "up",
													 1,
													 1,
													 0,
													 0,
													 0,
													 TO("null",
													    "")) "]}"},
	    {"GET /v1/services", 200,
	     "{\"services\":[{\"name\":\"web\",\"checks_to\":{\"vip\":1,\"backend\":0,"
	     "\"hint\":\"\"}},{\"name\":\"api\",\"checks_to\":{\"vip\":0,\"backend\":3,\"hint\":"
	     "\"no route\"}},{\"name\":\"one\",\"checks_to\":{\"vip\":0,\"backend\":1,\"hint\":"
	     "\"no route\"}},{\"name\":\"none\",\"checks_to\":null}]}"},
	    {NULL}};
#undef TO

	run_with(of_ways, (const char *const[]){"health", NULL});
	IN_ORDER("TO", "web", "vip", "dns", "backend", "dns", "backend", "any", " - ",
		 "dns 10.0.0.9: checked at its own address: the check is of type dns\n");
	assert_null(strstr(run.out, "10.0.0.10: checked"));
	run_with(of_ways, (const char *const[]){"services", NULL});
	IN_ORDER("SERVICE", "api: 3 backends are checked at their own addresses: no route\n",
		 "one: 1 backend is checked at its own address: no route\n");
	assert_null(strstr(run.out, "web: "));
	assert_null(strstr(run.out, "none: "));
}

/* Of a backend that is down for it the failure says so. */
static void health_says_whose_long_packets_are_lost_without_effect(void **state)
{
#define LONG(state, why)                                                                   \
	",\"checks\":{\"to\":\"vip\",\"long_packets\":{\"length\":1480,\"state\":\"" state \
	"\",\"why\":\"" why "\"}}"
#define WEB(address, packets) BACKEND("web", address, "up", 1, 1, 0, 0, 0, packets)
	const struct fake_answer of_losses[] = {
	    {"GET /v1/backends", 200,
	     "{\"backends\":[" WEB("10.0.0.9", LONG("lost", "that does not count")) "," WEB(
		 "10.0.0.10",
		 LONG("lost", "")) "," WEB("10.0.0.11",
					   LONG("unknown", "no echo")) "," WEB("10.0.0.12",
									       LONG("arrive",
										    "")) "]}"},
	    {"GET /v1/services", 200, "{\"services\":[]}"},
	    {NULL}};
#undef WEB
#undef LONG

	run_with(of_losses, (const char *const[]){"health", NULL});
	assert_non_null(strstr(run.out,
			       "\nweb 10.0.0.9: packets of 1480 bytes to the VIP are lost, "
			       "short ones arrive: that does not count\n"));
	assert_null(strstr(run.out, "10.0.0.10: packets"));
	assert_null(strstr(run.out, "10.0.0.11: packets"));
	assert_null(strstr(run.out, "10.0.0.12: packets"));
}

static void backends_are_sorted_by_number_or_name(void **state)
{
	RUN("backends");
	IN_ORDER("10.0.0.9 ", "10.0.0.10", "10.0.0.11", "10.0.0.12");
	RUN("backends", "--sort", "flows");
	IN_ORDER("10.0.0.9 ", "10.0.0.11", "10.0.0.12", "10.0.0.10");
	RUN("backends", "--sort", "packets");
	IN_ORDER("10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.9 ");
	RUN("backends", "--sort", "latency");
	IN_ORDER("10.0.0.11", "10.0.0.12", "10.0.0.9 ", "10.0.0.10");
	RUN("backends", "--sort", "weight");
	IN_ORDER("10.0.0.9 ", "10.0.0.10", "10.0.0.11", "10.0.0.12");
	RUN("backends", "--sort", "name");
	IN_ORDER("10.0.0.11", "10.0.0.12", "10.0.0.9 ", "10.0.0.10");
}

static void services_are_sorted_by_number_name_or_status(void **state)
{
	RUN("services", "--sort", "name");
	IN_ORDER("s1 ", "s2 ", "s10");
	RUN("services", "--sort", "packets");
	IN_ORDER("s1 ", "s2 ", "s10");
	RUN("services", "--sort", "flows");
	IN_ORDER("s10", "s2 ", "s1 ");
	RUN("services", "--sort", "status");
	IN_ORDER("s2 ", "s1 ", "s10");
}

static void json_has_the_same_selection_and_order(void **state)
{
	json_t *answer;

	RUN("backends", "--sort", "latency", "--filter", "api", "--json");
	IN_ORDER("10.0.0.11", "10.0.0.12");
	answer = json_loads(run.out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "backends")), 2);
	json_decref(answer);
}

static void a_selection_without_a_match_says_so(void **state)
{
	RUN("backends", "--filter", "nothing");
	assert_string_equal(run.out, "No backend matches\n");
	RUN("services", "--filter", "nothing");
	assert_string_equal(run.out, "No service matches\n");
	RUN("services", "--filter", "nothing", "--json");
	assert_string_equal(run.out, "{\n  \"services\": []\n}\n");
}

static void exact_counts_have_all_digits(void **state)
{
	RUN("backends");
	IN_ORDER("FLOWS", "PACKETS", "BYTES", "12.3k", "50", "1.23M");
	RUN("backends", "--exact");
	IN_ORDER("12345", "50", "1234567");
	RUN("services", "--exact");
	IN_ORDER("30", "1", "1");
}

#define AVAILABLE(day)                                                                              \
	"{\"services\":[{\"name\":\"web\",\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":\"tcp\"," \
	"\"status\":\"up\",\"availability\":{\"1h\":1,\"24h\":" day ",\"30d\":null}}]}"

static void availability_is_rounded_down(void **state)
{
	static const struct {
		const char *answer, *expected;
	} cases[] = {{AVAILABLE("1"), " 100%"},
		     {AVAILABLE("0.99999"), " 99.99%"},
		     {AVAILABLE("0.5"), " 50.00%"},
		     {AVAILABLE("null"), " - "}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct fake_answer one[] = {{"GET /v1/services", 200, cases[i].answer},
						  {NULL}};

		run_with(one, (const char *const[]){"services", NULL});
		IN_ORDER("UP 24H", cases[i].expected);
	}
}

#define TIMED                                                                                        \
	"{\"services\":[{\"name\":\"web\",\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":\"tcp\","  \
	"\"status\":\"up\",\"answered\":{\"1h\":1,\"24h\":0.99,\"30d\":null},\"flows_per_s\":12.34," \
	"\"connects\":{\"p50_us\":150,\"p95_us\":2500,\"p99_us\":null,"                              \
	"\"recent\":{\"sampled\":40,\"failed\":8}}},{\"name\":\"dns\",\"protocol\":\"udp\","         \
	"\"status\":\"up\",\"flows_per_s\":0,\"connects\":null}]}"

static void services_show_new_flows_times_and_failures_of_connects(void **state)
{
	const struct fake_answer timed[] = {{"GET /v1/services", 200, TIMED}, {NULL}};

	run_with(timed, (const char *const[]){"services", NULL});
	IN_ORDER("ANSWERED 24H", "NEW/S", "P50", "P95", "P99", "FAIL %", " 99.00%  ", "12.3  150us",
		 "2.5ms", " - ", " 20 ", "dns", " - ");
}

#define WITH_FIRST_BYTES                                                               \
	"{\"backends\":[" BACKEND("web", "10.0.0.9", "up", 100, 100, 1, 1, 1,          \
				  ",\"connects\":{\"p50_us\":150,\"p95_us\":2500,"     \
				  "\"p99_us\":null,\"first_byte\":{\"p50_us\":204000," \
				  "\"p95_us\":1600,\"p99_us\":null},"                  \
				  "\"recent\":{\"sampled\":40}}") "]}"

static void connects_show_the_times_of_first_bytes(void **state)
{
	const struct fake_answer timed[] = {{"GET /v1/backends", 200, WITH_FIRST_BYTES}, {NULL}};

	run_with(timed, (const char *const[]){"connects", NULL});
	IN_ORDER("REFUSED", "TTFB P50", "TTFB P95", "TTFB P99", "10.0.0.9", "150us", "2.5ms",
		 " 40 ", "204ms", "1.6ms", "-");
}

#define NAMED                                                                 \
	"{\"backends\":[" BACKEND("web", "10.0.0.9", "up", 100, 100, 1, 1, 1, \
				  ",\"name\":\"blue-1\",\"labels\":{\"zone\":\"a\"}") "]}"

static void a_backend_is_shown_and_found_by_its_name_and_labels(void **state)
{
	const struct fake_answer named[] = {{"GET /v1/backends", 200, NAMED},
					    {"GET /v1/backends?filter=BLUE", 200, NAMED},
					    {"GET /v1/backends?filter=zone%3Da%20up", 200, NAMED},
					    {"GET /v1/backends?filter=zone%3Db", 200, NAMED},
					    {NULL}};

	run_with(named, (const char *const[]){"backends", NULL});
	IN_ORDER("web      blue-1 10.0.0.9  up");
	run_with(named, (const char *const[]){"backends", "--filter", "BLUE", NULL});
	IN_ORDER("blue-1");
	run_with(named, (const char *const[]){"backends", "--filter", "zone=a up", NULL});
	IN_ORDER("blue-1");
	run_with(named, (const char *const[]){"backends", "--filter", "zone=b", NULL});
	assert_string_equal(run.out, "No backend matches\n");
}

/* ---- again and again ---- */

/* The second answer is missing: scripts, which read JSON, are told by the exit status. */
#define PLACED(more) BACKEND("web", "10.0.0.9", "up", 100, 100, 1, 1, 1, more)

static void a_backend_is_shown_and_found_with_its_zone_and_priority(void **state)
{
	static const char answer[] =
	    "{\"backends\":[" PLACED(",\"zone\":\"eu-1\",\"priority\":0") "," PLACED(
		",\"zone\":\"eu-2\",\"priority\":2") "," PLACED(",\"backup\":true") "]}";
	const struct fake_answer placed[] = {{"GET /v1/backends", 200, answer},
					     {"GET /v1/backends?filter=zone%3Deu-2", 200, answer},
					     {NULL}};

	run_with(placed, (const char *const[]){"backends", NULL});
	IN_ORDER("10.0.0.9 (zone eu-1) ", "10.0.0.9 (zone eu-2, priority 2) ",
		 "10.0.0.9 (backup) ");
	run_with(placed, (const char *const[]){"backends", "--filter", "zone=eu-2", NULL});
	IN_ORDER("(zone eu-2");
	assert_null(strstr(run.out, "eu-1"));
}

static void watch_prints_json_a_line_each_time_until_lbd_is_gone(void **state)
{
	const struct fake_answer twice[] = {{"GET /v1/services", 200, SERVICES},
					    {"GET /v1/services", 200, SERVICES},
					    {"GET /v1/services", 200, NULL},
					    {NULL}};
	json_t *line;
	char *end;

	run_with(twice, (const char *const[]){"services", "--watch=100ms", "--json", NULL});
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "closed the connection"));
	for (unsigned i = 0; i < 2; i++) {
		const char *at = i ? end + 1 : run.out;

		end = strchr(at, '\n');
		assert_non_null(end);
		line = json_loadb(at, (size_t)(end - at), 0, NULL);
		assert_int_equal(json_array_size(json_object_get(line, "services")), 3);
		json_decref(line);
	}
	assert_string_equal(end + 1, "");
}

static void watch_fails_if_there_is_no_first_answer(void **state)
{
	const struct fake_answer none[] = {{"GET /v1/services", 200, NULL}, {NULL}};

	run_with(none, (const char *const[]){"services", "--watch", NULL});
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.out, "");
}

/* ---- why ---- */

static const char *why_of(const char *text)
{
	static char why[WHY_TEXT];
	json_t *backend = json_loads(text, 0, NULL);

	assert_non_null(backend);
	why_backend(backend, why);
	json_decref(backend);
	return why;
}

#define WHY(condition, why, weight, effective, more)                                      \
	why_of("{\"condition\":\"" condition "\",\"why\":\"" why "\",\"weight\":" #weight \
	       ",\"effective_weight\":" #effective more "}")

static void a_backend_without_its_share_says_why(void **state)
{
	assert_string_equal(WHY("up", "", 100, 100, ""), "");
	assert_string_equal(WHY("down", "connect: timed out", 100, 0, ""), "connect: timed out");
	assert_string_equal(WHY("up", "", 0, 0, ""), "its weight is 0");
	assert_string_equal(WHY("up", "", 100, 0, ",\"backup\":true"),
			    "a backup: takes flows when no other backend is up");
	assert_string_equal(WHY("up", "", 100, 0, ",\"local\":true,\"priority\":1"),
			    "takes flows when too few backends of the priorities before it are up");
	assert_string_equal(
	    WHY("up", "", 100, 0, ",\"local\":false,\"priority\":0"),
	    "in another zone: takes flows when too few backends of this one are up");
	assert_string_equal(WHY("up", "", 100, 2143, ",\"local\":false,\"priority\":0"), "");
	assert_string_equal(WHY("up", "its agent says: drain", 100, 0, ""),
			    "its agent says: drain");
	assert_string_equal(WHY("up", "", 100, 50, ",\"agent\":{\"weight\":50}"),
			    "its agent says: 50%");
	assert_string_equal(WHY("up", "", 100, 100, ",\"agent\":{\"weight\":100}"), "");
	assert_string_equal(WHY("maintenance", "set to maintenance by an operator", 100, 0, ""),
			    "set to maintenance by an operator");
	assert_string_equal(WHY("up", "set to up by an operator", 100, 100, ",\"admin\":\"up\""),
			    "set to up by an operator");
	assert_string_equal(WHY("starting", "", 100, 20, ""), "slow start: weight 20 of 100");
	assert_string_equal(WHY("starting", "", 100, 5000, ""), "slow start");
	assert_string_equal(WHY("up", "", 100, 5000, ",\"agent\":{\"weight\":100}"), "");
	assert_string_equal(WHY("checking", "", 100, 0, ""), "no health check has ended yet");
	assert_string_equal(WHY("drained", "", 100, 0, ""), "no flow depends on it: safe to stop");
	assert_string_equal(
	    WHY("draining", "", 100, 0,
		",\"active\":3,\"kept_slots\":7,\"drain\":{\"since_s\":9,\"last_packet_s\":2}"),
	    "takes no new flows; 3 active flows, 7 slots kept for older flows, draining for 9s, "
	    "last packet 2s ago");
}

static void a_service_that_is_not_wholly_up_says_why(void **state)
{
	static const struct {
		const char *service, *why;
	} cases[] = {
	    {"{\"status\":\"up\",\"why\":\"\"}", ""},
	    {"{\"status\":\"degraded\",\"why\":\"\"}", ""},
	    {"{\"status\":\"degraded\",\"levels\":[{\"share\":0.7},{\"share\":0.3}]}",
	     "30.0% of new flows go to other zones or later priorities"},
	    {"{\"status\":\"up\",\"levels\":[{\"share\":1.0},{\"share\":0.0}]}", ""},
	    {"{\"status\":\"down\",\"why\":\"it has no backend\"}", "it has no backend"},
	    {"{\"status\":\"panic\"}", "too few backends are up: all are used"},
	    {"{\"status\":\"up\",\"limited\":true}", "has its share of the crowded flow table"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *service = json_loads(cases[i].service, 0, NULL);
		char why[WHY_TEXT];

		assert_string_equal(why_service(service, why), cases[i].why);
		json_decref(service);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_table_is_made_of_the_fields_that_it_shows_and_json_has_all),
	    cmocka_unit_test(an_lbd_that_lacks_a_field_is_asked_for_all),
	    cmocka_unit_test(what_is_refused_for_another_reason_is_not_asked_again),
	    cmocka_unit_test(each_word_of_a_filter_must_occur),
	    cmocka_unit_test(down_shows_what_is_down_alone),
	    cmocka_unit_test(replies_are_shown_beside_what_goes_to_backends),
	    cmocka_unit_test(health_shows_what_checks_found_and_availability),
	    cmocka_unit_test(health_and_services_say_where_checks_go),
	    cmocka_unit_test(health_says_whose_long_packets_are_lost_without_effect),
	    cmocka_unit_test(backends_are_sorted_by_number_or_name),
	    cmocka_unit_test(availability_is_rounded_down),
	    cmocka_unit_test(services_show_new_flows_times_and_failures_of_connects),
	    cmocka_unit_test(connects_show_the_times_of_first_bytes),
	    cmocka_unit_test(services_are_sorted_by_number_name_or_status),
	    cmocka_unit_test(json_has_the_same_selection_and_order),
	    cmocka_unit_test(a_selection_without_a_match_says_so),
	    cmocka_unit_test(exact_counts_have_all_digits),
	    cmocka_unit_test(a_backend_is_shown_and_found_by_its_name_and_labels),
	    cmocka_unit_test(a_backend_is_shown_and_found_with_its_zone_and_priority),
	    cmocka_unit_test(watch_prints_json_a_line_each_time_until_lbd_is_gone),
	    cmocka_unit_test(watch_fails_if_there_is_no_first_answer),
	    cmocka_unit_test(a_backend_without_its_share_says_why),
	    cmocka_unit_test(a_service_that_is_not_wholly_up_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
