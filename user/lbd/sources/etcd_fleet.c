/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config of a fleet in etcd: follows it, writes what lbd orders, and shows that this node is
 * there: by a key with a lease, which is gone LEASE_S after the node is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "credentials.h"
#include "documents.h"
#include "etcd.h"

#define LEASE_S  15
#define RENEW_MS 5000

struct fleet_run {
	const struct source_env *env; /* that hears of everything, with arg */
	void *arg;
	struct source_env own; /* of follow */
	struct etcd_run follow;
	struct transfer order; /* that is being made */
	uint32_t number;       /* of it */
	struct transfer presence;
	struct event renew;
	char lease[24]; /* "": none */
	bool shown;     /* the key was written with that lease */
};

/* ---- presence ---- */

static void renew_later(struct fleet_run *run)
{
	const struct timeval wait = clock_span_ms(RENEW_MS);

	event_add(&run->renew, &wait);
}

/* The next of: a lease, the key with it, a renewal. What fails is tried again at the next turn. */
static void show_presence(struct fleet_run *run)
{
	const struct config_from *from = run->follow.from;
	const char *path;
	char *body;

	if (!*run->lease) {
		path = "/v3/lease/grant";
		body = documents_grant(LEASE_S);
	} else if (!run->shown) {
		path = "/v3/kv/put";
		body = documents_put_live(from->prefix, from->node, run->lease);
	} else {
		path = "/v3/lease/keepalive";
		body = documents_renew(run->lease);
	}
	if (etcd_ask(&run->follow, &run->presence, path, body, false))
		renew_later(run);
}

/* Without the lease the key is gone too, or soon will be. */
static void forget_lease(struct fleet_run *run)
{
	*run->lease = 0;
	run->shown = false;
}

static void presence_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct fleet_run *run = transfer->run;
	bool granted = !*run->lease, put = *run->lease && !run->shown;
	int rc = answer->why ? -EIO
		 : put       ? 0
			     : documents_read_lease(answer->body, answer->length, run->lease);

	if (rc == -ENOENT || (answer->why && put)) /* the lease of a put may have ended */
		forget_lease(run);
	else if (!rc && put)
		run->shown = true;
	if (!rc && granted)
		show_presence(run); /* with the key */
	else
		renew_later(run);
}

static void on_renew(int fd, short what, void *arg)
{
	struct fleet_run *run = arg;

	if (!run->presence.curl)
		show_presence(run);
}

/* An etcd that was emptied, or another one, does not know of it. */
static void look_for_itself(struct fleet_run *run, const struct source_list *list)
{
	if (!run->shown || run->presence.curl ||
	    rollout_is_live(list->documents[SOURCE_LIVE].bytes, run->follow.from->node))
		return;
	forget_lease(run);
	show_presence(run);
}

static void on_report(void *arg, struct source_list *list, const char *why)
{
	struct fleet_run *run = arg;

	if (list)
		look_for_itself(run, list);
	run->env->report(run->arg, list, why);
}

/* ---- orders ---- */

static void end_order(struct fleet_run *run, enum source_outcome outcome, const char *why)
{
	char text[SOURCE_WHY];

	snprintf(text, sizeof(text), "%s%.200s", *why ? "etcd: " : "", why);
	run->env->done(run->arg, run->number, outcome, text);
}

static void order_ended(struct transfer *transfer, const struct transfer_answer *answer)
{
	struct fleet_run *run = transfer->run;
	int rc = answer->why ? -EIO : documents_read_outcome(answer->body, answer->length);

	if (rc == -EAGAIN)
		end_order(run, SOURCE_OVERTAKEN, "another has written meanwhile");
	else if (rc)
		end_order(run, SOURCE_LOST,
			  answer->why ? answer->why : "expected an answer of its JSON gateway");
	else
		end_order(run, SOURCE_MADE, "");
}

static void fleet_order(void *arg, uint32_t number, char *body)
{
	struct fleet_run *run = arg;

	run->number = number;
	if (etcd_ask(&run->follow, &run->order, "/v3/kv/txn", body, false))
		end_order(run, SOURCE_LOST, "out of memory");
}

/* ---- the kind ---- */

static void *fleet_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	static const struct etcd_dialect dialect = {documents_request, documents_read};
	const struct timeval now = {0};
	struct fleet_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->env = env;
	run->arg = arg;
	run->own = *env;
	run->own.report = on_report;
	if (etcd_follow(&run->follow, &dialect, &run->own, from, run)) {
		free(run);
		return NULL;
	}
	run->order = (struct transfer){.run = run, .end = order_ended, .env = env};
	run->presence = (struct transfer){.run = run, .end = presence_ended, .env = env};
	evtimer_assign(&run->renew, env->base, on_renew, run);
	if (from->node)
		event_add(&run->renew, &now);
	return run;
}

static void fleet_stop(void *arg)
{
	struct fleet_run *run = arg;

	event_del(&run->renew);
	transfer_stop(&run->order);
	transfer_stop(&run->presence);
	etcd_unfollow(&run->follow);
	free(run);
}

REGISTER(source_kind, etcd_fleet) = {
    .name = SOURCE_KIND_FLEET,
    .confined = true,
    .prepare = credentials_read,
    .open = transfer_open,
    .start = fleet_start,
    .stop = fleet_stop,
    .order = fleet_order,
};
