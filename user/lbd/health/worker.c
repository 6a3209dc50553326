/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The probe process: gives up its rights, then runs the probes that lbd asks for and sends the
 * results, until lbd closes the socket. It ends by _exit: cleanup would need more system calls than
 * are left. */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "attempt.h"
#include "common/clock.h"
#include "descriptor.h"
#include "message.h"

#define NAME          "lbd-probes" /* in ps and top */
#define MESSAGES_TURN 64           /* requests that are read before the loop goes on */
#define JOBS_MAX      (1U << 20)

struct worker {
	struct event_base *base;
	struct lateness *lateness;
	struct attempts *attempts;
	struct event readable, writable;
	struct job **jobs; /* by the lower half of their ids; NULL: none */
	unsigned jobs_room;
	TAILQ_HEAD(outgoing_list, outgoing) outgoing; /* lbd has not taken them yet */
};

struct job {
	struct worker *worker;
	uint64_t id;
	struct health_spec config;
	struct health_probe_spec spec;
	struct attempt *attempt;
};

struct outgoing {
	TAILQ_ENTRY(outgoing) link;
	struct reply reply;
};

/* ---- replies ---- */

static bool send_now(const struct reply *reply)
{
	ssize_t sent = send(WORKER_FD, reply, sizeof(*reply), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent >= 0)
		return true;
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
		_exit(EXIT_SUCCESS); /* lbd is gone */
	return false;
}

static void on_writable(int fd, short what, void *arg)
{
	struct worker *worker = arg;
	struct outgoing *first;

	while ((first = TAILQ_FIRST(&worker->outgoing))) {
		if (!send_now(&first->reply))
			return;
		TAILQ_REMOVE(&worker->outgoing, first, link);
		free(first);
	}
	event_del(&worker->writable);
}

/* In order, without waiting: a wait would make this loop late. */
static void send_reply(struct worker *worker, const struct reply *reply)
{
	struct outgoing *outgoing;

	if (TAILQ_EMPTY(&worker->outgoing) && send_now(reply))
		return;
	outgoing = malloc(sizeof(*outgoing));
	if (!outgoing)
		_exit(EXIT_FAILURE);
	outgoing->reply = *reply;
	TAILQ_INSERT_TAIL(&worker->outgoing, outgoing, link);
	event_add(&worker->writable, NULL);
}

static void send_plain(struct worker *worker, enum reply_type type, uint64_t id)
{
	struct reply reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = type;
	reply.id = id;
	send_reply(worker, &reply);
}

/* ---- jobs ---- */

static unsigned place_of(uint64_t id)
{
	return (uint32_t)id;
}

static struct job *find_job(const struct worker *worker, uint64_t id)
{
	struct job *job = place_of(id) < worker->jobs_room ? worker->jobs[place_of(id)] : NULL;

	return job && job->id == id ? job : NULL;
}

static void job_free(struct job *job)
{
	job->worker->jobs[place_of(job->id)] = NULL;
	health_spec_done(&job->config);
	free(job);
}

static void on_result(void *arg, const struct attempt_result *result)
{
	struct job *job = arg;
	struct reply reply;

	message_put_result(&reply, job->id, result);
	send_reply(job->worker, &reply);
	job_free(job);
}

static void not_started(struct job *job, int error)
{
	struct attempt_result result = {.outcome = ATTEMPT_NOT_RUN,
					.began_us = clock_monotonic_us(),
					.ended_us = clock_monotonic_us(),
					.why = strerror(error)};

	on_result(job, &result);
}

static bool make_room(struct worker *worker, unsigned place)
{
	unsigned room = worker->jobs_room ? worker->jobs_room : 64;
	struct job **jobs;

	while (room <= place)
		room *= 2;
	if (room == worker->jobs_room)
		return true;
	jobs = reallocarray(worker->jobs, room, sizeof(struct job *));
	if (!jobs)
		return false;
	memset(jobs + worker->jobs_room, 0, (room - worker->jobs_room) * sizeof(struct job *));
	worker->jobs = jobs;
	worker->jobs_room = room;
	return true;
}

static void start_attempt(struct job *job, bool repeated)
{
	int error;

	job->attempt = attempt_start(job->worker->attempts, &job->spec, repeated, on_result, job);
	if (job->attempt)
		return;
	error = errno;
	if (job->spec.socket >= 0)
		close(job->spec.socket);
	not_started(job, error);
}

/* One that has ended meanwhile has sent its result. */
static void cancel_job(struct worker *worker, uint64_t id)
{
	struct job *job = find_job(worker, id);

	if (!job)
		return;
	attempt_cancel(job->attempt);
	job_free(job);
}

/* A request that cannot be right is a fault of lbd's: to end shows it in lbd's log. fd: the socket
 * that came with it; -1: none, or it was lost. */
static void start_job(struct worker *worker, const struct request *request, int fd)
{
	const struct health_kind *kind = health_kind_find(request->kind);
	unsigned place = place_of(request->id);
	struct job *job;

	if (!kind || place >= JOBS_MAX || !make_room(worker, place))
		_exit(EXIT_FAILURE);
	if (worker->jobs[place]) /* lbd could not send that it was cancelled */
		cancel_job(worker, worker->jobs[place]->id);
	job = calloc(1, sizeof(*job));
	if (!job || message_get_start(request, &job->config, &job->spec))
		_exit(EXIT_FAILURE);
	job->worker = worker;
	job->id = request->id;
	worker->jobs[place] = job;
	job->spec.kind = kind;
	job->spec.socket = fd;
	if (request->with_socket && fd < 0)
		not_started(job, EMFILE);
	else
		start_attempt(job, request->repeated);
}

/* ---- requests ---- */

static void serve(struct worker *worker, const struct request *request, int fd)
{
	switch (request->type) {
	case REQUEST_START:
		start_job(worker, request, fd);
		break;
	case REQUEST_CANCEL:
		cancel_job(worker, request->id);
		break;
	default:
		send_plain(worker, REPLY_PONG, request->id);
	}
}

static void on_readable(int fd, short what, void *arg)
{
	struct worker *worker = arg;

	for (unsigned i = 0; i < MESSAGES_TURN; i++) {
		struct request request;
		struct descriptors came;
		ssize_t length = descriptor_receive(fd, &request, sizeof(request), &came);

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length <= 0)
			_exit(EXIT_SUCCESS); /* lbd is gone */
		if ((size_t)length > sizeof(request) ||
		    message_check_request(&request, (size_t)length, came.count))
			_exit(EXIT_FAILURE); /* with every descriptor that came */
		serve(worker, &request, came.fd);
	}
}

/* ---- start ---- */

/* The libraries read their files (openssl.cnf) and make their descriptors before system calls are
 * confined, but after the rights are gone. */
static int start(struct worker *worker, struct error *err)
{
	int rc = confine_rights(err);

	if (rc)
		return rc;
	worker->base = loop_new();
	if (!worker->base || lateness_new(worker->base, &worker->lateness))
		return error_set(err, -ENOMEM, "out of memory");
	if ((rc = attempts_new(worker->base, worker->lateness, true, &worker->attempts, err)) ||
	    (rc = confine_calls(&(struct confine_options){.messages = WORKER_FD}, err)))
		return rc;
	TAILQ_INIT(&worker->outgoing);
	event_assign(&worker->readable, worker->base, WORKER_FD, EV_READ | EV_PERSIST, on_readable,
		     worker);
	event_assign(&worker->writable, worker->base, WORKER_FD, EV_WRITE | EV_PERSIST, on_writable,
		     worker);
	if (event_add(&worker->readable, NULL))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static void report_unfit(const struct error *err)
{
	struct reply reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = REPLY_UNFIT;
	snprintf(reply.why, sizeof(reply.why), "%.*s", (int)sizeof(reply.why) - 1, err->text);
	send_now(&reply);
}

static bool asked; /* see health_is_worker */

bool health_is_worker(int argc, char *const *argv)
{
	asked = true;
	return argc == 2 && !strcmp(argv[1], WORKER_ARGUMENT);
}

bool worker_can_start(void)
{
	return asked;
}

int health_run_worker(void)
{
	struct worker worker = {0};
	struct error err;

	if (!spawn_begin(WORKER_FD, WORKER_ARGUMENT, NAME))
		return EXIT_FAILURE;
	if (start(&worker, &err)) {
		report_unfit(&err);
		_exit(EXIT_FAILURE);
	}
	send_plain(&worker, REPLY_READY, 0);
	event_base_dispatch(worker.base);
	_exit(EXIT_FAILURE);
}
