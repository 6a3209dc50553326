/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys below a prefix in etcd, by the JSON gateway of its API v3. A watch tells that something has
 * changed; what it says is not read: all keys are then asked for, so that a list is always whole,
 * as of one revision, whatever the watch missed. They are also asked for every POLL_MS, which finds
 * a server that has gone without a word. */
#include <curl/curl.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/files.h"
#include "keys.h"
#include "kind.h"

#define GATHER_MS   20 /* from the first change until all keys are asked for */
#define POLL_MS     10000
#define RETRY_MS    1000 /* doubled at each failure */
#define RETRY_MAX   10000
#define CONNECT_MS  2000L
#define ANSWER_MS   5000L
#define ANSWER_MAX  (4u << 20) /* bytes */
#define PEM_MAX     16384
#define SERVERS_MAX 8

struct run;

struct transfer {
	struct run *run;
	CURL *curl; /* NULL: it does not run */
	struct curl_slist *headers;
	char *body; /* of the request */
	char *answer;
	size_t length;
	bool too_long; /* the answer: it was not read to its end */
	char why[CURL_ERROR_SIZE];
};

struct run {
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct event timer; /* the next request for all keys */
	struct transfer keys, watch;
	char *servers[SERVERS_MAX]; /* in texts */
	unsigned servers_count, server;
	char *texts;
	char next[24]; /* the revision that the watch begins with */
	uint64_t retry_ms;
	bool again;   /* something has changed while all keys are asked for */
	bool gathers; /* the timer runs from a first change */
};

static void set_timer(struct run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->timer, &wait);
}

/* ---- transfers ---- */

static void transfer_done(struct transfer *transfer)
{
	if (transfer->curl)
		curl_easy_cleanup(transfer->curl);
	curl_slist_free_all(transfer->headers);
	free(transfer->body);
	free(transfer->answer);
	*transfer = (struct transfer){.run = transfer->run};
}

static void transfer_stop(struct transfer *transfer)
{
	if (transfer->curl)
		curl_loop_remove(transfer->run->env->shared, transfer->curl);
	transfer_done(transfer);
}

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	char *grown;

	size *= count;
	transfer->too_long = transfer->length + size > ANSWER_MAX;
	if (transfer->too_long)
		return 0;
	grown = realloc(transfer->answer, transfer->length + size + 1);
	if (!grown)
		return 0;
	memcpy(grown + transfer->length, data, size);
	transfer->answer = grown;
	transfer->length += size;
	return size;
}

/* etcd has cancelled the watch: its revision is compacted, or reading was forbidden meanwhile. The
 * connection stays, and nothing more comes by it. */
static bool is_cancelled(const char *data, size_t length)
{
	static const char word[] = "\"canceled\":true";

	return memmem(data, length, word, sizeof(word) - 1);
}

/* The first message says that the watch was created; what changed before counts too. Changes that
 * keep coming do not put off what the first one began. */
static size_t note_change(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *transfer = arg;
	struct run *run = transfer->run;

	if (is_cancelled(data, size * count))
		return 0; /* ends the transfer: watch_ended */
	if (run->keys.curl) {
		run->again = true;
	} else if (!run->gathers) {
		run->gathers = true;
		set_timer(run, GATHER_MS);
	}
	return size * count;
}

static void set_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (void *)pem, .flags = CURL_BLOB_COPY};

	blob.len = pem ? strlen(pem) : 0;
	if (pem)
		curl_easy_setopt(curl, option, &blob);
}

static void set_options(struct transfer *transfer, const char *url, bool watch)
{
	const struct config_from *from = transfer->run->from;
	CURL *curl = transfer->curl;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (!watch)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, watch ? note_change : keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->why);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
	/* the authority that the config names, and none of the system's */
	curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	set_blob(curl, CURLOPT_CAINFO_BLOB, from->ca);
	set_blob(curl, CURLOPT_SSLCERT_BLOB, from->cert);
	set_blob(curl, CURLOPT_SSLKEY_BLOB, from->key);
}

/* 0 or -ENOMEM. */
static int transfer_start(struct transfer *transfer, const char *path, const char *revision)
{
	struct run *run = transfer->run;
	_cleanup_free_ char *url = NULL;

	transfer->body = keys_request(run->from->prefix, revision);
	transfer->headers = curl_slist_append(NULL, "Content-Type: application/json");
	transfer->curl = curl_easy_init();
	if (asprintf(&url, "%s%s", run->servers[run->server], path) < 0)
		url = NULL;
	if (url && transfer->body && transfer->headers && transfer->curl) {
		set_options(transfer, url, revision != NULL);
		if (!curl_loop_add(run->env->shared, transfer->curl))
			return 0;
	}
	transfer_done(transfer);
	return -ENOMEM;
}

/* ---- rounds ---- */

static void fail(struct run *run, const char *why)
{
	char text[SOURCE_WHY];

	snprintf(text, sizeof(text), "%.80s: %.160s", run->servers[run->server], why);
	transfer_stop(&run->watch);
	run->again = false;
	run->server = (run->server + 1) % run->servers_count;
	set_timer(run, run->retry_ms);
	run->retry_ms = run->retry_ms * 2 < RETRY_MAX ? run->retry_ms * 2 : RETRY_MAX;
	run->env->report(run->arg, NULL, text);
}

static void begin_round(int fd, short what, void *arg)
{
	struct run *run = arg;

	run->gathers = false;
	if (run->keys.curl) {
		run->again = true;
		return;
	}
	run->again = false;
	if (transfer_start(&run->keys, "/v3/kv/range", NULL))
		fail(run, "out of memory");
}

static void keys_came(struct run *run, CURLcode code)
{
	struct source_list list = {0};
	struct error err;
	int rc = 0;

	if (run->keys.too_long)
		error_set(&err, -E2BIG, "the answer with all keys is longer than %u MiB",
			  ANSWER_MAX >> 20);
	else if (code)
		error_set(&err, -EIO, "%s",
			  *run->keys.why ? run->keys.why : curl_easy_strerror(code));
	else
		rc = keys_read(run->keys.answer ? run->keys.answer : "", run->keys.length,
			       run->from->prefix, &list, run->next, &err);
	transfer_done(&run->keys);
	if (code || rc) {
		fail(run, err.text);
		return;
	}
	run->retry_ms = RETRY_MS;
	if (!run->watch.curl && transfer_start(&run->watch, "/v3/watch", run->next))
		run->again = false; /* the next poll tries again */
	set_timer(run, run->again ? GATHER_MS : POLL_MS);
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

/* Whatever ended it: all keys say what is, or what is wrong with the server. */
static void watch_ended(struct run *run)
{
	transfer_done(&run->watch);
	if (run->keys.curl)
		run->again = true;
	else
		set_timer(run, run->retry_ms);
}

static void on_end(void *arg, CURLcode code)
{
	struct transfer *transfer = arg;
	struct run *run = transfer->run;

	if (transfer == &run->keys)
		keys_came(run, code);
	else
		watch_ended(run);
}

/* ---- the kind ---- */

static int etcd_open(struct event_base *base, void **ret, struct error *err)
{
	struct curl_loop *loop;
	int rc = curl_loop_new(base, on_end, &loop);

	if (rc)
		return error_set(err, rc, "out of memory");
	*ret = loop;
	return 0;
}

static void etcd_stop(void *arg)
{
	struct run *run = arg;

	event_del(&run->timer);
	transfer_stop(&run->keys);
	transfer_stop(&run->watch);
	free(run->texts);
	free(run);
}

static void *etcd_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	struct run *run = calloc(1, sizeof(*run));
	char *rest, *word;

	if (!run)
		return NULL;
	*run = (struct run){.env = env, .from = from, .arg = arg, .retry_ms = RETRY_MS};
	run->keys.run = run->watch.run = run;
	evtimer_assign(&run->timer, env->base, begin_round, run);
	run->texts = from->etcd && from->prefix ? strdup(from->etcd) : NULL;
	for (word = run->texts ? strtok_r(run->texts, " ", &rest) : NULL;
	     word && run->servers_count < SERVERS_MAX; word = strtok_r(NULL, " ", &rest))
		run->servers[run->servers_count++] = word;
	if (!run->servers_count) {
		etcd_stop(run);
		return NULL;
	}
	set_timer(run, 0);
	return run;
}

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

/* Certificates and the key, which the process without rights cannot read. */
static int etcd_prepare(struct config_from *from, struct error *err)
{
	int rc = read_pem(&from->ca, err);

	if (!rc)
		rc = read_pem(&from->cert, err);
	return rc ? rc : read_pem(&from->key, err);
}

REGISTER(source_kind, etcd) = {
    .name = "etcd",
    .confined = true,
    .prepare = etcd_prepare,
    .open = etcd_open,
    .start = etcd_start,
    .stop = etcd_stop,
};
