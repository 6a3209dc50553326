/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pauses a listener when accept fails. */
#include "accept.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"

#define REST_MS      200
#define WARN_SECONDS 60

struct accept_rest {
	struct evconnlistener *listener;
	struct event *again;
	const char *what;
	time_t warned_at;
};

static void on_again(evutil_socket_t fd, short events, void *arg)
{
	struct accept_rest *rest = arg;

	evconnlistener_enable(rest->listener);
}

/* The argument of the error callback is that of the accept callback, which is evhttp's. So the
 * accept_rest is found by its listener. */
static struct accept_rest *all[4];

static struct accept_rest *find(const struct evconnlistener *listener)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] && all[i]->listener == listener)
			return all[i];
	return NULL;
}

static void on_error(struct evconnlistener *listener, void *arg)
{
	const struct timeval wait = {.tv_usec = REST_MS * 1000};
	int code = errno;
	struct accept_rest *rest = find(listener);
	time_t now = time(NULL);

	if (!rest)
		return;
	evconnlistener_disable(listener);
	event_add(rest->again, &wait);
	if (now - rest->warned_at < WARN_SECONDS)
		return;
	rest->warned_at = now;
	log_warning("%s: cannot accept a connection: %s; it waits (logged once a minute)",
		    rest->what, strerror(code));
}

struct accept_rest *accept_rest_new(struct event_base *base, struct evconnlistener *listener,
				    const char *what)
{
	struct accept_rest *rest = calloc(1, sizeof(*rest));
	size_t at = 0;

	while (at < sizeof(all) / sizeof(all[0]) && all[at])
		at++;
	if (rest && at < sizeof(all) / sizeof(all[0]))
		rest->again = evtimer_new(base, on_again, rest);
	if (!rest || !rest->again) {
		free(rest);
		return NULL;
	}
	rest->listener = listener;
	rest->what = what;
	all[at] = rest;
	evconnlistener_set_error_cb(listener, on_error);
	return rest;
}

void accept_rest_free(struct accept_rest *rest)
{
	if (!rest)
		return;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] == rest)
			all[i] = NULL;
	event_free(rest->again);
	free(rest);
}
