/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The counts of active flows, packets, bytes and entries; and two CPUs that share a flow table. */
#include <pthread.h>
#include <stdlib.h>

#include "support/rig.h"

LB_TEST(active_counts_go_up_and_down)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	rig_set_stable(&r, A);
	for (int client = 1; client <= 10; client++)
		rig_tcp(&r, client, SYN);
	assert_int_equal(rig_active(&r, A), 10);
	for (int client = 1; client <= 10; client++)
		rig_tcp(&r, client, ACK);
	assert_int_equal(rig_active(&r, A), 10);
	rig_tcp(&r, 1, FIN | ACK);
	rig_tcp(&r, 1, FIN | ACK);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_active(&r, A), 9);
	rig_tcp(&r, 2, RST);
	assert_int_equal(rig_active(&r, A), 8);
	for (int i = 0; i < RIG_PLACES; i++)
		entry_age(rig_place(&r, i), 1);
	rig_tcp(&r, 1, ACK); /* the last packets, ticks later */
	rig_tcp(&r, 1, FIN | ACK);
	assert_int_equal(rig_active(&r, A), 8);
	rig_tcp(&r, 1, SYN); /* the tuple again */
	assert_int_equal(rig_active(&r, A), 9);
}

LB_TEST(active_counts_move_with_a_rewritten_entry)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_active(&r, B), 1);
	rig_set_usable(&r, B, false);
	rig_set_slots(&r, C, A, T);
	rig_tcp(&r, 1, SYN);
	assert_int_equal(rig_active(&r, B), 0);
	assert_int_equal(rig_active(&r, C), 1);
}

LB_TEST(active_counts_sink_with_an_evicted_entry)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick());
	r.f->map.loads[r.tcp_id[C]].active = RIG_PLACES;
	for (int client = 1; client <= 20; client++)
		rig_tcp(&r, client, SYN);
	assert_int_equal(rig_active(&r, B) + rig_active(&r, C), RIG_PLACES);
	assert_in_range(rig_active(&r, B), 15, 20); /* newer ones of B may have gone as well */
}

LB_TEST(packets_bytes_and_flows_are_counted_per_backend)
{
	struct rig r = RIG();
	struct lb_backend_count a0 = fixture_backend_count(r.f, r.tcp_id[A]),
				b0 = fixture_backend_count(r.f, r.tcp_id[B]);
	struct lb_backend_count a1, b1;

	rig_set_slots(&r, B, A, T);
	for (int client = 1; client <= 10; client++) {
		rig_tcp(&r, client, SYN);
		rig_tcp(&r, client, ACK);
		rig_tcp(&r, 100 + client, ACK);
	}
	a1 = fixture_backend_count(r.f, r.tcp_id[A]);
	b1 = fixture_backend_count(r.f, r.tcp_id[B]);
	assert_int_equal(b1.packets - b0.packets, 20);
	assert_int_equal(b1.bytes - b0.bytes, 20 * 40);
	assert_int_equal(b1.flows - b0.flows, 10);
	assert_int_equal(a1.packets - a0.packets, 10);
	assert_int_equal(a1.bytes - a0.bytes, 10 * 40);
	assert_int_equal(a1.flows - a0.flows, 0);
}

/* How many flows backend A has been sent since *before, which becomes the present count. */
static int new_flows(struct rig *r, struct lb_backend_count *before)
{
	struct lb_backend_count now = fixture_backend_count(r->f, r->tcp_id[A]);
	int flows = (int)(now.flows - before->flows);

	*before = now;
	return flows;
}

LB_TEST(a_syn_that_is_sent_again_is_no_new_flow)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});
	struct lb_backend_count before = fixture_backend_count(r.f, r.tcp_id[A]);

	rig_set_stable(&r, A);
	for (int i = 0; i < 3; i++)
		rig_tcp(&r, 1, SYN);
	assert_int_equal(new_flows(&r, &before), 1);
	rig_tcp(&r, 1, ACK);
	rig_tcp(&r, 1, FIN | ACK);
	assert_int_equal(new_flows(&r, &before), 0);
	rig_tcp(&r, 1, SYN); /* the tuple again */
	rig_tcp(&r, 2, SYN);
	assert_int_equal(new_flows(&r, &before), 2);
}

LB_TEST(a_syn_that_is_sent_again_in_a_transition_is_no_new_flow)
{
	struct rig r = RIG();
	struct lb_backend_count before = fixture_backend_count(r.f, r.tcp_id[A]);

	rig_set_slots(&r, A, B, T);
	for (int i = 0; i < 3; i++)
		rig_tcp(&r, 1, SYN);
	assert_int_equal(new_flows(&r, &before), 1);
}

LB_TEST(an_insert_is_counted_once)
{
	struct rig r = RIG();

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 1);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_evicted), 0);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_counted(&r, LB_EVENT_flow_inserted), 0);
}

/* ---- two CPUs ---- */

#define SENDER_FLOWS  60
#define SENDER_ROUNDS 60

struct sender {
	struct rig r;
	struct fixture fixture; /* of its own: packets and results; the maps are shared */
	pthread_t thread;
	int cpu, first_client;
	int astray; /* packets that did not go to B */
};

static void send_handshake(struct sender *s, int client)
{
	s->astray += rig_tcp_uncounted(&s->r, client, SYN) != B;
	s->astray += rig_tcp_uncounted(&s->r, client, ACK) != B;
}

static void *send_flows(void *arg)
{
	struct sender *s = arg;
	int end = s->first_client + SENDER_FLOWS;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	for (int round = 0; round < SENDER_ROUNDS; round++)
		for (int client = s->first_client; client < end; client++) {
			int last = round % 2 ? FIN | ACK : RST;

			send_handshake(s, client);
			s->astray += rig_tcp_uncounted(&s->r, client, last) != B;
		}
	for (int client = s->first_client; client < end; client++)
		send_handshake(s, client);
	return NULL;
}

LB_TEST(flows_of_several_cpus_share_the_table_without_losing_one)
{
	struct rig r = RIG();
	struct sender *senders = calloc(2, sizeof(*senders));
	int failed;

	assert_non_null(senders);
	rig_set_slots(&r, B, A, T);
	for (int i = 0; i < 2; i++) {
		senders[i].fixture = *r.f;
		senders[i].r = r;
		senders[i].r.f = &senders[i].fixture;
		senders[i].cpu = i;
		senders[i].first_client = 1 + i * SENDER_FLOWS;
		failed = pthread_create(&senders[i].thread, NULL, send_flows, &senders[i]);
		assert_int_equal(failed, 0);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
	assert_int_equal(senders[0].astray + senders[1].astray, 0);
	assert_int_equal(rig_active(&r, B), 2 * SENDER_FLOWS);
	assert_int_equal(rig_entries(&r), 2 * SENDER_FLOWS);
	rig_set_slots(&r, C, A, T); /* now their entries alone keep the flows on B */
	for (int client = 1; client <= 2 * SENDER_FLOWS; client++)
		assert_int_equal(rig_tcp(&r, client, ACK), B);
	free(senders);
}

RIG_TEST_MAIN("tracking: counts")
