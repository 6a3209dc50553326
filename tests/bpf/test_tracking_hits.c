/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: hits on entries of dead and removed backends, of other services, and of clients
 * (affinity). */
#include "support/rig.h"

LB_TEST(a_hit_on_a_dead_backend_goes_to_the_keeper_until_it_is_back)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_usable(&r, B, false);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	rig_set_usable(&r, B, true);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(a_syn_that_hits_a_dead_backend_is_a_new_flow)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_usable(&r, B, false);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
	assert_int_equal(LB_FLOW_BACKEND(*rig_only_entry(&r)), r.tcp_id[C]);
	assert_int_equal(LB_FLOW_STATE(*rig_only_entry(&r)), LB_FLOW_SYN);
}

LB_TEST(the_entry_of_a_backend_that_is_gone_is_written_over)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	r.f->map.backends[r.tcp_id[B]].flags = 0;
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
}

LB_TEST(an_entry_of_another_service_is_no_match_and_stays)
{
	struct rig r = RIG();
	__u64 *entry, before;
	const int flags[] = {ACK, SYN, FIN | ACK, RST};

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	entry = rig_only_entry(&r);
	entry_set_backend(entry, r.udp_id[C]); /* as when two fingerprints are the same */
	before = *entry;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rig_tcp(&r, 1, flags[i]), A);
		assert_true(*rig_only_entry(&r) == before);
	}
}

LB_TEST(the_entry_of_a_client_is_no_match_and_stays)
{
	static const int clients[] = {LB_FLOW_AFFINITY, LB_FLOW_AFFINITY_NEW};

	for (int i = 0; i < 2; i++) {
		struct rig r;
		__u64 before;

		fixture_clear(state);
		r = RIG();
		rig_set_slots(&r, B, A, T);
		rig_tcp(&r, 1, SYN);
		entry_set_state(rig_only_entry(&r), clients[i]);
		before = *rig_only_entry(&r);
		assert_int_equal(rig_tcp(&r, 1, ACK), A);
		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_true(*rig_only_entry(&r) == before);
	}
}

RIG_TEST_MAIN("tracking: hits")
