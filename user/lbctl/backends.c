/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backends: the backends of one service or of all, and why one is not up. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/table.h"
#include "lbctl/core/verb.h"
#include "lbctl/drain/progress.h"

static const struct table_column columns[] = {
    {.title = "SERVICE", .shrinks = true},
    {.title = "BACKEND", .shrinks = true},
    {.title = "CONDITION"},
    {.title = "SINCE", .right = true},
    {.title = "WEIGHT", .right = true},
    {.title = "LATENCY", .right = true},
    {.title = "ACTIVE", .right = true},
    {.title = "FLOWS", .right = true},
    {.title = "BYTES", .right = true},
    {.title = NULL},
};

/* "100", or "20/100" while slow start, a drain or the health of other backends changes the
 * effective weight. */
static const char *weight_text(const json_t *backend, char text[64])
{
	unsigned long long configured = json_number(backend, "weight");
	unsigned long long effective = json_number(backend, "effective_weight");

	if (configured == effective)
		snprintf(text, 64, "%llu", configured);
	else
		snprintf(text, 64, "%llu/%llu", effective, configured);
	return text;
}

static void add_backend(struct table *table, const json_t *backend)
{
	const char *condition = json_text(backend, "condition");
	char text[64], name[SHOW_BACKEND + 16];

	table_add(table, TONE_PLAIN, json_text(backend, "service"));
	show_backend(backend, name);
	strcat(name, json_flag(backend, "backup") ? " (backup)" : "");
	table_add(table, TONE_PLAIN, name);
	table_add(table, format_tone(condition), condition);
	table_add(table, TONE_PLAIN, format_age(json_number(backend, "since_s"), text));
	table_add(table, TONE_PLAIN, weight_text(backend, text));
	table_add(table, TONE_PLAIN, format_latency(json_number(backend, "latency_us"), text));
	table_add(table, TONE_PLAIN, format_count(json_number(backend, "active"), text));
	table_add(table, TONE_PLAIN, format_count(json_number(backend, "flows"), text));
	table_add(table, TONE_PLAIN, format_count(json_number(backend, "bytes"), text));
}

/* Below the table: why backends are not up, in sentences too long for a column. */
static void print_reasons(const json_t *backends, bool coloured)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		const char *condition = json_text(backend, "condition"),
			   *why = json_text(backend, "why");
		char name[256];

		if (!*why || strcmp(condition, "up") == 0)
			continue;
		show_backend_name(backend, name, sizeof(name));
		fputs(shown++ ? "" : "\n", stdout);
		fputs(format_escape(format_tone(condition), coloured), stdout);
		text_put(stdout, name);
		printf(" %s: ", condition);
		text_put(stdout, why);
		printf("%s\n", format_escape(TONE_PLAIN, coloured));
	}
}

/* What still holds each drain. */
static void print_drains(const json_t *backends)
{
	const json_t *backend;
	size_t i, shown = 0;

	json_array_foreach (backends, i, backend) {
		char name[256], text[160], times[160];
		struct drain_progress progress;

		drain_read_backend(backend, &progress);
		if (!json_is_object(json_object_get(backend, "drain")) ||
		    (drain_over(&progress) && !progress.forced))
			continue;
		show_backend_name(backend, name, sizeof(name));
		drain_describe(&progress, text, sizeof(text));
		drain_describe_times(&progress, times, sizeof(times));
		fputs(shown++ ? "" : "\n", stdout);
		text_put(stdout, name);
		printf(" draining: %s%s\n", text, times);
	}
}

static int print_backends(const json_t *answer, struct error *err)
{
	const json_t *backends = json_object_get(answer, "backends"), *backend;
	bool coloured = format_coloured(stdout);
	struct table *table;
	int rc;
	size_t i;

	if (json_array_size(backends) == 0) {
		printf("No backends: add some to the config, or use "
		       "lbctl backend add SERVICE ADDRESS\n");
		return 0;
	}
	table = table_new(columns);
	json_array_foreach (backends, i, backend)
		add_backend(table, backend);
	rc = table_print(table, stdout, format_columns(stdout), coloured);
	table_free(table);
	if (rc)
		return error_set(err, rc, "out of memory");
	print_reasons(backends, coloured);
	print_drains(backends);
	return 0;
}

static int run_backends(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_backends(call, call_argument(call, 0), &answer, err);

	if (rc)
		return rc;
	rc = call->json ? show_json(answer, err) : print_backends(answer, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, backends) = {
    .name = "backends",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "list backends with condition, weight and totals, and why one is not up",
    .details = "CONDITION is one of: up; starting (slow start); draining (takes no new flows); "
	       "drained (no flow depends on it: safe to stop); checking (no health check has "
	       "finished yet); down; no-next-hop (no route, no neighbour, or packets would be "
	       "lost on the way). WEIGHT is "
	       "EFFECTIVE/CONFIGURED where the two differ. ACTIVE counts only tracked flows: "
	       "flows in stable slots need no tracking. LATENCY is that of health checks.",
    .arguments = {OPTIONAL("SERVICE", WORDS_SERVICE)},
    .examples = {{"backends", "all backends"}, {"backends web", "the backends of service web"}},
    .run = run_backends,
};
