/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/tracking.md, "Flow table" and "Shares": the two buckets of a flow, the shares of services,
 * flows that find no place. */
#include "support/rig.h"

LB_TEST(a_full_first_bucket_overflows_into_the_second)
{
	struct rig r = RIG();
	struct lb_flow_bucket *first;
	int at;

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	at = rig_only_entry(&r) - r.f->map.flows[0].flow;
	first = &r.f->map.flows[at / LB_FLOW_WAYS];
	rig_clear_table(&r);
	for (int way = 0; way < LB_FLOW_WAYS; way++)
		first->flow[way] =
		    entry_make(way, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_entries(&r), LB_FLOW_WAYS + 1);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 0); /* there was room */
	assert_true(first->flow[0] & LB_FLOW_OVERFLOW);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);

	/* the flag outlives the entry whose word it is stored in */
	first->flow[0] = LB_FLOW_OVERFLOW;
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	for (int client = 2; client < 400; client++)
		rig_tcp(&r, client, SYN);
	assert_true(first->flow[0] & LB_FLOW_OVERFLOW);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(an_entry_of_the_second_bucket_gives_way_when_none_of_the_first_may)
{
	struct rig r = RIG();
	struct lb_flow_bucket *first, before;

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	first = &r.f->map.flows[(rig_only_entry(&r) - r.f->map.flows[0].flow) / LB_FLOW_WAYS];
	rig_clear_table(&r);
	for (int way = 0; way < LB_FLOW_WAYS; way++)
		first->flow[way] =
		    entry_make(RIG_PLACES + way, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	before = *first;
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 1);
	before.flow[0] |= LB_FLOW_OVERFLOW;
	assert_memory_equal(first, &before, sizeof(before));
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
}

LB_TEST(an_entry_that_takes_a_place_leaves_the_overflow_mark)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < FIXTURE_BUCKETS; i++)
		*rig_place(&r, i * LB_FLOW_WAYS) = LB_FLOW_OVERFLOW;
	assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_true(*rig_only_entry(&r) & LB_FLOW_OVERFLOW);
	for (int i = 0; i < FIXTURE_BUCKETS; i++)
		assert_true(*rig_place(&r, i * LB_FLOW_WAYS) & LB_FLOW_OVERFLOW);
}

LB_TEST(an_entry_is_refreshed_without_losing_the_overflow_mark)
{
	struct rig r = RIG();
	__u64 *entry;

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	entry = rig_only_entry(&r);
	assert_int_equal((entry - r.f->map.flows[0].flow) % LB_FLOW_WAYS, 0);
	*entry |= LB_FLOW_OVERFLOW;
	entry_age(entry, 5);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 1, FIN | ACK);
	assert_true(*entry & LB_FLOW_OVERFLOW);
	rig_tcp(&r, 1, SYN);
	assert_true(*entry & LB_FLOW_OVERFLOW);
	assert_int_equal(LB_FLOW_STATE(*entry), LB_FLOW_ESTABLISHED);
}

LB_TEST(a_syn_without_a_place_goes_to_the_keeper_with_its_later_packets)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(rig_stamped(&r, r.tcp), 1);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

/* ---- shares ---- */

LB_TEST(a_service_that_holds_all_it_may_has_its_new_flows_go_by_slot)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_set_share(&r, 2);
	for (int client = 1; client <= 2; client++) {
		assert_int_equal(rig_tcp(&r, client, SYN), B);
		assert_int_equal(rig_tcp(&r, client, ACK), B);
	}
	assert_int_equal(r.f->map.turns[r.tcp].held, 2);
	assert_int_equal(rig_tcp(&r, 3, SYN), A); /* where its later packets will go */
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(rig_entries(&r), 2);
	assert_int_equal(rig_udp(&r, 1), B); /* another service has a share of its own */
	assert_int_equal(rig_entries(&r), 3);
	assert_int_equal(rig_tcp(&r, 1, FIN | ACK), B);
	assert_int_equal(rig_tcp(&r, 4, SYN), B);
}

LB_TEST(what_a_service_holds_beyond_its_share_comes_out_of_the_common_half)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_set_share(&r, 1);
	r.f->map.turns[0].share = 3;
	r.f->map.turns[0].held = 0;
	for (int client = 1; client <= 3; client++)
		assert_int_equal(rig_tcp(&r, client, SYN), B);
	assert_int_equal(r.f->map.turns[r.tcp].held, 3);
	assert_int_equal(r.f->map.turns[0].held, 2);
	assert_int_equal(rig_tcp(&r, 1, ACK), B);
	assert_int_equal(rig_tcp(&r, 1, FIN | ACK), B);
	assert_int_equal(r.f->map.turns[0].held, 1);
	assert_int_equal(rig_tcp(&r, 2, FIN | ACK), B);
	assert_int_equal(rig_tcp(&r, 3, FIN | ACK), B);
	assert_int_equal(r.f->map.turns[r.tcp].held, 0);
	assert_int_equal(r.f->map.turns[0].held, 0);
}

LB_TEST(a_service_at_its_share_may_write_over_its_own_void_entries)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	rig_set_share(&r, 0);
	rig_set_usable(&r, B, false);
	rig_set_slots(&r, C, A, T);
	assert_int_equal(rig_tcp(&r, 1, SYN), C);
	assert_entry(*rig_only_entry(&r), LB_FLOW_SYN, r.tcp_id[C]);
}

static int firm_entries(struct rig *r)
{
	int count = 0;

	for (int i = 0; i < RIG_PLACES; i++)
		count += LB_FLOW_FIRM >> LB_FLOW_STATE(*rig_place(r, i)) & 1;
	return count;
}

LB_TEST(handshakes_begun_while_there_was_room_hold_no_more_than_allowed)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_set_share(&r, 2);
	for (int client = 1; client <= 20; client++)
		rig_tcp(&r, client, SYN);
	for (int client = 1; client <= 20; client++)
		rig_tcp(&r, client, ACK);
	assert_in_range(firm_entries(&r), 1, 2);
}

RIG_TEST_MAIN("tracking: places")
