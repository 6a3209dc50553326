/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/weigh.c against a model: the balancer's own link is cut and returns, up to three
 * times, and a backend may die meanwhile. The checks of three backends go on as health.c schedules
 * them, on a clock of the test's own. A backend that lives is used at all times, and one that is
 * dead is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"

#define BACKENDS    3
#define CUTS        3
#define BEGIN_MS    100000ULL
#define INTERVAL_MS 1000
#define TIMEOUT_MS  700
#define TICK_MS     1000
#define NEVER       UINT64_MAX

/* ---- a trial ---- */

struct trial {
	uint32_t rise, fall;
	uint64_t phases[BACKENDS]; /* of the first probes */
	unsigned answer_ms;        /* of a probe that passes */
	unsigned cuts;
	uint64_t cut_ms[CUTS], mend_ms[CUTS]; /* since the begin */
	int dies;                             /* a backend; -1: none */
	uint64_t dies_ms;
};

/* What the model knows of a backend. */
struct truth {
	bool dead;
	uint64_t began_ms, ends_ms; /* the probe that runs, or ends_ms NEVER */
	uint64_t next_ms;
	bool will_pass, passes; /* the one that runs, and the last that ended */
	int hit_by;             /* the cut that makes it fail; -1: none */
	unsigned streak;
	/* The cuts that hit a probe, one bit each: since the backend was last up without doubt, and
	 * of these, since another one was back while its service is blind. */
	unsigned hits, again;
	bool given_up; /* excused, and not back since */
};

static struct model {
	const struct trial *trial;
	struct config_service config;
	struct service service;
	struct backend backends[BACKENDS], *list[BACKENDS];
	struct truth truths[BACKENDS];
	uint64_t now, tick_ms;
	uint32_t draw;
	unsigned used;      /* after the last weighing */
	uint64_t passed_ms; /* the last probe that did */
	uint64_t back_ms;   /* while blind: the first one; NEVER */
} model;

static char *describe(const struct trial *trial)
{
	static char text[512];
	int length = snprintf(
	    text, sizeof(text), "rise %u fall %u answer %u, phases %llu %llu %llu", trial->rise,
	    trial->fall, trial->answer_ms, (unsigned long long)trial->phases[0],
	    (unsigned long long)trial->phases[1], (unsigned long long)trial->phases[2]);

	for (unsigned i = 0; i < trial->cuts; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length,
				   ", cut %llu to %llu", (unsigned long long)trial->cut_ms[i],
				   (unsigned long long)trial->mend_ms[i]);
	if (trial->dies >= 0)
		snprintf(text + length, sizeof(text) - (size_t)length, ", %d dies at %llu",
			 trial->dies, (unsigned long long)trial->dies_ms);
	return text;
}

/* The cut that spoils something between these times; -1: none. */
static int cut_within(const struct trial *trial, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < trial->cuts; i++)
		if (from < BEGIN_MS + trial->mend_ms[i] && to >= BEGIN_MS + trial->cut_ms[i])
			return (int)i;
	return -1;
}

/* ---- probes, as health.c runs them ---- */

static void start_probe(struct truth *truth)
{
	uint64_t answered = model.now + model.trial->answer_ms;

	truth->hit_by = cut_within(model.trial, model.now, answered);
	truth->will_pass = truth->hit_by < 0 && !truth->dead;
	truth->began_ms = model.now;
	truth->ends_ms = truth->will_pass ? answered : model.now + TIMEOUT_MS;
	model.draw = model.draw * 1103515245 + 12345;
	truth->next_ms = model.now + INTERVAL_MS - (model.draw >> 16) % (INTERVAL_MS / 20 + 1);
}

static void end_probe(struct backend *backend, struct truth *truth)
{
	enum health_status says = truth->will_pass ? HEALTH_UP : HEALTH_DOWN;
	uint32_t needed = truth->will_pass ? model.trial->rise : model.trial->fall;

	truth->ends_ms = NEVER;
	truth->passes = truth->will_pass;
	if (truth->hit_by >= 0)
		truth->hits |= 1U << truth->hit_by;
	if (truth->hit_by >= 0 && truth->began_ms > model.back_ms)
		truth->again |= 1U << truth->hit_by;
	if (truth->passes)
		model.passed_ms = model.now;
	if (truth->passes && model.back_ms == NEVER)
		model.back_ms = model.now;
	backend_note_probe(backend, truth->passes, truth->began_ms, model.now);
	if (backend->health == says) {
		truth->streak = 0;
	} else if (++truth->streak >= needed) {
		backend->health = says;
		truth->streak = 0;
	}
	if (truth->passes && backend->health == HEALTH_UP)
		truth->hits = truth->again = 0;
}

/* ---- what must hold ---- */

static unsigned count_bits(unsigned bits)
{
	return (unsigned)__builtin_popcount(bits);
}

/* Bits: which backends packets are sent to. */
static unsigned used_now(void)
{
	unsigned used = 0;

	for (unsigned i = 0; i < BACKENDS; i++)
		used |= (unsigned)backend_usable(&model.backends[i]) << i;
	return used;
}

/* As many cuts as checks that must fail, each of which hit a check, look like a dead backend
 * (docs/config.md); while the service is blind, two of them since another one was back. The loss
 * of an only backend always counts: there is none that its flows could move to. */
static bool is_excused(unsigned i, bool was_blind)
{
	const struct truth *truth = &model.truths[i];

	if (model.used == 1U << i)
		return true;
	if (truth->passes) /* the last one to end: it is known to live */
		return false;
	return was_blind ? count_bits(truth->again) >= 2
			 : count_bits(truth->hits) >= model.trial->fall;
}

static void note_blind(bool was_blind)
{
	if (model.service.blind == was_blind)
		return;
	model.back_ms = model.passed_ms == model.now ? model.now : NEVER;
	for (unsigned i = 0; i < BACKENDS; i++)
		model.truths[i].again = 0;
}

static void check_used(unsigned i, bool was_blind)
{
	struct truth *truth = &model.truths[i];

	if (truth->dead || backend_usable(&model.backends[i]))
		truth->given_up = false;
	else if (!truth->given_up && !is_excused(i, was_blind))
		fail_msg("%s: backend %u lives, and is not used at %llu", describe(model.trial), i,
			 (unsigned long long)(model.now - BEGIN_MS));
	else
		truth->given_up = true;
}

static void weigh(void)
{
	bool was_blind = model.service.blind;

	service_weigh(&model.service, model.now, model.now);
	for (unsigned i = 0; i < BACKENDS; i++)
		check_used(i, was_blind);
	note_blind(was_blind);
	model.used = used_now();
}

/* After the link is back for good: the backends are known as they are. */
static uint64_t deadline(const struct trial *trial)
{
	uint64_t last = trial->dies >= 0 ? trial->dies_ms : 0;

	for (unsigned i = 0; i < trial->cuts; i++)
		if (trial->mend_ms[i] > last)
			last = trial->mend_ms[i];
	return BEGIN_MS + last + (trial->fall + trial->rise + 4ULL) * (INTERVAL_MS + TIMEOUT_MS) +
	       TICK_MS;
}

static void check_end(void)
{
	if (model.service.blind)
		fail_msg("%s: blind at the end", describe(model.trial));
	for (unsigned i = 0; i < BACKENDS; i++)
		if (backend_usable(&model.backends[i]) == model.truths[i].dead)
			fail_msg("%s: backend %u is %s, and is%s used at the end",
				 describe(model.trial), i, model.truths[i].dead ? "dead" : "alive",
				 model.truths[i].dead ? "" : " not");
}

/* ---- time ---- */

static void set_up(const struct trial *trial)
{
	memset(&model, 0, sizeof(model));
	model.trial = trial;
	model.config.name = "web";
	model.config.algorithm = algo_find("maglev");
	model.config.health = (struct health_spec){.type = "tcp",
						   .interval_ms = INTERVAL_MS,
						   .timeout_ms = TIMEOUT_MS,
						   .rise = trial->rise,
						   .fall = trial->fall};
	model.service = (struct service){
	    .config = &model.config, .backends = model.list, .backends_count = BACKENDS};
	model.now = BEGIN_MS;
	model.back_ms = NEVER;
	model.tick_ms = BEGIN_MS + TICK_MS / 3;
	for (unsigned i = 0; i < BACKENDS; i++) {
		model.list[i] = &model.backends[i];
		backend_drop_remarks(&model.backends[i]);
		model.backends[i] = (struct backend){.service = &model.service,
						     .weight = 100,
						     .health = HEALTH_UP,
						     .hop_known = true,
						     .has_hop = true,
						     .eligible = true,
						     .passed_ms = BEGIN_MS - 1,
						     .passed_began_ms = BEGIN_MS - 1};
		model.truths[i] =
		    (struct truth){.ends_ms = NEVER, .next_ms = BEGIN_MS + trial->phases[i]};
	}
	weigh();
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_event(void)
{
	uint64_t next = model.tick_ms;

	for (unsigned i = 0; i < BACKENDS; i++) {
		next = earlier(next, model.truths[i].ends_ms);
		if (model.truths[i].ends_ms == NEVER)
			next = earlier(next, model.truths[i].next_ms);
	}
	if (model.trial->dies >= 0 && !model.truths[model.trial->dies].dead)
		next = earlier(next, BEGIN_MS + model.trial->dies_ms);
	return next;
}

/* A change of a status is committed at once, and while blind there is a commit each second. */
static void step(void)
{
	bool touched = false;

	model.now = next_event();
	if (model.trial->dies >= 0 && model.now >= BEGIN_MS + model.trial->dies_ms)
		model.truths[model.trial->dies].dead = true;
	for (unsigned i = 0; i < BACKENDS; i++) {
		enum health_status before = model.backends[i].health;
		struct truth *truth = &model.truths[i];

		if (model.now >= truth->ends_ms)
			end_probe(&model.backends[i], truth);
		else if (truth->ends_ms == NEVER && model.now >= truth->next_ms)
			start_probe(truth);
		touched |= model.backends[i].health != before;
	}
	if (model.now >= model.tick_ms) {
		model.tick_ms += TICK_MS;
		touched |= model.service.blind;
	}
	if (touched)
		weigh();
}

static void run(const struct trial *trial)
{
	uint64_t until = deadline(trial);

	set_up(trial);
	while (model.now < until)
		step();
	weigh();
	check_end();
}

/* ---- all of them ---- */

static const uint64_t lengths[] = {150, 600, 1300, 2400, 4100};
#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static const uint64_t phases[][BACKENDS] = {{10, 340, 690}, {10, 60, 800}, {500, 520, 540}};

/* Cuts and the times between them, as the digits of `which` say. */
static void set_cuts(struct trial *trial, unsigned cuts, unsigned which, uint64_t first_ms)
{
	uint64_t at = first_ms;

	trial->cuts = cuts;
	for (unsigned i = 0; i < cuts; i++) {
		trial->cut_ms[i] = at;
		at += lengths[which % LENGTHS];
		which /= LENGTHS;
		trial->mend_ms[i] = at;
		at += lengths[which % LENGTHS];
		which /= LENGTHS;
	}
}

static unsigned ways(unsigned cuts)
{
	unsigned count = 1;

	for (unsigned i = 0; i < 2 * cuts - 1; i++)
		count *= LENGTHS;
	return count;
}

/* Nobody dies, or one does: before, during and after each cut. */
static void run_deaths(struct trial *trial)
{
	trial->dies = -1;
	run(trial);
	for (trial->dies = 0; trial->dies < BACKENDS; trial->dies++) {
		trial->dies_ms = 20;
		run(trial);
		for (unsigned i = 0; i < trial->cuts; i++) {
			trial->dies_ms = trial->cut_ms[i] + 70;
			run(trial);
			trial->dies_ms = trial->mend_ms[i] + 70;
			run(trial);
		}
	}
}

static void run_cuts(unsigned cuts, uint32_t fall, unsigned step_ms)
{
	struct trial trial = {.fall = fall};

	for (unsigned which = 0; which < ways(cuts); which++)
		for (uint64_t first = 2000; first < 3000; first += step_ms) {
			trial.rise = 1 + which % 3;
			trial.answer_ms = which % 2 ? 1 : 400;
			memcpy(trial.phases, phases[(which + first) % 3], sizeof(trial.phases));
			set_cuts(&trial, cuts, which, first);
			run_deaths(&trial);
		}
}

static void one_cut_moves_no_flow_of_a_backend_that_lives(void **unused)
{
	for (uint32_t fall = 2; fall <= 4; fall++)
		run_cuts(1, fall, 10);
}

static void two_cuts_move_no_flow_of_a_backend_that_lives(void **unused)
{
	for (uint32_t fall = 2; fall <= 4; fall++)
		run_cuts(2, fall, 50);
}

static void three_cuts_move_no_flow_of_a_backend_that_lives(void **unused)
{
	for (uint32_t fall = 2; fall <= 4; fall++)
		run_cuts(3, fall, 250);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_cut_moves_no_flow_of_a_backend_that_lives),
	    cmocka_unit_test(two_cuts_move_no_flow_of_a_backend_that_lives),
	    cmocka_unit_test(three_cuts_move_no_flow_of_a_backend_that_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
