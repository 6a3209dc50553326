/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The metrics listener: who may ask, and GET /metrics and /healthz. The page is in page.c. */
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "forwards.h"
#include "listen.h"
#include "metrics_build.h"
#include "page.h"
#include "snapshot.h"
#include "token.h"

#define TYPE       "text/plain; version=0.0.4; charset=utf-8"
#define REQUEST_MS 5000
#define ANSWER_MS  10000
#define BYTES_MAX  (4 * 1024 * 1024) /* more than all connections can hold: 128 heads */

struct metrics {
	struct face *face;
	struct metrics_source source;
	struct event_base *base;
	char *path;  /* of a Unix socket; NULL: TCP */
	char *token; /* NULL: none is asked for */
	struct snapshot *text;
	struct page *page;
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

static bool path_is(const struct http_request *request, const char *path)
{
	size_t length = strcspn(request->target, "?#");

	return length == strlen(path) && !memcmp(request->target, path, length);
}

static bool has_page(const struct metrics *metrics)
{
	return state_config(metrics->source.state)->page;
}

/* A browser sends no token for a page that somebody opens. The page holds nothing that is not in
 * lbd's source: it asks for the token, and sends it with its own requests. */
static bool is_open(const struct metrics *metrics, const struct http_request *request)
{
	return !metrics->token || (has_page(metrics) && path_is(request, "/page"));
}

static bool may_ask(const struct metrics *metrics, struct face_call *call)
{
	const struct http_request *request = face_request(call);

	if (!host_is_allowed(metrics, call)) {
		face_refuse(call, 421, FACE_REFUSED_host,
			    "this host name is not allowed: list it under metrics-hosts");
		return false;
	}
	if (!is_open(metrics, request) && !http_bearer_is(request->authorization, metrics->token)) {
		face_refuse(call, 401, FACE_REFUSED_token, "expected the bearer token");
		return false;
	}
	if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
		face_answer_line(call, 405, "only GET and HEAD");
		return false;
	}
	return true;
}

/* ---- answers ---- */

static int begin_text(void *arg, struct snapshot *snapshot, void **ret)
{
	struct metrics *metrics = arg;
	struct metrics_build *build = NULL;
	int rc =
	    metrics_build_new(metrics->base, &metrics->source, snapshot_made, snapshot, &build);

	*ret = build;
	return rc;
}

static void end_text(void *build)
{
	metrics_build_free(build);
}

/* 200 while traffic of a service is forwarded, else 503; the sentence says why. */
static void answer_health(const struct metrics *metrics, struct face_call *call)
{
	char line[FORWARDING_TEXT];
	bool forwards =
	    api_forwarding(metrics->source.state, metrics->source.attach, line) != FORWARDING_NOT;

	face_answer_line(call, forwards ? 200 : 503, line);
}

static void answer_rest(struct metrics *metrics, struct face_call *call)
{
	const char *page = has_page(metrics) ? ", the page at /page" : "";
	bool root = path_is(face_request(call), "/");
	char line[160];

	snprintf(line, sizeof(line), "%smetrics are at /metrics, health at /healthz%s",
		 root ? "lbd " LBD_VERSION ": " : "", page);
	face_answer_line(call, root ? 200 : 404, line);
}

static void on_request(void *arg, struct face_call *call)
{
	struct metrics *metrics = arg;
	const struct http_request *request = face_request(call);

	if (!may_ask(metrics, call))
		return;
	if (path_is(request, "/metrics"))
		snapshot_answer(metrics->text, call);
	else if (path_is(request, "/healthz"))
		answer_health(metrics, call);
	else if (has_page(metrics) && path_is(request, "/page"))
		page_answer(metrics->page, call);
	else if (has_page(metrics) && path_is(request, "/page.json"))
		page_answer_data(metrics->page, call);
	else
		answer_rest(metrics, call);
}

/* ---- start and stop ---- */

static int open_socket(struct metrics *metrics, const struct config *config, int *ret_fd,
		       struct error *err)
{
	if (!config->metrics_path)
		return listen_tcp("metrics", &config->metrics_address, config->metrics_port,
				  "choose another address, or `metrics: off`", ret_fd, err);
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
	const struct snapshot_options text = {.base = options->base,
					      .type = TYPE,
					      .begin = begin_text,
					      .end = end_text,
					      .arg = metrics};
	int rc;

	if (config->metrics_token_file &&
	    (rc = token_read(config->metrics_token_file, &metrics->token, err)))
		return rc;
	if ((rc = snapshot_new(&text, &metrics->text)) ||
	    (rc = page_new(options->base, &metrics->source, &metrics->page)))
		return error_set(err, rc, "out of memory");
	if ((rc = open_socket(metrics, config, &face.fd, err)) ||
	    (rc = face_new(&face, &metrics->face, err)))
		return rc;
	metrics->source.faces[METRICS_OWN] = metrics->face;
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
	metrics->source = (struct metrics_source){
	    .state = options->state,
	    .dp = options->dp,
	    .health = options->health,
	    .attach = options->attach,
	    .announce = options->announce,
	    .fleet = options->fleet,
	    .follower = options->follower,
	    .lateness = options->lateness,
	    .faces = {[METRICS_CONTROL] = options->control, [METRICS_API] = options->remote},
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
	snapshot_free(metrics->text);
	page_free(metrics->page);
	if (metrics->face && metrics->path)
		unlink(metrics->path);
	free(metrics->path);
	if (metrics->token)
		explicit_bzero(metrics->token, strlen(metrics->token));
	free(metrics->token);
	free(metrics);
}
