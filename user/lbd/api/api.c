/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket: the table of requests and their handlers, and of errors and their HTTP
 * statuses. */
#include "internal.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lb_api.h"
#include "common/clock.h"
#include "common/log.h"
#include "lbd/host/host.h"
#include "accept.h"

#define IDLE_TIMEOUT_S 30

static const struct api_route routes[] = {
    {"GET", LB_API_PREFIX "/status", api_status},
    {"GET", LB_API_PREFIX "/services", api_services},
    {"GET", LB_API_PREFIX "/backends", api_backends},
    {"GET", LB_API_PREFIX "/stats", api_stats},
    {"GET", LB_API_PREFIX "/top", api_top},
    {"POST", LB_API_PREFIX "/attach", api_attach},
    {"POST", LB_API_PREFIX "/detach", api_detach},
    {"POST", LB_API_PREFIX "/reload", api_reload},
    {"POST", LB_API_PREFIX "/backend/add", api_add},
    {"POST", LB_API_PREFIX "/backend/remove", api_remove},
    {"POST", LB_API_PREFIX "/backend/drain", api_drain},
    {"POST", LB_API_PREFIX "/backend/weight", api_weight},
};

/* ---- answers ---- */

static void answer(struct evhttp_request *request, int status, const char *reason, json_t *body)
{
	struct evbuffer *buffer = evbuffer_new();
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "application/json");
	if (buffer && text)
		evbuffer_add_printf(buffer, "%s\n", text);
	else
		status = HTTP_INTERNAL;
	evhttp_send_reply(request, status, reason, buffer);
	if (buffer)
		evbuffer_free(buffer);
	free(text);
}

struct failure {
	int code; /* -errno */
	int status;
	const char *reason;
	const char *hint;
};

static const struct failure failures[] = {
    {-EINVAL, 400, "Bad Request", ""},
    {-ENOENT, 404, "Not Found", "lbctl services and lbctl backends list what exists"},
    {-ENODEV, 404, "Not Found", ""},
    {-ENOSYS, 405, "Method Not Allowed", "Use GET to read and POST to change"},
    {-EEXIST, 409, "Conflict", "Change it with lbctl backend weight, or remove it first"},
    {-EBUSY, 409, "Conflict", ""},
    {-EOPNOTSUPP, 409, "Conflict", "--mode generic works with every driver, but is slower"},
    {-ENOSPC, 409, "Conflict",
     "Raise it under limits in the config; pinned maps keep their size until they are removed"},
    {-EROFS, 507, "Insufficient Storage",
     "Nothing was changed. Make room there, or let lbd's user write to the directory"},
    {-EBADMSG, 422, "Unprocessable Entity",
     "Nothing was changed; lbd --check FILE checks a file without loading it"},
};

static void answer_failure(struct evhttp_request *request, int code, const char *sentence)
{
	struct failure failure = {code, 500, "Internal Server Error", "lbd's log may say more"};
	json_t *body;

	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (failures[i].code == code)
			failure = failures[i];
	body = json_pack("{s:s, s:s}", "error", sentence, "hint", failure.hint);
	if (!body) /* the sentence quotes the request, which is not UTF-8 */
		body = json_pack("{s:s, s:s}", "error", "the request is not UTF-8", "hint", "");
	answer(request, failure.status, failure.reason, body);
	json_decref(body);
}

/* ---- requests ---- */

static const char *method_name(struct evhttp_request *request)
{
	switch (evhttp_request_get_command(request)) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	default:
		return "";
	}
}

static int find_route(struct evhttp_request *request, const char *path,
		      const struct api_route **ret, struct error *err)
{
	bool known = false;

	for (unsigned i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!path || strcmp(routes[i].path, path) != 0)
			continue;
		known = true;
		if (!strcmp(routes[i].method, method_name(request))) {
			*ret = &routes[i];
			return 0;
		}
	}
	if (known)
		return error_set(err, -ENOSYS, "%s: method not allowed", path);
	return error_set(err, -ENOENT, "%.64s: no such path", path ? path : "");
}

/* The body of a POST; an empty one counts as {}. */
static int read_body(struct evhttp_request *request, json_t **ret, struct error *err)
{
	struct evbuffer *input = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(input);
	const char *text = length ? (const char *)evbuffer_pullup(input, -1) : "{}";
	json_error_t why;
	json_t *body;

	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	body = json_loadb(text, length ? length : 2, JSON_REJECT_DUPLICATES, &why);
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

static int handle(struct api *api, struct evhttp_request *request, json_t **ret, struct error *err)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *query_text = uri ? evhttp_uri_get_query(uri) : NULL;
	struct evkeyvalq query = {0};
	struct api_call call = {.api = api, .query = &query};
	const struct api_route *route = NULL;
	json_t *body = NULL;
	int rc = find_route(request, uri ? evhttp_uri_get_path(uri) : NULL, &route, err);

	if (!rc && !strcmp(route->method, "POST"))
		rc = read_body(request, &body, err);
	if (rc)
		return rc;
	if (evhttp_parse_query_str(query_text ? query_text : "", &query)) {
		rc = error_set(err, -EINVAL, "query: expected name=value");
	} else {
		call.body = body;
		rc = route->handler(&call, ret, err);
		if (body)
			log_debug("request: POST %s: %s", route->path, rc ? err->text : "ok");
	}
	evhttp_clear_headers(&query);
	json_decref(body);
	return rc;
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct api *api = arg;
	struct error err = {0};
	json_t *result = NULL;
	int rc;

	api->named_ifindex = 0;
	rc = handle(api, request, &result, &err);
	if (rc)
		answer_failure(request, rc, err.text);
	else if (!result)
		answer_failure(request, -ENOMEM, "out of memory");
	else
		answer(request, HTTP_OK, "OK", result);
	json_decref(result);
}

/* ---- socket ---- */

/* The caller holds the lock of this path: no process uses a socket that exists there. */
static int remove_stale(const char *path, struct error *err)
{
	struct stat there;

	if (lstat(path, &there))
		return errno == ENOENT
			   ? 0
			   : error_set(err, -errno, "socket: %s: %s", path, strerror(errno));
	if (!S_ISSOCK(there.st_mode))
		return error_set(
		    err, -EEXIST,
		    "socket: %s: exists and is no socket: remove it, or choose another path", path);
	return unlink(path) ? error_set(err, -errno, "socket: %s: %s", path, strerror(errno)) : 0;
}

/* Until the chmod only root and lbd's user can use the socket: see the umask in listen_on. */
static void open_to_group(const char *path, const char *group)
{
	const struct group *entry = getgrnam(group);

	if (!entry)
		log_warning(
		    "socket: %s: group \"%s\" does not exist: only root can use the socket. To create the group: groupadd --system %s",
		    path, group, group);
	else if (chown(path, (uid_t)-1, entry->gr_gid) || chmod(path, 0660))
		log_warning("socket: %s: cannot give it to group \"%s\": %s", path, group,
			    strerror(errno));
}

static struct evconnlistener *listen_on(struct event_base *base, const char *path,
					struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct evconnlistener *listener;
	mode_t before;

	if (strlen(path) >= sizeof(address.sun_path)) {
		error_set(err, -ENAMETOOLONG, "socket: %s: expected at most %zu bytes", path,
			  sizeof(address.sun_path) - 1);
		return NULL;
	}
	strcpy(address.sun_path, path);
	before = umask(0177);
	listener =
	    evconnlistener_new_bind(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
				    64, (struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (!listener)
		error_set(err, -errno, "socket: %s: %s", path, strerror(errno));
	return listener;
}

static int serve(struct api *api, struct event_base *base, struct error *err)
{
	struct evconnlistener *listener = listen_on(base, api->path, err);

	if (!listener)
		return -EADDRNOTAVAIL;
	api->http = evhttp_new(base);
	if (!api->http || !evhttp_bind_listener(api->http, listener)) {
		evconnlistener_free(listener);
		return error_set(err, -ENOMEM, "out of memory");
	}
	api->rest = accept_rest_new(base, listener, "socket");
	if (!api->rest)
		return error_set(err, -ENOMEM, "out of memory");
	evhttp_set_max_body_size(api->http, LB_API_MAX_BODY);
	evhttp_set_max_headers_size(api->http, 16384);
	evhttp_set_timeout(api->http, IDLE_TIMEOUT_S);
	evhttp_set_allowed_methods(api->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
						  EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
						  EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_gencb(api->http, on_request, api);
	return 0;
}

int api_new(struct event_base *base, struct state *state, struct attach *attach,
	    struct dataplane *dp, const struct lateness *lateness, const char *path,
	    const char *group, struct api **ret, struct error *err)
{
	struct api *api = calloc(1, sizeof(*api));
	int rc;

	if (!api)
		return error_set(err, -ENOMEM, "out of memory");
	*api = (struct api){.state = state,
			    .attach = attach,
			    .dp = dp,
			    .lateness = lateness,
			    .start_ms = clock_monotonic_ms()};
	rc = host_make_parent(path, err);
	if (!rc)
		rc = remove_stale(path, err);
	if (!rc) {
		api->path = strdup(path);
		rc = api->path ? serve(api, base, err) : error_set(err, -ENOMEM, "out of memory");
	}
	if (rc) {
		api_free(api);
		return rc;
	}
	open_to_group(path, group);
	*ret = api;
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	accept_rest_free(api->rest);
	if (api->http)
		evhttp_free(api->http);
	if (api->path)
		unlink(api->path);
	free(api->path);
	free(api);
}
