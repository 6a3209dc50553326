/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pauses a listener when accept fails, for example for lack of file descriptors. Without the pause
 * the loop would retry at once, again and again, and use a whole CPU. */
#ifndef LBD_ACCEPT_H
#define LBD_ACCEPT_H

#include <event2/event.h>
#include <event2/listener.h>

struct accept_rest;

/* what: for the log, "socket" or "metrics". The caller keeps the listener. NULL: out of memory. */
struct accept_rest *accept_rest_new(struct event_base *base, struct evconnlistener *listener,
				    const char *what);
/* To be called before the listener is freed. NULL is fine. */
void accept_rest_free(struct accept_rest *rest);

#endif
