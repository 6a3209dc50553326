/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flows of a world: what they send, and when. */
#include "world.h"

#include <arpa/inet.h>
#include <string.h>

#define FIN              0x01
#define SYN              0x02
#define RST              0x04
#define ACK              0x10

#define HALF_CLOSED_MOST 223 /* ticks, 4 min: RFC 5382, REQ-5 */
#define ABSENCE_PACKETS  20000

/* ---- one packet ---- */

unsigned world_service_of(const struct world *w, uint32_t flow)
{
	return flow % w->sequence->services;
}

static uint32_t idle_of(const struct world *w, uint32_t flow)
{
	return w->sequence->service[world_service_of(w, flow)].idle;
}

uint32_t world_patience(const struct world *w, uint32_t flow)
{
	uint32_t idle = idle_of(w, flow);

	return w->flows[flow].phase == FLOW_HALF && idle > HALF_CLOSED_MOST ? HALF_CLOSED_MOST
									    : idle;
}

/* Four flows of each client; a generation is a new port. */
uint16_t world_port_of(const struct world *w, uint32_t flow)
{
	return 1024 + flow % 4 * 16000 + w->flows[flow].generation;
}

uint32_t world_client_of(uint32_t flow)
{
	return 0x0b000000 + flow / 4;
}

struct lb_tuple world_tuple_from(const struct world *w, unsigned number, __be32 client, __be16 port)
{
	const struct dp_service *service = &w->want[number].service;
	struct lb_tuple tuple = {.protocol = service->protocol, .family = service->vip.family};
	__be16 ports[2] = {port, htons(service->port)};
	bool v6 = tuple.family == 6;

	tuple.client[0] = v6 ? htonl(0x20010db8) : 0;
	tuple.client[v6 ? 3 : 0] = client;
	memcpy(tuple.vip, service->vip.bytes, v6 ? 16 : 4);
	memcpy(&tuple.ports, ports, sizeof(ports));
	return tuple;
}

struct lb_tuple world_tuple(const struct world *w, uint32_t flow)
{
	return world_tuple_from(w, world_service_of(w, flow), htonl(world_client_of(flow)),
				htons(world_port_of(w, flow)));
}

/* The bytes that a flow has sent when its handshake is over: more than any first window. */
#define SENT 200000

/* A forger does not know where the flow is. */
static uint32_t seq_of(const struct world *w, uint32_t number, enum shot_kind kind, uint32_t tick)
{
	const struct flow *flow = &w->flows[number];

	switch (kind) {
	case SHOT_OPENS_FRESH:
	case SHOT_OPENS_AGAIN:
	case SHOT_SYN_REPEATED:
		return flow->isn;
	case SHOT_ESTABLISHES:
		return flow->isn + 1;
	case SHOT_FORGED:
	case SHOT_FORGED_SYN:
		return sequence_roll(w->sequence->seed + tick, number, 50 + kind, UINT32_MAX);
	default:
		return flow->isn + 1 + SENT;
	}
}

void world_send(struct world *w, uint32_t number, enum shot_kind kind, uint8_t tcp_flags,
		uint32_t tick)
{
	unsigned service = world_service_of(w, number);

	if (w->pending_count == BATCH_MOST)
		world_fire(w);
	w->batch->shots[w->pending_count] =
	    (struct shot){.client = htonl(world_client_of(number)),
			  .port = htons(world_port_of(w, number)),
			  .tcp_flags = tcp_flags,
			  .seq = htonl(seq_of(w, number, kind, tick)),
			  .template = service,
			  .tick = tick};
	w->pending[w->pending_count++] = (struct pending){number, kind, service};
}

static void send_now(struct world *w, uint32_t number, enum shot_kind kind, uint8_t tcp_flags)
{
	world_send(w, number, kind, tcp_flags, w->now);
}

/* ---- what a flow does in a tick ---- */

static void open_flow(struct world *w, uint32_t number, uint64_t seed)
{
	struct flow *flow = &w->flows[number];
	bool fresh = !flow->generation || sequence_roll(seed, number, 2, 4);
	enum shot_kind opens = fresh ? SHOT_OPENS_FRESH : SHOT_OPENS_AGAIN;
	uint32_t then = sequence_roll(seed, number, 4, 8);

	flow->isn = sequence_roll(seed, number, 14, UINT32_MAX);
	if (fresh) {
		flow->generation++;
		flow->owner = -1;
		flow->heard = 0;
	}
	flow->phase = FLOW_NONE;
	if (world_is_udp(w, number)) {
		send_now(w, number, opens, 0);
		return;
	}
	send_now(w, number, opens, SYN);
	if (!sequence_roll(seed, number, 3, 8))
		send_now(w, number, SHOT_SYN_REPEATED, SYN);
	if (then > (world_acts(w, ACTOR_SLOW_HANDSHAKE) ? 2 : 0)) /* else later, or never */
		send_now(w, number, SHOT_ESTABLISHES, ACK);
}

/* A SYN was sent some ticks ago: the flow repeats it, establishes, or gives up. */
static void shake_hands(struct world *w, uint32_t number, uint64_t seed)
{
	struct flow *flow = &w->flows[number];
	uint32_t idle = idle_of(w, number), what = sequence_roll(seed, number, 6, 8);

	if (w->now - flow->opened > (idle < 3 ? idle : 3) || !world_acts(w, ACTOR_SLOW_HANDSHAKE))
		flow->phase = FLOW_NONE;
	else if (what < 3)
		send_now(w, number, SHOT_ESTABLISHES, ACK);
	else if (what == 3)
		send_now(w, number, SHOT_SYN_REPEATED, SYN);
}

/* By RST, or by FIN of both ends, often with a last ACK. A half-closed flow just ends. */
static void end_flow(struct world *w, uint32_t number, uint64_t seed)
{
	uint32_t how = sequence_roll(seed, number, 5, 3);

	if (w->now - w->flows[number].last > world_patience(w, number))
		return;
	if (!how || world_is_udp(w, number)) {
		send_now(w, number, SHOT_ENDS, RST);
	} else if (w->flows[number].phase == FLOW_HALF) {
		send_now(w, number, SHOT_ENDS, ACK);
	} else if (how == 1) {
		send_now(w, number, SHOT_ENDS, FIN | ACK);
	} else {
		send_now(w, number, SHOT_LIVES, FIN | ACK);
		send_now(w, number, SHOT_ENDS, ACK);
	}
}

/* A few flows miss the idle timeout. */
static bool sends_now(const struct world *w, uint32_t number, uint64_t seed)
{
	bool last_chance = w->now - w->flows[number].last == world_patience(w, number);

	return last_chance ? sequence_roll(seed, number, 0, 8) < 7
			   : !sequence_roll(seed, number, 0, 3);
}

static void live_on(struct world *w, uint32_t number, uint64_t seed)
{
	bool half = w->flows[number].phase == FLOW_HALF;

	if (!sequence_roll(seed, number, 1, half ? 6 : 20))
		end_flow(w, number, seed);
	else if (!half && !world_is_udp(w, number) && world_acts(w, ACTOR_HALF_CLOSE) &&
		 !sequence_roll(seed, number, 8, 8))
		send_now(w, number, SHOT_HALF_CLOSES, FIN | ACK);
	else
		send_now(w, number, SHOT_LIVES, ACK);
}

static void be_late(struct world *w, uint32_t number, uint64_t seed)
{
	if (w->flows[number].phase == FLOW_HALF)
		w->flows[number].phase = FLOW_NONE; /* the server has given up, too */
	else if (!sequence_roll(seed, number, 0, 6))
		send_now(w, number, SHOT_WAKES, ACK);
	else if (!sequence_roll(seed, number, 1, 4))
		open_flow(w, number, seed);
}

static void flow_acts(struct world *w, uint32_t number, uint64_t seed)
{
	struct flow *flow = &w->flows[number];

	if (flow->phase == FLOW_OPENING)
		shake_hands(w, number, seed);
	else if (flow->phase == FLOW_NONE && !sequence_roll(seed, number, 0, 5))
		open_flow(w, number, seed);
	else if (flow->phase != FLOW_NONE && w->now - flow->last > world_patience(w, number))
		be_late(w, number, seed);
	else if (flow->phase != FLOW_NONE && sends_now(w, number, seed))
		live_on(w, number, seed);
}

/* ---- time ---- */

void world_tick(struct world *w, uint64_t seed)
{
	unsigned live = 0;

	w->now++;
	if (w->dp)
		w->dp->clock = w->now;
	if (w->flood)
		world_flood(w, w->flood, w->flood_tick, 0, w->flood->value / 2);
	for (unsigned i = 0; i < w->sequence->flows_count; i++) {
		uint32_t number = w->sequence->flows[i];
		bool forged_first = sequence_roll(seed, number, 10, 2);

		if (forged_first)
			world_forge(w, number, seed);
		flow_acts(w, number, seed);
		if (!forged_first)
			world_forge(w, number, seed);
	}
	if (w->flood)
		world_flood(w, w->flood, w->flood_tick, w->flood->value / 2, w->flood->value);
	world_fire(w);
	for (unsigned i = 0; i < w->sequence->flows_count; i++)
		live += w->flows[w->sequence->flows[i]].phase >= FLOW_LIVE;
	w->live_most = live > w->live_most ? live : w->live_most;
}

/* The live flows that go on while there is no lbd: as many as ABSENCE_PACKETS allows. */
static unsigned choose_survivors(const struct world *w, uint64_t seed, uint32_t ticks,
				 uint16_t *ret)
{
	uint64_t packets = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < w->sequence->flows_count; i++) {
		uint32_t number = w->sequence->flows[i];
		const struct flow *flow = &w->flows[number];

		if (flow->phase < FLOW_LIVE || w->now - flow->last > world_patience(w, number) ||
		    sequence_roll(seed, number, 11, 2))
			continue;
		packets += ticks / world_patience(w, number) + 1;
		if (packets > ABSENCE_PACKETS)
			break;
		ret[count++] = number;
	}
	return count;
}

void world_absence(struct world *w, uint64_t seed, uint32_t ticks)
{
	static uint16_t survivors[SEQUENCE_FLOWS];
	static uint32_t next[SEQUENCE_FLOWS];
	unsigned count = choose_survivors(w, seed, ticks, survivors);
	uint32_t end = w->now + ticks;

	for (unsigned i = 0; i < count; i++)
		next[i] = w->flows[survivors[i]].last + world_patience(w, survivors[i]);
	while (w->now < end && !w->failure[0]) {
		w->now++;
		for (unsigned i = 0; i < count; i++) {
			if (next[i] > w->now)
				continue;
			world_send(w, survivors[i], SHOT_LIVES, ACK, w->now);
			next[i] = w->now + world_patience(w, survivors[i]);
		}
	}
	world_fire(w);
}

void world_end_flows(struct world *w, uint64_t seed, bool all)
{
	for (unsigned i = 0; i < w->sequence->flows_count; i++) {
		uint32_t number = w->sequence->flows[i];

		if (w->flows[number].phase >= FLOW_LIVE &&
		    (all || sequence_roll(seed, number, 7, 16)))
			end_flow(w, number, seed);
	}
	world_fire(w);
}
