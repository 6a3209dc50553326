/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind tcp: the backend accepts a connection in time. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "common/clock.h"
#include "failure.h"
#include "health.h"
#include "source.h"

struct health_probe {
	struct event event;
	int fd;
	int error; /* of a connect that ended at once */
	uint64_t start_us;
	health_done_fn *done;
	void *arg;
};

static void tcp_cancel(struct health_probe *probe)
{
	event_del(&probe->event);
	close(probe->fd);
	free(probe);
}

static void tcp_ready(int fd, short what, void *arg)
{
	struct health_probe *probe = arg;
	health_done_fn *done = probe->done;
	void *done_arg = probe->arg;
	uint32_t latency_us = clock_since_us(probe->start_us);
	int rc = probe->error ? probe->error : source_error(fd);
	char why[FAILURE_TEXT];

	tcp_cancel(probe);
	if (!rc) {
		done(done_arg, HEALTH_PASSED, NULL, latency_us);
		return;
	}
	failure_connect(why, rc);
	done(done_arg, failure_is_local(rc) ? HEALTH_NOT_RUN : HEALTH_FAILED, why, 0);
}

static bool tcp_serve(struct health_probe *probe)
{
	struct pollfd socket = {.fd = probe->fd, .events = POLLOUT};

	if (!probe->error && poll(&socket, 1, 0) <= 0)
		return false;
	tcp_ready(probe->fd, EV_WRITE, probe);
	return true;
}

static const char *tcp_waits_for(const struct health_probe *probe)
{
	return "connect: timed out";
}

static struct health_probe *tcp_start(void *state, struct event_base *base,
				      const struct health_probe_spec *spec, health_done_fn *done,
				      void *arg)
{
	struct health_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->done = done;
	probe->arg = arg;
	probe->fd = source_socket(spec);
	if (probe->fd < 0) {
		free(probe);
		return NULL;
	}
	event_assign(&probe->event, base, probe->fd, EV_WRITE, tcp_ready, probe);
	probe->start_us = clock_monotonic_us();
	probe->error = source_connect(probe->fd, spec);
	if (event_add(&probe->event, NULL)) {
		close(probe->fd);
		free(probe);
		errno = ENOMEM;
		return NULL;
	}
	if (probe->error)
		event_active(&probe->event, EV_WRITE, 0);
	return probe;
}

REGISTER(health_kind, tcp) = {
    .name = "tcp",
    .start = tcp_start,
    .serve = tcp_serve,
    .waits_for = tcp_waits_for,
    .cancel = tcp_cancel,
};
