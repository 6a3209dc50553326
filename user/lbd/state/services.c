/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services that are added and removed at run time. The config in force is that of the files with
 * these changes in it: all else that is done with services knows no difference. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/plural.h"
#include "lbd/events/events.h"

/* ---- what of them holds under another config ---- */

struct reloading {
	bool keep;
	struct config *next; /* that of the files, until they are in it */
	struct config_index index;
	bool *gone; /* of each service of next */
	struct overrides *ret;
	service_note_fn *note;
	void *arg;
};

static bool is_gone(const struct reloading *reloading, const struct config_service *service)
{
	return reloading->gone[service - reloading->next->services];
}

/* The service of the file that was removed: by VIP, protocol and port, as in the data plane, so
 * that it stays removed when it is renamed; else by its name. */
static const struct config_service *find_removed(const struct reloading *reloading,
						 const struct service_override *entry)
{
	const struct config_service *service =
	    config_index_same(&reloading->index, &entry->vip, entry->protocol, entry->port);

	if (!service || is_gone(reloading, service))
		service = config_index_name(&reloading->index, entry->service);
	return service && !is_gone(reloading, service) ? service : NULL;
}

static int keep_removed(struct reloading *reloading, const struct service_override *entry)
{
	const struct config_service *service = find_removed(reloading, entry);
	int rc;

	if (!service)
		return 0;
	rc = reloading->note(reloading->arg, service->name, reloading->keep, "service removed", "");
	if (rc || !reloading->keep)
		return rc;
	reloading->gone[service - reloading->next->services] = true;
	return overrides_add_service(reloading->ret, service, NULL);
}

static int note_added(const struct reloading *reloading, const struct service_override *entry,
		      bool kept, const char *why)
{
	return reloading->note(reloading->arg, entry->service, kept, "service added", why);
}

/* They are the last of next. */
static int note_all_added(struct reloading *reloading, const struct service_override **entries,
			  unsigned count)
{
	const struct config *next = reloading->next;
	int rc = 0;

	for (unsigned i = 0; i < count && !rc; i++) {
		rc = overrides_add_service(reloading->ret,
					   &next->services[next->services_count - count + i],
					   entries[i]->added);
		if (!rc)
			rc = note_added(reloading, entries[i], true, "");
	}
	return rc;
}

/* All together: they are checked beside the whole config. If one of them cannot stay, half of them
 * and then the others, which comes to the same as one after the other. texts: of the entries. */
static int keep_added(struct reloading *reloading, const struct service_override **entries,
		      const char *const *texts, unsigned count)
{
	unsigned half = count / 2;
	struct error why = {""};
	int rc;

	if (!count)
		return 0;
	rc = config_add_services(reloading->next, texts, count, &why);
	if (!rc)
		return note_all_added(reloading, entries, count);
	if (rc == -ENOMEM)
		return rc;
	if (count == 1)
		return note_added(reloading, entries[0], false, why.text);
	rc = keep_added(reloading, entries, texts, half);
	return rc ? rc : keep_added(reloading, entries + half, texts + half, count - half);
}

/* What the file has now needs no entry any more. */
static bool is_in_file(const struct reloading *reloading, const struct service_override *entry)
{
	const struct config_service *service =
	    config_index_same(&reloading->index, &entry->vip, entry->protocol, entry->port);

	return service && !is_gone(reloading, service);
}

/* Those of changes that were added and are not in the file. Frees nothing on error. */
static int list_added(const struct reloading *reloading, const struct overrides *changes,
		      const struct service_override **entries, const char **texts, unsigned *ret)
{
	unsigned count = 0;
	int rc = 0;

	for (unsigned i = 0; i < changes->services_count && !rc; i++) {
		const struct service_override *entry = &changes->services[i];

		if (!entry->added || is_in_file(reloading, entry))
			continue;
		if (!reloading->keep)
			rc = note_added(reloading, entry, false, "");
		entries[count] = entry;
		texts[count++] = entry->added;
	}
	*ret = reloading->keep ? count : 0;
	return rc;
}

/* An added service may have the place of a removed one. */
static int reload_services(struct reloading *reloading, const struct overrides *changes)
{
	_cleanup_free_ const struct service_override **entries =
	    calloc(changes->services_count, sizeof(*entries));
	_cleanup_free_ const char **texts = calloc(changes->services_count, sizeof(*texts));
	unsigned added = 0;
	int rc = entries && texts ? 0 : -ENOMEM;

	for (unsigned i = 0; i < changes->services_count && !rc; i++)
		if (!changes->services[i].added)
			rc = keep_removed(reloading, &changes->services[i]);
	if (!rc)
		rc = list_added(reloading, changes, entries, texts, &added);
	if (rc)
		return rc;
	config_remove_services(reloading->next, reloading->gone);
	return keep_added(reloading, entries, texts, added);
}

int services_reload(const struct overrides *changes, bool keep, struct config *next,
		    struct overrides *ret, service_note_fn *note, void *arg)
{
	struct reloading reloading = {
	    .keep = keep, .next = next, .ret = ret, .note = note, .arg = arg};
	int rc;

	if (!changes->services_count)
		return 0;
	reloading.gone = calloc(next->services_count + 1, sizeof(*reloading.gone));
	rc = reloading.gone ? config_index_make(next, &reloading.index) : -ENOMEM;
	if (!rc)
		rc = reload_services(&reloading, changes);
	config_index_done(&reloading.index);
	free(reloading.gone);
	return rc;
}

/* ---- changes ---- */

/* The config that is to come into force, and the run-time changes beside it. */
struct service_change {
	struct config *config;
	struct overrides overrides;
};

static void change_done(struct service_change *change)
{
	overrides_done(&change->overrides);
	config_free(change->config);
}

static int change_begin(const struct state *state, struct service_change *ret, struct error *err)
{
	struct service_change change = {0};

	if (overrides_copy(&state->overrides, &change.overrides) ||
	    config_copy(state->config, &change.config)) {
		change_done(&change);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = change;
	return 0;
}

/* Ends the change, also on failure. */
static int change_end(struct state *state, struct service_change *change, struct error *err)
{
	int rc = state_switch(state, change->config, &change->overrides, err);

	if (!rc)
		change->config = NULL; /* it is in force */
	change_done(change);
	return rc;
}

struct adding {
	struct config *config;
	const char *text;
	struct error *err;
	int rc;
};

/* Reads the files of lists. */
static void add(void *arg)
{
	struct adding *adding = arg;

	adding->rc = config_add_service(adding->config, adding->text, adding->err);
}

/* Packets to an address of this host would come back to the balancer. */
static int check_own(const struct config_service *service, struct error *err)
{
	char text[ADDR_TEXT];

	for (unsigned i = 0; i < service->backends_count; i++)
		if (addr_is_own(&service->backends[i].address))
			return error_set(err, -EINVAL,
					 "service %s: backend %s: is an address of this host: "
					 "expected the address of a backend",
					 service->name,
					 addr_format(&service->backends[i].address, text));
	return 0;
}

/* Also one that was added at run time, or still drains. */
static int check_vip(const struct state *state, const struct config_service *service,
		     struct error *err)
{
	char text[ADDR_TEXT];

	for (unsigned i = 0; i < state->world.count; i++)
		if (service_find_backend(state->world.services[i], &service->vip))
			return error_set(err, -EINVAL,
					 "service %s: vip: %s: is a backend of service %s: "
					 "expected another address",
					 service->name, addr_format(&service->vip, text),
					 state->world.services[i]->config->name);
	return 0;
}

/* What the config alone does not show. */
static int check_added(const struct state *state, const struct config_service *service,
		       struct error *err)
{
	int rc = check_own(service, err);

	return rc ? rc : check_vip(state, service, err);
}

int state_service_add(struct state *state, const char *text, const char **ret_name,
		      struct error *err)
{
	struct service_change change;
	struct adding adding = {.text = text, .err = err};
	const struct config_service *service;
	char label[SERVICE_LABEL];
	int rc = change_begin(state, &change, err);

	if (rc)
		return rc;
	adding.config = change.config;
	task_wait(add, &adding);
	rc = adding.rc;
	if (!rc) {
		service = &change.config->services[change.config->services_count - 1];
		rc = check_added(state, service, err);
	}
	if (!rc && overrides_add_service(&change.overrides, service, text))
		rc = error_set(err, -ENOMEM, "out of memory");
	if (rc) {
		change_done(&change);
		return rc;
	}
	state_warn_of_machine(state, change.config);
	rc = change_end(state, &change, err);
	if (rc)
		return rc;
	service = &state->config->services[state->config->services_count - 1];
	*ret_name = service->name;
	events_log(
	    EVENT_service_added, LOG_INFO, &(struct event_about){.service = service->name},
	    "%s added, backends: %u",
	    service_label(&(struct service){.config = (struct config_service *)service}, label),
	    service->backends_count);
	return 0;
}

/* Backends whose connections would end with the service. */
static unsigned backends_in_use(const struct service *service)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		count += backend->condition == BACKEND_UP ||
			 backend->condition == BACKEND_STARTING ||
			 backend->condition == BACKEND_DRAINING || backend->frozen;
	}
	return count;
}

static bool is_of_another(void *arg, const struct override *entry)
{
	return strcmp(entry->service, arg) != 0;
}

/* Run-time changes of its backends end with it. */
static int forget_service(struct service_change *change, const struct config_service *service)
{
	struct service_override *added = overrides_find_added(&change->overrides, service->name);

	overrides_filter(&change->overrides, is_of_another, service->name);
	if (service->file != CONFIG_RUNTIME)
		return overrides_add_service(&change->overrides, service, NULL);
	if (added)
		overrides_drop_service(&change->overrides, added);
	return 0;
}

int state_service_remove(struct state *state, const char *name, bool force, struct error *err)
{
	const struct service *service = state_find_service(state, name);
	struct service_change change;
	char label[SERVICE_LABEL], gone[64];
	unsigned in_use;
	int rc;

	if (!service)
		return error_set(err, -ENOENT, "service \"%s\": no such service", name);
	service_label(service, label);
	in_use = backends_in_use(service);
	if (!force && in_use)
		return error_set(err, -EBUSY,
				 "%s: %u of its backends %s traffic, whose connections end with "
				 "it: expected --force, or that they are drained before",
				 label, in_use, plural(in_use, "takes", "take"));
	rc = change_begin(state, &change, err);
	if (rc)
		return rc;
	rc = forget_service(&change, service->config);
	if (rc) {
		change_done(&change);
		return error_set(err, rc, "out of memory");
	}
	config_remove_service(change.config, (unsigned)(service->config - state->config->services));
	snprintf(gone, sizeof(gone), "%s", service->config->name);
	rc = change_end(state, &change, err);
	if (!rc)
		events_log(EVENT_service_removed, LOG_INFO, &(struct event_about){.service = gone},
			   "%s removed", label);
	return rc;
}
