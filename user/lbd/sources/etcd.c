/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys in etcd. A watch tells that something has changed; what it says is not read: all keys are
 * then asked for, so that a list is always whole, as of one revision, whatever the watch missed.
 * They are also asked for every POLL_MS, which finds a server that has gone without a word. */
#include "etcd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "credentials.h"
#include "keys.h"

#define POLL_MS   10000
#define ANSWER_MS 5000

static void set_timer(struct etcd_run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->timer, &wait);
}

#define CANCELLED     "\"canceled\":true"
#define CANCELLED_LEN (sizeof(CANCELLED) - 1)

/* Is the word in the last bytes that came, and the first of these? Keeps the last ones. */
static bool is_in_seam(struct etcd_run *run, const char *data, size_t length)
{
	size_t part = length < CANCELLED_LEN - 1 ? length : CANCELLED_LEN - 1,
	       seam_length = run->tail_length + part, from;
	char seam[2 * CANCELLED_LEN];
	bool found;

	memcpy(seam, run->tail, run->tail_length);
	memcpy(seam + run->tail_length, data, part);
	found = memmem(seam, seam_length, CANCELLED, CANCELLED_LEN);
	if (part < length) { /* what is before the end of data is not of interest any more */
		memcpy(seam, data + length - part, part);
		seam_length = part;
	}
	from = seam_length < CANCELLED_LEN - 1 ? 0 : seam_length - (CANCELLED_LEN - 1);
	run->tail_length = seam_length - from;
	memcpy(run->tail, seam + from, run->tail_length);
	return found;
}

/* etcd has cancelled the watch: its revision is compacted, or reading was forbidden meanwhile. The
 * connection stays, and nothing more comes by it. */
static bool is_cancelled(struct etcd_run *run, const char *data, size_t length)
{
	return is_in_seam(run, data, length) || memmem(data, length, CANCELLED, CANCELLED_LEN);
}

/* The first message says that the watch was created; what changed before counts too. Changes that
 * keep coming do not put off what the first one began. */
static bool note_change(struct transfer *transfer, const char *data, size_t length)
{
	struct etcd_run *run = transfer->run;

	run->answered = true;
	if (is_cancelled(run, data, length))
		return false; /* ends the transfer: watch_ended */
	if (run->keys.curl) {
		run->again = true;
	} else if (!run->gathers) {
		run->gathers = true;
		set_timer(run, transfer_gather_ms(run->asked_ms));
	}
	return true;
}

int etcd_ask(const struct etcd_run *run, struct transfer *transfer, const char *path, char *body,
	     bool endless)
{
	const struct transfer_request request = {
	    .from = run->from,
	    .server = run->servers.list[run->servers.at],
	    .path = path,
	    .json = body,
	    .most_ms = endless ? 0 : ANSWER_MS,
	};

	return body ? transfer_start(transfer, &request) : -ENOMEM;
}

static int ask_for_keys(struct etcd_run *run)
{
	run->asked_ms = clock_monotonic_ms();
	return etcd_ask(run, &run->keys, "/v3/kv/range",
			run->dialect->request(run->from->prefix, NULL), false);
}

static int start_watch(struct etcd_run *run)
{
	run->watch_ms = clock_monotonic_ms();
	run->answered = false;
	run->tail_length = 0;
	return etcd_ask(run, &run->watch, "/v3/watch",
			run->dialect->request(run->from->prefix, run->next), true);
}

/* ---- rounds ---- */

static void fail(struct etcd_run *run, const char *why)
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
	struct etcd_run *run = arg;

	run->gathers = false;
	if (run->keys.curl) {
		run->again = true;
		return;
	}
	run->again = false;
	if (ask_for_keys(run))
		fail(run, "out of memory");
}

/* The server has taken the watch and not even said so, though it answers all else. */
static bool is_watch_lost(const struct etcd_run *run)
{
	return run->watch.curl && !run->answered &&
	       clock_monotonic_ms() - run->watch_ms >= ANSWER_MS;
}

static void keys_came(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct etcd_run *run = transfer->run;
	struct source_list list = {0};
	struct error err;

	if (answer->why) {
		fail(run, answer->why);
		return;
	}
	if (run->dialect->read(answer->body, answer->length, run->from->prefix, &list, run->next,
			       &err)) {
		fail(run, err.text);
		return;
	}
	servers_work(&run->servers);
	if (is_watch_lost(run))
		transfer_stop(&run->watch);
	if (!run->watch.curl && start_watch(run))
		run->again = false; /* the next poll tries again */
	set_timer(run, run->again ? transfer_gather_ms(run->asked_ms) : POLL_MS);
	run->env->report(run->arg, &list, NULL);
	source_list_done(&list);
}

/* Whatever ended it: all keys say what is, or what is wrong with the server. */
static void watch_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct etcd_run *run = transfer->run;

	if (run->keys.curl)
		run->again = true;
	else
		set_timer(run, servers_wait_ms(&run->servers));
}

/* ---- start and end ---- */

void etcd_unfollow(struct etcd_run *run)
{
	event_del(&run->timer);
	transfer_stop(&run->keys);
	transfer_stop(&run->watch);
	servers_done(&run->servers);
}

int etcd_follow(struct etcd_run *run, const struct etcd_dialect *dialect,
		const struct source_env *env, const struct config_from *from, void *arg)
{
	*run = (struct etcd_run){.dialect = dialect, .env = env, .from = from, .arg = arg};
	run->keys = (struct transfer){.run = run, .end = keys_came, .env = env};
	run->watch =
	    (struct transfer){.run = run, .take = note_change, .end = watch_ended, .env = env};
	evtimer_assign(&run->timer, env->base, begin_round, run);
	if (!from->prefix || !servers_init(&run->servers, from->etcd)) {
		servers_done(&run->servers);
		return -EINVAL;
	}
	set_timer(run, 0);
	return 0;
}

/* ---- the kind: backends below a prefix ---- */

static void *etcd_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	static const struct etcd_dialect dialect = {keys_request, keys_read};
	struct etcd_run *run = calloc(1, sizeof(*run));

	if (run && !etcd_follow(run, &dialect, env, from, arg))
		return run;
	free(run);
	return NULL;
}

static void etcd_stop(void *arg)
{
	etcd_unfollow(arg);
	free(arg);
}

REGISTER(source_kind, etcd) = {
    .name = "etcd",
    .confined = true,
    .prepare = credentials_read,
    .open = transfer_open,
    .start = etcd_start,
    .stop = etcd_stop,
};
