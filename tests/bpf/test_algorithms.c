/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every registered algorithm promises, packet by packet through the real XDP program on maps
 * that lbd writes: coverage, weights, flows that stay, a lost backend. tests/unit has the same
 * promises for the tables alone. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/packet.h"
#include "support/test_registry.h"

#define VIP      "192.0.2.1"
#define LOOPBACK 1
#define BACKENDS 12
#define FLOWS    1440 /* a multiple of every sum of weights here */
#define NONE     (-1)

static struct want want;

/* ---- a data plane with one service, and packets to it ---- */

/* Nothing sweeps here, so the smallest part of the flow table has room for the flows of all
 * services: while it grows, one in 16 new flows finds no place, and one of UDP without a place
 * makes the slots decide for its service for an idle timeout. */
static struct dataplane *open_maps(void)
{
	struct dataplane_options options = {.services = 16,
					    .backends = 512,
					    .slots = 65536,
					    .flows = 262144,
					    .hash_seed = 42,
					    .gue_port = 6080,
					    .encap_source4 = {4, {172, 16}},
					    .encap_source4_len = 16,
					    .encap_source6 = {6, {1}},
					    .encap_source6_len = 64};
	struct dataplane *dp = NULL;
	struct error err = {0};

	if (geteuid()) {
		print_message("# skip: needs root\n");
		skip();
	}
	if (dataplane_open(&options, &dp, &err))
		fail_msg("dataplane_open: %s", err.text);
	return dp;
}

/* The service that the next commit makes, in place of the one before. */
static void want_service(const struct algo *algo, int protocol, int port)
{
	want_init(&want, VIP, protocol, port, algo->name);
	for (unsigned n = 0; n < BACKENDS; n++)
		want_add(&want, n, 100)->hop.ifindex = LOOPBACK;
}

static struct dataplane *open_with(const struct algo *algo)
{
	struct dataplane *dp = open_maps();

	want_service(algo, IPPROTO_TCP, 80);
	return dp;
}

static void commit(struct dataplane *dp)
{
	want_commit(dp, &want, 1);
}

/* The backend that the packet is sent to, by its outer address. NONE: it is dropped. */
static int send_packet(struct dataplane *dp, const struct packet *in)
{
	struct packet out;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->data, .data_size_in = in->len,
		    .data_out = out.data, .data_size_out = sizeof(out.data));

	assert_int_equal(bpf_prog_test_run_opts(dataplane_program_fd(dp), &run), 0);
	if (run.retval == XDP_DROP)
		return NONE;
	assert_int_equal(run.retval, XDP_TX);
	for (unsigned n = 0; n < BACKENDS + 1; n++) {
		struct addr address = want_address(n);

		if (!memcmp(out.data + 14 + 16, address.bytes, 4))
			return (int)n;
	}
	fail_msg("sent to %u.%u.%u.%u, which is no backend", out.data[30], out.data[31],
		 out.data[32], out.data[33]);
	return NONE;
}

/* Each flow has its own client address, for source-hash looks at nothing else. flags: TCP's. */
static int send_flow(struct dataplane *dp, unsigned flow, int flags)
{
	struct packet in;
	char client[32];

	snprintf(client, sizeof(client), "10.%u.%u.%u", 1 + flow / 65536, flow / 256 % 256,
		 flow % 256);
	if (want.service.protocol == IPPROTO_TCP)
		packet_build(&in, PKT(ETH(), IP4(.src = client, .dst = VIP),
				      TCP(.sport = (int)(1024 + flow), .dport = want.service.port,
					  .flags = flags)));
	else
		packet_build(&in, PKT(ETH(), IP4(.src = client, .dst = VIP),
				      UDP(.sport = (int)(1024 + flow), .dport = want.service.port),
				      DATA(10)));
	return send_packet(dp, &in);
}

/* Opens flows from `first` on. owner[i]: the backend of the i-th; share[n]: flows of backend n. */
static void open_flows(struct dataplane *dp, unsigned first, unsigned count, int *owner,
		       unsigned share[BACKENDS])
{
	memset(share, 0, BACKENDS * sizeof(*share));
	for (unsigned i = 0; i < count; i++) {
		int backend = send_flow(dp, first + i, SYN);

		assert_int_not_equal(backend, NONE);
		assert_in_range(backend, 0, BACKENDS - 1);
		if (want.service.protocol == IPPROTO_TCP)
			assert_int_equal(send_flow(dp, first + i, ACK), backend);
		share[backend]++;
		if (owner)
			owner[i] = backend;
	}
}

/* Runs a promise for every algorithm, over TCP and UDP. Each has a service of its own on the same
 * maps: for the kernel it takes far longer to verify the program than to run it. */
static void for_each_algorithm(void (*promise)(struct dataplane *dp, const struct algo *algo))
{
	static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct dataplane *dp = open_maps();
	int port = 80;

	registry_for_each (algo, a)
		for (unsigned i = 0; i < 2; i++) {
			want_service(a, protocols[i], port++);
			promise(dp, a);
		}
	assert_int_equal(dataplane_event(dp, LB_EVENT_flow_table_full), 0);
	dataplane_close(dp);
}

/* ---- the promises ---- */

/* All flows stay open. Where slots decide, shares are binomial: 120, standard deviation 11. */
static void check_shares(const struct algo *algo, const unsigned share[BACKENDS])
{
	unsigned sum = 0;

	for (unsigned n = 0; n < BACKENDS; n++)
		sum += want_find(&want, n)->usable ? want_find(&want, n)->weight : 0;
	for (unsigned n = 0; n < BACKENDS; n++) {
		unsigned weight = want_find(&want, n)->usable ? want_find(&want, n)->weight : 0;
		unsigned ideal = FLOWS * weight / sum,
			 slack = algo->select == LB_SELECT_SLOT ? 3 + ideal / 2 : 2;

		if (!weight)
			slack = 0;
		if (share[n] + slack < ideal || share[n] > ideal + slack)
			fail_msg(
			    "%s: backend %u of weight %u got %u of %u flows, expected %u +- %u",
			    algo->name, n, weight, share[n], FLOWS, ideal, slack);
	}
}

static void promise_coverage(struct dataplane *dp, const struct algo *algo)
{
	unsigned share[BACKENDS];

	commit(dp);
	open_flows(dp, 0, FLOWS, NULL, share);
	check_shares(algo, share);
}
LB_TEST(every_backend_gets_its_share_of_flows)
{
	for_each_algorithm(promise_coverage);
}

static void promise_weights(struct dataplane *dp, const struct algo *algo)
{
	unsigned share[BACKENDS];

	for (unsigned n = 0; n < BACKENDS; n++)
		want_find(&want, n)->weight = 100 * (1 + n % 3);
	want_find(&want, 4)->weight = 0;
	want_find(&want, 6)->usable = false;
	commit(dp);
	open_flows(dp, 0, FLOWS, NULL, share);
	check_shares(algo, share);
}
LB_TEST(flows_follow_the_weights_and_none_goes_to_the_drained_or_dead)
{
	for_each_algorithm(promise_weights);
}

/* Weights change, one backend drains, one is added: established flows stay where they are. */
static void promise_stay(struct dataplane *dp, const struct algo *algo)
{
	unsigned share[BACKENDS];
	int owner[240];

	want_remove(&want, 11);
	commit(dp);
	open_flows(dp, 0, 240, owner, share);
	want_find(&want, 0)->weight = 300;
	want_find(&want, 1)->weight = 0;
	want_add(&want, 11, 100)->hop.ifindex = LOOPBACK;
	commit(dp);
	for (unsigned i = 0; i < 240; i++)
		if (send_flow(dp, i, ACK) != owner[i])
			fail_msg("%s: flow %u left backend %d", algo->name, i, owner[i]);
}
LB_TEST(established_flows_stay_through_changes)
{
	for_each_algorithm(promise_stay);
}

/* Flows of the other backends stay; those of the dead one get another backend at once. */
static void promise_loss(struct dataplane *dp, const struct algo *algo)
{
	unsigned share[BACKENDS], lost = 0;
	int owner[240];

	commit(dp);
	open_flows(dp, 0, 240, owner, share);
	want_find(&want, 5)->usable = false;
	commit(dp);
	for (unsigned i = 0; i < 240; i++) {
		int backend = send_flow(dp, i, ACK);

		lost += owner[i] == 5;
		if (owner[i] == 5 ? backend == 5 || backend == NONE : backend != owner[i])
			fail_msg("%s: flow %u of backend %d went to %d after 5 died", algo->name, i,
				 owner[i], backend);
	}
	assert_true(lost > 0);
}
LB_TEST(a_lost_backend_moves_its_own_flows_alone)
{
	for_each_algorithm(promise_loss);
}

LB_TEST(two_balancers_send_each_flow_alike_where_the_packet_decides)
{
	registry_for_each (algo, a) {
		struct dataplane *one, *two;

		if (a->select != LB_SELECT_SLOT)
			continue;
		one = open_with(a);
		commit(one);
		two = open_with(a);
		commit(two);
		for (unsigned i = 0; i < 240; i++)
			assert_int_equal(send_flow(one, i, SYN), send_flow(two, i, SYN));
		dataplane_close(one);
		dataplane_close(two);
	}
}

/* In any 21 flows in a row each backend gets as many as its weight says. */
LB_TEST(turns_are_exact_in_every_window)
{
	struct dataplane *dp = open_with(algo_find("wrr"));
	int owner[210];
	unsigned share[BACKENDS];

	/* 6 4 2 1 1 1 1 1 1 1 1 1: 21 turns */
	for (unsigned n = 0; n < BACKENDS; n++)
		want_find(&want, n)->weight = n < 3 ? 300 - 100 * n : 50;
	commit(dp);
	open_flows(dp, 0, 210, owner, share);
	for (unsigned from = 0; from + 21 <= 210; from++) {
		unsigned got[BACKENDS] = {0};

		for (unsigned i = 0; i < 21; i++)
			got[owner[from + i]]++;
		for (unsigned n = 0; n < BACKENDS; n++)
			assert_int_equal(got[n], want_find(&want, n)->weight / 50);
	}
	dataplane_close(dp);
}

/* The product of active flows and latency is evened out: twice the latency, half the flows. */
LB_TEST(least_response_time_shares_by_latency)
{
	struct dataplane *dp = open_with(algo_find("lrt"));
	unsigned share[BACKENDS];

	for (unsigned n = 0; n < BACKENDS; n++)
		want_find(&want, n)->latency_us = n < 4 ? 40000 : 20000;
	commit(dp);
	open_flows(dp, 0, 1000, NULL, share);
	for (unsigned n = 0; n < BACKENDS; n++)
		assert_in_range(share[n], n < 4 ? 48 : 98, n < 4 ? 52 : 102);
	dataplane_close(dp);
}

/* One ring fills the arena. The lower half of its fronts names one backend, the upper another. */
LB_TEST(every_slot_of_the_arena_has_its_front)
{
	struct dataplane *dp = open_with(algo_find("maglev"));
	unsigned got[BACKENDS] = {0};

	want.service.slots = 65521;
	commit(dp);
	for (uint32_t i = 0; i < dp->maps.arena_slots; i++)
		dp->maps.fronts[i] = want_id(dp, &want, i < 32768 ? 3 : 7);
	for (unsigned flow = 0; flow < 100; flow++) {
		int backend = send_flow(dp, flow, ACK);

		assert_int_not_equal(backend, NONE);
		got[backend]++;
	}
	assert_true(got[3] > 20 && got[7] > 20);
	assert_int_equal(got[3] + got[7], 100);
	dataplane_close(dp);
}

LB_TEST_MAIN("algorithms")
