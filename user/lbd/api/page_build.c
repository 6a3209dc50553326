/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes the JSON of the page, a backend at a time: the services with the sums of their backends,
 * or the backends of one service. If services or backends are replaced meanwhile, it begins again.
 */
#include "page_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/printable.h"
#include "common/text.h"
#include "lbd/events/events.h"
#include "forwards.h"
#include "internal.h"
#include "json_text.h"

#define RESTARTS_MAX  3 /* then it is built without a pause */
#define WRONG_MAX     200
#define EVENTS_SHOWN  60
#define EVENTS_SEARCH 2000 /* are looked at for those of one service */
#define CONDITIONS    (BACKEND_DOWN + 1)

/* What the backends of a service add up to. */
struct sums {
	struct latency_sum latencies;
	unsigned conditions[CONDITIONS];
	uint64_t failed, losses;
};

enum phase { HEAD, ITEMS, TAIL, END };

struct page_build {
	struct metrics_source source;
	struct loop_work *work;
	text_made_fn *made;
	void *arg;
	char *service;             /* NULL: all */
	const struct service *one; /* of this generation; NULL: it is gone, or all are listed */
	struct text *text;
	struct text *wrong; /* the first backends that are down, as items of a list */
	unsigned wrong_count;
	uint64_t generation; /* of state, when the text was begun */
	unsigned restarts;
	enum phase phase;
	unsigned service_at, backend_at; /* the next */
	struct sums sums;
};

static json_int_t number(uint64_t value)
{
	return (json_int_t)value;
}

/* ---- lbd as a whole ---- */

static json_t *interfaces_json(const struct attach *attach)
{
	const struct attachment *list = NULL;
	json_t *array = json_array();
	unsigned count = 0;

	if (attach)
		list = attach_list(attach, &count);
	for (unsigned i = 0; i < count; i++) {
		char name[sizeof(list[i].name)];

		memcpy(name, list[i].name, sizeof(name));
		make_printable(name, false);
		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:b, s:I}", "name", name, "mode",
						list[i].native ? "native" : "generic", "running",
						attach_interface_runs(list[i].name), "lost",
						number(list[i].lost)));
	}
	return array;
}

/* null: the config has no `announce:`. */
static json_t *node_json(const struct announce *announce)
{
	struct announce_node node = {0};

	if (announce)
		announce_node(announce, &node);
	if (!node.on)
		return json_null();
	make_printable(node.why, false);
	make_printable(node.fault, false);
	return json_pack("{s:s, s:s, s:i, s:i, s:s}", "state", announce_state_name(node.state),
			 "why", node.why, "vips", node.vips, "announced", node.announced, "fault",
			 node.fault);
}

static json_t *flows_json(struct dataplane *dp)
{
	struct dp_memory memory;

	dataplane_memory(dp, &memory);
	return json_pack("{s:I, s:I, s:I}", "entries", number(memory.flow_entries), "places",
			 number(memory.flow_places), "capacity", number(memory.flow_capacity));
}

static json_t *lbd_json(const struct metrics_source *source)
{
	const struct lateness_meter *meter = lateness_meter(source->lateness);
	struct health_process process;
	struct config_age age;
	struct utsname system;
	char why[FORWARDING_TEXT];
	bool forwards;

	uname(&system);
	make_printable(system.nodename, false);
	state_config_age(source->state, &age);
	health_process(source->health, &process);
	forwards = api_forwarding(source->state, source->attach, why) != FORWARDING_NOT;
	make_printable(why, false); /* it may name an interface */
	return json_pack("{s:s, s:s, s:I, s:b, s:b, s:s, s:b, s:I, s:i, s:b, s:I, s:o, s:o, s:o}",
			 "host", system.nodename, "version", LBD_VERSION, "start_ms",
			 number((uint64_t)(source->start_time * 1000)), "starting",
			 !state_is_started(source->state), "forwarding", forwards,
			 "forwarding_text", why, "config_refused", age.refused, "config_ms",
			 number(age.applied_ms), "overrides", state_overrides_count(source->state),
			 "probe_process_down", process.needed && !process.running, "late_ms",
			 number(lateness_recent(meter, clock_monotonic_us()) / 1000), "interfaces",
			 interfaces_json(source->attach), "node", node_json(source->announce),
			 "flow_table", flows_json(source->dp));
}

/* ---- what services and backends have in common ---- */

/* p50, p95 and p99 in us; null: no probe has passed in the last minutes. */
static json_t *quantiles_json(const struct latency_sum *sum)
{
	if (!sum->total)
		return json_null();
	return json_pack("[I, I, I]", number(latency_quantile(sum, 50)),
			 number(latency_quantile(sum, 95)), number(latency_quantile(sum, 99)));
}

/* A character for each minute, hour or day, the oldest first: 0: usable all the time, 1 to 9: not
 * so for up to so many ninths of it; -: nobody looked. */
static json_t *spans_json(const struct uptime *uptime, enum uptime_window window)
{
	struct uptime_share spans[UPTIME_SPANS_MAX];
	unsigned count = uptime ? uptime_spans(uptime, window, clock_wall_ms(), spans) : 0;
	char text[UPTIME_SPANS_MAX];

	for (unsigned i = 0; i < count; i++) {
		uint64_t down = spans[i].seen_ms - spans[i].up_ms;

		if (!spans[i].seen_ms)
			text[i] = '-';
		else
			text[i] =
			    (char)('0' + (down * 9 + spans[i].seen_ms - 1) / spans[i].seen_ms);
	}
	return json_stringn(text, count);
}

static json_t *conditions_json(const unsigned counts[CONDITIONS])
{
	json_t *object = json_object();

	for (unsigned i = 0; i < CONDITIONS; i++)
		if (counts[i])
			json_object_set_new(object, backend_condition_name(i),
					    json_integer(counts[i]));
	return object;
}

static json_t *first_byte_json(const struct dp_connects *connects)
{
	if (!connects->first_byte.recent)
		return json_null();
	return json_pack("[I, I, I]", number(connects->first_byte.p50_us),
			 number(connects->first_byte.p95_us), number(connects->first_byte.p99_us));
}

/* What the traffic of the last seconds shows of connects; null: there were none. */
static json_t *connects_json(const struct dp_connects *connects)
{
	if (!connects->recent.sampled)
		return json_null();
	return json_pack(
	    "{s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I}", "p50_us", number(connects->p50_us),
	    "p95_us", number(connects->p95_us), "p99_us", number(connects->p99_us), "first_byte_us",
	    first_byte_json(connects), "sampled", number(connects->recent.sampled), "retried",
	    number(connects->recent.retried), "unanswered", number(connects->recent.unanswered),
	    "failed", number(connects->recent.failed));
}

/* ---- services ---- */

static json_t *service_json(const struct metrics_source *source, const struct service *service,
			    const struct sums *sums)
{
	const struct config_service *config = service->config;
	struct dp_service_stats stats = {0};
	struct api_windows windows;
	struct dp_connects connects;
	struct dp_service key;
	char vip[ADDR_TEXT];

	service_key(service, &key);
	api_windows_read(service, &windows);
	dataplane_service_stats(source->dp, &key, &stats);
	dataplane_service_connects(source->dp, &key, &connects);
	return json_pack(
	    "{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I}",
	    "name", config->name, "vip", addr_format(&config->vip, vip), "port", config->port,
	    "protocol", config->protocol == CONFIG_TCP ? "tcp" : "udp", "algorithm",
	    config->algorithm->name, "status", service_status_name(service->status), "why",
	    service_why(service), "backends", service->backends_count, "conditions",
	    conditions_json(sums->conditions), "packets", number(stats.counts.packets), "bytes",
	    number(stats.counts.bytes), "flows", number(stats.counts.flows), "slots",
	    number(stats.slots), "slots_in_transition", number(stats.slots_in_transition), "denied",
	    number(stats.denied), "over_rate", number(stats.over_rate), "over_source_rate",
	    number(stats.over_source_rate), "limited", stats.limited, "failed",
	    number(sums->failed), "losses", number(sums->losses), "latency_us",
	    quantiles_json(&sums->latencies), "connects", connects_json(&connects), "availability",
	    api_availability_json(&windows), "hours", spans_json(service->uptime, UPTIME_DAY),
	    "returned_packets", number(stats.returned.packets), "returned_bytes",
	    number(stats.returned.bytes));
}

static json_t *wrong_json(const struct backend *backend)
{
	char address[ADDR_TEXT];

	return json_pack(
	    "{s:s, s:s, s:s?, s:s, s:s, s:I}", "service", backend->service->config->name, "address",
	    addr_format(&backend->address, address), "name", config_tag_name(backend->tag),
	    "condition", backend_condition_name(backend->condition), "why",
	    remark_text(backend->why), "since_ms", number(backend->since_ms));
}

static void add_item(struct text *text, bool first, json_t *item)
{
	text_add(text, ",", !first);
	text_add_json(text, item);
}

static void sum_backend(struct page_build *build, const struct backend *backend)
{
	struct sums *sums = &build->sums;

	latencies_sum(&backend->latencies, clock_monotonic_ms(), &sums->latencies);
	sums->conditions[backend->condition]++;
	sums->failed += backend->failed;
	sums->losses += backend->losses;
	if (api_is_down(backend) && build->wrong_count++ < WRONG_MAX)
		add_item(build->wrong, build->wrong_count == 1, wrong_json(backend));
}

/* ---- backends ---- */

static json_t *backend_json(struct dataplane *dp, const struct backend *backend)
{
	struct latency_sum latencies = {0};
	struct dp_backend_stats stats = {0};
	struct dp_connects connects;
	struct dp_service key;
	char address[ADDR_TEXT], hint[BACKEND_HINT];

	service_key(backend->service, &key);
	dataplane_backend_stats(dp, &key, &backend->address, &stats);
	dataplane_connects(dp, &key, &backend->address, &connects);
	latencies_sum(&backend->latencies, clock_monotonic_ms(), &latencies);
	return json_pack(
	    "{s:s, s:s?, s:o, s:s, s:s, s:I, s:I, s:I, s:b, s:s?, s:i, s:I, s:I, s:I, s:I, s:I, s:I, "
	    "s:I, s:I, s:I, s:o, s:o, s:s, s:o, s:I, s:I, s:s}",
	    "address", addr_format(&backend->address, address), "name",
	    config_tag_name(backend->tag), "labels", api_labels_json(backend->tag), "condition",
	    backend_condition_name(backend->condition), "why", remark_text(backend->why),
	    "since_ms", number(backend->since_ms), "weight", number(backend->weight),
	    "effective_weight", number(backend->effective_weight), "backup", backend->backup,
	    "zone", config_tag_zone(backend->tag), "priority", backend->priority, "packets",
	    number(stats.counts.packets), "bytes", number(stats.counts.bytes), "flows",
	    number(stats.counts.flows), "active", (json_int_t)stats.active, "slots",
	    number(stats.slots), "kept_slots", number(stats.kept_slots), "passed",
	    number(backend->passed), "failed", number(backend->failed), "losses",
	    number(backend->losses), "latency_us", quantiles_json(&latencies), "connects",
	    connects_json(&connects), "from", origin_name(backend->origin), "port",
	    api_port_json(backend), "returned_packets", number(stats.returned.packets),
	    "returned_bytes", number(stats.returned.bytes), "hint", backend_hint(backend, hint));
}

/* ---- events ---- */

/* Events whose text may quote the config, or what a source answered, in which values may be
 * secrets, and what is said instead. */
static const struct {
	const char *kind, *text;
} quoting[] = {
    {"reload-refused", "the config was refused; lbctl events says why"},
    {"override-dropped", "run-time changes were dropped; lbctl events says which, and why"},
    {"source-failed", "the source of a service's backends fails; lbctl services says why"},
};

static json_t *event_text(const json_t *whole)
{
	const char *kind = json_string_value(json_object_get(whole, "kind"));

	for (unsigned i = 0; kind && i < sizeof(quoting) / sizeof(quoting[0]); i++)
		if (!strcmp(kind, quoting[i].kind))
			return json_string(quoting[i].text);
	return json_incref(json_object_get(whole, "text"));
}

/* Without the user who asked, whom only those on the control socket may know. */
static json_t *event_json(const struct event_record *record)
{
	json_t *whole = json_loadb(record->json, record->length, 0, NULL);
	json_t *event = json_pack(
	    "{s:I, s:I, s:O?, s:O?, s:O?, s:O?, s:o?}", "seq", number(record->seq), "time_ms",
	    number(record->wall_ms), "kind", json_object_get(whole, "kind"), "level",
	    json_object_get(whole, "level"), "service", json_object_get(whole, "service"),
	    "backend", json_object_get(whole, "backend"), "text", event_text(whole));

	json_decref(whole);
	return event;
}

static bool is_of(const struct event_record *record, const char *service)
{
	return !service || (record->service && !strcmp(record->service, service));
}

/* The newest ones first. */
static void add_events(struct page_build *build)
{
	struct event_record record = {.seq = UINT64_MAX};
	unsigned shown = 0;

	text_add_string(build->text, ",\"events\":[");
	for (unsigned i = 0; i < EVENTS_SEARCH && shown < EVENTS_SHOWN; i++) {
		if (!events_before(record.seq, &record))
			break;
		if (is_of(&record, build->service))
			add_item(build->text, !shown++, event_json(&record));
	}
	text_add_string(build->text, "]");
}

/* ---- the text ---- */

/* NULL: there is none, or no more. */
static const struct service *service_now(const struct page_build *build)
{
	unsigned count;
	struct service *const *services = state_services(build->source.state, &count);

	if (build->service)
		return build->service_at ? NULL : build->one;
	return build->service_at < count ? services[build->service_at] : NULL;
}

static void add_times(struct text *text)
{
	text_printf(text, "\"time_ms\":%llu,\"clock_ms\":%llu", (unsigned long long)clock_wall_ms(),
		    (unsigned long long)clock_monotonic_ms());
}

static void add_head(struct page_build *build)
{
	struct lb_reason_count counts[LB_COUNTERS];
	struct text *text = build->text;

	text_add_string(text, "{");
	add_times(text);
	if (!build->service) {
		dataplane_reason_counts(build->source.dp, counts);
		text_add_string(text, ",\"lbd\":");
		text_add_json(text, lbd_json(&build->source));
		text_add_string(text, ",\"reasons\":");
		text_add_json(text, api_reasons_json(counts));
		text_add_string(text, ",\"caused\":");
		text_add_json(text, api_events_json(counts));
	} else {
		text_add_string(text, ",\"service\":");
		text_add_json(text, json_string(build->service));
	}
	text_add_string(text, build->service ? ",\"backends\":[" : ",\"services\":[");
	build->phase = ITEMS;
}

static void add_spans(struct page_build *build)
{
	static const char *const names[UPTIME_WINDOWS] = {"minutes", "hours", "days"};
	const struct uptime *uptime = build->one ? build->one->uptime : NULL;

	for (unsigned i = 0; i < UPTIME_WINDOWS; i++) {
		text_printf(build->text, ",\"%s\":", names[i]);
		text_add_json(build->text, spans_json(uptime, i));
	}
}

static void add_tail(struct page_build *build)
{
	text_add_string(build->text, "]");
	if (build->service) {
		add_spans(build);
	} else {
		text_printf(build->text, ",\"wrong_count\":%u,\"wrong\":[", build->wrong_count);
		text_add(build->text, build->wrong->bytes, build->wrong->length);
		text_add_string(build->text, "]");
		build->text->failed |= build->wrong->failed;
	}
	add_events(build);
	text_add_string(build->text, "}\n");
	build->phase = END;
}

/* One backend, or the service itself after its last one. */
static void add_one(struct page_build *build)
{
	const struct service *service = service_now(build);
	const struct backend *backend = NULL;

	if (!service) {
		build->phase = TAIL;
		return;
	}
	if (build->backend_at < service->backends_count)
		backend = service->backends[build->backend_at];
	if (backend && build->service)
		add_item(build->text, !build->backend_at, backend_json(build->source.dp, backend));
	else if (backend)
		sum_backend(build, backend);
	else if (!build->service)
		add_item(build->text, !build->service_at,
			 service_json(&build->source, service, &build->sums));
	if (backend) {
		build->backend_at++;
		return;
	}
	build->sums = (struct sums){0};
	build->backend_at = 0;
	build->service_at++;
}

static void add_next(struct page_build *build)
{
	if (build->phase == HEAD)
		add_head(build);
	else if (build->phase == ITEMS)
		add_one(build);
	else if (build->phase == TAIL)
		add_tail(build);
}

/* ---- the build ---- */

static bool begin(struct page_build *build)
{
	text_unref(build->text);
	text_unref(build->wrong);
	build->text = text_new();
	build->wrong = text_new();
	build->generation = state_generation(build->source.state);
	build->one =
	    build->service ? state_find_service(build->source.state, build->service) : NULL;
	build->phase = HEAD;
	build->service_at = build->backend_at = build->wrong_count = 0;
	build->sums = (struct sums){0};
	return build->text && build->wrong;
}

static bool on_step(void *arg)
{
	struct page_build *build = arg;
	bool begun = true;

	if (build->generation != state_generation(build->source.state)) {
		build->restarts++;
		begun = begin(build);
	}
	do
		if (begun)
			add_next(build);
	while (begun && build->restarts > RESTARTS_MAX && build->phase != END);
	if (begun && !build->text->failed && build->phase != END)
		return true;
	loop_work_stop(build->work);
	build->made(build->arg, begun && !build->text->failed ? build->text : NULL);
	return false;
}

int page_build_new(struct event_base *base, const struct metrics_source *source,
		   const char *service, text_made_fn *made, void *arg, struct page_build **ret)
{
	struct page_build *build = calloc(1, sizeof(*build));
	bool failed = false;

	if (!build)
		return -ENOMEM;
	build->source = *source;
	build->made = made;
	build->arg = arg;
	build->service = copy_text(service, &failed);
	build->work = loop_work_new(base, LOOP_BULK, on_step, build);
	if (failed || !build->work || !begin(build)) {
		page_build_free(build);
		return -ENOMEM;
	}
	loop_work_start(build->work, 0);
	*ret = build;
	return 0;
}

void page_build_free(struct page_build *build)
{
	if (!build)
		return;
	loop_work_free(build->work);
	text_unref(build->text);
	text_unref(build->wrong);
	free(build->service);
	free(build);
}
