/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Replies of backends of `forward: nat`: the model knows which backend got a packet, by which VIP
 * and when. In each tick all that may still answer do, and all send what is no reply as well. */
#include "world.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <string.h>

#include "test_addr.h"

#define LOOPBACK    1 /* where BPF_PROG_TEST_RUN says packets come from */
#define REPLY_TCP   2 /* templates: and, from a backend with an IPv6 address, the next */
#define REPLY_UDP   4
#define EMBED       "2001:db8:46::" /* /96 */
#define SOURCE6     22              /* of a frame with an IPv6 header */
#define CLIENT      0x0b000001      /* 11.0.0.1 */
#define HERE        0x0aff0001      /* 10.255.0.1 */
#define DIRECT      0xc6120009      /* 198.18.0.9 */
#define VIP         0xc0000201      /* 192.0.2.1 */
#define OTHER_PORT  7000
#define CLIENT_PORT 4711
#define FIN         0x01
#define RST         0x04
#define ACK         0x10
#define ENDS_OF     24 /* of so many live flows one gets an end in a tick */

/* Frames from backends: to an IPv4 client, also one that is embedded in an IPv6 address. */
static void make_templates(struct world *w, unsigned number, int protocol)
{
	const struct addr none = test_addr("0.0.0.0"), embed = test_addr(EMBED),
			  real = test_addr("fd00::");

	batch_template(w->batch, number, &none, protocol, 0);
	batch_template(w->batch, number + 1, &embed, protocol, 0);
	memcpy(w->batch->control->templates[number + 1].frame + SOURCE6, real.bytes, 16);
}

void world_set_ways(struct world *w)
{
	const struct addr here = test_addr("10.255.0.1");
	const struct dp_prefix direct = {test_addr("198.18.0.0"), 15};
	const struct dp_prefix embed = {test_addr(EMBED), 96};
	const struct neigh_way way = {
	    .prefix = {4}, .ready = true, .hop = {.ifindex = LOOPBACK, .mtu = 1500}};

	dataplane_set_local(w->batch->owner, &here, 1);
	dataplane_set_direct(w->batch->owner, &direct, 1);
	dataplane_set_hops(w->batch->owner, &way, 1);
	dataplane_set_embed(w->batch->owner, &embed);
	make_templates(w, REPLY_TCP, IPPROTO_TCP);
	make_templates(w, REPLY_UDP, IPPROTO_UDP);
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
	if (shot->family != (w->want[service].v6 ? 6 : 4))
		world_fail(w, "tick %u: a packet to backend %d went as IPv%u", w->at,
			   number % SEQUENCE_BACKENDS, shot->family);
	if (w->want[service].v6 && shot->source != shot->client)
		world_fail(w, "tick %u: a packet to backend %d has the client %#x, not %#x", w->at,
			   number % SEQUENCE_BACKENDS, ntohl(shot->source), ntohl(shot->client));
	if (ntohs(shot->ports[1]) != ntohs(world_backend(w, number)->port))
		world_fail(w, "tick %u: a packet went to port %u of backend %d, not to %u", w->at,
			   ntohs(shot->ports[1]), number % SEQUENCE_BACKENDS,
			   ntohs(world_backend(w, number)->port));
	w->got[number][ntohs(shot->ports[1]) & 1] = w->at;
}

static bool is_translated(const struct world *w, int number)
{
	return w->want[number / SEQUENCE_BACKENDS].v6;
}

static void add(struct world *w, int number, uint16_t port, uint32_t client, enum reply_fate fate)
{
	unsigned at = w->pending_count + w->replies_count;
	bool udp = w->sequence->service[number / SEQUENCE_BACKENDS].udp;

	w->batch->shots[at] =
	    (struct shot){.client = htonl(client),
			  .port = htons(CLIENT_PORT),
			  .tcp_flags = 0x10,
			  .template = (udp ? REPLY_UDP : REPLY_TCP) + is_translated(w, number),
			  .tick = w->batch->shots[w->pending_count - 1].tick,
			  .real = htonl(0x0a000000 + number),
			  .real_port = htons(port)};
	w->replies[w->replies_count++] =
	    (struct reply){.flow = NO_FLOW, .number = number, .port = port & 1, .fate = fate};
}

/* Whether the backend got a packet at this port so lately that it may still answer. */
static bool answers(const struct world *w, int number, unsigned which, uint32_t tick)
{
	return w->got[number][which] && tick - w->got[number][which] <=
					    w->sequence->service[number / SEQUENCE_BACKENDS].idle;
}

/* In an embedded address neither this host nor a VIP is a client. If the backend is not in the
 * table any more, what it sends is no reply. */
static void add_of_translated(struct world *w, int number)
{
	if (!world_backend(w, number))
		return;
	add(w, number, world_real_port(w, number), HERE, REPLY_DROPPED);
	add(w, number, world_real_port(w, number), VIP, REPLY_DROPPED);
}

static void add_of(struct world *w, int number, uint32_t tick)
{
	for (unsigned which = 0; which < 2; which++)
		if (answers(w, number, which, tick))
			add(w, number, port_of(number, which), CLIENT, REPLY_RETURNED);
	add(w, number, OTHER_PORT, CLIENT, REPLY_KEPT);
	if (is_translated(w, number)) {
		add_of_translated(w, number);
		return;
	}
	add(w, number, world_real_port(w, number), HERE, REPLY_KEPT);
	add(w, number, world_real_port(w, number), DIRECT, REPLY_KEPT);
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
	add(w, number, world_real_port(w, number), world_client_of(flow), REPLY_RETURNED);
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

/* Whether it left as the VIP's, to the client. */
static bool is_returned(const struct reply *reply, const struct shot *shot)
{
	return shot->verdict == XDP_TX && shot->family == 4 && ntohl(shot->source) == VIP &&
	       ntohs(shot->ports[0]) == 80 + reply->number / SEQUENCE_BACKENDS;
}

static bool is_kept(const struct world *w, const struct reply *reply, const struct shot *shot)
{
	return shot->verdict == XDP_PASS && shot->source == shot->real &&
	       shot->family == (is_translated(w, reply->number) ? 6 : 4) &&
	       shot->ports[0] == shot->real_port;
}

static void check(struct world *w, const struct reply *reply, const struct shot *shot)
{
	static const char *const what[] = {[REPLY_RETURNED] = "a reply",
					   [REPLY_KEPT] = "what is no reply",
					   [REPLY_DROPPED] = "what no client gets"};
	bool right = shot->outer_dst == shot->client && shot->ports[1] == shot->port;

	w->replied++;
	if (reply->fate == REPLY_RETURNED)
		right = right && is_returned(reply, shot);
	else if (reply->fate == REPLY_KEPT)
		right = right && is_kept(w, reply, shot);
	else
		right = shot->verdict == XDP_DROP;
	if (!right)
		world_fail(w,
			   "tick %u: %s of backend %u, port %u, to %#x: verdict %u, IPv%u, source "
			   "%#x port %u",
			   shot->tick, what[reply->fate], reply->number, ntohs(shot->real_port),
			   ntohl(shot->client), shot->verdict, shot->family, ntohl(shot->source),
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
