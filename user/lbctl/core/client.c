/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests to lbd, with JSON bodies (include/lb_api.h), and what to do about those that fail. */
#include "client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lb_api.h"
#include "common/cleanup.h"
#include "exchange.h"
#include "json.h"

#define START_HINT "Start it: systemctl start lbd, or lbd -c /etc/lbd/lbd.yaml"
#define LOG_HINT   "See its log: journalctl -u lbd"

struct client {
	struct exchange exchange; /* the request under way */
	bool began;
	int rc; /* of the exchange so far: -EAGAIN: it is not at its end */
	char socket[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static void request_done(struct client *client)
{
	if (client->began)
		exchange_done(&client->exchange);
	client->began = false;
}

int client_open(const char *socket, struct client **ret, struct error *err)
{
	struct client *client;

	if (!*socket || strlen(socket) >= sizeof(client->socket))
		return error_set(err, -EINVAL, "socket \"%s\": expected a path of 1 to %zu bytes",
				 socket, sizeof(client->socket) - 1);
	client = calloc(1, sizeof(*client));
	if (!client)
		return error_set(err, -ENOMEM, "out of memory");
	strcpy(client->socket, socket);
	*ret = client;
	return 0;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	request_done(client);
	free(client);
}

char *client_escape(const char *text)
{
	char *escaped = malloc(3 * strlen(text) + 1), *at = escaped;

	if (!escaped)
		return NULL;
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 128 && (isalnum(byte) || strchr("-._~", byte)))
			*at++ = *text;
		else
			at += sprintf(at, "%%%02X", byte);
	}
	*at = 0;
	return escaped;
}

/* Why the connection failed: the hint depends on the state of the socket file. */
static int not_connected(const struct client *client, int code, struct error *err)
{
	const char *path = client->socket;
	struct stat st;

	if (stat(path, &st) && errno != ENOENT)
		code = errno;
	else if (access(path, F_OK))
		code = ENOENT;
	else if (!S_ISSOCK(st.st_mode))
		return error_set(err, -ENOTSOCK,
				 "%s: not a socket: expected lbd's socket, such as " LB_API_SOCKET,
				 path);
	switch (code) {
	case ENOENT:
		return error_set(err, -ENOENT, "lbd is not running (no socket %s).\n" START_HINT,
				 path);
	case ECONNREFUSED:
		return error_set(err, -ECONNREFUSED,
				 "lbd is not running (no process listens on %s).\n" START_HINT,
				 path);
	case EACCES:
	case EPERM:
		return error_set(
		    err, -EACCES,
		    "%s: permission denied: only root and group lbd may connect.\n"
		    "Use sudo, or join the group: usermod -aG lbd USER, then log in again",
		    path);
	}
	return error_set(err, -EIO, "%s: cannot connect: %s", path, strerror(code));
}

static int exchange_failed(const struct client *client, int rc, struct error *err)
{
	bool connected = client->exchange.connected;

	switch (rc) {
	case -ENOMEM:
		return error_set(err, rc, "out of memory");
	case -ETIMEDOUT:
		return error_set(err, rc, "lbd did not answer on %s within %ds.\n" LOG_HINT,
				 client->socket,
				 (connected ? EXCHANGE_ANSWER_MS : EXCHANGE_CONNECT_MS) / 1000);
	case -EPROTO:
	case -EMSGSIZE:
		return error_set(
		    err, -EPROTO, "%s: expected an answer from lbd, got %s", client->socket,
		    rc == -EPROTO ? "something else than HTTP" : "one of more than 64 MiB");
	}
	if (!connected)
		return not_connected(client, -rc, err);
	return error_set(err, -ECONNRESET,
			 "lbd closed the connection on %s without an answer.\n" LOG_HINT,
			 client->socket);
}

/* The error and the hint of lbd's answer. */
static int refused(const json_t *answer, int status, struct error *err)
{
	const char *sentence = json_text(answer, "error"), *hint = json_text(answer, "hint");

	if (!*sentence)
		return error_set(err, -EREMOTEIO,
				 "lbd answered with HTTP status %d and without a reason", status);
	return error_set(err, -EREMOTEIO, "%s%s%s", sentence, *hint ? "\n" : "", hint);
}

static int read_answer(const struct client *client, json_t **ret, struct error *err)
{
	size_t length;
	const char *body = exchange_body(&client->exchange, &length);
	json_t *answer = json_loadb(body, length, JSON_REJECT_DUPLICATES, NULL);
	int status = client->exchange.status, rc;

	if (status >= 200 && status < 300 && json_is_object(answer)) {
		*ret = answer;
		return 0;
	}
	if (json_is_object(answer))
		rc = refused(answer, status, err);
	else
		rc = error_set(
		    err, -EPROTO,
		    "%s: expected a JSON object from lbd, got HTTP status %d and %zu bytes of "
		    "other content.\nIs this lbd's socket? To choose another: --socket PATH or "
		    "$" LB_API_SOCKET_ENV,
		    client->socket, status, length);
	json_decref(answer);
	return rc;
}

/* ---- a request ---- */

/* body: NULL: none. */
static int begin(struct client *client, const char *method, const char *path, const char *body,
		 struct error *err)
{
	int rc = exchange_begin(&client->exchange, client->socket, method, path, body);

	if (rc)
		return error_set(err, rc, "%s: cannot ask lbd: %s", client->socket, strerror(-rc));
	client->began = true;
	client->rc = -EAGAIN;
	return 0;
}

static int finish(struct client *client, json_t **ret, struct error *err)
{
	int rc =
	    client->rc ? exchange_failed(client, client->rc, err) : read_answer(client, ret, err);

	request_done(client);
	return rc;
}

/* True: the request has ended. */
static bool go_on(struct client *client)
{
	if (client->began && client->rc == -EAGAIN)
		client->rc = exchange_go_on(&client->exchange);
	return client->began && client->rc != -EAGAIN;
}

static int shorter(int ms, int other)
{
	return ms < other ? ms : other;
}

bool client_wait(struct client *client, int fd, int ms, bool *ret_input)
{
	struct pollfd wait[2] = {{.fd = fd, .events = POLLIN}, {.fd = -1}};

	*ret_input = false;
	if (go_on(client))
		return true;
	if (client->began) {
		wait[1] = exchange_poll(&client->exchange);
		ms = shorter(ms, exchange_wait_ms(&client->exchange));
	}
	if (poll(wait, 2, ms) > 0)
		*ret_input = wait[0].revents;
	return go_on(client);
}

int client_begin(struct client *client, const char *path, struct error *err)
{
	return begin(client, "GET", path, NULL, err);
}

int client_end(struct client *client, json_t **ret, struct error *err)
{
	return finish(client, ret, err);
}

static int request(struct client *client, const char *method, const char *path, const char *body,
		   json_t **ret, struct error *err)
{
	int rc = begin(client, method, path, body, err);
	bool input;

	if (rc)
		return rc;
	while (!client_wait(client, -1, EXCHANGE_ANSWER_MS, &input))
		;
	return finish(client, ret, err);
}

int client_get(struct client *client, const char *path, json_t **ret, struct error *err)
{
	return request(client, "GET", path, NULL, ret, err);
}

static int send_body(struct client *client, const char *method, const char *path,
		     const json_t *body, json_t **ret, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(body, JSON_COMPACT);

	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	return request(client, method, path, text, ret, err);
}

int client_post(struct client *client, const char *path, const json_t *body, json_t **ret,
		struct error *err)
{
	return send_body(client, "POST", path, body, ret, err);
}

int client_put(struct client *client, const char *path, const json_t *body, json_t **ret,
	       struct error *err)
{
	return send_body(client, "PUT", path, body, ret, err);
}
