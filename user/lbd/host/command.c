/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd's side of a command: starts its keeper, feeds it, keeps the first line that it prints, and
 * has it end in time. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/printable.h"
#include "spawn.h"

#define OUTPUT_MAX 65536 /* bytes that it may print; then nobody reads */
#define READ_MAX   4096  /* in one turn of the loop */
/* The keeper kills what it keeps within some seconds; then it is killed itself, and with it what is
 * in its reach. */
#define KEEPER_MS 10000

struct command {
	LIST_ENTRY(command) link;
	struct commands *commands;
	pid_t pid;                /* of its keeper */
	int pidfd, input, output; /* -1: closed */
	char *bytes;              /* for its input */
	size_t length, sent;
	char line[COMMAND_LINE_MAX + 1];
	size_t line_length, printed;
	bool line_ended, timed_out;
	int priority;
	struct event ended, writable, readable;
	struct event deadline; /* first of the command, then of its keeper */
	command_done_fn *done; /* NULL: its owner has ended it */
	void *arg;
};

struct commands {
	struct event_base *base;
	const char *const *keeper;
	LIST_HEAD(command_list, command) list;
	unsigned count;
};

/* ---- the end ---- */

static void close_fd(int *fd, struct event *event)
{
	if (*fd < 0)
		return;
	event_del(event);
	close(*fd);
	*fd = -1;
}

static void command_free(struct command *command)
{
	close_fd(&command->input, &command->writable);
	close_fd(&command->output, &command->readable);
	close_fd(&command->pidfd, &command->ended);
	event_del(&command->deadline);
	LIST_REMOVE(command, link);
	command->commands->count--;
	free(command->bytes);
	free(command);
}

static void read_some(struct command *command);

/* True: it had ended, and is gone. */
static bool reap(struct command *command)
{
	struct command_result result = {.timed_out = command->timed_out, .line = command->line};
	command_done_fn *done = command->done;
	void *arg = command->arg;
	char line[COMMAND_LINE_MAX + 1];
	int status = 0;

	if (!waitpid(command->pid, &status, WNOHANG))
		return false;
	read_some(command); /* what it printed last */
	command->line[command->line_length] = 0;
	make_printable(command->line, false);
	memcpy(line, command->line, sizeof(line));
	result.line = line;
	result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	command_free(command);
	if (done)
		done(arg, &result);
	return true;
}

static void on_ended(int fd, short what, void *arg)
{
	reap(arg);
}

/* The keeper ends all and then itself. */
static void ask_to_end(struct command *command)
{
	const struct timeval wait = clock_span_ms(KEEPER_MS);

	kill(command->pid, SIGTERM);
	event_add(&command->deadline, &wait);
}

static void on_deadline(int fd, short what, void *arg)
{
	struct command *command = arg;

	if (command->timed_out || !command->done) {
		kill(command->pid, SIGKILL); /* then on_ended */
		return;
	}
	command->timed_out = true;
	ask_to_end(command);
}

void command_end(struct command *command)
{
	bool asked = command->timed_out;

	command->done = NULL;
	close_fd(&command->input, &command->writable);
	close_fd(&command->output, &command->readable);
	if (!asked)
		ask_to_end(command);
}

/* ---- while it runs ---- */

static void on_writable(int fd, short what, void *arg)
{
	struct command *command = arg;
	ssize_t n = write(fd, command->bytes + command->sent, command->length - command->sent);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		command->sent += (size_t)n;
	if (n <= 0 || command->sent == command->length) /* it need not read */
		close_fd(&command->input, &command->writable);
}

static void keep_line(struct command *command, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length && !command->line_ended; i++) {
		command->line_ended = bytes[i] == '\n' || command->line_length == COMMAND_LINE_MAX;
		if (!command->line_ended)
			command->line[command->line_length++] = bytes[i] ? bytes[i] : '?';
	}
}

static void read_some(struct command *command)
{
	char bytes[READ_MAX];
	ssize_t n = command->output < 0 ? -1 : read(command->output, bytes, sizeof(bytes));

	if (command->output < 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n > 0) {
		keep_line(command, bytes, (size_t)n);
		command->printed += (size_t)n;
	}
	if (n <= 0 || command->printed >= OUTPUT_MAX)
		close_fd(&command->output, &command->readable);
}

static void on_readable(int fd, short what, void *arg)
{
	read_some(arg);
}

bool command_serve(struct command *command)
{
	if (command->input >= 0)
		on_writable(command->input, EV_WRITE, command);
	read_some(command);
	return reap(command);
}

/* ---- start ---- */

static void watch(struct command *command, struct event *event, int fd, short what,
		  event_callback_fn callback)
{
	event_assign(event, command->commands->base, fd, what | EV_PERSIST, callback, command);
	if (command->priority >= 0)
		event_priority_set(event, command->priority);
	event_add(event, NULL);
}

#define VARIABLES_MAX 48

static int spawn_keeper(struct command *command, const struct command_options *options, int input,
			int output)
{
	static const char *const lbd[] = {"lbd-command", COMMAND_ARGUMENT, NULL};
	const char *const *keeper = command->commands->keeper ? command->commands->keeper : lbd;
	const char *words[COMMAND_WORDS_MAX + 4], *environment[VARIABLES_MAX + 2];
	unsigned count = 0, variables = 0;
	struct spawn_options spawn = {.arguments = words,
				      .environment = environment,
				      .fds = {input, output, output},
				      .count = 3,
				      .session = true};

	for (unsigned i = 0; i < 3 && keeper[i]; i++)
		words[count++] = keeper[i];
	for (unsigned i = 0; i < COMMAND_WORDS_MAX && options->words[i]; i++)
		words[count++] = options->words[i];
	words[count] = NULL;
	environment[variables++] =
	    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (unsigned i = 0; options->environment && options->environment[i]; i++)
		if (variables <= VARIABLES_MAX)
			environment[variables++] = options->environment[i];
	environment[variables] = NULL;
	return spawn_self(&spawn, &command->pid);
}

/* Takes over the descriptors. */
static int follow(struct command *command, const struct command_options *options, int input,
		  int output)
{
	const struct timeval limit = clock_span_ms(options->limit_ms);

	command->input = input;
	command->output = output;
	watch(command, &command->writable, input, EV_WRITE, on_writable);
	watch(command, &command->readable, output, EV_READ, on_readable);
	if (!command->length)
		close_fd(&command->input, &command->writable);
	if (options->limit_ms)
		event_add(&command->deadline, &limit);
	command->pidfd = pidfd_open(command->pid, 0);
	if (command->pidfd < 0)
		return -errno;
	watch(command, &command->ended, command->pidfd, EV_READ, on_ended);
	return 0;
}

static int open_pipes(int in[2], int out[2])
{
	int rc;

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
	return 0;
}

static void kill_and_wait(struct command *command)
{
	kill(command->pid, SIGKILL);
	while (waitpid(command->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int start(struct command *command, const struct command_options *options)
{
	int in[2], out[2], rc = open_pipes(in, out);

	if (rc)
		return rc;
	rc = spawn_keeper(command, options, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	if (rc) {
		close(in[1]);
		close(out[0]);
		return rc;
	}
	rc = follow(command, options, in[1], out[0]);
	if (rc)
		kill_and_wait(command);
	return rc;
}

int command_start(struct commands *commands, const struct command_options *options,
		  struct command **ret)
{
	struct command *command = calloc(1, sizeof(*command));
	int rc;

	if (!command) {
		free(options->input);
		return -ENOMEM;
	}
	*command = (struct command){.commands = commands,
				    .pidfd = -1,
				    .input = -1,
				    .output = -1,
				    .bytes = options->input,
				    .length = options->input_length,
				    .priority = options->priority,
				    .done = options->done,
				    .arg = options->arg};
	LIST_INSERT_HEAD(&commands->list, command, link);
	commands->count++;
	evtimer_assign(&command->deadline, commands->base, on_deadline, command);
	rc = start(command, options);
	if (rc) {
		command_free(command);
		return rc;
	}
	*ret = command;
	return 0;
}

/* ---- all of them ---- */

int commands_new(struct event_base *base, const char *const *keeper, struct commands **ret)
{
	struct commands *commands = calloc(1, sizeof(*commands));

	if (!commands)
		return -ENOMEM;
	/* or the kernel would keep no status, where this process was started so */
	signal(SIGCHLD, SIG_DFL);
	commands->base = base;
	commands->keeper = keeper;
	LIST_INIT(&commands->list);
	*ret = commands;
	return 0;
}

unsigned commands_running(const struct commands *commands)
{
	return commands->count;
}

/* Until end_ms, CLOCK_MONOTONIC; then it is killed. */
static void wait_for(struct command *command, uint64_t end_ms)
{
	struct pollfd ended = {.fd = command->pidfd, .events = POLLIN};
	uint64_t now_ms = clock_monotonic_ms();

	poll(&ended, 1, now_ms < end_ms ? (int)(end_ms - now_ms) : 0);
	kill_and_wait(command);
}

void commands_free(struct commands *commands)
{
	uint64_t end_ms = clock_monotonic_ms() + KEEPER_MS; /* for all of them */
	struct command *command;

	if (!commands)
		return;
	for (command = LIST_FIRST(&commands->list); command; command = LIST_NEXT(command, link))
		kill(command->pid, SIGTERM);
	while ((command = LIST_FIRST(&commands->list))) {
		wait_for(command, end_ms);
		command_free(command);
	}
	free(commands);
}

/* ---- words ---- */

const char *command_describe(const struct command_result *result, unsigned limit_ms,
			     char text[COMMAND_TEXT])
{
	const char *name = result->signal ? sigabbrev_np(result->signal) : NULL;
	char limit[DURATION_TEXT];

	if (result->timed_out)
		snprintf(text, COMMAND_TEXT, "killed after %s, with what it had started",
			 duration_exact(limit_ms, limit));
	else if (name)
		snprintf(text, COMMAND_TEXT, "killed by SIG%s", name);
	else if (result->signal)
		snprintf(text, COMMAND_TEXT, "killed by signal %d", result->signal);
	else
		snprintf(text, COMMAND_TEXT, "ended with status %d", result->status);
	return text;
}
