/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What GET requests show: JSON as described in include/lb_api.h. */
#include "internal.h"

#include <errno.h>
#include <event2/http.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lb_abi.h"
#include "lb_api.h"
#include "lb_reasons.h"
#include "common/clock.h"
#include "common/printable.h"
#include "counter_text.h"
#include "forwards.h"

static json_int_t number(uint64_t value)
{
	return (json_int_t)value;
}

/* Seconds, or null where there is no such time. */
static json_t *seconds_json(bool there, uint64_t ms)
{
	return there ? json_integer((json_int_t)(ms / 1000)) : json_null();
}

/* ---- status ---- */

static void append_feature(void *arg, const char *device, const char *feature)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "device", device, "feature", feature));
}

static void append_sentence(void *arg, const char *sentence)
{
	json_array_append_new(arg, json_string(sentence));
}

json_t *api_interface_json(const struct api *api, const struct attachment *attachment)
{
	const struct offloads *offloads = attach_offloads(api->attach);
	json_t *off = json_array(), *warnings = json_array();
	char name[sizeof(attachment->name)];

	memcpy(name, attachment->name, sizeof(name));
	make_printable(name, false);
	offloads_list(offloads, attachment->ifindex, append_feature, off);
	attach_warnings(api->attach, attachment, append_sentence, warnings);
	return json_pack("{s:s, s:I, s:s, s:b, s:b, s:I, s:o, s:o}", "name", name, "ifindex",
			 number(attachment->ifindex), "mode",
			 attachment->native ? "native" : "generic", "dispatcher",
			 attachment->dispatcher, "running", attach_interface_runs(attachment->name),
			 "lost", number(attachment->lost), "turned_off", off, "warnings", warnings);
}

static json_t *interfaces_json(const struct api *api)
{
	unsigned count;
	const struct attachment *list = attach_list(api->attach, &count);
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, api_interface_json(api, &list[i]));
	return array;
}

static unsigned limited_services(const struct api *api)
{
	unsigned count, limited = 0;
	struct service *const *services = state_services(api->state, &count);

	for (unsigned i = 0; i < count; i++) {
		struct dp_service key;

		service_key(services[i], &key);
		limited += dataplane_is_limited(api->dp, &key);
	}
	return limited;
}

/* The source of the seed in force. */
static const char *seed_origin(const struct api *api)
{
	const struct config *config = state_config(api->state);

	if (!config->hash_seed)
		return "random";
	return config->hash_seed == dataplane_hash_seed(api->dp) ? "config" : "pinned";
}

/* "late_ms" covers the last one to two minutes, "late_max_ms" all of lbd's run. */
static json_t *loop_json(const struct api *api)
{
	const struct lateness_meter *meter = lateness_meter(api->lateness);
	uint64_t recent_us = lateness_recent(meter, clock_monotonic_us());

	return json_pack("{s:I, s:I}", "late_ms", number(recent_us / 1000), "late_max_ms",
			 number(meter->max_us / 1000));
}

/* null: no check needs the process. */
static json_t *probe_process_json(const struct api *api)
{
	struct health_process process;
	uint64_t now_ms = clock_monotonic_ms();

	health_process(api->health, &process);
	if (!process.needed)
		return json_null();
	return json_pack("{s:b, s:o, s:I, s:I, s:o, s:s}", "running", process.running, "pid",
			 process.pid ? json_integer(process.pid) : json_null(), "probes",
			 number(process.probes), "restarts", number(process.restarts), "last_end_s",
			 seconds_json(process.ended_ms, now_ms - process.ended_ms), "why",
			 process.why);
}

json_t *api_status_json(const struct api *api)
{
	char seed[24];
	struct state_summary summary;
	struct dp_memory memory;
	struct utsname system;
	unsigned sources, failed;

	uname(&system);
	state_count_sources(api->state, &sources, &failed);
	snprintf(seed, sizeof(seed), "0x%016" PRIx64, dataplane_hash_seed(api->dp));
	state_summarize(api->state, &summary);
	dataplane_memory(api->dp, &memory);
	return json_pack(
	    "{s:s, s:i, s:i, s:I, s:s, s:b, s:b, s:i, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, "
	    "s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I, s:i}, s:s, "
	    "s:s, "
	    "s:o, s:o, s:o, s:s, s:i, s:i, s:s?, s:o, s:i}",
	    "version", LBD_VERSION, "abi", LB_ABI_VERSION, "pid", (int)getpid(), "uptime_s",
	    number((clock_monotonic_ms() - api->start_ms) / 1000), "config",
	    state_config_path(api->state), "adopted", dataplane_adopted(api->dp), "starting",
	    !state_is_started(api->state), "overrides", state_overrides_count(api->state),
	    "interfaces", interfaces_json(api), "services", summary.services, "services_down",
	    summary.services_down, "services_panic", summary.services_panic, "services_backup",
	    summary.services_backup, "services_blind", summary.services_blind, "backends",
	    summary.backends, "backends_up", summary.backends_up, "memory", "total",
	    number(memory.total), "flows", number(memory.flows), "arena", number(memory.arena),
	    "services", number(memory.services), "backends", number(memory.backends), "counters",
	    number(memory.counters), "filters", number(memory.filters), "other",
	    number(memory.other), "flows", "capacity", number(memory.flow_capacity), "places",
	    number(memory.flow_places), "limit", number(memory.flow_capacity / 2), "entries",
	    number(memory.flow_entries), "without_place",
	    number(state_flows_without_place(api->state)), "limited_services",
	    limited_services(api), "hash_seed", seed, "hash_seed_from", seed_origin(api), "loop",
	    loop_json(api), "probe_process", probe_process_json(api), "node", api_node_json(api),
	    "kernel", system.release, "sources", sources, "sources_failed", failed, "zone",
	    state_zone(api->state), "shared_config", api_shared_config_json(api), "backends_silent",
	    summary.backends_silent);
}

int api_status(struct api_call *call, json_t **ret, struct error *err)
{
	*ret = api_status_json(call->api);
	return 0;
}

/* ---- services ---- */

static const char *forward_name(uint8_t forward)
{
	static const char *const names[] = {[LB_FORWARD_IPIP] = "ipip",
					    [LB_FORWARD_GUE] = "gue",
					    [LB_FORWARD_L2] = "l2",
					    [LB_FORWARD_GRE] = "gre",
					    [LB_FORWARD_NAT] = "nat"};

	return names[forward];
}

static const char *tracking_name(uint8_t tracking)
{
	static const char *const names[] = {[CONFIG_TRACKING_AUTO] = "auto",
					    [CONFIG_TRACKING_ALWAYS] = "always",
					    [CONFIG_TRACKING_NEVER] = "never"};

	return names[tracking];
}

/* The number of prefixes, null: the service has no such list. */
static json_t *list_json(const struct filter_list *list)
{
	return list ? json_integer(list->count) : json_null();
}

/* Rates per second, as they may be less than one. */
static json_t *rate_json(const struct config_rate *rate)
{
	if (!rate->per_minute)
		return json_null();
	return json_pack("{s:f, s:I}", "rate", rate->per_minute / 60.0, "burst",
			 number(rate->burst));
}

static json_t *limit_json(const struct config_limit *limit)
{
	json_t *source;

	if (!limit->service.per_minute && !limit->source.per_minute)
		return json_null();
	source = rate_json(&limit->source);
	if (limit->source.per_minute) {
		json_object_set_new(source, "v4", json_integer(limit->source4));
		json_object_set_new(source, "v6", json_integer(limit->source6));
	}
	return json_pack("{s:o, s:o}", "service", rate_json(&limit->service), "per_source", source);
}

void api_windows_read(const struct service *service, struct api_windows *ret)
{
	uint64_t now_ms = clock_wall_ms();

	ret->count = service->uptime ? UPTIME_WINDOWS : 0;
	for (unsigned i = 0; i < ret->count; i++)
		ret->shares[i] = uptime_share(service->uptime, i, now_ms);
}

static json_t *ratio_json(uint64_t part, uint64_t all)
{
	return all ? json_real((double)part / (double)all) : json_null();
}

/* Of each window the share of the time that lbd looked; null: it did not. */
json_t *api_availability_json(const struct api_windows *windows)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < windows->count; i++) {
		const struct uptime_share *share = &windows->shares[i];

		json_object_set_new(object, uptime_window_names[i],
				    ratio_json(share->up_ms, share->seen_ms));
	}
	return object;
}

/* Of each window the share of the connects in the sample that were answered; null: there were none.
 */
static json_t *answered_json(const struct api_windows *windows)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < windows->count; i++) {
		const struct uptime_share *share = &windows->shares[i];

		json_object_set_new(
		    object, uptime_window_names[i],
		    ratio_json(share->answered, share->answered + share->unanswered));
	}
	return object;
}

static json_t *us_json(uint32_t us)
{
	return us ? json_integer(us) : json_null();
}

/* Of the backends' first bytes. */
static json_t *first_byte_json(const struct dp_connects *connects)
{
	return json_pack(
	    "{s:I, s:I, s:o, s:o, s:o, s:I}", "timed", number(connects->first_byte.timed), "none",
	    number(connects->first_byte.none), "p50_us", us_json(connects->first_byte.p50_us),
	    "p95_us", us_json(connects->first_byte.p95_us), "p99_us",
	    us_json(connects->first_byte.p99_us), "recent", number(connects->first_byte.recent));
}

/* What the traffic shows of connects. */
static json_t *connects_json(const struct dp_connects *connects)
{
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I}}",
	    "sampled", number(connects->sampled), "retried", number(connects->retried), "reset",
	    number(connects->reset), "unanswered", number(connects->unanswered), "refused",
	    number(connects->refused), "answered_again", number(connects->answered_again), "p50_us",
	    us_json(connects->p50_us), "p95_us", us_json(connects->p95_us), "p99_us",
	    us_json(connects->p99_us), "first_byte", first_byte_json(connects), "recent", "sampled",
	    number(connects->recent.sampled), "answered", number(connects->recent.answered),
	    "retried", number(connects->recent.retried), "unanswered",
	    number(connects->recent.unanswered), "refused", number(connects->recent.refused),
	    "failed", number(connects->recent.failed));
}

static json_t *service_connects_json(const struct dataplane *dp, const struct dp_service *key)
{
	struct dp_connects connects;

	return dataplane_service_connects(dp, key, &connects) ? connects_json(&connects)
							      : json_null();
}

static json_t *backend_connects_json(const struct dataplane *dp, const struct dp_service *key,
				     const struct backend *backend)
{
	struct dp_connects connects;

	return dataplane_connects(dp, key, &backend->address, &connects) ? connects_json(&connects)
									 : json_null();
}

json_t *api_age_json(uint64_t at_ms)
{
	uint64_t now = clock_monotonic_ms();

	return seconds_json(at_ms, now > at_ms ? now - at_ms : 0);
}

/* null: backends come from the config and from registrations alone. */
static json_t *source_json(const struct api *api, const struct config_service *config)
{
	const struct source_status none = {0},
				   *status = state_source_status(api->state, config->name);

	if (!config_from_kind(&config->from))
		return json_null();
	if (!status)
		status = &none;
	return json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:s, s:i, s:s}", "kind",
			 config_from_kind(&config->from), "what", config_from_what(&config->from),
			 "min", config->from.min, "named", status->named, "listed_s",
			 api_age_json(status->listed_ms), "failed_s",
			 api_age_json(status->failed_ms), "why", status->why, "ignored",
			 status->ignored, "ignored_why", status->ignored_why);
}

/* Those that have backends, in the order in which they come. */
static json_t *levels_json(const struct service *service)
{
	json_t *levels = json_array();

	for (unsigned i = 0; i < LEVELS; i++) {
		const struct level *level = &service->levels[i];

		if (!level->count)
			continue;
		json_array_append_new(
		    levels,
		    json_pack("{s:o, s:b, s:i, s:i, s:f, s:b}", "priority",
			      i < LEVELS_PRIMARY ? json_integer(i / 2) : json_null(), "local",
			      !(i % 2), "backends", level->count, "backends_up", level->up, "share",
			      (double)level->share / LEVEL_WHOLE, "panic", level->panic));
	}
	return levels;
}

/* How many backends are checked where; null: none is checked. */
static json_t *aims_json(const struct service *service)
{
	json_int_t vip = 0, own = 0;
	struct health_aim all = {0};

	for (unsigned i = 0; i < service->backends_count; i++) {
		struct health_aim aim = {0};

		backend_aim(service->backends[i], &aim);
		vip += aim.vip;
		own += aim.backend;
		if (aim.prevented)
			all = aim;
	}
	if (!vip && !own)
		return json_null();
	return json_pack("{s:I, s:I, s:s}", "vip", vip, "backend", own, "hint", all.why);
}

json_t *api_service_json(const struct api *api, const struct service *service)
{
	const struct config_service *config = service->config;
	struct dp_service_stats stats = {0};
	struct api_windows windows;
	struct dp_service key;
	char vip[ADDR_TEXT], digest[20];

	service_key(service, &key);
	api_windows_read(service, &windows);
	dataplane_service_stats(api->dp, &key, &stats);
	snprintf(digest, sizeof(digest), "%016" PRIx64, stats.ring_digest);
	return json_pack(
	    "{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:s, s:b, s:I, s:I, s:I, "
	    "s:o, s:o, s:I, s:o, s:I, s:I, s:s, s:o, s:o, s:f, s:o, s:b, s:o, s:o, s:I, s:I, s:I, s:o}",
	    "name", config->name, "vip", addr_format(&config->vip, vip), "protocol",
	    config->protocol == CONFIG_TCP ? "tcp" : "udp", "port", config->port, "algorithm",
	    config->algorithm->name, "forward", forward_name(config->forward), "tracking",
	    tracking_name(config->tracking), "status", service_status_name(service->status),
	    "backends", service->backends_count, "backends_up", service->up, "slots",
	    number(stats.slots), "slots_in_transition", number(stats.slots_in_transition),
	    "ring_digest", digest, "limited", stats.limited, "packets",
	    number(stats.counts.packets), "bytes", number(stats.counts.bytes), "flows",
	    number(stats.counts.flows), "allow", list_json(config->lists.allow), "deny",
	    list_json(config->lists.deny), "denied", number(stats.denied), "limit",
	    limit_json(&config->limit), "over_rate", number(stats.over_rate), "over_source_rate",
	    number(stats.over_source_rate), "why", service_why(service), "availability",
	    api_availability_json(&windows), "answered", answered_json(&windows), "flows_per_s",
	    service_flows_per_s(service), "connects", service_connects_json(api->dp, &key),
	    "runtime", config->file == CONFIG_RUNTIME, "source", source_json(api, config), "levels",
	    levels_json(service), "returned_packets", number(stats.returned.packets),
	    "returned_bytes", number(stats.returned.bytes), "refused", number(stats.counts.refused),
	    "checks_to", aims_json(service));
}

/* ---- backends ---- */

/* A name may be any bytes: one that is no text would cost the whole answer. */
static const char *interface_name(struct api *api, uint32_t ifindex)
{
	if (ifindex == api->named_ifindex)
		return api->named;
	if (!if_indextoname(ifindex, api->named))
		snprintf(api->named, sizeof(api->named), "if%u", ifindex);
	make_printable(api->named, false);
	api->named_ifindex = ifindex;
	return api->named;
}

static json_t *next_hop_json(struct api *api, const struct backend *backend)
{
	const uint8_t *m = backend->hop.dst_mac;
	char mac[18];

	if (!backend->has_hop)
		return json_null();
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return json_pack("{s:s, s:s, s:i, s:i}", "interface",
			 interface_name(api, backend->hop.ifindex), "mac", mac, "mtu",
			 backend_mtu(backend), "vlan", backend->hop.vlan_tci & 0xfff);
}

/* Progress of a drain: when it began, the last packet that held it, its deadline. */
static json_t *drain_json(const struct backend *backend, const struct dp_backend_stats *stats)
{
	uint64_t now = clock_monotonic_ms();
	bool held = backend->condition != BACKEND_DRAINED && stats->held_ms != UINT32_MAX;

	if (!backend->drain && !backend->removed)
		return json_null();
	return json_pack(
	    "{s:o, s:o, s:o, s:b, s:I}", "since_s",
	    seconds_json(backend->drain_ms && now >= backend->drain_ms, now - backend->drain_ms),
	    "last_packet_s", seconds_json(held, stats->held_ms), "forced_in_s",
	    seconds_json(backend->has_force && !backend->forced,
			 backend->force_ms > now ? backend->force_ms - now : 0),
	    "forced", backend->forced, "given_up", number(backend->given_up));
}

/* What its agent has said last, and why not since. */
static json_t *agent_json(const struct backend *backend)
{
	const struct backend_agent *agent = &backend->agent;
	const char *state = agent->maint   ? "maint"
			    : agent->down  ? "down"
			    : agent->drain ? "drain"
					   : "up";

	if (!backend->service->config->agent.type)
		return json_null();
	return json_pack("{s:b, s:s, s:o, s:s, s:s}", "heard", agent->heard, "state", state,
			 "weight", agent->has_weight ? json_integer(agent->percent) : json_null(),
			 "text", remark_text(agent->text), "fault", remark_text(agent->fault));
}

static json_t *latency_json(const struct latency_sum *sum, unsigned percent)
{
	return sum->total ? json_integer(latency_quantile(sum, percent)) : json_null();
}

/* at_ms: CLOCK_REALTIME. */
static json_int_t seconds_since(uint64_t at_ms)
{
	uint64_t now = clock_wall_ms();

	return number(now > at_ms ? (now - at_ms) / 1000 : 0);
}

/* null: it is not checked. */
static json_t *aim_json(const struct health_aim *aim)
{
	if (!aim->vip && !aim->backend)
		return json_null();
	return json_string(!aim->backend ? "vip" : !aim->vip ? "backend" : "both");
}

/* null: long packets are not tried. */
static json_t *mtu_json(const struct backend *backend)
{
	struct health_mtu mtu;

	if (!backend_long_packets(backend, &mtu))
		return json_null();
	return json_pack("{s:i, s:s, s:s}", "length", mtu.length, "state", mtu.state, "why",
			 mtu.why);
}

/* What its health checks found since lbd's start, and how long those of the last minutes took. */
static json_t *checks_json(const struct backend *backend, const struct health_aim *aim)
{
	struct latency_sum sum = {0};
	json_t *failure = json_null();

	latencies_sum(&backend->latencies, clock_monotonic_ms(), &sum);
	if (backend->failed_ms)
		failure = json_pack("{s:s, s:I}", "why", remark_text(backend->failed_why), "ago_s",
				    seconds_since(backend->failed_ms));
	return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "passed",
			 number(backend->passed), "failed", number(backend->failed), "losses",
			 number(backend->losses), "p50_us", latency_json(&sum, 50), "p95_us",
			 latency_json(&sum, 95), "p99_us", latency_json(&sum, 99), "last_failure",
			 failure, "to", aim_json(aim), "to_why", aim->why, "long_packets",
			 mtu_json(backend));
}

/* What the algorithm goes by; null: by something else, or it is not known. */
static json_t *response_json(const struct backend *backend)
{
	return us_json(
	    backend->service->config->algorithm->by_latency ? backend_response_us(backend) : 0);
}

/* How long it is held back for its flaps or failing connects. */
static json_t *damped_json(const struct backend *backend)
{
	uint64_t now = clock_monotonic_ms(), until_ms = backend_hold_until_ms(backend);

	return seconds_json(backend->condition == BACKEND_DAMPED,
			    until_ms > now ? until_ms - now : 0);
}

json_t *api_labels_json(const struct config_tag *tag)
{
	json_t *object = json_object();

	for (unsigned i = 0; tag && i < tag->labels_count; i++)
		json_object_set_new(object, tag->labels[i].key, json_string(tag->labels[i].value));
	return object;
}

/* null: it has none. Without a ttl it has no end. */
static json_t *lease_json(const struct backend *backend)
{
	uint64_t now = clock_monotonic_ms();

	if (backend->origin != ORIGIN_lease || backend->removed)
		return json_null();
	return json_pack("{s:o, s:o}", "ttl_s", seconds_json(backend->ttl_ms, backend->ttl_ms),
			 "left_s",
			 seconds_json(backend->ttl_ms,
				      backend->until_ms > now ? backend->until_ms - now + 999 : 0));
}

/* Where it is checked, with the keys of the config. null: as the service says. */
static json_t *target_json(const struct config_target *target)
{
	static const struct config_target none;
	json_t *health;
	char address[ADDR_TEXT];

	if (config_target_equal(target, &none))
		return json_null();
	health = json_object();
	if (target->port)
		json_object_set_new(health, "port", json_integer(target->port));
	if (target->agent_port)
		json_object_set_new(health, "agent-port", json_integer(target->agent_port));
	if (target->address.family)
		json_object_set_new(health, "address",
				    json_string(addr_format(&target->address, address)));
	return health;
}

/* null: the service is no NAT; 0: any. */
json_t *api_port_json(const struct backend *backend)
{
	return backend->service->config->forward == LB_FORWARD_NAT ? json_integer(backend->port)
								   : json_null();
}

static json_t *string_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* What is to be looked at, though the backend is up. */
static json_t *hint_json(const struct backend *backend, const struct health_aim *aim)
{
	char text[BACKEND_HINT];

	if (*backend_hint(backend, text))
		return json_string(text);
	return aim->prevented ? json_sprintf("its checks go to its own address: %s", aim->why)
			      : json_string("");
}

/* X(name, value): what an answer has of a backend, each field in the words of backend_value. */
/* clang-format off */
#define BACKEND_FIELDS(X) \
	X(service, json_string(backend->service->config->name)) \
	X(address, json_string(addr_format(&backend->address, text))) \
	X(name, string_or_null(config_tag_name(backend->tag))) \
	X(labels, api_labels_json(backend->tag)) \
	X(weight, json_integer(backend->weight)) \
	X(effective_weight, json_integer(backend->effective_weight)) \
	X(backup, json_boolean(backend->backup)) \
	X(condition, json_string(backend_condition_name(backend->condition))) \
	X(why, json_string(remark_text(backend->why))) \
	X(since_s, json_integer(seconds_since(backend->since_ms))) \
	X(latency_us, json_integer(backend->latency_us)) \
	X(packets, json_integer(number(stats->counts.packets))) \
	X(bytes, json_integer(number(stats->counts.bytes))) \
	X(flows, json_integer(number(stats->counts.flows))) \
	X(active, json_integer(stats->active)) \
	X(slots, json_integer(stats->slots)) \
	X(kept_slots, json_integer(stats->kept_slots)) \
	X(drained, json_boolean(backend->condition == BACKEND_DRAINED)) \
	X(drain, drain_json(backend, stats)) \
	X(next_hop, next_hop_json(api, backend)) \
	X(admin, json_string(admin_state_name(backend->admin))) \
	X(agent, agent_json(backend)) \
	X(checks, checks_json(backend, aim)) \
	X(damped_s, damped_json(backend)) \
	X(response_us, response_json(backend)) \
	X(connects, backend_connects_json(api->dp, key, backend)) \
	X(from, json_string(origin_name(backend->origin))) \
	X(lease, lease_json(backend)) \
	X(zone, string_or_null(config_tag_zone(backend->tag))) \
	X(priority, json_integer(backend->priority)) \
	X(local, json_boolean(!backend->elsewhere)) \
	X(health, target_json(&backend->target)) \
	X(port, api_port_json(backend)) \
	X(returned_packets, json_integer(number(stats->returned.packets))) \
	X(returned_bytes, json_integer(number(stats->returned.bytes))) \
	X(refused, json_integer(number(stats->counts.refused))) \
	X(hint, hint_json(backend, aim))
/* clang-format on */

enum backend_field {
#define X(name, value) FIELD_##name,
	BACKEND_FIELDS(X)
#undef X
	    BACKEND_FIELD_COUNT
};
_Static_assert(BACKEND_FIELD_COUNT <= 64, "a bit each");

static const char *const field_names[BACKEND_FIELD_COUNT] = {
#define X(name, value) [FIELD_##name] = #name,
    BACKEND_FIELDS(X)
#undef X
};

#define FIELD(name) (1ULL << FIELD_##name)

const uint64_t api_matched_fields = FIELD(service) | FIELD(address) | FIELD(name) | FIELD(labels) |
				    FIELD(zone) | FIELD(why) | FIELD(condition);

static json_t *backend_value(struct api *api, const struct backend *backend,
			     const struct dp_service *key, const struct dp_backend_stats *stats,
			     const struct health_aim *aim, enum backend_field field)
{
	char text[ADDR_TEXT];

	switch (field) {
#define X(name, value)     \
	case FIELD_##name: \
		return value;
		BACKEND_FIELDS(X)
#undef X
	case BACKEND_FIELD_COUNT:
		break;
	}
	return NULL;
}

/* null, false, "" or {}. */
static bool says_nothing(const json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
	       (json_is_string(value) && !json_string_length(value)) ||
	       (json_is_object(value) && !json_object_size(value));
}

static int add_some(json_t *object, enum backend_field field, json_t *value)
{
	if (!says_nothing(value))
		return json_object_set_new_nocheck(object, field_names[field], value);
	json_decref(value);
	return 0;
}

json_t *api_backend_json(struct api *api, const struct backend *backend, uint64_t fields)
{
	struct dp_backend_stats stats = {0};
	struct dp_service key;
	struct health_aim aim = {0};
	json_t *object = json_object();
	int rc = object ? 0 : -1;

	service_key(backend->service, &key);
	dataplane_backend_stats(api->dp, &key, &backend->address, &stats);
	if (fields == API_ALL_FIELDS || fields & (FIELD(checks) | FIELD(hint)))
		backend_aim(backend, &aim);
	for (unsigned i = 0; !rc && i < BACKEND_FIELD_COUNT; i++) {
		json_t *value;

		if (fields != API_ALL_FIELDS && !(fields >> i & 1))
			continue;
		value = backend_value(api, backend, &key, &stats, &aim, i);
		rc = fields == API_ALL_FIELDS
			 ? json_object_set_new_nocheck(object, field_names[i], value)
			 : add_some(object, i, value);
	}
	if (!rc)
		return object;
	json_decref(object);
	return NULL;
}

void api_backend_keep(json_t *object, uint64_t fields)
{
	for (unsigned i = 0; i < BACKEND_FIELD_COUNT; i++)
		if (!(fields >> i & 1))
			json_object_del(object, field_names[i]);
}

/* One of the names in a text of "weight,condition". */
static int add_field(const char *name, size_t length, uint64_t *fields, struct error *err)
{
	for (unsigned i = 0; i < BACKEND_FIELD_COUNT; i++)
		if (strlen(field_names[i]) == length && !strncmp(field_names[i], name, length)) {
			*fields |= 1ULL << i;
			return 0;
		}
	return error_set(err, -EINVAL,
			 "fields: \"%.*s\": expected fields that a backend has without this, with "
			 "commas between them, such as address,condition",
			 length < 64 ? (int)length : 64, name);
}

static int read_fields(const char *text, uint64_t *ret, struct error *err)
{
	uint64_t fields = 0;
	int rc = 0;

	while (!rc) {
		size_t length = strcspn(text, ",");

		rc = add_field(text, length, &fields, err);
		if (!text[length])
			break;
		text += length + 1;
	}
	if (!rc)
		*ret = fields;
	return rc;
}

#define FILTER_MAX 256 /* bytes */

int api_backends(struct api_call *call, json_t **ret, struct error *err)
{
	const char *name = evhttp_find_header(call->query, "service"),
		   *down = evhttp_find_header(call->query, "down"),
		   *filter = evhttp_find_header(call->query, "filter"),
		   *fields = evhttp_find_header(call->query, "fields");
	struct service *service = NULL;
	uint64_t shown = API_ALL_FIELDS;
	int rc;

	if (down && strcmp(down, "true") != 0 && strcmp(down, "false") != 0)
		return error_set(err, -EINVAL, "down: expected true or false, got \"%.64s\"", down);
	if (filter && strlen(filter) > FILTER_MAX)
		return error_set(err, -EINVAL, "filter: expected at most %d bytes, got %zu",
				 FILTER_MAX, strlen(filter));
	rc = fields ? read_fields(fields, &shown, err) : 0;
	if (!rc && name)
		rc = state_resolve_service(call->api->state, name, &service, err);
	if (rc)
		return rc;
	call->listed = (struct list_query){.service = service ? service->config->name : NULL,
					   .filter = filter,
					   .fields = shown,
					   .down = down && !strcmp(down, "true")};
	return 0;
}

/* ---- stats ---- */

json_t *api_reasons_json(const struct lb_reason_count counts[LB_COUNTERS])
{
	json_t *array = json_array();

	for (unsigned i = 0; i < LB_REASON_COUNT; i++)
		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", counter_texts[i].name,
				     "outcome", outcome_name(counter_texts[i].outcome), "help",
				     counter_texts[i].help, "packets", number(counts[i].packets),
				     "bytes", number(counts[i].bytes)));
	return array;
}

json_t *api_events_json(const struct lb_reason_count counts[LB_COUNTERS])
{
	json_t *array = json_array();

	for (unsigned i = LB_REASON_COUNT; i < LB_COUNTERS; i++)
		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:I}", "name", counter_texts[i].name, "help",
				     counter_texts[i].help, "count", number(counts[i].packets)));
	return array;
}

/* The name of the service with this key; NULL: it has just been removed. */
static const char *service_name_of(const struct api *api, const struct dp_service *key)
{
	unsigned count;
	struct service *const *services = state_services(api->state, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct config_service *config = services[i]->config;

		if (addr_equal(&config->vip, &key->vip) && config->protocol == key->protocol &&
		    config->port == key->port)
			return config->name;
	}
	return NULL;
}

#define OFFENDERS_SHOWN 100

static json_t *offenders_json(const struct api *api)
{
	struct dp_offender list[OFFENDERS_SHOWN];
	unsigned count = dataplane_offenders(api->dp, list, OFFENDERS_SHOWN);
	json_t *array = json_array();
	char address[ADDR_TEXT], prefix[ADDR_TEXT + 8];

	for (unsigned i = 0; i < count; i++) {
		const char *name = service_name_of(api, &list[i].service);

		snprintf(prefix, sizeof(prefix), "%s/%u", addr_format(&list[i].prefix, address),
			 list[i].length);
		if (name)
			json_array_append_new(
			    array, json_pack("{s:s, s:s, s:I, s:I, s:I}", "service", name, "prefix",
					     prefix, "dropped", number(list[i].dropped),
					     "dropped_at_least", number(list[i].surely), "last_s",
					     number(list[i].quiet_ms / 1000)));
	}
	return array;
}

int api_stats(struct api_call *call, json_t **ret, struct error *err)
{
	struct lb_reason_count counts[LB_COUNTERS];

	dataplane_reason_counts(call->api->dp, counts);
	*ret = json_pack("{s:o, s:o, s:o}", "reasons", api_reasons_json(counts), "events",
			 api_events_json(counts), "sources_over_rate", offenders_json(call->api));
	return 0;
}
