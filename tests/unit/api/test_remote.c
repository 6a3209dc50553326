/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/remote.c: who may ask, of clients that begin before a reload and ask after it, and
 * of those that have a large body and no token. */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/api/internal.h"
#include "lbd/state/internal.h"
#include "api_tls.h"

#define PATIENCE_MS 20000
/* Who may ask is told that there is no such path. */
#define ASK        "GET /x HTTP/1.1\r\nHost: a\r\n"
#define LONG       "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
#define WITH_TOKEN "Authorization: Bearer " TOKEN "\r\n"
#define END        "\r\n"

static unsigned port;
static struct state state;
static struct api api;

static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	return ntohs(address.sin_port);
}

/* ---- a client ---- */

static void turn(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	usleep(1000);
}

/* Greeted. shows: the certificate that the authority has given it. */
static struct client client_new(bool shows)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct client client;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	evutil_make_socket_nonblocking(fd);
	client = client_on(fd, shows ? "client" : NULL);
	for (unsigned ms = 0; rc != 1; ms++) {
		assert_true(ms < PATIENCE_MS);
		turn();
		rc = SSL_do_handshake(client.ssl);
		assert_true(rc == 1 || goes_on(&client, rc));
	}
	return client;
}

static void wait_until_greeted(void)
{
	for (unsigned turns = 0; turns < 50; turns++)
		turn();
}

/* Asks, and frees the client. The status; 0: there was no answer. */
static unsigned ask(struct client *client, const char *request)
{
	char text[4096] = "";
	int rc = SSL_write(client->ssl, request, (int)strlen(request));

	assert_int_equal(rc, strlen(request));
	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		turn();
		ERR_clear_error();
		rc = SSL_read(client->ssl, text, sizeof(text) - 1);
		if (rc > 0 || !goes_on(client, rc))
			break;
	}
	client_free(client);
	return rc > 13 ? (unsigned)strtoul(text + strlen("HTTP/1.1 "), NULL, 10) : 0;
}

static void open_with(struct config *config)
{
	struct error err;

	state.config = config;
	api = (struct api){.base = base, .state = &state};
	api.remote = (struct api_door){.api = &api, .remote = true};
	if (remote_open(&api.remote, 8, &err))
		fail_msg("%s", err.text);
}

/* ---- tests ---- */

static void who_has_the_token_may_ask(void **unused)
{
	struct client client;

	open_with(by_token);
	client = client_new(false);
	assert_int_equal(ask(&client, ASK END), 401);
	client = client_new(false);
	assert_int_equal(ask(&client, ASK WITH_TOKEN END), 404);
}

/* It sends none of its body, and is not waited for. */
static void who_has_none_takes_no_memory_with_a_long_body(void **unused)
{
	struct client client;

	open_with(by_token);
	client = client_new(false);
	assert_int_equal(ask(&client, LONG END), 401);
	client = client_new(false);
	assert_int_equal(ask(&client, LONG "Origin: https://a\r\n" WITH_TOKEN END), 403);
	assert_int_equal(face_counts(api.remote.face)->requests, 2);
}

/* JSON of a MiB keeps the loop for longer than all the rest of a registration. POST needs it. */
static void a_registration_is_short(void **unused)
{
	static const char head[] = "PUT /x HTTP/1.1\r\nHost: a\r\n" WITH_TOKEN "Content-Length: ";
	char text[LB_API_MAX_REGISTRATION + 256];
	struct client client;

	open_with(by_token);
	client = client_new(false);
	assert_int_equal(ask(&client, LONG WITH_TOKEN END), 413);
	snprintf(text, sizeof(text), "%s%d\r\n\r\n", head, LB_API_MAX_REGISTRATION + 1);
	client = client_new(false);
	assert_int_equal(ask(&client, text), 413);
	snprintf(text, sizeof(text), "%s%d\r\n\r\n%*s", head, LB_API_MAX_REGISTRATION,
		 LB_API_MAX_REGISTRATION, "{}");
	client = client_new(false);
	assert_int_equal(ask(&client, text), 404);
	assert_int_equal(face_counts(api.remote.face)->refused[FACE_REFUSED_malformed], 2);
}

/* It was asked for no certificate then, and has no token that is asked for now. */
static void who_was_greeted_before_certificates_were_asked_for_may_not_ask(void **unused)
{
	struct client client;

	open_with(by_token);
	client = client_new(false);
	wait_until_greeted();
	state.config = by_certificate;
	assert_int_equal(ask(&client, ASK END), 503);
	client = client_new(true);
	assert_int_equal(ask(&client, ASK END), 404);
}

static void a_token_that_is_asked_for_now_is_enough_for_who_came_before(void **unused)
{
	struct client client;

	open_with(by_certificate);
	client = client_new(true);
	wait_until_greeted();
	state.config = by_token;
	assert_int_equal(ask(&client, ASK WITH_TOKEN END), 404);
}

/* Nor may it do what is no registration, which is offered to others. */
static void who_is_limited_to_services_changes_nothing_else(void **unused)
{
	char name[] = "scaler", web[] = "web", *services[] = {web};
	struct config_client limited = {
	    .name = name, .by_token = true, .services = services, .services_count = 1};
	struct client client;

	open_with(by_token);
	by_token->api->clients = &limited;
	by_token->api->clients_count = 1;
	by_token->api->offers = CONFIG_OFFER_ALL;
	client = client_new(false);
	assert_int_equal(ask(&client, "POST /v1/reload HTTP/1.1\r\nHost: a\r\n" WITH_TOKEN END),
			 403);
	client = client_new(false);
	assert_int_equal(ask(&client, ASK WITH_TOKEN END), 404);
	assert_int_equal(face_counts(api.remote.face)->refused[FACE_REFUSED_service], 1);
	/* its body is not even read */
	client = client_new(false);
	assert_int_equal(ask(&client, "POST /v1/reload HTTP/1.1\r\nHost: a\r\n" WITH_TOKEN
				      "Content-Length: 20000\r\n" END),
			 413);
	by_token->api->clients = NULL;
	by_token->api->clients_count = 0;
	by_token->api->offers = CONFIG_OFFER_REGISTER;
}

static int set_up(void **unused)
{
	port = free_port();
	return begin_tls(port);
}

static int tear_down(void **unused)
{
	face_free(api.remote.face);
	config_api_unref(api.remote.offered);
	api = (struct api){0};
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_has_the_token_may_ask),
	    TEST(who_has_none_takes_no_memory_with_a_long_body),
	    TEST(a_registration_is_short),
	    TEST(who_was_greeted_before_certificates_were_asked_for_may_not_ask),
	    TEST(a_token_that_is_asked_for_now_is_enough_for_who_came_before),
	    TEST(who_is_limited_to_services_changes_nothing_else),
	};

	return cmocka_run_group_tests(tests, set_up, end_tls);
}
