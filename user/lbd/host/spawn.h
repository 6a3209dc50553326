/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Starts this program once more, as another process. Not a plain fork: exec gives it memory that
 * holds neither maps nor seeds nor tokens and is laid out anew. */
#ifndef LBD_SPAWN_H
#define LBD_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#define SPAWN_FDS_MAX 4

struct spawn_options {
	const char *const *arguments; /* NULL-terminated, with the name */
	/* NULL-terminated "NAME=value"; LD_LIBRARY_PATH of this process is added. NULL: no others
	 */
	const char *const *environment;
	int fds[SPAWN_FDS_MAX]; /* become its 0, 1, ...; -1: one that leads nowhere */
	unsigned count;         /* of fds; it gets no other descriptor */
	bool session;           /* it leads a session and a process group of its own */
};

/* Signals have their defaults there, and none is blocked. 0 with *ret set, or -errno. */
int spawn_self(const struct spawn_options *options, pid_t *ret);

/* Bytes of packets on their way that Linux gives a socket by default. */
#define SPAWN_ROOM 106496

/* Room for so many, and so for a packet of 64 KiB, also where the system's default has less: a
 * packet that is longer than that never gets through. Of what the socket sends. */
void spawn_make_room(int fd);

/* For a process that was started so, with a socket of packets to lbd: it takes the name, and
 * leaves signals to lbd, which ends it. False, with a line to stderr: that descriptor is no such
 * socket, so somebody else has started it with this argument. */
bool spawn_begin(int fd, const char *argument, const char *name);

#endif
