/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/availability.c: the connects that the data plane has counted become part of a
 * service's availability, each once. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"

static struct scene {
	struct memory_dataplane *memory;
	struct want want;
	struct state state;
	struct config_service config;
	struct service service, *list[1];
} scene;

static int setup(void **unused)
{
	memset(&scene, 0, sizeof(scene));
	scene.memory = memory_dataplane_new((struct memory_limits){8, 64, 8192, 64});
	scene.state.options.dataplane = memory_dataplane_time_connects(scene.memory, 16);
	want_init(&scene.want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&scene.want, 0, 10);
	want_commit(scene.memory->dp, &scene.want, 1);
	scene.config = (struct config_service){
	    .name = "web", .vip = scene.want.service.vip, .protocol = CONFIG_TCP, .port = 80};
	assert_int_equal(availability_start(&scene.state), 0);
	scene.service = (struct service){.config = &scene.config,
					 .state = &scene.state,
					 .uptime = availability_of(&scene.state, &scene.config)};
	scene.list[0] = &scene.service;
	scene.state.world.services = scene.list;
	scene.state.world.count = 1;
	return 0;
}

static int teardown(void **unused)
{
	availability_stop(&scene.state);
	memory_dataplane_free(scene.memory);
	return 0;
}

static void count(uint32_t answered, uint32_t unanswered)
{
	static uint64_t now_ms = 1000;
	struct lb_connects *line =
	    &scene.memory->dp->maps.connects[want_id(scene.memory->dp, &scene.want, 0)];

	line->word[9] += answered;
	line->word[LB_CONNECT_UNANSWERED] += unanswered;
	dataplane_connects_tick(scene.memory->dp, now_ms += 1000);
	availability_tick(&scene.state);
}

static void assert_day(uint64_t answered, uint64_t unanswered)
{
	struct uptime_share share = uptime_share(scene.service.uptime, UPTIME_DAY, clock_wall_ms());

	assert_int_equal(share.answered, answered);
	assert_int_equal(share.unanswered, unanswered);
}

static void each_connect_is_added_once(void **unused)
{
	count(0, 0);
	assert_day(0, 0);
	count(40, 2);
	count(0, 0);
	count(7, 1);
	assert_day(47, 3);
}

/* Also of a service that is blind or not open: a connect that was answered was answered. */
static void a_service_that_is_made_anew_counts_from_0(void **unused)
{
	scene.service.blind = true;
	count(40, 2);
	connects_forget_service(
	    scene.memory->dp,
	    scene.memory->dp->maps.backends[want_id(scene.memory->dp, &scene.want, 0)].service);
	count(5, 1);
	assert_day(45, 3);
	assert_int_equal(uptime_share(scene.service.uptime, UPTIME_DAY, clock_wall_ms()).seen_ms,
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_connect_is_added_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_service_that_is_made_anew_counts_from_0, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
