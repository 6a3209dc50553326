/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/connect.h: connect times of a sample of the flows. */
#include <unistd.h>

#include "support/rig.h"

/* So many units of the probes' clock. */
#define UNITS(ms) ((uint32_t)((ms)*1000000ULL >> LB_PROBE_TIME_SHIFT))

static uint32_t count(const struct rig *r, int backend, unsigned word)
{
	return r->f->map.connects[r->tcp_id[backend]].word[word];
}

/* In all buckets, and in those from `from` on. */
static uint32_t answered_from(const struct rig *r, int backend, unsigned from)
{
	uint32_t sum = 0;

	for (unsigned i = from; i < LB_CONNECT_BUCKETS; i++)
		sum += count(r, backend, i);
	return sum;
}

static uint32_t answered(const struct rig *r, int backend)
{
	return answered_from(r, backend, 0);
}

static unsigned probes(const struct rig *r)
{
	unsigned used = 0;

	for (unsigned i = 0; i < LB_PROBES; i++)
		used += r->f->map.probes[i] & LB_PROBE_USED ? 1 : 0;
	return used;
}

/* As if all SYNs had been noted so much earlier. */
static void age_probes(const struct rig *r, uint32_t units)
{
	for (unsigned i = 0; i < LB_PROBES; i++) {
		uint64_t word = r->f->map.probes[i], time = (word - units) & LB_PROBE_TIME;

		if (word & LB_PROBE_USED)
			r->f->map.probes[i] = (word & ~(uint64_t)LB_PROBE_TIME) | time;
	}
}

/* All slots are stable on A, and in the sample. */
static struct rig sampled_rig(struct lb_service service)
{
	struct rig r = rig_make(service);

	rig_set_stable(&r, A);
	r.f->sampled = true;
	return r;
}

/* By the straight path, by the long one, and where every flow is tracked. */
static const struct lb_service kinds[] = {
    {0}, {.mask4 = 24, .mask6 = 56}, {.flags = LB_SERVICE_TRACK_ALWAYS}};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

LB_TEST(the_time_from_a_syn_to_the_next_packet_is_counted_once)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_int_equal(probes(&r), 1);
		assert_int_equal(answered(&r, A), 0);
		age_probes(&r, UNITS(50));
		assert_int_equal(rig_tcp(&r, 1, ACK), A);
		rig_tcp(&r, 1, ACK);
		rig_tcp(&r, 1, FIN | ACK);
		assert_int_equal(count(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(answered(&r, A), 1);
		assert_int_equal(answered_from(&r, A, lb_connect_bucket(UNITS(50))), 1);
		assert_int_equal(probes(&r), 0);
		assert_int_equal(count(&r, A, LB_CONNECT_RETRIED), 0);
		assert_int_equal(count(&r, A, LB_CONNECT_RESET), 0);
		fixture_clear(NULL);
	}
}

LB_TEST(a_syn_that_is_sent_again_is_retried_and_counts_from_the_first)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, SYN); /* the network has doubled it */
		assert_int_equal(count(&r, A, LB_CONNECT_RETRIED), 0);
		age_probes(&r, UNITS(1000));
		rig_tcp(&r, 1, SYN);
		assert_int_equal(count(&r, A, LB_CONNECT_RETRIED), 1);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(count(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(answered_from(&r, A, lb_connect_bucket(UNITS(1000))), 1);
		fixture_clear(NULL);
	}
}

/* Else one client that floods with a single SYN takes its backend out. */
LB_TEST(a_connect_counts_as_retried_once_however_often_its_syn_comes)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		for (int again = 0; again < 5; again++) {
			age_probes(&r, UNITS(150));
			rig_tcp(&r, 1, SYN);
		}
		assert_int_equal(count(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(count(&r, A, LB_CONNECT_RETRIED), 1);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(answered_from(&r, A, lb_connect_bucket(UNITS(750))), 1);
		rig_tcp(&r, 1, FIN | ACK);
		rig_tcp(&r, 1, SYN); /* another one, which begins anew */
		age_probes(&r, UNITS(150));
		rig_tcp(&r, 1, SYN);
		assert_int_equal(count(&r, A, LB_CONNECT_RETRIED), 2);
		fixture_clear(NULL);
	}
}

LB_TEST(a_tuple_that_is_used_again_is_another_connect)
{
	struct rig r = sampled_rig(kinds[0]);

	for (int i = 0; i < 2; i++) {
		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, ACK);
		rig_tcp(&r, 1, FIN | ACK);
	}
	assert_int_equal(count(&r, A, LB_CONNECT_SAMPLED), 2);
	assert_int_equal(answered(&r, A), 2);
}

LB_TEST(a_reset_after_the_syn_is_no_answer)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, RST);
	assert_int_equal(count(&r, A, LB_CONNECT_RESET), 1);
	assert_int_equal(answered(&r, A), 0);
	assert_int_equal(probes(&r), 0);
}

LB_TEST(flows_that_are_not_in_the_sample_are_not_timed)
{
	for (size_t i = 0; i < 2; i++) {
		struct rig r = rig_make(kinds[i]);

		rig_set_stable(&r, A);
		rig_tcp(&r, 1, SYN);
		rig_tcp(&r, 1, ACK);
		assert_int_equal(count(&r, A, LB_CONNECT_SAMPLED), 0);
		assert_int_equal(probes(&r), 0);
		fixture_clear(NULL);
	}
}

/* They must not fill the flow table, which a flood would. */
LB_TEST(a_sampled_flow_of_a_stable_slot_is_not_tracked)
{
	for (size_t i = 0; i < 2; i++) {
		struct rig r = sampled_rig(kinds[i]);

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
	struct rig r = sampled_rig(kinds[0]);

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_active(&r, B), 1);
	assert_int_equal(rig_tcp(&r, 2, ACK), A); /* an older one */
	assert_int_equal(count(&r, B, LB_CONNECT_SAMPLED), 1);
	assert_int_equal(answered(&r, B), 1);
	assert_int_equal(answered(&r, A), 0);
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
