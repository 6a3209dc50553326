/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes the metrics: first a row of values for each service and backend, then family by family
 * from the rows. Both go in slices. The rows hold nothing of state, so that it may change while
 * they are written; a change while they are collected begins again. */
#include "metrics_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "metrics_globals.h"
#include "metrics_text.h"

#define RESTARTS_MAX 3  /* then the rows are collected without a pause */
#define ROWS_A_STEP  32 /* written in one step */

/* ---- services ---- */

/* What the values of a service are made of. */
struct service_view {
	struct dp_service_stats stats;
	struct dp_connects connects; /* all 0: they are not timed */
	const struct service *service;
	bool announced;
};

typedef double service_value(const struct service_view *of);

static double service_packets(const struct service_view *of)
{
	return (double)of->stats.counts.packets;
}

static double service_bytes(const struct service_view *of)
{
	return (double)of->stats.counts.bytes;
}

static double service_refused(const struct service_view *of)
{
	return (double)of->stats.counts.refused;
}

static double service_returned_packets(const struct service_view *of)
{
	return (double)of->stats.returned.packets;
}

static double service_returned_bytes(const struct service_view *of)
{
	return (double)of->stats.returned.bytes;
}

static double service_flows(const struct service_view *of)
{
	return (double)of->stats.counts.flows;
}

static double service_up(const struct service_view *of)
{
	return of->service->status != SERVICE_DOWN && !of->service->blind;
}

static double service_panic(const struct service_view *of)
{
	return of->service->panic;
}

static double service_blind(const struct service_view *of)
{
	return of->service->blind;
}

static double service_denied(const struct service_view *of)
{
	return of->stats.denied;
}

static double service_allow(const struct service_view *of)
{
	return filter_list_count(of->service->config->lists.allow);
}

static double service_deny(const struct service_view *of)
{
	return filter_list_count(of->service->config->lists.deny);
}

static double service_limited(const struct service_view *of)
{
	return of->stats.limited;
}

static double service_over_rate(const struct service_view *of)
{
	return (double)of->stats.over_rate;
}

static double service_over_source_rate(const struct service_view *of)
{
	return (double)of->stats.over_source_rate;
}

static double service_backups(const struct service_view *of)
{
	return of->service->backups_active;
}

static double service_spilled(const struct service_view *of)
{
	return (double)service_spill(of->service) / LEVEL_WHOLE;
}

static double service_transition(const struct service_view *of)
{
	return of->stats.slots_in_transition;
}

static double service_announced(const struct service_view *of)
{
	return of->announced;
}

static struct uptime_share uptime_of(const struct service_view *of)
{
	const struct uptime *uptime = of->service->uptime;

	return uptime ? uptime_total(uptime) : (struct uptime_share){0};
}

static double service_usable_seconds(const struct service_view *of)
{
	return (double)uptime_of(of).up_ms / 1e3;
}

static double service_observed_seconds(const struct service_view *of)
{
	return (double)uptime_of(of).seen_ms / 1e3;
}

static double service_flows_per_second(const struct service_view *of)
{
	return service_flows_per_s(of->service);
}

static double service_unanswered(const struct service_view *of)
{
	return (double)(of->connects.unanswered + of->connects.refused);
}

static double service_p50(const struct service_view *of)
{
	return of->connects.p50_us / 1e6;
}

static double service_p95(const struct service_view *of)
{
	return of->connects.p95_us / 1e6;
}

static double service_p99(const struct service_view *of)
{
	return of->connects.p99_us / 1e6;
}

static const struct source_status *source_of(const struct service_view *of)
{
	static const struct source_status none;
	const struct source_status *status =
	    state_source_status(of->service->state, of->service->config->name);

	return status ? status : &none;
}

static double service_source_backends(const struct service_view *of)
{
	return source_of(of)->named;
}

static double service_source_failed_seconds(const struct service_view *of)
{
	uint64_t since = source_of(of)->failed_ms, now = clock_monotonic_ms();

	return since && now > since ? (double)(now - since) / 1e3 : since ? 1e-3 : 0;
}

static double service_source_failures(const struct service_view *of)
{
	return (double)source_of(of)->failures;
}

static const struct {
	const char *name, *type, *help;
	service_value *value;
} service_families[] = {
    {"lbd_service_packets_total", "counter", "Packets sent to backends, present and past.",
     service_packets},
    {"lbd_service_bytes_total", "counter",
     "Bytes of IP packets sent to backends, before encapsulation.", service_bytes},
    {"lbd_service_new_flows_total", "counter", "New flows sent to backends, present and past.",
     service_flows},
    {"lbd_service_new_flows_per_second", "gauge", "New flows a second, last 5 to 10 s.",
     service_flows_per_second},
    {"lbd_service_connects_unanswered_total", "counter",
     "Of the timed TCP connects: those without an answer within 3 s, and those refused.",
     service_unanswered},
    {"lbd_service_connect_p50_seconds", "gauge",
     "Median time from a SYN to its answer (the client's next packet; of forward: nat the "
     "SYN-ACK), last 5 to 10 s; 0: none was answered.",
     service_p50},
    {"lbd_service_connect_p95_seconds", "gauge", "The same, 95th percentile.", service_p95},
    {"lbd_service_connect_p99_seconds", "gauge", "The same, 99th percentile.", service_p99},
    {"lbd_service_returned_packets_total", "counter",
     "Replies of backends, present and past, that came back through lbd: of forward: nat.",
     service_returned_packets},
    {"lbd_service_returned_bytes_total", "counter", "Bytes of IP packets of these replies.",
     service_returned_bytes},
    {"lbd_service_refused_total", "counter",
     "TCP connects that backends, present and past, refused with a reset: of forward: nat.",
     service_refused},
    {"lbd_service_denied_packets_total", "counter",
     "Packets of clients that the allow and deny lists do not admit.", service_denied},
    {"lbd_service_allow_prefixes", "gauge", "Prefixes of the allow list; 0: none, or no list.",
     service_allow},
    {"lbd_service_deny_prefixes", "gauge", "Prefixes of the deny list; 0: none, or no list.",
     service_deny},
    {"lbd_service_over_rate_total", "counter",
     "Packets of new flows dropped above the service's rate.", service_over_rate},
    {"lbd_service_over_source_rate_total", "counter",
     "Packets of new flows dropped above the rate of their source prefix.",
     service_over_source_rate},
    {"lbd_service_up", "gauge", "1 if at least one backend takes traffic.", service_up},
    {"lbd_service_usable_seconds_total", "counter",
     "Time with at least one usable backend, since the start.", service_usable_seconds},
    {"lbd_service_observed_seconds_total", "counter",
     "Time in which it was known whether there was one: not while blind.",
     service_observed_seconds},
    {"lbd_service_panic", "gauge", "1 if too few backends are up and all are used.", service_panic},
    {"lbd_service_blind", "gauge", "1 if all backends were lost at once and the ring is frozen.",
     service_blind},
    {"lbd_service_limited", "gauge",
     "1 if the flow table is crowded and the service has used its share: new flows are sent by slot.",
     service_limited},
    {"lbd_service_backups_active", "gauge", "1 if only backups are up and take the traffic.",
     service_backups},
    {"lbd_service_spill_ratio", "gauge",
     "Part of new flows, 0 to 1, that the first priority in the node's zone does not get.",
     service_spilled},
    {"lbd_service_slots_in_transition", "gauge",
     "Slots whose older flows still depend on an earlier backend.", service_transition},
    {"lbd_service_announced", "gauge", "1 if there is a route that announces the service's VIP.",
     service_announced},
    {"lbd_service_source_backends", "gauge",
     "Backends that the source of backends-from named last; 0: none yet, or no such source.",
     service_source_backends},
    {"lbd_service_source_failed_seconds", "gauge",
     "Time for which the source of backends-from has failed; 0: it works, or there is none.",
     service_source_failed_seconds},
    {"lbd_service_source_failures_total", "counter",
     "Reports of the source of backends-from that it failed, since lbd started.",
     service_source_failures},
};

/* ---- times of connects ---- */

enum { TIMES_HANDSHAKE, TIMES_FIRST_BYTE, TIMES_KINDS };

static const struct {
	const char *name, *bucket, *sum, *count, *help;
} times_families[TIMES_KINDS] = {
#define TIMES_NAMES(name) name, name "_bucket", name "_sum", name "_count"
    [TIMES_HANDSHAKE] =
	{TIMES_NAMES("lbd_handshake_seconds"),
	 "Time from a SYN to its answer, of the timed TCP connects, since lbd started."},
    [TIMES_FIRST_BYTE] =
	{TIMES_NAMES("lbd_first_byte_seconds"),
	 "Time from a client's first data to its backend's first byte, without the "
	 "client's round trip, of the timed TCP connects, since lbd started."},
};

/* labels: as of metrics_labels, not empty. */
static void write_times(struct text *text, unsigned kind, const char *labels, size_t length,
			const struct dp_times *times)
{
	uint64_t below = 0;
	char bound[32];

	for (unsigned i = 0; i <= times->bounds; i++) {
		below += times->counts[i];
		if (i < times->bounds)
			snprintf(bound, sizeof(bound), "%g", dataplane_time_bound_s(i));
		else
			snprintf(bound, sizeof(bound), "+Inf");
		metrics_bucket(text, times_families[kind].bucket, labels, length, bound,
			       (double)below);
	}
	metrics_line(text, times_families[kind].sum, labels, length, times->sum_s);
	metrics_line(text, times_families[kind].count, labels, length, (double)below);
}

/* ---- backends ---- */

struct backend_view {
	struct dp_backend_stats stats;
	struct dp_connects connects; /* all 0: they are not timed */
	const struct backend *backend;
};

typedef double backend_value(const struct backend_view *of);

static double backend_packets(const struct backend_view *of)
{
	return (double)of->stats.counts.packets;
}

static double backend_bytes(const struct backend_view *of)
{
	return (double)of->stats.counts.bytes;
}

static double backend_refused(const struct backend_view *of)
{
	return (double)of->stats.counts.refused;
}

static double backend_returned_packets(const struct backend_view *of)
{
	return (double)of->stats.returned.packets;
}

static double backend_returned_bytes(const struct backend_view *of)
{
	return (double)of->stats.returned.bytes;
}

static double backend_silent(const struct backend_view *of)
{
	char hint[BACKEND_HINT];

	return *backend_hint(of->backend, hint) != 0;
}

static double backend_flows(const struct backend_view *of)
{
	return (double)of->stats.counts.flows;
}

static double backend_up(const struct backend_view *of)
{
	return of->backend->health == HEALTH_UP && of->backend->has_hop;
}

static double backend_draining(const struct backend_view *of)
{
	return of->backend->drain || of->backend->removed;
}

static double backend_damped(const struct backend_view *of)
{
	return of->backend->condition == BACKEND_DAMPED;
}

static double backend_maintenance(const struct backend_view *of)
{
	return of->backend->admin == ADMIN_MAINTENANCE;
}

static double backend_weight(const struct backend_view *of)
{
	return of->backend->effective_weight;
}

static double backend_active(const struct backend_view *of)
{
	return of->stats.active;
}

static double backend_slots(const struct backend_view *of)
{
	return of->stats.slots;
}

static double backend_latency(const struct backend_view *of)
{
	return of->backend->latency_us / 1e6;
}

static double backend_sampled(const struct backend_view *of)
{
	return of->connects.sampled;
}

static double backend_retried(const struct backend_view *of)
{
	return of->connects.retried;
}

static double backend_unanswered(const struct backend_view *of)
{
	return of->connects.unanswered;
}

static double backend_answered_again(const struct backend_view *of)
{
	return of->connects.answered_again;
}

static double backend_reset(const struct backend_view *of)
{
	return of->connects.reset;
}

static double backend_p50(const struct backend_view *of)
{
	return of->connects.p50_us / 1e6;
}

static double backend_p95(const struct backend_view *of)
{
	return of->connects.p95_us / 1e6;
}

static double backend_p99(const struct backend_view *of)
{
	return of->connects.p99_us / 1e6;
}

static double backend_no_byte(const struct backend_view *of)
{
	return of->connects.first_byte.none;
}

static double backend_first_byte_p50(const struct backend_view *of)
{
	return of->connects.first_byte.p50_us / 1e6;
}

static double backend_first_byte_p95(const struct backend_view *of)
{
	return of->connects.first_byte.p95_us / 1e6;
}

static double backend_first_byte_p99(const struct backend_view *of)
{
	return of->connects.first_byte.p99_us / 1e6;
}

static const struct {
	const char *name, *type, *help;
	backend_value *value;
} backend_families[] = {
    {"lbd_backend_packets_total", "counter", "Packets sent to the backend.", backend_packets},
    {"lbd_backend_bytes_total", "counter",
     "Bytes of IP packets sent to the backend, before encapsulation.", backend_bytes},
    {"lbd_backend_new_flows_total", "counter", "TCP SYNs, and UDP flows where they are tracked.",
     backend_flows},
    {"lbd_backend_returned_packets_total", "counter",
     "Replies of the backend that came back through lbd: of forward: nat.",
     backend_returned_packets},
    {"lbd_backend_returned_bytes_total", "counter", "Bytes of IP packets of these replies.",
     backend_returned_bytes},
    {"lbd_backend_refused_total", "counter",
     "TCP connects that the backend refused with a reset: of forward: nat.", backend_refused},
    {"lbd_backend_silent", "gauge",
     "1 if TCP connects go to it and nothing has come back for 10 s: of forward: nat.",
     backend_silent},
    {"lbd_backend_up", "gauge", "1 if its health check passes and it has a next hop.", backend_up},
    {"lbd_backend_draining", "gauge", "1 if it is draining: it takes no new flows.",
     backend_draining},
    {"lbd_backend_damped", "gauge",
     "1 if it takes no new flows for a while: it flaps, or its connects fail.", backend_damped},
    {"lbd_backend_maintenance", "gauge",
     "1 if an operator has set it to maintenance: it is not used.", backend_maintenance},
    {"lbd_backend_weight", "gauge",
     "Effective weight, after slow start, drain, zones, priorities, backups and panic.",
     backend_weight},
    {"lbd_backend_active_flows", "gauge", "Tracked live flows.", backend_active},
    {"lbd_backend_slots", "gauge", "Slots of the service that send new flows to it.",
     backend_slots},
    {"lbd_backend_latency_seconds", "gauge",
     "Latency of health probes, a moving average that follows peaks at once.", backend_latency},
    {"lbd_connects_sampled_total", "counter", "TCP connects in the sample that is timed.",
     backend_sampled},
    {"lbd_connects_retried_total", "counter",
     "Of the sample: connects whose SYN came again before any other packet.", backend_retried},
    {"lbd_connects_unanswered_total", "counter",
     "Of the sample: connects without an answer within 3 s.", backend_unanswered},
    {"lbd_connects_answered_again_total", "counter",
     "Of the sample: connects whose SYN-ACK the backend sent again: of forward: nat.",
     backend_answered_again},
    {"lbd_connects_reset_total", "counter",
     "Of the sample: connects that the client's next packet reset.", backend_reset},
    {"lbd_backend_connect_p50_seconds", "gauge",
     "Median time from a SYN to its answer, last 5 to 10 s; 0: none was answered.", backend_p50},
    {"lbd_backend_connect_p95_seconds", "gauge", "The same, 95th percentile.", backend_p95},
    {"lbd_backend_connect_p99_seconds", "gauge", "The same, 99th percentile.", backend_p99},
    {"lbd_first_byte_none_total", "counter",
     "Of the sample: connections with data of the client and no byte of the backend within 17 s.",
     backend_no_byte},
    {"lbd_backend_first_byte_p50_seconds", "gauge",
     "Median time from a client's first data to the backend's first byte, without the client's "
     "round trip, last 5 to 10 s; 0: none was timed.",
     backend_first_byte_p50},
    {"lbd_backend_first_byte_p95_seconds", "gauge", "The same, 95th percentile.",
     backend_first_byte_p95},
    {"lbd_backend_first_byte_p99_seconds", "gauge", "The same, 99th percentile.",
     backend_first_byte_p99},
};

/* A sample for each backend that has labels: as kube-state-metrics has it, other samples of the
 * backend are joined with it on their common labels, and have none of them. */
#define LABELS_NAME "lbd_backend_labels"
#define LABELS_HELP                                                                               \
	"1; its labels name the backend's own as label_KEY, and its zone. Only of backends that " \
	"have some."
#define LABEL_PREFIX "label_"

/* ---- rows ---- */

#define SERVICE_VALUES (sizeof(service_families) / sizeof(service_families[0]))
#define BACKEND_VALUES (sizeof(backend_families) / sizeof(backend_families[0]))

struct service_row {
	size_t labels, labels_length; /* in the text of labels */
	double values[SERVICE_VALUES];
	bool timed;
	struct dp_times times[TIMES_KINDS];
};

struct backend_row {
	size_t labels, labels_length;
	size_t own, own_length; /* with the backend's own labels; length 0: it has none */
	double values[BACKEND_VALUES];
};

struct rows {
	struct text *labels;
	struct service_row *services;
	struct backend_row *backends;
	unsigned services_count, services_size, backends_count, backends_size;
};

static void rows_done(struct rows *rows)
{
	text_unref(rows->labels);
	free(rows->services);
	free(rows->backends);
	*rows = (struct rows){0};
}

#define LABEL_PAIRS (7 + CONFIG_LABELS_MAX)

/* Names and values, and where those of its own that are made are. */
struct label_list {
	const char *pairs[2 * LABEL_PAIRS + 1];
	unsigned count; /* of the texts */
	char vip[ADDR_TEXT], port[8], backend[ADDR_TEXT];
	char keys[CONFIG_LABELS_MAX][sizeof(LABEL_PREFIX) + CONFIG_LABEL_KEY];
};

static void add_pair(struct label_list *list, const char *name, const char *value)
{
	list->pairs[list->count++] = name;
	list->pairs[list->count++] = value;
	list->pairs[list->count] = NULL;
}

static void list_service(struct label_list *list, const struct config_service *config)
{
	list->count = 0;
	snprintf(list->port, sizeof(list->port), "%u", config->port);
	add_pair(list, "service", config->name);
	add_pair(list, "vip", addr_format(&config->vip, list->vip));
	add_pair(list, "port", list->port);
	add_pair(list, "protocol", config->protocol == CONFIG_TCP ? "tcp" : "udp");
}

static void list_backend(struct label_list *list, const struct backend *backend)
{
	const char *name = config_tag_name(backend->tag);

	list_service(list, backend->service->config);
	add_pair(list, "backend", addr_format(&backend->address, list->backend));
	if (name)
		add_pair(list, "name", name);
}

static bool has_own(const struct config_tag *tag)
{
	return tag && (tag->labels_count || tag->zone);
}

static void list_own(struct label_list *list, const struct config_tag *tag)
{
	if (tag->zone)
		add_pair(list, "zone", tag->zone);
	for (unsigned i = 0; i < tag->labels_count; i++) {
		snprintf(list->keys[i], sizeof(list->keys[i]), LABEL_PREFIX "%s",
			 tag->labels[i].key);
		add_pair(list, list->keys[i], tag->labels[i].value);
	}
}

static void add_labels(struct rows *rows, const struct label_list *list, size_t *ret_at,
		       size_t *ret_length)
{
	*ret_at = rows->labels->length;
	metrics_labels(rows->labels, list->pairs);
	*ret_length = rows->labels->length - *ret_at;
}

/* The array with room for one more item. NULL: out of memory; the array stays. */
static void *grow(void *array, unsigned count, unsigned *size, size_t width)
{
	void *grown;

	if (count < *size)
		return array;
	grown = realloc(array, (*size + *size / 2 + 64) * width);
	if (grown)
		*size += *size / 2 + 64;
	return grown;
}

static bool add_service(struct rows *rows, const struct metrics_source *source,
			const struct service *service)
{
	struct service_view view = {
	    .service = service,
	    .announced = source->announce && announce_has(source->announce, &service->config->vip),
	};
	struct label_list labels;
	struct dp_service key;
	struct service_row *row =
	    grow(rows->services, rows->services_count, &rows->services_size, sizeof(*row));

	if (!row)
		return false;
	rows->services = row;
	row += rows->services_count++;
	service_key(service, &key);
	dataplane_service_stats(source->dp, &key, &view.stats);
	dataplane_service_connects(source->dp, &key, &view.connects);
	row->timed = dataplane_times(source->dp, &key, &row->times[TIMES_HANDSHAKE],
				     &row->times[TIMES_FIRST_BYTE]);
	for (unsigned f = 0; f < SERVICE_VALUES; f++)
		row->values[f] = service_families[f].value(&view);
	list_service(&labels, service->config);
	add_labels(rows, &labels, &row->labels, &row->labels_length);
	return true;
}

static bool add_backend(struct rows *rows, const struct dataplane *dp,
			const struct backend *backend)
{
	struct backend_view view = {.backend = backend};
	struct label_list labels;
	struct dp_service key;
	struct backend_row *row =
	    grow(rows->backends, rows->backends_count, &rows->backends_size, sizeof(*row));

	if (!row)
		return false;
	rows->backends = row;
	row += rows->backends_count++;
	service_key(backend->service, &key);
	dataplane_backend_stats(dp, &key, &backend->address, &view.stats);
	dataplane_connects(dp, &key, &backend->address, &view.connects);
	for (unsigned f = 0; f < BACKEND_VALUES; f++)
		row->values[f] = backend_families[f].value(&view);
	list_backend(&labels, backend);
	add_labels(rows, &labels, &row->labels, &row->labels_length);
	row->own_length = 0;
	if (has_own(backend->tag)) {
		list_own(&labels, backend->tag);
		add_labels(rows, &labels, &row->own, &row->own_length);
	}
	return true;
}

/* ---- the build ---- */

struct metrics_build {
	struct metrics_source source;
	struct loop_work *work;
	text_made_fn *made;
	void *arg;
	struct text *text;
	struct rows rows;
	uint64_t generation; /* of state, when the rows were begun */
	unsigned restarts;
	bool collected, globals_written;
	unsigned service_at,
	    backend_at;             /* next to collect: 0 is the service itself, then backends */
	unsigned family_at, row_at; /* next to write, see below */
};

/* Families in their order: of services, the histograms, of backends, their labels. */
enum {
	FAMILY_TIMES = SERVICE_VALUES,
	FAMILY_BACKENDS = FAMILY_TIMES + TIMES_KINDS,
	FAMILY_LABELS = FAMILY_BACKENDS + BACKEND_VALUES,
};

static bool restart(struct metrics_build *build)
{
	rows_done(&build->rows);
	build->rows.labels = text_new();
	build->generation = state_generation(build->source.state);
	build->service_at = build->backend_at = 0;
	return build->rows.labels;
}

/* One row. 1: there are more; 0: that was the last; -ENOMEM. */
static int collect_one(struct metrics_build *build)
{
	const struct metrics_source *source = &build->source;
	unsigned count;
	struct service *const *services = state_services(source->state, &count);
	const struct service *service;
	bool added;

	if (build->service_at >= count)
		return build->rows.labels->failed ? -ENOMEM : 0;
	service = services[build->service_at];
	if (build->backend_at)
		added =
		    add_backend(&build->rows, source->dp, service->backends[build->backend_at - 1]);
	else
		added = add_service(&build->rows, source, service);
	if (++build->backend_at > service->backends_count) {
		build->backend_at = 0;
		build->service_at++;
	}
	return added ? 1 : -ENOMEM;
}

static int collect_some(struct metrics_build *build)
{
	int rc;

	if (build->generation != state_generation(build->source.state)) {
		build->restarts++;
		if (!restart(build))
			return -ENOMEM;
	}
	do
		rc = collect_one(build);
	while (rc > 0 && build->restarts > RESTARTS_MAX);
	build->collected = !rc;
	return rc < 0 ? rc : 1;
}

static void write_service_row(struct metrics_build *build, unsigned family, unsigned at)
{
	const struct service_row *row = &build->rows.services[at];
	const char *labels = build->rows.labels->bytes + row->labels;

	if (family >= FAMILY_TIMES && row->timed)
		write_times(build->text, family - FAMILY_TIMES, labels, row->labels_length,
			    &row->times[family - FAMILY_TIMES]);
	else if (family < FAMILY_TIMES)
		metrics_line(build->text, service_families[family].name, labels, row->labels_length,
			     row->values[family]);
}

static void write_backend_row(struct metrics_build *build, unsigned family, unsigned at)
{
	const struct backend_row *row = &build->rows.backends[at];
	const char *labels = build->rows.labels->bytes;

	if (family < FAMILY_LABELS)
		metrics_line(build->text, backend_families[family - FAMILY_BACKENDS].name,
			     labels + row->labels, row->labels_length,
			     row->values[family - FAMILY_BACKENDS]);
	else if (row->own_length)
		metrics_line(build->text, LABELS_NAME, labels + row->own, row->own_length, 1);
}

static void write_family(struct metrics_build *build, unsigned family)
{
	if (family < FAMILY_TIMES)
		metrics_family(build->text, service_families[family].name,
			       service_families[family].type, service_families[family].help);
	else if (family < FAMILY_BACKENDS)
		metrics_family(build->text, times_families[family - FAMILY_TIMES].name, "histogram",
			       times_families[family - FAMILY_TIMES].help);
	else if (family < FAMILY_LABELS)
		metrics_family(build->text, backend_families[family - FAMILY_BACKENDS].name,
			       backend_families[family - FAMILY_BACKENDS].type,
			       backend_families[family - FAMILY_BACKENDS].help);
	else
		metrics_family(build->text, LABELS_NAME, "gauge", LABELS_HELP);
}

/* Some rows of a family. 1: there are more; 0: that was the last; -ENOMEM. */
static int write_some(struct metrics_build *build)
{
	unsigned family = build->family_at, count;
	bool of_services = family < FAMILY_BACKENDS;

	if (!build->globals_written) {
		metrics_write_globals(build->text, &build->source);
		build->globals_written = true;
		return 1;
	}
	if (family > FAMILY_LABELS)
		return build->text->failed ? -ENOMEM : 0;
	count = of_services ? build->rows.services_count : build->rows.backends_count;
	if (!build->row_at)
		write_family(build, family);
	for (unsigned i = 0; i < ROWS_A_STEP && build->row_at < count; i++) {
		if (of_services)
			write_service_row(build, family, build->row_at++);
		else
			write_backend_row(build, family, build->row_at++);
	}
	if (build->row_at == count) {
		build->row_at = 0;
		build->family_at++;
	}
	return 1;
}

static bool on_step(void *arg)
{
	struct metrics_build *build = arg;
	int rc = build->collected ? write_some(build) : collect_some(build);

	if (rc > 0)
		return true;
	loop_work_stop(build->work);
	build->made(build->arg, rc ? NULL : build->text);
	return false;
}

int metrics_build_new(struct event_base *base, const struct metrics_source *source,
		      text_made_fn *made, void *arg, struct metrics_build **ret)
{
	struct metrics_build *build = calloc(1, sizeof(*build));

	if (!build)
		return -ENOMEM;
	build->source = *source;
	build->made = made;
	build->arg = arg;
	build->text = text_new();
	build->work = loop_work_new(base, LOOP_BULK, on_step, build);
	if (!build->text || !build->work || !restart(build)) {
		metrics_build_free(build);
		return -ENOMEM;
	}
	loop_work_start(build->work, 0);
	*ret = build;
	return 0;
}

void metrics_build_free(struct metrics_build *build)
{
	if (!build)
		return;
	loop_work_free(build->work);
	rows_done(&build->rows);
	text_unref(build->text);
	free(build);
}
