/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GET /metrics: all counters and gauges, for Prometheus. */
#include "metrics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lb_reasons.h"
#include "common/cleanup.h"
#include "accept.h"
#include "metrics_text.h"

#define IDLE_TIMEOUT_S 30

struct metrics {
	struct evhttp *http;
	struct accept_rest *rest;
	struct state *state;
	struct dataplane *dp;
	const struct lateness *lateness;
	double start_time;
};

/* ---- services ---- */

struct service_row {
	struct dp_service_stats stats;
	const struct service *service;
	char vip[ADDR_TEXT], port[8];
	const char *labels[9];
};

typedef double service_value(const struct service_row *row);

static double service_packets(const struct service_row *row)
{
	return (double)row->stats.counts.packets;
}

static double service_bytes(const struct service_row *row)
{
	return (double)row->stats.counts.bytes;
}

static double service_flows(const struct service_row *row)
{
	return (double)row->stats.counts.flows;
}

static double service_up(const struct service_row *row)
{
	return row->service->status != SERVICE_DOWN && !row->service->blind;
}

static double service_panic(const struct service_row *row)
{
	return row->service->panic;
}

static double service_blind(const struct service_row *row)
{
	return row->service->blind;
}

static double service_limited(const struct service_row *row)
{
	return row->stats.limited;
}

static double service_backups(const struct service_row *row)
{
	return row->service->backups_active;
}

static double service_transition(const struct service_row *row)
{
	return row->stats.slots_in_transition;
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
    {"lbd_service_up", "gauge", "1 if at least one backend takes traffic.", service_up},
    {"lbd_service_panic", "gauge", "1 if too few backends are up and all are used.", service_panic},
    {"lbd_service_blind", "gauge", "1 if all backends were lost at once and the ring is frozen.",
     service_blind},
    {"lbd_service_limited", "gauge",
     "1 if the flow table is crowded and the service has used its share: new flows are sent by slot.",
     service_limited},
    {"lbd_service_backups_active", "gauge", "1 if only backups are up and take the traffic.",
     service_backups},
    {"lbd_service_slots_in_transition", "gauge",
     "Slots whose older flows still depend on an earlier backend.", service_transition},
};

static void service_row_fill(const struct dataplane *dp, const struct service *service,
			     struct service_row *row)
{
	const struct config_service *config = service->config;
	struct dp_service key;

	row->service = service;
	service_key(service, &key);
	dataplane_service_stats(dp, &key, &row->stats);
	snprintf(row->port, sizeof(row->port), "%u", config->port);
	row->labels[0] = "service";
	row->labels[1] = config->name;
	row->labels[2] = "vip";
	row->labels[3] = addr_format(&config->vip, row->vip);
	row->labels[4] = "port";
	row->labels[5] = row->port;
	row->labels[6] = "protocol";
	row->labels[7] = config->protocol == CONFIG_TCP ? "tcp" : "udp";
	row->labels[8] = NULL;
}

static void write_services(struct evbuffer *text, const struct service_row *rows, unsigned count)
{
	for (unsigned f = 0; f < sizeof(service_families) / sizeof(service_families[0]); f++) {
		metrics_family(text, service_families[f].name, service_families[f].type,
			       service_families[f].help);
		for (unsigned i = 0; i < count; i++)
			metrics_sample(text, service_families[f].name, rows[i].labels,
				       service_families[f].value(&rows[i]));
	}
}

/* ---- backends ---- */

struct backend_row {
	struct dp_backend_stats stats;
	const struct backend *backend;
	char address[ADDR_TEXT];
	const char *labels[11];
};

typedef double backend_value(const struct backend_row *row);

static double backend_packets(const struct backend_row *row)
{
	return (double)row->stats.counts.packets;
}

static double backend_bytes(const struct backend_row *row)
{
	return (double)row->stats.counts.bytes;
}

static double backend_flows(const struct backend_row *row)
{
	return (double)row->stats.counts.flows;
}

static double backend_up(const struct backend_row *row)
{
	return row->backend->health == HEALTH_UP && row->backend->has_hop;
}

static double backend_draining(const struct backend_row *row)
{
	return row->backend->drain || row->backend->removed;
}

static double backend_weight(const struct backend_row *row)
{
	return row->backend->effective_weight;
}

static double backend_active(const struct backend_row *row)
{
	return row->stats.active;
}

static double backend_slots(const struct backend_row *row)
{
	return row->stats.slots;
}

static double backend_latency(const struct backend_row *row)
{
	return row->backend->latency_us / 1e6;
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
    {"lbd_backend_up", "gauge", "1 if its health check passes and it has a next hop.", backend_up},
    {"lbd_backend_draining", "gauge", "1 if it is draining: it takes no new flows.",
     backend_draining},
    {"lbd_backend_weight", "gauge", "Effective weight, after slow start, drain, backups and panic.",
     backend_weight},
    {"lbd_backend_active_flows", "gauge", "Tracked live flows.", backend_active},
    {"lbd_backend_slots", "gauge", "Slots of the service that send new flows to it.",
     backend_slots},
    {"lbd_backend_latency_seconds", "gauge",
     "Latency of health probes, a moving average that follows peaks at once.", backend_latency},
};

static void backend_row_fill(const struct dataplane *dp, const struct service_row *service,
			     const struct backend *backend, struct backend_row *row)
{
	struct dp_service key;

	row->backend = backend;
	service_key(service->service, &key);
	dataplane_backend_stats(dp, &key, &backend->address, &row->stats);
	memcpy(row->labels, service->labels, 8 * sizeof(row->labels[0]));
	row->labels[8] = "backend";
	row->labels[9] = addr_format(&backend->address, row->address);
	row->labels[10] = NULL;
}

static void write_backends(struct evbuffer *text, const struct backend_row *rows, unsigned count)
{
	for (unsigned f = 0; f < sizeof(backend_families) / sizeof(backend_families[0]); f++) {
		metrics_family(text, backend_families[f].name, backend_families[f].type,
			       backend_families[f].help);
		for (unsigned i = 0; i < count; i++)
			metrics_sample(text, backend_families[f].name, rows[i].labels,
				       backend_families[f].value(&rows[i]));
	}
}

static int write_state(const struct metrics *metrics, struct evbuffer *text)
{
	struct state_summary summary;
	struct service *const *services;
	_cleanup_free_ struct service_row *rows = NULL;
	_cleanup_free_ struct backend_row *backends = NULL;
	unsigned count, filled = 0;

	state_summarize(metrics->state, &summary);
	services = state_services(metrics->state, &count);
	rows = calloc(count + 1, sizeof(*rows));
	backends = calloc(summary.backends + 1, sizeof(*backends));
	if (!rows || !backends)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		service_row_fill(metrics->dp, services[i], &rows[i]);
		for (unsigned j = 0; j < services[i]->backends_count; j++)
			backend_row_fill(metrics->dp, &rows[i], services[i]->backends[j],
					 &backends[filled++]);
	}
	write_services(text, rows, count);
	write_backends(text, backends, filled);
	return 0;
}

/* ---- the rest ---- */

static const struct {
	const char *name;
	enum lb_outcome outcome;
} reasons[] = {
#define X(name, outcome, help) {#name, LB_##outcome},
    LB_REASONS(X)
#undef X
};

static void write_reasons(struct evbuffer *text, const struct lb_reason_count *counts)
{
	static const char *const outcomes[] = {
	    [LB_SENT] = "sent", [LB_PASSED] = "passed", [LB_DROPPED] = "dropped"};

	metrics_family(text, "lbd_packets_total", "counter", "Packets by outcome and reason.");
	for (unsigned i = 0; i < LB_REASON_COUNT; i++)
		metrics_sample(text, "lbd_packets_total",
			       (const char *[]){"reason", reasons[i].name, "outcome",
						outcomes[reasons[i].outcome], NULL},
			       (double)counts[i].packets);
	metrics_family(text, "lbd_bytes_total", "counter",
		       "Bytes of packets by outcome and reason.");
	for (unsigned i = 0; i < LB_REASON_COUNT; i++)
		metrics_sample(text, "lbd_bytes_total",
			       (const char *[]){"reason", reasons[i].name, "outcome",
						outcomes[reasons[i].outcome], NULL},
			       (double)counts[i].bytes);
}

static void write_events(struct evbuffer *text, const struct lb_reason_count *counts)
{
	static const char *const names[] = {
#define X(name, help) #name,
	    LB_EVENTS(X)
#undef X
	};

	metrics_family(text, "lbd_events_total", "counter",
		       "Events that packets caused, in addition to their reason.");
	for (unsigned i = LB_REASON_COUNT; i < LB_COUNTERS; i++)
		metrics_sample(text, "lbd_events_total",
			       (const char *[]){"event", names[i - LB_REASON_COUNT], NULL},
			       (double)counts[i].packets);
}

static void write_memory(struct evbuffer *text, const struct dp_memory *memory)
{
	const struct {
		const char *part;
		uint64_t bytes;
	} parts[] = {
	    {"flows", memory->flows},       {"arena", memory->arena},
	    {"services", memory->services}, {"backends", memory->backends},
	    {"counters", memory->counters}, {"other", memory->other},
	};

	metrics_family(text, "lbd_memory_bytes", "gauge", "Memory of the maps.");
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		metrics_sample(text, "lbd_memory_bytes",
			       (const char *[]){"part", parts[i].part, NULL},
			       (double)parts[i].bytes);
	metrics_family(text, "lbd_flow_entries", "gauge",
		       "Live entries in the flow table at the last sweep.");
	metrics_sample(text, "lbd_flow_entries", NULL, (double)memory->flow_entries);
	metrics_family(text, "lbd_flow_capacity", "gauge",
		       "Entries that the flow table has room for.");
	metrics_sample(text, "lbd_flow_capacity", NULL, (double)memory->flow_capacity);
}

static void write_lateness(struct evbuffer *text, const struct lateness_meter *meter)
{
	static const double bounds[] = LATENESS_BOUNDS;
	uint64_t beats = 0;
	char bound[24];

	metrics_family(
	    text, "lbd_loop_late_seconds", "histogram",
	    "How late lbd's event loop was, measured 20 times a second. Probes that fail while it is late do not count.");
	for (unsigned i = 0; i < LATENESS_BUCKETS; i++) {
		beats += meter->buckets[i];
		if (i < LATENESS_BUCKETS - 1)
			snprintf(bound, sizeof(bound), "%g", bounds[i] / 1e6);
		else
			snprintf(bound, sizeof(bound), "+Inf");
		metrics_sample(text, "lbd_loop_late_seconds_bucket",
			       (const char *[]){"le", bound, NULL}, (double)beats);
	}
	metrics_sample(text, "lbd_loop_late_seconds_sum", NULL, (double)meter->sum_us / 1e6);
	metrics_sample(text, "lbd_loop_late_seconds_count", NULL, (double)meter->beats);
}

static int write_all(const struct metrics *metrics, struct evbuffer *text)
{
	struct lb_reason_count counts[LB_COUNTERS];
	struct dp_memory memory;
	char abi[12];

	snprintf(abi, sizeof(abi), "%d", LB_ABI_VERSION);
	metrics_family(text, "lbd_build_info", "gauge", "1; the labels give the version.");
	metrics_sample(text, "lbd_build_info",
		       (const char *[]){"version", LBD_VERSION, "abi", abi, NULL}, 1);
	metrics_family(text, "lbd_start_time_seconds", "gauge",
		       "When this lbd started, in seconds since 1970-01-01 UTC.");
	metrics_sample(text, "lbd_start_time_seconds", NULL, metrics->start_time);
	write_lateness(text, lateness_meter(metrics->lateness));
	dataplane_reason_counts(metrics->dp, counts);
	write_reasons(text, counts);
	write_events(text, counts);
	dataplane_memory(metrics->dp, &memory);
	write_memory(text, &memory);
	return write_state(metrics, text);
}

/* ---- HTTP ---- */

static void answer(struct evhttp_request *request, int status, const char *reason, const char *line)
{
	struct evbuffer *text = evbuffer_new();

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "text/plain; charset=utf-8");
	if (text)
		evbuffer_add_printf(text, "%s\n", line);
	evhttp_send_reply(request, status, reason, text);
	if (text)
		evbuffer_free(text);
}

static bool reads(struct evhttp_request *request)
{
	enum evhttp_cmd_type command = evhttp_request_get_command(request);

	return command == EVHTTP_REQ_GET || command == EVHTTP_REQ_HEAD;
}

static void on_metrics(struct evhttp_request *request, void *arg)
{
	struct evbuffer *text;

	if (!reads(request)) {
		answer(request, 405, "Method Not Allowed", "only GET and HEAD");
		return;
	}
	text = evbuffer_new();
	if (!text || write_all(arg, text)) {
		answer(request, HTTP_INTERNAL, "Internal Server Error", "out of memory");
	} else {
		evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
				  "text/plain; version=0.0.4; charset=utf-8");
		evhttp_send_reply(request, HTTP_OK, "OK", text);
	}
	if (text)
		evbuffer_free(text);
}

static void on_other(struct evhttp_request *request, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

	if (!reads(request))
		answer(request, 405, "Method Not Allowed", "only GET and HEAD");
	else if (path && (!*path || !strcmp(path, "/")))
		answer(request, HTTP_OK, "OK", "lbd " LBD_VERSION ": metrics are at /metrics");
	else
		answer(request, HTTP_NOTFOUND, "Not Found", "metrics are at /metrics");
}

static int serve(struct metrics *metrics, struct event_base *base, const struct addr *address,
		 uint16_t port, struct error *err)
{
	struct evhttp_bound_socket *bound;
	char text[ADDR_TEXT];

	addr_format(address, text);
	metrics->http = evhttp_new(base);
	if (!metrics->http || evhttp_set_cb(metrics->http, "/metrics", on_metrics, metrics))
		return error_set(err, -ENOMEM, "out of memory");
	evhttp_set_gencb(metrics->http, on_other, NULL);
	evhttp_set_max_body_size(metrics->http, 4096);
	evhttp_set_max_headers_size(metrics->http, 16384);
	evhttp_set_timeout(metrics->http, IDLE_TIMEOUT_S);
	errno = 0;
	bound = evhttp_bind_socket_with_handle(metrics->http, text, port);
	if (!bound)
		return error_set(
		    err, errno ? -errno : -EADDRNOTAVAIL,
		    "metrics: %s port %u: %s; choose another address, or `metrics: off`", text,
		    port, strerror(errno ? errno : EADDRNOTAVAIL));
	metrics->rest = accept_rest_new(base, evhttp_bound_socket_get_listener(bound), "metrics");
	if (!metrics->rest)
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

int metrics_new(struct event_base *base, struct state *state, struct dataplane *dp,
		const struct lateness *lateness, const struct addr *address, uint16_t port,
		struct metrics **ret, struct error *err)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	struct timespec now;
	int rc;

	if (!metrics)
		return error_set(err, -ENOMEM, "out of memory");
	clock_gettime(CLOCK_REALTIME, &now);
	*metrics = (struct metrics){.state = state,
				    .dp = dp,
				    .lateness = lateness,
				    .start_time = (double)now.tv_sec + (double)now.tv_nsec / 1e9};
	rc = serve(metrics, base, address, port, err);
	if (rc)
		metrics_free(metrics);
	else
		*ret = metrics;
	return rc;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	accept_rest_free(metrics->rest);
	if (metrics->http)
		evhttp_free(metrics->http);
	free(metrics);
}
