/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What requests to etcd's JSON gateway have in common, and its answers, whatever the keys are:
 * keys.h, documents.h. Its keys and values are in base64, its numbers are texts. Pure. */
#ifndef LBD_SOURCES_GATEWAY_H
#define LBD_SOURCES_GATEWAY_H

#include <jansson.h>
#include <stdint.h>

/* The body of a request for the keys from first on, without end, both in base64; most: so many of
 * them, 0: all. With revision that of a watch of changes from that one on. Allocated; NULL: out of
 * memory, as first and end may be. */
char *gateway_request(const char *first, const char *end, unsigned most, const char *revision);

/* 0: it is not there. */
uint64_t gateway_number(const json_t *object, const char *name);
/* The revision after that of the answer. 0 or -EBADMSG. */
int gateway_next_revision(const json_t *root, char ret[24]);

#endif
