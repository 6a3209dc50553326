/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/connect.h: connect times of a sample of the flows. */
#include <unistd.h>

#include "support/rig.h"

/* By the straight path, by the long one, and where every flow is tracked. */
static const struct lb_service kinds[] = {
    {0}, {.mask4 = 24, .mask6 = 56}, {.flags = LB_SERVICE_TRACK_ALWAYS}};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

LB_TEST(the_time_from_a_syn_to_the_next_packet_is_counted_once)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_int_equal(rig_probes(&r), 1);
		assert_int_equal(rig_answered(&r, A, 0), 0);
		rig_age_probes(&r, PROBE_UNITS(50));
		assert_int_equal(rig_tcp(&r, 1, ACK), A);
		rig_tcp(&r, 1, ACK);
		rig_tcp(&r, 1, FIN | ACK);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(50))), 1);
		assert_int_equal(rig_probes(&r), 0);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 0);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RESET), 0);
		fixture_clear(NULL);
	}
}

LB_TEST(a_syn_that_is_sent_again_is_retried_and_counts_from_the_first)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, SYN); /* the network has doubled it */
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 0);
		rig_age_probes(&r, PROBE_UNITS(1000));
		rig_tcp(&r, 1, SYN);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 1);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(1000))), 1);
		fixture_clear(NULL);
	}
}

/* Else one client that floods with a single SYN takes its backend out. */
LB_TEST(a_connect_counts_as_retried_once_however_often_its_syn_comes)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		rig_tcp(&r, 1, SYN);
		for (int again = 0; again < 5; again++) {
			rig_age_probes(&r, PROBE_UNITS(150));
			rig_tcp(&r, 1, SYN);
		}
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 1);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(750))), 1);
		fixture_clear(NULL);
	}
}

/* Neither with an end of each connect that he begins: by an acknowledgement or a reset. */
LB_TEST(a_tuple_counts_as_retried_once_until_lbd_clears_it)
{
	static const int ends[] = {ACK, RST, FIN | ACK};

	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		for (int again = 0; again < 9; again++) {
			rig_tcp(&r, 1, SYN);
			rig_age_probes(&r, PROBE_UNITS(150));
			rig_tcp(&r, 1, SYN);
			rig_tcp(&r, 1, ends[again % 3]);
		}
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 1);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(150))), 1);
		assert_int_equal(rig_probes(&r), 0);
		assert_int_equal(rig_clear_spent(&r), 1);
		rig_tcp(&r, 1, SYN); /* another one, which begins anew */
		rig_age_probes(&r, PROBE_UNITS(150));
		rig_tcp(&r, 1, SYN);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 2);
		fixture_clear(NULL);
	}
}

LB_TEST(a_tuple_that_is_used_again_is_another_connect)
{
	struct rig r = rig_make_sampled(kinds[0]);

	for (int i = 0; i < 2; i++) {
		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, ACK);
		rig_tcp(&r, 1, FIN | ACK);
	}
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 2);
	assert_int_equal(rig_answered(&r, A, 0), 2);
}

LB_TEST(a_reset_after_the_syn_is_no_answer)
{
	struct rig r = rig_make_sampled(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, RST);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_RESET), 1);
	assert_int_equal(rig_answered(&r, A, 0), 0);
	assert_int_equal(rig_probes(&r), 0);
}

LB_TEST(flows_that_are_not_in_the_sample_are_not_timed)
{
	for (size_t i = 0; i < 2; i++) {
		struct rig r = rig_make(kinds[i]);

		rig_set_stable(&r, A);
		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 0);
		assert_int_equal(rig_probes(&r), 0);
		fixture_clear(NULL);
	}
}

/* They must not fill the flow table, which a flood would. */
LB_TEST(a_sampled_flow_of_a_stable_slot_is_not_tracked)
{
	for (size_t i = 0; i < 2; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		for (int client = 1; client <= 20; client++) {
			assert_int_equal(rig_tcp(&r, client, SYN), A);
			assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 0);
			assert_int_equal(rig_tcp(&r, client, ACK), A);
			assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 0);
		}
		assert_int_equal(rig_active(&r, A), 0);
		assert_int_equal(rig_stamped(&r, r.tcp), 0);
		fixture_clear(NULL);
	}
}

LB_TEST(flows_of_a_slot_in_transition_are_tracked_in_the_sample_too)
{
	struct rig r = rig_make_sampled(kinds[0]);

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_active(&r, B), 1);
	assert_int_equal(rig_tcp(&r, 2, ACK), A); /* an older one */
	assert_int_equal(rig_connects(&r, B, LB_CONNECT_SAMPLED), 1);
	assert_int_equal(rig_answered(&r, B, 0), 1);
	assert_int_equal(rig_answered(&r, A, 0), 0);
}

/* An id beyond the map, and times that wrap. */
LB_TEST(buckets_are_four_an_octave_and_bounded)
{
	assert_int_equal(lb_connect_bucket(0), 0);
	assert_int_equal(lb_connect_bucket(3), 3);
	assert_int_equal(lb_connect_bucket(4), 4);
	assert_int_equal(lb_connect_bucket(7), 7);
	assert_int_equal(lb_connect_bucket(8), 8);
	assert_int_equal(lb_connect_bucket(9), 8);
	assert_int_equal(lb_connect_bucket(10), 9);
	assert_int_equal(lb_connect_bucket((1 << 19) - 1), LB_CONNECT_BUCKETS - 1);
	assert_int_equal(lb_connect_bucket(LB_PROBE_TIME), LB_CONNECT_BUCKETS - 1);
	for (uint32_t units = 1; units < 1 << 19; units++)
		assert_in_range(lb_connect_bucket(units), lb_connect_bucket(units - 1),
				lb_connect_bucket(units - 1) + 1);
}

RIG_TEST_MAIN("connects")
