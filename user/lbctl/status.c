/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl status: is traffic forwarded, on which interfaces, with how much memory. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/duration.h"
#include "common/forwarding.h"
#include "common/plural.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/offline/leftover.h"
#include "lbctl/rollout/rollout.h"

#define LABEL   15 /* columns of the labels */
#define LATE_MS 100
#define NAMED   10 /* VIPs that are not announced */

static bool runs(const json_t *interface)
{
	return !json_is_false(json_object_get(interface, "running"));
}

static struct forwarding_facts facts_of(const json_t *status)
{
	const json_t *interfaces = json_object_get(status, "interfaces"), *interface;
	struct forwarding_facts facts = {
	    .interfaces = (unsigned)json_array_size(interfaces),
	    .services = json_number(status, "services"),
	    .down = json_number(status, "services_down"),
	    .blind = json_number(status, "services_blind"),
	    .backends = json_number(status, "backends"),
	    .up = json_number(status, "backends_up"),
	};
	size_t i;

	json_array_foreach (interfaces, i, interface) {
		if (runs(interface))
			facts.running++;
		else if (!facts.not_running)
			facts.not_running = json_text(interface, "name");
	}
	return facts;
}

/* The first line says whether traffic is forwarded; if it is not, also what to do next. */
static void print_verdict(enum forwarding verdict, const char *text)
{
	static const enum tone tones[] = {[FORWARDING_NOT] = TONE_BAD,
					  [FORWARDING_PART] = TONE_WARN,
					  [FORWARDING_ALL] = TONE_GOOD};
	bool coloured = format_coloured(stdout);

	printf("%s%s%s\n", format_escape(tones[verdict], coloured), text,
	       format_escape(TONE_PLAIN, coloured));
}

/* Wrapped under its beginning. label: "": another line of the value above. */
static void print_value(const char *label, const char *line, unsigned columns)
{
	printf("%-*s", LABEL, label);
	text_wrap(stdout, line, LABEL, LABEL, columns);
}

static void print_unlabelled(const char *line, unsigned columns)
{
	print_value("", line, columns);
}

static void print_offloads(const json_t *turned_off, unsigned columns)
{
	const json_t *entry;
	char line[512];
	size_t i, used = 0;

	json_array_foreach (turned_off, i, entry)
		if (used < sizeof(line))
			used += (size_t)snprintf(
			    line + used, sizeof(line) - used, "%s %s %s",
			    i ? "," : "Offloads turned off:", json_text(entry, "device"),
			    json_text(entry, "feature"));
	if (!used)
		return;
	print_unlabelled(line, columns);
}

static void print_lost(const json_t *interface, unsigned columns)
{
	uint64_t lost = json_number(interface, "lost");
	char line[128], frames[64];

	if (!lost)
		return;
	snprintf(line, sizeof(line), "Lost: %s that lbd sent and no device took",
		 format_plural(lost, "frame", frames));
	print_unlabelled(line, columns);
}

static void print_interfaces(const json_t *status, unsigned columns)
{
	const json_t *interfaces = json_object_get(status, "interfaces"), *interface, *warning;
	char line[512];
	size_t i, j;

	if (json_array_size(interfaces) == 0)
		printf("%-*snone attached\n", LABEL, "Interfaces");
	json_array_foreach (interfaces, i, interface) {
		printf("%-*s%s: %s%s\n", LABEL, i ? "" : "Interfaces", json_text(interface, "name"),
		       show_mode(interface), runs(interface) ? "" : ", down or without a carrier");
		print_offloads(json_object_get(interface, "turned_off"), columns);
		print_lost(interface, columns);
		json_array_foreach (json_object_get(interface, "warnings"), j, warning) {
			snprintf(line, sizeof(line), "Warning: %s", json_item_text(warning));
			print_unlabelled(line, columns);
		}
	}
}

static void print_memory(const json_t *status, unsigned columns)
{
	static const char *const parts[] = {"flows",    "arena",   "services", "backends",
					    "counters", "filters", "other"};
	const json_t *memory = json_object_get(status, "memory");
	char line[512], amount[FORMAT_TEXT];
	size_t used;

	used = (size_t)snprintf(line, sizeof(line),
				"%s in maps:", format_bytes(json_number(memory, "total"), amount));
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		used +=
		    (size_t)snprintf(line + used, sizeof(line) - used, "%s %s %s", i ? "," : "",
				     parts[i], format_bytes(json_number(memory, parts[i]), amount));
	print_value("Memory", line, columns);
}

static void print_config(const json_t *status, unsigned columns)
{
	const char *zone = json_text(status, "zone");
	uint64_t overrides = json_number(status, "overrides");
	char line[PATH_MAX + 256], changes[64];
	int used = snprintf(line, sizeof(line), "%.*s%s%.64s", PATH_MAX,
			    json_text(status, "config"), *zone ? ", in zone " : "", zone);

	if (overrides)
		snprintf(line + used, sizeof(line) - (size_t)used, ", and %s made at run time",
			 format_plural(overrides, "change", changes));
	print_value("Config", line, columns);
}

/* Of a config in etcd. */
static void print_shared(const json_t *config, unsigned columns)
{
	char text[ROLLOUT_LINE], line[ROLLOUT_LINE + 16];
	bool is_bad;

	if (!json_is_object(config))
		return;
	rollout_describe(config, text, &is_bad);
	snprintf(line, sizeof(line), "%s%s", is_bad ? "Warning: " : "", text);
	print_unlabelled(line, columns);
}

/* Adds a count with what is before and after it, unless it is 0. */
static void add_count(char line[512], uint64_t count, const char *before, const char *after)
{
	size_t used = strlen(line);

	if (count)
		snprintf(line + used, 512 - used, ", %s%llu%s", before, (unsigned long long)count,
			 after);
}

/* States other than up and down are shown only if a service is in them. */
static void print_services(const json_t *status, unsigned columns)
{
	char line[512];

	snprintf(line, sizeof(line), "%llu, %llu down",
		 (unsigned long long)json_number(status, "services"),
		 (unsigned long long)json_number(status, "services_down"));
	add_count(line, json_number(status, "services_panic"), "",
		  " in panic: too few backends are up, so all are used");
	add_count(line, json_number(status, "services_backup"), "", " on backup backends only");
	add_count(line, json_number(status, "services_blind"), "",
		  " blind: the ring is frozen until health checks have new results");
	add_count(line, json_number(status, "sources_failed"), "backends-from of ",
		  " fails (lbctl services)");
	print_value("Services", line, columns);
}

/* Flows without an entry may move when backends change, also in services that track every flow. */
static void print_crowded(const json_t *flows, unsigned columns)
{
	uint64_t missed = json_number(flows, "without_place"),
		 limited = json_number(flows, "limited_services");
	char line[512], count[64], services[64];
	size_t used = 0;

	if (!missed && !limited)
		return;
	if (missed)
		used = (size_t)snprintf(
		    line, sizeof(line),
		    "Warning: %s found no place in the last minute (flow table full) "
		    "and %s sent by slot. ",
		    format_plural(missed, "new flow", count), plural(missed, "was", "were"));
	if (limited)
		used += (size_t)snprintf(
		    line + used, sizeof(line) - used,
		    "%s%s reached %s share of the flow table (lbctl services). ",
		    missed ? "" : "Warning: ", format_plural(limited, "service", services),
		    plural(limited, "its", "their"));
	snprintf(
	    line + used, sizeof(line) - used,
	    "Next: raise limits: flows in the config (requires new maps) or shorten idle-timeout");
	print_unlabelled(line, columns);
}

/* Below LATE_MS nothing that lbd does is noticeably late. */
static void print_lateness(const json_t *status, unsigned columns)
{
	uint64_t late_ms = json_number(json_object_get(status, "loop"), "late_ms");
	char line[256], late[DURATION_TEXT];

	if (late_ms < LATE_MS)
		return;
	snprintf(line, sizeof(line),
		 "Warning: lbd ran up to %s late in the last two minutes: it gets too little "
		 "CPU or was stopped. Health checks were late; no backend is marked down for "
		 "that.",
		 duration_exact(late_ms, late));
	print_unlabelled(line, columns);
}

static void print_probe_process(const json_t *status, unsigned columns)
{
	const json_t *process = json_object_get(status, "probe_process");
	uint64_t restarts = json_number(process, "restarts");
	char line[512], times[64], ago[FORMAT_TEXT];
	int used;

	if (!json_is_object(process))
		return;
	if (json_flag(process, "running") || (json_number(process, "pid") && !restarts))
		used = snprintf(line, sizeof(line), "pid %llu%s",
				(unsigned long long)json_number(process, "pid"),
				json_flag(process, "running") ? "" : ", starting");
	else
		used = snprintf(line, sizeof(line),
				"Warning: not running. Checks that read answers wait for it; "
				"backends keep their status");
	if (restarts)
		snprintf(line + used, sizeof(line) - (size_t)used,
			 ", restarted %s, the last %s ago: %.200s",
			 format_plural(restarts, "time", times),
			 format_duration(json_number(process, "last_end_s"), ago),
			 json_text(process, "why"));
	else if (*json_text(process, "why"))
		snprintf(line + used, sizeof(line) - (size_t)used, ": %.200s",
			 json_text(process, "why"));
	print_value("Probe process", line, columns);
}

/* "up: 4 of 4 VIPs announced, table 76, metric 10" */
static void print_node_state(const json_t *node, unsigned columns)
{
	const char *why = json_text(node, "why");
	char line[512];
	int used = snprintf(
	    line, sizeof(line), "%s: %llu of %llu VIP%s announced", json_text(node, "state"),
	    (unsigned long long)json_number(node, "announced"),
	    (unsigned long long)json_number(node, "vips"), plural_s(json_number(node, "vips")));

	if (json_number(node, "announced"))
		used +=
		    snprintf(line + used, sizeof(line) - (size_t)used, ", table %llu, metric %llu",
			     (unsigned long long)json_number(node, "table"),
			     (unsigned long long)json_number(node, "metric"));
	snprintf(line + used, sizeof(line) - (size_t)used, "%s%.300s", *why ? ": " : "", why);
	print_value("Node", line, columns);
}

static void print_node(const json_t *node, unsigned columns)
{
	const json_t *vip, *list = json_object_get(node, "not_announced");
	const char *state = json_text(node, "state");
	bool announces = !strcmp(state, "up") || !strcmp(state, "draining");
	char line[512];
	size_t i;

	if (!json_is_object(node))
		return;
	print_node_state(node, columns);
	json_array_foreach (list, i, vip) {
		if (!announces || i == NAMED)
			break;
		snprintf(line, sizeof(line), "Not announced: %.64s: %.200s", json_text(vip, "vip"),
			 json_text(vip, "why"));
		print_unlabelled(line, columns);
	}
	if (*json_text(node, "fault")) {
		snprintf(line, sizeof(line), "Warning: %.400s", json_text(node, "fault"));
		print_unlabelled(line, columns);
	}
}

/* Of services with forward: nat. */
static void print_silent(const json_t *status, unsigned columns)
{
	uint64_t silent = json_number(status, "backends_silent");
	char line[256], backends[64];

	if (!silent)
		return;
	snprintf(line, sizeof(line),
		 "Warning: no replies come back from %s with forward: nat: is its route to clients "
		 "through this machine? lbctl backends says which",
		 format_plural(silent, "backend", backends));
	print_unlabelled(line, columns);
}

/* The seed is shown in full: load balancers that share traffic must have the same. */
static void print_seed(const json_t *status, unsigned columns)
{
	const char *from = json_text(status, "hash_seed_from"), *note = "";
	char line[256];

	if (!*json_text(status, "hash_seed"))
		return;
	if (strcmp(from, "random") == 0)
		note = ", random: load balancers that share traffic need the same hash-seed";
	else if (strcmp(from, "pinned") == 0)
		note = ", from the pinned maps: hash-seed in the config is ignored until they are "
		       "recreated";
	snprintf(line, sizeof(line), "%s%s", json_text(status, "hash_seed"), note);
	print_value("Hash seed", line, columns);
}

static void print_lbd(const json_t *status, unsigned columns)
{
	char line[256], uptime[FORMAT_TEXT];

	snprintf(line, sizeof(line), "%.64s, pid %llu, up %s%s", json_text(status, "version"),
		 (unsigned long long)json_number(status, "pid"),
		 format_duration(json_number(status, "uptime_s"), uptime),
		 json_flag(status, "starting")
		     ? ", is taking over from a previous lbd: changes wait"
		 : json_flag(status, "adopted") ? ", took over from a previous lbd"
						: "");
	print_value("lbd", line, columns);
}

static void print_status(const json_t *status)
{
	const json_t *flows = json_object_get(status, "flows");
	unsigned columns = format_columns(stdout) ? format_columns(stdout) : 80;
	char entries[FORMAT_TEXT], limit[FORMAT_TEXT];
	const struct forwarding_facts facts = facts_of(status);
	char text[FORWARDING_TEXT];
	enum forwarding verdict = forwarding_judge(&facts, text);

	print_verdict(verdict, text);
	putchar('\n');
	print_interfaces(status, columns);
	print_node(json_object_get(status, "node"), columns);
	print_services(status, columns);
	printf("%-*s%llu, %llu up\n", LABEL, "Backends",
	       (unsigned long long)json_number(status, "backends"),
	       (unsigned long long)json_number(status, "backends_up"));
	print_silent(status, columns);
	printf("%-*s%s of %s (flows in stable slots need no entry)\n", LABEL, "Tracked flows",
	       format_count(json_number(flows, "entries"), entries),
	       format_limit(json_number(flows, "limit"), limit));
	print_crowded(flows, columns);
	print_memory(status, columns);
	print_seed(status, columns);
	print_config(status, columns);
	print_shared(json_object_get(status, "shared_config"), columns);
	print_lbd(status, columns);
	print_lateness(status, columns);
	print_probe_process(status, columns);
	printf("%-*s%s\n", LABEL, "Kernel", json_text(status, "kernel"));
}

/* The exit code says it too: nothing is on stderr, the verdict is the answer. */
static int check(const struct call *call, const json_t *answer, struct error *err)
{
	const struct forwarding_facts facts = facts_of(answer);
	char text[FORWARDING_TEXT];
	enum forwarding verdict = forwarding_judge(&facts, text);
	int rc = 0;

	if (call->json)
		rc = show_json(answer, err);
	else
		print_verdict(verdict, text);
	if (!rc && verdict == FORWARDING_NOT)
		rc = -ENETDOWN;
	return rc;
}

static int run_status(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_get(call, "/v1/status", &answer, err);

	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return leftover_report(rc, err);
	if (rc)
		return rc;
	if (call_option(call, "--check"))
		rc = check(call, answer, err);
	else if (call->json)
		rc = show_json(answer, err);
	else
		print_status(answer);
	json_decref(answer);
	return rc;
}

REGISTER(verb, status) = {
    .name = "status",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show whether traffic is forwarded, the interfaces and the memory used",
    .details =
	"The first line says whether traffic is forwarded; if it is not, also what to do next. "
	"With --check it is the only line, and the exit status is 1 if no traffic is forwarded: "
	"no interface is attached and running, or no service has a backend that takes flows. If "
	"lbd is not running, it says (to root) on which interfaces the program is still attached: "
	"it forwards there, without health checks.",
    .options = {{.name = "--check",
		 .help = "print the first line only; exit 1 if no traffic is forwarded"}},
    .examples = {{"status", NULL},
		 {"status --check",
		  "for monitoring; GET /healthz beside the metrics says the same"},
		 {"status --json | jq .memory.total", "for scripts: the fields of GET /v1/status"}},
    .run = run_status,
};
