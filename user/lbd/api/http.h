/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Parses the head of an HTTP/1.x request (RFC 9112). Pure: bytes in, fields out. Each connection
 * carries one request, so whatever follows it is ignored. */
#ifndef LBD_HTTP_H
#define LBD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX 16384 /* bytes of request line and header fields */

struct http_request {
	char method[16];         /* "GET" */
	char *target;            /* "/v1/backends?service=web" */
	bool has_host;           /* a Host field, or HTTP/1.0, which needs none */
	char *host;              /* NULL: HTTP/1.0 without Host */
	char *authorization;     /* NULL: none */
	uint64_t content_length; /* 0: no body */
	bool has_origin;         /* a page in a browser asks */
	bool expects_continue;   /* the client waits for "100 Continue" before it sends the body */
	size_t head_length;      /* bytes up to and with the empty line */
};

/* The length of the head at the begin of bytes, with the empty line that ends it; 0: not whole.
 * Nothing before `from` ends the head: a caller that asks again passes the length it had. */
size_t http_head_length(const char *bytes, size_t length, size_t from);
/* Parses a whole head of head_length bytes. It is changed: texts of *ret point into it. 0, or the
 * HTTP status of the answer that refuses it, with the sentence in *ret_why. */
int http_parse(char *head, size_t head_length, struct http_request *ret, const char **ret_why);
/* "Not Found" for 404. */
const char *http_status_text(int status);
/* The host of a Host field without port and brackets, in ret. False: it is malformed. */
bool http_host_name(const char *host, char *ret, size_t size);
/* Does an Authorization field carry this bearer token (RFC 6750)? The time it takes depends on the
 * field alone, not on how much of it is right. authorization may be NULL. */
bool http_bearer_is(const char *authorization, const char *token);

#endif
