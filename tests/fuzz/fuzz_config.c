/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config: any text gives either a config whose every value is within what docs/config.md
 * allows, or an error that names the file; never both, never a crash. A config that was accepted is
 * accepted again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_abi.h"
#include "lbd/config/config.h"
#include "fuzz.h"

static bool within(uint64_t value, uint64_t least, uint64_t most)
{
	return value >= least && value <= most;
}

static void check_name(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-:/[]";

	require(within(strlen(name), 1, 63) && strspn(name, letters) == strlen(name), "name \"%s\"",
		name);
}

/* One check, also of several. */
static void check_one(const struct health_spec *health)
{
	require(within(health->timeout_ms, 1, 3600000), "timeout %u", health->timeout_ms);
	require(!health->status_max || (within(health->status_min, 100, 599) &&
					within(health->status_max, health->status_min, 599)),
		"status %u-%u", health->status_min, health->status_max);
	require(!health->path || (health->path[0] == '/' && !strpbrk(health->path, " \t\r\n")),
		"path \"%s\"", health->path);
	require(!health->host || !strpbrk(health->host, " \t\r\n"), "host \"%s\"", health->host);
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		require(!health->texts[i] || strlen(health->texts[i]) <= health_text_max[i],
			"text %u has %zu bytes", i, strlen(health->texts[i]));
	require(!health->send_hex || health_is_hex(health->send_hex), "digits %s",
		health->send_hex);
	require(!health->expect_hex || health_is_hex(health->expect_hex), "digits %s",
		health->expect_hex);
	require(!health->headers || !strpbrk(health->headers, "\r\t"), "headers \"%s\"",
		health->headers);
	require(!health->method ||
		    !health->method[strspn(health->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")],
		"method \"%s\"", health->method);
}

static void check_health(const struct config_service *service)
{
	const struct health_spec *health = &service->health;

	require(within(health->interval_ms, 100, 3600000), "interval %u", health->interval_ms);
	require(health->rise && health->fall, "rise %u, fall %u", health->rise, health->fall);
	require(health->checks_count <= HEALTH_CHECKS_MAX, "%u checks", health->checks_count);
	check_one(health);
	for (unsigned i = 0; i < health->checks_count; i++) {
		check_one(&health->checks[i]);
		require(health->checks[i].type && health_kind_of(&health->checks[i]),
			"check %u has no kind", i);
		require(health->checks[i].timeout_ms < health->interval_ms, "timeout of check %u",
			i);
	}
}

static void check_times(const struct config_service *service)
{
	const uint32_t most = 8589 * 1000;

	require(within(service->tcp_idle_ms, 3000, most), "tcp %u", service->tcp_idle_ms);
	require(within(service->udp_idle_ms, 3000, most), "udp %u", service->udp_idle_ms);
	require(within(service->affinity_timeout_ms, 3000, most), "affinity-timeout %u",
		service->affinity_timeout_ms);
	require(service->slow_start_ms <= 3600000, "slow-start %u", service->slow_start_ms);
}

static void check_tag(const struct config_service *service, const struct config_backend *backend)
{
	const struct config_tag *tag = backend->tag;

	if (!tag)
		return;
	require(tag->name || tag->zone || tag->labels_count, "an empty tag");
	require(!tag->zone || config_zone_fits(tag->zone), "zone \"%s\"", tag->zone);
	require(!tag->name || config_tag_name_fits(tag->name), "name \"%s\"", tag->name);
	require(!tag->name || config_find_named(service, tag->name) == backend, "name twice");
	require(tag->labels_count <= 8, "%u labels", tag->labels_count);
	for (unsigned i = 0; i < tag->labels_count; i++) {
		require(within(strlen(tag->labels[i].key), 1, 32), "%s", tag->labels[i].key);
		require(within(strlen(tag->labels[i].value), 1, 63), "%s", tag->labels[i].value);
		require(!i || strcmp(tag->labels[i - 1].key, tag->labels[i].key) < 0, "%s twice",
			tag->labels[i].key);
	}
}

static void check_backends(const struct config *config, const struct config_service *service)
{
	require(service->backends_count || config_from_kind(&service->from), "no backends");
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *backend = &service->backends[i];

		require(fuzz_is_host(&backend->address), "backend %u", i);
		require(backend->weight <= 10000, "weight %u", backend->weight);
		require(backend->priority <= (backend->backup ? 0 : 7), "priority %u",
			backend->priority);
		require(config_find_backend(service, &backend->address) == backend, "twice");
		check_tag(service, backend);
		for (unsigned j = 0; j < config->services_count; j++)
			require(!addr_equal(&config->services[j].vip, &backend->address),
				"backend %u is a VIP", i);
	}
}

/* With `forward: nat`; 0: any. */
static unsigned real_of(const struct config_service *service, const struct config_backend *backend)
{
	unsigned of_all = service->backend_port ? service->backend_port : service->port;

	return backend->port ? backend->port : of_all;
}

/* No other NAT has a backend with its address, protocol and port. */
static void check_real(const struct config *config, const struct config_service *service,
		       const struct config_backend *backend)
{
	unsigned port = real_of(service, backend);

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *other = &config->services[i];
		const struct config_backend *same = config_find_backend(other, &backend->address);

		if (other == service || other->forward != LB_FORWARD_NAT || !same ||
		    other->protocol != service->protocol)
			continue;
		require(port && real_of(other, same) && port != real_of(other, same),
			"%s and %s share port %u", service->name, other->name, port);
	}
}

static void check_nat(const struct config *config, const struct config_service *service)
{
	bool nat = service->forward == LB_FORWARD_NAT;

	require((nat && service->port) || !service->backend_port, "%s: port %u", service->name,
		service->backend_port);
	require(!nat || !health_spec_to_vip(&service->health), "%s: checked by the VIP",
		service->name);
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *backend = &service->backends[i];

		require((nat && service->port) || !backend->port, "port %u", backend->port);
		require(config_real_port(service, backend->port) ==
			    (nat ? real_of(service, backend) : 0),
			"%s: real %u", service->name, i);
		if (!nat)
			continue;
		require(backend->address.family == service->vip.family, "family of %u", i);
		check_real(config, service, backend);
	}
}

static void check_embedding(const struct config_prefix *prefix)
{
	struct addr start = prefix->addr;

	if (!prefix->length)
		return;
	require(prefix->length == 96 || (within(prefix->length, 32, 64) && prefix->length % 8 == 0),
		"length %u", prefix->length);
	require(start.family == 6 && !start.bytes[8] && !addr_clear_beyond(&start, prefix->length),
		"a prefix that embeds nothing");
}

static void check_direct(const struct config_nat *nat)
{
	require(nat->direct_count <= 16, "%u prefixes", nat->direct_count);
	for (unsigned i = 0; i < nat->direct_count; i++) {
		struct addr prefix = nat->direct[i].addr;

		require(within(nat->direct[i].length, 1, prefix.family == 4 ? 32 : 128),
			"length %u", nat->direct[i].length);
		require(!addr_clear_beyond(&prefix, nat->direct[i].length), "bits beyond %u",
			nat->direct[i].length);
	}
}

static void check_service(const struct config *config, const struct config_service *service)
{
	check_name(service->name);
	require(config_find_service(config, service->name) == service, "%s: twice", service->name);
	require(fuzz_is_host(&service->vip), "%s: VIP", service->name);
	require(service->protocol == 6 || service->protocol == 17, "%u", service->protocol);
	require(service->algorithm, "%s: no algorithm", service->name);
	require(within(service->mask4, 1, 32) && within(service->mask6, 1, 128), "%u, %u",
		service->mask4, service->mask6);
	require(service->panic_threshold <= 100, "%u", service->panic_threshold);
	if (config_from_kind(&service->from))
		require(service->from.min >= 1 && service->from.min <= 1024 &&
			    *config_from_what(&service->from),
			"backends-from: min %u", service->from.min);
	require(!service->slots || service->slots >= service->backends_count, "%u slots",
		service->slots);
	require(service->algorithm->select == LB_SELECT_SLOT ||
		    service->tracking != CONFIG_TRACKING_NEVER,
		"%s: its algorithm tracks", service->name);
	check_times(service);
	check_health(service);
	check_backends(config, service);
	check_nat(config, service);
}

static void check_limits(const struct config *config)
{
	unsigned backends = 0;

	for (unsigned i = 0; i < config->services_count; i++)
		backends += config->services[i].backends_count;
	require(within(config->limits.services, 1, 16384), "%u", config->limits.services);
	require(within(config->limits.backends, 1, LB_MAX_BACKENDS), "%u", config->limits.backends);
	require(within(config->limits.slots, 1024, 1u << 28), "%u", config->limits.slots);
	require(within(config->limits.flows, 1024, 1u << 28), "%u", config->limits.flows);
	require(config->services_count <= config->limits.services, "too many services");
	require(backends <= config->limits.backends, "too many backends");
}

static void check_announce(const struct config_announce *announce)
{
	if (!announce->on)
		return;
	require(announce->table && announce->table != 255, "table %u", announce->table);
	require(announce->protocol > 4, "protocol %u", announce->protocol);
	require(within(announce->metric, 1, 999) && announce->drain_metric >= 1000, "%u, %u",
		announce->metric, announce->drain_metric);
	require(within(announce->min_up, 1, LB_MAX_BACKENDS), "min-up %u", announce->min_up);
	require(!announce->file || announce->file[0] == '/', "file %s", announce->file);
}

static void check_peers(const struct config_peers *peers)
{
	if (!peers->on)
		return;
	require(peers->port, "port 0");
	require(peers->key_file && peers->key_file[0] == '/', "no key file");
	require(within(peers->nodes_count, 2, CONFIG_NODES_MAX), "%u nodes", peers->nodes_count);
	for (unsigned i = 0; i < peers->nodes_count; i++)
		require(peers->nodes[i].family == peers->nodes[0].family &&
			    !addr_why_no_host(&peers->nodes[i]),
			"node %u", i);
}

/* Whoever is let in can be told apart. */
static void check_api(const struct config_api *api)
{
	if (!api)
		return;
	require(api->port && api->tls && *api->listen, "port %u", api->port);
	require(api->verifies || api->tokens_count, "anybody is let in");
	require(api->tokens_count <= CONFIG_TOKENS_MAX, "%u tokens", api->tokens_count);
	for (unsigned i = 0; i < api->tokens_count; i++)
		require(*api->tokens[i].name && within(strlen(api->tokens[i].secret),
						       CONFIG_TOKEN_MIN, CONFIG_TOKEN_MAX),
			"token %u", i);
}

static void check_config(const struct config *config)
{
	require(!config->include || config_include_fits(config->include), "include %s",
		config->include);
	require(config->files_count == 1, "%u files", config->files_count);
	require(config->interfaces_count <= 64, "%u interfaces", config->interfaces_count);
	require(config->pin[0] == '/' && config->socket[0] == '/' && config->state[0] == '/',
		"a path is not absolute");
	require(within(strlen(config->socket), 1, 107), "socket %s", config->socket);
	require(!config->notify || config->notify[0] == '/', "notify: %s", config->notify);
	require(config->metrics_hosts_count <= 64, "%u hosts", config->metrics_hosts_count);
	require(!config->metrics || config->metrics_path || config->metrics_port, "no port");
	require(within(config->encap_source4_len, 8, 32) &&
		    within(config->encap_source6_len, 16, 128),
		"%u, %u", config->encap_source4_len, config->encap_source6_len);
	require(config->gue_port, "no GUE port");
	check_limits(config);
	check_announce(&config->announce);
	check_peers(&config->peers);
	check_api(config->api);
	check_direct(&config->nat);
	check_embedding(&config->nat.prefix);
	for (unsigned i = 0; i < config->services_count; i++)
		check_service(config, &config->services[i]);
}

/* A line of the text, from 1; lbd counts as libyaml does, which also ends lines at CR, NEL, LS and
 * PS, in UTF-8 and UTF-16: at most as many as there are bytes of these. */
static bool names_a_line(const char *text, const uint8_t *data, size_t size)
{
	size_t line = strtoul(text, NULL, 10), lines = 2;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
			 data[i] == 0xa9 || data[i] == 0x28 || data[i] == 0x29;
	return line <= lines;
}

/* Every mistake: one of them is that which config_parse reports. */
struct all {
	const char *wanted;
	unsigned count;
	bool found;
};

static void take_mistake(void *arg, const char *sentence, size_t count)
{
	struct all *all = arg;

	all->count++;
	all->found |= !strcmp(sentence, all->wanted);
	require(!strncmp(sentence, "f:", 2) || !strncmp(sentence, "and ", 4), "\"%s\"", sentence);
}

static void check_all(const uint8_t *data, size_t size, int rc, const struct error *first)
{
	struct all all = {.wanted = first->text};
	struct config *config = NULL;
	struct error err = {""};
	int got =
	    config_parse_all((const char *)data, size, "f", take_mistake, &all, &config, &err);

	require(!got == !rc, "%d beside %d: \"%s\"", got, rc, err.text);
	require(!rc || all.found || all.count > 100, "%u mistakes without \"%s\"", all.count,
		first->text);
	require(rc || !all.count, "%u mistakes of a valid text", all.count);
	config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = NULL, *again = NULL;
	struct error err = {""};
	int rc = config_parse((const char *)data, size, "f", &config, &err);

	check_all(data, size, rc, &err);
	if (rc) {
		require(!config && !strncmp(err.text, "f:", 2), "%d, \"%s\"", rc, err.text);
		require(err.text[2] == ' ' || names_a_line(err.text + 2, data, size), "\"%s\"",
			err.text);
		return 0;
	}
	require(config, "no config");
	check_config(config);
	require(!config_parse((const char *)data, size, "f", &again, &err), "again: %s", err.text);
	require(again->services_count == config->services_count, "%u, then %u",
		config->services_count, again->services_count);
	config_free(again);
	config_free(config);
	return 0;
}
