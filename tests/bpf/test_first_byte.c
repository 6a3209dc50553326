/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/connect.h: how long a backend's first byte takes. With forward: nat: test_ends.c. */
#include "support/rig.h"

/* By the straight path, and by the long one. */
static const struct lb_service kinds[] = {{0}, {.mask4 = 24, .mask6 = 56}};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* A connection whose handshake took so long. */
static void open(struct rig *r, int client, uint32_t ms)
{
	assert_int_equal(rig_tcp(r, client, SYN), A);
	rig_age_probes(r, PROBE_UNITS(ms));
	assert_int_equal(rig_talk(r, client, (struct rig_talk){0}), A);
	assert_int_equal(rig_probes(r), 0);
}

/* The client's first data, of 100 bytes. */
static void ask(struct rig *r, int client)
{
	assert_int_equal(rig_talk(r, client, (struct rig_talk){.bytes = 100}), A);
}

/* So much later the client acknowledges so many bytes. */
static void acknowledge(struct rig *r, int client, uint32_t ms, uint32_t bytes)
{
	rig_age_probes(r, PROBE_UNITS(ms));
	assert_int_equal(rig_talk(r, client, (struct rig_talk){.at = 100, .acked = bytes}), A);
}

LB_TEST(the_first_byte_counts_from_the_clients_data_without_its_round_trip)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		open(&r, 1, 400);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(400))), 1);
		rig_age_probes(&r, PROBE_UNITS(3000)); /* the client thinks */
		ask(&r, 1);
		assert_int_equal(rig_awaited(&r), 1);
		acknowledge(&r, 1, 1400, 300);
		assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1000)), 1);
		assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1400)), 0);
		assert_int_equal(rig_awaited(&r), 0);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		fixture_clear(NULL);
	}
}

LB_TEST(a_connection_has_one_first_byte)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	acknowledge(&r, 1, 10, 300);
	rig_talk(&r, 1, (struct rig_talk){.at = 100, .bytes = 100, .acked = 300});
	rig_talk(&r, 1, (struct rig_talk){.at = 200, .acked = 900});
	rig_talk(&r, 1, (struct rig_talk){.flags = FIN, .at = 200, .acked = 900});
	assert_int_equal(rig_first_bytes(&r, A, 0), 1);
}

LB_TEST(packets_with_tags_say_as_much)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	rig_talk(&r, 1, (struct rig_talk){.bytes = 100, .tagged = true});
	rig_age_probes(&r, PROBE_UNITS(1000));
	rig_talk(&r, 1, (struct rig_talk){.at = 100, .acked = 300, .tagged = true});
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(500)), 1);
}

LB_TEST(data_with_the_last_packet_of_the_handshake_is_data)
{
	struct rig r = rig_make_sampled(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_age_probes(&r, PROBE_UNITS(50));
	ask(&r, 1);
	rig_age_probes(&r, PROBE_UNITS(1000));
	rig_talk(&r, 1, (struct rig_talk){.bytes = 100}); /* sent again: so it was noted */
	assert_int_equal(rig_awaited(&r), 0);
}

/* SMTP, MySQL. */
LB_TEST(of_a_backend_that_speaks_first_it_counts_from_the_end_of_the_handshake)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 400);
	rig_age_probes(&r, PROBE_UNITS(1400));
	rig_talk(&r, 1, (struct rig_talk){.bytes = 20, .acked = 60});
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1000)), 1);
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1400)), 0);
	assert_int_equal(rig_awaited(&r), 0);
}

LB_TEST(a_request_of_several_packets_counts_from_its_first)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	for (uint32_t at = 100; at < 400; at += 100) {
		rig_age_probes(&r, PROBE_UNITS(500));
		rig_talk(&r, 1, (struct rig_talk){.at = at, .bytes = 100});
	}
	rig_talk(&r, 1, (struct rig_talk){.at = 400, .acked = 60});
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1500)), 1);
}

LB_TEST(data_that_is_sent_again_has_no_first_byte)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	ask(&r, 1); /* the network has doubled it */
	assert_int_equal(rig_awaited(&r), 1);
	rig_age_probes(&r, PROBE_UNITS(300));
	ask(&r, 1);
	assert_int_equal(rig_awaited(&r), 0);
	acknowledge(&r, 1, 1, 300);
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
}

/* Which SYN was answered is not known, so neither how long the way is. */
LB_TEST(a_connect_that_was_retried_has_no_first_byte)
{
	struct rig r = rig_make_sampled(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_age_probes(&r, PROBE_UNITS(1000));
	open(&r, 1, 50);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 1);
	assert_int_equal(rig_awaited(&r), 0);
	ask(&r, 1);
	acknowledge(&r, 1, 10, 300);
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
}

LB_TEST(the_end_of_a_backend_is_no_first_byte)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	acknowledge(&r, 1, 10, 1); /* a FIN takes a number */
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
	assert_int_equal(rig_awaited(&r), 1);
	acknowledge(&r, 1, 10, 2);
	assert_int_equal(rig_first_bytes(&r, A, 0), 1);
}

LB_TEST(a_reset_ends_the_wait)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	rig_talk(&r, 1, (struct rig_talk){.flags = RST, .at = 100, .acked = 300});
	assert_int_equal(rig_awaited(&r), 0);
	open(&r, 2, 1);
	rig_tcp(&r, 3, SYN);
	rig_talk(&r, 3, (struct rig_talk){.flags = RST});
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_RESET), 1);
	assert_int_equal(rig_awaited(&r), 1);
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
}

/* Who forges a packet of a flow does not know the number that the backend is at. */
LB_TEST(acknowledgements_far_away_say_nothing)
{
	static const uint32_t far[] = {LB_FIRST_BYTE_WINDOW + 2, 1u << 31, -1u, -3000u};
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	for (size_t i = 0; i < sizeof(far) / sizeof(*far); i++)
		acknowledge(&r, 1, 1, far[i]);
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
	assert_int_equal(rig_awaited(&r), 1);
	acknowledge(&r, 1, 1, LB_FIRST_BYTE_WINDOW + 1);
	assert_int_equal(rig_first_bytes(&r, A, 0), 1);
}

LB_TEST(a_first_byte_that_comes_faster_than_the_handshake_took_no_time)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 2000);
	ask(&r, 1);
	acknowledge(&r, 1, 10, 300);
	assert_int_equal(rig_first_bytes(&r, A, 0), 1);
	assert_int_equal(rig_first_bytes(&r, A, 1), 0);
}

LB_TEST(a_tuple_that_is_used_again_while_it_waits_is_another_connect)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = rig_make_sampled(kinds[i]);

		open(&r, 1, 1);
		ask(&r, 1);
		rig_age_probes(&r, PROBE_UNITS(1000));
		open(&r, 1, 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 2);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 0);
		assert_int_equal(rig_answered(&r, A, 0), 2);
		ask(&r, 1);
		acknowledge(&r, 1, 1, 300);
		assert_int_equal(rig_first_bytes(&r, A, 0), 1);
		fixture_clear(NULL);
	}
}

/* Packets of its data take the straight path, which is not to look up more. */
LB_TEST(where_every_flow_is_tracked_there_are_none)
{
	struct rig r = rig_make_sampled((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	open(&r, 1, 1);
	assert_int_equal(rig_answered(&r, A, 0), 1);
	assert_int_equal(rig_awaited(&r), 0);
	ask(&r, 1);
	acknowledge(&r, 1, 1, 300);
	assert_int_equal(rig_first_bytes(&r, A, 0), 0);
}

/* The flow is looked up in the table then, and most of its packets do not come by. */
LB_TEST(the_wait_ends_when_the_slot_changes)
{
	struct rig r = rig_make_sampled(kinds[0]);

	open(&r, 1, 1);
	ask(&r, 1);
	rig_set_slots(&r, B, A, T);
	acknowledge(&r, 1, 1, 300);
	assert_int_equal(rig_first_bytes(&r, A, 0) + rig_first_bytes(&r, B, 0), 0);
	assert_int_equal(rig_answered(&r, A, 0), 1);
	assert_int_equal(rig_awaited(&r), 0);
}

RIG_TEST_MAIN("first byte")
