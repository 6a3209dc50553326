/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The texts of the config files with the run-time changes in them. lbd writes no config: whoever
 * asked does. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "lbd/config/config.h"

#define BY_HAND "change the file by hand; lbctl diff says what"

/* What the file is to say of one backend. */
static struct config_edit edit_of(const struct config *file, const struct override *entry)
{
	const struct config_service *service = config_find_service(file, entry->service);
	const struct config_backend *backend = config_find_backend(service, &entry->address);

	return (struct config_edit){
	    .file = service->file,
	    .service = service->place,
	    .backend = backend ? (int)(backend - service->backends) : CONFIG_EDIT_ADD,
	    .address = entry->address,
	    .tag = entry->tag,
	    .remove = entry->removed,
	    .has_weight = entry->has_weight,
	    .weight = entry->weight,
	    .has_drain = entry->drain || entry->undrain,
	    .drain = entry->drain,
	};
}

static int edit_texts(const struct config *file, const struct overrides *changes,
		      struct saved *saved, struct error *err)
{
	_cleanup_free_ struct config_edit *edits =
	    calloc(changes->count + 1, sizeof(struct config_edit));

	if (!edits)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < changes->count; i++)
		edits[i] = edit_of(file, &changes->list[i]);
	return config_edit_texts(&saved->texts, edits, changes->count, saved->changed, err);
}

/* Do the texts say what file and changes say together? */
static int check_texts(const struct config *file, const struct overrides *changes,
		       const struct saved *saved, struct error *err)
{
	const struct overrides none = {0};
	struct sentences differences = {0};
	struct config *config;
	struct error why;
	int rc = config_parse_texts(&saved->texts, &config, &why);

	if (rc == -ENOMEM)
		return error_set(err, rc, "out of memory");
	if (rc)
		return error_set(err, rc, "the file would not be valid: %.400s: " BY_HAND,
				 why.text);
	rc = diff_sides(&(struct diff_side){file, changes}, &(struct diff_side){config, &none},
			&differences);
	config_free(config);
	if (!rc && (differences.count || differences.left_out))
		rc = error_set(err, -EINVAL,
			       "the file is written in a way that cannot be changed without its "
			       "author: " BY_HAND);
	else if (rc)
		error_set(err, rc, "out of memory");
	sentences_done(&differences);
	return rc;
}

static int save_into(const struct state *state, const struct config *file, struct saved *saved,
		     struct error *err)
{
	struct overrides changes = {0};
	int rc = reload_overrides(state, file, true, &changes, &saved->report, err);

	if (!rc)
		rc = edit_texts(file, &changes, saved, err);
	if (!rc)
		rc = check_texts(file, &changes, saved, err);
	overrides_done(&changes);
	return rc;
}

void saved_done(struct saved *saved)
{
	config_texts_done(&saved->texts);
	free(saved->changed);
	reload_report_done(&saved->report);
	*saved = (struct saved){0};
}

static int save_texts(const struct state *state, struct saved *saved, struct error *err)
{
	struct config *file;
	int rc;

	saved->changed = calloc(saved->texts.count, sizeof(*saved->changed));
	if (!saved->changed)
		return error_set(err, -ENOMEM, "out of memory");
	rc = config_parse_texts(&saved->texts, &file, err);
	if (rc)
		return rc;
	rc = save_into(state, file, saved, err);
	config_free(file);
	return rc;
}

static int save(const struct state *state, struct saved *ret, struct error *err)
{
	struct saved saved = {0};
	int rc = config_read_files(state->config_path, &saved.texts, err);

	if (!rc)
		rc = save_texts(state, &saved, err);
	if (rc)
		saved_done(&saved);
	else
		*ret = saved;
	return rc;
}

struct saving {
	const struct state *state;
	struct saved *saved;
	struct error *err;
	int rc;
};

static void run_save(void *arg)
{
	struct saving *saving = arg;

	saving->rc = save(saving->state, saving->saved, saving->err);
}

int state_save(const struct state *state, struct saved *ret, struct error *err)
{
	struct saving saving = {.state = state, .saved = ret, .err = err};

	/* Two configs are read, and of the state what only tasks change. */
	task_wait(run_save, &saving);
	return saving.rc;
}
