/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets that are not of the flows themselves: forged ones in their name, floods, and lone
 * packets. */
#include "world.h"

#include <arpa/inet.h>

#define FIN            0x01
#define SYN            0x02
#define RST            0x04
#define ACK            0x10

#define FORGED_OF      24    /* one chance in so many is taken */
#define OUTSIDER_PORT  65100 /* above those of flows */
#define OUTSIDER_PORTS 400

/* Only while the owner is usable: if another backend got the packet, the flow would end. */
void world_forge(struct world *w, uint32_t number, uint64_t seed)
{
	static const struct {
		enum actor actor;
		uint8_t flags;
	} forgeries[] = {
	    {ACTOR_FORGED_RST, RST},
	    {ACTOR_FORGED_FIN, FIN | ACK},
	    {ACTOR_FORGED_SYN, SYN},
	    {ACTOR_FORGED_ACK, ACK},
	};
	const struct flow *flow = &w->flows[number];
	const struct dp_backend *owner = flow->owner >= 0 ? world_backend(w, flow->owner) : NULL;

	if (flow->phase < FLOW_LIVE || !owner || !owner->usable)
		return;
	for (unsigned i = 0; i < sizeof(forgeries) / sizeof(*forgeries); i++) {
		bool syn = forgeries[i].flags == SYN && !world_is_udp(w, number);

		if (world_acts(w, forgeries[i].actor) &&
		    !sequence_roll(seed, number, 20 + i, FORGED_OF))
			world_send(w, number, syn ? SHOT_FORGED_SYN : SHOT_FORGED,
				   forgeries[i].flags, w->now);
	}
}

/* A packet of a tuple that no flow has. Those of even numbers have the address of a client. */
static void send_outsider(struct world *w, unsigned service, uint64_t seed, uint32_t number,
			  uint8_t tcp_flags)
{
	uint32_t flows = w->sequence->flows_count,
		 client = sequence_roll(seed, number, 30, 1 << 20);

	if (w->pending_count == BATCH_MOST)
		world_fire(w);
	client = number & 1 ? 0x0c000000 + client : world_client_of(client % (flows + 1));
	w->batch->shots[w->pending_count] = (struct shot){
	    .client = htonl(client),
	    .port = htons(OUTSIDER_PORT + sequence_roll(seed, number, 31, OUTSIDER_PORTS)),
	    .tcp_flags = tcp_flags,
	    .template = service,
	    .tick = w->now,
	};
	w->pending[w->pending_count++] = (struct pending){NO_FLOW, SHOT_FLOOD, service};
}

/* All datagrams are alike: a flood of UDP has one, two or three of each tuple. */
void world_flood(struct world *w, const struct step *step, uint32_t tick, uint32_t from,
		 uint32_t to)
{
	bool answers = step->flood == FLOOD_ANSWERED || step->flood == FLOOD_ESTABLISHED;
	bool again = step->flood == FLOOD_ESTABLISHED && tick;

	w->flooded = w->now;
	for (uint32_t i = from; i < to && step->service < w->sequence->services; i++) {
		uint64_t seed = again ? step->seed : step->seed + tick;

		if (step->flood != FLOOD_ACK && !again)
			send_outsider(w, step->service, seed, i, SYN);
		if (answers || step->flood == FLOOD_ACK)
			send_outsider(w, step->service, seed, i, ACK);
	}
}

/* Without a backend that takes new flows a datagram is one all the same: of the keeper. */
static bool has_lone_packets(const struct world *w, unsigned service)
{
	const struct dp_service *want = &w->want[service].service;
	bool taken = !w->sequence->service[service].udp;

	for (unsigned i = 0; i < want->backends_count; i++)
		taken |= want->backends[i].usable && want->backends[i].weight;
	return taken;
}

void world_trickle(struct world *w, uint64_t seed, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		for (unsigned service = 0; service < w->sequence->services; service++)
			if (has_lone_packets(w, service))
				send_outsider(w, service, seed, 2 * i + 1, ACK); /* few repeat */
	world_fire(w);
}
