/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HTTP with JSON bodies over lbd's Unix socket (include/lb_api.h), through libcurl. */
#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "lb_api.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "json.h"

#define CONNECT_MS 2000L
#define QUEUE_MS   20L    /* until it is tried again whether the queue of the socket has room */
#define ANSWER_MS  30000L /* an attach loads a program and may wait for the driver's queues */
#define ANSWER_MAX \
	(64 * 1024 * 1024) /* /v1/top with LB_MAX_BACKENDS backends is a quarter of this */
#define START_HINT "Start it: systemctl start lbd, or lbd -c /etc/lbd/lbd.yaml"
#define LOG_HINT   "See its log: journalctl -u lbd"

struct body {
	char *data;
	size_t length;
};

struct client {
	CURL *curl;
	CURLM *multi; /* holds it from client_begin to client_end */
	/* of the request under way */
	struct curl_slist *headers;
	struct body body;
	bool began;
	char socket[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static void request_done(struct client *client)
{
	if (client->began)
		curl_multi_remove_handle(client->multi, client->curl);
	client->began = false;
	curl_slist_free_all(client->headers);
	client->headers = NULL;
	free(client->body.data);
	client->body = (struct body){0};
}

int client_open(const char *socket, struct client **ret, struct error *err)
{
	struct client *client;

	if (!*socket || strlen(socket) >= sizeof(client->socket))
		return error_set(err, -EINVAL, "socket \"%s\": expected a path of 1 to %zu bytes",
				 socket, sizeof(client->socket) - 1);
	client = calloc(1, sizeof(*client));
	if (client) {
		client->curl = curl_easy_init();
		client->multi = curl_multi_init();
	}
	if (!client || !client->curl || !client->multi) {
		client_close(client);
		return error_set(err, -ENOMEM, "out of memory");
	}
	strcpy(client->socket, socket);
	*ret = client;
	return 0;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	request_done(client);
	curl_multi_cleanup(client->multi);
	curl_easy_cleanup(client->curl);
	free(client);
}

char *client_escape(struct client *client, const char *text)
{
	char *escaped = curl_easy_escape(client->curl, text, 0),
	     *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	return copy;
}

static size_t collect(char *data, size_t size, size_t count, void *arg)
{
	struct body *body = arg;
	char *grown;

	size *= count;
	if (body->length + size > ANSWER_MAX)
		return 0;
	grown = realloc(body->data, body->length + size + 1);
	if (!grown)
		return 0;
	body->data = grown;
	memcpy(body->data + body->length, data, size);
	body->length += size;
	body->data[body->length] = 0;
	return size;
}

/* What a connection meets now: 0 or an errno. */
static int connect_errno(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path); /* of a length that fits, see client_open */
	return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
}

/* Curl does not say that the queue is full: it takes EAGAIN for a connection under way. */
static bool queue_is_full(const struct client *client)
{
	long code = 0;

	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &code);
	return (!code || code == EAGAIN) && connect_errno(client->socket) == EAGAIN;
}

/* Why the connection failed: the hint depends on the state of the socket file. */
static int not_connected(const struct client *client, struct error *err)
{
	const char *path = client->socket;
	struct stat st;
	long code = 0;

	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &code);
	if (stat(path, &st) && errno != ENOENT)
		code = errno;
	else if (access(path, F_OK))
		code = ENOENT;
	else if (!S_ISSOCK(st.st_mode))
		return error_set(err, -ENOTSOCK,
				 "%s: not a socket: expected lbd's socket, such as " LB_API_SOCKET,
				 path);
	if (!code)
		code = connect_errno(path);
	switch (code) {
	case ENOENT:
		return error_set(err, -ENOENT, "lbd is not running (no socket %s).\n" START_HINT,
				 path);
	case ECONNREFUSED:
		return error_set(err, -ECONNREFUSED,
				 "lbd is not running (no process listens on %s).\n" START_HINT,
				 path);
	case EAGAIN:
		return error_set(
		    err, -EAGAIN,
		    "lbd takes no connection on %s: too many others wait there.\n" LOG_HINT, path);
	case EACCES:
	case EPERM:
		return error_set(
		    err, -EACCES,
		    "%s: permission denied: only root and group lbd may connect.\n"
		    "Use sudo, or join the group: usermod -aG lbd USER, then log in again",
		    path);
	}
	return error_set(err, -EIO, "%s: cannot connect: %s", path,
			 code ? strerror((int)code) : "it was closed at once");
}

static int transfer_failed(const struct client *client, CURLcode code, struct error *err)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return not_connected(client, err);
	case CURLE_OPERATION_TIMEDOUT:
		return error_set(err, -ETIMEDOUT,
				 "lbd did not answer on %s within %lds.\n" LOG_HINT, client->socket,
				 ANSWER_MS / 1000);
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return error_set(err, -ECONNRESET,
				 "lbd closed the connection on %s without an answer.\n" LOG_HINT,
				 client->socket);
	default:
		return error_set(err, -EPROTO, "%s: expected an answer from lbd: %s",
				 client->socket, curl_easy_strerror(code));
	}
}

/* The error and the hint of lbd's answer. */
static int refused(const json_t *answer, long status, struct error *err)
{
	const char *sentence = json_text(answer, "error"), *hint = json_text(answer, "hint");

	if (!*sentence)
		return error_set(err, -EREMOTEIO,
				 "lbd answered with HTTP status %ld and without a reason", status);
	return error_set(err, -EREMOTEIO, "%s%s%s", sentence, *hint ? "\n" : "", hint);
}

static int read_answer(const struct client *client, json_t **ret, struct error *err)
{
	const struct body *body = &client->body;
	json_t *answer =
	    json_loadb(body->data ? body->data : "", body->length, JSON_REJECT_DUPLICATES, NULL);
	long status = 0;
	int rc;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status < 300 && json_is_object(answer)) {
		*ret = answer;
		return 0;
	}
	if (json_is_object(answer))
		rc = refused(answer, status, err);
	else
		rc = error_set(
		    err, -EPROTO,
		    "%s: expected a JSON object from lbd, got HTTP status %ld and %zu bytes of "
		    "other content.\nIs this lbd's socket? To choose another: --socket PATH or "
		    "$" LB_API_SOCKET_ENV,
		    client->socket, status, body->length);
	json_decref(answer);
	return rc;
}

/* The handle for one request. post: its body, or NULL; it must stay until request_done. */
static int prepare(struct client *client, const char *path, const char *post, struct error *err)
{
	_cleanup_free_ char *url = NULL;
	CURL *curl = client->curl;

	client->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!client->headers || asprintf(&url, "http://lbd%s", path) < 0) {
		url = NULL;
		request_done(client);
		return error_set(err, -ENOMEM, "out of memory");
	}
	curl_easy_reset(curl); /* keeps the connection */
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &client->body);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
	if (post)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post);
	return 0;
}

static int finish(struct client *client, CURLcode code, json_t **ret, struct error *err)
{
	int rc =
	    code == CURLE_OK ? read_answer(client, ret, err) : transfer_failed(client, code, err);

	request_done(client);
	return rc;
}

/* While very many connect the queue of lbd's socket is full for moments: what finds no place there
 * waits for one, as connect(2) does where it may block. Nothing has been sent then. */
static CURLcode perform(struct client *client)
{
	const struct timespec pause = {.tv_nsec = QUEUE_MS * 1000000};
	uint64_t end_ms = clock_monotonic_ms() + CONNECT_MS;
	CURLcode code = curl_easy_perform(client->curl);

	while (code == CURLE_COULDNT_CONNECT && clock_monotonic_ms() < end_ms &&
	       queue_is_full(client)) {
		nanosleep(&pause, NULL);
		code = curl_easy_perform(client->curl);
	}
	return code;
}

/* body: NULL: none. */
static int request(struct client *client, const char *method, const char *path, const char *body,
		   json_t **ret, struct error *err)
{
	int rc = prepare(client, path, body, err);

	if (!rc && body)
		curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
	return rc ? rc : finish(client, perform(client), ret, err);
}

int client_begin(struct client *client, const char *path, struct error *err)
{
	int rc = prepare(client, path, NULL, err);

	if (rc)
		return rc;
	if (curl_multi_add_handle(client->multi, client->curl)) {
		request_done(client);
		return error_set(err, -ENOMEM, "out of memory");
	}
	client->began = true;
	return 0;
}

bool client_wait(struct client *client, int fd, int ms, bool *ret_input)
{
	struct curl_waitfd input = {.fd = fd, .events = CURL_WAIT_POLLIN};
	int running = 0;

	*ret_input = false;
	if (client->began)
		curl_multi_perform(client->multi, &running);
	if (client->began && !running)
		return true;
	curl_multi_poll(client->multi, &input, fd >= 0, ms, NULL);
	*ret_input = input.revents;
	if (client->began)
		curl_multi_perform(client->multi, &running);
	return client->began && !running;
}

int client_end(struct client *client, json_t **ret, struct error *err)
{
	int left;
	const CURLMsg *message = curl_multi_info_read(client->multi, &left);

	return finish(client, message ? message->data.result : CURLE_RECV_ERROR, ret, err);
}

int client_get(struct client *client, const char *path, json_t **ret, struct error *err)
{
	return request(client, "GET", path, NULL, ret, err);
}

static int send_body(struct client *client, const char *method, const char *path,
		     const json_t *body, json_t **ret, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(body, JSON_COMPACT);

	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	return request(client, method, path, text, ret, err);
}

int client_post(struct client *client, const char *path, const json_t *body, json_t **ret,
		struct error *err)
{
	return send_body(client, "POST", path, body, ret, err);
}

int client_put(struct client *client, const char *path, const json_t *body, json_t **ret,
	       struct error *err)
{
	return send_body(client, "PUT", path, body, ret, err);
}
