/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Starts, watches and ends the source process. A process that ends, or is ended, is started again
 * with all its sources; meanwhile they count as failed. */
#include "process.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "message.h"

#define MESSAGES_TURN  8 /* that are read before the loop goes on */
#define TICK_MS        5000
#define SILENT_TICKS   6     /* without a message: it hangs */
#define STEADY_MS      10000 /* a process that lived so long is started again at once */
#define BACKOFF_MS     100
#define BACKOFF_MAX_MS 5000
#define WARN_EVERY_MS  10000

struct process_run {
	TAILQ_ENTRY(process_run) link;
	struct source_process *process;
	const struct source_kind *kind;
	const struct config_from *from;
	void *arg;
	uint32_t id;
	bool sent;
	bool receives; /* the first part of a list has come, and not the last */
	struct source_list list;
	uint32_t number; /* of the last order */
	bool ordered;    /* it has not ended */
	char *order;     /* NULL: none that is not sent yet */
	size_t order_length, order_sent;
};

struct source_process {
	struct event_base *base;
	source_report_fn *report;
	source_done_fn *done; /* NULL: nothing is ordered */
	TAILQ_HEAD(process_runs, process_run) runs;
	uint32_t ids;    /* used */
	uint32_t *stops; /* ids of sources that have ended, which it has not been told yet */
	unsigned stops_count;
	pid_t pid; /* 0: there is none */
	int pidfd, fd;
	struct event ended, readable, writable;
	struct event tick; /* looks whether it is silent, or starts it */
	bool heard;
	unsigned silent;
	uint64_t start_ms, warned_ms;
	unsigned backoff_ms;
	char ending[SOURCE_WHY], why[SOURCE_WHY];
};

/* ---- the end ---- */

static void close_socket(struct source_process *process)
{
	if (process->fd < 0)
		return;
	event_del(&process->readable);
	event_del(&process->writable);
	close(process->fd);
	process->fd = -1;
}

static void end_process(struct source_process *process, const char *why)
{
	if (!*process->ending)
		snprintf(process->ending, sizeof(process->ending), "%s", why);
	close_socket(process);
	if (process->pid)
		kill(process->pid, SIGKILL);
}

static void forget_process(struct source_process *process)
{
	struct process_run *run;

	close_socket(process);
	if (process->pidfd >= 0) {
		event_del(&process->ended);
		close(process->pidfd);
		process->pidfd = -1;
	}
	process->pid = 0;
	process->stops_count = 0;
	*process->ending = 0;
	for (run = TAILQ_FIRST(&process->runs); run; run = TAILQ_NEXT(run, link)) {
		run->sent = run->receives = false;
		source_list_done(&run->list);
	}
}

static void describe_end(struct source_process *process, int status)
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
	char how[SOURCE_WHY - 32];

	if (*process->ending)
		snprintf(how, sizeof(how), "%.200s", process->ending);
	else if (name)
		snprintf(how, sizeof(how), "killed by SIG%s", name);
	else
		snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
	snprintf(process->why, sizeof(process->why), "the source process: %s", how);
}

static void order_ended(struct process_run *run, enum source_outcome outcome, const char *why)
{
	run->ordered = false;
	free(run->order);
	run->order = NULL;
	run->process->done(run->arg, run->number, outcome, why);
}

static void all_failed(struct source_process *process)
{
	struct process_run *run, *next;

	for (run = TAILQ_FIRST(&process->runs); run; run = next) {
		next = TAILQ_NEXT(run, link);
		if (run->ordered)
			order_ended(run, SOURCE_LOST, process->why);
		process->report(run->arg, NULL, process->why);
	}
}

static void start_later(struct source_process *process)
{
	const struct timeval wait = clock_span_ms(process->backoff_ms);

	event_add(&process->tick, &wait);
}

static void start_now(struct source_process *process);
static void on_readable(int fd, short what, void *arg);

static void on_ended(int fd, short what, void *arg)
{
	struct source_process *process = arg;
	pid_t pid = process->pid;
	int status = 0;

	if (process->fd >= 0) /* what it has said last: why it ends */
		on_readable(process->fd, EV_READ, process);
	if (!waitpid(pid, &status, WNOHANG))
		return;
	describe_end(process, status);
	forget_process(process);
	if (log_is_due(&process->warned_ms, WARN_EVERY_MS))
		log_warning("%s (pid %d); it is started again", process->why, pid);
	all_failed(process);
	if (clock_monotonic_ms() - process->start_ms >= STEADY_MS) {
		process->backoff_ms = 0;
		start_now(process);
	} else {
		start_later(process);
	}
}

/* ---- requests ---- */

/* The socket takes it later, or the process has ended: on_ended says how. */
static bool passes(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM ||
	       error == EPIPE || error == ECONNRESET;
}

/* False: not now. What can never be sent ends the process: all behind it would wait for ever. */
static bool send_request(struct source_process *process, const struct source_request *request)
{
	size_t length = source_message_request_length(request);
	char why[128];

	if (process->fd < 0)
		return false;
	if (send(process->fd, request, length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length)
		return true;
	if (!passes(errno)) {
		snprintf(why, sizeof(why), "its socket takes no request of %zu bytes: %s", length,
			 strerror(errno));
		end_process(process, why);
	}
	return false;
}

static void send_later(struct source_process *process)
{
	if (process->fd >= 0)
		event_add(&process->writable, NULL);
}

static bool send_start(struct process_run *run)
{
	static struct source_request request; /* too long for a stack */

	/* neither config nor files have texts that long */
	if (source_message_start(&request, run->id, run->kind->name, run->from))
		return true;
	run->sent = send_request(run->process, &request);
	explicit_bzero(&request, source_message_request_length(&request)); /* it may hold a key */
	return run->sent;
}

/* In parts: it may be longer than a packet. */
static bool send_order(struct process_run *run)
{
	static struct source_request request;

	while (run->order_sent < run->order_length) {
		size_t left = run->order_length - run->order_sent,
		       part = left < SOURCE_TEXTS ? left : SOURCE_TEXTS;

		memset(&request, 0, offsetof(struct source_request, texts));
		request.type = SOURCE_ORDER;
		request.id = run->id;
		request.number = run->number;
		request.length = (uint32_t)part;
		request.last = part == left;
		memcpy(request.texts, run->order + run->order_sent, part);
		if (!send_request(run->process, &request))
			return false;
		run->order_sent += part;
	}
	free(run->order);
	run->order = NULL;
	return true;
}

static bool send_stop(struct source_process *process, uint32_t id)
{
	static struct source_request request;

	memset(&request, 0, offsetof(struct source_request, texts));
	request.type = SOURCE_STOP;
	request.id = id;
	return send_request(process, &request);
}

/* It would follow the source on. */
static void stop_later(struct source_process *process, uint32_t id)
{
	uint32_t *stops = reallocarray(process->stops, process->stops_count + 1, sizeof(*stops));

	if (!stops)
		return; /* what it reports is ignored */
	process->stops = stops;
	stops[process->stops_count++] = id;
	send_later(process);
}

static void send_waiting(struct source_process *process)
{
	struct process_run *run;

	if (process->fd < 0)
		return;
	while (process->stops_count && send_stop(process, process->stops[process->stops_count - 1]))
		process->stops_count--;
	if (process->stops_count) {
		send_later(process);
		return;
	}
	for (run = TAILQ_FIRST(&process->runs); run; run = TAILQ_NEXT(run, link))
		if ((!run->sent && !send_start(run)) || (run->order && !send_order(run))) {
			send_later(process);
			return;
		}
	event_del(&process->writable);
}

static void on_writable(int fd, short what, void *arg)
{
	send_waiting(arg);
}

/* ---- replies ---- */

static struct process_run *find_run(const struct source_process *process, uint32_t id)
{
	struct process_run *run;

	for (run = TAILQ_FIRST(&process->runs); run; run = TAILQ_NEXT(run, link))
		if (run->id == id)
			return run;
	return NULL;
}

static void take_part(struct process_run *run, struct source_reply *reply)
{
	struct source_process *process = run->process;
	int rc = 0;

	if (reply->first) {
		source_list_done(&run->list);
		run->receives = true;
	}
	if (!run->receives) {
		end_process(process, "it sent a list without its begin");
		return;
	}
	if (reply->type == SOURCE_DOCUMENT) {
		struct source_document *document = &run->list.documents[reply->which];

		run->list.has_documents = true;
		document->revision = reply->revision;
		rc = source_document_add(
		    document, source_document_max((enum source_document_kind)reply->which),
		    reply->bytes, reply->count);
	}
	for (uint32_t i = 0; reply->type == SOURCE_LIST && i < reply->count && !rc; i++)
		rc = source_list_add(&run->list, &reply->items[i]);
	if (rc == -E2BIG) {
		end_process(process, "it sent a list that is too long");
		return;
	}
	if (!rc && !reply->last)
		return;
	run->receives = false;
	if (rc) {
		source_list_done(&run->list);
		process->report(run->arg, NULL, "out of memory");
		return;
	}
	if (reply->ignored)
		source_list_ignore(&run->list, "%s", reply->why);
	run->list.ignored = reply->ignored;
	source_list_sort(&run->list);
	process->report(run->arg, &run->list, NULL);
	source_list_done(&run->list);
}

static void take_reply(struct source_process *process, struct source_reply *reply)
{
	struct process_run *run = find_run(process, reply->id);

	process->heard = true;
	make_printable(reply->why, false);
	if (reply->type == SOURCE_UNFIT)
		end_process(process, reply->why);
	else if ((reply->type == SOURCE_LIST || reply->type == SOURCE_DOCUMENT) && run)
		take_part(run, reply);
	else if (reply->type == SOURCE_FAILED && run)
		process->report(run->arg, NULL, reply->why);
	else if (reply->type == SOURCE_DONE && run && run->ordered && reply->which == run->number)
		order_ended(run, (enum source_outcome)reply->outcome, reply->why);
}

static void on_readable(int fd, short what, void *arg)
{
	struct source_process *process = arg;

	for (unsigned i = 0; i < MESSAGES_TURN && process->fd >= 0; i++) {
		struct source_reply reply;
		ssize_t length = recv(fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_TRUNC);
		const char *wrong;
		char why[128];

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length <= 0) { /* it has ended, or has no use: its status says why */
			close_socket(process);
			if (process->pid)
				kill(process->pid, SIGKILL);
			return;
		}
		wrong = source_message_check(&reply, (size_t)length);
		if (!wrong) {
			take_reply(process, &reply);
			continue;
		}
		snprintf(why, sizeof(why), "it sent a malformed message: %s", wrong);
		end_process(process, why);
	}
}

/* ---- the start ---- */

static int watch(struct source_process *process)
{
	process->pidfd = pidfd_open(process->pid, 0);
	if (process->pidfd < 0)
		return -errno;
	event_assign(&process->ended, process->base, process->pidfd, EV_READ | EV_PERSIST, on_ended,
		     process);
	event_assign(&process->readable, process->base, process->fd, EV_READ | EV_PERSIST,
		     on_readable, process);
	event_assign(&process->writable, process->base, process->fd, EV_WRITE | EV_PERSIST,
		     on_writable, process);
	return event_add(&process->ended, NULL) || event_add(&process->readable, NULL) ? -ENOMEM
										       : 0;
}

static void kill_and_wait(struct source_process *process)
{
	if (!process->pid)
		return;
	kill(process->pid, SIGKILL);
	while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
		;
	forget_process(process);
}

static int spawn(struct source_process *process)
{
	static const char *const arguments[] = {"lbd", SOURCE_ARGUMENT, NULL};
	struct spawn_options options = {
	    .arguments = arguments, .fds = {-1, -1, -1, -1}, .count = SOURCE_FD + 1};
	int fds[2], rc;

	if (!source_table_can_spawn())
		return -ENOSYS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	spawn_make_room(fds[0]);
	spawn_make_room(fds[1]);
	options.fds[SOURCE_FD] = fds[1];
	rc = spawn_self(&options, &process->pid);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		process->pid = 0;
		return rc;
	}
	process->fd = fds[0];
	rc = watch(process);
	if (rc)
		kill_and_wait(process);
	return rc;
}

static void start_now(struct source_process *process)
{
	const struct timeval tick = clock_span_ms(TICK_MS);
	int rc;

	process->start_ms = clock_monotonic_ms();
	process->backoff_ms = process->backoff_ms ? process->backoff_ms * 2 : BACKOFF_MS;
	if (process->backoff_ms > BACKOFF_MAX_MS)
		process->backoff_ms = BACKOFF_MAX_MS;
	process->silent = 0;
	rc = spawn(process);
	if (!rc) {
		event_add(&process->tick, &tick);
		send_waiting(process);
		return;
	}
	snprintf(process->why, sizeof(process->why), "the source process cannot be started: %s",
		 strerror(-rc));
	all_failed(process);
	start_later(process);
}

/* Turns of this loop are counted, not time: if lbd itself was stopped, what it has sent is there
 * with the next turn. */
static void on_tick(int fd, short what, void *arg)
{
	const struct timeval tick = clock_span_ms(TICK_MS);
	struct source_process *process = arg;

	if (!process->pid && !TAILQ_EMPTY(&process->runs)) {
		start_now(process);
		return;
	}
	process->silent = process->heard ? 0 : process->silent + 1;
	process->heard = false;
	if (process->pid && process->silent > SILENT_TICKS)
		end_process(process, "it hangs");
	event_add(&process->tick, &tick);
}

/* ---- sources ---- */

void *source_process_start(struct source_process *process, const struct source_kind *kind,
			   const struct config_from *from, void *arg)
{
	const struct timeval now = {0};
	struct process_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct process_run){
	    .process = process, .kind = kind, .from = from, .arg = arg, .id = ++process->ids};
	TAILQ_INSERT_TAIL(&process->runs, run, link);
	if (process->pid)
		send_waiting(process);
	else if (!event_pending(&process->tick, EV_TIMEOUT, NULL))
		event_add(&process->tick, &now); /* a report may not come from within here */
	return run;
}

uint32_t source_process_order(void *arg, char *body)
{
	struct process_run *run = arg;

	if (run->ordered || !run->sent || run->process->fd < 0) {
		free(body);
		return 0;
	}
	run->ordered = true;
	run->number++;
	run->order = body;
	run->order_length = strlen(body);
	run->order_sent = 0;
	send_waiting(run->process);
	return run->number;
}

void source_process_on_done(struct source_process *process, source_done_fn *done)
{
	process->done = done;
}

void source_process_stop(void *arg)
{
	struct process_run *run = arg;
	struct source_process *process = run->process;

	if (run->sent && process->fd >= 0 && !send_stop(process, run->id))
		stop_later(process, run->id);
	TAILQ_REMOVE(&process->runs, run, link);
	source_list_done(&run->list);
	free(run->order);
	free(run);
}

int source_process_new(struct event_base *base, source_report_fn *report,
		       struct source_process **ret)
{
	struct source_process *process = calloc(1, sizeof(*process));

	if (!process)
		return -ENOMEM;
	*process = (struct source_process){.base = base, .report = report, .pidfd = -1, .fd = -1};
	TAILQ_INIT(&process->runs);
	evtimer_assign(&process->tick, base, on_tick, process);
	*ret = process;
	return 0;
}

void source_process_free(struct source_process *process)
{
	if (!process)
		return;
	kill_and_wait(process);
	event_del(&process->tick);
	free(process->stops);
	free(process);
}
