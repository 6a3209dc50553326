/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: consul.c in the source process, and a server on the loop of the test with the
 * blocking queries of Consul; and instances.c alone. The instances are as Consul 1.17 has them,
 * with what lbd does not read. */
#include <errno.h>
#include <event2/keyvalq_struct.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/sources/instances.h"
#include "support/test_source.h"

#define INSTANCE_OF(node, node_address, address, weights, more)                                    \
	"{\"Node\":{\"ID\":\"8f246b77-f3e1-ff88-5b48-8ec93abf3e05\",\"Node\":\"" node              \
	"\",\"Address\":\"" node_address                                                           \
	"\",\"Datacenter\":\"dc1\",\"TaggedAddresses\":{\"lan\":\"" node_address                   \
	"\"},\"Meta\":{\"consul-network-segment\":\"\"},\"CreateIndex\":11,"                       \
	"\"ModifyIndex\":12},\"Service\":{\"ID\":\"web\",\"Service\":\"web\",\"Tags\":[\"blue\"]," \
	"\"Address\":\"" address "\",\"Meta\":null,\"Port\":80,\"Weights\":" weights               \
	",\"EnableTagOverride\":false,\"Proxy\":{\"Mode\":\"\"},\"CreateIndex\":14,"               \
	"\"ModifyIndex\":14" more "},\"Checks\":[{\"Node\":\"" node                                \
	"\",\"CheckID\":\"serfHealth\",\"Status\":\"passing\",\"Output\":\"Agent alive\"}]}"
#define WEIGHTS(passing)                "{\"Passing\":" passing ",\"Warning\":1}"
#define INSTANCE(node, address, weight) INSTANCE_OF(node, address, "", WEIGHTS(weight), "")

#define AND(one, other)                 one "," other

#define ONE                             INSTANCE("web-1", "10.0.0.1", "1")
#define TWO                             INSTANCE("web-2", "10.0.0.2", "1")
#define THREE                           INSTANCE("web-3", "10.0.0.3", "5")

/* ---- a server ---- */

static struct evhttp_request *waits; /* a query that is not answered yet; NULL: none */
static char body[8192];
static char state_index[24]; /* "": the answer has none */
static bool filtered, never_waits;
static unsigned asked, asked_anew; /* in all; without an index */
static char path[256], token[64];

static void answer_query(struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

	if (*state_index)
		evhttp_add_header(headers, "X-Consul-Index", state_index);
	evhttp_add_header(headers, "X-Consul-KnownLeader", "true");
	if (filtered)
		evhttp_add_header(headers, "X-Consul-Results-Filtered-By-ACLs", "true");
	test_source_answer(request, body);
}

/* From now on this is so; who waits for a change learns it. */
static void set(const char *index, const char *instances)
{
	struct evhttp_request *request = waits;

	snprintf(state_index, sizeof(state_index), "%s", index);
	snprintf(body, sizeof(body), "%s", instances);
	waits = NULL;
	if (request)
		answer_query(request);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	const char *given =
	    evhttp_find_header(evhttp_request_get_input_headers(request), "X-Consul-Token");
	const char *index;
	struct evkeyvalq query;

	asked++;
	snprintf(token, sizeof(token), "%s", given ? given : "");
	snprintf(path, sizeof(path), "%s", evhttp_request_get_uri(request));
	assert_int_equal(evhttp_parse_query_str(strchr(path, '?') + 1, &query), 0);
	index = evhttp_find_header(&query, "index");
	asked_anew += !index;
	if (index)
		assert_string_equal(evhttp_find_header(&query, "wait"), "20s");
	if (!strcmp(body, "no leader"))
		evhttp_send_error(request, 500, NULL);
	else if (index && !never_waits && atoi(index) >= atoi(state_index))
		waits = request;
	else
		answer_query(request);
	evhttp_clear_headers(&query);
}

static void wait_for_query(void)
{
	uint64_t until = test_source_patience();

	while (!waits)
		test_source_turn(until);
}

static struct config_from from;

static void follow(const char *index, const char *instances)
{
	set(index, instances);
	from.consul = test_source_url;
	from.service = (char *)"web";
	from.min = 1;
	test_source_follow("consul", &from);
}

static int set_up(void **state)
{
	from = (struct config_from){0};
	*path = *token = *body = 0;
	filtered = never_waits = false;
	asked = asked_anew = 0;
	waits = NULL;
	return test_source_up(on_request);
}

static int tear_down(void **state)
{
	if (waits)
		evhttp_send_reply(waits, 200, "OK", NULL);
	test_source_down();
	return 0;
}

/* ---- queries ---- */

static void a_change_answers_the_query_that_waits(void **state)
{
	follow("41", "[" AND(ONE, TWO) "]");
	test_source_expect("10.0.0.1/100/web-1 10.0.0.2/100/web-2");
	wait_for_query();
	assert_string_equal(path, "/v1/health/service/web?passing=1&index=41&wait=20s");
	set("44", "[" AND(TWO, THREE) "]");
	test_source_expect("10.0.0.2/100/web-2 10.0.0.3/500/web-3");
	wait_for_query();
	assert_non_null(strstr(path, "&index=44&"));
	assert_string_equal(token, "");
}

static void an_index_that_goes_back_begins_anew(void **state)
{
	follow("41", "[" ONE "]");
	test_source_expect("10.0.0.1/100/web-1");
	wait_for_query();
	assert_int_equal(asked_anew, 1);
	set("7", "[" TWO "]");
	test_source_expect("10.0.0.2/100/web-2");
	wait_for_query();
	assert_int_equal(asked_anew, 2);
	assert_non_null(strstr(path, "&index=7&"));
	set("8", "[" THREE "]");
	test_source_expect("10.0.0.3/500/web-3");
}

/* Without anything new: Consul would wait. */
static void who_answers_at_once_is_asked_less_often(void **state)
{
	uint64_t until = test_source_patience(), begin_ms = clock_monotonic_ms();

	never_waits = true;
	follow("41", "[" ONE "]");
	test_source_expect("10.0.0.1/100/web-1");
	while (asked < 5)
		test_source_turn(until);
	assert_true(clock_monotonic_ms() - begin_ms > 3000); /* 0.5 + 1 + 2 s at least */
}

static void what_it_asks_for_is_escaped(void **state)
{
	from.datacenter = (char *)"dc 2";
	from.tag = (char *)"a&b";
	from.token = (char *)"8b7a-4c";
	set("41", "[" ONE "]");
	from.consul = test_source_url;
	from.service = (char *)"web/ä";
	test_source_follow("consul", &from);
	test_source_expect("10.0.0.1/100/web-1");
	wait_for_query();
	assert_string_equal(path, "/v1/health/service/web%2F%C3%A4?passing=1&dc=dc%202&tag=a%26b"
				  "&index=41&wait=20s");
	assert_string_equal(token, "8b7a-4c");
}

static void an_answer_of_another_kind_is_a_failure(void **state)
{
	static const char *const wrong[] = {"<html>", "{}", "null", "[7]", ""};

	follow("41", "no leader");
	test_source_wait("status 500");
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		set("41", wrong[i]);
		test_source_wait(
		    "expected a list of instances, as Consul's health endpoint has it");
		set("41", "[" ONE "]");
		test_source_expect("10.0.0.1/100/web-1");
		wait_for_query();
	}
}

static void an_answer_without_an_index_is_a_failure(void **state)
{
	static const char *const wrong[] = {"", "0", "-1", "x", "99999999999999999999999"};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(instances_index(wrong[i]), 0);
	assert_int_equal(instances_index(NULL), 0);
	assert_int_equal(instances_index("18446744073709551615"), UINT64_MAX);
	follow("", "[" ONE "]");
	test_source_wait("expected an answer of Consul, with X-Consul-Index above 0");
	set("1", "[" ONE "]");
	test_source_expect("10.0.0.1/100/web-1");
}

static void what_the_token_may_not_read_is_named(void **state)
{
	filtered = true;
	follow("41", "[]");
	test_source_wait(
	    "ignored 1: what the token may not read: expected service:read and node:read");
}

/* ---- more than lbd takes ---- */

#define LISTS 60 /* that change; the last one stays */

/* A thousand instances, all with this weight. */
static char *instances_of(unsigned weight)
{
	size_t room = 1 << 20, length = 1;
	char *text = malloc(room);

	*text = '[';
	for (unsigned i = 0; i < 1000; i++)
		length += (size_t)snprintf(text + length, room - length,
					   "%s{\"Node\":{\"Address\":\"10.0.%u.%u\"},\"Service\":"
					   "{\"Weights\":{\"Passing\":%u}}}",
					   i ? "," : "", i / 250, 1 + i % 250, weight);
	snprintf(text + length, room - length, "]");
	return text;
}

/* A process that answers each query at once with another list; after the last it writes to done,
 * and answers no more. */
static pid_t serve_changes(char url[64], int done)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0), client;
	char request[2048];
	pid_t pid;

	assert_int_equal(bind(fd, (struct sockaddr *)&at, length), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
	snprintf(url, 64, "http://127.0.0.1:%u", ntohs(at.sin_port));
	pid = fork();
	assert_true(pid >= 0);
	if (pid) {
		close(fd);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	client = accept(fd, NULL, NULL);
	for (unsigned i = 1; i <= LISTS && read(client, request, sizeof(request)) > 0; i++) {
		char *text = instances_of(i);

		dprintf(client,
			"HTTP/1.1 200 OK\r\nX-Consul-Index: %u\r\nContent-Length: %zu\r\n\r\n%s", i,
			strlen(text), text);
		free(text);
	}
	write(done, "", 1);
	pause();
	_exit(0);
}

/* lbd, here this test, takes nothing meanwhile: what waits for it is bounded, and the last word is
 * not lost. */
static void what_lbd_does_not_take_is_kept_as_the_last_word(void **state)
{
	unsigned before;
	char url[64], byte;
	int done[2];
	pid_t pid;

	assert_int_equal(pipe(done), 0);
	pid = serve_changes(url, done[1]);
	from.consul = url;
	from.service = (char *)"web";
	from.min = 1;
	test_source_follow("consul", &from);
	test_source_wait("10.0.0.1/");
	before = test_source_reports;
	assert_int_equal(read(done[0], &byte, 1), 1);
	test_source_wait("10.0.0.1/6000 ");
	assert_in_range(test_source_reports, before + 1, before + LISTS / 4);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(done[0]);
	close(done[1]);
}

/* ---- instances alone ---- */

static struct source_list list;

static const char *named(const char *text)
{
	static char names[512];
	char address[ADDR_TEXT];
	struct error err;

	source_list_done(&list);
	if (instances_read(text, strlen(text), &list, &err))
		return strcpy(names, err.text);
	*names = 0;
	for (unsigned i = 0; i < list.count; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s/%u%s%s",
			 i ? " " : "", addr_format(&list.items[i].address, address),
			 list.items[i].weight, *list.items[i].name ? "/" : "", list.items[i].name);
	return names;
}

static void the_address_of_the_instance_comes_before_that_of_its_node(void **state)
{
	assert_string_equal(
	    named("[" INSTANCE_OF("n", "10.0.0.1", "2001:db8::7", WEIGHTS("1"), "") "]"),
	    "2001:db8::7/100/n");
}

static void weights_are_hundreds_or_in_proportion(void **state)
{
	assert_string_equal(
	    named("[" AND(INSTANCE("a", "10.0.0.1", "1"), AND(INSTANCE("b", "10.0.0.2", "100"),
							      INSTANCE("c", "10.0.0.3", "0"))) "]"),
	    "10.0.0.1/100/a 10.0.0.2/10000/b 10.0.0.3/0/c");
	assert_string_equal(named("[" AND(INSTANCE("a", "10.0.0.1", "1"),
					  AND(INSTANCE("b", "10.0.0.2", "65535"),
					      INSTANCE("c", "10.0.0.3", "6554"))) "]"),
			    "10.0.0.1/1/a 10.0.0.2/10000/b 10.0.0.3/1000/c");
	assert_string_equal(named("[" INSTANCE_OF("a", "10.0.0.1", "", "null", "") "]"),
			    "10.0.0.1/100/a");
	assert_string_equal(named("[" INSTANCE_OF("a", "10.0.0.1", "", "{}", "") "]"),
			    "10.0.0.1/100/a");
}

static void ports_are_those_of_the_instances(void **state)
{
	named("[" ONE "]");
	assert_int_equal(list.items[0].port, 80);
	named("[{\"Node\":{},\"Service\":{\"Address\":\"10.0.0.1\",\"Port\":0}},"
	      "{\"Node\":{},\"Service\":{\"Address\":\"10.0.0.2\",\"Port\":65535}},"
	      "{\"Node\":{},\"Service\":{\"Address\":\"10.0.0.3\",\"Port\":65536}},"
	      "{\"Node\":{},\"Service\":{\"Address\":\"10.0.0.4\"}}]");
	assert_int_equal(list.count, 4);
	assert_int_equal(list.items[0].port, 0); /* registered without one */
	assert_int_equal(list.items[1].port, 65535);
	assert_int_equal(list.items[2].port, 0);
	assert_int_equal(list.items[3].port, 0);
}

static void instances_on_one_node_have_its_name_once(void **state)
{
	assert_string_equal(
	    named("[" AND(INSTANCE_OF("n", "10.0.0.9", "10.0.0.2", WEIGHTS("1"), ""),
			  INSTANCE_OF("n", "10.0.0.9", "10.0.0.1", WEIGHTS("1"), "")) "]"),
	    "10.0.0.1/100/n 10.0.0.2/100");
	assert_int_equal(list.ignored, 0);
}

static void the_zone_is_kept(void **state)
{
	named("[" INSTANCE_OF("n", "10.0.0.1", "", WEIGHTS("1"),
			      ",\"Locality\":{\"Region\":\"eu\",\"Zone\":\"eu-1a\"}") "]");
	assert_string_equal(list.items[0].zone, "eu-1a");
}

static void what_cannot_be_a_backend_is_ignored_and_named(void **state)
{
	static const struct {
		const char *instance, *why;
	} wrong[] = {
	    {INSTANCE_OF("n", "10.0.0.9", "web.example.net", WEIGHTS("1"), ""),
	     "n: web.example.net: expected the address of a host"},
	    {INSTANCE("n", "127.0.0.1", "1"), "n: 127.0.0.1: expected the address of a host"},
	    {"{}", "an instance: no address: expected the address of a host"},
	    {INSTANCE("n", "10.0.0.1", "-1"), "n: 10.0.0.1: its weight is none"},
	    {INSTANCE("n", "10.0.0.1", "65536"), "n: 10.0.0.1: its weight is none"},
	    {INSTANCE("n", "10.0.0.1", "\"1\""), "n: 10.0.0.1: its weight is none"},
	    {INSTANCE("n", "10.0.0.4", "2"), "10.0.0.4: named twice"},
	};
	char text[4096];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "[%s," INSTANCE("good", "10.0.0.4", "3") "]",
			 wrong[i].instance);
		assert_string_equal(named(text), "10.0.0.4/300/good");
		assert_int_equal(list.ignored, 1);
		assert_string_equal(list.why, wrong[i].why);
	}
}

static void answers_cut_or_changed_are_read_or_refused(void **state)
{
	static const char text[] = "[" ONE "]";
	char changed[sizeof(text)];
	struct error err;

	for (size_t length = 0; length < sizeof(text) - 1; length++)
		assert_int_equal(instances_read(text, length, &list, &err), -EBADMSG);
	for (size_t at = 0; at < sizeof(text) - 1; at++)
		for (unsigned value = 0; value < 256; value += 5) {
			memcpy(changed, text, sizeof(text));
			changed[at] = (char)value;
			if (!instances_read(changed, sizeof(text) - 1, &list, &err))
				assert_true(list.count <= 1);
			source_list_done(&list);
		}
}

static void too_many_are_refused(void **state)
{
	size_t room = 1 << 20, length = 1;
	char *text = malloc(room);

	*text = '[';
	for (unsigned i = 0; i < 1025; i++)
		length += (size_t)snprintf(text + length, room - length,
					   "%s{\"Node\":{\"Address\":\"10.0.%u.%u\"}}",
					   i ? "," : "", i / 250, 1 + i % 250);
	snprintf(text + length, room - length, "]");
	assert_string_equal(named(text), "it names more than 1024 instances");
	free(text);
}

/* Some bytes each, which take a hundred times as many in memory. */
static void an_answer_of_very_many_values_is_not_read(void **state)
{
	size_t room = 4 << 20, length = 3;
	char *text = malloc(room);

	memcpy(text, "[{}", length);
	for (; length < room - 8; length += 3)
		memcpy(text + length, ",{}", 3);
	strcpy(text + length, "]");
	assert_string_equal(named(text),
			    "expected a list of instances, as Consul's health endpoint "
			    "has it");
	free(text);
}

static int forget_list(void **state)
{
	source_list_done(&list);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define PURE(name) cmocka_unit_test_teardown(name, forget_list)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_change_answers_the_query_that_waits),
	    TEST(an_index_that_goes_back_begins_anew),
	    TEST(who_answers_at_once_is_asked_less_often),
	    TEST(what_it_asks_for_is_escaped),
	    TEST(an_answer_of_another_kind_is_a_failure),
	    TEST(an_answer_without_an_index_is_a_failure),
	    TEST(what_the_token_may_not_read_is_named),
	    TEST(what_lbd_does_not_take_is_kept_as_the_last_word),
	    PURE(the_address_of_the_instance_comes_before_that_of_its_node),
	    PURE(weights_are_hundreds_or_in_proportion),
	    PURE(instances_on_one_node_have_its_name_once),
	    PURE(the_zone_is_kept),
	    PURE(ports_are_those_of_the_instances),
	    PURE(what_cannot_be_a_backend_is_ignored_and_named),
	    PURE(answers_cut_or_changed_are_read_or_refused),
	    PURE(too_many_are_refused),
	    PURE(an_answer_of_very_many_values_is_not_read),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
