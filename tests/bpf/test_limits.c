/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/limits.md: rates of new flows, packet by packet. A flow costs an hour here, so that the time
 * in which a test runs fills no bucket; pass() moves the token words instead of the clock. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <pthread.h>
#include <string.h>

#include "lb_limit.h"
#include "lb.skel.h"
#include "support/rig.h"

#define HOUR     3600000000000ULL /* ns */
#define UNITS(t) ((t) >> LB_SOURCE_SHIFT)

/* Bursts of a service and of its source prefixes (/24 and /56), with one flow an hour; 0: none. */
static void limit(struct rig *r, uint16_t service, unsigned burst, unsigned source_burst)
{
	struct lb_limit *line = &r->f->map.limits[service];

	*line = (struct lb_limit){.cost = burst ? HOUR : 0,
				  .span = burst * HOUR,
				  .source_cost = source_burst ? UNITS(HOUR) : 0,
				  .source_span = source_burst * UNITS(HOUR),
				  .mask4 = htonl(0xffffff00),
				  .mask6 = {~0u, htonl(0xffffff00)},
				  .length4 = 24,
				  .length6 = 56};
	r->f->map.services[service].flags |= LB_SERVICE_LIMIT;
}

static uint64_t *source_words(struct rig *r)
{
	return (uint64_t *)(void *)r->f->map.sources;
}

/* As if so many hours went by. */
static void pass(struct rig *r, unsigned hours)
{
	for (unsigned i = 0; i < FIXTURE_SERVICES; i++)
		if (r->f->map.limits[i].full_at)
			r->f->map.limits[i].full_at -= hours * HOUR;
	for (unsigned i = 0; i < LB_SOURCE_BUCKETS * LB_SOURCE_WAYS; i++) {
		uint64_t *word = &source_words(r)[i];

		if (*word)
			*word = lb_source_word(*word, *word - hours * UNITS(HOUR));
	}
}

/* Sends so many SYNs, each of another flow, and returns how many went to a backend. */
static int syns(struct rig *r, int first, int count)
{
	int passed = 0;

	for (int i = 0; i < count; i++)
		passed += rig_tcp(r, first + i, SYN) != NOWHERE;
	return passed;
}

static struct rig stable(void)
{
	struct rig r = RIG();

	rig_set_stable(&r, A);
	return r;
}

static void track_always(struct rig *r, uint16_t service)
{
	r->f->map.services[service].flags |= LB_SERVICE_TRACK_ALWAYS;
}

static void from(struct rig *r, const char *client)
{
	strcpy(r->client, client);
}

/* ---- the service's rate ---- */

LB_TEST(a_service_without_a_rate_takes_every_new_flow)
{
	struct rig r = stable();

	limit(&r, r.tcp, 1, 1);
	r.f->map.services[r.tcp].flags &= ~LB_SERVICE_LIMIT;
	assert_int_equal(syns(&r, 1, 20), 20);
}

LB_TEST(new_flows_above_the_burst_are_dropped_and_counted)
{
	struct rig r = stable();

	limit(&r, r.tcp, 3, 0);
	assert_int_equal(syns(&r, 1, 3), 3);
	assert_int_equal(rig_tcp(&r, 4, SYN), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_over_service_rate);
	assert_int_equal(r.f->verdict, XDP_DROP);
	assert_int_equal(syns(&r, 5, 2), 0);
	assert_int_equal(fixture_service_count(r.f, r.tcp).over_service, 3);
	assert_int_equal(fixture_service_count(r.f, r.tcp).over_source, 0);
}

LB_TEST(time_gives_flows_back_one_by_one)
{
	struct rig r = stable();

	limit(&r, r.tcp, 3, 0);
	assert_int_equal(syns(&r, 1, 9), 3);
	pass(&r, 1);
	assert_int_equal(syns(&r, 11, 9), 1);
	pass(&r, 2);
	assert_int_equal(syns(&r, 21, 9), 2);
}

LB_TEST(a_long_silence_gives_no_more_than_the_burst)
{
	struct rig r = stable();

	limit(&r, r.tcp, 3, 0);
	assert_int_equal(syns(&r, 1, 9), 3);
	pass(&r, 500);
	assert_int_equal(syns(&r, 11, 9), 3);
}

LB_TEST(each_service_has_a_bucket_of_its_own)
{
	struct rig r = stable();

	track_always(&r, r.udp);
	limit(&r, r.tcp, 1, 0);
	limit(&r, r.udp, 2, 0);
	assert_int_equal(syns(&r, 1, 5), 1);
	assert_int_equal(rig_udp(&r, 1), A);
	assert_int_equal(rig_udp(&r, 2), A);
	assert_int_equal(rig_udp(&r, 3), NOWHERE);
}

/* ---- what is no new flow ---- */

LB_TEST(packets_of_established_flows_are_never_above_a_rate)
{
	struct rig r = stable();
	const int flags[] = {ACK, PSH | ACK, FIN | ACK, RST | ACK, SYN | ACK, RST, FIN};

	limit(&r, r.tcp, 1, 1);
	assert_int_equal(syns(&r, 1, 5), 1);
	for (int tracked = 0; tracked < 2; tracked++) {
		for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			assert_int_equal(rig_tcp(&r, 3, flags[i]), A);
		track_always(&r, r.tcp);
	}
}

LB_TEST(a_syn_that_is_sent_again_costs_nothing_where_flows_are_tracked)
{
	struct rig r = stable();

	track_always(&r, r.tcp);
	limit(&r, r.tcp, 1, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_tcp(&r, 2, SYN), NOWHERE);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
}

LB_TEST(a_syn_that_is_sent_again_costs_nothing_in_a_slot_in_transition)
{
	struct rig r = stable();

	rig_set_slots(&r, B, A, T);
	limit(&r, r.tcp, 1, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_tcp(&r, 1, SYN), B);
	assert_int_equal(rig_tcp(&r, 2, SYN), NOWHERE);
}

/* Otherwise one port, used again and again, would open connections at any rate. */
LB_TEST(a_syn_on_a_flow_that_was_established_costs_a_new_flow)
{
	struct rig r = stable();

	track_always(&r, r.tcp);
	limit(&r, r.tcp, 2, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_int_equal(rig_tcp(&r, 1, ACK), A);
		assert_int_equal(rig_tcp(&r, 1, RST), A);
	}
	assert_int_equal(rig_tcp(&r, 1, SYN), NOWHERE);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
}

LB_TEST(a_flow_that_is_dropped_leaves_no_entry)
{
	struct rig r = stable();

	track_always(&r, r.tcp);
	track_always(&r, r.udp);
	limit(&r, r.tcp, 1, 0);
	limit(&r, r.udp, 1, 0);
	syns(&r, 1, 9);
	for (int i = 0; i < 9; i++)
		rig_udp(&r, i + 1);
	assert_int_equal(rig_entries(&r), 2);
}

LB_TEST(only_the_first_datagram_of_a_flow_costs_one)
{
	struct rig r = stable();

	track_always(&r, r.udp);
	limit(&r, r.udp, 2, 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(rig_udp(&r, 1), A);
		assert_int_equal(rig_udp(&r, 2), A);
	}
	assert_int_equal(rig_udp(&r, 3), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_over_service_rate);
	assert_int_equal(rig_udp(&r, 1), A);
}

LB_TEST(datagrams_that_may_be_of_older_flows_are_not_above_a_rate)
{
	struct rig r = stable();

	track_always(&r, r.udp);
	limit(&r, r.udp, 1, 0);
	assert_int_equal(rig_udp(&r, 1), A);
	rig_set_slots(&r, B, A, T | L);
	assert_int_equal(rig_udp(&r, 2), A);
	rig_set_slots(&r, B, A, T);
	assert_int_equal(rig_udp(&r, 3), NOWHERE);
	r.f->map.turns[r.udp].unplaced = fixture_tick();
	assert_int_equal(rig_udp(&r, 4), A);
	r.f->map.turns[r.udp].unplaced -= 61;
	assert_int_equal(rig_udp(&r, 5), NOWHERE);
}

LB_TEST(later_fragments_of_a_dropped_flow_are_dropped)
{
	struct rig r = stable();
	struct fixture *f = r.f;
	const char *reached = RIG_VIP;

	track_always(&r, r.udp);
	limit(&r, r.udp, 1, 0);
	assert_int_equal(rig_udp(&r, 1), A);
	packet_build(&f->in,
		     PKT(ETH(), IP4(.src = r.client, .dst = reached, .id = 9, .frag = 0x2000),
			 UDP(.sport = 2, .dport = 80, .len = 900), DATA(400)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_over_service_rate);
	packet_build(&f->in, PKT(ETH(),
				 IP4(.src = r.client, .dst = reached, .id = 9, .frag = 51,
				     .proto = IPPROTO_UDP),
				 DATA(400)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_fragment_unknown);
}

/* ---- the rate of a source prefix ---- */

LB_TEST(a_source_prefix_above_its_rate_is_dropped_and_others_are_not)
{
	struct rig r = stable();

	limit(&r, r.tcp, 0, 3);
	from(&r, "198.51.100.7");
	assert_int_equal(syns(&r, 1, 2), 2);
	from(&r, "198.51.100.200"); /* the same prefix */
	assert_int_equal(syns(&r, 1, 5), 1);
	assert_int_equal(r.f->reason, LB_REASON_over_source_rate);
	from(&r, "198.51.101.7");
	assert_int_equal(syns(&r, 1, 3), 3);
	assert_int_equal(fixture_service_count(r.f, r.tcp).over_source, 4);
	pass(&r, 1);
	from(&r, "198.51.100.7");
	assert_int_equal(syns(&r, 21, 3), 1);
}

LB_TEST(a_source_prefix_has_a_bucket_for_each_service)
{
	struct rig r = stable();

	track_always(&r, r.udp);
	limit(&r, r.tcp, 0, 1);
	limit(&r, r.udp, 0, 1);
	assert_int_equal(syns(&r, 1, 3), 1);
	assert_int_equal(rig_udp(&r, 1), A);
	assert_int_equal(rig_udp(&r, 2), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_over_source_rate);
}

LB_TEST(a_source_above_its_rate_uses_up_nothing_of_the_services)
{
	struct rig r = stable();

	limit(&r, r.tcp, 3, 1);
	assert_int_equal(syns(&r, 1, 9), 1);
	from(&r, "203.0.113.1");
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	from(&r, "203.0.114.1");
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	from(&r, "203.0.115.1");
	assert_int_equal(rig_tcp(&r, 1, SYN), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_over_service_rate);
}

static int reason_from6(struct rig *r, const char *client, int sport)
{
	packet_build(&r->f->in, PKT(ETH(), IP6(.src = client, .dst = "2001:db8::10"),
				    TCP(.sport = sport, .dport = 80, .flags = SYN)));
	fixture_send(r->f);
	return r->f->reason;
}

LB_TEST(ipv6_sources_count_by_prefix_too)
{
	struct rig r = stable();
	uint16_t id = fixture_single(r.f, "2001:db8::10", IPPROTO_TCP, 80, (struct lb_service){0},
				     &(struct backend_spec){.dst = "fd00::11"});

	limit(&r, id, 0, 2);
	assert_int_equal(reason_from6(&r, "2001:db8:1:200::1", 1), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from6(&r, "2001:db8:1:2ff::2", 1), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from6(&r, "2001:db8:1:2aa::3", 1), LB_REASON_over_source_rate);
	assert_int_equal(reason_from6(&r, "2001:db8:1:300::1", 1), LB_REASON_forwarded_tx);
	r.f->map.limits[id].mask6[1] = ~0u;
	r.f->map.limits[id].mask6[2] = r.f->map.limits[id].mask6[3] = ~0u; /* /128 */
	assert_int_equal(reason_from6(&r, "2001:db8:1:2aa::3", 1), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from6(&r, "2001:db8:1:2aa::3", 2), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from6(&r, "2001:db8:1:2aa::3", 3), LB_REASON_over_source_rate);
	assert_int_equal(reason_from6(&r, "2001:db8:1:2aa::4", 4), LB_REASON_forwarded_tx);
}

/* ---- places for words ---- */

/* The bucket of a client's prefix, and its hash. */
static struct lb_source_bucket *bucket_of(struct rig *r, const char *prefix, uint64_t *ret_hash)
{
	struct lb_tuple source = {.family = 4};

	assert_int_equal(inet_pton(AF_INET, prefix, source.client), 1);
	*ret_hash = lb_source_hash(&source, &r->f->map.settings->key, r->tcp);
	return &r->f->map.sources[lb_source_bucket_of(*ret_hash)];
}

/* Fills the places of the prefix with words of others, which are ahead of now by so many hours. */
static struct lb_source_bucket *crowd(struct rig *r, const char *prefix, const int *hours)
{
	uint64_t hash, now = UNITS(fixture_now_ns());
	struct lb_source_bucket *bucket = bucket_of(r, prefix, &hash);

	for (uint64_t i = 0; i < LB_SOURCE_WAYS; i++)
		bucket->word[i] = lb_source_word(hash ^ (i + 1) << LB_SOURCE_TIME_BITS,
						 now + hours[i] * (int64_t)UNITS(HOUR));
	return bucket;
}

/* However much the others owe: no prefix pays for another. */
LB_TEST(a_prefix_without_a_place_has_a_full_bucket)
{
	struct rig r = stable();
	struct lb_source_bucket *bucket;

	limit(&r, r.tcp, 0, 2);
	bucket = crowd(&r, "198.51.100.0", (int[]){2, 2, 2, 2, 2, 2, 2, 2});
	assert_int_equal(syns(&r, 1, 4), 2);
	crowd(&r, "198.51.100.0", (int[]){2, 2, 2, 2, 2, 2, 2, 2});
	assert_int_equal(syns(&r, 11, 4), 2);
	assert_non_null(bucket);
}

LB_TEST(the_bucket_that_owes_least_gives_way)
{
	struct rig r = stable();
	struct lb_source_bucket *bucket, before;

	limit(&r, r.tcp, 0, 9);
	bucket = crowd(&r, "198.51.100.0", (int[]){7, 8, 6, 3, 9, 5, 8, 4});
	before = *bucket;
	assert_int_equal(syns(&r, 1, 1), 1);
	for (int i = 0; i < LB_SOURCE_WAYS; i++)
		assert_int_equal(bucket->word[i] == before.word[i], i != 3);
}

LB_TEST(a_full_bucket_or_an_empty_place_gives_way_first)
{
	struct rig r = stable();
	struct lb_source_bucket *bucket, before;

	limit(&r, r.tcp, 0, 9);
	bucket = crowd(&r, "198.51.100.0", (int[]){1, 1, 1, 1, 1, -3, 1, 1});
	before = *bucket;
	assert_int_equal(syns(&r, 1, 1), 1);
	assert_true(bucket->word[5] != before.word[5]);
	bucket->word[6] = 0;
	bucket->word[5] = before.word[5];
	assert_int_equal(syns(&r, 2, 1), 1);
	assert_int_equal(bucket->word[5], before.word[5]);
	assert_true(bucket->word[6] != 0);
}

LB_TEST(a_prefix_keeps_its_word_among_others)
{
	struct rig r = stable();
	struct lb_source_bucket *bucket;

	limit(&r, r.tcp, 0, 3);
	bucket = crowd(&r, "198.51.100.0", (int[]){1, 1, 1, 1, 1, 1, 1, 0});
	assert_int_equal(syns(&r, 1, 2), 2);
	for (int i = 0; i < LB_SOURCE_WAYS - 1; i++)
		bucket->word[i] = 0; /* an empty place before its own */
	assert_int_equal(syns(&r, 3, 5), 1);
}

/* ---- words of other rates ---- */

/* A reload from a slow rate to a fast one leaves a word that is far ahead. */
LB_TEST(a_bucket_that_was_emptied_at_a_slower_rate_has_one_flow_and_fills_at_the_new_one)
{
	struct rig r = stable();
	uint64_t hash;
	struct lb_source_bucket *bucket = bucket_of(&r, "198.51.100.0", &hash);

	limit(&r, r.tcp, 4, 0);
	r.f->map.limits[r.tcp].full_at = fixture_now_ns() + 90 * HOUR;
	assert_int_equal(syns(&r, 101, 9), 1);
	pass(&r, 2);
	assert_int_equal(syns(&r, 2, 9), 2);

	limit(&r, r.tcp, 0, 4);
	bucket->word[3] = lb_source_word(hash, UNITS(fixture_now_ns() + 90 * HOUR));
	assert_int_equal(syns(&r, 201, 9), 1);
	pass(&r, 2);
	assert_int_equal(syns(&r, 2, 9), 2);
}

/* A CPU that has read the clock a moment before another one sees a word that is a step ahead. */
LB_TEST(a_step_of_the_clock_gives_no_flow)
{
	struct rig r = stable();
	uint64_t hash;
	struct lb_source_bucket *bucket = bucket_of(&r, "198.51.100.0", &hash);

	limit(&r, r.tcp, 4, 0);
	r.f->map.limits[r.tcp].full_at = fixture_now_ns() + 4 * HOUR + 100000000;
	assert_int_equal(syns(&r, 1, 9), 0);
	limit(&r, r.tcp, 0, 4);
	bucket->word[3] = lb_source_word(hash, UNITS(fixture_now_ns() + 4 * HOUR + 100000000));
	assert_int_equal(syns(&r, 11, 9), 0);
}

/* ---- offenders ---- */

static struct lb_offender *offender_of(struct rig *r, const char *prefix)
{
	uint32_t address;
	struct lb_offender *found = NULL;

	assert_int_equal(inet_pton(AF_INET, prefix, &address), 1);
	for (unsigned i = 0; i < r->f->cpus * LB_OFFENDERS; i++)
		if (r->f->map.offenders[i].tag && r->f->map.offenders[i].addr[0] == address) {
			assert_null(found);
			found = &r->f->map.offenders[i];
		}
	return found;
}

LB_TEST(prefixes_above_their_rate_are_noted_with_what_was_dropped)
{
	struct rig r = stable();
	struct lb_offender *o;

	limit(&r, r.tcp, 0, 2);
	from(&r, "198.51.100.7");
	syns(&r, 1, 12);
	from(&r, "203.0.113.9");
	syns(&r, 1, 5);
	from(&r, "192.0.2.77");
	syns(&r, 1, 2);
	o = offender_of(&r, "198.51.100.0");
	assert_non_null(o);
	assert_int_equal(o->dropped, 10);
	assert_int_equal(o->inherited, 0);
	assert_int_equal(o->service, r.tcp);
	assert_int_equal(o->family, 4);
	assert_int_equal(o->length, 24);
	assert_int_equal(offender_of(&r, "203.0.113.0")->dropped, 3);
	assert_null(offender_of(&r, "192.0.2.0")); /* it stayed below */
}

LB_TEST(the_prefix_with_the_fewest_drops_gives_its_place_and_count)
{
	struct rig r = stable();
	struct lb_offender *places = r.f->map.offenders, *o;

	limit(&r, r.tcp, 0, 1);
	for (unsigned i = 0; i < r.f->cpus * LB_OFFENDERS; i++) {
		uint64_t dropped = i % LB_OFFENDER_WAYS == 2 ? 7 : 100;

		places[i] =
		    (struct lb_offender){.tag = i + 1, .dropped = dropped, .last = fixture_tick()};
	}
	syns(&r, 1, 4);
	o = offender_of(&r, "198.51.100.0");
	assert_non_null(o);
	assert_int_equal((o - places) % LB_OFFENDER_WAYS, 2);
	assert_int_equal(o->dropped, 10);
	assert_int_equal(o->inherited, 7);
}

LB_TEST(a_prefix_that_was_quiet_for_long_gives_its_place_first)
{
	struct rig r = stable();
	struct lb_offender *places = r.f->map.offenders, *o;

	limit(&r, r.tcp, 0, 1);
	for (unsigned i = 0; i < r.f->cpus * LB_OFFENDERS; i++)
		places[i] = (struct lb_offender){
		    .tag = i + 1,
		    .dropped = i % LB_OFFENDER_WAYS == 1 ? 900 : 100,
		    .last =
			fixture_tick() - (i % LB_OFFENDER_WAYS == 1 ? LB_OFFENDER_IDLE + 9 : 0)};
	syns(&r, 1, 4);
	o = offender_of(&r, "198.51.100.0");
	assert_non_null(o);
	assert_int_equal((o - places) % LB_OFFENDER_WAYS, 1);
	assert_int_equal(o->dropped, 3);
	assert_int_equal(o->inherited, 0);
}

/* ---- several CPUs ---- */

#define SENDERS 2
#define EACH    1000000 /* the same SYN again and again: in a stable slot each is a new flow */
#define BURST   1000000
/* Units. So many of them are just less than the words of sources can hold. */
#define SHORT UNITS(500000000ULL)

struct sender {
	pthread_t thread;
	const struct rig *r;
	int cpu, rc;
};

/* One system call, so that packets follow each other as closely as in a flood. */
static void *send_syns(void *arg)
{
	struct sender *s = arg;
	struct fixture *f = s->r->f;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->in.data, .data_size_in = f->in.len,
		    .repeat = EACH);
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	s->rc = bpf_prog_test_run_opts(bpf_program__fd(f->skel->progs.lb), &opts);
	return NULL;
}

static uint64_t admitted(const struct fixture *f)
{
	uint64_t sum = 0;

	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		sum += f->map.reason_counts[cpu * LB_COUNTERS + LB_REASON_too_big].packets;
	return sum;
}

/* Returns how many new flows of all CPUs together got as far as their backend. */
static uint64_t send_from_all_cpus(struct rig *r)
{
	struct sender senders[SENDERS];
	uint64_t before = admitted(r->f);

	packet_build(&r->f->in, PKT(ETH(), IP4(.src = r->client, .dst = RIG_VIP),
				    TCP(.sport = 1, .dport = 80, .flags = SYN)));
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.r = r, .cpu = i};
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_syns, &senders[i]),
				 0);
	}
	for (int i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_int_equal(senders[i].rc, 0);
	}
	return admitted(r->f) - before;
}

/* Packets that are too long for the backend: whatever else ends one changes it, and it could not be
 * sent again. */
static struct rig stable_and_narrow(void)
{
	struct rig r = RIG();

	rig_set_stable(&r, A);
	rig_tcp(&r, 1, SYN); /* writes the fronts */
	r.f->map.backends[r.tcp_id[A]].mtu = r.f->map.backends[r.tcp_id[A]].link_mtu = 30;
	r.f->map.settings->short_per_tick = 0; /* nobody is told */
	return r;
}

LB_TEST(all_cpus_together_let_through_no_more_than_a_services_burst)
{
	struct rig r = stable_and_narrow();

	limit(&r, r.tcp, BURST, 0);
	assert_int_equal(send_from_all_cpus(&r), BURST);
}

LB_TEST(all_cpus_together_let_through_no_more_than_a_sources_burst)
{
	struct rig r = stable_and_narrow();
	uint64_t begin = fixture_now_ns(), passed, refilled;

	limit(&r, r.tcp, 0, 1);
	r.f->map.limits[r.tcp].source_cost = SHORT;
	r.f->map.limits[r.tcp].source_span = BURST * SHORT;
	passed = send_from_all_cpus(&r);
	refilled = UNITS(fixture_now_ns() - begin) / SHORT + 1;
	assert_in_range(passed, BURST, BURST + refilled);
}

RIG_TEST_MAIN("limits")
