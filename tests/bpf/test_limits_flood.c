/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/limits.md: rates of new flows over time and under floods, on maps that lbd writes, with the
 * program's clock driven by the test. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "lb_limit.h"
#include "support/batch.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define VIP      "192.0.2.1"
#define LOOPBACK 1
#define FIRST    4000 /* tick in which a test begins */
#define TICK_NS  (1ULL << LB_TICK_SHIFT)
#define SYN      2
#define MINUTE   60

static struct batch batch;
static struct dataplane *dp;
static struct want want;
static uint32_t loaded;
static struct error why_not;

static int open_batch(void **state)
{
	struct error err = {0};
	int rc = batch_open(4, 64, 65536, 4096, 0, BATCH_ALONE, &batch, &err);

	if (rc)
		why_not = err;
	return rc == -EPERM ? 0 : rc;
}

static int close_batch(void **state)
{
	if (batch.owner)
		batch_close(&batch);
	return 0;
}

static int end_lbd(void **state)
{
	if (dp)
		dataplane_close(dp);
	dp = NULL;
	return 0;
}

/* One service with this limit, on empty maps. */
static void begin(int protocol, struct dp_limit limit)
{
	if (!batch.owner) {
		print_message("# skip: %s\n", why_not.text);
		skip();
	}
	batch_clear(&batch, 7);
	loaded = 0;
	dp = batch_lbd(&batch, FIRST);
	want_init(&want, VIP, protocol, 80, "maglev");
	want_add(&want, 1, 100)->hop.ifindex = LOOPBACK;
	want_add(&want, 2, 100)->hop.ifindex = LOOPBACK;
	want.service.limit = limit;
	want_commit(dp, &want, 1);
	batch_template(&batch, 0, &want.service.vip, protocol, 80);
}

/* ---- packets: loaded in the order in which they arrive, then fired ---- */

static void load_packet(uint64_t ns, uint32_t client, uint16_t port, uint8_t flags)
{
	assert_in_range(loaded, 0, BATCH_MOST - 1);
	batch.shots[loaded++] = (struct shot){.client = htonl(client),
					      .port = htons(port),
					      .tcp_flags = flags,
					      .tick = FIRST + ns / TICK_NS,
					      .after = ns % TICK_NS};
}

/* Fires what is loaded; returns how many packets were sent to a backend. */
static unsigned fire(void)
{
	unsigned sent = 0;

	batch_fire(&batch, loaded);
	for (uint32_t i = 0; i < loaded; i++)
		sent += batch.shots[i].verdict == XDP_TX;
	loaded = 0;
	return sent;
}

#define SECOND 1000000000ULL
#define CLIENT 0x0a010203 /* 10.1.2.3 */

/* Flows of one client, evenly over a time that begins at `from`. */
static unsigned send_evenly(uint64_t from, uint64_t time, unsigned flows)
{
	static uint16_t port;

	for (unsigned i = 0; i < flows; i++)
		load_packet(from + time * i / flows, CLIENT, ++port, SYN);
	return fire();
}

/* ---- rates ---- */

LB_TEST(a_service_gets_its_rate_and_once_its_burst)
{
	begin(IPPROTO_TCP, (struct dp_limit){.service = {200 * MINUTE, 50}});
	/* ten times the rate: what comes in the first second is burst + rate * time */
	assert_in_range(send_evenly(0, SECOND, 2000), 249, 250);
	assert_in_range(send_evenly(SECOND, 5 * SECOND, 10000), 999, 1001);
}

LB_TEST(a_service_below_its_rate_loses_nothing)
{
	begin(IPPROTO_TCP, (struct dp_limit){.service = {200 * MINUTE, 1}});
	assert_int_equal(send_evenly(0, 20 * SECOND, 3999), 3999);
}

LB_TEST(a_source_gets_its_rate_and_once_its_burst)
{
	begin(IPPROTO_TCP,
	      (struct dp_limit){.source = {50 * MINUTE, 20}, .source4 = 24, .source6 = 56});
	assert_in_range(send_evenly(0, SECOND, 2000), 69, 70);
	assert_in_range(send_evenly(SECOND, 10 * SECOND, 10000), 499, 501);
}

LB_TEST(rates_below_one_a_second_hold)
{
	begin(IPPROTO_TCP, (struct dp_limit){.service = {6, 2}});
	assert_in_range(send_evenly(0, 60 * SECOND, 600), 7, 8);
}

LB_TEST(udp_flows_cost_one_each_however_many_datagrams_they_send)
{
	unsigned sent = 0;

	begin(IPPROTO_UDP, (struct dp_limit){.service = {1, 3}});
	/* a UDP service that begins to track is learning: it has no older flows here */
	for (unsigned round = 0; round < 3; round++)
		sweep_rounds(dp, 1, FIRST + 100 * (round + 1));
	for (unsigned i = 0; i < 200; i++)
		load_packet(400 * TICK_NS + i, CLIENT, 1 + i % 5, 0);
	sent = fire();
	assert_int_equal(sent, 3 * 40);
}

/* ---- reload and takeover ---- */

LB_TEST(an_empty_bucket_is_empty_after_a_reload_and_a_takeover)
{
	begin(IPPROTO_TCP, (struct dp_limit){.service = {100 * MINUTE, 100}});
	assert_int_equal(send_evenly(0, 1000, 300), 100);
	want.service.limit.service = (struct dp_rate){50 * MINUTE, 200};
	want_commit(dp, &want, 1);
	/* what was used counts as so much time: 1 s of 4 s */
	assert_in_range(send_evenly(2000, 1000, 300), 149, 151);
	end_lbd(NULL);
	dp = batch_lbd(&batch, FIRST);
	want_commit(dp, &want, 1);
	assert_int_equal(send_evenly(4000, 1000, 100), 0);
	assert_in_range(send_evenly(2 * SECOND, 1000, 300), 99, 101);
}

LB_TEST(a_source_keeps_its_bucket_over_a_reload_and_a_takeover)
{
	begin(IPPROTO_TCP,
	      (struct dp_limit){.source = {10 * MINUTE, 10}, .source4 = 24, .source6 = 56});
	assert_int_equal(send_evenly(0, 1000, 30), 10);
	want.service.limit.source.per_minute = 5 * MINUTE;
	want_commit(dp, &want, 1);
	end_lbd(NULL);
	dp = batch_lbd(&batch, FIRST);
	want_commit(dp, &want, 1);
	assert_in_range(send_evenly(2000, 1000, 30), 5, 5);
	assert_int_equal(send_evenly(4000, 1000, 30), 0);
}

LB_TEST(a_limit_that_is_taken_away_drops_nothing_any_more)
{
	begin(IPPROTO_TCP, (struct dp_limit){.service = {1, 1}, .source = {1, 1}, .source4 = 8});
	assert_int_equal(send_evenly(0, 1000, 30), 1);
	want.service.limit = (struct dp_limit){0};
	want_commit(dp, &want, 1);
	assert_int_equal(send_evenly(2000, 1000, 30), 30);
}

LB_TEST(what_was_dropped_is_counted_over_a_takeover_and_not_in_a_new_service)
{
	struct dp_service_stats stats;

	begin(IPPROTO_TCP, (struct dp_limit){.service = {1, 5}});
	assert_int_equal(send_evenly(0, 1000, 30), 5);
	end_lbd(NULL);
	dp = batch_lbd(&batch, FIRST);
	want_commit(dp, &want, 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_int_equal(stats.over_rate, 25);
	want_commit(dp, NULL, 0);
	sweep_rounds(dp, 3, FIRST + 2);
	want_commit(dp, &want, 1);
	assert_int_equal(dataplane_service_stats(dp, &want.service, &stats), 0);
	assert_int_equal(stats.over_rate, 0);
}

/* ---- floods ---- */

#define FLOODERS  24   /* source prefixes that send all the time */
#define INNOCENTS 4000 /* others, of a flow each quarter of a second or rarer */
#define STEPS     40   /* of 100 ms */
#define STEP      (SECOND / 10)

enum { FROM_FLOODER, FROM_FORGED, FROM_INNOCENT };

static uint64_t dice;

static uint32_t roll(uint32_t below)
{
	dice = dice * 6364136223846793005ULL + 1442695040888963407ULL;
	return (dice >> 33) % below;
}

/* The three kinds have prefixes of their own: 11/8, 12/8 and 13/8. */
static uint32_t client_of(int kind, uint32_t number)
{
	return (11 + kind) << 24 | number << 8 | (1 + roll(250));
}

static int kind_of(const struct shot *shot)
{
	return (int)(ntohl(shot->client) >> 24) - 11;
}

struct outcome {
	unsigned sent[3], passed[3];
};

/* One step of the flood: 500 flows of each flooder a second, 100 000 forged addresses, and some of
 * the innocents, each at most four times a second. */
static void flood_step(unsigned step, struct outcome *outcome)
{
	const uint64_t from = step * STEP;

	for (unsigned i = 0; i < 12000; i++) {
		uint64_t at = from + i * (STEP / 12000);
		int kind = i % 10 == 0 ? FROM_FLOODER : i % 100 < 17 ? FROM_INNOCENT : FROM_FORGED;
		uint32_t number = kind == FROM_FLOODER ? roll(FLOODERS)
				  : kind == FROM_INNOCENT
				      ? (step * 840 + i / 100 * 7 + i % 100) % INNOCENTS
				      : roll(65536);

		load_packet(at, client_of(kind, number), 1 + roll(60000), SYN);
	}
	batch_fire(&batch, loaded);
	for (uint32_t i = 0; i < loaded; i++) {
		outcome->sent[kind_of(&batch.shots[i])]++;
		outcome->passed[kind_of(&batch.shots[i])] += batch.shots[i].verdict == XDP_TX;
	}
	loaded = 0;
}

/* An innocent prefix is dropped only if its 22-bit fingerprint is that of a flooder in the same
 * bucket: with 24 flooders 24 / 2^36 for each prefix, and never more than 8 / 2^22. */
LB_TEST(no_prefix_pays_for_the_flood_of_others)
{
	const unsigned burst = 20, rate = 50;

	for (unsigned run = 0; run < 3; run++) {
		struct outcome outcome = {0};
		struct dp_offender top[FLOODERS];

		begin(IPPROTO_TCP, (struct dp_limit){.source = {rate * MINUTE, burst},
						     .source4 = 24,
						     .source6 = 56});
		dice = run + 1;
		for (unsigned step = 0; step < STEPS; step++)
			flood_step(step, &outcome);
		assert_true(outcome.sent[FROM_INNOCENT] > 20000);
		assert_int_equal(outcome.passed[FROM_INNOCENT], outcome.sent[FROM_INNOCENT]);
		/* and the flooders get what they may, no more */
		assert_in_range(outcome.passed[FROM_FLOODER], FLOODERS * rate * 3,
				FLOODERS * (burst + rate * 4));
		assert_int_equal(dataplane_offenders(dp, top, FLOODERS), FLOODERS);
		for (unsigned i = 0; i < FLOODERS; i++)
			assert_int_equal(top[i].prefix.bytes[0], 11);
		end_lbd(NULL);
	}
}

/* Words of prefixes that are silent since long must not look like debts when the clock of 42 bits
 * has gone half round. */
LB_TEST(a_prefix_that_was_silent_for_a_week_has_a_full_bucket)
{
	const uint64_t week = 7 * 24 * 3600 * SECOND;

	begin(IPPROTO_TCP,
	      (struct dp_limit){.source = {10 * MINUTE, 10}, .source4 = 24, .source6 = 56});
	assert_int_equal(send_evenly(0, 1000, 30), 10);
	for (unsigned i = 0; i < 64; i++)
		sweep_rounds(dp, 1, FIRST + 8 + i);
	assert_int_equal(send_evenly(week, 1000, 30), 10);
}

/* lbd was away all the time: nobody has cleared the word. */
LB_TEST(after_an_absence_of_a_week_every_bucket_is_full)
{
	const uint64_t week = 7 * 24 * 3600 * SECOND;

	begin(IPPROTO_TCP,
	      (struct dp_limit){.source = {10 * MINUTE, 10}, .source4 = 24, .source6 = 56});
	assert_int_equal(send_evenly(0, 1000, 30), 10);
	end_lbd(NULL);
	dp = batch_lbd(&batch, FIRST + week / TICK_NS);
	want_commit(dp, &want, 1);
	assert_int_equal(send_evenly(week, 1000, 30), 10);
}

LB_TEST_MAIN("limits: floods", .open = open_batch, .close = close_batch, .teardown = end_lbd)
