/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Certificates, configs with `api:` that go by them or by a token, and a client that speaks TLS. */
#ifndef LBD_TEST_API_TLS_H
#define LBD_TEST_API_TLS_H

#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "lbd/host/loop.h"
#include "support/test_file.h"
#include "support/test_tls.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

static char directory[] = "/tmp/test_api_tls.XXXXXX";
static struct event_base *base;
static struct config *by_certificate, *by_token;

/* ---- for all tests ---- */

static inline struct config *config_with(unsigned port, const char *key, const char *file)
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

/* port: of the listener. 0 or -1. */
static inline int begin_tls(unsigned port)
{
	char path[128];

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory) || !(base = loop_new()))
		return -1;
	test_tls_make(directory);
	snprintf(path, sizeof(path), "%s/tokens", directory);
	test_file_put(path, "scaler " TOKEN "\n");
	if (chmod(path, 0600))
		return -1;
	by_certificate = config_with(port, "client-ca", "ca.pem");
	by_token = config_with(port, "token-file", "tokens");
	return 0;
}

static inline int end_tls(void **unused)
{
	char command[64];

	config_free(by_certificate);
	config_free(by_token);
	event_base_free(base);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

/* ---- a client ---- */

struct client {
	SSL_CTX *tls;
	SSL *ssl;
	int fd;
};

/* It has not said anything yet. fd: connected, and does not block; name: of the certificate that it
 * shows, NULL: none. */
static inline struct client client_on(int fd, const char *name)
{
	struct client client = {.tls = SSL_CTX_new(TLS_client_method()), .fd = fd};
	char path[128];

	snprintf(path, sizeof(path), "%s/ca.pem", directory);
	assert_int_equal(SSL_CTX_load_verify_locations(client.tls, path, NULL), 1);
	SSL_CTX_set_verify(client.tls, SSL_VERIFY_PEER, NULL);
	if (name) {
		snprintf(path, sizeof(path), "%s/%s.pem", directory, name);
		assert_int_equal(SSL_CTX_use_certificate_chain_file(client.tls, path), 1);
		snprintf(path, sizeof(path), "%s/%s.key", directory, name);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(client.tls, path, SSL_FILETYPE_PEM),
				 1);
	}
	client.ssl = SSL_new(client.tls);
	SSL_set_fd(client.ssl, client.fd);
	SSL_set_connect_state(client.ssl);
	return client;
}

static inline void client_free(struct client *client)
{
	SSL_free(client->ssl);
	SSL_CTX_free(client->tls);
	close(client->fd);
}

/* After a call that returned rc: is it to be made again? */
static inline bool goes_on(const struct client *client, int rc)
{
	int error = SSL_get_error(client->ssl, rc);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

#endif
