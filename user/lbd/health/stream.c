/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Probes that connect, send, and read an answer. */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "bytes.h"
#include "common/clock.h"
#include "source.h"

struct health_probe {
	const struct stream_ops *ops;
	struct event event;
	struct event_base *base;
	const struct health_spec *config;
	int fd;
	int error; /* of a connect that ended at once */
	bool connected;
	struct bytes send;
	size_t sent;
	uint8_t answer[STREAM_MAX];
	size_t length;
	uint64_t start_us;
	health_done_fn *done;
	void *arg;
};

void stream_cancel(struct health_probe *probe)
{
	event_del(&probe->event);
	close(probe->fd);
	free(probe);
}

const char *stream_waits_for(const struct health_probe *probe)
{
	if (!probe->connected)
		return "connect: timed out";
	if (probe->sent < probe->send.length)
		return "send: timed out";
	return probe->length ? probe->ops->half : "no answer: timed out";
}

/* ---- results: the probe is gone afterwards ---- */

static void finish(struct health_probe *probe, enum health_outcome outcome, const char *why)
{
	health_done_fn *done = probe->done;
	void *arg = probe->arg;
	uint32_t latency_us = clock_since_us(probe->start_us);

	stream_cancel(probe);
	done(arg, outcome, why, latency_us);
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
	char why[FAILURE_TEXT] = "closed without an answer";
	enum stream_verdict verdict = STREAM_FAILED;

	if (probe->length)
		verdict = probe->ops->judge(probe->config, probe->answer, probe->length,
					    ended || probe->length == STREAM_MAX, why);
	else if (!ended)
		return false;
	if (verdict == STREAM_HALF)
		return false;
	finish(probe, verdict == STREAM_PASSED ? HEALTH_PASSED : HEALTH_FAILED,
	       verdict == STREAM_PASSED && !*why ? NULL : why);
	return true;
}

static bool read_step(struct health_probe *probe)
{
	ssize_t length = recv(probe->fd, probe->answer + probe->length, STREAM_MAX - probe->length,
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

bool stream_serve(struct health_probe *probe)
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

	if (!stream_serve(probe))
		wait_for(probe);
}

struct health_probe *stream_start(const struct stream_ops *ops, struct event_base *base,
				  const struct health_probe_spec *spec, health_done_fn *done,
				  void *arg)
{
	const struct health_spec *config = spec->config;
	struct health_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->ops = ops;
	probe->base = base;
	probe->config = config;
	probe->done = done;
	probe->arg = arg;
	bytes_set(&probe->send, config->send, config->send_hex);
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
