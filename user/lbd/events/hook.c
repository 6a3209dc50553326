/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs the command of `notify` for new events: one at a time, and not more often than once a
 * second. What comes meanwhile is handed over together. Nothing here waits for the command. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/printable.h"
#include "process.h"

#define GATHER_MS     200
#define REST_MS       1000
#define LIMIT_MS      10000
#define BUNDLE_MAX    49152 /* bytes of one hand-over; what is beyond is in the next one */
#define OUTPUT_MAX    65536 /* bytes that the command may print; then nobody reads */
#define READ_MAX      4096  /* in one turn of the loop */
#define LINE_MAX_KEPT 200   /* bytes of its first line, for the log */
#define VARIABLES_MAX 32
#define WARN_EVERY_MS 10000

struct run {
	pid_t pid;                /* 0: none */
	int pidfd, input, output; /* -1: closed */
	char *bundle;
	size_t length, sent;
	unsigned events;
	char line[LINE_MAX_KEPT + 1]; /* the first line that it printed */
	size_t line_length, printed;
	bool line_ended, timed_out;
	struct event ended, writable, readable;
};

struct hook {
	struct events_hook_options options;
	struct event_base *base;
	const struct event_ring *ring;
	char *socket;
	char *command;              /* NULL: none */
	uint64_t handed;            /* seq of the last event that was handed over */
	uint64_t start_ms;          /* CLOCK_MONOTONIC of the last start; 0: none */
	struct event due, deadline; /* of the run */
	struct run run;
	uint64_t counts[NOTIFY_RESULT_COUNT];
	uint64_t warned_ms;
};

/* ---- what is handed over ---- */

struct bundle {
	char *text; /* a line each */
	size_t length;
	unsigned events;
	bool missed; /* older ones gave way before they could be handed over */
	const struct event_entry *last;
};

static int bundle_make(const struct hook *hook, struct bundle *ret)
{
	struct bundle bundle = {.missed = hook->ring->gone > hook->handed,
				.text = malloc(BUNDLE_MAX)};
	const struct event_entry *entry = ring_after(hook->ring, hook->handed);

	if (!bundle.text)
		return -ENOMEM;
	for (; entry && bundle.length + entry->length < BUNDLE_MAX;
	     entry = ring_after(hook->ring, entry->seq)) {
		memcpy(bundle.text + bundle.length, entry->json, entry->length);
		bundle.length += entry->length;
		bundle.text[bundle.length++] = '\n';
		bundle.events++;
		bundle.last = entry;
	}
	*ret = bundle;
	return 0;
}

/* ---- its environment ---- */

struct environment {
	char *list[VARIABLES_MAX + 1];
	unsigned count;
};

static void environment_done(struct environment *environment)
{
	for (unsigned i = 0; i < environment->count; i++)
		free(environment->list[i]);
}

static void add_variable(struct environment *environment, const char *name, const char *value)
{
	char *text;

	if (environment->count < VARIABLES_MAX && asprintf(&text, "%s=%s", name, value) >= 0)
		environment->list[environment->count++] = text;
}

static void add_number(struct environment *environment, const char *name, long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", value);
	add_variable(environment, name, text);
}

/* A field of the event: LBD_KIND=backend-down. One that is null is empty. */
static void add_field(struct environment *environment, const char *key, const json_t *value)
{
	char name[40];

	snprintf(name, sizeof(name), "LBD_%s", key);
	for (char *c = name; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	if (json_is_integer(value))
		add_number(environment, name, json_integer_value(value));
	else
		add_variable(environment, name,
			     json_is_string(value) ? json_string_value(value) : "");
}

static void add_event(struct environment *environment, const struct event_entry *entry)
{
	json_t *json = json_loadb(entry->json, entry->length, 0, NULL);
	const char *key;
	json_t *value;

	json_object_foreach (json, key, value)
		add_field(environment, key, value);
	json_decref(json);
}

static void environment_make(const struct hook *hook, const struct bundle *bundle,
			     struct environment *ret)
{
	add_variable(ret, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (hook->socket)
		add_variable(ret, "LBD_SOCKET", hook->socket);
	add_number(ret, "LBD_EVENTS", bundle->events);
	add_number(ret, "LBD_MISSED", bundle->missed);
	add_event(ret, bundle->last);
	ret->list[ret->count] = NULL;
}

/* ---- the end of a run ---- */

static void close_fd(int *fd, struct event *event)
{
	if (*fd < 0)
		return;
	event_del(event);
	close(*fd);
	*fd = -1;
}

static void run_done(struct run *run)
{
	close_fd(&run->input, &run->writable);
	close_fd(&run->output, &run->readable);
	close_fd(&run->pidfd, &run->ended);
	free(run->bundle);
	*run = (struct run){.pidfd = -1, .input = -1, .output = -1};
}

/* Its group is that of its session: what it has started, unless that has left. */
static void kill_group(const struct run *run)
{
	if (kill(-run->pid, SIGKILL) && errno != ESRCH)
		kill(run->pid, SIGKILL);
}

static void describe(const struct run *run, const struct hook *hook, int status, char text[128])
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
	char limit[DURATION_TEXT];

	if (run->timed_out)
		snprintf(text, 128, "killed after %s, with what it had started",
			 duration_exact(hook->options.limit_ms, limit));
	else if (name)
		snprintf(text, 128, "killed by SIG%s", name);
	else
		snprintf(text, 128, "ended with status %d", WEXITSTATUS(status));
}

static void warn(struct hook *hook, const char *what, const char *output, unsigned events)
{
	if (log_is_due(&hook->warned_ms, WARN_EVERY_MS))
		log_warning("notify: %s: %s%s%s; events that it was given: %u (they are not handed "
			    "over again; logged every %d s at most)",
			    hook->command ? hook->command : "the command", what,
			    *output ? ": " : "", output, events, WARN_EVERY_MS / 1000);
}

static void arm(struct hook *hook);

static void judge(struct hook *hook, int status)
{
	struct run *run = &hook->run;
	enum notify_result result =
	    run->timed_out                                                    ? NOTIFY_timeout
	    : !status                                                         ? NOTIFY_ok
	    : WIFEXITED(status) && WEXITSTATUS(status) == PROCESS_NOT_STARTED ? NOTIFY_not_started
									      : NOTIFY_failed;
	char text[128];

	hook->counts[result]++;
	if (result == NOTIFY_ok)
		return;
	run->line[run->line_length] = 0;
	make_printable(run->line, false);
	describe(run, hook, status, text);
	warn(hook, result == NOTIFY_not_started ? "cannot be started" : text, run->line,
	     run->events);
}

static void read_some(struct run *run);

/* Of a group without a leader the number could be another's: it is killed before the leader is
 * waited for. */
static void on_ended(int fd, short what, void *arg)
{
	struct hook *hook = arg;
	struct run *run = &hook->run;
	siginfo_t info = {0};
	int status = 0; /* not known where lbd was started with SIGCHLD ignored */

	if (!waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid)
		return;
	kill_group(run);
	waitpid(run->pid, &status, 0);
	read_some(run); /* what it printed last */
	judge(hook, status);
	event_del(&hook->deadline);
	run_done(run);
	arm(hook);
}

static void on_deadline(int fd, short what, void *arg)
{
	struct hook *hook = arg;

	hook->run.timed_out = true;
	kill_group(&hook->run); /* then on_ended */
}

/* ---- while it runs ---- */

static void on_writable(int fd, short what, void *arg)
{
	struct run *run = arg;
	ssize_t n = write(fd, run->bundle + run->sent, run->length - run->sent);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		run->sent += (size_t)n;
	if (n <= 0 || run->sent == run->length) /* it need not read */
		close_fd(&run->input, &run->writable);
}

static void keep_line(struct run *run, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length && !run->line_ended; i++) {
		run->line_ended = bytes[i] == '\n' || run->line_length == LINE_MAX_KEPT;
		if (!run->line_ended)
			run->line[run->line_length++] = bytes[i] ? bytes[i] : '?';
	}
}

static void read_some(struct run *run)
{
	char bytes[READ_MAX];
	ssize_t n = run->output < 0 ? -1 : read(run->output, bytes, sizeof(bytes));

	if (run->output < 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n > 0) {
		keep_line(run, bytes, (size_t)n);
		run->printed += (size_t)n;
	}
	if (n <= 0 || run->printed >= OUTPUT_MAX)
		close_fd(&run->output, &run->readable);
}

static void on_readable(int fd, short what, void *arg)
{
	read_some(arg);
}

/* ---- a run ---- */

/* The path and the arguments of a command that was checked when the config was read. */
static char *split(const char *command, const char *ret[NOTIFY_WORDS_MAX + 3],
		   const struct hook *hook)
{
	const char *const *own = hook->options.arguments;
	char *copy = strdup(command), *at = copy;
	unsigned count = 0;

	ret[count++] = own ? own[0] : "lbd";
	ret[count++] = own ? own[1] : PROCESS_ARGUMENT;
	for (char *word; copy && count < NOTIFY_WORDS_MAX + 2 && (word = strsep(&at, " \t"));)
		if (*word)
			ret[count++] = word;
	ret[count] = NULL;
	return copy;
}

static int spawn_command(struct hook *hook, const struct bundle *bundle, int input, int output)
{
	const char *words[NOTIFY_WORDS_MAX + 3];
	char *copy = split(hook->command, words, hook);
	struct environment environment = {.count = 0};
	struct spawn_options options = {.arguments = words,
					.environment = (const char *const *)environment.list,
					.fds = {input, output, output},
					.count = 3,
					.session = true};
	int rc;

	environment_make(hook, bundle, &environment);
	rc = copy ? spawn_self(&options, &hook->run.pid) : -ENOMEM;
	environment_done(&environment);
	free(copy);
	return rc;
}

static void watch(struct hook *hook, struct event *event, int fd, short what,
		  event_callback_fn callback, void *arg)
{
	event_assign(event, hook->base, fd, what | EV_PERSIST, callback, arg);
	event_priority_set(event, loop_priority_in(hook->base, LOOP_BULK));
	event_add(event, NULL);
}

/* Takes over the descriptors. */
static int follow(struct hook *hook, int input, int output)
{
	const struct timeval limit = clock_span_ms(hook->options.limit_ms);
	struct run *run = &hook->run;

	run->input = input;
	run->output = output;
	watch(hook, &run->writable, input, EV_WRITE, on_writable, run);
	watch(hook, &run->readable, output, EV_READ, on_readable, run);
	event_add(&hook->deadline, &limit);
	run->pidfd = pidfd_open(run->pid, 0);
	if (run->pidfd < 0)
		return -errno;
	watch(hook, &run->ended, run->pidfd, EV_READ, on_ended, hook);
	return 0;
}

static void end_now(struct run *run)
{
	if (!run->pid)
		return;
	kill_group(run);
	while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int start(struct hook *hook, const struct bundle *bundle)
{
	int in[2], out[2], rc;

	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		rc = -errno;
		close(in[0]);
		close(in[1]);
		return rc;
	}
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	rc = spawn_command(hook, bundle, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	if (rc) {
		close(in[1]);
		close(out[0]);
		hook->run.pid = 0;
		return rc;
	}
	rc = follow(hook, in[1], out[0]);
	if (rc)
		end_now(&hook->run);
	return rc;
}

static void on_due(int fd, short what, void *arg)
{
	struct hook *hook = arg;
	struct bundle bundle;
	int rc;

	if (!hook->command || !ring_after(hook->ring, hook->handed))
		return;
	hook->start_ms = clock_monotonic_ms();
	if (bundle_make(hook, &bundle)) {
		arm(hook);
		return;
	}
	hook->handed = bundle.last->seq;
	hook->run.bundle = bundle.text;
	hook->run.length = bundle.length;
	hook->run.events = bundle.events;
	rc = start(hook, &bundle);
	if (!rc)
		return;
	hook->counts[NOTIFY_not_started]++;
	warn(hook, "cannot be started", strerror(-rc), bundle.events);
	event_del(&hook->deadline);
	run_done(&hook->run);
	arm(hook);
}

/* The next start: when what comes together has come, and the rest since the last one is over. */
static void arm(struct hook *hook)
{
	uint64_t now_ms = clock_monotonic_ms(), at_ms = now_ms + hook->options.gather_ms;
	struct timeval wait;

	if (!hook->command || hook->run.pid || event_pending(&hook->due, EV_TIMEOUT, NULL) ||
	    !ring_after(hook->ring, hook->handed))
		return;
	if (hook->start_ms && hook->start_ms + hook->options.rest_ms > at_ms)
		at_ms = hook->start_ms + hook->options.rest_ms;
	wait = clock_span_ms(at_ms - now_ms);
	event_add(&hook->due, &wait);
}

void hook_wake(struct hook *hook)
{
	arm(hook);
}

/* Events of the time without a command are not for it. */
void hook_set(struct hook *hook, const char *command)
{
	if (!hook->command)
		hook->handed = ring_last(hook->ring);
	free(hook->command);
	hook->command = command ? strdup(command) : NULL;
}

const uint64_t *hook_counts(const struct hook *hook)
{
	return hook->counts;
}

/* ---- start and stop ---- */

static unsigned or_default(unsigned value, unsigned fallback)
{
	return value ? value : fallback;
}

int hook_new(const struct events_options *options, const struct event_ring *ring, struct hook **ret)
{
	struct hook *hook = calloc(1, sizeof(*hook));

	if (!hook)
		return -ENOMEM;
	hook->base = options->base;
	hook->ring = ring;
	hook->options = options->hook;
	hook->options.gather_ms = or_default(hook->options.gather_ms, GATHER_MS);
	hook->options.rest_ms = or_default(hook->options.rest_ms, REST_MS);
	hook->options.limit_ms = or_default(hook->options.limit_ms, LIMIT_MS);
	hook->run = (struct run){.pidfd = -1, .input = -1, .output = -1};
	evtimer_assign(&hook->due, hook->base, on_due, hook);
	evtimer_assign(&hook->deadline, hook->base, on_deadline, hook);
	if (options->socket && !(hook->socket = strdup(options->socket))) {
		hook_free(hook);
		return -ENOMEM;
	}
	*ret = hook;
	return 0;
}

void hook_free(struct hook *hook)
{
	if (!hook)
		return;
	end_now(&hook->run);
	run_done(&hook->run);
	event_del(&hook->due);
	event_del(&hook->deadline);
	free(hook->socket);
	free(hook->command);
	free(hook);
}
