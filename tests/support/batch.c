/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Many packets in one system call, on the maps of a real data plane. */
#include "batch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "common/wide.h"
#include "batch.skel.h"
#include "batch_narrow.skel.h"
#include "memory_dataplane.h"

static void *map_memory(const struct bpf_map *map, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

/* The maps of the product's object in place of those of the test's. */
static int share_maps(struct batch *batch)
{
	struct bpf_map *map, *shared;
	int rc = 0;

	bpf_object__for_each_map (map, batch->object) {
		/* not shared: constants, and what has another size, see batch.bpf.c */
		if (bpf_map__map_flags(map) & BPF_F_RDONLY_PROG ||
		    !strcmp(bpf_map__name(map), "syns"))
			continue;
		shared = dataplane_map_find(dataplane_object(batch->owner), map);
		if (!rc && shared)
			rc = bpf_map__reuse_fd(map, bpf_map__fd(shared));
	}
	return rc;
}

/* The two builds have skeletons of two types, with the same constants and maps. */
#define OPENER(name)                                                           \
	static int open_##name(struct batch *batch)                            \
	{                                                                      \
		const struct dp_maps *maps = &batch->owner->maps;              \
		struct name##_bpf *skel = name##_bpf__open();                  \
                                                                               \
		if (!skel)                                                     \
			return -errno;                                         \
		batch->build = skel;                                           \
		batch->object = skel->obj;                                     \
		skel->rodata->flow_mask = maps->flow_words / LB_FLOW_WAYS - 1; \
		skel->rodata->flow_shift = maps->flow_shift;                   \
		skel->rodata->backend_slots = maps->backend_slots;             \
		skel->rodata->vip_mask = maps->vip_buckets - 1;                \
		skel->rodata->slot_mask = maps->front_count - 1;               \
		skel->rodata->real_mask = maps->real_buckets - 1;              \
		skel->rodata->return_mask = maps->return_lines - 1;            \
		skel->rodata->service_slots = maps->service_slots;             \
		skel->rodata->has_peers = batch->options.has_peers;            \
		return 0;                                                      \
	}
OPENER(batch)
OPENER(batch_narrow)

static void *shared_memory(const struct batch *batch, const char *name, size_t bytes)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(batch->object, name);

	return map ? map_memory(map, bytes) : NULL;
}

static int load(struct batch *batch, bool narrow)
{
	size_t turns = batch->owner->maps.service_slots * sizeof(*batch->turns);
	int rc = narrow ? open_batch_narrow(batch) : open_batch(batch);

	if (!rc)
		rc = share_maps(batch);
	if (!rc)
		rc = bpf_object__load(batch->object);
	if (rc)
		return rc;
	batch->control = shared_memory(batch, "batch_control", sizeof(*batch->control));
	batch->shots = shared_memory(batch, "batch_shots", BATCH_MOST * sizeof(*batch->shots));
	batch->turns = shared_memory(batch, "turns", turns);
	batch->syns = shared_memory(batch, "syns", BATCH_SYNS * sizeof(*batch->syns));
	return batch->control && batch->shots && batch->turns && batch->syns ? 0 : -ENOMEM;
}

int batch_open(uint32_t services, uint32_t backends, uint32_t slots, uint32_t flows,
	       uint32_t segment, enum batch_build build, struct batch *ret, struct error *err)
{
	const bool narrow = build == BATCH_NARROW;
	struct batch batch = {.narrow = narrow,
			      .options = {.sample = 4,
					  .services = services,
					  .backends = backends,
					  .slots = slots,
					  .flows = flows,
					  .hash_seed = 42,
					  .has_peers = build == BATCH_PEERS,
					  .gue_port = 6080}};
	int rc = dataplane_open(&batch.options, &batch.owner, err);

	if (rc)
		return rc;
	if (segment)
		batch.owner->maps.flow_shift = LB_FLOW_FP_SHIFT - segment;
	rc = load(&batch, narrow);
	if (rc) {
		error_set(err, rc, "%s: %s", narrow ? "batch_narrow.bpf.o" : "batch.bpf.o",
			  strerror(-rc));
		batch_close(&batch);
	} else {
		*ret = batch;
	}
	return rc;
}

void batch_close(struct batch *batch)
{
	if (batch->control)
		munmap(batch->control, sizeof(*batch->control));
	if (batch->shots)
		munmap(batch->shots, BATCH_MOST * sizeof(*batch->shots));
	if (batch->turns)
		munmap(batch->turns, batch->owner->maps.service_slots * sizeof(*batch->turns));
	if (batch->syns)
		munmap(batch->syns, BATCH_SYNS * sizeof(*batch->syns));
	wide_release(batch->object);
	if (batch->narrow)
		batch_narrow_bpf__destroy(batch->build);
	else
		batch_bpf__destroy(batch->build);
	dataplane_close(batch->owner);
	*batch = (struct batch){0};
}

/* All maps but the fragments, which no sequence sends. */
void batch_clear(struct batch *batch, uint64_t dice)
{
	const struct dp_maps *m = &batch->owner->maps;

	memset(m->settings, 0, sizeof(*m->settings));
	memset(m->vips, 0, m->vip_buckets * sizeof(*m->vips));
	memset(m->ports, 0, m->port_buckets * sizeof(*m->ports));
	memset(m->services, 0, m->service_slots * sizeof(*m->services));
	memset(m->reals, 0, m->real_buckets * sizeof(*m->reals));
	memset(m->returns, 0, m->backend_slots * sizeof(*m->returns));
	memset(m->return_counts, 0, (size_t)m->cpus * m->backend_slots * sizeof(*m->return_counts));
	memset(m->arena, 0, m->arena_slots * sizeof(*m->arena));
	memset(m->fronts, 0, m->arena_slots * sizeof(*m->fronts));
	memset(m->stamps, 0, m->arena_slots * sizeof(*m->stamps));
	memset(m->backends, 0, m->backend_slots * sizeof(*m->backends));
	memset(m->loads, 0, m->backend_slots * sizeof(*m->loads));
	memset(m->flows, 0, m->flow_words * sizeof(*m->flows));
	memset(m->dirty, 0, m->flow_words / LB_FLOW_WAYS * sizeof(*m->dirty));
	memset(m->totals, 0, m->service_slots * sizeof(*m->totals));
	memset(m->backend_counts, 0,
	       (size_t)m->cpus * m->backend_slots * sizeof(*m->backend_counts));
	memset(m->reason_counts, 0, (size_t)m->cpus * LB_COUNTERS * sizeof(*m->reason_counts));
	memset(m->service_counts, 0,
	       (size_t)m->cpus * m->service_slots * sizeof(*m->service_counts));
	memset(m->limits, 0, m->service_slots * sizeof(*m->limits));
	memset(m->sources, 0, LB_SOURCE_BUCKETS * sizeof(struct lb_source_bucket));
	memset(m->offenders, 0, (size_t)m->cpus * LB_OFFENDERS * sizeof(*m->offenders));
	memset(batch->turns, 0, m->service_slots * sizeof(*batch->turns));
	memset(batch->syns, 0, BATCH_SYNS * sizeof(*batch->syns));
	batch->control->dice = dice ? dice : 1;
}

struct dataplane *batch_lbd(const struct batch *batch, uint32_t tick)
{
	return dataplane_on(&batch->owner->maps, &batch->options, tick);
}

/* Offsets are those that batch.bpf.c writes to. */
void batch_template(struct batch *batch, unsigned number, const struct addr *vip, int protocol,
		    uint16_t port)
{
	struct template *t = &batch->control->templates[number];
	struct ethhdr *eth = (void *)t->frame;
	uint8_t *l3 = t->frame + ETH_HLEN, *l4;

	memset(t, 0, sizeof(*t));
	t->family = vip->family;
	t->is_tcp = protocol == IPPROTO_TCP;
	if (vip->family == 4) {
		struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = protocol};

		eth->h_proto = htons(ETH_P_IP);
		ip.tot_len = htons(BATCH_FRAME - ETH_HLEN);
		memcpy(&ip.daddr, vip->bytes, sizeof(ip.daddr));
		memcpy(l3, &ip, sizeof(ip));
		l4 = l3 + sizeof(ip);
	} else {
		struct ipv6hdr ip = {.version = 6, .nexthdr = protocol, .hop_limit = 64};

		eth->h_proto = htons(ETH_P_IPV6);
		ip.payload_len = htons(BATCH_FRAME - ETH_HLEN - sizeof(ip));
		memcpy(&ip.saddr, (uint8_t[]){0x20, 0x01, 0x0d, 0xb8}, 4);
		memcpy(&ip.daddr, vip->bytes, sizeof(ip.daddr));
		memcpy(l3, &ip, sizeof(ip));
		l4 = l3 + sizeof(ip);
	}
	memcpy(l4 + 2, (uint16_t[]){htons(port)}, 2);
	if (t->is_tcp)
		l4[12] = 5 << 4; /* data offset */
	else
		memcpy(l4 + 4, (uint16_t[]){htons(t->frame + BATCH_FRAME - l4)}, 2);
}

void batch_fire(struct batch *batch, uint32_t count)
{
	uint8_t frame[BATCH_FRAME] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));
	struct bpf_program *program = bpf_object__find_program_by_name(batch->object, "fire");

	batch->control->shots = count;
	batch->control->fired = 0;
	for (uint32_t sent = 0; sent < count; sent += BATCH_ROUND) {
		int rc = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

		if (rc)
			fail_msg("BPF_PROG_TEST_RUN: %s", strerror(-rc));
		if (opts.retval != XDP_PASS)
			break;
	}
	if (batch->control->fired != count)
		fail_msg("%u of %u packets were sent", batch->control->fired, count);
}
