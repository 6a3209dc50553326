/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl health: what the health checks of backends found, how long they took, and the availability
 * of their services. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/list/list.h"

static const struct list_column columns[] = {
    {{.title = "SERVICE", .shrinks = true}, NULL},
    {{.title = "BACKEND", .shrinks = true}, NULL},
    {{.title = "CONDITION"}, NULL},
    {{.title = "TO", .spare = 7}, NULL},
    {{.title = "SINCE", .right = true}, NULL},
    {{.title = "P50", .right = true, .spare = 3}, NULL},
    {{.title = "P95", .right = true, .spare = 1}, NULL},
    {{.title = "P99", .right = true, .spare = 4}, NULL},
    {{.title = "PASSED", .right = true, .spare = 5}, NULL},
    {{.title = "FAILED", .right = true, .spare = 2}, NULL},
    {{.title = "LOST", .right = true, .spare = 6}, NULL},
    {{0}, NULL},
};

static void add_backend(struct table *table, const json_t *backend, const struct list_style *style)
{
	static const char *const counts[] = {"passed", "failed", "losses"};
	const json_t *checks = json_object_get(backend, "checks");
	const char *condition = json_text(backend, "condition");
	char text[FORMAT_TEXT], name[SHOW_BACKEND];

	table_add(table, TONE_PLAIN, json_text(backend, "service"));
	table_add(table, TONE_PLAIN, show_backend(backend, name));
	table_add(table, format_tone(condition), condition);
	table_add(table, TONE_PLAIN, *json_text(checks, "to") ? json_text(checks, "to") : "-");
	table_add(table, TONE_PLAIN, format_age(json_number(backend, "since_s"), text));
	list_add_quantiles(table, checks);
	for (unsigned i = 0; i < 3; i++)
		table_add(table, TONE_PLAIN,
			  list_count(style, json_number(checks, counts[i]), text));
}

/* Of one that is not of the config: who is asked about it is not who writes that. */
static const char *origin_words(const json_t *backend)
{
	static const struct {
		const char *from, *words;
	} origins[] = {{"runtime", " (added by hand)"},
		       {"lease", " (registered)"},
		       {"source", " (from backends-from)"}};

	for (unsigned i = 0; i < sizeof(origins) / sizeof(origins[0]); i++)
		if (!strcmp(json_text(backend, "from"), origins[i].from))
			return origins[i].words;
	return "";
}

/* A sentence about a backend, after its name. shown: of that kind; an empty line is before the
 * first one. */
__attribute__((format(printf, 4, 5))) static void put_sentence(const struct list_style *style,
							       const json_t *backend, size_t *shown,
							       const char *format, ...)
{
	char text[768];
	size_t used;
	va_list args;

	show_backend_name(backend, text, 256);
	used = strlen(text);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	fputs((*shown)++ ? "" : "\n", style->out);
	text_wrap(style->out, text, 0, 4, style->columns);
}

/* "web 10.0.0.11 (registered): a check failed 2m ago: connect: timed out" */
static void print_failures(const json_t *backends, const struct list_style *style)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const json_t *failure =
		    json_object_get(json_object_get(backend, "checks"), "last_failure");
		char ago[FORMAT_TEXT];

		if (json_is_object(failure))
			put_sentence(style, backend, &shown, "%s: a check failed %s ago: %s",
				     origin_words(backend),
				     format_duration(json_number(failure, "ago_s"), ago),
				     json_text(failure, "why"));
	}
}

/* "web 10.0.0.11: checked at its own address: port 8080 is not that of the service, 80"; the same
 * reason of those that follow in the same service is not repeated. */
static void print_aims(const json_t *backends, const struct list_style *style)
{
	const char *service = "", *before = "";
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const char *why = json_text(json_object_get(backend, "checks"), "to_why");
		bool same = !strcmp(json_text(backend, "service"), service) && !strcmp(why, before);

		service = json_text(backend, "service");
		before = why;
		if (*why && !same)
			put_sentence(style, backend, &shown, ": checked at its own address: %s",
				     why);
	}
}

/* "web 10.0.0.12: packets of 1480 bytes to the VIP are lost, short ones arrive: that does not
 * count: ...", of those that are up in spite of it. */
static void print_losses(const json_t *backends, const struct list_style *style)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const json_t *packets =
		    json_object_get(json_object_get(backend, "checks"), "long_packets");
		const char *why = json_text(packets, "why");

		if (!strcmp(json_text(packets, "state"), "lost") && *why)
			put_sentence(style, backend, &shown,
				     ": packets of %" PRIu64
				     " bytes to the VIP are lost, short ones arrive: %s",
				     json_number(packets, "length"), why);
	}
}

static bool has_service(const json_t *backends, const char *name)
{
	const json_t *backend;
	size_t i;

	json_array_foreach (backends, i, backend)
		if (!strcmp(json_text(backend, "service"), name))
			return true;
	return false;
}

/* "web: usable 100% of the last hour, 99.98% of the last day", as far as it is known. */
static void print_shares(const json_t *service, const struct list_style *style)
{
	static const struct {
		const char *key, *words;
	} windows[] = {{"1h", "hour"}, {"24h", "day"}, {"30d", "30 days"}};
	const json_t *shares = json_object_get(service, "availability");
	const char *before = ": usable ";

	text_put(style->out, json_text(service, "name"));
	for (unsigned i = 0; i < 3; i++) {
		const json_t *share = json_object_get(shares, windows[i].key);
		char text[FORMAT_TEXT];

		if (!json_is_number(share))
			continue;
		fprintf(style->out, "%s%s of the last %s", before,
			format_share(json_number_value(share), text), windows[i].words);
		before = ", ";
	}
	fputs(*before == ':' ? ": nothing is known of its availability\n" : "\n", style->out);
}

static void print_availability(const json_t *backends, const struct list_style *style)
{
	const json_t *service;
	size_t i, shown = 0;

	json_array_foreach (json_object_get(style->answer, "services"), i, service) {
		if (!has_service(backends, json_text(service, "name")))
			continue;
		fputs(shown++ ? "" : "\n", style->out);
		print_shares(service, style);
	}
}

static int print_health(const json_t *backends, const struct list_style *style)
{
	int rc = list_table(backends, columns, add_backend, style);

	if (rc)
		return rc;
	print_aims(backends, style);
	print_losses(backends, style);
	print_failures(backends, style);
	print_availability(backends, style);
	return 0;
}

/* The backends, and the services for their availability. */
static int get_health(struct call *call, json_t **ret, struct error *err)
{
	json_t *answer = NULL, *services = NULL;
	int rc = list_get_backends(call, LIST_BACKEND_FIELDS ",since_s,from,checks", &answer, err);

	if (!rc)
		rc = call_get(call, "/v1/services", &services, err);
	if (!rc && json_object_set(answer, "services", json_object_get(services, "services")))
		rc = error_set(err, -ENOMEM, "out of memory");
	json_decref(services);
	if (rc)
		json_decref(answer);
	else
		*ret = answer;
	return rc;
}

static int run_health(struct call *call, struct error *err)
{
	return list_run_backends(call, get_health, print_health, err);
}

REGISTER(verb, health) = {
    .name = "health",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show what health checks found, how long they took, and availability",
    .details =
	"P50, P95 and P99 are of the checks that passed in the last 5 to 10 minutes, off by at most "
	"an eighth. PASSED, FAILED and LOST (times that checks took the backend down) count since "
	"lbd's start. TO is where the checks go: to the VIP, in the tunnel, as clients' packets do, or "
	"to the backend's own address (`health: to`). Below the table: why they go to the backend "
	"where the config does not say so, whose long packets to the VIP are lost though that does not "
	"count yet, the last check of each backend that failed, and the share of "
	"the time in which the services had a usable backend, as far as lbd knows. What changed "
	"when: lbctl events.\n\n"
	"On a terminal too narrow for all columns some are left out; --json has all.",
    .arguments = {LIST_BACKENDS_ARGUMENT},
    .options = {LIST_BACKENDS_OPTIONS},
    .examples = {{"health web", "the backends of service web"},
		 {"health --down --watch", "what is down and why, every two seconds"}},
    .run = run_health,
};
