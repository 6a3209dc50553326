/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: UDP flows in the learning period, after it, and without a place. */
#include "support/rig.h"

LB_TEST(while_learning_a_udp_flow_is_recorded_with_the_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_udp(&r, 1), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_UDP_NEW, r.udp_id[A]);
	rig_set_slots(&r, B, A, T); /* learning is over */
	assert_int_equal(rig_udp(&r, 1), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_UDP, r.udp_id[A]);
	rig_set_slots(&r, C, NOWHERE, T);
	assert_int_equal(rig_udp(&r, 1), A);
}

LB_TEST(after_learning_a_udp_flow_is_new)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_udp(&r, 1), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_UDP_NEW, r.udp_id[B]);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_udp(&r, 1), B);
	assert_int_equal(rig_udp(&r, 2), C);
}

LB_TEST(a_learned_udp_flow_of_a_dead_keeper_goes_to_current)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_udp(&r, 1), A);
	rig_set_usable(&r, A, false);
	assert_int_equal(rig_udp(&r, 1), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_UDP_NEW, r.udp_id[B]);
}

LB_TEST(a_udp_flow_without_a_place_goes_where_it_will_go_later)
{
	struct rig r = RIG();

	rig_fill_table(&r, r.udp_id[C], LB_FLOW_UDP, fixture_tick());
	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_udp(&r, 1), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_udp(&r, 2), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
	rig_clear_table(&r); /* there is room again: both stay where they are */
	assert_int_equal(rig_udp(&r, 1), A);
	assert_int_equal(rig_udp(&r, 2), A);
	assert_int_equal(rig_entries(&r), 2);
	/* an idle timeout later every flow that lives has an entry */
	r.f->map.turns[r.udp].unplaced -= 61;
	assert_int_equal(rig_udp(&r, 3), B);
	assert_int_equal(rig_udp(&r, 1), A);
}

/* The flow gets no entry while the other one is there, and later it looks like a new flow. */
LB_TEST(a_udp_flow_whose_place_another_service_has_stays_with_the_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_udp(&r, 1), B);
	entry_set_backend(rig_only_entry(&r), r.tcp_id[C]);
	assert_int_equal(rig_udp(&r, 1), A);
	rig_clear_table(&r);
	assert_int_equal(rig_udp(&r, 1), A);
}

LB_TEST(a_udp_flow_unplaced_in_a_tick_yet_to_come_stays_with_the_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	r.f->map.turns[r.udp].unplaced = fixture_tick() + 2;
	assert_int_equal(rig_udp(&r, 1), A);
}

LB_TEST(a_tracked_udp_flow_counts_once)
{
	struct rig r = RIG();
	struct lb_backend_count before = fixture_backend_count(r.f, r.udp_id[B]), after;

	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < 5; i++)
		rig_udp(&r, 1);
	after = fixture_backend_count(r.f, r.udp_id[B]);
	assert_int_equal(after.packets - before.packets, 5);
	assert_int_equal(after.flows - before.flows, 1);
}

RIG_TEST_MAIN("tracking: UDP")
