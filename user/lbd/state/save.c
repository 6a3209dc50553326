/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The texts of the config files with the run-time changes in them. lbd writes no config: whoever
 * asked does. */
#include "internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "lbd/config/config.h"

#define BY_HAND "change the file by hand; lbctl diff says what"

/* ---- what the files are to say ---- */

struct saving {
	const struct config *file;   /* the files */
	const struct config *config; /* with the services of changes */
	const struct overrides *changes;
	struct config_index index, file_index;
	struct config_edit *edits;
	unsigned count;
	unsigned added; /* services: the last of config and of changes, in the same order */
	json_t **keys;  /* of them, if their backends are changed; else NULL */
	char **texts;   /* of keys */
};

static void saving_done(struct saving *saving)
{
	config_index_done(&saving->index);
	config_index_done(&saving->file_index);
	for (unsigned i = 0; i < saving->added; i++) {
		if (saving->keys)
			json_decref(saving->keys[i]);
		if (saving->texts)
			free(saving->texts[i]);
	}
	free(saving->keys);
	free(saving->texts);
	free(saving->edits);
}

static const struct service_override *added_entry(const struct saving *saving, unsigned number)
{
	const struct overrides *changes = saving->changes;

	return &changes->services[changes->services_count - saving->added + number];
}

/* ---- backends of services that are added: in the keys of the service ---- */

static void add_place(json_t *keys, const struct config_service *service,
		      const struct override *entry)
{
	const char *zone = config_tag_zone(entry->tag);
	const struct config_target *target = &entry->target;
	json_t *health = json_object();
	char address[ADDR_TEXT];

	if (zone)
		json_object_set_new(keys, "zone", json_string(zone));
	if (entry->priority)
		json_object_set_new(keys, "priority", json_integer(entry->priority));
	if (entry->backup)
		json_object_set_new(keys, "backup", json_true());
	if (entry->port && !config_why_no_port(service))
		json_object_set_new(keys, "port", json_integer(entry->port));
	if (target->port)
		json_object_set_new(health, "port", json_integer(target->port));
	if (target->address.family)
		json_object_set_new(health, "address",
				    json_string(addr_format(&target->address, address)));
	if (target->agent_port)
		json_object_set_new(health, "agent-port", json_integer(target->agent_port));
	if (json_object_size(health))
		json_object_set(keys, "health", health);
	json_decref(health);
}

/* NULL: out of memory. A new reference. */
static json_t *backend_keys(const struct config_service *service, const struct override *entry)
{
	const char *name = config_tag_name(entry->tag);
	char address[ADDR_TEXT];
	json_t *keys = json_pack("{s:s, s:I}", "address", addr_format(&entry->address, address),
				 "weight", (json_int_t)entry->weight);

	if (keys && name)
		json_object_set_new(keys, "name", json_string(name));
	if (keys)
		add_place(keys, service, entry);
	if (keys && entry->drain)
		json_object_set_new(keys, "drain", json_true());
	if (keys && entry->tag && entry->tag->labels_count) {
		json_t *labels = json_object();

		for (unsigned i = 0; i < entry->tag->labels_count; i++)
			json_object_set_new(labels, entry->tag->labels[i].key,
					    json_string(entry->tag->labels[i].value));
		json_object_set_new(keys, "labels", labels);
	}
	return keys;
}

/* Of one that goes, null is left: the places of the others stay. */
static void change_keys(json_t *backends, size_t place, const struct override *entry)
{
	json_t *keys = json_array_get(backends, place);

	if (entry->removed) {
		json_array_set_new(backends, place, json_null()); /* keys are freed */
		return;
	}
	if (entry->has_weight)
		json_object_set_new(keys, "weight", json_integer(entry->weight));
	if (entry->drain || entry->undrain)
		json_object_set_new(keys, "drain", json_boolean(entry->drain));
}

/* service: of saving->config. */
static int change_added(struct saving *saving, const struct config_service *service,
			const struct override *entry)
{
	unsigned number = (unsigned)(service - saving->config->services) -
			  (saving->config->services_count - saving->added);
	const struct config_backend *backend =
	    config_index_backend(&saving->index, service, &entry->address);
	json_t **keys = &saving->keys[number], *backends;

	if (!*keys)
		*keys = json_loads(added_entry(saving, number)->added, 0, NULL);
	if (*keys && !json_object_get(*keys, "backends")) /* it has `backends-from` */
		json_object_set_new(*keys, "backends", json_array());
	backends = json_object_get(*keys, "backends");
	if (!backends)
		return -ENOMEM;
	if (!backend)
		return json_array_append_new(backends, backend_keys(service, entry)) ? -ENOMEM : 0;
	change_keys(backends, (size_t)(backend - service->backends), entry);
	return 0;
}

/* Without what is null. */
static int finish_keys(json_t *keys, char **ret)
{
	json_t *backends = json_object_get(keys, "backends"), *left = json_array(), *backend;
	size_t i;

	json_array_foreach (backends, i, backend)
		if (!json_is_null(backend))
			json_array_append(left, backend);
	if (json_object_set_new(keys, "backends", left))
		return -ENOMEM;
	if (!json_array_size(left) && json_object_get(keys, "backends-from"))
		json_object_del(keys, "backends");
	*ret = json_dumps(keys, JSON_COMPACT | JSON_ENSURE_ASCII);
	return *ret ? 0 : -ENOMEM;
}

/* ---- edits ---- */

/* One of the file, that goes. */
static void edit_removed(struct saving *saving, const struct service_override *entry)
{
	const struct config_service *service =
	    config_index_same(&saving->file_index, &entry->vip, entry->protocol, entry->port);

	saving->edits[saving->count++] = (struct config_edit){
	    .file = service->file, .service = service->place, .remove_service = true};
}

static int edit_added(struct saving *saving, unsigned number)
{
	const char *text = added_entry(saving, number)->added;
	int rc = 0;

	if (saving->keys[number]) {
		rc = finish_keys(saving->keys[number], &saving->texts[number]);
		text = saving->texts[number];
	}
	saving->edits[saving->count++] = (struct config_edit){.added_service = text};
	return rc;
}

static void edit_backend(struct saving *saving, const struct config_service *service,
			 const struct override *entry)
{
	const struct config_backend *backend =
	    config_index_backend(&saving->index, service, &entry->address);

	saving->edits[saving->count++] = (struct config_edit){
	    .file = service->file,
	    .service = service->place,
	    .backend = backend ? (int)(backend - service->backends) : CONFIG_EDIT_ADD,
	    .address = entry->address,
	    .tag = entry->tag,
	    .priority = entry->priority,
	    .backup = entry->backup,
	    .port = config_why_no_port(service) ? 0 : entry->port,
	    .target = &entry->target,
	    .remove = entry->removed,
	    .has_weight = entry->has_weight,
	    .weight = entry->weight,
	    .has_drain = entry->drain || entry->undrain,
	    .drain = entry->drain,
	};
}

static int edit_backends(struct saving *saving, struct error *err)
{
	const struct overrides *changes = saving->changes;
	int rc = 0;

	for (unsigned i = 0; i < changes->count && !rc; i++) {
		const struct override *entry = &changes->list[i];
		const struct config_service *service =
		    config_index_name(&saving->index, entry->service);

		if (!service)
			return error_set(err, -EINVAL, "service %s: not in the file: " BY_HAND,
					 entry->service);
		if (service->file == CONFIG_RUNTIME)
			rc = change_added(saving, service, entry);
		else
			edit_backend(saving, service, entry);
	}
	return rc ? error_set(err, rc, "out of memory") : 0;
}

static int edit_services(struct saving *saving)
{
	const struct overrides *changes = saving->changes;
	int rc = 0;

	for (unsigned i = 0; i < changes->services_count - saving->added; i++)
		edit_removed(saving, &changes->services[i]);
	for (unsigned i = 0; i < saving->added && !rc; i++)
		rc = edit_added(saving, i);
	return rc;
}

static int saving_make(struct saving *saving)
{
	const struct overrides *changes = saving->changes;

	for (unsigned i = 0; i < changes->services_count; i++)
		saving->added += changes->services[i].added != NULL;
	saving->edits =
	    calloc(changes->count + changes->services_count + 1, sizeof(*saving->edits));
	saving->keys = calloc(saving->added + 1, sizeof(*saving->keys));
	saving->texts = calloc(saving->added + 1, sizeof(*saving->texts));
	if (!saving->edits || !saving->keys || !saving->texts ||
	    config_index_make(saving->config, &saving->index) ||
	    config_index_make(saving->file, &saving->file_index))
		return -ENOMEM;
	return 0;
}

static int edit_texts(struct saving *saving, struct config_sources *trees, struct saved *saved,
		      struct error *err)
{
	int rc = saving_make(saving);

	if (rc)
		return error_set(err, rc, "out of memory");
	rc = edit_backends(saving, err);
	if (rc)
		return rc;
	rc = edit_services(saving);
	if (rc)
		return error_set(err, rc, "out of memory");
	return config_edit_texts(&saved->texts, trees, saving->edits, saving->count, saved->changed,
				 err);
}

/* ---- the texts ---- */

/* Do the texts say what config and changes say together? file: what they said before. */
static int check_texts(const struct state *state, const struct config *file,
		       const struct config *config, const struct overrides *changes,
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
	if (!rc && !differences.count)
		ring_warn_of_saving(state, file, written);
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

/* What comes by itself is not for the file. */
static bool is_by_hand(void *arg, const struct override *entry)
{
	return !override_comes_by_itself(entry);
}

/* Without a change the texts stay as they are. */
static int save_changes(const struct state *state, const struct config *file,
			const struct config *config, const struct overrides *changes,
			struct config_sources *trees, struct saved *saved, struct error *err)
{
	struct saving saving = {.file = file, .config = config, .changes = changes};
	int rc;

	if (!changes->count && !changes->services_count)
		return 0;
	rc = edit_texts(&saving, trees, saved, err);
	saving_done(&saving);
	return rc ? rc : check_texts(state, file, config, changes, saved, err);
}

/* file: the config of the files; config: a copy, which gets the services that are added and
 * removed. */
static int save_into(const struct state *state, const struct config *file, struct config *config,
		     struct config_sources *trees, struct saved *saved, struct error *err)
{
	struct overrides changes = {0};
	int rc =
	    reload_overrides(state, config, RELOAD_KEEP_FOR_FILE, &changes, &saved->report, err);

	if (!rc) {
		overrides_filter(&changes, is_by_hand, NULL);
		rc = save_changes(state, file, config, &changes, trees, saved, err);
	}
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
	struct config *file, *config = NULL;
	struct config_sources *trees;
	int rc;

	saved->changed = calloc(saved->texts.count, sizeof(*saved->changed));
	if (!saved->changed)
		return error_set(err, -ENOMEM, "out of memory");
	rc = config_parse_trees(&saved->texts, &file, &trees, err);
	if (rc)
		return rc;
	rc = config_copy(file, &config);
	if (rc)
		error_set(err, rc, "out of memory");
	else
		rc = save_into(state, file, config, trees, saved, err);
	config_free(config);
	config_free(file);
	config_sources_free(trees);
	return rc;
}

static int save(const struct state *state, struct saved *ret, struct error *err)
{
	struct saved saved = {0};
	int rc = state->shared ? shared_texts(state->shared, &saved.texts, err)
			       : config_read_files(state->config_path, &saved.texts, err);

	if (!rc)
		rc = save_texts(state, &saved, err);
	if (rc)
		saved_done(&saved);
	else
		*ret = saved;
	return rc;
}

struct save_call {
	const struct state *state;
	struct saved *saved;
	struct error *err;
	int rc;
};

static void run_save(void *arg)
{
	struct save_call *call = arg;

	call->rc = save(call->state, call->saved, call->err);
}

int state_save(const struct state *state, struct saved *ret, struct error *err)
{
	struct save_call call = {.state = state, .saved = ret, .err = err};

	/* Two configs are read, and of the state what only tasks change. */
	task_wait(run_save, &call);
	return call.rc;
}
