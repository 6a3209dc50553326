/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: etcd_fleet.c in the source process, and fetch.c, with a server on the loop of
 * the test that answers as etcd's JSON gateway does. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/sources/process.h"

#define PATIENCE_MS 60000

static struct event_base *base;
static struct source_process *process;
static struct evhttp *http;
static char url[64];

/* ---- a server ---- */

/* /lbd/config = "services: []\n", and /lbd/config/live/lb1 */
#define CONFIG                                                              \
	"{\"key\":\"L2xiZC9jb25maWc=\",\"value\":\"c2VydmljZXM6IFtdCg==\"," \
	"\"mod_revision\":\"7\"}"
#define ANSWER(kvs) "{\"header\":{\"revision\":\"41\"},\"kvs\":[" kvs "]}"

static struct answer {
	const char *path, *text;
	unsigned asked;
	char body[4096];
	size_t length; /* of the body, all of it */
} answers[] = {{.path = "/v3/kv/range"},        {.path = "/v3/watch"},  {.path = "/v3/lease/grant"},
	       {.path = "/v3/lease/keepalive"}, {.path = "/v3/kv/put"}, {.path = "/v3/kv/txn"}};
enum { RANGE, WATCH, GRANT, KEEPALIVE, PUT, TXN, ANSWERS };

static void on_request(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request), *text = evbuffer_new();
	struct answer *answer = arg;
	size_t length = evbuffer_get_length(body);

	answer->length = length;
	length = length < sizeof(answer->body) ? length : sizeof(answer->body) - 1;
	evbuffer_copyout(body, answer->body, length);
	answer->body[length] = 0;
	answer->asked++;
	if (answer->text)
		evbuffer_add(text, answer->text, strlen(answer->text));
	evhttp_send_reply(request, answer->text ? 200 : 503, answer->text ? "OK" : "no leader",
			  text);
	evbuffer_free(text);
}

static void server_start(void)
{
	struct evhttp_bound_socket *bound;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	http = evhttp_new(base);
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	assert_non_null(bound);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(address.sin_port));
	for (unsigned i = 0; i < ANSWERS; i++)
		evhttp_set_cb(http, answers[i].path, on_request, &answers[i]);
}

/* ---- what is reported ---- */

static char text[128], live[128], done[SOURCE_WHY + 32];

static void on_report(void *arg, struct source_list *list, const char *why)
{
	if (!list) {
		snprintf(text, sizeof(text), "failed: %.100s", why);
		return;
	}
	assert_true(list->has_documents);
	snprintf(text, sizeof(text), "%lu %s",
		 (unsigned long)list->documents[SOURCE_CONFIG].revision,
		 list->documents[SOURCE_CONFIG].bytes ? list->documents[SOURCE_CONFIG].bytes : "");
	snprintf(live, sizeof(live), "%s",
		 list->documents[SOURCE_LIVE].bytes ? list->documents[SOURCE_LIVE].bytes : "");
	source_list_done(list);
}

static void on_done(void *arg, uint32_t number, enum source_outcome outcome, const char *why)
{
	snprintf(done, sizeof(done), "%u %d %s", number, outcome, why);
}

static void turn(uint64_t until)
{
	const struct timeval soon = clock_span_ms(50);

	if (clock_monotonic_ms() >= until)
		fail_msg("timed out; last report: %s; last order: %s", text, done);
	event_base_loopexit(base, &soon);
	event_base_dispatch(base);
}

static void wait_for(const char *in, const char *expected)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (!strstr(in, expected))
		turn(until);
}

static void wait_until_asked(unsigned which, unsigned times)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (answers[which].asked < times)
		turn(until);
}

static struct config_from from;
static void *run;

static void follow(const char *node)
{
	from = (struct config_from){
	    .etcd = url, .prefix = (char *)"/lbd/config", .node = (char *)node, .min = 1};
	run = source_process_start(process, source_kind_find(SOURCE_KIND_FLEET), &from, text);
	assert_non_null(run);
}

static int set_up(void **unused)
{
	*text = *live = *done = 0;
	for (unsigned i = 0; i < ANSWERS; i++) {
		answers[i].text = "{}";
		answers[i].asked = 0;
	}
	answers[RANGE].text = ANSWER(CONFIG);
	run = NULL;
	base = loop_new();
	if (!base || source_process_new(base, on_report, &process))
		return -1;
	source_process_on_done(process, on_done);
	server_start();
	return 0;
}

static int tear_down(void **unused)
{
	if (run)
		source_process_stop(run);
	source_process_free(process);
	evhttp_free(http);
	event_base_free(base);
	return 0;
}

/* ---- tests ---- */

static void documents_are_reported(void **unused)
{
	answers[RANGE].text = ANSWER(CONFIG ",{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\"}");
	follow(NULL);
	wait_for(text, "7 services: []\n");
	assert_string_equal(live, "lb1\n");
	assert_string_equal(answers[RANGE].body,
			    "{\"key\":\"L2xiZC9jb25maWc=\",\"range_end\":\"L2xiZC9jb25maWcw\"}");
	assert_int_equal(answers[GRANT].asked, 0); /* nobody is to be shown */
}

static void a_key_that_is_gone_is_reported_as_such(void **unused)
{
	answers[RANGE].text = ANSWER("");
	follow(NULL);
	wait_for(text, "0 ");
}

static void a_node_shows_itself_with_a_lease(void **unused)
{
	answers[GRANT].text = "{\"header\":{},\"ID\":\"77\",\"TTL\":\"15\"}";
	answers[RANGE].text = ANSWER(CONFIG ",{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\"}");
	answers[KEEPALIVE].text = "{\"result\":{\"ID\":\"77\"}}\n"; /* it is gone */
	follow("lb1");
	wait_until_asked(PUT, 1);
	assert_string_equal(answers[PUT].body,
			    "{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\",\"lease\":\"77\"}");
	wait_until_asked(KEEPALIVE, 1);
	assert_string_equal(answers[KEEPALIVE].body, "{\"ID\":\"77\"}");
	wait_until_asked(PUT, 2); /* with another one */
	assert_int_equal(answers[GRANT].asked, 2);
}

static void order(const char *body)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	*done = 0;
	while (!source_process_order(run, strdup(body)))
		turn(until);
}

static void an_order_is_made_overtaken_or_lost(void **unused)
{
	follow(NULL);
	wait_for(text, "7 ");
	answers[TXN].text = "{\"header\":{},\"succeeded\":true}";
	order("{\"a\":1}");
	wait_for(done, "1 0 ");
	assert_string_equal(answers[TXN].body, "{\"a\":1}");
	answers[TXN].text = "{\"header\":{}}";
	order("{}");
	wait_for(done, "2 1 etcd: another has written meanwhile");
	answers[TXN].text = NULL;
	order("{}");
	wait_for(done, "3 2 etcd: status 503");
}

/* Of two configs of 512 KiB: longer than a packet between the processes. */
static void a_long_order_arrives_whole(void **unused)
{
	const size_t length = 1500000;
	char *body = malloc(length + 1);

	memset(body, 'x', length);
	body[length] = 0;
	follow(NULL);
	wait_for(text, "7 ");
	answers[TXN].text = "{\"header\":{},\"succeeded\":true}";
	order(body);
	wait_for(done, "1 0 ");
	assert_int_equal(answers[TXN].length, length);
	free(body);
}

/* Its key was in an etcd that is no more. */
static void a_node_that_is_no_longer_shown_shows_itself_again_at_once(void **unused)
{
	answers[GRANT].text = "{\"header\":{},\"ID\":\"77\",\"TTL\":\"15\"}";
	follow("lb1");
	wait_until_asked(PUT, 1);
	/* the watch of this server ends at once, so keys are asked for again and again */
	wait_until_asked(PUT, 2);
	assert_int_equal(answers[KEEPALIVE].asked, 0);
}

/* ---- the start ---- */

struct fetching {
	struct config_remote where;
	struct config_fetched fetched;
	struct error err;
	int rc;
	bool ended;
};

static void *run_fetch(void *arg)
{
	struct fetching *fetching = arg;

	fetching->rc = config_fetch(&fetching->where, &fetching->fetched, &fetching->err);
	__atomic_store_n(&fetching->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* It has a loop of its own; the server has that of the test. */
static void fetch(const char *servers, struct fetching *ret)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	pthread_t thread;

	*ret = (struct fetching){.where = {.from = {.etcd = (char *)servers,
						    .prefix = (char *)"/lbd/config",
						    .node = (char *)"lb1"},
					   .name = (char *)"etcd:/lbd/config"}};
	assert_int_equal(pthread_create(&thread, NULL, run_fetch, ret), 0);
	while (!__atomic_load_n(&ret->ended, __ATOMIC_ACQUIRE))
		turn(until);
	pthread_join(thread, NULL);
}

static void the_text_is_fetched_from_a_server_that_answers(void **unused)
{
	struct fetching fetching;
	char servers[128];

	snprintf(servers, sizeof(servers), "http://127.0.0.1:1 %s", url);
	fetch(servers, &fetching);
	assert_int_equal(fetching.rc, 0);
	assert_string_equal(fetching.fetched.text, "services: []\n");
	assert_false(fetching.fetched.waits);
	free(fetching.fetched.text);
}

static void what_cannot_be_fetched_is_named(void **unused)
{
	struct fetching fetching;

	fetch("http://127.0.0.1:1", &fetching);
	assert_int_equal(fetching.rc, -EHOSTUNREACH);
	assert_non_null(strstr(fetching.err.text, "etcd:/lbd/config: http://127.0.0.1:1: "));
	answers[RANGE].text = ANSWER("");
	fetch(url, &fetching);
	assert_int_equal(fetching.rc, -EHOSTUNREACH);
	assert_non_null(strstr(fetching.err.text, "the key is not there, or empty"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(documents_are_reported),
	    TEST(a_key_that_is_gone_is_reported_as_such),
	    TEST(a_node_shows_itself_with_a_lease),
	    TEST(a_node_that_is_no_longer_shown_shows_itself_again_at_once),
	    TEST(an_order_is_made_overtaken_or_lost),
	    TEST(a_long_order_arrives_whole),
	    TEST(the_text_is_fetched_from_a_server_that_answers),
	    TEST(what_cannot_be_fetched_is_named),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
