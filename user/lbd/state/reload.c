/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a reload does with run-time changes: a drain and a state that is set hold while their
 * backend is in the file, and so does the drain of the node; on all else the file has the last
 * word, unless all changes are to be kept. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define NAMED 20 /* changes that get a log line of their own */

void reload_report_done(struct reload_report *report)
{
	for (unsigned i = 0; i < report->count; i++)
		free(report->notes[i].service);
	free(report->notes);
	sentences_done(&report->changes);
	*report = (struct reload_report){0};
}

/* entry: NULL: the change is of the service. backend_name: NULL: none. */
static int note(struct reload_report *report, const char *service, const struct override *entry,
		const char *backend_name, bool kept, const char *what)
{
	struct reload_note *list;
	char *name;

	report->kept += kept;
	report->dropped += !kept;
	if (report->count == RELOAD_NOTES)
		return 0;
	list = realloc(report->notes, (report->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	report->notes = list;
	name = strdup(service);
	if (!name)
		return -ENOMEM;
	list += report->count++;
	*list = (struct reload_note){.service = name, .kept = kept};
	if (entry)
		list->address = entry->address;
	snprintf(list->what, sizeof(list->what), "%s", what);
	snprintf(list->name, sizeof(list->name), "%s", backend_name ? backend_name : "");
	return 0;
}

/* Run-time changes of backends beside another config. */
struct reloading {
	enum reload_keep keep;
	struct config_index present, next;
	struct overrides *kept;
	struct reload_report *report;
};

/* The entry's service in the next config: it is known by VIP, protocol and port, as in the data
 * plane, so that a drain holds when the service is renamed; else by its name. */
static const struct config_service *find_next(const struct reloading *reloading,
					      const struct override *entry)
{
	const struct config_service *old = config_index_name(&reloading->present, entry->service),
				    *same = old ? config_index_same(&reloading->next, &old->vip,
								    old->protocol, old->port)
						: NULL;

	return same ? same : config_index_name(&reloading->next, entry->service);
}

static int keep_drain(const struct override *entry, const char *service, struct overrides *kept)
{
	struct override *copy = overrides_get(kept, service, &entry->address);

	if (!copy)
		return -ENOMEM;
	copy->drain = true;
	copy->drain_ms = entry->drain_ms;
	copy->has_force = entry->has_force;
	copy->force_ms = entry->force_ms;
	return 0;
}

static int keep_state(const struct override *entry, const char *service, struct overrides *kept)
{
	struct override *copy = overrides_get(kept, service, &entry->address);

	if (!copy)
		return -ENOMEM;
	copy->admin = entry->admin;
	return 0;
}

/* "state maintenance" */
static void describe_state(const struct override *entry, char what[80])
{
	snprintf(what, 80, "state %s", admin_state_name(entry->admin));
}

/* The words for what of the entry the file overrules; "": it says the same. */
static void describe_loss(const struct override *entry, const struct config_backend *file,
			  char what[80])
{
	*what = 0;
	if (entry->removed && file)
		snprintf(what, 80, "removal");
	else if (entry->removed)
		return;
	else if (override_comes_by_itself(entry) && !file)
		snprintf(what, 80, "backend %s%s, weight %" PRIu32,
			 entry->origin == ORIGIN_lease ? "registered" : "of a source",
			 entry->drain ? " and drained" : "", entry->weight);
	else if (entry->added && !file)
		snprintf(what, 80, "backend added%s, weight %" PRIu32,
			 entry->drain ? " and drained" : "", entry->weight);
	else if (entry->has_weight && file && entry->weight != file->weight)
		snprintf(what, 80, "weight %" PRIu32 " (the file has %" PRIu32 ")", entry->weight,
			 file->weight);
	else if (entry->undrain && file && file->drain)
		snprintf(what, 80, "undrain (the file has drain: true)");
	else if (entry->drain && !file)
		snprintf(what, 80, "drain (no longer in the file)");
	else if (entry->has_weight && !file)
		snprintf(what, 80, "weight %" PRIu32 " (no longer in the file)", entry->weight);
	else if (entry->admin && !file)
		snprintf(what, 80, "state %s (no longer in the file)",
			 admin_state_name(entry->admin));
}

/* The words for an entry that is kept whole. */
static void describe_kept(const struct override *entry, char what[80])
{
	char weight[24] = "", state[80] = "";
	const char *drain = entry->drain ? "drain" : entry->undrain ? "undrain" : "";

	if (entry->has_weight)
		snprintf(weight, sizeof(weight), "weight %" PRIu32, entry->weight);
	if (entry->admin)
		describe_state(entry, state);
	if (entry->removed)
		snprintf(what, 80, "removal");
	else
		snprintf(what, 80, "%s%s%s%s%s%.24s", entry->added ? "backend added, " : "", weight,
			 *weight && *drain ? ", " : "", drain,
			 *state && (*weight || *drain) ? ", " : "", state);
}

/* Can the entry be in force beside the next config? */
static bool can_stay(const struct config_index *next, const struct config_service *service,
		     const struct config_backend *file, const struct override *entry)
{
	struct error why;

	if (service && entry->origin == ORIGIN_source && !config_from_kind(&service->from))
		return false;
	return file ||
	       (service && entry->added &&
		!config_index_check_backend(next, service, &entry->address, entry->port, &why) &&
		!config_index_named(next, service, config_tag_name(entry->tag)));
}

/* The name that the file gives the backend, else that of the run-time change. */
static const char *name_of(const struct override *entry, const struct config_backend *file)
{
	return config_tag_name(file ? file->tag : entry->tag);
}

/* What the file says too needs no entry any more. And it has no place for a state. */
static int keep_whole(struct reloading *reloading, const struct override *entry,
		      const char *service, const struct config_backend *file)
{
	struct override *copy = overrides_get(reloading->kept, service, &entry->address);
	struct reload_report *report = reloading->report;
	const char *name = name_of(entry, file);
	char what[80];
	int rc = 0;

	if (!copy)
		return -ENOMEM;
	overrides_set(copy, entry);
	if (reloading->keep == RELOAD_KEEP_FOR_FILE && entry->admin) {
		copy->admin = ADMIN_AUTO;
		describe_state(entry, what);
		rc = note(report, service, entry, name, false, what);
	}
	if (rc || overrides_tidy(reloading->kept, copy, file))
		return rc;
	describe_kept(copy, what);
	return note(report, service, entry, name, true, what);
}

/* What an operator wants of a backend for a while, whatever the file says of it. */
static int keep_orders(struct reloading *reloading, const struct override *entry,
		       const char *service, const struct config_backend *file)
{
	struct reload_report *report = reloading->report;
	const char *name = name_of(entry, file);
	char what[80];
	int rc = 0;

	if (entry->drain && (!file->drain || entry->has_force)) {
		rc = keep_drain(entry, service, reloading->kept);
		if (!rc)
			rc = note(report, service, entry, name, true, "drain");
	}
	if (!rc && entry->admin) {
		describe_state(entry, what);
		if (reloading->keep == RELOAD_KEEP_FOR_FILE)
			return note(report, service, entry, name, false, what);
		rc = keep_state(entry, service, reloading->kept);
		if (!rc)
			rc = note(report, service, entry, name, true, what);
	}
	return rc;
}

/* As the file's equal, it is not worth a word. */
static int keep_by_itself(const struct override *entry, const char *service, struct overrides *kept)
{
	struct override *copy = overrides_get(kept, service, &entry->address);

	if (!copy)
		return -ENOMEM;
	overrides_set(copy, entry);
	return 0;
}

static int reload_entry(struct reloading *reloading, const struct override *entry)
{
	const struct config_service *service = find_next(reloading, entry);
	const struct config_backend *file =
	    config_index_backend(&reloading->next, service, &entry->address);
	const char *name = service ? service->name : entry->service;
	struct reload_report *report = reloading->report;
	bool keep = reloading->keep != RELOAD_KEEP_ORDERS;
	char what[80];
	int rc = 0;

	if (override_comes_by_itself(entry)) {
		if (!file && can_stay(&reloading->next, service, file, entry))
			return keep_by_itself(entry, name, reloading->kept);
		keep = false; /* on what it has now the file has the last word */
	}
	if (keep && can_stay(&reloading->next, service, file, entry))
		return keep_whole(reloading, entry, name, file);
	if (file)
		rc = keep_orders(reloading, entry, name, file);
	describe_loss(entry, file, what);
	return rc || !*what ? rc : note(report, name, entry, name_of(entry, file), false, what);
}

static int reload_entries(const struct state *state, const struct config *next,
			  struct reloading *reloading)
{
	int rc = 0;

	if (!state->overrides.count)
		return 0;
	if (config_index_make(state->config, &reloading->present) ||
	    config_index_make(next, &reloading->next))
		rc = -ENOMEM;
	for (unsigned i = 0; i < state->overrides.count && !rc; i++)
		rc = reload_entry(reloading, &state->overrides.list[i]);
	config_index_done(&reloading->present);
	config_index_done(&reloading->next);
	return rc;
}

struct service_noting {
	const struct state *state;
	struct reload_report *report;
};

static int note_service(void *arg, const char *service, bool kept, const char *what,
			const char *why)
{
	const struct service_noting *noting = arg;

	if (*why)
		state_warn(noting->state,
			   "service %s: added at run time, it cannot stay beside the file: %s",
			   service, why);
	return note(noting->report, service, NULL, NULL, kept, what);
}

int reload_overrides(const struct state *state, struct config *next, enum reload_keep keep,
		     struct overrides *ret, struct reload_report *report, struct error *err)
{
	struct service_noting noting = {state, report};
	struct overrides kept = {.node = state->overrides.node};
	struct reloading reloading = {.keep = keep, .kept = &kept, .report = report};
	int rc = services_reload(&state->overrides, keep, next, &kept, note_service, &noting);

	if (!rc)
		rc = reload_entries(state, next, &reloading);
	if (rc) {
		overrides_done(&kept);
		return error_set(err, rc, "out of memory");
	}
	*ret = kept;
	return 0;
}

static void log_note(const struct reload_note *one)
{
	const char *what = one->kept ? "kept by the reload" : "dropped by the reload";
	bool backend = one->address.family; /* else it is about the service */
	char address[ADDR_TEXT] = "";
	const struct event_about about = {
	    .service = one->service,
	    .backend = backend ? addr_format(&one->address, address) : NULL,
	    .why = one->kept ? "" : "the config file takes precedence"};

	events_log(one->kept ? EVENT_override_kept : EVENT_override_dropped, LOG_INFO, &about,
		   "service %s:%s%s%s%s%s run-time change %s: %s", one->service,
		   backend ? " backend " : "", backend ? one->name : "",
		   backend && *one->name ? " " : "", address, backend ? ":" : "", what, one->what);
}

/* Are all that are kept drains? Else a state that was set is among them. */
static bool keeps_drains_alone(const struct reload_report *report)
{
	for (unsigned i = 0; i < report->count; i++)
		if (report->notes[i].kept && strcmp(report->notes[i].what, "drain") != 0)
			return false;
	return true;
}

void reload_log(const struct reload_report *report)
{
	const char *kept = report->keep ? "kept"
			   : keeps_drains_alone(report)
			       ? "drains kept (lbctl backend undrain ends one)"
			       : "kept (lbctl backend undrain or lbctl backend state ends one)";
	unsigned count = report->kept + report->dropped;
	const struct event_about others = {.count = count > NAMED ? count - NAMED : 0};
	char text[128];

	for (unsigned i = 0; i < report->count && i < NAMED; i++)
		log_note(&report->notes[i]);
	if (!count)
		return;
	snprintf(text, sizeof(text), "%u %s, %u %sdropped", report->kept, kept, report->dropped,
		 report->keep ? "" : "changes ");
	if (count > NAMED) /* of those before, each is an event of its own */
		events_log(report->dropped ? EVENT_override_dropped : EVENT_override_kept, LOG_INFO,
			   &others, "reload: run-time changes: %s", text);
	else
		log_info("reload: run-time changes: %s", text);
}
