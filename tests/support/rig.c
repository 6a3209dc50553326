/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One TCP and one UDP service on the same backends, and the flow table as a test reads and writes
 * it. */
#include "rig.h"

#include <stdio.h>
#include <string.h>

#define FIRST_BACKEND 11 /* the last byte of A's address */
#define MOST_TURNS    16

/* ---- services ---- */

static void add_backends(struct fixture *f, uint16_t service, uint16_t ids[BACKENDS])
{
	for (int i = 0; i < BACKENDS; i++) {
		char dst[32];

		snprintf(dst, sizeof(dst), "10.0.0.%d", FIRST_BACKEND + i);
		ids[i] = fixture_backend(f, service, &(struct backend_spec){.dst = dst});
	}
}

struct rig rig_make(struct lb_service tcp)
{
	struct rig r = {.f = fixture_get(), .client = "198.51.100.7"};
	const uint8_t drop = LB_REFUSE_DROP; /* so that what is sent went to a backend */

	tcp.no_backend = drop;
	r.tcp = fixture_service(r.f, RIG_VIP, IPPROTO_TCP, 80, tcp);
	r.udp =
	    fixture_service(r.f, RIG_VIP, IPPROTO_UDP, 80, (struct lb_service){.no_backend = drop});
	add_backends(r.f, r.tcp, r.tcp_id);
	add_backends(r.f, r.udp, r.udp_id);
	fixture_ring(r.f, r.tcp, RIG_SLOTS, 0);
	fixture_ring(r.f, r.udp, RIG_SLOTS, 0);
	return r;
}

struct rig rig_make_turns(const int *list, int count)
{
	struct rig r = rig_make(
	    (struct lb_service){.select = LB_SELECT_TURN, .flags = LB_SERVICE_TRACK_ALWAYS});
	uint32_t ids[MOST_TURNS];

	assert_in_range(count, 1, MOST_TURNS);
	for (int i = 0; i < count; i++)
		ids[i] = r.tcp_id[list[i]];
	r.f->map.services[r.tcp].pick = fixture_region(r.f, ids, count);
	rig_set_stable(&r, C);
	return r;
}

struct rig rig_make_sampled(struct lb_service tcp)
{
	struct rig r = rig_make(tcp);

	rig_set_stable(&r, A);
	r.f->sampled = true;
	return r;
}

/* ---- slots and backends ---- */

uint32_t *rig_slots(struct rig *r, uint16_t service)
{
	return r->f->map.arena + LB_REGION_BASE(r->f->map.services[service].ring);
}

uint16_t *rig_stamps(struct rig *r, uint16_t service)
{
	return r->f->map.stamps + LB_REGION_BASE(r->f->map.services[service].ring);
}

int rig_stamped(struct rig *r, uint16_t service)
{
	int count = 0;

	for (int i = 0; i < RIG_SLOTS; i++)
		count += rig_stamps(r, service)[i] != 0;
	return count;
}

void rig_set_slots(struct rig *r, int current, int keeper, uint32_t flags)
{
	uint16_t tcp_keeper = keeper < 0 ? 0 : r->tcp_id[keeper];
	uint16_t udp_keeper = keeper < 0 ? 0 : r->udp_id[keeper];

	for (int i = 0; i < RIG_SLOTS; i++) {
		rig_slots(r, r->tcp)[i] = LB_SLOT(r->tcp_id[current], tcp_keeper) | flags;
		rig_slots(r, r->udp)[i] = LB_SLOT(r->udp_id[current], udp_keeper) | flags;
	}
}

void rig_set_stable(struct rig *r, int backend)
{
	rig_set_slots(r, backend, backend, 0);
}

void rig_set_usable(struct rig *r, int backend, bool usable)
{
	fixture_backend_usable(r->f, r->tcp_id[backend], usable);
	fixture_backend_usable(r->f, r->udp_id[backend], usable);
}

void rig_set_share(struct rig *r, int share)
{
	r->f->map.turns[0].share = r->f->map.turns[0].held = 1;
	r->f->map.turns[r->tcp].share = r->f->map.turns[r->udp].share = share;
}

int rig_active(struct rig *r, int backend)
{
	return r->f->map.loads[r->tcp_id[backend]].active;
}

/* ---- packets ---- */

int rig_went_to(struct rig *r)
{
	if (r->f->verdict != XDP_TX)
		return NOWHERE;
	return r->f->out.data[14 + 19] - FIRST_BACKEND;
}

static void build_tcp(struct rig *r, int client, int flags, uint32_t seq)
{
	packet_build(&r->f->in, PKT(ETH(), IP4(.src = r->client, .dst = RIG_VIP),
				    TCP(.sport = client, .dport = 80, .flags = flags, .seq = seq)));
}

static uint32_t seq_of(int flags)
{
	return flags == SYN ? RIG_ISN : RIG_ISN + 1;
}

int rig_tcp_seq(struct rig *r, int client, int flags, uint32_t seq)
{
	build_tcp(r, client, flags, seq);
	fixture_send(r->f);
	return rig_went_to(r);
}

int rig_tcp(struct rig *r, int client, int flags)
{
	return rig_tcp_seq(r, client, flags, seq_of(flags));
}

/* With options, which are no data, and with what Ethernet adds to a short frame. */
int rig_talk(struct rig *r, int client, struct rig_talk talk)
{
	const struct layer_ip4 ip = {.src = r->client, .dst = RIG_VIP};
	const struct layer_tcp tcp = {.sport = client,
				      .dport = 80,
				      .flags = ACK | talk.flags,
				      .options_len = 12,
				      .seq = RIG_ISN + 1 + talk.at,
				      .ack = talk.acked};
	const struct layer l3 = {.kind = LAYER_IP4, .ip4 = ip},
			   l4 = {.kind = LAYER_TCP, .tcp = tcp};

	if (talk.tagged)
		packet_build(&r->f->in,
			     PKT(ETH(), VLAN(.tci = 9), l3, l4, DATA(talk.bytes), PAD(6)));
	else
		packet_build(&r->f->in, PKT(ETH(), l3, l4, DATA(talk.bytes), PAD(6)));
	fixture_send(r->f);
	return rig_went_to(r);
}

int rig_tcp_uncounted(struct rig *r, int client, int flags)
{
	build_tcp(r, client, flags, seq_of(flags));
	fixture_send_uncounted(r->f);
	return rig_went_to(r);
}

int rig_udp(struct rig *r, int client)
{
	packet_build(&r->f->in, PKT(ETH(), IP4(.src = r->client, .dst = RIG_VIP),
				    UDP(.sport = client, .dport = 80), DATA(4)));
	fixture_send(r->f);
	return rig_went_to(r);
}

uint64_t rig_counted(const struct rig *r, int event)
{
	return r->f->count[event];
}

/* ---- connects of the TCP service that are timed ---- */

uint32_t rig_connects(const struct rig *r, int backend, unsigned word)
{
	return r->f->map.connects[r->tcp_id[backend]].word[word];
}

uint32_t rig_answered(const struct rig *r, int backend, unsigned from)
{
	uint32_t sum = 0;

	for (unsigned i = from; i < LB_CONNECT_BUCKETS; i++)
		sum += rig_connects(r, backend, i);
	return sum;
}

uint32_t rig_first_bytes(const struct rig *r, int backend, uint32_t units)
{
	uint32_t sum = 0;

	for (unsigned i = lb_first_byte_bucket(units); i < LB_CONNECT_WORDS; i++)
		sum += rig_connects(r, backend, i);
	return sum;
}

/* What a connect that has failed leaves: nothing of it is counted any more. */
static bool is_spent(uint64_t word)
{
	const uint64_t spent = LB_PROBE_RETRIED | LB_PROBE_ANSWERED;

	return (word & spent) == spent;
}

/* Probes with this flag, or without. */
static unsigned count_probes(const struct rig *r, uint64_t open)
{
	unsigned found = 0;

	for (unsigned i = 0; i < LB_PROBES; i++) {
		const uint64_t word = r->f->map.probes[i];

		found += (word & (LB_PROBE_USED | LB_PROBE_OPEN)) == (LB_PROBE_USED | open) &&
			 !is_spent(word);
	}
	return found;
}

unsigned rig_probes(const struct rig *r)
{
	return count_probes(r, 0);
}

unsigned rig_awaited(const struct rig *r)
{
	return count_probes(r, LB_PROBE_OPEN);
}

unsigned rig_clear_spent(const struct rig *r)
{
	unsigned found = 0;

	for (unsigned i = 0; i < LB_PROBES; i++) {
		if (!is_spent(r->f->map.probes[i]))
			continue;
		r->f->map.probes[i] = 0;
		found++;
	}
	return found;
}

void rig_age_probes(const struct rig *r, uint32_t units)
{
	for (unsigned i = 0; i < LB_PROBES; i++) {
		uint64_t word = r->f->map.probes[i], time = (word - units) & LB_PROBE_TIME;

		if (word & LB_PROBE_USED)
			r->f->map.probes[i] = (word & ~(uint64_t)LB_PROBE_TIME) | time;
	}
}

/* ---- the flow table ---- */

__u64 *rig_place(struct rig *r, int i)
{
	return &r->f->map.flows[i / LB_FLOW_WAYS].flow[i % LB_FLOW_WAYS];
}

int rig_entries(struct rig *r)
{
	int count = 0;

	for (int i = 0; i < RIG_PLACES; i++)
		count += LB_FLOW_STATE(*rig_place(r, i)) != LB_FLOW_EMPTY;
	return count;
}

__u64 *rig_only_entry(struct rig *r)
{
	assert_int_equal(rig_entries(r), 1);
	for (int i = 0; i < RIG_PLACES; i++)
		if (LB_FLOW_STATE(*rig_place(r, i)))
			return rig_place(r, i);
	return NULL;
}

void rig_fill_table(struct rig *r, uint16_t backend, int state, uint32_t tick)
{
	for (int i = 0; i < RIG_PLACES; i++)
		if (!LB_FLOW_STATE(*rig_place(r, i)))
			*rig_place(r, i) = entry_make(i, backend, state, tick);
}

void rig_clear_table(struct rig *r)
{
	memset(r->f->map.flows, 0, FIXTURE_BUCKETS * sizeof(*r->f->map.flows));
}

uint64_t entry_make(uint32_t number, uint16_t backend, int state, uint32_t tick)
{
	return (uint64_t)(0x10000000u + number) << LB_FLOW_FP_SHIFT |
	       (uint64_t)backend << LB_FLOW_BACKEND_SHIFT | (uint64_t)state << LB_FLOW_STATE_SHIFT |
	       (tick & LB_FLOW_TICK_MASK);
}

void entry_age(__u64 *entry, uint32_t ticks)
{
	*entry = (*entry & ~(uint64_t)LB_FLOW_TICK_MASK) |
		 ((LB_FLOW_TICK(*entry) - ticks) & LB_FLOW_TICK_MASK);
}

void entry_set_state(__u64 *entry, int state)
{
	const uint64_t mask = (uint64_t)LB_FLOW_STATE_MASK << LB_FLOW_STATE_SHIFT;

	*entry = (*entry & ~mask) | (uint64_t)state << LB_FLOW_STATE_SHIFT;
}

void entry_set_backend(__u64 *entry, uint16_t backend)
{
	const uint64_t mask = (uint64_t)LB_MAX_BACKENDS << LB_FLOW_BACKEND_SHIFT;

	*entry = (*entry & ~mask) | (uint64_t)backend << LB_FLOW_BACKEND_SHIFT;
}

void assert_entry(uint64_t entry, int state, uint16_t backend)
{
	assert_int_equal(LB_FLOW_STATE(entry), state);
	assert_int_equal(LB_FLOW_BACKEND(entry), backend);
}
