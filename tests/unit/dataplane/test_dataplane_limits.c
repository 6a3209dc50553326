/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates of new flows as lbd writes them, on plain memory, and the offenders as it reads them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lb_limit.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define NOW 10000 /* tick */

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want;

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){16, 64, 1 << 16, 64});
	dp = memory->dp;
	dp->clock = NOW;
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&want, 1, 100);
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

static struct lb_limit *commit(struct dp_limit limit)
{
	want.service.limit = limit;
	want_commit(dp, &want, 1);
	return &dp->maps.limits[want_line(dp, &want)->id];
}

/* ---- what is written ---- */

TEST(a_service_without_a_limit_has_no_flag)
{
	commit((struct dp_limit){.source4 = 24, .source6 = 56});
	assert_int_equal(want_line(dp, &want)->flags & LB_SERVICE_LIMIT, 0);
}

TEST(rates_become_costs_and_bursts_become_spans)
{
	const struct lb_limit *line = commit((struct dp_limit){
	    .service = {60000, 500}, .source = {3000, 7}, .source4 = 20, .source6 = 72});

	assert_true(want_line(dp, &want)->flags & LB_SERVICE_LIMIT);
	assert_int_equal(line->cost, 1000000);
	assert_int_equal(line->span, 500000000);
	assert_int_equal(line->source_cost, 78125); /* 20 ms / 256 ns */
	assert_int_equal(line->source_span, 7 * 78125);
	assert_int_equal(line->mask4, htonl(0xfffff000));
	assert_int_equal(line->mask6[0], ~0u);
	assert_int_equal(line->mask6[1], ~0u);
	assert_int_equal(line->mask6[2], htonl(0xff000000));
	assert_int_equal(line->mask6[3], 0);
	assert_int_equal(line->length4, 20);
	assert_int_equal(line->length6, 72);
}

TEST(a_rate_is_never_exceeded_by_rounding)
{
	const struct lb_limit *line = commit((struct dp_limit){.service = {60 * 7000000, 700000},
							       .source = {60 * 99999, 9999},
							       .source4 = 32,
							       .source6 = 128});

	assert_int_equal(line->cost, 143);
	assert_int_equal(line->source_cost, 40); /* 39.06 */
	assert_int_equal(line->mask4, ~0u);
	assert_int_equal(line->mask6[3], ~0u);
}

TEST(a_limit_alone_makes_a_udp_service_track_its_flows)
{
	want.service.protocol = IPPROTO_UDP;
	commit((struct dp_limit){0});
	assert_int_equal(want_line(dp, &want)->flags & LB_SERVICE_TRACK_ALWAYS, 0);
	commit((struct dp_limit){.service = {60, 5}});
	assert_true(want_line(dp, &want)->flags & LB_SERVICE_TRACK_ALWAYS);
}

TEST(a_limit_does_not_make_a_tcp_service_track_its_flows)
{
	commit((struct dp_limit){.service = {60, 5}});
	assert_int_equal(want_line(dp, &want)->flags & LB_SERVICE_TRACK_ALWAYS, 0);
}

/* ---- what a reload and a new service do ---- */

TEST(a_reload_keeps_the_bucket_and_a_new_service_begins_with_a_full_one)
{
	struct lb_limit *line = commit((struct dp_limit){.service = {60, 5}});
	uint32_t id = want_line(dp, &want)->id;

	line->full_at = 12345;
	dp->maps.service_counts[id].over_service = 3;
	dp->maps.service_counts[dp->maps.service_slots + id].over_source = 4;
	commit((struct dp_limit){.service = {120, 5}});
	assert_int_equal(line->full_at, 12345);
	want_commit(dp, NULL, 0);
	sweep_rounds(dp, 3, NOW + 1);
	commit((struct dp_limit){.service = {60, 5}});
	assert_int_equal(want_line(dp, &want)->id, id);
	assert_int_equal(line->full_at, 0);
	assert_int_equal(dp->maps.service_counts[id].over_service, 0);
	assert_int_equal(dp->maps.service_counts[dp->maps.service_slots + id].over_source, 0);
}

TEST(an_unchanged_limit_writes_nothing)
{
	uint64_t stores;

	commit((struct dp_limit){.service = {60, 5}, .source = {6, 5}, .source4 = 24});
	stores = dataplane_stores();
	commit((struct dp_limit){.service = {60, 5}, .source = {6, 5}, .source4 = 24});
	assert_int_equal(dataplane_stores(), stores);
	commit((struct dp_limit){.service = {60, 5}, .source = {6, 6}, .source4 = 24});
	assert_true(dataplane_stores() > stores);
}

/* ---- words of source prefixes ---- */

static uint64_t word_ahead(int64_t ticks)
{
	uint64_t now = lb_source_now((uint64_t)NOW << LB_TICK_SHIFT);

	return lb_source_word(0xabcdef0000000000ULL,
			      now + ticks * (int64_t)((1ULL << LB_TICK_SHIFT) >> LB_SOURCE_SHIFT));
}

TEST(the_sweep_clears_full_buckets_and_no_others)
{
	uint64_t *words = dp->maps.sources, ahead = word_ahead(60);

	words[0] = word_ahead(-1);
	words[1] = ahead;
	words[LB_SOURCE_BUCKETS * LB_SOURCE_WAYS - 1] = word_ahead(-100000);
	sweep_rounds(dp, 40, NOW);
	assert_int_equal(words[0], 0);
	assert_int_equal(words[1], ahead);
	assert_int_equal(words[LB_SOURCE_BUCKETS * LB_SOURCE_WAYS - 1], 0);
}

/* What lies ahead may have gone half round the clock of 42 bits. */
TEST(after_an_absence_no_word_of_a_source_is_left)
{
	dp->maps.sources[5] = word_ahead(60);
	dp_restart_clocks(dp, NOW);
	assert_int_equal(dp->maps.sources[5], 0);
}

/* ---- offenders ---- */

/* What one CPU has counted for a prefix. */
static struct lb_offender *note(unsigned cpu, unsigned place, const char *prefix, uint64_t dropped,
				uint64_t inherited)
{
	struct lb_offender *o = &dp->maps.offenders[cpu * LB_OFFENDERS + place];
	struct lb_tuple source = {.family = strchr(prefix, ':') ? 6 : 4};
	uint32_t id = want_line(dp, &want)->id;

	assert_int_equal(inet_pton(source.family == 4 ? AF_INET : AF_INET6, prefix, source.client),
			 1);
	*o = (struct lb_offender){.tag = lb_source_hash(&source, &dp->maps.settings->key, id),
				  .dropped = dropped,
				  .inherited = inherited,
				  .service = id,
				  .last = NOW - 3,
				  .family = source.family,
				  .length = source.family == 4 ? 24 : 56};
	memcpy(o->addr, source.client, sizeof(o->addr));
	return o;
}

TEST(offenders_are_added_up_over_cpus_and_sorted)
{
	struct dp_offender list[9];
	struct addr six;

	commit((struct dp_limit){.source = {60, 5}, .source4 = 24, .source6 = 56});
	note(0, 3, "198.51.100.0", 20, 5);
	note(1, 3, "198.51.100.0", 30, 0)->last = NOW - 1;
	note(0, 9, "203.0.113.0", 45, 0);
	note(1, 200, "2001:db8:1:200::", 60, 60);
	assert_int_equal(dataplane_offenders(dp, list, 9), 3);
	assert_int_equal(addr_parse("2001:db8:1:200::", &six), 0);
	assert_true(addr_equal(&list[0].prefix, &six));
	assert_int_equal(list[0].length, 56);
	assert_int_equal(list[0].surely, 0);
	assert_int_equal(list[1].prefix.bytes[0], 198);
	assert_int_equal(list[1].dropped, 50);
	assert_int_equal(list[1].surely, 45);
	assert_int_equal(list[1].quiet_ms, 1073);
	assert_int_equal(list[1].service.port, 80);
	assert_int_equal(list[2].dropped, 45);
	assert_int_equal(dataplane_offenders(dp, list, 2), 2);
	assert_int_equal(list[1].dropped, 50);
}

TEST(an_offender_that_is_being_written_or_has_no_service_is_left_out)
{
	struct dp_offender list[9];

	commit((struct dp_limit){.source = {60, 5}, .source4 = 24, .source6 = 56});
	note(0, 1, "198.51.100.0", 20, 0)->tag = 0;
	note(0, 2, "198.51.101.0", 20, 0)->addr[0] ^= 1;
	note(0, 3, "198.51.102.0", 20, 0)->service = 9;
	note(0, 4, "198.51.103.0", 20, 0)->service = 70000;
	note(0, 5, "198.51.104.0", 20, 0);
	assert_int_equal(dataplane_offenders(dp, list, 9), 1);
	assert_int_equal(list[0].prefix.bytes[2], 104);
	want_commit(dp, NULL, 0);
	assert_int_equal(dataplane_offenders(dp, list, 9), 0);
}

TEST(the_next_service_with_an_id_has_not_the_offenders_of_the_last_one)
{
	struct dp_offender list[9];

	commit((struct dp_limit){.source = {60, 5}, .source4 = 24, .source6 = 56});
	note(0, 5, "198.51.104.0", 20, 0);
	note(1, 7, "198.51.105.0", 20, 0);
	want_commit(dp, NULL, 0);
	sweep_rounds(dp, 3, NOW + 1);
	want.service.port = 81;
	commit((struct dp_limit){.source = {60, 5}, .source4 = 24, .source6 = 56});
	assert_int_equal(dataplane_offenders(dp, list, 9), 0);
}

LB_TEST_MAIN("limits")
