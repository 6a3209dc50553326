/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md, "Flow table": which entries of a full table give way to a new flow, and in
 * which order. */
#include <string.h>

#include "support/rig.h"

/* A tick that is yet to come counts as this one, so a slow machine does not leave it meanwhile. */
#define STAYS_YOUNG (0U - 30)

/* Fills the table with entries in this state, so many ticks old. None may give way. */
static void never_evicted(int entry_state, uint32_t ticks)
{
	struct rig r = RIG();
	struct lb_flow_bucket before[FIXTURE_BUCKETS];

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], entry_state, fixture_tick() - ticks);
	memcpy(before, r.f->map.flows, sizeof(before));
	for (int client = 1; client < 500; client++)
		assert_int_equal(rig_tcp(&r, client, SYN), A);
	for (int i = 0; i < RIG_PLACES; i++)
		assert_int_equal(*rig_place(&r, i) & ~LB_FLOW_OVERFLOW,
				 before[i / LB_FLOW_WAYS].flow[i % LB_FLOW_WAYS]);
}

LB_TEST(a_live_established_entry_is_never_evicted)
{
	never_evicted(LB_FLOW_ESTABLISHED, 270);
}

LB_TEST(a_live_udp_entry_is_never_evicted)
{
	never_evicted(LB_FLOW_UDP, 30);
}

LB_TEST(a_udp_entry_of_one_packet_is_never_evicted)
{
	never_evicted(LB_FLOW_UDP_NEW, 30);
}

LB_TEST(a_live_affinity_entry_is_never_evicted)
{
	never_evicted(LB_FLOW_AFFINITY, 270);
}

LB_TEST(a_closing_entry_that_is_not_quiet_is_never_evicted)
{
	never_evicted(LB_FLOW_FIN, STAYS_YOUNG);
}

/* A packet reads the clock once. Another CPU may renew the entry after that, in the next tick. */
LB_TEST(an_entry_renewed_in_a_tick_yet_to_come_is_not_over)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick() + 2);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 0);
}

LB_TEST(established_entries_just_before_their_timeout_do_not_give_way)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick() - 295);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
}

LB_TEST(a_syn_flood_pushes_out_no_established_flow)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	for (int client = 1; client <= 200; client++) {
		assert_int_equal(rig_tcp(&r, client, SYN), B);
		assert_int_equal(rig_tcp(&r, client, ACK), B);
	}
	rig_set_slots(&r, C, A, T); /* now only their entries keep them on B */
	for (int client = 1000; client < 31000; client++)
		rig_tcp(&r, client, SYN);
	for (int client = 1; client <= 200; client++)
		assert_int_equal(rig_tcp(&r, client, ACK), B);
}

/* ---- what gives way ---- */

/* A table full of entries in this state, so many ticks old, takes a new flow. */
static void gives_way(int entry_state, uint32_t ticks)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], entry_state, fixture_tick() - ticks);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 1);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_entries(&r), RIG_PLACES);
}

LB_TEST(embryonic_entries_give_way)
{
	gives_way(LB_FLOW_SYN, 0);
}

LB_TEST(kept_entries_give_way)
{
	gives_way(LB_FLOW_KEPT, 0);
}

LB_TEST(marks_of_one_packet_give_way)
{
	gives_way(LB_FLOW_HEARD, 0);
}

LB_TEST(quiet_closing_entries_give_way)
{
	gives_way(LB_FLOW_FIN, 9);
}

LB_TEST(entries_of_flows_that_have_just_closed_give_way_last)
{
	gives_way(LB_FLOW_FIN, 2);
}

LB_TEST(quiet_entries_after_an_rst_give_way)
{
	gives_way(LB_FLOW_RST, 9);
}

LB_TEST(dormant_entries_give_way)
{
	gives_way(LB_FLOW_DORMANT, 400);
}

LB_TEST(expired_established_entries_give_way)
{
	gives_way(LB_FLOW_ESTABLISHED, 301);
}

LB_TEST(entries_age_through_the_wrap_of_the_tick)
{
	gives_way(LB_FLOW_ESTABLISHED, 12000);
}

LB_TEST(entries_of_backends_that_are_gone_give_way)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, FIXTURE_BACKENDS - 1, LB_FLOW_ESTABLISHED, fixture_tick() - 5);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 1);
}

/* ---- the order ---- */

LB_TEST(embryonic_entries_go_before_closing_ones)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();
	int syn = 0;

	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < RIG_PLACES; i++) /* one embryonic in each bucket */
		*rig_place(&r, i) = entry_make(
		    i, r.tcp_id[C], i % LB_FLOW_WAYS == 5 ? LB_FLOW_SYN : LB_FLOW_FIN, tick - 3);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	for (int i = 0; i < RIG_PLACES; i++)
		syn += LB_FLOW_STATE(*rig_place(&r, i)) == LB_FLOW_SYN;
	assert_int_equal(syn, FIXTURE_BUCKETS); /* one went, one came */
	for (int i = 0; i < RIG_PLACES; i++)
		if (i % LB_FLOW_WAYS != 5)
			assert_int_equal(LB_FLOW_STATE(*rig_place(&r, i)), LB_FLOW_FIN);
}

LB_TEST(the_oldest_embryonic_entry_goes_first)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();
	int oldest_gone = 0;

	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < RIG_PLACES; i++)
		*rig_place(&r, i) = entry_make(i, r.tcp_id[C], LB_FLOW_SYN,
					       tick - (i % LB_FLOW_WAYS == 3 ? 9 : 1 + i % 3));
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	for (int i = 3; i < RIG_PLACES; i += LB_FLOW_WAYS)
		oldest_gone += LB_FLOW_BACKEND(*rig_place(&r, i)) == r.tcp_id[B];
	assert_int_equal(oldest_gone, 1);
}

struct kind {
	int state;
	uint32_t quiet; /* ticks */
};

/* A full table has one entry of the first kind in each bucket. That one gives way. */
static void goes_before(void **state, uint8_t flags, struct kind first, struct kind second)
{
	struct rig r;
	uint32_t tick;
	int left = 0;

	fixture_clear(state);
	r = rig_make((struct lb_service){.flags = flags});
	tick = fixture_tick();
	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < RIG_PLACES; i++) {
		struct kind kind = i % LB_FLOW_WAYS == 5 ? first : second;

		*rig_place(&r, i) = entry_make(i, r.tcp_id[C], kind.state, tick - kind.quiet);
	}
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	for (int i = 0; i < RIG_PLACES; i++)
		left += i % LB_FLOW_WAYS == 5 && LB_FLOW_BACKEND(*rig_place(&r, i)) == r.tcp_id[C];
	if (left != FIXTURE_BUCKETS - 1)
		fail_msg("state %d, quiet for %u: expected to go before state %d, quiet for %u",
			 first.state, first.quiet, second.state, second.quiet);
}

/* In the order of docs/tracking.md, "Flow table". In most pairs the second entry is the older one,
 * so that its age alone would make it give way first. */
LB_TEST(entries_give_way_in_the_order_of_their_classes)
{
	static const struct kind expired = {LB_FLOW_SYN, 61}, embryonic = {LB_FLOW_SYN, 9},
				 heard = {LB_FLOW_HEARD, 9}, silent = {LB_FLOW_ESTABLISHED, 310},
				 dormant = {LB_FLOW_DORMANT, 400}, closed = {LB_FLOW_FIN, 100},
				 reset = {LB_FLOW_RST, 100}, recent = {LB_FLOW_SYN, STAYS_YOUNG},
				 closing = {LB_FLOW_FIN, 3}, kept = {LB_FLOW_KEPT, 200},
				 established = {LB_FLOW_ESTABLISHED, 250};
	const uint8_t always = LB_SERVICE_TRACK_ALWAYS;

	goes_before(state, 0, expired, heard);
	goes_before(state, 0, silent, embryonic); /* where slots decide it is over */
	goes_before(state, always, embryonic, silent);
	goes_before(state, always, heard, silent);
	goes_before(state, always, embryonic, dormant);
	goes_before(state, always, silent, closed);
	goes_before(state, always, dormant, reset);
	goes_before(state, 0, closed, recent);
	goes_before(state, 0, reset, recent);
	goes_before(state, 0, recent, kept);
	goes_before(state, 0, recent, closing);
	goes_before(state, 0, closing, established);
	goes_before(state, 0, kept, established);
}

/* If it were always the same place or the youngest, a flood could choose whom it evicts. */
LB_TEST(of_equal_entries_any_gives_way)
{
	struct rig r = RIG();
	unsigned ways = 0;

	rig_set_slots(&r, B, A, T);
	for (int client = 1; client <= 300; client++) {
		rig_clear_table(&r);
		rig_fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
		rig_tcp(&r, client, SYN);
		for (int i = 0; i < RIG_PLACES; i++)
			if (LB_FLOW_BACKEND(*rig_place(&r, i)) == r.tcp_id[B])
				ways |= 1u << i % LB_FLOW_WAYS;
	}
	assert_int_equal(ways, (1u << LB_FLOW_WAYS) - 1);
}

/* The second bucket is for when the first has no entry of that class. */
LB_TEST(an_entry_of_the_first_bucket_goes_before_an_equal_one_of_the_second)
{
	struct rig r = RIG();
	int first;

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	first = (rig_only_entry(&r) - r.f->map.flows[0].flow) / LB_FLOW_WAYS * LB_FLOW_WAYS;
	for (int i = 0; i < 20; i++) {
		rig_clear_table(&r);
		rig_fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
		rig_tcp(&r, 1, SYN);
		for (int way = 0, found = 0; way < LB_FLOW_WAYS; way++) {
			found += LB_FLOW_BACKEND(*rig_place(&r, first + way)) == r.tcp_id[B];
			if (way == LB_FLOW_WAYS - 1)
				assert_int_equal(found, 1);
		}
	}
}

RIG_TEST_MAIN("tracking: eviction")
