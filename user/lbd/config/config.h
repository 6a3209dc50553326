/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config file as a validated value: YAML text in, a value or one error out. */
#ifndef LBD_CONFIG_H
#define LBD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lb_api.h"
#include "common/addr.h"
#include "common/error.h"
#include "common/ring_size.h"
#include "common/sentences.h"
#include "lbd/algo/algo.h"
#include "lbd/filter/filter.h"
#include "lbd/health/health.h"
#include "edit.h"
#include "index.h"
#include "tag.h"
#include "texts.h"

#define CONFIG_DEFAULT_PATH "/etc/lbd/lbd.yaml"
#define CONFIG_MAX_WEIGHT   LB_API_MAX_WEIGHT
#define CONFIG_MAX_PRIORITY LB_API_MAX_PRIORITY
#define CONFIG_DRAIN_METRIC 1000 /* a route with this metric or more is of a node that drains */

enum config_protocol { CONFIG_TCP = 6, CONFIG_UDP = 17 };
enum config_mode { CONFIG_MODE_AUTO, CONFIG_MODE_NATIVE, CONFIG_MODE_GENERIC };
enum config_tracking { CONFIG_TRACKING_AUTO, CONFIG_TRACKING_ALWAYS, CONFIG_TRACKING_NEVER };

/* `health: { port, agent-port, address }` of a backend: where it is checked. 0: as the service
 * says; family 0: the backend's own address. */
struct config_target {
	uint16_t port, agent_port;
	struct addr address;
};

bool config_target_equal(const struct config_target *a, const struct config_target *b);

struct config_backend {
	struct addr address;
	uint32_t weight;  /* 0..CONFIG_MAX_WEIGHT, default 100; 0: takes no new flow */
	uint8_t priority; /* 0..CONFIG_MAX_PRIORITY; 0, the default, is used first */
	bool backup;      /* used when no other can be, whatever their priorities */
	bool drain;    /* takes no new flow, until the file or a run-time change says otherwise */
	uint16_t port; /* of its own, with `forward: nat`; 0: that of the service */
	struct config_tag *tag; /* name, zone and labels; NULL: none of them */
	struct config_target target;
};

/* `allow` and `deny`; NULL: not given. */
struct config_lists {
	struct filter_list *allow, *deny;
	struct filter *filter; /* of both; NULL: every client may use the service */
};

/* A rate of new flows: `new-flows: 1000/s` with `burst: 2000`, or `per-source: { rate, burst }`. */
struct config_rate {
	uint32_t per_minute; /* 0: none */
	uint32_t burst;      /* flows at once; default: a second of the rate, at least 5 */
};

struct config_limit {
	struct config_rate service, source;
	uint8_t source4, source6; /* prefix length; default 24 and 56 */
};

/* `backends-from`: a source that names backends. One of the texts says which kind it is of. */
struct config_from {
	char *file;   /* `file: PATH` */
	char *dns;    /* `dns: NAME` */
	char *server; /* addresses with or without port, separated by blanks; NULL: the system's */
	uint8_t record;        /* enum config_record; default A */
	char *etcd;            /* URLs of one cluster, separated by blanks */
	char *prefix;          /* of the keys there */
	char *kubernetes;      /* URLs of the API servers of one cluster, separated by blanks */
	char *consul;          /* URLs of agents of one cluster, separated by blanks */
	char *service;         /* its name in Kubernetes or Consul */
	char *namespace;       /* where it is in Kubernetes */
	char *port;            /* name or number that an EndpointSlice must have; NULL: any */
	uint8_t family;        /* enum config_family, of the EndpointSlices; default IPv4 */
	char *datacenter;      /* of Consul; NULL: the agent's own */
	char *tag;             /* that instances in Consul must have; NULL: any */
	char *token;           /* path of a file; NULL: none */
	char *ca, *cert, *key; /* paths of PEM files; NULL: none */
	char *server_name;     /* that the servers' certificates have; NULL: the address */
	uint32_t min;          /* a list with fewer is not believed; default 1 */
	char *node; /* not of `backends-from`: who this node is to its fleet; NULL: nobody */
};

enum config_record { CONFIG_RECORD_A, CONFIG_RECORD_AAAA, CONFIG_RECORD_SRV };
enum config_family { CONFIG_FAMILY_IPV4, CONFIG_FAMILY_IPV6 };

/* Why a backup cannot have a priority besides 0. */
#define CONFIG_BACKUP_PRIORITY \
	"has no meaning for a backup, which comes after all priorities: expected one of the two"

#define CONFIG_FROM_TEXT  1023 /* bytes of each text: as CONFIG_MAX_TEXT */
#define CONFIG_FROM_TEXTS 18   /* that it has */
#define CONFIG_FROM_MAX   1024 /* backends that a source names at most */

struct config_service {
	char *name; /* unique; default "VIP:port/protocol" */
	struct addr vip;
	uint8_t protocol; /* enum config_protocol */
	uint16_t port;    /* 0: any (`port: any`) */
	const struct algo *algorithm;
	uint8_t hash; /* enum lb_hash_fields; `hash: [source-port, destination-port]`; the algorithm
			 has the default */
	uint8_t forward; /* enum lb_forward */
	/* `nat: { prefix }` is given: with `forward: nat` an IPv4 VIP may have IPv6 backends */
	bool translates;
	/* with `forward: nat`: of backends that name none; 0: the service's */
	uint16_t backend_port;
	uint8_t no_backend; /* enum lb_refusal; `no-backend: reject`, the default */
	bool no_fragments;  /* `fragments: drop`; the default is `pass` */
	uint8_t tracking; /* enum config_tracking; auto is always for algorithms that pick a backend
			     for each flow */
	uint8_t mask4, mask6;              /* `affinity-mask: { v4: 24, v6: 64 }` */
	bool affinity;                     /* `affinity: client-ip` */
	uint32_t affinity_timeout_ms;      /* default 10 min, at most LB_FLOW_MAX_IDLE ticks */
	uint32_t tcp_idle_ms, udp_idle_ms; /* `idle-timeout: { tcp: 300s, udp: 30s }` */
	struct config_limit limit;         /* `limit: { new-flows, burst, per-source }` */
	uint32_t slots;                    /* a prime; 0: by the number of backends */
	uint32_t slow_start_ms;            /* 0: none */
	uint32_t flap_damping_ms;          /* 0: none; see state/damping.h */
	/* percent; with fewer healthy backends all are used; 0: never */
	uint32_t panic_threshold;
	struct health_spec health;
	/* `agent: { port, interval, timeout, send }`; type NULL: none is asked */
	struct health_spec agent;
	struct config_lists lists;
	struct config_backend *backends; /* none only with `backends-from` */
	unsigned backends_count;
	struct config_from from;
	/* of config_texts, or CONFIG_RUNTIME, and its number in the `services` there */
	unsigned file, place;
};

#define CONFIG_RUNTIME ((unsigned)-1) /* not of a file: config_add_service */

/* sizes of the maps, fixed while they are pinned */
struct config_limits {
	uint32_t services; /* default 1024 */
	uint32_t backends; /* (service, backend) pairs, default 16384, at most LB_MAX_BACKENDS */
	uint32_t slots;    /* default 4 Mi */
	uint32_t flows;    /* tracked flows, default 1 Mi; the table has twice as many entries */
};

/* `announce:`: the VIPs as routes for BIRD or FRR to export, and the file that keepalived tracks.
 */
struct config_announce {
	bool on;          /* the key is there */
	bool all;         /* `require: all`: of a VIP, every service must be usable; else one */
	uint8_t protocol; /* the routes' protocol number; default 76 */
	uint32_t table;   /* default 76 */
	uint32_t metric;  /* default 10 */
	uint32_t drain_metric; /* CONFIG_DRAIN_METRIC or more; default 2000 */
	uint32_t min_up;       /* backends that a usable service has at least; default 1 */
	char *file;            /* NULL: none */
};

/* Of `peers:`. With this node. */
#define CONFIG_NODES_MAX 9

/* `peers:`: the nodes that serve the same VIPs, and tell each other of slots and flows. */
struct config_peers {
	bool on;                             /* the key is there */
	uint16_t port;                       /* default 7646 */
	char *key_file;                      /* required */
	struct addr nodes[CONFIG_NODES_MAX]; /* all of one family; this node's is one of them */
	unsigned nodes_count;
};

#define CONFIG_TOKENS_MAX 64
#define CONFIG_TOKEN_MIN  16 /* characters */
#define CONFIG_TOKEN_MAX  512

/* Which requests the listener of `api:` takes. */
enum config_offers {
	CONFIG_OFFER_READ,     /* GET */
	CONFIG_OFFER_REGISTER, /* the default: registrations too, PUT and DELETE */
	CONFIG_OFFER_ALL       /* all that the control socket takes */
};

struct config_token {
	char name[CONFIG_TAG_TEXT + 1];
	char *secret;
};

#define CONFIG_CLIENTS_MAX         256
#define CONFIG_CLIENT_SERVICES_MAX 256

/* Of `api: clients`: who may register where. */
struct config_client {
	char *name; /* of a token, or the common name of a certificate */
	bool by_token;
	bool begins;             /* the name of a certificate has a "*" at its end */
	char **services;         /* their names */
	unsigned services_count; /* 0: all services */
};

/* `api:`: the listener for requests from other machines. Immutable, with counted references, which
 * only tasks and a start change. */
struct config_api {
	unsigned refs;
	char *listen; /* as in the config */
	struct addr address;
	uint16_t port;
	enum config_offers offers;
	struct ssl_ctx_st *tls;      /* with certificate, key and authorities */
	bool verifies;               /* clients show a certificate of `client-ca` */
	struct config_token *tokens; /* clients send one of them; none: no token is asked for */
	unsigned tokens_count;
	struct config_client *clients; /* none: all may register in all services */
	unsigned clients_count;
};

/* Who asks there. */
struct config_asker {
	const char *token;       /* its name; NULL: none was sent */
	const char *certificate; /* its common name; NULL: none was shown, or it has no such name */
};

/* May it register in the service? NULL: in all of them. */
bool config_api_permits(const struct config_api *api, const struct config_asker *asker,
			const char *service);
/* Where it may register, for people, if that is not everywhere: "only in web, web6", "nowhere". */
void config_api_permitted(const struct config_api *api, const struct config_asker *asker, char *ret,
			  size_t size);
bool config_api_has_token(const struct config_api *api, const char *name);
bool config_api_same_clients(const struct config_api *a, const struct config_api *b);
/* Services that `api: clients` names and that are not there: they may come at run time. */
void config_lacks_services(const struct config *config, struct sentences *ret);

struct config_api *config_api_ref(struct config_api *api); /* NULL is fine */
void config_api_unref(struct config_api *api);             /* NULL is fine */

/* Of `nat: { direct }`. */
#define CONFIG_DIRECT_MAX 16

struct config_prefix {
	struct addr addr;
	uint8_t length; /* 1.. */
};

bool config_prefix_equal(const struct config_prefix *a, const struct config_prefix *b);

/* `nat:`: what holds for all services with `forward: nat`. */
struct config_nat {
	/* Clients that reach the backends past the VIPs. */
	struct config_prefix direct[CONFIG_DIRECT_MAX];
	unsigned direct_count;
	/* Of the IPv6 addresses in which IPv4 clients reach IPv6 backends; length 0: none. */
	struct config_prefix prefix;
};

#define CONFIG_COMMAND_END '\1' /* no word of a command has it */

struct config {
	char *include;        /* the directory and pattern; NULL: the main file is all there is */
	unsigned files_count; /* with the main one */
	char *defaults;       /* as YAML, for services that are added later; NULL: none */
	char *commands;       /* of the files' `exec` checks, each between CONFIG_COMMAND_END */
	char **interfaces;
	unsigned interfaces_count;
	enum config_mode mode;
	uint8_t unserved; /* enum lb_refusal; `unserved: reject`, the default */
	char *pin;        /* default /sys/fs/bpf/lbd */
	char *socket;     /* default /run/lbd/lbd.sock */
	char *state;      /* directory of files that survive a reboot; default /var/lib/lbd */
	char *group;      /* owner group of the socket, default "lbd" */
	/* `metrics: 127.0.0.1:9469` or `unix:/run/lbd/metrics.sock`; "off": NULL */
	char *metrics;
	char *metrics_path; /* of a Unix socket, in `metrics`; NULL: address and port */
	struct addr metrics_address;
	uint16_t metrics_port;
	char *metrics_token_file; /* NULL: no token is asked for */
	bool page;    /* `page: on`, the default: a page for browsers beside the metrics */
	char *zone;   /* where this node is: backends of the zone come first; NULL: not said */
	char *notify; /* the command for events, with its arguments; NULL: none */
	/* names that the Host field may have besides localhost and the address connected to */
	char **metrics_hosts;
	unsigned metrics_hosts_count;
	uint64_t hash_seed;                            /* 0: not given, see seed.h */
	struct addr encap_source4, encap_source6;      /* prefixes of the outer source addresses */
	unsigned encap_source4_len, encap_source6_len; /* default 172.16.0.0/16, 100::/64 */
	uint16_t gue_port;                             /* default 6080 */
	struct config_limits limits;
	/* `telemetry: { sample: 1/16 }`: connects of one flow in so many are timed; 0: `off` */
	unsigned sample;
	struct config_announce announce;
	struct config_peers peers;
	struct config_api *api; /* NULL: there is no such listener */
	struct config_nat nat;
	struct config_service *services;
	unsigned services_count;
};

/* Reads and validates a file. 0, or -errno with *ret untouched and "FILE:LINE: object: key: value:
 * what was expected" in err. */
int config_load(const char *path, struct config **ret, struct error *err);
/* The sentence of one mistake; or, as the last, that of `count` that are not named. */
typedef void config_mistake_fn(void *arg, const char *sentence, size_t count);
/* The same, for a person who mends the file: calls mistake with the sentence of each one that is
 * found, by line. Conflicts between services are looked for once each service is right. */
int config_load_all(const char *path, config_mistake_fn *mistake, void *arg, struct config **ret,
		    struct error *err);
/* The same from memory. */
int config_parse_all(const char *text, size_t length, const char *name, config_mistake_fn *mistake,
		     void *arg, struct config **ret, struct error *err);
/* The same from memory; errors call the file `name`. What it includes is not read. */
int config_parse(const char *text, size_t length, const char *name, struct config **ret,
		 struct error *err);
int config_parse_texts(const struct config_texts *texts, struct config **ret, struct error *err);
/* The same, and the trees of the texts, which must outlive them: for config_edit_texts. */
int config_parse_trees(const struct config_texts *texts, struct config **ret,
		       struct config_sources **ret_trees, struct error *err);
void config_sources_free(struct config_sources *trees); /* NULL is fine */
void config_free(struct config *config);
/* Shares what has counted references: only in a task. 0 or -ENOMEM. */
int config_copy(const struct config *config, struct config **ret);
/* Adds a service as a file would have it after all others: text is a JSON object with the keys of a
 * service; `defaults` hold for it. Its lists are read. 0, or -errno with the sentence of a config
 * error in err, without file and line; then config is as it was. Pointers to services are gone.
 * -EKEYREJECTED: it names a file or a command that only the files of the config may. */
int config_add_service(struct config *config, const char *text, struct error *err);
/* The same for several: all or none of them, which is cheaper than one after the other, as they are
 * checked together. On error err is about one of them, whichever that is. */
int config_add_services(struct config *config, const char *const *texts, unsigned count,
			struct error *err);
/* Likewise. */
void config_remove_service(struct config *config, unsigned index);
/* gone: of each service. */
void config_remove_services(struct config *config, const bool *gone);
/* What remains are the keys of the top level. */
void config_drop_services(struct config *config);
/* Reads the files of all `allow` and `deny` lists again. 0 with an array in *ret that has an
 * element for each service of config, whose other lists stay, for config_lists_free; or -errno with
 * "service NAME: ..." in err. */
int config_read_lists_again(const struct config *config, struct config_lists **ret,
			    struct error *err);
void config_lists_free(struct config_lists *lists, unsigned count); /* NULL is fine */
const struct config_service *config_find_service(const struct config *config, const char *name);
/* Is it among the `interfaces`? */
bool config_has_interface(const struct config *config, const char *name);
/* service: NULL has no backends. */
const struct config_backend *config_find_backend(const struct config_service *service,
						 const struct addr *address);
/* How many slots for each backend the ring has, if `slots` does not say it. Follows from this text
 * alone: balancers with the same one have the same rings, whatever is changed at run time. */
enum ring_grain config_ring_grain(const struct config_service *service);
/* With the same VIP, protocol and port. */
const struct config_service *config_find_same(const struct config *config, const struct addr *vip,
					      uint8_t protocol, uint16_t port);
/* By its name; NULL: none has it. */
const struct config_backend *config_find_named(const struct config_service *service,
					       const char *name);
/* Do both have the same VIP, protocol and port? That is what the data plane knows a service by. */
bool config_same_service(const struct config_service *a, const struct config_service *b);
/* "file", "dns", "etcd", NULL: no source. The name of a source_kind (lbd/sources). */
const char *config_from_kind(const struct config_from *from);
/* What the source is, as the config names it: a path, a name, URLs. */
const char *config_from_what(const struct config_from *from);
bool config_from_equal(const struct config_from *a, const struct config_from *b);
/* 0 or -ENOMEM; then what was copied is in *ret, for config_from_done. */
int config_from_copy(const struct config_from *from, struct config_from *ret);
void config_from_done(struct config_from *from);
/* One of its texts, by a number below CONFIG_FROM_TEXTS. */
char **config_from_text(struct config_from *from, unsigned index);
/* A service of any port of which each backend must say at which port it is checked. */
bool config_checks_lack_port(const struct config_service *service);
/* The port at which a backend gets the packets of a service with `forward: nat`. own: its own; 0:
 * it names none. 0: that which the client sent them to. */
uint16_t config_real_port(const struct config_service *service, uint16_t own);
/* Why a backend of the service cannot have a port of its own, with what is expected; NULL: it can.
 */
const char *config_why_no_port(const struct config_service *service);
/* Do two services with `forward: nat` that have a backend at one address, with these ports there,
 * share a real? A reply of it would be of either. */
bool config_reals_meet(const struct config_service *a, uint16_t a_port,
		       const struct config_service *b, uint16_t b_port);
/* Another service of config that has a real which address would have as a backend of service. port:
 * its own; 0: it names none. NULL: there is none. */
const struct config_service *config_find_real(const struct config *config,
					      const struct config_service *service,
					      const struct addr *address, uint16_t port);
/* "10.0.0.11:8080/tcp", "[2001:db8::11]:any/udp" */
#define CONFIG_REAL_TEXT (ADDR_TEXT + 16)
const char *config_real_text(const struct addr *address, uint16_t port, uint8_t protocol,
			     char text[CONFIG_REAL_TEXT]);
/* Could a file name address as a backend of service, which belongs to config? port: its own; 0: it
 * names none. 0, or -EINVAL with the end of a sentence that begins with the address in err. */
int config_check_backend(const struct config *config, const struct config_service *service,
			 const struct addr *address, uint16_t port, struct error *err);

#include "remote.h" /* needs config_from */

#endif
