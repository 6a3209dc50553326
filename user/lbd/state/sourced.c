/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends that a source names (`backends-from`): what it names is put in the place of what it
 * named before, and stays until it names something else. */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/text.h"

struct sourced {
	struct sourced *next;
	char *service;
	struct source_status status;
};

/* ---- how the sources are doing ---- */

static struct sourced **find_place(struct state *state, const char *service)
{
	struct sourced **place = &state->sourced;

	while (*place && strcmp((*place)->service, service) != 0)
		place = &(*place)->next;
	return place;
}

const struct source_status *state_source_status(const struct state *state, const char *service)
{
	const struct sourced *sourced = *find_place((struct state *)state, service);

	return sourced ? &sourced->status : NULL;
}

void state_count_sources(const struct state *state, unsigned *ret_all, unsigned *ret_failed)
{
	*ret_all = *ret_failed = 0;
	for (const struct sourced *one = state->sourced; one; one = one->next) {
		++*ret_all;
		*ret_failed += one->status.failed_ms != 0;
	}
}

static void sourced_free(struct sourced *sourced)
{
	free(sourced->service);
	free(sourced);
}

void state_source_note(struct state *state, const char *service, const struct source_status *status)
{
	struct sourced **place = find_place(state, service), *sourced = *place;
	bool failed = false;

	if (!status && sourced) {
		*place = sourced->next;
		sourced_free(sourced);
	}
	if (!status)
		return;
	if (!sourced) {
		sourced = calloc(1, sizeof(*sourced));
		if (!sourced)
			return; /* it is not shown until the next time */
		sourced->service = copy_text(service, &failed);
		if (failed) {
			free(sourced);
			return;
		}
		*place = sourced;
	}
	sourced->status = *status;
}

void sourced_done(struct state *state)
{
	while (state->sourced) {
		struct sourced *sourced = state->sourced;

		state->sourced = sourced->next;
		sourced_free(sourced);
	}
}

/* ---- what it names ---- */

struct applying {
	struct state *state;
	const struct config_service *service;
	const struct source_backend *list;
	unsigned count;
	struct overrides next;
	struct source_applied done;
	unsigned unfit;
};

static bool is_of_source(const struct applying *applying, const struct override *entry)
{
	return entry->origin == ORIGIN_source && !strcmp(entry->service, applying->service->name);
}

static bool names(const struct applying *applying, const struct addr *address)
{
	for (unsigned i = 0; i < applying->count; i++)
		if (addr_equal(&applying->list[i].address, address))
			return true;
	return false;
}

static bool is_still_named(void *arg, const struct override *entry)
{
	struct applying *applying = arg;
	bool stays = !is_of_source(applying, entry) || names(applying, &entry->address);

	applying->done.removed += !stays;
	return stays;
}

static void ignore(struct applying *applying, const struct source_backend *backend,
		   const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Only the first is named. */
static void ignore(struct applying *applying, const struct source_backend *backend,
		   const char *format, ...)
{
	struct source_applied *done = &applying->done;
	char address[ADDR_TEXT], why[128];
	va_list args;

	if (done->ignored++)
		return;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	snprintf(done->why, sizeof(done->why), "%s: %s", addr_format(&backend->address, address),
		 why);
}

/* Has another backend of the service the name? */
static bool name_is_taken(const struct applying *applying, const struct source_backend *backend)
{
	const char *name = backend->name;

	if (config_find_named(applying->service, name))
		return true;
	for (unsigned i = 0; i < applying->next.count; i++) {
		const struct override *entry = &applying->next.list[i];

		if (entry->added && same_text(config_tag_name(entry->tag), name) &&
		    !addr_equal(&entry->address, &backend->address) &&
		    !strcmp(entry->service, applying->service->name))
			return true;
	}
	return false;
}

/* The backend is as good without a name that another one has. */
static int make_tag(struct applying *applying, const struct source_backend *backend,
		    struct config_tag **ret)
{
	const char *name = backend->name;

	if (name && name_is_taken(applying, backend)) {
		ignore(applying, backend, "name %s: another backend of the service has it", name);
		name = NULL;
	}
	*ret = name || backend->labels_count
		   ? config_tag_new(name, backend->labels, backend->labels_count)
		   : NULL;
	return *ret || (!name && !backend->labels_count) ? 0 : -ENOMEM;
}

/* May it be a backend of the service? The rules of the file. */
static bool is_fit(struct applying *applying, const struct source_backend *backend)
{
	struct error why;

	if (config_check_backend(applying->state->config, applying->service, &backend->address,
				 &why))
		ignore(applying, backend, "%s", why.text);
	else if (addr_is_own(&backend->address))
		ignore(applying, backend,
		       "is an address of this host: expected the address of a backend");
	else
		return true;
	return false;
}

static int apply_one(struct applying *applying, const struct source_backend *backend)
{
	struct override *entry;
	struct config_tag *tag;
	bool is_new;
	int rc;

	entry = overrides_find(&applying->next, applying->service->name, &backend->address);
	if (config_find_backend(applying->service, &backend->address) ||
	    (entry && entry->origin == ORIGIN_lease)) {
		applying->done.shadowed++; /* as the file or the registration has it */
		return 0;
	}
	is_new = !entry || entry->origin != ORIGIN_source;
	if (is_new && !is_fit(applying, backend)) {
		applying->unfit++;
		return 0;
	}
	rc = make_tag(applying, backend, &tag);
	if (rc)
		return rc;
	entry = overrides_get(&applying->next, applying->service->name, &backend->address);
	if (!entry) {
		config_tag_unref(tag);
		return -ENOMEM;
	}
	applying->done.added += is_new;
	applying->done.changed +=
	    !is_new && (entry->weight != backend->weight || !config_tag_equal(entry->tag, tag));
	config_tag_unref(entry->tag);
	entry->tag = tag;
	entry->added = entry->has_weight = true;
	entry->weight = backend->weight;
	entry->origin = ORIGIN_source;
	return 0;
}

static void report(const struct applying *applying)
{
	const struct source_applied *done = &applying->done;
	const struct config_from *from = &applying->service->from;

	events_log(EVENT_source_changed, LOG_INFO,
		   &(struct event_about){.service = applying->service->name,
					 .count = done->added + done->removed + done->changed,
					 .measured = true},
		   "service %s: backends from %s %s: %u added, %u removed, %u changed; %u named",
		   applying->service->name, config_from_kind(from), config_from_what(from),
		   done->added, done->removed, done->changed, applying->count);
}

static int apply_all(struct applying *applying, struct error *err)
{
	struct state *state = applying->state;
	int rc = 0;

	overrides_filter(&applying->next, is_still_named, applying);
	for (unsigned i = 0; i < applying->count && !rc; i++) {
		rc = apply_one(applying, &applying->list[i]);
		task_pause();
	}
	if (rc)
		return error_set(err, rc, "out of memory");
	if (applying->count - applying->unfit < applying->service->from.min)
		return error_set(err, -EINVAL,
				 "%u of the %u that it names cannot be backends, "
				 "first: %s",
				 applying->unfit, applying->count, applying->done.why);
	if (!applying->done.added && !applying->done.removed && !applying->done.changed)
		return 0;
	rc = state_switch(state, state->config, &applying->next, err);
	if (!rc)
		report(applying);
	return rc;
}

int state_source_apply(struct state *state, const char *service, const struct source_backend *list,
		       unsigned count, struct source_applied *ret, struct error *err)
{
	struct applying applying = {.state = state,
				    .service = config_find_service(state->config, service),
				    .list = list,
				    .count = count};
	int rc;

	if (!applying.service || !config_from_kind(&applying.service->from))
		return error_set(err, -ENOENT, "service \"%s\" has no `backends-from`", service);
	if (overrides_copy(&state->overrides, &applying.next))
		return error_set(err, -ENOMEM, "out of memory");
	rc = apply_all(&applying, err);
	overrides_done(&applying.next);
	*ret = applying.done;
	return rc;
}
