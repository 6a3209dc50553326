/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs commands of the config: without rights, without a shell, and so that nothing of them is left
 * when they end or are ended. lbd starts its own program again (spawn_self) as the keeper of one
 * command: it gives up its rights, starts the command in a session of its own, and adopts what that
 * leaves behind. When the command ends, or lbd asks for it or is gone, the keeper kills all of its
 * descendants and ends as the command did. Nothing here waits. */
#ifndef LBD_COMMAND_H
#define LBD_COMMAND_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

/* First argument of the keeper; the command follows. */
#define COMMAND_ARGUMENT "--command-process"
/* Exit status of a command that cannot be started, as that of a shell. */
#define COMMAND_NOT_STARTED 127
#define COMMAND_WORDS_MAX   16 /* its path and arguments */
#define COMMAND_LINE_MAX    200

struct commands; /* those that run for one owner */
struct command;

struct command_result {
	bool timed_out; /* it was killed at its limit */
	int signal;     /* that ended it; 0: none did */
	int status;     /* its exit status, otherwise */
	/* The first line that it printed, at most COMMAND_LINE_MAX bytes, printable; "": none. */
	const char *line;
};

/* Called from the loop, exactly once unless the command is ended by command_end, and never from
 * within command_start. All it has started is gone, and so is the command. */
typedef void command_done_fn(void *arg, const struct command_result *result);

struct command_options {
	const char *const *words;       /* absolute path and arguments; NULL at the end */
	const char *const *environment; /* "NAME=value"; NULL at the end; PATH is added */
	char *input;                    /* for its standard input; taken over; NULL: none */
	size_t input_length;
	unsigned limit_ms; /* 0: none, the owner ends it */
	int priority;      /* of its events in the loop; -1: the default */
	command_done_fn *done;
	void *arg;
};

/* keeper: arguments of this program that make it the keeper, NULL at the end; NULL: lbd's own. They
 * outlive the commands. 0 or -ENOMEM. */
int commands_new(struct event_base *base, const char *const *keeper, struct commands **ret);
/* Kills those that run, and waits for their end; done is not called. NULL is fine. */
void commands_free(struct commands *commands);
/* With those that are ended and still there. */
unsigned commands_running(const struct commands *commands);

/* 0, or -errno: this host is out of resources; input is freed then too. */
int command_start(struct commands *commands, const struct command_options *options,
		  struct command **ret);
/* Without the loop: feeds it, reads what it prints, and looks whether it has ended by now. True:
 * done was called. */
bool command_serve(struct command *command);
/* Kills it with all it has started; done is not called. It is gone for its owner. */
void command_end(struct command *command);

/* "ended with status 2", "killed by SIGSEGV", "killed after 10 s, with what it had started" */
#define COMMAND_TEXT 128
const char *command_describe(const struct command_result *result, unsigned limit_ms,
			     char text[COMMAND_TEXT]);

/* Is this the keeper of a command? main asks before all else. */
bool command_is_process(int argc, char *const *argv);
/* Becomes it. Returns its exit status. */
int command_run_process(int argc, char **argv);

#endif
