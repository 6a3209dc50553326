/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GET /metrics: who may ask, and the one text that all who ask within a second share. And GET
 * /healthz. */
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "forwards.h"
#include "listen.h"
#include "metrics_build.h"
#include "token.h"

#define TYPE       "text/plain; version=0.0.4; charset=utf-8"
#define FRESH_MS   1000
#define REQUEST_MS 5000
#define ANSWER_MS  10000
#define BYTES_MAX  (4 * 1024 * 1024) /* more than all connections can hold: 128 heads */

struct metrics {
	struct face *face;
	struct metrics_source source;
	struct event_base *base;
	char *path;  /* of a Unix socket; NULL: TCP */
	char *token; /* NULL: none is asked for */
	/* The last text, and the one before it while connections are still taking it. Another is
	 * built only when that one is gone: there are never more than two and a half. */
	struct text *present, *former;
	uint64_t made_ms;     /* CLOCK_MONOTONIC: when present was begun */
	struct event *forget; /* present, when nobody asks any more */
	struct metrics_build *build;
	uint64_t build_ms; /* CLOCK_MONOTONIC: when build was begun */
	struct face_waiters waiters;
};

/* ---- who may ask ---- */

static bool is_listed(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->metrics_hosts_count; i++)
		if (!strcasecmp(config->metrics_hosts[i], name))
			return true;
	return false;
}

static bool is_loopback(const struct addr *address)
{
	static const struct addr loopback6 = {.family = 6, .bytes = {[15] = 1}};

	return address->family == 4 ? address->bytes[0] == 127 : addr_equal(address, &loopback6);
}

/* A page in a browser can make a name of its own point to this host (DNS rebinding), but the
 * browser then sends that name. The port says nothing: it is the one that was connected to, or that
 * of a tunnel in front of it. */
static bool host_is_allowed(const struct metrics *metrics, const struct face_call *call)
{
	const char *host = face_request(call)->host;
	struct addr named, local;
	char name[256];

	if (!host || metrics->path) /* HTTP/1.0, which no browser speaks; or a Unix socket */
		return true;
	if (!http_host_name(host, name, sizeof(name)))
		return false;
	if (!addr_parse(name, &named))
		return is_loopback(&named) ||
		       (!listen_local(call, &local) && addr_equal(&named, &local)) ||
		       is_listed(state_config(metrics->source.state), name);
	return !strcasecmp(name, "localhost") ||
	       is_listed(state_config(metrics->source.state), name);
}

static bool may_ask(const struct metrics *metrics, struct face_call *call)
{
	const struct http_request *request = face_request(call);

	if (!host_is_allowed(metrics, call)) {
		face_refuse(call, 421, FACE_REFUSED_host,
			    "this host name is not allowed: list it under metrics-hosts");
		return false;
	}
	if (metrics->token && !http_bearer_is(request->authorization, metrics->token)) {
		face_refuse(call, 401, FACE_REFUSED_token, "expected the bearer token");
		return false;
	}
	if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
		face_answer_line(call, 405, "only GET and HEAD");
		return false;
	}
	return true;
}

/* ---- the shared text ---- */

static void drop(struct text **text)
{
	text_unref(*text);
	*text = NULL;
}

static bool is_taken(const struct text *text)
{
	return text && text->refs > 1;
}

static void arm_forget(struct metrics *metrics)
{
	const struct timeval wait = {.tv_sec = FRESH_MS / 1000};

	event_add(metrics->forget, &wait);
}

/* Memory goes back when nobody takes the texts any more. */
static void on_forget(evutil_socket_t fd, short what, void *arg)
{
	struct metrics *metrics = arg;

	if (!is_taken(metrics->former))
		drop(&metrics->former);
	if (!is_taken(metrics->present) && clock_monotonic_ms() - metrics->made_ms >= FRESH_MS)
		drop(&metrics->present);
	if (metrics->present || metrics->former)
		arm_forget(metrics);
}

static void on_built(void *arg, struct text *text)
{
	struct metrics *metrics = arg;

	if (text) {
		if (is_taken(metrics->present))
			metrics->former = text_ref(metrics->present);
		drop(&metrics->present);
		metrics->present = text_ref(text);
		metrics->made_ms = metrics->build_ms;
		arm_forget(metrics);
	}
	face_answer_all(&metrics->waiters, 200, TYPE, text);
	metrics_build_free(metrics->build);
	metrics->build = NULL;
}

/* May another text be built? Not while the former one is still being taken. */
static bool has_room(struct metrics *metrics)
{
	if (is_taken(metrics->former))
		return false;
	drop(&metrics->former);
	return true;
}

static void answer_metrics(struct metrics *metrics, struct face_call *call)
{
	uint64_t now_ms = clock_monotonic_ms();
	bool fresh = metrics->present && now_ms - metrics->made_ms < FRESH_MS;

	if (fresh || (metrics->present && !metrics->build && !has_room(metrics))) {
		face_answer(call, 200, TYPE, metrics->present);
		return;
	}
	if (!metrics->build) {
		metrics->build_ms = now_ms;
		if (metrics_build_new(metrics->base, &metrics->source, on_built, metrics,
				      &metrics->build)) {
			face_answer(call, 500, TYPE, NULL);
			return;
		}
	}
	face_wait(call, &metrics->waiters);
}

/* 200 while traffic of a service is forwarded, else 503; the sentence says why. */
static void answer_health(const struct metrics *metrics, struct face_call *call)
{
	char line[FORWARDING_TEXT];
	bool forwards =
	    api_forwarding(metrics->source.state, metrics->source.attach, line) != FORWARDING_NOT;

	face_answer_line(call, forwards ? 200 : 503, line);
}

static bool path_is(const struct http_request *request, const char *path)
{
	size_t length = strcspn(request->target, "?#");

	return length == strlen(path) && !memcmp(request->target, path, length);
}

static void on_request(void *arg, struct face_call *call)
{
	struct metrics *metrics = arg;

	if (!may_ask(metrics, call))
		return;
	if (path_is(face_request(call), "/metrics"))
		answer_metrics(metrics, call);
	else if (path_is(face_request(call), "/healthz"))
		answer_health(metrics, call);
	else if (path_is(face_request(call), "/"))
		face_answer_line(
		    call, 200, "lbd " LBD_VERSION ": metrics are at /metrics, health at /healthz");
	else
		face_answer_line(call, 404, "metrics are at /metrics, health at /healthz");
}

/* ---- start and stop ---- */

static int open_socket(struct metrics *metrics, const struct config *config, int *ret_fd,
		       struct error *err)
{
	if (!config->metrics_path)
		return listen_tcp(&config->metrics_address, config->metrics_port, ret_fd, err);
	metrics->path = strdup(config->metrics_path);
	return metrics->path ? listen_unix("metrics", metrics->path, config->group, ret_fd, err)
			     : error_set(err, -ENOMEM, "out of memory");
}

static int start(struct metrics *metrics, const struct metrics_options *options, struct error *err)
{
	const struct config *config = state_config(options->state);
	struct face_options face = {
	    .base = options->base,
	    .name = "metrics",
	    .priority = LOOP_BULK,
	    .limits = {.connections = options->connections,
		       .answers = options->connections / 2 + 1,
		       .bytes = BYTES_MAX,
		       .request_ms = REQUEST_MS,
		       .answer_ms = ANSWER_MS},
	    .handler = on_request,
	    .arg = metrics,
	};
	int rc;

	if (config->metrics_token_file &&
	    (rc = token_read(config->metrics_token_file, &metrics->token, err)))
		return rc;
	metrics->forget = event_new(options->base, -1, 0, on_forget, metrics);
	if (!metrics->forget)
		return error_set(err, -ENOMEM, "out of memory");
	if ((rc = open_socket(metrics, config, &face.fd, err)) ||
	    (rc = face_new(&face, &metrics->face, err)))
		return rc;
	metrics->source.faces[1] = metrics->face;
	return 0;
}

int metrics_new(const struct metrics_options *options, struct metrics **ret, struct error *err)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	struct timespec now;
	int rc;

	if (!metrics)
		return error_set(err, -ENOMEM, "out of memory");
	clock_gettime(CLOCK_REALTIME, &now);
	metrics->base = options->base;
	TAILQ_INIT(&metrics->waiters);
	metrics->source = (struct metrics_source){
	    .state = options->state,
	    .dp = options->dp,
	    .health = options->health,
	    .attach = options->attach,
	    .announce = options->announce,
	    .fleet = options->fleet,
	    .lateness = options->lateness,
	    .faces = {options->control},
	    .start_time = (double)now.tv_sec + (double)now.tv_nsec / 1e9,
	};
	rc = start(metrics, options, err);
	if (rc)
		metrics_free(metrics);
	else
		*ret = metrics;
	return rc;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	face_free(metrics->face);
	metrics_build_free(metrics->build);
	text_unref(metrics->present);
	text_unref(metrics->former);
	if (metrics->forget)
		event_free(metrics->forget);
	if (metrics->face && metrics->path)
		unlink(metrics->path);
	free(metrics->path);
	if (metrics->token)
		explicit_bzero(metrics->token, strlen(metrics->token));
	free(metrics->token);
	free(metrics);
}
