/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/response.c: what least-response-time goes by, connects or checks; and
 * flow_rate.c. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/state/internal.h"
#include "lbd/state/response.h"
#include "support/memory_dataplane.h"

static uint32_t of(uint64_t answered, uint32_t connect_us, uint32_t check_us, uint32_t distance_us)
{
	return response_us(&(struct response_sight){answered, connect_us, check_us}, distance_us);
}

static void with_enough_connects_only_these_count(void **unused)
{
	assert_int_equal(of(20, 700, 100, 0), 700);
	assert_int_equal(of(1000, 700, 0, 5), 700);
	assert_int_equal(of(1000, 0, 100, 5), 1); /* known, and less than can be told */
}

static void without_connects_the_checks_do(void **unused)
{
	assert_int_equal(of(0, 0, 100, 0), 100);
	assert_int_equal(of(0, 0, 100, 30), 130); /* where clients are so much farther */
	assert_int_equal(of(0, 0, 0, 30), 0);     /* unknown */
	assert_int_equal(of(19, 700, 0, 30), 0);  /* too few to say, and no checks */
	assert_int_equal(of(0, 0, UINT32_MAX, UINT32_MAX), UINT32_MAX);
}

static void between_them_there_is_no_step(void **unused)
{
	assert_int_equal(of(10, 1000, 100, 100), 600);
	assert_int_equal(of(19, 1000, 100, 100), 960);
	assert_int_equal(of(1, 1000, 100, 100), 240);
}

static uint32_t distance(const struct response_sight *sights, unsigned count)
{
	uint32_t scratch[8];

	return response_distance_us(sights, count, scratch);
}

static void the_distance_of_clients_is_what_most_backends_show(void **unused)
{
	const struct response_sight sights[] = {
	    {100, 30100, 100}, {100, 90000, 100}, {100, 30200, 100}, {3, 5, 100}, {100, 7, 0}};

	assert_int_equal(distance(sights, 5), 30100);
	assert_int_equal(distance(sights, 2), 30000); /* of two the lesser */
	assert_int_equal(distance(sights + 3, 2), 0);
	assert_int_equal(distance(NULL, 0), 0);
	/* clients nearer than lbd */
	assert_int_equal(distance(&(struct response_sight){50, 80, 200}, 1), 0);
}

/* ---- a service ---- */

#define COUNT 3

static struct scene {
	struct memory_dataplane *memory;
	struct want want;
	struct state state;
	struct config_service config;
	struct service service;
	struct backend backends[COUNT], *list[COUNT];
} scene;

static int setup(void **unused)
{
	memset(&scene, 0, sizeof(scene));
	scene.memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, 64});
	scene.state.options.dataplane = memory_dataplane_time_connects(scene.memory, 16);
	want_init(&scene.want, "192.0.2.1", IPPROTO_TCP, 80, "least-response-time");
	for (unsigned i = 0; i < COUNT; i++)
		want_add(&scene.want, i, 10);
	want_commit(scene.memory->dp, &scene.want, 1);
	scene.config = (struct config_service){.name = "web",
					       .vip = scene.want.service.vip,
					       .protocol = CONFIG_TCP,
					       .port = 80,
					       .algorithm = algo_find("least-response-time")};
	scene.service = (struct service){.config = &scene.config,
					 .state = &scene.state,
					 .backends = scene.list,
					 .backends_count = COUNT};
	for (unsigned i = 0; i < COUNT; i++) {
		scene.list[i] = &scene.backends[i];
		scene.backends[i] = (struct backend){
		    .service = &scene.service, .address = want_address(i), .latency_us = 200};
	}
	return 0;
}

static int teardown(void **unused)
{
	memory_dataplane_free(scene.memory);
	return 0;
}

static void see(unsigned n, uint32_t us, unsigned count)
{
	struct lb_connects *line =
	    &scene.memory->dp->maps.connects[want_id(scene.memory->dp, &scene.want, n)];

	line->word[lb_connect_bucket((uint32_t)(us * 1000ULL >> LB_PROBE_TIME_SHIFT))] += count;
}

static void a_backend_that_is_slow_for_clients_alone_is_slow(void **unused)
{
	see(0, 10000, 40);
	see(1, 80000, 40);
	see(2, 10000, 5);
	assert_int_equal(backend_response_us(scene.list[1]), 200); /* before the first look */
	service_time_responses(&scene.service);
	assert_in_range(backend_response_us(scene.list[0]), 8700, 11500);
	assert_in_range(backend_response_us(scene.list[1]), 70000, 90000);
	/* few connects: as far from its clients as the others are */
	assert_in_range(backend_response_us(scene.list[2]), 8700, 11500);
}

static void an_algorithm_that_does_not_go_by_it_sees_the_checks(void **unused)
{
	see(1, 80000, 40);
	scene.config.algorithm = algo_find("least-conn");
	service_time_responses(&scene.service);
	assert_int_equal(scene.backends[1].response_us, 0);
	assert_int_equal(backend_response_us(scene.list[1]), 200);
}

/* ---- new flows ---- */

static void new_flows_a_second_are_of_the_last_seconds(void **unused)
{
	struct flow_rate rate = {0};

	flow_rate_add(&rate, 1000, 5000);
	assert_true(rate.per_s == 0); /* nobody knows since when */
	flow_rate_add(&rate, 2000, 5100);
	assert_true(rate.per_s == 100);
	for (unsigned s = 3; s <= 7; s++)
		flow_rate_add(&rate, 1000 * s, 5100);
	assert_true(rate.per_s > 0);
	for (unsigned s = 8; s <= 12; s++)
		flow_rate_add(&rate, 1000 * s, 5100);
	assert_true(rate.per_s == 0);
}

static void a_count_that_begins_anew_is_no_rate(void **unused)
{
	struct flow_rate rate = {0};

	flow_rate_add(&rate, 1000, 5000);
	flow_rate_add(&rate, 2000, 10);
	assert_true(rate.per_s == 0);
	flow_rate_add(&rate, 3000, 20);
	assert_true(rate.per_s == 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(with_enough_connects_only_these_count),
	    cmocka_unit_test(without_connects_the_checks_do),
	    cmocka_unit_test(between_them_there_is_no_step),
	    cmocka_unit_test(the_distance_of_clients_is_what_most_backends_show),
	    cmocka_unit_test_setup_teardown(a_backend_that_is_slow_for_clients_alone_is_slow, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(an_algorithm_that_does_not_go_by_it_sees_the_checks,
					    setup, teardown),
	    cmocka_unit_test(new_flows_a_second_are_of_the_last_seconds),
	    cmocka_unit_test(a_count_that_begins_anew_is_no_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
