/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads `api:` with its files: certificate and key of the listener, authorities of its clients,
 * tokens. Whoever cannot be told apart is not let in: without authorities and without tokens there
 * is no listener. */
#include "api.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "clients.h"
#include "pem.h"
#include "scalar.h"

#define PEM_MAX         65536
#define SECRETS_MAX     65536
#define CERTIFICATE     "-----BEGIN CERTIFICATE-----"
#define CLIENT_CERTS    16384 /* bytes of the certificates that a client shows, at most */

#define TOKENS_EXPECTED "expected lines NAME TOKEN, such as: web-fleet $(openssl rand -hex 32)"

/* ---- the value ---- */

struct config_api *config_api_ref(struct config_api *api)
{
	if (api)
		api->refs++;
	return api;
}

void config_api_unref(struct config_api *api)
{
	if (!api || --api->refs)
		return;
	for (unsigned i = 0; i < api->tokens_count; i++) {
		explicit_bzero(api->tokens[i].secret, strlen(api->tokens[i].secret));
		free(api->tokens[i].secret);
	}
	free(api->tokens);
	config_free_clients(api);
	free(api->listen);
	SSL_CTX_free(api->tls);
	free(api);
}

bool config_api_has_token(const struct config_api *api, const char *name)
{
	for (unsigned i = 0; i < api->tokens_count; i++)
		if (!strcmp(api->tokens[i].name, name))
			return true;
	return false;
}

/* ---- TLS ---- */

/* 1.3 alone: it has no renegotiation. No session is resumed, so that a client who is no longer
 * trusted after a reload has no ticket that says otherwise. */
static SSL_CTX *new_tls(void)
{
	static const unsigned char context[] = {'l', 'b', 'd'};
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (!tls)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) ||
	    !SSL_CTX_set_num_tickets(tls, 0) ||
	    !SSL_CTX_set_session_id_context(tls, context, sizeof(context))) {
		SSL_CTX_free(tls);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF); /* a request has a length */
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	/* One record in each turn of the loop: a client may send any number without content. */
	SSL_CTX_clear_mode(tls, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_max_cert_list(tls, CLIENT_CERTS);
	return tls;
}

static int no_password(char *text, int size, int writes, void *unused)
{
	return -1;
}

/* A certificate or key that OpenSSL cannot read. */
static void complain_of_pem(const struct config_place *at, const char *key, const char *path)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	config_complain(at, key, path, "%s: expected a file in PEM that openssl reads%s",
			why ? why : "not valid", strcmp(key, "key") ? "" : ", without a password");
	ERR_clear_error();
}

/* Calls use with each certificate of the text, the first with 0. False: one cannot be read. */
static bool each_certificate(const char *text, bool (*use)(SSL_CTX *tls, X509 *each, unsigned i),
			     SSL_CTX *tls)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	bool right = bio;
	unsigned count = 0;

	while (right) {
		X509 *each = PEM_read_bio_X509(bio, NULL, no_password, NULL);

		if (!each)
			break;
		right = use(tls, each, count++);
		X509_free(each);
	}
	/* the text is over, and that is no error */
	if (right && count && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		ERR_clear_error();
	BIO_free(bio);
	return right && count && !ERR_peek_error();
}

static bool use_certificate(SSL_CTX *tls, X509 *each, unsigned i)
{
	return i ? SSL_CTX_add1_chain_cert(tls, each) : SSL_CTX_use_certificate(tls, each);
}

static bool use_authority(SSL_CTX *tls, X509 *each, unsigned i)
{
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), each) &&
	       SSL_CTX_add_client_CA(tls, each);
}

static EVP_PKEY *read_private_key(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	return key;
}

/* ---- files ---- */

/* Whoever can write to it decides who is let in. */
static bool only_owner_writes(const struct config_place *at, const char *key, const char *path)
{
	struct stat st;

	if (stat(path, &st)) /* why not is said when it is read */
		return true;
	if (st.st_uid && st.st_uid != geteuid())
		config_complain(at, key, path,
				"owned by user %u: expected root or the user that lbd runs as",
				(unsigned)st.st_uid);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		config_complain(at, key, path,
				"mode %03o: expected that only its owner may write: chmod go-w %s",
				st.st_mode & 0777, path);
	else
		return true;
	return false;
}

static void read_certificates(const struct config_place *at, const char *key, const char *path,
			      bool (*use)(SSL_CTX *tls, X509 *each, unsigned i), SSL_CTX *tls)
{
	char *text = NULL;

	if (only_owner_writes(at, key, path))
		config_read_pem(at, key, path, CERTIFICATE, PEM_MAX, &text);
	if (text && !each_certificate(text, use, tls))
		complain_of_pem(at, key, path);
	free(text);
}

/* The text of a file of at most max bytes that only its owner may write and others may not read, on
 * the heap; NULL: a complaint. To be cleared. */
static char *read_secret(const struct config_place *at, const char *key, const char *path,
			 size_t max)
{
	/* links are followed, as those who renew certificates use them: the file counts */
	_cleanup_free_ char *file = realpath(path, NULL);
	char *text = malloc(max + 1);
	struct error err;
	ssize_t length;

	if (!text) {
		config_source_oom(at->source);
		return NULL;
	}
	if (*path != '/') {
		config_complain(at, key, path, "expected an absolute path");
		free(text);
		return NULL;
	}
	length = secret_read(key, file ? file : path, text, max + 1, &err);
	if (length >= 0 && (size_t)length <= max) {
		text[length] = 0;
		return text;
	}
	if (length < 0)
		config_complain(at, key, NULL, "%s", err.text + strlen(key) + strlen(": "));
	else
		config_complain(at, key, path, "expected at most %zu bytes", max);
	explicit_bzero(text, max + 1);
	free(text);
	return NULL;
}

static void drop_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void read_key(const struct config_place *at, const char *path, SSL_CTX *tls)
{
	/* NULL: there is a complaint already. SSL_CTX_use_PrivateKey itself takes a key of another
	 * kind, for a certificate that might follow. */
	const X509 *certificate = SSL_CTX_get0_certificate(tls);
	char *text = read_secret(at, "key", path, PEM_MAX);
	EVP_PKEY *key;

	if (!text)
		return;
	key = read_private_key(text);
	if (!key)
		complain_of_pem(at, "key", path);
	else if (certificate &&
		 (!X509_check_private_key(certificate, key) || !SSL_CTX_use_PrivateKey(tls, key)))
		config_complain(at, "key", path,
				"is not the key of the certificate: expected the one that belongs "
				"to it");
	ERR_clear_error();
	EVP_PKEY_free(key);
	drop_secret(text);
}

/* ---- tokens ---- */

static bool is_secret(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return length >= CONFIG_TOKEN_MIN && length <= CONFIG_TOKEN_MAX;
}

static bool token_is_there(const struct config_api *api, const char *name, const char *secret)
{
	for (unsigned i = 0; i < api->tokens_count; i++)
		if (!strcmp(api->tokens[i].name, name) || !strcmp(api->tokens[i].secret, secret))
			return true;
	return false;
}

/* Of the lines of a file, number `line`. What it holds is quoted nowhere. False: a complaint. */
static bool read_token(const struct config_place *at, const char *path, unsigned line, char *text,
		       struct config_api *api)
{
	char *secret = text + strcspn(text, " \t"), *copy;

	if (*secret) {
		*secret++ = 0;
		secret += strspn(secret, " \t");
	}
	if (!config_tag_name_fits(text))
		config_complain(at, "token-file", path,
				"line %u: name: " CONFIG_TAG_NAME_EXPECTED "; " TOKENS_EXPECTED,
				line);
	else if (!is_secret(secret))
		config_complain(
		    at, "token-file", path,
		    "line %u: token: expected %d to %d visible ASCII characters; " TOKENS_EXPECTED,
		    line, CONFIG_TOKEN_MIN, CONFIG_TOKEN_MAX);
	else if (token_is_there(api, text, secret))
		config_complain(at, "token-file", path,
				"line %u: the name or the token is that of an earlier line", line);
	else if (api->tokens_count == CONFIG_TOKENS_MAX)
		config_complain(at, "token-file", path, "line %u: expected at most %d tokens", line,
				CONFIG_TOKENS_MAX);
	else if (!(copy = strdup(secret)))
		config_source_oom(at->source);
	else {
		struct config_token *token = &api->tokens[api->tokens_count++];

		snprintf(token->name, sizeof(token->name), "%s", text);
		token->secret = copy;
		return true;
	}
	return false;
}

/* Empty lines and those that begin with # are none. */
static void read_tokens(const struct config_place *at, const char *path, struct config_api *api)
{
	char *text = read_secret(at, "token-file", path, SECRETS_MAX), *next = text, *line;
	size_t length = text ? strlen(text) : 0;
	unsigned number = 0;
	bool right = true;

	api->tokens = calloc(CONFIG_TOKENS_MAX, sizeof(*api->tokens));
	if (!api->tokens)
		config_source_oom(at->source);
	while (api->tokens && right && (line = strsep(&next, "\n"))) {
		number++;
		line[strcspn(line, "\r")] = 0;
		if (*line && *line != '#')
			right = read_token(at, path, number, line, api);
	}
	if (text && right && !api->tokens_count)
		config_complain(at, "token-file", path, "no token: " TOKENS_EXPECTED);
	if (text)
		explicit_bzero(text, length);
	free(text);
}

/* ---- all of it ---- */

static void read_listen(const struct config_place *at, const char *text, struct config_api *api)
{
	if (!text)
		config_complain_missing(at, "listen",
					"expected an address and port, such as 10.0.0.2:9470");
	else if (!config_parse_endpoint(text, &api->address, &api->port))
		config_complain(at, "listen", text,
				"expected an address and port, such as 10.0.0.2:9470 or "
				"[2001:db8::2]:9470");
	else
		config_copy_text(at, text, &api->listen);
}

static void read_files(const struct config_place *at, const struct raw_api *raw,
		       struct config_api *api)
{
	if (!raw->certificate)
		config_complain_missing(at, "certificate",
					"expected the path of the listener's certificate, in PEM");
	else
		read_certificates(at, "certificate", raw->certificate, use_certificate, api->tls);
	if (!raw->key)
		config_complain_missing(at, "key", "expected the path of the certificate's key");
	else
		read_key(at, raw->key, api->tls);
	if (!raw->client_ca && !raw->token_file)
		config_complain_missing(at, "client-ca",
					"expected client-ca or token-file: without them anybody "
					"could change backends");
	if (raw->client_ca) {
		read_certificates(at, "client-ca", raw->client_ca, use_authority, api->tls);
		SSL_CTX_set_verify(api->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
		api->verifies = true;
	}
	if (raw->token_file)
		read_tokens(at, raw->token_file, api);
}

void config_read_api(const struct config_place *root, const struct raw_api *raw,
		     struct config_api **ret)
{
	struct config_api *api = calloc(1, sizeof(*api));
	struct config_place at;

	if (!api || !(api->tls = new_tls())) {
		free(api);
		config_source_oom(root->source);
		return;
	}
	api->refs = 1;
	api->offers = raw->offers ? *raw->offers : CONFIG_OFFER_REGISTER;
	config_place_field(root, "api", &at);
	read_listen(&at, raw->listen, api);
	read_files(&at, raw, api);
	if (raw->clients)
		config_read_clients(&at, raw, api);
	ERR_clear_error();
	*ret = api;
}
