/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A listener that rests when accept fails (no file descriptor is left), instead of trying again
 * at once for as long as the client waits, which takes a whole CPU. */
#ifndef LBD_ACCEPT_H
#define LBD_ACCEPT_H

#include <event2/event.h>
#include <event2/listener.h>

struct accept_rest;

/* what: for the log, "socket" or "metrics". The listener stays the caller's. NULL: out of
 * memory. */
struct accept_rest *accept_rest_new(struct event_base *base, struct evconnlistener *listener,
				    const char *what);
/* Before the listener is freed. NULL is fine. */
void accept_rest_free(struct accept_rest *rest);

#endif
