/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A request and its answer, as they come over a socket: in parts, cut off, refused half-way. The
 * test is the server too, as an exchange never waits. */
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

#include "lbctl/core/exchange.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

struct scene {
	char directory[32], path[48];
	int listener, peer; /* peer: -1: not accepted */
	struct exchange exchange;
};

static void scene_make(struct scene *scene, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(scene->directory, "/tmp/lbctl-exchange-XXXXXX");
	assert_non_null(mkdtemp(scene->directory));
	snprintf(scene->path, sizeof(scene->path), "%s/sock", scene->directory);
	strcpy(address.sun_path, scene->path);
	scene->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(scene->listener >= 0);
	assert_int_equal(bind(scene->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(scene->listener, backlog), 0);
	scene->peer = -1;
}

static void scene_free(struct scene *scene)
{
	exchange_done(&scene->exchange);
	if (scene->peer >= 0)
		close(scene->peer);
	close(scene->listener);
	unlink(scene->path);
	rmdir(scene->directory);
}

static void ask(struct scene *scene, const char *method, const char *body)
{
	assert_int_equal(exchange_begin(&scene->exchange, scene->path, method, "/v1/x", body), 0);
	assert_int_equal(exchange_go_on(&scene->exchange), -EAGAIN);
	scene->peer = accept(scene->listener, NULL, NULL);
	assert_true(scene->peer >= 0);
}

static void say(struct scene *scene, const char *text, size_t length)
{
	assert_int_equal(send(scene->peer, text, length, MSG_NOSIGNAL), length);
}

static void hang_up(struct scene *scene)
{
	close(scene->peer);
	scene->peer = -1;
}

/* What becomes of an answer after which the server hangs up. */
static int answered(struct scene *scene, const char *text)
{
	char request[512];

	ask(scene, "GET", NULL);
	assert_true(recv(scene->peer, request, sizeof(request), 0) > 0);
	say(scene, text, strlen(text));
	hang_up(scene);
	return exchange_go_on(&scene->exchange);
}

static void expect_body(const struct scene *scene, const char *expected)
{
	size_t length;
	const char *body = exchange_body(&scene->exchange, &length);

	assert_int_equal(length, strlen(expected));
	assert_memory_equal(body, expected, length);
}

static void a_request_has_its_length_and_asks_for_one_answer(void **unused)
{
	struct scene scene;
	char text[512];
	ssize_t got;

	scene_make(&scene, 1);
	ask(&scene, "POST", "{\"a\":1}");
	got = recv(scene.peer, text, sizeof(text) - 1, 0);
	assert_true(got > 0);
	text[got] = 0;
	assert_string_equal(text, "POST /v1/x HTTP/1.1\r\nHost: lbd\r\nContent-Type: "
				  "application/json\r\nContent-Length: 7\r\nConnection: "
				  "close\r\n\r\n{\"a\":1}");
	scene_free(&scene);
}

static void an_answer_may_come_byte_by_byte(void **unused)
{
	static const char text[] = HEAD "content-length:  7 \r\n\r\n{\"a\":1}";
	struct scene scene;

	scene_make(&scene, 1);
	ask(&scene, "GET", NULL);
	for (size_t i = 0; i < strlen(text); i++) {
		assert_int_equal(exchange_go_on(&scene.exchange), -EAGAIN);
		say(&scene, text + i, 1);
	}
	assert_int_equal(exchange_go_on(&scene.exchange), 0);
	assert_int_equal(scene.exchange.status, 200);
	expect_body(&scene, "{\"a\":1}");
	scene_free(&scene);
}

static void what_comes_behind_the_length_is_no_part_of_it(void **unused)
{
	struct scene scene;

	scene_make(&scene, 1);
	assert_int_equal(answered(&scene, HEAD "Content-Length: 2\r\n\r\n{}more"), 0);
	expect_body(&scene, "{}");
	scene_free(&scene);
}

static void without_a_length_the_end_of_the_connection_is_its_end(void **unused)
{
	struct scene scene;

	scene_make(&scene, 1);
	assert_int_equal(answered(&scene, "HTTP/1.0 404 No\r\n\r\n{\"error\":\"no\"}"), 0);
	assert_int_equal(scene.exchange.status, 404);
	expect_body(&scene, "{\"error\":\"no\"}");
	scene_free(&scene);
}

static void an_answer_that_is_cut_off_is_none(void **unused)
{
	static const char *const answers[] = {"", "HTTP/1.1 200 OK\r\n",
					      HEAD "Content-Length: 3\r\n\r\n{}"};

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct scene scene;

		scene_make(&scene, 1);
		assert_int_equal(answered(&scene, answers[i]), -ECONNRESET);
		assert_true(scene.exchange.connected);
		scene_free(&scene);
	}
}

static void what_is_not_http_is_no_answer(void **unused)
{
	struct scene scene;

	scene_make(&scene, 1);
	assert_int_equal(answered(&scene, "SSH-2.0-OpenSSH\r\n\r\n"), -EPROTO);
	scene_free(&scene);
}

static void an_answer_that_would_be_too_long_is_not_read(void **unused)
{
	struct scene scene;

	scene_make(&scene, 1);
	assert_int_equal(answered(&scene, HEAD "Content-Length: 67108865\r\n\r\n{"), -EMSGSIZE);
	scene_free(&scene);
	scene_make(&scene, 1);
	assert_int_equal(answered(&scene, HEAD "Content-Length: 99999999999999999999\r\n\r\n{"),
			 -EMSGSIZE);
	scene_free(&scene);
}

/* It does not fit the socket's buffer, and nobody reads it. */
static void a_request_may_be_refused_before_it_is_whole(void **unused)
{
	static const char refusal[] = "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\n{}";
	size_t length = 8 << 20;
	char *body = malloc(length + 1);
	struct scene scene;

	assert_non_null(body);
	memset(body, 'a', length);
	body[length] = 0;
	for (int hangs_up = 0; hangs_up < 2; hangs_up++) {
		scene_make(&scene, 1);
		ask(&scene, "POST", body);
		assert_true(scene.exchange.sent < scene.exchange.request_length);
		assert_int_equal(exchange_poll(&scene.exchange).events, POLLIN | POLLOUT);
		say(&scene, refusal, strlen(refusal));
		if (hangs_up)
			hang_up(&scene);
		assert_int_equal(exchange_go_on(&scene.exchange), 0);
		assert_int_equal(scene.exchange.status, 413);
		scene_free(&scene);
	}
	free(body);
}

static void a_full_backlog_is_tried_again(void **unused)
{
	struct exchange first;
	struct scene scene;

	scene_make(&scene, 0);
	assert_int_equal(exchange_begin(&first, scene.path, "GET", "/v1/x", NULL), 0);
	assert_int_equal(exchange_go_on(&first), -EAGAIN);
	assert_true(first.connected);
	assert_int_equal(exchange_begin(&scene.exchange, scene.path, "GET", "/v1/x", NULL), 0);
	assert_int_equal(exchange_go_on(&scene.exchange), -EAGAIN);
	assert_false(scene.exchange.connected);
	/* poll would not wait for it */
	assert_int_equal(exchange_poll(&scene.exchange).fd, -1);
	assert_in_range(exchange_wait_ms(&scene.exchange), 1, 100);
	scene.peer = accept(scene.listener, NULL, NULL);
	assert_int_equal(exchange_go_on(&scene.exchange), -EAGAIN);
	assert_true(scene.exchange.connected);
	exchange_done(&first);
	scene_free(&scene);
}

static void time_is_limited(void **unused)
{
	struct scene scene;

	scene_make(&scene, 1);
	ask(&scene, "GET", NULL);
	scene.exchange.begin_ms -= EXCHANGE_ANSWER_MS;
	assert_int_equal(exchange_wait_ms(&scene.exchange), 0);
	assert_int_equal(exchange_go_on(&scene.exchange), -ETIMEDOUT);
	scene_free(&scene);
}

static void nobody_at_the_socket_is_an_error_of_the_connection(void **unused)
{
	struct exchange exchange;

	assert_int_equal(exchange_begin(&exchange, "/nonexistent/sock", "GET", "/", NULL), 0);
	assert_int_equal(exchange_go_on(&exchange), -ENOENT);
	assert_false(exchange.connected);
	exchange_done(&exchange);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_has_its_length_and_asks_for_one_answer),
	    cmocka_unit_test(an_answer_may_come_byte_by_byte),
	    cmocka_unit_test(what_comes_behind_the_length_is_no_part_of_it),
	    cmocka_unit_test(without_a_length_the_end_of_the_connection_is_its_end),
	    cmocka_unit_test(an_answer_that_is_cut_off_is_none),
	    cmocka_unit_test(what_is_not_http_is_no_answer),
	    cmocka_unit_test(an_answer_that_would_be_too_long_is_not_read),
	    cmocka_unit_test(a_request_may_be_refused_before_it_is_whole),
	    cmocka_unit_test(a_full_backlog_is_tried_again),
	    cmocka_unit_test(time_is_limited),
	    cmocka_unit_test(nobody_at_the_socket_is_an_error_of_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
