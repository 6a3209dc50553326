/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table while it has, or gets, another size: where entries are looked for and put, when
 * the program takes the whole table, and lbd moving entries with packets of two CPUs flowing. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_hash.h"
#include "lbd/dataplane/internal.h"
#include "support/rig.h"

#define SMALLEST 3 /* masks: four buckets, 32 places */
#define WHOLE    (FIXTURE_BUCKETS - 1)

static void set_masks(struct rig *r, uint32_t look, uint32_t put)
{
	r->f->map.settings->flow_masks = (union lb_flow_masks){{look, put}};
}

static void expect_masks(struct rig *r, uint32_t look, uint32_t put)
{
	assert_int_equal(r->f->map.settings->flow_masks.look, look);
	assert_int_equal(r->f->map.settings->flow_masks.put, put);
}

static struct rig rig_tracked(void)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_stable(&r, A);
	set_masks(&r, SMALLEST, SMALLEST);
	return r;
}

/* The number of the only entry's bucket. */
static uint32_t bucket_of_entry(struct rig *r)
{
	return (uint32_t)((rig_only_entry(r) - r->f->map.flows[0].flow) / LB_FLOW_WAYS);
}

/* The number of a client whose entry is in another bucket of the whole table than of its smallest
 * part; the table is empty then. */
static int client_that_moves(struct rig *r)
{
	for (int client = 1; client < 100; client++) {
		uint32_t small, whole;

		set_masks(r, SMALLEST, SMALLEST);
		rig_tcp(r, client, SYN);
		small = bucket_of_entry(r);
		rig_clear_table(r);
		set_masks(r, WHOLE, WHOLE);
		rig_tcp(r, client, SYN);
		whole = bucket_of_entry(r);
		rig_clear_table(r);
		assert_int_equal(whole & SMALLEST, small);
		if (whole != small)
			return client;
	}
	fail_msg("no entry is in another bucket");
	return 0;
}

/* ---- lbd ---- */

/* As much of an lbd as flows_move needs, on the maps of the fixture. */
static struct dataplane *mover_make(struct rig *r)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));

	assert_non_null(dp);
	dp->grace_map_fd = -1;
	dp->maps = (struct dp_maps){.settings = r->f->map.settings,
				    .flows = (uint64_t *)r->f->map.flows,
				    .backends = r->f->map.backends,
				    .loads = r->f->map.loads,
				    .turns = r->f->map.turns,
				    .reason_counts = r->f->map.reason_counts,
				    .backend_slots = FIXTURE_BACKENDS,
				    .service_slots = FIXTURE_SERVICES,
				    .flow_words = RIG_PLACES,
				    .flow_shift = FIXTURE_FLOW_SHIFT,
				    .cpus = r->f->cpus};
	assert_int_equal(ids_init(&dp->backend_ids, FIXTURE_BACKENDS), 0);
	memset(dp->backend_ids.state, ID_USED, FIXTURE_BACKENDS);
	return dp;
}

static void move_all(struct dataplane *dp, uint32_t mask)
{
	flows_resize(dp, mask);
	dp->grace_owed = true;
	dp_grace(dp);
	dp->sweep.at = 0;
	dp->flows.stuck = 0;
	flows_move(dp, flows_old_words(dp));
	flows_moved(dp);
}

static void mover_free(struct dataplane *dp)
{
	if (dp->grace_map_fd >= 0)
		close(dp->grace_map_fd);
	ids_done(&dp->backend_ids);
	free(dp);
}

/* ---- look-ups ---- */

LB_TEST(entries_are_in_the_part_in_use)
{
	struct rig r = rig_tracked();

	for (int client = 1; client <= 12; client++)
		rig_tcp(&r, client, SYN);
	assert_int_equal(rig_entries(&r), 12);
	for (int i = (SMALLEST + 1) * LB_FLOW_WAYS; i < RIG_PLACES; i++)
		assert_int_equal(*rig_place(&r, i), 0);
}

/* From a smaller part to a larger, and back. */
LB_TEST(an_entry_is_found_where_it_was_and_where_it_goes)
{
	static const uint32_t masks[2][2] = {{SMALLEST, WHOLE}, {WHOLE, SMALLEST}};
	struct rig r = rig_tracked();
	int client = client_that_moves(&r);

	for (int way = 0; way < 2; way++)
		for (int moved = 0; moved < 2; moved++) {
			set_masks(&r, masks[way][moved], masks[way][moved]);
			rig_clear_table(&r);
			rig_set_stable(&r, A);
			rig_tcp(&r, client, SYN);
			rig_tcp(&r, client, ACK);
			set_masks(&r, masks[way][0], masks[way][1]);
			rig_set_stable(&r, B);
			assert_int_equal(rig_tcp(&r, client, ACK), A);
			assert_int_equal(rig_tcp(&r, client, SYN), A);
			assert_int_equal(rig_entries(&r), 1);
		}
}

LB_TEST(while_there_are_two_copies_the_one_in_the_old_place_counts)
{
	struct rig r = rig_tracked();
	int client = client_that_moves(&r);
	__u64 *copy;

	set_masks(&r, WHOLE, WHOLE);
	rig_tcp(&r, client, SYN);
	copy = rig_only_entry(&r);
	set_masks(&r, SMALLEST, SMALLEST);
	rig_set_stable(&r, B);
	rig_tcp(&r, client, SYN);
	assert_int_equal(rig_entries(&r), 2);
	set_masks(&r, SMALLEST, WHOLE);
	assert_int_equal(rig_tcp(&r, client, ACK), B);
	assert_entry(*copy, LB_FLOW_SYN, r.tcp_id[A]);
}

LB_TEST(a_new_flow_goes_to_the_new_place)
{
	struct rig r = rig_tracked();
	int client = client_that_moves(&r);

	set_masks(&r, SMALLEST, WHOLE);
	rig_tcp(&r, client, SYN);
	assert_true(bucket_of_entry(&r) > SMALLEST);
	assert_int_equal(rig_tcp(&r, client, ACK), A);
	assert_int_equal(rig_entries(&r), 1);
	rig_clear_table(&r);
	set_masks(&r, WHOLE, SMALLEST);
	rig_tcp(&r, client, SYN);
	assert_true(bucket_of_entry(&r) <= SMALLEST);
}

/* ---- growth by the program ---- */

static void fill(struct rig *r, int state, uint32_t age)
{
	for (int i = 0; i < (SMALLEST + 1) * LB_FLOW_WAYS; i++)
		*rig_place(r, i) = entry_make(i, r->tcp_id[A], state, fixture_tick() - age);
}

LB_TEST(a_part_without_an_empty_place_grows_to_the_whole_table)
{
	static const struct {
		int state;
		uint32_t age;
	} kept[] = {
	    {LB_FLOW_ESTABLISHED, 0}, {LB_FLOW_SYN, 0}, {LB_FLOW_SYN, 1}, {LB_FLOW_FIN, 20}};

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		struct rig r = rig_tracked();

		fill(&r, kept[i].state, kept[i].age);
		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 1);
		assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 0);
		expect_masks(&r, SMALLEST, WHOLE);
		assert_int_equal(rig_entries(&r), 33);
		fixture_clear(NULL);
	}
}

LB_TEST(a_part_with_dormant_or_expired_entries_does_not_grow)
{
	static const struct {
		int state;
		uint32_t age;
	} spare[] = {{LB_FLOW_DORMANT, 0}, {LB_FLOW_FIN, 400}, {LB_FLOW_ESTABLISHED, 400}};

	for (size_t i = 0; i < sizeof(spare) / sizeof(*spare); i++) {
		struct rig r = rig_tracked();

		fill(&r, spare[i].state, spare[i].age);
		assert_int_equal(rig_tcp(&r, 1, SYN), A);
		assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 1);
		expect_masks(&r, SMALLEST, SMALLEST);
		fixture_clear(NULL);
	}
}

LB_TEST(a_table_that_is_changing_its_size_evicts_as_a_full_one_does)
{
	struct rig r = rig_tracked();

	fill(&r, LB_FLOW_SYN, 1);
	set_masks(&r, WHOLE, SMALLEST);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 1);
	expect_masks(&r, WHOLE, SMALLEST);
}

/* But for those that come to a full bucket which is theirs in the whole table too, before lbd has
 * moved what is not. */
LB_TEST(flows_find_a_place_until_the_whole_table_is_half_full)
{
	struct rig r = rig_tracked();
	struct dataplane *dp = mover_make(&r);
	uint64_t evicted = 0, astray = 0;

	for (int client = 1; client <= RIG_PLACES / 2; client++) {
		rig_tcp(&r, client, SYN);
		assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 1);
		evicted += rig_counted(&r, LB_EVENT_flow_evicted);
		if (r.f->map.settings->flow_masks.look != r.f->map.settings->flow_masks.put)
			move_all(dp, WHOLE);
	}
	expect_masks(&r, WHOLE, WHOLE);
	rig_set_stable(&r, B);
	for (int client = 1; client <= RIG_PLACES / 2; client++)
		astray += rig_tcp(&r, client, ACK) != A;
	assert_in_range(evicted, 0, 3);
	assert_int_equal(astray, evicted);
	mover_free(dp);
}

/* ---- the straight path renews entries ---- */

LB_TEST(a_packet_in_a_later_tick_renews_its_entry)
{
	struct rig r = rig_tracked();

	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 5);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(LB_FLOW_TICK(*rig_only_entry(&r)), fixture_tick() & LB_FLOW_TICK_MASK);
	assert_int_equal(rig_active(&r, A), 1);
}

LB_TEST(an_entry_of_an_unusable_backend_is_not_renewed)
{
	struct rig r = rig_tracked();
	uint64_t before;

	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	entry_age(rig_only_entry(&r), 5);
	before = *rig_only_entry(&r);
	rig_set_usable(&r, A, false);
	rig_tcp(&r, 1, ACK);
	assert_true(*rig_only_entry(&r) == before);
}

/* ---- packets while lbd moves entries ---- */

#define SENDERS      2
#define SENDER_FLOWS 14 /* so many of both that the smallest part is almost full */
#define RESIZES      300
#define TRIES        1000 /* look-ups that a change of the size may disturb */

struct sender {
	struct rig r;
	struct fixture fixture; /* of its own: packets and results; the maps are shared */
	pthread_t thread;
	int cpu, first_client;
	int astray, lost; /* packets to another backend; changes of state */
	volatile bool *ends;
};

static uint64_t hash_of(struct rig *r, int client)
{
	struct lb_tuple tuple = {.protocol = IPPROTO_TCP, .family = 4};
	const uint16_t ports[2] = {htons((uint16_t)client), htons(80)};

	inet_pton(AF_INET, r->client, tuple.client);
	inet_pton(AF_INET, RIG_VIP, tuple.vip);
	memcpy(&tuple.ports, ports, sizeof(ports));
	return lb_flow_hash(&tuple, &r->f->map.settings->key);
}

static int state_in(struct rig *r, uint32_t bucket, uint64_t hash)
{
	for (int way = 0; way < LB_FLOW_WAYS; way++) {
		uint64_t word =
		    __atomic_load_n(&r->f->map.flows[bucket].flow[way], __ATOMIC_ACQUIRE);

		if (LB_FLOW_STATE(word) && (word ^ hash) >> LB_FLOW_FP_SHIFT == 0)
			return LB_FLOW_STATE(word);
	}
	return LB_FLOW_EMPTY;
}

/* The state of the flow's entry, in the old place or the new one. */
static int state_of(struct rig *r, uint64_t hash)
{
	int state = LB_FLOW_EMPTY;

	for (int i = 0; !state && i < TRIES; i++) { /* the size may change meanwhile */
		const union lb_flow_masks masks = {
		    .word =
			__atomic_load_n(&r->f->map.settings->flow_masks.word, __ATOMIC_ACQUIRE)};

		for (int at = 0; !state && at < 4; at++) {
			uint32_t bucket =
			    lb_bucket(hash, FIXTURE_FLOW_SHIFT, at < 2 ? masks.look : masks.put);

			if (at % 2)
				bucket = lb_bucket_other(bucket, hash, FIXTURE_FLOW_SHIFT);
			state = state_in(r, bucket, hash);
		}
	}
	return state;
}

/* Sends a packet, which must go to A, and leave the entry in this state. */
static void send_one(struct sender *s, int client, int flags, int state)
{
	s->astray += rig_tcp_uncounted(&s->r, client, flags) != A;
	s->lost += state_of(&s->r, hash_of(&s->r, client)) != state;
}

static void *send_packets(void *arg)
{
	struct sender *s = arg;
	int end = s->first_client + SENDER_FLOWS;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	while (!*s->ends)
		for (int client = s->first_client; client < end; client++) {
			send_one(s, client, FIN | ACK, LB_FLOW_FIN);
			send_one(s, client, SYN, LB_FLOW_ESTABLISHED);
			send_one(s, client, ACK, LB_FLOW_ESTABLISHED);
		}
	return NULL;
}

LB_TEST(no_flow_is_lost_while_its_entry_moves)
{
	struct rig r = rig_tracked();
	struct sender *senders = calloc(SENDERS, sizeof(*senders));
	struct dataplane *dp = mover_make(&r);
	volatile bool ends = false;
	uint32_t random = 1;

	assert_non_null(senders);
	for (int client = 1; client <= SENDERS * SENDER_FLOWS; client++) {
		rig_tcp(&r, client, SYN);
		rig_tcp(&r, client, ACK);
	}
	rig_set_stable(&r, B); /* now their entries alone keep the flows on A */
	fixture_sync(r.f);
	for (int i = 0; i < SENDERS; i++) {
		senders[i].fixture = *r.f;
		senders[i].r = r;
		senders[i].r.f = &senders[i].fixture;
		senders[i].cpu = i;
		senders[i].first_client = 1 + i * SENDER_FLOWS;
		senders[i].ends = &ends;
		assert_int_equal(
		    pthread_create(&senders[i].thread, NULL, send_packets, &senders[i]), 0);
	}
	for (int i = 0; i < RESIZES; i++) {
		random = random * 1664525 + 1013904223;
		move_all(dp, (4u << (random >> 16) % 5) - 1);
	}
	ends = true;
	for (int i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_int_equal(senders[i].astray, 0);
		assert_int_equal(senders[i].lost, 0);
	}
	assert_int_equal(rig_entries(&r), SENDERS * SENDER_FLOWS);
	assert_int_equal(rig_active(&r, A), SENDERS * SENDER_FLOWS);
	mover_free(dp);
	free(senders);
}

RIG_TEST_MAIN("tracking: sizes of the table")
