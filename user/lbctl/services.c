/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl services: one row per service. */
#include <stdio.h>

#include "common/plural.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/list/list.h"
#include "lbctl/list/why.h"

/* clang-format off */
#define COLUMNS \
    {{.title = "SERVICE", .shrinks = true}, NULL}, \
    {{.title = "VIP", .shrinks = true, .spare = 1}, NULL}, \
    {{.title = "STATUS"}, NULL}, \
    {{.title = "UP", .right = true}, NULL}, \
    {{.title = "UP 24H", .right = true, .spare = 8}, NULL}, \
    {{.title = "ANSWERED 24H", .right = true, .spare = 10}, NULL}, \
    {{.title = "NEW/S", .right = true, .spare = 5}, NULL}, \
    {{.title = "P50", .right = true, .spare = 11}, NULL}, \
    {{.title = "P95", .right = true, .spare = 3}, NULL}, \
    {{.title = "P99", .right = true, .spare = 12}, NULL}, \
    {{.title = "FAIL %", .right = true, .spare = 2}, NULL}, \
    {{.title = "ALGORITHM", .spare = 7}, NULL}, \
    {{.title = "FORWARD", .spare = 14}, NULL}, \
    {{.title = "RING", .spare = 9}, NULL}, \
    {{.title = "FLOWS", .right = true, .spare = 4}, "flows"}, \
    {{.title = "PACKETS", .right = true, .spare = 13}, "packets"}, \
    {{.title = "BYTES", .right = true, .spare = 6}, "bytes"}
/* clang-format on */

static const struct list_column columns[] = {COLUMNS, {{0}, NULL}};
/* With services that are NAT. */
static const struct list_column both_ways[] = {
    COLUMNS,
    {{.title = "REPLY BYTES", .right = true, .spare = 6}, NULL},
    {{0}, NULL},
};
LIST_COLUMNS_FIT(both_ways);

/* Of the last day. */
static const char *day_text(const json_t *service, const char *share, char text[FORMAT_TEXT])
{
	const json_t *day = json_object_get(json_object_get(service, share), "24h");

	return format_share(json_is_number(day) ? json_number_value(day) : -1, text);
}

static void add_times(struct table *table, const json_t *service)
{
	const json_t *connects = json_object_get(service, "connects"),
		     *recent = json_object_get(connects, "recent"),
		     *rate = json_object_get(service, "flows_per_s");
	uint64_t sampled = json_number(recent, "sampled"), failed = json_number(recent, "failed");
	char text[FORMAT_TEXT];

	table_add(table, TONE_PLAIN,
		  json_is_number(rate) ? format_rate(json_number_value(rate), text) : "-");
	list_add_quantiles(table, connects);
	table_add(table, format_fail_tone(failed, sampled), format_percent(failed, sampled, text));
}

static void add_service(struct table *table, const json_t *service, const struct list_style *style)
{
	const char *status = json_text(service, "status");
	char text[FORMAT_TEXT], vip[96], up[48], ring[48];

	table_add(table, TONE_PLAIN, json_text(service, "name"));
	table_add(table, TONE_PLAIN,
		  format_endpoint(json_text(service, "vip"), json_number(service, "port"),
				  json_text(service, "protocol"), vip));
	table_add(table, format_tone(status), status);
	snprintf(up, sizeof(up), "%llu/%llu",
		 (unsigned long long)json_number(service, "backends_up"),
		 (unsigned long long)json_number(service, "backends"));
	table_add(table, TONE_PLAIN, up);
	table_add(table, TONE_PLAIN, day_text(service, "availability", text));
	table_add(table, TONE_PLAIN, day_text(service, "answered", text));
	add_times(table, service);
	table_add(table, TONE_PLAIN, json_text(service, "algorithm"));
	table_add(table, TONE_PLAIN, json_text(service, "forward"));
	snprintf(ring, sizeof(ring), "%llu %.8s", (unsigned long long)json_number(service, "slots"),
		 json_text(service, "ring_digest"));
	table_add(table, TONE_PLAIN, ring);
	table_add(table, TONE_PLAIN, list_count(style, json_number(service, "flows"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(service, "packets"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(service, "bytes"), text));
}

static void add_both_ways(struct table *table, const json_t *service,
			  const struct list_style *style)
{
	char text[FORMAT_TEXT];

	add_service(table, service, style);
	table_add(table, TONE_PLAIN,
		  show_is_nat(service)
		      ? list_count(style, json_number(service, "returned_bytes"), text)
		      : "-");
}

static void print_changing(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		uint64_t changing = json_number(service, "slots_in_transition");

		if (changing) {
			text_put(style->out, json_text(service, "name"));
			fprintf(style->out,
				": %llu of %llu slot%s in transition: older flows keep "
				"their previous backend\n",
				(unsigned long long)changing,
				(unsigned long long)json_number(service, "slots"),
				plural_s(json_number(service, "slots")));
		}
	}
}

static void print_limited(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service)
		if (json_flag(service, "limited")) {
			text_put(style->out, json_text(service, "name"));
			fprintf(style->out,
				": reached its share of the crowded flow table: its new flows are "
				"sent by slot. Next: raise limits: flows\n");
		}
}

static void print_why(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service)
		if (*json_text(service, "why")) {
			text_put(style->out, json_text(service, "name"));
			fprintf(style->out, ": down: %s\n", json_text(service, "why"));
		}
}

/* Checks that should go to the VIP, and cannot. */
static void print_aims(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	uint64_t backends;
	char text[512];
	size_t i;

	json_array_foreach (services, i, service) {
		const json_t *to = json_object_get(service, "checks_to");

		if (!*json_text(to, "hint"))
			continue;
		backends = json_number(to, "backend");
		snprintf(text, sizeof(text), "%.64s: %llu backend%s %s: %s",
			 json_text(service, "name"), (unsigned long long)backends,
			 plural_s(backends),
			 plural(backends, "is checked at its own address",
				"are checked at their own addresses"),
			 json_text(to, "hint"));
		list_put_sentence(style, TONE_WARN, text);
	}
}

static void print_spills(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	char text[WHY_TEXT];
	size_t i;

	json_array_foreach (services, i, service)
		if (*why_spill(service, text)) {
			text_put(style->out, json_text(service, "name"));
			fprintf(style->out, ": %s\n", text);
		}
}

/* "allow 2, deny 100000" */
static void print_list(const json_t *service, const char *list, bool first,
		       const struct list_style *style)
{
	if (json_is_integer(json_object_get(service, list)))
		fprintf(style->out, "%s%s %llu", first ? "" : ", ", list,
			(unsigned long long)json_number(service, list));
}

static void print_lists(const json_t *services, const struct list_style *style)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		bool allow = json_is_integer(json_object_get(service, "allow"));

		if (!allow && !json_is_integer(json_object_get(service, "deny")))
			continue;
		text_put(style->out, json_text(service, "name"));
		fprintf(style->out, ": prefixes: ");
		print_list(service, "allow", true, style);
		print_list(service, "deny", !allow, style);
		fprintf(style->out, "; packets denied: %llu\n",
			(unsigned long long)json_number(service, "denied"));
	}
}

/* "backends from file /etc/lbd/backends: 4 named; failed for 3m: ...: these stay" */
static void print_source(const json_t *service, const json_t *source,
			 const struct list_style *style)
{
	bool failed = json_is_integer(json_object_get(source, "failed_s")),
	     listed = json_is_integer(json_object_get(source, "listed_s"));
	char age[FORMAT_TEXT], text[1024];
	int used = snprintf(text, sizeof(text),
			    "%.64s: backends from %s %.200s: ", json_text(service, "name"),
			    json_text(source, "kind"), json_text(source, "what"));

	if (listed)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "%llu named",
				 (unsigned long long)json_number(source, "named"));
	else if (!failed)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "no answer yet");
	if (failed)
		used += snprintf(text + used, sizeof(text) - (size_t)used,
				 "%sfailed for %s: %.200s; those that it named last stay",
				 listed ? "; " : "",
				 format_duration(json_number(source, "failed_s"), age),
				 json_text(source, "why"));
	if (json_number(source, "ignored"))
		snprintf(text + used, sizeof(text) - (size_t)used, "; %llu ignored, first: %.200s",
			 (unsigned long long)json_number(source, "ignored"),
			 json_text(source, "ignored_why"));
	list_put_sentence(style, failed ? TONE_WARN : TONE_PLAIN, text);
}

static void print_sources(const json_t *services, const struct list_style *style)
{
	const json_t *service, *source;
	size_t i;

	json_array_foreach (services, i, service) {
		source = json_object_get(service, "source");
		if (json_is_object(source))
			print_source(service, source, style);
	}
}

static void print_over_rate(const json_t *services, const struct list_style *style)
{
	char own[FORMAT_TEXT], source[FORMAT_TEXT];
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		uint64_t over = json_number(service, "over_rate"),
			 over_source = json_number(service, "over_source_rate");

		if (!over && !over_source)
			continue;
		text_put(style->out, json_text(service, "name"));
		fprintf(style->out,
			": new flows dropped above its rate: %s packets; above a source's rate: %s "
			"(lbctl stats)\n",
			list_count(style, over, own), list_count(style, over_source, source));
	}
}

static int print_services(const json_t *services, const struct list_style *style)
{
	bool nat = show_any_nat(services);
	int rc = list_table(services, nat ? both_ways : columns, nat ? add_both_ways : add_service,
			    style);

	if (rc)
		return rc;
	print_why(services, style);
	print_aims(services, style);
	print_spills(services, style);
	print_changing(services, style);
	print_limited(services, style);
	print_lists(services, style);
	print_over_rate(services, style);
	print_sources(services, style);
	return 0;
}

static int get_services(struct call *call, json_t **ret, struct error *err)
{
	return call_get(call, "/v1/services", ret, err);
}

static int run_services(struct call *call, struct error *err)
{
	static const struct list list = {
	    .field = "services",
	    .none = "No services: add some to the config, then lbctl reload",
	    .no_match = "No service matches",
	    .get = get_services,
	    .select = select_services,
	    .print = print_services};

	return list_run(call, &list, err);
}

REGISTER(verb, services) = {
    .name = "services",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "list services with status and totals",
    .details =
	"STATUS is one of: up; degraded (some backends are down); panic (too few backends "
	"are healthy, so all are used); backup (only backup backends are used); blind (no "
	"backend answers, as if this host's own link had failed: the ring is frozen until "
	"health checks have new results); down. UP 24H is the share of the last 24 hours in "
	"which the service had a usable backend, as far as lbd knows, ANSWERED 24H the share of the "
	"timed connects (`telemetry`) that were answered. NEW/S, P50, P95, P99 and FAIL % are of the last "
	"5 to 10 seconds: new flows a second; how long connects took, from the SYN to the client's next "
	"packet; the connects that were sent again, not answered or refused. RING is the number of slots and the first "
	"digits of a digest of their backends: load balancers with the same config, "
	"hash-seed and healthy backends show the same. FLOWS counts new flows since the "
	"service was created. Below the table: the number of prefixes of `allow` and `deny` "
	"lists, and of packets that they denied.\n\n"
	"On a terminal too narrow for all columns some are left out; --json has all.",
    .options = {{.name = "--down", .help = "only services that are down"},
		{.name = "--sort",
		 .choice = SELECT_SERVICE_SORTS,
		 .help = "by name, the largest number first, or the worst status first; default: "
			 "as in the config"},
		LIST_OPTIONS("services")},
    .examples = {{"services", "one row per service"},
		 {"services --sort status --watch", "what is not up first, every two seconds"}},
    .run = run_services,
};
