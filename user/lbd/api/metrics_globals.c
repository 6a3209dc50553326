/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes the metrics that belong to no service: is traffic forwarded, packets by reason, events,
 * memory, lateness, health checks, and how the faces are used. */
#include "metrics_globals.h"

#include <stdio.h>
#include <string.h>

#include "lbd/events/events.h"
#include "counter_text.h"
#include "forwards.h"
#include "metrics_text.h"

/* A gauge without labels. */
static void write_number(struct text *text, const char *name, const char *help, double value)
{
	metrics_family(text, name, "gauge", help);
	metrics_sample(text, name, NULL, value);
}

static void write_reasons(struct text *text, const struct lb_reason_count *counts)
{
	metrics_family(text, "lbd_packets_total", "counter", "Packets by outcome and reason.");
	for (unsigned i = 0; i < LB_REASON_COUNT; i++)
		metrics_sample(text, "lbd_packets_total",
			       (const char *[]){"reason", counter_texts[i].name, "outcome",
						outcome_name(counter_texts[i].outcome), NULL},
			       (double)counts[i].packets);
	metrics_family(text, "lbd_bytes_total", "counter",
		       "Bytes of packets by outcome and reason.");
	for (unsigned i = 0; i < LB_REASON_COUNT; i++)
		metrics_sample(text, "lbd_bytes_total",
			       (const char *[]){"reason", counter_texts[i].name, "outcome",
						outcome_name(counter_texts[i].outcome), NULL},
			       (double)counts[i].bytes);
}

static void write_events(struct text *text, const struct lb_reason_count *counts)
{
	metrics_family(text, "lbd_events_total", "counter",
		       "Events that packets caused, in addition to their reason.");
	for (unsigned i = LB_REASON_COUNT; i < LB_COUNTERS; i++)
		metrics_sample(text, "lbd_events_total",
			       (const char *[]){"event", counter_texts[i].name, NULL},
			       (double)counts[i].packets);
}

static void write_memory(struct text *text, const struct dp_memory *memory)
{
	const struct {
		const char *part;
		uint64_t bytes;
	} parts[] = {
	    {"flows", memory->flows},       {"arena", memory->arena},
	    {"services", memory->services}, {"backends", memory->backends},
	    {"counters", memory->counters}, {"filters", memory->filters},
	    {"other", memory->other},
	};

	metrics_family(text, "lbd_memory_bytes", "gauge", "Memory of the maps.");
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		metrics_sample(text, "lbd_memory_bytes",
			       (const char *[]){"part", parts[i].part, NULL},
			       (double)parts[i].bytes);
	write_number(text, "lbd_flow_entries", "Live entries in the flow table at the last sweep.",
		     (double)memory->flow_entries);
	write_number(text, "lbd_flow_capacity", "Entries that the flow table has room for.",
		     (double)memory->flow_capacity);
	write_number(text, "lbd_flow_places",
		     "Places of the flow table in use: they grow with the entries, up to "
		     "lbd_flow_capacity.",
		     (double)memory->flow_places);
}

static void write_lateness(struct text *text, const struct lateness_meter *meter)
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

static void write_probe_process(struct text *text, const struct health *health)
{
	struct health_process process;

	health_process(health, &process);
	write_number(text, "lbd_probe_process_down",
		     "1: checks that read answers need the probe process, and it does not run.",
		     process.needed && !process.running);
	metrics_family(text, "lbd_probe_process_restarts_total", "counter",
		       "Times it has ended by itself, or was ended as it hung or misbehaved.");
	metrics_sample(text, "lbd_probe_process_restarts_total", NULL, (double)process.restarts);
}

static void write_lost(struct text *text, const struct attach *attach)
{
	const struct attachment *list;
	unsigned count;

	if (!attach)
		return;
	list = attach_list(attach, &count);
	metrics_family(
	    text, "lbd_interface_lost_frames_total", "counter",
	    "Frames that lbd's program sent and no device took, since lbd attached it or "
	    "took it over.");
	for (unsigned i = 0; i < count; i++)
		metrics_sample(text, "lbd_interface_lost_frames_total",
			       (const char *[]){"interface", list[i].name, NULL},
			       (double)list[i].lost);
}

static void write_node(struct text *text, const struct announce *announce)
{
	struct announce_node node = {0};

	if (announce)
		announce_node(announce, &node);
	if (!node.on)
		return;
	metrics_family(text, "lbd_node_state", "gauge", "1 for the state that the node is in.");
	for (unsigned i = 0; i < NODE_STATES; i++)
		metrics_sample(text, "lbd_node_state",
			       (const char *[]){"state", announce_state_name(i), NULL},
			       node.state == i);
	write_number(text, "lbd_vips", "VIPs of the config.", node.vips);
	write_number(text, "lbd_vips_announced", "VIPs that a route announces.", node.announced);
	write_number(text, "lbd_announce_fault",
		     "1: routes or file are not as they should be; lbctl status says why.",
		     node.fault[0] != 0);
}

/* ---- other nodes ---- */

static void write_peer_values(struct text *text, const struct fleet *fleet, unsigned peers,
			      const char *name, const char *type, const char *help,
			      double value(const struct fleet_peer_view *peer))
{
	metrics_family(text, name, type, help);
	for (unsigned i = 0; i < peers; i++) {
		struct fleet_peer_view peer;
		char address[ADDR_TEXT];

		fleet_look_at(fleet, i, &peer);
		metrics_sample(text, name,
			       (const char *[]){"peer", addr_format(&peer.address, address), NULL},
			       value(&peer));
	}
}

static bool is_met(const struct fleet_peer_view *peer)
{
	return peer->state == FLEET_SYNCING || peer->state == FLEET_SYNCED;
}

static double peer_synced(const struct fleet_peer_view *peer)
{
	return peer->state == FLEET_SYNCED;
}

static double peer_lag(const struct fleet_peer_view *peer)
{
	return is_met(peer) ? peer->lag_ms / 1000.0 : 0;
}

static double peer_same_config(const struct fleet_peer_view *peer)
{
	return is_met(peer) && peer->same_config;
}

static double peer_losses(const struct fleet_peer_view *peer)
{
	return (double)peer->losses;
}

/* A counter without labels. */
static void write_count(struct text *text, const char *name, const char *help, uint64_t value)
{
	metrics_family(text, name, "counter", help);
	metrics_sample(text, name, NULL, (double)value);
}

static void write_fleet(struct text *text, const struct fleet *fleet)
{
	struct fleet_view view;

	if (!fleet)
		return;
	fleet_look(fleet, &view);
	write_number(text, "lbd_peers", "Other nodes of the config.", view.peers);
	write_peer_values(text, fleet, view.peers, "lbd_peer_synced", "gauge",
			  "1 while this node and the other have told each other everything.",
			  peer_synced);
	write_peer_values(text, fleet, view.peers, "lbd_peer_lag_seconds", "gauge",
			  "Time until what changes at the other node is known here; 0 without a "
			  "connection.",
			  peer_lag);
	write_peer_values(text, fleet, view.peers, "lbd_peer_same_config", "gauge",
			  "1 if the other node is connected and its config has the same services "
			  "and backends.",
			  peer_same_config);
	write_peer_values(text, fleet, view.peers, "lbd_peer_losses_total", "counter",
			  "Connections to the other node that were lost.", peer_losses);
	write_count(text, "lbd_sync_conflicts_total",
		    "Slots that had untracked flows on different backends at two nodes when they "
		    "met.",
		    view.conflicts);
	write_count(text, "lbd_sync_unplaced_total",
		    "Flows of other nodes that found no place in this node's flow table.",
		    view.unplaced);
}

/* ---- what an alert asks for ---- */

static void write_forwarding(struct text *text, const struct metrics_source *source)
{
	char why[FORWARDING_TEXT];

	write_number(text, "lbd_forwarding",
		     "1 while an interface is attached and running, and a service is up: what "
		     "/healthz says.",
		     api_forwarding(source->state, source->attach, why) != FORWARDING_NOT);
}

static void write_attached(struct text *text, const struct metrics_source *source)
{
	const char *const name = "lbd_interface_attached";
	const struct config *config = state_config(source->state);
	const struct attachment *list = NULL;
	unsigned count = 0;

	if (source->attach)
		list = attach_list(source->attach, &count);
	metrics_family(text, name, "gauge",
		       "1 if lbd's program is attached to the interface; 0: only the config names "
		       "it.");
	for (unsigned i = 0; i < config->interfaces_count; i++)
		metrics_sample(text, name,
			       (const char *[]){"interface", config->interfaces[i], NULL},
			       source->attach && attach_has(source->attach, config->interfaces[i]));
	for (unsigned i = 0; i < count; i++)
		if (!config_has_interface(config, list[i].name))
			metrics_sample(text, name,
				       (const char *[]){"interface", list[i].name, NULL}, 1);
}

/* Without a rollout of what etcd has: all 0. */
static void write_rollout(struct text *text, const struct config_follower_view *view)
{
	const char *const name = "lbd_shared_config_rollout";
	char why[ROLLOUT_WHY];
	int outcome = -1;

	if (view->rollout)
		outcome =
		    (int)rollout_judge(view->rollout, view->live, view->where->from.node, why);
	metrics_family(text, name, "gauge",
		       "1 for the state that the rollout of the config in etcd is in.");
	for (int i = 0; i < ROLLOUT_OUTCOMES; i++)
		metrics_sample(
		    text, name,
		    (const char *[]){"state", rollout_outcome_name((enum rollout_outcome)i), NULL},
		    i == outcome);
}

/* Of a config in etcd. */
static void write_shared_config(struct text *text, const struct config_follower *follower)
{
	struct config_follower_view view;

	if (!follower)
		return;
	config_follower_look(follower, &view);
	write_number(
	    text, "lbd_shared_config_readable",
	    "1 if the config of the fleet can be read from etcd; 0: it cannot, and the one "
	    "in force stays.",
	    view.heard_ms && !view.failed_ms);
	write_number(text, "lbd_shared_config_in_force",
		     "1 if the config that etcd had last is in force on this node; 0: it was "
		     "refused, or waits for its turn in a rollout.",
		     view.in_force);
	write_rollout(text, &view);
}

static void write_config(struct text *text, const struct state *state)
{
	struct config_age age;

	state_config_age(state, &age);
	write_number(text, "lbd_config_reload_success",
		     "1 if the last start or reload took over the config file; 0: the file was "
		     "refused, and an older config is in force.",
		     !age.refused);
	write_number(text, "lbd_config_reload_timestamp_seconds",
		     "When the config in force was read, in seconds since 1970-01-01 UTC.",
		     (double)age.applied_ms / 1000);
	write_number(text, "lbd_overrides",
		     "Services and backends that differ from the config file by run-time changes.",
		     state_overrides_count(state));
}

static void write_checks(struct text *text, const struct health *health)
{
#define X(name, help) #name,
	static const char *const results[] = {HEALTH_RESULTS(X)};
#undef X
	const uint64_t *counts = health_counts(health);

	metrics_family(text, "lbd_health_checks_total", "counter",
		       "Health checks that ended, by result. not_run: this host lacked a resource; "
		       "repeated: lbd was late or the probe process ended.");
	for (unsigned i = 0; i < HEALTH_COUNTS; i++)
		metrics_sample(text, "lbd_health_checks_total",
			       (const char *[]){"result", results[i], NULL}, (double)counts[i]);
}

static void write_notify(struct text *text)
{
	const uint64_t *counts = events_notify_counts();

	metrics_family(
	    text, "lbd_notify_runs_total", "counter",
	    "Times the command of `notify` was run for events, by how it ended. failed: by "
	    "its exit status or a signal; timeout: it was killed.");
	for (unsigned i = 0; i < NOTIFY_RESULT_COUNT; i++)
		metrics_sample(text, "lbd_notify_runs_total",
			       (const char *[]){"result", notify_result_name(i), NULL},
			       (double)counts[i]);
}

/* ---- the faces ---- */

static const char *const face_names[METRICS_FACES] = {"control", "metrics", "api"};

static void write_face_number(struct text *text, const struct metrics_source *source,
			      const char *name, const char *type, const char *help,
			      double value(const struct face *face))
{
	metrics_family(text, name, type, help);
	for (unsigned i = 0; i < METRICS_FACES; i++)
		if (source->faces[i])
			metrics_sample(text, name, (const char *[]){"face", face_names[i], NULL},
				       value(source->faces[i]));
}

static double face_connections(const struct face *face)
{
	return face_counts(face)->connections;
}

static double face_connections_max(const struct face *face)
{
	return face_limits(face)->connections;
}

static double face_requests(const struct face *face)
{
	return (double)face_counts(face)->requests;
}

static void write_faces(struct text *text, const struct metrics_source *source)
{
	write_face_number(text, source, "lbd_face_connections", "gauge",
			  "Open connections of the control socket and of the metrics listener.",
			  face_connections);
	write_face_number(text, source, "lbd_face_connections_max", "gauge",
			  "Connections that it may have at the same time.", face_connections_max);
	write_face_number(text, source, "lbd_face_requests_total", "counter",
			  "Requests received whole.", face_requests);
	metrics_family(text, "lbd_face_refused_total", "counter",
		       "Connections closed and requests refused, by reason.");
	for (unsigned i = 0; i < METRICS_FACES; i++)
		for (unsigned j = 0; source->faces[i] && j < FACE_REFUSAL_COUNT; j++)
			metrics_sample(text, "lbd_face_refused_total",
				       (const char *[]){"face", face_names[i], "reason",
							face_refusal_name(j), NULL},
				       (double)face_counts(source->faces[i])->refused[j]);
}

void metrics_write_globals(struct text *text, const struct metrics_source *source)
{
	struct lb_reason_count counts[LB_COUNTERS];
	struct dp_memory memory;
	char abi[12];

	snprintf(abi, sizeof(abi), "%d", LB_ABI_VERSION);
	metrics_family(text, "lbd_build_info", "gauge", "1; the labels give the version.");
	metrics_sample(text, "lbd_build_info",
		       (const char *[]){"version", LBD_VERSION, "abi", abi, NULL}, 1);
	write_number(text, "lbd_start_time_seconds",
		     "When this lbd started, in seconds since 1970-01-01 UTC.", source->start_time);
	write_forwarding(text, source);
	write_attached(text, source);
	write_config(text, source->state);
	write_checks(text, source->health);
	write_notify(text);
	write_lost(text, source->attach);
	write_node(text, source->announce);
	write_fleet(text, source->fleet);
	write_shared_config(text, source->follower);
	write_lateness(text, lateness_meter(source->lateness));
	write_probe_process(text, source->health);
	write_faces(text, source);
	dataplane_reason_counts(source->dp, counts);
	write_reasons(text, counts);
	write_events(text, counts);
	dataplane_memory(source->dp, &memory);
	write_memory(text, &memory);
}
