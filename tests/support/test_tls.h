/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Certificates and keys in tests. */
#ifndef LBD_TEST_TLS_H
#define LBD_TEST_TLS_H

/* Makes, in a directory that is there, ca.pem (an authority) and certificates of it: server.pem,
 * client.pem ("CN=web-1,O=shop"); of another authority stranger.pem; each with its key in NAME.key,
 * mode 600. Fails the test if it cannot. */
void test_tls_make(const char *directory);

#endif
