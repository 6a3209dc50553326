/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends that register themselves. Those that come at the same moment are one change: one world,
 * one write to disk. */
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
	    (rc = change_check_address(state, &change, put, &flaw)) ||
	    (rc = change_check_rest(&change, put, &flaw)) ||
	    (rc = change_check_real(state, &change, put, NULL, &flaw)))
		return change_refuse(&change, err, rc, flaw.text);
	is_new = !change.backend || change.backend->removed;
	if (is_new)
		change.entry->drain = false;
	change_note_port(&change, put);
	set_lease(change.entry, put);
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
	struct overrides next;
	struct reals reals; /* of the world, and of the list */
	struct member *list;
	unsigned count;
};

/* What comes after another of the same backend, or of the same name, depends on what becomes of
 * that one. at: its number. */
static bool depends_on_earlier(const struct group *group, unsigned at)
{
	const struct state_registration *each = &group->all[at];
	const char *name = config_tag_name(each->put.tag);

	for (unsigned i = 0; i < at; i++) {
		const struct state_registration *other = &group->all[i];
		const char *taken = config_tag_name(other->put.tag);

		if (!other->done &&
		    (addr_equal(&other->address, &each->address) ||
		     (name && taken && !strcmp(name, taken))) &&
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

/* One that cannot join is made, or refused, by state_backend_put. */
static void join(struct group *group, struct state_registration *each)
{
	struct member member = {.of = each};
	struct change *change = &member.change;
	struct error flaw;

	if (change_find(group->state, each->service, &each->address, change, &flaw) ||
	    check_put(change, overrides_find(&group->next, each->service, &each->address), &flaw) ||
	    change_check_address(group->state, change, &each->put, &flaw) ||
	    change_check_rest(change, &each->put, &flaw) ||
	    change_check_real(group->state, change, &each->put, &group->reals, &flaw))
		return;
	change->entry = overrides_get(&group->next, each->service, &each->address);
	if (!change->entry)
		return;
	member.is_new = !change->backend || change->backend->removed;
	member.was_down = change->service->status == SERVICE_DOWN;
	if (member.is_new)
		change->entry->drain = false;
	change_note_port(change, &each->put);
	set_lease(change->entry, &each->put);
	overrides_tidy(&group->next, change->entry, change->file);
	change->entry = NULL; /* the list may move */
	change_set_label(change, each->put.tag, &each->address);
	group->list[group->count++] = member;
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
	change_warn(state, each->service, member->was_down, member->is_new);
	report_put(state, &member->change, &each->put, member->is_new);
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

/* Each on disk, in force and reported, or none: then each is tried alone, as some may fit. A disk
 * that takes nothing would refuse each of them, after a world for each. */
static void switch_together(struct group *group)
{
	struct state *state = group->state;
	struct sentences shared = {0};
	struct error err;
	int rc;

	state_collect(state, &shared);
	rc = state_switch(state, state->config, &group->next, &err);
	state_collect(state, NULL);
	log_debug("%u registrations as one change: %s", group->count, rc ? err.text : "ok");
	for (unsigned i = 0; !rc && i < group->count; i++) {
		report_member(state, &group->list[i], &shared);
		task_pause();
	}
	if (rc == -EROFS)
		refuse_members(group, rc, &err);
	sentences_done(&shared);
}

static void put_alone(struct state *state, struct state_registration *each)
{
	state_collect(state, &each->warnings);
	events_ask_as(each->actor);
	each->rc = state_backend_put(state, each->service, &each->address, &each->put, &each->err);
	events_ask_as(NULL);
	state_collect(state, NULL);
	each->done = true;
}

static void put_together(struct group *group, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct state_registration *each = &group->all[i];

		if (each->done || depends_on_earlier(group, i))
			continue;
		each->done = renew(group, each);
		if (!each->done)
			join(group, each);
		task_pause();
	}
	if (group->count > 1)
		switch_together(group);
}

void state_backends_put(struct state *state, struct state_registration *list, unsigned count)
{
	struct group group = {.state = state, .all = list};

	group.list = count > 1 ? calloc(count, sizeof(*group.list)) : NULL;
	if (group.list && !overrides_copy(&state->overrides, &group.next) &&
	    !reals_of_world(&state->world, &group.reals))
		put_together(&group, count);
	overrides_done(&group.next);
	reals_done(&group.reals);
	free(group.list);
	for (unsigned i = 0; i < count; i++)
		if (!list[i].done)
			put_alone(state, &list[i]);
}
