/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kinds http and https: a request is answered in time with an expected status, and a
 * body that contains an expected text; and tls: a handshake is complete in time. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/http_host.h"
#include "lbd/host/host.h"
#include "failure.h"
#include "health.h"
#include "source.h"

#define HEADERS_MAX (64 * 1024)
/* So much of a body must arrive in time; a longer one is cut off here and counts as complete. */
#define BODY_MAX (64 * 1024)
/* 0 would mean curl's own limit of 5 min, which is shorter than the longest timeout. */
#define NO_LIMIT_MS (24 * 3600 * 1000L)

struct http_state {
	const char *scheme;
	bool handshake_only;
	struct curl_loop *loop;
};

struct health_probe {
	struct http_state *state;
	const struct health_probe_spec *spec;
	CURL *transfer;
	struct curl_slist *headers, *connect_to;
	char name[256];   /* in the certificate: a name or an address */
	int given;        /* the socket of the spec, until curl asks for one; -1: none */
	int fd;           /* -1: none yet */
	int socket_error; /* errno of a failed socket(): a problem of this host */
	size_t headers_length, body_length;
	char *body; /* its beginning, if its text matters */
	char curl_error[CURL_ERROR_SIZE];
	health_done_fn *done;
	void *arg;
};

static void probe_free(struct health_probe *probe)
{
	if (!probe)
		return;
	curl_easy_cleanup(probe->transfer);
	if (probe->given >= 0)
		close(probe->given);
	curl_slist_free_all(probe->headers);
	curl_slist_free_all(probe->connect_to);
	free(probe->body);
	free(probe);
}

static bool http_serve(struct health_probe *probe)
{
	return curl_loop_serve(probe->state->loop, probe->transfer, probe->fd);
}

static void http_cancel(struct health_probe *probe)
{
	curl_loop_remove(probe->state->loop, probe->transfer);
	probe_free(probe);
}

/* ---- results ---- */

static curl_off_t time_of(const struct health_probe *probe, CURLINFO which)
{
	curl_off_t us = 0;

	curl_easy_getinfo(probe->transfer, which, &us);
	return us;
}

static const char *http_waits_for(const struct health_probe *probe)
{
	/* CURLINFO_CONNECT_TIME_T stays 0 during the TLS handshake; the local port does not */
	long connected_from = 0;

	curl_easy_getinfo(probe->transfer, CURLINFO_LOCAL_PORT, &connected_from);
	if (!connected_from)
		return "connect: timed out";
	if (!strcmp(probe->state->scheme, "https") && !time_of(probe, CURLINFO_APPCONNECT_TIME_T))
		return "TLS: handshake not complete";
	if (!time_of(probe, CURLINFO_STARTTRANSFER_TIME_T))
		return "HTTP: no answer";
	return "HTTP: answer not complete";
}

static enum health_outcome connect_outcome(const struct health_probe *probe, char why[FAILURE_TEXT])
{
	long error = probe->socket_error;

	if (!error)
		curl_easy_getinfo(probe->transfer, CURLINFO_OS_ERRNO, &error);
	if (error)
		failure_connect(why, (int)error);
	else
		snprintf(why, FAILURE_TEXT, "connect: %s", probe->curl_error);
	return failure_is_local((int)error) ? HEALTH_NOT_RUN : HEALTH_FAILED;
}

static enum health_outcome body_outcome(const struct health_probe *probe, char why[FAILURE_TEXT])
{
	const char *text = probe->spec->config->body;
	bool whole = probe->body_length <= BODY_MAX;

	if (!text || (probe->body && memmem(probe->body, whole ? probe->body_length : BODY_MAX,
					    text, strlen(text))))
		return HEALTH_PASSED;
	failure_content(why, whole ? "HTTP: the body" : "HTTP: the body's first 64 KiB", text,
			NULL);
	return HEALTH_FAILED;
}

static enum health_outcome answer_outcome(const struct health_probe *probe, char why[FAILURE_TEXT])
{
	const struct health_spec *config = probe->spec->config;
	long status = 0;

	if (probe->state->handshake_only)
		return HEALTH_PASSED;
	curl_easy_getinfo(probe->transfer, CURLINFO_RESPONSE_CODE, &status);
	if (config->status
		? health_status_within(config->status, status) == 1
		: status >= (long)config->status_min && status <= (long)config->status_max)
		return body_outcome(probe, why);
	if (config->status)
		snprintf(why, FAILURE_TEXT, "HTTP status %ld, expected %.130s", status,
			 config->status);
	else if (config->status_min == config->status_max)
		snprintf(why, FAILURE_TEXT, "HTTP status %ld, expected %u", status,
			 config->status_min);
	else
		snprintf(why, FAILURE_TEXT, "HTTP status %ld, expected %u-%u", status,
			 config->status_min, config->status_max);
	return HEALTH_FAILED;
}

static void describe_other(const struct health_probe *probe, CURLcode code, char why[FAILURE_TEXT])
{
	const char *text = probe->curl_error[0] ? probe->curl_error : curl_easy_strerror(code);
	long error = 0;

	curl_easy_getinfo(probe->transfer, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_RECV_ERROR && error == ECONNRESET)
		text = "connection reset before the answer was complete";
	if (strstr(text, "error:") &&
	    strrchr(text, ':')[1]) /* OpenSSL: error:CODE:LIBRARY::REASON */
		text = strrchr(text, ':') + 1;
	snprintf(why, FAILURE_TEXT, "%s: %s", code == CURLE_SSL_CONNECT_ERROR ? "TLS" : "HTTP",
		 text);
}

/* The reasons of OpenSSL: X509_V_ERR_..., whose numbers are part of its interface. */
enum {
	NOT_YET_VALID = 9,
	EXPIRED = 10,
	SELF_SIGNED = 18,
	SELF_SIGNED_IN_CHAIN = 19,
	NO_ISSUER = 20,
	NOT_COMPLETE = 21
};

static void describe_certificate(const struct health_probe *probe, char why[FAILURE_TEXT])
{
	long result = 0;

	curl_easy_getinfo(probe->transfer, CURLINFO_SSL_VERIFYRESULT, &result);
	switch (result) {
	case EXPIRED:
		snprintf(why, FAILURE_TEXT, "TLS: the certificate has expired");
		break;
	case NOT_YET_VALID:
		snprintf(why, FAILURE_TEXT, "TLS: the certificate is not valid yet");
		break;
	case SELF_SIGNED:
	case SELF_SIGNED_IN_CHAIN:
	case NO_ISSUER:
	case NOT_COMPLETE:
		snprintf(why, FAILURE_TEXT, "TLS: the certificate is of no authority in ca-file");
		break;
	default:
		/* curl itself compares the name, and has only words for that */
		if (strstr(probe->curl_error, "match"))
			snprintf(why, FAILURE_TEXT, "TLS: the certificate is not for %.200s",
				 probe->name);
		else
			snprintf(why, FAILURE_TEXT, "TLS: %.250s", probe->curl_error);
	}
}

static enum health_outcome outcome_of(const struct health_probe *probe, CURLcode code,
				      char why[FAILURE_TEXT])
{
	switch (code) {
	case CURLE_WRITE_ERROR: /* on_header or on_body has reached its limit */
		if (probe->headers_length <= HEADERS_MAX)
			return answer_outcome(probe, why);
		snprintf(why, FAILURE_TEXT, "HTTP: headers longer than %d KiB", HEADERS_MAX / 1024);
		return HEALTH_FAILED;
	case CURLE_OK:
		return answer_outcome(probe, why);
	case CURLE_COULDNT_CONNECT:
		return connect_outcome(probe, why);
	case CURLE_OUT_OF_MEMORY:
	case CURLE_FAILED_INIT:
		snprintf(why, FAILURE_TEXT, "%s", strerror(ENOMEM));
		return HEALTH_NOT_RUN;
	case CURLE_PEER_FAILED_VERIFICATION:
		describe_certificate(probe, why);
		return HEALTH_FAILED;
	case CURLE_SSL_CERTPROBLEM: /* what this host has is wrong */
		snprintf(why, FAILURE_TEXT, "TLS: certificate-file or key-file: %.200s",
			 probe->curl_error);
		return HEALTH_NOT_RUN;
	case CURLE_SSL_CACERT_BADFILE:
		snprintf(why, FAILURE_TEXT, "TLS: ca-file: %.200s", probe->curl_error);
		return HEALTH_NOT_RUN;
	case CURLE_GOT_NOTHING:
		snprintf(why, FAILURE_TEXT, "HTTP: connection closed without an answer");
		return HEALTH_FAILED;
	case CURLE_PARTIAL_FILE:
		snprintf(why, FAILURE_TEXT, "HTTP: connection closed in the middle of the answer");
		return HEALTH_FAILED;
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 for curl: no status line */
	case CURLE_WEIRD_SERVER_REPLY:
		snprintf(why, FAILURE_TEXT, "HTTP: the answer is not HTTP");
		return HEALTH_FAILED;
	default:
		describe_other(probe, code, why);
		return HEALTH_FAILED;
	}
}

static void on_end(void *arg, CURLcode code)
{
	struct health_probe *probe = arg;
	health_done_fn *done = probe->done;
	void *done_arg = probe->arg;
	curl_off_t latency_us =
	    time_of(probe, probe->state->handshake_only ? CURLINFO_APPCONNECT_TIME_T
							: CURLINFO_STARTTRANSFER_TIME_T);
	char why[FAILURE_TEXT] = "";
	enum health_outcome outcome = outcome_of(probe, code, why);

	probe_free(probe);
	done(done_arg, outcome, outcome == HEALTH_PASSED ? NULL : why, (uint32_t)latency_us);
}

/* ---- the request ---- */

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct health_probe *probe = arg;

	probe->headers_length += size * count;
	return probe->headers_length <= HEADERS_MAX ? size * count : 0;
}

/* Up to BODY_MAX. False: out of memory. */
static bool keep_body(struct health_probe *probe, const char *data, size_t length)
{
	size_t room = BODY_MAX - probe->body_length;

	if (!probe->spec->config->body)
		return true;
	if (!probe->body && !(probe->body = malloc(BODY_MAX)))
		return false;
	memcpy(probe->body + probe->body_length, data, length < room ? length : room);
	return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct health_probe *probe = arg;

	if (!keep_body(probe, data, size * count))
		return 0;
	probe->body_length += size * count;
	return probe->body_length <= BODY_MAX ? size * count : 0;
}

/* The socket that was made for the probe, once: curl makes one connection. Otherwise a new one. */
static int take_socket(struct health_probe *probe)
{
	int fd = probe->given;

	if (probe->spec->socket < 0)
		return source_socket(probe->spec);
	probe->given = -1;
	errno = EADDRNOTAVAIL; /* if it was taken before */
	return fd;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct health_probe *probe = arg;
	int fd = take_socket(probe);

	if (fd < 0) {
		probe->socket_error = errno;
		return CURL_SOCKET_BAD;
	}
	probe->fd = fd;
	return fd;
}

/* Appends to a list that stays valid when memory runs out. */
static bool list_add(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (longer)
		*list = longer;
	return longer;
}

/* Servers expect of these that their length is said, 0 too: some answer 411 otherwise (RFC 9110,
 * section 8.6). */
static bool has_length(const char *method)
{
	return method &&
	       (!strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH"));
}

static bool add_headers(struct health_probe *probe)
{
	const char *text = probe->spec->config->headers;
	_cleanup_free_ char *copy = text ? strdup(text) : NULL;
	bool length_due = has_length(probe->spec->config->method);
	char *at = NULL;

	if (text && !copy)
		return false;
	for (char *line = copy ? strtok_r(copy, "\n", &at) : NULL; line;
	     line = strtok_r(NULL, "\n", &at)) {
		length_due &= strncasecmp(line, "Content-Length:", 15) != 0;
		if (!list_add(&probe->headers, line))
			return false;
	}
	return (!length_due || list_add(&probe->headers, "Content-Length: 0")) &&
	       list_add(&probe->headers, "Connection: close");
}

static bool set_method(struct health_probe *probe)
{
	const char *method = probe->spec->config->method;

	if (!method)
		return true;
	return !curl_easy_setopt(probe->transfer, CURLOPT_NOBODY,
				 !strcmp(method, "HEAD") ? 1L : 0L) &&
	       !curl_easy_setopt(probe->transfer, CURLOPT_CUSTOMREQUEST, method);
}

#define AUTHORITY (ADDR_TEXT + 16)

/* "10.0.0.11:80", "[2001:db8::11]:80" */
static const char *authority(const struct addr *address, uint16_t port, char text[AUTHORITY])
{
	char plain[ADDR_TEXT];

	addr_format(address, plain);
	snprintf(text, AUTHORITY, address->family == 6 ? "[%s]:%u" : "%s:%u", plain, port);
	return text;
}

static bool connect_elsewhere(struct health_probe *probe)
{
	const struct health_probe_spec *spec = probe->spec;
	char to[AUTHORITY], text[AUTHORITY + 2];

	snprintf(text, sizeof(text), "::%s", authority(&spec->address, spec->port, to));
	return list_add(&probe->connect_to, text);
}

static bool set_target(struct health_probe *probe)
{
	const struct health_probe_spec *spec = probe->spec;
	const struct health_spec *config = spec->config;
	const struct addr *named = spec->named.family ? &spec->named : &spec->address;
	char text[AUTHORITY];
	_cleanup_free_ char *url = NULL, *host = NULL;
	int length;

	if (!config->host && !config->server_name) {
		addr_format(named, probe->name);
		length = asprintf(&url, "%s://%s/", probe->state->scheme,
				  authority(named, spec->port, text));
		if (spec->named.family && !connect_elsewhere(probe))
			length = -1;
	} else {
		const char *name = config->server_name ? config->server_name : config->host;

		/* The name is in the URL as TLS sends it as SNI; the port of a host, if any, is for
		 * the Host header only. */
		snprintf(probe->name, sizeof(probe->name), "%.*s", (int)http_host_name_length(name),
			 name);
		length =
		    asprintf(&url, "%s://%s:%u/", probe->state->scheme, probe->name, spec->port);
		if (asprintf(&host, "Host: %s", config->host ? config->host : name) < 0)
			host = NULL;
		if (!host || !list_add(&probe->headers, host) || !connect_elsewhere(probe))
			length = -1;
	}
	if (length < 0) {
		url = NULL;
		return false;
	}
	return add_headers(probe) && set_method(probe) &&
	       !curl_easy_setopt(probe->transfer, CURLOPT_URL, url) &&
	       !curl_easy_setopt(probe->transfer, CURLOPT_REQUEST_TARGET,
				 config->path ? config->path : "/") &&
	       !curl_easy_setopt(probe->transfer, CURLOPT_HTTPHEADER, probe->headers) &&
	       !curl_easy_setopt(probe->transfer, CURLOPT_CONNECT_TO, probe->connect_to);
}

static void set_blob(CURL *transfer, CURLoption option, char *text)
{
	struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};

	if (!text)
		return;
	blob.data = text;
	blob.len = strlen(text);
	curl_easy_setopt(transfer, option, &blob);
}

/* Backends are probed by address, and a probe tests whether they work: by default their certificate
 * is not verified. The probe process cannot open files, so authorities come with the probe, and the
 * system's own are not looked for. */
static void set_tls_options(CURL *transfer, const struct health_spec *config)
{
	curl_easy_setopt(transfer, CURLOPT_SSL_VERIFYPEER, config->verify ? 1L : 0L);
	curl_easy_setopt(transfer, CURLOPT_SSL_VERIFYHOST, config->verify ? 2L : 0L);
	curl_easy_setopt(transfer, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(transfer, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(transfer, CURLOPT_CAPATH, NULL);
	set_blob(transfer, CURLOPT_CAINFO_BLOB, config->ca);
	set_blob(transfer, CURLOPT_SSLCERT_BLOB, config->certificate);
	set_blob(transfer, CURLOPT_SSLKEY_BLOB, config->key);
}

static void set_options(struct health_probe *probe)
{
	CURL *transfer = probe->transfer;

	curl_easy_setopt(transfer, CURLOPT_PRIVATE, probe);
	curl_easy_setopt(transfer, CURLOPT_CONNECT_ONLY, probe->state->handshake_only ? 1L : 0L);
	curl_easy_setopt(transfer, CURLOPT_ERRORBUFFER, probe->curl_error);
	curl_easy_setopt(transfer, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(transfer, CURLOPT_PROTOCOLS_STR, probe->state->scheme);
	curl_easy_setopt(transfer, CURLOPT_PROXY, ""); /* not even from the environment */
	curl_easy_setopt(transfer, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(transfer, CURLOPT_USERAGENT, "lbd/" LBD_VERSION);
	/* The scheduler has the timeout: curl checks its clock before its sockets, and would miss
	 * an answer that has arrived. */
	curl_easy_setopt(transfer, CURLOPT_TIMEOUT_MS, 0L);
	curl_easy_setopt(transfer, CURLOPT_CONNECTTIMEOUT_MS, NO_LIMIT_MS);
	/* Each probe makes a new connection: one that is kept open would hide a dead listener. */
	curl_easy_setopt(transfer, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(transfer, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(transfer, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(transfer, CURLOPT_OPENSOCKETDATA, probe);
	curl_easy_setopt(transfer, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(transfer, CURLOPT_HEADERDATA, probe);
	curl_easy_setopt(transfer, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(transfer, CURLOPT_WRITEDATA, probe);
	set_tls_options(transfer, probe->spec->config);
}

static struct health_probe *http_start(void *state, struct event_base *base,
				       const struct health_probe_spec *spec, health_done_fn *done,
				       void *arg)
{
	struct health_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->state = state;
	probe->spec = spec;
	probe->done = done;
	probe->arg = arg;
	probe->fd = probe->given = -1;
	probe->transfer = curl_easy_init();
	if (probe->transfer) {
		set_options(probe);
		if (set_target(probe) && !curl_loop_add(probe->state->loop, probe->transfer)) {
			probe->given = spec->socket;
			return probe;
		}
	}
	probe_free(probe);
	errno = ENOMEM;
	return NULL;
}

static int open_scheme(struct event_base *base, const char *scheme, bool handshake_only, void **ret)
{
	struct http_state *state = calloc(1, sizeof(*state));
	int rc;

	if (!state)
		return -ENOMEM;
	state->scheme = scheme;
	state->handshake_only = handshake_only;
	rc = curl_loop_new(base, on_end, &state->loop);
	if (rc) {
		free(state);
		return rc;
	}
	*ret = state;
	return 0;
}

static int open_http(struct event_base *base, void **ret)
{
	return open_scheme(base, "http", false, ret);
}

static int open_https(struct event_base *base, void **ret)
{
	return open_scheme(base, "https", false, ret);
}

static int open_tls(struct event_base *base, void **ret)
{
	return open_scheme(base, "https", true, ret);
}

static void http_close(void *arg)
{
	struct http_state *state = arg;

	curl_loop_free(state->loop);
	free(state);
}

REGISTER(health_kind, http) = {
    .name = "http",
    .confined = true,
    .open = open_http,
    .close = http_close,
    .start = http_start,
    .serve = http_serve,
    .waits_for = http_waits_for,
    .cancel = http_cancel,
};

REGISTER(health_kind, https) = {
    .name = "https",
    .confined = true,
    .open = open_https,
    .close = http_close,
    .start = http_start,
    .serve = http_serve,
    .waits_for = http_waits_for,
    .cancel = http_cancel,
};

REGISTER(health_kind, tls) = {
    .name = "tls",
    .confined = true,
    .open = open_tls,
    .close = http_close,
    .start = http_start,
    .serve = http_serve,
    .waits_for = http_waits_for,
    .cancel = http_cancel,
};
