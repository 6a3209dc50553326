/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/way.c: the ways of checks that go to a VIP. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/attach/internal.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_loop.h"
#include "support/test_netns.h"

#define HANG_MS 60000 /* a wait that long means that the test hangs */

static struct memory_dataplane *memory;
static struct event_base *base;
static struct lateness *lateness;
static struct health *health;
static struct attach attach;
static struct config config;
static struct config_service service_config;
static struct state state;
static struct service service;
static struct addr target; /* of a backend, where it is checked; family 0: at its own address */

static int begin(void **unused)
{
	struct error err;

	base = event_base_new();
	attach = (struct attach){.detours = detours_new()};
	memory = memory_dataplane_new((struct memory_limits){8, 32, 4096, 64});
	service_config = (struct config_service){
	    .name = (char *)"web",
	    .vip = test_addr("192.0.2.10"),
	    .forward = LB_FORWARD_L2,
	    .health = {.type = (char *)"tcp",
		       .to = HEALTH_TO_VIP,
		       .interval_ms = 10,
		       .timeout_ms = 30000,
		       .rise = 1,
		       .fall = 1},
	};
	state = (struct state){
	    .config = &config,
	    .options = {.attach = &attach, .dataplane = memory->dp},
	};
	service = (struct service){.state = &state, .config = &service_config};
	return !base || !attach.detours || lateness_new(base, &lateness) ||
	       health_new(base, lateness, &health, &err);
}

static int end(void **unused)
{
	health_free(health);
	lateness_free(lateness);
	event_base_free(base);
	detours_free(attach.detours);
	memory_dataplane_free(memory);
	return 0;
}

static void ignore(void *arg, const struct health_result *result)
{
}

/* ---- what a way is like ---- */

static void assert_way(const char *address, const char *source)
{
	struct backend backend = {
	    .service = &service, .address = test_addr(address), .hop = {.ifindex = 7}};
	const struct addr expected = test_addr(source);
	struct detour_spec spec;

	backend_describe_way(&backend, &spec);
	assert_int_equal(spec.hop.ifindex, 7);
	assert_int_equal(spec.forward, LB_FORWARD_L2);
	assert_true(addr_equal(&spec.vip, &service_config.vip));
	assert_true(addr_equal(&spec.backend, &backend.address));
	assert_true(addr_equal(&spec.source, &expected));
	assert_int_equal(spec.gue_port, 6080);
}

/* Those of the config may be others, after a reload: they hold from the next start on. */
static void a_way_has_the_outer_source_and_port_of_the_data_plane(void **unused)
{
	memory->options.gue_port = 6080;
	memory->options.encap_source4 = test_addr("172.16.0.0");
	memory->options.encap_source4_len = 16;
	memory->options.encap_source6 = test_addr("100::");
	memory->options.encap_source6_len = 64;
	state.options.dataplane = memory_dataplane_restart(memory);
	config.gue_port = 7777;
	config.encap_source4 = test_addr("10.77.0.0");
	config.encap_source6 = test_addr("2001:db8:77::");
	assert_way("10.0.0.11", "172.16.0.1");
	assert_way("fd00::11", "100::1");
}

static void an_outer_source_of_one_address_is_used_as_it_is(void **unused)
{
	memory->options.gue_port = 6080;
	memory->options.encap_source4 = test_addr("172.16.0.8");
	memory->options.encap_source4_len = 32;
	state.options.dataplane = memory_dataplane_restart(memory);
	assert_way("10.0.0.11", "172.16.0.8");
}

/* ---- which checks get one ---- */

static void assert_aim(const char *why)
{
	struct backend backend = {.service = &service, .address = test_addr("10.0.0.11")};
	struct health_aim aim = {0};

	backend.target.address = target;
	backend.check = health_add(health, &service_config.health, &backend.address, 80, HEALTH_UP,
				   ignore, NULL);
	assert_non_null(backend.check);
	backend_set_way(&backend);
	assert_false(backend.has_way);
	backend_aim(&backend, &aim);
	assert_true(aim.backend && !aim.vip && !aim.prevented);
	assert_string_equal(aim.why, why);
	health_remove(backend.check);
}

static void a_check_that_is_not_as_a_clients_connection_goes_to_the_backend(void **unused)
{
	service_config.health.to = HEALTH_TO_AUTO;
	service_config.protocol = CONFIG_TCP;
	service_config.port = 80;
	assert_aim("its next hop is not known");
	target = test_addr("10.1.0.11");
	assert_aim("it has an address of its own for checks");
	target = (struct addr){0};
	service_config.health.port = 8080;
	assert_aim("its port is not that of the service, 80");
	service_config.health.port = 0;
	service_config.port = 0;
	assert_aim("the service is of UDP, or of any port");
	service_config.port = 80;
	service_config.protocol = CONFIG_UDP;
	assert_aim("the service is of UDP, or of any port");
	service_config.health.to = HEALTH_TO_BACKEND;
	assert_aim("");
}

/* ---- a check and its way ---- */

struct result {
	unsigned count;
	enum health_outcome outcome;
	char why[256];
};

static void on_result(void *arg, const struct health_result *of)
{
	struct result *result = arg;

	result->count++;
	result->outcome = of->outcome;
	snprintf(result->why, sizeof(result->why), "%s", of->why);
}

static struct backend backend_with(struct result *result)
{
	struct backend backend = {
	    .service = &service, .address = test_addr("10.0.0.11"), .hop_found = true};

	backend.check = health_add(health, &service_config.health, &backend.address, 80,
				   HEALTH_UNKNOWN, on_result, result);
	assert_non_null(backend.check);
	return backend;
}

static void wait_for(const struct result *result)
{
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	while (!result->count && clock_monotonic_ms() < until)
		test_loop_run(base, 5);
	assert_true(result->count);
}

static void take_all_ways(void)
{
	uint32_t number;

	for (unsigned i = 0; i < LB_DETOUR_WAYS; i++)
		assert_int_equal(detour_add(attach.detours, &number), 0);
}

static void check_that_got_no_way_is_refused_also_when_another_gets_one(void **unused)
{
	struct result refused = {0}, other = {0};
	struct backend without, with;

	needs_root();
	take_all_ways();
	without = backend_with(&refused);
	backend_set_way(&without);
	detour_remove(attach.detours, 7);
	with = backend_with(&other);
	backend_set_way(&with);
	assert_false(without.has_way);
	assert_true(with.has_way);
	assert_int_equal(with.way, 7);
	wait_for(&refused);
	assert_int_equal(refused.outcome, HEALTH_FAILED);
	assert_string_equal(refused.why, "check not sent: the program that sends it through the "
					 "tunnel is refused: No space left on device");
	backend_drop_way(&with);
	assert_false(with.has_way);
}

/* No reload is needed for it. */
static void check_that_got_no_way_gets_one_as_soon_as_there_is_one(void **unused)
{
	struct result result = {0};
	struct backend waiting, *list[] = {&waiting};
	struct service *services[] = {&service};

	needs_root();
	take_all_ways();
	waiting = backend_with(&result);
	service.backends = list;
	service.backends_count = 1;
	state.world = (struct world){services, 1};
	backend_set_way(&waiting);
	state_retry_ways(&state);
	assert_false(waiting.has_way);
	assert_int_equal(state.way_error, -ENOSPC);
	detour_remove(attach.detours, 7);
	state_retry_ways(&state);
	assert_true(waiting.has_way);
	assert_int_equal(waiting.way, 7);
	backend_drop_way(&waiting);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_way_has_the_outer_source_and_port_of_the_data_plane),
	    TEST(an_outer_source_of_one_address_is_used_as_it_is),
	    TEST(a_check_that_is_not_as_a_clients_connection_goes_to_the_backend),
	    TEST(check_that_got_no_way_is_refused_also_when_another_gets_one),
	    TEST(check_that_got_no_way_gets_one_as_soon_as_there_is_one),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
