/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: older, untracked TCP flows while their slot is in transition: the learning
 * period, the marks HEARD and KEPT, stamps. */
#include "support/rig.h"

LB_TEST(an_older_flow_goes_to_the_keeper_and_stamps_its_slot)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_keeper_packets), 1);
	for (int i = 0; i < RIG_SLOTS; i++) {
		if (!rig_stamps(&r, r.tcp)[i])
			continue;
		assert_true((uint16_t)(rig_stamps(&r, r.tcp)[i] - tick) <= 1);
	}
	assert_int_equal(rig_stamped(&r, r.tcp), 1);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(after_learning_one_packet_of_an_older_flow_holds_nothing)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	/* nor do two packets in one tick: a forger may send any number */
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_stamped(&r, r.tcp), 0);
	assert_int_equal(rig_active(&r, A), 0);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[A]);
}

LB_TEST(after_learning_a_packet_in_a_later_tick_shows_that_a_flow_lives)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	entry_age(rig_only_entry(&r), 3);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_stamped(&r, r.tcp), 1);
	assert_int_equal(rig_active(&r, A), 1);
	assert_entry(*rig_only_entry(&r), LB_FLOW_KEPT, r.tcp_id[A]);
}

LB_TEST(an_older_flow_that_cannot_be_marked_holds_its_slot)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_stamped(&r, r.tcp), 1);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
}

LB_TEST(a_mark_that_is_evicted_is_noted)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[A], LB_FLOW_KEPT, fixture_tick() - 3);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
	assert_int_equal(r.f->map.turns[r.udp].forgotten, 0);
}

LB_TEST(a_mark_of_one_packet_that_is_evicted_is_noted)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[A], LB_FLOW_HEARD, fixture_tick() - 3);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
}

LB_TEST(the_keeper_is_asked_even_when_its_entry_finds_no_place)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(an_rst_of_a_flow_that_is_not_known_leaves_no_entry)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, RST), A);
	assert_int_equal(rig_entries(&r), 0);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(an_older_flow_that_closes_by_half_is_remembered_as_such)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	entry_age(rig_only_entry(&r), 1);
	assert_int_equal(rig_tcp(&r, 1, FIN | ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_FIN, r.tcp_id[A]);
	assert_int_equal(rig_active(&r, A), 0);
	rig_set_slots(&r, C, B, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(an_older_flow_may_close_in_the_tick_in_which_it_went_on)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	entry_set_state(rig_only_entry(&r), LB_FLOW_KEPT);
	*rig_only_entry(&r) = (*rig_only_entry(&r) & ~(uint64_t)LB_FLOW_TICK_MASK) |
			      (fixture_tick() & LB_FLOW_TICK_MASK);
	assert_int_equal(rig_tcp(&r, 1, FIN | ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_FIN, r.tcp_id[A]);
}

LB_TEST(a_mark_of_a_former_keeper_becomes_one_of_the_keeper_that_is_current)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 1);
	rig_tcp(&r, 1, ACK);
	rig_set_slots(&r, B, B, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[B]);
}

LB_TEST(an_older_flow_whose_keeper_is_current_leaves_no_mark)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, B, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_entries(&r), 0);
}

/* A mark may be evicted at any time. So the slot's keeper decides, with the mark and without. */
LB_TEST(a_kept_entry_follows_the_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	entry_age(rig_only_entry(&r), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_active(&r, A), 1);
	rig_set_slots(&r, B, C, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), C);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[C]);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(a_kept_flow_counts_as_active_of_its_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 1);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 2, ACK); /* one packet alone, perhaps forged */
	assert_int_equal(rig_active(&r, A), 1);
}

LB_TEST(where_all_flows_are_tracked_an_older_one_gets_an_entry_once_it_goes_on)
{
	struct rig r = RIG();

	r.f->map.services[r.tcp].flags |= LB_SERVICE_TRACK_ALWAYS;
	rig_set_stable(&r, A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	entry_age(rig_only_entry(&r), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
	rig_set_slots(&r, B, C, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(a_mark_becomes_no_entry_beyond_the_services_share)
{
	struct rig r = RIG();

	r.f->map.services[r.tcp].flags |= LB_SERVICE_TRACK_ALWAYS;
	rig_set_share(&r, 0);
	rig_set_stable(&r, A);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_KEPT, r.tcp_id[A]);
}

LB_TEST(the_mark_of_another_service_stays)
{
	static const int states[] = {LB_FLOW_HEARD, LB_FLOW_KEPT};
	const int flags[] = {ACK, SYN, FIN | ACK, RST};

	for (int i = 0; i < 2; i++) {
		struct rig r = RIG();
		__u64 *entry, before;

		rig_clear_table(&r);
		rig_set_slots(&r, B, A, T);
		rig_tcp(&r, 1, SYN);
		entry = rig_only_entry(&r);
		/* as when two fingerprints are the same */
		entry_set_backend(entry, r.udp_id[C]);
		entry_set_state(entry, states[i]);
		before = *entry;
		for (int j = 0; j < 4; j++) {
			assert_int_equal(rig_tcp(&r, 1, flags[j]), A);
			assert_true(*rig_only_entry(&r) == before);
		}
	}
}

RIG_TEST_MAIN("tracking: older flows")
