/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl services: one row per service. */
#include <errno.h>
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/table.h"
#include "lbctl/core/verb.h"

static const struct table_column columns[] = {
    {.title = "SERVICE", .shrinks = true},
    {.title = "VIP", .shrinks = true},
    {.title = "STATUS"},
    {.title = "UP", .right = true},
    {.title = "ALGORITHM"},
    {.title = "FORWARD"},
    {.title = "RING"},
    {.title = "FLOWS", .right = true},
    {.title = "BYTES", .right = true},
    {.title = NULL},
};

static void add_service(struct table *table, const json_t *service)
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
	table_add(table, TONE_PLAIN, json_text(service, "algorithm"));
	table_add(table, TONE_PLAIN, json_text(service, "forward"));
	snprintf(ring, sizeof(ring), "%llu %.8s", (unsigned long long)json_number(service, "slots"),
		 json_text(service, "ring_digest"));
	table_add(table, TONE_PLAIN, ring);
	table_add(table, TONE_PLAIN, format_count(json_number(service, "flows"), text));
	table_add(table, TONE_PLAIN, format_count(json_number(service, "bytes"), text));
}

static void print_changing(const json_t *services)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		uint64_t changing = json_number(service, "slots_in_transition");

		if (changing) {
			text_put(stdout, json_text(service, "name"));
			printf(": %llu of %llu slots in transition: older flows keep "
			       "their previous backend\n",
			       (unsigned long long)changing,
			       (unsigned long long)json_number(service, "slots"));
		}
	}
}

static void print_limited(const json_t *services)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service)
		if (json_flag(service, "limited")) {
			text_put(stdout, json_text(service, "name"));
			printf(": reached its share of the crowded flow table: its new flows are "
			       "sent by slot. Next: raise limits: flows\n");
		}
}

static void print_why(const json_t *services)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service)
		if (*json_text(service, "why")) {
			text_put(stdout, json_text(service, "name"));
			printf(": down: %s\n", json_text(service, "why"));
		}
}

/* "allow 2, deny 100000" */
static void print_list(const json_t *service, const char *list, bool first)
{
	if (json_is_integer(json_object_get(service, list)))
		printf("%s%s %llu", first ? "" : ", ", list,
		       (unsigned long long)json_number(service, list));
}

static void print_lists(const json_t *services)
{
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		bool allow = json_is_integer(json_object_get(service, "allow"));

		if (!allow && !json_is_integer(json_object_get(service, "deny")))
			continue;
		text_put(stdout, json_text(service, "name"));
		printf(": prefixes: ");
		print_list(service, "allow", true);
		print_list(service, "deny", !allow);
		printf("; packets denied: %llu\n",
		       (unsigned long long)json_number(service, "denied"));
	}
}

static void print_over_rate(const json_t *services)
{
	char own[FORMAT_TEXT], source[FORMAT_TEXT];
	const json_t *service;
	size_t i;

	json_array_foreach (services, i, service) {
		uint64_t over = json_number(service, "over_rate"),
			 over_source = json_number(service, "over_source_rate");

		if (!over && !over_source)
			continue;
		text_put(stdout, json_text(service, "name"));
		printf(": new flows dropped above its rate: %s packets; above a source's rate: %s "
		       "(lbctl stats)\n",
		       format_count(over, own), format_count(over_source, source));
	}
}

static int print_services(const json_t *answer, struct error *err)
{
	const json_t *services = json_object_get(answer, "services"), *service;
	struct table *table = table_new(columns);
	int rc;
	size_t i;

	if (json_array_size(services) == 0) {
		printf("No services: add some to the config, then lbctl reload\n");
		table_free(table);
		return 0;
	}
	json_array_foreach (services, i, service)
		add_service(table, service);
	rc = table_print(table, stdout, format_columns(stdout), format_coloured(stdout));
	table_free(table);
	if (rc)
		return error_set(err, rc, "out of memory");
	print_why(services);
	print_changing(services);
	print_limited(services);
	print_lists(services);
	print_over_rate(services);
	return 0;
}

static int run_services(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_get(call, "/v1/services", &answer, err);

	if (rc)
		return rc;
	rc = call->json ? show_json(answer, err) : print_services(answer, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, services) = {
    .name = "services",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "list services with status and totals",
    .details = "STATUS is one of: up; degraded (some backends are down); panic (too few backends "
	       "are healthy, so all are used); backup (only backup backends are used); blind (no "
	       "backend answers, as if this host's own link had failed: the ring is frozen until "
	       "health checks have new results); down. RING is the number of slots and the first "
	       "digits of a digest of their backends: load balancers with the same config, "
	       "hash-seed and healthy backends show the same. FLOWS counts new flows since the "
	       "service was created. Below the table: the number of prefixes of `allow` and `deny` "
	       "lists, and of packets that they denied.",
    .examples = {{"services", "one row per service"}},
    .run = run_services,
};
