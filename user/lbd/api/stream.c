/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads and writes a connection, plain or with TLS. The socket is OpenSSL's own: what a client may
 * keep in memory is what the limits of the face say, and one record. */
#include "stream.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int stream_open(int fd, SSL_CTX *tls, struct stream *ret)
{
	struct stream stream = {.fd = fd, .ready = !tls};

	if (tls) {
		stream.ssl = SSL_new(tls);
		if (!stream.ssl || !SSL_set_fd(stream.ssl, fd)) {
			SSL_free(stream.ssl);
			ERR_clear_error();
			return -ENOMEM;
		}
		SSL_set_accept_state(stream.ssl);
	}
	*ret = stream;
	return 0;
}

void stream_close(struct stream *stream)
{
	SSL_free(stream->ssl);
	close(stream->fd);
	*stream = (struct stream){.fd = -1};
}

/* ---- TLS ---- */

/* After a call that returned rc <= 0. */
static int code_of(const SSL *ssl, int rc, int system_error)
{
	switch (SSL_get_error(ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return system_error ? -system_error : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

/* A client whose certificate does not fit is told so by OpenSSL, but lbd's operator is not. */
static void explain(const SSL *ssl, char why[STREAM_WHY])
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	long verified = SSL_get_verify_result(ssl);

	snprintf(why, STREAM_WHY, "%s%s%s", reason ? reason : "the connection ended",
		 verified == X509_V_OK ? "" : ": ",
		 verified == X509_V_OK ? "" : X509_verify_cert_error_string(verified));
}

int stream_greet(struct stream *stream, short *ret_wait, char why[STREAM_WHY])
{
	int rc;

	if (stream->ready)
		return 0;
	ERR_clear_error();
	rc = SSL_do_handshake(stream->ssl);
	if (rc == 1) {
		stream->ready = true;
		return 0;
	}
	rc = SSL_get_error(stream->ssl, rc);
	if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE) {
		*ret_wait = rc == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE;
		return -EAGAIN;
	}
	explain(stream->ssl, why);
	ERR_clear_error();
	return -EPROTO;
}

static ssize_t read_tls(SSL *ssl, void *bytes, size_t size)
{
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_read(ssl, bytes, size < INT_MAX ? (int)size : INT_MAX);
	if (rc <= 0)
		rc = code_of(ssl, rc, errno);
	ERR_clear_error();
	return rc;
}

/* Without renegotiation it never has to read first. */
static ssize_t write_tls(SSL *ssl, const void *bytes, size_t size)
{
	int rc;

	if (!size)
		return 0;
	ERR_clear_error();
	errno = 0;
	rc = SSL_write(ssl, bytes, size < INT_MAX ? (int)size : INT_MAX);
	if (rc <= 0) {
		rc = code_of(ssl, rc, errno);
		rc = rc ? rc : -EPIPE;
	}
	ERR_clear_error();
	return rc;
}

/* ---- either ---- */

ssize_t stream_read(struct stream *stream, void *bytes, size_t size)
{
	ssize_t got;

	if (stream->ssl)
		return read_tls(stream->ssl, bytes, size);
	got = recv(stream->fd, bytes, size, MSG_DONTWAIT);
	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return got;
}

bool stream_has_more(const struct stream *stream)
{
	return stream->ssl && SSL_pending(stream->ssl) > 0;
}

ssize_t stream_write(struct stream *stream, const void *bytes, size_t size)
{
	ssize_t sent;

	if (stream->ssl)
		return write_tls(stream->ssl, bytes, size);
	sent = send(stream->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return sent;
}

void stream_finish(struct stream *stream)
{
	if (stream->ssl && stream->ready) {
		ERR_clear_error();
		SSL_shutdown(stream->ssl);
		ERR_clear_error();
	}
	shutdown(stream->fd, SHUT_WR);
}

bool stream_is_known(const struct stream *stream)
{
	return !stream->ssl || SSL_get0_peer_certificate(stream->ssl);
}

/* A name with a zero in it is none: what follows would not be seen. */
static void copy_name(const ASN1_STRING *name, char *ret, size_t size)
{
	unsigned char *text = NULL;
	int length = ASN1_STRING_to_UTF8(&text, name);

	if (length > 0 && (size_t)length < size && strlen((char *)text) == (size_t)length)
		memcpy(ret, text, (size_t)length + 1);
	OPENSSL_free(text);
}

void stream_common_name(const struct stream *stream, char *ret, size_t size)
{
	const X509 *shown = stream->ssl ? SSL_get0_peer_certificate(stream->ssl) : NULL;
	const X509_NAME *subject = shown ? X509_get_subject_name(shown) : NULL;
	int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;

	*ret = 0;
	if (at >= 0 && X509_NAME_get_index_by_NID(subject, NID_commonName, at) < 0)
		copy_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), ret, size);
}

void stream_subject(const struct stream *stream, char *ret, size_t size)
{
	const X509 *shown = stream->ssl ? SSL_get0_peer_certificate(stream->ssl) : NULL;
	BIO *bio = shown ? BIO_new(BIO_s_mem()) : NULL;
	int length = 0;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(shown), 0, XN_FLAG_RFC2253) > 0)
		length = BIO_read(bio, ret, (int)size - 1);
	ret[length > 0 ? length : 0] = 0;
	BIO_free(bio);
}
