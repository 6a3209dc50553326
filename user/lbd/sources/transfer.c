/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests of sources, by libcurl. Redirections are not followed, and no proxy is asked: a token
 * goes where the config says. */
#include "transfer.h"

#include <errno.h>
#include <event2/util.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/text.h"

#define CONNECT_MS  2000L
#define RETRY_MS    1000 /* doubled each time */
#define RETRY_MAX   10000
#define REFUSAL_MAX 8192 /* bytes of an answer that is no success, which says why */
#define STATUS_OK   200

/* ---- servers ---- */

bool servers_init(struct servers *servers, const char *urls)
{
	char *rest, *word;

	*servers = (struct servers){.retry_ms = RETRY_MS};
	servers->texts = urls ? strdup(urls) : NULL;
	for (word = servers->texts ? strtok_r(servers->texts, " ", &rest) : NULL;
	     word && servers->count < SERVERS_MAX; word = strtok_r(NULL, " ", &rest))
		servers->list[servers->count++] = word;
	return servers->count;
}

void servers_done(struct servers *servers)
{
	free(servers->texts);
	servers->texts = NULL;
}

/* Half of it is left to chance: nodes that lost a server at once do not come back at once. */
uint64_t servers_wait_ms(struct servers *servers)
{
	uint64_t most = servers->retry_ms;
	uint32_t chance;

	evutil_secure_rng_get_bytes(&chance, sizeof(chance));
	servers->retry_ms = most * 2 < RETRY_MAX ? most * 2 : RETRY_MAX;
	return most - chance % (most / 2);
}

uint64_t servers_failed_ms(struct servers *servers)
{
	servers->at = (servers->at + 1) % servers->count;
	return servers_wait_ms(servers);
}

void servers_work(struct servers *servers)
{
	servers->retry_ms = RETRY_MS;
}

const char *servers_say(const struct servers *servers, const char *why, char text[SOURCE_WHY])
{
	snprintf(text, SOURCE_WHY, "%.80s: %.160s", servers->list[servers->at], why);
	return text;
}

/* ---- changes that are gathered ---- */

#define GATHER_MS 20  /* from the first change ... */
#define REST_MS   100 /* ... but so long from one time to the next */

uint64_t transfer_gather_ms(uint64_t last_ms)
{
	uint64_t since = clock_monotonic_ms() - last_ms;

	return since + GATHER_MS < REST_MS ? REST_MS - since : GATHER_MS;
}

/* ---- the answer ---- */

static void forget(struct transfer *transfer)
{
	*transfer = (struct transfer){.run = transfer->run,
				      .take = transfer->take,
				      .end = transfer->end,
				      .env = transfer->env};
}

static void transfer_done(struct transfer *transfer)
{
	if (transfer->curl)
		curl_easy_cleanup(transfer->curl);
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->way);
	free(transfer->sent);
	free(transfer->body);
	forget(transfer);
}

void transfer_stop(struct transfer *transfer)
{
	if (transfer->curl)
		curl_loop_remove(transfer->env->shared, transfer->curl);
	transfer_done(transfer);
}

void transfer_refuse(struct transfer *transfer, const char *why)
{
	snprintf(transfer->said, sizeof(transfer->said), "%.200s", why);
}

static int status_of(const struct transfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

static bool collect(struct transfer *transfer, const char *data, size_t length)
{
	return add_text(&transfer->body, &transfer->length, data, length);
}

/* Its begin says why; who sends more is not listened to. */
static bool collect_refusal(struct transfer *transfer, const char *data, size_t length)
{
	size_t left = REFUSAL_MAX - transfer->length;

	return collect(transfer, data, length < left ? length : left) && length <= left;
}

/* All heads count, also those before the last one (1xx). */
static size_t on_head(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;

	size *= count;
	transfer->head_length += size;
	if (transfer->head_length <= HEAD_MAX)
		return size;
	transfer_refuse(transfer, "the head of its answer is longer than 64 KiB");
	return 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	bool good;

	size *= count;
	if (status_of(transfer) != STATUS_OK) {
		good = collect_refusal(transfer, data, size);
	} else if (transfer->take) {
		good = transfer->take(transfer, data, size);
	} else {
		transfer->too_long = transfer->length + size > TRANSFER_MAX;
		good = !transfer->too_long && collect(transfer, data, size);
	}
	return good ? size : 0;
}

/* What a server that refuses says: the message of an object, or a line. It may quote the request.
 */
static void describe_refusal(const struct transfer *transfer, int status, char text[SOURCE_WHY])
{
	const char *body = transfer->body ? transfer->body : "";
	json_t *root = json_loads(body, 0, NULL);
	const char *message = json_string_value(json_object_get(root, "message"));
	const char *line = message ? message : body;

	if (transfer->token && strstr(line, transfer->token))
		line = "what the server says has the token in it";
	snprintf(text, SOURCE_WHY, "status %d%s%.*s", status, *line ? ": " : "",
		 (int)strcspn(line, "\r\n"), line);
	json_decref(root);
}

static const char *why_not(const struct transfer *transfer, CURLcode code, int status,
			   char text[SOURCE_WHY])
{
	const char *why = NULL;

	if (*transfer->said)
		why = transfer->said;
	else if (transfer->too_long)
		snprintf(text, SOURCE_WHY, "the answer is longer than %u MiB", TRANSFER_MAX >> 20);
	else if (status && status != STATUS_OK)
		describe_refusal(transfer, status, text);
	else if (code)
		why = *transfer->why ? transfer->why : curl_easy_strerror(code);
	else
		return NULL;
	return why ? why : text;
}

/* Its owner finds it idle. */
static void on_end(void *arg, CURLcode code)
{
	struct transfer *transfer = arg, ended = *transfer;
	char text[SOURCE_WHY];
	struct transfer_answer answer = {.status = status_of(&ended),
					 .body = ended.body ? ended.body : "",
					 .length = ended.length,
					 .curl = ended.curl};

	answer.why = why_not(&ended, code, answer.status, text);
	curl_easy_setopt(ended.curl, CURLOPT_ERRORBUFFER, NULL);
	forget(transfer);
	transfer->end(transfer, &answer);
	transfer_done(&ended);
}

const char *transfer_header(const struct transfer_answer *answer, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(answer->curl, name, 0, CURLH_HEADER, -1, &header) ? NULL
										  : header->value;
}

/* ---- the request ---- */

int transfer_open(struct event_base *base, void **ret, struct error *err)
{
	struct curl_loop *loop;
	int rc = curl_loop_new(base, on_end, &loop);

	if (rc)
		return error_set(err, rc, "out of memory");
	*ret = loop;
	return 0;
}

/* Takes the line, NULL if memory ran out. */
static bool add_line(struct curl_slist **lines, char *line)
{
	struct curl_slist *grown = line ? curl_slist_append(*lines, line) : NULL;

	if (line)
		explicit_bzero(line, strlen(line)); /* it may hold a token */
	free(line);
	if (grown)
		*lines = grown;
	return grown;
}

__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	va_list args;
	char *text;
	int rc;

	va_start(args, format);
	rc = vasprintf(&text, format, args);
	va_end(args);
	return rc < 0 ? NULL : text;
}

static bool add_headers(struct transfer *transfer, const struct transfer_request *request)
{
	struct curl_slist **headers = &transfer->headers;
	const char *token = request->from->token;

	if (!add_line(headers, text_of("Accept: application/json")))
		return false;
	if (request->json && !add_line(headers, text_of("Content-Type: application/json")))
		return false;
	/* a body beyond 1 MiB would wait for the server's word that it may come */
	if (request->json && !add_line(headers, text_of("Expect:")))
		return false;
	return !token || !request->token ||
	       add_line(headers, text_of("%s: %s%s", request->token,
					 request->is_bearer ? "Bearer " : "", token));
}

/* The parts of a server's URL: its scheme before host, with the port; then a path, or nothing. */
struct parts {
	const char *host, *port, *path;
	int host_length, path_length;
};

static void parts_of(const char *server, struct parts *ret)
{
	const char *scheme = strstr(server, "://"), *host = scheme ? scheme + 3 : server;
	const char *path = host + strcspn(host, "/"), *port = path;
	size_t length = strlen(path);

	while (port > host && *port != ':')
		port--;
	length -= length && path[length - 1] == '/';
	*ret = (struct parts){host, port, path, (int)(path - host), (int)length};
}

/* If the certificate has another name, the URL is by that name, and *way says where it is. NULL:
 * out of memory. */
static char *url_of(const struct transfer_request *request, struct curl_slist **way)
{
	const char *name = request->from->server_name;
	struct parts parts;

	parts_of(request->server, &parts);
	if (!name)
		return text_of("%.*s%.*s%s", (int)(parts.path - request->server), request->server,
			       parts.path_length, parts.path, request->path);
	if (!add_line(way, text_of("::%.*s", parts.host_length, parts.host)))
		return NULL;
	return text_of("https://%s%.*s%.*s%s", name, (int)(parts.path - parts.port), parts.port,
		       parts.path_length, parts.path, request->path);
}

static void set_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (void *)pem, .flags = CURL_BLOB_COPY};

	blob.len = pem ? strlen(pem) : 0;
	if (pem)
		curl_easy_setopt(curl, option, &blob);
}

static void set_tls(CURL *curl, const struct config_from *from)
{
	/* the authority that the config names, and none of the system's */
	curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	set_blob(curl, CURLOPT_CAINFO_BLOB, from->ca);
	set_blob(curl, CURLOPT_SSLCERT_BLOB, from->cert);
	set_blob(curl, CURLOPT_SSLKEY_BLOB, from->key);
}

static void set_options(struct transfer *transfer, const char *url, uint64_t most_ms)
{
	CURL *curl = transfer->curl;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "lbd/" LBD_VERSION);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)most_ms);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, transfer->way);
	if (transfer->sent)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->sent);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->why);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
}

int transfer_start(struct transfer *transfer, const struct transfer_request *request)
{
	_cleanup_free_ char *url = url_of(request, &transfer->way);

	transfer->token = request->token ? request->from->token : NULL;
	transfer->sent = request->json;
	transfer->curl = curl_easy_init();
	if (url && transfer->curl && add_headers(transfer, request)) {
		set_options(transfer, url, request->most_ms);
		set_tls(transfer->curl, request->from);
		if (!curl_loop_add(transfer->env->shared, transfer->curl))
			return 0;
	}
	transfer_done(transfer);
	return -ENOMEM;
}
