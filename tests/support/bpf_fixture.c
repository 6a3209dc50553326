/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the XDP program with small maps in a network namespace of its own, and writes the maps as
 * lb_abi.h defines them. */
#include "bpf_fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lb_hash.h"
#include "common/addr.h"
#include "common/wide.h"
#include "lb.skel.h"

#define TABLE_BUCKETS (FIXTURE_VIP_BUCKETS / 2) /* of each half of the VIP and port tables */

static struct fixture fixture;

/* ---- load ---- */

static void make_wide(struct bpf_object *object, const char *name, size_t bytes)
{
	assert_int_equal(wide_make(bpf_object__find_map_by_name(object, name), "wide", bytes), 0);
}

void fixture_size_maps(struct bpf_object *object, unsigned cpus)
{
	const struct {
		const char *name;
		uint32_t entries;
	} sizes[] = {
	    {"ports", FIXTURE_VIP_BUCKETS},
	    {"services", FIXTURE_SERVICES},
	    {"return_counts", cpus * FIXTURE_BACKENDS},
	    {"stamps", FIXTURE_SLOTS / 4},
	    {"loads", FIXTURE_BACKENDS},
	    {"turns", FIXTURE_SERVICES},
	    {"flows", FIXTURE_BUCKETS},
	    {"dirty", (FIXTURE_BUCKETS + LB_DIRTY_BUCKETS - 1) / LB_DIRTY_BUCKETS},
	    {"paths", FIXTURE_PATHS},
	    {"backend_counts", cpus * FIXTURE_BACKENDS},
	    {"reason_counts", cpus * LB_COUNTERS},
	    {"service_counts", cpus * FIXTURE_SERVICES},
	    {"limits", FIXTURE_SERVICES},
	    {"offenders", cpus * LB_OFFENDERS},
	    {"connects_of", FIXTURE_BACKENDS},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, sizes[i].name),
					 sizes[i].entries);
	make_wide(object, LB_VIPS_MAP, FIXTURE_VIP_BUCKETS * sizeof(struct lb_vip_bucket));
	make_wide(object, LB_ARENA_MAP, FIXTURE_SLOTS * sizeof(uint32_t));
	make_wide(object, LB_FRONTS_MAP, FIXTURE_SLOTS * sizeof(uint16_t));
	make_wide(object, LB_REALS_MAP, FIXTURE_REALS * sizeof(struct lb_real_bucket));
	make_wide(object, LB_RETURNS_MAP, FIXTURE_BACKENDS * sizeof(struct lb_return));
}

int fixture_programs(struct bpf_object *object)
{
	int programs = bpf_object__find_map_fd_by_name(object, "programs");
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, "lb_translate"));
	__u32 place = LB_PROGRAM_TRANSLATE;

	return bpf_map_update_elem(programs, &place, &fd, BPF_ANY) ? -errno : 0;
}

static size_t map_bytes(const struct bpf_map *map)
{
	return (size_t)bpf_map__max_entries(map) * ((bpf_map__value_size(map) + 7) & ~7u);
}

static void *map_memory(const struct bpf_map *map)
{
	void *at =
	    mmap(NULL, map_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int map_maps(struct fixture *f)
{
	struct fixture_maps *m = &f->map;

	m->settings = map_memory(f->skel->maps.data_settings);
	m->links = map_memory(f->skel->maps.links);
	m->vips = map_memory(f->skel->maps.data_wide_vips);
	m->ports = map_memory(f->skel->maps.ports);
	m->services = map_memory(f->skel->maps.services);
	m->reals = map_memory(f->skel->maps.data_wide_reals);
	m->returns = map_memory(f->skel->maps.data_wide_returns);
	m->return_counts = map_memory(f->skel->maps.return_counts);
	m->directs = map_memory(f->skel->maps.directs);
	m->hops = map_memory(f->skel->maps.data_hops);
	m->arena = map_memory(f->skel->maps.data_wide_arena);
	m->fronts = map_memory(f->skel->maps.data_wide_fronts);
	m->stamps = map_memory(f->skel->maps.stamps);
	m->backends = map_memory(f->skel->maps.bss);
	m->loads = map_memory(f->skel->maps.loads);
	m->turns = map_memory(f->skel->maps.turns);
	m->flows = map_memory(f->skel->maps.flows);
	m->frags = map_memory(f->skel->maps.frags);
	f->frag_count = bpf_map__max_entries(f->skel->maps.frags);
	m->backend_counts = map_memory(f->skel->maps.backend_counts);
	m->reason_counts = map_memory(f->skel->maps.reason_counts);
	m->service_counts = map_memory(f->skel->maps.service_counts);
	m->limits = map_memory(f->skel->maps.limits);
	m->sources = map_memory(f->skel->maps.sources);
	m->offenders = map_memory(f->skel->maps.offenders);
	m->connects = map_memory(f->skel->maps.connects_of);
	m->probes = map_memory(f->skel->maps.data_probes);
	return m->settings && m->links && m->vips && m->ports && m->services && m->arena &&
		       m->fronts && m->stamps && m->backends && m->loads && m->turns && m->flows &&
		       m->frags && m->backend_counts && m->reason_counts && m->service_counts &&
		       m->limits && m->sources && m->offenders && m->connects && m->probes &&
		       m->reals && m->returns && m->return_counts && m->directs && m->hops
		   ? 0
		   : -errno;
}

/* A network namespace of our own, with lo and a veth pair. It ends with the process. */
static int make_interfaces(struct fixture *f)
{
	if (unshare(CLONE_NEWNET))
		return -errno;
	if (system("ip link add lbt0 type veth peer name lbt1"))
		return -ENODEV;
	f->lo = if_nametoindex("lo");
	f->egress = if_nametoindex("lbt0");
	return f->lo && f->egress ? 0 : -ENODEV;
}

/* Counters and the ICMP budget are per CPU: the whole test runs on the one it is on. */
static int stay_on_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) ? -errno : 0;
}

static int load(struct fixture *f)
{
	int rc = stay_on_cpu();

	if (!rc)
		rc = make_interfaces(f);
	if (rc)
		return rc;
	f->cpus = libbpf_num_possible_cpus();
	f->skel = lb_bpf__open();
	if (!f->skel)
		return -errno;
	fixture_size_maps(f->skel->obj, f->cpus);
	FIXTURE_SET_CONSTANTS(f->skel->rodata);
	rc = bpf_object__load(f->skel->obj);
	if (!rc)
		rc = fixture_programs(f->skel->obj);
	if (!rc)
		rc = map_maps(f);
	if (!rc)
		rc = bpf_map_update_elem(bpf_map__fd(f->skel->maps.egress), &f->egress, &f->egress,
					 BPF_ANY);
	return rc;
}

/* Where the machine cannot load programs, tests are skipped. A program that the verifier refuses is
 * a failure. */
int fixture_open(void **state)
{
	struct fixture *f = &fixture;
	int rc;

	if (geteuid()) {
		snprintf(f->skip, sizeof(f->skip), "not root: programs cannot be loaded");
		return 0;
	}
	rc = load(f);
	if (rc == -EPERM || rc == -ENODEV) {
		snprintf(f->skip, sizeof(f->skip), "no BPF or no veth interfaces here: %s",
			 strerror(-rc));
		return 0;
	}
	if (rc)
		fprintf(stderr, "loading lb.bpf.o: %s\n", strerror(-rc));
	return rc;
}

int fixture_close(void **state)
{
	if (fixture.skel)
		wide_release(fixture.skel->obj);
	lb_bpf__destroy(fixture.skel);
	fixture.skel = NULL;
	return 0;
}

struct fixture *fixture_or_null(void)
{
	return fixture.skip[0] ? NULL : &fixture;
}

struct fixture *fixture_get(void)
{
	if (fixture.skip[0]) {
		print_message("# skipped: %s\n", fixture.skip);
		skip();
	}
	return &fixture;
}

/* ---- empty maps ---- */

/* What was sent out of the interface that it came in on has no counter of its own: all that the
 * backends got, less what was redirected. */
static struct lb_reason_count forwarded_tx(const struct fixture *f)
{
	struct lb_reason_count sum = {0};

	for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
		const struct lb_backend_count *row = &f->map.backend_counts[cpu * FIXTURE_BACKENDS];
		const struct lb_reason_count *redirected =
		    &f->map.reason_counts[cpu * LB_COUNTERS + LB_REASON_forwarded_redirect];

		for (unsigned id = 1; id < FIXTURE_BACKENDS; id++) {
			sum.packets += row[id].packets;
			sum.bytes += row[id].bytes;
		}
		sum.packets -= redirected->packets;
		sum.bytes -= redirected->bytes;
	}
	return sum;
}

/* The same of replies. */
static struct lb_reason_count returned_tx(const struct fixture *f)
{
	struct lb_reason_count sum = {0};

	for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
		const struct lb_return_count *row = &f->map.return_counts[cpu * FIXTURE_BACKENDS];
		const struct lb_reason_count *counts = &f->map.reason_counts[cpu * LB_COUNTERS];

		for (unsigned id = 1; id < FIXTURE_BACKENDS; id++) {
			sum.packets += row[id].packets;
			sum.bytes += row[id].bytes;
		}
		sum.packets -= counts[LB_REASON_returned_redirect].packets +
			       counts[LB_REASON_returned_kernel].packets;
		sum.bytes -= counts[LB_REASON_returned_redirect].bytes +
			     counts[LB_REASON_returned_kernel].bytes;
	}
	return sum;
}

static void read_counts(struct fixture *f)
{
	int reasons = 0;

	f->reason = -1;
	for (int i = 0; i < LB_COUNTERS; i++) {
		struct lb_reason_count sum = {0};

		for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
			sum.packets += f->map.reason_counts[cpu * LB_COUNTERS + i].packets;
			sum.bytes += f->map.reason_counts[cpu * LB_COUNTERS + i].bytes;
		}
		if (i == LB_REASON_forwarded_tx)
			sum = forwarded_tx(f);
		if (i == LB_REASON_returned_tx)
			sum = returned_tx(f);
		f->count[i] = sum.packets - f->before[i].packets;
		f->bytes[i] = sum.bytes - f->before[i].bytes;
		f->before[i] = sum;
		if (i < LB_REASON_COUNT && f->count[i]) {
			reasons += f->count[i];
			f->reason = i;
		}
	}
	if (reasons != 1)
		f->reason = -1;
}

#define FLOW_SEED 0x6c62272e07bb0142ULL

static void write_settings(struct fixture *f)
{
	*f->map.settings = (struct lb_settings){
	    .abi_version = LB_ABI_VERSION,
	    .active = 1,
	    .own_mac = LB_MAC_NONE,
	    .flow_seed = FLOW_SEED,
	    .gue_port = htons(6080),
	    .icmp_per_tick = 10000,
	    .short_per_tick = 10000,
	    .flow_masks = {{FIXTURE_BUCKETS - 1, FIXTURE_BUCKETS - 1}},
	    .tables[1] = {.vip_base = TABLE_BUCKETS,
			  .vip_mask = TABLE_BUCKETS - 1,
			  .port_base = TABLE_BUCKETS,
			  .port_mask = TABLE_BUCKETS - 1},
	};
	lb_hash_key_make(FLOW_SEED, &f->map.settings->key);
}

void fixture_clear_rates(struct fixture *f)
{
	uint32_t kinds = bpf_map__max_entries(f->skel->maps.icmp_budgets);
	void *zeros = calloc(f->cpus, (bpf_map__value_size(f->skel->maps.icmp_budgets) + 7) & ~7u);

	assert_non_null(zeros);
	for (uint32_t kind = 0; kind < kinds; kind++)
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(f->skel->maps.icmp_budgets), &kind,
						     zeros, BPF_ANY),
				 0);
	free(zeros);
}

static void clear_hash(const struct bpf_map *map)
{
	int fd = bpf_map__fd(map);
	struct lb_path_key key;

	for (int i = 0; i < FIXTURE_PATHS && !bpf_map_get_next_key(fd, NULL, &key); i++)
		bpf_map_delete_elem(fd, &key);
}

int fixture_clear(void **state)
{
	struct fixture *f = fixture_or_null();

	if (!f)
		return 0; /* the test itself skips */
	memset(f->map.links, 0, map_bytes(f->skel->maps.links));
	memset(f->map.services, 0, map_bytes(f->skel->maps.services));
	memset(f->map.reals, 0, map_bytes(f->skel->maps.data_wide_reals));
	memset(f->map.returns, 0, map_bytes(f->skel->maps.data_wide_returns));
	memset(f->map.arena, 0, f->slots * sizeof(*f->map.arena));
	memset(f->map.fronts, 0, f->slots * sizeof(*f->map.fronts));
	memset(f->map.stamps, 0, f->slots * sizeof(*f->map.stamps));
	memset(f->map.backends, 0, FIXTURE_BACKENDS * sizeof(*f->map.backends));
	memset(f->map.loads, 0, map_bytes(f->skel->maps.loads));
	memset(f->map.turns, 0, map_bytes(f->skel->maps.turns));
	memset(f->map.flows, 0, map_bytes(f->skel->maps.flows));
	memset(f->map.frags, 0, map_bytes(f->skel->maps.frags));
	memset(f->map.limits, 0, map_bytes(f->skel->maps.limits));
	memset(f->map.sources, 0, map_bytes(f->skel->maps.sources));
	memset(f->map.service_counts, 0, map_bytes(f->skel->maps.service_counts));
	memset(f->map.offenders, 0, map_bytes(f->skel->maps.offenders));
	memset(f->map.connects, 0, map_bytes(f->skel->maps.connects_of));
	memset(f->map.probes, 0, map_bytes(f->skel->maps.data_probes));
	memset(f->map.vips, 0, map_bytes(f->skel->maps.data_wide_vips));
	memset(f->map.ports, 0, map_bytes(f->skel->maps.ports));
	f->vips = f->services = f->backends = 1;
	f->slots = 8; /* region 0 of length 0 means none: leave its start unused */
	f->ports = 0;
	f->sampled = false;
	write_settings(f);
	fixture_clear_rates(f);
	clear_hash(f->skel->maps.paths);
	clear_hash(f->skel->maps.locals);
	read_counts(f);
	return 0;
}

/* ---- VIP and port tables ---- */

static struct lb_vip_bucket *bucket_of(const struct fixture *f, uint32_t id, uint64_t multiplier)
{
	uint32_t hash = lb_vip_hash(f->vip[id].addr, f->vip[id].family, multiplier);

	return &f->map.vips[TABLE_BUCKETS + (hash & (TABLE_BUCKETS - 1))];
}

static bool place_vip(struct fixture *f, uint32_t id, uint64_t multiplier)
{
	struct lb_vip_bucket *bucket = bucket_of(f, id, multiplier);

	for (int way = 0; way < LB_VIP_WAYS; way++) {
		if (bucket->vip[way].id)
			continue;
		bucket->vip[way] = f->vip[id];
		return true;
	}
	return false;
}

static bool place_port(struct fixture *f, uint64_t word, uint64_t multiplier)
{
	const struct lb_vip *vip = &f->vip[LB_PORT_VIP(word)];
	uint32_t hash = lb_port_hash(lb_vip_hash(vip->addr, vip->family, multiplier),
				     word & LB_PORT_KEY_MASK, multiplier);
	uint32_t bucket = TABLE_BUCKETS + (hash & (TABLE_BUCKETS - 1));

	for (int way = 0; way < LB_PORT_WAYS; way++) {
		if (f->map.ports[bucket].port[way])
			continue;
		f->map.ports[bucket].port[way] = word;
		return true;
	}
	return false;
}

static bool place_all(struct fixture *f, uint64_t multiplier)
{
	memset(f->map.vips, 0, map_bytes(f->skel->maps.data_wide_vips));
	memset(f->map.ports, 0, map_bytes(f->skel->maps.ports));
	for (uint32_t id = 1; id < f->vips; id++)
		if (!place_vip(f, id, multiplier))
			return false;
	for (uint32_t i = 0; i < f->ports; i++)
		if (!place_port(f, f->port[i], multiplier))
			return false;
	f->map.settings->tables[1].multiplier = multiplier;
	return true;
}

static void rebuild_tables(struct fixture *f)
{
	for (uint32_t seed = 1; seed < 10000; seed++)
		if (place_all(f, LB_TABLE_MULTIPLIER(seed)))
			return;
	fail_msg("no seed places %u VIPs and %u ports", f->vips, f->ports);
}

uint16_t fixture_vip(struct fixture *f, const char *address)
{
	struct lb_vip vip = {0};
	struct addr addr;

	assert_int_equal(addr_parse(address, &addr), 0);
	memcpy(vip.addr, addr.bytes, 16);
	vip.family = addr.family;
	for (uint32_t id = 1; id < f->vips; id++)
		if (f->vip[id].family == vip.family && !memcmp(f->vip[id].addr, vip.addr, 16))
			return id;
	assert_in_range(f->vips, 1, FIXTURE_VIPS);
	vip.id = f->vips;
	f->vip[f->vips++] = vip;
	rebuild_tables(f);
	return vip.id;
}

/* ---- services, backends, slots ---- */

static void default_service(struct lb_service *s)
{
	s->hash = s->hash ? s->hash : LB_HASH_FULL;
	s->mask4 = s->mask4 ? s->mask4 : 32;
	s->mask6 = s->mask6 ? s->mask6 : 128;
	s->tcp_idle = s->tcp_idle ? s->tcp_idle : 300;
	s->udp_idle = s->udp_idle ? s->udp_idle : 60;
	s->syn_idle = s->syn_idle ? s->syn_idle : 60;
	s->affinity_idle = s->affinity_idle ? s->affinity_idle : 300;
}

uint16_t fixture_service(struct fixture *f, const char *vip, int proto, int port,
			 struct lb_service service)
{
	uint16_t vip_id = fixture_vip(f, vip);

	assert_in_range(f->services, 1, FIXTURE_SERVICES - 1);
	assert_in_range(f->ports, 0, FIXTURE_PORTS - 1);
	default_service(&service);
	service.id = f->services++;
	f->map.services[service.id] = service;
	f->port[f->ports++] = LB_PORT_KEY(vip_id, port, proto) | service.id;
	if (!port)
		f->vip[vip_id].flags |= proto == IPPROTO_TCP ? LB_VIP_ANY_TCP : LB_VIP_ANY_UDP;
	rebuild_tables(f);
	return service.id;
}

static int outer_protocol(const struct fixture *f, const struct lb_service *service)
{
	for (uint32_t i = 0; i < f->ports; i++)
		if (LB_PORT_SERVICE(f->port[i]) == service->id &&
		    service->forward == LB_FORWARD_IPIP)
			return f->vip[f->port[i] >> 48].family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	return service->forward == LB_FORWARD_GRE ? IPPROTO_GRE : IPPROTO_UDP;
}

/* lb_backend.csum, from an IPv4 header written out with what is the same for every packet. */
static uint32_t constant_sum(const struct lb_backend *b, int protocol)
{
	uint8_t header[20] = {0, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol};

	memcpy(header + 16, b->outer_dst, 4);
	return packet_sum(header, sizeof(header), 0);
}

static void parse_mac(const char *text, uint8_t mac[6])
{
	assert_int_equal(sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2],
				&mac[3], &mac[4], &mac[5]),
			 6);
}

uint16_t fixture_backend(struct fixture *f, uint16_t service, const struct backend_spec *spec)
{
	struct lb_backend b = {
	    .service = service,
	    .flags = LB_BACKEND_USED | (spec->dead ? 0 : LB_BACKEND_USABLE) |
		     (spec->vlan ? LB_BACKEND_TAGGED : 0),
	    .vlan_tci = htons(spec->vlan),
	    .mtu = spec->mtu ? spec->mtu : 1500,
	    .link_mtu = spec->mtu ? spec->mtu : 1500,
	    .ifindex = spec->ifindex ? spec->ifindex : f->lo,
	    .spread = htonl(spec->spread),
	};
	struct addr src, dst;

	assert_in_range(f->backends, 1, FIXTURE_BACKENDS - 1);
	assert_int_equal(addr_parse(spec->dst, &dst), 0);
	assert_int_equal(addr_parse(spec->src         ? spec->src
				    : dst.family == 4 ? "10.0.0.1"
						      : "fd00::1",
				    &src),
			 0);
	b.family = dst.family;
	memcpy(b.outer_src, src.bytes, 16);
	b.outer_src[b.family == 4 ? 0 : 3] &= ~b.spread;
	memcpy(b.outer_dst, dst.bytes, 16);
	parse_mac(spec->dst_mac ? spec->dst_mac : FIXTURE_MAC_BACKEND, b.dst_mac);
	parse_mac(PACKET_MAC_LB, b.src_mac);
	if (b.family == 4)
		b.csum = constant_sum(&b, outer_protocol(f, &f->map.services[service]));
	f->map.backends[f->backends] = b;
	f->map.loads[f->backends] = (struct lb_load){.cost = 65536};
	return f->backends++;
}

void fixture_backend_usable(struct fixture *f, uint16_t id, bool usable)
{
	__u8 *flags = &f->map.backends[id].flags;

	*flags = (*flags & LB_BACKEND_TAGGED) | LB_BACKEND_USED | (usable ? LB_BACKEND_USABLE : 0);
}

uint64_t fixture_region(struct fixture *f, const uint32_t *words, uint32_t count)
{
	uint32_t base = f->slots;

	assert_true(f->slots + count <= FIXTURE_SLOTS);
	memcpy(f->map.arena + base, words, count * sizeof(*words));
	f->slots += (count + 7) & ~7u;
	return LB_REGION(base, count);
}

void fixture_ring(struct fixture *f, uint16_t service, uint32_t count, uint32_t word)
{
	uint32_t *words = calloc(count, sizeof(*words));

	assert_non_null(words);
	for (uint32_t i = 0; i < count; i++)
		words[i] = word;
	f->map.services[service].ring = fixture_region(f, words, count);
	free(words);
}

uint16_t fixture_single(struct fixture *f, const char *vip, int proto, int port,
			struct lb_service service, const struct backend_spec *spec)
{
	uint16_t id = fixture_service(f, vip, proto, port, service);
	uint16_t backend = fixture_backend(f, id, spec);

	fixture_ring(f, id, 7, LB_SLOT(backend, backend));
	return id;
}

/* ---- counters and the clock ---- */

struct lb_backend_count fixture_backend_count(const struct fixture *f, uint16_t id)
{
	struct lb_backend_count sum = {0};

	for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
		const struct lb_backend_count *row =
		    &f->map.backend_counts[cpu * FIXTURE_BACKENDS + id];

		sum.packets += row->packets;
		sum.bytes += row->bytes;
		sum.flows += row->flows;
		sum.refused += row->refused;
	}
	return sum;
}

struct lb_service_count fixture_service_count(const struct fixture *f, uint16_t id)
{
	struct lb_service_count sum = {0};

	for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
		const struct lb_service_count *row =
		    &f->map.service_counts[cpu * FIXTURE_SERVICES + id];

		sum.denied += row->denied;
		sum.over_service += row->over_service;
		sum.over_source += row->over_source;
	}
	return sum;
}

static struct lb_path_key path_key(const char *address)
{
	struct lb_path_key key = {.family = strchr(address, ':') ? 6 : 4};

	assert_int_equal(inet_pton(key.family == 6 ? AF_INET6 : AF_INET, address, key.addr), 1);
	return key;
}

void fixture_path(struct fixture *f, const char *address, uint64_t word)
{
	const struct lb_path_key key = path_key(address);
	const struct lb_path path = {.word = word};

	assert_int_equal(
	    bpf_map_update_elem(bpf_map__fd(f->skel->maps.paths), &key, &path, BPF_ANY), 0);
}

struct lb_path fixture_path_read(struct fixture *f, const char *address)
{
	const struct lb_path_key key = path_key(address);
	struct lb_path path;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(f->skel->maps.paths), &key, &path), 0);
	return path;
}

const char *fixture_reason_name(int reason)
{
	static const char *const names[] = {
#define X(name, outcome, help) #name,
	    LB_REASONS(X)
#undef X
	};

	return reason < 0 ? "none or several" : names[reason];
}

int fixture_action_of(int reason)
{
	static const enum lb_outcome outcomes[] = {
#define X(name, outcome, help) LB_##outcome,
	    LB_REASONS(X)
#undef X
	};

	if (reason == LB_REASON_forwarded_redirect || reason == LB_REASON_returned_redirect)
		return XDP_REDIRECT;
	return outcomes[reason] == LB_SENT     ? XDP_TX
	       : outcomes[reason] == LB_PASSED ? XDP_PASS
					       : XDP_DROP;
}

uint64_t fixture_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint32_t fixture_tick(void)
{
	return fixture_now_ns() >> LB_TICK_SHIFT;
}

void fixture_wait_new_tick(void)
{
	uint64_t left =
	    (1ULL << LB_TICK_SHIFT) - (fixture_now_ns() & ((1ULL << LB_TICK_SHIFT) - 1));

	usleep(left / 1000 + 5000); /* the coarse clock steps by up to 4 ms */
}

/* ---- one packet ---- */

/* Tests write slots alone. Their fronts are derived here, as lbd derives them with every store. */
static void sync_fronts(struct fixture *f)
{
	for (uint32_t i = 0; i < f->slots; i++)
		f->map.fronts[i] =
		    lb_front(f->map.arena[i]) | (f->sampled ? LB_FRONT_TRANSITION : 0);
}

/* Port and protocol of f->in as LB_VIP_MAIN has them, if it is a plain packet. */
static uint32_t main_of_packet(const struct fixture *f)
{
	const uint8_t *data = f->in.data;
	bool v6 = data[12] == 0x86;
	uint16_t port;

	memcpy(&port, data + (v6 ? 56 : 36), sizeof(port));
	return f->in.len < 60 ? 0 : LB_VIP_MAIN(port, data[v6 ? 20 : 23]);
}

/* The same of a word of map `ports`. */
static uint32_t main_of_port(uint64_t word)
{
	return LB_VIP_MAIN(htons((uint16_t)(word >> 32)), (word >> 24 & 0xff));
}

/* The word of the service that the VIP gets on its line; 0: none. */
static uint64_t main_of(const struct fixture *f, uint32_t vip)
{
	uint32_t wanted = f->main == MAIN_OF_PACKET ? main_of_packet(f) : 0;
	uint64_t first = 0;

	for (uint32_t i = 0; i < f->ports && f->main != MAIN_NONE; i++) {
		uint64_t word = f->port[i];

		if (LB_PORT_VIP(word) != vip || !(uint16_t)(word >> 32))
			continue;
		if (main_of_port(word) == wanted)
			return word;
		first = first ? first : word;
	}
	return first;
}

/* Tests write services. Straight words are derived here, as lbd derives them. */
static void sync_straight(struct fixture *f)
{
	for (uint32_t id = 1; id < f->vips; id++) {
		struct lb_vip *vip = bucket_of(f, id, f->map.settings->tables[1].multiplier)->vip;
		uint64_t word = main_of(f, id);
		const struct lb_service *service = &f->map.services[LB_PORT_SERVICE(word)];
		bool open = word && service->id && f->main != MAIN_CLOSED;

		vip += vip->id != id;
		if (vip->id != id)
			continue; /* a test has changed the table */
		vip->main = word ? main_of_port(word) : 0;
		vip->straight = open ? lb_straight(service, vip->family) : 0;
	}
}

void fixture_sync(struct fixture *f)
{
	sync_fronts(f);
	sync_straight(f);
}

int fixture_run(int program, const void *data, size_t length, struct xdp_md *ctx,
		struct packet *ret_out, int *ret_verdict)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = length,
		    .data_out = ret_out->data, .data_size_out = sizeof(ret_out->data),
		    .ctx_in = ctx, .ctx_size_in = ctx ? sizeof(*ctx) : 0);
	int rc = bpf_prog_test_run_opts(program, &opts);

	if (rc)
		return rc;
	*ret_verdict = opts.retval;
	ret_out->len = opts.data_size_out;
	return 0;
}

static int run(struct fixture *f, const void *data, size_t len, struct xdp_md *ctx)
{
	if (f->send_twice)
		return f->send_twice(f, data, len, ctx);
	fixture_sync(f);
	return fixture_run(bpf_program__fd(f->skel->progs.lb), data, len, ctx, &f->out,
			   &f->verdict);
}

void fixture_send_uncounted(struct fixture *f)
{
	int rc = run(f, f->in.data, f->in.len, NULL);

	if (rc)
		fail_msg("BPF_PROG_TEST_RUN with %zu bytes: %s", f->in.len, strerror(-rc));
}

void fixture_send(struct fixture *f)
{
	fixture_send_uncounted(f);
	read_counts(f);
}

int fixture_send_with_metadata(struct fixture *f, uint32_t metadata)
{
	uint8_t data[256 + PACKET_MAX] = {0};
	struct xdp_md ctx = {.data = metadata, .data_end = metadata + f->in.len};
	int rc;

	memcpy(data + metadata, f->in.data, f->in.len);
	rc = run(f, data, metadata + f->in.len, &ctx);
	if (!rc)
		read_counts(f);
	return rc;
}
