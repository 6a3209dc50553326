/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services and backends of a config by what they are called. */
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"

/* ---- keys ---- */

static uint64_t hash_of_key(const struct addr *vip, uint8_t protocol, uint16_t port)
{
	return lookup_hash_number(lookup_hash_addr(LOOKUP_START, vip),
				  (uint32_t)protocol << 16 | port);
}

static uint64_t hash_of_backend(uint32_t service, const struct addr *address)
{
	return lookup_hash_addr(lookup_hash_number(LOOKUP_START, service), address);
}

static uint64_t hash_of_tag(uint32_t service, const char *name)
{
	return lookup_hash_text(lookup_hash_number(LOOKUP_START, service), name);
}

static uint64_t hash_of_real(uint8_t protocol, const struct addr *address)
{
	return lookup_hash_addr(lookup_hash_number(LOOKUP_START, protocol), address);
}

static uint32_t number_of(const struct config_index *index, const struct config_service *service)
{
	return (uint32_t)(service - index->config->services);
}

/* ---- making ---- */

static int make_room(const struct config *config, struct config_index *index)
{
	uint32_t backends = 0, tags = 0, reals = 0, services = config->services_count;

	index->first = calloc(services + 1, sizeof(*index->first));
	if (!index->first)
		return -ENOMEM;
	for (uint32_t i = 0; i < services; i++) {
		index->first[i] = backends;
		backends += config->services[i].backends_count;
		if (config->services[i].forward == LB_FORWARD_NAT)
			reals += config->services[i].backends_count;
		for (unsigned j = 0; j < config->services[i].backends_count; j++)
			tags += !!config_tag_name(config->services[i].backends[j].tag);
	}
	return lookup_reserve(&index->names, services) || lookup_reserve(&index->keys, services) ||
		       lookup_reserve(&index->vips, services) ||
		       lookup_reserve(&index->backends, backends) ||
		       lookup_reserve(&index->tags, tags) || lookup_reserve(&index->reals, reals)
		   ? -ENOMEM
		   : 0;
}

static const struct config_service *find_vip(const struct config_index *index,
					     const struct addr *address)
{
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&index->vips, lookup_hash_addr(LOOKUP_START, address), &walk);
	while (lookup_next(&walk, &at))
		if (addr_equal(&index->config->services[at].vip, address))
			return &index->config->services[at];
	return NULL;
}

/* All services may have the same VIP: the first stands for them. */
static void add_service(struct config_index *index, uint32_t number)
{
	const struct config_service *service = &index->config->services[number];

	lookup_add(&index->names, lookup_hash_text(LOOKUP_START, service->name), number);
	lookup_add(&index->keys, hash_of_key(&service->vip, service->protocol, service->port),
		   number);
	if (!find_vip(index, &service->vip))
		lookup_add(&index->vips, lookup_hash_addr(LOOKUP_START, &service->vip), number);
}

static void add_backends(struct config_index *index, uint32_t number)
{
	const struct config_service *service = &index->config->services[number];

	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *backend = &service->backends[i];
		const char *name = config_tag_name(backend->tag);

		lookup_add(&index->backends, hash_of_backend(number, &backend->address),
			   index->first[number] + i);
		if (service->forward == LB_FORWARD_NAT)
			lookup_add(&index->reals,
				   hash_of_real(service->protocol, &backend->address), number);
		if (name)
			lookup_add(&index->tags, hash_of_tag(number, name),
				   index->first[number] + i);
	}
}

int config_index_make(const struct config *config, struct config_index *ret)
{
	struct config_index index = {.config = config};

	if (make_room(config, &index)) {
		config_index_done(&index);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < config->services_count; i++) {
		add_service(&index, i);
		add_backends(&index, i);
	}
	*ret = index;
	return 0;
}

void config_index_done(struct config_index *index)
{
	lookup_done(&index->names);
	lookup_done(&index->keys);
	lookup_done(&index->vips);
	lookup_done(&index->backends);
	lookup_done(&index->tags);
	lookup_done(&index->reals);
	free(index->first);
	*index = (struct config_index){0};
}

/* ---- finding ---- */

const struct config_service *config_index_name(const struct config_index *index, const char *name)
{
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&index->names, lookup_hash_text(LOOKUP_START, name), &walk);
	while (lookup_next(&walk, &at))
		if (!strcmp(index->config->services[at].name, name))
			return &index->config->services[at];
	return NULL;
}

const struct config_service *config_index_same(const struct config_index *index,
					       const struct addr *vip, uint8_t protocol,
					       uint16_t port)
{
	const struct config_service like = {.vip = *vip, .protocol = protocol, .port = port};
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&index->keys, hash_of_key(vip, protocol, port), &walk);
	while (lookup_next(&walk, &at))
		if (config_same_service(&index->config->services[at], &like))
			return &index->config->services[at];
	return NULL;
}

/* NULL: the number is of another service's backend. */
static const struct config_backend *backend_at(const struct config_index *index,
					       const struct config_service *service, uint32_t at)
{
	uint32_t first = index->first[number_of(index, service)];

	return at >= first && at - first < service->backends_count ? &service->backends[at - first]
								   : NULL;
}

const struct config_backend *config_index_backend(const struct config_index *index,
						  const struct config_service *service,
						  const struct addr *address)
{
	struct lookup_walk walk;
	uint32_t at;

	if (!service)
		return NULL;
	lookup_walk(&index->backends, hash_of_backend(number_of(index, service), address), &walk);
	while (lookup_next(&walk, &at)) {
		const struct config_backend *backend = backend_at(index, service, at);

		if (backend && addr_equal(&backend->address, address))
			return backend;
	}
	return NULL;
}

const struct config_backend *config_index_named(const struct config_index *index,
						const struct config_service *service,
						const char *name)
{
	struct lookup_walk walk;
	uint32_t at;

	if (!service || !name)
		return NULL;
	lookup_walk(&index->tags, hash_of_tag(number_of(index, service), name), &walk);
	while (lookup_next(&walk, &at)) {
		const struct config_backend *backend = backend_at(index, service, at);

		if (backend && !strcmp(config_tag_name(backend->tag), name))
			return backend;
	}
	return NULL;
}

const struct config_service *config_index_real(const struct config_index *index,
					       const struct config_service *service,
					       const struct addr *address, uint16_t port)
{
	uint16_t real_port = config_real_port(service, port);
	struct lookup_walk walk;
	uint32_t at;

	if (service->forward != LB_FORWARD_NAT)
		return NULL;
	lookup_walk(&index->reals, hash_of_real(service->protocol, address), &walk);
	while (lookup_next(&walk, &at)) {
		const struct config_service *other = &index->config->services[at];
		const struct config_backend *backend =
		    other != service ? config_index_backend(index, other, address) : NULL;

		if (backend && config_reals_meet(service, real_port, other,
						 config_real_port(other, backend->port)))
			return other;
	}
	return NULL;
}

int config_index_check_backend(const struct config_index *index,
			       const struct config_service *service, const struct addr *address,
			       uint16_t port, struct error *err)
{
	return config_check_address(service, address, port, find_vip(index, address),
				    config_index_real(index, service, address, port), err);
}
