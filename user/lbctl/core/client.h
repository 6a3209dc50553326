/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HTTP with JSON bodies over lbd's Unix socket (include/lb_api.h), through libcurl. */
#ifndef LBCTL_CLIENT_H
#define LBCTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

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
int client_put(struct client *client, const char *path, const json_t *body, json_t **ret,
	       struct error *err);

/* client_get in three steps, for a caller with something else to do meanwhile. One at a time, and
 * none of the calls above between the first step and the last. */
int client_begin(struct client *client, const char *path, struct error *err);
/* Waits for the answer, for input on fd (-1: none), for a signal, or for ms, whichever comes first;
 * also without a request. True: the request has ended. *ret_input: fd can be read, or is at its
 * end. */
bool client_wait(struct client *client, int fd, int ms, bool *ret_input);
/* As client_get. Only after client_wait has returned true. */
int client_end(struct client *client, json_t **ret, struct error *err);
/* text escaped for use in a query string; allocated, NULL if out of memory. */
char *client_escape(struct client *client, const char *text);

#endif
