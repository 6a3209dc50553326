/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys below a prefix in etcd, by the JSON gateway of its API v3. A watch tells that something has
 * changed; what it says is not read: all keys are then asked for, so that a list is always whole,
 * as of one revision, whatever the watch missed. They are also asked for every POLL_MS, which finds
 * a server that has gone without a word. */
#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "credentials.h"
#include "keys.h"
#include "transfer.h"

#define GATHER_MS 20 /* from the first change until all keys are asked for */
#define POLL_MS   10000
#define ANSWER_MS 5000

struct run {
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct event timer; /* the next request for all keys */
	struct transfer keys, watch;
	struct servers servers;
	char next[24]; /* the revision that the watch begins with */
	bool again;    /* something has changed while all keys are asked for */
	bool gathers;  /* the timer runs from a first change */
};

static void set_timer(struct run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->timer, &wait);
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
static bool note_change(struct transfer *transfer, const char *data, size_t length)
{
	struct run *run = transfer->run;

	if (is_cancelled(data, length))
		return false; /* ends the transfer: watch_ended */
	if (run->keys.curl) {
		run->again = true;
	} else if (!run->gathers) {
		run->gathers = true;
		set_timer(run, GATHER_MS);
	}
	return true;
}

/* revision: of a watch; NULL: all keys. 0 or -ENOMEM. */
static int ask(struct run *run, struct transfer *transfer, const char *revision)
{
	const struct transfer_request request = {
	    .from = run->from,
	    .server = run->servers.list[run->servers.at],
	    .path = revision ? "/v3/watch" : "/v3/kv/range",
	    .json = keys_request(run->from->prefix, revision),
	    .most_ms = revision ? 0 : ANSWER_MS,
	};

	return request.json ? transfer_start(transfer, &request) : -ENOMEM;
}

/* ---- rounds ---- */

static void fail(struct run *run, const char *why)
{
	char text[SOURCE_WHY];

	servers_say(&run->servers, why, text);
	transfer_stop(&run->watch);
	run->again = false;
	set_timer(run, servers_failed_ms(&run->servers));
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
	if (ask(run, &run->keys, NULL))
		fail(run, "out of memory");
}

static void keys_came(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct run *run = transfer->run;
	struct source_list list = {0};
	struct error err;

	if (answer->why) {
		fail(run, answer->why);
		return;
	}
	if (keys_read(answer->body, answer->length, run->from->prefix, &list, run->next, &err)) {
		fail(run, err.text);
		return;
	}
	servers_work(&run->servers);
	if (!run->watch.curl && ask(run, &run->watch, run->next))
		run->again = false; /* the next poll tries again */
	set_timer(run, run->again ? GATHER_MS : POLL_MS);
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

/* Whatever ended it: all keys say what is, or what is wrong with the server. */
static void watch_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct run *run = transfer->run;

	if (run->keys.curl)
		run->again = true;
	else
		set_timer(run, servers_wait_ms(&run->servers));
}

/* ---- the kind ---- */

static void etcd_stop(void *arg)
{
	struct run *run = arg;

	event_del(&run->timer);
	transfer_stop(&run->keys);
	transfer_stop(&run->watch);
	servers_done(&run->servers);
	free(run);
}

static void *etcd_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct run){.env = env, .from = from, .arg = arg};
	run->keys = (struct transfer){.run = run, .end = keys_came, .env = env};
	run->watch =
	    (struct transfer){.run = run, .take = note_change, .end = watch_ended, .env = env};
	evtimer_assign(&run->timer, env->base, begin_round, run);
	if (!from->prefix || !servers_init(&run->servers, from->etcd)) {
		etcd_stop(run);
		return NULL;
	}
	set_timer(run, 0);
	return run;
}

REGISTER(source_kind, etcd) = {
    .name = "etcd",
    .confined = true,
    .prepare = credentials_read,
    .open = transfer_open,
    .start = etcd_start,
    .stop = etcd_stop,
};
