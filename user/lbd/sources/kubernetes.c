/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The EndpointSlices of a service in Kubernetes: a list, then a watch of what has changed since.
 * Each watch is asked to end after some 20 s and the next goes on from there, so that a server that
 * has gone without a word is found. What fails, or is forgotten by the server (410), is listed
 * anew. */
#include <curl/curl.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/text.h"
#include "credentials.h"
#include "slices.h"
#include "transfer.h"

#define ANSWER_MS   10000
#define WATCH_S     20
#define WATCH_MORE  8     /* s, by chance */
#define OVERDUE_MS  10000 /* after that it has gone */
#define BRIEF_MS    1000  /* a watch that ends so soon has not ended by its time */
#define STATUS_GONE 410

struct run {
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct servers servers;
	struct slices *slices;
	struct event next; /* a list, or a watch */
	struct event tell; /* what they name, when changes are gathered */
	struct transfer list, watch;
	bool lists;        /* the next is a list */
	bool forgotten;    /* the watch has told that the server knows the version no more */
	uint64_t watch_ms; /* when it began */
	uint64_t told_ms;  /* when they were named last */
	char *line;        /* the begin of one */
	size_t length;
};

static void set_next(struct run *run, bool lists, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	run->lists = lists;
	event_add(&run->next, &wait);
}

/* What is not told yet is in the next list. */
static void fail(struct run *run, const char *why)
{
	char text[SOURCE_WHY];

	servers_say(&run->servers, why, text);
	event_del(&run->tell);
	set_next(run, true, servers_failed_ms(&run->servers));
	run->env->report(run->arg, NULL, text);
}

static void report(struct run *run)
{
	struct source_list list;
	struct error err;

	event_del(&run->tell);
	run->told_ms = clock_monotonic_ms();
	if (slices_name(run->slices, &list, &err)) {
		run->env->report(run->arg, NULL, err.text);
		return;
	}
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

static void on_tell(int fd, short what, void *arg)
{
	report(arg);
}

/* ---- requests ---- */

/* more: the rest of the query. NULL: out of memory. */
static char *path_of(const struct config_from *from, const char *more)
{
	char *path;

	/* neither name has anything to escape */
	return asprintf(&path,
			"/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices?labelSelector="
			"kubernetes.io%%2Fservice-name%%3D%s%s",
			from->namespace, from->service, more) < 0
		   ? NULL
		   : path;
}

static int ask(struct run *run, struct transfer *transfer, const char *more, uint64_t most_ms)
{
	_cleanup_free_ char *path = path_of(run->from, more);
	const struct transfer_request request = {
	    .from = run->from,
	    .server = run->servers.list[run->servers.at],
	    .path = path,
	    .token = "Authorization",
	    .is_bearer = true,
	    .most_ms = most_ms,
	};

	return path ? transfer_start(transfer, &request) : -ENOMEM;
}

static int ask_for_watch(struct run *run)
{
	char *version = curl_easy_escape(NULL, slices_version(run->slices), 0);
	uint8_t chance;
	char more[384]; /* a version has 63 bytes, three times as many escaped */
	unsigned s;

	if (!version)
		return -ENOMEM;
	evutil_secure_rng_get_bytes(&chance, sizeof(chance));
	s = WATCH_S + chance % WATCH_MORE;
	snprintf(more, sizeof(more),
		 "&watch=true&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s", s,
		 version);
	curl_free(version);
	run->forgotten = false;
	run->length = 0;
	run->watch_ms = clock_monotonic_ms();
	return ask(run, &run->watch, more, s * 1000 + OVERDUE_MS);
}

static void on_next(int fd, short what, void *arg)
{
	struct run *run = arg;
	int rc = run->lists ? ask(run, &run->list, "", ANSWER_MS) : ask_for_watch(run);

	if (rc)
		fail(run, "out of memory");
}

/* ---- the list ---- */

static void list_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct run *run = transfer->run;
	struct error err;

	if (answer->why) {
		fail(run, answer->why);
		return;
	}
	if (slices_read_list(run->slices, answer->body, answer->length, &err)) {
		fail(run, err.text);
		return;
	}
	set_next(run, false, 0);
	report(run);
}

/* ---- the watch ---- */

static void tell_soon(struct run *run)
{
	const struct timeval wait = clock_span_ms(transfer_gather_ms(run->told_ms));

	if (!event_pending(&run->tell, EV_TIMEOUT, NULL))
		event_add(&run->tell, &wait);
}

/* False: no more of it. */
static bool read_line(struct run *run, const char *line, size_t length)
{
	struct error err;
	int rc = length ? slices_read_event(run->slices, line, length, &err) : SLICES_SAME;

	if (rc < 0)
		transfer_refuse(&run->watch, err.text);
	run->forgotten = rc == SLICES_GONE;
	if (rc < 0 || run->forgotten)
		return false;
	servers_work(&run->servers);
	if (rc == SLICES_CHANGED)
		tell_soon(run);
	return true;
}

/* Adds to the line that has begun. False: it is too long, or memory is short. */
static bool collect(struct run *run, const char *data, size_t length)
{
	if (run->length + length > SLICES_LINE_MAX) {
		transfer_refuse(&run->watch, "an event is longer than 2 MiB");
		return false;
	}
	return add_text(&run->line, &run->length, data, length);
}

static bool take_data(struct transfer *transfer, const char *data, size_t length)
{
	struct run *run = transfer->run;
	const char *end;

	while ((end = memchr(data, '\n', length))) {
		size_t part = (size_t)(end - data);

		if (!collect(run, data, part) || !read_line(run, run->line, run->length))
			return false;
		run->length = 0;
		data += part + 1;
		length -= part + 1;
	}
	return !length || collect(run, data, length);
}

static void watch_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct run *run = transfer->run;
	bool brief = clock_monotonic_ms() - run->watch_ms < BRIEF_MS;

	free(run->line);
	run->line = NULL;
	run->length = 0;
	if (run->forgotten || answer->status == STATUS_GONE) {
		event_del(&run->tell);
		set_next(run, true, servers_wait_ms(&run->servers));
	} else if (answer->why) {
		fail(run, answer->why);
	} else if (brief) { /* what it has told is named soon, if it is a change */
		set_next(run, false, servers_wait_ms(&run->servers));
	} else { /* nothing has changed but what it has told */
		servers_work(&run->servers);
		set_next(run, false, 0);
		report(run);
	}
}

/* ---- the kind ---- */

static void kubernetes_stop(void *arg)
{
	struct run *run = arg;

	event_del(&run->next);
	event_del(&run->tell);
	transfer_stop(&run->list);
	transfer_stop(&run->watch);
	servers_done(&run->servers);
	slices_free(run->slices);
	free(run->line);
	free(run);
}

static void *kubernetes_start(const struct source_env *env, const struct config_from *from,
			      void *arg)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct run){.env = env, .from = from, .arg = arg, .slices = slices_new(from)};
	run->list = (struct transfer){.run = run, .end = list_ended, .env = env};
	run->watch =
	    (struct transfer){.run = run, .take = take_data, .end = watch_ended, .env = env};
	evtimer_assign(&run->next, env->base, on_next, run);
	evtimer_assign(&run->tell, env->base, on_tell, run);
	if (!run->slices || !from->namespace || !from->service ||
	    !servers_init(&run->servers, from->kubernetes)) {
		kubernetes_stop(run);
		return NULL;
	}
	set_next(run, true, 0);
	return run;
}

REGISTER(source_kind, kubernetes) = {
    .name = "kubernetes",
    .confined = true,
    .has_ports = true,
    .prepare = credentials_read,
    .open = transfer_open,
    .start = kubernetes_start,
    .stop = kubernetes_stop,
};
