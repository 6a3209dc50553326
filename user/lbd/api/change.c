/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Handlers of POST requests: attach, detach, reload, run-time changes of services and backends. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int api_attach(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"interface", "mode", NULL};
	const struct attachment *list;
	const char *name;
	enum config_mode mode;
	unsigned count;
	bool given = json_object_get(call->body, "mode");
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = api_arg_name(call->body, "interface", &name, err)) ||
	    (rc = api_arg_mode(call->body, "mode", &mode, err)) ||
	    (rc = state_attach(call->api->state, name, given ? &mode : NULL, err)))
		return rc;
	list = attach_list(call->api->attach, &count);
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			*ret = json_pack("{s:o}", "interface",
					 api_interface_json(call->api, &list[i]));
	return 0;
}

int api_detach(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"interface", "force", NULL};
	const char *name;
	bool force;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = api_arg_name(call->body, "interface", &name, err)) ||
	    (rc = api_arg_bool(call->body, "force", false, &force, err)) ||
	    (rc = state_detach(call->api->state, name, force, err)))
		return rc;
	*ret = json_object();
	return 0;
}

/* The first RELOAD_NOTES of them. */
static json_t *notes_json(const struct reload_report *report, bool kept)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < report->count; i++) {
		const struct reload_note *note = &report->notes[i];
		bool of_backend = note->address.family;
		char address[ADDR_TEXT];

		if (note->kept == kept)
			json_array_append_new(
			    list,
			    json_pack("{s:s, s:s?, s:s?, s:s}", "service", note->service, "address",
				      of_backend ? addr_format(&note->address, address) : NULL,
				      "name", *note->name ? note->name : NULL, "change",
				      note->what));
	}
	return list;
}

static json_t *reload_json(const struct state *state, const struct reload_report *report)
{
	struct state_summary summary;

	state_summarize(state, &summary);
	return json_pack("{s:i, s:i, s:i, s:i, s:o, s:o}", "services", summary.services, "backends",
			 summary.backends, "kept_overrides", report->kept, "dropped_overrides",
			 report->dropped, "kept", notes_json(report, true), "dropped",
			 notes_json(report, false));
}

json_t *api_changes_json(const struct sentences *changes)
{
	return json_pack("{s:i, s:o}", "changed", changes->count + changes->left_out, "changes",
			 api_sentences_json(changes));
}

int api_reload_failure(int rc)
{
	return rc == -ENOSPC || rc == -ENOMEM || rc == -EROFS ? rc : -EBADMSG;
}

static int reload_lists(struct api_call *call, json_t **ret, struct error *err)
{
	struct lists_report report;
	int rc = state_reload_lists(call->api->state, &report, err);

	if (rc)
		return api_reload_failure(rc);
	*ret = json_pack("{s:i, s:i, s:I}", "services", report.services, "changed", report.changed,
			 "prefixes", (json_int_t)report.prefixes);
	return 0;
}

int api_reload(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"lists", "dry_run", "keep", NULL};
	struct reload_options options;
	struct reload_report report;
	bool lists;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = api_arg_bool(call->body, "lists", false, &lists, err)) ||
	    (rc = api_arg_bool(call->body, "dry_run", false, &options.trial, err)) ||
	    (rc = api_arg_bool(call->body, "keep", false, &options.keep, err)))
		return rc;
	if (lists && (options.trial || options.keep))
		return error_set(err, -EINVAL,
				 "lists: expected neither dry_run nor keep beside it");
	if (lists)
		return reload_lists(call, ret, err);
	rc = state_reload_as(call->api->state, &options, &report, err);
	if (rc)
		return api_reload_failure(rc);
	*ret = reload_json(call->api->state, &report);
	if (options.trial)
		json_object_update_new(*ret, api_changes_json(&report.changes));
	reload_report_done(&report);
	return 0;
}

/* Of the files that change. */
static json_t *files_json(const struct saved *saved)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < saved->texts.count; i++) {
		const struct config_text *text = &saved->texts.list[i];

		if (saved->changed[i])
			json_array_append_new(list, json_pack("{s:s, s:s%}", "path", text->name,
							      "text", text->bytes, text->length));
	}
	return list;
}

/* Changes nothing: the caller writes the files. It is no GET, as it takes as long as a reload. */
int api_save(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {NULL};
	struct saved saved;
	int rc = api_arg_only(call->body, fields, err);

	if (rc)
		return rc;
	rc = state_save(call->api->state, &saved, err);
	if (rc)
		return api_reload_failure(rc);
	*ret = json_pack("{s:s, s:i, s:o, s:s%, s:o}", "path", state_config_path(call->api->state),
			 "changes", saved.report.kept, "left", notes_json(&saved.report, false),
			 "text", saved.texts.list[0].bytes, saved.texts.list[0].length, "files",
			 files_json(&saved));
	saved_done(&saved);
	return 0;
}

struct target {
	const char *service; /* the name, valid until another config is in force */
	struct addr address;
};

static int read_service(const struct api_call *call, struct service **ret, struct error *err)
{
	const char *text;
	int rc = api_arg_name(call->body, "service", &text, err);

	return rc ? rc : state_resolve_service(call->api->state, text, ret, err);
}

/* ---- services ---- */

/* The body is what a config has in its list of services. */
int api_service_add(struct api_call *call, json_t **ret, struct error *err)
{
	/* ASCII: YAML ends lines at characters that JSON leaves as they are */
	char *text = json_dumps(call->body, JSON_COMPACT | JSON_ENSURE_ASCII);
	const struct service *service;
	const char *name;
	int rc;

	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	rc = state_service_add(call->api->state, text, &name, err);
	free(text);
	if (rc)
		return rc;
	service = state_find_service(call->api->state, name);
	*ret = service ? json_pack("{s:o}", "service", api_service_json(call->api, service))
		       : json_object();
	return 0;
}

int api_service_remove(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"service", "force", NULL};
	struct service *service;
	bool force;
	json_t *name;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_service(call, &service, err)) ||
	    (rc = api_arg_bool(call->body, "force", false, &force, err)))
		return rc;
	name = json_string(service->config->name);
	rc = state_service_remove(call->api->state, service->config->name, force, err);
	if (rc)
		json_decref(name);
	else
		*ret = json_pack("{s:o}", "service", name);
	return rc;
}

/* ---- backends ---- */

/* "address" is an address, or the name of a backend that is there. */
static int read_target(const struct api_call *call, struct target *ret, struct error *err)
{
	struct service *service;
	const char *text;
	int rc = read_service(call, &service, err);

	if (rc)
		return rc;
	ret->service = service->config->name;
	if (api_arg_text(call->body, "address", &text, err) || !text)
		return api_arg_address(call->body, "address", &ret->address, err);
	return service_resolve_backend(service, text, &ret->address, err);
}

static int read_new_target(const struct api_call *call, struct target *ret, struct error *err)
{
	struct service *service;
	int rc = read_service(call, &service, err);

	if (rc)
		return rc;
	ret->service = service->config->name;
	return api_arg_address(call->body, "address", &ret->address, err);
}

static int answer_backend(struct api *api, const struct target *target, json_t **ret)
{
	const struct service *service = state_find_service(api->state, target->service);
	const struct backend *backend =
	    service ? service_find_backend(service, &target->address) : NULL;

	*ret = backend
		   ? json_pack("{s:o}", "backend", api_backend_json(api, backend, API_ALL_FIELDS))
		   : json_object();
	return 0;
}

static json_t *tag_name_json(const struct config_tag *tag)
{
	const char *name = config_tag_name(tag);

	return name ? json_string(name) : json_null();
}

/* Of a backend that may be gone soon. */
static json_t *name_json(const struct api *api, const struct target *target)
{
	const struct service *service = state_find_service(api->state, target->service);
	const struct backend *backend =
	    service ? service_find_backend(service, &target->address) : NULL;

	return tag_name_json(backend ? backend->tag : NULL);
}

int api_add(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"service", "address", API_NEW_FIELDS, NULL};
	struct state_put put = {0};
	struct target target;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_new_target(call, &target, err)) || (rc = api_arg_new(call->body, &put, err)))
		return rc;
	rc = state_backend_add(call->api->state, target.service, &target.address, &put, err);
	config_tag_unref(put.tag);
	return rc ? rc : answer_backend(call->api, &target, ret);
}

/* Takes over name. */
static json_t *removed_json(const struct api *api, const struct target *target, json_t *name)
{
	const struct service *service = state_find_service(api->state, target->service);
	char address[ADDR_TEXT];

	return json_pack("{s:s, s:s, s:o, s:i}", "service", target->service, "address",
			 addr_format(&target->address, address), "name", name, "others",
			 service ? service_others(service, &target->address) : 0);
}

typedef int target_fn(const struct api_call *call, struct target *ret, struct error *err);
typedef int remove_fn(struct state *state, const char *service, const struct addr *address,
		      bool now, bool force, struct error *err);

static int read_removal(const struct api_call *call, target_fn *read, struct target *ret_target,
			bool *ret_now, bool *ret_force, struct error *err)
{
	static const char *const fields[] = {"service", "address", "now", "force", NULL};
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) || (rc = read(call, ret_target, err)) ||
	    (rc = api_arg_bool(call->body, "now", false, ret_now, err)))
		return rc;
	return api_arg_bool(call->body, "force", false, ret_force, err);
}

static int run_removal(struct api_call *call, target_fn *read, remove_fn *remove, json_t **ret,
		       struct error *err)
{
	struct target target;
	json_t *name;
	bool now, force;
	int rc = read_removal(call, read, &target, &now, &force, err);

	if (rc)
		return rc;
	name = name_json(call->api, &target);
	rc = remove(call->api->state, target.service, &target.address, now, force, err);
	if (rc)
		json_decref(name);
	else
		*ret = removed_json(call->api, &target, name);
	return rc;
}

int api_remove(struct api_call *call, json_t **ret, struct error *err)
{
	return run_removal(call, read_target, state_backend_remove, ret, err);
}

#define TTL_MIN_MS 1000
#define TTL_MAX_S  (365 * 24 * 3600)

/* Seconds as a number, or as people write it; without the field 0: no end. */
static int read_ttl(const json_t *body, uint64_t *ret_ms, struct error *err)
{
	json_t *ttl = json_object_get(body, "ttl");
	int rc = 0;

	*ret_ms = 0;
	if (!ttl)
		return 0;
	if (json_is_integer(ttl)) {
		if (json_integer_value(ttl) < 1 || json_integer_value(ttl) > TTL_MAX_S)
			return error_set(err, -EINVAL,
					 "ttl: expected seconds, an integer of 1 to %d, got %lld",
					 TTL_MAX_S, (long long)json_integer_value(ttl));
		*ret_ms = (uint64_t)json_integer_value(ttl) * 1000;
		return 0;
	}
	rc = api_arg_duration(body, "ttl", ret_ms, err);
	if (!rc && *ret_ms < TTL_MIN_MS)
		return error_set(err, -EINVAL, "ttl: %s: expected 1s or longer",
				 json_string_value(ttl));
	return rc;
}

int api_put_read(struct api_call *call, struct state_registration *ret, struct error *err)
{
	static const char *const fields[] = {"service", "address", "ttl", API_NEW_FIELDS, NULL};
	struct target target;
	int rc;

	ret->put = (struct state_put){0};
	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_new_target(call, &target, err)) ||
	    (rc = read_ttl(call->body, &ret->put.ttl_ms, err)))
		return rc;
	ret->service = target.service;
	ret->address = target.address;
	return api_arg_new(call->body, &ret->put, err);
}

json_t *api_put_answer(struct api *api, const struct state_registration *made)
{
	const struct target target = {made->service, made->address};
	json_t *result = NULL;

	answer_backend(api, &target, &result);
	return result;
}

bool api_renew(struct api_call *call)
{
	struct state_registration asked;
	struct error err;
	bool renewed;

	if (api_put_read(call, &asked, &err))
		return false;
	renewed = state_backend_renew(call->api->state, asked.service, &asked.address, &asked.put);
	config_tag_unref(asked.put.tag);
	return renewed;
}

/* One by itself: where there are no tasks, or its body is long. */
int api_put(struct api_call *call, json_t **ret, struct error *err)
{
	struct state_registration asked;
	int rc = api_put_read(call, &asked, err);

	if (rc)
		return rc;
	rc = state_backend_put(call->api->state, asked.service, &asked.address, &asked.put, err);
	config_tag_unref(asked.put.tag);
	if (!rc)
		*ret = api_put_answer(call->api, &asked);
	return rc;
}

int api_delete(struct api_call *call, json_t **ret, struct error *err)
{
	return run_removal(call, read_new_target, state_backend_delete, ret, err);
}

int api_delete_read(struct api_call *call, struct state_registration *ret, struct error *err)
{
	struct target target;
	int rc = read_removal(call, read_new_target, &target, &ret->now, &ret->force, err);

	if (rc)
		return rc;
	ret->service = target.service;
	ret->address = target.address;
	return 0;
}

json_t *api_delete_answer(const struct api *api, const struct state_registration *made)
{
	const struct target target = {made->service, made->address};

	return removed_json(api, &target, tag_name_json(made->put.tag));
}

/* As a number of ms, or as people write it. */
static int read_force_after(const json_t *body, bool *ret_given, uint64_t *ret_ms,
			    struct error *err)
{
	bool ms = json_object_get(body, "force_after_ms"),
	     text = json_object_get(body, "force_after");

	*ret_given = ms || text;
	if (ms && text)
		return error_set(err, -EINVAL,
				 "force_after: expected only one of force_after and "
				 "force_after_ms");
	if (ms)
		return api_arg_ms(body, "force_after_ms", ret_ms, err);
	return text ? api_arg_duration(body, "force_after", ret_ms, err) : 0;
}

int api_drain(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"service",        "address",     "on",
					     "force_after_ms", "force_after", NULL};
	struct target target;
	uint64_t force_after_ms = 0;
	bool on, force;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_target(call, &target, err)) ||
	    (rc = api_arg_bool(call->body, "on", true, &on, err)) ||
	    (rc = read_force_after(call->body, &force, &force_after_ms, err)) ||
	    (rc = state_backend_drain(call->api->state, target.service, &target.address, on,
				      force ? &force_after_ms : NULL, err)))
		return rc;
	return answer_backend(call->api, &target, ret);
}

int api_weight(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"service", "address", "weight", NULL};
	struct target target;
	uint32_t weight;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_target(call, &target, err)) ||
	    (rc = api_arg_weight(call->body, "weight", &weight, err)) ||
	    (rc = state_backend_weight(call->api->state, target.service, &target.address, weight,
				       err)))
		return rc;
	return answer_backend(call->api, &target, ret);
}

int api_admin(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"service", "address", "state", NULL};
	struct target target;
	enum admin_state state;
	const char *text;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = read_target(call, &target, err)) ||
	    (rc = api_arg_name(call->body, "state", &text, err)))
		return rc;
	if (admin_state_parse(text, &state))
		return error_set(err, -EINVAL, "state: \"%.64s\": " ADMIN_STATES_EXPECTED, text);
	rc = state_backend_admin(call->api->state, target.service, &target.address, state, err);
	return rc ? rc : answer_backend(call->api, &target, ret);
}
