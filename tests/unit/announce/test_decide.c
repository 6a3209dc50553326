/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/announce/decide.c: which VIPs can be announced, and the state of the node. Needs no
 * kernel feature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/announce/internal.h"
#include "support/test_addr.h"

#define MOST 4

struct scene {
	struct config_service configs[MOST];
	struct service services[MOST], *list[MOST];
	unsigned count;
	struct config_announce config;
	struct announce_vip *vips;
	struct node_tally tally;
	struct node_facts facts;
	char why[ANNOUNCE_WHY];
};

static int set_up(void **ret)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->config.min_up = 1;
	scene->facts.opened = true;
	*ret = scene;
	return 0;
}

static int tear_down(void **ret)
{
	struct scene *scene = *ret;

	free(scene->vips);
	free(scene);
	return 0;
}

/* A service of three backends, so many of which are up. */
static struct service *add(struct scene *scene, const char *name, const char *vip, unsigned up)
{
	struct service *service = &scene->services[scene->count];

	scene->configs[scene->count] =
	    (struct config_service){.name = (char *)name, .vip = test_addr(vip)};
	*service = (struct service){
	    .config = &scene->configs[scene->count], .backends_count = 3, .up = up, .opened = true};
	scene->list[scene->count++] = service;
	return service;
}

static enum node_state decide(struct scene *scene)
{
	const struct vips_before before = {scene->vips, scene->tally.vips};
	struct announce_vip *vips;

	assert_int_equal(
	    vips_collect(scene->list, scene->count, &scene->config, &before, &vips, &scene->tally),
	    0);
	free(scene->vips);
	scene->vips = vips;
	return node_decide(&scene->facts, &scene->tally, scene->why);
}

/* ---- VIPs ---- */

static void a_vip_of_many_services_is_there_once_and_the_list_is_sorted(void **state)
{
	struct scene *scene = *state;

	add(scene, "web6", "2001:db8::10", 1);
	add(scene, "web", "192.0.2.10", 1);
	add(scene, "dns", "192.0.2.9", 1);
	add(scene, "tls", "192.0.2.10", 1);
	assert_int_equal(decide(scene), NODE_UP);
	assert_int_equal(scene->tally.vips, 3);
	assert_true(addr_equal(&scene->vips[0].address, &scene->configs[2].vip));
	assert_true(addr_equal(&scene->vips[1].address, &scene->configs[1].vip));
	assert_true(addr_equal(&scene->vips[2].address, &scene->configs[0].vip));
}

static void a_vip_needs_min_up_backends_in_one_service(void **state)
{
	struct scene *scene = *state;

	scene->config.min_up = 2;
	add(scene, "web", "192.0.2.10", 1);
	add(scene, "tls", "192.0.2.10", 1);
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	assert_false(scene->vips[0].usable);
	assert_non_null(strstr(scene->vips[0].why, ": 1 of 3 backends up, expected 2"));
	assert_string_equal(scene->why, "no VIP has enough usable backends");
	scene->services[1].up = 2;
	assert_int_equal(decide(scene), NODE_UP);
	assert_true(scene->vips[0].usable);
	assert_string_equal(scene->vips[0].why, "");
}

static void with_require_all_a_vip_needs_min_up_backends_in_every_service(void **state)
{
	struct scene *scene = *state;

	scene->config.all = true;
	add(scene, "web", "192.0.2.10", 3);
	add(scene, "tls", "192.0.2.10", 0);
	decide(scene);
	assert_false(scene->vips[0].usable);
	assert_string_equal(scene->vips[0].why, "tls: 0 of 3 backends up, expected 1");
	scene->services[1].up = 1;
	decide(scene);
	assert_true(scene->vips[0].usable);
}

/* Its connections would end at the very change that adds a service beside it. */
static void a_service_that_is_added_takes_no_vip_away_before_its_first_results(void **state)
{
	struct scene *scene = *state;
	struct service *tls;

	scene->config.all = true;
	add(scene, "web", "192.0.2.10", 3);
	assert_int_equal(decide(scene), NODE_UP);
	tls = add(scene, "tls", "192.0.2.10", 0);
	tls->opened = false;
	for (unsigned look = 0; look < 3; look++) {
		assert_int_equal(decide(scene), NODE_UP);
		assert_true(scene->vips[0].usable);
		assert_string_equal(scene->vips[0].why, "");
	}
	tls->opened = true;
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	assert_string_equal(scene->vips[0].why, "tls: 0 of 3 backends up, expected 1");
}

static void a_service_that_is_added_hides_nothing_of_the_others(void **state)
{
	struct scene *scene = *state;

	scene->config.all = true;
	add(scene, "web", "192.0.2.10", 3);
	decide(scene);
	add(scene, "tls", "192.0.2.10", 0)->opened = false;
	scene->services[0].up = 0;
	decide(scene);
	assert_false(scene->vips[0].usable);
	assert_string_equal(scene->vips[0].why, "web: 0 of 3 backends up, expected 1");
	scene->services[0].up = 3; /* not announced now: nothing to keep, so tls is waited for */
	decide(scene);
	assert_false(scene->vips[0].usable);
	assert_string_equal(scene->vips[0].why, "tls: first health checks are not over");
	scene->services[1].opened = true;
	scene->services[1].up = 1;
	decide(scene);
	assert_true(scene->vips[0].usable);
}

static void a_new_vip_waits_for_all_its_services(void **state)
{
	struct scene *scene = *state;

	scene->config.all = true;
	add(scene, "dns", "192.0.2.53", 3);
	decide(scene);
	add(scene, "web", "192.0.2.10", 3);
	add(scene, "tls", "192.0.2.10", 0)->opened = false;
	assert_int_equal(decide(scene), NODE_UP);
	assert_false(scene->vips[0].usable);
	assert_true(scene->vips[1].usable);
}

/* All services of a VIP are replaced by others: there is nothing behind it. */
static void a_vip_without_any_open_service_is_not_usable(void **state)
{
	struct scene *scene = *state;

	scene->config.all = true;
	add(scene, "web", "192.0.2.10", 3);
	decide(scene);
	scene->services[0].opened = false;
	decide(scene);
	assert_false(scene->vips[0].usable);
}

static void one_vip_without_backends_leaves_the_others(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 0);
	add(scene, "dns", "192.0.2.53", 1);
	assert_int_equal(decide(scene), NODE_UP);
	assert_false(scene->vips[0].usable);
	assert_true(scene->vips[1].usable);
	assert_int_equal(scene->tally.usable, 1);
}

static void a_service_that_is_blind_or_not_open_is_not_usable(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 2)->blind = true; /* two are back, the ring is frozen */
	add(scene, "dns", "192.0.2.53", 2)->opened = false;
	add(scene, "tls", "192.0.2.54", 2);
	assert_int_equal(decide(scene), NODE_UP);
	assert_string_equal(scene->vips[0].why, "web: blind");
	assert_string_equal(scene->vips[1].why, "dns: first health checks are not over");
	assert_int_equal(scene->tally.usable, 1);
}

/* ---- the node ---- */

static void a_node_is_blind_only_while_no_backend_of_any_service_answers(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 0)->blind = true;
	add(scene, "dns", "192.0.2.53", 0);
	assert_int_equal(decide(scene), NODE_BLIND);
	scene->config.min_up = 2;
	scene->services[1].up = 1; /* too few to announce, but its host answers */
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	scene->config.min_up = 1;
	assert_int_equal(decide(scene), NODE_UP);
}

static void a_node_starts_until_every_service_is_open(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 3);
	add(scene, "dns", "192.0.2.53", 0)->opened = false;
	scene->facts.opened = false;
	assert_int_equal(decide(scene), NODE_STARTING);
	assert_string_equal(scene->why, "first health checks of 1 of 2 services are not over");
	scene->facts.opened = true; /* it was: a reload has added dns */
	assert_int_equal(decide(scene), NODE_UP);
}

static void a_node_that_its_peers_have_not_told_everything_is_not_up(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 3);
	scene->facts.syncing = "waits for peer 10.0.0.3";
	assert_int_equal(decide(scene), NODE_SYNCING);
	assert_string_equal(scene->why, "waits for peer 10.0.0.3");
	scene->facts.order.drain = true;
	assert_int_equal(decide(scene), NODE_SYNCING);
	scene->facts.opened = false;
	assert_int_equal(decide(scene), NODE_STARTING);
	scene->facts = (struct node_facts){.opened = true};
	assert_int_equal(decide(scene), NODE_UP);
}

static void a_node_without_a_running_interface_is_withdrawn_whatever_else(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 3);
	scene->facts.detached = "no interface is attached";
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	assert_string_equal(scene->why, "no interface is attached");
	scene->services[0].blind = true;
	scene->facts.opened = false;
	scene->facts.order.drain = true;
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
}

static void a_drained_node_announces_until_it_is_withdrawn(void **state)
{
	struct scene *scene = *state;

	add(scene, "web", "192.0.2.10", 3);
	scene->facts.order.drain = true;
	assert_int_equal(decide(scene), NODE_DRAINING);
	scene->facts.order.withdraw = true;
	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	assert_non_null(strstr(scene->why, "lbctl node undrain"));
}

static void a_config_without_services_announces_nothing(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(decide(scene), NODE_WITHDRAWN);
	assert_string_equal(scene->why, "the config has no services");
}

/* VRRP gives the addresses to the higher priority, and with equal ones moves nothing. */
static void a_serving_node_has_priority_over_a_draining_one_and_that_over_all_others(void **state)
{
	assert_int_equal(node_priority(NODE_UP), 0);
	assert_in_range(-node_priority(NODE_DRAINING), 1, 253);
	for (enum node_state s = 0; s < NODE_STATES; s++) {
		assert_string_not_equal(announce_state_name(s), "");
		if (s == NODE_UP || s == NODE_DRAINING)
			continue;
		assert_true(node_priority(s) < node_priority(NODE_DRAINING));
		/* From -254 on keepalived takes an instance for faulty, and gives up addresses that
		 * no other node may have. */
		assert_true(node_priority(s) > -254);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(a_vip_of_many_services_is_there_once_and_the_list_is_sorted),
	    T(a_vip_needs_min_up_backends_in_one_service),
	    T(with_require_all_a_vip_needs_min_up_backends_in_every_service),
	    T(a_service_that_is_added_takes_no_vip_away_before_its_first_results),
	    T(a_service_that_is_added_hides_nothing_of_the_others),
	    T(a_new_vip_waits_for_all_its_services),
	    T(a_vip_without_any_open_service_is_not_usable),
	    T(one_vip_without_backends_leaves_the_others),
	    T(a_service_that_is_blind_or_not_open_is_not_usable),
	    T(a_node_is_blind_only_while_no_backend_of_any_service_answers),
	    T(a_node_starts_until_every_service_is_open),
	    T(a_node_that_its_peers_have_not_told_everything_is_not_up),
	    T(a_node_without_a_running_interface_is_withdrawn_whatever_else),
	    T(a_drained_node_announces_until_it_is_withdrawn),
	    T(a_config_without_services_announces_nothing),
	    T(a_serving_node_has_priority_over_a_draining_one_and_that_over_all_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
