/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HTTP with JSON bodies over lbd's Unix socket (include/lb_api.h), through libcurl. */
#ifndef LBCTL_CLIENT_H
#define LBCTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct client;

/* Does not connect yet. -ENOMEM, or -EINVAL when the path is too long for a Unix socket. */
int client_open(const char *socket, struct client **ret, struct error *err);
/* NULL is fine */ /* path as in lb_api.h: "/v1/status". *ret is an object, owned by the caller.
		      Errors say what to do next: -ENOENT and -ECONNREFUSED (lbd is not running),
		      -EACCES, -ETIMEDOUT, -EPROTO (not lbd's answer), -EREMOTEIO (lbd said no). */
void client_close(struct client *client);
int client_get(struct client *client, const char *path, json_t **ret, struct error *err);
int client_post(struct client *client, const char *path, const json_t *body, json_t **ret,
		struct error *err);
/* text as it may stand in a query; allocated, NULL when out of memory. */
char *client_escape(struct client *client, const char *text);

/* What an object holds under a name; "", 0, false or 0.0 when it does not, so that an older lbd's
 * answer still
 * shows. */
static inline const char *json_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static inline uint64_t json_number(const json_t *object, const char *name)
{
	double value = json_number_value(json_object_get(object, name));
	json_int_t whole = json_integer_value(json_object_get(object, name));

	if (whole > 0)
		return (uint64_t)whole;
	return value > 0 ? (uint64_t)value : 0;
}

static inline bool json_flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

#endif
