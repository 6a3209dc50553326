/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends that register themselves, and leave. Those that do at the same moment are one change:
 * one world, one write to disk. */
#include "change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"

/* ---- one ---- */

/* -EBUSY with the reason in err: the backend is not one that an API may register. */
static int check_put(const struct change *change, const struct override *entry, struct error *err)
{
	if (change->file)
		return error_set(err, -EBUSY,
				 "is in the config file: expected a backend that is not");
	if (entry && entry->origin == ORIGIN_source)
		return error_set(err, -EBUSY,
				 "comes from `backends-from`: expected a backend that does not");
	return 0;
}

static void report_put(const struct state *state, const struct change *change,
		       const struct state_put *put, bool is_new)
{
	char ttl[DURATION_TEXT];

	if (change->from_port != change->to_port)
		state_warn(state,
			   "%s: port %u -> %u: connections end, as their packets go to the new "
			   "port",
			   change->label, change->from_port, change->to_port);

	change_report(change, EVENT_backend_registered, " %s, weight %" PRIu32 "%s%s",
		      is_new ? "registered" : "changed its registration", put->weight,
		      put->ttl_ms ? ", ttl " : "",
		      put->ttl_ms ? duration_exact(put->ttl_ms, ttl) : "");
}

static void set_lease(struct override *entry, const struct state_put *put)
{
	change_set_added(entry, put);
	entry->removed = entry->undrain = entry->lapsed = false;
	entry->origin = ORIGIN_lease;
	entry->ttl_ms = put->ttl_ms;
	entry->until_ms = put->ttl_ms ? clock_monotonic_ms() + put->ttl_ms : 0;
}

/* Makes the entry what put says. True: the backend is new. */
static bool enter(struct change *change, const struct state_put *put)
{
	bool is_new = !change->backend || change->backend->removed;

	if (is_new)
		change->entry->drain = false;
	change_note_port(change, put);
	set_lease(change->entry, put);
	return is_new;
}

bool state_backend_renew(struct state *state, const char *service, const struct addr *address,
			 const struct state_put *put)
{
	return leases_renew(state, service, address, put);
}

int state_backend_put(struct state *state, const char *service, const struct addr *address,
		      const struct state_put *put, struct error *err)
{
	struct change change;
	struct error flaw;
	bool is_new;
	int rc;

	if (leases_renew(state, service, address, put))
		return 0;
	rc = change_begin(state, service, address, &change, err);
	if (rc)
		return rc;
	if ((rc = check_put(&change, change.entry, &flaw)) ||
	    (rc = change_check(state, &change, put, NULL, &flaw)))
		return change_refuse(&change, err, rc, flaw.text);
	is_new = enter(&change, put);
	change_set_label(&change, put->tag, address);
	rc = change_end(state, &change, err);
	if (!rc)
		report_put(state, &change, put, is_new);
	return rc;
}

int state_backend_delete(struct state *state, const char *name, const struct addr *address,
			 bool now, bool force, struct error *err)
{
	struct change change;
	struct error flaw;
	bool there;
	int rc = change_begin(state, name, address, &change, err);

	if (rc)
		return rc;
	if (check_put(&change, change.entry, &flaw))
		return change_refuse(&change, err, -EBUSY, flaw.text);
	there = change.backend && (now || !change.backend->removed);
	overrides_done(&change.overrides);
	return there ? state_backend_remove(state, name, address, now, force, err) : 0;
}

/* ---- several ---- */

/* One that is made together with others. */
struct member {
	struct state_registration *of;
	struct change change;
	bool is_new, was_down;
};

struct group {
	struct state *state;
	struct state_registration *all;
	bool *last; /* of each of all: it would be the last of its service to leave, and waits */
	struct overrides next;
	struct reals reals; /* of the world, and of the list */
	struct member *list;
	unsigned count;
};

static bool have_same_name(const struct state_registration *a, const struct state_registration *b)
{
	const char *name = config_tag_name(a->put.tag), *other = config_tag_name(b->put.tag);

	return name && other && !strcmp(name, other);
}

/* What comes after another of the same backend, or of the same name, depends on what becomes of
 * that one. So does all that comes to a service after one that waits as its last: it might keep it
 * from being the last. at: its number. */
static bool depends_on_earlier(const struct group *group, unsigned at)
{
	const struct state_registration *each = &group->all[at];

	for (unsigned i = 0; i < at; i++) {
		const struct state_registration *other = &group->all[i];

		if (!other->done &&
		    (group->last[i] || addr_equal(&other->address, &each->address) ||
		     have_same_name(other, each)) &&
		    !strcmp(other->service, each->service))
			return true;
	}
	return false;
}

/* In the copy too, which will be in force. */
static bool renew(struct group *group, const struct state_registration *each)
{
	struct override *copy;

	if (!leases_renew(group->state, each->service, &each->address, &each->put))
		return false;
	copy = overrides_find(&group->next, each->service, &each->address);
	if (copy)
		overrides_set(
		    copy, overrides_find(&group->state->overrides, each->service, &each->address));
	return true;
}

/* Of the entry in the copy, which may move from then on. */
static void add_member(struct group *group, struct member *member)
{
	overrides_tidy(&group->next, member->change.entry, member->change.file);
	member->change.entry = NULL;
	group->list[group->count++] = *member;
}

/* One that cannot join is made, or refused, by state_backend_put. */
static void join(struct group *group, struct state_registration *each)
{
	struct member member = {.of = each};
	struct change *change = &member.change;
	struct error flaw;

	if (change_find(group->state, each->service, &each->address, change, &flaw) ||
	    check_put(change, overrides_find(&group->next, each->service, &each->address), &flaw) ||
	    change_check(group->state, change, &each->put, &group->reals, &flaw))
		return;
	change->entry = overrides_get(&group->next, each->service, &each->address);
	if (!change->entry)
		return;
	member.was_down = change->service->status == SERVICE_DOWN;
	member.is_new = enter(change, &each->put);
	change_set_label(change, each->put.tag, &each->address);
	add_member(group, &member);
}

/* No other backend of the service would be left, but for those that come with this group. */
static bool is_last_to_leave(const struct group *group, const struct change *change)
{
	const struct service *service = change->service;
	unsigned needed = 2; /* itself, and one that stays */

	for (unsigned i = 0; i < group->count; i++)
		needed += group->list[i].of->leaves && group->list[i].change.service == service &&
			  !group->list[i].change.backend->removed;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!service->backends[i]->removed && !--needed)
			return false;
	return !change->backend->removed;
}

static void keep_tag(struct state_registration *each, const struct backend *backend)
{
	config_tag_unref(each->put.tag);
	each->put.tag = config_tag_ref(backend ? backend->tag : NULL);
}

/* One that cannot join is made, or refused, by state_backend_delete. */
static void join_leaving(struct group *group, unsigned at)
{
	struct state_registration *each = &group->all[at];
	struct member member = {.of = each};
	struct change *change = &member.change;
	struct error flaw;

	if (change_find(group->state, each->service, &each->address, change, &flaw) ||
	    check_put(change, overrides_find(&group->next, each->service, &each->address), &flaw))
		return;
	keep_tag(each, change->backend);
	each->done = !change->backend || (change->backend->removed && !each->now);
	group->last[at] = !each->done && !each->force && is_last_to_leave(group, change);
	if (each->done || group->last[at])
		return;
	change->entry = overrides_get(&group->next, each->service, &each->address);
	if (!change->entry)
		return;
	member.was_down = change->service->status == SERVICE_DOWN;
	change_set_removed(change->entry);
	add_member(group, &member);
}

static void warn_and_report(struct state *state, const struct member *member)
{
	const struct state_registration *each = member->of;

	change_warn(state, each->service, member->was_down, member->is_new || each->leaves);
	if (each->leaves)
		change_report_removed(&member->change, each->now);
	else
		report_put(state, &member->change, &each->put, member->is_new);
}

/* After the switch: nothing of the former world is there any more. shared: what it warned of. */
static void report_member(struct state *state, const struct member *member,
			  const struct sentences *shared)
{
	struct state_registration *each = member->of;

	for (unsigned i = 0; i < shared->count; i++)
		sentences_add(&each->warnings, "%s", shared->list[i]);
	state_collect(state, &each->warnings);
	events_ask_as(each->actor);
	warn_and_report(state, member);
	events_ask_as(NULL);
	state_collect(state, NULL);
	each->done = true;
}

static void refuse_members(struct group *group, int rc, const struct error *err)
{
	for (unsigned i = 0; i < group->count; i++) {
		struct state_registration *each = group->list[i].of;

		each->rc = rc;
		each->err = *err;
		each->done = true;
	}
}

/* Those that leave without being drained: on, before the world is made without them. */
static void mark_gone_at_once(struct group *group, bool on)
{
	for (unsigned i = 0; i < group->count; i++)
		if (group->list[i].of->leaves)
			group->list[i].change.backend->removed_now = on && group->list[i].of->now;
}

/* Each on disk, in force and reported, or none: then each is tried alone, as some may fit. A disk
 * that takes nothing would refuse each of them, after a world for each. */
static void switch_together(struct group *group)
{
	struct state *state = group->state;
	struct sentences shared = {0};
	struct error err;
	int rc;

	mark_gone_at_once(group, true);
	state_collect(state, &shared);
	rc = state_switch(state, state->config, &group->next, &err);
	state_collect(state, NULL);
	if (rc)
		mark_gone_at_once(group, false);
	log_debug("registrations as one change: %u: %s", group->count, rc ? err.text : "ok");
	for (unsigned i = 0; !rc && i < group->count; i++) {
		report_member(state, &group->list[i], &shared);
		task_pause();
	}
	if (rc == -EROFS)
		refuse_members(group, rc, &err);
	sentences_done(&shared);
}

static int delete_alone(struct state *state, struct state_registration *each)
{
	const struct service *service = state_find_service(state, each->service);

	keep_tag(each, service ? service_find_backend(service, &each->address) : NULL);
	return state_backend_delete(state, each->service, &each->address, each->now, each->force,
				    &each->err);
}

static void make_alone(struct state *state, struct state_registration *each)
{
	state_collect(state, &each->warnings);
	events_ask_as(each->actor);
	each->rc = each->leaves ? delete_alone(state, each)
				: state_backend_put(state, each->service, &each->address,
						    &each->put, &each->err);
	events_ask_as(NULL);
	state_collect(state, NULL);
	each->done = true;
}

static void make_together(struct group *group, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct state_registration *each = &group->all[i];

		if (each->done || depends_on_earlier(group, i))
			continue;
		if (each->leaves)
			join_leaving(group, i);
		else if (!(each->done = renew(group, each)))
			join(group, each);
		task_pause();
	}
	if (group->count > 1)
		switch_together(group);
}

void state_backends_register(struct state *state, struct state_registration *list, unsigned count)
{
	struct group group = {.state = state, .all = list};

	if (count > 1) {
		group.list = calloc(count, sizeof(*group.list));
		group.last = calloc(count, sizeof(*group.last));
	}
	if (group.list && group.last && !overrides_copy(&state->overrides, &group.next) &&
	    !reals_of_world(&state->world, &group.reals))
		make_together(&group, count);
	overrides_done(&group.next);
	reals_done(&group.reals);
	free(group.list);
	free(group.last);
	for (unsigned i = 0; i < count; i++)
		if (!list[i].done)
			make_alone(state, &list[i]);
}
