/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HTTP with JSON bodies over lbd's Unix socket (include/lb_api.h), through libcurl. */
#ifndef LBCTL_CLIENT_H
#define LBCTL_CLIENT_H

#include <jansson.h>

#include "common/error.h"

struct client;

/* Does not connect yet. 0, -ENOMEM, or -EINVAL if the path is empty or too long for a Unix socket.
 */
int client_open(const char *socket, struct client **ret, struct error *err);
void client_close(struct client *client); /* NULL is fine */
/* path as in lb_api.h: "/v1/status". *ret is an object, owned by the caller. The error text names
 * the next step. -ENOENT and -ECONNREFUSED: lbd is not running. -EACCES, -ENOTSOCK, -ETIMEDOUT,
 * -ECONNRESET. -EPROTO: the answer is not from lbd. -EREMOTEIO: lbd refused the request. */
int client_get(struct client *client, const char *path, json_t **ret, struct error *err);
int client_post(struct client *client, const char *path, const json_t *body, json_t **ret,
		struct error *err);
/* text escaped for use in a query string; allocated, NULL if out of memory. */
char *client_escape(struct client *client, const char *text);

#endif
