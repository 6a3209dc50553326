/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The keys of a config file, and their values as load.c makes them: words of a fixed set as
 * numbers, the rest as text. A NULL pointer: the key is missing. */
#ifndef LBD_CONFIG_SCHEMA_H
#define LBD_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "source.h"

struct raw_families { /* one value for each address family */
	char *v4, *v6;
};

struct raw_protocols {
	char *tcp, *udp;
};

struct raw_source_limit {
	char *v4, *v6, *rate, *burst;
};

struct raw_limit {
	char *new_flows, *burst;
	struct raw_source_limit *per_source;
};

struct raw_health {
	char *type, *port, *to, *path, *host, *status, *interval, *timeout, *rise, *fall;
	char *fast_interval, *passive, *mtu, *method, *body, *send, *send_hex, *expect, *expect_hex,
	    *name, *record;
	char *server_name, *ca_file, *certificate_file, *key_file;
	uint8_t *verify; /* 0 or 1 */
	char **headers, **command;
	unsigned headers_count, command_count;
	uint8_t *match; /* 1: any, 0: all */
	/* with the keys of one check: no match, interval, rise, fall and checks */
	struct raw_health *checks;
	unsigned checks_count;
};

struct raw_agent {
	char *port, *interval, *timeout, *send;
};

struct raw_target { /* `health` of a backend */
	char *port, *address, *agent_port;
};

struct raw_from {
	char *file, *dns, *server, *etcd, *prefix, *kubernetes, *consul, *service, *namespace,
	    *port, *datacenter, *tag, *token, *ca, *cert, *key, *server_name, *min;
	uint8_t *record; /* enum config_record */
	uint8_t *family; /* enum config_family */
};

struct raw_backend {
	char *address, *name, *port, *weight, *zone, *priority;
	uint8_t *backup, *drain; /* 0 or 1 */
	struct raw_target *health;
};

struct raw_service { /* also for `defaults`, which has the keys below the line */
	char *name, *vip, *port, *slots, *backend_port;
	uint8_t protocol; /* enum config_protocol */
	struct raw_backend *backends;
	unsigned backends_count;
	struct raw_from *from;
	/* ---- */
	char *algorithm, *affinity_timeout, *slow_start, *flap_damping, *panic_threshold;
	uint8_t *hash;       /* enum lb_hash_fields */
	uint8_t *forward;    /* enum lb_forward */
	uint8_t *no_backend; /* enum lb_refusal */
	uint8_t *fragments;  /* 1: pass, 0: drop */
	uint8_t *tracking;   /* enum config_tracking */
	uint8_t *affinity;   /* 0 or 1 */
	struct raw_families *affinity_mask;
	struct raw_protocols *idle_timeout;
	struct raw_limit *limit;
	struct raw_health *health;
	struct raw_agent *agent;
};

struct raw_encap {
	char *source_v4, *source_v6, *gue_port;
};

struct raw_announce {
	char *table, *protocol, *metric, *drain_metric, *min_up, *file;
	uint8_t *require; /* 1: all, 0: any */
};

struct raw_peers {
	char *port, *key_file;
	char **nodes;
	unsigned nodes_count;
};

struct raw_client {
	char *token, *certificate;
	char **services;
	unsigned services_count;
};

struct raw_api {
	char *listen, *certificate, *key, *client_ca, *token_file;
	uint8_t *offers; /* enum config_offers */
	struct raw_client *clients;
	unsigned clients_count;
};

struct raw_nat {
	char **direct;
	unsigned direct_count;
	char *prefix;
};

struct raw_limits {
	char *services, *backends, *slots, *flows;
};

struct raw_telemetry {
	char *sample;
};

struct raw_config {
	char *include;
	char **interfaces;
	unsigned interfaces_count;
	uint8_t *mode;     /* enum config_mode */
	uint8_t *unserved; /* enum lb_refusal */
	char *pin, *socket, *state, *group, *metrics, *metrics_token_file, *hash_seed, *notify,
	    *zone;
	uint8_t *page; /* 1: on, 0: off */
	char **metrics_hosts;
	unsigned metrics_hosts_count;
	struct raw_encap *encap;
	struct raw_limits *limits;
	struct raw_telemetry *telemetry;
	struct raw_announce *announce;
	struct raw_peers *peers;
	struct raw_api *api;
	struct raw_nat *nat;
	struct raw_service *defaults;
	struct raw_service *services;
	unsigned services_count;
};

/* With source->all, what is right is loaded also after complaints: then *ret is set and the error
 * returned, and the tree of source has lost what is wrong.
 * Checks keys and types against the schema, that of the main file or of an included one, then
 * loads. 0 with *ret owned by the caller (config_schema_free), or -EINVAL or -ENOMEM with
 * source->complaint set. */
int config_schema_load(struct config_source *source, struct raw_config **ret);
/* The mapping `defaults` of the main file as a text "defaults: ...", allocated. NULL: out of
 * memory. */
char *config_schema_copy_defaults(struct config_source *source);
/* NULL is fine */
void config_schema_free(const struct config_source *source, struct raw_config *raw);

#endif
