/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs a sequence step by step, and checks at the end that everything has settled. */
#include "world.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define TICK_MS      1073 /* a little less than a tick: idle timeouts are rounded up to ticks */
#define TRICKLE      40   /* lone packets a tick and service */
#define TRICKLE_IDLE 5    /* ticks: longer ones would take too long */
#define ABSENCE_EDGE 6    /* ticks at either end of a long absence */
#define LONG_ABSENCE 100  /* ticks; from here on only a few flows send */
#define PATIENCE     6    /* ticks after which an empty flow table shrinks */
#define LOOPBACK     1    /* where BPF_PROG_TEST_RUN says packets come from */

/* ---- changes ---- */

static int number_of(const struct step *step)
{
	return step->service * SEQUENCE_BACKENDS + step->backend;
}

static void add_backend(struct world *w, unsigned service, unsigned backend, uint32_t weight)
{
	struct dp_backend *added =
	    want_add(&w->want[service], service * SEQUENCE_BACKENDS + backend, weight);

	added->hop.ifindex = LOOPBACK;
	if (w->nat[service])
		added->port = htons(world_real_port(w, service * SEQUENCE_BACKENDS + backend));
}

static void change_present(struct world *w, const struct step *step, struct dp_backend *backend)
{
	int number = number_of(step);

	switch (step->kind) {
	case STEP_REMOVE:
		want_remove(&w->want[step->service], number);
		w->removals[number]++;
		break;
	case STEP_DIE:
		w->deaths[number] += backend->usable;
		backend->usable = false;
		break;
	case STEP_RECOVER:
		backend->usable = true;
		break;
	case STEP_DRAIN:
		backend->weight = 0;
		break;
	case STEP_WEIGHT:
		backend->weight = step->value;
		break;
	default:
		break;
	}
}

/* A change that is not possible, such as the death of a dead backend, changes nothing. */
static void change(struct world *w, const struct step *step)
{
	struct want *want = &w->want[step->service];
	struct dp_backend *backend = want_find(want, number_of(step));
	bool hashes_address = want->service.hash != LB_HASH_FULL;

	w->changed = w->service_changed[step->service] = true;
	w->resized[step->service] |= step->kind == STEP_RESIZE;
	if (step->kind == STEP_RESIZE)
		want->service.slots = step->value;
	else if (step->kind == STEP_TRACKING)
		want->service.track_always = step->value;
	else if (step->kind == STEP_ALGORITHM && !hashes_address)
		want->service.algorithm = algo_find(sequence_algorithms[step->value]);
	else if (step->kind == STEP_ADD && !backend)
		add_backend(w, step->service, step->backend, step->value);
	else if (backend)
		change_present(w, step, backend);
}

/* The front of each slot, which the common path reads, agrees with the slot. */
static void check_fronts(struct world *w)
{
	for (unsigned i = 0; i < w->sequence->services; i++) {
		uint64_t ring = want_line(w->dp, &w->want[i])->ring;

		for (uint32_t at = LB_REGION_BASE(ring);
		     at < LB_REGION_BASE(ring) + LB_REGION_SIZE(ring); at++)
			if (w->dp->maps.fronts[at] != dp_front(w->dp, at, w->dp->maps.arena[at]))
				world_fail(w, "tick %u: service %u: slot %u: front %#x, slot %#x",
					   w->now, i, at - LB_REGION_BASE(ring),
					   w->dp->maps.fronts[at], w->dp->maps.arena[at]);
	}
}

/* A resize that waited for another begins in the sweep. To the model it is a change like others. */
static void note_rings(struct world *w)
{
	for (unsigned i = 0; i < w->sequence->services; i++) {
		uint64_t ring = want_line(w->dp, &w->want[i])->ring;

		if (ring != w->rings[i])
			w->committed[i] = w->now;
		w->rings[i] = ring;
	}
}

static void note_tracking(struct world *w, unsigned number)
{
	const struct dp_service *s = &w->want[number].service;
	uint32_t *since = &w->tracked_since[number];

	if (!s->track_always && !s->affinity && s->algorithm->select == LB_SELECT_SLOT)
		*since = UINT32_MAX;
	else if (*since == UINT32_MAX)
		*since = w->now;
}

static void begin_lbd(struct world *w)
{
	w->dp = batch_lbd(w->batch, w->now);
	w->dp->flows.patience = PATIENCE;
}

static void commit(struct world *w)
{
	struct dp_service services[SEQUENCE_SERVICES];
	struct error err = {0};

	if (!w->dp)
		begin_lbd(w);
	else if (!w->changed)
		return;
	w->changed = false;
	for (unsigned i = 0; i < w->sequence->services; i++) {
		services[i] = w->want[i].service;
		if (w->service_changed[i])
			w->committed[i] = w->now;
		w->service_changed[i] = false;
		note_tracking(w, i);
	}
	if (dataplane_commit(w->dp, services, w->sequence->services, &err)) {
		world_fail(w, "tick %u: the commit fails: %s", w->now, err.text);
		return;
	}
	check_fronts(w);
	note_rings(w);
}

/* The sweep removes dormant entries when their places are needed. */
static void sweep(struct world *w, uint32_t budget)
{
	uint64_t dropped = w->dp->sweep.dropped;

	while (dataplane_sweep(w->dp, budget ?: 1000000, w->now) && !budget)
		;
	if (w->dp->sweep.dropped != dropped)
		w->dropped_tick = w->now;
	note_rings(w);
}

static void sweep_round(struct world *w)
{
	sweep(w, 0);
}

/* ---- steps ---- */

static void let_settle(struct world *w, const struct step *step)
{
	world_end_flows(w, step->seed, false);
	for (uint32_t i = 0; i < 2 * w->sequence->service[step->service].idle + 2 && !w->failure[0];
	     i++) {
		world_tick(w, step->seed + i + 1);
		sweep_round(w);
	}
}

static void pass(struct world *w, const struct step *step)
{
	for (uint32_t i = 0; i < step->value && !w->failure[0]; i++) {
		world_tick(w, step->seed + i);
		if (!step->with_next)
			sweep_round(w);
	}
}

static void end_lbd(struct world *w)
{
	for (unsigned i = 0; i < WORLD_BACKENDS; i++) {
		const struct dp_backend *backend = world_backend(w, i);

		if (backend && !backend->usable)
			w->undated[i] = w->deaths[i];
	}
	dataplane_close(w->dp);
	w->dp = NULL;
}

static void take_over(struct world *w)
{
	end_lbd(w);
	commit(w);
}

/* No sweep for a while. Flows go on; if the absence is long, only a few do. The next commit, with
 * or without a change, is that of another lbd. */
static void go_away(struct world *w, const struct step *step)
{
	uint32_t ticks = step->value < LONG_ABSENCE ? step->value : ABSENCE_EDGE;

	end_lbd(w);
	for (uint32_t i = 0; i < ticks && !w->failure[0]; i++)
		world_tick(w, step->seed + i);
	if (step->value < LONG_ABSENCE || w->failure[0])
		return;
	world_absence(w, step->seed, step->value);
	for (uint32_t i = 0; i < ticks && !w->failure[0]; i++)
		world_tick(w, step->seed + ticks + i);
}

static void flood(struct world *w, const struct step *step)
{
	w->flood = step;
	for (w->flood_tick = 0; w->flood_tick < 2 && !w->failure[0]; w->flood_tick++) {
		world_tick(w, step->seed + w->flood_tick);
		sweep_round(w);
	}
	w->flood = NULL;
}

static void resize_table(struct world *w, uint32_t doublings)
{
	const struct dp_maps *maps = &w->dp->maps;
	uint32_t mask = LB_FLOW_SEGMENT(maps->flow_shift);

	for (; doublings && mask < maps->flow_words / LB_FLOW_WAYS - 1; doublings--)
		mask = mask * 2 + 1;
	flows_resize(w->dp, mask);
}

static void trace_step(const struct world *w, unsigned number)
{
	if (!w->trace)
		return;
	fprintf(w->trace, "  step %u: ", number + 1);
	step_print(&w->sequence->steps[number], w->trace);
	fprintf(w->trace, "\n");
}

static void carry_out(struct world *w, const struct step *step)
{
	if (step->kind >= STEP_PASS)
		commit(w);
	if (w->failure[0])
		return;
	switch (step->kind) {
	case STEP_PASS:
		pass(w, step);
		break;
	case STEP_SWEEP:
		sweep(w, step->value);
		break;
	case STEP_SETTLE:
		let_settle(w, step);
		break;
	case STEP_TAKEOVER:
		take_over(w);
		break;
	case STEP_FLOOD:
		flood(w, step);
		break;
	case STEP_AWAY:
		go_away(w, step);
		break;
	case STEP_TABLE:
		resize_table(w, step->value);
		break;
	default:
		change(w, step);
		if (!step->with_next)
			commit(w);
	}
}

/* ---- begin and end ---- */

static void begin_service(struct world *w, unsigned number)
{
	const struct sequence_service *s = &w->sequence->service[number];
	static const char *const vips[2] = {"192.0.2.1", "2001:db8::1"};
	int protocol = s->udp ? IPPROTO_UDP : IPPROTO_TCP;
	struct want *want = &w->want[number];

	want_init(want, vips[s->v6], protocol, 80 + number, sequence_algorithms[s->algorithm]);
	want->service.tcp_idle_ms = want->service.udp_idle_ms = s->idle * TICK_MS;
	want->service.affinity_ms = 2 * s->idle * TICK_MS;
	want->service.track_always = s->always;
	want->service.affinity = s->affinity;
	want->service.slots = s->slots;
	/* half of those that can: the other half has tunnels; ids of former backends are kept for
	 * their replies, of which the smallest tables have too few */
	w->nat[number] =
	    !s->v6 && (w->sequence->seed + number) % 2 && w->sequence->table != TABLE_TIGHT;
	want->service.forward = w->nat[number] ? LB_FORWARD_NAT : LB_FORWARD_IPIP;
	/* half of those have backends with IPv6 addresses */
	want->v6 = w->nat[number] && w->sequence->seed / 2 % 2;
	for (unsigned i = 0; i < s->backends; i++)
		add_backend(w, number, i, 1 + i % 3);
	batch_template(w->batch, number, &want->service.vip, protocol, 80 + number);
}

static void begin(struct world *w)
{
	batch_clear(w->batch, w->sequence->seed);
	w->now = w->sequence->tick;
	begin_lbd(w);
	world_set_ways(w);
	for (unsigned i = 0; i < w->sequence->services; i++)
		begin_service(w, i);
	w->changed = true;
	commit(w);
}

static unsigned count_entries(const struct world *w, uint32_t id, uint32_t states)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < w->dp->maps.flow_words; i++) {
		uint64_t entry = w->dp->maps.flows[i];

		count += LB_FLOW_BACKEND(entry) == id && states >> LB_FLOW_STATE(entry) & 1;
	}
	return count;
}

/* With one CPU and no packet within a round of the sweep, the counts are exact. */
static void check_active(struct world *w, const struct want *want, bool over)
{
	const uint32_t counted = LB_FLOW_COUNTED;

	for (unsigned i = 0; i < want->service.backends_count; i++) {
		const struct dp_backend *backend = &want->backends[i];
		uint32_t id = want_id(w->dp, want, want_number(backend));
		int active = w->dp->maps.loads[id].active, entries = count_entries(w, id, counted);

		if (active != entries || (over && active))
			world_fail(w, "tick %u: backend %u: %d active flows, %d in the table%s",
				   w->now, want_number(backend) % SEQUENCE_BACKENDS, active,
				   entries, over ? ", expected none" : "");
	}
}

static void check_settled(struct world *w, unsigned number)
{
	struct dp_service_stats service;
	struct dp_backend_stats stats;
	struct want *want = &w->want[number];

	dataplane_service_stats(w->dp, &want->service, &service);
	if (service.slots_in_transition || want_line(w->dp, want)->old_ring)
		world_fail(w, "tick %u: service %u: no flow is left, but %u slots in transition%s",
			   w->now, number, service.slots_in_transition,
			   want_line(w->dp, want)->old_ring ? " and the old ring" : "");
	for (unsigned i = 0; i < want->service.backends_count; i++) {
		dataplane_backend_stats(w->dp, &want->service, &want->backends[i].address, &stats);
		if (want->backends[i].usable && !want->backends[i].weight && !stats.drained)
			world_fail(w, "tick %u: backend %u: no flow is left, but it is not drained",
				   w->now, want_number(&want->backends[i]) % SEQUENCE_BACKENDS);
	}
}

/* Packets within a round make its counts inexact, until a round in which no flow begins or ends. */
static bool has_split_rounds(const struct sequence *s)
{
	for (unsigned i = 0; i < s->steps_count; i++)
		if (s->steps[i].kind == STEP_SWEEP)
			return true;
	return false;
}

/* After the last flow everything times out. Lone packets must not prevent that, unless the table or
 * the hash is too small to see that they are lone. With lone packets a slot may take two idle
 * timeouts. A resize may have waited for another, which waited for a change: three times that. */
static void settle_all(struct world *w)
{
	uint32_t idle = 0, ticks;

	for (unsigned i = 0; i < w->sequence->services; i++)
		idle = w->sequence->service[i].idle > idle ? w->sequence->service[i].idle : idle;
	ticks = 3 * (2 * idle + 4) + 2 * idle; /* affinity lasts for two idle timeouts */
	for (uint32_t i = 0; i < ticks && !w->failure[0]; i++) {
		w->dp->clock = ++w->now;
		if (world_acts(w, ACTOR_TRICKLE) && idle <= TRICKLE_IDLE &&
		    w->sequence->table != TABLE_TIGHT && !w->batch->narrow)
			world_trickle(w, w->sequence->seed + i, TRICKLE);
		if (i % 2 || idle <= TRICKLE_IDLE)
			sweep_round(w);
	}
	for (unsigned i = 0; i < w->sequence->services && !w->failure[0]; i++)
		check_settled(w, i);
	for (uint32_t i = 0; i < 2 && !w->failure[0]; i++) {
		w->dp->clock = w->now += 2 * idle + 4; /* the last lone packets time out, too */
		sweep_round(w);
		sweep_round(w);
	}
}

static void end(struct world *w)
{
	commit(w);
	for (unsigned i = 0; i < 6 && has_split_rounds(w->sequence); i++)
		sweep_round(w);
	for (unsigned i = 0; i < w->sequence->services && !w->failure[0]; i++)
		check_active(w, &w->want[i], false);
	world_end_flows(w, w->sequence->seed, true);
	settle_all(w);
	for (unsigned i = 0; i < w->sequence->services && !w->failure[0]; i++) {
		check_fronts(w);
		check_active(w, &w->want[i], true);
	}
}

void world_run(struct world *w, struct batch *batch, const struct sequence *s, FILE *trace,
	       unsigned traced)
{
	memset(w, 0, sizeof(*w));
	w->batch = batch;
	w->sequence = s;
	w->trace = trace;
	w->traced = traced;
	begin(w);
	for (unsigned i = 0; i < s->steps_count && !w->failure[0]; i++) {
		trace_step(w, i);
		carry_out(w, &s->steps[i]);
		if (!w->changed && w->dp)
			world_trace(w);
	}
	if (!w->failure[0])
		end(w);
	w->to_keepers = dataplane_event(w->batch->owner, LB_EVENT_keeper_packets);
	if (w->dp)
		dataplane_close(w->dp);
	w->dp = NULL;
}
