/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The rules of docs/tracking.md, one by one, on the real program. Run by `make check`.
 *
 * Each test has one TCP and one UDP service on the same backends; every slot of their rings is the same word, so that
 * it does not matter which slot a flow has. A, B, C are backends; a client is a source port. */
#include <linux/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/bpf_fixture.h"

#define VIP   "192.0.2.10"
#define SLOTS 7
#define T     LB_SLOT_TRANSITION
#define L     LB_SLOT_LEARNING

enum { A, B, C, BACKENDS, NOWHERE = -1 };

struct rig {
	struct fixture *f;
	uint16_t tcp, udp; /* services */
	uint16_t tcp_id[BACKENDS], udp_id[BACKENDS];
	char client[INET6_ADDRSTRLEN];
};

static void add_backends(struct fixture *f, uint16_t service, uint16_t ids[BACKENDS])
{
	for (int i = 0; i < BACKENDS; i++) {
		char dst[32];

		snprintf(dst, sizeof(dst), "10.0.0.%d", 11 + i);
		ids[i] = fixture_backend(f, service, &(struct backend_spec){.dst = dst});
	}
}

static struct rig rig_make(struct lb_service tcp)
{
	struct rig r = {.f = fixture_get(), .client = "198.51.100.7"};

	r.tcp = fixture_service(r.f, VIP, IPPROTO_TCP, 80, tcp);
	r.udp = fixture_service(r.f, VIP, IPPROTO_UDP, 80, (struct lb_service){0});
	add_backends(r.f, r.tcp, r.tcp_id);
	add_backends(r.f, r.udp, r.udp_id);
	fixture_ring(r.f, r.tcp, SLOTS, 0);
	fixture_ring(r.f, r.udp, SLOTS, 0);
	return r;
}

#define RIG() rig_make((struct lb_service){0})

static uint32_t *slot_of(struct rig *r, uint16_t service)
{
	return r->f->map.arena + LB_REGION_BASE(r->f->map.services[service].ring);
}

static uint16_t *stamp_of(struct rig *r, uint16_t service)
{
	return r->f->map.stamps + LB_REGION_BASE(r->f->map.services[service].ring);
}

/* How many slots have a stamp. */
static int stamped(struct rig *r, uint16_t service)
{
	int count = 0;

	for (int i = 0; i < SLOTS; i++)
		count += stamp_of(r, service)[i] != 0;
	return count;
}

/* All slots of both services: current, keeper (NOWHERE: 0) and flags. */
static void slots(struct rig *r, int current, int keeper, uint32_t flags)
{
	for (int i = 0; i < SLOTS; i++) {
		slot_of(r, r->tcp)[i] = LB_SLOT(r->tcp_id[current], keeper < 0 ? 0 : r->tcp_id[keeper]) | flags;
		slot_of(r, r->udp)[i] = LB_SLOT(r->udp_id[current], keeper < 0 ? 0 : r->udp_id[keeper]) | flags;
	}
}

static void stable(struct rig *r, int backend)
{
	slots(r, backend, backend, 0);
}

static void usable(struct rig *r, int backend, bool yes)
{
	fixture_backend_usable(r->f, r->tcp_id[backend], yes);
	fixture_backend_usable(r->f, r->udp_id[backend], yes);
}

/* Where the last packet went. */
static int went_to(struct rig *r)
{
	if (r->f->verdict != XDP_TX)
		return NOWHERE;
	return r->f->out.data[14 + 19] - 11;
}

/* What the sequence numbers of a flow begin with. */
#define ISN 0xfffffff0u

static int tcp(struct rig *r, int client, int flags)
{
	packet_build(&r->f->in,
		     PKT(ETH(), IP4(.src = r->client, .dst = VIP),
			 TCP(.sport = client, .dport = 80, .flags = flags, .seq = flags == SYN ? ISN : ISN + 1)));
	fixture_send(r->f);
	return went_to(r);
}

/* The same without counters, for senders side by side. */
static int tcp_uncounted(struct rig *r, int client, int flags)
{
	packet_build(&r->f->in,
		     PKT(ETH(), IP4(.src = r->client, .dst = VIP),
			 TCP(.sport = client, .dport = 80, .flags = flags, .seq = flags == SYN ? ISN : ISN + 1)));
	fixture_send_uncounted(r->f);
	return went_to(r);
}

static int udp(struct rig *r, int client)
{
	packet_build(&r->f->in,
		     PKT(ETH(), IP4(.src = r->client, .dst = VIP), UDP(.sport = client, .dport = 80), DATA(4)));
	fixture_send(r->f);
	return went_to(r);
}

static uint64_t counted(const struct rig *r, int event)
{
	return r->f->count[event];
}

/* ---- the flow table, as the test sees it ---- */

static __u64 *place(struct rig *r, int i)
{
	return &r->f->map.flows[i / LB_FLOW_WAYS].flow[i % LB_FLOW_WAYS];
}

#define PLACES (FIXTURE_BUCKETS * LB_FLOW_WAYS)

static int entries(struct rig *r)
{
	int count = 0;

	for (int i = 0; i < PLACES; i++)
		count += LB_FLOW_STATE(*place(r, i)) != LB_FLOW_EMPTY;
	return count;
}

/* The place of the only entry there is. */
static __u64 *only(struct rig *r)
{
	assert_int_equal(entries(r), 1);
	for (int i = 0; i < PLACES; i++)
		if (LB_FLOW_STATE(*place(r, i)))
			return place(r, i);
	return NULL;
}

static void assert_entry(uint64_t entry, int state, uint16_t backend)
{
	assert_int_equal(LB_FLOW_STATE(entry), state);
	assert_int_equal(LB_FLOW_BACKEND(entry), backend);
}

/* An entry of some other flow: the fingerprint is a number. */
static uint64_t stranger(uint32_t number, uint16_t backend, int state, uint32_t tick)
{
	return (uint64_t)(0x10000000u + number) << LB_FLOW_FP_SHIFT | (uint64_t)backend << LB_FLOW_BACKEND_SHIFT |
	       (uint64_t)state << LB_FLOW_STATE_SHIFT | (tick & LB_FLOW_TICK_MASK);
}

/* Takes every free place. */
static void fill_table(struct rig *r, uint16_t backend, int state, uint32_t tick)
{
	for (int i = 0; i < PLACES; i++)
		if (!LB_FLOW_STATE(*place(r, i)))
			*place(r, i) = stranger(i, backend, state, tick);
}

static void clear_table(struct rig *r)
{
	memset(r->f->map.flows, 0, FIXTURE_BUCKETS * sizeof(*r->f->map.flows));
}

/* Makes an entry look as if its last packet came so many ticks ago. */
static void age(__u64 *entry, uint32_t ticks)
{
	*entry = (*entry & ~(uint64_t)LB_FLOW_TICK_MASK) | ((LB_FLOW_TICK(*entry) - ticks) & LB_FLOW_TICK_MASK);
}

/* Makes it look as if it were in another state. */
static void becomes(__u64 *entry, int state)
{
	const uint64_t mask = (uint64_t)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT;

	*entry = (*entry & ~mask) | (uint64_t)state << LB_FLOW_STATE_SHIFT;
}

static int active(struct rig *r, int backend)
{
	return r->f->map.loads[r->tcp_id[backend]].active;
}

/* ---- stable slots ---- */

static void a_stable_slot_never_touches_the_flow_table(void **state)
{
	struct rig r = RIG();
	static const int flags[] = {SYN, ACK, SYN | ACK, FIN | ACK, RST, 0, SYN};

	stable(&r, A);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		assert_int_equal(tcp(&r, 1, flags[i]), A);
	for (int client = 1; client < 50; client++)
		assert_int_equal(udp(&r, client), A);
	assert_int_equal(entries(&r), 0);
	for (int i = 0; i < SLOTS; i++)
		assert_int_equal(stamp_of(&r, r.tcp)[i], 0);
}

static void a_stable_slot_does_not_read_the_flow_table(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, SYN), B);
	stable(&r, A); /* as after a settling that must not have been: the entry is not looked at */
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void a_stable_slot_on_a_dead_backend_has_no_backend(void **state)
{
	struct rig r = RIG();

	stable(&r, A);
	usable(&r, A, false);
	assert_int_equal(tcp(&r, 1, ACK), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_no_backend);
}

/* ---- slots in transition: TCP ---- */

static void a_syn_goes_to_current_and_the_flow_stays_there(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[B]);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(tcp(&r, 1, ACK | PSH), B);
}

static void an_older_flow_goes_to_the_keeper_and_stamps_its_slot(void **state)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();

	slots(&r, B, A, T | L);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(counted(&r, LB_EVENT_keeper_packets), 1);
	for (int i = 0; i < SLOTS; i++) {
		if (!stamp_of(&r, r.tcp)[i])
			continue;
		assert_true((uint16_t)(stamp_of(&r, r.tcp)[i] - tick) <= 1);
	}
	assert_int_equal(stamped(&r, r.tcp), 1);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void after_learning_one_packet_of_an_older_flow_holds_nothing(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(tcp(&r, 1, ACK), A); /* nor do two of one tick: a forger sends as many */
	assert_int_equal(stamped(&r, r.tcp), 0);
	assert_int_equal(active(&r, A), 0);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[A]);
}

static void after_learning_a_packet_in_a_later_tick_shows_that_a_flow_lives(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	age(only(&r), 3);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(stamped(&r, r.tcp), 1);
	assert_int_equal(active(&r, A), 1);
	assert_entry(*only(&r), LB_FLOW_KEPT, r.tcp_id[A]);
}

static void an_older_flow_that_cannot_be_marked_holds_its_slot(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(stamped(&r, r.tcp), 1);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
}

static void a_mark_that_is_evicted_is_noted(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[A], LB_FLOW_KEPT, fixture_tick() - 3);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
	assert_int_equal(r.f->map.turns[r.udp].forgotten, 0);
}

static void a_mark_of_one_packet_that_is_evicted_is_noted(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[A], LB_FLOW_HEARD, fixture_tick() - 3);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
}

static void traffic_of_current_does_not_stamp(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	for (int i = 0; i < SLOTS; i++)
		assert_int_equal(stamp_of(&r, r.tcp)[i], 0);
}

static void a_tracked_flow_elsewhere_than_current_stamps_its_slot(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(stamped(&r, r.tcp), 1);
}

static void where_all_flows_are_tracked_none_that_is_found_stamps(void **state)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(stamped(&r, r.tcp), 0);
}

static void the_keeper_is_asked_even_when_its_entry_finds_no_place(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void an_rst_of_a_flow_that_is_not_known_leaves_no_entry(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, RST), A);
	assert_int_equal(entries(&r), 0);
	assert_int_equal(active(&r, A), 0);
}

static void an_older_flow_that_closes_by_half_is_remembered_as_such(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	age(only(&r), 1);
	assert_int_equal(tcp(&r, 1, FIN | ACK), A);
	assert_entry(*only(&r), LB_FLOW_FIN, r.tcp_id[A]);
	assert_int_equal(active(&r, A), 0);
	slots(&r, C, B, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void an_older_flow_may_close_in_the_tick_in_which_it_went_on(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, ACK);
	becomes(only(&r), LB_FLOW_KEPT);
	*only(&r) = (*only(&r) & ~(uint64_t)LB_FLOW_TICK_MASK) | (fixture_tick() & LB_FLOW_TICK_MASK);
	assert_int_equal(tcp(&r, 1, FIN | ACK), A);
	assert_entry(*only(&r), LB_FLOW_FIN, r.tcp_id[A]);
}

static void a_mark_of_a_former_keeper_becomes_one_of_the_keeper_that_is_current(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, ACK);
	age(only(&r), 1);
	tcp(&r, 1, ACK);
	slots(&r, B, B, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[B]);
}

static void an_older_flow_whose_keeper_is_current_leaves_no_mark(void **state)
{
	struct rig r = RIG();

	slots(&r, B, B, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(entries(&r), 0);
}

static void an_unusable_keeper_stands_for_current(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	usable(&r, A, false);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void no_keeper_stands_for_current(void **state)
{
	struct rig r = RIG();

	slots(&r, B, NOWHERE, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void an_unusable_current_stands_for_the_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	usable(&r, B, false);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(udp(&r, 1), A);
}

static void syn_ack_is_not_a_new_flow(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, SYN | ACK), A);
}

static void a_flow_stays_through_successive_changes(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A); /* older */
	assert_int_equal(tcp(&r, 2, SYN), B);
	assert_int_equal(tcp(&r, 2, ACK), B);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 3, SYN), C);
	assert_int_equal(tcp(&r, 3, ACK), C);
	slots(&r, A, A, T); /* and back */
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(tcp(&r, 2, ACK), B);
	assert_int_equal(tcp(&r, 3, ACK), C);
	assert_int_equal(tcp(&r, 4, SYN), A);
}

static void a_repeated_syn_stays_with_its_entry(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, SYN), B);
	slots(&r, C, A, T);
	age(only(&r), 2);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[B]);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(tcp(&r, 1, SYN), B); /* a challenge: the backend answers it */
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
}

static void a_packet_refreshes_the_tick_of_its_entry(void **state)
{
	struct rig r = RIG();
	__u64 *entry;

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	entry = only(&r);
	age(entry, 30);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_true(((fixture_tick() - LB_FLOW_TICK(*entry)) & LB_FLOW_TICK_MASK) <= 1);
}

/* ---- closing ---- */

static void a_fin_half_closes_and_later_packets_still_arrive(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	assert_int_equal(tcp(&r, 1, FIN | ACK), B);
	assert_entry(*only(&r), LB_FLOW_FIN, r.tcp_id[B]);
	assert_int_equal(active(&r, B), 0);
	slots(&r, C, A, T);
	for (int minute = 0; minute < 10; minute++) { /* the server goes on sending, the client acknowledges */
		age(only(&r), 60);
		assert_int_equal(tcp(&r, 1, ACK), B);
		assert_entry(*only(&r), LB_FLOW_FIN, r.tcp_id[B]);
	}
}

static void an_rst_that_the_flow_survives_is_forgotten(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	assert_int_equal(tcp(&r, 1, RST), B);
	assert_entry(*only(&r), LB_FLOW_RST, r.tcp_id[B]);
	assert_int_equal(active(&r, B), 0);
	slots(&r, C, A, T);
	age(only(&r), 200);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(active(&r, B), 1);
}

/* Whoever sent it: the backend challenges it, or takes it for a new connection. */
static void syn_stays(int flags)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	tcp(&r, 1, flags);
	slots(&r, C, A, T);
	age(only(&r), 100);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void a_syn_on_a_live_tuple_stays_on_its_backend(void **state)
{
	syn_stays(ACK);
}

static void a_syn_on_a_half_closed_tuple_stays_on_its_backend(void **state)
{
	syn_stays(FIN | ACK);
}

static void a_syn_after_an_rst_stays_on_its_backend(void **state)
{
	syn_stays(RST);
}

static void a_tuple_that_was_closed_is_used_again_elsewhere_once_its_backend_drains(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	tcp(&r, 1, FIN | ACK);
	slots(&r, C, A, T);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	age(only(&r), 100); /* too soon: the FIN may be forged */
	assert_int_equal(tcp(&r, 1, SYN), B);
	tcp(&r, 1, FIN | ACK);
	age(only(&r), 120);
	assert_int_equal(tcp(&r, 1, SYN), C);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[C]);
	assert_int_equal(tcp(&r, 1, ACK), C);
}

/* A tuple in this state, quiet for longer than a forged packet would make it so, on a backend that takes no new flow.
 */
static void a_syn_opens_anew_after(int entry_state)
{
	struct rig r = RIG();

	slots(&r, C, B, T);
	tcp(&r, 1, ACK);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[B]);
	becomes(only(&r), entry_state);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	age(only(&r), 120);
	assert_int_equal(tcp(&r, 1, SYN), C);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[C]);
}

static void a_flow_that_may_be_over_lets_a_syn_leave_a_backend_that_drains(void **state)
{
	static const int over[] = {LB_FLOW_FIN, LB_FLOW_RST, LB_FLOW_DORMANT};

	for (size_t i = 0; i < sizeof(over) / sizeof(*over); i++) {
		fixture_clear(state);
		a_syn_opens_anew_after(over[i]);
	}
}

static void a_tuple_that_was_closed_stays_while_its_backend_takes_new_flows(void **state)
{
	struct rig r = RIG();

	slots(&r, C, B, T);
	tcp(&r, 1, ACK);
	age(only(&r), 40);
	assert_int_equal(tcp(&r, 1, SYN), B);
}

static void a_live_tuple_stays_on_a_backend_that_drains_whatever_syn_comes(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	slots(&r, C, A, T);
	r.f->map.loads[r.tcp_id[B]].cost = 0;
	age(only(&r), 200);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void a_dormant_flow_wakes_on_its_backend(void **state)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	stable(&r, B);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	stable(&r, C);
	becomes(only(&r), LB_FLOW_DORMANT);
	r.f->map.loads[r.tcp_id[B]].active = 0; /* as the sweep does */
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(active(&r, B), 1);
}

static void a_dormant_udp_flow_wakes_as_one(void **state)
{
	struct rig r = RIG();

	r.f->map.services[r.udp].flags |= LB_SERVICE_TRACK_ALWAYS;
	stable(&r, B);
	assert_int_equal(udp(&r, 1), B);
	becomes(only(&r), LB_FLOW_DORMANT);
	stable(&r, C);
	assert_int_equal(udp(&r, 1), B);
	assert_entry(*only(&r), LB_FLOW_UDP, r.udp_id[B]);
}

/* ---- dead and foreign backends ---- */

static void a_hit_on_a_dead_backend_goes_to_the_keeper_until_it_is_back(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	usable(&r, B, false);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	usable(&r, B, true);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void a_syn_that_hits_a_dead_backend_is_a_new_flow(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	usable(&r, B, false);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, SYN), C);
	assert_int_equal(LB_FLOW_BACKEND(*only(&r)), r.tcp_id[C]);
	assert_int_equal(LB_FLOW_STATE(*only(&r)), LB_FLOW_SYN);
}

/* Somebody sent a SYN in its name, and the backend that it went to died. */
static void an_older_flow_survives_a_handshake_on_its_tuple_whose_backend_died(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, SYN), B);
	usable(&r, B, false);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	usable(&r, B, true);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[A]);
}

static void the_entry_of_a_backend_that_is_gone_is_written_over(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	r.f->map.backends[r.tcp_id[B]].flags = 0;
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
}

static void an_entry_of_another_service_is_no_match_and_stays(void **state)
{
	struct rig r = RIG();
	__u64 *entry, before;
	const int flags[] = {ACK, SYN, FIN | ACK, RST};

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	entry = only(&r);
	*entry = (*entry & ~((uint64_t)LB_MAX_BACKENDS << LB_FLOW_BACKEND_SHIFT)) |
		 (uint64_t)r.udp_id[C] << LB_FLOW_BACKEND_SHIFT; /* as a false match of the fingerprint would give */
	before = *entry;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(tcp(&r, 1, flags[i]), A);
		assert_true(*only(&r) == before);
	}
}

static void the_entry_of_a_client_is_no_match_and_stays(void **state)
{
	static const int clients[] = {LB_FLOW_AFFINITY, LB_FLOW_AFFINITY_NEW};

	for (int i = 0; i < 2; i++) {
		struct rig r;
		__u64 before;

		fixture_clear(state);
		r = RIG();
		slots(&r, B, A, T);
		tcp(&r, 1, SYN);
		becomes(only(&r), clients[i]);
		before = *only(&r);
		assert_int_equal(tcp(&r, 1, ACK), A);
		assert_int_equal(tcp(&r, 1, SYN), A);
		assert_true(*only(&r) == before);
	}
}

/* It has no place as long as the other has it: later it looks like a new one. */
static void a_udp_flow_whose_place_another_service_has_stays_with_the_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(udp(&r, 1), B);
	*only(&r) = (*only(&r) & ~((uint64_t)LB_MAX_BACKENDS << LB_FLOW_BACKEND_SHIFT)) | (uint64_t)r.tcp_id[C]
											      << LB_FLOW_BACKEND_SHIFT;
	assert_int_equal(udp(&r, 1), A);
	clear_table(&r);
	assert_int_equal(udp(&r, 1), A);
}

static void with_every_backend_dead_there_is_no_backend(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	for (int i = 0; i < BACKENDS; i++)
		usable(&r, i, false);
	assert_int_equal(tcp(&r, 1, ACK), NOWHERE);
	assert_int_equal(r.f->reason, LB_REASON_no_backend);
	assert_int_equal(tcp(&r, 2, SYN), NOWHERE);
	assert_int_equal(udp(&r, 2), NOWHERE);
}

/* ---- UDP ---- */

static void while_learning_a_udp_flow_is_recorded_with_the_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T | L);
	assert_int_equal(udp(&r, 1), A);
	assert_entry(*only(&r), LB_FLOW_UDP_NEW, r.udp_id[A]);
	slots(&r, B, A, T); /* learning is over */
	assert_int_equal(udp(&r, 1), A);
	assert_entry(*only(&r), LB_FLOW_UDP, r.udp_id[A]);
	slots(&r, C, NOWHERE, T);
	assert_int_equal(udp(&r, 1), A);
}

static void after_learning_a_udp_flow_is_new(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(udp(&r, 1), B);
	assert_entry(*only(&r), LB_FLOW_UDP_NEW, r.udp_id[B]);
	slots(&r, C, A, T);
	assert_int_equal(udp(&r, 1), B);
	assert_int_equal(udp(&r, 2), C);
}

static void a_learned_udp_flow_of_a_dead_keeper_goes_to_current(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T | L);
	assert_int_equal(udp(&r, 1), A);
	usable(&r, A, false);
	assert_int_equal(udp(&r, 1), B);
	assert_entry(*only(&r), LB_FLOW_UDP_NEW, r.udp_id[B]);
}

static void a_udp_flow_without_a_place_goes_where_it_will_go_later(void **state)
{
	struct rig r = RIG();

	fill_table(&r, r.udp_id[C], LB_FLOW_UDP, fixture_tick());
	slots(&r, B, A, T | L);
	assert_int_equal(udp(&r, 1), A);
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
	slots(&r, B, A, T);
	assert_int_equal(udp(&r, 2), A);
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
	clear_table(&r); /* there is room again: both stay where they are */
	assert_int_equal(udp(&r, 1), A);
	assert_int_equal(udp(&r, 2), A);
	assert_int_equal(entries(&r), 2);
	r.f->map.turns[r.udp].unplaced -= 61; /* an idle timeout later none is left that has no entry */
	assert_int_equal(udp(&r, 3), B);
	assert_int_equal(udp(&r, 1), A);
}

/* Each service has a share, and others have taken the common half of the table. */
static void share_out(struct rig *r, int share)
{
	r->f->map.turns[0].share = r->f->map.turns[0].held = 1;
	r->f->map.turns[r->tcp].share = r->f->map.turns[r->udp].share = share;
}

static void a_service_that_holds_all_it_may_has_its_new_flows_go_by_slot(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	share_out(&r, 2);
	for (int client = 1; client <= 2; client++) {
		assert_int_equal(tcp(&r, client, SYN), B);
		assert_int_equal(tcp(&r, client, ACK), B);
	}
	assert_int_equal(r.f->map.turns[r.tcp].held, 2);
	assert_int_equal(tcp(&r, 3, SYN), A); /* where its later packets will go */
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(entries(&r), 2);
	assert_int_equal(udp(&r, 1), B); /* another service has a share of its own */
	assert_int_equal(entries(&r), 3);
	assert_int_equal(tcp(&r, 1, FIN | ACK), B);
	assert_int_equal(tcp(&r, 4, SYN), B);
}

static void what_a_service_holds_beyond_its_share_comes_out_of_the_common_half(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	share_out(&r, 1);
	r.f->map.turns[0].share = 3;
	r.f->map.turns[0].held = 0;
	for (int client = 1; client <= 3; client++)
		assert_int_equal(tcp(&r, client, SYN), B);
	assert_int_equal(r.f->map.turns[r.tcp].held, 3);
	assert_int_equal(r.f->map.turns[0].held, 2);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(tcp(&r, 1, FIN | ACK), B);
	assert_int_equal(r.f->map.turns[0].held, 1);
	assert_int_equal(tcp(&r, 2, FIN | ACK), B);
	assert_int_equal(tcp(&r, 3, FIN | ACK), B);
	assert_int_equal(r.f->map.turns[r.tcp].held, 0);
	assert_int_equal(r.f->map.turns[0].held, 0);
}

static void a_service_at_its_share_may_write_over_its_own_void_entries(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	share_out(&r, 0);
	usable(&r, B, false);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, SYN), C);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[C]);
}

/* ---- pressure on the table ---- */

static void a_syn_without_a_place_goes_to_the_keeper_with_its_later_packets(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(stamped(&r, r.tcp), 1);
	assert_true(r.f->map.turns[r.tcp].forgotten != 0);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

/* Fills both buckets of every flow with entries in `state`, quiet for so many ticks; none may go. */
static void never_evicted(int entry_state, uint32_t ticks)
{
	struct rig r = RIG();
	struct lb_flow_bucket before[FIXTURE_BUCKETS];

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], entry_state, fixture_tick() - ticks);
	memcpy(before, r.f->map.flows, sizeof(before));
	for (int client = 1; client < 500; client++)
		assert_int_equal(tcp(&r, client, SYN), A);
	for (int i = 0; i < PLACES; i++)
		assert_int_equal(*place(&r, i) & ~LB_FLOW_OVERFLOW, before[i / LB_FLOW_WAYS].flow[i % LB_FLOW_WAYS]);
}

static void a_live_established_entry_is_never_evicted(void **state)
{
	never_evicted(LB_FLOW_ESTABLISHED, 290);
}

static void a_live_udp_entry_is_never_evicted(void **state)
{
	never_evicted(LB_FLOW_UDP, 50);
}

static void a_udp_entry_of_one_packet_is_never_evicted(void **state)
{
	never_evicted(LB_FLOW_UDP_NEW, 50);
}

static void a_live_affinity_entry_is_never_evicted(void **state)
{
	never_evicted(LB_FLOW_AFFINITY, 290);
}

static void a_closing_entry_that_is_not_quiet_is_never_evicted(void **state)
{
	never_evicted(LB_FLOW_FIN, 0);
}

/* A table full of entries in `state`, so many ticks old, takes a new flow. */
static void gives_way(int entry_state, uint32_t ticks)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], entry_state, fixture_tick() - ticks);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 1);
	assert_int_equal(counted(&r, LB_EVENT_flow_inserted), 1);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(entries(&r), PLACES);
}

static void embryonic_entries_give_way(void **state)
{
	gives_way(LB_FLOW_SYN, 0);
}

static void kept_entries_give_way(void **state)
{
	gives_way(LB_FLOW_KEPT, 0);
}

static void quiet_closing_entries_give_way(void **state)
{
	gives_way(LB_FLOW_FIN, 9);
}

static void entries_of_flows_that_have_just_closed_give_way_last(void **state)
{
	gives_way(LB_FLOW_FIN, 2);
}

static void quiet_entries_after_an_rst_give_way(void **state)
{
	gives_way(LB_FLOW_RST, 9);
}

static void expired_established_entries_give_way(void **state)
{
	gives_way(LB_FLOW_ESTABLISHED, 301);
}

static void established_entries_just_before_their_timeout_do_not_give_way(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick() - 298);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
}

static void entries_age_through_the_wrap_of_the_tick(void **state)
{
	gives_way(LB_FLOW_ESTABLISHED, 12000);
}

static void embryonic_entries_go_before_closing_ones(void **state)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();
	int syn = 0;

	slots(&r, B, A, T);
	for (int i = 0; i < PLACES; i++) /* one embryonic in each bucket */
		*place(&r, i) = stranger(i, r.tcp_id[C], i % LB_FLOW_WAYS == 5 ? LB_FLOW_SYN : LB_FLOW_FIN, tick - 3);
	assert_int_equal(tcp(&r, 1, SYN), B);
	for (int i = 0; i < PLACES; i++)
		syn += LB_FLOW_STATE(*place(&r, i)) == LB_FLOW_SYN;
	assert_int_equal(syn, FIXTURE_BUCKETS); /* one went, one came */
	for (int i = 0; i < PLACES; i++)
		if (i % LB_FLOW_WAYS != 5)
			assert_int_equal(LB_FLOW_STATE(*place(&r, i)), LB_FLOW_FIN);
}

static void the_oldest_embryonic_entry_goes_first(void **state)
{
	struct rig r = RIG();
	uint32_t tick = fixture_tick();
	int oldest_gone = 0;

	slots(&r, B, A, T);
	for (int i = 0; i < PLACES; i++)
		*place(&r, i) = stranger(i, r.tcp_id[C], LB_FLOW_SYN, tick - (i % LB_FLOW_WAYS == 3 ? 9 : 1 + i % 3));
	assert_int_equal(tcp(&r, 1, SYN), B);
	for (int i = 3; i < PLACES; i += LB_FLOW_WAYS)
		oldest_gone += LB_FLOW_BACKEND(*place(&r, i)) == r.tcp_id[B];
	assert_int_equal(oldest_gone, 1);
}

struct kind {
	int state;
	uint32_t quiet; /* ticks */
};

/* In a full table with one entry of the first kind in each bucket, that one goes. */
static void goes_before(void **state, uint8_t flags, struct kind first, struct kind second)
{
	struct rig r;
	uint32_t tick;
	int left = 0;

	fixture_clear(state);
	r = rig_make((struct lb_service){.flags = flags});
	tick = fixture_tick();
	slots(&r, B, A, T);
	for (int i = 0; i < PLACES; i++) {
		struct kind kind = i % LB_FLOW_WAYS == 5 ? first : second;

		*place(&r, i) = stranger(i, r.tcp_id[C], kind.state, tick - kind.quiet);
	}
	assert_int_equal(tcp(&r, 1, SYN), B);
	for (int i = 0; i < PLACES; i++)
		left += i % LB_FLOW_WAYS == 5 && LB_FLOW_BACKEND(*place(&r, i)) == r.tcp_id[C];
	if (left != FIXTURE_BUCKETS - 1)
		fail_msg("state %d, quiet for %u: expected to go before state %d, quiet for %u", first.state,
			 first.quiet, second.state, second.quiet);
}

/* docs/tracking.md, "Eviction": from the most to the least willing. The quiet times are such that within a class the
 * second would go, being older. */
static void entries_give_way_in_the_order_of_their_classes(void **state)
{
	static const struct kind expired = {LB_FLOW_SYN, 61}, embryonic = {LB_FLOW_SYN, 9}, heard = {LB_FLOW_HEARD, 9},
				 silent = {LB_FLOW_ESTABLISHED, 310}, dormant = {LB_FLOW_DORMANT, 400},
				 closed = {LB_FLOW_FIN, 100}, reset = {LB_FLOW_RST, 100}, recent = {LB_FLOW_SYN, 0},
				 closing = {LB_FLOW_FIN, 7}, kept = {LB_FLOW_KEPT, 200},
				 established = {LB_FLOW_ESTABLISHED, 250};
	const uint8_t always = LB_SERVICE_TRACK_ALWAYS;

	goes_before(state, 0, expired, heard);
	goes_before(state, 0, silent, embryonic); /* where slots decide it is over */
	goes_before(state, always, embryonic, silent);
	goes_before(state, always, heard, silent);
	goes_before(state, always, embryonic, dormant);
	goes_before(state, always, silent, closed);
	goes_before(state, always, dormant, reset);
	goes_before(state, 0, closed, recent);
	goes_before(state, 0, reset, recent);
	goes_before(state, 0, recent, kept);
	goes_before(state, 0, recent, closing);
	goes_before(state, 0, closing, established);
	goes_before(state, 0, kept, established);
}

/* Else a flood would choose whom it pushes out: the youngest, or whoever is first in the bucket. */
static void of_equal_entries_any_gives_way(void **state)
{
	struct rig r = RIG();
	unsigned ways = 0;

	slots(&r, B, A, T);
	for (int client = 1; client <= 300; client++) {
		clear_table(&r);
		fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
		tcp(&r, client, SYN);
		for (int i = 0; i < PLACES; i++)
			if (LB_FLOW_BACKEND(*place(&r, i)) == r.tcp_id[B])
				ways |= 1u << i % LB_FLOW_WAYS;
	}
	assert_int_equal(ways, (1u << LB_FLOW_WAYS) - 1);
}

/* Of equals in both buckets too: the second is for when the first has nothing that is as willing. */
static void an_entry_of_the_first_bucket_goes_before_an_equal_one_of_the_second(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	for (int i = 0, at = only(&r) - r.f->map.flows[0].flow; i < 20; i++) {
		clear_table(&r);
		fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
		tcp(&r, 1, SYN);
		for (int way = 0, found = 0; way < LB_FLOW_WAYS; way++) {
			found += LB_FLOW_BACKEND(*place(&r, at / LB_FLOW_WAYS * LB_FLOW_WAYS + way)) == r.tcp_id[B];
			if (way == LB_FLOW_WAYS - 1)
				assert_int_equal(found, 1);
		}
	}
}

static void marks_of_one_packet_give_way(void **state)
{
	gives_way(LB_FLOW_HEARD, 0);
}

static void dormant_entries_give_way(void **state)
{
	gives_way(LB_FLOW_DORMANT, 400);
}

static void entries_of_backends_that_are_gone_give_way(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, FIXTURE_BACKENDS - 1, LB_FLOW_ESTABLISHED, fixture_tick() - 5);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 1);
}

static void a_syn_flood_pushes_out_no_established_flow(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	for (int client = 1; client <= 200; client++) {
		assert_int_equal(tcp(&r, client, SYN), B);
		assert_int_equal(tcp(&r, client, ACK), B);
	}
	slots(&r, C, A, T); /* now only their entries keep them on B */
	for (int client = 1000; client < 31000; client++)
		tcp(&r, client, SYN);
	for (int client = 1; client <= 200; client++)
		assert_int_equal(tcp(&r, client, ACK), B);
}

static void a_full_first_bucket_overflows_into_the_second(void **state)
{
	struct rig r = RIG();
	struct lb_flow_bucket *first;
	int at;

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	at = only(&r) - r.f->map.flows[0].flow;
	first = &r.f->map.flows[at / LB_FLOW_WAYS];
	clear_table(&r);
	for (int way = 0; way < LB_FLOW_WAYS; way++)
		first->flow[way] = stranger(way, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_int_equal(entries(&r), LB_FLOW_WAYS + 1);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 0); /* nobody had to give way */
	assert_true(first->flow[0] & LB_FLOW_OVERFLOW);
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), B);

	/* the mark outlives the entry it is stored with */
	first->flow[0] = LB_FLOW_OVERFLOW;
	assert_int_equal(tcp(&r, 1, ACK), B);
	for (int client = 2; client < 400; client++)
		tcp(&r, client, SYN);
	assert_true(first->flow[0] & LB_FLOW_OVERFLOW);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void an_entry_of_the_second_bucket_gives_way_when_none_of_the_first_may(void **state)
{
	struct rig r = RIG();
	struct lb_flow_bucket *first, before;

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	first = &r.f->map.flows[(only(&r) - r.f->map.flows[0].flow) / LB_FLOW_WAYS];
	clear_table(&r);
	for (int way = 0; way < LB_FLOW_WAYS; way++)
		first->flow[way] = stranger(PLACES + way, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick());
	before = *first;
	fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick());
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 1);
	before.flow[0] |= LB_FLOW_OVERFLOW;
	assert_memory_equal(first, &before, sizeof(before));
	slots(&r, C, A, T);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void an_entry_that_takes_a_place_leaves_the_overflow_mark(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	for (int i = 0; i < FIXTURE_BUCKETS; i++)
		*place(&r, i * LB_FLOW_WAYS) = LB_FLOW_OVERFLOW;
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_true(*only(&r) & LB_FLOW_OVERFLOW);
	for (int i = 0; i < FIXTURE_BUCKETS; i++)
		assert_true(*place(&r, i * LB_FLOW_WAYS) & LB_FLOW_OVERFLOW);
}

static void an_entry_is_refreshed_without_losing_the_overflow_mark(void **state)
{
	struct rig r = RIG();
	__u64 *entry;

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	entry = only(&r);
	assert_int_equal((entry - r.f->map.flows[0].flow) % LB_FLOW_WAYS, 0);
	*entry |= LB_FLOW_OVERFLOW;
	age(entry, 5);
	tcp(&r, 1, ACK);
	tcp(&r, 1, FIN | ACK);
	assert_true(*entry & LB_FLOW_OVERFLOW);
	tcp(&r, 1, SYN);
	assert_true(*entry & LB_FLOW_OVERFLOW);
	assert_int_equal(LB_FLOW_STATE(*entry), LB_FLOW_ESTABLISHED);
}

/* ---- track always, track never, a ring that changes its size ---- */

static void track_always_records_flows_of_stable_slots(void **state)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	stable(&r, A);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[A]);
	stable(&r, B);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(tcp(&r, 2, SYN), B);
}

static void track_never_touches_no_entry(void **state)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_NEVER});

	stable(&r, A);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(tcp(&r, 1, ACK), A);
	stable(&r, B);
	assert_int_equal(tcp(&r, 1, ACK), B);
	assert_int_equal(entries(&r), 0);
}

static void while_a_ring_is_resized_the_old_one_says_who_keeps(void **state)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	stable(&r, A);
	assert_int_equal(tcp(&r, 1, ACK), A);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[B], 0) | T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(counted(&r, LB_EVENT_keeper_packets), 1);
	assert_int_equal(tcp(&r, 2, SYN), B);
	assert_int_equal(tcp(&r, 2, ACK), B);
	usable(&r, A, false);
	assert_int_equal(tcp(&r, 3, ACK), B);
}

/* It was in transition itself when it became the old one. */
static void while_a_ring_is_resized_the_old_ones_keepers_count_not_its_current(void **state)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	slots(&r, B, A, T);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[C], 0) | T);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

/* It has settled before the others, and changed again. */
static void while_a_ring_is_resized_a_keeper_of_its_own_counts(void **state)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];

	stable(&r, A);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 13, LB_SLOT(r.tcp_id[C], r.tcp_id[B]) | T);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void a_syn_on_a_mark_makes_an_entry_even_where_the_keeper_is_current(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, ACK);
	slots(&r, A, A, T);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
}

static void a_syn_on_the_mark_of_a_flow_that_is_over_is_a_new_flow(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, ACK);
	age(only(&r), 298);
	assert_int_equal(tcp(&r, 1, SYN), A);
	becomes(only(&r), LB_FLOW_KEPT);
	age(only(&r), 302);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[B]);
}

/* Where all flows are tracked, too: the entry may be evicted at any time, and then the slot must have the keeper still.
 */
static void a_kept_entry_follows_the_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	age(only(&r), 1);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(active(&r, A), 1);
	slots(&r, B, C, T);
	assert_int_equal(tcp(&r, 1, ACK), C);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[C]);
	assert_int_equal(active(&r, A), 0);
}

static void a_syn_on_an_older_flow_that_was_heard_of_stays_on_its_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]); /* old or new: it has one backend */
	assert_int_equal(tcp(&r, 1, ACK), A);
	slots(&r, C, B, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static int tcp_seq(struct rig *r, int client, int flags, uint32_t seq)
{
	packet_build(&r->f->in, PKT(ETH(), IP4(.src = r->client, .dst = VIP),
				    TCP(.sport = client, .dport = 80, .flags = flags, .seq = seq)));
	fixture_send(r->f);
	return went_to(r);
}

static void a_syn_forged_for_an_older_flow_that_was_silent_moves_it_not(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T | L);
	assert_int_equal(tcp_seq(&r, 1, SYN, 1000), B); /* may be a new one */
	assert_int_equal(tcp_seq(&r, 1, ACK, 1000 + 70000), A);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	assert_int_equal(active(&r, B), 0);
	assert_int_equal(tcp_seq(&r, 1, ACK, 1000 + 70001), A);
	assert_int_equal(tcp_seq(&r, 2, SYN, 2000), B);
	assert_int_equal(tcp_seq(&r, 2, ACK | PSH, 2000), A); /* before it */
}

static void the_first_packets_of_a_handshake_may_come_in_any_order(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T | L);
	assert_int_equal(tcp_seq(&r, 1, SYN, 0xfffffff0), B);
	assert_int_equal(tcp_seq(&r, 1, ACK | PSH, 0xfffffff1 + 14600), B); /* the window's last, over the wrap */
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[B]);
	assert_int_equal(tcp_seq(&r, 1, ACK, 0xfffffff1), B);
	assert_int_equal(tcp_seq(&r, 1, ACK, 0xfffffff1 + 10000000), B);
}

static void the_sequence_number_is_found_behind_options_too(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T | L);
	packet_build(&r.f->in, PKT(ETH(), IP4(.src = r.client, .dst = VIP, .options_len = 8),
				   TCP(.sport = 1, .dport = 80, .flags = SYN, .seq = 5000)));
	fixture_send(r.f);
	assert_int_equal(went_to(&r), B);
	packet_build(&r.f->in, PKT(ETH(), IP4(.src = r.client, .dst = VIP, .options_len = 8),
				   TCP(.sport = 1, .dport = 80, .flags = ACK, .seq = 4000)));
	fixture_send(r.f);
	assert_int_equal(went_to(&r), A);
	assert_int_equal(tcp_seq(&r, 1, SYN, 5000), A); /* it was heard of */
}

static void a_syn_on_the_mark_of_a_keeper_that_is_dead_is_a_new_flow(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	usable(&r, A, false);
	assert_int_equal(tcp(&r, 1, SYN), B);
	assert_entry(*only(&r), LB_FLOW_SYN, r.tcp_id[B]);
	usable(&r, A, true);
	assert_int_equal(tcp(&r, 1, ACK), B);
}

static void where_all_flows_are_tracked_an_older_one_gets_an_entry_once_it_goes_on(void **state)
{
	struct rig r = RIG();

	r.f->map.services[r.tcp].flags |= LB_SERVICE_TRACK_ALWAYS;
	stable(&r, A);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_HEARD, r.tcp_id[A]);
	age(only(&r), 1);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_ESTABLISHED, r.tcp_id[A]);
	slots(&r, B, C, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void a_mark_becomes_no_entry_beyond_the_services_share(void **state)
{
	struct rig r = RIG();

	r.f->map.services[r.tcp].flags |= LB_SERVICE_TRACK_ALWAYS;
	share_out(&r, 0);
	stable(&r, A);
	tcp(&r, 1, ACK);
	age(only(&r), 1);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_KEPT, r.tcp_id[A]);
}

/* Each flow must have its own old slot's keeper, not just any. */
static void the_old_ring_is_asked_at_the_flows_own_slot(void **state)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];
	int before[100];

	for (int i = 0; i < SLOTS; i++)
		slot_of(&r, r.tcp)[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	for (int client = 0; client < 100; client++)
		before[client] = tcp(&r, 100 + client, ACK);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 29, LB_SLOT(r.tcp_id[B], 0) | T);
	for (int client = 0; client < 100; client++)
		assert_int_equal(tcp(&r, 100 + client, ACK), before[client]);
}

static void the_old_ring_is_asked_with_the_fields_the_service_hashes(void **state)
{
	struct rig r = RIG();
	struct lb_service *service = &r.f->map.services[r.tcp];
	int before;

	service->hash = 0; /* the client address alone */
	for (int i = 0; i < SLOTS; i++)
		slot_of(&r, r.tcp)[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	before = tcp(&r, 1, ACK);
	service->old_ring = service->ring;
	fixture_ring(r.f, r.tcp, 29, LB_SLOT(r.tcp_id[(before + 1) % 3], 0) | T);
	for (int client = 2; client < 50; client++)
		assert_int_equal(tcp(&r, client, ACK), before);
}

/* ---- turns ---- */

static struct rig turn_rig(const int *list, int count)
{
	struct rig r = rig_make((struct lb_service){.select = LB_SELECT_TURN, .flags = LB_SERVICE_TRACK_ALWAYS});
	uint32_t ids[16];

	for (int i = 0; i < count; i++)
		ids[i] = r.tcp_id[list[i]];
	r.f->map.services[r.tcp].pick = fixture_region(r.f, ids, count);
	stable(&r, C);
	return r;
}

static void turns_are_taken_exactly(void **state)
{
	static const int list[] = {A, B, A, C, A, B};
	struct rig r = turn_rig(list, 6);

	for (int client = 0; client < 66; client++)
		assert_int_equal(tcp(&r, 1 + client, SYN), list[client % 6]);
}

static void a_flow_keeps_the_turn_it_got(void **state)
{
	static const int list[] = {A, B, C};
	struct rig r = turn_rig(list, 3);
	int got[30];

	for (int client = 0; client < 30; client++)
		got[client] = tcp(&r, 1 + client, SYN);
	for (int client = 29; client >= 0; client--)
		assert_int_equal(tcp(&r, 1 + client, ACK), got[client]);
	assert_int_equal(r.f->map.turns[r.tcp].next, 30);
}

static void a_dead_backends_turn_falls_back_to_the_slot(void **state)
{
	static const int list[] = {A, B};
	struct rig r = turn_rig(list, 2);

	usable(&r, B, false);
	for (int client = 0; client < 20; client++) {
		assert_int_equal(tcp(&r, 1 + client, SYN), client % 2 ? C : A);
		assert_int_equal(tcp(&r, 1 + client, ACK), client % 2 ? C : A);
	}
}

static void a_dead_backends_turn_falls_back_to_current_also_in_transition(void **state)
{
	static const int list[] = {B};
	struct rig r = turn_rig(list, 1);

	slots(&r, C, A, T);
	usable(&r, B, false);
	assert_int_equal(tcp(&r, 1, SYN), C);
}

static void without_a_turn_list_the_slot_decides(void **state)
{
	struct rig r = rig_make((struct lb_service){.select = LB_SELECT_TURN, .flags = LB_SERVICE_TRACK_ALWAYS});

	stable(&r, B);
	assert_int_equal(tcp(&r, 1, SYN), B);
}

static void a_turn_that_finds_no_place_goes_by_slot(void **state)
{
	static const int list[] = {A, B};
	struct rig r = turn_rig(list, 2);

	fill_table(&r, r.tcp_id[A], LB_FLOW_ESTABLISHED, fixture_tick());
	assert_int_equal(tcp(&r, 1, SYN), C);
	assert_int_equal(counted(&r, LB_EVENT_flow_table_full), 1);
	assert_int_equal(tcp(&r, 1, ACK), C);
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

	c->r = rig_make((struct lb_service){.select = LB_SELECT_COST, .flags = LB_SERVICE_TRACK_ALWAYS});
	c->count = count;
	for (int i = 0; i < count; i++) {
		char dst[32];

		snprintf(dst, sizeof(dst), "10.0.0.%d", 11 + i);
		words[i] = c->id[i] = fixture_backend(c->r.f, c->r.tcp, &(struct backend_spec){.dst = dst});
	}
	c->r.f->map.services[c->r.tcp].pick = fixture_region(c->r.f, words, count);
	stable(&c->r, A);
}

static void the_least_loaded_of_64_members_is_found_wherever_it_is(void **state)
{
	struct crowd c;

	crowd_make(&c, 64);
	for (int least = 0; least < 64; least++) {
		for (int i = 0; i < 64; i++)
			c.r.f->map.loads[c.id[i]].active = i == least ? 7 : 8;
		assert_int_equal(tcp(&c.r, 1 + least, SYN), least);
		assert_int_equal(c.r.f->map.loads[c.id[least]].active, 8);
	}
}

static void cost_weighs_the_active_flows(void **state)
{
	struct crowd c;
	int got[3] = {0};

	crowd_make(&c, 3);
	for (int i = 0; i < 3; i++)
		c.r.f->map.loads[c.id[i]].cost = 65536 / (i + 1); /* weights 1, 2, 3 */
	for (int client = 0; client < 60; client++)
		got[tcp(&c.r, 1 + client, SYN)]++;
	assert_in_range(got[0], 9, 11);
	assert_in_range(got[1], 19, 21);
	assert_in_range(got[2], 29, 31);
}

static void large_costs_do_not_overflow(void **state)
{
	struct crowd c;

	crowd_make(&c, 2);
	c.r.f->map.loads[c.id[0]] = (struct lb_load){.active = 1000000, .cost = 1u << 31};
	c.r.f->map.loads[c.id[1]] = (struct lb_load){.active = 999998, .cost = 1u << 31};
	assert_int_equal(tcp(&c.r, 1, SYN), 1);
}

static void a_negative_active_count_counts_as_none(void **state)
{
	struct crowd c;

	crowd_make(&c, 2);
	c.r.f->map.loads[c.id[0]].active = -5; /* between two corrections by the sweep */
	c.r.f->map.loads[c.id[1]].active = 1;
	assert_int_equal(tcp(&c.r, 1, SYN), 0);
}

/* Short flows one at a time: when each begins, all members are idle. */
static void members_that_are_equally_idle_share_the_flows(void **state)
{
	struct crowd c;
	int got[5] = {0};

	crowd_make(&c, 5);
	c.r.f->map.loads[c.id[2]].active = 1;
	for (int client = 0; client < 200; client++) {
		int backend = tcp(&c.r, 1 + client, SYN);

		got[backend]++;
		tcp(&c.r, 1 + client, RST);
	}
	assert_int_equal(got[2], 0);
	for (int i = 0; i < 5; i++)
		if (i != 2)
			assert_true(got[i] >=
				    15); /* 40 on average, and 80 for the one behind the busy one; deviation 6 */
}

static void a_member_of_cost_zero_takes_no_new_flow(void **state)
{
	struct crowd c;

	crowd_make(&c, 3);
	c.r.f->map.loads[c.id[1]].cost = 0;
	for (int client = 0; client < 30; client++)
		assert_int_not_equal(tcp(&c.r, 1 + client, SYN), 1);
}

static void an_unusable_member_takes_no_new_flow(void **state)
{
	struct crowd c;

	crowd_make(&c, 3);
	fixture_backend_usable(c.r.f, c.id[2], false);
	for (int client = 0; client < 30; client++)
		assert_int_not_equal(tcp(&c.r, 1 + client, SYN), 2);
}

static void equal_members_fill_up_evenly(void **state)
{
	struct crowd c;

	crowd_make(&c, 40);
	for (int client = 0; client < 160; client++)
		tcp(&c.r, 1 + client, SYN);
	for (int i = 0; i < 40; i++)
		assert_int_equal(c.r.f->map.loads[c.id[i]].active, 4);
}

static void above_64_members_a_loaded_one_takes_a_flow_only_when_both_drawn_are(void **state)
{
	struct crowd c;
	int loaded = 0;

	crowd_make(&c, 100);
	for (int i = 0; i < 50; i++)
		c.r.f->map.loads[c.id[i]].active = 1000000;
	for (int client = 0; client < 400; client++) {
		int backend = tcp(&c.r, 1 + client, SYN);

		assert_in_range(backend, 0, 99);
		loaded += backend < 50;
	}
	assert_in_range(loaded, 50, 150); /* one in four; 100 on average, standard deviation 9 */
}

static void above_64_members_flows_spread_better_than_by_chance(void **state)
{
	struct crowd c;
	int squares = 0;

	crowd_make(&c, 100);
	for (int client = 0; client < 300; client++)
		tcp(&c.r, 1 + client, SYN);
	for (int i = 0; i < 100; i++) {
		int off = c.r.f->map.loads[c.id[i]].active - 3;

		squares += off * off;
	}
	assert_in_range(squares, 0, 180); /* one choice: 300, standard deviation 42; the better of two: about 80 */
}

static void active_counts_go_up_and_down(void **state)
{
	struct rig r = rig_make((struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS});

	stable(&r, A);
	for (int client = 1; client <= 10; client++)
		tcp(&r, client, SYN);
	assert_int_equal(active(&r, A), 10);
	for (int client = 1; client <= 10; client++)
		tcp(&r, client, ACK);
	assert_int_equal(active(&r, A), 10);
	tcp(&r, 1, FIN | ACK);
	tcp(&r, 1, FIN | ACK);
	tcp(&r, 1, ACK);
	assert_int_equal(active(&r, A), 9);
	tcp(&r, 2, RST);
	assert_int_equal(active(&r, A), 8);
	for (int i = 0; i < PLACES; i++)
		age(place(&r, i), 1);
	tcp(&r, 1, ACK); /* the last packets, ticks later */
	tcp(&r, 1, FIN | ACK);
	assert_int_equal(active(&r, A), 8);
	tcp(&r, 1, SYN); /* the tuple again */
	assert_int_equal(active(&r, A), 9);
}

static void active_counts_move_with_a_rewritten_entry(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	tcp(&r, 1, ACK);
	assert_int_equal(active(&r, B), 1);
	usable(&r, B, false);
	slots(&r, C, A, T);
	tcp(&r, 1, SYN);
	assert_int_equal(active(&r, B), 0);
	assert_int_equal(active(&r, C), 1);
}

static void active_counts_sink_with_an_evicted_entry(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick());
	r.f->map.loads[r.tcp_id[C]].active = PLACES;
	for (int client = 1; client <= 20; client++)
		tcp(&r, client, SYN);
	assert_int_equal(active(&r, B) + active(&r, C), PLACES);
	assert_in_range(active(&r, B), 15, 20); /* newer ones of B may have gone as well */
}

static void a_kept_flow_counts_as_active_of_its_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, ACK);
	age(only(&r), 1);
	tcp(&r, 1, ACK);
	tcp(&r, 1, ACK);
	tcp(&r, 2, ACK); /* may be anybody's */
	assert_int_equal(active(&r, A), 1);
}

/* ---- affinity and hash fields ---- */

static struct rig affinity_rig(int mask4)
{
	static const int list[] = {A, B, C};
	struct rig r = turn_rig(list, 3);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	r.f->map.services[r.tcp].mask4 = mask4;
	return r;
}

static void a_client_goes_where_its_last_flow_went(void **state)
{
	struct rig r = affinity_rig(32);

	for (int host = 1; host <= 30; host++) {
		int backend;

		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		backend = tcp(&r, 1, SYN);
		assert_int_equal(backend, (host - 1) % 3);
		for (int client = 2; client < 8; client++)
			assert_int_equal(tcp(&r, client, SYN), backend);
	}
}

static void affinity_by_prefix_takes_neighbours_for_one_client(void **state)
{
	struct rig r = affinity_rig(24);
	int backend = tcp(&r, 1, SYN);

	strcpy(r.client, "198.51.100.200");
	assert_int_equal(tcp(&r, 2, SYN), backend);
	strcpy(r.client, "198.51.101.200");
	assert_int_not_equal(tcp(&r, 2, SYN), backend);
}

static void affinity_to_a_dead_backend_is_written_anew(void **state)
{
	struct rig r = affinity_rig(32);
	int first = tcp(&r, 1, SYN), second;

	usable(&r, first, false);
	second = tcp(&r, 2, SYN);
	assert_int_not_equal(second, first);
	usable(&r, first, true);
	for (int client = 3; client < 10; client++)
		assert_int_equal(tcp(&r, client, SYN), second);
}

static void age_affinity(struct rig *r, int state, uint32_t ticks)
{
	for (int i = 0; i < PLACES; i++)
		if (LB_FLOW_STATE(*place(r, i)) == (uint32_t)state)
			age(place(r, i), ticks);
}

static void affinity_is_forgotten_after_its_idle_time(void **state)
{
	struct rig r = affinity_rig(32);

	assert_int_equal(tcp(&r, 1, SYN), A);
	age_affinity(&r, LB_FLOW_AFFINITY_NEW, 290);
	assert_int_equal(tcp(&r, 2, SYN), A);
	age_affinity(&r, LB_FLOW_AFFINITY_NEW, 305);
	assert_int_equal(tcp(&r, 3, SYN), B);
	assert_int_equal(tcp(&r, 4, SYN), B);
}

static void a_new_flow_of_a_client_renews_its_affinity(void **state)
{
	struct rig r = affinity_rig(32);

	for (int client = 1; client < 8; client++) {
		assert_int_equal(tcp(&r, client, SYN), A);
		age_affinity(&r, LB_FLOW_AFFINITY_NEW, 200);
	}
}

static void an_established_flow_renews_an_affinity_that_has_expired(void **state)
{
	static const int list[] = {A, A, B};
	struct rig r = turn_rig(list, 3);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(tcp(&r, 1, ACK), A);
	age_affinity(&r, LB_FLOW_AFFINITY, 305);
	assert_int_equal(tcp(&r, 2, SYN), A);
	assert_int_equal(tcp(&r, 2, ACK), A);
	assert_int_equal(tcp(&r, 3, SYN), A);
}

static void affinity_is_firm_once_a_flow_is_established(void **state)
{
	struct rig r = affinity_rig(32);
	int firm = 0;

	assert_int_equal(tcp(&r, 1, SYN), A);
	for (int i = 0; i < PLACES; i++)
		assert_int_not_equal(LB_FLOW_STATE(*place(&r, i)), LB_FLOW_AFFINITY);
	assert_int_equal(tcp(&r, 1, ACK), A);
	for (int i = 0; i < PLACES; i++)
		firm += LB_FLOW_STATE(*place(&r, i)) == LB_FLOW_AFFINITY;
	assert_int_equal(firm, 1);
	fill_table(&r, r.tcp_id[C], LB_FLOW_SYN, fixture_tick() - 3);
	for (int client = 100; client < 1000; client++) {
		snprintf(r.client, sizeof(r.client), "198.51.%d.%d", client / 200, 1 + client % 200);
		tcp(&r, client, SYN);
	}
	strcpy(r.client, "198.51.100.7");
	assert_int_equal(tcp(&r, 2, SYN), A);
}

static void affinity_is_not_firm_beyond_the_services_share(void **state)
{
	static const int list[] = {A, B};
	struct rig r = turn_rig(list, 2);

	r.f->map.services[r.tcp].flags |= LB_SERVICE_AFFINITY;
	r.f->map.services[r.tcp].mask4 = 32;
	assert_int_equal(tcp(&r, 1, SYN), A);
	share_out(&r, 0);
	assert_int_equal(tcp(&r, 1, ACK), A);
	for (int i = 0; i < PLACES; i++)
		assert_int_not_equal(LB_FLOW_STATE(*place(&r, i)), LB_FLOW_AFFINITY);
}

static void a_syn_flood_on_a_service_with_affinity_takes_no_place_for_good(void **state)
{
	struct rig r = affinity_rig(32);

	for (int client = 0; client < 4 * PLACES; client++) {
		snprintf(r.client, sizeof(r.client), "198.%d.%d.%d", 18 + client / 40000, client / 200 % 200,
			 1 + client % 200);
		tcp(&r, client, SYN);
	}
	for (int i = 0; i < PLACES; i++)
		assert_false(LB_FLOW_FIRM >> LB_FLOW_STATE(*place(&r, i)) & 1);
}

static void affinity_takes_a_client_from_a_backend_that_drains(void **state)
{
	struct rig r = affinity_rig(32);

	assert_int_equal(tcp(&r, 1, SYN), A);
	tcp(&r, 1, ACK);
	r.f->map.loads[r.tcp_id[A]].cost = 0;
	assert_int_not_equal(tcp(&r, 2, SYN), A);
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static void affinity_does_not_move_an_established_flow(void **state)
{
	struct rig r = affinity_rig(32);
	int first = tcp(&r, 1, SYN), second;

	tcp(&r, 1, ACK);
	usable(&r, first, false);
	second = tcp(&r, 2, SYN);
	usable(&r, first, true);
	assert_int_equal(tcp(&r, 1, ACK), first);
	assert_int_equal(tcp(&r, 2, ACK), second);
}

static void an_affinity_entry_is_not_an_active_flow(void **state)
{
	struct rig r = affinity_rig(32);

	tcp(&r, 1, SYN);
	assert_int_equal(entries(&r), 2);
	assert_int_equal(active(&r, A) + active(&r, B) + active(&r, C), 1);
}

/* The slots of a ring of 251, each another backend's, in turn: what a slot hash covers is seen in where flows go. */
static struct rig hashing_rig(int fields, int mask4)
{
	struct rig r = rig_make((struct lb_service){.mask4 = mask4});
	uint32_t words[251];

	r.f->map.services[r.tcp].hash = fields;
	for (int i = 0; i < 251; i++)
		words[i] = LB_SLOT(r.tcp_id[i % 3], r.tcp_id[i % 3]);
	r.f->map.services[r.tcp].ring = fixture_region(r.f, words, 251);
	return r;
}

static int backends_of_one_client(struct rig *r)
{
	int seen = 0;

	for (int client = 1; client < 40; client++)
		seen |= 1 << tcp(r, client, ACK);
	return __builtin_popcount(seen);
}

static void a_hash_of_the_client_address_ignores_its_ports(void **state)
{
	struct rig r = hashing_rig(0, 32);
	int seen = 0;

	for (int host = 1; host < 40; host++) {
		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		assert_int_equal(backends_of_one_client(&r), 1);
		seen |= 1 << went_to(&r);
	}
	assert_int_equal(seen, 7);
}

static void a_hash_of_the_5_tuple_spreads_one_client(void **state)
{
	struct rig r = hashing_rig(LB_HASH_FULL, 32);

	assert_int_equal(backends_of_one_client(&r), 3);
}

static void a_hash_with_the_source_port_spreads_one_client(void **state)
{
	struct rig r = hashing_rig(LB_HASH_SPORT, 32);

	assert_int_equal(backends_of_one_client(&r), 3);
}

static void a_hash_of_a_prefix_ignores_the_host(void **state)
{
	struct rig r = hashing_rig(0, 24);
	int first = tcp(&r, 1, ACK);

	for (int host = 1; host < 40; host++) {
		snprintf(r.client, sizeof(r.client), "198.51.100.%d", host);
		assert_int_equal(tcp(&r, 1, ACK), first);
	}
}

/* ---- counters ---- */

static void packets_bytes_and_flows_are_counted_per_backend(void **state)
{
	struct rig r = RIG();
	struct lb_backend_count a0 = fixture_backend_count(r.f, r.tcp_id[A]),
				b0 = fixture_backend_count(r.f, r.tcp_id[B]);
	struct lb_backend_count a1, b1;

	slots(&r, B, A, T);
	for (int client = 1; client <= 10; client++) {
		tcp(&r, client, SYN);
		tcp(&r, client, ACK);
		tcp(&r, 100 + client, ACK);
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

static void a_tracked_udp_flow_counts_once(void **state)
{
	struct rig r = RIG();
	struct lb_backend_count before = fixture_backend_count(r.f, r.udp_id[B]), after;

	slots(&r, B, A, T);
	for (int i = 0; i < 5; i++)
		udp(&r, 1);
	after = fixture_backend_count(r.f, r.udp_id[B]);
	assert_int_equal(after.packets - before.packets, 5);
	assert_int_equal(after.flows - before.flows, 1);
}

static void an_insert_is_counted_once(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	tcp(&r, 1, SYN);
	assert_int_equal(counted(&r, LB_EVENT_flow_inserted), 1);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 0);
	tcp(&r, 1, ACK);
	assert_int_equal(counted(&r, LB_EVENT_flow_inserted), 0);
}

/* ---- the invariant, with changes at random ---- */

#define MODEL_CLIENTS 120

/* What lbd would write for slots that are all alike (docs/tracking.md, "lbd: changes"), and where each flow has to be.
 */
struct model {
	struct rig r;
	uint32_t seed, random;
	int current, keeper;
	bool transition;
	bool alive[BACKENDS];
	int flow[1 + MODEL_CLIENTS]; /* of client: its backend, NOWHERE: not open */
};

static uint32_t below(struct model *m, uint32_t limit)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	return m->random % limit;
}

static void model_write(struct model *m)
{
	slots(&m->r, m->current, m->keeper, m->transition ? T : 0);
}

static int some_alive(struct model *m)
{
	int backend;

	do
		backend = below(m, BACKENDS);
	while (!m->alive[backend]);
	return backend;
}

static void model_change(struct model *m, int wanted)
{
	if (wanted == m->current)
		return;
	if (!m->transition)
		m->keeper = m->current;
	m->transition = true;
	m->current = wanted;
	model_write(m);
}

/* Its flows are lost; the sweep has taken its entries out. */
static void model_die(struct model *m, int backend)
{
	if (!m->alive[backend] || m->alive[A] + m->alive[B] + m->alive[C] == 1)
		return;
	m->alive[backend] = false;
	usable(&m->r, backend, false);
	if (m->current == backend)
		m->current = some_alive(m);
	if (m->keeper == backend)
		m->keeper = m->current;
	model_write(m);
	for (int client = 1; client <= MODEL_CLIENTS; client++)
		m->flow[client] = m->flow[client] == backend ? NOWHERE : m->flow[client];
	for (int i = 0; i < PLACES; i++)
		if (LB_FLOW_BACKEND(*place(&m->r, i)) == m->r.tcp_id[backend])
			*place(&m->r, i) &= LB_FLOW_OVERFLOW;
}

static void model_send(struct model *m, int client, int flags)
{
	int to = tcp(&m->r, client, flags);

	if (to != m->flow[client])
		fail_msg("seed %u: client %d went to backend %d, expected %d", m->seed, client, to, m->flow[client]);
}

static void model_packet(struct model *m, int client)
{
	if (m->flow[client] == NOWHERE) {
		m->flow[client] = tcp(&m->r, client, SYN);
		assert_true(m->alive[m->flow[client]]);
	} else if (below(m, 20) == 0) {
		model_send(m, client, FIN | ACK);
		m->flow[client] = NOWHERE;
		return;
	}
	model_send(m, client, ACK);
}

static void model_step(struct model *m)
{
	int backend = below(m, BACKENDS);

	switch (below(m, 40)) {
	case 0:
		model_die(m, backend);
		break;
	case 1:
	case 2:
		m->alive[backend] = true;
		usable(&m->r, backend, true);
		break;
	case 3:
	case 4:
		model_change(m, some_alive(m));
		break;
	default:
		model_packet(m, 1 + below(m, MODEL_CLIENTS));
	}
}

static void no_established_flow_moves_through_random_changes(void **state)
{
	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct model m = {.seed = seed, .random = seed * 2654435761u, .alive = {true, true, true}};

		fixture_clear(state);
		m.r = RIG();
		for (int client = 1; client <= MODEL_CLIENTS; client++)
			m.flow[client] = client % 2 ? A : NOWHERE; /* half of them are open, and in no table */
		model_write(&m);
		for (int step = 0; step < 1500; step++)
			model_step(&m);
	}
}

/* ---- many CPUs ---- */

struct sender {
	struct rig r;
	struct fixture fixture; /* of its own: packets and results; the maps are shared */
	pthread_t thread;
	int cpu, first_client;
	int astray; /* packets that went elsewhere than to B */
};

#define SENDER_FLOWS  60
#define SENDER_ROUNDS 60

static void *send_flows(void *arg)
{
	struct sender *s = arg;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	for (int round = 0; round < SENDER_ROUNDS; round++)
		for (int client = s->first_client; client < s->first_client + SENDER_FLOWS; client++) {
			s->astray += tcp_uncounted(&s->r, client, SYN) != B;
			s->astray += tcp_uncounted(&s->r, client, ACK) != B;
			s->astray += tcp_uncounted(&s->r, client, round % 2 ? FIN | ACK : RST) != B;
		}
	for (int client = s->first_client; client < s->first_client + SENDER_FLOWS; client++) {
		s->astray += tcp_uncounted(&s->r, client, SYN) != B;
		s->astray += tcp_uncounted(&s->r, client, ACK) != B;
	}
	return NULL;
}

static void flows_of_several_cpus_share_the_table_without_losing_one(void **state)
{
	struct rig r = RIG();
	struct sender *senders = calloc(2, sizeof(*senders));

	assert_non_null(senders);
	slots(&r, B, A, T);
	for (int i = 0; i < 2; i++) {
		senders[i].fixture = *r.f;
		senders[i].r = r;
		senders[i].r.f = &senders[i].fixture;
		senders[i].cpu = i;
		senders[i].first_client = 1 + i * SENDER_FLOWS;
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_flows, &senders[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
	assert_int_equal(senders[0].astray + senders[1].astray, 0);
	assert_int_equal(active(&r, B), 2 * SENDER_FLOWS);
	assert_int_equal(entries(&r), 2 * SENDER_FLOWS);
	slots(&r, C, A, T); /* on whatever CPU the next packet arrives */
	for (int client = 1; client <= 2 * SENDER_FLOWS; client++)
		assert_int_equal(tcp(&r, client, ACK), B);
	free(senders);
}

/* ---- found in review ---- */

/* The mark of an older flow is all that is known of it. Its flow may be silent for as long as its idle timeout. */
static void a_syn_takes_no_silent_older_flow_from_a_keeper_that_drains(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	assert_int_equal(tcp(&r, 1, ACK), A);
	age(only(&r), 1);
	assert_int_equal(tcp(&r, 1, ACK), A);
	assert_entry(*only(&r), LB_FLOW_KEPT, r.tcp_id[A]);
	r.f->map.loads[r.tcp_id[A]].cost = 0;
	age(only(&r), 120);
	tcp(&r, 1, SYN); /* anybody's */
	assert_int_equal(tcp(&r, 1, ACK), A);
}

static int firm_entries(struct rig *r)
{
	int count = 0;

	for (int i = 0; i < PLACES; i++)
		count += LB_FLOW_FIRM >> LB_FLOW_STATE(*place(r, i)) & 1;
	return count;
}

static void handshakes_begun_while_there_was_room_hold_no_more_than_allowed(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	share_out(&r, 2);
	for (int client = 1; client <= 20; client++)
		tcp(&r, client, SYN);
	for (int client = 1; client <= 20; client++)
		tcp(&r, client, ACK);
	assert_in_range(firm_entries(&r), 1, 2);
}

/* A packet reads the clock once. Another CPU may have renewed the entry since, in the tick that has just begun. */
static void an_entry_renewed_in_a_tick_yet_to_come_is_not_over(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	fill_table(&r, r.tcp_id[C], LB_FLOW_ESTABLISHED, fixture_tick() + 2);
	assert_int_equal(tcp(&r, 1, SYN), A);
	assert_int_equal(counted(&r, LB_EVENT_flow_evicted), 0);
}

static void a_udp_flow_unplaced_in_a_tick_yet_to_come_stays_with_the_keeper(void **state)
{
	struct rig r = RIG();

	slots(&r, B, A, T);
	r.f->map.turns[r.udp].unplaced = fixture_tick() + 2;
	assert_int_equal(udp(&r, 1), A);
}

static void the_mark_of_another_service_stays(void **state)
{
	static const int states[] = {LB_FLOW_HEARD, LB_FLOW_KEPT};
	const int flags[] = {ACK, SYN, FIN | ACK, RST};

	for (int i = 0; i < 2; i++) {
		struct rig r = RIG();
		__u64 *entry, before;

		clear_table(&r);
		slots(&r, B, A, T);
		tcp(&r, 1, SYN);
		entry = only(&r);
		/* as a false match of the fingerprint would give */
		*entry = (*entry & (~0ULL << LB_FLOW_FP_SHIFT)) | (uint64_t)r.udp_id[C] << LB_FLOW_BACKEND_SHIFT |
			 (uint64_t)states[i] << LB_FLOW_STATE_SHIFT | (fixture_tick() & LB_FLOW_TICK_MASK);
		before = *entry;
		for (int j = 0; j < 4; j++) {
			assert_int_equal(tcp(&r, 1, flags[j]), A);
			assert_true(*only(&r) == before);
		}
	}
}

static void affinity_is_not_written_over_a_flow(void **state)
{
	struct rig r = affinity_rig(32);
	const uint64_t mask = (uint64_t)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT;
	__u64 *entry = NULL, before;

	tcp(&r, 1, SYN);
	for (int i = 0; i < PLACES; i++)
		if (LB_FLOW_STATE(*place(&r, i)) == LB_FLOW_AFFINITY_NEW)
			entry = place(&r, i);
	assert_non_null(entry);
	/* as a false match of the fingerprint would give */
	*entry = before = (*entry & ~mask) | (uint64_t)LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT;
	tcp(&r, 2, SYN);
	tcp(&r, 2, ACK);
	assert_true(*entry == before);
}

#define TEST(name) cmocka_unit_test_setup(name, fixture_clear)

static const struct CMUnitTest tests[] = {
    TEST(a_stable_slot_never_touches_the_flow_table),
    TEST(a_stable_slot_does_not_read_the_flow_table),
    TEST(a_stable_slot_on_a_dead_backend_has_no_backend),
    TEST(a_syn_goes_to_current_and_the_flow_stays_there),
    TEST(an_older_flow_goes_to_the_keeper_and_stamps_its_slot),
    TEST(after_learning_one_packet_of_an_older_flow_holds_nothing),
    TEST(after_learning_a_packet_in_a_later_tick_shows_that_a_flow_lives),
    TEST(an_older_flow_that_cannot_be_marked_holds_its_slot),
    TEST(a_mark_that_is_evicted_is_noted),
    TEST(a_mark_of_one_packet_that_is_evicted_is_noted),
    TEST(traffic_of_current_does_not_stamp),
    TEST(a_tracked_flow_elsewhere_than_current_stamps_its_slot),
    TEST(where_all_flows_are_tracked_none_that_is_found_stamps),
    TEST(the_keeper_is_asked_even_when_its_entry_finds_no_place),
    TEST(an_rst_of_a_flow_that_is_not_known_leaves_no_entry),
    TEST(an_older_flow_that_closes_by_half_is_remembered_as_such),
    TEST(an_older_flow_may_close_in_the_tick_in_which_it_went_on),
    TEST(a_mark_of_a_former_keeper_becomes_one_of_the_keeper_that_is_current),
    TEST(an_older_flow_whose_keeper_is_current_leaves_no_mark),
    TEST(an_unusable_keeper_stands_for_current),
    TEST(no_keeper_stands_for_current),
    TEST(an_unusable_current_stands_for_the_keeper),
    TEST(syn_ack_is_not_a_new_flow),
    TEST(a_flow_stays_through_successive_changes),
    TEST(a_repeated_syn_stays_with_its_entry),
    TEST(a_packet_refreshes_the_tick_of_its_entry),
    TEST(a_fin_half_closes_and_later_packets_still_arrive),
    TEST(an_rst_that_the_flow_survives_is_forgotten),
    TEST(a_syn_on_a_live_tuple_stays_on_its_backend),
    TEST(a_syn_on_a_half_closed_tuple_stays_on_its_backend),
    TEST(a_syn_after_an_rst_stays_on_its_backend),
    TEST(a_tuple_that_was_closed_is_used_again_elsewhere_once_its_backend_drains),
    TEST(a_flow_that_may_be_over_lets_a_syn_leave_a_backend_that_drains),
    TEST(a_tuple_that_was_closed_stays_while_its_backend_takes_new_flows),
    TEST(a_live_tuple_stays_on_a_backend_that_drains_whatever_syn_comes),
    TEST(a_dormant_flow_wakes_on_its_backend),
    TEST(a_dormant_udp_flow_wakes_as_one),
    TEST(a_hit_on_a_dead_backend_goes_to_the_keeper_until_it_is_back),
    TEST(a_syn_that_hits_a_dead_backend_is_a_new_flow),
    TEST(an_older_flow_survives_a_handshake_on_its_tuple_whose_backend_died),
    TEST(the_entry_of_a_backend_that_is_gone_is_written_over),
    TEST(an_entry_of_another_service_is_no_match_and_stays),
    TEST(the_entry_of_a_client_is_no_match_and_stays),
    TEST(affinity_is_not_firm_beyond_the_services_share),
    TEST(a_udp_flow_whose_place_another_service_has_stays_with_the_keeper),
    TEST(with_every_backend_dead_there_is_no_backend),
    TEST(while_learning_a_udp_flow_is_recorded_with_the_keeper),
    TEST(after_learning_a_udp_flow_is_new),
    TEST(a_learned_udp_flow_of_a_dead_keeper_goes_to_current),
    TEST(a_udp_flow_without_a_place_goes_where_it_will_go_later),
    TEST(a_service_that_holds_all_it_may_has_its_new_flows_go_by_slot),
    TEST(what_a_service_holds_beyond_its_share_comes_out_of_the_common_half),
    TEST(a_service_at_its_share_may_write_over_its_own_void_entries),
    TEST(a_syn_without_a_place_goes_to_the_keeper_with_its_later_packets),
    TEST(a_live_established_entry_is_never_evicted),
    TEST(a_live_udp_entry_is_never_evicted),
    TEST(a_udp_entry_of_one_packet_is_never_evicted),
    TEST(a_live_affinity_entry_is_never_evicted),
    TEST(a_closing_entry_that_is_not_quiet_is_never_evicted),
    TEST(embryonic_entries_give_way),
    TEST(kept_entries_give_way),
    TEST(quiet_closing_entries_give_way),
    TEST(entries_of_flows_that_have_just_closed_give_way_last),
    TEST(quiet_entries_after_an_rst_give_way),
    TEST(expired_established_entries_give_way),
    TEST(established_entries_just_before_their_timeout_do_not_give_way),
    TEST(entries_age_through_the_wrap_of_the_tick),
    TEST(embryonic_entries_go_before_closing_ones),
    TEST(the_oldest_embryonic_entry_goes_first),
    TEST(entries_give_way_in_the_order_of_their_classes),
    TEST(of_equal_entries_any_gives_way),
    TEST(an_entry_of_the_first_bucket_goes_before_an_equal_one_of_the_second),
    TEST(marks_of_one_packet_give_way),
    TEST(dormant_entries_give_way),
    TEST(entries_of_backends_that_are_gone_give_way),
    TEST(a_syn_flood_pushes_out_no_established_flow),
    TEST(a_full_first_bucket_overflows_into_the_second),
    TEST(an_entry_of_the_second_bucket_gives_way_when_none_of_the_first_may),
    TEST(an_entry_that_takes_a_place_leaves_the_overflow_mark),
    TEST(an_entry_is_refreshed_without_losing_the_overflow_mark),
    TEST(track_always_records_flows_of_stable_slots),
    TEST(track_never_touches_no_entry),
    TEST(while_a_ring_is_resized_the_old_one_says_who_keeps),
    TEST(while_a_ring_is_resized_the_old_ones_keepers_count_not_its_current),
    TEST(while_a_ring_is_resized_a_keeper_of_its_own_counts),
    TEST(a_syn_on_a_mark_makes_an_entry_even_where_the_keeper_is_current),
    TEST(a_syn_on_the_mark_of_a_flow_that_is_over_is_a_new_flow),
    TEST(a_kept_entry_follows_the_keeper),
    TEST(a_syn_on_an_older_flow_that_was_heard_of_stays_on_its_keeper),
    TEST(a_syn_forged_for_an_older_flow_that_was_silent_moves_it_not),
    TEST(the_first_packets_of_a_handshake_may_come_in_any_order),
    TEST(the_sequence_number_is_found_behind_options_too),
    TEST(a_syn_on_the_mark_of_a_keeper_that_is_dead_is_a_new_flow),
    TEST(where_all_flows_are_tracked_an_older_one_gets_an_entry_once_it_goes_on),
    TEST(a_mark_becomes_no_entry_beyond_the_services_share),
    TEST(the_old_ring_is_asked_at_the_flows_own_slot),
    TEST(the_old_ring_is_asked_with_the_fields_the_service_hashes),
    TEST(turns_are_taken_exactly),
    TEST(a_flow_keeps_the_turn_it_got),
    TEST(a_dead_backends_turn_falls_back_to_the_slot),
    TEST(a_dead_backends_turn_falls_back_to_current_also_in_transition),
    TEST(without_a_turn_list_the_slot_decides),
    TEST(a_turn_that_finds_no_place_goes_by_slot),
    TEST(the_least_loaded_of_64_members_is_found_wherever_it_is),
    TEST(cost_weighs_the_active_flows),
    TEST(large_costs_do_not_overflow),
    TEST(a_negative_active_count_counts_as_none),
    TEST(members_that_are_equally_idle_share_the_flows),
    TEST(a_member_of_cost_zero_takes_no_new_flow),
    TEST(an_unusable_member_takes_no_new_flow),
    TEST(equal_members_fill_up_evenly),
    TEST(above_64_members_a_loaded_one_takes_a_flow_only_when_both_drawn_are),
    TEST(above_64_members_flows_spread_better_than_by_chance),
    TEST(active_counts_go_up_and_down),
    TEST(active_counts_move_with_a_rewritten_entry),
    TEST(active_counts_sink_with_an_evicted_entry),
    TEST(a_kept_flow_counts_as_active_of_its_keeper),
    TEST(a_client_goes_where_its_last_flow_went),
    TEST(affinity_by_prefix_takes_neighbours_for_one_client),
    TEST(affinity_to_a_dead_backend_is_written_anew),
    TEST(affinity_is_forgotten_after_its_idle_time),
    TEST(a_new_flow_of_a_client_renews_its_affinity),
    TEST(an_established_flow_renews_an_affinity_that_has_expired),
    TEST(affinity_is_firm_once_a_flow_is_established),
    TEST(a_syn_flood_on_a_service_with_affinity_takes_no_place_for_good),
    TEST(affinity_takes_a_client_from_a_backend_that_drains),
    TEST(affinity_does_not_move_an_established_flow),
    TEST(an_affinity_entry_is_not_an_active_flow),
    TEST(a_hash_of_the_client_address_ignores_its_ports),
    TEST(a_hash_of_the_5_tuple_spreads_one_client),
    TEST(a_hash_with_the_source_port_spreads_one_client),
    TEST(a_hash_of_a_prefix_ignores_the_host),
    TEST(packets_bytes_and_flows_are_counted_per_backend),
    TEST(a_tracked_udp_flow_counts_once),
    TEST(an_insert_is_counted_once),
    TEST(no_established_flow_moves_through_random_changes),
    TEST(flows_of_several_cpus_share_the_table_without_losing_one),
    TEST(a_syn_takes_no_silent_older_flow_from_a_keeper_that_drains),
    TEST(handshakes_begun_while_there_was_room_hold_no_more_than_allowed),
    TEST(an_entry_renewed_in_a_tick_yet_to_come_is_not_over),
    TEST(a_udp_flow_unplaced_in_a_tick_yet_to_come_stays_with_the_keeper),
    TEST(the_mark_of_another_service_stays),
    TEST(affinity_is_not_written_over_a_flow),
};

int main(void)
{
	return cmocka_run_group_tests_name("tracking", tests, fixture_open, fixture_close);
}
