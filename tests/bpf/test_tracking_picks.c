/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md, step 3: the backend of a new flow by turn and by least cost. */
#include <stdio.h>

#include "support/rig.h"

/* ---- turns ---- */

LB_TEST(turns_are_taken_exactly)
{
	static const int list[] = {A, B, A, C, A, B};
	struct rig r = rig_make_turns(list, 6);

	for (int client = 0; client < 66; client++)
		assert_int_equal(rig_tcp(&r, 1 + client, SYN), list[client % 6]);
}

LB_TEST(a_flow_keeps_the_turn_it_got)
{
	static const int list[] = {A, B, C};
	struct rig r = rig_make_turns(list, 3);
	int got[30];

	for (int client = 0; client < 30; client++)
		got[client] = rig_tcp(&r, 1 + client, SYN);
	for (int client = 29; client >= 0; client--)
		assert_int_equal(rig_tcp(&r, 1 + client, ACK), got[client]);
	assert_int_equal(r.f->map.turns[r.tcp].next, 30);
}

LB_TEST(a_dead_backends_turn_falls_back_to_the_slot)
{
	static const int list[] = {A, B};
	struct rig r = rig_make_turns(list, 2);

	rig_set_usable(&r, B, false);
	for (int client = 0; client < 20; client++) {
		assert_int_equal(rig_tcp(&r, 1 + client, SYN), client % 2 ? C : A);
		assert_int_equal(rig_tcp(&r, 1 + client, ACK), client % 2 ? C : A);
	}
}

LB_TEST(a_dead_backends_turn_falls_back_to_current_also_in_transition)
{
	static const int list[] = {B};
	struct rig r = rig_make_turns(list, 1);

	rig_set_slots(&r, C, A, T);
	rig_set_usable(&r, B, false);
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
}

LB_TEST(without_a_turn_list_the_slot_decides)
{
	struct rig r = rig_make(
	    (struct lb_service){.select = LB_SELECT_TURN, .flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_stable(&r, B);
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
}

LB_TEST(a_turn_that_finds_no_place_goes_by_slot)
{
	static const int list[] = {A, B};
	struct rig r = rig_make_turns(list, 2);

	rig_fill_table(&r, r.tcp_id[A], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), C);
}

/* ---- least cost ---- */

struct crowd {
	struct rig r;
	int count;
	uint16_t id[128];
};

/* A least-cost service with so many members, 10.0.0.11 and up. */
static void crowd_make(struct crowd *c, int count)
{
	uint32_t words[128];

	c->r = rig_make(
	    (struct lb_service){.select = LB_SELECT_COST, .flags = LB_SERVICE_TRACK_ALWAYS});
	c->count = count;
	for (int i = 0; i < count; i++) {
		char dst[32];

		snprintf(dst, sizeof(dst), "10.0.0.%d", 11 + i);
		words[i] = c->id[i] =
		    fixture_backend(c->r.f, c->r.tcp, &(struct backend_spec){.dst = dst});
	}
	c->r.f->map.services[c->r.tcp].pick = fixture_region(c->r.f, words, count);
	rig_set_stable(&c->r, A);
}

LB_TEST(the_least_loaded_of_16_members_is_found_wherever_it_is)
{
	struct crowd c;

	crowd_make(&c, LB_EXACT_MEMBERS);
	for (int least = 0; least < LB_EXACT_MEMBERS; least++) {
		for (int i = 0; i < LB_EXACT_MEMBERS; i++)
			c.r.f->map.loads[c.id[i]].active = i == least ? 7 : 8;
		assert_int_equal(rig_tcp(&c.r, 1 + least, SYN), least);
		assert_int_equal(c.r.f->map.loads[c.id[least]].active, 8);
	}
}

LB_TEST(cost_weighs_the_active_flows)
{
	struct crowd c;
	int got[3] = {0};

	crowd_make(&c, 3);
	for (int i = 0; i < 3; i++)
		c.r.f->map.loads[c.id[i]].cost = 65536 / (i + 1); /* weights 1, 2, 3 */
	for (int client = 0; client < 60; client++)
		got[rig_tcp(&c.r, 1 + client, SYN)]++;
	assert_in_range(got[0], 9, 11);
	assert_in_range(got[1], 19, 21);
	assert_in_range(got[2], 29, 31);
}

LB_TEST(large_costs_do_not_overflow)
{
	struct crowd c;

	crowd_make(&c, 2);
	c.r.f->map.loads[c.id[0]] = (struct lb_load){.active = 1000000, .cost = 1u << 31};
	c.r.f->map.loads[c.id[1]] = (struct lb_load){.active = 999998, .cost = 1u << 31};
	assert_int_equal(rig_tcp(&c.r, 1, SYN), 1);
}

LB_TEST(a_negative_active_count_counts_as_none)
{
	struct crowd c;

	crowd_make(&c, 2);
	c.r.f->map.loads[c.id[0]].active = -5; /* between two corrections by the sweep */
	c.r.f->map.loads[c.id[1]].active = 1;
	assert_int_equal(rig_tcp(&c.r, 1, SYN), 0);
}

/* The flows are short and come one at a time: when each begins, four members are idle. */
LB_TEST(members_that_are_equally_idle_share_the_flows)
{
	struct crowd c;
	int got[5] = {0};

	crowd_make(&c, 5);
	c.r.f->map.loads[c.id[2]].active = 1;
	for (int client = 0; client < 200; client++) {
		int backend = rig_tcp(&c.r, 1 + client, SYN);

		got[backend]++;
		rig_tcp(&c.r, 1 + client, RST);
	}
	assert_int_equal(got[2], 0);
	/* 40 on average, and 80 for the one after the busy one; standard deviation 6 */
	for (int i = 0; i < 5; i++)
		if (i != 2)
			assert_true(got[i] >= 15);
}

LB_TEST(a_member_of_cost_zero_takes_no_new_flow)
{
	struct crowd c;

	crowd_make(&c, 3);
	c.r.f->map.loads[c.id[1]].cost = 0;
	for (int client = 0; client < 30; client++)
		assert_int_not_equal(rig_tcp(&c.r, 1 + client, SYN), 1);
}

LB_TEST(an_unusable_member_takes_no_new_flow)
{
	struct crowd c;

	crowd_make(&c, 3);
	fixture_backend_usable(c.r.f, c.id[2], false);
	for (int client = 0; client < 30; client++)
		assert_int_not_equal(rig_tcp(&c.r, 1 + client, SYN), 2);
}

LB_TEST(equal_members_fill_up_evenly)
{
	struct crowd c;

	crowd_make(&c, LB_EXACT_MEMBERS);
	for (int client = 0; client < 10 * LB_EXACT_MEMBERS; client++)
		rig_tcp(&c.r, 1 + client, SYN);
	for (int i = 0; i < LB_EXACT_MEMBERS; i++)
		assert_int_equal(c.r.f->map.loads[c.id[i]].active, 10);
}

LB_TEST(above_16_members_a_loaded_one_takes_a_flow_only_when_both_drawn_are)
{
	struct crowd c;
	int loaded = 0;

	crowd_make(&c, 100);
	for (int i = 0; i < 50; i++)
		c.r.f->map.loads[c.id[i]].active = 1000000;
	for (int client = 0; client < 400; client++) {
		int backend = rig_tcp(&c.r, 1 + client, SYN);

		assert_in_range(backend, 0, 99);
		loaded += backend < 50;
	}
	assert_in_range(loaded, 50, 150); /* one in four; 100 on average, standard deviation 9 */
}

LB_TEST(above_16_members_flows_spread_better_than_by_chance)
{
	struct crowd c;
	int squares = 0;

	crowd_make(&c, 100);
	for (int client = 0; client < 300; client++)
		rig_tcp(&c.r, 1 + client, SYN);
	for (int i = 0; i < 100; i++) {
		int off = c.r.f->map.loads[c.id[i]].active - 3;

		squares += off * off;
	}
	/* one choice: 300, standard deviation 42; the better of two: about 80 */
	assert_in_range(squares, 0, 180);
}

/* At the worst number of members: with one less, all would be compared. In 20 000 simulations each
 * member had 8 to 19 flows, and the squares of what it is off summed up to 90 at most; one draw
 * instead of two gives 230 on average, and 54 or less once in a thousand times. */
LB_TEST(just_above_16_members_none_is_far_from_the_average)
{
	struct crowd c;
	int squares = 0;

	crowd_make(&c, LB_EXACT_MEMBERS + 1);
	for (int client = 0; client < 15 * (LB_EXACT_MEMBERS + 1); client++)
		rig_tcp(&c.r, 1 + client, SYN);
	for (int i = 0; i < LB_EXACT_MEMBERS + 1; i++) {
		int off = c.r.f->map.loads[c.id[i]].active - 15;

		assert_in_range(off + 15, 6, 20);
		squares += off * off;
	}
	assert_in_range(squares, 0, 100);
}

/* Half of all weight is one member's: it is in the list as often as all others together. If all
 * were drawn alike, it would be drawn for 27 of 240 flows. */
LB_TEST(above_16_members_one_of_much_weight_gets_its_share)
{
	uint32_t list[2 * LB_EXACT_MEMBERS];
	struct crowd c;

	crowd_make(&c, LB_EXACT_MEMBERS + 1);
	for (int i = 0; i < LB_EXACT_MEMBERS; i++) {
		list[i] = c.id[LB_EXACT_MEMBERS];
		list[LB_EXACT_MEMBERS + i] = c.id[i];
		c.r.f->map.loads[c.id[i]].cost = 65536;
	}
	c.r.f->map.loads[c.id[LB_EXACT_MEMBERS]].cost = 65536 / LB_EXACT_MEMBERS;
	c.r.f->map.services[c.r.tcp].pick = fixture_region(c.r.f, list, 2 * LB_EXACT_MEMBERS);
	for (int client = 0; client < 240; client++)
		rig_tcp(&c.r, 1 + client, SYN);
	/* 120 to 136 in 20 000 simulations */
	assert_in_range(c.r.f->map.loads[c.id[LB_EXACT_MEMBERS]].active, 115, 140);
}

RIG_TEST_MAIN("tracking: picks")
