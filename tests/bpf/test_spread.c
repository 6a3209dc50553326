/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a million flows spread over backends. They are hashed on the host, with the code that the XDP
 * program has (lb_hash.h), over rings that lbd fills. A sample of them is sent through the program,
 * which must choose the same backends. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_hash.h"
#include "common/ring_size.h"
#include "lbd/dataplane/maglev.h"
#include "support/bpf_fixture.h"
#include "support/test_registry.h"

#define FLOWS      1000000
#define SAMPLE     2000
#define MAX_COUNT  100
#define VIP4       "192.0.2.10"
#define VIP6       "2001:db8::10"
#define SEED       0x6c62272e07bb0142ULL /* as the fixture's settings */
#define FIRST_SLOT 11                    /* the last byte of the first backend's address */

struct ring {
	int backends;
	uint32_t size;
	uint16_t *table; /* backends are numbered from 1 in it */
};

/* A Maglev ring over 10.0.0.11 and up; `without` (from 1) is left out, 0: none. */
static struct ring ring_of(int backends, const uint32_t *weights, int without,
			   enum ring_grain grain)
{
	struct maglev_backend members[MAX_COUNT];
	struct ring ring = {.backends = backends, .size = ring_size(backends, grain)};
	size_t count = 0;

	for (int i = 1; i <= backends; i++) {
		if (i == without)
			continue;
		members[count] =
		    (struct maglev_backend){.id = i, .weight = weights ? weights[i - 1] : 1};
		members[count++].address =
		    (struct addr){.family = 4, .bytes = {10, 0, 0, FIRST_SLOT - 1 + i}};
	}
	ring.table = calloc(ring.size, sizeof(*ring.table));
	assert_non_null(ring.table);
	assert_int_equal(maglev_fill(members, count, 1, ring.table, ring.size), 0);
	return ring;
}

static struct ring ring_make(int backends, const uint32_t *weights, int without)
{
	return ring_of(backends, weights, without, RING_FINE);
}

/* Flow number n: clients of a few networks with many ports each. No two flows are the same. */
static struct lb_tuple flow(int family, uint32_t n)
{
	struct lb_tuple tuple = {.family = family, .protocol = IPPROTO_TCP};
	uint32_t host = n / 250, port = 1024 + n % 250 * 7;

	if (family == 4) {
		tuple.client[0] = htonl(0xc6330000 + host);
		assert_int_equal(inet_pton(AF_INET, VIP4, tuple.vip), 1);
	} else {
		tuple.client[0] = htonl(0x20010db8);
		tuple.client[1] = htonl(host >> 4);
		tuple.client[3] = htonl(host);
		assert_int_equal(inet_pton(AF_INET6, VIP6, tuple.vip), 1);
	}
	tuple.ports = htonl(port << 16 | 80);
	return tuple;
}

static int backend_of(const struct ring *ring, int family, uint32_t n)
{
	struct lb_tuple tuple = flow(family, n);
	struct lb_hash_key key;

	lb_hash_key_make(SEED, &key);
	return ring->table[lb_ring_index(lb_flow_hash(&tuple, &key), ring->size)];
}

static void spread(const struct ring *ring, int family, uint32_t counts[MAX_COUNT + 1])
{
	memset(counts, 0, (MAX_COUNT + 1) * sizeof(*counts));
	for (uint32_t n = 0; n < FLOWS; n++)
		counts[backend_of(ring, family, n)]++;
	assert_int_equal(counts[0], 0);
}

static void assert_shares(const struct ring *ring, const uint32_t *weights, int family,
			  unsigned percent)
{
	uint32_t counts[MAX_COUNT + 1], total = 0;

	for (int i = 0; i < ring->backends; i++)
		total += weights ? weights[i] : 1;
	spread(ring, family, counts);
	for (int i = 1; i <= ring->backends; i++) {
		double share = (double)FLOWS * (weights ? weights[i - 1] : 1) / total;

		if (counts[i] < share * (100 - percent) / 100 ||
		    counts[i] > share * (100 + percent) / 100)
			fail_msg("IPv%d: backend %d got %u of %u flows, expected %.0f within %u %%",
				 family, i, counts[i], FLOWS, share, percent);
	}
}

LB_TEST(ten_equal_backends_share_a_million_flows_within_two_percent)
{
	struct ring ring = ring_make(10, NULL, 0);

	assert_shares(&ring, NULL, 4, 2);
	assert_shares(&ring, NULL, 6, 2);
	free(ring.table);
}

/* A slot more or less of 25, and what a million flows vary by. */
LB_TEST(in_a_coarse_ring_ten_equal_backends_share_a_million_flows_within_five_percent)
{
	struct ring ring = ring_of(10, NULL, 0, RING_COARSE);

	assert_shares(&ring, NULL, 4, 5);
	assert_shares(&ring, NULL, 6, 5);
	free(ring.table);
}

LB_TEST(weights_1_2_3_share_a_million_flows_within_two_percent)
{
	static const uint32_t weights[] = {1, 2, 3};
	struct ring ring = ring_make(3, weights, 0);

	assert_shares(&ring, weights, 4, 2);
	assert_shares(&ring, weights, 6, 2);
	free(ring.table);
}

LB_TEST(removing_one_of_100_backends_moves_under_two_percent_of_the_others_flows)
{
	struct ring before = ring_make(100, NULL, 0), after = ring_make(100, NULL, 37);
	uint32_t others = 0, moved = 0;

	for (uint32_t n = 0; n < FLOWS; n++) {
		int was = backend_of(&before, 4, n), is = backend_of(&after, 4, n);

		assert_int_not_equal(is, 37);
		if (was == 37)
			continue;
		others++;
		moved += was != is;
	}
	if (moved * 100ULL >= others * 2ULL)
		fail_msg("%u of %u flows of the other backends moved, expected under 2 %%", moved,
			 others);
	free(before.table);
	free(after.table);
}

/* ---- the real program agrees ---- */

/* The service of that VIP with the ring's slots, all of them stable. */
static void install(struct fixture *f, const char *vip, const struct ring *ring)
{
	uint16_t service = fixture_service(f, vip, IPPROTO_TCP, 80,
					   (struct lb_service){.forward = LB_FORWARD_IPIP});
	uint16_t ids[MAX_COUNT + 1] = {0};
	uint32_t *words = calloc(ring->size, sizeof(*words));

	assert_non_null(words);
	for (int i = 1; i <= ring->backends; i++) {
		char dst[32];

		snprintf(dst, sizeof(dst), "10.0.0.%d", FIRST_SLOT - 1 + i);
		ids[i] = fixture_backend(f, service, &(struct backend_spec){.dst = dst});
	}
	for (uint32_t slot = 0; slot < ring->size; slot++)
		words[slot] = LB_SLOT(ids[ring->table[slot]], ids[ring->table[slot]]);
	f->map.services[service].ring = fixture_region(f, words, ring->size);
	free(words);
}

static void packet_of_flow(struct fixture *f, int family, uint32_t n)
{
	struct lb_tuple tuple = flow(family, n);
	struct lb_hash_key key;

	lb_hash_key_make(SEED, &key);
	char client[INET6_ADDRSTRLEN];
	int sport = ntohl(tuple.ports) >> 16;

	inet_ntop(family == 4 ? AF_INET : AF_INET6, tuple.client, client, sizeof(client));
	if (family == 4)
		packet_build(&f->in, PKT(ETH(), IP4(.src = client, .dst = VIP4),
					 TCP(.sport = sport, .dport = 80, .flags = ACK)));
	else
		packet_build(&f->in, PKT(ETH(), IP6(.src = client, .dst = VIP6),
					 TCP(.sport = sport, .dport = 80, .flags = ACK)));
}

LB_TEST_SETUP(the_program_sends_each_flow_where_the_hash_says, fixture_clear, NULL)
{
	struct fixture *f = fixture_get();
	struct ring ring = ring_make(10, NULL, 0);

	assert_int_equal(f->map.settings->flow_seed, SEED);
	install(f, VIP4, &ring);
	install(f, VIP6, &ring);
	for (uint32_t i = 0; i < SAMPLE; i++) {
		int family = i % 2 ? 4 : 6;
		uint32_t n = i * (FLOWS / SAMPLE);

		packet_of_flow(f, family, n);
		fixture_send_uncounted(f);
		assert_int_equal(f->verdict, XDP_TX);
		assert_int_equal(f->out.data[14 + 19] - FIRST_SLOT + 1,
				 backend_of(&ring, family, n));
	}
	free(ring.table);
}

LB_TEST_MAIN("spread", .open = fixture_open, .close = fixture_close)
