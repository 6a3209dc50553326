/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md, step 3: affinity. A client's new flows go where its last one went. */
#include <stdio.h>
#include <string.h>

#include "support/rig.h"

static struct rig make_affinity(int mask4)
{
	static const int list[] = {A, B, C};
	struct rig r = rig_make_turns(list, 3);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	r.f->map.services[r.tcp].mask4 = mask4;
	return r;
}

static void age_affinity(struct rig *r, int state, uint32_t ticks)
{
	for (int i = 0; i < RIG_PLACES; i++)
		if (LB_FLOW_STATE(*rig_place(r, i)) == (uint32_t)state)
			entry_age(rig_place(r, i), ticks);
}

LB_TEST(a_client_goes_where_its_last_flow_went)
{
	struct rig r = make_affinity(32);

	for (int host = 1; host <= 30; host++) {
		int backend;

		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		backend = rig_tcp(&r, 1, SYN);
		assert_int_equal(backend, (host - 1) % 3);
		for (int client = 2; client < 8; client++)
			assert_int_equal(rig_tcp(&r, client, SYN), backend);
	}
}

LB_TEST(affinity_by_prefix_takes_neighbours_for_one_client)
{
	struct rig r = make_affinity(24);
	int backend = rig_tcp(&r, 1, SYN);

	strcpy(r.client, "198.51.100.200");
	assert_int_equal(rig_tcp(&r, 2, SYN), backend);
	strcpy(r.client, "198.51.101.200");
	assert_int_not_equal(rig_tcp(&r, 2, SYN), backend);
}

LB_TEST(affinity_to_a_dead_backend_is_written_anew)
{
	struct rig r = make_affinity(32);
	int first = rig_tcp(&r, 1, SYN), second;

	rig_set_usable(&r, first, false);
	second = rig_tcp(&r, 2, SYN);
	assert_int_not_equal(second, first);
	rig_set_usable(&r, first, true);
	for (int client = 3; client < 10; client++)
		assert_int_equal(rig_tcp(&r, client, SYN), second);
}

LB_TEST(affinity_is_forgotten_after_its_idle_time)
{
	struct rig r = make_affinity(32);

	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	age_affinity(&r, LB_FLOW_AFFINITY_NEW, 290);
	assert_int_equal(rig_tcp(&r, 2, SYN), A);
	age_affinity(&r, LB_FLOW_AFFINITY_NEW, 305);
	assert_int_equal(rig_tcp(&r, 3, SYN), B);
	assert_int_equal(rig_tcp(&r, 4, SYN), B);
}

LB_TEST(a_new_flow_of_a_client_renews_its_affinity)
{
	struct rig r = make_affinity(32);

	for (int client = 1; client < 8; client++) {
		assert_int_equal(rig_tcp(&r, client, SYN), A);
		age_affinity(&r, LB_FLOW_AFFINITY_NEW, 200);
	}
}

LB_TEST(an_established_flow_renews_an_affinity_that_has_expired)
{
	static const int list[] = {A, A, B};
	struct rig r = rig_make_turns(list, 3);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	age_affinity(&r, LB_FLOW_AFFINITY, 305);
	assert_int_equal(rig_tcp(&r, 2, SYN), A);
	assert_int_equal(rig_tcp(&r, 2, ACK), A);
	assert_int_equal(rig_tcp(&r, 3, SYN), A);
}

LB_TEST(affinity_is_firm_once_a_flow_is_established)
{
	struct rig r = make_affinity(32);
	int firm = 0;

	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	for (int i = 0; i < RIG_PLACES; i++)
		assert_int_not_equal(LB_FLOW_STATE(*rig_place(&r, i)), LB_FLOW_AFFINITY);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	for (int i = 0; i < RIG_PLACES; i++)
		firm += LB_FLOW_STATE(*rig_place(&r, i)) == LB_FLOW_AFFINITY;
	assert_int_equal(firm, 1);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
	for (int client = 100; client < 1000; client++) {
		snprintf(r.client, sizeof(r.client), "198.51.%d.%d", client / 200,
			 1 + client % 200);
		rig_tcp(&r, client, SYN);
	}
	strcpy(r.client, "198.51.100.7");
	assert_int_equal(rig_tcp(&r, 2, SYN), A);
}

LB_TEST(affinity_is_not_firm_beyond_the_services_share)
{
	static const int list[] = {A, B};
	struct rig r = rig_make_turns(list, 2);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	r.f->map.services[r.tcp].mask4 = 32;
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	rig_set_share(&r, 0);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	for (int i = 0; i < RIG_PLACES; i++)
		assert_int_not_equal(LB_FLOW_STATE(*rig_place(&r, i)), LB_FLOW_AFFINITY);
}

LB_TEST(a_syn_flood_on_a_service_with_affinity_takes_no_place_for_good)
{
	struct rig r = make_affinity(32);

	for (int client = 0; client < 4 * RIG_PLACES; client++) {
		snprintf(r.client, sizeof(r.client), "198.%d.%d.%d", 18 + client / 40000,
			 client / 200 % 200, 1 + client % 200);
		rig_tcp(&r, client, SYN);
	}
	for (int i = 0; i < RIG_PLACES; i++)
		assert_false(LB_FLOW_FIRM >> LB_FLOW_STATE(*rig_place(&r, i)) & 1);
}

LB_TEST(affinity_takes_a_client_from_a_backend_that_drains)
{
	struct rig r = make_affinity(32);

	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	rig_tcp(&r, 1, ACK);
	r.f->map.loads[r.tcp_id[A]].cost = 0;
	assert_int_not_equal(rig_tcp(&r, 2, SYN), A);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(affinity_does_not_move_an_established_flow)
{
	struct rig r = make_affinity(32);
	int first = rig_tcp(&r, 1, SYN), second;

	rig_tcp(&r, 1, ACK);
	rig_set_usable(&r, first, false);
	second = rig_tcp(&r, 2, SYN);
	rig_set_usable(&r, first, true);
	assert_int_equal(rig_tcp(&r, 1, ACK), first);
	assert_int_equal(rig_tcp(&r, 2, ACK), second);
}

LB_TEST(an_affinity_entry_is_not_an_active_flow)
{
	struct rig r = make_affinity(32);

	rig_tcp(&r, 1, SYN);
	assert_int_equal(rig_entries(&r), 2);
	assert_int_equal(rig_active(&r, A) + rig_active(&r, B) + rig_active(&r, C), 1);
}

LB_TEST(affinity_is_not_written_over_a_flow)
{
	struct rig r = make_affinity(32);
	__u64 *entry = NULL, before;

	rig_tcp(&r, 1, SYN);
	for (int i = 0; i < RIG_PLACES; i++)
		if (LB_FLOW_STATE(*rig_place(&r, i)) == LB_FLOW_AFFINITY_NEW)
			entry = rig_place(&r, i);
	assert_non_null(entry);
	entry_set_state(entry, LB_FLOW_ESTABLISHED); /* as when two fingerprints are the same */
	before = *entry;
	rig_tcp(&r, 2, SYN);
	rig_tcp(&r, 2, ACK);
	assert_true(*entry == before);
}

RIG_TEST_MAIN("tracking: affinity")
