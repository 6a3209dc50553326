/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/weigh.c and world.c: conditions and weights, and what a change keeps. Needs no
 * kernel feature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/state/internal.h"
#include "support/test_addr.h"

#define NOW  1000000ULL
#define WALL 5000000ULL

static struct health_spec tcp_check = {
    .type = "tcp", .interval_ms = 2000, .timeout_ms = 1000, .rise = 2, .fall = 3};

/* ---- a service of up to five backends, all up with weight 100 ---- */

struct scene {
	struct config_service config;
	struct service service;
	struct backend backends[5], *list[5];
};

static void scene_done(struct scene *scene)
{
	for (unsigned i = 0; i < 5; i++)
		backend_drop_remarks(&scene->backends[i]);
}

#define _cleanup_scene_ __attribute__((cleanup(scene_done)))

static void scene_set(struct scene *scene, unsigned count)
{
	scene_done(scene);
	memset(scene, 0, sizeof(*scene));
	scene->config.name = "web";
	scene->config.algorithm = algo_find("maglev");
	scene->service.config = &scene->config;
	scene->service.backends = scene->list;
	scene->service.backends_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct backend *backend = &scene->backends[i];

		scene->list[i] = backend;
		*backend = (struct backend){.service = &scene->service,
					    .weight = 100,
					    .health = HEALTH_UP,
					    .hop_known = true,
					    .has_hop = true,
					    .eligible = true};
	}
}

static void weigh(struct scene *scene, uint64_t now_ms)
{
	service_weigh(&scene->service, now_ms, WALL);
}

static void down(struct backend *backend)
{
	backend->health = HEALTH_DOWN;
	remark_set(&backend->health_why, "connect: refused");
}

static void healthy_backends_get_their_weight(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[1].weight = 7;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	assert_int_equal(scene.backends[1].effective_weight, 7);
	assert_int_equal(scene.service.status, SERVICE_UP);
	assert_int_equal(scene.service.up, 2);
}

static void backend_takes_no_traffic_before_its_first_probe(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[0].health = HEALTH_UNKNOWN;
	scene.backends[0].eligible = false;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_CHECKING);
	assert_int_equal(scene.backends[0].effective_weight, 0);
	assert_false(backend_usable(&scene.backends[0]));
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
}

static void backend_without_next_hop_says_why(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 1);
	scene.backends[0].has_hop = false;
	remark_set(&scene.backends[0].hop_why, "no route");
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_NO_NEXT_HOP);
	assert_string_equal(remark_text(scene.backends[0].why), "no route");
	assert_false(backend_usable(&scene.backends[0]));
	assert_int_equal(scene.service.status, SERVICE_DOWN);
}

static void a_service_that_is_down_says_why(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	weigh(&scene, NOW);
	assert_string_equal(service_why(&scene.service), "");
	assert_int_equal(service_others(&scene.service, &scene.backends[0].address), 0);
	scene.backends[1].address = test_addr("10.0.0.2");
	assert_int_equal(service_others(&scene.service, &scene.backends[0].address), 1);
	scene.backends[0].weight = scene.backends[1].weight = 0;
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
	assert_string_equal(service_why(&scene.service), "every backend that is up has weight 0");
	assert_int_equal(service_others(&scene.service, &scene.backends[0].address), 0);
	scene.backends[0].drain = scene.backends[1].drain = true;
	weigh(&scene, NOW);
	assert_string_equal(service_why(&scene.service),
			    "all its backends are draining or removed");
	scene_set(&scene, 1);
	scene.backends[0].has_hop = false;
	weigh(&scene, NOW);
	assert_string_equal(service_why(&scene.service), "no backend is up");
	scene_set(&scene, 0);
	weigh(&scene, NOW);
	assert_string_equal(service_why(&scene.service), "it has no backend");
}

static void down_backend_says_why_and_since_when(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 1);
	weigh(&scene, NOW);
	down(&scene.backends[0]);
	service_weigh(&scene.service, NOW, WALL + 5);
	service_weigh(&scene.service, NOW, WALL + 9);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_string_equal(remark_text(scene.backends[0].why), "connect: refused");
	assert_int_equal(scene.backends[0].since_ms, WALL + 5);
}

static void draining_backend_keeps_its_flows_and_gets_no_new_ones(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[0].drain = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	assert_int_equal(scene.backends[0].effective_weight, 0);
	assert_true(backend_usable(&scene.backends[0]));
	scene.backends[0].drained = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINED);
}

static void dead_backend_is_drained_at_once(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[0].drain = true;
	down(&scene.backends[0]);
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINED);
	assert_false(backend_usable(&scene.backends[0]));
}

/* ---- agents ---- */

static void an_agent_scales_the_weight_that_is_in_force(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	assert_true(backend_take_advice(&scene.backends[0], "up 50%"));
	assert_false(backend_take_advice(&scene.backends[0], "up 50%")); /* nothing is new */
	assert_false(backend_take_advice(&scene.backends[0], "up 50% #load 3.14"));
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 50);
	assert_int_equal(scene.backends[0].weight, 100);
	scene.backends[0].weight = 8; /* at run time: the agent's share holds for it too */
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 4);
	scene.backends[0].weight = 1;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 1);
	assert_true(backend_take_advice(&scene.backends[0], "1000%"));
	scene.backends[0].weight = 5000;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 10000);
	scene.backends[0].weight = 0; /* an operator's 0 stays 0 */
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 0);
}

static void an_agent_that_drains_leaves_flows_where_they_are(void **unused)
{
	static const char *const words[][2] = {{"drain", "ready"}, {"0%", "100%"}};

	for (unsigned i = 0; i < 2; i++) {
		_cleanup_scene_ struct scene scene = {0};

		scene_set(&scene, 2);
		backend_take_advice(&scene.backends[0], words[i][0]);
		weigh(&scene, NOW);
		assert_int_equal(scene.backends[0].effective_weight, 0);
		assert_true(backend_usable(&scene.backends[0]));
		assert_int_equal(scene.backends[0].condition, BACKEND_UP);
		assert_string_equal(remark_text(scene.backends[0].why),
				    i ? "its agent says: 0%" : "its agent says: drain");
		assert_int_equal(scene.service.status, SERVICE_UP);
		backend_take_advice(&scene.backends[0], words[i][1]);
		weigh(&scene, NOW);
		assert_int_equal(scene.backends[0].effective_weight, 100);
		assert_string_equal(remark_text(scene.backends[0].why), "");
	}
}

static void an_agent_takes_a_healthy_backend_out(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	weigh(&scene, NOW);
	backend_take_advice(&scene.backends[0], "down #disk full");
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_string_equal(remark_text(scene.backends[0].why), "its agent says: down: disk full");
	assert_false(backend_usable(&scene.backends[0]));
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	/* up ends down, and ready ends maint: neither ends the other */
	backend_take_advice(&scene.backends[0], "up maint");
	weigh(&scene, NOW);
	assert_string_equal(remark_text(scene.backends[0].why), "its agent says: maint");
	backend_take_advice(&scene.backends[0], "up");
	assert_true(scene.backends[0].agent.maint);
	backend_take_advice(&scene.backends[0], "ready");
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[0].effective_weight, 100);
}

static void an_agent_does_not_bring_back_what_its_check_finds_down(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	weigh(&scene, NOW);
	down(&scene.backends[0]);
	scene.backends[1].drain = true;
	backend_take_advice(&scene.backends[0], "up ready 100%");
	backend_take_advice(&scene.backends[1], "up ready 100%");
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_int_equal(scene.backends[1].effective_weight, 0);
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINING);
}

/* An agent was heard, so this host is not cut off. */
static void backends_that_their_agents_take_out_make_no_service_blind(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.panic_threshold = 100;
	weigh(&scene, NOW);
	for (unsigned i = 0; i < 3; i++)
		backend_take_advice(&scene.backends[i], i ? "maint" : "down");
	weigh(&scene, NOW + 1);
	assert_false(scene.service.blind);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(backend_usable(&scene.backends[i])); /* nor in a panic */
		assert_int_equal(scene.backends[i].effective_weight, 0);
	}
}

static void maintenance_takes_a_backend_out_and_its_service_does_not_miss_it(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	weigh(&scene, NOW);
	scene.backends[0].admin = ADMIN_MAINTENANCE;
	backend_take_advice(&scene.backends[0], "up ready 100%");
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_MAINTENANCE);
	assert_int_equal(scene.backends[0].effective_weight, 0);
	assert_false(backend_usable(&scene.backends[0]));
	assert_string_equal(remark_text(scene.backends[0].why),
			    "set to maintenance by an operator");
	assert_int_equal(scene.service.status, SERVICE_UP);
	/* what its check finds meanwhile is shown, and changes nothing */
	down(&scene.backends[0]);
	weigh(&scene, NOW + 1);
	assert_int_equal(scene.backends[0].condition, BACKEND_MAINTENANCE);
	assert_string_equal(remark_text(scene.backends[0].why),
			    "set to maintenance by an operator; its check fails: connect: refused");
	assert_false(scene.service.blind);
	scene.backends[0].admin = ADMIN_AUTO;
	weigh(&scene, NOW + 2);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_string_equal(remark_text(scene.backends[0].why), "connect: refused");
}

static void after_maintenance_a_healthy_backend_starts_slowly(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.slow_start_ms = 10000;
	scene.backends[0].admin = ADMIN_MAINTENANCE;
	weigh(&scene, NOW);
	scene.backends[0].admin = ADMIN_AUTO;
	weigh(&scene, NOW + 1);
	assert_int_equal(scene.backends[0].condition, BACKEND_STARTING);
	assert_int_equal(scene.backends[0].effective_weight, 5);
}

static void a_backend_that_is_set_down_is_missed(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	weigh(&scene, NOW);
	scene.backends[0].admin = ADMIN_DOWN;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_false(backend_usable(&scene.backends[0]));
	assert_string_equal(remark_text(scene.backends[0].why), "set to down by an operator");
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
}

static void a_backend_that_is_set_up_is_used_whatever_check_and_agent_say(void **unused)
{
	static const char *const words[] = {"down", "maint", "drain", "50%"};

	for (unsigned i = 0; i < 4; i++) {
		_cleanup_scene_ struct scene scene = {0};

		scene_set(&scene, 2);
		down(&scene.backends[0]);
		backend_take_advice(&scene.backends[0], words[i]);
		scene.backends[0].admin = ADMIN_UP;
		weigh(&scene, NOW);
		assert_int_equal(scene.backends[0].condition, BACKEND_UP);
		assert_int_equal(scene.backends[0].effective_weight, 100);
		assert_true(backend_usable(&scene.backends[0]));
		assert_string_equal(remark_text(scene.backends[0].why),
				    "set to up by an operator; its check fails: connect: refused");
		assert_int_equal(scene.service.status, SERVICE_UP);
		/* packets need a way all the same */
		scene.backends[0].has_hop = false;
		remark_set(&scene.backends[0].hop_why, "no route");
		weigh(&scene, NOW + 1);
		assert_int_equal(scene.backends[0].condition, BACKEND_NO_NEXT_HOP);
		assert_string_equal(remark_text(scene.backends[0].why), "no route");
	}
}

/* Before its first check has ended, too. */
static void a_backend_that_is_set_up_waits_for_no_check(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 1);
	scene.backends[0].health = HEALTH_UNKNOWN;
	scene.backends[0].eligible = false;
	scene.backends[0].admin = ADMIN_UP;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[0].effective_weight, 100);
}

static void backends_that_an_operator_takes_out_make_no_service_blind(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.panic_threshold = 100;
	weigh(&scene, NOW);
	for (unsigned i = 0; i < 3; i++)
		scene.backends[i].admin = i ? ADMIN_MAINTENANCE : ADMIN_DOWN;
	weigh(&scene, NOW + 1);
	assert_false(scene.service.blind);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(backend_usable(&scene.backends[i])); /* nor in a panic */
		assert_int_equal(scene.backends[i].effective_weight, 0);
	}
}

/* The ring is frozen, but not against an operator. */
static void a_backend_that_is_set_down_has_no_weight_while_its_service_is_blind(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.health = tcp_check;
	weigh(&scene, NOW);
	for (unsigned i = 0; i < 3; i++) {
		down(&scene.backends[i]);
		backend_note_probe(&scene.backends[i], false, NOW + 1, NOW + 2);
	}
	weigh(&scene, NOW + 3);
	assert_true(scene.service.blind);
	scene.backends[0].admin = ADMIN_DOWN;
	scene.backends[1].admin = ADMIN_MAINTENANCE;
	weigh(&scene, NOW + 4);
	assert_true(scene.service.blind);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(backend_usable(&scene.backends[i]));
		assert_int_equal(scene.backends[i].effective_weight, 0);
	}
	assert_int_equal(scene.backends[2].effective_weight, 100);
}

/* The checks of one that is set up fail for ever: they must not keep the ring frozen. */
static void a_backend_that_is_set_up_does_not_keep_its_service_blind(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.health = tcp_check;
	weigh(&scene, NOW);
	down(&scene.backends[0]);
	down(&scene.backends[1]);
	for (unsigned i = 0; i < 2; i++)
		backend_note_probe(&scene.backends[i], false, NOW + 1, NOW + 2);
	weigh(&scene, NOW + 3);
	assert_true(scene.service.blind);
	scene.backends[0].admin = scene.backends[1].admin = ADMIN_UP;
	weigh(&scene, NOW + 4);
	assert_false(scene.service.blind);
	assert_int_equal(scene.service.status, SERVICE_UP);
}

static void a_drain_is_shown_before_a_state(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[0].admin = ADMIN_UP;
	scene.backends[0].drain = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	assert_int_equal(scene.backends[0].effective_weight, 0);
	assert_true(backend_usable(&scene.backends[0]));
	assert_string_equal(remark_text(scene.backends[0].why), "");
	scene.backends[0].admin = ADMIN_MAINTENANCE; /* no flow is left to it */
	weigh(&scene, NOW + 1);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINED);
	assert_false(backend_usable(&scene.backends[0]));
}

static void an_agent_that_is_not_understood_changes_nothing(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 1);
	assert_false(backend_take_advice(&scene.backends[0], "sideways 50%"));
	assert_false(scene.backends[0].agent.heard);
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 100);
}

static void slow_start_goes_from_a_twentieth_to_all(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	struct backend *backend = &scene.backends[0];

	scene_set(&scene, 2);
	scene.config.slow_start_ms = 30000;
	backend->eligible = false;
	weigh(&scene, NOW);
	assert_int_equal(backend->condition, BACKEND_STARTING);
	assert_int_equal(backend->effective_weight, 5);
	assert_int_equal(scene.backends[1].effective_weight, 100);
	weigh(&scene, NOW + 15000);
	assert_int_equal(backend->effective_weight, 52);
	weigh(&scene, NOW + 29999);
	assert_int_equal(backend->effective_weight, 99);
	weigh(&scene, NOW + 30000);
	assert_int_equal(backend->effective_weight, 100);
	assert_int_equal(backend->condition, BACKEND_UP);
}

static void slow_start_begins_again_after_a_failure(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	struct backend *backend = &scene.backends[0];

	scene_set(&scene, 2);
	scene.config.slow_start_ms = 30000;
	backend->eligible = false;
	weigh(&scene, NOW);
	backend->health = HEALTH_DOWN;
	weigh(&scene, NOW + 20000);
	assert_int_equal(backend->effective_weight, 0);
	backend->health = HEALTH_UP;
	weigh(&scene, NOW + 25000);
	assert_int_equal(backend->effective_weight, 5);
}

static void slow_start_never_rounds_down_to_nothing(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 1);
	scene.config.slow_start_ms = 30000;
	scene.backends[0].eligible = false;
	scene.backends[0].weight = 1;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 1);
}

/* Equal except during a ramp: otherwise a backend that is back would get its full share at once. */
static void where_weights_are_ignored_backends_are_equal_and_still_start_slowly(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.algorithm = algo_find("round-robin");
	scene.config.slow_start_ms = 10000;
	scene.backends[0].weight = 1;
	scene.backends[1].weight = 0;
	scene.backends[2].weight = 1;
	scene.backends[2].eligible = false;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	assert_int_equal(scene.backends[1].effective_weight, 0);
	assert_int_equal(scene.backends[2].effective_weight, 5);
	weigh(&scene, NOW + 10000);
	assert_int_equal(scene.backends[2].effective_weight, 100);
}

static void first_start_has_no_slow_start(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.slow_start_ms = 30000;
	for (unsigned i = 0; i < 2; i++) {
		scene.backends[i].eligible = false;
		scene.backends[i].first_start = true;
	}
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	scene.backends[0].health = HEALTH_DOWN;
	weigh(&scene, NOW + 1000);
	scene.backends[0].health = HEALTH_UP;
	weigh(&scene, NOW + 2000);
	assert_int_equal(scene.backends[0].effective_weight, 5);
}

static void undrained_backend_starts_slowly(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.slow_start_ms = 10000;
	scene.backends[0].drain = true;
	weigh(&scene, NOW);
	scene.backends[0].drain = false;
	weigh(&scene, NOW + 60000);
	assert_int_equal(scene.backends[0].effective_weight, 5);
}

static void backups_serve_only_when_no_other_lives(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.backends[2].backup = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[2].effective_weight, 0);
	assert_int_equal(scene.service.status, SERVICE_UP);
	down(&scene.backends[0]);
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[2].effective_weight, 0);
	down(&scene.backends[1]);
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[2].effective_weight, 100);
	assert_int_equal(scene.service.status, SERVICE_BACKUP);
	scene.backends[1].health = HEALTH_UP;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[1].effective_weight, 100);
	assert_int_equal(scene.backends[2].effective_weight, 0);
	assert_true(backend_usable(&scene.backends[2])); /* for the flows it has */
}

static void drained_primaries_make_backups_serve(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.backends[0].drain = true;
	scene.backends[1].backup = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.backends[1].effective_weight, 100);
}

static void below_the_threshold_panic_uses_backends_that_are_down(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 4);
	scene.config.panic_threshold = 50;
	down(&scene.backends[0]);
	down(&scene.backends[1]);
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	assert_int_equal(scene.backends[0].effective_weight, 0);
	down(&scene.backends[2]);
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	assert_int_equal(scene.backends[3].effective_weight, 100);
	assert_true(backend_usable(&scene.backends[0]));
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
}

static void panic_leaves_out_unreachable_and_draining_backends(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 4);
	scene.config.panic_threshold = 90;
	for (unsigned i = 0; i < 3; i++)
		down(&scene.backends[i]);
	scene.backends[0].has_hop = false;
	scene.backends[1].drain = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_false(backend_usable(&scene.backends[0]));
	assert_false(backend_usable(&scene.backends[1])); /* it was drained, and not used, before */
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINED);
	assert_int_equal(scene.backends[1].effective_weight, 0);
	assert_int_equal(scene.backends[2].effective_weight, 100);
}

/* Three of them fail their checks, and all are used. */
static void set_panic(struct scene *scene, unsigned count)
{
	scene_set(scene, count);
	scene->config.panic_threshold = 50;
	for (unsigned i = 0; i < 3; i++)
		down(&scene->backends[i]);
	weigh(scene, NOW);
	assert_int_equal(scene->service.status, SERVICE_PANIC);
}

/* Its check may be what is wrong: it has flows like the others. */
static void a_drain_in_a_panic_waits_for_the_flows(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	struct backend *leaving = &scene.backends[1];

	set_panic(&scene, 4);
	leaving->drain = true;
	for (unsigned tick = 0; tick < 3; tick++) {
		weigh(&scene, NOW + 60000 * tick);
		assert_int_equal(leaving->effective_weight, 0);
		assert_true(backend_usable(leaving));
		assert_int_equal(leaving->condition, BACKEND_DRAINING);
	}
	leaving->drained = true; /* by the data plane's count */
	weigh(&scene, NOW + 200000);
	assert_int_equal(leaving->condition, BACKEND_DRAINED);
}

static void the_end_of_the_panic_is_the_end_of_that(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	set_panic(&scene, 4);
	scene.backends[1].drain = true;
	weigh(&scene, NOW);
	scene.backends[0].health = scene.backends[2].health = HEALTH_UP;
	weigh(&scene, NOW + 60000);
	assert_false(backend_usable(&scene.backends[1]));
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINED);
	scene.backends[0].health = scene.backends[2].health = HEALTH_DOWN;
	weigh(&scene, NOW + 120000); /* another one: it has no flows now */
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_false(backend_usable(&scene.backends[1]));
}

static void one_that_drains_when_its_check_fails_in_a_panic_keeps_its_flows(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	set_panic(&scene, 4);
	scene.backends[3].drain = true;
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_true(backend_usable(&scene.backends[3]));
	down(&scene.backends[3]);
	weigh(&scene, NOW + 60000);
	assert_int_equal(scene.service.blind, false);
	assert_true(backend_usable(&scene.backends[3]));
	assert_int_equal(scene.backends[3].condition, BACKEND_DRAINING);
	scene.backends[3].has_hop = false; /* no packet gets there */
	weigh(&scene, NOW + 120000);
	assert_false(backend_usable(&scene.backends[3]));
}

static void a_drain_does_not_end_the_panic_that_its_flows_live_by(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	set_panic(&scene, 5);
	scene.backends[1].drain = true; /* two of the other four are up */
	weigh(&scene, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_true(backend_usable(&scene.backends[1]));
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINING);
	assert_true(backend_usable(&scene.backends[2]));
	scene.backends[1].drained = true;
	weigh(&scene, NOW + 200000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
}

static void a_drain_of_all_in_a_panic_waits_for_the_flows(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 4);
	scene.config.panic_threshold = 50;
	scene.backends[3].drain = true;
	weigh(&scene, NOW);
	for (unsigned i = 0; i < 3; i++)
		down(&scene.backends[i]);
	weigh(&scene, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	for (unsigned i = 0; i < 3; i++) {
		scene.backends[i].drain = true;
		weigh(&scene, NOW + 2000 + 1000 * i);
	}
	down(&scene.backends[3]);
	weigh(&scene, NOW + 60000);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(backend_usable(&scene.backends[i]));
		assert_int_equal(scene.backends[i].condition, BACKEND_DRAINING);
	}
}

static void one_that_drains_and_is_the_first_to_be_lost_is_used_when_the_panic_begins(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 4);
	scene.config.health = tcp_check;
	scene.config.panic_threshold = 50;
	scene.backends[0].drain = true;
	for (unsigned i = 0; i < 4; i++)
		scene.backends[i].passed_ms = NOW;
	weigh(&scene, NOW);
	for (unsigned i = 0; i < 3; i++) {
		down(&scene.backends[i]);
		weigh(&scene, NOW + 500 * (i + 1));
	}
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	assert_true(backend_usable(&scene.backends[0]));
	weigh(&scene, NOW + 60000);
	assert_true(backend_usable(&scene.backends[0]));
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
}

static void no_panic_before_the_first_probes(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.panic_threshold = 50;
	for (unsigned i = 0; i < 3; i++) {
		scene.backends[i].health = HEALTH_UNKNOWN;
		scene.backends[i].eligible = false;
	}
	weigh(&scene, NOW);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
	assert_false(scene.service.panic);
}

/* ---- those that flap ---- */

#define LIMIT 320000 /* ms; the first span is 10 s */

static void flapping_scene(struct scene *scene, unsigned count)
{
	scene_set(scene, count);
	scene->config.health = tcp_check;
	scene->config.flap_damping_ms = LIMIT;
	weigh(scene, NOW);
}

/* Its check fails, which another's confirms, and a second later it passes. */
static void flap(struct scene *scene, struct backend *backend, uint64_t now_ms)
{
	struct backend *other = &scene->backends[backend == &scene->backends[0]];

	backend_note_probe(backend, false, now_ms - 30, now_ms - 29);
	backend_note_probe(other, true, now_ms - 20, now_ms - 19);
	backend_note_probe(backend, false, now_ms - 10, now_ms - 9);
	down(backend);
	weigh(scene, now_ms);
	assert_int_equal(backend->condition, BACKEND_DOWN);
	assert_false(scene->service.blind);
	backend_note_probe(backend, true, now_ms + 900, now_ms + 901);
	backend->health = HEALTH_UP;
	weigh(scene, now_ms + 1000);
}

static void one_loss_is_no_flap(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 3);
	flap(&scene, &scene.backends[0], NOW + 1000);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	/* nor is one that comes when the backend has been up for long */
	flap(&scene, &scene.backends[0], NOW + 2000 + LIMIT);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
}

static void a_backend_that_flaps_takes_no_new_flow_and_keeps_those_it_has(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	struct backend *backend = &scene.backends[0];

	flapping_scene(&scene, 3);
	flap(&scene, backend, NOW + 1000);
	flap(&scene, backend, NOW + 10000);
	assert_int_equal(backend->condition, BACKEND_DAMPED);
	assert_int_equal(backend->effective_weight, 0);
	assert_true(backend_usable(backend));
	assert_string_equal(remark_text(backend->why),
			    "lost again within 320s of its return: no new flow for "
			    "10s");
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	assert_int_equal(scene.service.up, 2);
	assert_false(backend_hold_is_over(backend, NOW + 11000 + 9999));
	assert_true(backend_hold_is_over(backend, NOW + 11000 + 10000));
	scene.config.slow_start_ms = 10000;
	weigh(&scene, NOW + 11000 + 10000);
	assert_int_equal(backend->condition, BACKEND_STARTING);
	assert_string_equal(remark_text(backend->why), "");
}

static void each_flap_doubles_the_time_up_to_the_limit(void **unused)
{
	static const unsigned spans_s[] = {0, 10, 20, 40, 80, 160, 320, 320};
	_cleanup_scene_ struct scene scene = {0};
	struct backend *backend = &scene.backends[0];
	uint64_t now = NOW + 1000;

	flapping_scene(&scene, 2);
	for (size_t i = 0; i < sizeof(spans_s) / sizeof(*spans_s); i++, now += 5000) {
		flap(&scene, backend, now);
		weigh(&scene, now + 1000 + 1000 * (spans_s[i] ? spans_s[i] - 1 : 0));
		assert_int_equal(backend->condition, i ? BACKEND_DAMPED : BACKEND_UP);
		if (i == 2)
			assert_string_equal(remark_text(backend->why),
					    "lost again 2 times, each within 320s of its return: "
					    "no new flow for 20s");
		weigh(&scene, now + 1000 + 1000 * spans_s[i]);
		assert_int_equal(backend->condition, BACKEND_UP);
	}
}

static void one_that_flaps_is_better_than_none(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 2);
	for (unsigned i = 0; i < 2; i++)
		flap(&scene, &scene.backends[0], NOW + 1000 + 5000 * i);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	scene.backends[1].drain = true;
	weigh(&scene, NOW + 8000);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[0].effective_weight, 100);
	scene.backends[1].drain = false;
	weigh(&scene, NOW + 8001);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	/* that it flaps is no reason of its drain */
	scene.backends[0].drain = true;
	weigh(&scene, NOW + 8002);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	assert_string_equal(remark_text(scene.backends[0].why), "");
	scene.backends[0].drain = false;
	/* and an operator knows better */
	scene.backends[0].admin = ADMIN_UP;
	weigh(&scene, NOW + 8003);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
}

/* In a panic dead ones would be used. */
static void one_that_flaps_is_better_than_a_panic(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 4);
	scene.config.panic_threshold = 50;
	for (unsigned i = 0; i < 2; i++)
		flap(&scene, &scene.backends[0], NOW + 1000 + 5000 * i);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	scene.backends[3].admin = ADMIN_DOWN;
	weigh(&scene, NOW + 8000);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	scene.backends[2].admin = ADMIN_DOWN; /* one of four were too few */
	weigh(&scene, NOW + 8001);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	/* where backups take over there is no panic */
	scene.backends[1].backup = true;
	weigh(&scene, NOW + 8002);
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
	assert_int_equal(scene.service.status, SERVICE_BACKUP);
}

static void without_the_key_nothing_is_damped(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 2);
	scene.config.flap_damping_ms = 0;
	for (unsigned i = 0; i < 5; i++)
		flap(&scene, &scene.backends[0], NOW + 1000 + 5000 * i);
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
}

/* It was this host's link, as far as is known. */
static void what_is_lost_with_all_others_does_not_flap(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 2);
	for (unsigned at = 0; at < 3; at++) {
		uint64_t now = NOW + 1000 + 10000 * at;

		for (unsigned i = 0; i < 2; i++) {
			backend_note_probe(&scene.backends[i], false, now, now + 1);
			down(&scene.backends[i]);
		}
		weigh(&scene, now + 2);
		assert_true(scene.service.blind);
		for (unsigned i = 0; i < 2; i++) {
			backend_note_probe(&scene.backends[i], true, now + 1000, now + 1001);
			scene.backends[i].health = HEALTH_UP;
		}
		weigh(&scene, now + 1001);
		assert_false(scene.service.blind);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(scene.backends[i].condition, BACKEND_UP);
			assert_int_equal(scene.backends[i].damping.losses, 0);
		}
	}
}

/* An operator or an agent that takes it out and back knows why. */
static void what_an_operator_takes_out_does_not_flap(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	flapping_scene(&scene, 2);
	for (unsigned i = 0; i < 6; i++) {
		scene.backends[0].admin = i % 2 ? ADMIN_AUTO : ADMIN_MAINTENANCE;
		weigh(&scene, NOW + 1000 * i);
	}
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
}

static void a_backend_whose_connects_fail_takes_no_new_flow_for_a_while(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	struct backend *backend = &scene.backends[0];

	flapping_scene(&scene, 2);
	scene.config.flap_damping_ms = 0;
	passive_take_out(&backend->passive, &(struct passive_sight){40, 30}, NOW);
	weigh(&scene, NOW);
	assert_int_equal(backend->condition, BACKEND_UP); /* its service does not look */
	scene.config.health.passive = 50;
	weigh(&scene, NOW);
	assert_int_equal(backend->condition, BACKEND_DAMPED);
	assert_int_equal(backend->effective_weight, 0);
	assert_true(backend_usable(backend)); /* for the flows it has */
	assert_string_equal(remark_text(backend->why),
			    "30 of 40 connects failed, as the traffic shows: no new "
			    "flow for a while");
	scene.backends[1].drain = true; /* better than none */
	weigh(&scene, NOW + 1);
	assert_int_equal(backend->condition, BACKEND_UP);
	scene.backends[1].drain = false;
	scene.config.slow_start_ms = 10000;
	weigh(&scene, NOW + 2);
	weigh(&scene, NOW + PASSIVE_SPAN_MS);
	assert_int_equal(backend->condition, BACKEND_STARTING);
}

/* ---- all backends lost at once: interval 2 s, timeout 1 s, rise 2 ---- */

static void blind_scene(struct scene *scene, unsigned count)
{
	scene_set(scene, count);
	scene->config.health = tcp_check;
	weigh(scene, NOW);
}

static void up(struct backend *backend)
{
	backend->health = HEALTH_UP;
	backend->has_hop = true;
}

static void lose(struct scene *scene, unsigned first, unsigned last, uint64_t now_ms)
{
	for (unsigned i = first; i <= last; i++)
		down(&scene->backends[i]);
	weigh(scene, now_ms);
}

static void expect_traffic(const struct backend *backend, bool usable, uint32_t weight)
{
	assert_int_equal(backend_usable(backend), usable);
	assert_int_equal(backend->effective_weight, weight);
}

static void when_all_are_lost_at_once_the_ring_is_frozen(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 3);
	scene.backends[1].weight = 7;
	weigh(&scene, NOW);
	lose(&scene, 0, 2, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	expect_traffic(&scene.backends[1], true, 7);
	expect_traffic(&scene.backends[2], true, 100);
	assert_int_equal(scene.service.up, 0);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
	assert_string_equal(remark_text(scene.backends[0].why), "connect: refused");
}

static void losses_of_one_interval_and_timeout_count_as_one(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 3);
	lose(&scene, 0, 0, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
	lose(&scene, 1, 1, NOW + 2000);
	lose(&scene, 2, 2, NOW + 4000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	for (unsigned i = 0; i < 3; i++)
		expect_traffic(&scene.backends[i], true, 100);
}

static void a_backend_lost_before_stays_down(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 3);
	lose(&scene, 0, 0, NOW + 1000);
	lose(&scene, 1, 2, NOW + 20000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], false, 0);
	expect_traffic(&scene.backends[1], true, 100);
	expect_traffic(&scene.backends[2], true, 100);
}

static void lost_next_hops_make_blind_as_failed_checks_do(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 2);
	scene.backends[0].has_hop = scene.backends[1].has_hop = false;
	weigh(&scene, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	assert_int_equal(scene.backends[0].condition, BACKEND_NO_NEXT_HOP);
}

static void the_loss_of_an_only_backend_counts(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 1);
	lose(&scene, 0, 0, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
	expect_traffic(&scene.backends[0], false, 0);
}

static void the_loss_of_the_last_of_many_counts(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 3);
	lose(&scene, 0, 0, NOW + 1000);
	lose(&scene, 1, 1, NOW + 11000);
	lose(&scene, 2, 2, NOW + 21000);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
	expect_traffic(&scene.backends[2], false, 0);
}

static void losses_count_while_one_backend_answers(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 4);
	lose(&scene, 0, 2, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
	expect_traffic(&scene.backends[3], true, 100);
}

static void a_first_start_without_any_backend_is_down_and_not_blind(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.health = tcp_check;
	for (unsigned i = 0; i < 2; i++)
		scene.backends[i].health = HEALTH_UNKNOWN, scene.backends[i].eligible = false;
	weigh(&scene, NOW);
	lose(&scene, 0, 1, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
}

static void the_first_that_answers_does_not_get_everything(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 3);
	lose(&scene, 0, 2, NOW + 1000);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[1], true, 100);
	up(&scene.backends[1]);
	weigh(&scene, NOW + 6000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	up(&scene.backends[2]);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_UP);
	expect_traffic(&scene.backends[1], true, 100);
}

static void after_blindness_there_is_no_slow_start(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.health = tcp_check;
	scene.config.slow_start_ms = 30000;
	weigh(&scene, NOW);
	lose(&scene, 0, 0, NOW + 1000);
	lose(&scene, 1, 1, NOW + 2000);
	up(&scene.backends[0]);
	up(&scene.backends[1]);
	weigh(&scene, NOW + 5000);
	assert_int_equal(scene.service.status, SERVICE_UP);
	expect_traffic(&scene.backends[0], true, 100);
	expect_traffic(&scene.backends[1], true, 100);
}

static void two_probes_that_fail_after_the_first_was_back_are_a_result(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 2);
	lose(&scene, 0, 1, NOW + 1000);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5000);
	backend_note_probe(&scene.backends[1], false, NOW + 4999, NOW + 5999);
	weigh(&scene, NOW + 5999);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	backend_note_probe(&scene.backends[1], false, NOW + 5001, NOW + 6001);
	weigh(&scene, NOW + 6001);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	backend_note_probe(&scene.backends[0], true, NOW + 6500, NOW + 6501);
	weigh(&scene, NOW + 6501);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	backend_note_probe(&scene.backends[1], false, NOW + 7001, NOW + 8001);
	weigh(&scene, NOW + 8001);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], true, 100);
	expect_traffic(&scene.backends[1], false, 0);
}

static void the_wait_for_the_others_has_an_end(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 2);
	lose(&scene, 0, 1, NOW + 1000);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5000);
	weigh(&scene, NOW + 5000 + 5999); /* 2 x 2 s + 1 s + 1 s */
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	weigh(&scene, NOW + 5000 + 6000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[1], false, 0);
}

static void losing_all_again_restarts_the_wait(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 2);
	lose(&scene, 0, 1, NOW + 1000);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5000);
	lose(&scene, 0, 0, NOW + 7000);
	weigh(&scene, NOW + 60000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	up(&scene.backends[1]);
	weigh(&scene, NOW + 61000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
}

static void while_blind_backups_are_not_used(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.health = tcp_check;
	scene.backends[2].backup = true;
	weigh(&scene, NOW);
	lose(&scene, 0, 1, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_BACKUP);
	lose(&scene, 2, 2, NOW + 2000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	assert_false(scene.service.backups_active);
	expect_traffic(&scene.backends[0], true, 100);
	expect_traffic(&scene.backends[1], true, 100);
	expect_traffic(&scene.backends[2], true, 0);
}

static void while_blind_there_is_no_panic(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 4);
	scene.config.health = tcp_check;
	scene.config.panic_threshold = 100;
	scene.backends[1].weight = 7;
	weigh(&scene, NOW);
	lose(&scene, 0, 3, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	assert_false(scene.service.panic);
	expect_traffic(&scene.backends[1], true, 7);
}

static void a_panic_goes_on_for_one_that_drains_when_blindness_ends(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 5);
	scene.config.health = tcp_check;
	scene.config.panic_threshold = 50;
	for (unsigned i = 0; i < 3; i++)
		down(&scene.backends[i]);
	weigh(&scene, NOW);
	scene.backends[1].drain = true;
	weigh(&scene, NOW + 1000);
	lose(&scene, 3, 4, NOW + 60000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	expect_traffic(&scene.backends[1], true, 0);
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINING);
	up(&scene.backends[3]);
	up(&scene.backends[4]);
	for (uint64_t now = NOW + 61000; scene.service.blind && now < NOW + 120000; now += 1000)
		weigh(&scene, now);
	assert_int_equal(scene.service.status, SERVICE_PANIC);
	expect_traffic(&scene.backends[1], true, 0);
	assert_int_equal(scene.backends[1].condition, BACKEND_DRAINING);
}

/* ---- an unconfirmed loss: probes of each backend end at known times ---- */

static void probed_scene(struct scene *scene, unsigned count)
{
	scene_set(scene, count);
	scene->config.health = tcp_check;
	for (unsigned i = 0; i < count; i++)
		scene->backends[i].passed_ms = NOW;
	weigh(scene, NOW);
}

/* It waits for its timeout. */
static void fails_once(struct backend *backend, uint64_t began_ms)
{
	backend_note_probe(backend, false, began_ms,
			   began_ms + backend->service->config->health.timeout_ms);
}

/* Two probes that fail, by when they began. */
static void fails(struct backend *backend, uint64_t first_ms, uint64_t last_ms)
{
	fails_once(backend, first_ms);
	fails_once(backend, last_ms);
	down(backend);
}

static void passes(struct backend *backend, uint64_t began_ms, uint64_t now_ms)
{
	backend_note_probe(backend, true, began_ms, now_ms);
}

static void a_loss_counts_when_another_has_answered_since(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails_once(&scene.backends[0], NOW + 2000);
	passes(&scene.backends[2], NOW + 2500 - 1, NOW + 2500);
	fails_once(&scene.backends[0], NOW + 6000);
	down(&scene.backends[0]);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
}

/* The first failed probe is due to one cut, the two after it to another: of three that must fail,
 * only two count. */
static void a_cut_counts_as_one_failed_probe(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails_once(&scene.backends[0], NOW + 2000);
	passes(&scene.backends[2], NOW + 3300, NOW + 3301);
	fails_once(&scene.backends[0], NOW + 4000);
	fails_once(&scene.backends[2], NOW + 5300);
	fails_once(&scene.backends[0], NOW + 6000);
	down(&scene.backends[0]);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
}

/* No probe of another one has ended since, in whatever way. */
static void a_loss_does_not_count_while_nothing_is_known_of_the_others(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 2);
	fails_once(&scene.backends[0], NOW + 2000);
	passes(&scene.backends[1], NOW + 3300, NOW + 3301);
	fails_once(&scene.backends[0], NOW + 4000);
	fails_once(&scene.backends[0], NOW + 6000);
	down(&scene.backends[0]);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
}

/* The other one answers slowly: none of its probes lies between two of the dead one's. */
static void a_loss_counts_also_where_the_answers_of_others_overlap_its_probes(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 2);
	passes(&scene.backends[1], NOW + 1500, NOW + 2400);
	fails_once(&scene.backends[0], NOW + 2000);
	passes(&scene.backends[1], NOW + 3500, NOW + 4400);
	fails_once(&scene.backends[0], NOW + 4000);
	passes(&scene.backends[1], NOW + 5500, NOW + 6400);
	fails_once(&scene.backends[0], NOW + 6000);
	down(&scene.backends[0]);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
}

static void a_loss_does_not_count_when_no_other_has_answered_since(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	weigh(&scene, NOW + 6000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	for (unsigned i = 0; i < 3; i++)
		expect_traffic(&scene.backends[i], true, 100);
	assert_int_equal(scene.backends[0].condition, BACKEND_DOWN);
}

/* The link came back while the last probe of the loss was under way. */
static void a_loss_does_not_count_when_the_others_answer_only_after_its_last_probe_began(
    void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	passes(&scene.backends[2], NOW + 6100, NOW + 6101);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
}

/* The link went away while it was under way, and its answer was faster. */
static void a_probe_that_began_before_the_first_failure_confirms_no_loss(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	passes(&scene.backends[2], NOW + 1999, NOW + 2001);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
}

/* The first failure is known only at its timeout; others have answered by then. */
static void a_loss_may_be_confirmed_before_the_first_failure_is_known(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	passes(&scene.backends[2], NOW + 2100, NOW + 2101);
	fails(&scene.backends[0], NOW + 2000, NOW + 4000);
	weigh(&scene, NOW + 5000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
}

/* Neighbours fail before checks where more of these must fail. */
static void a_next_hop_lost_while_no_other_answered_does_not_count(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	passes(&scene.backends[2], NOW + 1000, NOW + 1001);
	scene.backends[0].has_hop = false;
	weigh(&scene, NOW + 1001 + 3101); /* 2 s + 1 s + 0.1 s, and it is too long ago */
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
}

static void a_next_hop_lost_while_another_answered_counts(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	passes(&scene.backends[2], NOW + 2000, NOW + 2001);
	scene.backends[0].has_hop = false;
	weigh(&scene, NOW + 4000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
}

static void once_the_others_answer_the_lost_one_is_given_time_to_rise(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 2);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	weigh(&scene, NOW + 6000);
	passes(&scene.backends[1], NOW + 6500 - 1, NOW + 6500);
	weigh(&scene, NOW + 6500);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	passes(&scene.backends[0], NOW + 8500 - 1, NOW + 8500);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 8500);
	assert_int_equal(scene.service.status, SERVICE_UP);
}

static void once_the_others_answer_the_lost_one_that_fails_again_is_down(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 2);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	weigh(&scene, NOW + 6000);
	passes(&scene.backends[1], NOW + 6500 - 1, NOW + 6500);
	weigh(&scene, NOW + 6500);
	fails_once(&scene.backends[0], NOW + 7000);
	passes(&scene.backends[1], NOW + 8500 - 1, NOW + 8500);
	weigh(&scene, NOW + 8500);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	fails_once(&scene.backends[0], NOW + 9000);
	weigh(&scene, NOW + 10000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	expect_traffic(&scene.backends[0], false, 0);
}

/* The others have passed since, and no commit was made of it yet. */
static void a_link_that_fails_again_before_the_ring_is_open_keeps_it_frozen(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails(&scene.backends[0], NOW + 2000, NOW + 3000);
	weigh(&scene, NOW + 4000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	passes(&scene.backends[0], NOW + 5000, NOW + 5001);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5001);
	passes(&scene.backends[1], NOW + 5002, NOW + 5003);
	passes(&scene.backends[2], NOW + 5002, NOW + 5003);
	fails(&scene.backends[0], NOW + 5100, NOW + 5500);
	weigh(&scene, NOW + 6500);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 100);
	for (unsigned i = 0; i < 3; i++)
		passes(&scene.backends[i], NOW + 7000, NOW + 7001);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 7001);
	assert_int_equal(scene.service.status, SERVICE_UP);
}

/* One failure takes it down: the others may not have been probed since. */
/* Only some are back when the link fails again: those that are not did not get a chance. */
static void a_link_that_fails_again_while_only_some_are_back_keeps_the_ring_frozen(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 3);
	fails(&scene.backends[0], NOW + 2000, NOW + 3000);
	fails(&scene.backends[1], NOW + 2000, NOW + 3000);
	fails(&scene.backends[2], NOW + 2000, NOW + 3000);
	weigh(&scene, NOW + 4000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	passes(&scene.backends[0], NOW + 5000, NOW + 5001);
	up(&scene.backends[0]);
	weigh(&scene, NOW + 5001);
	for (unsigned at = 6000; at < 20000; at += 2000) { /* and stays away */
		fails_once(&scene.backends[1], NOW + at);
		fails_once(&scene.backends[2], NOW + at);
		weigh(&scene, NOW + at + 1000);
		assert_int_equal(scene.service.status, SERVICE_BLIND);
		expect_traffic(&scene.backends[1], true, 100);
		fails_once(&scene.backends[0], NOW + at + 1000);
	}
}

/* One that passes and fails in turn keeps no other from being decided. */
static void one_that_fails_again_and_again_ends_the_wait(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};
	unsigned at;

	probed_scene(&scene, 2);
	fails(&scene.backends[0], NOW + 2000, NOW + 6000);
	weigh(&scene, NOW + 7000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	for (at = 8000; scene.service.blind && at < 30000; at += 2000) {
		passes(&scene.backends[1], NOW + at, NOW + at + 1);
		weigh(&scene, NOW + at + 1);
		backend_note_probe(&scene.backends[0], at % 4000, NOW + at + 500, NOW + at + 600);
		weigh(&scene, NOW + at + 600);
	}
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
	assert_in_range(at, 10000, 18000);
}

static void with_fall_1_a_passed_probe_in_the_last_interval_confirms_a_loss(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	probed_scene(&scene, 2);
	scene.config.health.fall = 1;
	passes(&scene.backends[1], NOW + 500 - 1, NOW + 500);
	fails(&scene.backends[0], NOW + 2000, NOW + 2000);
	weigh(&scene, NOW + 3000);
	assert_int_equal(scene.service.status, SERVICE_DEGRADED);
}

static void while_blind_a_draining_backend_stays(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.health = tcp_check;
	scene.backends[0].removed = true;
	weigh(&scene, NOW);
	lose(&scene, 0, 0, NOW + 1000);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	lose(&scene, 1, 2, NOW + 2000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	expect_traffic(&scene.backends[0], true, 0);
	weigh(&scene, NOW + 60000);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
}

static void a_draining_backend_lost_alone_is_drained_an_interval_later(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 3);
	scene.config.health = tcp_check;
	scene.backends[0].removed = true;
	weigh(&scene, NOW);
	lose(&scene, 0, 0, NOW + 1000);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINING);
	weigh(&scene, NOW + 1000 + service_loss_window_ms(&scene.service) + 1);
	assert_int_equal(scene.backends[0].condition, BACKEND_DRAINED);
}

static void stopping_a_drained_host_is_no_loss(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	scene_set(&scene, 2);
	scene.config.health = tcp_check;
	scene.backends[0].drain = scene.backends[0].drained = true;
	weigh(&scene, NOW);
	lose(&scene, 0, 1, NOW + 1000);
	assert_int_equal(scene.service.status, SERVICE_DOWN);
}

static void a_backend_that_is_drained_while_its_service_is_blind_takes_no_new_flow(void **unused)
{
	_cleanup_scene_ struct scene scene = {0};

	blind_scene(&scene, 2);
	lose(&scene, 0, 1, NOW + 1000);
	scene.backends[0].drain = true;
	weigh(&scene, NOW + 2000);
	assert_int_equal(scene.service.status, SERVICE_BLIND);
	expect_traffic(&scene.backends[0], true, 0);
	expect_traffic(&scene.backends[1], true, 100);
}

static void latency_rises_at_once_and_falls_by_half_in_five_seconds(void **unused)
{
	assert_int_equal(latency_peak_ewma(0, 400, 0), 400);
	assert_int_equal(latency_peak_ewma(1000, 100000, 1), 100000);
	assert_int_equal(latency_peak_ewma(101000, 1000, 5000), 51000);
	assert_int_equal(latency_peak_ewma(101000, 1000, 10000), 26000);
	assert_int_equal(latency_peak_ewma(101000, 1000, 0), 101000);
	assert_in_range(latency_peak_ewma(101000, 1000, 2500), 71000, 72500); /* 2^-0.5 = 0.707 */
	assert_int_equal(latency_peak_ewma(101000, 1000, 3600000), 1000);
	assert_in_range(latency_peak_ewma(UINT32_MAX, 0, 1), UINT32_MAX / 10000 * 9998,
			UINT32_MAX / 10000 * 9999);
}

/* Probes come each 250 ms or each two seconds: the half-life is the same. */
static void latency_falls_at_the_same_rate_however_often_it_is_measured(void **unused)
{
	static const unsigned interval_ms[] = {100, 250, 500, 1000, 2000, 2500};

	for (size_t i = 0; i < sizeof(interval_ms) / sizeof(*interval_ms); i++) {
		uint32_t average_us = 101000;

		for (unsigned at = 0; at < 10000; at += interval_ms[i])
			average_us = latency_peak_ewma(average_us, 1000, interval_ms[i]);
		assert_in_range(average_us, 25000, 27000);
	}
}

/* ---- worlds ---- */

struct worlds {
	struct state state;
	struct config config;
	struct config_service service;
	struct config_backend backends[3];
	struct overrides overrides;
	struct world present;
};

static void worlds_set(struct worlds *worlds)
{
	memset(worlds, 0, sizeof(*worlds));
	worlds->service = (struct config_service){.name = "web",
						  .vip = test_addr("192.0.2.10"),
						  .protocol = CONFIG_TCP,
						  .port = 80,
						  .health = tcp_check,
						  .backends = worlds->backends,
						  .backends_count = 3};
	worlds->config.services = &worlds->service;
	worlds->config.services_count = 1;
	for (unsigned i = 0; i < 3; i++)
		worlds->backends[i] = (struct config_backend){.weight = 100};
	worlds->backends[0].address = test_addr("10.0.0.1");
	worlds->backends[1].address = test_addr("10.0.0.2");
	worlds->backends[2].address = test_addr("2001:db8::3");
}

static struct world build(struct worlds *worlds, const struct world *present)
{
	struct world world;

	assert_int_equal(
	    world_build(&worlds->state, &worlds->config, &worlds->overrides, present, &world), 0);
	return world;
}

static struct backend *find(const struct world *world, const char *text)
{
	struct addr addr = test_addr(text);

	return service_find_backend(world->services[0], &addr);
}

static void make_up(struct world *world)
{
	for (unsigned i = 0; i < world->services[0]->backends_count; i++) {
		struct backend *backend = world->services[0]->backends[i];

		backend->health = HEALTH_UP;
		backend->has_hop = backend->hop_known = backend->hop_found = true;
		backend->eligible = true;
	}
}

static void overrides_apply_over_the_file(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, world;
	struct addr one = test_addr("10.0.0.1"), two = test_addr("10.0.0.2"),
		    nine = test_addr("10.0.0.9");
	struct override *entry;

	worlds_set(&worlds);
	entry = overrides_get(&worlds.overrides, "web", &one);
	entry->has_weight = true;
	entry->weight = 7;
	entry->drain = true;
	overrides_get(&worlds.overrides, "web", &two)->removed = true;
	entry = overrides_get(&worlds.overrides, "web", &nine);
	entry->added = entry->has_weight = true;
	entry->weight = 3;
	world = build(&worlds, &none);
	assert_int_equal(world.services[0]->backends_count, 3);
	assert_int_equal(find(&world, "10.0.0.1")->weight, 7);
	assert_true(find(&world, "10.0.0.1")->drain);
	assert_int_equal(find(&world, "10.0.0.1")->origin, ORIGIN_config);
	assert_int_equal(find(&world, "10.0.0.9")->origin, ORIGIN_runtime);
	assert_null(find(&world, "10.0.0.2"));
	assert_int_equal(find(&world, "10.0.0.9")->weight, 3);
	world_free(&world);
	overrides_done(&worlds.overrides);
}

/* As those of `backends-from`, which come later than the service. */
static void a_service_without_backends_opens_with_the_results_of_its_first_ones(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, empty, world, next;

	worlds_set(&worlds);
	worlds.service.backends_count = 0;
	empty = build(&worlds, &none);
	service_weigh(empty.services[0], NOW, WALL);
	assert_true(empty.services[0]->opened);
	worlds.service.backends_count = 3;
	world = build(&worlds, &empty);
	assert_false(world.services[0]->opened);
	assert_true(world.services[0]->opens_ms > clock_monotonic_ms());
	world.services[0]->opened = true;
	next = build(&worlds, &world);
	assert_true(next.services[0]->opened);
	world_free(&next);
	world_free(&world);
	world_free(&empty);
}

static void the_file_can_drain_and_a_run_time_change_can_end_that(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next, last;
	struct addr one = test_addr("10.0.0.1");

	worlds_set(&worlds);
	worlds.backends[0].drain = true;
	present = build(&worlds, &none);
	assert_true(find(&present, "10.0.0.1")->drain);
	assert_false(find(&present, "10.0.0.2")->drain);
	find(&present, "10.0.0.1")->drain_ms = 5;
	next = build(&worlds, &present);
	assert_int_equal(find(&next, "10.0.0.1")->drain_ms, 5); /* it is the same drain */
	overrides_get(&worlds.overrides, "web", &one)->undrain = true;
	last = build(&worlds, &next);
	assert_false(find(&last, "10.0.0.1")->drain);
	world_free(&last);
	world_free(&next);
	world_free(&present);
	overrides_done(&worlds.overrides);
}

static void backends_keep_their_state(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;
	struct latency_sum latencies = {0};
	struct backend *backend;

	worlds_set(&worlds);
	present = build(&worlds, &none);
	make_up(&present);
	backend = find(&present, "10.0.0.1");
	backend->latency_us = 1234;
	backend->since_ms = 99;
	latencies_add(&backend->latencies, 1000, 1234);
	backend->passed = 5;
	backend->failed = 6;
	backend->losses = 7;
	worlds.backends[0].weight = 5;
	next = build(&worlds, &present);
	backend = find(&next, "10.0.0.1");
	assert_int_equal(backend->weight, 5);
	assert_int_equal(backend->health, HEALTH_UP);
	assert_true(backend->has_hop);
	assert_true(backend->eligible);
	assert_int_equal(backend->latency_us, 1234);
	assert_int_equal(backend->since_ms, 99);
	latencies_sum(&backend->latencies, 1000, &latencies);
	assert_int_equal(latencies.total, 1);
	assert_int_equal(backend->passed, 5);
	assert_int_equal(backend->failed, 6);
	assert_int_equal(backend->losses, 7);
	assert_ptr_equal(backend->former, find(&present, "10.0.0.1"));
	world_free(&next);
	world_free(&present);
}

static void removed_backend_drains_before_it_goes(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next, last;

	worlds_set(&worlds);
	present = build(&worlds, &none);
	make_up(&present);
	worlds.service.backends_count = 2; /* the third is no longer in the file */
	next = build(&worlds, &present);
	assert_int_equal(next.services[0]->backends_count, 3);
	assert_true(find(&next, "2001:db8::3")->removed);
	assert_false(find(&next, "2001:db8::3")->drain);
	find(&next, "2001:db8::3")->drained = true;
	last = build(&worlds, &next);
	assert_int_equal(last.services[0]->backends_count, 2);
	world_free(&last);
	world_free(&next);
	world_free(&present);
}

static void a_dead_backend_or_one_removed_now_goes_at_once(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;

	worlds_set(&worlds);
	present = build(&worlds, &none);
	make_up(&present);
	find(&present, "10.0.0.2")->health = HEALTH_DOWN;
	find(&present, "2001:db8::3")->removed_now = true;
	worlds.service.backends_count = 1;
	next = build(&worlds, &present);
	assert_int_equal(next.services[0]->backends_count, 1);
	world_free(&next);
	world_free(&present);
}

/* One that is not used has no flow to wait for, and one that is used against its check has. */
static void a_removed_backend_has_flows_if_an_operator_lets_it(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;

	worlds_set(&worlds);
	worlds.service.algorithm = algo_find("maglev");
	present = build(&worlds, &none);
	make_up(&present);
	find(&present, "10.0.0.2")->admin = ADMIN_MAINTENANCE;
	find(&present, "2001:db8::3")->admin = ADMIN_UP;
	find(&present, "2001:db8::3")->health = HEALTH_DOWN;
	worlds.service.backends_count = 1;
	find(&present, "10.0.0.1")->damping.losses = 3;
	next = build(&worlds, &present);
	assert_int_equal(find(&next, "10.0.0.1")->damping.losses, 3); /* they are not forgotten */
	assert_int_equal(next.services[0]->backends_count, 2);
	next.services[0]->opened = true;
	service_weigh(next.services[0], NOW, WALL);
	assert_int_equal(find(&next, "2001:db8::3")->condition, BACKEND_DRAINING);
	assert_true(backend_usable(find(&next, "2001:db8::3")));
	world_free(&next);
	world_free(&present);
}

static void a_backend_that_is_removed_in_a_panic_drains_before_it_goes(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;

	worlds_set(&worlds);
	worlds.service.algorithm = algo_find("maglev");
	worlds.service.panic_threshold = 100;
	present = build(&worlds, &none);
	make_up(&present);
	find(&present, "10.0.0.2")->health = HEALTH_DOWN;
	find(&present, "2001:db8::3")->health = HEALTH_DOWN;
	present.services[0]->opened = true;
	service_weigh(present.services[0], NOW, WALL);
	assert_true(backend_usable(find(&present, "2001:db8::3")));
	worlds.service.backends_count = 2;
	next = build(&worlds, &present);
	assert_int_equal(next.services[0]->backends_count, 3);
	service_weigh(next.services[0], NOW, WALL);
	assert_int_equal(find(&next, "2001:db8::3")->condition, BACKEND_DRAINING);
	assert_int_equal(find(&next, "2001:db8::3")->effective_weight, 0);
	assert_true(backend_usable(find(&next, "2001:db8::3")));
	world_free(&next);
	world_free(&present);
}

static void a_state_that_is_set_comes_from_the_run_time_changes(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;
	struct addr one = test_addr("10.0.0.1"), nine = test_addr("10.0.0.9");
	struct override *added;

	worlds_set(&worlds);
	overrides_get(&worlds.overrides, "web", &one)->admin = ADMIN_DOWN;
	added = overrides_get(&worlds.overrides, "web", &nine);
	added->added = added->has_weight = true;
	added->admin = ADMIN_UP;
	present = build(&worlds, &none);
	assert_int_equal(find(&present, "10.0.0.1")->admin, ADMIN_DOWN);
	assert_int_equal(find(&present, "10.0.0.2")->admin, ADMIN_AUTO);
	assert_int_equal(find(&present, "10.0.0.9")->admin, ADMIN_UP);
	overrides_find(&worlds.overrides, "web", &one)->admin = ADMIN_AUTO;
	next = build(&worlds, &present);
	assert_int_equal(find(&next, "10.0.0.1")->admin, ADMIN_AUTO);
	world_free(&next);
	world_free(&present);
	overrides_done(&worlds.overrides);
}

/* ---- next hops that are found, but of no use ---- */

static struct backend *with_gateway(const struct world *world, const char *gateway)
{
	struct backend *backend = find(world, "10.0.0.1");

	backend->hop_known = backend->hop_found = true;
	backend->hop.gateway = test_addr(gateway);
	backend_reach(backend);
	return backend;
}

static void l2_backend_behind_a_gateway_has_no_next_hop(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, world;
	struct backend *backend;

	worlds_set(&worlds);
	worlds.service.forward = LB_FORWARD_L2;
	world = build(&worlds, &none);
	backend = with_gateway(&world, "10.1.0.1");
	assert_false(backend->has_hop);
	assert_string_equal(remark_text(backend->hop_why),
			    "behind gateway 10.1.0.1: forward: l2 expects the backend on a network "
			    "of this host; use a tunnel, forward: ipip");
	backend->hop.gateway = test_addr("10.0.0.1"); /* its own */
	assert_true(backend_reach(backend));
	assert_true(backend->has_hop);
	assert_string_equal(remark_text(backend->hop_why), "");
	assert_false(backend_reach(backend)); /* nothing has changed */
	world_free(&world);
}

static void tunnelled_backend_behind_a_gateway_has_a_next_hop(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, world;

	worlds_set(&worlds);
	world = build(&worlds, &none);
	assert_true(with_gateway(&world, "10.1.0.1")->has_hop);
	world_free(&world);
}

static void a_reload_to_l2_looks_at_the_gateway_again(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;

	worlds_set(&worlds);
	present = build(&worlds, &none);
	with_gateway(&present, "10.1.0.1");
	worlds.service.forward = LB_FORWARD_L2;
	next = build(&worlds, &present);
	assert_false(find(&next, "10.0.0.1")->has_hop);
	world_free(&next);
	world_free(&present);
}

static void a_drain_past_its_deadline_is_over_and_its_backend_unused(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;
	struct addr one = test_addr("10.0.0.1");
	struct override *entry;

	worlds_set(&worlds);
	worlds.service.algorithm = algo_find("maglev");
	entry = overrides_get(&worlds.overrides, "web", &one);
	entry->drain = entry->has_force = true;
	entry->force_ms = clock_monotonic_ms() + 3600000;
	present = build(&worlds, &none);
	make_up(&present);
	present.services[0]->opened = true;
	service_weigh(present.services[0], NOW, WALL);
	assert_int_equal(find(&present, "10.0.0.1")->condition, BACKEND_DRAINING);
	assert_true(backend_usable(find(&present, "10.0.0.1")));
	entry->force_ms = 1;
	next = build(&worlds, &present);
	service_weigh(next.services[0], NOW, WALL);
	assert_int_equal(find(&next, "10.0.0.1")->condition, BACKEND_DRAINED);
	assert_false(backend_usable(find(&next, "10.0.0.1")));
	world_free(&present);
	entry->drain = false;
	present = build(&worlds, &next);
	service_weigh(present.services[0], NOW, WALL);
	assert_int_equal(find(&present, "10.0.0.1")->condition, BACKEND_UP);
	assert_true(backend_usable(find(&present, "10.0.0.1")));
	world_free(&next);
	world_free(&present);
	overrides_done(&worlds.overrides);
}

/* Whoever removes it: by hand, the file, the end of its lease, its source. */
static void one_that_is_removed_while_it_drains_keeps_its_deadline(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;
	struct addr one = test_addr("10.0.0.1");
	uint64_t deadline = clock_monotonic_ms() + 3600000;
	struct override *entry;
	struct backend *leaving;

	worlds_set(&worlds);
	worlds.service.algorithm = algo_find("maglev");
	entry = overrides_get(&worlds.overrides, "web", &one);
	entry->drain = entry->has_force = true;
	entry->force_ms = deadline;
	present = build(&worlds, &none);
	make_up(&present);
	present.services[0]->opened = true;
	service_weigh(present.services[0], NOW, WALL);
	entry->drain = entry->has_force = false;
	entry->removed = true;
	for (unsigned changes = 0; changes < 2; changes++) { /* and further ones keep it */
		next = build(&worlds, &present);
		world_free(&present);
		present = next;
		service_weigh(present.services[0], NOW, WALL);
		leaving = find(&present, "10.0.0.1");
		assert_true(leaving->removed && leaving->has_force);
		assert_int_equal(leaving->force_ms, deadline);
		assert_int_equal(leaving->condition, BACKEND_DRAINING);
		assert_false(find(&present, "10.0.0.2")->has_force);
	}
	world_free(&present);
	overrides_done(&worlds.overrides);
}

/* A reload while the service is blind must not delete backends that were lost. */
static void a_blind_service_stays_blind_and_keeps_its_leaving_backends_across_a_change(
    void **unused)
{
	struct worlds worlds;
	struct world none = {0}, present, next;
	struct service *service;

	worlds_set(&worlds);
	worlds.service.algorithm = algo_find("maglev");
	present = build(&worlds, &none);
	make_up(&present);
	service = present.services[0];
	service->opened = true;
	service_weigh(service, NOW, WALL);
	for (unsigned i = 0; i < 3; i++)
		down(service->backends[i]);
	service_weigh(service, NOW + 1000, WALL);
	assert_true(service->blind);
	worlds.service.backends_count = 2; /* the third is no longer in the file */
	next = build(&worlds, &present);
	assert_int_equal(next.services[0]->backends_count, 3);
	service_weigh(next.services[0], NOW + 2000, WALL);
	assert_int_equal(next.services[0]->status, SERVICE_BLIND);
	expect_traffic(find(&next, "10.0.0.1"), true, 100);
	expect_traffic(find(&next, "2001:db8::3"), true, 0);
	world_free(&next);
	world_free(&present);
}

static void service_is_known_by_its_key_and_not_its_name(void **unused)
{
	struct worlds before, after;
	struct world none = {0}, present, next;

	worlds_set(&before);
	worlds_set(&after);
	present = build(&before, &none);
	make_up(&present);
	after.service.name = "shop";
	next = build(&after, &present);
	assert_int_equal(find(&next, "10.0.0.1")->health, HEALTH_UP);
	world_free(&next);
	after.service.port = 81;
	next = build(&after, &present);
	assert_int_equal(find(&next, "10.0.0.1")->health, HEALTH_UNKNOWN);
	world_free(&next);
	world_free(&present);
}

static void unchecked_backends_count_as_healthy(void **unused)
{
	struct worlds worlds;
	struct world none = {0}, world;

	worlds_set(&worlds);
	worlds.service.health.type = "none";
	world = build(&worlds, &none);
	assert_int_equal(find(&world, "10.0.0.1")->health, HEALTH_UP);
	world_free(&world);
}

static void labels_name_service_and_key_once(void **unused)
{
	struct worlds worlds;
	struct service service = {.config = &worlds.service};
	char text[SERVICE_LABEL];

	worlds_set(&worlds);
	assert_string_equal(service_label(&service, text), "web 192.0.2.10:80/tcp");
	worlds.service.name = "192.0.2.10:80/tcp";
	assert_string_equal(service_label(&service, text), "192.0.2.10:80/tcp");
	worlds.service.name = "dns";
	worlds.service.vip = test_addr("2001:db8::1");
	worlds.service.protocol = CONFIG_UDP;
	worlds.service.port = 0;
	assert_string_equal(service_label(&service, text), "dns [2001:db8::1]:any/udp");
	worlds.service.name = "[2001:db8::1]:any/udp"; /* the default name */
	assert_string_equal(service_label(&service, text), "[2001:db8::1]:any/udp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(healthy_backends_get_their_weight),
	    cmocka_unit_test(backend_takes_no_traffic_before_its_first_probe),
	    cmocka_unit_test(backend_without_next_hop_says_why),
	    cmocka_unit_test(a_service_that_is_down_says_why),
	    cmocka_unit_test(down_backend_says_why_and_since_when),
	    cmocka_unit_test(draining_backend_keeps_its_flows_and_gets_no_new_ones),
	    cmocka_unit_test(dead_backend_is_drained_at_once),
	    cmocka_unit_test(an_agent_scales_the_weight_that_is_in_force),
	    cmocka_unit_test(an_agent_that_drains_leaves_flows_where_they_are),
	    cmocka_unit_test(an_agent_takes_a_healthy_backend_out),
	    cmocka_unit_test(an_agent_does_not_bring_back_what_its_check_finds_down),
	    cmocka_unit_test(backends_that_their_agents_take_out_make_no_service_blind),
	    cmocka_unit_test(maintenance_takes_a_backend_out_and_its_service_does_not_miss_it),
	    cmocka_unit_test(after_maintenance_a_healthy_backend_starts_slowly),
	    cmocka_unit_test(a_backend_that_is_set_down_is_missed),
	    cmocka_unit_test(a_backend_that_is_set_up_is_used_whatever_check_and_agent_say),
	    cmocka_unit_test(a_backend_that_is_set_up_waits_for_no_check),
	    cmocka_unit_test(backends_that_an_operator_takes_out_make_no_service_blind),
	    cmocka_unit_test(a_backend_that_is_set_down_has_no_weight_while_its_service_is_blind),
	    cmocka_unit_test(a_backend_that_is_set_up_does_not_keep_its_service_blind),
	    cmocka_unit_test(a_drain_is_shown_before_a_state),
	    cmocka_unit_test(an_agent_that_is_not_understood_changes_nothing),
	    cmocka_unit_test(one_loss_is_no_flap),
	    cmocka_unit_test(a_backend_that_flaps_takes_no_new_flow_and_keeps_those_it_has),
	    cmocka_unit_test(each_flap_doubles_the_time_up_to_the_limit),
	    cmocka_unit_test(one_that_flaps_is_better_than_none),
	    cmocka_unit_test(one_that_flaps_is_better_than_a_panic),
	    cmocka_unit_test(without_the_key_nothing_is_damped),
	    cmocka_unit_test(what_is_lost_with_all_others_does_not_flap),
	    cmocka_unit_test(what_an_operator_takes_out_does_not_flap),
	    cmocka_unit_test(a_backend_whose_connects_fail_takes_no_new_flow_for_a_while),
	    cmocka_unit_test(slow_start_goes_from_a_twentieth_to_all),
	    cmocka_unit_test(slow_start_begins_again_after_a_failure),
	    cmocka_unit_test(slow_start_never_rounds_down_to_nothing),
	    cmocka_unit_test(where_weights_are_ignored_backends_are_equal_and_still_start_slowly),
	    cmocka_unit_test(first_start_has_no_slow_start),
	    cmocka_unit_test(undrained_backend_starts_slowly),
	    cmocka_unit_test(backups_serve_only_when_no_other_lives),
	    cmocka_unit_test(drained_primaries_make_backups_serve),
	    cmocka_unit_test(below_the_threshold_panic_uses_backends_that_are_down),
	    cmocka_unit_test(panic_leaves_out_unreachable_and_draining_backends),
	    cmocka_unit_test(a_drain_in_a_panic_waits_for_the_flows),
	    cmocka_unit_test(the_end_of_the_panic_is_the_end_of_that),
	    cmocka_unit_test(one_that_drains_when_its_check_fails_in_a_panic_keeps_its_flows),
	    cmocka_unit_test(a_drain_does_not_end_the_panic_that_its_flows_live_by),
	    cmocka_unit_test(a_drain_of_all_in_a_panic_waits_for_the_flows),
	    cmocka_unit_test(
		one_that_drains_and_is_the_first_to_be_lost_is_used_when_the_panic_begins),
	    cmocka_unit_test(no_panic_before_the_first_probes),
	    cmocka_unit_test(when_all_are_lost_at_once_the_ring_is_frozen),
	    cmocka_unit_test(losses_of_one_interval_and_timeout_count_as_one),
	    cmocka_unit_test(a_backend_lost_before_stays_down),
	    cmocka_unit_test(lost_next_hops_make_blind_as_failed_checks_do),
	    cmocka_unit_test(the_loss_of_an_only_backend_counts),
	    cmocka_unit_test(the_loss_of_the_last_of_many_counts),
	    cmocka_unit_test(losses_count_while_one_backend_answers),
	    cmocka_unit_test(a_first_start_without_any_backend_is_down_and_not_blind),
	    cmocka_unit_test(the_first_that_answers_does_not_get_everything),
	    cmocka_unit_test(after_blindness_there_is_no_slow_start),
	    cmocka_unit_test(two_probes_that_fail_after_the_first_was_back_are_a_result),
	    cmocka_unit_test(the_wait_for_the_others_has_an_end),
	    cmocka_unit_test(losing_all_again_restarts_the_wait),
	    cmocka_unit_test(while_blind_backups_are_not_used),
	    cmocka_unit_test(while_blind_there_is_no_panic),
	    cmocka_unit_test(a_panic_goes_on_for_one_that_drains_when_blindness_ends),
	    cmocka_unit_test(a_loss_counts_when_another_has_answered_since),
	    cmocka_unit_test(a_cut_counts_as_one_failed_probe),
	    cmocka_unit_test(a_loss_does_not_count_while_nothing_is_known_of_the_others),
	    cmocka_unit_test(a_loss_counts_also_where_the_answers_of_others_overlap_its_probes),
	    cmocka_unit_test(a_loss_does_not_count_when_no_other_has_answered_since),
	    cmocka_unit_test(
		a_loss_does_not_count_when_the_others_answer_only_after_its_last_probe_began),
	    cmocka_unit_test(a_probe_that_began_before_the_first_failure_confirms_no_loss),
	    cmocka_unit_test(a_loss_may_be_confirmed_before_the_first_failure_is_known),
	    cmocka_unit_test(a_next_hop_lost_while_no_other_answered_does_not_count),
	    cmocka_unit_test(a_next_hop_lost_while_another_answered_counts),
	    cmocka_unit_test(once_the_others_answer_the_lost_one_is_given_time_to_rise),
	    cmocka_unit_test(once_the_others_answer_the_lost_one_that_fails_again_is_down),
	    cmocka_unit_test(with_fall_1_a_passed_probe_in_the_last_interval_confirms_a_loss),
	    cmocka_unit_test(a_link_that_fails_again_before_the_ring_is_open_keeps_it_frozen),
	    cmocka_unit_test(
		a_link_that_fails_again_while_only_some_are_back_keeps_the_ring_frozen),
	    cmocka_unit_test(one_that_fails_again_and_again_ends_the_wait),
	    cmocka_unit_test(while_blind_a_draining_backend_stays),
	    cmocka_unit_test(a_draining_backend_lost_alone_is_drained_an_interval_later),
	    cmocka_unit_test(stopping_a_drained_host_is_no_loss),
	    cmocka_unit_test(
		a_backend_that_is_drained_while_its_service_is_blind_takes_no_new_flow),
	    cmocka_unit_test(latency_rises_at_once_and_falls_by_half_in_five_seconds),
	    cmocka_unit_test(latency_falls_at_the_same_rate_however_often_it_is_measured),
	    cmocka_unit_test(overrides_apply_over_the_file),
	    cmocka_unit_test(a_service_without_backends_opens_with_the_results_of_its_first_ones),
	    cmocka_unit_test(the_file_can_drain_and_a_run_time_change_can_end_that),
	    cmocka_unit_test(backends_keep_their_state),
	    cmocka_unit_test(removed_backend_drains_before_it_goes),
	    cmocka_unit_test(a_dead_backend_or_one_removed_now_goes_at_once),
	    cmocka_unit_test(a_removed_backend_has_flows_if_an_operator_lets_it),
	    cmocka_unit_test(a_backend_that_is_removed_in_a_panic_drains_before_it_goes),
	    cmocka_unit_test(a_state_that_is_set_comes_from_the_run_time_changes),
	    cmocka_unit_test(l2_backend_behind_a_gateway_has_no_next_hop),
	    cmocka_unit_test(tunnelled_backend_behind_a_gateway_has_a_next_hop),
	    cmocka_unit_test(a_reload_to_l2_looks_at_the_gateway_again),
	    cmocka_unit_test(a_drain_past_its_deadline_is_over_and_its_backend_unused),
	    cmocka_unit_test(one_that_is_removed_while_it_drains_keeps_its_deadline),
	    cmocka_unit_test(
		a_blind_service_stays_blind_and_keeps_its_leaving_backends_across_a_change),
	    cmocka_unit_test(service_is_known_by_its_key_and_not_its_name),
	    cmocka_unit_test(unchecked_backends_count_as_healthy),
	    cmocka_unit_test(labels_name_service_and_key_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
