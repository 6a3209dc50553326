/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TLS 1.3 with a key that both ends have (RFC 8446, 2.2), and no certificates. */
#ifndef LBD_FLEET_TLS_H
#define LBD_FLEET_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "keys.h"

/* One end of a connection. */
struct tls_end {
	const struct fleet_keys *keys;
	char key[FLEET_KEY_ID];    /* id of the key that is used; "": not known yet */
	bool stranger;             /* the other end has named a key that is none of ours */
	char theirs[FLEET_KEY_ID]; /* then its id, if it can be one */
};

/* NULL: out of memory. */
SSL_CTX *tls_new(void);
/* end: outlives the connection. NULL: out of memory. */
SSL *tls_connection(SSL_CTX *tls, struct tls_end *end);
/* A digest of a secret number: both ends get the same one if they have the same number, and who
 * does not have the key learns nothing. Once the connection is there. 0 or -EIO. */
int tls_digest(SSL *ssl, uint64_t secret, uint64_t *ret);
/* An error of OpenSSL in words. 0: the connection just ended. */
const char *tls_error(unsigned long code);

#endif
