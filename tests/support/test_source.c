/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A source and its server on one loop. */
#include "test_source.h"

#include <event2/buffer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/clock.h"

char test_source_url[64], test_source_said[4096];
unsigned test_source_reports;

static struct event_base *base;
static struct source_process *process;
static struct evhttp *http;
static void *run;

/* ---- what is reported ---- */

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
	size_t length = strlen(test_source_said);
	va_list args;

	va_start(args, format);
	vsnprintf(test_source_said + length, sizeof(test_source_said) - length, format, args);
	va_end(args);
}

static void add_item(const struct source_item *item, bool first)
{
	char address[ADDR_TEXT];

	add("%s%s/%u", first ? "" : " ", addr_format(&item->address, address), item->weight);
	if (*item->name)
		add("/%s", item->name);
	if (*item->zone)
		add("/zone=%s", item->zone);
	for (unsigned i = 0; i < item->labels_count; i++)
		add("/%s=%s", item->labels[i].key, item->labels[i].value);
}

static void on_report(void *arg, struct source_list *list, const char *why)
{
	test_source_reports++;
	*test_source_said = 0;
	if (!list) {
		add("failed: %s", why);
		return;
	}
	for (unsigned i = 0; i < list->count; i++)
		add_item(&list->items[i], !i);
	if (list->ignored)
		add(" ignored %u: %s", list->ignored, list->why);
	source_list_done(list);
}

struct event_base *test_source_base(void)
{
	return base;
}

uint64_t test_source_patience(void)
{
	return clock_monotonic_ms() + TEST_SOURCE_PATIENCE_MS;
}

void test_source_turn(uint64_t until)
{
	const struct timeval soon = clock_span_ms(50);

	if (clock_monotonic_ms() >= until)
		fail_msg("timed out; last report: %s", test_source_said);
	event_base_loopexit(base, &soon);
	event_base_dispatch(base);
}

void test_source_wait(const char *expected)
{
	uint64_t until = test_source_patience();

	while (!strstr(test_source_said, expected))
		test_source_turn(until);
}

void test_source_expect(const char *expected)
{
	uint64_t until = test_source_patience();

	while (strcmp(test_source_said, expected) != 0)
		test_source_turn(until);
}

/* ---- the server's answers ---- */

void test_source_answer(struct evhttp_request *request, const char *text)
{
	struct evbuffer *answer = evbuffer_new();

	evbuffer_add(answer, text, strlen(text));
	evhttp_send_reply(request, 200, "OK", answer);
	evbuffer_free(answer);
}

static void on_closed(struct evhttp_connection *connection, void *arg)
{
	struct evhttp_request **watcher = arg;

	/* what the other side has closed is left to whoever answers */
	if (*watcher && !evhttp_request_get_connection(*watcher))
		evhttp_send_reply_end(*watcher);
	*watcher = NULL;
}

void test_source_stream(struct evhttp_request *request, struct evhttp_request **watcher)
{
	evhttp_send_reply_start(request, 200, "OK");
	*watcher = request;
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, watcher);
}

void test_source_tell(struct evhttp_request *watcher, const char *text)
{
	struct evbuffer *chunk = evbuffer_new();

	assert_non_null(watcher);
	evbuffer_add(chunk, text, strlen(text));
	evhttp_send_reply_chunk(watcher, chunk);
	evbuffer_free(chunk);
}

/* ---- both ---- */

void *test_source_follow(const char *kind, const struct config_from *from)
{
	run = source_process_start(process, source_kind_find(kind), from, NULL);
	assert_non_null(run);
	return run;
}

int test_source_up(test_source_answer_fn *answer)
{
	return test_source_up_for(answer, on_report, NULL);
}

int test_source_up_for(test_source_answer_fn *answer, source_report_fn *report,
		       source_done_fn *done)
{
	struct evhttp_bound_socket *bound;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	*test_source_said = 0;
	test_source_reports = 0;
	base = loop_new();
	http = base ? evhttp_new(base) : NULL;
	bound = http ? evhttp_bind_socket_with_handle(http, "127.0.0.1", 0) : NULL;
	if (!bound || source_process_new(base, report, &process))
		return -1;
	source_process_on_done(process, done);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length);
	snprintf(test_source_url, sizeof(test_source_url), "http://127.0.0.1:%u",
		 ntohs(address.sin_port));
	evhttp_set_gencb(http, answer, NULL);
	return 0;
}

void test_source_down(void)
{
	if (run)
		source_process_stop(run);
	run = NULL;
	source_process_free(process);
	evhttp_free(http);
	event_base_free(base);
}
