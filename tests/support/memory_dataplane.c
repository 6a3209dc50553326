/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Plain memory in place of the maps. */
#include "memory_dataplane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CPUS  2
#define FRAGS 64

static void *lines(size_t count, size_t size)
{
	void *at = aligned_alloc(64, (count * size + 63) / 64 * 64);

	if (!at)
		abort();
	return memset(at, 0, (count * size + 63) / 64 * 64);
}

struct dataplane *dataplane_on(const struct dp_maps *maps, const struct dataplane_options *options,
			       uint32_t clock)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));
	struct error err = {0};

	if (!dp)
		abort();
	dp->maps = *maps;
	dp->egress_fd = dp->paths_fd = dp->locals_fd = dp->filters_fd = -1;
	dp->skip_grace = true;
	dp->clock = clock;
	if (dp_start(dp, options, &err))
		fail_msg("dp_start: %s", err.text);
	return dp;
}

struct memory_dataplane *memory_dataplane_new(struct memory_limits limits)
{
	struct memory_dataplane *memory = calloc(1, sizeof(*memory));
	struct dp_maps *maps;

	if (!memory)
		abort();
	maps = &memory->maps;
	maps->vip_buckets = 2 * tables_vip_buckets(limits.services);
	maps->port_buckets = 2 * tables_port_buckets(limits.services);
	maps->real_buckets = 2 * reals_buckets(limits.backends);
	maps->service_slots = limits.services + 1;
	maps->backend_slots = limits.backends + 1;
	maps->return_lines = maps->backend_slots;
	maps->arena_slots = maps->front_count = limits.slots;
	maps->flow_words = limits.flow_buckets * LB_FLOW_WAYS;
	maps->flow_shift = lb_flow_shift(limits.flow_buckets);
	maps->frag_words = FRAGS;
	maps->cpus = CPUS;
	maps->settings = lines(1, sizeof(*maps->settings));
	maps->links = lines(LB_LINKS, sizeof(*maps->links));
	maps->vips = lines(maps->vip_buckets, sizeof(*maps->vips));
	maps->ports = lines(maps->port_buckets, sizeof(*maps->ports));
	maps->services = lines(maps->service_slots, sizeof(*maps->services));
	maps->reals = lines(maps->real_buckets, sizeof(*maps->reals));
	maps->returns = lines(maps->backend_slots, sizeof(*maps->returns));
	maps->return_counts =
	    lines((size_t)CPUS * maps->backend_slots, sizeof(*maps->return_counts));
	maps->directs = lines(LB_LIST_PLACES, sizeof(*maps->directs));
	maps->hops = lines(LB_LIST_PLACES, sizeof(*maps->hops));
	maps->arena = lines(maps->arena_slots, sizeof(*maps->arena));
	maps->fronts = lines(maps->arena_slots, sizeof(*maps->fronts));
	maps->stamps = lines(maps->arena_slots, sizeof(*maps->stamps));
	maps->backends = lines(maps->backend_slots, sizeof(*maps->backends));
	maps->loads = lines(maps->backend_slots, sizeof(*maps->loads));
	maps->turns = lines(maps->service_slots, sizeof(*maps->turns));
	maps->flows = lines(maps->flow_words, sizeof(*maps->flows));
	maps->dirty = lines(limits.flow_buckets, sizeof(*maps->dirty)); /* in whole cache lines */
	maps->frags = lines(maps->frag_words, sizeof(*maps->frags));
	maps->backend_counts =
	    lines((size_t)CPUS * maps->backend_slots, sizeof(*maps->backend_counts));
	maps->reason_counts = lines((size_t)CPUS * LB_COUNTERS, sizeof(*maps->reason_counts));
	maps->service_counts =
	    lines((size_t)CPUS * maps->service_slots, sizeof(*maps->service_counts));
	maps->totals = lines(maps->service_slots, sizeof(*maps->totals));
	maps->limits = lines(maps->service_slots, sizeof(*maps->limits));
	maps->sources = lines(LB_SOURCE_BUCKETS, sizeof(struct lb_source_bucket));
	maps->offenders = lines((size_t)CPUS * LB_OFFENDERS, sizeof(*maps->offenders));
	memory->options =
	    (struct dataplane_options){.hash_seed = 42, .gue_port = 6080, .sample = 4};
	memory->dp = dataplane_on(maps, &memory->options, 0);
	return memory;
}

struct dataplane *memory_dataplane_restart(struct memory_dataplane *memory)
{
	uint32_t clock = memory->dp->clock;

	dataplane_close(memory->dp);
	memory->dp = dataplane_on(&memory->maps, &memory->options, clock);
	return memory->dp;
}

struct dataplane *memory_dataplane_time_connects(struct memory_dataplane *memory, unsigned sample)
{
	memory->options.sample = sample;
	memory->maps.connects = lines(memory->maps.backend_slots, sizeof(*memory->maps.connects));
	memory->maps.probes = lines(LB_PROBES, sizeof(*memory->maps.probes));
	return memory_dataplane_restart(memory);
}

void memory_dataplane_free(struct memory_dataplane *memory)
{
	struct dp_maps *maps = &memory->maps;

	dataplane_close(memory->dp);
	free(maps->settings);
	free(maps->links);
	free(maps->vips);
	free(maps->ports);
	free(maps->services);
	free(maps->reals);
	free(maps->returns);
	free(maps->return_counts);
	free(maps->directs);
	free(maps->hops);
	free(maps->arena);
	free(maps->fronts);
	free(maps->stamps);
	free(maps->backends);
	free(maps->loads);
	free(maps->turns);
	free(maps->connects);
	free(maps->probes);
	free(maps->flows);
	free(maps->dirty);
	free(maps->frags);
	free(maps->backend_counts);
	free(maps->reason_counts);
	free(maps->service_counts);
	free(maps->limits);
	free(maps->sources);
	free(maps->offenders);
	free(maps->totals);
	free(memory);
}

/* ---- wanted services ---- */

void want_init(struct want *want, const char *vip, int protocol, int port, const char *algorithm)
{
	memset(want, 0, sizeof(*want));
	want->service = (struct dp_service){
	    .protocol = protocol,
	    .port = port,
	    .no_backend = LB_REFUSE_DROP, /* so that what is sent went to a backend */
	    .algorithm = algo_find(algorithm),
	    .mask4 = 32,
	    .mask6 = 128,
	    .tcp_idle_ms = 300000,
	    .udp_idle_ms = 30000,
	    .affinity_ms = 600000,
	};
	assert_non_null(want->service.algorithm);
	assert_int_equal(addr_parse(vip, &want->service.vip), 0);
	want->service.hash = want->service.algorithm->hash;
	want->service.backends = want->backends;
}

struct addr want_address(unsigned n)
{
	return (struct addr){.family = 4, .bytes = {10, 0, n >> 8, n & 255}};
}

static struct addr address_of(const struct want *want, unsigned n)
{
	if (!want->v6)
		return want_address(n);
	return (struct addr){.family = 6, .bytes = {0xfd, [12] = 10, [14] = n >> 8, [15] = n}};
}

unsigned want_number(const struct dp_backend *backend)
{
	return backend->address.bytes[addr_length(&backend->address) - 1];
}

struct dp_backend *want_find(struct want *want, unsigned n)
{
	struct addr address = address_of(want, n);

	for (unsigned i = 0; i < want->service.backends_count; i++)
		if (addr_equal(&want->backends[i].address, &address))
			return &want->backends[i];
	return NULL;
}

struct dp_backend *want_add(struct want *want, unsigned n, uint32_t weight)
{
	struct dp_backend *backend = &want->backends[want->service.backends_count++];

	assert_true(want->service.backends_count <= WANT_MOST);
	*backend =
	    (struct dp_backend){.address = address_of(want, n), .weight = weight, .usable = true};
	backend->hop = (struct next_hop){.ifindex = 7,
					 .mtu = 1500,
					 .src_mac = {2, 0, 0, 0, 0, 1},
					 .dst_mac = {2, 0, 0, 1, n >> 8, n & 255},
					 .source = {4, {192, 168, 0, 1}}};
	return backend;
}

void want_remove(struct want *want, unsigned n)
{
	struct dp_backend *backend = want_find(want, n);

	assert_non_null(backend);
	*backend = want->backends[--want->service.backends_count];
}

void want_commit(struct dataplane *dp, struct want *wants, unsigned count)
{
	struct dp_service *services = calloc(count + 1, sizeof(*services));
	struct error err = {0};
	int rc;

	if (!services)
		abort();
	for (unsigned i = 0; i < count; i++)
		services[i] = wants[i].service;
	rc = dataplane_commit(dp, services, count, &err);
	free(services);
	if (rc)
		fail_msg("commit: %s", err.text);
}

/* ---- looking ---- */

uint16_t want_id(const struct dataplane *dp, const struct want *want, unsigned n)
{
	const struct record *record = dp_find(dp, &want->service);
	struct addr address = address_of(want, n);
	const struct member *member = record ? record_find(record, &address) : NULL;

	return member ? member->id : 0;
}

struct lb_service *want_line(const struct dataplane *dp, const struct want *want)
{
	const struct record *record = dp_find(dp, &want->service);

	assert_non_null(record);
	return &dp->maps.services[record->id];
}

uint32_t *want_slots(const struct dataplane *dp, const struct want *want, uint32_t *ret_size)
{
	uint64_t ring = want_line(dp, want)->ring;

	*ret_size = LB_REGION_SIZE(ring);
	return &dp->maps.arena[LB_REGION_BASE(ring)];
}

void sweep_rounds(struct dataplane *dp, unsigned rounds, uint32_t now)
{
	dp->clock = now;
	for (unsigned i = 0; i < rounds; i++)
		while (dataplane_sweep(dp, 1000, now))
			;
}
