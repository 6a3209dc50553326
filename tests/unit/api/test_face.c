/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/face.c: what one client can take from the others, over a Unix socket. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/api/face.h"
#include "lbd/host/loop.h"

#define REQUEST     "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define PATIENCE_MS 20000
#define LARGE       (4 * 1024 * 1024)

static struct event_base *base;
static struct face *face;
static struct sockaddr_un address;
static socklen_t address_length;

/* What the handler does, and what it saw. */
static enum { ANSWER, WAIT, ANSWER_LARGE } manner;
static struct face_waiters waiters;
static bool json;
static struct text *large;
static unsigned handled;
static char last_body[32];

static void on_request(void *arg, struct face_call *call)
{
	handled++;
	snprintf(last_body, sizeof(last_body), "%.*s", (int)face_request(call)->content_length,
		 face_body(call));
	if (manner == WAIT)
		face_wait(call, &waiters);
	else if (manner == ANSWER_LARGE)
		face_answer(call, 200, "text/plain", large);
	else
		face_answer_line(call, 200, "hello");
}

static int listening(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* the kernel chooses a name in the abstract namespace */
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	address_length = sizeof(address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_length), 0);
	return fd;
}

static void open_face(struct face_limits limits)
{
	struct face_options options = {.base = base,
				       .name = "test",
				       .fd = listening(),
				       .json = json,
				       .priority = LOOP_BULK,
				       .limits = limits,
				       .handler = on_request};
	struct error err;

	manner = ANSWER;
	handled = 0;
	TAILQ_INIT(&waiters);
	assert_int_equal(face_new(&options, &face, &err), 0);
}

static const struct face_limits usual = {.connections = 4,
					 .answers = 4,
					 .bytes = 65536,
					 .body = 1024,
					 .request_ms = 60000,
					 .answer_ms = 60000};

static void turn(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static int client(const char *text)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_length), 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

/* Everything until the connection is closed, in a static buffer; the descriptor is closed. */
static const char *answer_to(int fd)
{
	static char text[1024];
	size_t length = 0;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		ssize_t got;

		turn();
		got = recv(fd, text + length, sizeof(text) - 1 - length, MSG_DONTWAIT);
		if (got > 0)
			length += (size_t)got;
		else if (!got || errno == ECONNRESET)
			break;
		else
			usleep(1000);
		assert_true(ms < PATIENCE_MS - 1);
	}
	close(fd);
	text[length] = 0;
	return text;
}

static void wait_for(const unsigned *value, unsigned expected)
{
	for (unsigned ms = 0; *value != expected; ms++) {
		assert_true(ms < PATIENCE_MS);
		turn();
		usleep(1000);
	}
}

static void assert_status(const char *answer, const char *status)
{
	if (strncmp(answer, status, strlen(status)) != 0)
		fail_msg("expected %s, got: %s", status, answer);
}

static uint64_t refused(enum face_refusal refusal)
{
	return face_counts(face)->refused[refusal];
}

static int tear_down(void **unused)
{
	face_free(face);
	face = NULL;
	return 0;
}

/* ---- tests ---- */

static void a_request_is_answered_and_its_connection_closed(void **unused)
{
	const char *answer;

	open_face(usual);
	answer = answer_to(client(REQUEST));
	assert_status(answer, "HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(answer, "Content-Length: 6\r\n"));
	assert_non_null(strstr(answer, "\r\n\r\nhello\n"));
	assert_int_equal(face_counts(face)->connections, 0);
	assert_int_equal(face_counts(face)->requests, 1);
}

/* Whoever asks waits for one turn of the loop, however much else the loop has to do. */
static void a_short_answer_is_sent_in_the_turn_in_which_the_request_is_found(void **unused)
{
	char text[1024];
	int fd;

	open_face(usual);
	fd = client(REQUEST);
	turn();
	assert_in_range(recv(fd, text, sizeof(text), MSG_DONTWAIT), 1, sizeof(text));
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 0);
	assert_int_equal(face_counts(face)->connections, 0);
	close(fd);
}

static void head_has_the_length_and_no_body(void **unused)
{
	const char *answer;

	open_face(usual);
	answer = answer_to(client("HEAD / HTTP/1.0\r\n\r\n"));
	assert_non_null(strstr(answer, "Content-Length: 6\r\n"));
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void a_request_that_comes_byte_by_byte_is_taken_whole(void **unused)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
	int fd;

	open_face(usual);
	fd = client("");
	for (const char *at = text; *at; at++) {
		assert_int_equal(handled, 0);
		assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
		turn();
		turn();
	}
	assert_status(answer_to(fd), "HTTP/1.1 200 ");
	assert_string_equal(last_body, "12345");
}

static void single_bytes_do_not_prolong_the_time_of_a_request(void **unused)
{
	struct face_limits limits = usual;
	int fd;

	limits.request_ms = 300;
	open_face(limits);
	fd = client("");
	for (unsigned ms = 0; send(fd, "A", 1, MSG_NOSIGNAL) == 1; ms += 5) {
		assert_true(ms < PATIENCE_MS);
		turn();
		usleep(5000);
	}
	close(fd);
	assert_int_equal(refused(FACE_REFUSED_slow_request), 1);
	assert_int_equal(face_counts(face)->connections, 0);
}

static void an_idle_connection_gives_way_to_one_that_asks(void **unused)
{
	int idle[8], asks;

	open_face(usual);
	for (unsigned i = 0; i < 4; i++)
		idle[i] = client("");
	wait_for(&face_counts(face)->connections, 4);
	asks = client(REQUEST);
	assert_status(answer_to(asks), "HTTP/1.1 200 ");
	assert_int_equal(refused(FACE_REFUSED_connections), 1);
	/* the oldest went, the others are still there */
	assert_int_equal(recv(idle[0], last_body, 1, MSG_DONTWAIT), 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(recv(idle[i], last_body, 1, MSG_DONTWAIT), -1);
	for (unsigned i = 0; i < 4; i++)
		close(idle[i]);
}

static void when_all_connections_wait_for_answers_the_next_is_told_to_retry(void **unused)
{
	int waiting[4];
	const char *answer;

	open_face(usual);
	manner = WAIT;
	for (unsigned i = 0; i < 4; i++)
		waiting[i] = client(REQUEST);
	wait_for(&handled, 4);
	answer = answer_to(client(REQUEST));
	assert_status(answer, "HTTP/1.1 503 ");
	assert_non_null(strstr(answer, "Retry-After: "));
	assert_int_equal(refused(FACE_REFUSED_connections), 1);
	for (unsigned i = 0; i < 4; i++)
		close(waiting[i]);
}

static void answers_over_the_limit_are_refused_and_do_not_count_as_answers(void **unused)
{
	struct face_limits limits = usual;
	int waiting;
	const char *answer;

	limits.answers = 1;
	open_face(limits);
	manner = WAIT;
	waiting = client(REQUEST);
	wait_for(&handled, 1);
	for (unsigned i = 0; i < 3; i++) {
		answer = answer_to(client(REQUEST));
		assert_status(answer, "HTTP/1.1 503 ");
		assert_non_null(strstr(answer, "Retry-After: "));
	}
	assert_int_equal(refused(FACE_REFUSED_answers), 3);
	assert_int_equal(face_counts(face)->answers, 1);
	face_answer_all(&waiters, 200, "text/plain", large);
	close(waiting);
	wait_for(&face_counts(face)->answers, 0);
	manner = ANSWER;
	assert_status(answer_to(client(REQUEST)), "HTTP/1.1 200 ");
}

static void refusals_of_a_json_face_are_json(void **unused)
{
	struct face_limits limits = usual;
	int waiting;

	limits.connections = 1;
	json = true;
	open_face(limits);
	json = false;
	assert_non_null(strstr(answer_to(client("nonsense\r\n\r\n")),
			       "\r\n\r\n{\"error\":\"expected a line METHOD PATH HTTP/1.1\","));
	manner = WAIT;
	waiting = client(REQUEST);
	wait_for(&handled, 1);
	assert_non_null(strstr(answer_to(client(REQUEST)),
			       "\r\n\r\n{\"error\":\"all connections are in use\","));
	close(waiting);
}

static void a_call_that_ends_leaves_the_waiters(void **unused)
{
	struct face_limits limits = usual;
	int fd;

	limits.answer_ms = 100;
	open_face(limits);
	manner = WAIT;
	fd = client(REQUEST);
	wait_for(&handled, 1);
	assert_false(TAILQ_EMPTY(&waiters));
	wait_for(&face_counts(face)->connections, 0);
	assert_true(TAILQ_EMPTY(&waiters));
	assert_int_equal(refused(FACE_REFUSED_slow_answer), 1);
	close(fd);
}

static void memory_of_requests_is_limited_over_all_connections(void **unused)
{
	struct face_limits limits = usual;
	char *part = calloc(1, 9001);
	int first, second;

	limits.bytes = 24 * 1024; /* a buffer of 16 kB, and not two */
	limits.body = 1 << 20;
	open_face(limits);
	memset(part, 'x', 9000);
	memcpy(part, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nX: ", 53);
	first = client(part);
	second = client(part);
	wait_for(&face_counts(face)->connections, 2);
	for (unsigned i = 0; i < 100; i++)
		turn();
	assert_true(refused(FACE_REFUSED_bytes) >= 1);
	close(first);
	close(second);
	wait_for(&face_counts(face)->connections, 0);
	assert_status(answer_to(client(REQUEST)), "HTTP/1.1 200 "); /* the memory is free again */
	free(part);
}

static void too_large_bodies_and_heads_are_refused_by_status(void **unused)
{
	char *long_head = calloc(1, HTTP_HEAD_MAX + 2000);

	open_face(usual);
	assert_status(
	    answer_to(client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")),
	    "HTTP/1.1 413 ");
	memset(long_head, 'x', HTTP_HEAD_MAX + 1000);
	assert_status(answer_to(client(long_head)), "HTTP/1.1 431 ");
	assert_status(answer_to(client("nonsense\r\n\r\n")), "HTTP/1.1 400 ");
	assert_int_equal(refused(FACE_REFUSED_malformed), 3);
	assert_int_equal(handled, 0);
	free(long_head);
}

static void a_client_that_expects_100_continue_gets_it(void **unused)
{
	char text[64] = "";
	int fd;

	open_face(usual);
	fd = client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
		    "Expect: 100-continue\r\n\r\n");
	for (unsigned ms = 0; recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) < 0; ms++) {
		assert_true(ms < PATIENCE_MS);
		turn();
		usleep(1000);
	}
	assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(send(fd, "{}", 2, MSG_NOSIGNAL), 2);
	assert_status(answer_to(fd), "HTTP/1.1 200 ");
	assert_string_equal(last_body, "{}");
}

static void one_large_text_serves_all_and_is_freed_with_the_last(void **unused)
{
	int fds[4];

	open_face(usual);
	manner = ANSWER_LARGE;
	for (unsigned i = 0; i < 4; i++)
		fds[i] = client(REQUEST);
	wait_for(&handled, 4);
	assert_int_equal(large->refs, 5);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	wait_for(&face_counts(face)->connections, 0);
	assert_int_equal(large->refs, 1);
}

static void a_large_text_arrives_whole(void **unused)
{
	char *got = malloc(LARGE + 1024), *body;
	size_t length = 0;
	int fd;

	open_face(usual);
	manner = ANSWER_LARGE;
	fd = client(REQUEST);
	for (unsigned turns = 0; turns < 1000000; turns++) {
		ssize_t more = recv(fd, got + length, LARGE + 1023 - length, MSG_DONTWAIT);

		if (!more)
			break;
		if (more > 0)
			length += (size_t)more;
		turn();
	}
	got[length] = 0;
	body = strstr(got, "\r\n\r\n");
	assert_non_null(body);
	assert_int_equal(length - (size_t)(body + 4 - got), LARGE);
	assert_memory_equal(body + 4, large->bytes, LARGE);
	close(fd);
	free(got);
}

static void an_answer_that_is_not_taken_is_cut(void **unused)
{
	struct face_limits limits = usual;
	int fd;

	limits.answer_ms = 200;
	open_face(limits);
	manner = ANSWER_LARGE;
	fd = client(REQUEST);
	wait_for(&handled, 1);
	wait_for(&face_counts(face)->connections, 0);
	assert_int_equal(refused(FACE_REFUSED_slow_answer), 1);
	assert_int_equal(large->refs, 1);
	close(fd);
}

/* All answers that may be under way are held by clients that read nothing. Neither of the two
 * limits keeps out a client that asks. */
static void served_in_spite_of(struct face_limits limits)
{
	int stalled[2];
	unsigned tries = 0;

	open_face(limits);
	manner = ANSWER_LARGE;
	for (unsigned i = 0; i < 2; i++)
		stalled[i] = client(REQUEST);
	wait_for(&handled, 2);
	manner = ANSWER;
	while (strncmp(answer_to(client(REQUEST)), "HTTP/1.1 200 ", 13) != 0) {
		assert_true(tries++ < PATIENCE_MS);
		usleep(1000);
	}
	assert_int_equal(refused(FACE_REFUSED_slow_answer), 1);
	assert_int_equal(large->refs, 2);
	for (unsigned i = 0; i < 2; i++)
		close(stalled[i]);
}

static void clients_that_stop_reading_keep_nobody_out(void **unused)
{
	struct face_limits limits = usual;

	limits.answers = 2;
	served_in_spite_of(limits);
	face_free(face);
	limits.answers = 4;
	limits.connections = 2;
	served_in_spite_of(limits);
}

static void old_answers_of_a_text_can_be_cut(void **unused)
{
	int fd;

	open_face(usual);
	manner = ANSWER_LARGE;
	fd = client(REQUEST);
	wait_for(&handled, 1);
	face_cut(face, large, 60000);
	assert_int_equal(face_counts(face)->connections, 1);
	face_cut(face, large, 0);
	assert_int_equal(face_counts(face)->connections, 0);
	close(fd);
}

static int set_up_all(void **unused)
{
	base = loop_new();
	large = text_new();
	for (unsigned i = 0; i < LARGE / 8; i++)
		text_printf(large, "%07u\n", i);
	return !base || large->failed;
}

static int tear_down_all(void **unused)
{
	text_unref(large);
	event_base_free(base);
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_request_is_answered_and_its_connection_closed),
	    TEST(a_short_answer_is_sent_in_the_turn_in_which_the_request_is_found),
	    TEST(head_has_the_length_and_no_body),
	    TEST(a_request_that_comes_byte_by_byte_is_taken_whole),
	    TEST(single_bytes_do_not_prolong_the_time_of_a_request),
	    TEST(an_idle_connection_gives_way_to_one_that_asks),
	    TEST(when_all_connections_wait_for_answers_the_next_is_told_to_retry),
	    TEST(answers_over_the_limit_are_refused_and_do_not_count_as_answers),
	    TEST(refusals_of_a_json_face_are_json),
	    TEST(a_call_that_ends_leaves_the_waiters),
	    TEST(memory_of_requests_is_limited_over_all_connections),
	    TEST(too_large_bodies_and_heads_are_refused_by_status),
	    TEST(a_client_that_expects_100_continue_gets_it),
	    TEST(one_large_text_serves_all_and_is_freed_with_the_last),
	    TEST(a_large_text_arrives_whole),
	    TEST(an_answer_that_is_not_taken_is_cut),
	    TEST(clients_that_stop_reading_keep_nobody_out),
	    TEST(old_answers_of_a_text_can_be_cut),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
