/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Leases of backends that register themselves: their ends, over a restart too.
 *
 * An end is a time of CLOCK_MONOTONIC, as is everything in the file of run-time changes, which is
 * valid until the next boot: no step of the wall clock ends a lease. A renewal is only noted in
 * memory, and the file follows within SAVE_EVERY_MS; so a lease that is read from it lasts that
 * much longer, at most its ttl from the start. The time in which lbd could take no renewal does not
 * count: not while it was stopped, and a lease whose end has passed meanwhile begins again. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/plural.h"

#define SAVE_EVERY_MS 5000
#define LATE_MS       3000 /* from one tick to the next: lbd was stopped in between */
#define BEHIND_MS     1500 /* the same: what it did took long, and renewals waited */
#define TICK_MS       1000
#define WARN_EVERY_MS 60000

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The backend of the entry shows the end as well. */
static void set_end(struct state *state, struct override *entry, uint64_t until_ms)
{
	const struct service *service = state_find_service(state, entry->service);
	struct backend *backend = service ? service_find_backend(service, &entry->address) : NULL;

	entry->until_ms = until_ms;
	if (backend)
		backend->until_ms = until_ms;
}

static bool is_as_put(const struct override *entry, const struct state_put *put)
{
	return entry->weight == put->weight && entry->priority == put->priority &&
	       entry->backup == put->backup && entry->port == put->port &&
	       config_target_equal(&entry->target, &put->target) &&
	       config_tag_equal(entry->tag, put->tag);
}

bool leases_renew(struct state *state, const char *service, const struct addr *address,
		  const struct state_put *put)
{
	struct override *entry = overrides_find(&state->overrides, service, address);

	if (!entry || entry->origin != ORIGIN_lease || entry->ttl_ms != put->ttl_ms ||
	    !is_as_put(entry, put))
		return false;
	entry->lapsed = false;
	if (!put->ttl_ms)
		return true;
	set_end(state, entry, clock_monotonic_ms() + put->ttl_ms);
	state->leases_stale = true;
	return true;
}

/* ---- over a restart ---- */

void leases_resume(struct state *state)
{
	uint64_t now = clock_monotonic_ms();
	unsigned again = 0;

	for (unsigned i = 0; i < state->overrides.count; i++) {
		struct override *entry = &state->overrides.list[i];
		bool passed = entry->until_ms + SAVE_EVERY_MS <= now;

		if (!override_has_end(entry))
			continue;
		again += passed;
		entry->until_ms =
		    earlier(now + entry->ttl_ms,
			    passed ? now + entry->ttl_ms : entry->until_ms + SAVE_EVERY_MS);
	}
	state->leases_ms = now;
	if (again)
		log_warning("%s: %u lease%s of backends ended while lbd did not run: %s "
			    "again, with the whole ttl",
			    state->overrides_path, again, plural_s(again),
			    plural(again, "it begins", "they begin"));
}

static void save(struct state *state)
{
	struct error err;

	if (!kept_write_leases(state, &err))
		return;
	if (!state->leases_unsaved)
		log_error("%s: ends of leases are not up to date there: %s (logged once)",
			  state->overrides_path, err.text);
	state->leases_unsaved = true;
	state->leases_saved_ms = clock_monotonic_ms(); /* not each second */
}

void leases_stop(struct state *state)
{
	if (state->leases_stale)
		save(state);
}

/* ---- each second ---- */

/* Backends show the ends that the entries have. */
static void show_ends(struct state *state)
{
	for (unsigned i = 0; i < state->world.count; i++) {
		const struct service *service = state->world.services[i];

		for (unsigned j = 0; j < service->backends_count; j++) {
			struct backend *backend = service->backends[j];
			const struct override *entry =
			    backend->until_ms
				? overrides_find(&state->overrides, service->config->name,
						 &backend->address)
				: NULL;

			if (entry && override_has_end(entry))
				backend->until_ms = entry->until_ms;
		}
	}
}

/* lbd did not run: nor could it take renewals. */
static void extend(struct state *state, uint64_t now, uint64_t by_ms)
{
	if (by_ms > LATE_MS)
		log_warning("lbd did not run for %" PRIu64
			    " ms: leases of backends last that much longer",
			    by_ms);
	for (unsigned i = 0; i < state->overrides.count; i++) {
		struct override *entry = &state->overrides.list[i];

		if (override_has_end(entry) && !entry->lapsed)
			entry->until_ms = earlier(entry->until_ms + by_ms, now + entry->ttl_ms);
	}
	state->leases_stale = true;
	show_ends(state);
}

static bool has_ended(const struct override *entry, uint64_t now)
{
	return override_has_end(entry) && entry->until_ms <= now;
}

/* Has the service a backend of the file that was not removed? */
static bool has_of_file(const struct config_index *index, const struct overrides *overrides,
			const char *name)
{
	const struct config_service *service = config_index_name(index, name);

	for (unsigned i = 0; service && i < service->backends_count; i++) {
		const struct override *change =
		    overrides_find(overrides, name, &service->backends[i].address);

		if (!change || !change->removed)
			return true;
	}
	return false;
}

/* entry: of the next list; the present one may stay, or be replaced. */
static void keep_last(struct state *state, struct override *entry)
{
	struct override *present =
	    overrides_find(&state->overrides, entry->service, &entry->address);
	char backend[CONFIG_BACKEND_LABEL], address[ADDR_TEXT];

	if (present->lapsed)
		return;
	present->lapsed = entry->lapsed = true;
	config_backend_label(entry->tag, &entry->address, backend);
	events_log(EVENT_backend_lapsed, LOG_WARNING,
		   &(struct event_about){.service = entry->service,
					 .backend = addr_format(&entry->address, address),
					 .why = "the last backend stays",
					 .measured = true},
		   "service %s: backend %s: its lease has ended, but it is the last backend of the "
		   "service: it stays until there is another",
		   entry->service, backend);
}

/* Backends whose leases have ended, and that go. */
struct ending {
	struct state *state;
	struct overrides *next;
	uint64_t now;
	struct config_index index;
	struct overrides_added added;
	bool *gone; /* of each entry of next */
	unsigned count;
};

/* Those of a service; list: all that were added to it. If no other is left, the first stays. */
static void end_of_service(struct ending *ending, const struct override *const *list,
			   unsigned count)
{
	const struct override *entries = ending->next->list;
	unsigned ended = 0;
	bool others;

	for (unsigned i = 0; i < count; i++)
		ended += has_ended(list[i], ending->now);
	if (!ended)
		return;
	others = ended < count || has_of_file(&ending->index, ending->next, list[0]->service);
	if (!others)
		keep_last(ending->state, (struct override *)&entries[list[0] - entries]);
	for (unsigned i = others ? 0 : 1; i < count; i++)
		if (has_ended(list[i], ending->now)) {
			ending->gone[list[i] - entries] = true;
			ending->count++;
		}
}

static bool is_not_gone(void *arg, const struct override *entry)
{
	const struct ending *ending = arg;

	return !ending->gone[entry - ending->next->list];
}

static void end_all(struct ending *ending)
{
	const struct override *const *list = ending->added.list;
	unsigned count;

	for (unsigned i = 0; i < ending->added.count; i += count) {
		count = 1;
		while (i + count < ending->added.count &&
		       !strcmp(list[i]->service, list[i + count]->service))
			count++;
		end_of_service(ending, &list[i], count);
	}
	if (ending->count)
		overrides_filter(ending->next, is_not_gone, ending);
}

/* Takes those that have ended out of next. How many, or -ENOMEM. */
static int take_out(struct state *state, struct overrides *next, uint64_t now)
{
	struct ending ending = {.state = state, .next = next, .now = now};
	int rc = 0;

	ending.gone = calloc(next->count + 1, sizeof(*ending.gone));
	if (!ending.gone || config_index_make(state->config, &ending.index) ||
	    overrides_list_added(next, &ending.added))
		rc = -ENOMEM;
	else
		end_all(&ending);
	config_index_done(&ending.index);
	free(ending.added.list);
	free(ending.gone);
	return rc ? rc : (int)ending.count;
}

static void report_lapsed(struct state *state, const struct override *entry)
{
	char backend[CONFIG_BACKEND_LABEL], address[ADDR_TEXT], ttl[DURATION_TEXT];

	if (!report_names(state))
		return;
	config_backend_label(entry->tag, &entry->address, backend);
	events_log(
	    EVENT_backend_lapsed, LOG_INFO,
	    &(struct event_about){.service = entry->service,
				  .backend = addr_format(&entry->address, address),
				  .why = "not renewed",
				  .measured = true},
	    "service %s: backend %s: its lease has ended, it was not renewed for %s: removed "
	    "once drained",
	    entry->service, backend, duration_exact(entry->ttl_ms, ttl));
}

/* before: as it was, which the switch has replaced. */
static void report_all(struct state *state, const struct overrides *before, uint64_t now)
{
	for (unsigned i = 0; i < before->count; i++) {
		const struct override *entry = &before->list[i];

		if (has_ended(entry, now) &&
		    !overrides_find(&state->overrides, entry->service, &entry->address))
			report_lapsed(state, entry);
	}
}

static void remove_ended(struct state *state, uint64_t now)
{
	struct overrides before = {0}, next = {0};
	struct error err = {"out of memory"};
	int rc = 0;

	if (overrides_copy(&state->overrides, &before) || overrides_copy(&before, &next))
		rc = -ENOMEM;
	else
		rc = take_out(state, &next, now);
	if (rc > 0)
		rc = state_switch(state, state->config, &next, &err);
	if (!rc)
		report_all(state, &before, now);
	else if (log_is_due(&state->leases_warned_ms, WARN_EVERY_MS))
		log_error("backends whose leases have ended are not removed: %s; retrying each "
			  "second",
			  err.text);
	state->leases_generation = rc ? 0 : state->generation;
	overrides_done(&before);
	overrides_done(&next);
}

void leases_tick(struct state *state)
{
	uint64_t now = clock_monotonic_ms(), gap = now - state->leases_ms;
	bool ended = false, any = false;

	for (unsigned i = 0; i < state->overrides.count; i++)
		any |= override_has_end(&state->overrides.list[i]);
	if (any && state->leases_ms && gap > BEHIND_MS)
		extend(state, now, gap > LATE_MS ? gap : gap - TICK_MS);
	state->leases_ms = now;
	for (unsigned i = 0; i < state->overrides.count; i++) {
		const struct override *entry = &state->overrides.list[i];

		/* the last one stays until another change brings it company */
		ended |= has_ended(entry, now) &&
			 !(entry->lapsed && state->leases_generation == state->generation);
	}
	if (ended && !state->first)
		remove_ended(state, now);
	if (state->leases_stale && now - state->leases_saved_ms >= SAVE_EVERY_MS)
		save(state);
}
