/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One request over a Unix socket, and its answer: HTTP/1.1, a connection for each. Nothing here
 * waits. lbctl needs no more of HTTP than this, and a library for all of it takes longer to load
 * than lbd takes to answer. */
#ifndef LBCTL_EXCHANGE_H
#define LBCTL_EXCHANGE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXCHANGE_CONNECT_MS 2000
/* An attach loads a program and may wait for the driver's queues. */
#define EXCHANGE_ANSWER_MS 30000
/* /v1/top with LB_MAX_BACKENDS backends is a quarter of this. */
#define EXCHANGE_ANSWER_MAX (64 * 1024 * 1024)

struct exchange {
	int fd;             /* -1: it has not begun */
	const char *socket; /* its path, owned by the caller */
	bool connected;     /* what fails before is the connection */
	uint64_t begin_ms;  /* CLOCK_MONOTONIC */
	char *request;
	size_t request_length, sent;
	char *answer;        /* its head, then its body; 0 behind them */
	size_t length, size; /* of answer: what is there, what there is room for */
	size_t head;         /* bytes of the head; 0: it is not whole yet */
	size_t whole;        /* bytes of head and body; SIZE_MAX: until the connection ends */
	int status;          /* of the answer: 200 */
};

/* Asks for nothing yet. body: NULL: none. 0 or -errno. */
int exchange_begin(struct exchange *exchange, const char *socket, const char *method,
		   const char *path, const char *body);
/* Goes on as far as it can. -EAGAIN: not at its end yet. 0: the answer is whole. Else it has
 * failed: -ETIMEDOUT, -ECONNRESET: the answer did not come to its end, -EPROTO: it is not HTTP,
 * -EMSGSIZE: it is longer than EXCHANGE_ANSWER_MAX, -ENOMEM, or why there is no connection. */
int exchange_go_on(struct exchange *exchange);
/* What to wait for before it is called again, and for how many ms at most. */
struct pollfd exchange_poll(const struct exchange *exchange);
int exchange_wait_ms(const struct exchange *exchange);
/* Of an answer that is whole. */
const char *exchange_body(const struct exchange *exchange, size_t *ret_length);
/* Also of one that is under way; one that has not begun is fine. */
void exchange_done(struct exchange *exchange);

#endif
