/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The healthy instances of a service in Consul, by blocking queries: each answer is whole, and has
 * an index; the next query is answered when that is another, or after WAIT_S. */
#include <curl/curl.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "credentials.h"
#include "instances.h"
#include "transfer.h"

#define ANSWER_MS 10000 /* of a query that does not wait */
#define WAIT      "20s"
#define WAIT_S    20
#define WAIT_MORE (WAIT_S * 1000 / 16) /* ms that Consul may add */
#define REST_MS   100                  /* between two queries: what changes all the time */
#define BRIEF_MS  1000

struct run {
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct servers servers;
	struct event next;
	struct transfer query;
	uint64_t index; /* 0: the next query does not wait */
	uint64_t asked_ms;
};

static void set_next(struct run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->next, &wait);
}

/* Another agent, or this one started again, has other indexes. */
static void fail(struct run *run, const char *why)
{
	char text[SOURCE_WHY];

	servers_say(&run->servers, why, text);
	run->index = 0;
	set_next(run, servers_failed_ms(&run->servers));
	run->env->report(run->arg, NULL, text);
}

/* ---- the query ---- */

/* With one parameter more, escaped; frees path. value NULL: none. NULL: out of memory. */
static char *add(char *path, const char *key, const char *value)
{
	char *escaped, *longer;

	if (!path || !value)
		return path;
	escaped = curl_easy_escape(NULL, value, 0);
	if (!escaped || asprintf(&longer, "%s&%s=%s", path, key, escaped) < 0)
		longer = NULL;
	curl_free(escaped);
	free(path);
	return longer;
}

/* NULL: out of memory. */
static char *path_of(const struct config_from *from, uint64_t index)
{
	char *name = curl_easy_escape(NULL, from->service, 0), *path, text[24];

	if (!name || asprintf(&path, "/v1/health/service/%s?passing=1", name) < 0)
		path = NULL;
	curl_free(name);
	snprintf(text, sizeof(text), "%" PRIu64, index);
	path = add(path, "dc", from->datacenter);
	path = add(path, "tag", from->tag);
	path = add(path, "index", index ? text : NULL);
	return add(path, "wait", index ? WAIT : NULL);
}

static void on_next(int fd, short what, void *arg)
{
	struct run *run = arg;
	_cleanup_free_ char *path = path_of(run->from, run->index);
	const struct transfer_request request = {
	    .from = run->from,
	    .server = run->servers.list[run->servers.at],
	    .path = path,
	    .token = "X-Consul-Token",
	    .most_ms = ANSWER_MS + (run->index ? WAIT_S * 1000 + WAIT_MORE : 0),
	};

	run->asked_ms = clock_monotonic_ms();
	if (!path || transfer_start(&run->query, &request))
		fail(run, "out of memory");
}

/* ---- the answer ---- */

/* Consul says nothing of what a token may not read, but that there is something. */
static void note_filtered(const struct transfer_answer *answer, struct source_list *list)
{
	const char *filtered = transfer_header(answer, "X-Consul-Results-Filtered-By-ACLs");

	if (filtered && !strcmp(filtered, "true"))
		source_list_ignore(list, "what the token may not read: expected service:read and "
					 "node:read");
}

/* An index that goes back begins anew: Consul was restored, or another server answers. Who answers
 * at once with nothing new is asked less often. */
static void go_on(struct run *run, uint64_t index)
{
	bool brief = clock_monotonic_ms() - run->asked_ms < BRIEF_MS;

	if (brief && run->index && index <= run->index) {
		set_next(run, servers_wait_ms(&run->servers));
	} else {
		servers_work(&run->servers);
		set_next(run, REST_MS);
	}
	run->index = index < run->index ? 0 : index;
}

static void query_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct run *run = transfer->run;
	struct source_list list;
	struct error err;
	uint64_t index;

	if (answer->why) {
		fail(run, answer->why);
		return;
	}
	index = instances_index(transfer_header(answer, "X-Consul-Index"));
	if (!index) {
		fail(run, "expected an answer of Consul, with X-Consul-Index above 0");
		return;
	}
	if (instances_read(answer->body, answer->length, &list, &err)) {
		fail(run, err.text);
		return;
	}
	note_filtered(answer, &list);
	go_on(run, index);
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

/* ---- the kind ---- */

static void consul_stop(void *arg)
{
	struct run *run = arg;

	event_del(&run->next);
	transfer_stop(&run->query);
	servers_done(&run->servers);
	free(run);
}

static void *consul_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct run){.env = env, .from = from, .arg = arg};
	run->query = (struct transfer){.run = run, .end = query_ended, .env = env};
	evtimer_assign(&run->next, env->base, on_next, run);
	if (!from->service || !servers_init(&run->servers, from->consul)) {
		consul_stop(run);
		return NULL;
	}
	set_next(run, 0);
	return run;
}

REGISTER(source_kind, consul) = {
    .name = "consul",
    .confined = true,
    .has_ports = true,
    .prepare = credentials_read,
    .open = transfer_open,
    .start = consul_start,
    .stop = consul_stop,
};
