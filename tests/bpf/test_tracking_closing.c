/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: what FIN, RST and a long silence do to a flow: half-closed flows, flows that
 * survive an RST, tuples that are used again, dormant entries. */
#include "support/rig.h"

LB_TEST(a_fin_half_closes_and_later_packets_still_arrive)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_tcp(&r, 1, FIN | ACK), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_FIN, r.tcp_id[B]);
	assert_int_equal(rig_active(&r, B), 0);
	rig_set_slots(&r, C, A, T);
	/* the server goes on sending, the client acknowledges */
	for (int minute = 0; minute < 10; minute++) {
		entry_age(rig_only_entry(&r), 60);
		assert_int_equal(rig_tcp(&r, 1, ACK), B);
		assert_entry(*rig_only_entry(&r), LB_FLOW_FIN, r.tcp_id[B]);
	}
}

LB_TEST(an_rst_that_the_flow_survives_is_forgotten)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_tcp(&r, 1, RST), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_RST, r.tcp_id[B]);
	assert_int_equal(rig_active(&r, B), 0);
	rig_set_slots(&r, C, A, T);
	entry_age(rig_only_entry(&r), 200);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(rig_active(&r, B), 1);
}

/* The backend answers the SYN: with a challenge ACK, or as a new connection. */
static void syn_stays(int flags)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 1, flags);
	rig_set_slots(&r, C, A, T);
	entry_age(rig_only_entry(&r), 100);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(a_syn_on_a_live_tuple_stays_on_its_backend)
{
	syn_stays(ACK);
}

LB_TEST(a_syn_on_a_half_closed_tuple_stays_on_its_backend)
{
	syn_stays(FIN | ACK);
}

LB_TEST(a_syn_after_an_rst_stays_on_its_backend)
{
	syn_stays(RST);
}

LB_TEST(a_tuple_that_was_closed_is_used_again_elsewhere_once_its_backend_drains)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 1, FIN | ACK);
	rig_set_slots(&r, C, A, T);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	entry_age(rig_only_entry(&r), 100); /* too soon: the FIN may be forged */
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	rig_tcp(&r, 1, FIN | ACK);
	entry_age(rig_only_entry(&r), 120);
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[C]);
	assert_int_equal(rig_tcp(&r, 1, ACK), C);
}

/* The entry is in this state and has been quiet for 2 minutes; its backend takes no new flow. */
static void a_syn_opens_anew_after(int entry_state)
{
	struct rig r = RIG();

	rig_set_slots(&r, C, B, T);
	rig_tcp(&r, 1, ACK);
	assert_entry(*rig_only_entry(&r), LB_FLOW_HEARD, r.tcp_id[B]);
	entry_set_state(rig_only_entry(&r), entry_state);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	entry_age(rig_only_entry(&r), 120);
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[C]);
}

LB_TEST(a_flow_that_may_be_over_lets_a_syn_leave_a_backend_that_drains)
{
	static const int over[] = {LB_FLOW_FIN, LB_FLOW_RST, LB_FLOW_DORMANT};

	for (size_t i = 0; i < sizeof(over) / sizeof(*over); i++) {
		fixture_clear(state);
		a_syn_opens_anew_after(over[i]);
	}
}

LB_TEST(a_tuple_that_was_closed_stays_while_its_backend_takes_new_flows)
{
	struct rig r = RIG();

	rig_set_slots(&r, C, B, T);
	rig_tcp(&r, 1, ACK);
	entry_set_state(rig_only_entry(&r), LB_FLOW_FIN);
	entry_age(rig_only_entry(&r), 120);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
}

LB_TEST(a_live_tuple_stays_on_a_backend_that_drains_whatever_syn_comes)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_slots(&r, C, A, T);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	entry_age(rig_only_entry(&r), 200);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(a_dormant_flow_wakes_on_its_backend)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_stable(&r, B);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_stable(&r, C);
	entry_set_state(rig_only_entry(&r), LB_FLOW_DORMANT);
	r.f->map.loads[r.tcp_id[B]].active = 0; /* as the sweep does */
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(rig_active(&r, B), 1);
}

LB_TEST(a_dormant_udp_flow_wakes_as_one)
{
	struct rig r = RIG();

	r.f->map.services[r.udp].flags |= LB_SERVICE_TRACK_ALWAYS;
	rig_set_stable(&r, B);
	assert_int_equal(rig_udp(&r, 1), B);
	entry_set_state(rig_only_entry(&r), LB_FLOW_DORMANT);
	rig_set_stable(&r, C);
	assert_int_equal(rig_udp(&r, 1), B);
	assert_entry(*rig_only_entry(&r), LB_FLOW_UDP, r.udp_id[B]);
}

RIG_TEST_MAIN("tracking: closing")
