/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the log and the events say of backends and services that changed. The first of a second have
 * a line each; the others are counted, and the counts are logged at the end of the second: ten
 * thousand backends that are lost at once are not ten thousand lines. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/plural.h"
#include "internal.h"

#define SECOND_MS      1000
#define PAUSE_BACKENDS 64 /* between two pauses: a line costs some µs */

_Static_assert(REPORT_CONDITIONS == BACKEND_DOWN + 1, "a counter for each condition");
_Static_assert(REPORT_STATUSES == SERVICE_DOWN + 1, "a counter for each status");

/* ---- the budget ---- */

bool report_may_name(struct report *report, uint64_t now_ms)
{
	if (!report->second_ms || (int64_t)(now_ms - report->second_ms) >= SECOND_MS) {
		report->second_ms = now_ms;
		report->named = 0;
	}
	if (report->named >= REPORT_NAMED)
		return false;
	report->named++;
	return true;
}

static bool may_name(struct state *state)
{
	return report_may_name(&state->report, clock_monotonic_ms());
}

bool report_names(struct state *state)
{
	if (may_name(state))
		return true;
	state->report.others++;
	return false;
}

/* ---- lines ---- */

void report_backend(const struct backend *backend, enum event_kind kind, int level, const char *why,
		    const char *format, ...)
{
	char label[SERVICE_LABEL], address[ADDR_TEXT], named[CONFIG_BACKEND_LABEL], text[512];
	const struct event_about about = {.service = backend->service->config->name,
					  .backend = addr_format(&backend->address, address),
					  .why = why,
					  /* what else happens to a backend, lbd has found */
					  .measured = kind != EVENT_backend_draining};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	events_log(kind, level, &about, "%s: backend %s%s", service_label(backend->service, label),
		   backend_label(backend, named), text);
}

static void name_backend(const struct backend *backend, enum backend_condition before)
{
	char time[DURATION_TEXT];

	switch (backend->condition) {
	case BACKEND_UP:
		report_backend(backend, EVENT_backend_up, LOG_INFO, "", " %s",
			       before == BACKEND_STARTING ? "up, slow start ended" : "up");
		break;
	case BACKEND_STARTING:
		report_backend(backend, EVENT_backend_starting, LOG_INFO, "",
			       " starting: slow start over %s",
			       duration_exact(backend->service->config->slow_start_ms, time));
		break;
	case BACKEND_DRAINING:
		report_backend(backend, EVENT_backend_draining, LOG_INFO, "", " draining%s",
			       backend->removed ? ", then removed" : "");
		break;
	case BACKEND_DRAINED:
		report_backend(backend, EVENT_backend_drained, LOG_INFO, "",
			       " drained: no flow depends on it any more");
		break;
	case BACKEND_CHECKING:
		report_backend(backend, EVENT_backend_checking, LOG_INFO, "",
			       " checking: waits for its first check");
		break;
	case BACKEND_DAMPED:
		report_backend(backend, EVENT_backend_damped, LOG_WARNING,
			       remark_text(backend->why), " damped: %s", remark_text(backend->why));
		break;
	case BACKEND_MAINTENANCE:
		report_backend(backend, EVENT_backend_maintenance, LOG_INFO,
			       remark_text(backend->why), " maintenance: %s",
			       remark_text(backend->why));
		break;
	case BACKEND_NO_NEXT_HOP:
	case BACKEND_DOWN:
		report_backend(backend,
			       backend->condition == BACKEND_DOWN ? EVENT_backend_down
								  : EVENT_backend_no_next_hop,
			       LOG_WARNING, remark_text(backend->why), " %s: %s",
			       backend_condition_name(backend->condition),
			       remark_text(backend->why));
		break;
	}
}

static void backend_report(struct state *state, struct backend *backend)
{
	enum backend_condition before = backend->reported;

	if (backend->condition == before)
		return;
	backend->reported = backend->condition;
	if (log_debugs())
		debug_condition(backend, before);
	if (may_name(state))
		name_backend(backend, before);
	else
		state->report.backends[backend->condition]++;
}

static unsigned count_frozen(const struct service *service)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++)
		count += service->backends[i]->frozen;
	return count;
}

static const char *const refusal_done[] = {
    [LB_REFUSE_REJECT] = "rejected",
    [LB_REFUSE_DROP] = "dropped",
    [LB_REFUSE_PASS] = "passed to the kernel",
};

static void report_service(const struct service *service, enum event_kind kind, int level,
			   const char *format, ...) __attribute__((format(printf, 4, 5)));

static void report_service(const struct service *service, enum event_kind kind, int level,
			   const char *format, ...)
{
	char label[SERVICE_LABEL], vip[ADDR_TEXT], text[512];
	const struct event_about about = {.service = service->config->name,
					  .vip = addr_format(&service->config->vip, vip),
					  .why = service_why(service),
					  .measured = true};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	events_log(kind, level, &about, "%s: %s", service_label(service, label), text);
}

static void name_service(const struct service *service)
{
	const struct health_spec *health = &service->config->health;
	char time[DURATION_TEXT];

	switch (service->status) {
	case SERVICE_UP:
	case SERVICE_DEGRADED:
		report_service(service, EVENT_service_up, LOG_INFO, "%u of %u backend%s up",
			       service->up, service->backends_count,
			       plural_s(service->backends_count));
		break;
	case SERVICE_PANIC:
		report_service(service, EVENT_service_panic, LOG_WARNING,
			       "panic: fewer than %u %% of the backends are up: all are used",
			       service->config->panic_threshold);
		break;
	case SERVICE_BACKUP:
		report_service(service, EVENT_service_backup, LOG_WARNING,
			       "only backups are up: they take the traffic");
		break;
	case SERVICE_BLIND:
		report_service(
		    service, EVENT_service_blind, LOG_WARNING,
		    "blind: none of %u backend%s has answered within %s; the ring is frozen "
		    "until all have new check results",
		    count_frozen(service), plural_s(count_frozen(service)),
		    duration_exact(health->interval_ms + health->timeout_ms, time));
		break;
	case SERVICE_DOWN:
		report_service(service, EVENT_service_down, LOG_WARNING,
			       "down: %s: packets to it are %s", service_why(service),
			       refusal_done[service->config->no_backend]);
		break;
	}
}

static bool is_well(enum service_status status)
{
	return status == SERVICE_UP || status == SERVICE_DEGRADED;
}

static void service_report(struct state *state, struct service *service)
{
	enum service_status before = service->reported;

	if (log_debugs() && (service->status != before || !service->open_logged))
		debug_status(service, before);
	service->open_logged = service->opened;
	service->reported = service->status;
	if (service->status == before || (is_well(service->status) && is_well(before)))
		return;
	if (may_name(state))
		name_service(service);
	else
		state->report.services[service->status]++;
}

void report_world(struct state *state)
{
	const struct world *world = &state->world;

	for (unsigned i = 0; i < world->count; i++) {
		struct service *service = world->services[i];

		for (unsigned j = 0; j < service->backends_count; j++) {
			if (j % PAUSE_BACKENDS == PAUSE_BACKENDS - 1)
				task_pause();
			backend_report(state, service->backends[j]);
		}
		task_pause();
		service_report(state, service);
	}
}

/* ---- the others ---- */

/* "3 up, 9950 down"; "" if there are none. */
static void append_count(char text[256], unsigned count, const char *what)
{
	size_t length = strlen(text);

	if (count)
		snprintf(text + length, 256 - length, "%s%u %s", length ? ", " : "", count, what);
}

static void report_backends(const struct report *report)
{
	struct event_about about = {.measured = true};
	char text[256] = "";

	for (unsigned i = 0; i < REPORT_CONDITIONS; i++) {
		append_count(text, report->backends[i], backend_condition_name(i));
		about.count += report->backends[i];
	}
	if (*text)
		events_log(EVENT_backends_changed,
			   report->backends[BACKEND_DOWN] || report->backends[BACKEND_NO_NEXT_HOP]
			       ? LOG_WARNING
			       : LOG_INFO,
			   &about,
			   "more backends changed at the same time: %s; lbctl backends lists all",
			   text);
}

static void report_services(const struct report *report)
{
	unsigned up = report->services[SERVICE_UP] + report->services[SERVICE_DEGRADED];
	struct event_about about = {.count = up, .measured = true};
	char text[256] = "";
	bool worse = false;

	append_count(text, up, "up");
	for (unsigned i = 0; i < REPORT_STATUSES; i++) {
		if (is_well(i))
			continue;
		append_count(text, report->services[i], service_status_name(i));
		about.count += report->services[i];
		worse |= report->services[i];
	}
	if (*text)
		events_log(EVENT_services_changed, worse ? LOG_WARNING : LOG_INFO, &about,
			   "more services changed at the same time: %s; lbctl services lists all",
			   text);
}

void report_others(struct state *state)
{
	struct report *report = &state->report;

	report_backends(report);
	report_services(report);
	if (report->others)
		log_info("%u more line%s like those above left out", report->others,
			 plural_s(report->others));
	memset(report->backends, 0, sizeof(report->backends));
	memset(report->services, 0, sizeof(report->services));
	report->others = 0;
}
