/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A face with TLS: who is let in, and what a client can take from the others before it is. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
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
#include "lbd/config/config.h"
#include "api_tls.h"

#define REQUEST     "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define PATIENCE_MS 20000
#define LARGE       (1024 * 1024)

static struct config *config; /* by_certificate or by_token */
static struct face *face;
static struct sockaddr_un address;
static socklen_t address_length;
static unsigned handled;
static char subject[64], body[32];
static size_t body_length;
static struct text *large; /* the answer; NULL: a line */

static void on_request(void *arg, struct face_call *call)
{
	handled++;
	face_subject(call, subject, sizeof(subject));
	body_length = face_request(call)->content_length;
	snprintf(body, sizeof(body), "%.*s", (int)body_length, face_body(call));
	if (large)
		face_answer(call, 200, "text/plain", large);
	else
		face_answer_line(call, 200, "hello");
}

static struct ssl_ctx_st *tls_of(void *arg)
{
	return config->api->tls;
}

static int listening(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	address_length = sizeof(address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_length), 0);
	return fd;
}

static const struct face_limits usual = {.connections = 4,
					 .answers = 4,
					 .bytes = 1 << 20,
					 .body = 1 << 18,
					 .handshake_ms = 60000,
					 .request_ms = 60000,
					 .answer_ms = 60000};

static void open_face(struct face_limits limits)
{
	struct face_options options = {.base = base,
				       .name = "test",
				       .fd = listening(),
				       .limits = limits,
				       .handler = on_request,
				       .tls = tls_of};
	struct error err;

	handled = 0;
	*subject = 0;
	assert_int_equal(face_new(&options, &face, &err), 0);
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* ---- a client ---- */

static int connected(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_length), 0);
	return fd;
}

/* name: of its certificate; NULL: none. */
static struct client client_new(const char *name)
{
	return client_on(connected(), name);
}

static bool greets(struct client *client)
{
	int rc = 0;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		turn();
		ERR_clear_error();
		rc = SSL_do_handshake(client->ssl);
		if (rc == 1 || !goes_on(client, rc))
			return rc == 1;
		usleep(1000);
	}
	fail_msg("no end of the handshake");
	return false;
}

static void sends(struct client *client, const char *bytes, size_t length)
{
	for (size_t sent = 0; sent < length;) {
		int rc = SSL_write(client->ssl, bytes + sent, (int)(length - sent));

		turn();
		if (rc > 0)
			sent += (size_t)rc;
		else if (!goes_on(client, rc))
			fail_msg("cannot send");
	}
}

/* Everything until the end, on the heap. whole: the end was TLS's own. */
static char *answer_to(struct client *client, size_t *ret_length, bool *ret_whole)
{
	char *text = malloc(LARGE + 4096);
	size_t length = 0;
	int rc = 1;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		turn();
		ERR_clear_error();
		rc = SSL_read(client->ssl, text + length, (int)(LARGE + 4095 - length));
		if (rc > 0)
			length += (size_t)rc;
		else if (!goes_on(client, rc))
			break;
		else
			usleep(1000);
		assert_true(ms < PATIENCE_MS - 1);
	}
	*ret_whole = SSL_get_error(client->ssl, rc) == SSL_ERROR_ZERO_RETURN;
	*ret_length = length;
	text[length] = 0;
	return text;
}

static void expect_answer(struct client *client, const char *status)
{
	bool whole;
	size_t length;
	char *text = answer_to(client, &length, &whole);

	if (strncmp(text, status, strlen(status)) != 0)
		fail_msg("expected %s, got: %s", status, text);
	assert_true(whole);
	free(text);
}

static uint64_t refused(enum face_refusal refusal)
{
	return face_counts(face)->refused[refusal];
}

static void wait_for_refusal(enum face_refusal refusal)
{
	for (unsigned ms = 0; !refused(refusal); ms++) {
		assert_true(ms < PATIENCE_MS);
		turn();
		usleep(1000);
	}
}

/* Until what clients have sent is taken, and another ms begins. */
static void wait_for_readers(void)
{
	for (unsigned turns = 0; turns < 50; turns++) {
		turn();
		usleep(1000);
	}
}

/* ---- tests ---- */

static void a_client_with_a_certificate_is_known_and_answered(void **unused)
{
	struct client client;

	open_face(usual);
	client = client_new("client");
	assert_true(greets(&client));
	sends(&client, REQUEST, strlen(REQUEST));
	expect_answer(&client, "HTTP/1.1 200 OK\r\n");
	assert_string_equal(subject, "CN=web-1,O=shop");
	assert_int_equal(face_counts(face)->connections, 0);
	client_free(&client);
}

static void clients_without_one_that_fits_never_ask(void **unused)
{
	static const char *const names[] = {NULL, "stranger"};

	for (unsigned i = 0; i < 2; i++) {
		struct client client;

		open_face(usual);
		client = client_new(names[i]);
		/* in TLS 1.3 a client learns of it with the first bytes that it reads */
		if (greets(&client))
			SSL_write(client.ssl, REQUEST, (int)strlen(REQUEST));
		wait_for_refusal(FACE_REFUSED_handshake);
		assert_int_equal(handled, 0);
		assert_int_equal(face_counts(face)->connections, 0);
		client_free(&client);
		face_free(face);
		face = NULL;
	}
}

static void older_versions_are_refused(void **unused)
{
	struct client client;

	open_face(usual);
	client = client_new("client");
	SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
	assert_false(greets(&client));
	assert_int_equal(refused(FACE_REFUSED_handshake), 1);
	client_free(&client);
}

static void what_is_no_tls_is_refused(void **unused)
{
	int fd;

	open_face(usual);
	fd = connected();
	assert_int_equal(send(fd, REQUEST, strlen(REQUEST), MSG_NOSIGNAL), strlen(REQUEST));
	wait_for_refusal(FACE_REFUSED_handshake);
	assert_int_equal(face_counts(face)->connections, 0);
	close(fd);
}

static void a_handshake_that_takes_too_long_is_cut(void **unused)
{
	struct face_limits limits = usual;
	int fd;

	limits.handshake_ms = 200;
	open_face(limits);
	fd = connected();
	assert_int_equal(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
	wait_for_refusal(FACE_REFUSED_slow_handshake);
	assert_int_equal(face_counts(face)->connections, 0);
	close(fd);
}

static void a_request_that_takes_too_long_is_cut(void **unused)
{
	struct face_limits limits = usual;
	struct client client;

	limits.request_ms = 200;
	open_face(limits);
	client = client_new("client");
	assert_true(greets(&client));
	wait_for_refusal(FACE_REFUSED_slow_request);
	assert_int_equal(refused(FACE_REFUSED_slow_handshake), 0);
	client_free(&client);
}

static void one_that_has_said_nothing_gives_way_to_one_that_has_been_greeted(void **unused)
{
	struct face_limits limits = usual;
	struct client greeted;
	int silent[4];

	limits.connections = 3;
	open_face(limits);
	greeted = client_new("client");
	assert_true(greets(&greeted));
	for (unsigned i = 0; i < 4; i++) {
		silent[i] = connected();
		turn();
	}
	assert_int_equal(refused(FACE_REFUSED_connections), 2);
	sends(&greeted, REQUEST, strlen(REQUEST));
	expect_answer(&greeted, "HTTP/1.1 200 OK\r\n");
	for (unsigned i = 0; i < 4; i++)
		close(silent[i]);
	client_free(&greeted);
}

/* Anybody is greeted then, and could have the others give way to each other. */
static void without_certificates_the_oldest_gives_way(void **unused)
{
	struct face_limits limits = usual;
	struct client idle[2], last;
	int one_more;

	config = by_token;
	limits.connections = 3;
	open_face(limits);
	for (unsigned i = 0; i < 2; i++) {
		idle[i] = client_new(NULL);
		assert_true(greets(&idle[i]));
	}
	wait_for_readers();
	last = client_new("client");
	turn();
	one_more = connected();
	turn();
	assert_int_equal(refused(FACE_REFUSED_connections), 1);
	assert_true(greets(&last));
	sends(&last, REQUEST, strlen(REQUEST));
	expect_answer(&last, "HTTP/1.1 200 OK\r\n");
	close(one_more);
	client_free(&last);
	for (unsigned i = 0; i < 2; i++)
		client_free(&idle[i]);
}

static void keys_that_are_changed_without_end_prolong_nothing(void **unused)
{
	struct face_limits limits = usual;
	struct client client;

	limits.request_ms = 300;
	open_face(limits);
	client = client_new("client");
	assert_true(greets(&client));
	for (unsigned i = 0; i < PATIENCE_MS && !refused(FACE_REFUSED_slow_request); i++) {
		SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED);
		SSL_do_handshake(client.ssl);
		turn();
		usleep(1000);
	}
	assert_int_equal(refused(FACE_REFUSED_slow_request), 1);
	client_free(&client);
}

static void expect_taken(size_t length)
{
	char *text = malloc(length + 256);
	int head = snprintf(text, 256, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
			    length);
	struct client client;

	memset(text + head, 'b', length);
	open_face(usual);
	client = client_new("client");
	assert_true(greets(&client));
	sends(&client, text, (size_t)head + length);
	expect_answer(&client, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(body_length, length);
	client_free(&client);
	free(text);
	face_free(face);
	face = NULL;
}

/* Of 16 KiB at most, into a buffer that begins with 1 KiB: no event tells of the rest of the last
 * one. */
static void a_request_in_large_records_is_taken_whole(void **unused)
{
	expect_taken(3000);
	expect_taken(100000);
}

static void huge_headers_are_refused_by_status(void **unused)
{
	char *text = calloc(1, 40000);
	struct client client;

	memset(text, 'h', 39999);
	memcpy(text, "GET /x HTTP/1.1\r\nH: ", 20);
	open_face(usual);
	client = client_new("client");
	assert_true(greets(&client));
	SSL_write(client.ssl, text, 39999);
	expect_answer(&client, "HTTP/1.1 431 ");
	assert_int_equal(handled, 0);
	client_free(&client);
	free(text);
}

static void a_large_answer_arrives_whole(void **unused)
{
	struct client client;
	size_t length;
	bool whole;
	char *text;

	large = text_new();
	for (unsigned i = 0; i < LARGE / 8; i++)
		text_printf(large, "%07u\n", i);
	open_face(usual);
	client = client_new("client");
	assert_true(greets(&client));
	sends(&client, REQUEST, strlen(REQUEST));
	text = answer_to(&client, &length, &whole);
	assert_true(whole && length > LARGE);
	assert_memory_equal(text + length - LARGE, large->bytes, LARGE);
	free(text);
	client_free(&client);
	text_unref(large);
	large = NULL;
}

static void a_client_that_goes_away_in_the_midst_is_forgotten(void **unused)
{
	struct client client;

	open_face(usual);
	client = client_new("client");
	SSL_do_handshake(client.ssl);
	turn();
	assert_int_equal(face_counts(face)->connections, 1);
	client_free(&client);
	wait_for_refusal(FACE_REFUSED_handshake);
	assert_int_equal(face_counts(face)->connections, 0);
}

static int set_up(void **unused)
{
	int rc = begin_tls(9470); /* nobody listens there */

	config = by_certificate;
	return rc;
}

static int tear_down(void **unused)
{
	face_free(face);
	face = NULL;
	config = by_certificate;
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_client_with_a_certificate_is_known_and_answered),
	    TEST(clients_without_one_that_fits_never_ask),
	    TEST(older_versions_are_refused),
	    TEST(what_is_no_tls_is_refused),
	    TEST(a_handshake_that_takes_too_long_is_cut),
	    TEST(a_request_that_takes_too_long_is_cut),
	    TEST(one_that_has_said_nothing_gives_way_to_one_that_has_been_greeted),
	    TEST(without_certificates_the_oldest_gives_way),
	    TEST(keys_that_are_changed_without_end_prolong_nothing),
	    TEST(a_request_in_large_records_is_taken_whole),
	    TEST(huge_headers_are_refused_by_status),
	    TEST(a_large_answer_arrives_whole),
	    TEST(a_client_that_goes_away_in_the_midst_is_forgotten),
	};

	return cmocka_run_group_tests(tests, set_up, end_tls);
}
