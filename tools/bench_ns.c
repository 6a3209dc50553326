/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measures nanoseconds per packet of lbd's program and of two floors, net of the harness, in one
 * run: candidates are interleaved. Verdicts and bytes are checked before and after; if they are
 * wrong, the figure is void.
 * usage: bench_ns [--rounds N] [--json FILE] [--list] [SCENARIO...] */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/log.h"
#include "lbd/dataplane/dataplane.h"
#include "bench.h"
#include "bench.skel.h"

#define CANDIDATES 4 /* noop, floor-macswap, floor-encap, lbd */
#define LBD        3
#define BACKENDS   10
#define FIRST_VIP  0xc0000000u /* 192.0.0.0: service i is at 192.0.0.0 + i */
#define SETUPS     3           /* set-ups of a scenario; rounds in each */
#define BLOCKS     32          /* blocks of packets per round and candidate */
/* New flows a minute and at once: more than the program can take; costs of 10 ns, 600 ns */
#define UNREACHED  4000000000u
#define FLOOD      (8 << 20) /* SYNs: four for each place in the flow table */
#define CHECKED    256       /* packets that are compared byte for byte, before and after */
#define INGRESS    1         /* BPF_PROG_TEST_RUN says that frames arrive on lo */
#define FRAME_MACS "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"

static const char *const candidate_names[CANDIDATES] = {"harness", "floor-macswap", "floor-encap",
							"lbd"};

enum traffic { ESTABLISHED, SYN, DATAGRAM };
enum changes { STABLE, TENTH, ALL };

struct scenario {
	const char *name;
	const char *help;
	const char *algorithm;
	enum traffic traffic;
	uint32_t flows;
	uint32_t services;
	enum changes changes;
	bool ipv6, not_vip;
	bool warm;    /* every flow's SYN is sent before the measurement */
	bool flooded; /* then the flow table is filled with embryonic flows */
	bool fresh;   /* every packet is a new flow */
	/* clients all over the address space, instead of neighbours; and so many random prefixes
	 * that are denied, between them */
	bool spread;
	uint32_t denied;
	bool limited; /* services have rates of new flows, which no packet reaches */
};

static const struct scenario scenarios[] = {
    {.name = "tcp4-1",
     .help = "established TCP over IPv4, 1 flow",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1,
     .services = 1,
     .changes = STABLE},
    {.name = "tcp4-10k",
     .help = "10 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE},
    {.name = "tcp4-1m",
     .help = "1 000 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 1,
     .changes = STABLE},
    {.name = "tcp4-new",
     .help = "every packet a new flow (SYN)",
     .algorithm = "maglev",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true},
    {.name = "limit-tcp4-10k",
     .help = "established, 10 000 flows of a service with rates of new flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .limited = true},
    {.name = "limit-tcp4-new",
     .help = "every packet a new flow, below the rates of service and source",
     .algorithm = "maglev",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true,
     .limited = true},
    {.name = "limit-udp4-10k",
     .help = "UDP, 10 000 flows of a service with rates of new flows",
     .algorithm = "maglev",
     .traffic = DATAGRAM,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .warm = true,
     .limited = true},
    {.name = "udp4-10k",
     .help = "UDP over IPv4, 10 000 flows",
     .algorithm = "maglev",
     .traffic = DATAGRAM,
     .flows = 10000,
     .services = 1,
     .changes = STABLE},
    {.name = "tcp6-10k",
     .help = "TCP over IPv6 in IPv6, 10 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .ipv6 = true},
    {.name = "tcp4-1m-spread",
     .help = "1 000 000 flows of clients from all over the Internet",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 1,
     .changes = STABLE,
     .spread = true},
    {.name = "tcp4-1m-deny",
     .help = "the same, with a deny list of 100 000 prefixes",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 1,
     .changes = STABLE,
     .spread = true,
     .denied = 100000},
    {.name = "tcp4-10k-deny",
     .help = "10 000 flows, with a deny list of 100 000 prefixes",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .spread = true,
     .denied = 100000},
    {.name = "tcp6-10k-deny",
     .help = "the same over IPv6",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .ipv6 = true,
     .denied = 100000},
    {.name = "not-vip",
     .help = "not for a VIP, 10 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .not_vip = true},
    {.name = "transition-10",
     .help = "a tenth of the slots in transition, 1 000 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 1,
     .changes = TENTH,
     .warm = true},
    {.name = "transition-all-hit",
     .help = "all slots in transition, 10 000 tracked flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = ALL,
     .warm = true},
    {.name = "transition-all-flooded",
     .help = "the same 10 000 flows after 8 million SYNs of a flood",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = ALL,
     .warm = true,
     .flooded = true},
    {.name = "transition-all-insert",
     .help = "all slots in transition, every packet a new flow",
     .algorithm = "maglev",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = ALL,
     .fresh = true},
    {.name = "source-hash",
     .help = "established, 10 000 flows",
     .algorithm = "source-hash",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE},
    {.name = "round-robin-hit",
     .help = "10 000 tracked flows",
     .algorithm = "round-robin",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .warm = true},
    {.name = "round-robin-insert",
     .help = "every packet a new flow",
     .algorithm = "round-robin",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true},
    {.name = "weighted-round-robin-hit",
     .help = "10 000 tracked flows",
     .algorithm = "weighted-round-robin",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .warm = true},
    {.name = "weighted-round-robin-insert",
     .help = "every packet a new flow",
     .algorithm = "weighted-round-robin",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true},
    {.name = "least-conn-hit",
     .help = "10 000 tracked flows",
     .algorithm = "least-conn",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .warm = true},
    {.name = "least-conn-insert",
     .help = "every packet a new flow",
     .algorithm = "least-conn",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true},
    {.name = "least-response-time-hit",
     .help = "10 000 tracked flows",
     .algorithm = "least-response-time",
     .traffic = ESTABLISHED,
     .flows = 10000,
     .services = 1,
     .changes = STABLE,
     .warm = true},
    {.name = "least-response-time-insert",
     .help = "every packet a new flow",
     .algorithm = "least-response-time",
     .traffic = SYN,
     .flows = 1,
     .services = 1,
     .changes = STABLE,
     .fresh = true},
    {.name = "services-64",
     .help = "64 services x 10 backends, all busy, 1 000 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 64,
     .changes = STABLE},
    {.name = "services-1000",
     .help = "1 000 services x 10 backends, all busy, 1 000 000 flows",
     .algorithm = "maglev",
     .traffic = ESTABLISHED,
     .flows = 1000000,
     .services = 1000,
     .changes = STABLE},
};

#define SCENARIOS (sizeof(scenarios) / sizeof(*scenarios))

struct figures {
	/* net of the harness, except for the harness itself */
	double p10[CANDIDATES], median[CANDIDATES];
	bool verified;
};

struct bench {
	const struct scenario *scenario;
	struct dataplane *dp;
	struct bench_bpf *skel;
	struct bench_job *job;
	struct bench_result *result;
	double *samples[CANDIDATES];
	unsigned count[CANDIDATES];
};

/* ---- the frame ---- */

static uint16_t sum16(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static void frame_layer4(uint8_t *at, const struct scenario *scenario, uint32_t length)
{
	put16(at, 1024);
	put16(at + 2, 80);
	if (scenario->traffic == DATAGRAM) {
		put16(at + 4, length);
		return;
	}
	put32(at + 4, scenario->traffic != SYN); /* of the SYN before: 0 */
	at[12] = 5 << 4;
	at[13] = scenario->traffic == SYN ? 0x02 : 0x10;
	put16(at + 14, 65535);
}

static void frame_ipv4(struct bench_job *job, const struct scenario *scenario)
{
	uint8_t *ip = job->frame + 14;

	job->length = 64;
	job->source_offset = 26, job->port_offset = 34, job->vip_offset = 32;
	put16(job->frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, job->length - 14);
	ip[8] = 64;
	ip[9] = scenario->traffic == DATAGRAM ? 17 : 6;
	put32(ip + 12, BENCH_FIRST_SOURCE);
	put32(ip + 16, scenario->not_vip ? 0xc6336401 : FIRST_VIP);
	put16(ip + 10, 0xffffu ^ sum16(ip, 20));
	frame_layer4(ip + 20, scenario, job->length - 34);
}

static void frame_ipv6(struct bench_job *job, const struct scenario *scenario)
{
	uint8_t *ip = job->frame + 14;

	job->length = 78;
	job->source_offset = 34, job->port_offset = 54, job->vip_offset = 52;
	put16(job->frame + 12, 0x86dd);
	ip[0] = 0x60;
	put16(ip + 4, job->length - 54);
	ip[6] = scenario->traffic == DATAGRAM ? 17 : 6;
	ip[7] = 64;
	inet_pton(AF_INET6, "2001:db8:c::2", ip + 8);
	inet_pton(AF_INET6, "2001:db8:5::", ip + 24);
	frame_layer4(ip + 40, scenario, job->length - 54);
}

static uint32_t clients_of(const struct scenario *scenario)
{
	return (scenario->flows + 7) / 8;
}

/* From one client to the next: up to 126.0.0.0. */
static uint32_t source_step(const struct scenario *scenario)
{
	return scenario->spread ? (0x7e000000 - BENCH_FIRST_SOURCE) / clients_of(scenario) : 1;
}

static void job_set(struct bench *bench, bool sequential)
{
	const struct scenario *scenario = bench->scenario;
	struct bench_job job = {
	    .flows = scenario->flows,
	    .services = scenario->services,
	    .source_step = source_step(scenario),
	    .sequential = sequential,
	};

	memcpy(job.frame, FRAME_MACS, 12);
	if (scenario->ipv6)
		frame_ipv6(&job, scenario);
	else
		frame_ipv4(&job, scenario);
	*bench->job = job;
}

/* ---- the services ---- */

static void backends_fill(struct dp_backend *backends, const struct scenario *scenario,
			  uint32_t service, bool changed)
{
	for (uint32_t i = 0; i < BACKENDS * 2; i++) {
		struct dp_backend *backend = &backends[i];
		char text[ADDR_TEXT];
		bool second = i >= BACKENDS;

		*backend = (struct dp_backend){
		    .weight = second ? 0 : 100, .usable = true, .latency_us = 1000};
		if (scenario->ipv6)
			snprintf(text, sizeof(text), "2001:db8:b:%x::%x", service, i + 11);
		else
			snprintf(text, sizeof(text), "10.%u.%u.%u", service >> 8, service & 255,
				 i + 11);
		addr_parse(text, &backend->address);
		backend->hop = (struct next_hop){.ifindex = 1,
						 .mtu = 1600,
						 .src_mac = {2, 0, 0, 0, 0, 2},
						 .dst_mac = {2, 0, 0, 0, 1, (uint8_t)i}};
		if (changed && scenario->changes == ALL)
			backend->weight = second ? 100 : 0;
		if (changed && scenario->changes == TENTH && i == 0)
			backend->weight = 0;
	}
}

/* ---- a deny list ---- */

/* Is a client's address among the 256 that begin with this one? */
static bool has_client(const struct scenario *scenario, uint32_t first)
{
	uint32_t clients = clients_of(scenario), step = source_step(scenario);
	uint64_t last = BENCH_FIRST_SOURCE + (uint64_t)(clients - 1) * step, next;

	if (first > last || first + 255 < BENCH_FIRST_SOURCE)
		return false;
	next = first < BENCH_FIRST_SOURCE ? 0 : (first - BENCH_FIRST_SOURCE + step - 1) / step;
	return BENCH_FIRST_SOURCE + next * step <= first + 255 && next < clients;
}

static uint32_t random_word(uint64_t *dice)
{
	*dice = *dice * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(*dice >> 32);
}

/* A /24 of 1.0.0.0 to 222.255.255.0, or a /48 of 2400::/6, without a client in it. */
static void prefix_text(const struct scenario *scenario, uint64_t *dice, char text[64])
{
	uint32_t word = random_word(dice);

	if (scenario->ipv6) {
		snprintf(text, 64, "%x:%x:%x::/48", 0x2400 + (word >> 22), word & 0xffff,
			 random_word(dice) & 0xffff);
		return;
	}
	do
		word = 0x01000000 + random_word(dice) % 0xde000000;
	while (has_client(scenario, word & ~255u));
	snprintf(text, 64, "%u.%u.%u.0/24", word >> 24, word >> 16 & 255, word >> 8 & 255);
}

static int filter_make(const struct scenario *scenario, struct filter **ret, struct error *err)
{
	struct filter_list *list = filter_list_new("bench", false);
	uint64_t dice = 1;
	char text[64];
	int rc = list ? 0 : -ENOMEM;

	while (!rc && list->count < scenario->denied) {
		prefix_text(scenario, &dice, text);
		rc = filter_list_add(list, text, 0, err);
	}
	if (!rc)
		rc = filter_new(NULL, list, ret, err);
	filter_list_unref(list);
	return rc;
}

static int services_commit(struct bench *bench, bool changed)
{
	const struct scenario *scenario = bench->scenario;
	unsigned each = scenario->changes == ALL ? BACKENDS * 2 : BACKENDS;
	_cleanup_free_ struct dp_service *services = calloc(scenario->services, sizeof(*services));
	_cleanup_free_ struct dp_backend *backends =
	    calloc((size_t)scenario->services * BACKENDS * 2, sizeof(*backends));
	struct filter *filter = NULL;
	struct error err = {0};
	int rc;

	if (!services || !backends)
		return -ENOMEM;
	rc = scenario->denied ? filter_make(scenario, &filter, &err) : 0;
	for (uint32_t i = 0; i < scenario->services; i++) {
		struct dp_service *service = &services[i];

		*service = (struct dp_service){.protocol = scenario->traffic == DATAGRAM ? 17 : 6,
					       .port = 80,
					       .algorithm = algo_find(scenario->algorithm),
					       .mask4 = 32,
					       .mask6 = 128,
					       .tcp_idle_ms = 300000,
					       .udp_idle_ms = 30000,
					       .affinity_ms = 600000,
					       .filter = filter,
					       .backends = backends + (size_t)i * BACKENDS * 2,
					       .backends_count = each};
		if (scenario->ipv6)
			addr_parse("2001:db8:5::", &service->vip);
		else
			service->vip.family = 4, put32(service->vip.bytes, FIRST_VIP + i);
		if (scenario->limited)
			service->limit = (struct dp_limit){.service = {UNREACHED, UNREACHED},
							   .source = {UNREACHED / 60, UNREACHED},
							   .source4 = 24,
							   .source6 = 56};
		service->hash = service->algorithm->hash;
		service->track_always = service->algorithm->select != LB_SELECT_SLOT;
		backends_fill(service->backends, scenario, i, changed);
	}
	if (!rc)
		rc = dataplane_commit(bench->dp, services, scenario->services, &err);
	filter_unref(filter);
	if (rc)
		fprintf(stderr, "bench_ns: %s: %s\n", scenario->name, err.text);
	return rc;
}

/* ---- the programs ---- */

static int map_share(struct bench *bench)
{
	struct bpf_object *lb = dataplane_object(bench->dp);
	struct bpf_map *map, *other;

	bpf_object__for_each_map (map, bench->skel->obj) {
		const char *name = bpf_map__name(map);

		if (bpf_map__is_internal(map) && strcmp(name, LB_SETTINGS_MAP) != 0)
			continue; /* constants */
		other = bpf_object__find_map_by_name(lb, name);
		if (!other)
			continue;
		if (!strcmp(name, "flows"))
			bench->skel->rodata->flow_mask = bpf_map__max_entries(other) - 1;
		if (!strcmp(name, "services"))
			bench->skel->rodata->service_slots = bpf_map__max_entries(other);
		if (!strcmp(name, "backend_counts"))
			bench->skel->rodata->backend_slots =
			    bpf_map__max_entries(other) / (uint32_t)libbpf_num_possible_cpus();
		if (bpf_map__reuse_fd(map, bpf_map__fd(other))) /* frees name */
			return -1;
	}
	return 0;
}

static void *map_view(struct bpf_map *map, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, (size + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int programs_load(struct bench *bench)
{
	bench->skel = bench_bpf__open();
	if (!bench->skel || map_share(bench) || bench_bpf__load(bench->skel)) {
		fprintf(stderr, "bench_ns: the benchmark's programs do not load: %s\n",
			strerror(errno));
		return -1;
	}
	bench->job = map_view(bench->skel->maps.bench_jobs, sizeof(*bench->job));
	bench->result = map_view(bench->skel->maps.bench_results, sizeof(*bench->result));
	return bench->job && bench->result ? 0 : -1;
}

static int run(const struct bpf_program *program, const void *in, uint32_t length, void *out,
	       uint32_t *ret_length)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_size_in = length,
		    .data_out = out, .data_size_out = out ? *ret_length : 0, .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) && errno != ENOSPC)
		return -errno;
	if (ret_length)
		*ret_length = options.data_size_out;
	return (int)options.retval;
}

static const struct bpf_program *bench_program(const struct bench *bench, int candidate)
{
	const struct bpf_program *const programs[CANDIDATES] = {
	    bench->skel->progs.bench_noop, bench->skel->progs.bench_floor_macswap,
	    bench->skel->progs.bench_floor_encap, bench->skel->progs.bench_lbd};

	return programs[candidate];
}

/* Sends one block of packets. */
static int block_run(struct bench *bench, int candidate)
{
	const struct bpf_program *program = bench_program(bench, candidate);

	return run(program, bench->job->frame, bench->job->length, NULL, NULL) == 2 ? 0 : -1;
}

/* ---- verification ---- */

static uint64_t reason_packets(const struct bench *bench, enum lb_reason reason)
{
	struct lb_reason_count counts[LB_COUNTERS];

	dataplane_reason_counts(bench->dp, counts);
	return counts[reason].packets;
}

/* Whether the inner packet is unchanged except for TTL - 1 and a correct header checksum. */
static bool inner_is_right(const uint8_t *in, const uint8_t *out, uint32_t length, bool ipv6)
{
	uint8_t was[BENCH_FRAME_MAX], is[BENCH_FRAME_MAX];

	memcpy(was, in, length);
	memcpy(is, out, length);
	if (ipv6) {
		was[7]--;
		return !memcmp(was, is, length);
	}
	if (sum16(was, 20) % 0xffff != sum16(is, 20) % 0xffff)
		return false;
	was[8]--;
	was[10] = is[10], was[11] = is[11];
	return !memcmp(was, is, length);
}

static bool outer_is_right(const struct bench *bench, const uint8_t *outer, uint32_t inner_length)
{
	if (bench->scenario->ipv6)
		return outer[0] >> 4 == 6 && outer[6] == 41 &&
		       (uint32_t)(outer[4] << 8 | outer[5]) == inner_length &&
		       !memcmp(outer + 24, "\x20\x01\x0d\xb8\x00\x0b", 6);
	return outer[0] == 0x45 && outer[9] == 4 && sum16(outer, 20) == 0xffff &&
	       (uint32_t)(outer[2] << 8 | outer[3]) == inner_length + 20 && outer[16] == 10 &&
	       outer[19] >= 11 && outer[19] < 11 + BACKENDS * 2;
}

static bool packet_is_right(const struct bench *bench, const uint8_t *frame)
{
	uint32_t length = bench->job->length, out_length = 256,
		 extra = bench->scenario->ipv6 ? 40 : 20;
	uint8_t out[256];
	int verdict = run(bench->skel->progs.one_lbd, frame, length, out, &out_length);

	if (bench->scenario->not_vip)
		return verdict == 2 && out_length == length && !memcmp(out, frame, length);
	return verdict == 3 && out_length == length + extra &&
	       !memcmp(out, "\x02\x00\x00\x00\x01", 5) &&
	       outer_is_right(bench, out + 14, length - 14) &&
	       inner_is_right(frame + 14, out + 14 + extra, length - 14, bench->scenario->ipv6);
}

static bool verify(const struct bench *bench)
{
	for (uint32_t i = 0; i < CHECKED; i++) {
		uint8_t frame[BENCH_FRAME_MAX];
		uint32_t flow =
		    i * 2654435761u % (bench->scenario->fresh ? 1u << 20 : bench->scenario->flows);

		memcpy(frame, bench->job->frame, sizeof(frame));
		put32(frame + bench->job->source_offset, BENCH_SOURCE(bench->job, flow));
		put16(frame + bench->job->port_offset, 1024 + (flow & 7) * 4099);
		if (bench->job->services > 1)
			put16(frame + bench->job->vip_offset,
			      (flow * 40503u >> 4) % bench->job->services);
		if (!packet_is_right(bench, frame)) {
			fprintf(stderr, "bench_ns: %s: packet of flow %u came out wrong\n",
				bench->scenario->name, flow);
			return false;
		}
	}
	return true;
}

/* ---- measurement ---- */

static int round_run(struct bench *bench, int candidate, uint64_t *ret_expected)
{
	uint32_t start = bench->job->next;
	int want = bench->scenario->not_vip && candidate == LBD ? 2 : 3;

	memset(bench->result, 0, sizeof(*bench->result));
	for (int i = 0; i < BLOCKS; i++) {
		if (block_run(bench, candidate))
			return -1;
		bench->samples[candidate][bench->count[candidate]++] =
		    (double)bench->result->block_ns / BENCH_BLOCK_PACKETS;
	}
	if (candidate != CANDIDATES - 1)
		bench->job->next = start;
	*ret_expected = bench->result->verdicts[want];
	return 0;
}

/* Sends every flow's SYN (or first datagram) once, so that the flow table holds them. */
static int warm_up(struct bench *bench)
{
	uint32_t flags = bench->scenario->ipv6 ? 67 : 47;
	uint32_t seq = flags - 6; /* its last byte */
	uint8_t kept = bench->job->frame[flags], kept_seq = bench->job->frame[seq];

	for (int pass = 0; pass < 2; pass++) {
		bench->job->sequential = 1;
		bench->job->next = 0;
		bench->job->frame[flags] = pass ? kept : 0x02;
		bench->job->frame[seq] = pass ? kept_seq : 0;
		while (bench->job->next < bench->scenario->flows)
			if (block_run(bench, LBD))
				return -1;
	}
	return 0;
}

/* SYNs of new flows. */
static int flood(struct bench *bench)
{
	job_set(bench, true);
	bench->job->frame[47] = 0x02;
	bench->job->next = 1u << 24;
	for (int i = 0; i < FLOOD / BENCH_BLOCK_PACKETS; i++)
		if (block_run(bench, LBD))
			return -1;
	return 0;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void figures_take(struct bench *bench, struct figures *ret)
{
	for (int i = 0; i < CANDIDATES; i++) {
		qsort(bench->samples[i], bench->count[i], sizeof(double), compare_double);
		ret->p10[i] = bench->samples[i][bench->count[i] / 10] - (i ? ret->p10[0] : 0);
		ret->median[i] = bench->samples[i][bench->count[i] / 2] - (i ? ret->median[0] : 0);
	}
}

static int scenario_prepare(struct bench *bench)
{
	const struct dataplane_options options = {.services = 1024,
						  .backends = 32767,
						  .slots = 4 << 20,
						  .flows = 1000000,
						  .hash_seed = 1,
						  .gue_port = 6080,
						  .encap_source4 = {4, {172, 16}},
						  .encap_source4_len = 16,
						  .encap_source6 = {6, {1}},
						  .encap_source6_len = 64};
	struct dp_mac ingress = {.ifindex = INGRESS};
	struct error err = {0};

	memcpy(ingress.mac, FRAME_MACS, sizeof(ingress.mac));
	if (dataplane_open(&options, &bench->dp, &err)) {
		fprintf(stderr, "bench_ns: %s\n", err.text);
		return -1;
	}
	if (dataplane_set_macs(bench->dp, &ingress, 1) || services_commit(bench, false) ||
	    programs_load(bench))
		return -1;
	if (bench->scenario->changes != STABLE && services_commit(bench, true))
		return -1;
	job_set(bench, bench->scenario->fresh);
	if (bench->scenario->warm && warm_up(bench))
		return -1;
	if (bench->scenario->flooded && flood(bench))
		return -1;
	job_set(bench, bench->scenario->fresh);
	return 0;
}

/* With BENCH_EVENTS set: prints the program's counters for the measurement. */
struct events {
	struct lb_reason_count count[LB_COUNTERS];
};

static void events_read(const struct bench *bench, struct events *ret)
{
	dataplane_reason_counts(bench->dp, ret->count);
}

static void events_print(const struct bench *bench, const struct events *before)
{
	static const char *const names[] = {
#define X(name, outcome, help) #name,
	    LB_REASONS(X)
#undef X
#define X(name, help) #name,
		LB_EVENTS(X)
#undef X
	};
	struct events after;

	events_read(bench, &after);
	for (int i = 0; i < LB_COUNTERS; i++)
		if (after.count[i].packets != before->count[i].packets)
			printf("    %-20s %llu\n", names[i],
			       (unsigned long long)(after.count[i].packets -
						    before->count[i].packets));
}

/* If every flow's SYN was sent beforehand, each packet must have found an entry. */
static bool all_found(const struct bench *bench, const struct events *before)
{
	struct events now;

	events_read(bench, &now);
	return !bench->scenario->warm || (now.count[LB_EVENT_flow_inserted].packets ==
					      before->count[LB_EVENT_flow_inserted].packets &&
					  now.count[LB_EVENT_keeper_packets].packets ==
					      before->count[LB_EVENT_keeper_packets].packets);
}

static int scenario_measure(struct bench *bench, unsigned rounds, struct figures *ret)
{
	uint64_t before, sent = 0, right = 0, got;
	struct events events;
	enum lb_reason reason =
	    bench->scenario->not_vip ? LB_REASON_not_vip : LB_REASON_forwarded_tx;

	ret->verified &= verify(bench);
	events_read(bench, &events);
	before = reason_packets(bench, reason);
	for (unsigned round = 0; round < rounds; round++) {
		for (int candidate = 0; candidate < CANDIDATES; candidate++) {
			if (round_run(bench, candidate, &got))
				return -1;
			if (candidate == LBD)
				sent += BLOCKS * BENCH_BLOCK_PACKETS, right += got;
		}
	}
	if (getenv("BENCH_EVENTS"))
		events_print(bench, &events);
	ret->verified &= right == sent && reason_packets(bench, reason) - before == sent;
	ret->verified &= all_found(bench, &events) && verify(bench);
	return 0;
}

/* One set-up of a scenario: new maps, programs loaded again. */
static int scenario_once(struct bench *bench, unsigned rounds, struct figures *ret)
{
	int rc = scenario_prepare(bench);

	if (!rc)
		rc = scenario_measure(bench, rounds, ret);
	bench_bpf__destroy(bench->skel);
	dataplane_close(bench->dp);
	bench->skel = NULL;
	bench->dp = NULL;
	return rc;
}

static int scenario_run(const struct scenario *scenario, unsigned rounds, struct figures *ret)
{
	struct bench bench = {.scenario = scenario};
	int rc = 0;

	for (int i = 0; i < CANDIDATES && !rc; i++)
		if (!(bench.samples[i] = calloc((size_t)rounds * SETUPS * BLOCKS, sizeof(double))))
			rc = -ENOMEM;
	ret->verified = true;
	for (int i = 0; i < SETUPS && !rc; i++)
		rc = scenario_once(&bench, rounds, ret);
	if (!rc)
		figures_take(&bench, ret);
	for (int i = 0; i < CANDIDATES; i++)
		free(bench.samples[i]);
	return rc;
}

/* ---- output ---- */

static void json_row(FILE *json, bool *first, const struct scenario *scenario,
		     const struct figures *figures, int candidate)
{
	fprintf(json,
		"%s\n  {\"scenario\": \"%s\", \"candidate\": \"%s\", \"net_ns_p10\": %.2f, "
		"\"net_ns_median\": %.2f, \"verified\": %s}",
		*first ? "" : ",", scenario->name, candidate_names[candidate],
		figures->p10[candidate], figures->median[candidate],
		figures->verified ? "true" : "false");
	*first = false;
}

static void table_row(const struct scenario *scenario, const struct figures *figures)
{
	printf("%-27s %6.1f %6.1f %7.1f %7.1f %6.2fx %s\n", scenario->name, figures->p10[1],
	       figures->p10[2], figures->p10[LBD], figures->median[LBD],
	       figures->p10[LBD] / figures->p10[2],
	       figures->verified ? "yes" : "NO: the figure is void");
	fflush(stdout);
}

static bool wanted(int argc, char **argv, const char *name)
{
	if (optind == argc)
		return true;
	for (int i = optind; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return false;
}

static int run_all(int argc, char **argv, unsigned rounds, FILE *json)
{
	bool first = true;
	int status = 0, ran = 0;

	if (json)
		fputc('[', json);
	printf(
	    "ns per packet, net of the harness (10th percentile; lbd: median too)\n%-27s %6s %6s %7s %7s %7s %s\n",
	    "scenario", "mac", "encap", "lbd", "median", "/encap", "verified");
	for (size_t i = 0; i < SCENARIOS; i++) {
		struct figures figures = {0};

		if (!wanted(argc, argv, scenarios[i].name))
			continue;
		ran++;
		if (scenario_run(&scenarios[i], rounds, &figures)) {
			status = 1;
			continue;
		}
		table_row(&scenarios[i], &figures);
		for (int candidate = 1; candidate < CANDIDATES && json; candidate++)
			json_row(json, &first, &scenarios[i], &figures, candidate);
		status = status || !figures.verified;
	}
	if (json)
		fputs("\n]\n", json);
	if (!ran)
		fprintf(stderr, "bench_ns: no scenario of that name; --list names them\n");
	return ran ? status : 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
						{"json", required_argument, NULL, 'j'},
						{"list", no_argument, NULL, 'l'},
						{0}};
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	_cleanup_fclose_ FILE *json = NULL;
	unsigned rounds = 10;
	cpu_set_t cpu;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r' && atoi(optarg) > 0) {
			rounds = (unsigned)atoi(optarg);
		} else if (option == 'j') {
			json = fopen(optarg, "w");
			if (!json) {
				fprintf(stderr, "bench_ns: %s: %s\n", optarg, strerror(errno));
				return 1;
			}
		} else if (option == 'l') {
			for (size_t i = 0; i < SCENARIOS; i++)
				printf("%-28s %s, %s\n", scenarios[i].name, scenarios[i].algorithm,
				       scenarios[i].help);
			return 0;
		} else {
			fprintf(
			    stderr,
			    "usage: bench_ns [--rounds N] [--json FILE] [--list] [SCENARIO...]\n");
			return 2;
		}
	}
	log_set_level(LOG_WARNING);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	/* one core, whose caches are not shared with other work; may fail with a single core */
	sched_setaffinity(0, sizeof(cpu), &cpu);
	return run_all(argc, argv, rounds, json);
}
