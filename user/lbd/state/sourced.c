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
#include "reals.h"

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

/* The lists of several services, as one change. */
struct batch {
	struct state *state;
	struct overrides next;
	struct config_index index; /* of the config */
	struct reals reals;        /* of the world, and those that come */
};

/* One of them. */
struct applying {
	struct batch *batch;
	const struct config_service *service;
	const struct source_backend *list;
	unsigned count;
	bool has_ports; /* source_change */
	bool *unfit;    /* of each of list */
	unsigned unfit_count;
	struct lookup addresses; /* of list */
	struct lookup names;     /* of added backends of the service, in next */
	struct source_applied done;
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
			   (uint32_t)(entry - applying->batch->next.list));
}

/* Has another backend of the service the name? */
static bool name_is_taken(const struct applying *applying, const struct source_backend *backend)
{
	const char *name = backend->name;
	struct lookup_walk walk;
	uint32_t at;

	if (config_index_named(&applying->batch->index, applying->service, name))
		return true;
	lookup_walk(&applying->names, lookup_hash_text(LOOKUP_START, name), &walk);
	while (lookup_next(&walk, &at)) {
		const struct override *entry = &applying->batch->next.list[at];

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
	if (!name && !backend->zone && !backend->labels_count) {
		*ret = NULL;
		return 0;
	}
	*ret = config_tag_new(name, backend->zone, backend->labels, backend->labels_count);
	return *ret ? 0 : -ENOMEM;
}

/* Its own, as the service can use it; 0: none. */
static uint16_t port_of(const struct applying *applying, const struct source_backend *backend)
{
	return config_why_no_port(applying->service) ? 0 : backend->port;
}

/* Somebody has written down a port that has no meaning; NULL: nobody has. */
static const char *why_no_port(const struct applying *applying,
			       const struct source_backend *backend)
{
	return backend->port && !applying->has_ports ? config_why_no_port(applying->service) : NULL;
}

/* May it be a backend of the service? The rules of the file. */
static bool is_fit(struct applying *applying, const struct source_backend *backend)
{
	uint16_t port = port_of(applying, backend);
	struct error why;

	if (why_no_port(applying, backend))
		ignore(applying, backend, "port: %u: %s", backend->port,
		       why_no_port(applying, backend));
	else if (config_index_check_backend(&applying->batch->index, applying->service,
					    &backend->address, port, &why))
		ignore(applying, backend, "%s", why.text);
	else if (addr_is_own(&backend->address))
		ignore(applying, backend,
		       "is an address of this host: expected the address of a backend");
	else if (reals_admit(&applying->batch->reals, applying->service, &backend->address,
			     config_real_port(applying->service, port), &why))
		ignore(applying, backend, "%s", why.text);
	else
		return true;
	return false;
}

/* Its entry; NULL: it has none. *ret_shadowed: it is as the file or a registration has it. */
static const struct override *find_entry(const struct applying *applying,
					 const struct overrides *overrides,
					 const struct addr *address, bool *ret_shadowed)
{
	const struct override *entry = overrides_find(overrides, applying->service->name, address);

	*ret_shadowed = config_index_backend(&applying->batch->index, applying->service, address) ||
			(entry && entry->origin == ORIGIN_lease);
	return entry;
}

/* Notes which of those that are new cannot be backends. */
static void look_for_unfit(struct applying *applying)
{
	for (unsigned i = 0; i < applying->count; i++) {
		const struct source_backend *backend = &applying->list[i];
		bool shadowed;
		const struct override *entry =
		    find_entry(applying, &applying->batch->next, &backend->address, &shadowed);

		task_pause();
		if (shadowed ||
		    (entry && entry->origin == ORIGIN_source &&
		     entry->port == port_of(applying, backend) && !why_no_port(applying, backend)))
			continue;
		applying->unfit[i] = !is_fit(applying, backend);
		applying->unfit_count += applying->unfit[i];
	}
}

static int apply_one(struct applying *applying, const struct source_backend *backend)
{
	struct overrides *next = &applying->batch->next;
	struct override *entry;
	struct config_tag *tag;
	bool is_new, shadowed;
	int rc;

	entry = (struct override *)find_entry(applying, next, &backend->address, &shadowed);
	if (shadowed) {
		applying->done.shadowed++;
		return 0;
	}
	is_new = !entry || entry->origin != ORIGIN_source;
	rc = make_tag(applying, backend, &tag);
	if (rc)
		return rc;
	entry = overrides_get(next, applying->service->name, &backend->address);
	if (!entry) {
		config_tag_unref(tag);
		return -ENOMEM;
	}
	applying->done.added += is_new;
	applying->done.changed +=
	    !is_new &&
	    (entry->weight != backend->weight || entry->priority != backend->priority ||
	     entry->port != port_of(applying, backend) || !config_tag_equal(entry->tag, tag));
	config_tag_unref(entry->tag);
	entry->tag = tag;
	entry->added = entry->has_weight = true;
	entry->weight = backend->weight;
	entry->priority = backend->priority;
	entry->backup = false;
	entry->port = port_of(applying, backend);
	entry->target = (struct config_target){0};
	entry->origin = ORIGIN_source;
	note_name(applying, entry);
	return 0;
}

static void report(struct state *state, const struct source_change *change)
{
	const struct source_applied *done = &change->done;
	const struct config_service *service = config_find_service(state->config, change->service);
	const struct config_from *from = &service->from;

	if (!report_names(state))
		return;
	events_log(EVENT_source_changed, LOG_INFO,
		   &(struct event_about){.service = service->name,
					 .count = done->added + done->removed + done->changed,
					 .measured = true},
		   "service %s: backends from %s %s: %u added, %u removed, %u changed; %u named",
		   service->name, config_from_kind(from), config_from_what(from), done->added,
		   done->removed, done->changed, change->count);
}

/* Takes out what is not named any more. 0 or -ENOMEM. Those that are named get their names as they
 * are applied: two may have changed theirs. */
static int prepare(struct applying *applying)
{
	const struct overrides *next = &applying->batch->next;
	unsigned count = 0;

	if (lookup_reserve(&applying->addresses, applying->count))
		return -ENOMEM;
	for (unsigned i = 0; i < applying->count; i++)
		lookup_add(&applying->addresses,
			   lookup_hash_addr(LOOKUP_START, &applying->list[i].address), i);
	overrides_filter(&applying->batch->next, is_still_named, applying);
	for (unsigned i = 0; i < next->count; i++)
		count += is_added(applying, &next->list[i]);
	if (lookup_reserve(&applying->names, count + applying->count))
		return -ENOMEM;
	for (unsigned i = 0; i < next->count; i++)
		if (is_added(applying, &next->list[i]) && !is_of_source(applying, &next->list[i]))
			note_name(applying, &next->list[i]);
	return 0;
}

static bool has_label(const struct config_tag *tag, const struct config_label *label)
{
	for (unsigned i = 0; i < tag->labels_count; i++)
		if (!strcmp(tag->labels[i].key, label->key))
			return !strcmp(tag->labels[i].value, label->value);
	return false;
}

static bool same_tag(const struct config_tag *tag, const struct source_backend *backend)
{
	bool same = same_text(config_tag_name(tag), backend->name) &&
		    same_text(config_tag_zone(tag), backend->zone) &&
		    (tag ? tag->labels_count : 0) == backend->labels_count;

	for (unsigned i = 0; i < backend->labels_count && same; i++)
		same = has_label(tag, &backend->labels[i]);
	return same;
}

/* Is it so already? What most sources say after a reload, and after a start. */
static bool is_in_force(struct applying *applying)
{
	const struct overrides *next = &applying->batch->next;
	unsigned shadowed_count = 0, of_source = 0;

	for (unsigned i = 0; i < applying->count; i++) {
		const struct source_backend *backend = &applying->list[i];
		bool shadowed;
		const struct override *entry =
		    find_entry(applying, next, &backend->address, &shadowed);

		shadowed_count += shadowed;
		if (!shadowed &&
		    (!entry || entry->origin != ORIGIN_source || entry->weight != backend->weight ||
		     entry->priority != backend->priority ||
		     entry->port != port_of(applying, backend) || why_no_port(applying, backend) ||
		     !same_tag(entry->tag, backend)))
			return false;
	}
	for (unsigned i = 0; i < next->count; i++)
		of_source += is_of_source(applying, &next->list[i]);
	if (of_source != applying->count - shadowed_count)
		return false;
	applying->done.shadowed = shadowed_count;
	return true;
}

static void applying_done(struct applying *applying)
{
	free(applying->unfit);
	lookup_done(&applying->addresses);
	lookup_done(&applying->names);
}

/* 0; -ENOMEM; -EINVAL: next has not changed. */
static int apply_list(struct applying *applying, struct error *err)
{
	int rc;

	applying->unfit = calloc(applying->count + 1, sizeof(*applying->unfit));
	if (!applying->unfit)
		return error_set(err, -ENOMEM, "out of memory");
	look_for_unfit(applying);
	if (applying->count - applying->unfit_count < applying->service->from.min)
		return error_set(err, -EINVAL,
				 "%u of the %u that it names cannot be backends, "
				 "first: %s",
				 applying->unfit_count, applying->count, applying->done.why);
	rc = prepare(applying);
	for (unsigned i = 0; i < applying->count && !rc; i++) {
		rc = applying->unfit[i] ? 0 : apply_one(applying, &applying->list[i]);
		task_pause();
	}
	return rc ? error_set(err, rc, "out of memory") : 0;
}

static int apply_change(struct batch *batch, struct source_change *change)
{
	struct applying applying = {.batch = batch,
				    .service = config_index_name(&batch->index, change->service),
				    .list = change->list,
				    .count = change->count,
				    .has_ports = change->has_ports};
	int rc = 0;

	if (!applying.service || !config_from_kind(&applying.service->from))
		return error_set(&change->err, -ENOENT, "service \"%s\" has no `backends-from`",
				 change->service);
	if (!is_in_force(&applying))
		rc = apply_list(&applying, &change->err);
	change->done = applying.done;
	applying_done(&applying);
	return rc;
}

static bool changes_any(const struct source_change *change)
{
	return !change->rc && (change->done.added || change->done.removed || change->done.changed);
}

static void fail_all(struct source_change *changes, unsigned count, int rc, const struct error *err)
{
	for (unsigned i = 0; i < count; i++)
		if (rc == -ENOMEM || changes_any(&changes[i])) {
			changes[i].rc = rc;
			changes[i].err = *err;
		}
}

static int apply_changes(struct batch *batch, struct source_change *changes, unsigned count,
			 struct error *err)
{
	struct state *state = batch->state;
	bool any = false;
	int rc = 0;

	for (unsigned i = 0; i < count && rc != -ENOMEM; i++) {
		rc = changes[i].rc = apply_change(batch, &changes[i]);
		any |= changes_any(&changes[i]);
		task_pause();
	}
	if (rc == -ENOMEM)
		return error_set(err, rc, "out of memory");
	rc = any ? state_switch(state, state->config, &batch->next, err) : 0;
	for (unsigned i = 0; i < count && !rc; i++)
		if (changes_any(&changes[i]))
			report(state, &changes[i]);
	return rc;
}

int state_source_apply(struct state *state, struct source_change *changes, unsigned count)
{
	struct batch batch = {.state = state};
	struct error err;
	int rc;

	if (overrides_copy(&state->overrides, &batch.next) ||
	    config_index_make(state->config, &batch.index) ||
	    reals_of_world(&state->world, &batch.reals))
		rc = error_set(&err, -ENOMEM, "out of memory");
	else
		rc = apply_changes(&batch, changes, count, &err);
	if (rc)
		fail_all(changes, count, rc, &err);
	overrides_done(&batch.next);
	config_index_done(&batch.index);
	reals_done(&batch.reals);
	return rc;
}
