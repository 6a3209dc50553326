/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One service of a config: text to values, defaults, and keys that exclude each other. */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbd/algo/algo.h"
#include "lbd/health/health.h"
#include "from.h"
#include "health.h"
#include "labels.h"
#include "lists.h"
#include "scalar.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* The data plane counts idle times in ticks of 2^30 ns: at least two, at most LB_FLOW_MAX_IDLE. The
 * limits here are whole seconds. */
#define MIN_IDLE  (3 * SECOND)
#define MAX_IDLE  ((uint64_t)((LB_FLOW_MAX_IDLE * (1ULL << LB_TICK_SHIFT)) / 1000000000) * SECOND)
#define MAX_SLOTS ((1 << 28) - 1)
#define MAX_NAME  63

/* Rates of new flows, per minute. The costs of a flow are whole ns, and 256 ns for sources: at the
 * highest rates the rounding is below 3 %. */
#define LIMIT_RATE_MAX        (60 * 10000000)
#define LIMIT_SOURCE_RATE_MAX (60 * 100000)
#define LIMIT_BURST_MAX       100000000
#define LIMIT_BURST_LEAST     5 /* default burst of a slow rate */
/* The clock of the program steps by up to 10 ms (CONFIG_HZ=100): what comes in one step must fit
 * into the bucket. */
#define LIMIT_STEPS 100 /* a second */
/* Longest time in which an empty bucket fills, minutes */
#define LIMIT_FILL_MAX 60

static const struct config_service service_defaults = {
    .forward = LB_FORWARD_IPIP,
    .no_backend = LB_REFUSE_REJECT,
    .tracking = CONFIG_TRACKING_AUTO,
    .mask4 = 32,
    .mask6 = 128,
    .affinity_timeout_ms = 10 * MINUTE,
    .tcp_idle_ms = 5 * MINUTE,
    .udp_idle_ms = 30 * SECOND,
    .limit = {.source4 = 24, .source6 = 56},
    .health =
	{
	    .status_min = 200,
	    .status_max = 399,
	    .interval_ms = 2 * SECOND,
	    .rise = 2,
	    .fall = 3,
	    .mtu = 1500,
	},
    .agent = {.interval_ms = 2 * SECOND, .rise = 1, .fall = 1},
};

/* ---- keys ---- */

/* Characters that lbctl, metrics labels and URLs take without quoting; default names match too. */
bool config_service_name_fits(const char *text)
{
	return *text && strlen(text) <= MAX_NAME &&
	       strspn(text,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/[]") ==
		   strlen(text);
}

static const struct config_text_key service_texts[] = {
    CONFIG_TEXT("name", raw_service, name, config_service, name, config_service_name_fits,
		"1 to 63 letters, digits or any of . _ - : / [ ]"),
    {.key = NULL},
};

static const struct config_number_key service_numbers[] = {
    CONFIG_NUMBER("port", raw_service, port, config_service, port, count, 1, 65535, .word = "any"),
    CONFIG_NUMBER("slots", raw_service, slots, config_service, slots, count, 3, MAX_SLOTS),
    CONFIG_NUMBER("backend-port", raw_service, backend_port, config_service, backend_port, count, 1,
		  65535),
    {.key = NULL},
};

static const struct config_number_key inherited_numbers[] = {
    CONFIG_NUMBER("affinity-timeout", raw_service, affinity_timeout, config_service,
		  affinity_timeout_ms, duration, MIN_IDLE, MAX_IDLE),
    CONFIG_NUMBER("slow-start", raw_service, slow_start, config_service, slow_start_ms, duration, 0,
		  HOUR),
    CONFIG_NUMBER("flap-damping", raw_service, flap_damping, config_service, flap_damping_ms,
		  duration, 0, HOUR),
    CONFIG_NUMBER("panic-threshold", raw_service, panic_threshold, config_service, panic_threshold,
		  percent, 0, 100),
    {.key = NULL},
};

static const struct config_number_key mask_numbers[] = {
    CONFIG_NUMBER("v4", raw_families, v4, config_service, mask4, count, 1, 32),
    CONFIG_NUMBER("v6", raw_families, v6, config_service, mask6, count, 1, 128),
    {.key = NULL},
};

static const struct config_number_key idle_numbers[] = {
    CONFIG_NUMBER("tcp", raw_protocols, tcp, config_service, tcp_idle_ms, duration, MIN_IDLE,
		  MAX_IDLE),
    CONFIG_NUMBER("udp", raw_protocols, udp, config_service, udp_idle_ms, duration, MIN_IDLE,
		  MAX_IDLE),
    {.key = NULL},
};

static const struct config_number_key limit_numbers[] = {
    CONFIG_NUMBER("new-flows", raw_limit, new_flows, config_limit, service.per_minute, rate, 1,
		  LIMIT_RATE_MAX, .word = "off"),
    CONFIG_NUMBER("burst", raw_limit, burst, config_limit, service.burst, count, 1,
		  LIMIT_BURST_MAX),
    {.key = NULL},
};

static const struct config_number_key source_limit_numbers[] = {
    CONFIG_NUMBER("v4", raw_source_limit, v4, config_limit, source4, count, 1, 32),
    CONFIG_NUMBER("v6", raw_source_limit, v6, config_limit, source6, count, 1, 128),
    CONFIG_NUMBER("rate", raw_source_limit, rate, config_limit, source.per_minute, rate, 1,
		  LIMIT_SOURCE_RATE_MAX, .word = "off"),
    CONFIG_NUMBER("burst", raw_source_limit, burst, config_limit, source.burst, count, 1,
		  LIMIT_BURST_MAX),
    {.key = NULL},
};

static const struct config_number_key backend_numbers[] = {
    CONFIG_NUMBER("weight", raw_backend, weight, config_backend, weight, count, 0,
		  CONFIG_MAX_WEIGHT),
    CONFIG_NUMBER("priority", raw_backend, priority, config_backend, priority, count, 0,
		  CONFIG_MAX_PRIORITY),
    CONFIG_NUMBER("port", raw_backend, port, config_backend, port, count, 1, 65535),
    {.key = NULL},
};

/* ---- keys that `defaults` has too ---- */

static void read_algorithm(const struct config_place *at, const char *text,
			   struct config_service *service)
{
	const struct algo *algo = algo_find(text);
	char names[512] = "";

	if (algo) {
		service->algorithm = algo;
		return;
	}
	registry_for_each (algo, known) {
		size_t length = strlen(names);

		snprintf(names + length, sizeof(names) - length, "%s%s", length ? ", " : "",
			 known->name);
	}
	config_complain(at, "algorithm", text, "expected one of %s", names);
}

static void read_limit(const struct config_place *at, const struct raw_limit *raw,
		       struct config_limit *limit)
{
	struct config_place group, source;

	config_place_field(at, "limit", &group);
	config_read_numbers(&group, limit_numbers, raw, limit);
	if (!raw->per_source)
		return;
	config_place_field(&group, "per-source", &source);
	config_read_numbers(&source, source_limit_numbers, raw->per_source, limit);
}

static void read_inherited(const struct config_place *at, const struct raw_service *raw,
			   struct config_service *service)
{
	struct config_place group;

	config_read_numbers(at, inherited_numbers, raw, service);
	config_read_lists(at, &service->lists);
	if (raw->algorithm)
		read_algorithm(at, raw->algorithm, service);
	if (raw->forward)
		service->forward = *raw->forward;
	if (raw->no_backend)
		service->no_backend = *raw->no_backend;
	if (raw->fragments)
		service->no_fragments = !*raw->fragments;
	if (raw->tracking)
		service->tracking = *raw->tracking;
	if (raw->affinity)
		service->affinity = *raw->affinity;
	if (raw->affinity_mask) {
		config_place_field(at, "affinity-mask", &group);
		config_read_numbers(&group, mask_numbers, raw->affinity_mask, service);
	}
	if (raw->idle_timeout) {
		config_place_field(at, "idle-timeout", &group);
		config_read_numbers(&group, idle_numbers, raw->idle_timeout, service);
	}
	if (raw->limit)
		read_limit(at, raw->limit, &service->limit);
	if (raw->health)
		config_read_health(at, raw->health, &service->health);
	if (raw->agent)
		config_read_agent(at, raw->agent, &service->agent);
}

void config_read_defaults(const struct config_defaults *defaults)
{
	struct config_service service = service_defaults;
	struct config_place at;

	config_place_field(&defaults->root, "defaults", &at);
	read_inherited(&at, defaults->raw, &service);
	config_service_done(&service);
}

/* ---- backends ---- */

/* The port of backends, which only `forward: nat` can change. text: NULL: not given. */
static void check_backend_port(const struct config_place *at, const char *key, const char *text,
			       const struct raw_service *own, const struct config_service *service)
{
	bool any = own->port && !strcmp(own->port, "any");

	if (text && (service->forward != LB_FORWARD_NAT || any))
		config_complain(at, key, text, "%s", config_why_no_port(service));
}

const char *config_refuses_family(const struct config_service *service, uint8_t family)
{
	if (family == service->vip.family)
		return NULL;
	if (service->forward == LB_FORWARD_L2)
		return "`forward: l2` cannot change the family";
	if (service->forward != LB_FORWARD_NAT || (family == 6 && service->translates))
		return NULL;
	return family == 6 ? "with `forward: nat` IPv4 clients reach an IPv6 backend by `nat: { "
			     "prefix: PREFIX }` alone"
			   : "with `forward: nat` an IPv4 backend cannot be told the address of an "
			     "IPv6 client";
}

static void read_backend(const struct config_place *service_at, unsigned index,
			 const struct raw_service *own, const struct config_service *service,
			 struct config_backend *backend)
{
	const struct raw_backend *raw = &own->backends[index];
	const char *why;
	struct config_place at;

	config_place_item(service_at, "backends", index, &at);
	backend->weight = 100;
	backend->backup = raw->backup && *raw->backup;
	backend->drain = raw->drain && *raw->drain;
	config_read_numbers(&at, backend_numbers, raw, backend);
	config_read_address(&at, "address", raw->address, &backend->address);
	config_read_tag(&at, raw->name, raw->zone, &backend->tag);
	if (backend->backup && backend->priority)
		config_complain(&at, "priority", raw->priority, CONFIG_BACKUP_PRIORITY);
	check_backend_port(&at, "port", raw->port, own, service);
	if (raw->health)
		config_read_target(&at, raw->health, &backend->target);
	if (!backend->address.family || !service->vip.family)
		return;
	why = config_refuses_family(service, backend->address.family);
	if (addr_equal(&backend->address, &service->vip))
		config_complain(&at, "address", raw->address,
				"is the VIP itself: expected the backend's own address");
	else if (why)
		config_complain(&at, "address", raw->address,
				"expected an IPv%u address like the VIP: %s", service->vip.family,
				why);
}

static void read_backends(const struct config_place *at, const struct raw_service *raw,
			  struct config_service *service)
{
	if (!raw->backends && !raw->from)
		config_complain_missing(at, "backends", "expected a list");
	if (raw->from)
		config_read_from(at, raw->from, &service->from);
	service->backends = calloc(raw->backends_count + 1, sizeof(*service->backends));
	if (!service->backends) {
		config_source_oom(at->source);
		return;
	}
	service->backends_count = raw->backends_count;
	for (unsigned i = 0; i < raw->backends_count; i++)
		read_backend(at, i, raw, service, &service->backends[i]);
}

static void finish_backends(const struct config_place *service_at,
			    const struct config_service *service)
{
	struct config_place at;

	for (unsigned i = 0; i < service->backends_count; i++) {
		if (!service->backends[i].target.address.family)
			continue;
		config_place_item(service_at, "backends", i, &at);
		config_finish_target(&at, service, &service->backends[i].target);
	}
}

/* ---- keys that exclude each other ---- */

/* The hash selects the slot, so it has a meaning only for algorithms that choose by slot. One
 * inherited from `defaults` is ignored where it has none. */
static void finish_hash(const struct config_place *at, const struct raw_service *defaults,
			const struct raw_service *own, struct config_service *service)
{
	const struct algo *algo = service->algorithm;
	bool by_slot = algo->select == LB_SELECT_SLOT;

	if (own->hash && !by_slot)
		config_complain(at, "hash", NULL,
				"has no meaning for %s, which picks a backend for each flow",
				algo->name);
	else if (own->hash && *own->hash && !algo->hash)
		config_complain(
		    at, "hash", NULL,
		    "has no meaning for %s, which hashes only the client address: expected another algorithm",
		    algo->name);
	service->hash = algo->hash;
	if (by_slot && algo->hash && defaults && defaults->hash)
		service->hash = *defaults->hash;
	if (by_slot && algo->hash && own->hash)
		service->hash = *own->hash;
}

/* The default burst, and what a burst must be beside its rate. text: as written; NULL: inherited,
 * for another rate. */
static void finish_rate(const struct config_place *at, const char *text, struct config_rate *rate)
{
	uint32_t second = (rate->per_minute + 59) / 60;
	uint32_t least = (second + LIMIT_STEPS - 1) / LIMIT_STEPS;
	uint64_t most = (uint64_t)rate->per_minute * LIMIT_FILL_MAX;
	char number[24];

	if (!rate->per_minute)
		return;
	if (!rate->burst)
		rate->burst = second > LIMIT_BURST_LEAST ? second : LIMIT_BURST_LEAST;
	if (rate->burst >= least && rate->burst <= most)
		return;
	config_rate.format(rate->per_minute, number);
	if (rate->burst < least)
		config_complain(at, "burst", text,
				"expected at least %u, what %s lets through in 10 ms", least,
				number);
	else
		config_complain(at, "burst", text,
				"expected at most %llu, what %s lets through in an hour",
				(unsigned long long)most, number);
}

/* A burst without a rate is a mistake, unless the rate is off on purpose. */
static void check_burst(const struct config_place *at, const char *rate_key, const char *rate,
			const char *burst, const struct config_rate *value)
{
	if (burst && !rate && !value->per_minute)
		config_complain(at, "burst", burst, "has no meaning without `%s`", rate_key);
}

/* Prefixes without a rate neither. */
static void check_prefixes(const struct config_place *at, const struct raw_source_limit *raw,
			   const struct config_rate *value)
{
	if (value->per_minute || raw->rate)
		return;
	if (raw->v4)
		config_complain(at, "v4", raw->v4, "has no meaning without `rate`");
	if (raw->v6)
		config_complain(at, "v6", raw->v6, "has no meaning without `rate`");
}

static void finish_limit(const struct config_place *at, const struct raw_service *own,
			 struct config_service *service)
{
	static const struct raw_source_limit no_source;
	static const struct raw_limit none;
	const struct raw_limit *raw = own->limit ? own->limit : &none;
	const struct raw_source_limit *source = raw->per_source ? raw->per_source : &no_source;
	struct config_limit *limit = &service->limit;
	struct config_place group, source_at;

	config_place_field(at, "limit", &group);
	config_place_field(&group, "per-source", &source_at);
	check_burst(&group, "new-flows", raw->new_flows, raw->burst, &limit->service);
	check_burst(&source_at, "rate", source->rate, source->burst, &limit->source);
	check_prefixes(&source_at, source, &limit->source);
	finish_rate(&group, raw->burst, &limit->service);
	finish_rate(&source_at, source->burst, &limit->source);
	if (service->protocol != CONFIG_UDP || service->tracking != CONFIG_TRACKING_NEVER ||
	    (!limit->service.per_minute && !limit->source.per_minute))
		return;
	if (own->limit)
		config_complain(
		    at, "limit", NULL,
		    "has no meaning for UDP with `tracking: never`: only the flow table "
		    "shows which datagram is a flow's first");
	else
		*limit = service_defaults.limit;
}

static void check_choice(const struct config_place *at, const struct raw_service *own,
			 const struct config_service *service)
{
	const struct algo *algo = service->algorithm;
	bool by_client = algo->select == LB_SELECT_SLOT && !service->hash;

	if (service->tracking == CONFIG_TRACKING_NEVER && algo->select != LB_SELECT_SLOT)
		config_complain(at, "tracking", "never",
				"expected auto or always, since %s tracks every flow", algo->name);
	if (service->tracking == CONFIG_TRACKING_NEVER && service->affinity)
		config_complain(
		    at, "tracking", "never",
		    "expected auto or always, since `affinity: client-ip` remembers clients");
	if (own->affinity_mask && !service->affinity && !by_client)
		config_complain(
		    at, "affinity-mask", NULL,
		    "has no meaning for %s without `affinity: client-ip`: expected that, or source-hash",
		    algo->name);
	if (own->affinity_timeout && !service->affinity)
		config_complain(at, "affinity-timeout", own->affinity_timeout,
				"has no meaning without `affinity: client-ip`");
}

static void name_after_vip(const struct config_place *at, struct config_service *service)
{
	const char *protocol = service->protocol == CONFIG_TCP ? "tcp" : "udp";
	bool six = service->vip.family == 6;
	char vip[ADDR_TEXT], port[8] = "any", name[ADDR_TEXT + 32];

	if (service->port)
		snprintf(port, sizeof(port), "%u", service->port);
	snprintf(name, sizeof(name), "%s%s%s:%s/%s", six ? "[" : "",
		 addr_format(&service->vip, vip), six ? "]" : "", port, protocol);
	config_copy_text(at, name, &service->name);
}

void config_read_service(const struct config_place *root, unsigned index,
			 const struct config_defaults *defaults, const struct raw_service *own,
			 struct config_service *service)
{
	struct config_place at, defaults_at;

	*service = service_defaults;
	service->algorithm = algo_find("maglev");
	service->protocol = own->protocol;
	service->translates = defaults->translates;
	config_place_item(root, "services", index, &at);
	config_read_texts(&at, service_texts, own, service);
	config_read_numbers(&at, service_numbers, own, service);
	config_read_address(&at, "vip", own->vip, &service->vip);
	if (!own->port)
		config_complain_missing(&at, "port", "expected 1 to 65535 or any");
	if (defaults->raw) {
		config_place_field(&defaults->root, "defaults", &defaults_at);
		read_inherited(&defaults_at, defaults->raw, service);
	}
	read_inherited(&at, own, service);
	check_backend_port(&at, "backend-port", own->backend_port, own, service);
	read_backends(&at, own, service);
	finish_hash(&at, defaults->raw, own, service);
	config_finish_health(&at, own, service);
	config_finish_agent(&at, own, service);
	finish_backends(&at, service);
	finish_limit(&at, own, service);
	check_choice(&at, own, service);
	config_finish_lists(&at, service);
	if (!service->name)
		name_after_vip(&at, service);
}

void config_service_done(struct config_service *service)
{
	free(service->name);
	health_spec_done(&service->health);
	health_spec_done(&service->agent);
	for (unsigned i = 0; i < service->backends_count; i++)
		config_tag_unref(service->backends[i].tag);
	free(service->backends);
	config_from_done(&service->from);
	config_lists_done(&service->lists);
}
