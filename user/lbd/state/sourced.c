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

struct note {
	char *service;
	struct source_status status;
};

struct sourced {
	struct note **list;
	unsigned count, size;
	struct lookup lookup; /* by service */
};

/* ---- how the sources are doing ---- */

static uint64_t hash_of(const char *service)
{
	return lookup_hash_text(LOOKUP_START, service);
}

/* NULL: there is none. */
static struct note *find_note(const struct sourced *sourced, const char *service, uint32_t *ret_at)
{
	struct lookup_walk walk;

	if (!sourced)
		return NULL;
	lookup_walk(&sourced->lookup, hash_of(service), &walk);
	while (lookup_next(&walk, ret_at))
		if (!strcmp(sourced->list[*ret_at]->service, service))
			return sourced->list[*ret_at];
	return NULL;
}

const struct source_status *state_source_status(const struct state *state, const char *service)
{
	uint32_t at;
	const struct note *note = find_note(state->sourced, service, &at);

	return note ? &note->status : NULL;
}

void state_count_sources(const struct state *state, unsigned *ret_all, unsigned *ret_failed)
{
	const struct sourced *sourced = state->sourced;

	*ret_all = sourced ? sourced->count : 0;
	*ret_failed = 0;
	for (unsigned i = 0; i < *ret_all; i++)
		*ret_failed += sourced->list[i]->status.failed_ms != 0;
}

static void note_free(struct note *note)
{
	free(note->service);
	free(note);
}

/* The last one takes its place. */
static void drop_note(struct sourced *sourced, struct note *note, uint32_t at)
{
	struct note *last = sourced->list[--sourced->count];

	lookup_remove(&sourced->lookup, hash_of(note->service), at);
	if (last != note) {
		lookup_remove(&sourced->lookup, hash_of(last->service), sourced->count);
		lookup_add(&sourced->lookup, hash_of(last->service), at);
		sourced->list[at] = last;
	}
	note_free(note);
}

/* Room for one more. 0 or -ENOMEM. */
static int make_room(struct sourced *sourced)
{
	struct note **list;

	if (sourced->count < sourced->size)
		return 0;
	list = reallocarray(sourced->list, 2 * sourced->size + 8, sizeof(struct note *));
	if (!list)
		return -ENOMEM;
	sourced->list = list;
	if (lookup_reserve(&sourced->lookup, 2 * sourced->size + 8))
		return -ENOMEM;
	sourced->size = 2 * sourced->size + 8;
	return 0;
}

/* NULL: out of memory. */
static struct note *add_note(struct state *state, const char *service)
{
	struct note *note;
	bool failed = false;

	if (!state->sourced)
		state->sourced = calloc(1, sizeof(*state->sourced));
	if (!state->sourced || make_room(state->sourced))
		return NULL;
	note = calloc(1, sizeof(*note));
	if (!note)
		return NULL;
	note->service = copy_text(service, &failed);
	if (failed) {
		free(note);
		return NULL;
	}
	lookup_add(&state->sourced->lookup, hash_of(service), state->sourced->count);
	state->sourced->list[state->sourced->count++] = note;
	return note;
}

void state_source_note(struct state *state, const char *service, const struct source_status *status)
{
	uint32_t at;
	struct note *note = find_note(state->sourced, service, &at);

	if (!status && note)
		drop_note(state->sourced, note, at);
	if (!status)
		return;
	if (!note)
		note = add_note(state, service);
	if (note) /* else it is not shown until the next time */
		note->status = *status;
}

void sourced_done(struct state *state)
{
	struct sourced *sourced = state->sourced;

	if (!sourced)
		return;
	for (unsigned i = 0; i < sourced->count; i++)
		note_free(sourced->list[i]);
	free(sourced->list);
	lookup_done(&sourced->lookup);
	free(sourced);
	state->sourced = NULL;
}

/* ---- what it names ---- */

struct applying {
	struct state *state;
	const struct config_service *service;
	const struct source_backend *list;
	unsigned count;
	struct overrides next;
	struct config_index index; /* of the config */
	struct lookup addresses;   /* of list */
	struct lookup names;       /* of added backends of the service, in next */
	struct source_applied done;
	unsigned unfit;
};

static bool is_of_source(const struct applying *applying, const struct override *entry)
{
	return entry->origin == ORIGIN_source && !strcmp(entry->service, applying->service->name);
}

/* To the service, in whatever way. */
static bool is_added(const struct applying *applying, const struct override *entry)
{
	return entry->added && !strcmp(entry->service, applying->service->name);
}

static bool names(const struct applying *applying, const struct addr *address)
{
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&applying->addresses, lookup_hash_addr(LOOKUP_START, address), &walk);
	while (lookup_next(&walk, &at))
		if (addr_equal(&applying->list[at].address, address))
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

/* There is room for it. The entry may lose the name: who looks compares. */
static void note_name(struct applying *applying, const struct override *entry)
{
	const char *name = config_tag_name(entry->tag);

	if (name)
		lookup_add(&applying->names, lookup_hash_text(LOOKUP_START, name),
			   (uint32_t)(entry - applying->next.list));
}

/* Has another backend of the service the name? */
static bool name_is_taken(const struct applying *applying, const struct source_backend *backend)
{
	const char *name = backend->name;
	struct lookup_walk walk;
	uint32_t at;

	if (config_index_named(&applying->index, applying->service, name))
		return true;
	lookup_walk(&applying->names, lookup_hash_text(LOOKUP_START, name), &walk);
	while (lookup_next(&walk, &at)) {
		const struct override *entry = &applying->next.list[at];

		if (same_text(config_tag_name(entry->tag), name) &&
		    !addr_equal(&entry->address, &backend->address))
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

	if (config_index_check_backend(&applying->index, applying->service, &backend->address,
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
	if (config_index_backend(&applying->index, applying->service, &backend->address) ||
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
	note_name(applying, entry);
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

/* Takes out what is not named any more. 0 or -ENOMEM. */
static int prepare(struct applying *applying)
{
	const struct overrides *next = &applying->next;
	unsigned count = 0;

	if (lookup_reserve(&applying->addresses, applying->count))
		return -ENOMEM;
	for (unsigned i = 0; i < applying->count; i++)
		lookup_add(&applying->addresses,
			   lookup_hash_addr(LOOKUP_START, &applying->list[i].address), i);
	overrides_filter(&applying->next, is_still_named, applying);
	for (unsigned i = 0; i < next->count; i++)
		count += is_added(applying, &next->list[i]);
	if (lookup_reserve(&applying->names, count + applying->count))
		return -ENOMEM;
	for (unsigned i = 0; i < next->count; i++)
		if (is_added(applying, &next->list[i]))
			note_name(applying, &next->list[i]);
	return config_index_make(applying->state->config, &applying->index);
}

static void applying_done(struct applying *applying)
{
	overrides_done(&applying->next);
	config_index_done(&applying->index);
	lookup_done(&applying->addresses);
	lookup_done(&applying->names);
}

static int apply_all(struct applying *applying, struct error *err)
{
	struct state *state = applying->state;
	int rc = prepare(applying);

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
	applying_done(&applying);
	*ret = applying.done;
	return rc;
}
