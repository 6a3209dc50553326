/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends a question, again if no answer comes, and gives each answer to the kind. */
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event_struct.h>
#include <event2/util.h>

#include "common/clock.h"
#include "source.h"

#define QUESTION_MAX 1024
#define TIMES        3  /* that a question is sent within the timeout */
#define TURN         32 /* answers that are read before the loop goes on */

struct health_probe {
	const struct datagram_ops *ops;
	const struct health_probe_spec *spec;
	struct event readable, again;
	int fd;
	int error; /* errno of the first question; -1: it cannot be made */
	uint16_t id;
	uint64_t start_us; /* when the first question was sent */
	size_t length;     /* of the question */
	health_done_fn *done;
	void *arg;
	uint8_t question[];
};

void datagram_cancel(struct health_probe *probe)
{
	event_del(&probe->readable);
	event_del(&probe->again);
	close(probe->fd);
	free(probe);
}

const char *datagram_waits_for(const struct health_probe *probe)
{
	return "no answer: timed out";
}

/* The probe is gone afterwards. */
static void finish(struct health_probe *probe, enum health_outcome outcome, const char *why)
{
	health_done_fn *done = probe->done;
	void *arg = probe->arg;
	uint32_t latency_us = clock_since_us(probe->start_us);

	datagram_cancel(probe);
	done(arg, outcome, outcome == HEALTH_PASSED ? NULL : why, latency_us);
}

/* An ICMP error that came back, or no route. Of a packet whose length is to be tried it says
 * nothing of how far that gets: this host, or a router, has refused it, perhaps as too big. */
static void fail(struct health_probe *probe, int error)
{
	bool local = probe->spec->length || failure_is_local(error);
	char why[FAILURE_TEXT];

	if (error < 0) {
		finish(probe, HEALTH_FAILED, "the question cannot be made");
		return;
	}
	failure_send(why, error);
	finish(probe, local ? HEALTH_NOT_RUN : HEALTH_FAILED, why);
}

static int ask(struct health_probe *probe)
{
	ssize_t sent = send(probe->fd, probe->question, probe->length, MSG_NOSIGNAL);

	return sent < 0 && errno != EAGAIN ? errno : 0;
}

/* True: the probe has ended. */
static bool read_answers(struct health_probe *probe)
{
	for (unsigned i = 0; i < TURN; i++) {
		uint8_t answer[DATAGRAM_MAX];
		char why[FAILURE_TEXT] = "";
		ssize_t length = recv(probe->fd, answer, sizeof(answer), MSG_DONTWAIT);
		enum datagram_verdict verdict;

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (length < 0) {
			fail(probe, errno);
			return true;
		}
		verdict = probe->ops->judge(probe->spec, probe->id, probe->fd, answer,
					    (size_t)length, why);
		if (verdict == DATAGRAM_FOREIGN)
			continue;
		finish(probe, verdict == DATAGRAM_PASSED ? HEALTH_PASSED : HEALTH_FAILED, why);
		return true;
	}
	return false;
}

static void on_readable(int fd, short what, void *arg)
{
	struct health_probe *probe = arg;

	if (probe->error)
		fail(probe, probe->error);
	else
		read_answers(probe);
}

bool datagram_serve(struct health_probe *probe)
{
	if (!probe->error)
		return read_answers(probe);
	fail(probe, probe->error);
	return true;
}

static void wait_to_ask_again(struct health_probe *probe)
{
	struct timeval wait = clock_span_ms(probe->spec->config->timeout_ms / TIMES + 1);

	event_add(&probe->again, &wait);
}

static void on_again(int fd, short what, void *arg)
{
	struct health_probe *probe = arg;
	int error = ask(probe);

	if (error)
		fail(probe, error);
	else
		wait_to_ask_again(probe);
}

struct health_probe *datagram_start(const struct datagram_ops *ops, struct event_base *base,
				    const struct health_probe_spec *spec, health_done_fn *done,
				    void *arg)
{
	size_t room = spec->length > QUESTION_MAX ? spec->length : QUESTION_MAX;
	struct health_probe *probe = calloc(1, sizeof(*probe) + room);

	if (!probe)
		return NULL;
	*probe = (struct health_probe){
	    .ops = ops, .spec = spec, .fd = spec->socket, .done = done, .arg = arg};
	if (probe->fd < 0)
		probe->fd = source_socket(spec);
	if (probe->fd < 0) {
		free(probe);
		return NULL;
	}
	evutil_secure_rng_get_bytes(&probe->id, sizeof(probe->id));
	event_assign(&probe->readable, base, probe->fd, EV_READ | EV_PERSIST, on_readable, probe);
	evtimer_assign(&probe->again, base, on_again, probe);
	if (event_add(&probe->readable, NULL)) {
		if (spec->socket < 0)
			close(probe->fd);
		free(probe);
		errno = ENOMEM;
		return NULL;
	}
	probe->start_us = clock_monotonic_us();
	probe->error = source_connect(probe->fd, spec);
	probe->length = ops->ask(spec, probe->id, probe->fd, probe->question, room);
	if (!probe->length)
		probe->error = -1;
	if (!probe->error)
		probe->error = ask(probe);
	if (probe->error)
		event_active(&probe->readable, EV_READ, 0);
	else
		wait_to_ask_again(probe);
	return probe;
}
