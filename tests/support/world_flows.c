/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flows of a world: what they send, and the model that checks where it went. Called by world.c. */
#include "world.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <string.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

/* ---- sending ---- */

unsigned world_service_of(const struct world *w, uint32_t flow)
{
	return flow % w->sequence->services;
}

static bool is_udp(const struct world *w, uint32_t flow)
{
	return w->sequence->service[world_service_of(w, flow)].udp;
}

static uint32_t idle_of(const struct world *w, uint32_t flow)
{
	return w->sequence->service[world_service_of(w, flow)].idle;
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

static void send_packet(struct world *w, uint32_t number, enum shot_kind kind, uint8_t tcp_flags)
{
	w->batch->shots[w->pending_count] = (struct shot){.client = htonl(world_client_of(number)),
							  .port = htons(world_port_of(w, number)),
							  .tcp_flags = tcp_flags,
							  .template = world_service_of(w, number)};
	w->pending[w->pending_count++] = (struct pending){number, kind};
}

static void open_flow(struct world *w, uint32_t number, uint64_t seed)
{
	struct flow *flow = &w->flows[number];
	bool fresh = !flow->generation || sequence_roll(seed, number, 2, 4);
	enum shot_kind opens = fresh ? SHOT_OPENS_FRESH : SHOT_OPENS_AGAIN;

	flow->generation += fresh;
	flow->live = flow->woken = false;
	if (is_udp(w, number)) {
		send_packet(w, number, opens, 0);
		return;
	}
	send_packet(w, number, opens, SYN);
	if (!sequence_roll(seed, number, 3, 8))
		send_packet(w, number, SHOT_SYN_REPEATED, SYN);
	if (sequence_roll(seed, number, 4, 8)) /* else it stays embryonic */
		send_packet(w, number, SHOT_ESTABLISHES, ACK);
}

/* FIN, and often the last ACK; or RST. */
static void end_flow(struct world *w, uint32_t number, uint64_t seed)
{
	uint32_t how = sequence_roll(seed, number, 5, 3);

	if (w->now - w->flows[number].last > idle_of(w, number))
		return;
	if (!how || is_udp(w, number)) {
		send_packet(w, number, SHOT_ENDS, RST);
	} else if (how == 1) {
		send_packet(w, number, SHOT_ENDS, FIN | ACK);
	} else {
		send_packet(w, number, SHOT_LIVES, FIN | ACK);
		send_packet(w, number, SHOT_ENDS, ACK);
	}
}

static void flow_acts(struct world *w, uint32_t number, uint64_t seed)
{
	struct flow *flow = &w->flows[number];
	uint32_t idle = idle_of(w, number), silent = w->now - flow->last;

	if (!flow->live) {
		if (!sequence_roll(seed, number, 0, 5))
			open_flow(w, number, seed);
		return;
	}
	if (silent > idle) {
		if (!sequence_roll(seed, number, 0, 6))
			send_packet(w, number, SHOT_WAKES, ACK);
		else if (!sequence_roll(seed, number, 1, 4))
			open_flow(w, number, seed);
		return;
	}
	/* a few fall silent for too long */
	if (sequence_roll(seed, number, 0, silent == idle ? 8 : 3) >= (silent == idle ? 7 : 1))
		return;
	if (!sequence_roll(seed, number, 1, 20))
		end_flow(w, number, seed);
	else
		send_packet(w, number, SHOT_LIVES, ACK);
}

/* ---- the model ---- */

void world_fail(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->failure[0])
		return;
	va_start(args, format);
	vsnprintf(w->failure, sizeof(w->failure), format, args);
	va_end(args);
}

static const struct dp_backend *backend_of(const struct world *w, int number)
{
	return want_find((struct want *)&w->want[number / SEQUENCE_BACKENDS], number);
}

static bool takes_new(const struct dp_backend *backend)
{
	return backend && backend->usable && backend->weight;
}

static bool anyone_takes_new(const struct world *w, unsigned service)
{
	for (unsigned i = 0; i < w->want[service].service.backends_count; i++)
		if (takes_new(&w->want[service].backends[i]))
			return true;
	return false;
}

static bool any_slot_learns(const struct world *w, unsigned service)
{
	uint32_t size, *slots = want_slots(w->dp, &w->want[service], &size);

	for (uint32_t i = 0; i < size; i++)
		if (slots[i] & LB_SLOT_LEARNING)
			return true;
	return false;
}

/* Whether the last batch met the exceptions to "new flows go to those that take them". */
struct exceptions {
	bool full, evicted;
	bool learning[SEQUENCE_SERVICES];
};

static const char *name_of(const struct world *w, int number, char text[32])
{
	if (number < 0)
		return "nowhere";
	snprintf(text, 32, "backend %d", number % SEQUENCE_BACKENDS);
	return text;
}

static void check_new(struct world *w, uint32_t number, int to, const struct exceptions *exceptions)
{
	unsigned service = world_service_of(w, number);
	char name[32];

	if (exceptions->full || (is_udp(w, number) && (exceptions->learning[service] ||
						       (w->full_at && w->now - w->full_at <= idle_of(w, number)))))
		return;
	w->checked++;
	if (anyone_takes_new(w, service) && (to < 0 || !takes_new(backend_of(w, to))))
		world_fail(w, "tick %u: flow %u is new and went to %s, which takes no new flow", w->now, number,
			   name_of(w, to, name));
}

static void check_owner(struct world *w, uint32_t number, int to)
{
	const struct flow *flow = &w->flows[number];
	char owner[32], name[32];

	if (!flow->live || flow->woken || flow->owner < 0 || w->now - flow->last > idle_of(w, number) ||
	    flow->deaths != w->deaths[flow->owner])
		return;
	w->checked++;
	if (to != flow->owner)
		world_fail(w, "tick %u: flow %u is established on %s, which lives, and went to %s", w->now, number,
			   name_of(w, flow->owner, owner), name_of(w, to, name));
}

static void own(struct world *w, struct flow *flow, int to)
{
	flow->live = to >= 0;
	flow->owner = to;
	flow->deaths = to >= 0 ? w->deaths[to] : 0;
	flow->removals = to >= 0 ? w->removals[to] : 0;
}

/* A backend that knows nothing of a TCP flow resets it. */
static void go_on(struct world *w, struct flow *flow, int to, bool udp)
{
	flow->woken = udp ? to != flow->owner : flow->woken && w->now == flow->last;
	if (udp || (to == flow->owner && (to < 0 || flow->removals == w->removals[to])))
		own(w, flow, to);
	else
		flow->live = false;
}

static void check(struct world *w, const struct pending *pending, int to, const struct exceptions *exceptions)
{
	struct flow *flow = &w->flows[pending->flow];
	bool udp = is_udp(w, pending->flow);
	char before[32], after[32];

	switch (pending->kind) {
	case SHOT_OPENS_FRESH:
		check_new(w, pending->flow, to, exceptions);
		/* fall through */
	case SHOT_OPENS_AGAIN:
		flow->answered = to;
		if (udp) {
			own(w, flow, to);
			flow->woken = true;
		}
		break;
	case SHOT_SYN_REPEATED:
	case SHOT_ESTABLISHES:
		if (flow->answered < 0) /* nobody to go on with */
			break;
		if (to != flow->answered && !exceptions->evicted)
			world_fail(w, "tick %u: flow %u: its SYN went to %s, the next packet to %s", w->now,
				   pending->flow, name_of(w, flow->answered, before), name_of(w, to, after));
		if (pending->kind == SHOT_ESTABLISHES)
			own(w, flow, to);
		break;
	case SHOT_LIVES:
		check_owner(w, pending->flow, to);
		go_on(w, flow, to, udp);
		break;
	case SHOT_ENDS:
		check_owner(w, pending->flow, to);
		flow->live = false;
		break;
	case SHOT_WAKES:
		own(w, flow, udp ? to : -1);
		flow->woken = true;
	}
	flow->last = w->now;
}

/* The number of the backend, -1: none. Where nobody may go, nothing does. */
static int destination(struct world *w, const struct pending *pending, const struct shot *shot)
{
	unsigned service = world_service_of(w, pending->flow);
	const struct dp_backend *backend;
	int number = ntohl(shot->outer_dst) & 0xff;

	if (shot->verdict != XDP_TX)
		return -1;
	backend = number < WORLD_BACKENDS ? backend_of(w, number) : NULL;
	if (number / SEQUENCE_BACKENDS != (int)service)
		world_fail(w, "tick %u: flow %u of service %u went to backend %d of another", w->now, pending->flow,
			   service, number);
	else if (!backend || !backend->usable)
		world_fail(w, "tick %u: flow %u went to backend %d, which is dead or gone", w->now, pending->flow,
			   number % SEQUENCE_BACKENDS);
	return w->failure[0] ? -1 : number;
}

static uint64_t growth(const struct world *w, unsigned event, uint64_t *before)
{
	uint64_t now = dp_event(w->dp, event), by = now - *before;

	*before = now;
	return by;
}

/* Sends what is pending and checks where it went. */
static void fire(struct world *w)
{
	struct exceptions exceptions = {0};

	if (!w->pending_count)
		return;
	batch_fire(w->batch, w->pending_count, w->now);
	exceptions.full = growth(w, LB_EVENT_flow_table_full, &w->full);
	exceptions.evicted = growth(w, LB_EVENT_flow_evicted, &w->evicted);
	if (exceptions.full)
		w->full_at = w->now;
	for (unsigned i = 0; i < w->sequence->services; i++)
		exceptions.learning[i] = w->sequence->service[i].udp && any_slot_learns(w, i);
	for (unsigned i = 0; i < w->pending_count && !w->failure[0]; i++) {
		world_trace_packet(w, &w->pending[i], &w->batch->shots[i]);
		w->guilty = w->pending[i].flow;
		check(w, &w->pending[i], destination(w, &w->pending[i], &w->batch->shots[i]), &exceptions);
	}
	w->packets += w->pending_count;
	w->pending_count = 0;
}

/* ---- time ---- */

void world_tick(struct world *w, uint64_t seed)
{
	unsigned live = 0;

	w->dp->clock = ++w->now;
	for (unsigned i = 0; i < w->sequence->flows_count; i++)
		flow_acts(w, w->sequence->flows[i], seed);
	fire(w);
	for (unsigned i = 0; i < w->sequence->flows_count; i++)
		live += w->flows[w->sequence->flows[i]].live;
	w->live_most = live > w->live_most ? live : w->live_most;
}

void world_end_flows(struct world *w, uint64_t seed, bool all)
{
	for (unsigned i = 0; i < w->sequence->flows_count; i++) {
		uint32_t number = w->sequence->flows[i];

		if (w->flows[number].live && (all || sequence_roll(seed, number, 7, 16)))
			end_flow(w, number, seed);
	}
	fire(w);
}
