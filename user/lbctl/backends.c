/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backends: the backends of one service or of all, and why one is not up. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/drain/progress.h"
#include "lbctl/list/list.h"

/* clang-format off */
#define COLUMNS \
    {{.title = "SERVICE", .shrinks = true}, NULL}, \
    {{.title = "BACKEND", .shrinks = true}, NULL}, \
    {{.title = "CONDITION"}, NULL}, \
    {{.title = "SINCE", .right = true, .spare = 3}, NULL}, \
    {{.title = "WEIGHT", .right = true, .spare = 1}, "weight"}, \
    {{.title = "LATENCY", .right = true, .spare = 4}, "latency"}, \
    {{.title = "ACTIVE", .right = true, .spare = 2}, "active"}, \
    {{.title = "FLOWS", .right = true, .spare = 5}, "flows"}, \
    {{.title = "PACKETS", .right = true, .spare = 7}, "packets"}, \
    {{.title = "BYTES", .right = true, .spare = 6}, "bytes"}
/* clang-format on */

static const struct list_column columns[] = {COLUMNS, {{0}, NULL}};
/* With services that are NAT. */
static const struct list_column both_ways[] = {
    COLUMNS,
    {{.title = "REPLIES", .right = true, .spare = 8}, NULL},
    {{.title = "REPLY BYTES", .right = true, .spare = 6}, NULL},
    {{.title = "REFUSED", .right = true, .spare = 3}, NULL},
    {{0}, NULL},
};
LIST_COLUMNS_FIT(both_ways);

/* "100", or "20/100" while slow start, a drain or the health of other backends changes the
 * effective weight. */
static const char *weight_text(const json_t *backend, char text[FORMAT_TEXT])
{
	unsigned configured = (unsigned)json_number(backend, "weight");
	unsigned effective = (unsigned)json_number(backend, "effective_weight");

	if (configured == effective)
		snprintf(text, FORMAT_TEXT, "%u", configured);
	else
		snprintf(text, FORMAT_TEXT, "%u/%u", effective, configured);
	return text;
}

/* The backend, and what decides when it takes flows: "web-1 10.0.0.11 (zone b, backup)". */
static void name_text(const json_t *backend, char *text, size_t size)
{
	const char *zone = json_text(backend, "zone");
	uint64_t priority = json_number(backend, "priority");
	char name[SHOW_BACKEND], place[128] = "";
	size_t used = 0;

	show_backend(backend, name);
	if (*zone)
		used += (size_t)snprintf(place, sizeof(place), ", zone %.64s", zone);
	if (priority)
		used += (size_t)snprintf(place + used, sizeof(place) - used, ", priority %llu",
					 (unsigned long long)priority);
	if (json_flag(backend, "backup"))
		used += (size_t)snprintf(place + used, sizeof(place) - used, ", backup");
	snprintf(text, size, used ? "%s (%s)" : "%s", name, used ? place + 2 : "");
}

static void add_backend(struct table *table, const json_t *backend, const struct list_style *style)
{
	const char *condition = json_text(backend, "condition");
	char text[FORMAT_TEXT], name[SHOW_BACKEND + 160];

	table_add(table, TONE_PLAIN, json_text(backend, "service"));
	name_text(backend, name, sizeof(name));
	table_add(table, TONE_PLAIN, name);
	table_add(table, format_tone(condition), condition);
	table_add(table, TONE_PLAIN, format_age(json_number(backend, "since_s"), text));
	table_add(table, TONE_PLAIN, weight_text(backend, text));
	table_add(table, TONE_PLAIN, format_latency(json_number(backend, "latency_us"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(backend, "active"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(backend, "flows"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(backend, "packets"), text));
	table_add(table, TONE_PLAIN, list_count(style, json_number(backend, "bytes"), text));
}

/* "-": of another service, whose replies do not come this way. */
static void add_both_ways(struct table *table, const json_t *backend,
			  const struct list_style *style)
{
	bool nat = show_is_nat(backend);
	uint64_t packets = json_number(backend, "returned_packets"),
		 bytes = json_number(backend, "returned_bytes");
	char text[FORMAT_TEXT];

	add_backend(table, backend, style);
	table_add(table, TONE_PLAIN, nat ? list_count(style, packets, text) : "-");
	table_add(table, TONE_PLAIN, nat ? list_count(style, bytes, text) : "-");
	table_add(table, TONE_PLAIN,
		  nat ? list_count(style, json_number(backend, "refused"), text) : "-");
}

/* "web 10.0.0.11 down: connect: timed out" */
static void print_sentence(const struct list_style *style, const json_t *backend, enum tone tone,
			   const char *condition, const char *sentence)
{
	char name[256], text[768];

	show_backend_name(backend, name, sizeof(name));
	snprintf(text, sizeof(text), "%s %s: %s", name, condition, sentence);
	list_put_sentence(style, tone, text);
}

/* Below the table: why backends are not up, in sentences too long for a column. */
static void print_reasons(const json_t *backends, const struct list_style *style)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const char *condition = json_text(backend, "condition"),
			   *why = json_text(backend, "why");

		if (!*why ||
		    (!strcmp(condition, "up") && strcmp(json_text(backend, "admin"), "up") != 0))
			continue;
		fputs(shown++ ? "" : "\n", style->out);
		print_sentence(style, backend, format_tone(condition), condition, why);
	}
}

/* What is to be looked at of backends that are up. */
static void print_hints(const json_t *backends, const struct list_style *style)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const char *hint = json_text(backend, "hint");

		if (!*hint)
			continue;
		fputs(shown++ ? "" : "\n", style->out);
		print_sentence(style, backend, TONE_WARN, json_text(backend, "condition"), hint);
	}
}

/* What still holds each drain. */
static void print_drains(const json_t *backends, const struct list_style *style)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		char text[160], times[160], sentence[320];
		struct drain_progress progress;

		drain_read_backend(backend, &progress);
		if (!json_is_object(json_object_get(backend, "drain")) ||
		    (drain_over(&progress) && !progress.forced))
			continue;
		drain_describe(&progress, text, sizeof(text));
		drain_describe_times(&progress, times, sizeof(times));
		snprintf(sentence, sizeof(sentence), "%s%s", text, times);
		fputs(shown++ ? "" : "\n", style->out);
		print_sentence(style, backend, TONE_PLAIN, "draining", sentence);
	}
}

static int print_backends(const json_t *backends, const struct list_style *style)
{
	bool nat = show_any_nat(backends);
	int rc = list_table(backends, nat ? both_ways : columns, nat ? add_both_ways : add_backend,
			    style);

	if (rc)
		return rc;
	print_reasons(backends, style);
	print_hints(backends, style);
	print_drains(backends, style);
	return 0;
}

static int get_backends(struct call *call, json_t **ret, struct error *err)
{
	return list_get_backends(call,
				 LIST_BACKEND_FIELDS
				 ",since_s,effective_weight,priority,backup,admin,hint,"
				 "drain,drained,kept_slots,returned_packets,returned_bytes,"
				 "refused",
				 ret, err);
}

static int run_backends(struct call *call, struct error *err)
{
	return list_run_backends(call, get_backends, print_backends, err);
}

REGISTER(verb, backends) = {
    .name = "backends",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "list backends with condition, weight and totals, and why one is not up",
    .details = "CONDITION is one of: up; starting (slow start); draining (takes no new flows); "
	       "drained (no flow depends on it: safe to stop); checking (no health check has "
	       "finished yet); down; damped (it was lost again and again: no new flows for a "
	       "while); maintenance (set by an operator); no-next-hop (no route, no neighbour, or "
	       "packets would be "
	       "lost on the way). WEIGHT is "
	       "EFFECTIVE/CONFIGURED where the two differ. ACTIVE counts only tracked flows: "
	       "flows in stable slots need no tracking. LATENCY is that of health checks. PACKETS "
	       "and BYTES are of clients; REPLIES and REPLY BYTES, shown with services that have "
	       "forward: nat, are what their backends sent back.\n\n"
	       "On a terminal too narrow for all columns some are left out; --json has all.",
    .arguments = {LIST_BACKENDS_ARGUMENT},
    .options = {LIST_BACKENDS_OPTIONS},
    .examples = {{"backends", "all backends"},
		 {"backends web", "the backends of service web"},
		 {"backends --down --watch", "what is down, every two seconds"},
		 {"backends --sort flows --exact", "the busiest first, with exact counts"}},
    .run = run_backends,
};
