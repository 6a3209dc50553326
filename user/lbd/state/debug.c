/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The lines of --debug about state decisions, commits and sweeps. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/plural.h"

/* ---- decisions ---- */

/* "up", "down (connect: refused)", "unknown", "not checked" */
static const char *health_text(const struct backend *backend, char text[320])
{
	static const char *const names[] = {
	    [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up", [HEALTH_DOWN] = "down"};
	bool why = backend->health != HEALTH_UP && *remark_text(backend->health_why);

	if (!service_is_checked(backend->service->config))
		return "not checked";
	snprintf(text, 320, "%s%s%s%s", names[backend->health], why ? " (" : "",
		 remark_text(why ? backend->health_why : NULL), why ? ")" : "");
	return text;
}

static const char *hop_text(const struct backend *backend, char text[320])
{
	if (!backend->hop_known)
		return "unknown";
	if (backend->has_hop)
		return "found";
	snprintf(text, 320, "none (%s)", remark_text(backend->hop_why));
	return text;
}

/* What else the condition depends on, each with a comma before it. */
static const char *flags_text(const struct backend *backend, char text[96])
{
	snprintf(text, 96, "%s%s%s%s%s%s", backend->drain ? ", drain requested" : "",
		 backend->removed ? ", removed" : "", backend->drained ? ", no flow left" : "",
		 backend->forced ? ", deadline passed" : "",
		 backend->ramp_start_ms ? ", slow start" : "", backend->frozen ? ", frozen" : "");
	return text;
}

void debug_condition(const struct backend *backend, enum backend_condition before)
{
	char label[SERVICE_LABEL], address[CONFIG_BACKEND_LABEL], health[320], hop[320], flags[96];

	log_debug("%s: backend %s: %s -> %s: health %s, next hop %s%s",
		  service_label(backend->service, label), backend_label(backend, address),
		  backend_condition_name(before), backend_condition_name(backend->condition),
		  health_text(backend, health), hop_text(backend, hop), flags_text(backend, flags));
}

static void debug_opened(const struct service *service, const char *label)
{
	unsigned waiting = 0;

	for (unsigned i = 0; i < service->backends_count; i++)
		waiting += service->backends[i]->condition == BACKEND_CHECKING;
	if (waiting)
		log_debug("%s: opened at its deadline: without a result: %u of %u backend%s", label,
			  waiting, service->backends_count, plural_s(service->backends_count));
	else
		log_debug("%s: opened: all backends have results: %u", label,
			  service->backends_count);
}

void debug_status(const struct service *service, enum service_status before)
{
	char label[SERVICE_LABEL];

	service_label(service, label);
	if (service->opened && !service->open_logged)
		debug_opened(service, label);
	if (service->status != before)
		log_debug("%s: %s -> %s: %u of %u backend%s up", label, service_status_name(before),
			  service_status_name(service->status), service->up,
			  service->backends_count, plural_s(service->backends_count));
}

/* ---- commits ---- */

struct changes {
	unsigned services_added, services_removed, backends_added, backends_removed;
	unsigned weights, usable, hops, latencies;
	unsigned in_transition; /* slots of the services that changed */
};

static unsigned slots_in_transition(const struct state *state, const struct service *service)
{
	struct dp_service_stats stats = {0};
	struct dp_service key;

	service_key(service, &key);
	dataplane_service_stats(state->options.dataplane, &key, &stats);
	return stats.slots_in_transition;
}

static void log_weight(const struct backend *backend, const struct dp_backend *now)
{
	const struct dp_backend *sent = &backend->sent;
	char label[SERVICE_LABEL], address[CONFIG_BACKEND_LABEL];

	log_debug("%s: backend %s: weight in force %u -> %u, configured %u%s",
		  service_label(backend->service, label), backend_label(backend, address),
		  sent->weight, now->weight, backend->weight, now->usable ? "" : ", not usable");
}

/* Counts how the backend differs from the last commit; true if it does. */
static bool compare_backend(const struct backend *backend, const struct dp_backend *now,
			    struct changes *changes)
{
	const struct dp_backend *sent = &backend->sent;
	bool added = !sent->address.family, weight = sent->weight != now->weight;
	bool usable = sent->usable != now->usable, latency = sent->latency_us != now->latency_us;
	bool hop = now->usable && !next_hop_equal(&sent->hop, &now->hop);

	changes->backends_added += added;
	changes->weights += weight;
	changes->usable += usable;
	changes->hops += hop;
	changes->latencies += latency;
	if (weight)
		log_weight(backend, now);
	return added || weight || usable || hop || latency;
}

static void compare_service(const struct state *state, const struct service *service,
			    const struct dp_backend *backends, struct changes *changes)
{
	bool changed = !service->sent;

	changes->services_added += !service->sent;
	for (unsigned i = 0; i < service->backends_count; i++)
		changed |= compare_backend(service->backends[i], &backends[i], changes);
	if (changed)
		changes->in_transition += slots_in_transition(state, service);
}

static void append(char text[256], const char *what, unsigned count)
{
	size_t length = strlen(text);

	if (count)
		snprintf(text + length, 256 - length, "%s%s %u", length ? ", " : "", what, count);
}

static void log_commit(const struct changes *changes, unsigned services, unsigned backends,
		       uint64_t stores, uint64_t took_us)
{
	char text[256] = "", took[DURATION_TEXT];

	append(text, "services added", changes->services_added);
	append(text, "services removed", changes->services_removed);
	append(text, "backends added", changes->backends_added);
	append(text, "backends removed", changes->backends_removed);
	append(text, "weights", changes->weights);
	append(text, "usable flags", changes->usable);
	append(text, "next hops", changes->hops);
	append(text, "latencies", changes->latencies);
	append(text, "slots in transition there", changes->in_transition);
	log_debug(
	    "commit: services: %u, backends: %u; changed: %s; %" PRIu64 " words written in %s",
	    services, backends, *text ? text : "nothing", stores, duration_measured(took_us, took));
}

void debug_commit(const struct state *state, const struct world *world,
		  const struct dp_backend *backends, uint64_t stores, uint64_t took_us,
		  const struct error *err)
{
	struct changes changes = {0};
	char took[DURATION_TEXT];
	unsigned count = 0;

	if (err) {
		log_debug("commit: failed after %s: %s", duration_measured(took_us, took),
			  err->text);
		return;
	}
	for (unsigned i = 0; i < world->count; i++) {
		compare_service(state, world->services[i], backends + count, &changes);
		count += world->services[i]->backends_count;
	}
	changes.services_removed = state->services_sent + changes.services_added - world->count;
	changes.backends_removed = state->backends_sent + changes.backends_added - count;
	log_commit(&changes, world->count, count, stores, took_us);
}

/* ---- sweeps ---- */

void debug_sweep(struct state *state, uint64_t start_us, bool round_ended)
{
	struct sweep_round *round = &state->round;
	uint64_t now = clock_monotonic_us();
	char took[DURATION_TEXT], busy[DURATION_TEXT];
	struct dp_memory memory;
	unsigned in_transition = 0;

	if (!round->steps++)
		round->start_us = start_us;
	round->busy_us += now - start_us;
	if (!round_ended)
		return;
	for (unsigned i = 0; i < state->world.count; i++)
		in_transition += slots_in_transition(state, state->world.services[i]);
	dataplane_memory(state->options.dataplane, &memory);
	log_debug("sweep: round of %u steps in %s (%s of work): %" PRIu64
		  " flow entries live, %" PRIu64 " of %" PRIu64
		  " places in use; slots in transition: %u, a round ago %u",
		  round->steps, duration_measured(now - round->start_us, took),
		  duration_measured(round->busy_us, busy), memory.flow_entries, memory.flow_places,
		  memory.flow_capacity, in_transition, round->in_transition);
	*round = (struct sweep_round){.in_transition = in_transition};
}
