/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes that wait for their turn as a task, in the order in which they came. Registrations that
 * follow one another are one task: they cost one world and one write to disk. A client that has
 * gone away meanwhile gets no answer, but its change. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/plural.h"

/* That wait: their bodies take memory, also when the clients are gone. Of registrations with a
 * short body there may be more: servers that register, renew or leave do so at the same moment. */
#define CHANGES_MAX        64
#define REGISTRATIONS_MAX  2048
#define REGISTRATION_BYTES 1024

/* A change that waits, or is being made. */
struct change {
	TAILQ_ENTRY(change) link; /* in its group */
	struct api_door *door;
	const struct api_route *route;
	json_t *body;
	struct face_waiters waiters; /* the call, unless it is gone */
	bool registers;              /* or leaves; with a short body */
	bool is_known;               /* who asks */
	struct event_actor
	    actor; /* of a user of this machine the uid alone, until it is looked up */
};

TAILQ_HEAD(changes, change);

/* Registrations that one task makes. */
struct queue_group {
	struct api *api;
	struct changes changes;
	unsigned count;
};

/* The number of changes of its kind that wait. */
static unsigned *change_count(const struct change *change)
{
	return change->registers ? &change->door->registrations : &change->door->changes;
}

static void change_free(struct change *change)
{
	--*change_count(change);
	json_decref(change->body);
	free(change);
}

/* ---- who asks ---- */

/* Of one after the other it is mostly the same user. */
static void find_actors(void *arg)
{
	const struct changes *changes = arg;
	const struct change *last = NULL;
	struct change *change;

	for (change = TAILQ_FIRST(changes); change; change = TAILQ_NEXT(change, link)) {
		if (!change->is_known || change->door->remote)
			continue;
		if (last && last->actor.uid == change->actor.uid)
			change->actor = last->actor;
		else
			event_actor_find(&change->door->api->names, change->actor.uid,
					 &change->actor);
		last = change;
	}
}

/* Who is on another machine has no shell here to look for: one line for each change, and what came
 * of it. */
static void log_remote(const struct change *change, int rc, const struct error *err)
{
	const char *service = json_string_value(json_object_get(change->body, "service")),
		   *address = json_string_value(json_object_get(change->body, "address"));

	if (change->door->remote)
		log_info("api: %s: %s %s %s %s: %s", change->actor.name, change->route->method,
			 change->route->path, service ? service : "-", address ? address : "-",
			 rc ? err->text : "done");
}

/* ---- its turn ---- */

/* Takes over result, NULL with an rc. */
static void answer_change(struct change *change, int rc, const struct error *err, json_t *result)
{
	struct face_call *call = TAILQ_FIRST(&change->waiters);

	log_remote(change, rc, err);
	if (call && rc)
		api_answer_failure(call, rc, err->text);
	else if (call)
		api_answer(call, 200, result);
	json_decref(result);
}

static int run_one(struct change *change, json_t **ret, struct error *err)
{
	struct evkeyvalq query = {0};
	struct api *api = change->door->api;
	struct api_call of = {.api = api, .body = change->body, .query = &query};
	int rc;

	api->named_ifindex = 0;
	if (!state_is_started(api->state))
		return error_set(err, -EBUSY, "lbd is stopping");
	if (change->is_known)
		events_ask_as(&change->actor);
	rc = api_run_handler(change->route, &of, ret, err);
	events_ask_as(NULL);
	return rc;
}

/* A list of one. */
static void run_change(void *arg)
{
	struct change *change = arg;
	struct changes alone = TAILQ_HEAD_INITIALIZER(alone);
	struct error err = {0};
	json_t *result = NULL;
	int rc;

	TAILQ_INSERT_TAIL(&alone, change, link);
	task_wait(find_actors, &alone); /* for the database of users, a moment */
	rc = run_one(change, &result, &err);
	answer_change(change, rc, &err, result);
	change_free(change);
}

/* ---- registrations ---- */

static void read_registration(const struct change *change, struct state_registration *ret)
{
	struct api *api = change->door->api;
	struct api_call of = {.api = api, .body = change->body};

	ret->leaves = change->route->handler == api_delete;
	ret->rc =
	    ret->leaves ? api_delete_read(&of, ret, &ret->err) : api_put_read(&of, ret, &ret->err);
	ret->done = ret->rc;
	ret->actor = change->is_known ? &change->actor : NULL;
}

static void answer_registration(struct change *change, struct state_registration *made)
{
	struct api *api = change->door->api;
	json_t *result = NULL;

	api->named_ifindex = 0;
	if (!made->rc) {
		result = made->leaves ? api_delete_answer(api, made) : api_put_answer(api, made);
		api_add_warnings(result, &made->warnings);
	}
	answer_change(change, made->rc, &made->err, result);
	sentences_done(&made->warnings);
	config_tag_unref(made->put.tag);
}

/* list: as many as the group has changes. */
static void register_all(struct queue_group *group, struct state_registration *list)
{
	struct change *change;
	unsigned i = 0;

	for (change = TAILQ_FIRST(&group->changes); change; change = TAILQ_NEXT(change, link)) {
		read_registration(change, &list[i++]);
		task_pause();
	}
	state_backends_register(group->api->state, list, group->count);
	i = 0;
	for (change = TAILQ_FIRST(&group->changes); change; change = TAILQ_NEXT(change, link)) {
		answer_registration(change, &list[i++]);
		task_pause();
	}
}

static void refuse_all(struct queue_group *group, int rc, const char *why)
{
	struct error err;
	struct change *change;

	error_set(&err, rc, "%s", why);
	for (change = TAILQ_FIRST(&group->changes); change; change = TAILQ_NEXT(change, link)) {
		answer_change(change, rc, &err, NULL);
	}
}

static void run_group(void *arg)
{
	struct queue_group *group = arg;
	struct api *api = group->api;
	struct state_registration *list;
	struct change *change;

	if (api->open == group)
		api->open = NULL; /* its number is fixed from here on */
	task_wait(find_actors, &group->changes);
	list = calloc(group->count, sizeof(*list));
	if (!list)
		refuse_all(group, -ENOMEM, "out of memory");
	else if (!state_is_started(api->state))
		refuse_all(group, -EBUSY, "lbd is stopping");
	else
		register_all(group, list);
	free(list);
	while ((change = TAILQ_FIRST(&group->changes))) {
		TAILQ_REMOVE(&group->changes, change, link);
		change_free(change);
	}
	free(group);
}

/* With the group that waits, or in one that begins with it. */
static int add_registration(struct api *api, struct change *change)
{
	struct queue_group *group = api->open;

	if (!group) {
		group = calloc(1, sizeof(*group));
		if (!group)
			return -ENOMEM;
		group->api = api;
		TAILQ_INIT(&group->changes);
		if (tasks_add(api->tasks, run_group, group)) {
			free(group);
			return -ENOMEM;
		}
		api->open = group;
	}
	TAILQ_INSERT_TAIL(&group->changes, change, link);
	group->count++;
	return 0;
}

/* Whatever comes between two registrations is made between them. */
static int add_other(struct api *api, struct change *change)
{
	api->open = NULL;
	return tasks_add(api->tasks, run_change, change);
}

/* ---- the queue ---- */

bool api_registers(const struct api_route *route)
{
	return route->handler == api_put || route->handler == api_delete;
}

int queue_add(const struct asked *asked, const struct api_route *route, json_t *body,
	      struct error *err)
{
	struct api_door *door = asked->door;
	struct face_call *call = asked->call;
	bool registers =
	    api_registers(route) && face_request(call)->content_length <= REGISTRATION_BYTES;
	unsigned waiting = registers ? door->registrations : door->changes;
	bool full = waiting >= (registers ? REGISTRATIONS_MAX : CHANGES_MAX);
	struct change *change = full ? NULL : calloc(1, sizeof(*change));

	if (!change) {
		json_decref(body);
		return full ? error_set(err, -EBUSY, "%u change%s already: try again", waiting,
					plural(waiting, " waits", "s wait"))
			    : error_set(err, -ENOMEM, "out of memory");
	}
	change->door = door;
	change->route = route;
	change->registers = registers;
	++*change_count(change);
	change->body = body;
	change->actor = asked->actor;
	change->is_known = door->remote || !face_peer(call, &change->actor.uid);
	TAILQ_INIT(&change->waiters);
	if (registers ? add_registration(door->api, change) : add_other(door->api, change)) {
		change_free(change);
		return error_set(err, -ENOMEM, "out of memory");
	}
	face_wait(call, &change->waiters);
	return 0;
}
