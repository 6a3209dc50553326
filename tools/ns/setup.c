/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a scenario needs before it is measured: frames, services, deny lists, warm flows; and the
 * check that packets come out right. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "tools/ns/ns.h"

#define FIRST_VIP     0xc0000000u /* 192.0.0.0: service i is at 192.0.0.0 + i */
#define NO_VIP        0xc6120000u /* 198.18.0.0 (RFC 2544) */
#define FIRST_BACKEND 0x0a00000bu /* 10.0.0.11: those of service i begin 256 * i later */
#define REAL_PORT     8080
#define EMBED         "2001:db8:46::" /* /96: clients of IPv4 */
/* New flows a minute and at once: more than the program can take; costs of 10 ns, 600 ns */
#define UNREACHED  4000000000u
#define FLOOD      (8 << 20) /* SYNs: four for each place in the flow table */
#define SWEEP_STEP (1 << 16)
#define WARM_STEP  (1 << 13) /* flows between two rounds of the sweep */
#define CHECKED    256       /* packets that are compared byte for byte, before and after */
#define INGRESS    1         /* BPF_PROG_TEST_RUN says that frames arrive on lo */
#define FRAME_MACS "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"

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

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
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
	put16(job->frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, job->length - 14);
	ip[8] = 64;
	ip[9] = scenario->traffic == DATAGRAM ? 17 : 6;
	put32(ip + 12, BENCH_FIRST_SOURCE);
	put32(ip + 16, scenario->not_vip || scenario->reply ? NO_VIP : FIRST_VIP);
	put16(ip + 10, 0xffffu ^ sum16(ip, 20));
	frame_layer4(ip + 20, scenario, job->length - 34);
}

static void frame_ipv6(struct bench_job *job, const struct scenario *scenario)
{
	uint8_t *ip = job->frame + 14;

	job->length = 78;
	put16(job->frame + 12, 0x86dd);
	ip[0] = 0x60;
	put16(ip + 4, job->length - 54);
	ip[6] = scenario->traffic == DATAGRAM ? 17 : 6;
	ip[7] = 64;
	inet_pton(AF_INET6, "2001:db8:c::2", ip + 8);
	if (scenario->translated)
		inet_pton(AF_INET6, EMBED "c612:0", ip + 24); /* NO_VIP */
	else
		inet_pton(AF_INET6,
			  scenario->not_vip || scenario->reply ? "2001:db8:6::" : "2001:db8:5::",
			  ip + 24);
	frame_layer4(ip + 40, scenario, job->length - 54);
}

void job_set(struct bench *bench, bool sequential)
{
	const struct scenario *scenario = bench->scenario;
	struct bench_job job = {
	    .ipv6 = scenario->ipv6,
	    .flows = scenario->flows,
	    .services = scenario_services(scenario),
	    .source_step = scenario_source_step(scenario),
	    .sequential = sequential,
	};

	memcpy(job.frame, FRAME_MACS, 12);
	if (scenario->ipv6)
		frame_ipv6(&job, scenario);
	else
		frame_ipv4(&job, scenario);
	*bench->job = job;
}

void frame_of(const struct bench *bench, uint32_t flow, uint8_t frame[BENCH_FRAME_MAX])
{
	const struct bench_job *job = bench->job;

	memcpy(frame, job->frame, BENCH_FRAME_MAX);
	put32(frame + (job->ipv6 ? 34 : 26), BENCH_SOURCE(job, flow));
	put16(frame + (job->ipv6 ? 54 : 34), BENCH_PORT(flow));
	if (job->services > 1)
		put16(frame + (job->ipv6 ? 52 : 32), BENCH_SERVICE(job, flow));
}

/* ---- the services ---- */

/* Backends of the second half replace those of the first. */
static uint32_t weight_of(const struct scenario *scenario, uint32_t i, bool changed)
{
	bool second = i >= scenario_backends(scenario);

	if (changed && scenario->replaced)
		return second ? 100 : 0;
	return second || (changed && i < scenario->drained) ? 0 : 100;
}

static void backends_fill(struct dp_backend *backends, const struct scenario *scenario,
			  uint32_t service, bool changed)
{
	const bool v6 = scenario->ipv6 || scenario->translated;

	for (uint32_t i = 0; i < scenario_backends(scenario) * 2; i++) {
		struct dp_backend *backend = &backends[i];
		uint32_t number =
		    scenario->reply ? BENCH_FIRST_SOURCE + i : FIRST_BACKEND + service * 256 + i;
		uint16_t port = scenario->reply ? BENCH_PORT(service) : REAL_PORT;

		*backend = (struct dp_backend){
		    .weight = weight_of(scenario, i, changed), .usable = true, .latency_us = 1000};
		if (scenario->nat)
			backend->port = htons(port);
		if (v6)
			addr_parse(scenario->reply ? "2001:db8:c::" : "2001:db8:b::",
				   &backend->address);
		else
			backend->address.family = 4;
		put32(backend->address.bytes + (v6 ? 12 : 0), number);
		backend->hop = (struct next_hop){.ifindex = 1,
						 .mtu = 1600,
						 .src_mac = {2, 0, 0, 0, 0, 2},
						 .dst_mac = {2, 0, 0, 0, 1, (uint8_t)i}};
	}
}

/* ---- a deny list ---- */

/* Is a client's address among the 256 that begin with this one? */
static bool has_client(const struct scenario *scenario, uint32_t first)
{
	uint32_t clients = scenario_clients(scenario), step = scenario_source_step(scenario);
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

static void service_fill(struct dp_service *service, const struct scenario *scenario, uint32_t i,
			 struct filter *filter)
{
	const char *algorithm = scenario->algorithm ?: "maglev";

	*service = (struct dp_service){.protocol = scenario->traffic == DATAGRAM ? 17 : 6,
				       .port = 80,
				       .algorithm = algo_find(algorithm),
				       .mask4 = 32,
				       .mask6 = 128,
				       .tcp_idle_ms = 300000,
				       .udp_idle_ms = 30000,
				       .affinity_ms = 600000,
				       .filter = filter};
	if (scenario->ipv6 && !scenario->translated) {
		addr_parse("2001:db8:5::", &service->vip);
		put16(service->vip.bytes + 14, i);
	} else {
		service->vip.family = 4;
		put32(service->vip.bytes, FIRST_VIP + i);
	}
	service->forward = scenario->nat      ? LB_FORWARD_NAT
			   : scenario->direct ? LB_FORWARD_L2
					      : LB_FORWARD_IPIP;
	if (scenario->limited)
		service->limit = (struct dp_limit){.service = {UNREACHED, UNREACHED},
						   .source = {UNREACHED / 60, UNREACHED},
						   .source4 = 24,
						   .source6 = 56};
	service->hash = service->algorithm->hash;
	/* as config_ring_grain says of equal weights */
	service->ring_grain = service->hash == LB_HASH_FULL ? RING_COARSE : RING_FINE;
	service->track_always = service->algorithm->select != LB_SELECT_SLOT;
}

int services_commit(const struct bench *bench, bool changed)
{
	const struct scenario *scenario = bench->scenario;
	uint32_t count = scenario_services(scenario), each = scenario_backends(scenario);
	_cleanup_free_ struct dp_service *services = calloc(count, sizeof(*services));
	_cleanup_free_ struct dp_backend *backends =
	    calloc((size_t)count * each * 2, sizeof(*backends));
	struct filter *filter = NULL;
	struct error err = {0};
	int rc;

	if (!services || !backends)
		return -ENOMEM;
	rc = scenario->denied ? filter_make(scenario, &filter, &err) : 0;
	for (uint32_t i = 0; i < count; i++) {
		service_fill(&services[i], scenario, i, filter);
		services[i].backends = backends + (size_t)i * each * 2;
		services[i].backends_count = scenario->replaced ? each * 2 : each;
		backends_fill(services[i].backends, scenario, i, changed);
	}
	if (!rc)
		rc = dataplane_commit(bench->dp, services, count, &err);
	filter_unref(filter);
	if (rc)
		fprintf(stderr, "bench_ns: %s: %s\n", scenario->name, err.text);
	return rc;
}

/* ---- what comes out ---- */

/* Whether the packet is unchanged except for TTL - 1 and a correct header checksum. */
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

/* Whether the address is that of a backend of the service. */
static bool is_backend(const struct scenario *scenario, uint32_t service, uint32_t address)
{
	return address - FIRST_BACKEND - service * 256 < scenario_backends(scenario) * 2;
}

static bool outer_is_right(const struct bench *bench, const uint8_t *outer, uint32_t inner_length,
			   uint32_t service)
{
	if (bench->scenario->ipv6)
		return outer[0] >> 4 == 6 && outer[6] == 41 &&
		       (uint32_t)(outer[4] << 8 | outer[5]) == inner_length &&
		       !memcmp(outer + 24, "\x20\x01\x0d\xb8\x00\x0b\0\0\0\0\0\0", 12) &&
		       is_backend(bench->scenario, service, get32(outer + 36));
	return outer[0] == 0x45 && outer[9] == 4 && sum16(outer, 20) == 0xffff &&
	       (uint32_t)(outer[2] << 8 | outer[3]) == inner_length + 20 &&
	       is_backend(bench->scenario, service, get32(outer + 16));
}

/* A packet of `forward: nat`, but for the checksum of TCP and UDP: the tests have that. in, out:
 * from the IP header on. */
static bool nat_is_right(const struct bench *bench, const uint8_t *in, const uint8_t *out,
			 uint32_t service)
{
	const bool ipv6 = bench->scenario->ipv6, reply = bench->scenario->reply;
	const uint32_t l4 = ipv6 ? 40 : 20, address = ipv6 ? (reply ? 20 : 36) : (reply ? 12 : 16);
	const uint32_t port = l4 + (reply ? 0 : 2), wanted = reply ? 80 : REAL_PORT;

	if ((uint32_t)(out[port] << 8 | out[port + 1]) != wanted ||
	    out[ipv6 ? 7 : 8] != in[ipv6 ? 7 : 8] - 1 ||
	    (!ipv6 && sum16(in, 20) % 0xffff != sum16(out, 20) % 0xffff))
		return false;
	if (!reply)
		return is_backend(bench->scenario, service, get32(out + address));
	return get32(out + address) == (ipv6 ? service : FIRST_VIP + service);
}

/* The same of a packet to a backend of the other family. */
static bool is_to_v6(const struct bench *bench, const uint8_t *in, const uint8_t *out,
		     uint32_t service)
{
	uint8_t embed[16];

	inet_pton(AF_INET6, EMBED, embed);
	memcpy(embed + 12, in + 12, 4);
	return out[0] >> 4 == 6 && out[6] == in[9] && out[7] == in[8] - 1 &&
	       !memcmp(out + 8, embed, 16) &&
	       is_backend(bench->scenario, service, get32(out + 36)) &&
	       (out[42] << 8 | out[43]) == REAL_PORT;
}

/* And of a reply of such a backend. */
static bool is_from_v6(const uint8_t *in, const uint8_t *out, uint32_t service)
{
	return out[0] == 0x45 && out[8] == in[7] - 1 && out[9] == in[6] &&
	       sum16(out, 20) == 0xffff && get32(out + 12) == FIRST_VIP + service &&
	       get32(out + 16) == get32(in + 36) && (out[20] << 8 | out[21]) == 80 &&
	       !memcmp(out + 22, in + 42, 2);
}

static bool packet_is_right(const struct bench *bench, const uint8_t *frame, uint32_t service)
{
	uint32_t length = bench->job->length, out_length = 256,
		 extra = bench->scenario->ipv6 ? 40 : 20;
	uint8_t out[256];
	int verdict = program_run(bench->one_lbd, frame, length, out, &out_length);

	if (bench->scenario->not_vip)
		return verdict == 2 && out_length == length && !memcmp(out, frame, length);
	if (bench->scenario->translated && bench->scenario->reply)
		return verdict == 3 && out_length == length - 20 &&
		       is_from_v6(frame + 14, out + 14, service);
	if (bench->scenario->translated)
		return verdict == 3 && out_length == length + 20 &&
		       is_to_v6(bench, frame + 14, out + 14, service);
	if (bench->scenario->nat)
		return verdict == 3 && out_length == length &&
		       nat_is_right(bench, frame + 14, out + 14, service);
	if (bench->scenario->direct)
		return verdict == 3 && out_length == length &&
		       !memcmp(out, "\x02\x00\x00\x00\x01", 5) &&
		       inner_is_right(frame + 14, out + 14, length - 14, bench->scenario->ipv6);
	return verdict == 3 && out_length == length + extra &&
	       !memcmp(out, "\x02\x00\x00\x00\x01", 5) &&
	       outer_is_right(bench, out + 14, length - 14, service) &&
	       inner_is_right(frame + 14, out + 14 + extra, length - 14, bench->scenario->ipv6);
}

bool bench_verify(const struct bench *bench)
{
	for (uint32_t i = 0; i < CHECKED; i++) {
		uint8_t frame[BENCH_FRAME_MAX];
		uint32_t flow =
		    i * 2654435761u % (bench->scenario->fresh ? 1u << 20 : bench->scenario->flows);

		frame_of(bench, flow, frame);
		if (!packet_is_right(bench, frame,
				     bench->scenario->reply ? flow & 7
							    : BENCH_SERVICE(bench->job, flow))) {
			fprintf(stderr, "bench_ns: %s: packet of flow %u came out wrong\n",
				bench->scenario->name, flow);
			return false;
		}
	}
	return true;
}

/* ---- the whole ---- */

static int flows_send(struct bench *bench, uint32_t first, uint32_t end, bool opens)
{
	const struct bench_job kept = *bench->job;
	uint32_t flags = bench->scenario->ipv6 ? 67 : 47;
	int rc = 0;

	bench->job->sequential = 1;
	bench->job->next = first;
	if (opens) {
		bench->job->frame[flags] = 0x02;
		bench->job->frame[flags - 6] = 0; /* the last byte of the sequence number */
	}
	while (bench->job->next < end && !rc)
		rc = block_run(bench, LBD);
	*bench->job = kept;
	return rc;
}

static void sweep_round(struct bench *bench)
{
	while (dataplane_sweep(bench->dp, SWEEP_STEP, 0))
		;
}

/* What lbd does all the time: it sweeps, and the flow table grows with its entries. */
static void sweep(struct bench *bench)
{
	do
		sweep_round(bench);
	while (dataplane_grow(bench->dp));
}

/* Empties the flow table, and makes it as large as it becomes when so many flows arrive slowly.
 * Here they arrive so fast that lbd or a packet would take the whole table into use. */
static void make_room(struct bench *bench)
{
	const uint32_t mask = 4 * bench->scenario->room / LB_FLOW_WAYS - 1;
	struct dp_memory memory;

	dataplane_memory(bench->dp, &memory);
	memset(bench->entries, 0, memory.flow_places * sizeof(uint64_t));
	bench->settings->flow_masks = (union lb_flow_masks){{mask, mask}};
	sweep_round(bench);
}

void bench_tend(struct bench *bench)
{
	if (bench->scenario->room)
		make_room(bench);
	else if (bench->scenario->fresh)
		sweep(bench);
}

/* Sends every flow's SYN (or first datagram) and soon after a packet, so that the flow table holds
 * them as established. Sweeps meanwhile, as lbd does all the time. */
static int warm_up(struct bench *bench)
{
	for (uint32_t flow = 0; flow < bench->scenario->flows; flow += WARM_STEP) {
		uint32_t end = flow + WARM_STEP;

		if (end > bench->scenario->flows)
			end = bench->scenario->flows;
		if (flows_send(bench, flow, end, true) || flows_send(bench, flow, end, false))
			return -1;
		sweep(bench);
	}
	return 0;
}

/* SYNs of new flows. */
static int flood(struct bench *bench)
{
	job_set(bench, true);
	bench->job->frame[47] = 0x02;
	bench->job->next = 1u << 24;
	for (int i = 0; i < FLOOD / BENCH_BLOCK_PACKETS; i++) {
		if (block_run(bench, LBD))
			return -1;
		if (i % (WARM_STEP / BENCH_BLOCK_PACKETS) == 0)
			sweep(bench);
	}
	return 0;
}

static int dataplane_make(struct bench *bench)
{
	const struct dataplane_options options = {.services = 1024,
						  .backends = 32767,
						  .slots = 4 << 20,
						  .flows = 1000000,
						  .hash_seed = 1,
						  .gue_port = 6080,
						  .sample = bench->scenario->sample,
						  .encap_source4 = {4, {172, 16}},
						  .encap_source4_len = 16,
						  .encap_source6 = {6, {1}},
						  .encap_source6_len = 64,
						  .has_peers = bench->scenario->peers};
	struct dp_prefix embed = {.length = 96};
	struct dp_mac ingress = {.ifindex = INGRESS};
	const struct next_hop router = {
	    .ifindex = INGRESS, .mtu = 1600, .dst_mac = {2, 0, 0, 0, 1, 1}};
	const struct neigh_way ways[] = {{.prefix = {4}, .ready = true, .hop = router},
					 {.prefix = {6}, .ready = true, .hop = router}};
	struct error err = {0};

	memcpy(ingress.mac, FRAME_MACS, sizeof(ingress.mac));
	if (!dataplane_open(&options, &bench->dp, &err)) {
		addr_parse(EMBED, &embed.address);
		if (bench->scenario->translated)
			dataplane_set_embed(bench->dp, &embed);
		dataplane_set_hops(bench->dp, ways, 2);
		dataplane_set_unfinished(bench->dp, false);
		return dataplane_set_macs(bench->dp, &ingress, 1);
	}
	fprintf(stderr, "bench_ns: %s\n", err.text);
	return -1;
}

int bench_open(struct bench *bench)
{
	const struct scenario *scenario = bench->scenario;
	bool changes = scenario->drained || scenario->replaced;

	if (dataplane_make(bench) || services_commit(bench, false) || programs_load(bench))
		return -1;
	if (changes && services_commit(bench, true))
		return -1;
	job_set(bench, scenario->fresh);
	if (scenario->warm && warm_up(bench))
		return -1;
	if (scenario->room)
		make_room(bench);
	if (scenario->flooded && flood(bench))
		return -1;
	job_set(bench, scenario->fresh);
	return 0;
}

void bench_close(struct bench *bench)
{
	programs_unload(bench);
	dataplane_close(bench->dp);
	bench->dp = NULL;
}
