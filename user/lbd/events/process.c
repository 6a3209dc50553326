/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up the rights of lbd, starts the command of `notify`, and sees to it that nothing of it is
 * left: what the command has started becomes a child of this process when its parent ends, also
 * what has left the session, and is killed with it. */
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#include "internal.h"

#define OPEN_FILES 1024 /* lbd's own limit is far above, and some programs close all of them */
#define CHILDREN   "/proc/thread-self/children"
#define KILL_MS    2000 /* those that start others faster than they are killed win after that */

bool events_is_command(int argc, char *const *argv)
{
	return argc > 2 && !strcmp(argv[1], PROCESS_ARGUMENT);
}

static void limit_resources(void)
{
	static const struct rlimit none;
	struct rlimit files;

	setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur <= OPEN_FILES)
		return;
	files.rlim_cur = OPEN_FILES;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- what is left ---- */

/* Kills the children that this process has now, of which there can be more than one read shows. */
static void kill_children(void)
{
	FILE *file = fopen(CHILDREN, "re");
	int pid;

	while (file && fscanf(file, "%d", &pid) == 1)
		kill(pid, SIGKILL);
	if (file)
		fclose(file);
}

/* Children of those that end become children of this process, until none are left. */
static void kill_all(void)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	uint64_t end = clock_monotonic_ms() + KILL_MS;

	for (;;) {
		pid_t pid;

		kill_children();
		do
			pid = waitpid(-1, NULL, WNOHANG);
		while (pid > 0);
		if (pid < 0 || clock_monotonic_ms() >= end)
			return;
		nanosleep(&moment, NULL);
	}
}

/* ---- the command ---- */

static void become_command(char *const *words, const sigset_t *mask, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(PROCESS_NOT_STARTED);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execve(words[0], words, environ);
	dprintf(STDERR_FILENO, "%s: %s\n", words[0], strerror(errno));
	_exit(PROCESS_NOT_STARTED);
}

/* Until the command has ended, which returns true with its status; false: it is to end. */
static bool wait_for(pid_t command, const sigset_t *signals, int *ret_status)
{
	for (;;) {
		int status, number = sigwaitinfo(signals, NULL);
		pid_t pid;

		if (number == SIGTERM)
			return false;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == command) {
				*ret_status = status;
				return true;
			}
	}
}

/* As the command has ended. */
static int end_as(int status)
{
	sigset_t none;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

static int run(char *const *words)
{
	pid_t self = getpid(), command;
	sigset_t signals, before;
	int status = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, &before);
	/* When lbd ends, this process still has to end the others. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || prctl(PR_SET_PDEATHSIG, SIGTERM) ||
	    (command = fork()) < 0) {
		dprintf(STDERR_FILENO, "%s: cannot be started: %s\n", words[0], strerror(errno));
		return PROCESS_NOT_STARTED;
	}
	if (!command)
		become_command(words, &before, self);
	close(STDIN_FILENO); /* it is for the command: lbd sees when that has closed it */
	if (!wait_for(command, &signals, &status))
		status = SIGKILL;
	kill_all();
	return end_as(status);
}

int events_run_command(int argc, char **argv)
{
	struct error err;

	if (rights_give_up(&err)) {
		dprintf(STDERR_FILENO, "its rights cannot be given up: %s\n", err.text);
		return PROCESS_NOT_STARTED;
	}
	limit_resources();
	umask(0022);
	if (chdir("/"))
		dprintf(STDERR_FILENO, "/: %s\n", strerror(errno));
	return run(argv + 2);
}
