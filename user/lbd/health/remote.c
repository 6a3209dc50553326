/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Starts, watches and ends the probe process, and exchanges probes and results with it. */
#include "remote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "lbd/host/host.h"
#include "descriptor.h"
#include "message.h"
#include "source.h"
#include "worker.h"

#define MESSAGES_TURN 64    /* replies that are read before the loop goes on */
#define STEADY_MS     10000 /* a process that lived so long is started again at once */
#define WARN_EVERY_MS 10000

/* A probe is in the queue until the socket takes it, then in the list of those sent. */
TAILQ_HEAD(probe_list, remote_probe);

struct remote_probe {
	TAILQ_ENTRY(remote_probe) link;
	struct remote *remote;
	bool sent;
	uint64_t id;
	uint64_t sent_us;
	const struct health_probe_spec *spec;
	bool repeated;
	struct event deadline; /* see patience_ms */
	attempt_done_fn *done;
	void *arg;
};

struct remote {
	struct remote_options options;
	bool needed;
	/* of the process; -1 and 0: there is none */
	pid_t pid;
	int pidfd, fd;
	struct event ended, readable, writable;
	struct event tick; /* the next ping, or the next start */
	bool ready;        /* it has sent REPLY_READY */
	uint64_t start_ms;
	uint64_t ping, pings;      /* id of the one without an answer, 0: none; ids used */
	unsigned missed;           /* ticks without an answer */
	uint64_t crossing;         /* results that may come for cancelled probes */
	char ending[FAILURE_TEXT]; /* why it is being ended */

	struct probe_list queue, sent;
	unsigned probes;
	struct remote_probe **places; /* by the lower half of their ids; NULL: free */
	unsigned places_count;
	unsigned *vacant, vacant_count; /* free places */
	uint32_t serial;                /* upper half of the next id */

	unsigned backoff_ms;
	uint64_t restarts, ended_ms, warned_ms;
	char why[FAILURE_TEXT];
};

/* ---- places and ids ---- */

static bool more_places(struct remote *remote)
{
	unsigned count = remote->places_count ? remote->places_count * 2 : 64;
	struct remote_probe **places =
	    reallocarray(remote->places, count, sizeof(struct remote_probe *));
	unsigned *vacant;

	if (!places)
		return false;
	remote->places = places;
	vacant = reallocarray(remote->vacant, count, sizeof(unsigned));
	if (!vacant)
		return false;
	remote->vacant = vacant;
	for (unsigned place = count; place-- > remote->places_count;) {
		places[place] = NULL;
		vacant[remote->vacant_count++] = place;
	}
	remote->places_count = count;
	return true;
}

static bool take_place(struct remote *remote, struct remote_probe *probe)
{
	unsigned place;

	if (!remote->vacant_count && !more_places(remote))
		return false;
	place = remote->vacant[--remote->vacant_count];
	remote->places[place] = probe;
	probe->id = (uint64_t)++remote->serial << 32 | place;
	return true;
}

static struct remote_probe *find_probe(const struct remote *remote, uint64_t id)
{
	uint32_t place = (uint32_t)id;
	struct remote_probe *probe = place < remote->places_count ? remote->places[place] : NULL;

	return probe && probe->id == id && probe->sent ? probe : NULL;
}

static void probe_free(struct remote_probe *probe)
{
	struct remote *remote = probe->remote;
	unsigned place = (uint32_t)probe->id;

	TAILQ_REMOVE(probe->sent ? &remote->sent : &remote->queue, probe, link);
	event_del(&probe->deadline);
	remote->places[place] = NULL;
	remote->vacant[remote->vacant_count++] = place;
	remote->probes--;
	free(probe);
}

/* Frees the probe first: done may start others, or remove them. */
static void finish(struct remote_probe *probe, const struct attempt_result *result)
{
	attempt_done_fn *done = probe->done;
	void *arg = probe->arg;

	probe_free(probe);
	done(arg, result);
}

/* It did not run, or it is not known what became of it. */
static void finish_now(struct remote_probe *probe, enum attempt_outcome outcome, const char *why)
{
	uint64_t now_us = clock_monotonic_us();
	struct attempt_result result = {
	    .outcome = outcome, .began_us = now_us, .ended_us = now_us, .why = why};

	finish(probe, &result);
}

static void lose_all(struct remote *remote)
{
	struct remote_probe *probe;

	while ((probe = TAILQ_FIRST(&remote->sent)) || (probe = TAILQ_FIRST(&remote->queue)))
		finish_now(probe, ATTEMPT_LOST, remote->why);
}

/* ---- the end of the process ---- */

static void close_socket(struct remote *remote)
{
	if (remote->fd < 0)
		return;
	event_del(&remote->readable);
	event_del(&remote->writable);
	close(remote->fd);
	remote->fd = -1;
	remote->ready = false;
}

/* Ends it, if it has not ended already. Its probes are lost when it has ended: on_ended. */
static void end_process(struct remote *remote, const char *why)
{
	if (!remote->ending[0])
		snprintf(remote->ending, sizeof(remote->ending), "%s", why);
	close_socket(remote);
	if (remote->pid && kill(remote->pid, SIGKILL) && errno != ESRCH)
		log_error("health checks: probe process (pid %d) cannot be ended: %m", remote->pid);
}

static void describe_status(int status, char text[FAILURE_TEXT])
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;

	if (name)
		snprintf(text, FAILURE_TEXT, "killed by SIG%s%s", name,
			 WTERMSIG(status) == SIGSYS ? ", as it tried a forbidden system call" : "");
	else
		snprintf(text, FAILURE_TEXT, "ended with status %d", WEXITSTATUS(status));
}

static void warn_of_end(struct remote *remote, pid_t pid)
{
	if (!log_is_due(&remote->warned_ms, WARN_EVERY_MS))
		return;
	log_warning(
	    "health checks: probe process (pid %d): %s; it is started again. Probes that are "
	    "repeated: %u; restarts so far: %llu (logged every %ds at most)",
	    pid, remote->why, remote->probes, (unsigned long long)remote->restarts,
	    WARN_EVERY_MS / 1000);
}

static void forget_process(struct remote *remote)
{
	close_socket(remote);
	if (remote->pidfd >= 0) {
		event_del(&remote->ended);
		close(remote->pidfd);
		remote->pidfd = -1;
	}
	event_del(&remote->tick);
	remote->pid = 0;
	remote->ending[0] = 0;
}

static void start_now(struct remote *remote);

static void start_later(struct remote *remote)
{
	const struct timeval wait = clock_span_ms(remote->backoff_ms);

	event_add(&remote->tick, &wait);
}

static void on_readable(int fd, short what, void *arg);

static void on_ended(int fd, short what, void *arg)
{
	struct remote *remote = arg;
	pid_t pid = remote->pid;
	int status = 0; /* not known where lbd was started with SIGCHLD ignored */

	/* What it has said last, and why it ends. Before waitpid: until then the pid is its own. */
	if (remote->fd >= 0)
		on_readable(remote->fd, EV_READ, remote);
	if (!waitpid(pid, &status, WNOHANG))
		return;
	if (remote->ending[0])
		memcpy(remote->why, remote->ending, sizeof(remote->why));
	else
		describe_status(status, remote->why);
	forget_process(remote);
	remote->restarts++;
	remote->ended_ms = clock_monotonic_ms();
	warn_of_end(remote, pid);
	if (remote->ended_ms - remote->start_ms >= STEADY_MS) {
		remote->backoff_ms = 0;
		start_now(remote);
	} else {
		start_later(remote);
	}
	lose_all(remote);
}

/* ---- requests ---- */

/* descriptor: goes with it, and stays open here; -1: none. 0: sent. -EAGAIN: it has not read what
 * was sent before, or has ended: then on_ended follows. Else it cannot be sent. */
static int send_request(struct remote *remote, const struct request *request, size_t length,
			int descriptor)
{
	int rc =
	    remote->fd < 0 ? -ENOTCONN : descriptor_send(remote->fd, request, length, descriptor);

	/* as many descriptors as one user may have on their way; certificates that are too long
	 * for the buffers of sockets here: waiting does not help */
	return !rc || rc == -ETOOMANYREFS || rc == -EMSGSIZE ? rc : -EAGAIN;
}

static void on_deadline(int fd, short what, void *arg)
{
	const struct remote_probe *probe = arg;

	end_process(probe->remote, "no result for a probe");
}

/* With its socket, if only lbd may make it: that is in no other hands before, and not kept here. 0
 * or -errno as send_request, or as the socket cannot be made. */
static int send_start(const struct remote_probe *probe)
{
	struct request request;
	size_t length = message_put_start(&request, probe->id, probe->spec, probe->repeated);
	_cleanup_close_ int fd = -1;

	if (source_is_set(probe->spec)) {
		fd = source_socket(probe->spec);
		if (fd < 0)
			return -errno;
	}
	return send_request(probe->remote, &request, length, fd);
}

/* -EAGAIN: it stays in the queue. */
static int send_probe(struct remote_probe *probe)
{
	struct remote *remote = probe->remote;
	const struct timeval deadline =
	    clock_span_ms(2ULL * probe->spec->config->timeout_ms + remote->options.patience_ms);
	int rc;

	probe->sent_us = clock_monotonic_us();
	rc = send_start(probe);
	if (rc)
		return rc;
	TAILQ_REMOVE(&remote->queue, probe, link);
	TAILQ_INSERT_TAIL(&remote->sent, probe, link);
	probe->sent = true;
	event_add(&probe->deadline, &deadline);
	return 0;
}

static void on_writable(int fd, short what, void *arg)
{
	struct remote *remote = arg;
	struct remote_probe *probe;

	while ((probe = TAILQ_FIRST(&remote->queue))) {
		int rc = send_probe(probe);

		if (rc == -EAGAIN)
			return;
		if (rc)
			finish_now(probe, ATTEMPT_NOT_RUN, strerror(-rc));
	}
	event_del(&remote->writable);
}

struct remote_probe *remote_start(struct remote *remote, const struct health_probe_spec *spec,
				  bool repeated, attempt_done_fn *done, void *arg)
{
	struct remote_probe *probe;
	int rc;

	remote_need(remote);
	if (remote->fd < 0) {
		errno = ENOTCONN;
		return NULL;
	}
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return NULL;
	*probe = (struct remote_probe){
	    .remote = remote, .spec = spec, .repeated = repeated, .done = done, .arg = arg};
	if (!take_place(remote, probe)) {
		free(probe);
		errno = ENOMEM;
		return NULL;
	}
	evtimer_assign(&probe->deadline, remote->options.base, on_deadline, probe);
	TAILQ_INSERT_TAIL(&remote->queue, probe, link);
	remote->probes++;
	rc = TAILQ_FIRST(&remote->queue) == probe ? send_probe(probe) : -EAGAIN;
	if (rc && rc != -EAGAIN) {
		probe_free(probe);
		errno = -rc;
		return NULL;
	}
	if (rc)
		event_add(&remote->writable, NULL);
	return probe;
}

/* A cancel that cannot be sent now is not needed: the probe ends by its timeout, or when another
 * one gets its place. */
void remote_cancel(struct remote_probe *probe)
{
	struct remote *remote = probe->remote;
	struct request request;

	if (probe->sent) {
		send_request(remote, &request,
			     message_put_plain(&request, REQUEST_CANCEL, probe->id), -1);
		remote->crossing++;
	}
	probe_free(probe);
}

/* ---- replies ---- */

static void take_result(struct remote *remote, struct reply *reply)
{
	struct remote_probe *probe = find_probe(remote, reply->id);
	struct attempt_result result;

	if (probe) {
		message_get_result(reply, probe->sent_us, clock_monotonic_us(), &result);
		finish(probe, &result);
	} else if (remote->crossing) {
		remote->crossing--;
	} else {
		end_process(remote, "it sent the result of a probe that it does not run");
	}
}

static void take_pong(struct remote *remote, const struct reply *reply)
{
	if (!remote->ping || reply->id != remote->ping) {
		end_process(remote, "it sent an answer to a ping that was not sent");
		return;
	}
	remote->ping = 0;
	remote->missed = 0;
}

static void take_reply(struct remote *remote, struct reply *reply)
{
	switch (reply->type) {
	case REPLY_RESULT:
		take_result(remote, reply);
		return;
	case REPLY_PONG:
		take_pong(remote, reply);
		return;
	case REPLY_UNFIT:
		make_printable(reply->why, false);
		end_process(remote, reply->why);
		return;
	default:
		if (remote->ready)
			end_process(remote, "it was ready twice");
		else
			remote->ready = true;
	}
}

static void refuse(struct remote *remote, const char *what)
{
	char why[FAILURE_TEXT];

	snprintf(why, sizeof(why), "it sent a malformed message: %s", what);
	end_process(remote, why);
}

/* What it sends cannot keep lbd from other work: so many messages a turn, and each is either asked
 * for or the last. */
static void on_readable(int fd, short what, void *arg)
{
	struct remote *remote = arg;

	for (unsigned i = 0; i < MESSAGES_TURN && remote->fd >= 0; i++) {
		struct reply reply;
		ssize_t length = recv(fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_TRUNC);
		const char *wrong;

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* It has ended, and left a request unread. What it said before comes after this
		 * error. */
		if (length < 0 && errno == ECONNRESET)
			continue;
		if (length <= 0) { /* it has closed its end: it has ended, or has no use */
			close_socket(remote);
			if (remote->pid)
				kill(remote->pid, SIGKILL);
			return;
		}
		wrong = message_check_reply(&reply, (size_t)length);
		if (wrong)
			refuse(remote, wrong);
		else
			take_reply(remote, &reply);
	}
}

/* ---- the start of the process ---- */

static int spawn(const struct remote *remote, int fd, pid_t *ret)
{
	const struct spawn_options options = {.arguments = remote->options.arguments,
					      .fds = {-1, -1, -1, fd},
					      .count = WORKER_FD + 1};

	_Static_assert(WORKER_FD + 1 <= SPAWN_FDS_MAX, "room for the socket");
	return spawn_self(&options, ret);
}

static int watch_process(struct remote *remote)
{
	const struct timeval tick = clock_span_ms(remote->options.tick_ms);
	struct event_base *base = remote->options.base;

	remote->pidfd = pidfd_open(remote->pid, 0);
	if (remote->pidfd < 0)
		return -errno;
	event_assign(&remote->ended, base, remote->pidfd, EV_READ | EV_PERSIST, on_ended, remote);
	event_assign(&remote->readable, base, remote->fd, EV_READ | EV_PERSIST, on_readable,
		     remote);
	event_assign(&remote->writable, base, remote->fd, EV_WRITE | EV_PERSIST, on_writable,
		     remote);
	if (event_add(&remote->ended, NULL) || event_add(&remote->readable, NULL) ||
	    event_add(&remote->tick, &tick))
		return -ENOMEM;
	return 0;
}

/* Waits for a process that cannot be watched, or is not needed any more. */
static void kill_and_wait(struct remote *remote)
{
	if (!remote->pid)
		return;
	kill(remote->pid, SIGKILL);
	while (waitpid(remote->pid, NULL, 0) < 0 && errno == EINTR)
		;
	forget_process(remote);
}

static int start_process(struct remote *remote)
{
	int fds[2], rc;

	remote->start_ms = clock_monotonic_ms();
	if (!worker_can_start())
		return -ENOSYS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	remote->ping = remote->missed = 0;
	remote->crossing = 0;
	remote->ready = false;
	rc = spawn(remote, fds[1], &remote->pid);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		remote->pid = 0;
		return rc;
	}
	remote->fd = fds[0];
	spawn_make_room(remote->fd);
	rc = watch_process(remote);
	if (rc)
		kill_and_wait(remote);
	return rc;
}

/* One that ends soon is started again after a wait, which is longer each time. */
static void start_now(struct remote *remote)
{
	const struct remote_options *options = &remote->options;
	int rc;

	remote->backoff_ms = remote->backoff_ms ? remote->backoff_ms * 2 : options->backoff_ms;
	if (remote->backoff_ms > options->backoff_max_ms)
		remote->backoff_ms = options->backoff_max_ms;
	rc = start_process(remote);
	if (!rc)
		return;
	snprintf(remote->why, sizeof(remote->why), "cannot be started: %s", strerror(-rc));
	if (log_is_due(&remote->warned_ms, WARN_EVERY_MS))
		log_error(
		    "health checks: probe process: %s; tried again (logged every %ds at most)",
		    remote->why, WARN_EVERY_MS / 1000);
	start_later(remote);
}

/* ---- ticks ---- */

/* Turns of this loop are counted, not time: if lbd itself was stopped, the answer is there with the
 * next turn. */
static void ping(struct remote *remote)
{
	struct request request;

	if (++remote->missed > remote->options.ticks) {
		end_process(remote, "it hangs: no answer to a ping");
		return;
	}
	if (!remote->ping &&
	    !send_request(remote, &request,
			  message_put_plain(&request, REQUEST_PING, remote->pings + 1), -1))
		remote->ping = ++remote->pings;
}

static void on_tick(int fd, short what, void *arg)
{
	struct remote *remote = arg;
	const struct timeval wait = clock_span_ms(remote->options.tick_ms);

	if (!remote->pid) {
		start_now(remote);
		return;
	}
	event_add(&remote->tick, &wait);
	if (remote->fd >= 0)
		ping(remote);
}

/* ---- the whole ---- */

struct remote_options remote_defaults(struct event_base *base)
{
	static const char *const arguments[] = {"lbd", WORKER_ARGUMENT, NULL};

	return (struct remote_options){
	    .base = base,
	    .arguments = arguments,
	    .tick_ms = 1000,
	    .ticks = 10,
	    .patience_ms = 30000,
	    .backoff_ms = 100,
	    .backoff_max_ms = 2000,
	};
}

int remote_new(const struct remote_options *options, struct remote **ret)
{
	struct remote *remote = calloc(1, sizeof(*remote));

	if (!remote)
		return -ENOMEM;
	remote->options = *options;
	remote->pidfd = remote->fd = -1;
	TAILQ_INIT(&remote->queue);
	TAILQ_INIT(&remote->sent);
	evtimer_assign(&remote->tick, options->base, on_tick, remote);
	*ret = remote;
	return 0;
}

void remote_free(struct remote *remote)
{
	if (!remote)
		return;
	kill_and_wait(remote);
	event_del(&remote->tick);
	free(remote->places);
	free(remote->vacant);
	free(remote);
}

void remote_need(struct remote *remote)
{
	if (remote->needed)
		return;
	remote->needed = true;
	start_now(remote);
}

void remote_process(const struct remote *remote, struct health_process *ret)
{
	*ret = (struct health_process){
	    .needed = remote->needed,
	    .running = remote->ready,
	    .pid = remote->pid,
	    .probes = remote->probes,
	    .restarts = remote->restarts,
	    .ended_ms = remote->ended_ms,
	    .why = remote->why,
	};
}
