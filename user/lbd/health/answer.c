/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind tcp-answer, which is `type: tcp` with `send` or `expect`: the backend accepts a
 * connection, takes what is sent, and answers with what is expected. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "bytes.h"
#include "common/clock.h"
#include "failure.h"
#include "health.h"
#include "source.h"

#define ANSWER_MAX 4096 /* bytes: what is expected must be within them */

struct health_probe {
	struct event event;
	struct event_base *base;
	const struct health_spec *config;
	int fd;
	int error; /* of a connect that ended at once */
	bool connected;
	struct bytes send, expect;
	size_t sent;
	uint8_t answer[ANSWER_MAX];
	size_t length;
	uint64_t start_us;
	health_done_fn *done;
	void *arg;
};

static void answer_cancel(struct health_probe *probe)
{
	event_del(&probe->event);
	close(probe->fd);
	free(probe);
}

static const char *answer_waits_for(const struct health_probe *probe)
{
	if (!probe->connected)
		return "connect: timed out";
	if (probe->sent < probe->send.length)
		return "send: timed out";
	return probe->length ? "answer without what is expected: timed out"
			     : "no answer: timed out";
}

/* ---- results: the probe is gone afterwards ---- */

static void finish(struct health_probe *probe, enum health_outcome outcome, const char *why)
{
	health_done_fn *done = probe->done;
	void *arg = probe->arg;
	uint32_t latency_us = clock_since_us(probe->start_us);

	answer_cancel(probe);
	done(arg, outcome, outcome == HEALTH_PASSED ? NULL : why, latency_us);
}

static void fail_connect(struct health_probe *probe, int error)
{
	char why[FAILURE_TEXT];

	failure_connect(why, error);
	finish(probe, failure_is_local(error) ? HEALTH_NOT_RUN : HEALTH_FAILED, why);
}

static void fail_exchange(struct health_probe *probe, int error)
{
	char why[FAILURE_TEXT];

	failure_send(why, error);
	finish(probe, HEALTH_FAILED, why);
}

/* ---- the exchange ---- */

/* Each step returns true if the probe has ended. */

static bool connect_step(struct health_probe *probe)
{
	struct pollfd socket = {.fd = probe->fd, .events = POLLOUT};
	int error = probe->error;

	if (!error && poll(&socket, 1, 0) <= 0)
		return false;
	if (!error)
		error = source_error(probe->fd);
	if (error) {
		fail_connect(probe, error);
		return true;
	}
	probe->connected = true;
	return false;
}

static bool send_step(struct health_probe *probe)
{
	ssize_t sent = send(probe->fd, probe->send.data + probe->sent,
			    probe->send.length - probe->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (sent < 0) {
		fail_exchange(probe, errno);
		return true;
	}
	probe->sent += (size_t)sent;
	return false;
}

/* ended: the backend has closed the connection. */
static bool judge(struct health_probe *probe, bool ended)
{
	const struct health_spec *config = probe->config;
	char why[FAILURE_TEXT] = "closed without an answer";

	if (probe->length && bytes_within(&probe->expect, probe->answer, probe->length)) {
		finish(probe, HEALTH_PASSED, NULL);
		return true;
	}
	if (!ended && probe->length < ANSWER_MAX)
		return false;
	if (probe->length)
		failure_content(why, ended ? "the answer" : "the answer's first 4 KiB",
				config->expect, config->expect_hex);
	finish(probe, HEALTH_FAILED, why);
	return true;
}

static bool read_step(struct health_probe *probe)
{
	ssize_t length = recv(probe->fd, probe->answer + probe->length, ANSWER_MAX - probe->length,
			      MSG_DONTWAIT);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (length < 0) {
		fail_exchange(probe, errno);
		return true;
	}
	probe->length += (size_t)length;
	return judge(probe, !length);
}

static bool answer_serve(struct health_probe *probe)
{
	if (!probe->connected && connect_step(probe))
		return true;
	if (probe->connected && probe->sent < probe->send.length && send_step(probe))
		return true;
	return probe->connected && probe->sent == probe->send.length && read_step(probe);
}

static void on_ready(int fd, short what, void *arg);

static void wait_for(struct health_probe *probe)
{
	bool reads = probe->connected && probe->sent == probe->send.length;

	event_assign(&probe->event, probe->base, probe->fd, reads ? EV_READ : EV_WRITE, on_ready,
		     probe);
	event_add(&probe->event, NULL);
}

static void on_ready(int fd, short what, void *arg)
{
	struct health_probe *probe = arg;

	if (!answer_serve(probe))
		wait_for(probe);
}

static struct health_probe *answer_start(void *state, struct event_base *base,
					 const struct health_probe_spec *spec, health_done_fn *done,
					 void *arg)
{
	const struct health_spec *config = spec->config;
	struct health_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->base = base;
	probe->config = config;
	probe->done = done;
	probe->arg = arg;
	bytes_set(&probe->send, config->send, config->send_hex);
	bytes_set(&probe->expect, config->expect, config->expect_hex);
	probe->fd = spec->socket >= 0 ? spec->socket : source_socket(spec);
	if (probe->fd < 0) {
		free(probe);
		return NULL;
	}
	probe->start_us = clock_monotonic_us();
	probe->error = source_connect(probe->fd, spec);
	wait_for(probe);
	if (probe->error)
		event_active(&probe->event, EV_WRITE, 0);
	return probe;
}

REGISTER(health_kind, answer) = {
    .name = "tcp-answer",
    .type = "tcp",
    .confined = true,
    .start = answer_start,
    .serve = answer_serve,
    .waits_for = answer_waits_for,
    .cancel = answer_cancel,
};
