/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The source process: gives up its rights, then follows the sources that lbd asks for and reports
 * what they name, until lbd closes the socket. It ends by _exit: cleanup would need more system
 * calls than are left. */
#include <errno.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "message.h"
#include "process.h"

#define NAME         "lbd-sources" /* in ps and top */
#define BEAT_MS      4000
#define OUTGOING_MAX 8192 /* packets that lbd has not taken: then it is not there any more */
#define HOLD_FROM    64   /* packets; from then on only the last report of each source is kept */
#define KINDS_MAX    8

struct job {
	TAILQ_ENTRY(job) link;
	struct worker *worker;
	const struct source_kind *kind;
	uint32_t id;
	struct config_from from;
	void *run;
	struct source_document order; /* as far as it has come */
	/* Its last report, as long as lbd has too many others to take. */
	bool named, fails; /* named: it is a list; fails: and then, or only, why */
	struct source_list list;
	char why[SOURCE_WHY];
};

struct outgoing {
	TAILQ_ENTRY(outgoing) link;
	size_t length;
	struct source_reply reply; /* allocated up to length */
};

struct worker {
	struct event_base *base;
	struct event readable, writable, beat;
	TAILQ_HEAD(jobs, job) jobs;
	TAILQ_HEAD(outgoing_list, outgoing) outgoing;
	unsigned outgoing_count;
	struct {
		const struct source_kind *kind;
		struct source_env env;
	} kinds[KINDS_MAX];
	unsigned kinds_count;
};

/* ---- replies ---- */

static void fill(struct source_reply *reply, enum source_reply_type type, uint32_t id,
		 const char *why)
{
	memset(reply, 0, sizeof(*reply));
	reply->type = type;
	reply->id = id;
	snprintf(reply->why, sizeof(reply->why), "%s", why);
}

/* lbd logs why. */
_Noreturn static void end_unfit(const char *why)
{
	struct source_reply reply;

	fill(&reply, SOURCE_UNFIT, 0, why);
	send(SOURCE_FD, &reply, source_message_length(&reply), MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(EXIT_FAILURE);
}

static bool send_now(const struct source_reply *reply, size_t length)
{
	ssize_t sent = send(SOURCE_FD, reply, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	char why[80];

	if (sent >= 0)
		return true;
	if (errno == EMSGSIZE) {
		snprintf(why, sizeof(why), "its socket takes no reply of %zu bytes", length);
		end_unfit(why);
	}
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
		_exit(EXIT_SUCCESS); /* lbd is gone */
	return false;
}

static void send_held(struct worker *worker);

static void on_writable(int fd, short what, void *arg)
{
	struct worker *worker = arg;
	struct outgoing *first;

	while ((first = TAILQ_FIRST(&worker->outgoing))) {
		if (!send_now(&first->reply, first->length))
			return;
		TAILQ_REMOVE(&worker->outgoing, first, link);
		worker->outgoing_count--;
		free(first);
	}
	event_del(&worker->writable);
	send_held(worker);
}

static void send_reply(struct worker *worker, const struct source_reply *reply)
{
	size_t length = source_message_length(reply);
	struct outgoing *outgoing;

	if (TAILQ_EMPTY(&worker->outgoing) && send_now(reply, length))
		return;
	outgoing = malloc(offsetof(struct outgoing, reply) + length);
	if (!outgoing || worker->outgoing_count++ == OUTGOING_MAX)
		_exit(EXIT_FAILURE);
	outgoing->length = length;
	memcpy(&outgoing->reply, reply, length);
	TAILQ_INSERT_TAIL(&worker->outgoing, outgoing, link);
	event_add(&worker->writable, NULL);
}

static void send_plain(struct worker *worker, enum source_reply_type type, uint32_t id,
		       const char *why)
{
	struct source_reply reply;

	fill(&reply, type, id, why);
	send_reply(worker, &reply);
}

static void send_list(struct job *job, const struct source_list *list)
{
	unsigned at = 0;

	do {
		unsigned left = list->count - at;
		struct source_reply reply;

		fill(&reply, SOURCE_LIST, job->id, list->why);
		reply.count = left < SOURCE_PART ? left : SOURCE_PART;
		reply.first = !at;
		reply.last = reply.count == left;
		reply.ignored = list->ignored;
		memcpy(reply.items, list->items ? list->items + at : reply.items,
		       reply.count * sizeof(reply.items[0]));
		at += reply.count;
		send_reply(job->worker, &reply);
	} while (at < list->count);
}

static void send_document(struct job *job, const struct source_list *list, uint32_t which)
{
	const struct source_document *document = &list->documents[which];
	size_t at = 0;

	do {
		size_t left = document->length - at;
		struct source_reply reply;

		fill(&reply, SOURCE_DOCUMENT, job->id, "");
		reply.which = which;
		reply.count = (uint32_t)(left < sizeof(reply.bytes) ? left : sizeof(reply.bytes));
		reply.first = !which && !at;
		reply.last = which == SOURCE_DOCUMENTS - 1 && reply.count == left;
		reply.revision = document->revision;
		if (reply.count)
			memcpy(reply.bytes, document->bytes + at, reply.count);
		at += reply.count;
		send_reply(job->worker, &reply);
	} while (at < document->length);
}

/* All of them, also those that are empty. */
static void send_documents(struct job *job, const struct source_list *list)
{
	for (uint32_t which = 0; which < SOURCE_DOCUMENTS; which++)
		send_document(job, list, which);
}

/* list: NULL: it has failed. */
static void send_report(struct job *job, const struct source_list *list, const char *why)
{
	if (!list)
		send_plain(job->worker, SOURCE_FAILED, job->id, why);
	else if (list->has_documents)
		send_documents(job, list);
	else
		send_list(job, list);
}

static bool holds(const struct job *job)
{
	return job->named || job->fails;
}

static void hold(struct job *job, struct source_list *list, const char *why)
{
	job->fails = !list;
	if (!list) {
		snprintf(job->why, sizeof(job->why), "%s", why);
		return;
	}
	source_list_done(&job->list);
	job->list = *list;
	job->named = true;
	*list = (struct source_list){0};
}

/* Who was served gets behind the others. */
static void send_held(struct worker *worker)
{
	struct job *job, *next, *last = TAILQ_LAST(&worker->jobs, jobs);

	for (job = TAILQ_FIRST(&worker->jobs); job && worker->outgoing_count < HOLD_FROM;
	     job = job == last ? NULL : next) {
		next = TAILQ_NEXT(job, link);
		if (!holds(job))
			continue;
		if (job->named)
			send_report(job, &job->list, "");
		if (job->fails)
			send_report(job, NULL, job->why);
		source_list_done(&job->list);
		job->named = job->fails = false;
		TAILQ_REMOVE(&worker->jobs, job, link);
		TAILQ_INSERT_TAIL(&worker->jobs, job, link);
	}
}

/* Sources that change all the time, or a lbd that has other things to do: what it takes late is at
 * least the last word. */
static void on_report(void *arg, struct source_list *list, const char *why)
{
	struct job *job = arg;

	if (holds(job) || job->worker->outgoing_count >= HOLD_FROM) {
		hold(job, list, why);
		return;
	}
	send_report(job, list, why);
	if (list)
		source_list_done(list);
}

static void on_done(void *arg, uint32_t number, enum source_outcome outcome, const char *why)
{
	struct source_reply reply;
	struct job *job = arg;

	fill(&reply, SOURCE_DONE, job->id, why);
	reply.which = number;
	reply.outcome = outcome;
	send_reply(job->worker, &reply);
}

/* ---- requests ---- */

static const struct source_env *find_env(const struct worker *worker,
					 const struct source_kind *kind)
{
	for (unsigned i = 0; i < worker->kinds_count; i++)
		if (worker->kinds[i].kind == kind)
			return &worker->kinds[i].env;
	return NULL;
}

/* A request that cannot be right is a fault of lbd's: to end shows it in lbd's log. */
static void start_job(struct worker *worker, const struct source_request *request, size_t length)
{
	struct job *job = calloc(1, sizeof(*job));
	const struct source_env *env;
	struct config_from from;

	if (!job || !source_message_from(request, length, &from) ||
	    config_from_copy(&from, &job->from))
		_exit(EXIT_FAILURE);
	job->worker = worker;
	job->id = request->id;
	job->kind = source_kind_find(request->kind);
	env = job->kind ? find_env(worker, job->kind) : NULL;
	if (!env)
		_exit(EXIT_FAILURE);
	TAILQ_INSERT_TAIL(&worker->jobs, job, link);
	job->run = job->kind->start(env, &job->from, job);
	if (!job->run)
		_exit(EXIT_FAILURE);
}

static struct job *find_job(const struct worker *worker, uint32_t id)
{
	struct job *job;

	for (job = TAILQ_FIRST(&worker->jobs); job; job = TAILQ_NEXT(job, link))
		if (job->id == id)
			return job;
	return NULL;
}

/* One order comes after the other, in parts. */
static void take_order(struct worker *worker, const struct source_request *request)
{
	struct job *job = find_job(worker, request->id);

	if (!job || !job->kind->order ||
	    source_document_add(&job->order, SOURCE_DOCUMENT_MAX, request->texts, request->length))
		_exit(EXIT_FAILURE);
	if (!request->last)
		return;
	job->kind->order(job->run, request->number, job->order.bytes); /* takes it over */
	job->order = (struct source_document){0};
}

static void stop_job(struct worker *worker, uint32_t id)
{
	struct job *job = find_job(worker, id);

	if (!job)
		return;
	job->kind->stop(job->run);
	source_list_done(&job->list);
	free(job->order.bytes);
	config_from_done(&job->from);
	TAILQ_REMOVE(&worker->jobs, job, link);
	free(job);
}

static void on_readable(int fd, short what, void *arg)
{
	struct worker *worker = arg;
	static struct source_request request;
	ssize_t length = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0)
		_exit(EXIT_SUCCESS); /* lbd is gone */
	if ((size_t)length < offsetof(struct source_request, texts) ||
	    (size_t)length > sizeof(request) ||
	    (size_t)length != source_message_request_length(&request))
		_exit(EXIT_FAILURE);
	if (request.type == SOURCE_START)
		start_job(worker, &request, (size_t)length);
	else if (request.type == SOURCE_ORDER)
		take_order(worker, &request);
	else
		stop_job(worker, request.id);
}

static void on_beat(int fd, short what, void *arg)
{
	send_plain(arg, SOURCE_BEAT, 0, "");
}

/* ---- the start ---- */

static int open_kinds(struct worker *worker, struct error *err)
{
	registry_for_each (source_kind, kind) {
		struct source_env *env;
		int rc = 0;

		if (!kind->confined || worker->kinds_count >= KINDS_MAX)
			continue;
		env = &worker->kinds[worker->kinds_count].env;
		worker->kinds[worker->kinds_count++].kind = kind;
		*env =
		    (struct source_env){.base = worker->base, .report = on_report, .done = on_done};
		if (kind->open)
			rc = kind->open(worker->base, &env->shared, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* The libraries read their files and make their descriptors before system calls are confined, but
 * after the rights are gone. */
static int start(struct worker *worker, struct error *err)
{
	const struct confine_options options = {.messages = SOURCE_FD, .udp = true};
	const struct timeval beat = clock_span_ms(BEAT_MS);
	int rc = confine_rights(err);

	if (rc)
		return rc;
	worker->base = loop_new();
	if (!worker->base)
		return error_set(err, -ENOMEM, "out of memory");
	/* From a file: one of the clock could be guessed, and names be found with equal hashes. */
	json_object_seed(0);
	if ((rc = open_kinds(worker, err)) || (rc = confine_calls(&options, err)))
		return rc;
	TAILQ_INIT(&worker->jobs);
	TAILQ_INIT(&worker->outgoing);
	event_assign(&worker->readable, worker->base, SOURCE_FD, EV_READ | EV_PERSIST, on_readable,
		     worker);
	event_assign(&worker->writable, worker->base, SOURCE_FD, EV_WRITE | EV_PERSIST, on_writable,
		     worker);
	event_assign(&worker->beat, worker->base, -1, EV_PERSIST, on_beat, worker);
	if (event_add(&worker->readable, NULL) || event_add(&worker->beat, &beat))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static bool asked; /* a main that does not ask would run as itself once more */

bool source_table_is_worker(int argc, char *const *argv)
{
	asked = true;
	return argc == 2 && !strcmp(argv[1], SOURCE_ARGUMENT);
}

bool source_table_can_spawn(void)
{
	return asked;
}

int source_table_run_worker(void)
{
	static struct worker worker;
	struct error err;

	if (!spawn_begin(SOURCE_FD, SOURCE_ARGUMENT, NAME))
		return EXIT_FAILURE;
	if (start(&worker, &err))
		end_unfit(err.text);
	send_plain(&worker, SOURCE_READY, 0, "");
	event_base_dispatch(worker.base);
	_exit(EXIT_FAILURE);
}
