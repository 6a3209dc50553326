/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The keys of a config file as one libcyaml schema. To add a key, add it here, in schema.h, and in
 * value.c or service.c. */
#include "schema.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "dump.h"
#include "load.h"
#include "shape.h"

#define MAX_INTERFACES 64
#define MAX_HOSTS      64
/* that are loaded: value.c says how many there may be */
#define MAX_NODES   64
#define MAX_DIRECT  1024
#define MAX_HEADERS 16

#define OPTIONAL    CYAML_FLAG_OPTIONAL
#define STRICT      CYAML_FLAG_STRICT /* the words only, not their numbers */
/* clang-format off */
#define TEXT(key, type, member)         CYAML_FIELD_STRING_PTR(key, OPTIONAL, struct type, member, 0, CONFIG_MAX_TEXT)
#define WORD(key, type, member, words) \
	CYAML_FIELD_ENUM_PTR(key, OPTIONAL | STRICT, struct type, member, words, CYAML_ARRAY_LEN(words))
#define REQUIRED_WORD(key, type, member, words) \
	CYAML_FIELD_ENUM(key, STRICT, struct type, member, words, CYAML_ARRAY_LEN(words))
#define WORD_SET(key, type, member, words) \
	CYAML_FIELD_FLAGS_PTR(key, OPTIONAL | STRICT, struct type, member, words, CYAML_ARRAY_LEN(words))
#define GROUP(key, type, member, keys)  CYAML_FIELD_MAPPING_PTR(key, OPTIONAL, struct type, member, keys)

/* ---- words ---- */

static const cyaml_strval_t mode_words[] = {
	{"auto", CONFIG_MODE_AUTO}, {"native", CONFIG_MODE_NATIVE}, {"generic", CONFIG_MODE_GENERIC}};
static const cyaml_strval_t protocol_words[] = {{"tcp", CONFIG_TCP}, {"udp", CONFIG_UDP}};
static const cyaml_strval_t forward_words[] = {
	{"ipip", LB_FORWARD_IPIP}, {"gue", LB_FORWARD_GUE}, {"gre", LB_FORWARD_GRE}, {"l2", LB_FORWARD_L2},
	{"nat", LB_FORWARD_NAT}};
static const cyaml_strval_t refusal_words[] = {
	{"reject", LB_REFUSE_REJECT}, {"drop", LB_REFUSE_DROP}, {"pass", LB_REFUSE_PASS}};
static const cyaml_strval_t fragment_words[] = {{"pass", 1}, {"drop", 0}};
static const cyaml_strval_t tracking_words[] = {
	{"auto", CONFIG_TRACKING_AUTO}, {"always", CONFIG_TRACKING_ALWAYS}, {"never", CONFIG_TRACKING_NEVER}};
static const cyaml_strval_t hash_words[] = {{"source-port", LB_HASH_SPORT}, {"destination-port", LB_HASH_DPORT}};
static const cyaml_strval_t record_words[] = {
	{"a", CONFIG_RECORD_A}, {"aaaa", CONFIG_RECORD_AAAA}, {"srv", CONFIG_RECORD_SRV}};
static const cyaml_strval_t family_words[] = {{"ipv4", CONFIG_FAMILY_IPV4}, {"ipv6", CONFIG_FAMILY_IPV6}};
static const cyaml_strval_t require_words[] = {{"any", 0}, {"all", 1}};
static const cyaml_strval_t offer_words[] = {
	{"read", CONFIG_OFFER_READ}, {"register", CONFIG_OFFER_REGISTER}, {"all", CONFIG_OFFER_ALL}};
static const cyaml_strval_t match_words[] = {{"all", 0}, {"any", 1}};
static const cyaml_strval_t switch_words[] = {{"on", 1}, {"off", 0}};
static const cyaml_strval_t affinity_words[] = {{"client-ip", 1}, {"none", 0}};
/* Not CYAML_BOOL: libcyaml takes every word that is not a no for a yes. */
static const cyaml_strval_t yes_words[] = {{"true", 1}, {"false", 0}, {"yes", 1}, {"no", 0}};

/* ---- keys ---- */

static const cyaml_schema_value_t text_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CONFIG_MAX_TEXT)};

static const cyaml_schema_field_t mask_keys[] = {
	TEXT("v4", raw_families, v4),
	TEXT("v6", raw_families, v6),
	CYAML_FIELD_END};

static const cyaml_schema_field_t idle_keys[] = {
	TEXT("tcp", raw_protocols, tcp),
	TEXT("udp", raw_protocols, udp),
	CYAML_FIELD_END};

static const cyaml_schema_field_t source_limit_keys[] = {
	TEXT("v4", raw_source_limit, v4),
	TEXT("v6", raw_source_limit, v6),
	TEXT("rate", raw_source_limit, rate),
	TEXT("burst", raw_source_limit, burst),
	CYAML_FIELD_END};

static const cyaml_schema_field_t limit_keys[] = {
	TEXT("new-flows", raw_limit, new_flows),
	TEXT("burst", raw_limit, burst),
	GROUP("per-source", raw_limit, per_source, source_limit_keys),
	CYAML_FIELD_END};

/* Keys of one check; those that came before them have their old places. */
#define CHECK_KEYS \
	TEXT("method", raw_health, method), \
	CYAML_FIELD_SEQUENCE("headers", OPTIONAL | CYAML_FLAG_POINTER, struct raw_health, headers, &text_schema, 0, \
			     MAX_HEADERS), \
	TEXT("body", raw_health, body), \
	TEXT("send", raw_health, send), \
	TEXT("send-hex", raw_health, send_hex), \
	TEXT("expect", raw_health, expect), \
	TEXT("expect-hex", raw_health, expect_hex), \
	TEXT("name", raw_health, name), \
	TEXT("record", raw_health, record), \
	WORD("verify", raw_health, verify, yes_words), \
	TEXT("server-name", raw_health, server_name), \
	TEXT("ca-file", raw_health, ca_file), \
	TEXT("certificate-file", raw_health, certificate_file), \
	TEXT("key-file", raw_health, key_file), \
	CYAML_FIELD_SEQUENCE("command", OPTIONAL | CYAML_FLAG_POINTER, struct raw_health, command, &text_schema, 1, \
			     COMMAND_WORDS_MAX)

static const cyaml_schema_field_t check_keys[] = {
	TEXT("type", raw_health, type),
	TEXT("port", raw_health, port),
	TEXT("to", raw_health, to),
	TEXT("path", raw_health, path),
	TEXT("host", raw_health, host),
	TEXT("status", raw_health, status),
	TEXT("timeout", raw_health, timeout),
	CHECK_KEYS,
	CYAML_FIELD_END};
static const cyaml_schema_value_t check_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_health, check_keys)};

static const cyaml_schema_field_t health_keys[] = {
	TEXT("type", raw_health, type),
	TEXT("port", raw_health, port),
	TEXT("to", raw_health, to),
	TEXT("path", raw_health, path),
	TEXT("host", raw_health, host),
	TEXT("status", raw_health, status),
	TEXT("interval", raw_health, interval),
	TEXT("timeout", raw_health, timeout),
	TEXT("rise", raw_health, rise),
	TEXT("fall", raw_health, fall),
	CHECK_KEYS,
	TEXT("fast-interval", raw_health, fast_interval),
	TEXT("passive", raw_health, passive),
	TEXT("mtu", raw_health, mtu),
	WORD("match", raw_health, match, match_words),
	CYAML_FIELD_SEQUENCE("checks", OPTIONAL | CYAML_FLAG_POINTER, struct raw_health, checks, &check_schema, 1,
			     HEALTH_CHECKS_MAX),
	CYAML_FIELD_END};

static const cyaml_schema_field_t target_keys[] = {
	TEXT("port", raw_target, port),
	TEXT("address", raw_target, address),
	TEXT("agent-port", raw_target, agent_port),
	CYAML_FIELD_END};

static const cyaml_schema_field_t agent_keys[] = {
	TEXT("port", raw_agent, port),
	TEXT("interval", raw_agent, interval),
	TEXT("timeout", raw_agent, timeout),
	TEXT("send", raw_agent, send),
	CYAML_FIELD_END};

static const cyaml_schema_field_t backend_keys[] = {
	TEXT("address", raw_backend, address),
	TEXT("name", raw_backend, name),
	TEXT("port", raw_backend, port),
	TEXT("weight", raw_backend, weight),
	TEXT("zone", raw_backend, zone),
	TEXT("priority", raw_backend, priority),
	WORD("backup", raw_backend, backup, yes_words),
	WORD("drain", raw_backend, drain, yes_words),
	GROUP("health", raw_backend, health, target_keys),
	/* a mapping with any keys: read by labels.c */
	CYAML_FIELD_IGNORE("labels", OPTIONAL),
	CYAML_FIELD_END};
static const cyaml_schema_value_t backend_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_backend, backend_keys)};

static const cyaml_schema_field_t from_keys[] = {
	TEXT("file", raw_from, file),
	TEXT("dns", raw_from, dns),
	WORD("record", raw_from, record, record_words),
	TEXT("server", raw_from, server),
	TEXT("etcd", raw_from, etcd),
	TEXT("prefix", raw_from, prefix),
	TEXT("kubernetes", raw_from, kubernetes),
	TEXT("consul", raw_from, consul),
	TEXT("service", raw_from, service),
	TEXT("namespace", raw_from, namespace),
	TEXT("port", raw_from, port),
	WORD("family", raw_from, family, family_words),
	TEXT("datacenter", raw_from, datacenter),
	TEXT("tag", raw_from, tag),
	TEXT("token-file", raw_from, token),
	TEXT("ca", raw_from, ca),
	TEXT("cert", raw_from, cert),
	TEXT("key", raw_from, key),
	TEXT("server-name", raw_from, server_name),
	TEXT("min", raw_from, min),
	CYAML_FIELD_END};

#define INHERITED_KEYS \
	TEXT("algorithm", raw_service, algorithm), \
	WORD_SET("hash", raw_service, hash, hash_words), \
	WORD("forward", raw_service, forward, forward_words), \
	WORD("no-backend", raw_service, no_backend, refusal_words), \
	WORD("fragments", raw_service, fragments, fragment_words), \
	WORD("tracking", raw_service, tracking, tracking_words), \
	WORD("affinity", raw_service, affinity, affinity_words), \
	TEXT("affinity-timeout", raw_service, affinity_timeout), \
	GROUP("affinity-mask", raw_service, affinity_mask, mask_keys), \
	/* a list or a mapping: read by lists.c */ \
	CYAML_FIELD_IGNORE("allow", OPTIONAL), \
	CYAML_FIELD_IGNORE("deny", OPTIONAL), \
	GROUP("idle-timeout", raw_service, idle_timeout, idle_keys), \
	GROUP("limit", raw_service, limit, limit_keys), \
	TEXT("slow-start", raw_service, slow_start), \
	TEXT("flap-damping", raw_service, flap_damping), \
	TEXT("panic-threshold", raw_service, panic_threshold), \
	GROUP("health", raw_service, health, health_keys), \
	GROUP("agent", raw_service, agent, agent_keys)

static const cyaml_schema_field_t defaults_keys[] = {INHERITED_KEYS, CYAML_FIELD_END};

static const cyaml_schema_field_t service_keys[] = {
	TEXT("name", raw_service, name),
	TEXT("vip", raw_service, vip),
	REQUIRED_WORD("protocol", raw_service, protocol, protocol_words),
	TEXT("port", raw_service, port),
	INHERITED_KEYS,
	TEXT("slots", raw_service, slots),
	TEXT("backend-port", raw_service, backend_port),
	CYAML_FIELD_SEQUENCE("backends", OPTIONAL | CYAML_FLAG_POINTER, struct raw_service, backends, &backend_schema,
			     1, LB_MAX_BACKENDS),
	GROUP("backends-from", raw_service, from, from_keys),
	CYAML_FIELD_END};
static const cyaml_schema_value_t service_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_service, service_keys)};

static const cyaml_schema_field_t encap_keys[] = {
	TEXT("source-v4", raw_encap, source_v4),
	TEXT("source-v6", raw_encap, source_v6),
	TEXT("gue-port", raw_encap, gue_port),
	CYAML_FIELD_END};

static const cyaml_schema_field_t limits_keys[] = {
	TEXT("services", raw_limits, services),
	TEXT("backends", raw_limits, backends),
	TEXT("slots", raw_limits, slots),
	TEXT("flows", raw_limits, flows),
	CYAML_FIELD_END};

static const cyaml_schema_field_t telemetry_keys[] = {
	TEXT("sample", raw_telemetry, sample),
	CYAML_FIELD_END};

static const cyaml_schema_field_t announce_keys[] = {
	TEXT("table", raw_announce, table),
	TEXT("protocol", raw_announce, protocol),
	TEXT("metric", raw_announce, metric),
	TEXT("drain-metric", raw_announce, drain_metric),
	TEXT("min-up", raw_announce, min_up),
	WORD("require", raw_announce, require, require_words),
	TEXT("file", raw_announce, file),
	CYAML_FIELD_END};

static const cyaml_schema_field_t peers_keys[] = {
	TEXT("port", raw_peers, port),
	TEXT("key-file", raw_peers, key_file),
	CYAML_FIELD_SEQUENCE("nodes", OPTIONAL | CYAML_FLAG_POINTER, struct raw_peers, nodes, &text_schema, 0,
			     MAX_NODES),
	CYAML_FIELD_END};

static const cyaml_schema_field_t client_keys[] = {
	TEXT("token", raw_client, token),
	TEXT("certificate", raw_client, certificate),
	CYAML_FIELD_SEQUENCE("services", OPTIONAL | CYAML_FLAG_POINTER, struct raw_client, services, &text_schema, 1,
			     CONFIG_CLIENT_SERVICES_MAX),
	CYAML_FIELD_END};
static const cyaml_schema_value_t client_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_client, client_keys)};

static const cyaml_schema_field_t api_keys[] = {
	TEXT("listen", raw_api, listen),
	TEXT("certificate", raw_api, certificate),
	TEXT("key", raw_api, key),
	TEXT("client-ca", raw_api, client_ca),
	TEXT("token-file", raw_api, token_file),
	WORD("offers", raw_api, offers, offer_words),
	CYAML_FIELD_SEQUENCE("clients", OPTIONAL | CYAML_FLAG_POINTER, struct raw_api, clients, &client_schema, 1,
			     CONFIG_CLIENTS_MAX),
	CYAML_FIELD_END};

static const cyaml_schema_field_t nat_keys[] = {
	CYAML_FIELD_SEQUENCE("direct", OPTIONAL | CYAML_FLAG_POINTER, struct raw_nat, direct, &text_schema, 0,
			     MAX_DIRECT),
	TEXT("prefix", raw_nat, prefix),
	CYAML_FIELD_END};

/* Required, so that a truncated file does not silently remove every service. */
#define SERVICES \
	CYAML_FIELD_SEQUENCE("services", CYAML_FLAG_POINTER, struct raw_config, services, &service_schema, 0, \
			     LB_MAX_SERVICES)

/* Where lbd keeps its files: known before the text of a fleet is read. */
#define PLACES \
	TEXT("socket", raw_config, socket), \
	TEXT("state", raw_config, state)

#define FIRST_KEYS \
	CYAML_FIELD_SEQUENCE("interfaces", OPTIONAL | CYAML_FLAG_POINTER, struct raw_config, interfaces, \
			     &text_schema, 0, MAX_INTERFACES), \
	WORD("mode", raw_config, mode, mode_words), \
	WORD("unserved", raw_config, unserved, refusal_words), \
	TEXT("pin", raw_config, pin)

#define MORE_KEYS \
	TEXT("group", raw_config, group), \
	TEXT("metrics", raw_config, metrics), \
	CYAML_FIELD_SEQUENCE("metrics-hosts", OPTIONAL | CYAML_FLAG_POINTER, struct raw_config, metrics_hosts, \
			     &text_schema, 0, MAX_HOSTS), \
	TEXT("metrics-token-file", raw_config, metrics_token_file), \
	WORD("page", raw_config, page, switch_words), \
	TEXT("notify", raw_config, notify), \
	TEXT("hash-seed", raw_config, hash_seed), \
	TEXT("zone", raw_config, zone), \
	GROUP("encap", raw_config, encap, encap_keys), \
	GROUP("limits", raw_config, limits, limits_keys), \
	GROUP("telemetry", raw_config, telemetry, telemetry_keys), \
	GROUP("announce", raw_config, announce, announce_keys), \
	GROUP("peers", raw_config, peers, peers_keys), \
	GROUP("api", raw_config, api, api_keys), \
	GROUP("nat", raw_config, nat, nat_keys)

#define DEFAULTS GROUP("defaults", raw_config, defaults, defaults_keys)

static const cyaml_schema_field_t config_keys[] = {
	TEXT("include", raw_config, include), FIRST_KEYS, PLACES, MORE_KEYS, DEFAULTS, SERVICES, CYAML_FIELD_END};
static const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, config_keys)};

/* Of an included file: what is said once for all services is in the main file. */
static const cyaml_schema_field_t included_keys[] = {SERVICES, CYAML_FIELD_END};
static const cyaml_schema_value_t included_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, included_keys)};

static const cyaml_schema_field_t fleet_keys[] = {FIRST_KEYS, MORE_KEYS, DEFAULTS, SERVICES, CYAML_FIELD_END};
static const cyaml_schema_value_t fleet_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, fleet_keys)};

static const cyaml_schema_field_t node_keys[] = {FIRST_KEYS, PLACES, MORE_KEYS, CYAML_FIELD_END};
static const cyaml_schema_value_t node_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, node_keys)};
/* clang-format on */

static const cyaml_schema_value_t *schema_of(const struct config_source *source)
{
	static const cyaml_schema_value_t *const schemas[] = {
	    [CONFIG_PART_MAIN] = &config_schema,
	    [CONFIG_PART_INCLUDED] = &included_schema,
	    [CONFIG_PART_FLEET] = &fleet_schema,
	    [CONFIG_PART_NODE] = &node_schema,
	};

	return schemas[source->part];
}

/* ---- loading ---- */

int config_schema_load(struct config_source *source, struct raw_config **ret)
{
	const cyaml_schema_value_t *schema = schema_of(source);
	int unfit =
	    source->all ? config_shape_prune(source, schema) : config_shape_check(source, schema);
	void *raw = NULL;

	source->pruned = source->all && source->error;
	if (!unfit && config_load_tree(source, schema, &raw))
		config_source_oom(source);
	*ret = raw;
	return source->error;
}

/* What aliases in it lead to comes along. */
char *config_schema_copy_defaults(struct config_source *source)
{
	yaml_node_t *root = yaml_document_get_root_node(&source->document);
	char *text;

	return config_dump_pair(&source->document, config_source_pair(source, root, "defaults"),
				&text)
		   ? NULL
		   : text;
}

void config_schema_free(const struct config_source *source, struct raw_config *raw)
{
	static const cyaml_config_t options = {.mem_fn = cyaml_mem};

	cyaml_free(&options, schema_of(source), raw, 0);
}
