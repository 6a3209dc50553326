/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys in etcd. A watch tells that something has changed; what it says is not read: all keys are
 * then asked for, so that a list is always whole, as of one revision, whatever the watch missed.
 * They are also asked for every POLL_MS, which finds a server that has gone without a word. */
#include "etcd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "keys.h"

#define GATHER_MS 20 /* from the first change until all keys are asked for */
#define POLL_MS   10000
#define RETRY_MS  1000 /* doubled at each failure */
#define RETRY_MAX 10000

static void set_timer(struct etcd_run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->timer, &wait);
}

const char *etcd_server(const struct etcd_run *run)
{
	return run->servers[run->server];
}

/* ---- the watch ---- */

/* etcd has cancelled the watch: its revision is compacted, or reading was forbidden meanwhile. The
 * connection stays, and nothing more comes by it. */
static bool is_cancelled(const char *data, size_t length)
{
	static const char word[] = "\"canceled\":true";

	return memmem(data, length, word, sizeof(word) - 1);
}

/* The first message says that the watch was created; what changed before counts too. Changes that
 * keep coming do not put off what the first one began. */
static bool note_change(struct gateway_call *call, const char *data, size_t length)
{
	struct etcd_run *run = call->arg;

	if (is_cancelled(data, length))
		return false; /* ends the call: watch_ended */
	if (run->keys.curl) {
		run->again = true;
	} else if (!run->gathers) {
		run->gathers = true;
		set_timer(run, GATHER_MS);
	}
	return true;
}

static int start_call(struct etcd_run *run, struct gateway_call *call, const char *path,
		      const char *revision)
{
	return gateway_start(call, run->env, run->from, etcd_server(run), path,
			     run->dialect->request(run->from->prefix, revision));
}

/* ---- rounds ---- */

static void fail(struct etcd_run *run, const char *why)
{
	char text[SOURCE_WHY];

	snprintf(text, sizeof(text), "%.80s: %.160s", etcd_server(run), why);
	gateway_stop(&run->watch);
	run->again = false;
	run->server = (run->server + 1) % run->servers_count;
	set_timer(run, run->retry_ms);
	run->retry_ms = run->retry_ms * 2 < RETRY_MAX ? run->retry_ms * 2 : RETRY_MAX;
	run->env->report(run->arg, NULL, text);
}

static void begin_round(int fd, short what, void *arg)
{
	struct etcd_run *run = arg;

	run->gathers = false;
	if (run->keys.curl) {
		run->again = true;
		return;
	}
	run->again = false;
	if (start_call(run, &run->keys, "/v3/kv/range", NULL))
		fail(run, "out of memory");
}

/* The watch begins where the answer ends. */
static void keys_came(struct gateway_call *call, CURLcode code)
{
	struct etcd_run *run = call->arg;
	struct source_list list = {0};
	struct error err;
	int rc;

	if (code || call->too_long)
		rc = error_set(&err, -EIO, "%s", gateway_why(call, code));
	else
		rc = run->dialect->read(call->answer ? call->answer : "", call->length,
					run->from->prefix, &list, run->next, &err);
	gateway_done(call);
	if (rc) {
		fail(run, err.text);
		return;
	}
	run->retry_ms = RETRY_MS;
	if (!run->watch.curl && start_call(run, &run->watch, "/v3/watch", run->next))
		run->again = false; /* the next poll tries again */
	set_timer(run, run->again ? GATHER_MS : POLL_MS);
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

/* Whatever ended it: all keys say what is, or what is wrong with the server. */
static void watch_ended(struct gateway_call *call, CURLcode code)
{
	struct etcd_run *run = call->arg;

	gateway_done(call);
	if (run->keys.curl)
		run->again = true;
	else
		set_timer(run, run->retry_ms);
}

/* ---- start and end ---- */

void etcd_unfollow(struct etcd_run *run)
{
	event_del(&run->timer);
	gateway_stop(&run->keys);
	gateway_stop(&run->watch);
	free(run->texts);
}

int etcd_follow(struct etcd_run *run, const struct etcd_dialect *dialect,
		const struct source_env *env, const struct config_from *from, void *arg)
{
	char *rest, *word;

	*run = (struct etcd_run){
	    .dialect = dialect, .env = env, .from = from, .arg = arg, .retry_ms = RETRY_MS};
	run->keys = (struct gateway_call){.ended = keys_came, .arg = run};
	run->watch =
	    (struct gateway_call){.ended = watch_ended, .arrives = note_change, .arg = run};
	evtimer_assign(&run->timer, env->base, begin_round, run);
	run->texts = from->etcd && from->prefix ? strdup(from->etcd) : NULL;
	for (word = run->texts ? strtok_r(run->texts, " ", &rest) : NULL;
	     word && run->servers_count < ETCD_SERVERS_MAX; word = strtok_r(NULL, " ", &rest))
		run->servers[run->servers_count++] = word;
	if (!run->servers_count) {
		free(run->texts);
		return -EINVAL;
	}
	set_timer(run, 0);
	return 0;
}

/* ---- the kind: backends below a prefix ---- */

static void *keys_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	static const struct etcd_dialect dialect = {keys_request, keys_read};
	struct etcd_run *run = calloc(1, sizeof(*run));

	if (run && !etcd_follow(run, &dialect, env, from, arg))
		return run;
	free(run);
	return NULL;
}

static void keys_stop(void *arg)
{
	etcd_unfollow(arg);
	free(arg);
}

REGISTER(source_kind, etcd) = {
    .name = "etcd",
    .confined = true,
    .prepare = gateway_prepare,
    .open = gateway_open,
    .start = keys_start,
    .stop = keys_stop,
};
