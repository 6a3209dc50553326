/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/passive.c: which backends' connects fail, and for how long these take no flow. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"

#define NOW 1000000ULL

static bool fails(uint64_t failed, uint64_t connects, uint64_t others_failed, uint64_t others)
{
	return passive_fails(&(struct passive_sight){connects, failed},
			     &(struct passive_sight){others, others_failed}, 50);
}

static void it_fails_from_the_share_and_the_number_on(void **unused)
{
	assert_true(fails(10, 20, 0, 100));
	assert_false(fails(9, 20, 0, 100));
	assert_false(fails(19, 19, 0, 100)); /* too few to say */
	assert_true(fails(40, 20, 0, 100));  /* sent again more than once */
	assert_false(fails(0, 0, 0, 0));
}

/* A few of a service with few connects fail now and then. */
static void a_few_that_fail_are_chance(void **unused)
{
	const struct passive_sight others = {100, 0};

	assert_false(passive_fails(&(struct passive_sight){20, 9}, &others, 20));
	assert_true(passive_fails(&(struct passive_sight){20, 10}, &others, 20));
}

static void what_fails_on_all_backends_is_no_backends_fault(void **unused)
{
	assert_false(fails(100, 100, 300, 300)); /* a flood of forged SYNs */
	assert_false(fails(60, 100, 90, 300));   /* half as often: not far enough apart */
	assert_true(fails(60, 100, 89, 300));
	assert_false(fails(60, 100, 0, 19)); /* the others say too little */
	assert_false(fails(60, 100, 0, 0));
}

static void each_time_lasts_longer_up_to_a_bound(void **unused)
{
	static const unsigned spans_s[] = {30, 60, 120, 240, 300, 300};
	const struct passive_sight sight = {40, 30};
	struct passive passive = {0};
	uint64_t now = NOW;

	assert_false(passive_holds(&passive, now));
	for (unsigned i = 0; i < sizeof(spans_s) / sizeof(*spans_s); i++) {
		passive_take_out(&passive, &sight, now);
		assert_int_equal(passive.failed, 30);
		assert_int_equal(passive.connects, 40);
		now += 1000 * spans_s[i];
		assert_true(passive_holds(&passive, now - 1));
		assert_false(passive_holds(&passive, now));
		now += 20000;
	}
	now += PASSIVE_MOST_MS; /* it was well for so long */
	passive_take_out(&passive, &sight, now);
	assert_false(passive_holds(&passive, now + PASSIVE_SPAN_MS));
}

/* ---- the backends of a service, and what the data plane has seen of them ---- */

#define MOST 6

static struct scene {
	struct memory_dataplane *memory;
	struct want want;
	struct state state;
	struct config_service config;
	struct service service;
	struct backend backends[MOST], *list[MOST];
} scene;

static void scene_set(unsigned count)
{
	memset(&scene, 0, sizeof(scene));
	scene.memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, 64});
	scene.state.options.dataplane = memory_dataplane_time_connects(scene.memory, 4);
	want_init(&scene.want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	for (unsigned i = 0; i < count; i++)
		want_add(&scene.want, i, 10);
	want_commit(scene.memory->dp, &scene.want, 1);
	scene.config = (struct config_service){.name = "web",
					       .vip = scene.want.service.vip,
					       .protocol = CONFIG_TCP,
					       .port = 80,
					       .health.passive = 20,
					       .algorithm = algo_find("maglev")};
	scene.service = (struct service){.config = &scene.config,
					 .state = &scene.state,
					 .backends = scene.list,
					 .backends_count = count};
	for (unsigned i = 0; i < count; i++) {
		scene.list[i] = &scene.backends[i];
		scene.backends[i] = (struct backend){.service = &scene.service,
						     .address = want_address(i),
						     .weight = 100,
						     .health = HEALTH_UP,
						     .hop_known = true,
						     .has_hop = true,
						     .eligible = true};
	}
	service_weigh(&scene.service, NOW, NOW);
}

static int teardown(void **unused)
{
	memory_dataplane_free(scene.memory);
	for (unsigned i = 0; i < MOST; i++)
		backend_drop_remarks(&scene.backends[i]);
	return 0;
}

/* So many of 100 connects of the backend fail. */
static void see(unsigned n, unsigned failed)
{
	struct lb_connects *line =
	    &scene.memory->dp->maps.connects[want_id(scene.memory->dp, &scene.want, n)];

	line->word[LB_CONNECT_SAMPLED] = 100;
	line->word[LB_CONNECT_RETRIED] = failed;
}

static bool look(uint64_t now_ms)
{
	bool found = service_look_for_failing(&scene.service, now_ms);

	service_weigh(&scene.service, now_ms, NOW);
	return found;
}

static void the_worst_backend_is_taken_out(void **unused)
{
	scene_set(3);
	for (unsigned i = 0; i < 3; i++)
		see(i, 1);
	assert_false(look(NOW));
	see(1, 40);
	see(2, 60);
	assert_true(look(NOW));
	assert_int_equal(scene.backends[2].condition, BACKEND_DAMPED);
	assert_int_equal(scene.backends[1].condition, BACKEND_UP);
}

/* Who can make connects to one fail can do so to each of them. */
static void more_than_half_of_the_backends_are_never_out(void **unused)
{
	unsigned out = 0;

	scene_set(5);
	for (unsigned second = 0; second < 20; second++) {
		/* the next victim */
		for (unsigned i = 0; i < 5; i++)
			see(i, i == out ? 90 : 0);
		out += look(NOW + 1000 * second);
	}
	assert_int_equal(out, 2);
}

/* It is used whatever is found; another one that fails less must not be hidden by it. */
static void one_that_an_operator_has_set_up_is_never_the_one(void **unused)
{
	scene_set(4);
	scene.backends[0].admin = ADMIN_UP;
	scene.backends[0].health = HEALTH_DOWN;
	service_weigh(&scene.service, NOW, NOW);
	see(0, 100);
	see(1, 90);
	see(2, 0);
	see(3, 0);
	assert_true(look(NOW));
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[0].passive.times, 0);
	assert_int_equal(scene.backends[1].condition, BACKEND_DAMPED);
}

static void one_that_is_just_back_hides_no_other(void **unused)
{
	scene_set(4);
	scene.backends[0].passive.until_ms = NOW - 1;
	for (unsigned i = 0; i < 4; i++)
		see(i, i < 2 ? 80 - i : 0);
	assert_true(look(NOW));
	assert_int_equal(scene.backends[0].condition, BACKEND_UP);
	assert_int_equal(scene.backends[1].condition, BACKEND_DAMPED);
	assert_true(look(NOW + PASSIVE_REST_MS));
	assert_int_equal(scene.backends[0].condition, BACKEND_DAMPED);
}

/* In a panic the dead ones have a weight too, and are no others that take flows. */
static void in_a_panic_none_is_taken_out(void **unused)
{
	scene_set(4);
	scene.config.panic_threshold = 50;
	scene.backends[2].health = scene.backends[3].health = HEALTH_DOWN;
	scene.backends[1].health = HEALTH_DOWN;
	service_weigh(&scene.service, NOW, NOW);
	assert_true(scene.service.panic);
	for (unsigned i = 0; i < 4; i++)
		see(i, i ? 0 : 80);
	assert_false(look(NOW));
	assert_int_equal(scene.backends[0].passive.until_ms, 0);
}

#define ON_BACKENDS(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_fails_from_the_share_and_the_number_on),
	    cmocka_unit_test(what_fails_on_all_backends_is_no_backends_fault),
	    cmocka_unit_test(a_few_that_fail_are_chance),
	    cmocka_unit_test(each_time_lasts_longer_up_to_a_bound),
	    ON_BACKENDS(the_worst_backend_is_taken_out),
	    ON_BACKENDS(more_than_half_of_the_backends_are_never_out),
	    ON_BACKENDS(one_that_an_operator_has_set_up_is_never_the_one),
	    ON_BACKENDS(one_that_is_just_back_hides_no_other),
	    ON_BACKENDS(in_a_panic_none_is_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
