/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Listening sockets. */
#ifndef LBD_LISTEN_H
#define LBD_LISTEN_H

#include "common/addr.h"
#include "face.h"

/* Binds path, mode 0660 and group, and listens. Creates its directory if missing, and replaces a
 * socket that nobody listens on. what: for errors, "socket". */
int listen_unix(const char *what, const char *path, const char *group, int *ret_fd,
		struct error *err);
/* what: for errors, "metrics"; hint: what to do instead. */
int listen_tcp(const char *what, const struct addr *address, uint16_t port, const char *hint,
	       int *ret_fd, struct error *err);
/* The local address of a TCP connection. */
int listen_local(const struct face_call *call, struct addr *ret);

#endif
