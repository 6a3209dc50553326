/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A config whose text is in etcd: what of it is in force, what a reload reads, and the copy on disk
 * with which a node starts when etcd is away. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "common/text.h"

struct shared {
	const struct config_remote *where;
	char *kept;     /* path of the copy */
	char *in_force; /* text */
	char *latest;   /* text that a reload reads: in_force, or one that was refused */
	bool stale;     /* the copy has another text, or is not there */
	bool failed;    /* it could not be written: logged once */
};

int shared_new(const struct state_remote *options, struct shared **ret)
{
	struct shared *shared = options ? calloc(1, sizeof(*shared)) : NULL;
	bool failed = false;

	*ret = shared;
	if (!options)
		return 0;
	if (!shared)
		return -ENOMEM;
	shared->where = options->where;
	shared->kept = copy_text(options->kept, &failed);
	shared->in_force = copy_text(options->text, &failed);
	shared->latest = copy_text(options->text, &failed);
	shared->stale = !options->is_copy;
	return failed ? -ENOMEM : 0;
}

void shared_free(struct shared *shared)
{
	if (!shared)
		return;
	free(shared->kept);
	free(shared->in_force);
	free(shared->latest);
	free(shared);
}

const char *state_remote_text(const struct state *state)
{
	return state->shared ? state->shared->in_force : NULL;
}

/* ---- texts ---- */

int shared_texts(const struct shared *shared, struct config_texts *ret, struct error *err)
{
	return config_remote_texts(shared->where, shared->latest, strlen(shared->latest), ret, err);
}

int shared_load(const struct shared *shared, struct config **ret, struct error *err)
{
	return config_remote_read(shared->where, shared->latest, ret, err);
}

/* ---- the copy ---- */

struct keeping {
	const char *path, *text;
	int rc;
};

static void write_copy(void *arg)
{
	struct keeping *keeping = arg;

	keeping->rc = file_replace(keeping->path, keeping->text);
}

/* Only tasks change the text in force. */
static void keep_copy(struct state *state)
{
	struct shared *shared = state->shared;
	struct keeping keeping = {shared->kept, shared->in_force, 0};

	if (!shared->stale)
		return;
	task_wait(write_copy, &keeping);
	shared->stale = keeping.rc != 0;
	if (keeping.rc && !shared->failed)
		state_warn(state, "%s: %s: if etcd is away when lbd starts again, it has no config",
			   shared->kept, strerror(-keeping.rc));
	shared->failed = keeping.rc != 0;
}

/* ---- reloads ---- */

void shared_in_force(struct state *state)
{
	struct shared *shared = state->shared;
	char *copy;

	if (!strcmp(shared->in_force, shared->latest)) {
		keep_copy(state);
		return;
	}
	copy = strdup(shared->latest);
	if (!copy) {
		state_warn(state, "out of memory: the copy of the config on disk is an older one");
		return;
	}
	free(shared->in_force);
	shared->in_force = copy;
	shared->stale = true;
	keep_copy(state);
}

int state_remote_reload(struct state *state, const char *text, const struct reload_options *options,
			struct reload_report *ret, struct error *err)
{
	struct shared *shared = state->shared;
	char *copy = strdup(text), *before = shared->latest;
	int rc;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	shared->latest = copy;
	rc = state_reload_as(state, options, ret, err);
	if (options->trial) {
		shared->latest = before;
		free(copy);
	} else {
		free(before);
	}
	return rc;
}

void state_remote_confirm(struct state *state)
{
	struct shared *shared = state->shared;
	char *copy;

	keep_copy(state);
	if (!strcmp(shared->latest, shared->in_force))
		return;
	copy = strdup(shared->in_force);
	if (!copy)
		return; /* the next time */
	free(shared->latest);
	shared->latest = copy;
	state->config_age.refused = false;
	log_info("etcd has the config in force again");
}
