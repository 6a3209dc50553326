/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A digest of a config that does not depend on the order of what it lists. */
#include "digest.h"

#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t add(uint64_t digest, const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		digest = (digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
	return digest;
}

static uint64_t add_number(uint64_t digest, uint64_t number)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	return add(digest, bytes, sizeof(bytes));
}

static uint64_t add_address(uint64_t digest, const struct addr *address)
{
	return add(add_number(digest, address->family), address->bytes, sizeof(address->bytes));
}

#define BEGIN 0xcbf29ce484222325

static uint64_t add_text(uint64_t digest, const char *text)
{
	return text ? add(digest, text, strlen(text) + 1) : digest;
}

static uint64_t backend_digest(const struct config_service *service,
			       const struct config_backend *backend)
{
	uint16_t port = config_real_port(service, backend->port);
	/* first, so that all that follows mixes it: two digests are added, and at their ends the
	 * differences of two ports could cancel each other */
	uint64_t digest = add_address(port ? add_number(BEGIN, port) : BEGIN, &backend->address);

	digest = add_number(digest, backend->weight);
	digest = add_number(digest, backend->backup);
	if (backend->priority) /* else it is that of an lbd which knows no priorities */
		digest = add_number(digest, backend->priority);
	return add_text(digest, config_tag_zone(backend->tag));
}

/* The digest of a config without it stays what it was. */
static uint64_t add_given(uint64_t digest, const char *key, const char *text)
{
	return text ? add_text(add_text(digest, key), text) : digest;
}

/* What names the backends; by what way a node reaches it is its own matter. */
static uint64_t add_source(uint64_t digest, const struct config_from *from)
{
	const char *kind = config_from_kind(from);

	if (!kind)
		return digest;
	digest = add_text(digest, kind);
	digest = add_text(digest, from->file);
	digest = add_text(digest, from->dns);
	digest = add_text(digest, from->prefix);
	digest = add_given(digest, "service", from->service);
	digest = add_given(digest, "namespace", from->namespace);
	digest = add_given(digest, "port", from->port);
	digest = add_given(digest, "datacenter", from->datacenter);
	digest = add_given(digest, "tag", from->tag);
	if (from->family == CONFIG_FAMILY_IPV6)
		digest = add_text(digest, "ipv6");
	return add_number(add_number(digest, from->record), from->min);
}

static uint64_t service_digest(const struct config_service *service)
{
	uint64_t digest = add_address(BEGIN, &service->vip), backends = 0;
	const uint64_t numbers[] = {
	    service->protocol,    service->port,
	    service->hash,        service->tracking,
	    service->mask4,       service->mask6,
	    service->affinity,    service->affinity_timeout_ms,
	    service->slots,       service->tcp_idle_ms,
	    service->udp_idle_ms, service->no_fragments,
	};

	digest = add(digest, service->algorithm->name, strlen(service->algorithm->name));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		digest = add_number(digest, numbers[i]);
	for (unsigned i = 0; i < service->backends_count; i++)
		backends += backend_digest(service, &service->backends[i]);
	/* any node may get the replies */
	if (service->forward == LB_FORWARD_NAT)
		digest = add_number(digest, service->forward);
	return add_source(add_number(digest, backends), &service->from);
}

static bool has_zones(const struct config_service *service)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (config_tag_zone(service->backends[i].tag))
			return true;
	return false;
}

/* Where backends have zones, nodes of different zones have different rings. */
uint64_t config_digest(const struct config *config, const char *zone)
{
	uint64_t digest = 0;

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];
		uint64_t own = service_digest(service);

		digest += zone && has_zones(service) ? add_text(own, zone) : own;
	}
	for (unsigned i = 0; i < config->nat.direct_count; i++)
		digest += add_number(add_address(BEGIN, &config->nat.direct[i].addr),
				     config->nat.direct[i].length);
	if (config->nat.prefix.length)
		digest +=
		    add_number(add_address(add_text(BEGIN, "prefix"), &config->nat.prefix.addr),
			       config->nat.prefix.length);
	return digest;
}
