/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One request over a Unix socket, and its answer (RFC 9112, as far as lbd needs it). */
#include "exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"

#define READ_SIZE    65536
#define HEAD_MAX     65536
#define RECONNECT_MS 10 /* until a full backlog is tried again */

int exchange_begin(struct exchange *exchange, const char *socket_path, const char *method,
		   const char *path, const char *body)
{
	char length[48] = "";
	int count;

	*exchange = (struct exchange){
	    .fd = -1, .socket = socket_path, .begin_ms = clock_monotonic_ms(), .whole = SIZE_MAX};
	if (body)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
	count = asprintf(&exchange->request,
			 "%s %s HTTP/1.1\r\nHost: lbd\r\nContent-Type: application/json\r\n"
			 "%sConnection: close\r\n\r\n%s",
			 method, path, length, body ? body : "");
	if (count < 0) {
		exchange->request = NULL;
		return -ENOMEM;
	}
	exchange->request_length = (size_t)count;
	exchange->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (exchange->fd >= 0)
		return 0;
	count = -errno;
	exchange_done(exchange);
	return count;
}

void exchange_done(struct exchange *exchange)
{
	if (exchange->request && exchange->fd >= 0)
		close(exchange->fd);
	free(exchange->request);
	free(exchange->answer);
	*exchange = (struct exchange){.fd = -1};
}

/* -EAGAIN: the backlog is full, which poll does not wait for. */
static int connect_to(struct exchange *exchange)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", exchange->socket);
	if (connect(exchange->fd, (const struct sockaddr *)&address, sizeof(address)))
		return -errno;
	exchange->connected = true;
	return 0;
}

/* lbd may refuse a request before it is whole, and close the connection: the answer is there. */
static int send_rest(struct exchange *exchange)
{
	while (exchange->sent < exchange->request_length) {
		ssize_t sent = send(exchange->fd, exchange->request + exchange->sent,
				    exchange->request_length - exchange->sent, MSG_NOSIGNAL);

		if (sent >= 0)
			exchange->sent += (size_t)sent;
		else if (errno == EPIPE || errno == ECONNRESET)
			exchange->sent = exchange->request_length;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* ---- the answer ---- */

/* "Content-Length: 42" in a line of the head; false: it is another field, or no length. */
static bool parse_length(const char *line, size_t *ret)
{
	static const char name[] = "Content-Length:";
	unsigned long long value;
	char *end;

	if (strncasecmp(line, name, strlen(name)) != 0)
		return false;
	line += strlen(name);
	line += strspn(line, " \t");
	value = strtoull(line, &end, 10);
	if (*line < '0' || *line > '9' || end[strspn(end, " \t")] != '\r')
		return false;
	*ret = value > EXCHANGE_ANSWER_MAX ? EXCHANGE_ANSWER_MAX + 1 : (size_t)value;
	return true;
}

/* Once the head is whole. */
static int parse_head(struct exchange *exchange)
{
	const char *end = strstr(exchange->answer, "\r\n\r\n"), *line = exchange->answer;
	size_t length;

	if (!end)
		return exchange->length < HEAD_MAX ? 0 : -EPROTO;
	if (sscanf(exchange->answer, "HTTP/1.%*1d %3d", &exchange->status) != 1)
		return -EPROTO;
	exchange->head = (size_t)(end - exchange->answer) + 4;
	while ((line = strstr(line, "\r\n")) && line < end) {
		line += 2;
		if (parse_length(line, &length))
			exchange->whole = exchange->head + length;
	}
	if (exchange->whole != SIZE_MAX && exchange->whole - exchange->head > EXCHANGE_ANSWER_MAX)
		return -EMSGSIZE;
	return 0;
}

/* Room for what is known to come, else for twice as much as there is; and for a 0. */
static int make_room(struct exchange *exchange)
{
	size_t wanted = exchange->length + READ_SIZE;
	char *grown;

	if (exchange->size > exchange->length + 1)
		return 0;
	if (exchange->whole != SIZE_MAX)
		wanted = exchange->whole;
	else if (exchange->length > READ_SIZE)
		wanted = 2 * exchange->length;
	grown = realloc(exchange->answer, wanted + 1);
	if (!grown)
		return -ENOMEM;
	exchange->answer = grown;
	exchange->size = wanted + 1;
	return 0;
}

/* Without a length, this is the end of the answer. */
static int end_of_connection(struct exchange *exchange)
{
	if (!exchange->head || exchange->whole != SIZE_MAX)
		return -ECONNRESET;
	exchange->whole = exchange->length;
	return 0;
}

static int read_more(struct exchange *exchange)
{
	int rc = make_room(exchange);
	ssize_t got;

	if (rc)
		return rc;
	got = recv(exchange->fd, exchange->answer + exchange->length,
		   exchange->size - exchange->length - 1, 0);
	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (!got)
		return end_of_connection(exchange);
	exchange->length += (size_t)got;
	exchange->answer[exchange->length] = 0;
	if (exchange->length > EXCHANGE_ANSWER_MAX + HEAD_MAX)
		return -EMSGSIZE;
	return exchange->head ? 0 : parse_head(exchange);
}

/* ---- the whole ---- */

int exchange_wait_ms(const struct exchange *exchange)
{
	uint64_t took = clock_monotonic_ms() - exchange->begin_ms;
	unsigned limit = exchange->connected ? EXCHANGE_ANSWER_MS : EXCHANGE_CONNECT_MS;

	if (took >= limit)
		return 0;
	return exchange->connected ? (int)(limit - took) : RECONNECT_MS;
}

struct pollfd exchange_poll(const struct exchange *exchange)
{
	bool sending = exchange->sent < exchange->request_length;

	return (struct pollfd){.fd = exchange->connected ? exchange->fd : -1,
			       .events = sending ? POLLIN | POLLOUT : POLLIN};
}

int exchange_go_on(struct exchange *exchange)
{
	int rc = exchange->connected ? 0 : connect_to(exchange);

	if (!rc)
		rc = send_rest(exchange);
	if (rc == -EAGAIN && exchange->connected)
		rc = 0; /* it may be answered before it is whole */
	while (!rc && (!exchange->head || exchange->length < exchange->whole))
		rc = read_more(exchange);
	if (rc == -EAGAIN && !exchange_wait_ms(exchange))
		return -ETIMEDOUT;
	return rc;
}

const char *exchange_body(const struct exchange *exchange, size_t *ret_length)
{
	*ret_length = exchange->whole - exchange->head;
	return exchange->answer + exchange->head;
}
