/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The texts of the config files with the run-time changes in them. lbd writes no config: whoever
 * asked does. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "lbd/config/config.h"

#define BY_HAND "change the file by hand; lbctl diff says what"

/* ---- services ---- */

/* What the files are to say of one service. file: the config of the files. */
static struct config_edit service_edit_of(const struct config *file,
					  const struct service_override *entry)
{
	const struct config_service *service =
	    config_find_same(file, &entry->vip, entry->protocol, entry->port);

	if (entry->added)
		return (struct config_edit){.added_service = entry->added};
	return (struct config_edit){
	    .file = service->file, .service = service->place, .remove_service = true};
}

static int edit_services(const struct config *file, const struct overrides *changes,
			 struct saved *saved, struct error *err)
{
	_cleanup_free_ struct config_edit *edits =
	    calloc(changes->services_count + 1, sizeof(struct config_edit));

	if (!edits)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < changes->services_count; i++)
		edits[i] = service_edit_of(file, &changes->services[i]);
	return config_edit_texts(&saved->texts, edits, changes->services_count, saved->changed,
				 err);
}

/* The texts get the services. *file becomes what they then say. */
static int save_services(const struct overrides *changes, struct config **file, struct saved *saved,
			 struct error *err)
{
	struct config *next;
	struct error why;
	int rc;

	if (!changes->services_count)
		return 0;
	rc = edit_services(*file, changes, saved, err);
	if (rc)
		return rc;
	rc = config_parse_texts(&saved->texts, &next, &why);
	if (rc)
		return error_set(err, rc, "the file would not be valid: %.400s: " BY_HAND,
				 why.text);
	config_free(*file);
	*file = next;
	return 0;
}

/* ---- backends ---- */

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

static int save_backends(const struct config *file, const struct overrides *changes,
			 struct saved *saved, struct error *err)
{
	_cleanup_free_ struct config_edit *edits =
	    calloc(changes->count + 1, sizeof(struct config_edit));

	if (!edits)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < changes->count; i++) {
		if (!config_find_service(file, changes->list[i].service))
			return error_set(err, -EINVAL, "service %s: not in the file: " BY_HAND,
					 changes->list[i].service);
		edits[i] = edit_of(file, &changes->list[i]);
	}
	return config_edit_texts(&saved->texts, edits, changes->count, saved->changed, err);
}

/* ---- both ---- */

/* Do the texts say what config and changes say together? */
static int check_texts(const struct config *config, const struct overrides *changes,
		       const struct saved *saved, struct error *err)
{
	const struct overrides none = {0};
	struct sentences differences = {0};
	struct config *written;
	struct error why;
	int rc = config_parse_texts(&saved->texts, &written, &why);

	if (rc == -ENOMEM)
		return error_set(err, rc, "out of memory");
	if (rc)
		return error_set(err, rc, "the file would not be valid: %.400s: " BY_HAND,
				 why.text);
	rc = diff_sides(&(struct diff_side){config, changes}, &(struct diff_side){written, &none},
			&differences);
	config_free(written);
	if (!rc && (differences.count || differences.left_out))
		rc = error_set(err, -EINVAL,
			       "the file is written in a way that cannot be changed without its "
			       "author: " BY_HAND);
	else if (rc)
		error_set(err, rc, "out of memory");
	sentences_done(&differences);
	return rc;
}

/* file: the config of the files; config: a copy, which gets the services that are added and
 * removed. */
static int save_into(const struct state *state, struct config **file, struct config *config,
		     struct saved *saved, struct error *err)
{
	struct overrides changes = {0};
	int rc = reload_overrides(state, config, true, &changes, &saved->report, err);

	if (!rc)
		rc = save_services(&changes, file, saved, err);
	if (!rc)
		rc = save_backends(*file, &changes, saved, err);
	if (!rc)
		rc = check_texts(config, &changes, saved, err);
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
	struct config *file, *config;
	int rc;

	saved->changed = calloc(saved->texts.count, sizeof(*saved->changed));
	if (!saved->changed)
		return error_set(err, -ENOMEM, "out of memory");
	rc = config_parse_texts(&saved->texts, &file, err);
	if (rc)
		return rc;
	rc = config_copy(file, &config);
	if (rc) {
		config_free(file);
		return error_set(err, rc, "out of memory");
	}
	rc = save_into(state, &file, config, saved, err);
	config_free(config);
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
