/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The names of the users who ask. Whoever looks one up is a task that others wait for, results of
 * health checks among them: a database of users on the network whose servers are away keeps it for
 * a moment, and then for a while no more. */
#include "internal.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"

#define PATIENCE_MS 500
#define SILENT_MS   60000 /* so long a database that gave no answer is not asked */
#define NAME_MS     60000 /* a name is not looked up again before */
#define ENTRY_BYTES 4096

struct question {
	uid_t uid;
	struct event_actor *ret; /* of who has asked, and still waits in `answered` */
	struct event_actor found;
	int rc; /* 0 or an error number */
};

static void set_number(uid_t uid, struct event_actor *ret)
{
	ret->uid = uid;
	snprintf(ret->name, sizeof(ret->name), "uid %u", (unsigned)uid);
}

static void ask(void *arg)
{
	struct question *question = arg;
	struct passwd entry, *found = NULL;
	char bytes[ENTRY_BYTES];

	set_number(question->uid, &question->found);
	question->rc = getpwuid_r(question->uid, &entry, bytes, sizeof(bytes), &found);
	if (question->rc || !found)
		return;
	snprintf(question->found.name, sizeof(question->found.name), "%s", found->pw_name);
	make_printable(question->found.name, false);
}

static void answered(void *arg)
{
	const struct question *question = arg;

	if (!question->rc)
		*question->ret = question->found;
}

/* 0: also if there is no such user. Otherwise -errno. */
static int look_up(uid_t uid, struct event_actor *ret)
{
	struct question *question = calloc(1, sizeof(*question));
	struct aside_options options = {
	    .call = ask, .done = answered, .limit_ms = PATIENCE_MS, .free = free, .arg = question};
	int rc;

	if (!question)
		return -ENOMEM;
	*question = (struct question){.uid = uid, .ret = ret};
	ret->uid = EVENT_NO_UID;
	rc = aside_within(&options);
	if (rc && rc != -ETIMEDOUT)
		free(question);
	return rc ? rc : ret->uid == uid ? 0 : -EIO;
}

static struct event_name *find_name(struct event_names *names, uid_t uid)
{
	for (unsigned i = 0; i < names->count; i++)
		if (names->list[i].actor.uid == uid)
			return &names->list[i];
	return NULL;
}

/* In a new place, or in that of the one that was found first. */
static struct event_name *place_for(struct event_names *names)
{
	struct event_name *oldest = &names->list[0];

	if (names->count < EVENT_NAMES_MAX)
		return &names->list[names->count++];
	for (unsigned i = 1; i < names->count; i++)
		if (names->list[i].found_ms < oldest->found_ms)
			oldest = &names->list[i];
	return oldest;
}

static void note_silence(struct event_names *names, uint64_t now)
{
	names->silent_ms = now;
	log_warning("the database of users does not answer within %d ms: for %d s events have the "
		    "names that users had before, or their numbers",
		    PATIENCE_MS, SILENT_MS / 1000);
}

/* The known one, unless the database of users has another. */
static struct event_name *ask_for(struct event_names *names, uid_t uid, struct event_name *known)
{
	uint64_t now = clock_monotonic_ms();
	struct event_actor actor;
	int rc;

	if (names->silent_ms && now - names->silent_ms < SILENT_MS)
		return known;
	rc = look_up(uid, &actor);
	names->silent_ms = 0;
	if (rc == -ETIMEDOUT)
		note_silence(names, now);
	if (rc)
		return known;
	if (!known)
		known = place_for(names);
	*known = (struct event_name){.found_ms = now, .actor = actor};
	return known;
}

void event_actor_find(struct event_names *names, uid_t uid, struct event_actor *ret)
{
	struct event_name *known = find_name(names, uid);

	if (!known || clock_monotonic_ms() - known->found_ms >= NAME_MS)
		known = ask_for(names, uid, known);
	if (known)
		*ret = known->actor;
	else
		set_number(uid, ret);
}
