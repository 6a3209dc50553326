/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/remote.c: who may ask, of clients that begin before a reload and ask after it, and
 * of those that have a large body and no token. */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/api/internal.h"
#include "lbd/state/internal.h"
#include "support/test_file.h"
#include "support/test_tls.h"

#define PATIENCE_MS 20000
#define TOKEN       "0123456789abcdef0123456789abcdef"
/* Who may ask is told that there is no such path. */
#define ASK        "GET /x HTTP/1.1\r\nHost: a\r\n"
#define LONG       "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
#define WITH_TOKEN "Authorization: Bearer " TOKEN "\r\n"
#define END        "\r\n"

static char directory[] = "/tmp/test_remote.XXXXXX";
static unsigned port;
static struct event_base *base;
static struct config *by_certificate, *by_token;
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

static struct config *config_with(const char *key, const char *file)
{
	struct config *config;
	char text[512];
	struct error err;
	int length = snprintf(text, sizeof(text),
			      "api: { listen: '127.0.0.1:%u', certificate: %s/server.pem, key: "
			      "%s/server.key, %s: %s/%s }\nservices: []\n",
			      port, directory, directory, key, directory, file);

	if (config_parse(text, (size_t)length, "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

/* ---- a client ---- */

struct client {
	SSL_CTX *tls;
	SSL *ssl;
	int fd;
};

static void turn(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	usleep(1000);
}

static bool goes_on(const struct client *client, int rc)
{
	int error = SSL_get_error(client->ssl, rc);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* Greeted. shows: the certificate that the authority has given it. */
static struct client client_new(bool shows)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct client client = {.tls = SSL_CTX_new(TLS_client_method()),
				.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	char path[128];
	int rc = 0;

	assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	evutil_make_socket_nonblocking(client.fd);
	if (shows) {
		snprintf(path, sizeof(path), "%s/client.pem", directory);
		assert_int_equal(SSL_CTX_use_certificate_chain_file(client.tls, path), 1);
		snprintf(path, sizeof(path), "%s/client.key", directory);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(client.tls, path, SSL_FILETYPE_PEM),
				 1);
	}
	client.ssl = SSL_new(client.tls);
	SSL_set_fd(client.ssl, client.fd);
	SSL_set_connect_state(client.ssl);
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
	SSL_free(client->ssl);
	SSL_CTX_free(client->tls);
	close(client->fd);
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

static int set_up(void **unused)
{
	char path[128];

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory) || !(base = loop_new()))
		return -1;
	test_tls_make(directory);
	snprintf(path, sizeof(path), "%s/tokens", directory);
	test_file_put(path, "scaler " TOKEN "\n");
	port = free_port();
	if (chmod(path, 0600))
		return -1;
	by_certificate = config_with("client-ca", "ca.pem");
	by_token = config_with("token-file", "tokens");
	return 0;
}

static int tear_down(void **unused)
{
	face_free(api.remote.face);
	config_api_unref(api.remote.offered);
	api = (struct api){0};
	return 0;
}

static int tear_down_all(void **unused)
{
	char command[64];

	config_free(by_certificate);
	config_free(by_token);
	event_base_free(base);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_has_the_token_may_ask),
	    TEST(who_has_none_takes_no_memory_with_a_long_body),
	    TEST(who_was_greeted_before_certificates_were_asked_for_may_not_ask),
	    TEST(a_token_that_is_asked_for_now_is_enough_for_who_came_before),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down_all);
}
