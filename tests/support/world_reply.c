/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies of backends of `forward: nat`: the model knows which backend got a packet, by which VIP
 * and when. In each tick all that may still answer do, and all send what is no reply as well. */
#include "world.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <string.h>

#include "test_addr.h"

#define LOOPBACK    1 /* where BPF_PROG_TEST_RUN says packets come from */
#define REPLY_TCP   2 /* templates */
#define REPLY_UDP   3
#define CLIENT      0x0b000001 /* 11.0.0.1 */
#define HERE        0x0aff0001 /* 10.255.0.1 */
#define DIRECT      0xc6120009 /* 198.18.0.9 */
#define OTHER_PORT  7000
#define CLIENT_PORT 4711
#define FIN         0x01
#define RST         0x04
#define ACK         0x10
#define ENDS_OF     24 /* of so many live flows one gets an end in a tick */

void world_set_ways(struct world *w)
{
	const struct addr here = test_addr("10.255.0.1"), none = test_addr("0.0.0.0");
	const struct dp_prefix direct = {test_addr("198.18.0.0"), 15};
	const struct neigh_way way = {
	    .prefix = {4}, .ready = true, .hop = {.ifindex = LOOPBACK, .mtu = 1500}};

	dataplane_set_local(w->batch->owner, &here, 1);
	dataplane_set_direct(w->batch->owner, &direct, 1);
	dataplane_set_hops(w->batch->owner, &way, 1);
	batch_template(w->batch, REPLY_TCP, &none, IPPROTO_TCP, 0);
	batch_template(w->batch, REPLY_UDP, &none, IPPROTO_UDP, 0);
}

static uint16_t port_of(int number, unsigned which)
{
	return 8000 + 2 * number + which;
}

/* A backend that is added again has every other time another port. */
static unsigned which_port(const struct world *w, int number)
{
	return w->removals[number] / 2 % 2;
}

uint16_t world_real_port(const struct world *w, int number)
{
	return port_of(number, which_port(w, number));
}

void world_note_sent(struct world *w, int number, const struct shot *shot)
{
	unsigned service = number / SEQUENCE_BACKENDS;

	if (!w->nat[service])
		return;
	if (ntohs(shot->ports[1]) != ntohs(world_backend(w, number)->port))
		world_fail(w, "tick %u: a packet went to port %u of backend %d, not to %u", w->at,
			   ntohs(shot->ports[1]), number % SEQUENCE_BACKENDS,
			   ntohs(world_backend(w, number)->port));
	w->got[number][ntohs(shot->ports[1]) & 1] = w->at;
}

static void add(struct world *w, int number, uint16_t port, uint32_t client, bool changed)
{
	unsigned at = w->pending_count + w->replies_count;
	bool udp = w->sequence->service[number / SEQUENCE_BACKENDS].udp;

	w->batch->shots[at] = (struct shot){.client = htonl(client),
					    .port = htons(CLIENT_PORT),
					    .tcp_flags = 0x10,
					    .template = udp ? REPLY_UDP : REPLY_TCP,
					    .tick = w->batch->shots[w->pending_count - 1].tick,
					    .real = htonl(0x0a000000 + number),
					    .real_port = htons(port)};
	w->replies[w->replies_count++] =
	    (struct reply){.flow = NO_FLOW, .number = number, .port = port & 1, .changed = changed};
}

/* Whether the backend got a packet at this port so lately that it may still answer. */
static bool answers(const struct world *w, int number, unsigned which, uint32_t tick)
{
	return w->got[number][which] && tick - w->got[number][which] <=
					    w->sequence->service[number / SEQUENCE_BACKENDS].idle;
}

static void add_of(struct world *w, int number, uint32_t tick)
{
	for (unsigned which = 0; which < 2; which++)
		if (answers(w, number, which, tick))
			add(w, number, port_of(number, which), CLIENT, true);
	add(w, number, OTHER_PORT, CLIENT, false);
	add(w, number, world_real_port(w, number), HERE, false);
	add(w, number, world_real_port(w, number), DIRECT, false);
}

/* The backend of a live flow seems to end it: forged, as the flow goes on. */
static void add_end(struct world *w, uint32_t flow, uint32_t tick)
{
	static const uint8_t flags[] = {RST, FIN | ACK, RST | ACK};
	const int number = w->flows[flow].owner;
	const unsigned kind = sequence_roll(tick, flow, 41, 3);
	const unsigned at = w->pending_count + w->replies_count;

	if (!world_acts(w, flags[kind] & RST ? ACTOR_FORGED_RST : ACTOR_FORGED_FIN) ||
	    !answers(w, number, which_port(w, number), tick))
		return;
	add(w, number, world_real_port(w, number), world_client_of(flow), true);
	w->batch->shots[at].port = htons(world_port_of(w, flow));
	w->batch->shots[at].tcp_flags = flags[kind];
	w->batch->shots[at].seq = htonl(1 + flow);
	w->replies[w->replies_count - 1].flow = flow;
	w->replies[w->replies_count - 1].tcp_flags = flags[kind];
}

static void add_ends(struct world *w, uint32_t tick)
{
	for (unsigned i = 0, ends = 0; i < w->sequence->flows_count && ends < WORLD_ENDS; i++) {
		const uint32_t number = w->sequence->flows[i];
		const struct flow *flow = &w->flows[number];

		if (flow->phase < FLOW_LIVE || flow->owner < 0 || world_is_udp(w, number) ||
		    !w->nat[flow->owner / SEQUENCE_BACKENDS] ||
		    sequence_roll(tick, number, 40, ENDS_OF))
			continue;
		add_end(w, number, tick);
		ends++;
	}
}

void world_add_replies(struct world *w)
{
	uint32_t tick = w->batch->shots[w->pending_count - 1].tick;

	w->replies_count = 0;
	if (w->pending_count + WORLD_REPLIES > BATCH_MOST)
		return;
	for (int number = 0; number < WORLD_BACKENDS; number++)
		if (w->nat[number / SEQUENCE_BACKENDS])
			add_of(w, number, tick);
	add_ends(w, tick);
}

/* The VIP is 192.0.2.1. */
static void check(struct world *w, const struct reply *reply, const struct shot *shot)
{
	const char *what = reply->changed ? "a reply" : "what is no reply";
	uint32_t source = reply->changed ? 0xc0000201 : ntohl(shot->real);
	unsigned port =
	    reply->changed ? 80u + reply->number / SEQUENCE_BACKENDS : ntohs(shot->real_port);

	w->replied++;
	if (shot->verdict != (reply->changed ? XDP_TX : XDP_PASS) ||
	    ntohl(shot->source) != source || ntohs(shot->ports[0]) != port ||
	    shot->outer_dst != shot->client || shot->ports[1] != shot->port)
		world_fail(w,
			   "tick %u: %s of backend %u, port %u, to %#x: verdict %u, source %#x "
			   "port %u",
			   shot->tick, what, reply->number, ntohs(shot->real_port),
			   ntohl(shot->client), shot->verdict, ntohl(shot->source),
			   ntohs(shot->ports[0]));
}

static void check_one(struct world *w, const struct reply *reply, const struct shot *shot)
{
	check(w, reply, shot);
	if (reply->flow == NO_FLOW)
		return;
	w->at = shot->tick;
	world_note_forged(w, reply->flow, reply->tcp_flags);
}

void world_check_replies(struct world *w)
{
	for (unsigned i = 0; i < w->replies_count && !w->failure[0]; i++)
		check_one(w, &w->replies[i], &w->batch->shots[w->pending_count + i]);
}
