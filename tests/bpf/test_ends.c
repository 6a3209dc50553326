/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf/ends.h: what replies of `forward: nat` with SYN, FIN or RST say of their connections. */
#include <arpa/inet.h>
#include <string.h>

#include "support/fixture_nat.h"
#include "support/rig.h"

#define REAL_PORT 8080
#define ISN_BACK  77

static const char *const reals[BACKENDS] = {"10.0.0.11", "10.0.0.12", "10.0.0.13"};

/* All slots are stable on A. */
static struct rig nat_rig(struct lb_service tcp)
{
	const struct way_spec way = {.prefix = "0.0.0.0/0", .dst_mac = MAC_ROUTER};
	struct rig r;

	tcp.forward = LB_FORWARD_NAT;
	r = rig_make(tcp);
	for (int i = 0; i < BACKENDS; i++)
		fixture_real(r.f, r.tcp_id[i], RIG_VIP, IPPROTO_TCP, 80, REAL_PORT);
	fixture_ways(r.f, &way, 1);
	fixture_own_mac(r.f);
	rig_set_stable(&r, A);
	return r;
}

static struct rig tracking_rig(void)
{
	return nat_rig((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});
}

/* A reply to a client (a source port), as it comes from the backend. */
static void reply_seq(struct rig *r, int backend, int client, int flags, uint32_t seq)
{
	struct in_addr source;

	packet_build(&r->f->in, PKT(ETH(.src = FIXTURE_MAC_BACKEND),
				    IP4(.src = reals[backend], .dst = r->client),
				    TCP(.sport = REAL_PORT, .dport = client, .flags = flags,
					.seq = seq, .ack = RIG_ISN + 1)));
	fixture_send(r->f);
	assert_int_equal(r->f->verdict, XDP_TX);
	memcpy(&source, r->f->out.data + 14 + 12, sizeof(source));
	assert_string_equal(inet_ntoa(source), RIG_VIP);
}

static void reply(struct rig *r, int backend, int client, int flags)
{
	reply_seq(r, backend, client, flags, ISN_BACK);
}

static void refuse(struct rig *r, int backend, int client)
{
	reply_seq(r, backend, client, RST | ACK, 0);
}

/* The backend is behind this VLAN; 0: none. */
static void set_vlan(struct rig *r, int backend, int vlan)
{
	r->f->map.backends[r->tcp_id[backend]].vlan_tci = htons(vlan);
}

/* With a tag, of VLAN 9: it takes the long path. */
static void reply_tagged_as(struct rig *r, int backend, int client, int flags, int tpid)
{
	packet_build(&r->f->in, PKT(ETH(.src = FIXTURE_MAC_BACKEND), VLAN(.tci = 9, .tpid = tpid),
				    IP4(.src = reals[backend], .dst = r->client),
				    TCP(.sport = REAL_PORT, .dport = client, .flags = flags,
					.seq = ISN_BACK, .ack = RIG_ISN + 1)));
	fixture_send(r->f);
	assert_int_equal(r->f->verdict, XDP_TX);
}

static void reply_tagged(struct rig *r, int backend, int client, int flags)
{
	reply_tagged_as(r, backend, client, flags, 0x8100);
}

static void open(struct rig *r, int client)
{
	assert_int_not_equal(rig_tcp(r, client, SYN), NOWHERE);
	assert_int_not_equal(rig_tcp(r, client, ACK), NOWHERE);
}

static int entry_state(struct rig *r)
{
	return LB_FLOW_STATE(*rig_only_entry(r));
}

/* Of all tests. */
static uint64_t refused(const struct rig *r, int backend)
{
	return fixture_backend_count(r->f, r->tcp_id[backend]).refused;
}

/* The backend's own interface is another one: what comes in here may be forged. */
static void move_backend(struct rig *r, int backend)
{
	r->f->map.backends[r->tcp_id[backend]].ifindex = r->f->egress;
}

static void move_back(struct rig *r, int backend)
{
	r->f->map.backends[r->tcp_id[backend]].ifindex = r->f->lo;
}

/* ---- ends of connections ---- */

LB_TEST(a_flow_that_the_client_ends_first_is_closed_by_the_fin_of_the_backend)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	assert_int_equal(rig_active(&r, A), 1);
	rig_tcp(&r, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_FIN);
	reply(&r, A, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
	rig_tcp(&r, 1, ACK); /* of the backend's FIN */
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(a_flow_that_the_backend_ends_first_counts_until_the_client_ends_it)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	reply(&r, A, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_ENDING);
	assert_int_equal(rig_active(&r, A), 1);
	assert_int_equal(rig_tcp(&r, 1, ACK), A); /* it may still send for hours */
	assert_int_equal(entry_state(&r), LB_FLOW_ENDING);
	reply(&r, A, 1, FIN | ACK); /* sent again */
	assert_int_equal(entry_state(&r), LB_FLOW_ENDING);
	rig_tcp(&r, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(a_reset_of_the_backend_ends_a_flow_at_once)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	reply(&r, A, 1, RST);
	assert_int_equal(entry_state(&r), LB_FLOW_RST);
	assert_int_equal(rig_active(&r, A), 0);
	open(&r, 1); /* the tuple is used again */
	assert_int_equal(rig_active(&r, A), 1);
	reply(&r, A, 1, RST | ACK);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(replies_by_the_vlan_of_the_backend_say_as_much)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	rig_tcp(&r, 1, FIN | ACK);
	set_vlan(&r, A, 9);
	reply_tagged(&r, A, 1, FIN | ACK);
	set_vlan(&r, A, 0);
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
}

LB_TEST(what_comes_in_by_another_vlan_ends_nothing)
{
	static const int vlans[] = {0, 8};
	struct rig r = tracking_rig();

	open(&r, 1);
	for (int i = 0; i < 2; i++) {
		set_vlan(&r, A, vlans[i]);
		reply_tagged(&r, A, 1, FIN | ACK);
		set_vlan(&r, A, 0);
		assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	}
	set_vlan(&r, A, 9);
	reply(&r, A, 1, FIN | ACK); /* without a tag */
	reply_tagged_as(&r, A, 1, FIN | ACK, 0x88a8);
	set_vlan(&r, A, 0);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
}

LB_TEST(a_flow_goes_on_after_a_forged_reset_of_its_backend)
{
	struct rig r = tracking_rig();
	__u64 *entry;

	open(&r, 1);
	reply(&r, A, 1, RST);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	assert_int_equal(rig_active(&r, A), 1);
	reply(&r, A, 1, RST);
	entry = rig_only_entry(&r);
	entry_age(entry, 100); /* a long silence */
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
}

LB_TEST(a_flow_goes_on_after_forged_fins_of_both_its_ends)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	rig_tcp(&r, 1, FIN | ACK);
	reply(&r, A, 1, FIN | ACK);
	for (int i = 0; i < 20; i++)
		assert_int_equal(rig_tcp(&r, 1, ACK), A); /* on its backend */
	entry_age(rig_only_entry(&r), 2);
	rig_tcp(&r, 1, ACK); /* as the last one of a closing may */
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
	entry_age(rig_only_entry(&r), 4);
	assert_int_equal(rig_tcp(&r, 1, ACK), A);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	assert_int_equal(rig_active(&r, A), 1);
}

LB_TEST(a_fin_that_is_sent_again_leaves_a_closed_flow_closed)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	reply(&r, A, 1, FIN | ACK);
	rig_tcp(&r, 1, FIN | ACK);
	entry_age(rig_only_entry(&r), 2);
	rig_tcp(&r, 1, FIN | ACK);
	reply(&r, A, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_CLOSED);
	assert_int_equal(rig_active(&r, A), 0);
}

LB_TEST(a_syn_on_a_closed_flow_opens_one_on_the_same_backend)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	rig_tcp(&r, 1, FIN | ACK);
	reply(&r, A, 1, FIN | ACK);
	rig_set_stable(&r, B);
	assert_int_equal(rig_tcp(&r, 1, SYN), A);
	assert_int_equal(rig_active(&r, A), 1);
}

/* A flood of SYNs in the names of live flows meets resets of nobody; but who can send as the
 * backend could end handshakes. And a backend that refuses would be the least loaded of all. */
LB_TEST(a_reset_leaves_a_handshake_as_it_is)
{
	struct rig r = tracking_rig();

	rig_tcp(&r, 1, SYN);
	refuse(&r, A, 1);
	reply(&r, A, 1, RST);
	assert_int_equal(entry_state(&r), LB_FLOW_SYN);
	assert_int_equal(rig_active(&r, A), 1);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
}

LB_TEST(a_mark_of_an_older_flow_stays)
{
	struct rig r = nat_rig((struct lb_service){0});

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_HEARD);
	reply(&r, A, 1, RST);
	assert_int_equal(entry_state(&r), LB_FLOW_HEARD);
}

LB_TEST(the_end_of_a_flow_in_a_slot_in_transition_is_seen)
{
	struct rig r = nat_rig((struct lb_service){0});

	rig_set_slots(&r, B, A, T);
	rig_tcp(&r, 1, SYN);
	rig_tcp(&r, 1, ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	reply(&r, B, 1, RST);
	assert_int_equal(entry_state(&r), LB_FLOW_RST);
}

LB_TEST(another_backend_ends_no_flow)
{
	struct rig r = tracking_rig();

	open(&r, 1);
	reply(&r, B, 1, RST);
	reply(&r, B, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	reply(&r, A, 2, RST); /* of another client */
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
}

LB_TEST(what_comes_in_where_the_backend_is_not_ends_nothing)
{
	struct rig r = tracking_rig();
	uint64_t before = refused(&r, A);

	open(&r, 1);
	move_backend(&r, A);
	reply(&r, A, 1, RST);
	reply(&r, A, 1, FIN | ACK);
	assert_int_equal(entry_state(&r), LB_FLOW_ESTABLISHED);
	refuse(&r, A, 1);
	assert_int_equal(refused(&r, A), before);
	move_back(&r, A);
	refuse(&r, A, 1);
	assert_int_equal(refused(&r, A), before + 1);
}

LB_TEST(data_asks_no_table)
{
	struct rig r = tracking_rig();
	__u64 before;

	open(&r, 1);
	entry_age(rig_only_entry(&r), 3);
	before = *rig_only_entry(&r);
	reply(&r, A, 1, ACK);
	assert_int_equal(*rig_only_entry(&r), before);
}

/* ---- refused connects ---- */

LB_TEST(resets_that_answer_a_syn_are_counted)
{
	struct rig r = nat_rig((struct lb_service){0});
	uint64_t before = refused(&r, A), other = refused(&r, B);

	rig_tcp(&r, 1, SYN);
	refuse(&r, A, 1);
	refuse(&r, A, 2);
	assert_int_equal(refused(&r, A), before + 2);
	reply(&r, A, 1, RST | ACK); /* of a connection: it has a number */
	reply_seq(&r, A, 1, RST, 0);
	reply_seq(&r, A, 1, SYN | ACK, 0);
	assert_int_equal(refused(&r, A), before + 2);
	assert_int_equal(refused(&r, B), other);
}

/* ---- times to answer ---- */

/* In the sample by its slot, by hashes of fewer fields, and where every flow is tracked. */
static const struct lb_service kinds[] = {
    {0}, {.mask4 = 24, .mask6 = 56}, {.flags = LB_SERVICE_TRACK_ALWAYS}};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static struct rig sampled_rig(struct lb_service service)
{
	struct rig r = nat_rig(service);

	r.f->sampled = true;
	return r;
}

LB_TEST(the_time_of_a_backend_is_that_from_the_syn_to_its_answer)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		rig_age_probes(&r, PROBE_UNITS(50));
		reply(&r, A, 1, SYN | ACK);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(50))), 1);
		rig_age_probes(&r, PROBE_UNITS(1000)); /* the client is far away */
		rig_tcp(&r, 1, ACK);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(500))), 0);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_probes(&r), 0);
		fixture_clear(NULL);
	}
}

LB_TEST(where_answers_do_not_pass_the_client_shows_them)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_age_probes(&r, PROBE_UNITS(50));
	rig_tcp(&r, 1, ACK);
	assert_int_equal(rig_answered(&r, A, lb_connect_bucket(PROBE_UNITS(50))), 1);
}

LB_TEST(an_answer_that_comes_again_counts_once)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		reply(&r, A, 1, SYN | ACK);
		reply(&r, A, 1, SYN | ACK); /* the network has doubled it */
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_ANSWERED_AGAIN), 0);
		for (int again = 0; again < 3; again++) {
			rig_age_probes(&r, PROBE_UNITS(1000));
			reply(&r, A, 1, SYN | ACK);
		}
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_ANSWERED_AGAIN), 1);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		fixture_clear(NULL);
	}
}

/* Its SYN-ACK was lost on the way to the client: the backend is well. */
LB_TEST(a_syn_that_comes_again_after_its_answer_is_not_retried)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	reply(&r, A, 1, SYN | ACK);
	rig_age_probes(&r, PROBE_UNITS(1000));
	rig_tcp(&r, 1, SYN);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 0);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
}

LB_TEST(a_refused_connect_of_the_sample_has_no_time)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		refuse(&r, A, 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_REFUSED), 1);
		assert_int_equal(rig_answered(&r, A, 0), 0);
		assert_int_equal(rig_probes(&r), 0);
		refuse(&r, A, 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_REFUSED), 1);
		fixture_clear(NULL);
	}
}

/* Of a service with `port: any` a client can have each of its connects refused, all by one backend
 * if it always takes the same port. */
LB_TEST(a_tuple_that_is_refused_again_and_again_counts_once)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		for (int again = 0; again < 5; again++) {
			rig_tcp(&r, 1, SYN);
			rig_age_probes(&r, PROBE_UNITS(150));
			refuse(&r, A, 1);
		}
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_REFUSED), 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RETRIED), 0);
		assert_int_equal(rig_answered(&r, A, 0), 0);
		fixture_clear(NULL);
	}
}

/* Linux answers a second SYN in the window of a handshake with a reset, though its port is open. */
LB_TEST(a_reset_after_the_answer_is_no_refusal_of_the_sample)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		rig_tcp(&r, 1, SYN);
		reply(&r, A, 1, SYN | ACK);
		rig_tcp_seq(&r, 1, SYN, RIG_ISN + 1);
		refuse(&r, A, 1);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_REFUSED), 0);
		assert_int_equal(rig_answered(&r, A, 0), 1);
		fixture_clear(NULL);
	}
}

/* No host answers it: it would make any backend look as if it did not. */
LB_TEST(a_syn_with_fin_or_rst_is_no_connect)
{
	static const int odd[] = {SYN | FIN, SYN | RST};

	for (size_t i = 0; i < KINDS; i++) {
		struct rig r = sampled_rig(kinds[i]);

		for (int j = 0; j < 2; j++)
			rig_tcp(&r, 2 + j, odd[j]);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_SAMPLED), 0);
		assert_int_equal(rig_probes(&r), 0);
		rig_tcp(&r, 1, SYN);
		for (int j = 0; j < 2; j++)
			rig_tcp(&r, 1, odd[j]);
		assert_int_equal(rig_connects(&r, A, LB_CONNECT_RESET), 0);
		assert_int_equal(rig_probes(&r), 1); /* waits for the answer still */
		fixture_clear(NULL);
	}
}

LB_TEST(only_the_backend_of_the_syn_answers_it)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	reply(&r, B, 1, SYN | ACK);
	refuse(&r, B, 1);
	move_backend(&r, A);
	reply(&r, A, 1, SYN | ACK);
	assert_int_equal(rig_probes(&r), 1);
	assert_int_equal(rig_answered(&r, A, 0) + rig_answered(&r, B, 0), 0);
}

LB_TEST(the_first_byte_of_a_backend_has_no_round_trip_of_the_client_in_it)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	rig_age_probes(&r, PROBE_UNITS(1500)); /* the backend's own time is part of it */
	reply(&r, A, 1, SYN | ACK);
	rig_age_probes(&r, PROBE_UNITS(400));
	rig_talk(&r, 1, (struct rig_talk){0});
	rig_talk(&r, 1, (struct rig_talk){.bytes = 100});
	reply(&r, A, 1, ACK);
	rig_age_probes(&r, PROBE_UNITS(1400));
	rig_talk(&r, 1, (struct rig_talk){.at = 100, .acked = 300});
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1000)), 1);
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1400)), 0);
	assert_int_equal(rig_answered(&r, A, 0), 1);
}

/* The client's acknowledgement was lost behind lbd, or the backend's queue is full. */
LB_TEST(an_answer_that_comes_again_after_the_handshake_changes_nothing)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	reply(&r, A, 1, SYN | ACK);
	rig_talk(&r, 1, (struct rig_talk){0});
	rig_talk(&r, 1, (struct rig_talk){.bytes = 100});
	rig_age_probes(&r, PROBE_UNITS(1000));
	reply(&r, A, 1, SYN | ACK);
	refuse(&r, A, 1);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_ANSWERED_AGAIN), 0);
	assert_int_equal(rig_connects(&r, A, LB_CONNECT_REFUSED), 0);
	rig_talk(&r, 1, (struct rig_talk){.at = 100, .acked = 300});
	assert_int_equal(rig_first_bytes(&r, A, PROBE_UNITS(1000)), 1);
}

LB_TEST(where_the_answer_came_again_the_first_byte_is_not_timed)
{
	struct rig r = sampled_rig(kinds[0]);

	rig_tcp(&r, 1, SYN);
	reply(&r, A, 1, SYN | ACK);
	rig_age_probes(&r, PROBE_UNITS(1000));
	reply(&r, A, 1, SYN | ACK);
	rig_talk(&r, 1, (struct rig_talk){0});
	assert_int_equal(rig_awaited(&r), 0);
	assert_int_equal(rig_answered(&r, A, 0), 1);
}

RIG_TEST_MAIN("ends")
