/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: etcd_fleet.c in the source process, and fetch.c, with a server on the loop of
 * the test that answers as etcd's JSON gateway does. */
#include <errno.h>
#include <event2/buffer.h>
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

#include "support/test_source.h"

int __real_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);

static bool small_sockets; /* as of a system with a small net.core.wmem_default */
static bool no_room;       /* nor may lbd change that */

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

static struct answer *answer_of(const char *path)
{
	for (unsigned i = 0; i < ANSWERS; i++)
		if (!strcmp(answers[i].path, path))
			return &answers[i];
	fail_msg("asked for %s", path);
	return NULL;
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	struct answer *answer = answer_of(evhttp_request_get_uri(request));
	size_t length = evbuffer_get_length(body);

	answer->length = length;
	length = length < sizeof(answer->body) ? length : sizeof(answer->body) - 1;
	evbuffer_copyout(body, answer->body, length);
	answer->body[length] = 0;
	answer->asked++;
	if (answer->text)
		test_source_answer(request, answer->text);
	else
		evhttp_send_reply(request, 503, "no leader", NULL);
}

/* ---- what is reported ---- */

static char live[128], done[SOURCE_WHY + 32];

static void on_report(void *arg, struct source_list *list, const char *why)
{
	const struct source_document *config, *nodes;

	if (!list) {
		snprintf(test_source_said, sizeof(test_source_said), "failed: %s", why);
		return;
	}
	assert_true(list->has_documents);
	config = &list->documents[SOURCE_CONFIG];
	nodes = &list->documents[SOURCE_LIVE];
	snprintf(test_source_said, sizeof(test_source_said), "%lu %s",
		 (unsigned long)config->revision, config->bytes ? config->bytes : "");
	snprintf(live, sizeof(live), "%s", nodes->bytes ? nodes->bytes : "");
	source_list_done(list);
}

static void on_done(void *arg, uint32_t number, enum source_outcome outcome, const char *why)
{
	snprintf(done, sizeof(done), "%u %d %s", number, outcome, why);
}

static void wait_until_done(const char *expected)
{
	uint64_t until = test_source_patience();

	while (!strstr(done, expected))
		test_source_turn(until);
}

static void wait_until_asked(unsigned which, unsigned times)
{
	uint64_t until = test_source_patience();

	while (answers[which].asked < times)
		test_source_turn(until);
}

static struct config_from from;
static void *run;

static void follow(const char *node)
{
	from = (struct config_from){.etcd = test_source_url,
				    .prefix = (char *)"/lbd/config",
				    .node = (char *)node,
				    .min = 1};
	run = test_source_follow(SOURCE_KIND_FLEET, &from);
}

static int set_up(void **unused)
{
	*live = *done = 0;
	small_sockets = no_room = false;
	for (unsigned i = 0; i < ANSWERS; i++) {
		answers[i].text = "{}";
		answers[i].asked = 0;
	}
	answers[RANGE].text = ANSWER(CONFIG);
	return test_source_up_for(on_request, on_report, on_done);
}

static int tear_down(void **unused)
{
	test_source_down();
	return 0;
}

/* ---- tests ---- */

static void documents_are_reported(void **unused)
{
	answers[RANGE].text = ANSWER(CONFIG ",{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\"}");
	follow(NULL);
	test_source_wait("7 services: []\n");
	assert_string_equal(live, "lb1\n");
	assert_string_equal(answers[RANGE].body,
			    "{\"key\":\"L2xiZC9jb25maWc=\",\"range_end\":\"L2xiZC9jb25maWcw\"}");
	assert_int_equal(answers[GRANT].asked, 0); /* nobody is to be shown */
}

static void a_key_that_is_gone_is_reported_as_such(void **unused)
{
	answers[RANGE].text = ANSWER("");
	follow(NULL);
	test_source_wait("0 ");
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
	uint64_t until = test_source_patience();

	*done = 0;
	while (!source_process_order(run, strdup(body)))
		test_source_turn(until);
}

static void an_order_is_made_overtaken_or_lost(void **unused)
{
	follow(NULL);
	test_source_wait("7 ");
	answers[TXN].text = "{\"header\":{},\"succeeded\":true}";
	order("{\"a\":1}");
	wait_until_done("1 0 ");
	assert_string_equal(answers[TXN].body, "{\"a\":1}");
	answers[TXN].text = "{\"header\":{}}";
	order("{}");
	wait_until_done("2 1 etcd: another has written meanwhile");
	answers[TXN].text = NULL;
	order("{}");
	wait_until_done("3 2 etcd: status 503");
}

/* Of two configs of 512 KiB: longer than a packet between the processes. */
static void a_long_order_arrives_whole(void **unused)
{
	const size_t length = 1500000;
	char *body = malloc(length + 1);

	memset(body, 'x', length);
	body[length] = 0;
	follow(NULL);
	test_source_wait("7 ");
	answers[TXN].text = "{\"header\":{},\"succeeded\":true}";
	order(body);
	wait_until_done("1 0 ");
	assert_int_equal(answers[TXN].length, length);
	free(body);
}

/* ---- sockets that take no long packet ---- */

static void shrink(int fd)
{
	const int least = 1;

	assert_int_equal(__real_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
	int rc = __real_socketpair(domain, type, protocol, fds);

	for (unsigned i = 0; !rc && small_sockets && i < 2; i++)
		shrink(fds[i]);
	return rc;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	if (no_room && level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE)) {
		errno = EPERM;
		return -1;
	}
	return __real_setsockopt(fd, level, name, value, length);
}

static const char *long_config(void)
{
	enum { LONG = 12000 };
	static char text[LONG + 256];
	int head = snprintf(text, sizeof(text),
			    "{\"header\":{\"revision\":\"41\"},\"kvs\":[{\"key\":"
			    "\"L2xiZC9jb25maWc=\",\"mod_revision\":\"7\",\"value\":\"");

	memset(text + head, 'V', LONG);
	strcpy(text + head + LONG, "\"}]}");
	return text;
}

static void long_messages_arrive_whole_where_sockets_are_small(void **unused)
{
	answers[RANGE].text = long_config();
	small_sockets = true;
	a_long_order_arrives_whole(unused);
}

/* The socket of this process to the source process. */
static int find_socket(void)
{
	int found = -1;

	for (int fd = 3; fd < 1024; fd++) {
		int type = 0;
		socklen_t length = sizeof(type);

		if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_SEQPACKET)
			found = fd;
	}
	assert_true(found >= 0);
	return found;
}

/* Else it would be tried for ever, and all behind it would wait. */
static void an_order_that_the_socket_never_takes_is_lost_with_a_reason(void **unused)
{
	char body[8192];

	memset(body, 'x', sizeof(body));
	body[sizeof(body) - 1] = 0;
	follow(NULL);
	test_source_wait("7 ");
	shrink(find_socket());
	order(body);
	wait_until_done("1 2 the source process: its socket takes no request of ");
	assert_non_null(strstr(done, "Message too long"));
	test_source_wait("7 "); /* from another process */
	answers[TXN].text = "{\"header\":{},\"succeeded\":true}";
	order(body);
	wait_until_done("2 0 ");
}

static void a_config_that_the_socket_never_takes_is_a_failure_with_a_reason(void **unused)
{
	answers[RANGE].text = long_config();
	small_sockets = no_room = true;
	follow(NULL);
	test_source_wait("failed: the source process: its socket takes no reply of ");
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
	uint64_t until = test_source_patience();
	pthread_t thread;

	*ret = (struct fetching){.where = {.from = {.etcd = (char *)servers,
						    .prefix = (char *)"/lbd/config",
						    .node = (char *)"lb1"},
					   .name = (char *)"etcd:/lbd/config"}};
	assert_int_equal(pthread_create(&thread, NULL, run_fetch, ret), 0);
	while (!__atomic_load_n(&ret->ended, __ATOMIC_ACQUIRE))
		test_source_turn(until);
	pthread_join(thread, NULL);
}

static void the_text_is_fetched_from_a_server_that_answers(void **unused)
{
	struct fetching fetching;
	char servers[128];

	snprintf(servers, sizeof(servers), "http://127.0.0.1:1 %s", test_source_url);
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
	fetch(test_source_url, &fetching);
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
	    TEST(long_messages_arrive_whole_where_sockets_are_small),
	    TEST(an_order_that_the_socket_never_takes_is_lost_with_a_reason),
	    TEST(a_config_that_the_socket_never_takes_is_a_failure_with_a_reason),
	    TEST(the_text_is_fetched_from_a_server_that_answers),
	    TEST(what_cannot_be_fetched_is_named),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
