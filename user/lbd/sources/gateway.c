/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests to etcd's JSON gateway: each a POST of JSON. */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"

#define CONNECT_MS 2000L
#define ANSWER_MS  5000L
#define PEM_MAX    16384

/* ---- one call ---- */

void gateway_done(struct gateway_call *call)
{
	if (call->curl)
		curl_easy_cleanup(call->curl);
	curl_slist_free_all(call->headers);
	free(call->body);
	free(call->answer);
	*call =
	    (struct gateway_call){.ended = call->ended, .arrives = call->arrives, .arg = call->arg};
}

void gateway_stop(struct gateway_call *call)
{
	if (call->curl)
		curl_loop_remove(call->loop, call->curl);
	gateway_done(call);
}

const char *gateway_why(const struct gateway_call *call, CURLcode code)
{
	if (call->too_long)
		return "the answer with all keys is longer than 4 MiB";
	return *call->why ? call->why : curl_easy_strerror(code);
}

_Static_assert(GATEWAY_ANSWER_MAX == 4 << 20, "as gateway_why says");

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
	struct gateway_call *call = arg;
	char *grown;

	size *= count;
	call->too_long = call->length + size > GATEWAY_ANSWER_MAX;
	if (call->too_long)
		return 0;
	grown = realloc(call->answer, call->length + size + 1);
	if (!grown)
		return 0;
	memcpy(grown + call->length, data, size);
	call->answer = grown;
	call->length += size;
	return size;
}

static size_t hand_over(char *data, size_t size, size_t count, void *arg)
{
	struct gateway_call *call = arg;

	return call->arrives(call, data, size * count) ? size * count : 0;
}

static void set_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (void *)pem, .flags = CURL_BLOB_COPY};

	blob.len = pem ? strlen(pem) : 0;
	if (pem)
		curl_easy_setopt(curl, option, &blob);
}

static void set_options(struct gateway_call *call, const struct config_from *from, const char *url)
{
	CURL *curl = call->curl;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (!call->arrives)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, call->arrives ? hand_over : keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->why);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
	/* the authority that the config names, and none of the system's */
	curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	set_blob(curl, CURLOPT_CAINFO_BLOB, from->ca);
	set_blob(curl, CURLOPT_SSLCERT_BLOB, from->cert);
	set_blob(curl, CURLOPT_SSLKEY_BLOB, from->key);
}

int gateway_start(struct gateway_call *call, const struct source_env *env,
		  const struct config_from *from, const char *server, const char *path, char *body)
{
	_cleanup_free_ char *url = NULL;

	call->loop = env->shared;
	call->body = body;
	/* a body beyond 1 MiB would wait for the server's word that it may come */
	call->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (call->headers && !curl_slist_append(call->headers, "Expect:"))
		call->headers = (curl_slist_free_all(call->headers), NULL);
	call->curl = curl_easy_init();
	if (asprintf(&url, "%s%s", server, path) < 0)
		url = NULL;
	if (url && call->body && call->headers && call->curl) {
		set_options(call, from, url);
		if (!curl_loop_add(call->loop, call->curl))
			return 0;
	}
	gateway_done(call);
	return -ENOMEM;
}

static void on_end(void *arg, CURLcode code)
{
	struct gateway_call *call = arg;

	call->ended(call, code);
}

int gateway_open(struct event_base *base, void **ret, struct error *err)
{
	struct curl_loop *loop;
	int rc = curl_loop_new(base, on_end, &loop);

	if (rc)
		return error_set(err, rc, "out of memory");
	*ret = loop;
	return 0;
}

/* ---- files ---- */

/* The path becomes what is in the file. */
static int read_pem(char **text, struct error *err)
{
	_cleanup_close_ int fd = *text ? open(*text, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	struct stat state;
	char *pem;
	ssize_t length;

	if (!*text)
		return 0;
	if (fd < 0 || fstat(fd, &state))
		return error_set(err, -errno, "%s: %s", *text, strerror(errno));
	if (!S_ISREG(state.st_mode) || state.st_size > PEM_MAX)
		return error_set(err, -EINVAL, "%s: expected a file of at most %d bytes", *text,
				 PEM_MAX);
	pem = calloc(1, PEM_MAX + 1);
	length = pem ? file_read(fd, pem, PEM_MAX) : -ENOMEM;
	if (length < 0) {
		free(pem);
		return error_set(err, (int)length, "%s: %s", *text, strerror(-(int)length));
	}
	if (!*pem) { /* "" is for the source process one that is not given */
		free(pem);
		return error_set(err, -EINVAL, "%s: expected PEM: it is empty", *text);
	}
	free(*text);
	*text = pem;
	return 0;
}

int gateway_prepare(struct config_from *from, struct error *err)
{
	int rc = read_pem(&from->ca, err);

	if (!rc)
		rc = read_pem(&from->cert, err);
	return rc ? rc : read_pem(&from->key, err);
}
