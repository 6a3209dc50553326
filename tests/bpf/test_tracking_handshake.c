/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: SYNs and the packets after them. A SYN may open a flow, be repeated, or hit the
 * tuple of an older flow, where it may be forged. */
#include "support/rig.h"

LB_TEST(a_syn_goes_to_current_and_the_flow_stays_there)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[B]);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(rig_tcp(&r, 1, ACK | PSH), B);
}

LB_TEST(syn_ack_is_not_a_new_flow)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN | ACK), A);
}

LB_TEST(a_repeated_syn_stays_with_its_entry)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	rig_set_slots(&r, C, A, T);
	entry_age(rig_only_entry(&r), 2);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[B]);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_tcp(&r, 1, SYN), B); /* a challenge: the backend answers it */
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
}

LB_TEST(a_packet_refreshes_the_tick_of_its_entry)
{
	struct rig r = RIG();
	__u64 *entry;

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	entry = rig_only_entry(&r);
	entry_age(entry, 30);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_true(((fixture_tick() - LB_FLOW_TICK(*entry)) & LB_FLOW_TICK_MASK) <= 1);
}

LB_TEST(the_first_packets_of_a_handshake_may_come_in_any_order)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, 0xfffffff0), B);
	/* the last of the first window, past the wrap */
	assert_int_equal(rig_tcp_seq(&r, 1, ACK | PSH, 0xfffffff1 + 14600), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, 0xfffffff1), B);
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, 0xfffffff1 + 10000000), B);
}

LB_TEST(the_sequence_number_is_found_behind_options_too)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	packet_build(&r.f->in, PKT(ETH(), IP4(.src = r.client, .dst = RIG_VIP, .options_len = 8),
				   TCP(.sport = 1, .dport = 80, .flags = SYN, .seq = 5000)));
	fixture_send(r.f);
	assert_int_equal(rig_went_to(&r), B);
	packet_build(&r.f->in, PKT(ETH(), IP4(.src = r.client, .dst = RIG_VIP, .options_len = 8),
				   TCP(.sport = 1, .dport = 80, .flags = ACK, .seq = 4000)));
	fixture_send(r.f);
	assert_int_equal(rig_went_to(&r), A);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, 5000), A); /* the ACK left a mark */
}

LB_TEST(a_syn_forged_for_an_older_flow_that_was_silent_moves_it_not)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, 1000), B); /* may open a new flow */
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, 1000 + 70000), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	assert_int_equal(rig_active(&r, B), 0);
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, 1000 + 70001), A);
	assert_int_equal(rig_tcp_seq(&r, 2, SYN, 2000), B);
	assert_int_equal(rig_tcp_seq(&r, 2, ACK | PSH, 2000), A); /* before the SYN */
}

/* README.md, "Limits": the number of a forged SYN is guessed well enough once in 2^16 times. */
LB_TEST(a_forged_syn_gets_the_next_packet_only_from_a_number_in_the_64_kib_before_it)
{
	const uint32_t before_wrap = 0xffff8000;
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, before_wrap), B);
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, before_wrap + 65536), B);
	assert_int_equal(rig_tcp_seq(&r, 2, SYN, before_wrap), B);
	assert_int_equal(rig_tcp_seq(&r, 2, ACK, before_wrap + 65537), A);
}

/* The numbers of SYNs are noted in slots in transition alone. */
LB_TEST(the_number_of_an_earlier_syn_says_nothing_of_a_handshake)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, 1000), B);
	fixture_wait_new_tick();
	rig_set_stable(&r, C);
	assert_int_equal(rig_tcp_seq(&r, 1, SYN, 1000000), B);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp_seq(&r, 1, ACK, 1000001), B);
}

/* A SYN was forged in its name, and the backend that got it died. */
LB_TEST(an_older_flow_survives_a_handshake_on_its_tuple_whose_backend_died)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	rig_set_usable(&r, B, false);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	rig_set_usable(&r, B, true);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[A]);
}

/* ---- a SYN on the mark of an older flow ---- */

LB_TEST(a_syn_on_a_mark_makes_an_entry_even_where_the_keeper_is_current)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	rig_set_slots(&r, A, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
}

LB_TEST(a_syn_on_the_mark_of_a_flow_that_is_over_is_a_new_flow)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 298);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	entry_set_state(rig_only_entry(&r), LB_FLOW_KEPT);
	entry_age(rig_only_entry(&r), 302);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[B]);
}

LB_TEST(a_syn_on_an_older_flow_that_was_heard_of_stays_on_its_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	/* whether the flow is old or new, A has it */
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	rig_set_slots(&r, C, B, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(a_syn_on_the_mark_of_a_keeper_that_is_dead_is_a_new_flow)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	rig_set_usable(&r, A, false);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[B]);
	rig_set_usable(&r, A, true);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

/* Only a mark shows that the older flow lives, and it may be silent up to its idle timeout. */
LB_TEST(a_syn_takes_no_silent_older_flow_from_a_keeper_that_drains)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	entry_age(rig_only_entry(&r), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_KEPT, r.tcp_id[A]);
	r.f->map.loads[r.tcp_id[A]].cost = 0;
	entry_age(rig_only_entry(&r), 120);
	rig_tcp(&r, 1, SYN); /* perhaps forged */
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

RIG_TEST_MAIN("tracking: handshake")
