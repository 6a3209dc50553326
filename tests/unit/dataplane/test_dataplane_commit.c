/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Commits on plain memory: slot rules, stable ids, what is written and what is not, limits,
 * resizes, tables, takeover. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bpf/csum.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define T LB_SLOT_TRANSITION
#define L LB_SLOT_LEARNING

enum { A = 1, B, C };

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want, wants[600];

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){1024, 512, 1 << 20, 64});
	dp = memory->dp;
	dp->clock = 10000;
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

/* ---- one slot ---- */

static const struct slot_rules tcp = {0}, udp = {.learns = true}, never = {.never = true},
			       resizing = {.resizing = true};

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

LB_TEST(a_slot_whose_backend_stays_is_untouched)
{
	struct slot_change change = slot_after(LB_SLOT(A, B) | T | L, A, true, true, udp);

	assert_int_equal(slot_after(LB_SLOT(A, A), A, true, true, tcp).slot, LB_SLOT(A, A));
	assert_int_equal(change.slot, LB_SLOT(A, B) | T | L);
	assert_false(change.moved || change.began);
}

LB_TEST(a_stable_slot_that_moves_keeps_the_old_backend)
{
	struct slot_change change = slot_after(LB_SLOT(A, A), B, true, true, tcp);

	assert_int_equal(change.slot, LB_SLOT(B, A) | T);
	assert_true(change.moved && change.began);
	assert_int_equal(slot_after(LB_SLOT(A, A), B, true, true, udp).slot, LB_SLOT(B, A) | T | L);
}

LB_TEST(the_first_keeper_stays_through_later_moves)
{
	struct slot_change change = slot_after(LB_SLOT(B, A) | T, C, true, true, tcp);

	assert_int_equal(change.slot, LB_SLOT(C, A) | T);
	assert_true(change.moved && !change.began);
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, A, true, true, tcp).slot, LB_SLOT(A, A) | T);
}

LB_TEST(dead_backends_keep_their_slots_and_gone_ones_nothing)
{
	assert_int_equal(slot_after(LB_SLOT(A, A), B, true, KEEPER_STANDS, tcp).slot,
			 LB_SLOT(B, A) | T);
	assert_int_equal(slot_after(LB_SLOT(A, A), B, false, KEEPER_GONE, tcp).slot, LB_SLOT(B, B));
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, C, true, KEEPER_GONE, tcp).slot,
			 LB_SLOT(C, C) | T);
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, C, false, KEEPER_STANDS, tcp).slot,
			 LB_SLOT(C, A) | T);
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, B, true, KEEPER_GONE, tcp).slot,
			 LB_SLOT(B, B) | T);
}

LB_TEST(flows_that_went_to_current_without_a_keeper_stay_there)
{
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, C, true, KEEPER_SUPERSEDED, tcp).slot,
			 LB_SLOT(C, B) | T);
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, C, false, KEEPER_SUPERSEDED, tcp).slot,
			 LB_SLOT(C, C) | T);
}

LB_TEST(learning_begins_again_when_a_keeper_ceases_to_be_current)
{
	const struct slot_rules hears = {.learns = true, .hears = true};
	const struct slot_rules hears_resizing = {.learns = true, .hears = true, .resizing = true};
	struct slot_change change = slot_after(LB_SLOT(A, A) | T, B, true, KEEPER_STANDS, hears);

	assert_int_equal(change.slot, LB_SLOT(B, A) | T | L);
	assert_true(change.began && change.moved);
	change = slot_after(LB_SLOT(B, A) | T, C, true, KEEPER_STANDS, hears);
	assert_int_equal(change.slot, LB_SLOT(C, A) | T);
	assert_false(change.began);
	change = slot_after(LB_SLOT(A, 0) | T, B, true, KEEPER_GONE, hears_resizing);
	assert_int_equal(change.slot, LB_SLOT(B, 0) | T | L);
	assert_true(change.began && change.moved);
}

LB_TEST(with_no_wanted_backend_draining_ones_keep_their_flows)
{
	assert_int_equal(slot_after(LB_SLOT(A, A), 0, true, true, tcp).slot, LB_SLOT(0, A) | T);
	assert_int_equal(slot_after(LB_SLOT(A, A), 0, false, false, tcp).slot, 0);
	assert_int_equal(slot_after(LB_SLOT(0, A) | T, B, false, true, tcp).slot,
			 LB_SLOT(B, A) | T);
	assert_int_equal(slot_after(0, B, false, false, tcp).slot, LB_SLOT(B, B));
}

LB_TEST(without_tracking_a_slot_is_never_in_transition)
{
	assert_int_equal(slot_after(LB_SLOT(A, A), B, true, true, never).slot, LB_SLOT(B, B));
	assert_int_equal(slot_after(LB_SLOT(B, A) | T | L, B, true, true, never).slot,
			 LB_SLOT(B, B));
}

LB_TEST(while_resizing_keeper_0_stands_for_the_old_ring)
{
	assert_int_equal(slot_after(LB_SLOT(A, 0) | T, B, true, false, resizing).slot,
			 LB_SLOT(B, 0) | T);
	assert_int_equal(slot_after(LB_SLOT(A, A), B, true, true, resizing).slot,
			 LB_SLOT(B, A) | T);
	assert_int_equal(slot_after(LB_SLOT(B, A) | T, C, true, false, resizing).slot,
			 LB_SLOT(C, C) | T);
}

/* ---- services and backends ---- */

static uint16_t service_of(const char *vip, int protocol, int port)
{
	const struct lb_tables *tables = &dp->maps.settings->tables[dp->maps.settings->active];
	struct addr address;
	__be32 words[4];

	assert_int_equal(addr_parse(vip, &address), 0);
	memcpy(words, address.bytes, sizeof(words));
	for (unsigned i = 0; i < LB_VIP_WAYS; i++) {
		uint32_t vip_hash = lb_vip_hash(words, address.family, tables->multiplier), bucket;
		const struct lb_vip *found =
		    &dp->maps.vips[tables->vip_base + (vip_hash & tables->vip_mask)].vip[i];
		uint64_t key = LB_PORT_KEY(found->id, port, protocol);

		if (!found->id || found->family != address.family ||
		    memcmp(found->addr, words, sizeof(words)))
			continue;
		bucket = lb_port_hash(vip_hash, key, tables->multiplier) & tables->port_mask;
		for (unsigned way = 0; way < LB_PORT_WAYS; way++) {
			uint64_t word = dp->maps.ports[tables->port_base + bucket].port[way];

			if ((word & LB_PORT_KEY_MASK) == key && word)
				return LB_PORT_SERVICE(word);
		}
	}
	return 0;
}

/* The number of slots of a region with this current and this keeper. ANY: matches all. */
#define ANY UINT16_MAX
static uint32_t slots_with(uint64_t region, uint16_t current, uint16_t keeper)
{
	const uint32_t *slots = &dp->maps.arena[LB_REGION_BASE(region)];
	uint32_t count = 0;

	for (uint32_t i = 0; i < LB_REGION_SIZE(region); i++)
		count += (current == ANY || LB_SLOT_CURRENT(slots[i]) == current) &&
			 (keeper == ANY || LB_SLOT_KEEPER(slots[i]) == keeper);
	return count;
}

TEST(a_committed_service_is_found_and_described)
{
	const struct lb_service *line;

	want.service.forward = LB_FORWARD_GUE;
	want_add(&want, 1, 100);
	want_commit(dp, &want, 1);
	line = &dp->maps.services[service_of("192.0.2.1", IPPROTO_TCP, 80)];
	assert_ptr_equal(line, want_line(dp, &want));
	assert_int_equal(line->id, line - dp->maps.services);
	assert_int_equal(line->forward, LB_FORWARD_GUE);
	assert_int_equal(line->hash, LB_HASH_FULL);
	assert_int_equal(line->mask4, 32);
	assert_int_equal(line->tcp_idle, 280); /* 300 s in ticks of 1.07 s, rounded up */
	assert_int_equal(LB_REGION_SIZE(line->ring), 251);
	assert_int_equal(service_of("192.0.2.1", IPPROTO_UDP, 80), 0);
	assert_int_equal(service_of("192.0.2.2", IPPROTO_TCP, 80), 0);
}

TEST(a_backend_line_has_outer_header_and_next_hop)
{
	const struct lb_backend *line;
	struct dp_backend *backend = want_add(&want, 5, 100);

	backend->hop.vlan_tci = 42;
	dp->encap_source[0] = (struct addr){4, {172, 16, 3, 4}}; /* 3 and 4 are not the prefix's */
	dp->encap_source_len[0] = 16;
	want_commit(dp, &want, 1);
	line = &dp->maps.backends[want_id(dp, &want, 5)];
	assert_int_equal(line->flags, LB_BACKEND_USED | LB_BACKEND_USABLE | LB_BACKEND_TAGGED);
	assert_int_equal(line->family, 4);
	assert_int_equal(line->ifindex, 7);
	assert_int_equal(line->mtu, 1500);
	assert_int_equal(line->link_mtu, 1500);
	assert_int_equal(line->vlan_tci, htons(42));
	assert_int_equal(line->spread, htonl(0xffff));
	assert_int_equal(line->outer_src[0], htonl(0xac100000));
	assert_int_equal(line->outer_dst[0], htonl(0x0a000005));
	assert_int_equal(line->csum, csum_of_constants(line->outer_dst[0], OUTER_TTL, 4));
	assert_memory_equal(line->dst_mac, backend->hop.dst_mac, 6);
	assert_int_equal(line->service, want_line(dp, &want)->id);
}

TEST(what_a_router_has_reported_is_written_beside_the_mtu_of_the_link)
{
	struct dp_backend *backend = want_add(&want, 5, 100);
	const struct lb_backend *line;

	want_commit(dp, &want, 1);
	backend->path_mtu = 1400;
	want_commit(dp, &want, 1);
	line = &dp->maps.backends[want_id(dp, &want, 5)];
	assert_int_equal(line->mtu, 1400);
	assert_int_equal(line->link_mtu, 1500);
	backend->path_mtu = 0;
	want_commit(dp, &want, 1);
	assert_int_equal(line->mtu, 1500);
}

TEST(an_ipv6_backend_varies_the_last_word_of_its_source)
{
	struct dp_backend *backend = want_add(&want, 5, 100);
	struct addr address = {6, {0xfd, [15] = 9}};
	const struct lb_backend *line;

	backend->address = address;
	dp->encap_source[1] = (struct addr){6, {1}};
	dp->encap_source_len[1] = 64;
	want_commit(dp, &want, 1);
	line = &dp->maps.backends[record_find(dp_find(dp, &want.service), &address)->id];
	assert_int_equal(line->family, 6);
	assert_int_equal(line->spread, 0xffffffff);
	assert_memory_equal(line->outer_dst, address.bytes, 16);
	assert_int_equal(line->csum, 0);
}

TEST(the_same_again_writes_nothing)
{
	size_t bytes = dp->maps.arena_slots * sizeof(uint32_t);
	void *before = malloc(bytes);
	uint32_t active;

	for (unsigned n = 0; n < 10; n++)
		want_add(&want, n, 1 + n);
	want_commit(dp, &want, 1);
	assert_non_null(before);
	memcpy(before, dp->maps.arena, bytes);
	active = dp->maps.settings->active;
	for (unsigned n = 0; n < 5; n++) { /* the order does not matter */
		struct dp_backend swap = want.backends[n];

		want.backends[n] = want.backends[9 - n];
		want.backends[9 - n] = swap;
	}
	want_commit(dp, &want, 1);
	assert_memory_equal(before, dp->maps.arena, bytes);
	assert_int_equal(dp->maps.settings->active, active);
	free(before);
}

TEST(ids_stay_when_others_come_and_go)
{
	uint16_t id[3];

	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < 3; n++)
		id[n] = want_id(dp, &want, n);
	want_remove(&want, 1);
	want_add(&want, 9, 10);
	want_commit(dp, &want, 1);
	assert_int_equal(want_id(dp, &want, 0), id[0]);
	assert_int_equal(want_id(dp, &want, 2), id[2]);
	assert_int_not_equal(want_id(dp, &want, 9), id[1]); /* in quarantine */
	assert_int_equal(dp->maps.backends[id[1]].flags, 0);
}

TEST(a_new_backend_takes_its_slots_and_only_those_change)
{
	uint32_t size, *slots, *before, taken = 0;
	uint16_t id;

	for (unsigned n = 0; n < 5; n++)
		want_add(&want, n, 10);
	want.service.slots = 1021;
	want_commit(dp, &want, 1);
	slots = want_slots(dp, &want, &size);
	before = calloc(size, sizeof(*before));
	assert_non_null(before);
	memcpy(before, slots, size * sizeof(*before));
	want_add(&want, 5, 10);
	want_commit(dp, &want, 1);
	id = want_id(dp, &want, 5);
	for (uint32_t i = 0; i < size; i++) {
		if (slots[i] == before[i])
			continue;
		assert_int_equal(LB_SLOT_KEEPER(slots[i]), LB_SLOT_CURRENT(before[i]));
		assert_true(slots[i] & T);
		assert_int_equal(dp->maps.stamps[LB_REGION_BASE(want_line(dp, &want)->ring) + i],
				 10000);
		taken += LB_SLOT_CURRENT(slots[i]) == id;
	}
	assert_in_range(taken, size / 6, size / 6 + 1);
	free(before);
}

TEST(others_stand_in_for_a_dead_backend_and_it_finds_its_flows_again)
{
	struct dp_service_stats stats;
	uint32_t size, *slots, own = 0;
	uint16_t id, other;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	other = want_id(dp, &want, 0);
	id = want_id(dp, &want, 1);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	slots = want_slots(dp, &want, &size);
	for (uint32_t i = 0; i < size; i++) {
		assert_int_equal(LB_SLOT_CURRENT(slots[i]), other);
		own += LB_SLOT_KEEPER(slots[i]) == id;
	}
	assert_in_range(own, size / 2 - 1, size / 2 + 1);
	assert_int_equal(dp->maps.backends[id].flags, LB_BACKEND_USED);
	want_find(&want, 1)->usable = true;
	want_commit(dp, &want, 1);
	assert_int_equal(want_id(dp, &want, 1), id);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_int_equal(stats.slots_in_transition, own);
	for (uint32_t i = 0; i < size; i++)
		assert_true(!(slots[i] & T) || LB_SLOT_CURRENT(slots[i]) == id);
}

TEST(a_backend_that_stays_dead_is_given_up_after_an_idle_time)
{
	struct dp_service_stats stats;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, 10000 + want_line(dp, &want)->tcp_idle);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_true(stats.slots_in_transition);
	sweep_rounds(dp, 1, 10000 + want_line(dp, &want)->tcp_idle + 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_int_equal(stats.slots_in_transition, 0);
}

/* Backend 1 of two dies at 10000 and is back later; a new flow found no place in the table in tick
 * `unplaced` (0: none did). Whether the backend gets all its slots back. */
static bool claims_its_slots_back(uint32_t unplaced, bool takeover)
{
	struct lb_service *line;
	uint16_t id;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	id = want_id(dp, &want, 1);
	dp->maps.turns[line->id].unplaced = unplaced < 10000 ? unplaced : 0;
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	assert_int_equal(slots_with(line->ring, id, ANY), 0);
	assert_int_equal(dp->maps.loads[id].cost, 0);
	if (takeover)
		dp = memory_dataplane_restart(memory);
	dp->maps.turns[line->id].unplaced = unplaced;
	dp->clock = 10010;
	/* some other change meanwhile, with the backend still dead */
	want.service.tcp_idle_ms += 5000;
	want_commit(dp, &want, 1);
	dp->clock = 10020;
	want_find(&want, 1)->usable = true;
	want_commit(dp, &want, 1);
	assert_true(slots_with(line->ring, id, ANY) > 100);
	return slots_with(line->ring, id, id) == slots_with(line->ring, id, ANY);
}

TEST(a_dead_backend_finds_its_flows_if_none_of_them_lacked_a_place)
{
	assert_true(claims_its_slots_back(0, false));
}

TEST(a_flow_that_lacked_a_place_before_a_backends_death_costs_it_nothing)
{
	assert_true(claims_its_slots_back(9999, false));
}

TEST(a_flow_that_lacked_a_place_in_the_tick_of_a_backends_death_stays_where_it_went)
{
	assert_false(claims_its_slots_back(10000, false));
}

TEST(a_flow_that_lacked_a_place_while_a_backend_was_dead_stays_where_it_went)
{
	assert_false(claims_its_slots_back(10005, false));
}

TEST(after_a_takeover_a_flow_may_have_lacked_a_place_while_a_backend_was_dead)
{
	assert_false(claims_its_slots_back(10005, true));
}

/* The same if death, the flow without a place, and return all lie between two commits. */
TEST(a_backend_that_is_back_claims_no_flow_that_lacked_a_place_meanwhile)
{
	struct lb_service *line;
	uint16_t id;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	id = want_id(dp, &want, 1);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	dp->maps.turns[line->id].unplaced = 10005;
	dp->clock = 10020;
	want_find(&want, 1)->usable = true;
	want_commit(dp, &want, 1);
	assert_true(slots_with(line->ring, id, ANY) > 100);
	assert_int_equal(slots_with(line->ring, id, id), 0);
	dp->clock = 10030; /* from now on it is an ordinary backend */
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	assert_int_equal(slots_with(line->ring, id, ANY), 0);
}

TEST(a_removed_backend_keeps_no_slot)
{
	struct lb_service *line;
	uint16_t id;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want.service.slots = 251;
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	id = want_id(dp, &want, 1);
	want_find(&want, 1)->weight = 0;
	want_commit(dp, &want, 1);
	assert_true(slots_with(line->ring, ANY, id) > 100);
	want_remove(&want, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(slots_with(line->ring, ANY, id), 0);
}

TEST(older_flows_have_an_idle_time_to_be_heard_once_their_keeper_ceases_to_be_current_again)
{
	uint16_t id, idle;
	uint64_t ring;

	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	ring = want_line(dp, &want)->ring;
	idle = want_line(dp, &want)->tcp_idle;
	id = want_id(dp, &want, 1);
	for (unsigned times = 0; times < 2;
	     times++) { /* the second time, its slots are already in transition */
		dp->clock = 10000 + times * (idle + 10);
		want_find(&want, 1)->weight = 0;
		want_commit(dp, &want, 1);
		for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
			if (LB_SLOT_KEEPER(dp->maps.arena[LB_REGION_BASE(ring) + i]) == id) {
				assert_true(dp->maps.arena[LB_REGION_BASE(ring) + i] & L);
				/* it is used */
				dp->maps.stamps[LB_REGION_BASE(ring) + i] = dp->clock + idle;
			}
		sweep_rounds(dp, 1, dp->clock + idle);
		assert_true(slots_with(ring, ANY, id) > 100);
		for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
			if (LB_SLOT_KEEPER(dp->maps.arena[LB_REGION_BASE(ring) + i]) == id)
				assert_true(dp->maps.arena[LB_REGION_BASE(ring) + i] & L);
		sweep_rounds(dp, 1, dp->clock + 1);
		for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
			if (LB_SLOT_KEEPER(dp->maps.arena[LB_REGION_BASE(ring) + i]) == id)
				assert_false(dp->maps.arena[LB_REGION_BASE(ring) + i] & L);
		want_find(&want, 1)->weight = 10;
		want_commit(dp, &want, 1);
	}
}

TEST(a_removed_service_is_gone_and_its_region_is_used_again)
{
	uint32_t unused = arena_unused(&dp->arena);

	want_add(&want, 1, 1);
	want_commit(dp, &want, 1);
	want_commit(dp, NULL, 0);
	assert_int_equal(service_of("192.0.2.1", IPPROTO_TCP, 80), 0);
	dp_grace(dp);
	assert_int_equal(arena_unused(&dp->arena), unused);
	want_commit(dp, &want, 1);
	assert_int_not_equal(service_of("192.0.2.1", IPPROTO_TCP, 80), 0);
}

TEST(a_port_that_is_any_is_marked_on_its_vip)
{
	want_init(&wants[0], "192.0.2.1", IPPROTO_UDP, 0, "maglev");
	want_init(&wants[1], "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_commit(dp, wants, 2);
	assert_int_equal(service_of("192.0.2.1", IPPROTO_UDP, 0), want_line(dp, &wants[0])->id);
	assert_int_equal(service_of("192.0.2.1", IPPROTO_TCP, 80), want_line(dp, &wants[1])->id);
	for (uint32_t i = 0; i < dp->maps.vip_buckets; i++)
		for (unsigned way = 0; way < LB_VIP_WAYS; way++)
			if (dp->maps.vips[i].vip[way].id)
				assert_int_equal(dp->maps.vips[i].vip[way].flags, LB_VIP_ANY_UDP);
}

TEST(many_vips_of_both_families_are_all_found)
{
	char vip[64];

	for (unsigned i = 0; i < 600; i++) {
		snprintf(vip, sizeof(vip), i % 3 ? "10.%u.%u.1" : "2001:db8::%x:%x", i / 250,
			 i % 250);
		want_init(&wants[i], vip, i % 2 ? IPPROTO_TCP : IPPROTO_UDP, 1000 + i, "maglev");
	}
	want_commit(dp, wants, 600);
	for (unsigned i = 0; i < 600; i++) {
		addr_format(&wants[i].service.vip, vip);
		assert_int_equal(service_of(vip, wants[i].service.protocol, 1000 + i),
				 want_line(dp, &wants[i])->id);
	}
}

/* ---- limits ---- */

static uint32_t ids_in_use(void)
{
	uint32_t count = 0;

	for (uint32_t id = 1; id < dp->maps.backend_slots; id++)
		count += dp->backend_ids.state[id] == ID_USED;
	for (uint32_t id = 1; id < dp->maps.service_slots; id++)
		count += dp->service_ids.state[id] == ID_USED;
	return count;
}

static void refuse(const struct dp_service *services, size_t count, int code, const char *says)
{
	uint32_t ids = ids_in_use();
	uint32_t unused = arena_unused(&dp->arena), active = dp->maps.settings->active;
	size_t bytes = dp->maps.arena_slots * sizeof(uint32_t);
	size_t lines = dp->maps.backend_slots * sizeof(struct lb_backend);
	void *arena = malloc(bytes), *backends = malloc(lines);
	struct error err = {0};

	assert_true(arena && backends);
	memcpy(arena, dp->maps.arena, bytes);
	memcpy(backends, dp->maps.backends, lines);
	assert_int_equal(dataplane_commit(dp, services, count, &err), code);
	if (!strstr(err.text, says))
		fail_msg("expected \"%s\" in \"%s\"", says, err.text);
	assert_memory_equal(arena, dp->maps.arena, bytes);
	assert_memory_equal(backends, dp->maps.backends, lines);
	assert_int_equal(ids_in_use(), ids);
	assert_int_equal(arena_unused(&dp->arena), unused);
	assert_int_equal(dp->maps.settings->active, active);
	free(arena);
	free(backends);
}

TEST(a_limit_that_is_reached_changes_nothing_and_is_named)
{
	struct dp_service services[2];

	for (unsigned n = 0; n < 200; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	wants[0] = want;
	wants[0].service.port = 81;
	wants[0].service.slots = 1048573;
	services[0] = want.service;
	services[1] = wants[0].service;
	refuse(services, 2, -ENOSPC, "192.0.2.1:81/tcp: limits.slots: 1048576");
}

static int make_small(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){2, 4, 8192, 4});
	dp = memory->dp;
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	return 0;
}

LB_TEST_SETUP(too_many_backends_are_refused, make_small, teardown)
{
	struct dp_service services[3];

	for (unsigned n = 0; n < 4; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want_add(&want, 4, 1);
	refuse(&want.service, 1, -ENOSPC, "backend 10.0.0.4: limits.backends: 4");
	want_remove(&want, 4);
	want_commit(dp, &want, 1);
	for (unsigned i = 0; i < 3; i++) {
		services[i] = want.service;
		services[i].port += i;
	}
	refuse(services, 3, -ENOSPC, "limits.services: 2: 3 services are wanted");
}

LB_TEST_SETUP(an_id_in_quarantine_is_cleaned_when_it_is_the_last, make_small, teardown)
{
	for (unsigned n = 0; n < 4; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	dp->maps.flows[3] =
	    1ULL << 63 | 4ULL << LB_FLOW_BACKEND_SHIFT | LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT;
	dp->maps.loads[4].active = 3; /* wrong by two */
	want_remove(&want, 3);
	want_commit(dp, &want, 1);
	want_add(&want, 9, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(want_id(dp, &want, 9), 4);
	assert_int_equal(dp->maps.flows[3], 0);
	assert_int_equal(dp->maps.loads[4].active, 0);
}

TEST(doubles_and_sizes_that_are_no_primes_are_refused)
{
	struct dp_service services[2];

	want_add(&want, 1, 1);
	services[0] = services[1] = want.service;
	refuse(services, 2, -EEXIST, "192.0.2.1:80/tcp: given twice");
	want_add(&want, 1, 2);
	refuse(&want.service, 1, -EEXIST, "backend 10.0.0.1: given twice");
	want.service.backends_count = 1;
	want.service.slots = 1000;
	refuse(&want.service, 1, -EINVAL, "slots: 1000: expected a prime number");
}

/* ---- resizes ---- */

TEST(a_ring_grows_beside_the_old_one_and_waits_for_it)
{
	struct lb_service *line;
	uint32_t size, *slots;
	uint64_t old;

	want_add(&want, 0, 1);
	want_add(&want, 1, 1);
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	old = line->ring;
	assert_int_equal(LB_REGION_SIZE(old), 251);
	want_add(&want, 2, 1);
	want_commit(dp, &want, 1);
	slots = want_slots(dp, &want, &size);
	assert_int_equal(size, 509);
	assert_true(line->old_ring == old);
	for (uint32_t i = 0; i < size; i++) {
		assert_true(slots[i] & T);
		assert_int_equal(LB_SLOT_KEEPER(slots[i]), 0);
	}
	for (unsigned n = 3; n < 8; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(line->ring), 509);
	/* the slots settle, which starts the next resize */
	sweep_rounds(dp, 2, 10000 + line->tcp_idle + 1);
	assert_int_equal(LB_REGION_SIZE(line->ring), 1021);
	assert_int_equal(LB_REGION_SIZE(line->old_ring), 509);
}

/* Three backends; the second dies, then the ring changes its size. */
static struct lb_service *resize_with_a_dead_keeper(uint32_t unplaced)
{
	struct lb_service *line;

	want.service.slots = 251;
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	dp->maps.turns[line->id].unplaced = unplaced;
	dp->clock = 10010;
	want_find(&want, 0)->weight = 0; /* so that the old ring would have other backends by now */
	want.service.slots = 509;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(line->old_ring), 251);
	return line;
}

TEST(a_dead_keeper_leaves_the_old_ring)
{
	struct lb_service *line = resize_with_a_dead_keeper(0);

	assert_int_equal(slots_with(line->old_ring, ANY, want_id(dp, &want, 1)), 0);
	assert_int_equal(
	    slots_with(line->old_ring, want_id(dp, &want, 0), ANY),
	    slots_with(line->old_ring, want_id(dp, &want, 0), want_id(dp, &want, 0)) +
		slots_with(line->old_ring, want_id(dp, &want, 0), want_id(dp, &want, 2)));
	assert_true(slots_with(line->old_ring, want_id(dp, &want, 0), want_id(dp, &want, 2)) > 0);
}

TEST(flows_that_lacked_a_place_stay_where_they_went_when_the_ring_changes_size)
{
	struct lb_service *line = resize_with_a_dead_keeper(10005);

	assert_int_equal(slots_with(line->old_ring, ANY, want_id(dp, &want, 1)), 0);
	assert_int_equal(slots_with(line->old_ring, want_id(dp, &want, 0), want_id(dp, &want, 2)),
			 0);
}

TEST(a_keeper_that_dies_during_a_resize_leaves_the_old_ring)
{
	struct lb_service *line;

	want.service.slots = 251;
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	want.service.slots = 509;
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	assert_true(slots_with(line->old_ring, ANY, want_id(dp, &want, 1)) > 0);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	assert_int_equal(slots_with(line->old_ring, ANY, want_id(dp, &want, 1)), 0);
	assert_int_equal(slots_with(line->old_ring, ANY, 0), 0);
}

/* By the definition: slots of the old ring whose part of the hash range, a multiple of
 * 1 / (old * new), overlaps with that of slot `at`; once for each such pair. */
static unsigned count_kept(const struct lb_service *line, uint16_t id)
{
	const uint32_t *slots = dp_slots(dp, line->ring), *old = dp_slots(dp, line->old_ring);
	uint64_t size = LB_REGION_SIZE(line->ring), old_size = LB_REGION_SIZE(line->old_ring);
	unsigned count = 0;

	for (uint64_t at = 0; at < size; at++)
		for (uint64_t i = 0; i < old_size; i++)
			count += i * size < (at + 1) * old_size && at * old_size < (i + 1) * size &&
				 LB_SLOT_KEEPER(old[i]) == id && LB_SLOT_CURRENT(slots[at]) != id;
	return count;
}

static void expect_kept_in_old_ring(uint32_t before, uint32_t after)
{
	const struct lb_service *line;
	struct dp_backend_stats stats;

	want.service.slots = before;
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	want.service.slots = after;
	want_find(&want, 0)->weight = 1;
	want_commit(dp, &want, 1);
	line = want_line(dp, &want);
	assert_int_equal(LB_REGION_SIZE(line->old_ring), before);
	for (unsigned n = 0; n < 3; n++) {
		dataplane_backend_stats(dp, &want.service, &want_find(&want, n)->address, &stats);
		assert_true(stats.kept_slots);
		assert_int_equal(stats.kept_slots, count_kept(line, want_id(dp, &want, n)));
	}
}

TEST(keepers_in_a_smaller_old_ring_count_for_each_slot_that_overlaps)
{
	expect_kept_in_old_ring(251, 1021);
}

TEST(keepers_in_a_larger_old_ring_count_for_each_slot_that_overlaps)
{
	expect_kept_in_old_ring(509, 101);
}

/* All backends drain: no slot has a current, but the keepers have their flows. */
TEST(a_ring_on_nobody_that_keeps_flows_is_not_thrown_away)
{
	want.service.slots = 251;
	want_add(&want, 0, 10);
	want_commit(dp, &want, 1);
	want_find(&want, 0)->weight = 0;
	want_commit(dp, &want, 1);
	want.service.slots = 509;
	want_commit(dp, &want, 1);
	assert_int_equal(slots_with(want_line(dp, &want)->old_ring, 0, want_id(dp, &want, 0)), 251);
}

TEST(a_ring_has_the_size_of_its_configuration_whatever_was_before)
{
	for (unsigned n = 0; n < 8; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want.service.backends_count = 1;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->ring), 251);
}

TEST(backends_that_leave_do_not_size_the_ring)
{
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, n < 2);
	want.service.ring_backends = 2;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->ring), 251);
}

TEST(a_ring_of_equal_shares_is_coarse)
{
	for (unsigned n = 0; n < 12; n++)
		want_add(&want, n, 1);
	want.service.ring_grain = RING_COARSE;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->ring), 509);
	/* weights of the moment do not size it, nor does what is dead */
	want_find(&want, 1)->weight = 1000;
	want_find(&want, 2)->usable = false;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->ring), 509);
}

/* An lbd that sizes rings otherwise takes over: the ring changes size as after any other change of
 * the configuration, and the old one has the keepers of all flows. */
TEST(a_ring_of_another_grain_that_is_taken_over_keeps_its_flows)
{
	struct lb_service *line;
	uint64_t old;

	for (unsigned n = 0; n < 12; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	old = want_line(dp, &want)->ring;
	assert_int_equal(LB_REGION_SIZE(old), 2039);
	dp = memory_dataplane_restart(memory);
	line = want_line(dp, &want);
	assert_true(line->ring == old);
	want.service.ring_grain = RING_COARSE;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(line->ring), 509);
	assert_true(line->old_ring == old);
	assert_int_equal(slots_with(line->ring, ANY, 0), 509);
	for (unsigned n = 0; n < 12; n++) {
		uint16_t id = want_id(dp, &want, n);

		assert_true(slots_with(old, id, id) >= 2039 / 12);
	}
	dp->clock = 10000;
	sweep_rounds(dp, 2, 10000 + line->tcp_idle + 1);
	assert_true(line->old_ring == 0);
	assert_int_equal(LB_REGION_SIZE(line->ring), 509);
}

TEST(rings_of_the_same_configuration_have_the_same_digest)
{
	struct dp_service_stats first, stats;

	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 10);
	want_commit(dp, &want, 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &first), 0);
	want_find(&want, 1)->weight = 20;
	want_commit(dp, &want, 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_true(stats.ring_digest != first.ring_digest);
	want_remove(&want, 1);
	want_commit(dp, &want, 1);
	want_add(&want, 1, 10); /* with another id */
	want_commit(dp, &want, 1);
	/* one resize after the other */
	sweep_rounds(dp, 2, 10000 + want_line(dp, &want)->tcp_idle + 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_true(stats.ring_digest == first.ring_digest);
}

TEST(a_first_backend_needs_no_transition)
{
	uint32_t size, *slots;

	want.service.slots = 7;
	want_commit(dp, &want, 1);
	for (unsigned n = 0; n < 5; n++)
		want_add(&want, n, 1);
	want.service.slots = 0;
	want_commit(dp, &want, 1);
	slots = want_slots(dp, &want, &size);
	assert_int_equal(size, 509);
	assert_int_equal(want_line(dp, &want)->old_ring, 0);
	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(slots[i],
				 LB_SLOT(LB_SLOT_CURRENT(slots[i]), LB_SLOT_CURRENT(slots[i])));
}

TEST(without_tracking_a_ring_is_replaced_at_once)
{
	want.service.track_never = true;
	want_add(&want, 0, 1);
	want_commit(dp, &want, 1);
	for (unsigned n = 1; n < 8; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->ring), 1021);
	assert_int_equal(want_line(dp, &want)->old_ring, 0);
}

/* ---- picks ---- */

/* How often a backend is in the list from which new flows are assigned. */
static unsigned times_in_list(unsigned n)
{
	uint64_t list = want_line(dp, &want)->pick;
	unsigned times = 0;

	for (uint32_t i = 0; i < LB_REGION_SIZE(list); i++)
		times += dp->maps.arena[LB_REGION_BASE(list) + i] == want_id(dp, &want, n);
	return times;
}

TEST(up_to_16_members_of_any_weight_are_each_in_the_list_once)
{
	want.service.algorithm = algo_find("lc");
	for (unsigned n = 0; n < LB_EXACT_MEMBERS; n++)
		want_add(&want, n, 10 + n);
	want_add(&want, LB_EXACT_MEMBERS, 0); /* takes no new flow */
	want_add(&want, LB_EXACT_MEMBERS + 1, 10)->usable = false;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->pick), LB_EXACT_MEMBERS);
	for (unsigned n = 0; n < LB_EXACT_MEMBERS; n++)
		assert_int_equal(times_in_list(n), 1);
}

TEST(of_more_than_16_members_each_is_in_the_list_as_often_as_its_weight_says)
{
	want.service.algorithm = algo_find("lc");
	for (unsigned n = 0; n < LB_EXACT_MEMBERS + 1; n++)
		want_add(&want, n, n ? 10 : 160);
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->pick), 2 * LB_EXACT_MEMBERS);
	assert_int_equal(times_in_list(0), LB_EXACT_MEMBERS);
	for (unsigned n = 1; n < LB_EXACT_MEMBERS + 1; n++)
		assert_int_equal(times_in_list(n), 1);
	/* latencies change what a flow costs, not the list */
	want_find(&want, 3)->latency_us = 1000;
	want_commit(dp, &want, 1);
	assert_int_equal(LB_REGION_SIZE(want_line(dp, &want)->pick), 2 * LB_EXACT_MEMBERS);
}

TEST(a_list_is_replaced_not_rewritten)
{
	uint64_t before, after;
	uint32_t first;

	want.service.algorithm = algo_find("rr");
	want_add(&want, 0, 1);
	want_add(&want, 1, 1);
	want_commit(dp, &want, 1);
	before = want_line(dp, &want)->pick;
	first = dp->maps.arena[LB_REGION_BASE(before)];
	want_find(&want, 0)->usable = false;
	want_commit(dp, &want, 1);
	after = want_line(dp, &want)->pick;
	assert_int_equal(LB_REGION_SIZE(after), 1);
	assert_int_not_equal(LB_REGION_BASE(before), LB_REGION_BASE(after));
	assert_int_equal(dp->maps.arena[LB_REGION_BASE(before)], first);
	want_find(&want, 1)->usable = false;
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->pick, 0);
	assert_true(want_line(dp, &want)->flags & LB_SERVICE_TRACK_ALWAYS);
}

TEST(affinity_tracks_always_and_knows_who_takes_new_flows)
{
	want.service.affinity = true;
	want_add(&want, 0, 1);
	want_add(&want, 1, 0);
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->flags,
			 LB_SERVICE_AFFINITY | LB_SERVICE_TRACK_ALWAYS);
	assert_true(dp->maps.loads[want_id(dp, &want, 0)].cost > 0);
	assert_int_equal(dp->maps.loads[want_id(dp, &want, 1)].cost, 0);
}

/* The number of slots of the ring with any of these flags. */
static uint32_t flagged(uint32_t flags)
{
	uint32_t size, *slots = want_slots(dp, &want, &size), count = 0;

	for (uint32_t i = 0; i < size; i++)
		count += !!(slots[i] & flags);
	return count;
}

static void udp_with(const char *algorithm, unsigned backends)
{
	want_init(&want, "192.0.2.1", IPPROTO_UDP, 53, algorithm);
	for (unsigned n = 0; n < backends; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
}

/* Otherwise new flows would go to keepers instead of in turn, for an idle time after every
 * change. */
TEST(where_every_udp_flow_is_tracked_nothing_is_left_to_learn)
{
	udp_with("wrr", 3);
	want_find(&want, 0)->weight = 5;
	want_commit(dp, &want, 1);
	assert_true(flagged(T) > 0);
	assert_int_equal(flagged(L), 0);
	for (unsigned n = 3; n < 20; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	assert_true(want_line(dp, &want)->old_ring != 0);
	assert_int_equal(flagged(L), 0);
}

TEST(udp_flows_from_before_tracking_are_learnt_whatever_changes_meanwhile)
{
	uint32_t size;

	udp_with("maglev", 3);
	want.service.algorithm = algo_find("rr");
	want_commit(dp, &want, 1);
	want_slots(dp, &want, &size);
	assert_int_equal(flagged(L), size);
	for (unsigned n = 3; n < 20; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want_slots(dp, &want, &size);
	assert_true(want_line(dp, &want)->old_ring != 0);
	assert_int_equal(flagged(L), size);
}

static uint32_t stamped_at(uint32_t tick)
{
	uint64_t ring = want_line(dp, &want)->ring;
	uint32_t count = 0;

	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
		count += dp->maps.stamps[LB_REGION_BASE(ring) + i] == (uint16_t)tick;
	return count;
}

/* Flows that only the table knows must be looked up until they are over. Slots already in
 * transition keep their learning time, and need another idle timeout to settle. */
TEST(when_a_service_ends_to_track_always_its_slots_are_in_transition)
{
	uint32_t learning;

	want.service.track_always = true;
	want.service.slots = 251;
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want_find(&want, 0)->weight = 0;
	want_commit(dp, &want, 1);
	learning = flagged(L);
	assert_true(learning > 50 && learning < 200);
	dp->clock = 10050;
	want.service.track_always = false;
	want_commit(dp, &want, 1);
	assert_int_equal(flagged(T), 251);
	assert_int_equal(flagged(L), 251);
	assert_int_equal(stamped_at(10050), 251);
	sweep_rounds(dp, 1, 10000 + want_line(dp, &want)->tcp_idle + 1);
	assert_int_equal(flagged(T), 251);
	assert_int_equal(flagged(L), 251 - learning);
}

TEST(when_a_tcp_service_begins_to_track_always_older_flows_are_heard_of)
{
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want.service.track_always = true;
	want_commit(dp, &want, 1);
	assert_int_equal(flagged(T), LB_REGION_SIZE(want_line(dp, &want)->ring));
	assert_int_equal(flagged(L), LB_REGION_SIZE(want_line(dp, &want)->ring));
}

TEST(when_a_udp_service_ends_to_track_always_there_is_nothing_to_learn)
{
	udp_with("maglev", 3);
	want.service.track_always = true;
	want_commit(dp, &want, 1);
	sweep_rounds(dp, 1, 10100);
	assert_int_equal(flagged(T), 0);
	want.service.track_always = false;
	want_commit(dp, &want, 1);
	assert_int_equal(flagged(T), LB_REGION_SIZE(want_line(dp, &want)->ring));
	assert_int_equal(flagged(L), 0);
}

/* A UDP ring of 251 slots in which the slots of backend 0 have moved changes its size. Optionally
 * the slots have learnt, or a flow found no place recently. Returns how many slots of the old ring
 * keep backend 0. */
static uint32_t kept_after_resize(bool learnt, bool unplaced)
{
	uint16_t idle, id;
	uint64_t ring;

	want_init(&want, "192.0.2.1", IPPROTO_UDP, 53, "maglev");
	want.service.slots = 251;
	for (unsigned n = 0; n < 2; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	ring = want_line(dp, &want)->ring;
	idle = want_line(dp, &want)->udp_idle;
	id = want_id(dp, &want, 0);
	want_find(&want, 0)->weight = 0;
	want_commit(dp, &want, 1);
	dp->maps.turns[want_line(dp, &want)->id].unplaced = unplaced ? 10000 + idle + 1 : 0;
	for (uint32_t i = 0; learnt && i < 251; i++)
		dp->maps.stamps[LB_REGION_BASE(ring) + i] = 10000 + idle + 1;
	sweep_rounds(dp, 1, 10000 + (learnt ? idle + 1 : 1));
	assert_int_equal(flagged(L) == 0, learnt);
	assert_true(flagged(T) > 100);
	want.service.slots = 509;
	want_commit(dp, &want, 1);
	assert_true(want_line(dp, &want)->old_ring == ring);
	return slots_with(ring, ANY, id);
}

TEST(a_udp_ring_that_has_learnt_keeps_nobody_when_it_is_resized)
{
	assert_int_equal(kept_after_resize(true, false), 0);
}

TEST(a_udp_ring_that_still_learns_keeps_its_keepers_when_it_is_resized)
{
	assert_true(kept_after_resize(false, false) > 100);
}

TEST(a_udp_ring_keeps_its_keepers_while_flows_without_a_place_may_live)
{
	assert_true(kept_after_resize(true, true) > 100);
}

TEST(a_new_ring_has_an_idle_time_from_its_beginning)
{
	udp_with("maglev", 3);
	dp->clock = 10500;
	want.service.slots = 1021;
	want_commit(dp, &want, 1);
	assert_int_equal(stamped_at(10500), 1021);
	assert_int_equal(flagged(L), 1021);
	for (uint32_t i = 0; i < 1021; i++)
		assert_int_equal(dp_find(dp, &want.service)->since[i], 10500);
}

TEST(no_handshake_outlives_the_settling_of_its_slot)
{
	want.service.tcp_idle_ms = 5000;
	want_add(&want, 0, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->syn_idle, want_line(dp, &want)->tcp_idle);
}

TEST(a_change_of_weight_changes_the_ring)
{
	uint32_t before;

	want_add(&want, 0, 10);
	want_add(&want, 1, 10);
	want_commit(dp, &want, 1);
	before = slots_with(want_line(dp, &want)->ring, want_id(dp, &want, 0), ANY);
	want_find(&want, 0)->weight = 30;
	want_commit(dp, &want, 1);
	assert_true(slots_with(want_line(dp, &want)->ring, want_id(dp, &want, 0), ANY) >
		    before + 40);
}

/* ---- what is refused ---- */

TEST(a_change_of_no_backend_is_written)
{
	want_add(&want, 0, 1);
	want.service.no_backend = LB_REFUSE_REJECT;
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->no_backend, LB_REFUSE_REJECT);
	want.service.no_backend = LB_REFUSE_PASS;
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->no_backend, LB_REFUSE_PASS);
}

TEST(a_change_of_fragments_is_written)
{
	want_add(&want, 0, 1);
	want_commit(dp, &want, 1);
	assert_false(want_line(dp, &want)->flags & LB_SERVICE_NO_FRAGMENTS);
	want.service.no_fragments = true;
	want_commit(dp, &want, 1);
	assert_true(want_line(dp, &want)->flags & LB_SERVICE_NO_FRAGMENTS);
}

TEST(the_program_knows_the_prefixes_of_outer_sources)
{
	const struct lb_settings *settings = dp->maps.settings;
	struct dataplane_options options = memory->options;
	struct dataplane *other;

	options.encap_source4 = (struct addr){4, {10, 255, 16}};
	options.encap_source4_len = 20;
	options.encap_source6 = (struct addr){6, {0xfd, 0, 0, 1}};
	options.encap_source6_len = 112;
	other = dataplane_on(&memory->maps, &options, 1);
	assert_int_equal(settings->encap4, htonl(0x0aff1000));
	assert_int_equal(settings->encap4_spread, htonl(0xfff));
	assert_int_equal(settings->encap6[0], htonl(0xfd000001));
	assert_int_equal(settings->encap6[1] | settings->encap6[2] | settings->encap6[3], 0);
	assert_int_equal(settings->encap6_spread, htonl(0xffff));
	dataplane_close(other);
	options.encap_source4_len = 32;
	options.encap_source6_len = 128;
	other = dataplane_on(&memory->maps, &options, 1);
	assert_int_equal(settings->encap4_spread | settings->encap6_spread, 0);
	dataplane_close(other);
}

TEST(unserved_is_written)
{
	dataplane_set_unserved(dp, LB_REFUSE_DROP);
	assert_int_equal(dp->maps.settings->unserved, LB_REFUSE_DROP);
	dataplane_set_unserved(dp, LB_REFUSE_REJECT);
	assert_int_equal(dp->maps.settings->unserved, LB_REFUSE_REJECT);
}

/* ---- MAC addresses ---- */

static struct dp_mac mac_of(uint32_t ifindex, uint8_t number)
{
	return (struct dp_mac){.ifindex = ifindex, .mac = {2, 0, 0, 0, (uint8_t)ifindex, number}};
}

/* The elements of the interface with this address; -1: none. */
static int link_with(const struct dp_mac *mac)
{
	uint64_t word = 0;

	memcpy(&word, mac->mac, 6);
	for (int i = 0; i < LB_LINKS; i++)
		for (int j = 0; dp->maps.links[i].ifindex == mac->ifindex && j < LB_LINK_MACS; j++)
			if (dp->maps.links[i].mac[j] == word)
				return i;
	return -1;
}

static unsigned links_in_use(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < LB_LINKS; i++)
		count += dp->maps.links[i].ifindex != 0;
	return count;
}

TEST(the_first_address_is_where_no_search_is_needed)
{
	const struct dp_mac macs[] = {mac_of(3, 1), mac_of(3, 2), mac_of(70, 1)};
	uint64_t word = 0;

	assert_int_equal(dataplane_set_macs(dp, macs, 3), 0);
	memcpy(&word, macs[0].mac, 6);
	assert_int_equal(dp->maps.links[3].ifindex, 3);
	assert_int_equal(dp->maps.links[3].mac[0], word);
	assert_int_equal(link_with(&macs[1]), 3);
	assert_int_equal(link_with(&macs[2]), 70 % LB_LINKS);
	assert_int_equal(links_in_use(), 2);
}

TEST(only_a_sole_interface_has_its_address_in_the_settings)
{
	const struct dp_mac macs[] = {mac_of(3, 1), mac_of(3, 2), mac_of(4, 1)};
	uint64_t word = 0;

	memcpy(&word, macs[0].mac, 6);
	dataplane_set_macs(dp, macs, 2);
	assert_int_equal(dp->maps.settings->own_mac, word);
	dataplane_set_macs(dp, macs, 3);
	assert_true(dp->maps.settings->own_mac == LB_MAC_NONE);
	dataplane_set_macs(dp, NULL, 0);
	assert_true(dp->maps.settings->own_mac == LB_MAC_NONE);
}

TEST(interfaces_that_share_a_place_are_both_known)
{
	const struct dp_mac macs[] = {mac_of(3, 1), mac_of(3 + LB_LINKS, 1)};
	int before;

	assert_int_equal(dataplane_set_macs(dp, macs, 2), 0);
	assert_int_equal(link_with(&macs[0]), 3);
	assert_true(link_with(&macs[1]) >= 0);
	assert_int_equal(links_in_use(), 2);
	/* the other one stays where it is, although its own place is free now */
	before = link_with(&macs[1]);
	assert_int_equal(dataplane_set_macs(dp, &macs[1], 1), 0);
	assert_int_equal(link_with(&macs[1]), before);
	assert_int_equal(links_in_use(), 1);
}

TEST(more_addresses_than_an_element_holds_take_several)
{
	struct dp_mac macs[2 * LB_LINK_MACS + 1];

	for (unsigned i = 0; i < 2 * LB_LINK_MACS + 1; i++)
		macs[i] = mac_of(5, (uint8_t)i);
	assert_int_equal(dataplane_set_macs(dp, macs, 2 * LB_LINK_MACS + 1), 0);
	for (unsigned i = 0; i < 2 * LB_LINK_MACS + 1; i++)
		assert_true(link_with(&macs[i]) >= 0);
	assert_int_equal(links_in_use(), 3);
	assert_int_equal(dataplane_set_macs(dp, macs, 1), 0);
	assert_int_equal(links_in_use(), 1);
	assert_int_equal(link_with(&macs[0]), 5);
	assert_int_equal(link_with(&macs[1]), -1);
	assert_int_equal(dataplane_set_macs(dp, NULL, 0), 0);
	assert_int_equal(links_in_use(), 0);
}

TEST(an_interface_without_room_is_unknown_as_a_whole)
{
	struct dp_mac macs[LB_LINKS + LB_LINK_MACS];
	unsigned count = 0;

	for (uint32_t i = 1; i < LB_LINKS; i++)
		macs[count++] = mac_of(i, 1);
	for (uint8_t i = 0; i < LB_LINK_MACS + 1; i++)
		macs[count++] = mac_of(1000, i);
	assert_int_equal(dataplane_set_macs(dp, macs, count), -ENOSPC);
	for (unsigned i = 0; i < LB_LINKS; i++)
		assert_int_not_equal(dp->maps.links[i].ifindex, 1000);
	assert_int_equal(links_in_use(), LB_LINKS - 1);
}

/* ---- takeover ---- */

static void snapshot(void **ret, const void *from, size_t bytes)
{
	*ret = malloc(bytes);
	assert_non_null(*ret);
	memcpy(*ret, from, bytes);
}

TEST(a_takeover_with_the_same_config_writes_nothing)
{
	size_t slots = dp->maps.arena_slots * sizeof(uint32_t),
	       stamps = dp->maps.arena_slots * sizeof(uint16_t);
	size_t lines = dp->maps.backend_slots * sizeof(struct lb_backend);
	size_t services = dp->maps.service_slots * sizeof(struct lb_service);
	void *before[5];
	uint32_t unused;

	want_init(&wants[0], "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_init(&wants[1], "2001:db8::1", IPPROTO_UDP, 53, "wrr");
	want_init(&wants[2], "192.0.2.1", IPPROTO_TCP, 443, "lc");
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; n < 20; n++)
			want_add(&wants[i], n, n % 4)->usable = n % 5;
	want_commit(dp, wants, 3);
	want_add(&wants[0], 30, 2); /* leaves transitions and a quarantined id */
	want_remove(&wants[0], 2);
	want_commit(dp, wants, 3);
	dp_grace(dp);
	unused = arena_unused(&dp->arena);
	snapshot(&before[0], dp->maps.arena, slots);
	snapshot(&before[1], dp->maps.stamps, stamps);
	snapshot(&before[2], dp->maps.backends, lines);
	snapshot(&before[3], dp->maps.services, services);
	snapshot(&before[4], dp->maps.settings, sizeof(*dp->maps.settings));
	dp = memory_dataplane_restart(memory);
	assert_true(dataplane_adopted(dp));
	assert_int_equal(arena_unused(&dp->arena), unused);
	want_commit(dp, wants, 3);
	assert_memory_equal(before[0], dp->maps.arena, slots);
	assert_memory_equal(before[1], dp->maps.stamps, stamps);
	assert_memory_equal(before[2], dp->maps.backends, lines);
	assert_memory_equal(before[3], dp->maps.services, services);
	assert_memory_equal(before[4], dp->maps.settings, sizeof(*dp->maps.settings));
	for (unsigned i = 0; i < 5; i++)
		free(before[i]);
}

TEST(a_takeover_does_not_reuse_the_id_of_one_removed_before)
{
	uint16_t id;

	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	id = want_id(dp, &want, 0);
	want_remove(&want, 0);
	want_commit(dp, &want, 1);
	dp = memory_dataplane_restart(memory);
	want_add(&want, 7, 1);
	want_commit(dp, &want, 1);
	assert_int_not_equal(want_id(dp, &want, 7), id);
	sweep_rounds(dp, 2, 10001);
	want_add(&want, 8, 1);
	want_commit(dp, &want, 1);
	assert_int_equal(want_id(dp, &want, 8), id);
}

/* The ring has become the old one, and the new one is not in use yet. */
TEST(an_lbd_killed_between_the_stores_of_a_resize_is_taken_over)
{
	for (unsigned n = 0; n < 3; n++)
		want_add(&want, n, 1);
	want_commit(dp, &want, 1);
	want_line(dp, &want)->old_ring = want_line(dp, &want)->ring;
	dp = memory_dataplane_restart(memory);
	want_commit(dp, &want, 1);
	assert_int_equal(want_line(dp, &want)->old_ring, 0);
}

TEST(inconsistent_maps_are_refused)
{
	struct dataplane other = {.egress_fd = -1, .grace_map_fd = -1, .filters_fd = -1};
	struct error err = {0};

	want_add(&want, 0, 1);
	want_commit(dp, &want, 1);
	want_line(dp, &want)->ring = LB_REGION(1 << 20, 251);
	other.maps = dp->maps;
	assert_int_equal(dp_start(&other, &memory->options, &err), -EPROTO);
	assert_non_null(strstr(err.text, "192.0.2.1:80/tcp"));
	dp_stop(&other);
}

LB_TEST_MAIN("dataplane commit")
