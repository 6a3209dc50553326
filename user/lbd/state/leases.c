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
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"

#define SAVE_EVERY_MS 5000
#define LATE_MS       3000 /* from one tick to the next: lbd was stopped in between */

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

bool leases_renew(struct state *state, const char *service, const struct addr *address,
		  const struct state_put *put)
{
	struct override *entry = overrides_find(&state->overrides, service, address);

	if (!entry || entry->origin != ORIGIN_lease || entry->weight != put->weight ||
	    entry->ttl_ms != put->ttl_ms || !config_tag_equal(entry->tag, put->tag))
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
		log_warning("%s: %u leases of backends ended while lbd did not run: they begin "
			    "again, each with its whole ttl",
			    state->overrides_path, again);
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

/* lbd did not run: nor could it take renewals. */
static void extend(struct state *state, uint64_t now, uint64_t by_ms)
{
	log_warning("lbd did not run for %" PRIu64 " ms: leases of backends last that much longer",
		    by_ms);
	for (unsigned i = 0; i < state->overrides.count; i++) {
		struct override *entry = &state->overrides.list[i];

		if (override_has_end(entry) && !entry->lapsed)
			set_end(state, entry,
				earlier(entry->until_ms + by_ms, now + entry->ttl_ms));
	}
}

static bool has_ended(const struct override *entry, uint64_t now)
{
	return override_has_end(entry) && entry->until_ms <= now;
}

/* Has the service another backend than that of the entry? */
static bool has_others(const struct state *state, const struct overrides *overrides,
		       const struct override *entry)
{
	const struct config_service *service = config_find_service(state->config, entry->service);

	for (unsigned i = 0; service && i < service->backends_count; i++) {
		const struct override *change =
		    overrides_find(overrides, entry->service, &service->backends[i].address);

		if (!change || !change->removed)
			return true;
	}
	for (unsigned i = 0; i < overrides->count; i++)
		if (&overrides->list[i] != entry && overrides->list[i].added &&
		    !strcmp(overrides->list[i].service, entry->service))
			return true;
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

/* Takes those that have ended out of next, each with a line. How many. */
static unsigned take_out(struct state *state, struct overrides *next, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = next->count; i-- > 0;) {
		struct override *entry = &next->list[i];

		if (!has_ended(entry, now))
			continue;
		if (!has_others(state, next, entry)) {
			keep_last(state, entry);
			continue;
		}
		overrides_drop(next, entry);
		count++;
	}
	return count;
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
	else if (take_out(state, &next, now))
		rc = state_switch(state, state->config, &next, &err);
	if (rc)
		log_error("backends whose leases have ended are not removed: %s; retrying each "
			  "second",
			  err.text);
	else
		report_all(state, &before, now);
	overrides_done(&before);
	overrides_done(&next);
}

void leases_tick(struct state *state)
{
	uint64_t now = clock_monotonic_ms(), gap = now - state->leases_ms;
	bool ended = false, any = false;

	for (unsigned i = 0; i < state->overrides.count; i++)
		any |= override_has_end(&state->overrides.list[i]);
	if (any && state->leases_ms && gap > LATE_MS)
		extend(state, now, gap);
	state->leases_ms = now;
	for (unsigned i = 0; i < state->overrides.count; i++)
		ended |= has_ended(&state->overrides.list[i], now);
	if (ended && !state->first)
		remove_ended(state, now);
	if (state->leases_stale && now - state->leases_saved_ms >= SAVE_EVERY_MS)
		save(state);
}
