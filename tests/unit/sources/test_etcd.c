/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: etcd.c in the source process, and a server on the loop of the test that answers
 * as etcd's JSON gateway does; and keys.c alone. */
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
#include "lbd/sources/keys.h"
#include "support/test_source.h"

/* ---- a server ---- */

static struct evhttp_request *watcher; /* NULL: nobody watches */
static const char *keys;               /* the answer, or NULL: 503 */
static unsigned asked, watches;
static char watched[512];
static bool long_head;                 /* of the answer */
static struct evhttp_request *deaf[2]; /* watches that are not answered, if deaf_count */
static unsigned deaf_count;

static void body_of(struct evhttp_request *request, char *text, size_t size)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(body);

	length = length < size ? length : size - 1;
	evbuffer_copyout(body, text, length);
	text[length] = 0;
}

static void on_range(struct evhttp_request *request)
{
	char body[512];

	struct evkeyvalq *head = evhttp_request_get_output_headers(request);

	asked++;
	for (unsigned i = 0; long_head && i < 2000; i++)
		evhttp_add_header(head, "X-Long", "0123456789012345678901234567890123456789");
	body_of(request, body, sizeof(body));
	/* "/lbd/web/" and "/lbd/web0" */
	assert_string_equal(
	    body, "{\"key\":\"L2xiZC93ZWIv\",\"range_end\":\"L2xiZC93ZWIw\",\"limit\":\"1025\"}");
	if (keys)
		test_source_answer(request, keys);
	else
		evhttp_send_reply(request, 503, "no leader", NULL);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	if (!strcmp(evhttp_request_get_uri(request), "/v3/kv/range")) {
		on_range(request);
		return;
	}
	assert_string_equal(evhttp_request_get_uri(request), "/v3/watch");
	body_of(request, watched, sizeof(watched));
	watches++;
	if (deaf_count) {
		deaf[--deaf_count] = request;
		return;
	}
	test_source_stream(request, &watcher);
	test_source_tell(watcher, "{\"result\":{\"created\":true}}\n");
}

static void wait_for_watch(void)
{
	uint64_t until = test_source_patience();

	while (!watcher)
		test_source_turn(until);
}

static struct config_from from;

static void follow(const char *servers, const char *answer)
{
	keys = answer;
	from =
	    (struct config_from){.etcd = (char *)servers, .prefix = (char *)"/lbd/web/", .min = 1};
	test_source_follow("etcd", &from);
}

static int set_up(void **state)
{
	*watched = 0;
	asked = watches = deaf_count = 0;
	long_head = false;
	memset(deaf, 0, sizeof(deaf));
	watcher = NULL;
	return test_source_up(on_request);
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < 2; i++)
		if (deaf[i])
			evhttp_send_reply(deaf[i], 503, "too late", NULL);
	test_source_down();
	return 0;
}

/* /lbd/web/10.0.0.1 = "", /lbd/web/10.0.0.2 = 50, /lbd/web/blue = {"address":"10.0.0.3","name":"b"}
 */
#define ONE "{\"key\":\"L2xiZC93ZWIvMTAuMC4wLjE=\"}"
#define TWO "{\"key\":\"L2xiZC93ZWIvMTAuMC4wLjI=\",\"value\":\"NTA=\"}"
#define THREE                                            \
	"{\"key\":\"L2xiZC93ZWIvYmx1ZQ==\",\"value\":\"" \
	"eyJhZGRyZXNzIjoiMTAuMC4wLjMiLCJuYW1lIjoiYiJ9\"}"
#define ANSWER(revision, kvs) "{\"header\":{\"revision\":\"" revision "\"},\"kvs\":[" kvs "]}"

/* ---- tests ---- */

static void a_change_that_the_watch_tells_is_asked_for(void **state)
{
	follow(test_source_url, ANSWER("41", ONE "," TWO));
	test_source_wait("10.0.0.1/100 10.0.0.2/50");
	wait_for_watch();
	assert_string_equal(watched, "{\"create_request\":{\"key\":\"L2xiZC93ZWIv\",\"range_end\":"
				     "\"L2xiZC93ZWIw\",\"start_revision\":\"42\"}}");
	keys = ANSWER("42", TWO "," THREE);
	test_source_tell(watcher, "{\"result\":{\"events\":[{}]}}\n");
	test_source_wait("10.0.0.2/50 10.0.0.3/100/b");
}

static void a_watch_that_ends_begins_again(void **state)
{
	uint64_t until = test_source_patience();

	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
	wait_for_watch();
	keys = ANSWER("77", TWO);
	*watched = 0;
	evhttp_send_reply_end(watcher);
	watcher = NULL;
	test_source_wait("10.0.0.2/50");
	while (!strstr(watched, "\"start_revision\":\"78\""))
		test_source_turn(until);
}

static void on_chatter(int fd, short what, void *arg)
{
	if (watcher)
		test_source_tell(watcher, "{\"result\":{\"events\":[{}]}}\n");
}

/* One each 5 ms: more often than changes are gathered for. */
static void changes_that_keep_coming_do_not_put_it_off(void **state)
{
	const struct timeval often = clock_span_ms(5);
	struct event *chatter = event_new(test_source_base(), -1, EV_PERSIST, on_chatter, NULL);
	uint64_t until = test_source_patience(), begin_ms;
	unsigned before;

	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
	wait_for_watch();
	event_add(chatter, &often);
	keys = ANSWER("42", TWO);
	test_source_wait("10.0.0.2/50");
	begin_ms = clock_monotonic_ms();
	for (before = asked; asked < before + 10;)
		test_source_turn(until);
	event_free(chatter);
	assert_true(clock_monotonic_ms() - begin_ms > 800); /* a rest after each */
}

/* etcd keeps the connection. */
static void a_watch_that_is_cancelled_begins_again(void **state)
{
	uint64_t until = test_source_patience();

	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
	wait_for_watch();
	keys = ANSWER("77", TWO);
	*watched = 0;
	test_source_tell(
	    watcher,
	    "{\"result\":{\"header\":{},\"canceled\":true,\"compact_revision\":\"50\"}}\n");
	test_source_wait("10.0.0.2/50");
	while (!strstr(watched, "\"start_revision\":\"78\""))
		test_source_turn(until);
}

/* The first piece is one more change: once it is asked for, it was read alone. */
static void a_cancellation_may_come_in_two_pieces(void **state)
{
	uint64_t until = test_source_patience();
	unsigned before;

	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
	wait_for_watch();
	while (asked < 2) /* for its first word */
		test_source_turn(until);
	before = asked;
	test_source_tell(watcher, "{\"result\":{\"header\":{},\"cance");
	while (asked == before)
		test_source_turn(until);
	*watched = 0;
	test_source_tell(watcher, "led\":true,\"compact_revision\":\"50\"}}\n");
	while (!strstr(watched, "\"start_revision\":\"42\""))
		test_source_turn(until);
}

/* All keys are asked for, and answered, meanwhile. */
static void a_watch_that_is_never_answered_begins_again(void **state)
{
	uint64_t until = test_source_patience();

	deaf_count = 1;
	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
	while (watches < 2)
		test_source_turn(until);
	keys = ANSWER("42", TWO);
	test_source_tell(watcher, "{\"result\":{\"events\":[{}]}}\n");
	test_source_wait("10.0.0.2/50");
}

static void a_head_without_end_is_a_failure_that_says_so(void **state)
{
	long_head = true;
	follow(test_source_url, ANSWER("41", ONE));
	test_source_wait("the head of its answer is longer than 64 KiB");
	long_head = false;
	test_source_wait("10.0.0.1/100");
}

static void an_answer_of_another_kind_is_a_failure(void **state)
{
	uint64_t until = test_source_patience();

	follow(test_source_url, NULL);
	test_source_wait("status 503");
	keys = "<html>";
	test_source_wait("expected an answer of etcd's JSON gateway");
	keys = ANSWER("0", ONE);
	*test_source_said = 0;
	test_source_wait("expected an answer of etcd's JSON gateway");
	keys = "{\"header\":{\"revision\":\"7\"}}"; /* no keys at all: an empty list */
	*test_source_said = 'x';
	while (*test_source_said)
		test_source_turn(until);
	keys = ANSWER("8", ONE);
	test_source_tell(watcher, "x");
	test_source_wait("10.0.0.1/100");
}

static void an_answer_without_end_is_a_failure_that_says_so(void **state)
{
	const size_t length = 5 << 20;
	char *long_answer = malloc(length + 1);

	memset(long_answer, ' ', length);
	long_answer[length] = 0;
	follow(test_source_url, long_answer);
	test_source_wait("the answer is longer than 4 MiB");
	keys = NULL;
	free(long_answer);
}

/* It would count as none, and who signed the server's certificate would not matter any more. */
static void an_empty_file_of_certificates_is_refused(void **state)
{
	char path[] = "/tmp/lbd-etcd-XXXXXX";
	int fd = mkstemp(path);
	struct config_from prepared = {.ca = strdup(path)};
	struct error err = {0};

	assert_true(fd >= 0);
	assert_int_equal(source_kind_find("etcd")->prepare(&prepared, &err), -EINVAL);
	assert_non_null(strstr(err.text, ": expected PEM: it is empty"));
	config_from_done(&prepared);
	close(fd);
	unlink(path);
}

static void the_next_server_is_asked_when_one_does_not_answer(void **state)
{
	char servers[128];

	/* nothing listens on port 1 */
	snprintf(servers, sizeof(servers), "http://127.0.0.1:1 %s", test_source_url);
	follow(servers, ANSWER("41", ONE));
	test_source_wait("10.0.0.1/100");
}

static void what_cannot_be_a_backend_is_ignored_and_named(void **state)
{
	/* /lbd/web/blue without a value, /lbd/web/10.0.0.2 = "x", then {"address":7} */
	follow(test_source_url,
	       ANSWER("41", ONE ",{\"key\":\"L2xiZC93ZWIvYmx1ZQ==\"},"
				"{\"key\":\"L2xiZC93ZWIvMTAuMC4wLjI=\",\"value\":\"eA==\"},"
				"{\"key\":\"L2xiZC93ZWIvMTAuMC4wLjI=\",\"value\":\""
				"eyJhZGRyZXNzIjo3fQ==\"},"
				"{\"key\":7}"));
	test_source_wait("10.0.0.1/100 ignored 4: /lbd/web/blue: expected the address of a host");
}

/* A server, or a proxy, may have a limit of its own. */
static void a_part_of_the_keys_is_not_the_keys(void **state)
{
	follow(test_source_url, ANSWER("41", ONE "," TWO));
	test_source_wait("10.0.0.1/100 10.0.0.2/50");
	wait_for_watch();
	keys = "{\"header\":{\"revision\":\"42\"},\"kvs\":[" ONE "],\"more\":true}";
	test_source_tell(watcher, "{\"result\":{\"events\":[{}]}}\n");
	test_source_wait("failed: ");
	test_source_wait("it has more than 1024 keys, or the answer is a part of them");
}

static void requests_name_the_end_of_the_prefix(void **state)
{
	char *request = keys_request("a\xff\xff", NULL);

	assert_string_equal(request,
			    "{\"key\":\"Yf//\",\"range_end\":\"Yg==\",\"limit\":\"1025\"}");
	free(request);
	request = keys_request("\xff", NULL);
	assert_string_equal(request,
			    "{\"key\":\"/w==\",\"range_end\":\"AA==\",\"limit\":\"1025\"}");
	free(request);
}

/* Some bytes each, which take a hundred times as many in memory. */
static void an_answer_of_very_many_values_is_not_read(void **state)
{
	static const char begin[] = "{\"header\":{\"revision\":\"41\"},\"x\":[{}";
	size_t room = 4 << 20, length = strlen(begin);
	char *text = malloc(room), next[24];
	struct source_list list;
	struct error err;

	memcpy(text, begin, length);
	for (; length < room - 8; length += 3)
		memcpy(text + length, ",{}", 3);
	strcpy(text + length, "]}");
	assert_int_equal(keys_read(text, length + 2, "/lbd/web/", &list, next, &err), -EBADMSG);
	free(text);
}

static void answers_cut_or_changed_are_read_or_refused(void **state)
{
	static const char answer[] = ANSWER("41", ONE "," TWO "," THREE);
	char changed[sizeof(answer)], next[24];
	struct source_list list = {0};
	struct error err;

	assert_int_equal(keys_read(answer, sizeof(answer) - 1, "/lbd/web/", &list, next, &err), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(next, "42");
	source_list_done(&list);
	for (size_t length = 0; length < sizeof(answer) - 1; length++)
		assert_int_equal(keys_read(answer, length, "/lbd/web/", &list, next, &err),
				 -EBADMSG);
	for (size_t at = 0; at < sizeof(answer) - 1; at++)
		for (unsigned value = 0; value < 256; value += 5) {
			memcpy(changed, answer, sizeof(answer));
			changed[at] = (char)value;
			if (!keys_read(changed, sizeof(answer) - 1, "/lbd/web/", &list, next, &err))
				assert_true(list.count <= 3);
			source_list_done(&list);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_change_that_the_watch_tells_is_asked_for),
	    TEST(a_watch_that_ends_begins_again),
	    TEST(changes_that_keep_coming_do_not_put_it_off),
	    TEST(a_watch_that_is_cancelled_begins_again),
	    TEST(a_cancellation_may_come_in_two_pieces),
	    TEST(a_watch_that_is_never_answered_begins_again),
	    TEST(a_head_without_end_is_a_failure_that_says_so),
	    TEST(an_answer_of_another_kind_is_a_failure),
	    TEST(an_answer_without_end_is_a_failure_that_says_so),
	    cmocka_unit_test(an_empty_file_of_certificates_is_refused),
	    TEST(the_next_server_is_asked_when_one_does_not_answer),
	    TEST(what_cannot_be_a_backend_is_ignored_and_named),
	    TEST(a_part_of_the_keys_is_not_the_keys),
	    cmocka_unit_test(requests_name_the_end_of_the_prefix),
	    cmocka_unit_test(an_answer_of_very_many_values_is_not_read),
	    cmocka_unit_test(answers_cut_or_changed_are_read_or_refused),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
