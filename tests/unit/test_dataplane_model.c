/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The invariant of docs/tracking.md against random changes: no established live flow moves while its backend lives.
 * lbd's half is the real one, on plain memory; the packet's half is the rules written down once more, in plain C, so
 * that both can be wrong only together. Run by `make check`. LBD_SEED=n repeats one sequence, LBD_SEQUENCES=n sets how
 * many. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../support/memory_dataplane.h"

#define FLOWS    150
#define BACKENDS 6
#define IDLE     10 /* ticks */
#define STEPS    120

/* ---- the packet's half ---- */

struct packet {
	uint64_t hash;
	bool tcp, syn, fin;
};

struct world {
	struct memory_dataplane *memory;
	struct dataplane *dp;
	struct want want;
	uint32_t now;
	uint64_t random;
	uint64_t seed;
	uint32_t deaths[BACKENDS];
	struct flow {
		uint64_t hash;
		bool live;
		int backend;     /* number, -1: none */
		uint32_t deaths; /* of that backend, when the last packet came */
		uint32_t last;
	} flows[FLOWS];
};

static uint32_t draw(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 33) % below;
}

static bool serves(const struct world *w, uint32_t id, const struct lb_service *line)
{
	const struct lb_backend *backend = &w->dp->maps.backends[id];

	return id && backend->flags & LB_BACKEND_USABLE && backend->service == line->id;
}

static uint64_t *table_find(const struct world *w, uint64_t hash)
{
	uint32_t buckets = w->dp->maps.flow_words / LB_FLOW_WAYS;
	uint64_t *bucket = &w->dp->maps.flows[(hash & (buckets - 1)) * LB_FLOW_WAYS];

	for (unsigned i = 0; i < LB_FLOW_WAYS; i++)
		if (LB_FLOW_STATE(bucket[i]) && (bucket[i] ^ hash) >> LB_FLOW_FP_SHIFT == 0)
			return &bucket[i];
	return NULL;
}

static void table_write(const struct world *w, uint64_t *place, uint64_t hash, uint32_t id, uint32_t state)
{
	uint32_t buckets = w->dp->maps.flow_words / LB_FLOW_WAYS;
	uint64_t *bucket = &w->dp->maps.flows[(hash & (buckets - 1)) * LB_FLOW_WAYS];

	for (unsigned i = 0; !place && i < LB_FLOW_WAYS; i++)
		if (!LB_FLOW_STATE(bucket[i]))
			place = &bucket[i];
	if (!place)
		fail_msg("the model's table is full: make it larger");
	*place = (hash & ~0ULL << LB_FLOW_FP_SHIFT) | (uint64_t)id << LB_FLOW_BACKEND_SHIFT |
		 state << LB_FLOW_STATE_SHIFT | (w->now & LB_FLOW_TICK_MASK);
}

static uint32_t keeper_of(const struct world *w, const struct lb_service *line, uint32_t slot, uint64_t hash)
{
	uint32_t keeper = LB_SLOT_KEEPER(slot);

	if (!keeper && line->old_ring)
		keeper = LB_SLOT_KEEPER(w->dp->maps.arena[LB_REGION_BASE(line->old_ring) +
							  lb_ring_index(hash, LB_REGION_SIZE(line->old_ring))]);
	return serves(w, keeper, line) ? keeper : LB_SLOT_CURRENT(slot);
}

/* The id of the backend, 0: none. */
static uint32_t route(struct world *w, const struct packet *p)
{
	const struct lb_service *line = want_line(w->dp, &w->want);
	uint32_t at = LB_REGION_BASE(line->ring) + lb_ring_index(p->hash, LB_REGION_SIZE(line->ring));
	uint32_t slot = w->dp->maps.arena[at], current = LB_SLOT_CURRENT(slot), id = current;
	uint64_t *place;

	if (!(slot & LB_SLOT_TRANSITION) && !(line->flags & LB_SERVICE_TRACK_ALWAYS))
		return serves(w, current, line) ? current : 0;
	place = table_find(w, p->hash);
	if (place && LB_FLOW_STATE(*place) == LB_FLOW_KEPT)
		*place = 0; /* for counting only */
	if (place && serves(w, LB_FLOW_BACKEND(*place), line) &&
	    !(p->syn && LB_FLOW_STATE(*place) == LB_FLOW_CLOSING)) {
		id = LB_FLOW_BACKEND(*place);
		table_write(w, place, p->hash, id,
			    p->fin                                            ? LB_FLOW_CLOSING
			    : LB_FLOW_STATE(*place) == LB_FLOW_SYN && !p->syn ? LB_FLOW_ESTABLISHED
									      : LB_FLOW_STATE(*place));
	} else if (!place && p->tcp && !p->syn) {
		id = keeper_of(w, line, slot, p->hash);
		if (id != current && !p->fin)
			table_write(w, NULL, p->hash, id, LB_FLOW_KEPT);
	} else {
		if (p->tcp ? !p->syn : slot & LB_SLOT_LEARNING)
			id = keeper_of(w, line, slot, p->hash);
		else if (!serves(w, id, line))
			id = keeper_of(w, line, slot, p->hash);
		if (!serves(w, id, line))
			return 0;
		table_write(w, place, p->hash, id,
			    !p->tcp  ? LB_FLOW_UDP
			    : p->syn ? LB_FLOW_SYN
			    : p->fin ? LB_FLOW_CLOSING
				     : LB_FLOW_ESTABLISHED);
	}
	if (id != current)
		w->dp->maps.stamps[at] = w->now;
	return serves(w, id, line) ? id : 0;
}

/* ---- flows ---- */

static int number_of(const struct world *w, uint32_t id)
{
	const uint8_t *dst = (const uint8_t *)w->dp->maps.backends[id].outer_dst;

	return id ? dst[3] : -1;
}

static void check(struct world *w, struct flow *flow, int backend, const char *what)
{
	if (flow->backend >= 0 && flow->deaths == w->deaths[flow->backend] && backend != flow->backend)
		fail_msg("LBD_SEED=%llu: tick %u: %s of flow %d went to backend %d, its own is %d",
			 (unsigned long long)w->seed, w->now, what, (int)(flow - w->flows), backend, flow->backend);
	flow->backend = backend;
	flow->deaths = backend >= 0 ? w->deaths[backend] : 0;
	flow->last = w->now;
}

static void open_flow(struct world *w, struct flow *flow)
{
	bool tcp = w->want.service.protocol == IPPROTO_TCP;
	struct packet p = {.hash = flow->hash, .tcp = tcp, .syn = tcp};

	/* UDP flows have no beginning: one that was silent for long enough may be anywhere. */
	flow->backend = number_of(w, route(w, &p));
	flow->deaths = flow->backend >= 0 ? w->deaths[flow->backend] : 0;
	flow->last = w->now;
	flow->live = flow->backend >= 0;
	p.syn = false;
	if (flow->live)
		check(w, flow, number_of(w, route(w, &p)), "the second packet");
}

static void send_flow(struct world *w, struct flow *flow, bool fin)
{
	struct packet p = {.hash = flow->hash, .tcp = w->want.service.protocol == IPPROTO_TCP};

	p.fin = fin && p.tcp;
	check(w, flow, number_of(w, route(w, &p)), fin ? "the last packet" : "a packet");
	flow->live &= !fin && flow->backend >= 0;
}

/* Time goes on by one tick; flows that are due send. */
static void pass_tick(struct world *w)
{
	w->dp->clock = ++w->now;
	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow *flow = &w->flows[i];

		if (flow->live && (w->now - flow->last >= IDLE || !draw(w, 6)))
			send_flow(w, flow, !draw(w, 40));
		else if (!flow->live && w->now - flow->last > 2 * IDLE && !draw(w, 10))
			open_flow(w, flow);
	}
}

/* ---- changes ---- */

static void change_backend(struct world *w)
{
	unsigned n = draw(w, BACKENDS);
	struct dp_backend *backend = want_find(&w->want, n);

	if (!backend) {
		want_add(&w->want, n, 1 + draw(w, 3));
		return;
	}
	switch (draw(w, 5)) {
	case 0:
		want_remove(&w->want, n);
		w->deaths[n]++;
		break;
	case 1:
		w->deaths[n] += backend->usable;
		backend->usable = false;
		break;
	case 2:
		backend->weight = 0;
		break;
	default:
		backend->usable = true;
		backend->weight = 1 + draw(w, 3);
	}
}

static void change(struct world *w)
{
	static const uint32_t sizes[] = {7, 11, 13};

	for (unsigned i = draw(w, 3); i-- > 0;)
		change_backend(w);
	if (!draw(w, 6))
		w->want.service.slots = sizes[draw(w, 3)];
	if (!draw(w, 10))
		w->want.service.track_always = !w->want.service.track_always;
	want_commit(w->dp, &w->want, 1);
}

/* With LBD_SEED: what happens, and the ring it makes. */
static void tell(const struct world *w, const char *what)
{
	uint32_t size, *slots = want_slots(w->dp, &w->want, &size);

	if (!getenv("LBD_SEED"))
		return;
	printf("# tick %u: %s; always %d;", w->now, what, w->want.service.track_always);
	for (unsigned i = 0; i < w->want.service.backends_count; i++)
		printf(" %d%s*%u", w->want.backends[i].address.bytes[3], w->want.backends[i].usable ? "" : "(dead)",
		       w->want.backends[i].weight);
	printf(";%s", want_line(w->dp, &w->want)->old_ring ? " resizing" : "");
	for (unsigned i = 0; i < size; i++)
		printf(" %d/%d%s%s", number_of(w, LB_SLOT_CURRENT(slots[i])), number_of(w, LB_SLOT_KEEPER(slots[i])),
		       slots[i] & LB_SLOT_TRANSITION ? "T" : "", slots[i] & LB_SLOT_LEARNING ? "L" : "");
	printf("\n");
}

static void step(struct world *w)
{
	switch (draw(w, 8)) {
	case 0:
	case 1:
		change(w);
		tell(w, "change");
		break;
	case 2:
		while (dataplane_sweep(w->dp, 1 + draw(w, 2000), w->now) && draw(w, 4))
			;
		tell(w, "sweep");
		break;
	case 3:
		if (draw(w, 4))
			break;
		w->dp = memory_dataplane_restart(w->memory);
		want_commit(w->dp, &w->want, 1);
		tell(w, "takeover");
		break;
	default:
		for (unsigned i = draw(w, 4); i-- > 0;)
			pass_tick(w);
		sweep_rounds(w->dp, 1, w->now);
	}
}

static void run_sequence(uint64_t seed, int protocol)
{
	struct world w = {.seed = seed, .random = seed * 0x9e3779b97f4a7c15ULL + 1, .now = 5000};

	w.memory = memory_dataplane_new((struct memory_limits){4, 64, 1024, 256});
	w.dp = w.memory->dp;
	w.dp->clock = w.now;
	want_init(&w.want, "192.0.2.1", protocol, 80, "maglev");
	w.want.service.tcp_idle_ms = w.want.service.udp_idle_ms = IDLE * 1073;
	w.want.service.slots = 7;
	for (unsigned n = 0; n < 3; n++)
		want_add(&w.want, n, 1);
	want_commit(w.dp, &w.want, 1);
	for (unsigned i = 0; i < FLOWS; i++) {
		w.flows[i].hash = (uint64_t)draw(&w, 1u << 31) << 33 ^ (uint64_t)draw(&w, 1u << 31) << 5 ^ i;
		w.flows[i].backend = -1;
		open_flow(&w, &w.flows[i]);
	}
	for (unsigned i = 0; i < STEPS; i++)
		step(&w);
	memory_dataplane_free(w.memory);
}

static void run(int protocol)
{
	const char *seed = getenv("LBD_SEED"), *sequences = getenv("LBD_SEQUENCES");
	unsigned long count = sequences ? strtoul(sequences, NULL, 10) : 300;

	if (seed) {
		run_sequence(strtoull(seed, NULL, 10), protocol);
		return;
	}
	for (unsigned long i = 1; i <= count; i++)
		run_sequence(i, protocol);
}

static void no_tcp_flow_moves_while_its_backend_lives(void **state)
{
	run(IPPROTO_TCP);
}

static void no_udp_flow_moves_while_its_backend_lives(void **state)
{
	run(IPPROTO_UDP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_tcp_flow_moves_while_its_backend_lives),
	    cmocka_unit_test(no_udp_flow_moves_while_its_backend_lives),
	};

	return cmocka_run_group_tests_name("dataplane model", tests, NULL, NULL);
}
