/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket: the table of requests and their handlers, and of errors and their HTTP
 * statuses. */
#include "internal.h"

#include <errno.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_api.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/plural.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "listen.h"

#define REQUEST_MS 5000
#define ANSWER_MS  20000
#define BYTES_MAX  (4 * LB_API_MAX_BODY)
static const struct api_route routes[] = {
    {"GET", LB_API_PREFIX "/status", api_status, API_LIST_NONE},
    {"GET", LB_API_PREFIX "/services", NULL, API_LIST_SERVICES},
    {"GET", LB_API_PREFIX "/backends", api_backends, API_LIST_BACKENDS},
    {"GET", LB_API_PREFIX "/stats", api_stats, API_LIST_NONE},
    {"GET", LB_API_PREFIX "/fleet", api_fleet, API_LIST_NONE},
    {"GET", LB_API_PREFIX "/top", NULL, API_LIST_TOP},
    {"GET", LB_API_PREFIX "/events", NULL, API_LIST_EVENTS},
    {"POST", LB_API_PREFIX "/attach", api_attach, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/detach", api_detach, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/reload", api_reload, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/save", api_save, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/service/add", api_service_add, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/service/remove", api_service_remove, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/backend/add", api_add, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/backend/remove", api_remove, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/backend/drain", api_drain, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/backend/weight", api_weight, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/backend/state", api_admin, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/node/drain", api_node_drain, API_LIST_NONE},
    {"POST", LB_API_PREFIX "/fleet/apply", api_fleet_apply, API_LIST_NONE},
    {"PUT", LB_API_PREFIX "/services/{service}/backends/{address}", api_put, API_LIST_NONE},
    {"DELETE", LB_API_PREFIX "/services/{service}/backends/{address}", api_delete, API_LIST_NONE},
};

/* ---- answers ---- */

void api_answer(struct face_call *call, int status, const json_t *body)
{
	struct text *text = body ? text_new() : NULL;
	char *dump = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (text && dump)
		text_printf(text, "%s\n", dump);
	face_answer(call, status, API_TYPE, dump ? text : NULL);
	text_unref(text);
	free(dump);
}

struct failure {
	int code; /* -errno */
	int status;
	const char *hint;
};

static const struct failure failures[] = {
    {-EINVAL, 400, ""},
    {-EKEYREJECTED, 403, ""},
    {-ENOENT, 404, "lbctl services and lbctl backends list what exists"},
    {-ENODEV, 404, ""},
    {-ENOSYS, 405, "Use GET to read and POST to change; docs/api.md names all requests"},
    {-EEXIST, 409, "Change it with lbctl backend weight, or remove it first"},
    {-EBUSY, 409, ""},
    {-EOPNOTSUPP, 409, "--mode generic works with every driver, but is slower"},
    {-ENOSPC, 409,
     "Raise it under limits in the config; pinned maps keep their size until they are removed"},
    {-EROFS, 507, "Nothing was changed. Make room there, or let lbd's user write to the directory"},
    {-EBADMSG, 422, "Nothing was changed; lbd --check FILE checks a file without loading it"},
};

void api_answer_failure(struct face_call *call, int code, const char *sentence)
{
	struct failure failure = {code, 500, "lbd's log may say more"};
	json_t *body;

	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (failures[i].code == code)
			failure = failures[i];
	body = json_pack("{s:s, s:s}", "error", sentence, "hint", failure.hint);
	if (!body) /* the sentence quotes the request, which is not UTF-8 */
		body = json_pack("{s:s, s:s}", "error", "the request is not UTF-8", "hint", "");
	api_answer(call, failure.status, body);
	json_decref(body);
}

/* ---- requests ---- */

/* A part of a path, up to the next "/". */
static size_t part_length(const char *at)
{
	return strcspn(at, "/");
}

/* Has the path the parts of the pattern? Those that it has in braces may be any, but not empty. */
static bool path_fits(const char *pattern, const char *path)
{
	for (;;) {
		size_t length = part_length(pattern), given = part_length(path);

		if (*pattern == '{' ? !given
				    : length != given || memcmp(pattern, path, length) != 0)
			return false;
		pattern += length;
		path += given;
		if (!*pattern || !*path)
			return !*pattern && !*path;
		pattern++;
		path++;
	}
}

/* The parts in braces become fields of the body. */
static int read_path(const char *pattern, const char *path, json_t *body, struct error *err)
{
	while (*pattern && *path) {
		size_t length = part_length(pattern), given = part_length(path), decoded_length;

		if (*pattern == '{') {
			_cleanup_free_ char *name = strndup(pattern + 1, length - 2),
					    *raw = strndup(path, given),
					    *decoded =
						raw ? evhttp_uridecode(raw, 0, &decoded_length)
						    : NULL;

			if (!name || !decoded)
				return error_set(err, -ENOMEM, "out of memory");
			if (json_object_get(body, name))
				return error_set(err, -EINVAL, "%s: expected it in the path alone",
						 name);
			if (strlen(decoded) != decoded_length ||
			    json_object_set_new(body, name, json_string(decoded)))
				return error_set(err, -EINVAL, "path: expected UTF-8");
		}
		pattern += length + (pattern[length] == '/');
		path += given + (path[given] == '/');
	}
	return 0;
}

static int find_route(const char *method, const char *path, const struct api_route **ret,
		      struct error *err)
{
	bool known = false;

	for (unsigned i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!path || !path_fits(routes[i].path, path))
			continue;
		known = true;
		if (!strcmp(routes[i].method, method)) {
			*ret = &routes[i];
			return 0;
		}
	}
	if (known)
		return error_set(err, -ENOSYS, "%s: method not allowed", path);
	return error_set(err, -ENOENT, "%.64s: no such path", path ? path : "");
}

/* The body of a change; an empty one counts as {}. */
static int read_body(const struct face_call *call, json_t **ret, struct error *err)
{
	size_t length = face_request(call)->content_length;
	json_error_t why;
	json_t *body = json_loadb(length ? face_body(call) : "{}", length ? length : 2,
				  JSON_REJECT_DUPLICATES, &why);

	if (!body)
		return error_set(err, -EINVAL, "body: line %d, column %d: %s", why.line, why.column,
				 why.text);
	if (!json_is_object(body)) {
		json_decref(body);
		return error_set(err, -EINVAL, "body: expected a JSON object");
	}
	*ret = body;
	return 0;
}

json_t *api_sentences_json(const struct sentences *sentences)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < sentences->count; i++)
		json_array_append_new(list, json_string(sentences->list[i]));
	return list;
}

void api_add_warnings(json_t *answer, const struct sentences *warnings)
{
	json_t *list = api_sentences_json(warnings);

	if (warnings->left_out)
		json_array_append_new(
		    list, json_sprintf("%u more warning%s in lbd's log", warnings->left_out,
				       plural(warnings->left_out, " is", "s are")));
	json_object_set_new(answer, "warnings", list);
}

int api_run_handler(const struct api_route *route, struct api_call *of, json_t **ret,
		    struct error *err)
{
	struct sentences warnings = {0};
	int rc = 0;

	if (of->body)
		state_collect(of->api->state, &warnings);
	if (route->handler)
		rc = route->handler(of, ret, err);
	if (of->body) {
		state_collect(of->api->state, NULL);
		log_debug("request: %s %s: %s", route->method, route->path, rc ? err->text : "ok");
	}
	if (of->body && !rc && *ret)
		api_add_warnings(*ret, &warnings);
	sentences_done(&warnings);
	return rc;
}

/* Runs the handler and answers, or joins the list. */
static int run_route(const struct api_route *route, struct api_call *of, struct api_door *door,
		     struct face_call *call, struct error *err)
{
	json_t *result = NULL;
	int rc = api_run_handler(route, of, &result, err);

	if (rc)
		return rc;
	if (route->list == API_LIST_EVENTS)
		rc = api_events(door, of->query, call, err);
	else if (route->list)
		listing_join(of->api, route->list, &of->listed, call);
	else if (result)
		api_answer(call, 200, result);
	else
		rc = error_set(err, -ENOMEM, "out of memory");
	json_decref(result);
	return rc;
}

/* ---- changes ---- */

/* Renewals of all servers may come at once, more of them than changes may wait. */
static bool is_renewal(struct api *api, const struct api_route *route, json_t *body)
{
	struct api_call of = {.api = api, .body = body};

	return route->handler == api_put && !tasks_running(api->tasks) && api_renew(&of);
}

/* 0: the call is answered, or waits for a list or for its change. */
static int handle(const struct asked *asked, const struct evhttp_uri *uri, struct error *err)
{
	struct face_call *call = asked->call;
	struct api *api = asked->door->api;
	const char *query_text = uri ? evhttp_uri_get_query(uri) : NULL;
	struct evkeyvalq query = {0};
	struct api_call of = {.api = api, .query = &query};
	const struct api_route *route = NULL;
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	json_t *body = NULL;
	int rc = find_route(face_request(call)->method, path, &route, err);

	if (!rc && strcmp(route->method, "GET") != 0)
		rc = read_body(call, &body, err);
	if (!rc && body)
		rc = read_path(route->path, path, body, err);
	if (!rc && body && asked->door->remote)
		rc = remote_permit(asked, route, body, err);
	if (rc) {
		json_decref(body);
		return rc;
	}
	if (evhttp_parse_query_str(query_text ? query_text : "", &query)) {
		rc = error_set(err, -EINVAL, "query: expected name=value");
	} else if (body && api->tasks && !is_renewal(api, route, body)) {
		rc = queue_add(asked, route, json_incref(body), err);
	} else {
		of.body = body;
		rc = run_route(route, &of, asked->door, call, err);
	}
	evhttp_clear_headers(&query);
	json_decref(body);
	return rc;
}

bool api_admit_length(struct face_call *call, bool only_registers)
{
	const struct http_request *request = face_request(call);
	bool registers =
	    only_registers || !strcmp(request->method, "PUT") || !strcmp(request->method, "DELETE");

	if (!registers || request->content_length <= LB_API_MAX_REGISTRATION)
		return true;
	face_refuse(call, 413, FACE_REFUSED_malformed, "the body is too large");
	return false;
}

static bool may_go_on(void *unused, struct face_call *call)
{
	return api_admit_length(call, false);
}

void api_on_call(void *arg, struct face_call *call)
{
	struct asked asked = {.door = arg, .call = call};
	struct evhttp_uri *uri;
	struct error err = {0};
	int rc;

	/* again: a reload may have come between the head and the body */
	if (asked.door->remote && !remote_admit(asked.door, call, &asked.actor))
		return;
	uri = evhttp_uri_parse(face_request(call)->target);
	asked.door->api->named_ifindex = 0;
	rc = handle(&asked, uri, &err);
	if (rc)
		api_answer_failure(call, rc, err.text);
	if (uri)
		evhttp_uri_free(uri);
}

/* ---- the doors ---- */

static int serve(struct api *api, unsigned connections, const char *group, struct error *err)
{
	struct face_options face = {
	    .base = api->base,
	    .name = "socket",
	    .json = true,
	    .priority = LOOP_CONTROL,
	    .limits = {.connections = connections,
		       .answers = connections,
		       .bytes = BYTES_MAX,
		       .body = LB_API_MAX_BODY,
		       .request_ms = REQUEST_MS,
		       .answer_ms = ANSWER_MS},
	    .handler = api_on_call,
	    .admit = may_go_on,
	    .arg = &api->local,
	};
	int rc = listen_unix("socket", api->path, group, &face.fd, err);

	return rc ? rc : face_new(&face, &api->local.face, err);
}

/* As with the metrics, lbd runs without: its address may be one that is not here yet. */
static void serve_remote(struct api *api, unsigned connections)
{
	struct error err;

	if (state_config(api->state)->api && remote_open(&api->remote, connections, &err))
		log_error("%s; lbd runs without the API's listener", err.text);
}

int api_new(const struct api_options *options, struct api **ret, struct error *err)
{
	const struct config *config = state_config(options->state);
	struct api *api = calloc(1, sizeof(*api));
	int rc;

	if (!api)
		return error_set(err, -ENOMEM, "out of memory");
	*api = (struct api){.base = options->base,
			    .state = options->state,
			    .attach = options->attach,
			    .announce = options->announce,
			    .fleet = options->fleet,
			    .follower = options->follower,
			    .dp = options->dp,
			    .health = options->health,
			    .tasks = options->tasks,
			    .lateness = options->lateness,
			    .start_ms = clock_monotonic_ms()};
	api->local = (struct api_door){.api = api};
	api->remote = (struct api_door){.api = api, .remote = true};
	api->path = strdup(config->socket);
	rc = api->path && !listings_init(api) && !followers_new(api)
		 ? serve(api, options->connections, config->group, err)
		 : error_set(err, -ENOMEM, "out of memory");
	if (rc) {
		api_free(api);
		return rc;
	}
	serve_remote(api, options->remote_connections);
	*ret = api;
	return 0;
}

const struct face *api_face(const struct api *api)
{
	return api->local.face;
}

const struct face *api_remote_face(const struct api *api)
{
	return api->remote.face;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	if (api->local.face)
		unlink(api->path);
	face_free(api->local.face);
	face_free(api->remote.face);
	config_api_unref(api->remote.offered);
	listings_done(api);
	followers_done(api);
	free(api->path);
	free(api);
}
