/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Starts this program once more. */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM         "/proc/self/exe"
#define ENVIRONMENT_MAX 64

static int add_descriptors(posix_spawn_file_actions_t *actions, const struct spawn_options *options)
{
	int rc = 0;

	for (unsigned i = 0; i < options->count && !rc; i++)
		if (options->fds[i] >= 0)
			rc = posix_spawn_file_actions_adddup2(actions, options->fds[i], (int)i);
	/* a descriptor that nothing can be read from or written to, and that needs no /dev */
	for (unsigned i = 0; i < options->count && !rc; i++)
		if (options->fds[i] < 0)
			rc = posix_spawn_file_actions_addopen(actions, (int)i, "/", O_PATH, 0);
	if (!rc)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, (int)options->count);
	return rc;
}

static int add_attributes(posix_spawnattr_t *attributes, bool session)
{
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setsigmask(attributes, &none);
	if (session)
		flags |= POSIX_SPAWN_SETSID;
	return posix_spawnattr_setflags(attributes, flags);
}

/* Where the program's own libraries are. The rest could hold the address of systemd's socket,
 * proxies, and settings of libraries. */
static char *library_path(void)
{
	static const char name[] = "LD_LIBRARY_PATH=";

	for (char **entry = environ; entry && *entry; entry++)
		if (!strncmp(*entry, name, sizeof(name) - 1))
			return *entry;
	return NULL;
}

static void fill_environment(const char *const *from, char *ret[ENVIRONMENT_MAX])
{
	char *libraries = library_path();
	unsigned count = 0;

	while (from && from[count] && count < ENVIRONMENT_MAX - 2) {
		ret[count] = (char *)from[count];
		count++;
	}
	if (libraries)
		ret[count++] = libraries;
	ret[count] = NULL;
}

int spawn_self(const struct spawn_options *options, pid_t *ret)
{
	char *environment[ENVIRONMENT_MAX];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc;

	fill_environment(options->environment, environment);
	if (posix_spawn_file_actions_init(&actions))
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes)) {
		posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	rc = add_descriptors(&actions, options);
	if (!rc)
		rc = add_attributes(&attributes, options->session);
	if (!rc)
		rc = posix_spawn(ret, PROGRAM, &actions, &attributes,
				 (char *const *)options->arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

void spawn_make_room(int fd)
{
	const int size = SPAWN_ROOM;
	int now = 0;
	socklen_t length = sizeof(now);

	/* the kernel says twice as much, and counts its own bookkeeping */
	if (!getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &length) && now >= 2 * size)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* ---- in that process ---- */

static bool is_socket_to_lbd(int fd)
{
	int type = 0, domain = 0;
	socklen_t length = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) && type == SOCK_SEQPACKET &&
	       domain == AF_UNIX;
}

/* Signals to lbd's process group or unit are lbd's. */
static void leave_signals_to_lbd(void)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
}

bool spawn_begin(int fd, const char *argument, const char *name)
{
	if (!is_socket_to_lbd(fd)) {
		fprintf(stderr, "lbd: %s: only lbd itself can start this\n", argument);
		return false;
	}
	prctl(PR_SET_NAME, name);
	leave_signals_to_lbd();
	return true;
}
