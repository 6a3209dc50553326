/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The keeper of a command: a process between lbd and the command, without rights, that leaves
 * nothing of the command behind. A process that has left the command's group and session, or lost
 * its parent, is still a descendant of the keeper, as that is a subreaper. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#include "command.h"
#include "rights.h"

#define NAME       "lbd-command" /* in ps and top */
#define OPEN_FILES 1024 /* lbd's own limit is far above, and some programs close all of them */
/* Of the user of all commands, so that one which forks without end leaves room on this host. */
#define PROCESSES 512
#define ROUNDS    1000 /* of killing, each followed by a wait: on a busy host many last long */
#define ROUND_NS  5000000
#define STOPS     100

bool command_is_process(int argc, char *const *argv)
{
	return argc > 2 && !strcmp(argv[1], COMMAND_ARGUMENT);
}

/* ---- start ---- */

static void limit(__rlimit_resource_t resource, rlim_t most)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) || limit.rlim_cur <= most)
		return;
	limit.rlim_cur = most;
	if (resource != RLIMIT_NOFILE && limit.rlim_max > most)
		limit.rlim_max = most;
	setrlimit(resource, &limit);
}

static void limit_resources(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, OPEN_FILES);
	limit(RLIMIT_NPROC, PROCESSES);
}

static void block_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGCHLD);
	sigaddset(ret, SIGTERM);
	sigprocmask(SIG_BLOCK, ret, NULL);
}

/* Without what a normal end would do: nobody may look into it, and it has nothing to clean up. */
static void fail(const char *what, const char *why) __attribute__((noreturn));
static void fail(const char *what, const char *why)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, why);
	_exit(COMMAND_NOT_STARTED);
}

/* In the child: becomes the command, which ends with its keeper. */
static void become(char **words, const sigset_t *blocked) __attribute__((noreturn));
static void become(char **words, const sigset_t *blocked)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	sigprocmask(SIG_UNBLOCK, blocked, NULL);
	execve(words[0], words, environ);
	fail(words[0], strerror(errno));
}

/* Its pipes belong to the command: where that closes its end, lbd is to see it. */
static void close_pipes(void)
{
	int null = open("/", O_PATH | O_CLOEXEC);

	for (int fd = 0; fd < 3; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
}

/* ---- until the command ends ---- */

/* Reaps all that have ended, and notes the status of the command. False: there is no child left. */
static bool reap(pid_t command, int *status)
{
	int one;
	pid_t pid;

	while ((pid = waitpid(-1, &one, WNOHANG)) > 0)
		if (pid == command)
			*status = one;
	return !pid;
}

/* Reaps adopted ones that have ended. True: the command has. That is not reaped: of a group without
 * a leader the number could be another's. */
static bool has_ended(pid_t command)
{
	for (;;) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return false;
		if (info.si_pid == command)
			return true;
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

/* Until it has ended, or lbd wants it to end, or is gone. */
static void wait_for_end(pid_t command, const sigset_t *signals)
{
	while (!has_ended(command))
		if (sigwaitinfo(signals, NULL) == SIGTERM)
			return;
}

/* ---- the end of all descendants ---- */

/* Processes that descend from this one. */
struct family {
	pid_t pid[PROCESSES];
	unsigned count;
};

static bool family_has(const struct family *family, pid_t pid)
{
	for (unsigned i = 0; i < family->count; i++)
		if (family->pid[i] == pid)
			return true;
	return false;
}

/* Those of one thread. What does not fit is found once others have ended. */
static void family_read(struct family *family, pid_t parent, const char *thread)
{
	char path[64];
	FILE *file;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", parent, thread);
	file = fopen(path, "re");
	if (!file)
		return;
	while (family->count < PROCESSES && fscanf(file, "%d", &pid) == 1)
		if (pid > 1 && !family_has(family, pid))
			family->pid[family->count++] = pid;
	fclose(file);
}

static void family_add_children(struct family *family, pid_t parent)
{
	char path[32];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", parent);
	threads = opendir(path);
	if (!threads)
		return;
	for (struct dirent *thread; (thread = readdir(threads));)
		if (thread->d_name[0] != '.')
			family_read(family, parent, thread->d_name);
	closedir(threads);
}

static void family_find(struct family *family)
{
	family->count = 0;
	family_add_children(family, getpid());
	for (unsigned i = 0; i < family->count; i++)
		family_add_children(family, family->pid[i]);
}

static bool family_is_within(const struct family *family, const struct family *other)
{
	for (unsigned i = 0; i < family->count; i++)
		if (!family_has(other, family->pid[i]))
			return false;
	return true;
}

static void family_signal(const struct family *family, int number)
{
	for (unsigned i = 0; i < family->count; i++)
		kill(family->pid[i], number);
}

/* Stops all there are before any is killed: what is stopped starts no other process, and still
 * counts for the limit of processes, so one that forks faster than it can be stopped soon cannot
 * fork. Those returned were stopped, so their numbers are still theirs. */
static void family_stop(struct family *family)
{
	struct family stopped = {.count = 0};

	for (unsigned i = 0; i < STOPS; i++) {
		family_find(family);
		if (family_is_within(family, &stopped))
			return;
		family_signal(family, SIGSTOP);
		stopped = *family;
	}
}

/* The children of those that die become this process's own, and are found in the next round. */
static void kill_all(pid_t command, int *status)
{
	const struct timespec wait = {.tv_nsec = ROUND_NS};
	struct family family;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	kill(-command, SIGKILL);
	for (unsigned i = 0; i < ROUNDS && reap(command, status); i++) {
		family_stop(&family);
		family_signal(&family, SIGKILL);
		sigtimedwait(&child, NULL, &wait);
	}
}

static void end_as(int status) __attribute__((noreturn));
static void end_as(int status)
{
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		kill(getpid(), WTERMSIG(status));
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int command_run_process(int argc, char **argv)
{
	struct error err;
	sigset_t signals;
	int status = 0;
	pid_t command;

	block_signals(&signals);
	prctl(PR_SET_NAME, NAME);
	if (rights_give_up(&err))
		fail("its rights cannot be given up", err.text);
	/* Not killed with lbd, but told: first the command has to end. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	limit_resources();
	umask(0022);
	if (chdir("/"))
		dprintf(STDERR_FILENO, "/: %s\n", strerror(errno));
	command = fork();
	if (command < 0)
		fail(argv[2], strerror(errno));
	if (!command)
		become(argv + 2, &signals);
	close_pipes();
	wait_for_end(command, &signals);
	kill_all(command, &status);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	end_as(status);
}
