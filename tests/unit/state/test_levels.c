/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/levels.c, and what weigh.c makes of it: priorities, zones and backups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/test_addr.h"
#include "support/test_registry.h"

#define NOW  1000000ULL
#define WALL 5000000ULL
#define PPM  (LEVEL_WHOLE / 100) /* of a percent */

/* ---- shares ---- */

/* Levels of 100 backends, of which so many are up. */
static void healthy(struct level *levels, unsigned count, const unsigned up[])
{
	for (unsigned i = 0; i < count; i++)
		levels[i] = (struct level){
		    .capacity = 100, .healthy = up[i], .count = 100, .up = up[i], .usable = 100};
}

/* The tables of Envoy's documentation ("Priority levels"), where percents are whole. */
LB_TEST(shares_are_those_of_envoys_tables)
{
	static const struct {
		unsigned levels, up[3], percent[3];
	} cases[] = {
	    {2, {100, 100}, {100, 0}},         {2, {72, 100}, {100, 0}},
	    {2, {71, 100}, {99, 1}},           {2, {50, 100}, {70, 30}},
	    {2, {25, 100}, {35, 65}},          {2, {0, 100}, {0, 100}},
	    {2, {72, 72}, {100, 0}},           {2, {71, 71}, {99, 1}},
	    {2, {50, 50}, {70, 30}},           {2, {25, 25}, {50, 50}},
	    {3, {100, 100, 100}, {100, 0, 0}}, {3, {72, 72, 100}, {100, 0, 0}},
	    {3, {71, 71, 100}, {99, 1, 0}},    {3, {50, 50, 100}, {70, 30, 0}},
	    {3, {25, 100, 100}, {35, 65, 0}},  {3, {25, 25, 100}, {35, 35, 30}},
	    {3, {25, 25, 20}, {36, 36, 29}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct level levels[3];

		healthy(levels, cases[i].levels, cases[i].up);
		levels_share(levels, cases[i].levels, 0);
		for (unsigned j = 0; j < cases[i].levels; j++)
			if ((levels[j].share + PPM / 2) / PPM != cases[i].percent[j])
				fail_msg("case %zu: level %u: %u, expected %u %%", i, j,
					 levels[j].share, cases[i].percent[j]);
	}
}

/* Its table "Panic threshold", with the default of 50 %. */
LB_TEST(a_level_panics_when_others_do_not_make_up_for_it)
{
	static const struct {
		unsigned threshold, levels, up[2];
		bool panic[2];
	} cases[] = {
	    {50, 2, {72, 100}, {false, false}},
	    {50, 2, {25, 100}, {false, false}},
	    {50, 2, {0, 100}, {false, false}},
	    {50, 2, {50, 60}, {false, false}},
	    {50, 2, {25, 25}, {true, true}},
	    {50, 2, {5, 65}, {true, false}},
	    {50, 2, {0, 25}, {false, true}}, /* what gets nothing is not in panic */
	    {50, 2, {0, 0}, {true, false}},
	    {0, 2, {0, 0}, {false, false}},
	    {0, 2, {5, 5}, {false, false}},
	    /* of one level the threshold alone decides, as ever */
	    {80, 1, {79, 0}, {true, false}},
	    {80, 1, {80, 0}, {false, false}},
	    {80, 2, {79, 100}, {false, false}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct level levels[2] = {0};

		healthy(levels, cases[i].levels, cases[i].up);
		levels_share(levels, 2, cases[i].threshold);
		for (unsigned j = 0; j < 2; j++)
			if (levels[j].panic != cases[i].panic[j])
				fail_msg("case %zu: level %u: panic %d", i, j, levels[j].panic);
	}
}

LB_TEST(where_all_are_dead_the_first_level_that_can_be_reached_is_used)
{
	struct level levels[3] = {{.capacity = 2, .count = 2},
				  {.capacity = 2, .count = 2, .usable = 1},
				  {.capacity = 2, .count = 2, .usable = 2}};

	levels_share(levels, 3, 50);
	assert_int_equal(levels[0].share, 0);
	assert_int_equal(levels[1].share, LEVEL_WHOLE);
	assert_true(levels[1].panic);
	levels[1].usable = levels[2].usable = 0;
	levels_share(levels, 3, 50);
	assert_int_equal(levels[0].share, LEVEL_WHOLE);
	levels_share(levels, 3, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(levels[i].share, 0);
}

LB_TEST(thirds_sum_up_to_the_whole)
{
	struct level levels[3];

	for (unsigned i = 0; i < 3; i++) /* 1.4 times 5 of 21 is a third */
		levels[i] = (struct level){.capacity = 21, .healthy = 5, .count = 21, .up = 5};
	levels_share(levels, 3, 50);
	for (unsigned i = 0; i < 3; i++)
		assert_false(levels[i].panic);
}

/* ---- a service, by its weights ---- */

#define MOST 40

struct scene {
	struct config_service config;
	struct service service;
	struct backend backends[MOST], *list[MOST];
};

static void scene_done(struct scene *scene)
{
	for (unsigned i = 0; i < MOST; i++)
		backend_drop_remarks(&scene->backends[i]);
}

#define _cleanup_scene_ __attribute__((cleanup(scene_done)))

static void scene_set(struct scene *scene, const char *algorithm)
{
	scene_done(scene);
	memset(scene, 0, sizeof(*scene));
	scene->config.name = "web";
	scene->config.algorithm = algo_find(algorithm);
	scene->config.panic_threshold = 50;
	scene->service.config = &scene->config;
	scene->service.backends = scene->list;
	scene->service.opened = true;
}

/* Adds one that is up. */
static struct backend *add(struct scene *scene, uint8_t priority, bool elsewhere, uint32_t weight)
{
	unsigned at = scene->service.backends_count++;
	struct backend *backend = &scene->backends[at];

	scene->list[at] = backend;
	*backend = (struct backend){.service = &scene->service,
				    .weight = weight,
				    .priority = priority,
				    .elsewhere = elsewhere,
				    .health = HEALTH_UP,
				    .hop_known = true,
				    .has_hop = true,
				    .was_reachable = true,
				    .eligible = true};
	return backend;
}

static void add_some(struct scene *scene, unsigned count, uint8_t priority, bool elsewhere)
{
	while (count--)
		add(scene, priority, elsewhere, 100);
}

/* Those from the index on are down, since long ago. */
static void down(struct scene *scene, unsigned from, unsigned count)
{
	for (unsigned i = from; i < from + count; i++) {
		scene->backends[i].health = HEALTH_DOWN;
		scene->backends[i].was_reachable = false;
	}
}

static void weigh(struct scene *scene)
{
	service_weigh(&scene->service, NOW, WALL);
}

/* The part of new flows that some backends get, in millionths. */
static uint64_t part(const struct scene *scene, unsigned from, unsigned count)
{
	uint64_t all = 0, own = 0;

	for (unsigned i = 0; i < scene->service.backends_count; i++) {
		all += scene->backends[i].effective_weight;
		if (i >= from && i < from + count)
			own += scene->backends[i].effective_weight;
	}
	return all ? own * LEVEL_WHOLE / all : 0;
}

#define assert_part(scene, from, count, percent) \
	check_part(part(scene, from, count), percent, __LINE__)

static void check_part(uint64_t found, double percent, int line)
{
	double off = (double)found - percent * PPM;

	if (off > PPM / 50.0 || off < -PPM / 50.0)
		fail_msg("line %d: %llu, expected %.2f %%", line, (unsigned long long)found,
			 percent);
}

/* Ten backends in the node's zone, and ten in others. */
LB_TEST(the_local_zone_takes_all_until_too_few_of_it_are_up)
{
	static const struct {
		unsigned dead;
		double percent;
	} cases[] = {{0, 100}, {2, 100}, {3, 98}, {5, 70}, {7, 42}, {9, 14}, {10, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_scene_ struct scene scene = {0};

		scene_set(&scene, "maglev");
		add_some(&scene, 10, 0, false);
		add_some(&scene, 10, 0, true);
		down(&scene, 0, cases[i].dead);
		weigh(&scene);
		assert_int_equal(scene.service.status,
				 cases[i].dead ? SERVICE_DEGRADED : SERVICE_UP);
		assert_part(&scene, 0, 10, cases[i].percent);
		for (unsigned j = 0; j < cases[i].dead; j++)
			assert_int_equal(scene.backends[j].effective_weight, 0);
		assert_int_equal(service_spill(&scene.service),
				 LEVEL_WHOLE - (uint32_t)(cases[i].percent * PPM + 0.5));
	}
}

/* An lbd took over while three of four local ones were down. */
LB_TEST(what_was_down_before_a_takeover_is_missed_until_its_first_check)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 4, 0, false);
	add_some(&scene, 4, 0, true);
	for (unsigned i = 1; i < 4; i++) {
		scene.backends[i].health = HEALTH_UNKNOWN;
		scene.backends[i].hop_known = scene.backends[i].has_hop = false;
		scene.backends[i].was_reachable = scene.backends[i].eligible = false;
		scene.backends[i].missed = true;
	}
	weigh(&scene);
	assert_part(&scene, 0, 1, 35);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	scene.backends[1].removed = true; /* what goes is not missed */
	weigh(&scene);
	assert_part(&scene, 0, 1, 46.6667);
	scene.backends[1].removed = false;
	down(&scene, 1, 3);
	weigh(&scene);
	assert_part(&scene, 0, 1, 35);
	for (unsigned i = 1; i < 4; i++) { /* as new as any other, if it is checked anew */
		assert_false(scene.backends[i].missed);
		scene.backends[i].health = HEALTH_UNKNOWN;
	}
	weigh(&scene);
	assert_part(&scene, 0, 1, 100);
}

LB_TEST(weights_stay_where_one_level_takes_all)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add(&scene, 0, false, 7);
	add(&scene, 0, false, 30);
	add(&scene, 1, false, 100);
	weigh(&scene);
	assert_int_equal(scene.backends[0].effective_weight, 7);
	assert_int_equal(scene.backends[1].effective_weight, 30);
	assert_int_equal(scene.backends[2].effective_weight, 0);
	assert_true(backend_usable(&scene.backends[2])); /* it keeps what it has */
}

/* 3 of 4 parts of the weight are left of the first: 1.4 times that is more than all. */
LB_TEST(health_goes_by_weights)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add(&scene, 0, false, 300);
	add(&scene, 0, false, 100);
	add(&scene, 1, false, 50);
	down(&scene, 1, 1);
	weigh(&scene);
	assert_part(&scene, 0, 1, 100);
	scene.backends[1].health = HEALTH_UP;
	down(&scene, 0, 1);
	weigh(&scene);
	assert_part(&scene, 1, 1, 35);
	assert_part(&scene, 2, 1, 65);
}

/* Round robin gives turns by these weights too. */
LB_TEST(algorithms_without_weights_count_backends)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "round-robin");
	add(&scene, 0, false, 300);
	add(&scene, 0, false, 1);
	add(&scene, 0, true, 5);
	down(&scene, 0, 1);
	weigh(&scene);
	assert_part(&scene, 1, 1, 70);
	assert_part(&scene, 2, 1, 30);
}

LB_TEST(all_zones_of_a_priority_come_before_the_next)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 4, 0, false);
	add_some(&scene, 4, 0, true);
	add_some(&scene, 4, 1, false);
	down(&scene, 0, 3); /* 1.4 times a quarter: 35 % */
	weigh(&scene);
	assert_part(&scene, 0, 4, 35);
	assert_part(&scene, 4, 4, 65);
	assert_part(&scene, 8, 4, 0);
	down(&scene, 4, 3);
	weigh(&scene);
	assert_part(&scene, 0, 4, 35);
	assert_part(&scene, 4, 4, 35);
	assert_part(&scene, 8, 4, 30);
	assert_false(scene.service.panic);
}

LB_TEST(backups_wait_until_nothing_else_is_up)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 4, 0, false);
	add_some(&scene, 2, 3, true);
	add_some(&scene, 1, 0, false);
	add_some(&scene, 1, 0, true);
	scene.backends[6].backup = scene.backends[7].backup = true;
	down(&scene, 0, 3);
	down(&scene, 4, 1);
	weigh(&scene);
	assert_part(&scene, 6, 2, 0);
	down(&scene, 0, 4);
	weigh(&scene);
	assert_part(&scene, 5, 1, 100);
	down(&scene, 4, 2);
	weigh(&scene);
	assert_int_equal(scene.service.status, SERVICE_BACKUP);
	assert_part(&scene, 6, 1, 100); /* of backups too the zone counts */
	down(&scene, 6, 1);
	weigh(&scene);
	assert_part(&scene, 7, 1, 100);
	assert_int_equal(service_spill(&scene.service), LEVEL_WHOLE);
}

LB_TEST(what_drains_and_what_is_maintained_is_missed_and_what_is_removed_is_not)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	scene.backends[0].drain = true;
	weigh(&scene);
	assert_part(&scene, 1, 1, 70);
	scene.backends[0].drain = false;
	scene.backends[0].admin = ADMIN_MAINTENANCE;
	weigh(&scene);
	assert_part(&scene, 1, 1, 70);
	scene.backends[0].admin = ADMIN_AUTO;
	scene.backends[0].removed = true;
	weigh(&scene);
	assert_part(&scene, 1, 1, 100);
	scene.backends[0].removed = false;
	scene.backends[0].weight = 0;
	weigh(&scene);
	assert_part(&scene, 1, 1, 100);
}

/* It has no results: nobody knows whether it is lost. */
LB_TEST(a_new_backend_does_not_make_its_level_spill)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	scene.backends[0].health = HEALTH_UNKNOWN;
	scene.backends[0].eligible = scene.backends[0].was_reachable = false;
	weigh(&scene);
	assert_part(&scene, 1, 1, 100);
}

/* Both shares go up together, so the one that was up is never above its part. */
LB_TEST(slow_start_brings_the_level_back_slowly)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	scene.config.slow_start_ms = 10000;
	scene.backends[0].eligible = false;
	weigh(&scene);
	assert_int_equal(scene.backends[0].condition, BACKEND_STARTING);
	assert_part(&scene, 0, 2, 73.5); /* 1.4 times 1.05 of 2 */
	assert_part(&scene, 0, 1, 3.5);
	service_weigh(&scene.service, NOW + 10000, WALL);
	assert_part(&scene, 0, 2, 100);
	assert_part(&scene, 0, 1, 50);
}

/* An agent divides what its level gets, and does not make it spill. */
LB_TEST(an_agents_percent_counts_within_its_level)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	backend_take_advice(&scene.backends[0], "up 25%");
	weigh(&scene);
	assert_part(&scene, 0, 2, 100);
	assert_part(&scene, 0, 1, 20);
	backend_take_advice(&scene.backends[0], "drain");
	weigh(&scene);
	assert_part(&scene, 1, 1, 70);
}

LB_TEST(panic_is_of_a_level)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	add_some(&scene, 10, 0, false);
	add_some(&scene, 10, 0, true);
	down(&scene, 0, 8);
	down(&scene, 10, 5);
	weigh(&scene); /* 28 % and 70 % */
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_int_equal(scene.backends[0].effective_weight, scene.backends[9].effective_weight);
	assert_int_not_equal(scene.backends[0].effective_weight, 0);
	assert_int_equal(scene.backends[10].effective_weight, 0);
	assert_true(backend_usable(&scene.backends[0]));
	assert_false(backend_usable(&scene.backends[10]));
	assert_part(&scene, 0, 10, 100 * 28 / 98.0);
}

/* A flap that takes the local zone below its half is held back, as the other zone has room. */
LB_TEST(one_that_flaps_is_held_back_where_other_levels_take_its_part)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, "maglev");
	scene.config.flap_damping_ms = 60000;
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	for (unsigned i = 0; i < 2; i++)
		scene.backends[i].damping = (struct damping){.losses = 9, .returned_ms = NOW - 1};
	weigh(&scene);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	assert_part(&scene, 2, 2, 100);
}

LB_TEST(a_frozen_ring_keeps_its_proportions)
{
	_cleanup_scene_ struct scene scene = {0};
	uint32_t before[4];

	scene_set(&scene, "maglev");
	scene.config.health = (struct health_spec){
	    .type = "tcp", .interval_ms = 2000, .timeout_ms = 1000, .rise = 2, .fall = 3};
	add_some(&scene, 2, 0, false);
	add_some(&scene, 2, 0, true);
	down(&scene, 0, 1);
	weigh(&scene);
	for (unsigned i = 0; i < 4; i++)
		before[i] = scene.backends[i].effective_weight;
	for (unsigned i = 1; i < 4; i++)
		scene.backends[i].health = HEALTH_DOWN;
	service_weigh(&scene.service, NOW + 1, WALL);
	assert_true(scene.service.blind);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(scene.backends[i].effective_weight, before[i]);
	/* 30 %, but for what rounding of weights makes of it */
	assert_in_range(service_spill(&scene.service), 30 * PPM - 100, 30 * PPM + 100);
	assert_false(scene.service.panic);
}

/* ---- random health ---- */

static uint32_t draw(uint32_t most)
{
	return (uint32_t)(random() % (most + 1));
}

/* As one would compute it by hand, with fractions of a double. */
static void model_shares(const struct scene *scene, double shares[LEVELS])
{
	double total = 0, rest = 1, scores[LEVELS] = {0};

	for (unsigned level = 0; level < LEVELS_PRIMARY; level++) {
		double all = 0, up = 0;

		for (unsigned i = 0; i < scene->service.backends_count; i++) {
			const struct backend *backend = &scene->backends[i];
			unsigned own = 2u * backend->priority + (backend->elsewhere ? 1 : 0);

			if (own != level || backend->backup)
				continue;
			all += backend->weight;
			up += backend->health == HEALTH_UP && !backend->drain ? backend->weight : 0;
		}
		scores[level] = all > 0 ? 1.4 * up / all : 0;
		scores[level] = scores[level] > 1 ? 1 : scores[level];
		total += scores[level];
	}
	for (unsigned level = 0; level < LEVELS; level++) {
		shares[level] = total > 1 ? scores[level] : total > 0 ? scores[level] / total : 0;
		shares[level] = shares[level] > rest ? rest : shares[level];
		rest -= shares[level];
	}
}

static void check_proportions(const struct scene *scene)
{
	double shares[LEVELS], sums[LEVELS] = {0}, all = 0, rounding = 0;
	uint32_t greatest = 0;

	model_shares(scene, shares);
	for (unsigned i = 0; i < scene->service.backends_count; i++) {
		const struct backend *backend = &scene->backends[i];

		sums[backend_level(backend)] += backend->effective_weight;
		all += backend->effective_weight;
		if (backend->effective_weight > greatest)
			greatest = backend->effective_weight;
		rounding += backend->effective_weight ? 0.5 : 0;
		assert_true(backend->health == HEALTH_UP || !backend->effective_weight);
	}
	if (all == 0)
		return;
	/* what is far below a weight of 1 has 1 */
	for (unsigned level = 0; level < LEVELS; level++)
		if (sums[level] / all > shares[level] + (rounding + MOST) / all + 1e-5 ||
		    sums[level] / all < shares[level] - (rounding + MOST) / all - 1e-5)
			fail_msg("level %u: %f, expected %f", level, sums[level] / all,
				 shares[level]);
	assert_true(greatest <= CONFIG_MAX_WEIGHT);
}

/* Whatever is up: the levels have the proportions that the model has, within a level those of the
 * weights, and nothing that is down gets a flow. */
LB_TEST(proportions_hold_for_any_health)
{
	srandom(13);
	for (unsigned trial = 0; trial < 20000; trial++) {
		unsigned count = 1 + draw(MOST - 1), priorities = draw(3), chance = draw(10);
		_cleanup_scene_ struct scene scene = {0};

		scene_set(&scene, "maglev");
		scene.config.panic_threshold = 0;
		for (unsigned i = 0; i < count; i++) {
			struct backend *backend =
			    add(&scene, (uint8_t)draw(priorities), draw(1), 1 + draw(300));

			backend->backup = !backend->priority && !draw(9);
			backend->drain = !draw(9);
			if (draw(10) < chance) {
				backend->health = HEALTH_DOWN;
				backend->was_reachable = false;
			}
		}
		weigh(&scene);
		if (!scene.service.backups_active)
			check_proportions(&scene);
		for (unsigned i = 0; i < count; i++)
			assert_true(!scene.backends[i].backup || scene.service.backups_active ||
				    !scene.backends[i].effective_weight);
	}
}

LB_TEST_MAIN("levels")
