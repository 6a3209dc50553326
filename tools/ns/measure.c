/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measures one scenario: rounds in which the candidates take turns, so that what slows the machine
 * slows them all. Verdicts and bytes are checked before and after; if they are wrong, the figure is
 * void. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/ns/ns.h"

#define BLOCKS 32 /* blocks of packets per round and candidate */
/* A group of rounds lasts so long that the kernel's ticks (100 a second) show what the neighbour
 * did. */
#define GROUP_MS     80
#define GROUP_ROUNDS 64 /* at most */
/* Per cent of its time that an idle neighbour may be busy */
#define IDLE_BUSY_SHARE 20
#define MISSED_SHARE    1000 /* one packet in so many may miss its entry */

struct samples {
	double *ns[NEIGHBOURS][CANDIDATES];
	unsigned count[NEIGHBOURS], room;
};

struct measurement {
	struct bench bench;
	struct samples samples;
	struct result *result;
	uint64_t sent, right; /* lbd's packets, and those with the right verdict */
};

/* ---- samples ---- */

static int samples_init(struct samples *samples, unsigned room)
{
	samples->room = room;
	for (int n = 0; n < NEIGHBOURS; n++)
		for (int i = 0; i < CANDIDATES; i++)
			if (!(samples->ns[n][i] = calloc(room, sizeof(double))))
				return -ENOMEM;
	return 0;
}

static void samples_done(struct samples *samples)
{
	for (int n = 0; n < NEIGHBOURS; n++)
		for (int i = 0; i < CANDIDATES; i++)
			free(samples->ns[n][i]);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void figures_take(struct samples *samples, enum neighbour n, struct figures *ret)
{
	unsigned count = samples->count[n];

	ret->blocks = count;
	for (int i = 0; i < CANDIDATES && count; i++) {
		double *ns = samples->ns[n][i];

		qsort(ns, count, sizeof(*ns), compare_double);
		ret->p10[i] = ns[count / 10] - (i ? ret->p10[HARNESS] : 0);
		ret->median[i] = ns[count / 2] - (i ? ret->median[HARNESS] : 0);
	}
}

/* ---- rounds ---- */

static int blocks_run(struct measurement *m, enum candidate candidate, double *ns)
{
	const struct bench *bench = &m->bench;
	bool passes = bench->scenario->not_vip && candidate == LBD;

	memset(bench->result, 0, sizeof(*bench->result));
	for (int i = 0; i < BLOCKS; i++) {
		if (block_run(bench, candidate))
			return -1;
		ns[i] = (double)bench->result->block_ns / BENCH_BLOCK_PACKETS;
	}
	if (candidate == LBD) {
		m->sent += BLOCKS * BENCH_BLOCK_PACKETS;
		m->right += bench->result->verdicts[passes ? 2 : 3];
	}
	return 0;
}

/* All candidates send the same flows. */
static int round_run(struct measurement *m, unsigned round, enum neighbour n)
{
	uint32_t start = m->bench.job->next;

	bench_tend(&m->bench);
	for (int i = 0; i < CANDIDATES; i++) {
		m->bench.job->next = start;
		if (blocks_run(m, i, m->samples.ns[n][i] + m->samples.count[n] + round * BLOCKS))
			return -1;
	}
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Moves the last `count` blocks to the samples of the other kind. */
static void samples_move(struct samples *samples, enum neighbour from, unsigned count)
{
	enum neighbour to = from == IDLE ? BUSY : IDLE;

	for (int i = 0; i < CANDIDATES; i++)
		memcpy(samples->ns[to][i] + samples->count[to],
		       samples->ns[from][i] + samples->count[from], count * sizeof(double));
	samples->count[to] += count;
}

/* Rounds for GROUP_MS. They count as measured with an idle neighbour only if it was idle. */
static int group_run(struct measurement *m, enum neighbour n)
{
	struct ticks before = neighbour_ticks(), after;
	uint64_t end = now_ms() + GROUP_MS;
	unsigned round = 0;

	do {
		if (round_run(m, round++, n))
			return -1;
	} while (now_ms() < end && round < GROUP_ROUNDS);
	after = neighbour_ticks();
	if (n == IDLE &&
	    (after.busy - before.busy) * 100 > (after.all - before.all) * IDLE_BUSY_SHARE)
		samples_move(&m->samples, IDLE, round * BLOCKS);
	else
		m->samples.count[n] += round * BLOCKS;
	return 0;
}

static int groups_run(struct measurement *m, const struct plan *plan)
{
	int rc = 0;

	for (unsigned i = 0; i < plan->rounds && !rc; i++)
		rc = group_run(m, IDLE);
	if (rc || !plan->busy || neighbour_occupy())
		return rc;
	for (unsigned i = 0; i < plan->rounds && !rc; i++)
		rc = group_run(m, BUSY);
	neighbour_leave();
	return rc;
}

/* ---- a scenario ---- */

/* The program's counters for the measurement: of a void figure, and with BENCH_EVENTS set. */
static void events_print(const struct lb_reason_count *before, const struct lb_reason_count *after)
{
	static const char *const names[] = {
#define X(name, outcome, help) #name,
	    LB_REASONS(X)
#undef X
#define X(name, help) #name,
		LB_EVENTS(X)
#undef X
	};

	for (int i = 0; i < LB_COUNTERS; i++)
		if (after[i].packets != before[i].packets)
			fprintf(stderr, "    %-20s %llu\n", names[i],
				(unsigned long long)(after[i].packets - before[i].packets));
}

/* If every flow was warmed up, packets find their entries: all but those of the few flows that
 * found no place in a table that is half full. */
static bool entries_found(const struct measurement *m, const struct lb_reason_count *before,
			  const struct lb_reason_count *after)
{
	static const int without[] = {LB_EVENT_flow_inserted, LB_EVENT_keeper_packets};
	uint64_t missed = 0;

	for (int i = 0; i < 2; i++)
		missed += after[without[i]].packets - before[without[i]].packets;
	return !m->bench.scenario->warm || missed <= m->sent / MISSED_SHARE;
}

static int measure(struct measurement *m, const struct plan *plan)
{
	const struct scenario *scenario = m->bench.scenario;
	struct lb_reason_count before[LB_COUNTERS], after[LB_COUNTERS];
	struct dp_memory memory;
	/* one that is translated has ended for the main program: tools/bench.bpf.c */
	int reason = scenario->not_vip      ? LB_REASON_not_vip
		     : scenario->reply      ? LB_REASON_returned_tx
		     : scenario->translated ? LB_REASON_untranslatable
					    : LB_REASON_forwarded_tx;
	bool right = bench_verify(&m->bench);

	m->sent = m->right = 0;
	dataplane_reason_counts(m->bench.dp, before);
	if (groups_run(m, plan))
		return -1;
	dataplane_reason_counts(m->bench.dp, after);
	right &= m->right == m->sent;
	right &= after[reason].packets - before[reason].packets == m->sent;
	right &= entries_found(m, before, after);
	if (!right || getenv("BENCH_EVENTS")) {
		fprintf(stderr, "%s: %llu packets sent, %llu with the right verdict\n",
			scenario->name, (unsigned long long)m->sent, (unsigned long long)m->right);
		events_print(before, after);
		dataplane_memory(m->bench.dp, &memory);
		fprintf(stderr, "    flow table: %llu entries, %llu places in use\n",
			(unsigned long long)memory.flow_entries,
			(unsigned long long)memory.flow_places);
	}
	m->result->verified &= right && bench_verify(&m->bench);
	m->result->instructions = program_verified(m->bench.one_lbd);
	return 0;
}

int scenario_run(const struct scenario *scenario, const char *object, const struct plan *plan,
		 struct result *ret)
{
	struct measurement m = {.bench = {.scenario = scenario, .object_path = object},
				.result = ret};
	/* all groups may count as measured with a busy neighbour */
	int rc = samples_init(&m.samples, plan->setups * plan->rounds * 2 * GROUP_ROUNDS * BLOCKS);

	*ret = (struct result){.verified = true};
	for (unsigned i = 0; i < plan->setups && !rc; i++) {
		rc = bench_open(&m.bench);
		if (!rc)
			rc = measure(&m, plan);
		bench_close(&m.bench);
	}
	ret->refused = m.bench.refused;
	for (int n = 0; n < NEIGHBOURS && !rc; n++)
		figures_take(&m.samples, n, &ret->of[n]);
	samples_done(&m.samples);
	return rc;
}
