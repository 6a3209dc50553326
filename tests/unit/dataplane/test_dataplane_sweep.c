/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sweep on plain memory: expiry, active counts, settling, draining, quarantine, folded
 * counts, bounded steps, speed. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define NOW      10000
#define TCP_IDLE 280 /* ticks: 300 s */
#define UDP_IDLE 28
#define T        LB_SLOT_TRANSITION
#define L        LB_SLOT_LEARNING

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want;

static void make(int protocol, const char *algorithm)
{
	memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, 64});
	dp = memory->dp;
	dp->clock = NOW;
	want_init(&want, "192.0.2.1", protocol, 80, algorithm);
	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want.service.slots = 251;
	/* so that the slot of an entry is not known, see below */
	want.service.hash = LB_HASH_SPORT;
	want_commit(dp, &want, 1);
}

static int setup_tcp(void **state)
{
	make(IPPROTO_TCP, "maglev");
	return 0;
}

static int setup_udp(void **state)
{
	make(IPPROTO_UDP, "maglev");
	return 0;
}

static int setup_turns(void **state)
{
	make(IPPROTO_TCP, "round-robin");
	return 0;
}

static int setup_udp_turns(void **state)
{
	make(IPPROTO_UDP, "round-robin");
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

static uint64_t entry(uint32_t id, uint32_t flow_state, uint32_t tick)
{
	return 5ULL << LB_FLOW_FP_SHIFT | (uint64_t)id << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)flow_state << LB_FLOW_STATE_SHIFT | (tick & LB_FLOW_TICK_MASK);
}

static struct dp_backend_stats backend_stats(unsigned n)
{
	struct addr address = want_address(n);
	struct dp_backend_stats stats;

	assert_int_equal(dataplane_backend_stats(dp, &want.service, &address, &stats), 0);
	return stats;
}

static struct dp_service_stats service_stats(void)
{
	struct dp_service_stats stats;

	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	return stats;
}

/* ---- entries ---- */

#define TCP_TEST(name) LB_TEST_SETUP(name, setup_tcp, teardown)

TCP_TEST(entries_expire_by_the_idle_time_of_their_state)
{
	static const struct {
		uint32_t flow_state, idle;
	} cases[] = {{LB_FLOW_SYN, 14},           {LB_FLOW_ESTABLISHED, TCP_IDLE},
		     {LB_FLOW_FIN, TCP_IDLE},     {LB_FLOW_RST, TCP_IDLE},
		     {LB_FLOW_ENDING, TCP_IDLE},  {LB_FLOW_CLOSED, TCP_IDLE},
		     {LB_FLOW_HEARD, TCP_IDLE},   {LB_FLOW_KEPT, TCP_IDLE},
		     {LB_FLOW_UDP, UDP_IDLE},     {LB_FLOW_UDP_NEW, UDP_IDLE},
		     {LB_FLOW_AFFINITY_NEW, 559}, {LB_FLOW_AFFINITY, 559}};
	uint32_t id = want_id(dp, &want, 0);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		dp->maps.flows[9] = entry(id, cases[i].flow_state, NOW);
		sweep_rounds(dp, 1, NOW + cases[i].idle);
		assert_true(dp->maps.flows[9] != 0);
		sweep_rounds(dp, 1, NOW + cases[i].idle + 1);
		assert_true(dp->maps.flows[9] == 0);
	}
}

LB_TEST_SETUP(where_the_table_decides_always_a_silent_flow_becomes_dormant, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 0);

	dp->maps.flows[9] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.loads[id].active = 1;
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(LB_FLOW_STATE(dp->maps.flows[9]), LB_FLOW_DORMANT);
	assert_int_equal(LB_FLOW_BACKEND(dp->maps.flows[9]), id);
	assert_int_equal(dp->maps.loads[id].active, 0);
	/* it stays dormant, however often ticks wrap */
	sweep_rounds(dp, 1, NOW + 20 * LB_FLOW_TICK_MASK);
	assert_int_equal(LB_FLOW_STATE(dp->maps.flows[9]), LB_FLOW_DORMANT);
	want_find(&want, 0)->usable = false; /* it may be back */
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + 20 * LB_FLOW_TICK_MASK + 1);
	assert_int_equal(LB_FLOW_STATE(dp->maps.flows[9]), LB_FLOW_DORMANT);
	want.service.algorithm = algo_find("maglev");
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + 20 * LB_FLOW_TICK_MASK + 2);
	assert_true(dp->maps.flows[9] == 0);
}

LB_TEST_SETUP(where_the_table_decides_always_a_silent_udp_flow_becomes_dormant, setup_udp_turns,
	      teardown)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_UDP, NOW);
	sweep_rounds(dp, 1, NOW + UDP_IDLE + 1);
	assert_int_equal(LB_FLOW_STATE(dp->maps.flows[9]), LB_FLOW_DORMANT);
}

LB_TEST_SETUP(a_flow_that_has_ended_does_not_become_dormant, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 0);

	dp->maps.flows[9] = entry(id, LB_FLOW_FIN, NOW);
	dp->maps.flows[10] = entry(id, LB_FLOW_RST, NOW);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_true(dp->maps.flows[9] == 0);
	assert_true(dp->maps.flows[10] == 0);
}

LB_TEST_SETUP(a_silent_flow_of_a_dead_backend_does_not_become_dormant, setup_turns, teardown)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	want_find(&want, 0)->usable = false;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + TCP_IDLE);
	assert_true(dp->maps.flows[9] != 0);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_true(dp->maps.flows[9] == 0);
}

LB_TEST_SETUP(where_the_table_decides_always_entries_of_settled_slots_stay, setup_turns, teardown)
{
	want.service.hash = LB_HASH_FULL;
	want_commit(dp, &want, 1);
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(dp->maps.flows[9] != 0);
}

LB_TEST_SETUP(dormant_entries_go_when_the_service_tracks_by_slot_again, setup_turns, teardown)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_DORMANT, NOW - 400);
	sweep_rounds(dp, 1, NOW);
	assert_true(dp->maps.flows[9] != 0);
	want.service.algorithm = algo_find("maglev");
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(dp->maps.flows[9] == 0);
}

LB_TEST_SETUP(the_oldest_dormant_entry_makes_room_in_a_full_bucket, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 0);

	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++)
		dp->maps.flows[8 + way] =
		    entry(id, LB_FLOW_DORMANT, NOW - 10 - (way == 5 ? 100 : way));
	sweep_rounds(dp, 2, NOW);
	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++)
		assert_int_equal(LB_FLOW_STATE(dp->maps.flows[8 + way]),
				 way == 5 ? 0 : LB_FLOW_DORMANT);
}

LB_TEST_SETUP(only_a_dormant_entry_makes_room, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 0);

	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++)
		dp->maps.flows[8 + way] =
		    entry(id, way == 2 ? LB_FLOW_DORMANT : LB_FLOW_ESTABLISHED, NOW - 20);
	dp->maps.flows[8 + 4] = entry(id, LB_FLOW_ESTABLISHED, NOW - 100);
	sweep_rounds(dp, 1, NOW);
	for (uint32_t way = 0; way < LB_FLOW_WAYS; way++)
		assert_int_equal(LB_FLOW_STATE(dp->maps.flows[8 + way]),
				 way == 2 ? 0 : LB_FLOW_ESTABLISHED);
}

/* A stable slot's flows are not looked up: old entries would be wrong after the next change. */
TCP_TEST(entries_of_settled_slots_go)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), id = want_id(dp, &want, 0);
	uint64_t high = 0x9abcdef0;
	uint32_t slot = (uint32_t)(high * size >> 32);
	uint64_t mine = (high << 32 & ~0ULL << LB_FLOW_FP_SHIFT) |
			(entry(id, LB_FLOW_ESTABLISHED, NOW) & ((1ULL << 33) - 1));

	want.service.hash = LB_HASH_FULL;
	want_commit(dp, &want, 1);
	dp->maps.flows[9] = mine;
	slots[slot] |= T;
	dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring) + slot] = NOW;
	ring_count(dp, dp_find(dp, &want.service), NOW);
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(dp->maps.flows[9] == mine);
	slots[slot] &= ~T;
	sweep_rounds(dp, 1, NOW + 2);
	assert_true(dp->maps.flows[9] == 0);
}

/* Without the two bits that the fingerprint lacks, the flow may be of either of two slots. */
TCP_TEST(an_entry_stays_while_either_slot_that_it_may_be_of_is_in_transition)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), at = 0;
	uint64_t high = 0, mine;

	want.service.hash = LB_HASH_FULL;
	want_commit(dp, &want, 1);
	/* find a first hash of a slot whose upper 30 bits equal those of the last hash before it */
	do {
		high = ((uint64_t)++at << 32) / size + 1;
		assert_true(at < size);
	} while (!(high & 3));
	assert_int_equal((high & ~3ULL) * size >> 32, at - 1);
	mine = ((high & ~3ULL) << 32) |
	       (entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW) & ((1ULL << 33) - 1));
	for (uint32_t i = at - 1; i <= at; i++) {
		dp->maps.flows[9] = mine;
		slots[i] |= T;
		dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring) + i] = NOW;
		sweep_rounds(dp, 1, NOW + 1);
		assert_true(dp->maps.flows[9] == mine);
		slots[i] &= ~T;
		sweep_rounds(dp, 1, NOW + 2);
		assert_true(dp->maps.flows[9] == 0);
	}
}

TCP_TEST(entries_do_not_show_the_slot_of_a_service_that_hashes_a_prefix)
{
	want.service.hash = LB_HASH_FULL;
	want.service.mask4 = 24;
	want_commit(dp, &want, 1);
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(dp->maps.flows[9] != 0);
}

TCP_TEST(the_overflow_mark_of_a_bucket_stays)
{
	dp->maps.flows[8] = entry(want_id(dp, &want, 0), LB_FLOW_SYN, NOW) | LB_FLOW_OVERFLOW;
	sweep_rounds(dp, 1, NOW + 100);
	assert_true(dp->maps.flows[8] == LB_FLOW_OVERFLOW);
}

TCP_TEST(a_clock_that_is_a_little_ahead_expires_nothing)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_SYN, NOW + 2);
	sweep_rounds(dp, 1, NOW);
	assert_true(dp->maps.flows[9] != 0);
}

TCP_TEST(the_tick_may_wrap)
{
	const uint32_t wrap = 1 << LB_FLOW_TICK_BITS;

	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, wrap - 6);
	sweep_rounds(dp, 1, wrap + 100);
	assert_true(dp->maps.flows[9] != 0);
	sweep_rounds(dp, 1, wrap + TCP_IDLE);
	assert_true(dp->maps.flows[9] == 0);
}

TCP_TEST(active_is_what_is_in_the_table_and_zero_in_the_end)
{
	uint32_t id = want_id(dp, &want, 0), other = want_id(dp, &want, 1);

	dp->maps.flows[1] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.flows[20] = entry(id, LB_FLOW_SYN, NOW);
	dp->maps.flows[30] = entry(id, LB_FLOW_FIN, NOW);
	dp->maps.loads[id].active = 7; /* wrong by five */
	dp->maps.loads[other].active = -3;
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(dp->maps.loads[id].active, 2);
	assert_int_equal(dp->maps.loads[other].active, 0);
	assert_int_equal(backend_stats(0).active, 2);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(dp->maps.loads[id].active, 0);
}

/* At once, not at the end of the round, which takes seconds with a large table. */
TCP_TEST(an_entry_that_goes_is_not_counted_any_more)
{
	uint32_t id = want_id(dp, &want, 0);
	struct lb_turn *turns = &dp->maps.turns[want_line(dp, &want)->id];

	dp->maps.flows[5] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.flows[7] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.flows[6] = entry(id, LB_FLOW_FIN, NOW); /* does not count */
	dp->maps.loads[id].active = turns->held = 3;
	assert_true(dataplane_sweep(dp, 100, NOW + TCP_IDLE + 1) != 0);
	assert_int_equal(dp->maps.flows[5], 0);
	assert_int_equal(dp->maps.flows[6], 0);
	assert_int_equal(dp->maps.loads[id].active, 1);
	assert_int_equal(turns->held, 1);
}

/* Packets that arrive during the count must not be corrected as an error. */
TCP_TEST(active_is_left_alone_while_flows_come_and_go)
{
	uint32_t id = want_id(dp, &want, 0);

	dp->maps.flows[400] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.loads[id].active = 1;
	dataplane_sweep(dp, 100, NOW);
	/* already passed by the sweep: not counted */
	dp->maps.flows[5] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	__atomic_fetch_add(&dp->maps.loads[id].active, 1, __ATOMIC_RELAXED);
	while (dataplane_sweep(dp, 100, NOW))
		;
	assert_int_equal(dp->maps.loads[id].active, 2);
}

TCP_TEST(steps_look_at_no_more_than_their_budget)
{
	size_t left = dataplane_sweep(dp, 10, NOW), now, steps = 1;

	assert_in_range(left, dp->maps.flow_words - 10, dp->maps.flow_words + dp->maps.frag_words);
	while ((now = dataplane_sweep(dp, 10, NOW))) {
		assert_true(left - now <= 11);
		left = now;
		steps++;
	}
	assert_in_range(steps, dp->maps.flow_words / 10, dp->maps.flow_words / 10 + 20);
}

TCP_TEST(later_fragments_of_gone_backends_are_forgotten)
{
	dp->maps.frags[3] = 77ULL << 32 | LB_FRAG_USED | 9u << LB_FRAG_BACKEND_SHIFT;
	dp->maps.frags[4] =
	    77ULL << 32 | LB_FRAG_USED | want_id(dp, &want, 0) << LB_FRAG_BACKEND_SHIFT;
	sweep_rounds(dp, 1, NOW);
	assert_true(dp->maps.frags[3] == 0);
	assert_true(dp->maps.frags[4] != 0);
}

/* ---- slots ---- */

TCP_TEST(slots_settle_an_idle_time_after_the_last_packet_elsewhere)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), kept = 0;
	uint16_t *stamps = &dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring)];

	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	assert_in_range(service_stats().slots_in_transition, 80, 100);
	while (!(slots[kept] & T))
		kept++;
	stamps[kept] = NOW + 50;
	sweep_rounds(dp, 1, NOW + TCP_IDLE);
	assert_in_range(service_stats().slots_in_transition, 80, 100);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(service_stats().slots_in_transition, 1);
	assert_true(slots[kept] & T);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 51);
	assert_int_equal(service_stats().slots_in_transition, 0);
	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(slots[i],
				 LB_SLOT(LB_SLOT_CURRENT(slots[i]), LB_SLOT_CURRENT(slots[i])));
}

/* The flows of the middle backend get an idle time from the second change on. */
TCP_TEST(a_second_change_puts_off_settling)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), at = 0;
	uint16_t middle;

	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	middle = want_id(dp, &want, 2);
	while (LB_SLOT_CURRENT(slots[at]) != middle)
		at++;
	dp->clock = NOW + TCP_IDLE - 1;
	want_find(&want, 2)->weight = 0;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_true(slots[at] & T);
}

/* A round does not see packets after it has passed an entry's place: slots settle by the tick in
 * which the round began. */
TCP_TEST(slots_settle_by_the_tick_in_which_the_round_began)
{
	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	dataplane_sweep(dp, 100, NOW + TCP_IDLE);
	while (dataplane_sweep(dp, 100, NOW + TCP_IDLE + 5))
		;
	assert_true(service_stats().slots_in_transition != 0);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 5);
	assert_int_equal(service_stats().slots_in_transition, 0);
}

LB_TEST_SETUP(udp_slots_stop_learning_after_an_idle_time, setup_udp, teardown)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), at = 0;
	uint16_t *stamps = &dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring)];

	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	while (!(slots[at] & T))
		at++;
	stamps[at] = NOW + UDP_IDLE;
	sweep_rounds(dp, 1, NOW + UDP_IDLE);
	assert_true(slots[at] & L);
	sweep_rounds(dp, 1, NOW + UDP_IDLE + 1);
	assert_false(slots[at] & L);
	assert_true(slots[at] & T);
}

TCP_TEST(an_old_ring_goes_when_all_slots_have_settled)
{
	uint32_t unused = arena_unused(&dp->arena);

	want.service.slots = 509;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->old_ring), 251);
	assert_true(backend_stats(0).kept_slots > 100);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(want_line(dp, &want)->old_ring, 0);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(arena_unused(&dp->arena), unused + 256 - 512);
}

/* ---- draining ---- */

TCP_TEST(a_draining_backend_is_done_when_no_slot_and_no_entry_names_it)
{
	uint32_t id = want_id(dp, &want, 1), keeps = backend_stats(1).slots;

	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	assert_int_equal(backend_stats(1).slots, 0);
	assert_int_equal(backend_stats(1).kept_slots, keeps);
	sweep_rounds(dp, 1, NOW + 1);
	assert_false(backend_stats(1).drained);
	dp->maps.flows[9] = entry(id, LB_FLOW_ESTABLISHED, NOW + TCP_IDLE);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_int_equal(backend_stats(1).kept_slots, 0);
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW + 2 * TCP_IDLE + 1);
	assert_true(backend_stats(1).drained);
	assert_false(backend_stats(0).drained);
}

LB_TEST_SETUP(where_all_flows_are_in_the_table_draining_ends_with_the_last, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 1);

	dp->maps.flows[9] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	sweep_rounds(dp, 1, NOW);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW);
	assert_false(backend_stats(1).drained);
	dp->maps.flows[9] = 0; /* FIN, then evicted by another flow */
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(backend_stats(1).drained);
}

/* Asserts that entries in this state hold a drain for so many ticks. */
static void holds_a_drain(uint32_t flow_state, uint32_t ticks)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 1), flow_state, NOW);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + ticks);
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW + ticks + 1);
	assert_true(backend_stats(1).drained);
	assert_true(dp->maps.flows[9] != 0);
}

LB_TEST_SETUP(a_half_closed_flow_holds_a_drain_for_two_minutes, setup_turns, teardown)
{
	holds_a_drain(LB_FLOW_FIN, 112);
}

LB_TEST_SETUP(a_flow_that_was_reset_holds_a_drain_for_ten_seconds, setup_turns, teardown)
{
	holds_a_drain(LB_FLOW_RST, 10);
}

/* Of forward: nat, where both FINs are seen. They may be forged, as a reset may. */
LB_TEST_SETUP(a_flow_that_both_ends_closed_holds_a_drain_for_ten_seconds, setup_turns, teardown)
{
	holds_a_drain(LB_FLOW_CLOSED, 10);
}

LB_TEST_SETUP(a_flow_that_only_the_backend_closed_is_active, setup_turns, teardown)
{
	uint32_t id = want_id(dp, &want, 1);

	dp->maps.flows[9] = entry(id, LB_FLOW_ENDING, NOW);
	dp->maps.flows[17] = entry(id, LB_FLOW_CLOSED, NOW);
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(dp->maps.loads[id].active, 1);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + 20);
	assert_false(backend_stats(1).drained);
}

/* Marks can be forged, and the slots hold the drain for such flows. */
LB_TEST_SETUP(the_mark_of_an_older_flow_holds_no_drain, setup_turns, teardown)
{
	dp->maps.flows[9] = entry(want_id(dp, &want, 1), LB_FLOW_KEPT, NOW);
	dp->maps.flows[10] = entry(want_id(dp, &want, 1), LB_FLOW_HEARD, NOW);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, NOW + 1);
	assert_true(backend_stats(1).drained);
}

LB_TEST_SETUP(a_drain_begins_with_its_commit_and_not_with_later_ones, setup_turns, teardown)
{
	sweep_rounds(dp, 3, NOW);
	dataplane_sweep(dp, 100, NOW); /* begins a round */
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	while (dataplane_sweep(dp, 100, NOW))
		;
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW);
	assert_true(backend_stats(1).drained);
	want_add(&want, 3, 10);
	want_commit(dp, &want, 1);
	assert_true(backend_stats(1).drained);
}

/* The service selected by slot before: there may be live flows without an entry. */
TCP_TEST(a_drain_waits_for_slots_where_flows_from_before_tracking_may_live)
{
	want.service.algorithm = algo_find("round-robin");
	want_commit(dp, &want, 1);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 2, NOW + 1);
	assert_true(backend_stats(1).kept_slots != 0);
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_true(backend_stats(1).drained);
}

LB_TEST_SETUP(a_flow_that_found_no_room_makes_draining_wait, setup_turns, teardown)
{
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	dp->maps.reason_counts[LB_EVENT_flow_table_full].packets++;
	sweep_rounds(dp, 1, NOW + 1);
	assert_false(backend_stats(1).drained);
	sweep_rounds(dp, 1, NOW + TCP_IDLE + 1);
	assert_true(backend_stats(1).drained);
}

/* ---- ids and counts ---- */

TCP_TEST(an_id_is_free_after_a_whole_round_that_began_later)
{
	uint16_t id = want_id(dp, &want, 0);

	dataplane_sweep(dp, 100, NOW); /* a round is running and has passed some buckets */
	dp->maps.flows[3] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	dp_grace(dp);
	while (dataplane_sweep(dp, 100, NOW))
		;
	assert_int_equal(dp->backend_ids.state[id], ID_QUARANTINED);
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(dp->backend_ids.state[id], ID_FREE);
	assert_true(dp->maps.flows[3] == 0);
}

TCP_TEST(the_totals_of_a_service_never_decrease)
{
	uint32_t row = dp->maps.backend_slots;
	uint16_t id = want_id(dp, &want, 0), other = want_id(dp, &want, 1);

	dp->maps.backend_counts[id] =
	    (struct lb_backend_count){.packets = 10, .bytes = 1000, .flows = 1};
	dp->maps.backend_counts[row + id].packets = 5;
	dp->maps.backend_counts[other].packets = 2;
	assert_int_equal(service_stats().counts.packets, 17);
	assert_int_equal(backend_stats(0).counts.packets, 15);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	assert_int_equal(service_stats().counts.packets, 17);
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(service_stats().counts.packets, 17);
	assert_int_equal(service_stats().counts.bytes, 1000);
	assert_int_equal(dp->maps.backend_counts[id].packets, 0);
	dp = memory_dataplane_restart(memory);
	assert_int_equal(service_stats().counts.packets, 17);
}

static struct lb_reason_count sent_back(void)
{
	struct lb_reason_count counts[LB_COUNTERS];

	dataplane_reason_counts(dp, counts);
	return counts[LB_REASON_forwarded_tx];
}

TCP_TEST(what_was_sent_back_is_what_backends_got_less_what_was_redirected)
{
	struct lb_reason_count *redirected =
	    &dp->maps.reason_counts[LB_COUNTERS + LB_REASON_forwarded_redirect];
	uint32_t row = dp->maps.backend_slots;

	dp->maps.backend_counts[want_id(dp, &want, 0)] =
	    (struct lb_backend_count){.packets = 60, .bytes = 5000};
	dp->maps.backend_counts[row + want_id(dp, &want, 1)] =
	    (struct lb_backend_count){.packets = 40, .bytes = 4000};
	*redirected = (struct lb_reason_count){.packets = 30, .bytes = 2000};
	assert_int_equal(sent_back().packets, 70);
	assert_int_equal(sent_back().bytes, 7000);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	assert_int_equal(sent_back().packets, 70);
	want_commit(dp, &want, 0);
	assert_int_equal(sent_back().packets, 70);
	sweep_rounds(dp, 3, NOW); /* the service's id is free again */
	assert_int_equal(dp->maps.totals[1].packets, 0);
	dp = memory_dataplane_restart(memory);
	assert_int_equal(sent_back().packets, 70);
	assert_int_equal(sent_back().bytes, 7000);
}

/* Packets may be redirected while the counters are read. */
TCP_TEST(what_was_sent_back_never_decreases)
{
	struct lb_reason_count *redirected = &dp->maps.reason_counts[LB_REASON_forwarded_redirect];

	redirected->packets = 10;
	assert_int_equal(sent_back().packets, 0);
	dp->maps.backend_counts[want_id(dp, &want, 0)].packets = 60;
	assert_int_equal(sent_back().packets, 50);
	redirected->packets = 12;
	assert_int_equal(sent_back().packets, 50);
}

/* ---- size ---- */

TCP_TEST(a_million_entries_are_counted)
{
	enum { BUCKETS = 1 << 18 };
	struct memory_dataplane *large =
	    memory_dataplane_new((struct memory_limits){8, 64, 8192, BUCKETS});

	large->dp->clock = NOW;
	large->maps.settings->flow_masks = (union lb_flow_masks){{BUCKETS - 1, BUCKETS - 1}};
	want_commit(large->dp, &want, 1);
	for (uint32_t i = 0; i < BUCKETS * LB_FLOW_WAYS; i += 2)
		large->maps.flows[i] = entry(1 + i / 2 % 2, LB_FLOW_ESTABLISHED, NOW);
	while (dataplane_sweep(large->dp, 65536, NOW + 1))
		;
	assert_int_equal(large->maps.loads[1].active, BUCKETS * LB_FLOW_WAYS / 4);
	memory_dataplane_free(large);
}

/* ---- shares ---- */

static struct lb_turn *turn(void)
{
	return &dp->maps.turns[want_line(dp, &want)->id];
}

static void fill(uint32_t count)
{
	memset(dp->maps.flows, 0, dp->maps.flow_words * sizeof(*dp->maps.flows));
	turn()->held = 0;
	for (uint32_t i = 0; i < count; i++)
		dp->maps.flows[i] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	sweep_rounds(dp, 1, NOW);
	assert_int_equal(turn()->held, count);
}

/* 512 places. */
TCP_TEST(each_service_has_a_share_and_the_rest_is_common)
{
	struct want wants[4];

	wants[0] = want;
	for (unsigned i = 1; i < 4; i++) {
		char vip[16];

		snprintf(vip, sizeof(vip), "192.0.2.%u", 10 + i);
		want_init(&wants[i], vip, IPPROTO_TCP, 80, "maglev");
		want_add(&wants[i], 100 + i, 10);
	}
	assert_int_equal(turn()->share, 256);
	want_commit(dp, wants, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(dp->maps.turns[want_line(dp, &wants[i])->id].share, 64);
	assert_int_equal(dp->maps.turns[0].share, 256);
	fill(64);
	assert_int_equal(dp->maps.turns[0].held, 0);
	fill(300);
	assert_int_equal(dp->maps.turns[0].held, 236);
	fill(0);
	assert_int_equal(dp->maps.turns[0].held, 0);
}

TCP_TEST(a_service_that_has_taken_more_than_there_is_is_limited)
{
	fill(300);
	assert_false(service_stats().limited);
	fill(512);
	assert_true(service_stats().limited);
}

/* ---- lbd was away ---- */

TCP_TEST(after_an_absence_past_the_wrap_nothing_is_over_until_an_idle_time_has_passed)
{
	uint32_t away = NOW + 3 * LB_FLOW_TICK_MASK, id = want_id(dp, &want, 0);
	uint32_t size, *slots;

	sweep_rounds(dp, 1, NOW);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	dp->maps.flows[9] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->clock = away;
	dp = memory_dataplane_restart(memory);
	want_commit(dp, &want, 1);
	slots = want_slots(dp, &want, &size);
	sweep_rounds(dp, 1, away + TCP_IDLE);
	assert_true(dp->maps.flows[9] != 0);
	assert_true(service_stats().slots_in_transition != 0);
	sweep_rounds(dp, 2, away + TCP_IDLE + 1);
	assert_true(dp->maps.flows[9] == 0);
	assert_int_equal(service_stats().slots_in_transition, 0);
	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(LB_SLOT_CURRENT(slots[i]), id);
}

TCP_TEST(a_short_absence_changes_no_age)
{
	uint64_t before;

	sweep_rounds(dp, 1, NOW);
	dp->maps.flows[9] = before = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	dp->clock = NOW + 200;
	dp = memory_dataplane_restart(memory);
	assert_true(dp->maps.flows[9] == before);
}

/* One wrap and a little: old entries look new. */
TCP_TEST(after_an_absence_of_one_wrap_no_flow_is_over_too_early)
{
	uint32_t away = NOW + LB_FLOW_TICK_MASK + 100, id = want_id(dp, &want, 0);

	sweep_rounds(dp, 1, NOW);
	dp->maps.flows[9] = entry(id, LB_FLOW_ESTABLISHED, NOW);
	dp->maps.flows[10] = entry(id, LB_FLOW_DORMANT, NOW);
	dp->clock = away;
	dp = memory_dataplane_restart(memory);
	assert_int_equal(LB_FLOW_TICK(dp->maps.flows[9]), away & LB_FLOW_TICK_MASK);
	/* it is not new: it is dormant */
	assert_int_equal(LB_FLOW_TICK(dp->maps.flows[10]), NOW & LB_FLOW_TICK_MASK);
}

/* The same process, which was stopped in between. */
TCP_TEST(after_a_stop_past_the_wrap_nothing_is_over_until_an_idle_time_has_passed)
{
	uint32_t away = NOW + LB_FLOW_TICK_MASK + 5000;

	dp->maps.flows[9] = entry(want_id(dp, &want, 0), LB_FLOW_ESTABLISHED, NOW);
	sweep_rounds(dp, 1, NOW);
	sweep_rounds(dp, 1, away);
	assert_true(dp->maps.flows[9] != 0);
	sweep_rounds(dp, 1, away + TCP_IDLE);
	assert_true(dp->maps.flows[9] != 0);
	sweep_rounds(dp, 1, away + TCP_IDLE + 1);
	assert_true(dp->maps.flows[9] == 0);
}

/* Only an absence renews stamps. After a takeover the beginning of learning is not known; that must
 * not end it. */
LB_TEST_SETUP(learning_continues_for_an_idle_time_after_a_takeover, setup_udp, teardown)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), at = 0;
	uint16_t *stamps = &dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring)];

	sweep_rounds(dp, 1, NOW);
	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	while (!(slots[at] & L))
		at++;
	dp->clock = NOW + 10;
	dp = memory_dataplane_restart(memory);
	want_commit(dp, &want, 1);
	stamps[at] = NOW + 10 + UDP_IDLE;
	sweep_rounds(dp, 1, NOW + 10 + UDP_IDLE);
	assert_true(slots[at] & L);
	sweep_rounds(dp, 1, NOW + 10 + UDP_IDLE + 1);
	assert_false(slots[at] & L);
}

TCP_TEST(after_a_takeover_slots_keep_what_they_kept)
{
	uint32_t kept;

	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	kept = backend_stats(1).kept_slots;
	assert_true(kept != 0);
	dp = memory_dataplane_restart(memory);
	assert_int_equal(backend_stats(1).kept_slots, kept);
}

/* ---- settling waits for flows that have lost their marks ---- */

TCP_TEST(no_slot_settles_while_marks_are_lost)
{
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	turn()->forgotten = NOW + 100;
	sweep_rounds(dp, 1, NOW + 100 + 2 * TCP_IDLE);
	assert_true(service_stats().slots_in_transition != 0);
	sweep_rounds(dp, 1, NOW + 100 + 2 * TCP_IDLE + 1);
	assert_int_equal(service_stats().slots_in_transition, 0);
}

/* ---- long rounds, lost marks ---- */

/* lbd, or its machine, was stopped in the middle of a round. */
TCP_TEST(a_round_that_takes_long_settles_no_slot_that_was_stamped_meanwhile)
{
	uint16_t *stamps = &dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring)];

	want_add(&want, 2, 10);
	want_commit(dp, &want, 1);
	assert_true(dataplane_sweep(dp, 16, NOW + 1) > 0);
	dp->clock = NOW + 200;
	for (uint32_t i = 0; i < want.service.slots; i++)
		stamps[i] = (uint16_t)dp->clock;
	while (dataplane_sweep(dp, 65536, dp->clock))
		;
	assert_in_range(service_stats().slots_in_transition, 80, 100);
}

/* Lost marks keep a drain from ending, as they keep slots from settling. */
TCP_TEST(no_drain_ends_while_marks_are_lost)
{
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	turn()->forgotten = NOW + 100;
	sweep_rounds(dp, 2, NOW + 100 + 2 * TCP_IDLE);
	assert_true(service_stats().slots_in_transition != 0);
	assert_false(backend_stats(1).drained);
}

/* Stamps have 16 bits: after 32 768 ticks, 9.8 h, one looks as if it were of the future. */
TCP_TEST(a_slot_that_was_quiet_while_marks_were_lost_for_hours_settles_after_that)
{
	uint32_t now = NOW;

	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	for (unsigned tick = 0; tick < 33000; tick++) {
		turn()->forgotten = ++now;
		dp->clock = now;
		sweep_rounds(dp, 1, now);
	}
	assert_true(service_stats().slots_in_transition != 0);
	assert_false(backend_stats(1).drained);
	assert_in_range(backend_stats(1).held_ms, 3600 * 1000,
			9 * 3600 * 1000); /* for lbctl drain */
	now += 2 * TCP_IDLE + 1;
	dp->clock = now;
	sweep_rounds(dp, 2, now);
	assert_int_equal(service_stats().slots_in_transition, 0);
	assert_true(backend_stats(1).drained);
}

LB_TEST_MAIN("dataplane sweep")
