/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The bytes of one connection, which does not block: as they are, or through TLS. */
#ifndef LBD_STREAM_H
#define LBD_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
	int fd;
	SSL *ssl;   /* NULL: no TLS */
	bool ready; /* the handshake is over, or there is none */
};

#define STREAM_WHY 128

/* tls: NULL: none. 0, or -ENOMEM with *ret untouched and fd still open. */
int stream_open(int fd, SSL_CTX *tls, struct stream *ret);
void stream_close(struct stream *stream);
/* Goes on with the handshake: 0, it is over; -EAGAIN: again once *ret_wait (EV_READ or EV_WRITE) is
 * possible; -EPROTO, with the reason in words. */
int stream_greet(struct stream *stream, short *ret_wait, char why[STREAM_WHY]);
/* Bytes; 0: the other end sends no more; -EAGAIN: not now; else -errno. Of TLS one record at a
 * time: what is left of it is read with the next call, and no event tells of it (stream_has_more).
 */
ssize_t stream_read(struct stream *stream, void *bytes, size_t size);
bool stream_has_more(const struct stream *stream);
/* Sends some of the bytes: how many; -EAGAIN: not now; else -errno. */
ssize_t stream_write(struct stream *stream, const void *bytes, size_t size);
/* Nothing more is sent. */
void stream_finish(struct stream *stream);
/* Has the client shown a certificate, or does it speak no TLS? */
bool stream_is_known(const struct stream *stream);
/* What the certificate that the other end has shown says of it, as RFC 2253 writes it; "": it has
 * shown none. */
void stream_subject(const struct stream *stream, char *ret, size_t size);
/* Its common name (CN), in UTF-8; "": it has none, or several, or one that does not fit. */
void stream_common_name(const struct stream *stream, char *ret, size_t size);

#endif
