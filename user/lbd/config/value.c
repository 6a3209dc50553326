/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text to values: all keys but those of services. */
#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "lbd/events/events.h"
#include "api.h"
#include "scalar.h"
#include "service.h"
#include "texts.h"

/* ---- defaults ---- */

#define MAX_SAMPLE 1024

static const struct config config_defaults = {
    .mode = CONFIG_MODE_AUTO,
    .unserved = LB_REFUSE_REJECT,
    .page = true,
    .encap_source4 = {.family = 4, .bytes = {172, 16}},
    .encap_source4_len = 16,
    .encap_source6 = {.family = 6, .bytes = {0x01}}, /* 100::/64, the discard prefix (RFC 6666) */
    .encap_source6_len = 64,
    .gue_port = 6080,
    .sample = 16,
    .peers = {.port = 7646},
    .announce = {.table = 76, .protocol = 76, .metric = 10, .drain_metric = 2000, .min_up = 1},
    .limits = {.services = 1024, .backends = 16384, .slots = 4 << 20, .flows = 1 << 20},
};

static const struct raw_config default_texts = {
    .pin = (char *)"/sys/fs/bpf/lbd",
    .socket = (char *)"/run/lbd/lbd.sock",
    .state = (char *)"/var/lib/lbd",
    .group = (char *)"lbd",
    .metrics = (char *)"127.0.0.1:9469",
};

/* ---- keys ---- */

static bool is_path(const char *text)
{
	return *text == '/';
}

static bool is_socket_path(const char *text)
{
	return *text == '/' && strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

static bool is_host(const char *text)
{
	struct addr address;

	return !addr_parse(text, &address) || config_is_word(text, 253);
}

static bool is_group(const char *text)
{
	return config_is_word(text, 64);
}

/* The kernel's rule: dev_valid_name(). */
static bool is_interface(const char *text)
{
	if (!*text || strlen(text) >= IFNAMSIZ || !strcmp(text, ".") || !strcmp(text, ".."))
		return false;
	for (; *text; text++)
		if (*text == '/' || *text == ':' || isspace((unsigned char)*text))
			return false;
	return true;
}

/* A path and arguments, separated by blanks. No shell reads it, so nothing is quoted. */
static bool is_command(const char *text)
{
	unsigned words = 0;

	if (*text != '/' || strpbrk(text, "\"'\\`$\n"))
		return false;
	for (const char *at = text; *at; at += strspn(at, " \t")) {
		words++;
		at += strcspn(at, " \t");
	}
	return words <= NOTIFY_WORDS_MAX;
}

static const struct config_text_key texts[] = {
    CONFIG_TEXT("include", raw_config, include, config, include, config_include_fits,
		CONFIG_INCLUDE_EXPECTED),
    CONFIG_TEXT("pin", raw_config, pin, config, pin, is_path, "an absolute path on a bpffs"),
    CONFIG_TEXT("socket", raw_config, socket, config, socket, is_socket_path,
		"an absolute path of at most 107 bytes"),
    CONFIG_TEXT("state", raw_config, state, config, state, is_path, "an absolute path"),
    CONFIG_TEXT("group", raw_config, group, config, group, is_group, "the name of a group"),
    CONFIG_TEXT("metrics-token-file", raw_config, metrics_token_file, config, metrics_token_file,
		is_path, "an absolute path"),
    CONFIG_TEXT("notify", raw_config, notify, config, notify, is_command,
		"an absolute path and at most 15 arguments, separated by blanks; no shell reads "
		"them, so quotes, backslashes and $ have no place there"),
    CONFIG_TEXT("zone", raw_config, zone, config, zone, config_zone_fits, CONFIG_ZONE_SYNTAX),
    {.key = NULL},
};

static const struct config_number_key numbers[] = {
    CONFIG_NUMBER("hash-seed", raw_config, hash_seed, config, hash_seed, seed, 1, UINT64_MAX),
    {.key = NULL},
};

static const struct config_number_key encap_numbers[] = {
    CONFIG_NUMBER("gue-port", raw_encap, gue_port, config, gue_port, count, 1, 65535),
    {.key = NULL},
};

/* flows: the table has twice as many entries, and 31 bits of the hash select the bucket. */
static const struct config_number_key limits_numbers[] = {
    CONFIG_NUMBER("services", raw_limits, services, config_limits, services, size, 1,
		  LB_MAX_SERVICES),
    CONFIG_NUMBER("backends", raw_limits, backends, config_limits, backends, size, 1,
		  LB_MAX_BACKENDS),
    CONFIG_NUMBER("slots", raw_limits, slots, config_limits, slots, size, 1 << 10, 1 << 28),
    CONFIG_NUMBER("flows", raw_limits, flows, config_limits, flows, size, 1 << 10, 1 << 28),
    {.key = NULL},
};

static const struct config_number_key announce_numbers[] = {
    CONFIG_NUMBER("table", raw_announce, table, config_announce, table, count, 1, UINT32_MAX),
    CONFIG_NUMBER("protocol", raw_announce, protocol, config_announce, protocol, count,
		  RTPROT_STATIC + 1, 255),
    CONFIG_NUMBER("metric", raw_announce, metric, config_announce, metric, count, 1,
		  CONFIG_DRAIN_METRIC - 1),
    CONFIG_NUMBER("drain-metric", raw_announce, drain_metric, config_announce, drain_metric, count,
		  CONFIG_DRAIN_METRIC, UINT32_MAX),
    CONFIG_NUMBER("min-up", raw_announce, min_up, config_announce, min_up, count, 1,
		  LB_MAX_BACKENDS),
    {.key = NULL},
};

static const struct config_text_key announce_texts[] = {
    CONFIG_TEXT("file", raw_announce, file, config_announce, file, is_path, "an absolute path"),
    {.key = NULL},
};

static const struct config_number_key peers_numbers[] = {
    CONFIG_NUMBER("port", raw_peers, port, config_peers, port, count, 1, 65535),
    {.key = NULL},
};

static const struct config_text_key peers_texts[] = {
    CONFIG_TEXT("key-file", raw_peers, key_file, config_peers, key_file, is_path,
		"an absolute path"),
    {.key = NULL},
};

/* ---- values with a syntax of their own ---- */

static void read_metrics_path(const struct config_place *at, const char *text,
			      struct config *config)
{
	const char *path = text + strlen("unix:");

	if (!is_socket_path(path))
		config_complain(at, "metrics", text,
				"expected unix: and an absolute path of at most 107 bytes");
	else if (config->socket && !strcmp(path, config->socket))
		config_complain(at, "metrics", text,
				"is the control socket: expected another path");
	config_copy_text(at, text, &config->metrics);
	config_copy_text(at, path, &config->metrics_path);
}

/* ADDRESS:PORT, brackets around IPv6; unix:PATH; or off. */
static void read_metrics(const struct config_place *at, const char *text, struct config *config)
{
	if (!strcmp(text, "off"))
		return;
	if (!strncmp(text, "unix:", 5)) {
		read_metrics_path(at, text, config);
		return;
	}
	if (!config_parse_endpoint(text, &config->metrics_address, &config->metrics_port)) {
		config_complain(
		    at, "metrics", text,
		    "expected an address and port, such as 127.0.0.1:9469 or [::1]:9469, unix:PATH, or off");
		return;
	}
	config_copy_text(at, text, &config->metrics);
}

static void read_metrics_hosts(const struct config_place *root, const struct raw_config *raw,
			       struct config *config)
{
	config->metrics_hosts = calloc(raw->metrics_hosts_count + 1, sizeof(char *));
	if (!config->metrics_hosts) {
		config_source_oom(root->source);
		return;
	}
	config->metrics_hosts_count = raw->metrics_hosts_count;
	for (unsigned i = 0; i < raw->metrics_hosts_count; i++) {
		if (!is_host(raw->metrics_hosts[i]))
			config_complain_item(root, "metrics-hosts", i, raw->metrics_hosts[i],
					     "expected the name of a host or an address, without "
					     "port and brackets");
		config_copy_text(root, raw->metrics_hosts[i], &config->metrics_hosts[i]);
	}
}

/* Asked for without the listener that has it, it would be missed. */
static void read_page(const struct config_place *root, const struct raw_config *raw,
		      struct config *config)
{
	if (!raw->page)
		return;
	config->page = *raw->page;
	if (config->page && raw->metrics && !strcmp(raw->metrics, "off"))
		config_complain(
		    root, "page", "on",
		    "is served by the listener of `metrics`, which is off: expected off, "
		    "or an address in `metrics`");
}

static void read_prefix(const struct config_place *at, const char *key, const char *text,
			uint8_t family, unsigned min_len, struct addr *ret, unsigned *ret_len)
{
	struct addr addr;
	unsigned len;

	if (!text)
		return;
	if (addr_parse_prefix(text, &addr, &len) || addr.family != family || len < min_len) {
		config_complain(
		    at, key, text,
		    "expected an IPv%u prefix from /%u to /%u with no bits beyond it, such as %s",
		    family, min_len, family == 4 ? 32 : 128,
		    family == 4 ? "172.16.0.0/16" : "100::/64");
		return;
	}
	*ret = addr;
	*ret_len = len;
}

static void read_encap(const struct config_place *root, const struct raw_encap *raw,
		       struct config *config)
{
	struct config_place at;

	config_place_field(root, "encap", &at);
	config_read_numbers(&at, encap_numbers, raw, config);
	read_prefix(&at, "source-v4", raw->source_v4, 4, 8, &config->encap_source4,
		    &config->encap_source4_len);
	read_prefix(&at, "source-v6", raw->source_v6, 6, 16, &config->encap_source6,
		    &config->encap_source6_len);
}

static void read_limits(const struct config_place *root, const struct raw_limits *raw,
			struct config_limits *limits)
{
	struct config_place at;

	config_place_field(root, "limits", &at);
	config_read_numbers(&at, limits_numbers, raw, limits);
}

/* "1/16"; 0: it is none. */
static unsigned sample_of(const char *text)
{
	char *end;
	unsigned long of;

	if (strncmp(text, "1/", 2) != 0 || text[2] < '0' || text[2] > '9')
		return 0;
	of = strtoul(text + 2, &end, 10);
	return *end || of > MAX_SAMPLE || of & (of - 1) ? 0 : (unsigned)of;
}

static void read_telemetry(const struct config_place *root, const struct raw_telemetry *raw,
			   struct config *config)
{
	struct config_place at;

	config_place_field(root, "telemetry", &at);
	if (!raw->sample)
		return;
	config->sample = sample_of(raw->sample);
	if (!config->sample && strcmp(raw->sample, "off") != 0)
		config_complain(&at, "sample", raw->sample,
				"expected off, or 1/N with a power of two from 1 to 1024, such as "
				"1/16");
}

static void read_announce(const struct config_place *root, const struct raw_announce *raw,
			  struct config *config)
{
	struct config_announce *announce = &config->announce;
	struct config_place at;

	config_place_field(root, "announce", &at);
	announce->on = true;
	config_read_numbers(&at, announce_numbers, raw, announce);
	config_read_texts(&at, announce_texts, raw, announce);
	if (raw->require)
		announce->all = *raw->require;
	if (announce->table == RT_TABLE_LOCAL)
		config_complain(&at, "table", raw->table,
				"is the kernel's table of local addresses: expected another");
	if (announce->file && config->socket && !strcmp(announce->file, config->socket))
		config_complain(&at, "file", announce->file,
				"is the control socket: expected another path");
}

static void read_node(const struct config_place *at, const struct raw_peers *raw, unsigned i,
		      struct config_peers *peers)
{
	const char *text = raw->nodes[i], *why;
	struct addr *node = &peers->nodes[i];

	if (addr_parse(text, node)) {
		config_complain_item(at, "nodes", i, text,
				     "expected an IPv4 or IPv6 address, without a port or prefix "
				     "length");
		return;
	}
	why = addr_why_no_host(node);
	if (why)
		config_complain_item(at, "nodes", i, text, "%s: expected the address of one host",
				     why);
	else if (node->family != peers->nodes[0].family)
		config_complain_item(at, "nodes", i, text,
				     "expected addresses of one family, as the first is IPv%u",
				     peers->nodes[0].family);
	for (unsigned j = 0; j < i; j++)
		if (addr_equal(&peers->nodes[j], node))
			config_complain_item(at, "nodes", i, text, "listed twice: expected once");
}

static void read_peers(const struct config_place *root, const struct raw_peers *raw,
		       struct config_peers *peers)
{
	struct config_place at;

	config_place_field(root, "peers", &at);
	peers->on = true;
	config_read_numbers(&at, peers_numbers, raw, peers);
	config_read_texts(&at, peers_texts, raw, peers);
	if (!raw->key_file)
		config_complain_missing(&at, "key-file",
					"expected the path of a file with the key that all nodes "
					"have");
	if (!raw->nodes_count)
		config_complain_missing(&at, "nodes",
					"expected the addresses of 2 to %d nodes, this one's too",
					CONFIG_NODES_MAX);
	else if (raw->nodes_count < 2 || raw->nodes_count > CONFIG_NODES_MAX)
		config_complain(&at, "nodes", NULL,
				"%u given: expected the addresses of 2 to %d nodes, this one's too",
				raw->nodes_count, CONFIG_NODES_MAX);
	if (raw->nodes_count < 2 || raw->nodes_count > CONFIG_NODES_MAX)
		return;
	peers->nodes_count = raw->nodes_count;
	for (unsigned i = 0; i < raw->nodes_count; i++)
		read_node(&at, raw, i, peers);
}

static void read_direct(const struct config_place *at, const char *text, unsigned index,
			struct config_nat *nat)
{
	struct config_prefix *prefix = &nat->direct[index];
	unsigned length;

	if (addr_parse_prefix(text, &prefix->addr, &length) || !length) {
		config_complain_item(
		    at, "direct", index, text,
		    "expected a prefix of /1 or longer with no bits beyond it, such "
		    "as 10.9.0.0/16 or 2001:db8:9::/64");
		return;
	}
	prefix->length = (uint8_t)length;
	for (unsigned i = 0; i < index; i++)
		if (config_prefix_equal(&nat->direct[i], prefix))
			config_complain_item(at, "direct", index, text,
					     "listed twice: expected once");
}

/* RFC 6052, section 2.2: these lengths, and zeros in bits 64 to 71 (byte 8). */
static bool can_embed(const struct addr *prefix, unsigned length)
{
	const bool is_one = length == 96 || (length >= 32 && length <= 64 && length % 8 == 0);

	return prefix->family == 6 && is_one && !prefix->bytes[8] && !addr_why_no_host(prefix);
}

static bool within(const struct addr *address, const struct config_prefix *prefix)
{
	struct addr start = *address;

	addr_clear_beyond(&start, prefix->length);
	return addr_equal(&start, &prefix->addr);
}

static void read_embedding(const struct config_place *at, const char *text, struct config_nat *nat)
{
	unsigned length;

	if (addr_parse_prefix(text, &nat->prefix.addr, &length) ||
	    !can_embed(&nat->prefix.addr, length)) {
		config_complain(at, "prefix", text,
				"expected an IPv6 prefix of /32, /40, /48, /56, /64 or /96 with no "
				"bits beyond it, such as 2001:db8:46::/96");
		return;
	}
	nat->prefix.length = (uint8_t)length;
	for (unsigned i = 0; i < nat->direct_count; i++)
		if (within(&nat->direct[i].addr, &nat->prefix) ||
		    within(&nat->prefix.addr, &nat->direct[i]))
			config_complain(at, "prefix", text,
					"has addresses of `direct` in it: expected others");
}

static void read_nat(const struct config_place *root, const struct raw_nat *raw,
		     struct config_nat *nat)
{
	struct config_place at;

	config_place_field(root, "nat", &at);
	if (raw->direct_count > CONFIG_DIRECT_MAX) {
		config_complain(&at, "direct", NULL, "%u prefixes: expected at most %d",
				raw->direct_count, CONFIG_DIRECT_MAX);
		return;
	}
	nat->direct_count = raw->direct_count;
	for (unsigned i = 0; i < raw->direct_count; i++)
		read_direct(&at, raw->direct[i], i, nat);
	if (raw->prefix)
		read_embedding(&at, raw->prefix, nat);
}

static void read_interfaces(const struct config_place *root, const struct raw_config *raw,
			    struct config *config)
{
	config->interfaces = calloc(raw->interfaces_count + 1, sizeof(*config->interfaces));
	if (!config->interfaces) {
		config_source_oom(root->source);
		return;
	}
	config->interfaces_count = raw->interfaces_count;
	for (unsigned i = 0; i < raw->interfaces_count; i++) {
		if (!is_interface(raw->interfaces[i]))
			config_complain_item(root, "interfaces", i, raw->interfaces[i],
					     "expected the name of an interface, 1 to %d bytes",
					     IFNAMSIZ - 1);
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(raw->interfaces[i], raw->interfaces[j]))
				config_complain_item(root, "interfaces", i, raw->interfaces[i],
						     "listed twice: expected once");
		config_copy_text(root, raw->interfaces[i], &config->interfaces[i]);
	}
}

static int allocate_services(struct raw_config *const *raws, unsigned count, struct config *config)
{
	size_t all = 0;

	for (unsigned i = 0; i < count; i++)
		all += raws[i] ? raws[i]->services_count : 0;
	config->services = calloc(all + 1, sizeof(*config->services));
	return config->services ? 0 : -ENOMEM;
}

static void read_file_services(struct config_source *source, const struct raw_config *raw,
			       const struct config_defaults *defaults, struct config *config)
{
	struct config_place root;

	config_place_root(source, &root);
	for (unsigned i = 0; i < raw->services_count; i++) {
		struct config_service *service = &config->services[config->services_count++];

		config_read_service(&root, i, defaults, &raw->services[i], service);
		service->file = source->file;
		service->place = i;
	}
}

void config_read_services(const struct config_sources *sources, struct raw_config *const *raws,
			  struct config *config)
{
	struct config_defaults defaults = {.raw = raws[0] ? raws[0]->defaults : NULL,
					   .translates = config->nat.prefix.length > 0};

	config_place_root(&sources->list[0], &defaults.root);
	if (allocate_services(raws, sources->count, config)) {
		config_source_oom(&sources->list[0]);
		return;
	}
	if (defaults.raw)
		config_read_defaults(&defaults);
	for (unsigned i = 0; i < sources->count; i++)
		if (raws[i])
			read_file_services(&sources->list[i], raws[i], &defaults, config);
}

static void read_given(const struct config_place *root, const struct raw_config *raw,
		       struct config *config)
{
	config_read_texts(root, texts, raw, config);
	config_read_numbers(root, numbers, raw, config);
	if (raw->mode)
		config->mode = *raw->mode;
	if (raw->unserved)
		config->unserved = *raw->unserved;
	if (raw->metrics)
		read_metrics(root, raw->metrics, config);
	if (raw->metrics_hosts || !config->metrics_hosts)
		read_metrics_hosts(root, raw, config);
	read_page(root, raw, config);
	if (raw->encap)
		read_encap(root, raw->encap, config);
	if (raw->limits)
		read_limits(root, raw->limits, &config->limits);
	if (raw->telemetry)
		read_telemetry(root, raw->telemetry, config);
	if (raw->announce)
		read_announce(root, raw->announce, config);
	if (raw->peers)
		read_peers(root, raw->peers, &config->peers);
	if (raw->api)
		config_read_api(root, raw->api, &config->api);
	if (raw->nat)
		read_nat(root, raw->nat, &config->nat);
	if (raw->interfaces || !config->interfaces)
		read_interfaces(root, raw, config);
}

void config_read(struct config_source *source, const struct raw_config *raw, struct config *config)
{
	struct config_place root;

	config_place_root(source, &root);
	*config = config_defaults;
	config_read_texts(&root, texts, &default_texts, config);
	if (!raw->metrics)
		read_metrics(&root, default_texts.metrics, config);
	read_given(&root, raw, config);
}

/* Of lists there is none with items yet: they were hidden in the other text. */
static void forget_defaults(const struct raw_config *raw, struct config *config)
{
	if (raw->metrics) {
		free(config->metrics);
		config->metrics = NULL;
	}
	if (raw->interfaces) {
		free(config->interfaces);
		config->interfaces = NULL;
	}
	if (raw->metrics_hosts) {
		free(config->metrics_hosts);
		config->metrics_hosts = NULL;
	}
}

void config_read_more(struct config_source *source, const struct raw_config *raw,
		      struct config *config)
{
	struct config_place root;

	config_place_root(source, &root);
	forget_defaults(raw, config);
	read_given(&root, raw, config);
}
