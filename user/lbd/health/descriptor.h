/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A message on a Unix socket, with or without one descriptor (SCM_RIGHTS, unix(7)). Neither call
 * waits. */
#ifndef LBD_HEALTH_DESCRIPTOR_H
#define LBD_HEALTH_DESCRIPTOR_H

#include <stddef.h>
#include <sys/types.h>

/* descriptor: stays the caller's; -1: none. 0 or -errno. */
int descriptor_send(int fd, const void *message, size_t length, int descriptor);

/* The descriptors that came with a message. */
struct descriptors {
	unsigned count; /* 0: none. Those beyond the first few are not counted. */
	/* The only one, now the caller's, closed on exec. -1: none came; or it was lost, as this
	 * process has no descriptor left; or several came, which are closed. */
	int fd;
};

/* The length of the message, which may be longer than size; 0: the other side has closed the
 * socket. -1 with errno set. */
ssize_t descriptor_receive(int fd, void *message, size_t size, struct descriptors *ret);

#endif
