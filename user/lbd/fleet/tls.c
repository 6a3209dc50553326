/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* OpenSSL, as far as peers need it. */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

/* The one cipher suite. Its hash belongs to the key (RFC 8446, 4.2.11). */
#define SUITE "TLS_AES_128_GCM_SHA256"
static const unsigned char suite_number[2] = {0x13, 0x01};

/* OpenSSL asks for one where the other end would have to be verified. */
static const unsigned char context[] = {'l', 'b', 'd'};

#define EXPORT_LABEL "EXPORTER-lbd-seed" /* RFC 5705 */

/* ---- keys ---- */

/* OpenSSL takes a key as a session that is resumed. */
static SSL_SESSION *session_of(SSL *ssl, const struct fleet_key *key)
{
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite_number);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher &&
	    SSL_SESSION_set1_master_key(session, key->secret, sizeof(key->secret)) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set1_id_context(session, context, sizeof(context)) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

/* The end that connects: with the first key. */
static int use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_length,
		   SSL_SESSION **session)
{
	struct tls_end *end = SSL_get_app_data(ssl);
	const struct fleet_key *key = &end->keys->list[0];

	*session = NULL;
	if (!end->keys->count || (md && !EVP_MD_is_a(md, "SHA256")))
		return 0;
	*session = session_of(ssl, key);
	if (!*session)
		return 0;
	memcpy(end->key, key->id, sizeof(end->key));
	*id = (const unsigned char *)end->key;
	*id_length = FLEET_KEY_ID - 1;
	return 1;
}

static void note_stranger(struct tls_end *end, const unsigned char *id, size_t length)
{
	end->stranger = true;
	for (size_t i = 0; i < length; i++)
		if (length != FLEET_KEY_ID - 1 || !strchr("0123456789abcdef", id[i]) || !id[i])
			return;
	memcpy(end->theirs, id, length);
}

/* The end that accepts. With no session the handshake goes on to certificates, and fails there. */
static int find_key(SSL *ssl, const unsigned char *id, size_t id_length, SSL_SESSION **session)
{
	struct tls_end *end = SSL_get_app_data(ssl);
	const struct fleet_key *key = fleet_keys_find(end->keys, (const char *)id, id_length);

	*session = NULL;
	if (!key) {
		note_stranger(end, id, id_length);
		return 1;
	}
	*session = session_of(ssl, key);
	if (!*session)
		return 0;
	memcpy(end->key, key->id, sizeof(end->key));
	return 1;
}

/* ---- connections ---- */

SSL_CTX *tls_new(void)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_method());

	if (!tls)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(tls, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(tls, SUITE) || !SSL_CTX_set_num_tickets(tls, 0) ||
	    !SSL_CTX_set_session_id_context(tls, context, sizeof(context))) {
		SSL_CTX_free(tls);
		return NULL;
	}
	/* frames have lengths: where a connection was cut off can be seen without TLS */
	SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	/* one record in each turn of the loop: a peer may send any number without content */
	SSL_CTX_clear_mode(tls, SSL_MODE_AUTO_RETRY);
	/* the end that accepts has no certificate, and one that shows some is no peer */
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_psk_use_session_callback(tls, use_key);
	SSL_CTX_set_psk_find_session_callback(tls, find_key);
	return tls;
}

SSL *tls_connection(SSL_CTX *tls, struct tls_end *end)
{
	SSL *ssl = SSL_new(tls);

	if (ssl)
		SSL_set_app_data(ssl, end);
	return ssl;
}

int tls_digest(SSL *ssl, uint64_t secret, uint64_t *ret)
{
	uint8_t exported[32], number[8], hash[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	for (unsigned i = 0; i < sizeof(number); i++)
		number[i] = (uint8_t)(secret >> 8 * i);
	if (SSL_export_keying_material(ssl, exported, sizeof(exported), EXPORT_LABEL,
				       strlen(EXPORT_LABEL), NULL, 0, 0) != 1 ||
	    !HMAC(EVP_sha256(), exported, sizeof(exported), number, sizeof(number), hash, &length))
		return -EIO;
	*ret = 0;
	for (unsigned i = 0; i < sizeof(*ret); i++)
		*ret |= (uint64_t)hash[i] << 8 * i;
	return 0;
}

const char *tls_error(unsigned long code)
{
	const char *reason = code ? ERR_reason_error_string(code) : "the connection ended";

	return reason ? reason : "unknown error";
}
