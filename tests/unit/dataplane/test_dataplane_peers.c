/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two nodes on plain memory: the rules of docs/tracking.md, "More than one node", one by one. The
 * random histories are in tests/bpf/test_fleet.c. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "lb_hash.h"
#include "lbd/fleet/exchange.h"
#include "support/memory_dataplane.h"
#include "support/test_log.h"
#include "support/test_registry.h"

#define T        LB_SLOT_TRANSITION
#define L        LB_SLOT_LEARNING
#define BUCKETS  64
#define LARGE    4096
#define HUGE     131072
#define NOW      10000
#define IDLE     10   /* ticks */
#define TICK_MS  1073 /* a little less than a tick */
#define PEER     0
#define OVERFLOW LB_FLOW_OVERFLOW

static struct memory_dataplane *memory[2];
static struct dataplane *dp[2]; /* with clocks that differ */
static struct want want[2];
static uint8_t wire[1 << 20];

static uint32_t now_of(unsigned node)
{
	return dp[node]->clock;
}

static int open_nodes(uint32_t buckets)
{
	for (unsigned i = 0; i < 2; i++) {
		memory[i] = memory_dataplane_new((struct memory_limits){16, 64, 1 << 12, buckets});
		dp[i] = memory[i]->dp;
		dp[i]->clock = NOW + 777 * i;
		want_init(&want[i], "192.0.2.1", IPPROTO_TCP, 80, "maglev");
		want[i].service.tcp_idle_ms = IDLE * TICK_MS;
		want[i].service.slots = 31;
	}
	/* so that ids differ */
	want_add(&want[0], 1, 1);
	want_add(&want[0], 2, 1);
	want_commit(dp[0], &want[0], 1);
	want_add(&want[1], 2, 1);
	want_commit(dp[1], &want[1], 1);
	want_add(&want[1], 1, 1);
	want_commit(dp[1], &want[1], 1);
	return 0;
}

static int setup(void **state)
{
	return open_nodes(BUCKETS);
}

/* Flow tables that begin with an eighth of their buckets. */
static int setup_large(void **state)
{
	return open_nodes(LARGE);
}

static int setup_huge(void **state)
{
	return open_nodes(HUGE);
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < 2; i++)
		memory_dataplane_free(memory[i]);
	return 0;
}

#define TEST(name)       LB_TEST_SETUP(name, setup, teardown)
#define LARGE_TEST(name) LB_TEST_SETUP(name, setup_large, teardown)
#define HUGE_TEST(name)  LB_TEST_SETUP(name, setup_huge, teardown)

static void pass(unsigned from)
{
	struct frame_writer writer = {.bytes = wire, .room = sizeof(wire)};
	const char *why = "";
	struct frame frame;

	assert_true(exchange_fill(dp[from], PEER, &writer));
	for (size_t at = 0; at < writer.used;) {
		int length = frame_next(wire + at, writer.used - at, &frame, &why);

		assert_true(length > 0);
		assert_int_equal(exchange_take(dp[!from], PEER, &frame, &why), 0);
		at += (size_t)length;
	}
}

/* Until nothing is left to be said. */
static void talk(void)
{
	for (unsigned i = 0; i < 6; i++) {
		dataplane_share_scan(dp[i & 1]);
		pass(i & 1);
	}
}

static void meet(void)
{
	assert_int_equal(dataplane_peer_open(dp[0], PEER), 0);
	assert_int_equal(dataplane_peer_open(dp[1], PEER), 0);
	talk();
}

static void advance(uint32_t ticks)
{
	for (uint32_t i = 0; i < ticks; i++) {
		for (unsigned node = 0; node < 2; node++)
			sweep_rounds(dp[node], 1, now_of(node) + 1);
		talk();
	}
}

static uint32_t *slots_of(unsigned node)
{
	uint32_t size;

	return want_slots(dp[node], &want[node], &size);
}

/* The number of the slot's current at a node. */
static unsigned current_at(unsigned node, uint32_t index)
{
	uint32_t id = LB_SLOT_CURRENT(slots_of(node)[index]);

	return id == want_id(dp[node], &want[node], 1) ? 1 : 2;
}

static unsigned in_transition(unsigned node)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < 31; i++)
		count += slots_of(node)[i] >> 31;
	return count;
}

static uint64_t *word_at(unsigned node, uint32_t bucket, unsigned way)
{
	return &dp[node]->maps.flows[bucket * LB_FLOW_WAYS + way];
}

static uint64_t entry_of(unsigned node, uint64_t fingerprint, unsigned backend, uint32_t state,
			 uint32_t age)
{
	return fingerprint << LB_FLOW_FP_SHIFT |
	       (uint64_t)want_id(dp[node], &want[node], backend) << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)state << LB_FLOW_STATE_SHIFT | ((now_of(node) - age) & LB_FLOW_TICK_MASK);
}

/* As the program does. */
static void put(unsigned node, uint32_t bucket, unsigned way, uint64_t entry)
{
	*word_at(node, bucket, way) = entry;
	dp[node]->maps.dirty[bucket] = 1;
}

static uint64_t *find(unsigned node, uint64_t fingerprint)
{
	for (uint32_t i = 0; i < dp[node]->maps.flow_words; i++)
		if (LB_FLOW_STATE(dp[node]->maps.flows[i]) &&
		    dp[node]->maps.flows[i] >> LB_FLOW_FP_SHIFT == fingerprint)
			return &dp[node]->maps.flows[i];
	return NULL;
}

/* ---- slots ---- */

TEST(nodes_with_the_same_config_have_the_same_ring_and_nothing_in_transition)
{
	advance(3 * IDLE); /* the second backend came later to node 1 */
	meet();
	for (uint32_t i = 0; i < 31; i++)
		assert_int_equal(current_at(0, i), current_at(1, i));
	assert_int_equal(in_transition(0) + in_transition(1), 0);
	assert_true(dataplane_peer_synced(dp[0], PEER) && dataplane_peer_synced(dp[1], PEER));
	assert_true(dataplane_peer_told(dp[0], PEER));
}

/* Their fronts have the flag of a transition, which is for packets alone. */
TEST(slots_in_the_sample_of_connects_are_stable_for_the_other_node)
{
	struct dp_service_stats stats;
	unsigned sampled = 0;
	uint32_t base;

	advance(3 * IDLE);
	meet();
	base = LB_REGION_BASE(want_line(dp[0], &want[0])->ring);
	for (uint32_t at = base; at < base + 31; at++) {
		sampled += dp[0]->maps.fronts[at] & LB_FRONT_TRANSITION ? 1 : 0;
		assert_false(claims_of(dp[0], at) & LB_SLOT_TRANSITION);
	}
	assert_in_range(sampled, 2, 30);
	assert_int_equal(dataplane_service_stats(dp[0], &want[0].service, &stats), 0);
	assert_int_equal(stats.slots_in_transition, 0);
	assert_int_equal(in_transition(1), 0);
}

TEST(a_slot_that_one_node_changes_is_in_transition_at_both)
{
	advance(3 * IDLE);
	meet();
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	talk();
	assert_in_range(in_transition(0), 1, 31);
	for (uint32_t i = 0; i < 31; i++) {
		assert_int_equal(slots_of(0)[i] & T, slots_of(1)[i] & T);
		if (slots_of(1)[i] & T)
			assert_int_equal(
			    slots_of(1)[i] & ~(T | L),
			    LB_SLOT(want_id(dp[1], &want[1], 1), want_id(dp[1], &want[1], 1)));
	}
}

TEST(slots_settle_when_both_nodes_have_the_change_and_are_quiet)
{
	advance(3 * IDLE);
	meet();
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	advance(5 * IDLE);
	assert_true(in_transition(0) && in_transition(1)); /* as long as they differ */
	want_find(&want[1], 1)->weight = 0;
	want_commit(dp[1], &want[1], 1);
	advance(IDLE);
	assert_true(in_transition(0) && in_transition(1));
	advance(3 * IDLE + DP_SLACK);
	assert_int_equal(in_transition(0) + in_transition(1), 0);
	assert_int_equal(current_at(0, 0), 2);
	assert_int_equal(current_at(1, 0), 2);
}

/* What node 1 says of all its slots, in its ids; all is as of now. */
static void claim_all(uint32_t claim)
{
	const struct dp_shared_service service = {.ref = want_line(dp[1], &want[1])->id,
						  .vip = want[1].service.vip,
						  .protocol = IPPROTO_TCP,
						  .port = 80,
						  .size = 31,
						  .configured = 31,
						  .unplaced = UINT16_MAX};

	assert_int_equal(dataplane_take_service(dp[0], PEER, &service), 0);
	for (uint32_t i = 0; i < 31; i++) {
		const struct dp_shared_slot slot = {service.ref, i, claim};

		assert_int_equal(dataplane_take_slot(dp[0], PEER, &slot), 0);
	}
}

/* Stamps have 16 bits. */
TEST(slots_settle_also_after_nodes_differed_for_half_a_day)
{
	advance(3 * IDLE);
	meet();
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	for (uint32_t ticks = 0; ticks < INT16_MAX + 2000; ticks += 1000) {
		for (unsigned node = 0; node < 2; node++)
			dp[node]->clock += 1000;
		advance(1);
	}
	assert_true(in_transition(0) && in_transition(1));
	want_find(&want[1], 1)->weight = 0;
	want_commit(dp[1], &want[1], 1);
	advance(4 * (IDLE + DP_SLACK));
	assert_int_equal(in_transition(0) + in_transition(1), 0);
}

TEST(a_slot_settles_only_when_its_current_is_the_keeper_at_all_nodes)
{
	uint32_t one = want_id(dp[1], &want[1], 1), two = want_id(dp[1], &want[1], 2);

	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	advance(4 * IDLE);
	meet();
	for (unsigned i = 0; i < 4 * (IDLE + DP_SLACK); i++) {
		claim_all(LB_SLOT(two, one) | T | CLAIM_QUIET);
		sweep_rounds(dp[0], 1, now_of(0) + 1);
		assert_int_equal(in_transition(0), 31);
	}
	claim_all(LB_SLOT(two, two) | T | CLAIM_QUIET);
	sweep_rounds(dp[0], 1, now_of(0) + 1);
	assert_int_equal(in_transition(0), 0);
}

TEST(udp_learns_again_as_the_slot_may_have_been_stable_at_a_peer)
{
	want[0].service.protocol = IPPROTO_UDP;
	want[0].service.udp_idle_ms = IDLE * TICK_MS;
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(dataplane_peer_open(dp[0], PEER), 0);
	for (uint32_t i = 0; i < 31; i++)
		slots_of(0)[i] =
		    LB_SLOT(LB_SLOT_CURRENT(slots_of(0)[i]), LB_SLOT_CURRENT(slots_of(0)[i])) | T;
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	for (uint32_t i = 0; i < 31; i++)
		assert_true(LB_SLOT_CURRENT(slots_of(0)[i]) == LB_SLOT_KEEPER(slots_of(0)[i]) ||
			    slots_of(0)[i] & L);
	assert_int_equal(current_at(0, 0), 2);
}

TEST(nothing_settles_while_a_peer_has_not_told_everything)
{
	advance(3 * IDLE);
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(dataplane_peer_open(dp[0], PEER), 0);
	for (unsigned i = 0; i < 4 * (IDLE + DP_SLACK); i++)
		sweep_rounds(dp[0], 1, now_of(0) + 1);
	assert_in_range(in_transition(0), 1, 31);
	assert_int_equal(dataplane_take_end(dp[0], PEER, 1), 0); /* it has no such service */
	for (unsigned i = 0; i < 4; i++)
		sweep_rounds(dp[0], 1, now_of(0) + 1);
	assert_int_equal(in_transition(0), 0);
}

TEST(a_slot_whose_backend_is_gone_is_not_stable_while_a_peer_has_it)
{
	unsigned were = 0;

	advance(3 * IDLE);
	meet();
	for (uint32_t i = 0; i < 31; i++)
		were += current_at(0, i) == 1;
	want_remove(&want[0], 1);
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(in_transition(0), were);
	advance(2 * (IDLE + DP_SLACK));
	assert_int_equal(in_transition(0), were);
	want_remove(&want[1], 1);
	want_commit(dp[1], &want[1], 1);
	advance(2 * (IDLE + DP_SLACK));
	assert_int_equal(in_transition(0) + in_transition(1), 0);
}

static unsigned in_transition_of(unsigned node, const struct want *service)
{
	unsigned count = 0;
	uint32_t size;
	const uint32_t *slots = want_slots(dp[node], service, &size);

	for (uint32_t i = 0; i < size; i++)
		count += slots[i] >> 31;
	return count;
}

/* Packets come to it before the peers have told what they have for it. */
TEST(a_service_that_is_added_begins_in_transition)
{
	struct want both[2][2] = {{want[0], want[0]}, {want[1], want[1]}};

	for (unsigned node = 0; node < 2; node++)
		for (unsigned i = 0; i < 2; i++)
			both[node][i].service.backends = both[node][i].backends;
	both[0][1].service.port = both[1][1].service.port = 81;
	want_find(&both[1][1], 1)->weight = 0;
	want_commit(dp[1], both[1], 2);
	advance(3 * IDLE);
	meet();
	want_commit(dp[0], both[0], 2);
	assert_int_equal(in_transition_of(0, &both[0][1]), 31);
	assert_int_equal(in_transition(0), 0);
	want_find(&both[1][1], 1)->weight = 1;
	want_commit(dp[1], both[1], 2);
	advance(4 * (IDLE + DP_SLACK));
	for (unsigned node = 0; node < 2; node++)
		assert_int_equal(in_transition_of(node, &both[node][1]), 0);
}

/* Until then it took no part. */
TEST(a_service_that_begins_to_track_goes_by_what_the_peers_have)
{
	unsigned differ = 0;

	want[0].service.track_never = true;
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	advance(3 * IDLE);
	meet();
	assert_int_equal(in_transition(0), 0);
	for (uint32_t i = 0; i < 31; i++)
		differ += current_at(0, i) != current_at(1, i);
	assert_in_range(differ, 1, 31);
	want[0].service.track_never = false;
	want_commit(dp[0], &want[0], 1);
	assert_in_range(in_transition(0), differ, 31);
}

/* The claims of before are gone with the connection. */
TEST(nor_is_it_before_a_peer_that_is_connected_again_has_told_its_claims)
{
	unsigned were = 0;

	advance(3 * IDLE);
	meet();
	for (uint32_t i = 0; i < 31; i++)
		were += current_at(0, i) == 1;
	for (unsigned i = 0; i < 2; i++) {
		dataplane_peer_close(dp[i], PEER);
		assert_int_equal(dataplane_peer_open(dp[i], PEER), 0);
	}
	want_remove(&want[0], 1);
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(in_transition(0), were);
	talk();
	want_remove(&want[1], 1);
	want_commit(dp[1], &want[1], 1);
	advance(3 * (IDLE + DP_SLACK));
	assert_int_equal(in_transition(0) + in_transition(1), 0);
}

TEST(a_ring_keeps_its_size_until_the_peers_have_told_everything)
{
	uint32_t size;

	advance(3 * IDLE);
	dataplane_join(dp[0], DP_RETURNS);
	want[0].service.slots = 101;
	want_commit(dp[0], &want[0], 1);
	want_slots(dp[0], &want[0], &size);
	assert_int_equal(size, 31);
	dataplane_join(dp[0], DP_JOINED);
	sweep_rounds(dp[0], 1, now_of(0) + 1);
	want_slots(dp[0], &want[0], &size);
	assert_int_equal(size, 101);
}

TEST(a_node_that_is_stamped_holds_the_slots_of_the_other)
{
	uint64_t ring;

	advance(3 * IDLE);
	meet();
	for (unsigned i = 0; i < 2; i++) {
		want_find(&want[i], 1)->weight = 0;
		want_commit(dp[i], &want[i], 1);
	}
	ring = want_line(dp[1], &want[1])->ring;
	for (unsigned i = 0; i < 6 * IDLE; i++) {
		for (uint32_t slot = 0; slot < 31; slot++)
			dp[1]->maps.stamps[LB_REGION_BASE(ring) + slot] = (uint16_t)now_of(1);
		advance(1);
	}
	assert_true(in_transition(0) && in_transition(1));
}

TEST(the_claims_of_a_lost_node_hold_for_an_idle_timeout)
{
	advance(3 * IDLE);
	meet();
	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	talk();
	dataplane_peer_close(dp[1], PEER);
	dataplane_peer_close(dp[0], PEER);
	for (unsigned i = 0; i < IDLE; i++)
		sweep_rounds(dp[1], 1, now_of(1) + 1);
	assert_true(in_transition(1));
	for (unsigned i = 0; i < 2 * (IDLE + DP_SLACK); i++)
		sweep_rounds(dp[1], 1, now_of(1) + 1);
	assert_int_equal(in_transition(1), 0);
}

TEST(keepers_that_differ_when_nodes_meet_are_counted)
{
	struct dp_share_stats stats;

	want_find(&want[0], 1)->weight = 0;
	want_commit(dp[0], &want[0], 1);
	advance(3 * IDLE); /* all slots are stable on 2 here, on 1 and 2 there */
	meet();
	dataplane_share_stats(dp[0], &stats);
	assert_in_range(stats.conflicts, 1, 31);
	assert_true(in_transition(0) && in_transition(1));
}

TEST(a_node_that_joins_takes_over_keepers)
{
	advance(3 * IDLE);
	memory_dataplane_free(memory[1]);
	memory[1] = memory_dataplane_new((struct memory_limits){16, 64, 1 << 12, BUCKETS});
	dp[1] = memory[1]->dp;
	dp[1]->clock = 4321;
	dataplane_join(dp[1], DP_JOINS);
	want_find(&want[1], 1)->usable = false; /* in its eyes */
	want_commit(dp[1], &want[1], 1);
	meet();
	dataplane_join(dp[1], DP_JOINED);
	assert_in_range(in_transition(1), 1, 31);
	for (uint32_t i = 0; i < 31; i++)
		assert_int_equal(LB_SLOT_KEEPER(slots_of(1)[i]),
				 want_id(dp[1], &want[1], current_at(0, i)));
}

TEST(a_ring_gets_the_largest_size_that_a_node_asks_for)
{
	uint32_t size;

	advance(3 * IDLE);
	meet();
	want[0].service.slots = 101;
	want_commit(dp[0], &want[0], 1);
	advance(3);
	want_slots(dp[1], &want[1], &size);
	assert_int_equal(size, 101);
	want[0].service.slots = 31;
	want_commit(dp[0], &want[0], 1);
	advance(6 * (IDLE + DP_SLACK));
	want_slots(dp[0], &want[0], &size);
	assert_int_equal(size, 31);
	want_slots(dp[1], &want[1], &size);
	assert_int_equal(size, 31);
	assert_int_equal(in_transition(0) + in_transition(1), 0);
}

static uint32_t size_at(unsigned node)
{
	uint32_t size;

	want_slots(dp[node], &want[node], &size);
	return size;
}

/* Its flows come to the others, as large a ring as it had or not: its claims hold until they had
 * time to show themselves, and so does what it asked for. */
TEST(a_node_that_is_gone_asks_for_no_size_once_its_claims_are_over)
{
	want[0].service.slots = 101;
	want_commit(dp[0], &want[0], 1);
	meet();
	advance(6 * (IDLE + DP_SLACK));
	assert_int_equal(size_at(1), 101);
	dataplane_peer_close(dp[1], PEER);
	for (unsigned i = 0; i < IDLE + DP_SLACK; i++) {
		sweep_rounds(dp[1], 1, now_of(1) + 1);
		assert_int_equal(size_at(1), 101);
	}
	for (unsigned i = 0; i < 4 * (IDLE + DP_SLACK); i++)
		sweep_rounds(dp[1], 1, now_of(1) + 1);
	assert_int_equal(size_at(1), 31);
	assert_int_equal(in_transition(1), 0);
	assert_int_equal(want_line(dp[1], &want[1])->old_ring, 0);
	assert_null(dp_find(dp[1], &want[1].service)->claims[PEER]);
}

/* The third one, that node 0 alone has known: its config asks for more. */
static void third_node_comes_and_goes(void)
{
	const struct dp_shared_service service = {.ref = 1,
						  .vip = want[0].service.vip,
						  .protocol = IPPROTO_TCP,
						  .port = 80,
						  .size = 31,
						  .configured = 101};

	assert_int_equal(dataplane_peer_open(dp[0], PEER + 1), 0);
	assert_int_equal(dataplane_take_service(dp[0], PEER + 1, &service), 0);
	assert_int_equal(dataplane_take_end(dp[0], PEER + 1, 1), 0);
	dataplane_peer_close(dp[0], PEER + 1);
}

TEST(two_nodes_do_not_change_their_rings_for_ever_after_a_third_is_gone)
{
	advance(3 * IDLE);
	meet();
	third_node_comes_and_goes();
	advance(16 * (IDLE + DP_SLACK));
	for (unsigned i = 0; i < 8 * (IDLE + DP_SLACK); i++) {
		advance(1);
		for (unsigned node = 0; node < 2; node++) {
			assert_int_equal(size_at(node), 31);
			assert_int_equal(in_transition(node), 0);
		}
	}
}

/* ---- entries ---- */

TEST(an_entry_comes_with_its_age_and_counts_as_active)
{
	uint64_t *word;

	meet();
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 6));
	talk();
	word = find(1, 77);
	assert_non_null(word);
	assert_int_equal(*word & ~OVERFLOW, entry_of(1, 77, 1, LB_FLOW_ESTABLISHED, 6));
	assert_int_equal((word - dp[1]->maps.flows) / LB_FLOW_WAYS, 5);
	assert_int_equal(dp[1]->maps.loads[want_id(dp[1], &want[1], 1)].active, 1);
	assert_int_equal(dp[0]->maps.dirty[5], 0);
}

TEST(handshakes_are_not_told)
{
	meet();
	put(0, 5, 0, entry_of(0, 1, 1, LB_FLOW_SYN, 0));
	put(0, 5, 1, entry_of(0, 2, 1, LB_FLOW_UDP_NEW, 0));
	put(0, 5, 2, entry_of(0, 3, 1, LB_FLOW_AFFINITY_NEW, 0));
	put(0, 5, 4, entry_of(0, 4, 1, LB_FLOW_KEPT, 0));
	talk();
	assert_true(!find(1, 1) && !find(1, 2) && !find(1, 3) && find(1, 4));
}

TEST(an_entry_in_its_second_bucket_is_found_at_the_peer)
{
	uint64_t entry = entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0);
	uint32_t other = lb_bucket_other(5, entry, dp[0]->maps.flow_shift);

	meet();
	*word_at(0, other, 0) |= OVERFLOW; /* its first bucket may be that one */
	put(0, 5, 3, entry);
	talk();
	assert_true(*word_at(1, other, 0) & OVERFLOW);
}

TEST(a_full_bucket_sends_the_entry_to_the_other_one)
{
	uint32_t other = lb_bucket_other(5, entry_of(1, 77, 1, 0, 0), dp[0]->maps.flow_shift);

	meet();
	for (unsigned i = 0; i < LB_FLOW_WAYS; i++)
		*word_at(1, 5, i) = entry_of(1, 100 + i, 1, LB_FLOW_ESTABLISHED, 0);
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	assert_int_equal((find(1, 77) - dp[1]->maps.flows) / LB_FLOW_WAYS, other);
	assert_true(*word_at(1, 5, 0) & OVERFLOW);
}

TEST(an_entry_without_a_place_is_counted_and_holds_slots)
{
	struct dp_share_stats stats;
	uint32_t other = lb_bucket_other(5, entry_of(1, 77, 1, 0, 0), dp[0]->maps.flow_shift);

	meet();
	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		*word_at(1, 5, i) = entry_of(1, 100 + i, 1, LB_FLOW_ESTABLISHED, 0);
		*word_at(1, other, i) = entry_of(1, 200 + i, 1, LB_FLOW_ESTABLISHED, 0);
	}
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	assert_null(find(1, 77));
	dataplane_share_stats(dp[1], &stats);
	assert_int_equal(stats.unplaced, 1);
	assert_int_equal(dp[1]->maps.turns[want_line(dp[1], &want[1])->id].forgotten, now_of(1));
}

/* It was not swept yet. */
TEST(an_entry_of_a_backend_that_is_gone_gives_way_to_an_older_one_of_a_peer)
{
	const uint64_t gone = 60; /* no backend has this id */

	meet();
	put(1, 5, 3,
	    (entry_of(1, 77, 1, LB_FLOW_ESTABLISHED, 0) &
	     ~((uint64_t)LB_MAX_BACKENDS << LB_FLOW_BACKEND_SHIFT)) |
		gone << LB_FLOW_BACKEND_SHIFT);
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 3));
	talk();
	assert_non_null(find(1, 77));
	assert_int_equal(LB_FLOW_BACKEND(*find(1, 77)), want_id(dp[1], &want[1], 1));
}

TEST(a_mark_that_gives_its_place_to_an_entry_of_a_peer_holds_its_slot)
{
	uint32_t other = lb_bucket_other(5, entry_of(1, 77, 1, 0, 0), dp[0]->maps.flow_shift);
	const uint32_t *forgotten = &dp[1]->maps.turns[want_line(dp[1], &want[1])->id].forgotten;

	meet();
	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		*word_at(1, 5, i) = entry_of(1, 100 + i, 1, LB_FLOW_ESTABLISHED, 0);
		*word_at(1, other, i) = entry_of(1, 200 + i, 1, LB_FLOW_ESTABLISHED, 0);
	}
	*word_at(1, 5, 2) = entry_of(1, 102, 1, LB_FLOW_KEPT, IDLE + DP_SLACK);
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	assert_non_null(find(1, 77));
	assert_int_equal(*forgotten, 0); /* that flow was over */
	*word_at(1, 5, 2) = entry_of(1, 102, 1, LB_FLOW_KEPT, IDLE);
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	assert_null(find(1, 102));
	assert_int_equal(*forgotten, now_of(1));
}

LARGE_TEST(the_whole_table_comes_into_use_when_a_peer_has_a_larger_part)
{
	uint64_t entry = entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0);
	uint32_t bucket = lb_bucket_moved(5, entry, dp[0]->maps.flow_shift, LARGE - 1);

	meet();
	dp[0]->maps.settings->flow_masks =
	    (union lb_flow_masks){.look = LARGE - 1, .put = LARGE - 1};
	assert_true(bucket > flows_masks(dp[1]).put);
	put(0, bucket, 3, entry);
	talk();
	assert_int_equal(flows_masks(dp[1]).put, LARGE - 1);
	assert_int_equal((find(1, 77) - dp[1]->maps.flows) / LB_FLOW_WAYS, bucket);
}

LARGE_TEST(a_part_without_a_place_for_a_peers_entry_gives_way_to_the_whole_table)
{
	uint64_t entry = entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0);
	uint32_t other = lb_bucket_other(5, entry, dp[0]->maps.flow_shift);
	struct dp_share_stats stats;

	meet();
	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		*word_at(1, 5, i) = entry_of(1, 100 + i, 1, LB_FLOW_ESTABLISHED, 0);
		*word_at(1, other, i) = entry_of(1, 200 + i, 1, LB_FLOW_ESTABLISHED, 0);
	}
	put(0, 5, 3, entry);
	talk();
	assert_int_equal(flows_masks(dp[1]).put, LARGE - 1);
	assert_non_null(find(1, 77));
	dataplane_share_stats(dp[1], &stats);
	assert_int_equal(stats.unplaced, 0);
}

/* A turn of the loop may not take as long as all of it takes. */
HUGE_TEST(a_large_table_is_looked_at_in_parts_and_told_whole)
{
	struct frame_writer writer = {.bytes = wire, .room = sizeof(wire)};
	uint32_t bucket = HUGE - 1;
	unsigned parts = 1;

	dp[0]->maps.settings->flow_masks = (union lb_flow_masks){.look = bucket, .put = bucket};
	put(0, bucket, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	assert_int_equal(dataplane_peer_open(dp[0], PEER), 0);
	dataplane_take_want(dp[0], PEER, 1);
	for (; !exchange_fill(dp[0], PEER, &writer) && parts < 100; parts++)
		assert_false(dataplane_peer_told(dp[0], PEER));
	assert_in_range(parts, 4, 8);
	assert_true(dataplane_peer_told(dp[0], PEER));
	assert_int_equal(dp[0]->told_ticks[bucket * LB_FLOW_WAYS + 3],
			 now_of(0) & LB_FLOW_TICK_MASK);
}

TEST(a_flow_that_goes_on_is_told_again_before_it_expires_at_the_peer)
{
	meet();
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	for (unsigned i = 0; i < 4 * IDLE; i++) {
		*word_at(0, 5, 3) = entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0);
		/* in a slot that is not stable, or the sweep removes it */
		for (unsigned node = 0; node < 2; node++)
			for (uint32_t slot = 0; slot < 31; slot++)
				slots_of(node)[slot] |= T;
		advance(1);
		assert_non_null(find(1, 77));
	}
}

TEST(a_backend_that_comes_later_gets_its_flows)
{
	want_remove(&want[1], 1);
	want_commit(dp[1], &want[1], 1);
	meet();
	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0));
	talk();
	assert_null(find(1, 77));
	want_add(&want[1], 1, 1);
	want_commit(dp[1], &want[1], 1);
	assert_false(dataplane_peer_synced(dp[1], PEER));
	talk();
	assert_true(dataplane_peer_synced(dp[1], PEER));
	assert_non_null(find(1, 77));
}

/* The states that only replies show are no part of the protocol: the others know as much as of
 * flows whose replies do not pass. */
TEST(ends_that_replies_show_are_told_as_what_packets_of_clients_show)
{
	static const struct {
		uint32_t ours, theirs;
	} cases[] = {{LB_FLOW_ENDING, LB_FLOW_ESTABLISHED}, {LB_FLOW_CLOSED, LB_FLOW_FIN}};

	meet();
	for (uint32_t i = 0; i < 2; i++) {
		put(0, 5 + i, 3, entry_of(0, 77 + i, 1, cases[i].ours, 0));
		talk();
		assert_non_null(find(1, 77 + i));
		assert_int_equal(LB_FLOW_STATE(*find(1, 77 + i)), cases[i].theirs);
	}
}

/* ---- beside packets ---- */

/* Where the two threads have no CPU each, as on a busy machine, a round lasts as long as a turn of
 * the scheduler or two: there are as many then as this time has room for. */
#define RACES       60000
#define RACES_LEAST 200
#define RACES_MS    15000

/* What packets on another CPU do: a live flow of theirs takes the place whenever it is free. */
static struct race {
	uint64_t *at, free, live;
	unsigned laps, wins;
	bool ends;
} race;

static void *run_packets(void *unused)
{
	while (!__atomic_load_n(&race.ends, __ATOMIC_ACQUIRE)) {
		uint64_t expected = race.free;

		if (__atomic_compare_exchange_n(race.at, &expected, race.live, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			__atomic_store_n(&race.wins, race.wins + 1, __ATOMIC_RELAXED);
		for (volatile unsigned i = 0; i < race.laps % 32; i++)
			;
		__atomic_store_n(&race.laps, race.laps + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* How often packets were faster, until now. */
static unsigned count_wins(void)
{
	unsigned laps = __atomic_load_n(&race.laps, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&race.laps, __ATOMIC_ACQUIRE) - laps < 2)
		sched_yield();
	return __atomic_load_n(&race.wins, __ATOMIC_RELAXED);
}

/* An entry of node 0 comes while the place in bucket 5 of node 1 is in the state `before`: whatever
 * happens at the same time, a live flow that packets put there stays. */
static void race_for(uint64_t before, const struct dp_shared_flow *flow)
{
	const uint64_t end_ms = clock_monotonic_ms() + RACES_MS;
	unsigned rounds = 0, lost = 0, wins = 0;
	pthread_t packets;

	race = (struct race){.at = word_at(1, 5, 3),
			     .free = before,
			     .live = entry_of(1, 200, 1, LB_FLOW_ESTABLISHED, 3)};
	assert_int_equal(pthread_create(&packets, NULL, run_packets, NULL), 0);
	for (; rounds < RACES_LEAST || (rounds < RACES && clock_monotonic_ms() < end_ms);
	     rounds++) {
		unsigned now;

		__atomic_store_n(race.at, before, __ATOMIC_RELEASE);
		dataplane_take_flow(dp[1], PEER, flow);
		now = count_wins();
		lost += now != wins && *race.at != race.live;
		wins = now;
	}
	__atomic_store_n(&race.ends, true, __ATOMIC_RELEASE);
	pthread_join(packets, NULL);
	print_message("# packets were faster %u times of %u\n", wins, rounds);
	assert_int_equal(lost, 0);
}

/* No place but one is left for flow 77 at node 1. */
static struct dp_shared_flow begin_race(void)
{
	const struct dp_shared_flow flow = {
	    .bucket = 5,
	    .word = 77ULL << LB_FLOW_FP_SHIFT |
		    (uint64_t)want_id(dp[0], &want[0], 1) << LB_FLOW_BACKEND_SHIFT |
		    (uint64_t)LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT};
	uint32_t other = lb_bucket_other(5, flow.word, dp[1]->maps.flow_shift);

	put(0, 5, 3, entry_of(0, 77, 1, LB_FLOW_ESTABLISHED, 0)); /* its backend is told */
	meet();
	for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
		*word_at(1, other, i) = entry_of(1, 100 + i, 1, LB_FLOW_ESTABLISHED, 0);
		*word_at(1, 5, i) = entry_of(1, 110 + i, 1, LB_FLOW_ESTABLISHED, 0);
	}
	return flow;
}

TEST(an_entry_of_a_peer_does_not_take_a_place_that_packets_take_at_the_same_time)
{
	const struct dp_shared_flow flow = begin_race();

	race_for(0, &flow);
}

TEST(a_flow_in_the_place_of_one_that_is_over_is_not_taken_for_it)
{
	const struct dp_shared_flow flow = begin_race();

	race_for(entry_of(1, 77, 1, LB_FLOW_FIN, 2 * IDLE), &flow);
}

/* How often node 0 asks for everything in what it says now. */
static unsigned count_requests(void)
{
	struct frame_writer writer = {.bytes = wire, .room = sizeof(wire)};
	const char *why = "";
	struct frame frame;
	unsigned requests = 0;

	exchange_fill(dp[0], PEER, &writer);
	for (size_t at = 0; at < writer.used;) {
		int length = frame_next(wire + at, writer.used - at, &frame, &why);

		assert_true(length > 0);
		requests += frame.type == FRAME_WANT;
		at += (size_t)length;
	}
	return requests;
}

/* Otherwise none would be answered before the last. */
TEST(everything_is_asked_for_again_when_it_has_come)
{
	meet();
	want_add(&want[0], 3, 1);
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(count_requests(), 1);
	want_add(&want[0], 4, 1);
	want_commit(dp[0], &want[0], 1);
	want_add(&want[0], 5, 1);
	want_commit(dp[0], &want[0], 1);
	assert_int_equal(count_requests(), 0);
	assert_int_equal(dataplane_take_end(dp[0], PEER, 2), 0);
	assert_false(dataplane_peer_synced(dp[0], PEER));
	assert_int_equal(count_requests(), 1);
	assert_int_equal(dataplane_take_end(dp[0], PEER, 4), 0);
	assert_true(dataplane_peer_synced(dp[0], PEER));
	assert_int_equal(count_requests(), 0);
}

/* The number of the end that node 0 says, if it says everything it can; 0: it says none. */
static uint32_t end_said(size_t room, bool *ret_all)
{
	struct frame_writer writer = {.bytes = wire, .room = room};
	const char *why = "";
	struct frame frame;
	uint32_t end = 0;

	*ret_all = exchange_fill(dp[0], PEER, &writer);
	for (size_t at = 0; at < writer.used;) {
		int length = frame_next(wire + at, writer.used - at, &frame, &why);

		assert_true(length > 0);
		if (frame.type == FRAME_END)
			end = frame_get_number(&frame);
		at += (size_t)length;
	}
	return end;
}

/* A peer that asks without end would have this node begin anew with each request. */
TEST(who_asks_for_everything_while_it_is_told_is_told_once_more)
{
	bool all;

	meet();
	dataplane_take_want(dp[0], PEER, 2);
	assert_int_equal(end_said(200, &all), 0);
	assert_false(all);
	for (uint32_t request = 3; request < 100; request++)
		dataplane_take_want(dp[0], PEER, request);
	assert_int_equal(end_said(sizeof(wire), &all), 2);
	assert_false(all);
	assert_false(dataplane_peer_told(dp[0], PEER));
	assert_int_equal(end_said(sizeof(wire), &all), 99);
	assert_true(all);
	assert_true(dataplane_peer_told(dp[0], PEER));
	assert_int_equal(end_said(sizeof(wire), &all), 0);
}

/* ---- two entries of one flow ---- */

static uint64_t word(uint32_t backend, uint32_t state, uint32_t age)
{
	return 77ULL << LB_FLOW_FP_SHIFT | (uint64_t)backend << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)state << LB_FLOW_STATE_SHIFT | ((NOW - age) & LB_FLOW_TICK_MASK);
}

LB_TEST(of_two_entries_the_newer_one_of_an_established_flow_counts)
{
	const struct {
		uint64_t ours, theirs, result;
	} cases[] = {
	    {0, word(1, LB_FLOW_ESTABLISHED, 3), word(1, LB_FLOW_ESTABLISHED, 3)},
	    {word(1, LB_FLOW_ESTABLISHED, 3), word(1, LB_FLOW_ESTABLISHED, 1),
	     word(1, LB_FLOW_ESTABLISHED, 1)},
	    {word(1, LB_FLOW_ESTABLISHED, 1), word(1, LB_FLOW_ESTABLISHED, 3),
	     word(1, LB_FLOW_ESTABLISHED, 1)},
	    {word(1, LB_FLOW_ESTABLISHED, 3), word(1, LB_FLOW_FIN, 1), word(1, LB_FLOW_FIN, 1)},
	    {word(1, LB_FLOW_FIN, 1), word(1, LB_FLOW_ESTABLISHED, 3), word(1, LB_FLOW_FIN, 1)},
	    /* a SYN of the same tuple, forged or not, does not make it another flow */
	    {word(1, LB_FLOW_SYN, 0), word(2, LB_FLOW_ESTABLISHED, 9),
	     word(2, LB_FLOW_ESTABLISHED, 9)},
	    {word(1, LB_FLOW_SYN, 0), word(1, LB_FLOW_ESTABLISHED, 9),
	     word(1, LB_FLOW_ESTABLISHED, 0)},
	    /* marks decide nothing */
	    {word(1, LB_FLOW_HEARD, 0), word(2, LB_FLOW_ESTABLISHED, 9),
	     word(2, LB_FLOW_ESTABLISHED, 9)},
	    {word(1, LB_FLOW_ESTABLISHED, 9), word(2, LB_FLOW_KEPT, 0),
	     word(1, LB_FLOW_ESTABLISHED, 9)},
	    {word(1, LB_FLOW_HEARD, 0), word(1, LB_FLOW_KEPT, 4), word(1, LB_FLOW_KEPT, 0)},
	    {word(1, LB_FLOW_ESTABLISHED, 5), word(2, LB_FLOW_ESTABLISHED, 2),
	     word(2, LB_FLOW_ESTABLISHED, 2)},
	    {word(1, LB_FLOW_ESTABLISHED, 2), word(2, LB_FLOW_ESTABLISHED, 2),
	     word(1, LB_FLOW_ESTABLISHED, 2)},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(merge_entries(cases[i].ours, cases[i].theirs, NOW),
				 cases[i].result);
}

/* ---- what no node would send ---- */

TEST(a_keeper_of_a_node_that_has_just_booted_is_not_taken_over)
{
	struct dp_shared_service service = {.ref = 1,
					    .protocol = IPPROTO_TCP,
					    .port = 80,
					    .size = 31,
					    .configured = 31,
					    .fresh = true};
	struct dp_shared_backend backend = {.ref = 9, .port = 80, .protocol = IPPROTO_TCP};
	struct dp_shared_slot slot = {.service = 1, .claim = LB_SLOT(9, 9)};
	uint32_t keeper;

	advance(3 * IDLE);
	keeper = LB_SLOT_KEEPER(slots_of(1)[0]);
	backend.address = want_address(3 - current_at(1, 0)); /* the other backend */
	dataplane_join(dp[1], DP_JOINS);
	assert_int_equal(dataplane_peer_open(dp[1], PEER), 0);
	backend.vip = service.vip = want[1].service.vip;
	assert_int_equal(dataplane_take_backend(dp[1], PEER, &backend), 0);
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(dataplane_take_slot(dp[1], PEER, &slot), 0);
	assert_int_equal(LB_SLOT_KEEPER(slots_of(1)[0]), keeper);
	service.fresh = false;
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(dataplane_take_slot(dp[1], PEER, &slot), 0);
	assert_int_not_equal(LB_SLOT_KEEPER(slots_of(1)[0]), keeper);
}

TEST(a_keeper_of_another_service_is_not_taken_over)
{
	struct want two[2] = {want[1], want[1]};
	struct dp_shared_backend backend = {.ref = 9, .port = 80, .protocol = IPPROTO_UDP};
	struct dp_shared_service service = {
	    .ref = 1, .protocol = IPPROTO_TCP, .port = 80, .size = 31, .configured = 31};
	struct dp_shared_slot slot = {.service = 1, .claim = LB_SLOT(9, 9)};

	two[0].service.backends = two[0].backends;
	two[1].service.backends = two[1].backends;
	two[1].service.protocol = IPPROTO_UDP;
	dataplane_join(dp[1], DP_JOINS);
	want_commit(dp[1], two, 2);
	assert_int_equal(dataplane_peer_open(dp[1], PEER), 0);
	backend.vip = service.vip = want[1].service.vip;
	backend.address = want_address(1);
	assert_int_equal(dataplane_take_backend(dp[1], PEER, &backend), 0);
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(dataplane_take_slot(dp[1], PEER, &slot), 0);
	assert_int_equal(dp[1]->maps.backends[LB_SLOT_KEEPER(slots_of(1)[0])].service,
			 want_line(dp[1], &want[1])->id);
}

/* Its arena has 4096 slots. */
TEST(rings_of_a_peer_take_no_more_memory_than_twice_as_many_slots_as_ours)
{
	struct want two[2] = {want[1], want[1]};
	struct dp_shared_service service = {
	    .ref = 1, .protocol = IPPROTO_TCP, .port = 80, .size = 16777259, .configured = 31};
	struct dp_shared_slot slot = {.service = 1, .index = 16777258, .claim = LB_SLOT(9, 9)};
	const struct record *records[2];

	two[0].service.backends = two[0].backends;
	two[1].service.backends = two[1].backends;
	two[1].service.protocol = IPPROTO_UDP;
	want_commit(dp[1], two, 2);
	for (unsigned i = 0; i < 2; i++)
		records[i] = dp_find(dp[1], &two[i].service);
	service.vip = want[1].service.vip;
	assert_int_equal(dataplane_peer_open(dp[1], PEER), 0);
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(dataplane_take_slot(dp[1], PEER, &slot), 0);
	assert_int_equal(records[0]->claims[PEER]->held, 0);
	assert_int_equal(in_transition(1), 31); /* a ring of another size, all the same */
	service.size = 8191;
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(records[0]->claims[PEER]->held, 8191);
	service.protocol = IPPROTO_UDP;
	service.size = 31;
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(records[1]->claims[PEER]->held, 0);
	assert_false(claims_look(dp[1], records[1], 0, 1, now_of(1)).allows);
	service.protocol = IPPROTO_TCP;
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	service.protocol = IPPROTO_UDP;
	service.size = 37; /* what was given up has become room */
	assert_int_equal(dataplane_take_service(dp[1], PEER, &service), 0);
	assert_int_equal(records[1]->claims[PEER]->held, 37);
}

TEST(a_ring_of_a_peer_that_is_too_large_for_us_is_logged_once_a_minute)
{
	static struct test_log logged;
	struct dp_shared_service service = {
	    .ref = 1, .protocol = IPPROTO_TCP, .port = 80, .size = 4093, .configured = 4093};
	const char *text;

	meet();
	service.vip = want[0].service.vip;
	test_log_begin(&logged);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(dataplane_take_service(dp[0], PEER, &service), 0);
		sweep_rounds(dp[0], 1, now_of(0) + 1);
	}
	text = test_log_end(&logged);
	text = strstr(text, "192.0.2.1:80/tcp: limits.slots: 4096: no room for 4093 more slots");
	assert_non_null(text);
	assert_non_null(strstr(text, "a peer's ring has that size"));
	assert_null(strchr(strchr(text, '\n') + 1, '\n')); /* one line */
}

TEST(references_and_places_that_cannot_be_are_refused)
{
	struct dp_shared_backend backend = {.ref = 0};
	struct dp_shared_service service = {.ref = 1, .protocol = IPPROTO_TCP, .port = 80};
	struct dp_shared_slot slot = {.service = 1, .index = 31};
	struct dp_shared_flow flow = {.bucket = BUCKETS};

	meet();
	assert_int_equal(dataplane_take_backend(dp[0], PEER, &backend), -EBADMSG);
	service.vip = want[0].service.vip;
	service.size = 30;
	assert_int_equal(dataplane_take_service(dp[0], PEER, &service), -EBADMSG);
	service.size = 31;
	assert_int_equal(dataplane_take_service(dp[0], PEER, &service), 0);
	assert_int_equal(dataplane_take_slot(dp[0], PEER, &slot), -EBADMSG);
	assert_int_equal(dataplane_take_flow(dp[0], PEER, &flow), -EBADMSG);
	flow.bucket = 0; /* no state */
	assert_int_equal(dataplane_take_flow(dp[0], PEER, &flow), -EBADMSG);
	flow.word = (uint64_t)LB_FLOW_SYN << LB_FLOW_STATE_SHIFT;
	assert_int_equal(dataplane_take_flow(dp[0], PEER, &flow), -EBADMSG);
	assert_int_equal(dataplane_take_end(dp[0], PEER, 99), -EBADMSG);
}

LB_TEST_MAIN("peers")
