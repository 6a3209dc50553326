/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* In the place of core/client.c: lbd-backend has no verb that asks lbd, and needs no libcurl. */
#include "lbctl/core/client.h"

#include <errno.h>
#include <stddef.h>

int client_open(const char *socket, struct client **ret, struct error *err)
{
	return error_set(err, -EOPNOTSUPP, "lbd-backend does not connect to lbd: use lbctl");
}

void client_close(struct client *client)
{
}

int client_get(struct client *client, const char *path, json_t **ret, struct error *err)
{
	return -EOPNOTSUPP;
}

int client_post(struct client *client, const char *path, const json_t *body, json_t **ret,
		struct error *err)
{
	return -EOPNOTSUPP;
}

int client_put(struct client *client, const char *path, const json_t *body, json_t **ret,
	       struct error *err)
{
	return -EOPNOTSUPP;
}

char *client_escape(struct client *client, const char *text)
{
	return NULL;
}
