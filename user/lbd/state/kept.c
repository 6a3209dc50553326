/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Run-time changes on disk: read at the start, written before they come into force. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/plural.h"

#define NAMED 20 /* dropped changes that get a log line of their own */

/* ---- what of them applies ---- */

struct override_filter {
	const struct state *state;
	struct config_index index; /* of its config */
	unsigned limit, room;      /* of backends; for added ones */
	unsigned dropped;
};

static unsigned backends_of(const struct config *config)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->services_count; i++)
		count += config->services[i].backends_count;
	return count;
}

/* 0: it applies to the config. */
static int check_entry(struct override_filter *filter, const struct override *entry,
		       struct error *why)
{
	const struct config_index *index = &filter->index;
	const struct config_service *service = config_index_name(index, entry->service);
	int rc;

	if (config_index_backend(index, service, &entry->address))
		return override_comes_by_itself(entry)
			   ? error_set(why, -EEXIST, "the config has the backend now")
			   : 0;
	if (!service || !entry->added)
		return error_set(why, -ENOENT, "no longer in the config");
	rc = config_index_check_backend(index, service, &entry->address, entry->port, why);
	if (rc)
		return rc;
	if (config_index_named(index, service, config_tag_name(entry->tag)))
		return error_set(why, -EINVAL, "the config has another backend of its name");
	if (entry->origin == ORIGIN_source && !config_from_kind(&service->from))
		return error_set(why, -ENOENT, "the service has no `backends-from` any more");
	if (!filter->room)
		return error_set(why, -ENOSPC, "no room: limits: backends is %u", filter->limit);
	filter->room--;
	return 0;
}

static bool keep_applying(void *arg, const struct override *entry)
{
	struct override_filter *filter = arg;
	char backend[CONFIG_BACKEND_LABEL], address[ADDR_TEXT];
	struct error why;

	if (!check_entry(filter, entry, &why))
		return true;
	if (filter->dropped++ < NAMED)
		events_log(EVENT_override_dropped, LOG_WARNING,
			   &(struct event_about){.service = entry->service,
						 .backend = addr_format(&entry->address, address),
						 .why = why.text},
			   "%s: service \"%s\", backend %s: run-time change dropped: %s",
			   filter->state->overrides_path, entry->service,
			   config_backend_label(entry->tag, &entry->address, backend), why.text);
	return false;
}

static bool keep_none(void *arg, const struct override *entry)
{
	return false;
}

/* Pinned maps have the room that they were made with, whatever the file says now. */
static unsigned backends_most(const struct state *state)
{
	const struct dataplane *dp = state->options.dataplane;

	return dp ? dataplane_backends_most(dp) : state->config->limits.backends;
}

/* Those of the config that are removed at run time. */
static unsigned count_removed(const struct config_index *index, const struct overrides *changes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < changes->count; i++) {
		const struct override *entry = &changes->list[i];
		const struct config_service *service = config_index_name(index, entry->service);

		count += entry->removed && config_index_backend(index, service, &entry->address);
	}
	return count;
}

/* For these changes. 0 or -ENOMEM. */
static int filter_make(const struct state *state, const struct overrides *changes,
		       struct override_filter *ret)
{
	struct override_filter filter = {.state = state, .limit = backends_most(state)};
	unsigned backends = backends_of(state->config);

	if (config_index_make(state->config, &filter.index))
		return -ENOMEM;
	backends -= count_removed(&filter.index, changes);
	filter.room = filter.limit > backends ? filter.limit - backends : 0;
	*ret = filter;
	return 0;
}

/* What came by itself and is in the config now is the config's, but for a drain by hand and a state
 * that is set: as after a reload. */
static void keep_orders(struct state *state, const struct config_index *index,
			struct override *entry)
{
	const struct config_service *service = config_index_name(index, entry->service);

	if (!override_comes_by_itself(entry) || !(entry->drain || entry->admin) ||
	    !config_index_backend(index, service, &entry->address))
		return;
	config_tag_unref(entry->tag);
	entry->tag = NULL;
	entry->priority = 0;
	entry->backup = false;
	entry->port = 0;
	entry->target = (struct config_target){0};
	entry->added = entry->has_weight = false;
	entry->origin = ORIGIN_config;
	entry->ttl_ms = entry->until_ms = 0;
	state->overrides_stale = true;
}

static void drop_what_does_not_apply(struct state *state)
{
	struct override_filter filter;

	if (filter_make(state, &state->overrides, &filter)) {
		log_error("%s: out of memory: run-time changes of backends are dropped",
			  state->overrides_path);
		overrides_filter(&state->overrides, keep_none, NULL);
		return;
	}
	for (unsigned i = 0; i < state->overrides.count; i++)
		keep_orders(state, &filter.index, &state->overrides.list[i]);
	overrides_filter(&state->overrides, keep_applying, &filter);
	config_index_done(&filter.index);
	if (filter.dropped > NAMED)
		events_log(EVENT_override_dropped, LOG_WARNING,
			   &(struct event_about){.count = filter.dropped - NAMED},
			   "%s: %u more run-time change%s dropped", state->overrides_path,
			   filter.dropped - NAMED, plural_s(filter.dropped - NAMED));
	state->overrides_stale |= filter.dropped;
}

static int note_service(void *arg, const char *service, bool kept, const char *what,
			const char *why)
{
	struct state *state = arg;

	if (kept)
		return 0;
	log_warning("%s: service \"%s\": run-time change dropped: %s: %s", state->overrides_path,
		    service, what, why);
	state->overrides_stale = true;
	return 0;
}

/* The config of the files gets the services. Entries about those that it has, or no longer has, are
 * dropped without a word. */
static void apply_services(struct state *state)
{
	struct overrides kept = {0};
	unsigned before = state->overrides.services_count;

	if (services_reload(&state->overrides, true, state->config, &kept, note_service, state))
		log_error("%s: out of memory: services added and removed at run time are dropped",
			  state->overrides_path);
	overrides_take_services(&state->overrides, &kept);
	state->overrides_stale |= state->overrides.services_count < before;
	overrides_done(&kept);
}

/* As it was when the file was written. NULL: an older lbd has written it. Looked for from *at on,
 * where the one before was: the services are in the order of their first entries. */
static const struct service_override *find_named(const struct overrides *overrides,
						 const char *service, unsigned *at)
{
	for (unsigned i = 0; i < overrides->named_count; i++) {
		unsigned index = (*at + i) % overrides->named_count;

		if (strcmp(overrides->named[index].service, service) != 0)
			continue;
		*at = index;
		return &overrides->named[index];
	}
	return NULL;
}

/* It is known by VIP, protocol and port, as in a reload; else by its name. NULL: it is gone. */
static const struct config_service *find_now(const struct config_index *index,
					     const struct service_override *known, const char *name)
{
	const struct config_service *same =
	    known ? config_index_same(index, &known->vip, known->protocol, known->port) : NULL;

	return same ? same : config_index_name(index, name);
}

static bool has_key(const struct config_service *service, const struct service_override *known)
{
	return service && known && addr_equal(&service->vip, &known->vip) &&
	       service->protocol == known->protocol && service->port == known->port;
}

static bool is_as_known(const struct config_service *service, const struct service_override *known)
{
	return has_key(service, known) && !strcmp(service->name, known->service);
}

/* changed: the file is to be written again. 0 or -ENOMEM; ret is for overrides_done also then. */
static int rename_entries(const struct overrides *former, const struct config *config,
			  struct overrides *ret, bool *changed)
{
	struct config_index index;
	unsigned at = 0;
	int rc = 0;

	if (config_index_make(config, &index))
		return -ENOMEM;
	for (unsigned i = 0; i < former->count && !rc; i++) {
		const struct override *entry = &former->list[i];
		const struct service_override *known = find_named(former, entry->service, &at);
		const struct config_service *service = find_now(&index, known, entry->service);
		const char *name = service ? service->name : entry->service;
		struct override *copy = overrides_find(ret, name, &entry->address);

		*changed |= !is_as_known(service, known);
		if (copy && !has_key(service, known))
			continue; /* its own service is gone, and another has its name */
		if (!copy)
			copy = overrides_get(ret, name, &entry->address);
		if (copy)
			overrides_set(copy, entry);
		else
			rc = -ENOMEM;
	}
	config_index_done(&index);
	return rc;
}

/* The file may have renamed services while no lbd ran. */
static void follow_names(struct state *state)
{
	struct overrides renamed = {.node = state->overrides.node};

	if (rename_entries(&state->overrides, state->config, &renamed, &state->overrides_stale)) {
		log_error("%s: out of memory: run-time changes of services that were renamed are "
			  "dropped",
			  state->overrides_path);
		overrides_done(&renamed);
		overrides_forget_names(&state->overrides);
		return;
	}
	overrides_take_services(&renamed, &state->overrides);
	overrides_done(&state->overrides);
	state->overrides = renamed;
}

/* ---- reading ---- */

/* As many as can apply: each backend of the file, and others up to the limit. */
static unsigned most_overrides(const struct state *state)
{
	return backends_of(state->config) + backends_most(state);
}

/* What cannot be read now is no reason to forget it: drains would end. */
static int cannot_read(int rc, const struct error *why, struct error *err)
{
	return error_set(err, rc,
			 "%s; lbd does not start without what was changed at run time: expected "
			 "that this file can be read, or is not there",
			 why->text);
}

/* A file that cannot be used is kept for a person to look at, and the list is empty. */
static int load(struct state *state, const char *path, struct overrides *ret, struct error *err)
{
	struct error why, outcome;
	int rc = overrides_load(path, most_overrides(state), ret, &why);

	if (file_may_be_good(rc))
		return cannot_read(rc, &why, err);
	if (rc) {
		file_set_aside(path, &outcome);
		log_error("%s; run-time changes made earlier are lost; %s", why.text, outcome.text);
	}
	return 0;
}

static bool any_applies(const struct state *state, const struct overrides *overrides)
{
	struct override_filter filter;
	struct error why;
	bool any = false;

	if (filter_make(state, overrides, &filter))
		return false;
	for (unsigned i = 0; i < overrides->count && !any; i++)
		any = !check_entry(&filter, &overrides->list[i], &why);
	config_index_done(&filter.index);
	return any;
}

/* Once, after an upgrade: an lbd of before had one name for the file of every lbd whose socket is
 * in the directory. It is another's if no entry is about this config. */
static int take_over_former(struct state *state, struct error *err)
{
	struct overrides former = {0};
	int rc;

	if (!state->overrides_former || !access(state->overrides_path, F_OK) ||
	    access(state->overrides_former, F_OK))
		return 0;
	rc = load(state, state->overrides_former, &former, err);
	if (rc || access(state->overrides_former, F_OK)) /* it was no list */
		return rc;
	if (!any_applies(state, &former))
		log_info("%s: has no run-time change of this config: left for another lbd",
			 state->overrides_former);
	else if (rename(state->overrides_former, state->overrides_path))
		log_error("%s: cannot be renamed to %s: %s; its run-time changes are not in force",
			  state->overrides_former, state->overrides_path, strerror(errno));
	else
		log_info("%s: renamed to %s", state->overrides_former, state->overrides_path);
	overrides_done(&former);
	return 0;
}

int kept_read(struct state *state, struct error *err)
{
	unsigned count;
	int rc;

	if (!state->overrides_path)
		return 0;
	if ((rc = take_over_former(state, err)) ||
	    (rc = load(state, state->overrides_path, &state->overrides, err)))
		return rc;
	apply_services(state);
	if (state->overrides.count)
		follow_names(state);
	drop_what_does_not_apply(state);
	leases_resume(state);
	count = state_overrides_count(state);
	if (count)
		log_info("%s: %u run-time change%s still in force", state->overrides_path, count,
			 plural(count, " is", "s are"));
	return 0;
}

int kept_read_held(struct state *state, struct error *err)
{
	struct error why, outcome;
	int rc = state->held_path ? held_load(state->held_path, &state->held, &why) : 0;

	if (file_may_be_good(rc))
		return cannot_read(rc, &why, err);
	if (rc) {
		file_set_aside(state->held_path, &outcome);
		log_error("%s; interfaces that were detached by hand are attached; %s", why.text,
			  outcome.text);
	}
	return 0;
}

static bool keep_not_added(void *arg, const struct override *entry)
{
	return !entry->added;
}

/* No world has it. */
static unsigned shed_services(struct state *state)
{
	unsigned before = state->overrides.services_count;

	for (unsigned i = before; i-- > 0;)
		if (state->overrides.services[i].added)
			overrides_drop_service(&state->overrides, &state->overrides.services[i]);
	for (unsigned i = state->config->services_count; i-- > 0;)
		if (state->config->services[i].file == CONFIG_RUNTIME)
			config_remove_service(state->config, i);
	return before - state->overrides.services_count;
}

bool kept_shed(struct state *state)
{
	unsigned before = state->overrides.count, services = shed_services(state);

	overrides_filter(&state->overrides, keep_not_added, NULL);
	if (state->overrides.count < before || services) {
		events_log(
		    EVENT_override_dropped, LOG_ERR,
		    &(struct event_about){.count = before - state->overrides.count + services},
		    "%s: %u backend%s and %u service%s that were added at run time are dropped",
		    state->overrides_path, before - state->overrides.count,
		    plural_s(before - state->overrides.count), services, plural_s(services));
	} else if (before) {
		/* services that were removed stay so: the config in force lacks them */
		events_log(EVENT_override_dropped, LOG_ERR, &(struct event_about){.count = before},
			   "%s: all run-time changes are dropped: %u", state->overrides_path,
			   before);
		overrides_filter(&state->overrides, keep_none, NULL);
	}
	state->overrides_stale = true;
	return state->overrides.count < before || services;
}

/* ---- writing ---- */

struct saving {
	const struct overrides *overrides;
	const char *path;
	struct error err;
	int rc;
};

static void save(void *arg)
{
	struct saving *saving = arg;

	saving->rc = overrides_save(saving->overrides, saving->path, &saving->err);
}

/* Adds the services of the list, as the config has them. 0 or -ENOMEM; the caller frees ret->named
 * alone: all else is of the config and the other overrides. */
static int with_names(const struct overrides *overrides, const struct config *config,
		      struct overrides *ret)
{
	_cleanup_free_ bool *is_named = NULL;
	struct config_index index;

	*ret = *overrides;
	ret->named = NULL;
	ret->named_count = 0;
	if (!overrides->count)
		return 0;
	is_named = calloc(config->services_count + 1, sizeof(*is_named));
	ret->named = calloc(config->services_count + 1, sizeof(*ret->named));
	if (!is_named || !ret->named || config_index_make(config, &index))
		return -ENOMEM;
	for (unsigned i = 0; i < overrides->count; i++) {
		const struct config_service *service =
		    config_index_name(&index, overrides->list[i].service);

		if (!service || is_named[service - config->services])
			continue;
		is_named[service - config->services] = true;
		ret->named[ret->named_count++] = (struct service_override){
		    service->name, service->vip, service->protocol, service->port, NULL};
	}
	config_index_done(&index);
	return 0;
}

static int write_out(struct state *state, const struct config *config,
		     const struct overrides *overrides, struct error *err)
{
	struct overrides written;
	struct saving saving = {.overrides = &written, .path = state->overrides_path};

	saving.rc = with_names(overrides, config, &written);
	if (saving.rc)
		error_set(&saving.err, saving.rc, "out of memory");
	else
		task_wait(save, &saving); /* for the disk */
	free(written.named);
	/* After an error it is uncertain what is there: the directory may have failed to sync. */
	state->overrides_stale = saving.rc;
	if (!saving.rc) {
		state->leases_stale = state->leases_unsaved = false;
		state->leases_saved_ms = clock_monotonic_ms();
	}
	return saving.rc ? error_set(err, -EROFS, "run-time changes cannot be written to disk: %s",
				     saving.err.text)
			 : 0;
}

int kept_write(struct state *state, const struct config *config, const struct overrides *overrides,
	       struct error *err)
{
	bool same = overrides_equal(overrides, &state->overrides);
	bool same_names = config == state->config || !overrides->count;
	int rc;

	if (!state->overrides_path || (same && same_names && !state->overrides_stale))
		return 0;
	rc = write_out(state, config, overrides, err);
	if (!rc || !same)
		return rc;
	state_warn(state, "%s", err->text);
	return 0;
}

void kept_restore(struct state *state)
{
	struct error err;

	if (state->overrides_path && write_out(state, state->config, &state->overrides, &err))
		log_error("%s: the file has a change that is not in force: the next start of lbd "
			  "would apply it",
			  err.text);
}

int kept_write_leases(struct state *state, struct error *err)
{
	return state->overrides_path ? write_out(state, state->config, &state->overrides, err) : 0;
}
