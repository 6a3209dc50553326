/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md: what the slot decides. Stable slots and slots in transition, their keepers and
 * stamps, tracking `always` and `never`, a ring that changes its size, and the fields that a slot's
 * hash covers. */
#include <stdio.h>

#include "support/rig.h"

LB_TEST(a_stable_slot_never_touches_the_flow_table)
{
	struct rig r = RIG();
	static const int flags[] = {SYN, ACK, SYN | ACK, FIN | ACK, RST, 0, SYN};

	rig_set_stable(&r, A);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		assert_int_equal(rig_tcp(&r, 1, flags[i]), A);
	for (int client = 1; client < 50; client++)
		assert_int_equal(rig_udp(&r, client), A);
	assert_int_equal(rig_entries(&r), 0);
	for (int i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(rig_stamps(&r, r.tcp)[i], 0);
}

LB_TEST(a_stable_slot_does_not_read_the_flow_table)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	rig_set_stable(&r, A); /* too early; but the entry is not looked at any more */
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(a_stable_slot_on_a_dead_backend_has_no_backend)
{
	struct rig r = RIG();

	rig_set_stable(&r, A);
	rig_set_usable(&r, A, false);
	assert_int_equal(rig_tcp(&r, 1, ACK), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_no_backend);
}

LB_TEST(an_unusable_keeper_stands_for_current)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_set_usable(&r, A, false);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(no_keeper_stands_for_current)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, NOWHERE, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(an_unusable_current_stands_for_the_keeper)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_set_usable(&r, B, false);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_udp(&r, 1), A);
}

LB_TEST(with_every_backend_dead_there_is_no_backend)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	for (int i = 0; i < BACKENDS; i++)
		rig_set_usable(&r, i, false);
	assert_int_equal(rig_tcp(&r, 1, ACK), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_no_backend);
	assert_int_equal(rig_tcp(&r, 2, SYN), NOWHERE);
	assert_int_equal(rig_udp(&r, 2), NOWHERE);
}

LB_TEST(a_flow_stays_through_successive_changes)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A); /* older */
	assert_int_equal(rig_tcp(&r, 2, SYN), B);
	assert_int_equal(rig_tcp(&r, 2, ACK), B);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 3, SYN), C);
	assert_int_equal(rig_tcp(&r, 3, ACK), C);
	rig_set_slots(&r, A, A, T); /* and back */
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_tcp(&r, 2, ACK), B);
	assert_int_equal(rig_tcp(&r, 3, ACK), C);
	assert_int_equal(rig_tcp(&r, 4, SYN), A);
}

LB_TEST(traffic_of_current_does_not_stamp)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	for (int i = 0; i < RIG_SLOTS; i++)
		assert_int_equal(rig_stamps(&r, r.tcp)[i], 0);
}

LB_TEST(a_tracked_flow_elsewhere_than_current_stamps_its_slot)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_stamped(&r, r.tcp), 1);
}

LB_TEST(where_all_flows_are_tracked_none_that_is_found_stamps)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_stamped(&r, r.tcp), 0);
}

LB_TEST(track_always_records_flows_of_stable_slots)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_stable(&r, A);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[A]);
	rig_set_stable(&r, B);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_tcp(&r, 2, SYN), B);
}

LB_TEST(track_never_touches_no_entry)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_NEVER});

	rig_set_stable(&r, A);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	rig_set_stable(&r, B);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_entries(&r), 0);
}

/* ---- a ring that changes its size ---- */

LB_TEST(while_a_ring_is_resized_the_old_one_says_who_keeps)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	rig_set_stable(&r, A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[B], 0) | T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_keeper_packets), 1);
	assert_int_equal(rig_tcp(&r, 2, SYN), B);
	assert_int_equal(rig_tcp(&r, 2, ACK), B);
	rig_set_usable(&r, A, false);
	assert_int_equal(rig_tcp(&r, 3, ACK), B);
}

/* The old ring was in transition when the resize began. */
LB_TEST(while_a_ring_is_resized_the_old_ones_keepers_count_not_its_current)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	rig_set_slots(&r, B, A, T);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[C], 0) | T);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

/* The slot settled before the others of the new ring, and changed again. */
LB_TEST(while_a_ring_is_resized_a_keeper_of_its_own_counts)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	rig_set_stable(&r, A);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[C], r.tcp_id[B]) | T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

/* A flow goes to the keeper of its own slot of the old ring, not of any slot. */
LB_TEST(the_old_ring_is_asked_at_the_flows_own_slot)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];
	int before[100];

	for (int i = 0; i < RIG_SLOTS; i++)
		rig_slots(&r, r.tcp)[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	for (int client = 0; client < 100; client++)
		before[client] = rig_tcp(&r, 100 + client, ACK);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 29, LB_SLOT(r.tcp_id[B], 0) | T);
	for (int client = 0; client < 100; client++)
		assert_int_equal(rig_tcp(&r, 100 + client, ACK), before[client]);
}

LB_TEST(the_old_ring_is_asked_with_the_fields_the_service_hashes)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];
	int before;

	service->hash = 0; /* the client address alone */
	for (int i = 0; i < RIG_SLOTS; i++)
		rig_slots(&r, r.tcp)[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	before = rig_tcp(&r, 1, ACK);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 29, LB_SLOT(r.tcp_id[(before + 1) % 3], 0) | T);
	for (int client = 2; client < 50; client++)
		assert_int_equal(rig_tcp(&r, client, ACK), before);
}

/* ---- what the hash covers ---- */

/* A ring of 251 slots which belong to A, B, C in turn, so that flows of different slots mostly go
 * to different backends. fields: LB_HASH_*. */
static struct rig make_hashing(int fields, int mask4)
{
	struct rig r = rig_make((struct lb_service){.mask4 = mask4});
	uint32_t words[251];

	r.f->map.services[r.tcp].hash = fields;
	for (int i = 0; i < 251; i++)
		words[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	r.f->map.services[r.tcp].ring = fixture_region(r.f, words, 251);
	return r;
}

static int backends_of_one_client(struct rig *r)
{
	int seen = 0;

	for (int client = 1; client < 40; client++)
		seen |= 1 << rig_tcp(r, client, ACK);
	return __builtin_popcount(seen);
}

LB_TEST(a_hash_of_the_client_address_ignores_its_ports)
{
	struct rig r = make_hashing(0, 32);
	int seen = 0;

	for (int host = 1; host < 40; host++) {
		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		assert_int_equal(backends_of_one_client(&r), 1);
		seen |= 1 << rig_went_to(&r);
	}
	assert_int_equal(seen, 7);
}

LB_TEST(a_hash_of_the_5_tuple_spreads_one_client)
{
	struct rig r = make_hashing(LB_HASH_FULL, 32);

	assert_int_equal(backends_of_one_client(&r), 3);
}

LB_TEST(a_hash_with_the_source_port_spreads_one_client)
{
	struct rig r = make_hashing(LB_HASH_SPORT, 32);

	assert_int_equal(backends_of_one_client(&r), 3);
}

LB_TEST(a_hash_of_a_prefix_ignores_the_host)
{
	struct rig r = make_hashing(0, 24);
	int first = rig_tcp(&r, 1, ACK);

	for (int host = 1; host < 40; host++) {
		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		assert_int_equal(rig_tcp(&r, 1, ACK), first);
	}
}

RIG_TEST_MAIN("tracking: slots")
