/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: kubernetes.c in the source process, and a server on the loop of the test that
 * answers as an API server does; and slices.c alone. The objects are as an API server of 1.29 has
 * them, with what lbd does not read. */
#include <errno.h>
#include <event2/buffer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/sources/slices.h"
#include "support/test_file.h"
#include "support/test_source.h"

/* ---- objects ---- */

#define ENDPOINT(address, ready, serving, terminating, pod)                 \
	"{\"addresses\":[\"" address "\"],\"conditions\":{\"ready\":" ready \
	",\"serving\":" serving ",\"terminating\":" terminating             \
	"},\"nodeName\":\"node-1\",\"targetRef\":{\"kind\":\"Pod\","        \
	"\"namespace\":\"shop\",\"name\":\"" pod                            \
	"\",\"uid\":\"0d3cf1a5-9c57-4e5e-8bd5-0b1fb1f1c7a1\"},"             \
	"\"zone\":\"eu-1a\"}"
#define READY(address, pod)   ENDPOINT(address, "true", "true", "false", pod)
#define LEAVING(address, pod) ENDPOINT(address, "false", "true", "true", pod)
#define UNREADY(address, pod) ENDPOINT(address, "false", "false", "false", pod)

#define METADATA(name, version)                                                                 \
	"\"metadata\":{\"name\":\"" name "\",\"generateName\":\"web-\",\"namespace\":\"shop\"," \
	"\"uid\":\"3f9c2a4e-7d0e-4b0b-a7f5-2f6f0f5d3c11\",\"resourceVersion\":\"" version "\"," \
	"\"generation\":1,\"creationTimestamp\":\"2026-11-20T08:12:41Z\",\"labels\":{"          \
	"\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\","       \
	"\"kubernetes.io/service-name\":\"web\"},\"managedFields\":[{\"manager\":"              \
	"\"kube-controller-manager\",\"operation\":\"Update\",\"fieldsV1\":{\"f:endpoints\":{}}}]}"

#define SLICE_OF(name, version, type, ports, endpoints)                                       \
	"{" METADATA(name, version) ",\"addressType\":\"" type "\",\"endpoints\":[" endpoints \
				    "],\"ports\":[" ports "]}"
#define HTTP_PORT                       "{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}"
#define SLICE(name, version, endpoints) SLICE_OF(name, version, "IPv4", HTTP_PORT, endpoints)

#define LIST(version, slices)                                                                   \
	"{\"kind\":\"EndpointSliceList\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{" \
	"\"resourceVersion\":\"" version "\"},\"items\":[" slices "]}\n"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define BOOKMARK(version)                                                               \
	EVENT("BOOKMARK",                                                               \
	      "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\","     \
	      "\"metadata\":{\"resourceVersion\":\"" version                            \
	      "\",\"creationTimestamp\":null},\"addressType\":\"\",\"endpoints\":null," \
	      "\"ports\":null}")
#define EXPIRED                                                                             \
	EVENT("ERROR",                                                                      \
	      "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"      \
	      "\"Failure\",\"message\":\"too old resource version: 41 (9000)\",\"reason\":" \
	      "\"Expired\",\"code\":410}")
#define FORBIDDEN                                                                                   \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","        \
	"\"message\":\"endpointslices.discovery.k8s.io is forbidden: User \\\"lbd\\\" cannot list " \
	"resource\",\"reason\":\"Forbidden\",\"details\":{\"group\":\"discovery.k8s.io\"},\"code\":403}"

#define AND(one, other) one "," other

/* ---- a server ---- */

#define PATH                                                                                      \
	"/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2F" \
	"service-name%3Dweb"

static struct evhttp_request *watcher; /* NULL: nobody watches */
static const char *answer;             /* to a list; NULL: 403 */
static bool refuses_watches, redirects, ends_watches;
static unsigned lists, watches;
static char watched[512], token[128];

static void on_list(struct evhttp_request *request)
{
	struct evbuffer *body = evhttp_request_get_output_buffer(request);

	lists++;
	if (redirects) {
		evhttp_add_header(evhttp_request_get_output_headers(request), "Location",
				  "/elsewhere");
		evhttp_send_reply(request, 307, "Temporary Redirect", NULL);
		return;
	}
	if (answer) {
		test_source_answer(request, answer);
		return;
	}
	evbuffer_add(body, FORBIDDEN, strlen(FORBIDDEN));
	evhttp_send_reply(request, 403, "Forbidden", NULL);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	const char *uri = evhttp_request_get_uri(request);
	const char *given =
	    evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");

	snprintf(token, sizeof(token), "%s", given ? given : "");
	assert_int_equal(strncmp(uri, PATH, strlen(PATH)), 0);
	if (!uri[strlen(PATH)]) {
		on_list(request);
		return;
	}
	watches++;
	snprintf(watched, sizeof(watched), "%s", uri + strlen(PATH));
	if (refuses_watches) {
		evhttp_send_reply(request, 410, "Gone", NULL);
		return;
	}
	test_source_stream(request, &watcher);
	if (!ends_watches)
		return;
	test_source_tell(watcher, BOOKMARK("42"));
	evhttp_send_reply_end(watcher);
	watcher = NULL;
}

static void tell(const char *text)
{
	test_source_tell(watcher, text);
}

static void wait_for_watch(void)
{
	uint64_t until = test_source_patience();

	while (!watcher)
		test_source_turn(until);
}

/* The client has closed it. */
static void wait_for_its_end(void)
{
	uint64_t until = test_source_patience();
	unsigned before = watches;

	while (watcher && watches == before)
		test_source_turn(until);
}

static void end_watch(void)
{
	struct evhttp_request *ended = watcher;

	watcher = NULL;
	evhttp_send_reply_end(ended);
}

static struct config_from from;

static void follow(const char *text)
{
	answer = text;
	from = (struct config_from){.kubernetes = test_source_url,
				    .namespace = (char *)"shop",
				    .service = (char *)"web",
				    .min = 1};
	test_source_follow("kubernetes", &from);
}

static int set_up(void **state)
{
	*watched = *token = 0;
	lists = watches = 0;
	refuses_watches = redirects = ends_watches = false;
	watcher = NULL;
	return test_source_up(on_request);
}

static int tear_down(void **state)
{
	test_source_down();
	return 0;
}

#define ONE   "10.0.0.1/100/web-1/zone=eu-1a/node=node-1"
#define TWO   "10.0.0.2/100/web-2/zone=eu-1a/node=node-1"
#define THREE "10.0.0.3/100/web-3/zone=eu-1a/node=node-1"

/* ---- the watch ---- */

static void slices_are_one_list_which_events_change(void **state)
{
	follow(LIST("41", AND(SLICE("web-a", "12", READY("10.0.0.1", "web-1")),
			      SLICE("web-b", "40", READY("10.0.0.2", "web-2")))));
	test_source_expect(ONE " " TWO);
	wait_for_watch();
	assert_non_null(strstr(watched, "&watch=true&allowWatchBookmarks=true&timeoutSeconds=2"));
	assert_non_null(strstr(watched, "&resourceVersion=41"));
	tell(EVENT("ADDED", SLICE("web-c", "42", READY("10.0.0.3", "web-3"))));
	test_source_expect(ONE " " TWO " " THREE);
	tell(EVENT("DELETED", SLICE("web-a", "43", READY("10.0.0.1", "web-1"))));
	test_source_expect(TWO " " THREE);
	tell(EVENT("MODIFIED", SLICE("web-b", "44", UNREADY("10.0.0.2", "web-2"))));
	test_source_expect(THREE);
	assert_int_equal(lists, 1);
	assert_string_equal(token, "");
}

/* An event arrives in any pieces, and several at once. */
static void events_are_lines_however_they_arrive(void **state)
{
	static const char event[] =
	    EVENT("ADDED", SLICE("web-b", "42", READY("10.0.0.2", "web-2")));
	char piece[16];

	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	wait_for_watch();
	for (size_t at = 0; at < sizeof(event) - 1; at += 15) {
		snprintf(piece, sizeof(piece), "%.15s", event + at);
		tell(piece);
	}
	test_source_expect(ONE " " TWO);
	tell(EVENT("DELETED", SLICE("web-a", "43", "")) "\n" BOOKMARK("44")
		 EVENT("ADDED", SLICE("web-c", "45", READY("10.0.0.3", "web-3"))));
	test_source_expect(TWO " " THREE);
}

static void the_next_watch_goes_on_where_a_bookmark_was(void **state)
{
	uint64_t until = test_source_patience();

	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	wait_for_watch();
	tell(BOOKMARK("9 000/x"));
	end_watch();
	while (watches < 2)
		test_source_turn(until);
	assert_non_null(strstr(watched, "&resourceVersion=9%20000%2Fx"));
	assert_int_equal(lists, 1);
	tell(EVENT("ADDED", SLICE("web-b", "9002", READY("10.0.0.2", "web-2"))));
	test_source_expect(ONE " " TWO);
}

static void a_version_that_is_too_old_is_listed_anew(void **state)
{
	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	wait_for_watch();
	answer = LIST("9000", SLICE("web-b", "8000", READY("10.0.0.2", "web-2")));
	tell(EXPIRED);
	test_source_expect(TWO);
	wait_for_watch();
	assert_non_null(strstr(watched, "&resourceVersion=9000"));
	assert_int_equal(lists, 2);
}

/* No failure is reported: each list is good. */
static void a_watch_that_is_always_too_old_is_asked_for_less_often(void **state)
{
	uint64_t begin_ms = clock_monotonic_ms(), until = test_source_patience();

	refuses_watches = true;
	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	while (lists < 4) {
		test_source_turn(until);
		assert_true(!*test_source_said || !strcmp(test_source_said, ONE));
	}
	assert_true(clock_monotonic_ms() - begin_ms > 3000); /* 0.5 + 1 + 2 s at least */
}

/* It is no failure, and no reason to ask again and again. */
static void a_watch_that_tells_something_and_ends_at_once_is_asked_for_after_a_rest(void **state)
{
	uint64_t begin_ms, until = test_source_patience();

	ends_watches = true;
	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	begin_ms = clock_monotonic_ms();
	while (watches < 5)
		test_source_turn(until);
	assert_true(clock_monotonic_ms() - begin_ms > 1000); /* 3 times 0.5 s, whole, at least */
	assert_int_equal(lists, 1);
	assert_string_equal(test_source_said, ONE);
}

static void on_chatter(int fd, short what, void *arg)
{
	if (watcher)
		tell(EVENT("MODIFIED", SLICE("web-a", "43", READY("10.0.0.2", "web-2"))));
}

/* One each 5 ms. */
static void changes_that_keep_coming_are_named_with_rests(void **state)
{
	const struct timeval often = clock_span_ms(5);
	struct event *chatter = event_new(test_source_base(), -1, EV_PERSIST, on_chatter, NULL);
	uint64_t begin_ms, until = test_source_patience();
	unsigned before;

	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	wait_for_watch();
	event_add(chatter, &often);
	test_source_expect(TWO);
	begin_ms = clock_monotonic_ms();
	for (before = test_source_reports; test_source_reports < before + 20;)
		test_source_turn(until);
	event_free(chatter);
	assert_true(clock_monotonic_ms() - begin_ms > 1000); /* 20 rests of 100 ms, less delays */
}

static void what_is_no_event_is_a_failure_and_listed_anew(void **state)
{
	static const char *const wrong[] = {
	    "<html>\n",
	    "{\"type\":\"ADDED\"}\n",
	    EVENT("RENAMED", SLICE("web-a", "43", "")),
	    EVENT("ADDED", "{" METADATA("web-b", "44") ",\"endpoints\":[]}"),
	    EVENT("ADDED",
		  "{" METADATA("web-b", "44") ",\"addressType\":\"IPv4\",\"endpoints\":7}"),
	    EVENT("ADDED", SLICE("web-b", "", READY("10.0.0.9", "web-9"))),
	};

	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		test_source_expect(ONE);
		wait_for_watch();
		tell(BOOKMARK("42")); /* it works: the next try comes soon */
		tell(wrong[i]);
		test_source_wait("expected an event of a watch of EndpointSlices");
		wait_for_its_end();
	}
	test_source_expect(ONE);
	wait_for_watch();
	tell(EVENT("ERROR",
		   "{\"kind\":\"Status\",\"message\":\"etcdserver: no leader\",\"code\":500}"));
	test_source_wait("the watch has failed: etcdserver: no leader");
	test_source_expect(ONE);
}

static void an_event_without_end_is_a_failure(void **state)
{
	const size_t length = 1 << 20;
	char *text = malloc(length + 1);

	memset(text, ' ', length);
	text[length] = 0;
	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
	wait_for_watch();
	for (unsigned i = 0; i < 3; i++)
		tell(text);
	test_source_wait("an event is longer than 2 MiB");
	test_source_expect(ONE);
	free(text);
}

/* ---- the list ---- */

static void a_refusal_says_what_the_server_says(void **state)
{
	follow(NULL);
	test_source_wait("status 403: endpointslices.discovery.k8s.io is forbidden: User \"lbd\" "
			 "cannot list resource");
	answer = "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}";
	test_source_wait("expected a whole list of EndpointSlices");
	answer = LIST("41", "");
	test_source_wait("ignored 1: the service has no EndpointSlices");
	wait_for_watch();
	tell(EVENT("ADDED", SLICE("web-a", "42", READY("10.0.0.1", "web-1"))));
	test_source_expect(ONE);
}

static void a_part_of_a_list_is_not_the_list(void **state)
{
	follow("{\"kind\":\"EndpointSliceList\",\"metadata\":{\"resourceVersion\":\"41\","
	       "\"continue\":\"eyJ2Ij\",\"remainingItemCount\":1},\"items\":[]}");
	test_source_wait("expected a whole list of EndpointSlices");
}

/* The server's handler knows one path alone. */
static void a_redirection_is_not_followed(void **state)
{
	redirects = true;
	follow(LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1"))));
	test_source_wait("status 307");
	redirects = false;
	test_source_expect(ONE);
}

static void a_token_is_sent_and_another_server_asked(void **state)
{
	char servers[128];

	/* nothing listens on port 1 */
	snprintf(servers, sizeof(servers), "http://127.0.0.1:1/ %s/", test_source_url);
	answer = LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1")));
	from = (struct config_from){.kubernetes = servers,
				    .namespace = (char *)"shop",
				    .service = (char *)"web",
				    .token = (char *)"eyJhbGciOi.x.y"};
	test_source_follow("kubernetes", &from);
	test_source_expect(ONE);
	assert_string_equal(token, "Bearer eyJhbGciOi.x.y");
}

/* Whoever reads the log, or asks lbd, is not to have it. */
static void a_token_that_the_server_repeats_is_not_shown(void **state)
{
	answer = NULL;
	from = (struct config_from){.kubernetes = test_source_url,
				    .namespace = (char *)"shop",
				    .service = (char *)"web",
				    .token = (char *)"cannot"};
	test_source_follow("kubernetes", &from);
	test_source_wait("status 403: what the server says has the token in it");
	assert_null(strstr(test_source_said, "cannot"));
}

/* ---- what is read before it is started ---- */

static int prepare_token(const char *text, struct config_from *ret, struct error *err)
{
	char path[] = "/tmp/lbd-token-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	close(fd);
	test_file_put(path, text);
	*ret = (struct config_from){.token = strdup(path)};
	rc = source_kind_find("kubernetes")->prepare(ret, err);
	unlink(path);
	return rc;
}

static void a_token_is_one_line_of_its_file(void **state)
{
	static const char *const wrong[] = {"", "\n", "a b", "a\nX-Remote-User: admin\n", "\xe4"};
	struct config_from prepared;
	struct error err = {0};

	assert_int_equal(prepare_token("eyJ.x.y\n", &prepared, &err), 0);
	assert_string_equal(prepared.token, "eyJ.x.y");
	config_from_done(&prepared);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(prepare_token(wrong[i], &prepared, &err), -EINVAL);
		assert_non_null(strstr(err.text, "expected a token: one line, without blanks"));
		config_from_done(&prepared);
	}
}

/* ---- slices alone ---- */

static struct source_list list;

/* What a list of these slices names, as text. */
static const char *named(const struct config_from *asked, const char *text)
{
	static char names[512];
	struct slices *slices = slices_new(asked);
	char address[ADDR_TEXT];
	struct error err = {0};

	source_list_done(&list);
	if (slices_read_list(slices, text, strlen(text), &err) ||
	    slices_name(slices, &list, &err)) {
		slices_free(slices);
		return strcpy(names, err.text);
	}
	slices_free(slices);
	*names = 0;
	for (unsigned i = 0; i < list.count; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? " " : "",
			 addr_format(&list.items[i].address, address));
	return names;
}

static struct config_from web = {.namespace = (char *)"shop", .service = (char *)"web"};

#define A READY("10.0.0.1", "a")
#define B READY("10.0.0.2", "b")

static void one_that_terminates_is_not_named(void **state)
{
	assert_string_equal(
	    named(&web, LIST("1", SLICE("s", "1", AND(A, LEAVING("10.0.0.2", "b"))))), "10.0.0.1");
	assert_int_equal(list.ignored, 0);
	assert_string_equal(
	    named(&web, LIST("1", SLICE("s", "1", AND(A, UNREADY("10.0.0.2", "b"))))), "10.0.0.1");
	/* publishNotReadyAddresses says that all are ready */
	assert_string_equal(
	    named(&web,
		  LIST("1",
		       SLICE("s", "1", AND(A, ENDPOINT("10.0.0.2", "true", "true", "true", "b"))))),
	    "10.0.0.1");
}

static void those_that_still_serve_are_better_than_none(void **state)
{
	static const char text[] =
	    LIST("1", SLICE("s", "1",
			    AND(LEAVING("10.0.0.1", "a"),
				AND(UNREADY("10.0.0.2", "b"),
				    ENDPOINT("10.0.0.3", "false", "false", "true", "c")))));

	assert_string_equal(named(&web, text), "10.0.0.1");
}

static void what_is_unknown_counts_as_ready(void **state)
{
	static const char text[] = LIST(
	    "1", SLICE("s", "1",
		       "{\"addresses\":[\"10.0.0.1\"]},"
		       "{\"addresses\":[\"10.0.0.2\"],\"conditions\":{}},"
		       "{\"addresses\":[\"10.0.0.3\"],\"conditions\":{\"ready\":null,"
		       "\"terminating\":null}},"
		       "{\"addresses\":[\"10.0.0.4\"],\"conditions\":{\"terminating\":true}}"));

	assert_string_equal(named(&web, text), "10.0.0.1 10.0.0.2 10.0.0.3");
}

static void an_endpoint_in_two_slices_is_one_backend(void **state)
{
	static const char text[] = LIST("1", AND(SLICE("s", "1", AND(A, UNREADY("10.0.0.2", "b"))),
						 SLICE("t", "1", AND(A, B))));

	assert_string_equal(named(&web, text), "10.0.0.1 10.0.0.2");
	assert_int_equal(list.ignored, 0);
}

#define ADMIN_PORT "{\"name\":\"admin\",\"protocol\":\"TCP\",\"port\":9000}"

static void slices_of_another_family_or_port_are_left_out(void **state)
{
	static const char text[] = LIST(
	    "1", AND(AND(SLICE("s", "1", A), SLICE_OF("t", "1", "IPv4", ADMIN_PORT, B)),
		     AND(SLICE_OF("u", "1", "IPv6", HTTP_PORT, READY("2001:db8::1", "a")),
			 SLICE_OF("v", "1", "FQDN", HTTP_PORT, READY("web.example.net", "a")))));
	struct config_from asked = web;

	assert_string_equal(named(&asked, text), "10.0.0.1 10.0.0.2");
	assert_int_equal(list.ignored, 0);
	asked.port = (char *)"http";
	assert_string_equal(named(&asked, text), "10.0.0.1");
	asked.port = (char *)"9000";
	assert_string_equal(named(&asked, text), "10.0.0.2");
	asked.port = (char *)"8081";
	assert_string_equal(named(&asked, text), "");
	assert_string_equal(list.why, "no EndpointSlice has the port 8081");
	asked.port = NULL;
	asked.family = CONFIG_FAMILY_IPV6;
	assert_string_equal(named(&asked, text), "2001:db8::1");
}

#define ANY_PORT "{\"name\":\"all\",\"protocol\":\"TCP\",\"port\":null}"

/* Pods of two versions of a deployment may listen on two ports of one name. */
static void the_port_of_a_slice_is_its_pods(void **state)
{
	static const char two[] =
	    LIST("1", AND(SLICE("s", "1", A),
			  SLICE_OF("t", "1", "IPv4", AND(HTTP_PORT, ADMIN_PORT), B)));
	struct config_from asked = web;

	assert_string_equal(named(&asked, two), "10.0.0.1 10.0.0.2");
	assert_int_equal(list.items[0].port, 8080);
	assert_int_equal(list.items[1].port, 0); /* which one is not said */
	asked.port = (char *)"admin";
	assert_string_equal(named(&asked, two), "10.0.0.2");
	assert_int_equal(list.items[0].port, 9000);
	asked.port = (char *)"8080";
	assert_string_equal(named(&asked, two), "10.0.0.1 10.0.0.2");
	assert_int_equal(list.items[1].port, 8080);
	asked.port = NULL;
	assert_string_equal(named(&asked, LIST("1", SLICE_OF("s", "1", "IPv4", ANY_PORT, A))),
			    "10.0.0.1");
	assert_int_equal(list.items[0].port, 0);
}

static void why_there_is_none_is_said(void **state)
{
	struct config_from asked = web;

	assert_string_equal(named(&asked, LIST("1", "")), "");
	assert_string_equal(list.why, "the service has no EndpointSlices");
	named(&asked, LIST("1", SLICE("s", "1", UNREADY("10.0.0.1", "a"))));
	assert_string_equal(list.why, "endpoints that are not ready: 1, others: none");
	asked.family = CONFIG_FAMILY_IPV6;
	named(&asked, LIST("1", SLICE("s", "1", A)));
	assert_string_equal(list.why, "no EndpointSlice is of IPv6");
}

static void slices_of_others_are_left_out(void **state)
{
	struct config_from asked = web;

	asked.service = (char *)"api";
	assert_string_equal(named(&asked, LIST("1", SLICE("s", "1", A))), "");
	asked = web;
	asked.namespace = (char *)"test";
	assert_string_equal(named(&asked, LIST("1", SLICE("s", "1", A))), "");
}

static void what_cannot_be_a_backend_is_ignored_and_named(void **state)
{
	static const struct {
		const char *endpoint, *why;
	} wrong[] = {
	    {READY("127.0.0.1", "x"), "s: 127.0.0.1: cannot be a host"},
	    {READY("2001:db8::1", "x"), "s: 2001:db8::1: cannot be a host"},
	    {"7", "s: an endpoint without an address: cannot be a host"},
	    {"{\"addresses\":[]}", "s: an endpoint without an address: cannot be a host"},
	};
	char text[4096];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), LIST("1", SLICE("s", "1", AND("%s", A))),
			 wrong[i].endpoint);
		assert_string_equal(named(&web, text), "10.0.0.1");
		assert_int_equal(list.ignored, 1);
		assert_string_equal(list.why, wrong[i].why);
	}
}

static void a_name_or_zone_that_does_not_fit_is_left_out(void **state)
{
	named(&web,
	      LIST("1", SLICE("s", "1",
			      "{\"addresses\":[\"10.0.0.1\"],\"zone\":\"\\u00e4\",\"targetRef\":{"
			      "\"kind\":\"Pod\",\"name\":\"7up\"}}")));
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].name, "");
	assert_string_equal(list.items[0].zone, "");
}

/* 5000 endpoints, and 1100 of one slice. */
static void too_many_are_refused(void **state)
{
	size_t room = 1 << 20, length = 0;
	char *text = malloc(room);

	for (unsigned count = 1100; count <= 5000; count += 3900) {
		length =
		    (size_t)snprintf(text, room,
				     "{\"kind\":\"EndpointSliceList\",\"metadata\":{"
				     "\"resourceVersion\":\"1\"},\"items\":[{" METADATA(
					 "a", "1") ",\"addressType\":\"IPv4\",\"endpoints\":[");
		for (unsigned i = 0; i < count; i++)
			length += (size_t)snprintf(text + length, room - length,
						   "%s{\"addresses\":[\"10.0.%u.%u\"]}",
						   i ? "," : "", i / 250, 1 + i % 250);
		snprintf(text + length, room - length, "]}]}");
		assert_string_equal(named(&web, text),
				    count == 1100
					? "it names more than 1024 backends"
					: "it has more than 1024 slices or 4096 endpoints");
	}
	free(text);
}

/* Some bytes each, which take a hundred times as many in memory. */
static void an_answer_of_very_many_values_is_not_read(void **state)
{
	static const char begin[] = "{\"kind\":\"EndpointSliceList\",\"metadata\":{"
				    "\"resourceVersion\":\"1\"},\"items\":[],\"x\":[{}";
	size_t room = 4 << 20, length = strlen(begin);
	char *text = malloc(room);

	memcpy(text, begin, length);
	for (; length < room - 8; length += 3)
		memcpy(text + length, ",{}", 3);
	strcpy(text + length, "]}");
	assert_string_equal(named(&web, text), "expected a whole list of EndpointSlices "
					       "(discovery.k8s.io/v1)");
	free(text);
}

static void lists_and_events_cut_or_changed_are_read_or_refused(void **state)
{
	static const char text[] = LIST("41", SLICE("web-a", "12", READY("10.0.0.1", "web-1")));
	static const char event[] =
	    EVENT("MODIFIED", SLICE("web-a", "12", READY("10.0.0.2", "web-1")));
	struct slices *slices = slices_new(&web);
	char changed[sizeof(text) + sizeof(event)];
	struct error err;

	assert_int_equal(slices_read_list(slices, text, sizeof(text) - 1, &err), 0);
	assert_string_equal(slices_version(slices), "41");
	for (size_t length = 0; length < sizeof(text) - 2; length++)
		assert_int_equal(slices_read_list(slices, text, length, &err), -EBADMSG);
	for (size_t length = 0; length < sizeof(event) - 2; length++)
		assert_int_equal(slices_read_event(slices, event, length, &err), -EBADMSG);
	assert_string_equal(slices_version(slices), "41"); /* nothing has changed */
	for (size_t at = 0; at < sizeof(event) - 1; at++)
		for (unsigned value = 0; value < 256; value += 5) {
			memcpy(changed, event, sizeof(event));
			changed[at] = (char)value;
			slices_read_event(slices, changed, sizeof(event) - 1, &err);
			assert_int_equal(slices_name(slices, &list, &err), 0);
			assert_true(list.count <= 60);
			source_list_done(&list);
		}
	slices_free(slices);
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
	    TEST(slices_are_one_list_which_events_change),
	    TEST(events_are_lines_however_they_arrive),
	    TEST(the_next_watch_goes_on_where_a_bookmark_was),
	    TEST(a_version_that_is_too_old_is_listed_anew),
	    TEST(a_watch_that_is_always_too_old_is_asked_for_less_often),
	    TEST(a_watch_that_tells_something_and_ends_at_once_is_asked_for_after_a_rest),
	    TEST(changes_that_keep_coming_are_named_with_rests),
	    TEST(what_is_no_event_is_a_failure_and_listed_anew),
	    TEST(an_event_without_end_is_a_failure),
	    TEST(a_refusal_says_what_the_server_says),
	    TEST(a_part_of_a_list_is_not_the_list),
	    TEST(a_redirection_is_not_followed),
	    TEST(a_token_is_sent_and_another_server_asked),
	    TEST(a_token_that_the_server_repeats_is_not_shown),
	    cmocka_unit_test(a_token_is_one_line_of_its_file),
	    PURE(one_that_terminates_is_not_named),
	    PURE(those_that_still_serve_are_better_than_none),
	    PURE(what_is_unknown_counts_as_ready),
	    PURE(an_endpoint_in_two_slices_is_one_backend),
	    PURE(slices_of_another_family_or_port_are_left_out),
	    PURE(the_port_of_a_slice_is_its_pods),
	    PURE(why_there_is_none_is_said),
	    PURE(slices_of_others_are_left_out),
	    PURE(what_cannot_be_a_backend_is_ignored_and_named),
	    PURE(a_name_or_zone_that_does_not_fit_is_left_out),
	    PURE(too_many_are_refused),
	    PURE(an_answer_of_very_many_values_is_not_read),
	    PURE(lists_and_events_cut_or_changed_are_read_or_refused),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
