/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/nat.c and reals.c: which service a real is of, when replies are missing, and what
 * a reload ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "lbd/state/reals.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"

#define NOW 1000000ULL

/* ---- silence ---- */

static void ten_seconds_of_syns_without_a_reply_are_silence(void **unused)
{
	struct silence silence = {0};

	assert_true(silence_is_due(&silence, NOW));
	assert_false(silence_look(&silence, 1000, 50, NOW)); /* what was before says nothing */
	assert_false(silence_is_due(&silence, NOW + 9999));
	assert_true(silence_is_due(&silence, NOW + 10000));
	assert_true(silence_look(&silence, 1120, 50, NOW + 10000));
	assert_int_equal(silence.unanswered, 120);
	assert_false(silence_look(&silence, 1150, 50, NOW + 20000));
	assert_int_equal(silence.unanswered, 30);
}

static void one_reply_ends_it(void **unused)
{
	struct silence silence = {0};

	silence_look(&silence, 0, 0, NOW);
	assert_true(silence_look(&silence, 100, 0, NOW + 10000));
	assert_true(silence_look(&silence, 200, 1, NOW + 20000));
	assert_int_equal(silence.unanswered, 0);
	assert_false(silence_look(&silence, 300, 2, NOW + 30000));
}

static void a_few_syns_say_nothing_and_none_change_nothing(void **unused)
{
	struct silence silence = {0};

	silence_look(&silence, 0, 0, NOW);
	assert_false(silence_look(&silence, SILENCE_SYNS - 1, 0, NOW + 10000));
	assert_int_equal(silence.unanswered, 0);
	assert_true(silence_look(&silence, 2 * SILENCE_SYNS, 0, NOW + 20000));
	assert_false(silence_look(&silence, 2 * SILENCE_SYNS, 0, NOW + 30000));
	assert_true(silence.unanswered);
}

/* ---- worlds ---- */

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	struct error err;

	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

#define SERVICES_MAX 3

/* As world_build makes them of a config without run-time changes. */
struct scene {
	struct config *config;
	struct state state;
	struct service services[SERVICES_MAX], *list[SERVICES_MAX];
	struct backend backends[SERVICES_MAX][2], *lists[SERVICES_MAX][2];
	struct world world;
};

static void scene_set(struct scene *scene, const char *text)
{
	memset(scene, 0, sizeof(*scene));
	scene->config = parse(text);
	scene->world = (struct world){scene->list, scene->config->services_count};
	for (unsigned i = 0; i < scene->config->services_count; i++) {
		struct config_service *config = &scene->config->services[i];

		scene->list[i] = &scene->services[i];
		scene->services[i] = (struct service){.state = &scene->state,
						      .config = config,
						      .backends = scene->lists[i],
						      .backends_count = config->backends_count};
		for (unsigned j = 0; j < config->backends_count; j++) {
			scene->lists[i][j] = &scene->backends[i][j];
			scene->backends[i][j] = (struct backend){
			    .service = &scene->services[i],
			    .address = config->backends[j].address,
			    .port = config_real_port(config, config->backends[j].port),
			    .hop_found = true,
			    .hop = {.ifindex = 7 + i}};
		}
	}
	scene->state.config = scene->config;
	scene->state.world = scene->world;
}

#define SERVICE(name, vip, rest)                                                      \
	"  - { name: " name ", vip: " vip ", protocol: tcp, port: 80, forward: nat, " \
	"backend-port: 8080, backends: [" rest "] }\n"
#define ONE "{ address: 10.0.0.1 }"
#define TWO "{ address: 10.0.0.2 }"

static void expect_world(const struct scene *present, const struct scene *next, const char *says)
{
	struct error err = {""};
	int rc = reals_check_world(&present->world, &next->world, &err);

	assert_int_equal(rc, *says ? -EINVAL : 0);
	if (strncmp(err.text, says, strlen(says)) != 0)
		fail_msg("\"%s\", expected \"%s\"", err.text, says);
}

static void a_real_stays_with_its_service(void **unused)
{
	static struct scene present, next;

	scene_set(&present,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	scene_set(&next, "services:\n" SERVICE("a", "192.0.2.1", ONE)
			     SERVICE("b", "192.0.2.2", "{ address: 10.0.0.2, port: 81 }"));
	expect_world(&present, &present, "");
	expect_world(&present, &next, "");
	config_free(next.config);
	/* renamed, it is the same service */
	scene_set(&next,
		  "services:\n" SERVICE("c", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	expect_world(&present, &next, "");
	config_free(next.config);
	config_free(present.config);
}

static void a_real_of_one_service_does_not_come_to_another_at_once(void **unused)
{
	static struct scene present, next;

	scene_set(&present, "services:\n" SERVICE("a", "192.0.2.1", ONE ", " TWO));
	scene_set(&next,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	expect_world(&present, &next,
		     "service b: backend 10.0.0.2: 10.0.0.2:8080/tcp is of service a: ");
	present.backends[0][1].removed = true;
	expect_world(&present, &next,
		     "service b: backend 10.0.0.2: 10.0.0.2:8080/tcp leaves service a, and "
		     "replies to its clients may still come: ");
	present.services[0].backends_count = 1;
	expect_world(&present, &next, "");
	config_free(next.config);
	/* a port of any meets it too */
	present.services[0].backends_count = 2;
	scene_set(&next,
		  "services:\n" SERVICE(
		      "a", "192.0.2.1",
		      ONE) "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: any, forward: nat, "
			   "backends: [" TWO "], health: { type: none } }\n");
	expect_world(&present, &next,
		     "service b: backend 10.0.0.2: 10.0.0.2:8080/tcp leaves service a");
	config_free(next.config);
	config_free(present.config);
}

/* What world_build notes of each: only a real that its service does not have yet is looked up. */
static void a_real_that_comes_back_or_gets_another_port_is_looked_up(void **unused)
{
	static struct scene present, next;

	scene_set(&present,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	scene_set(&next, "services:\n" SERVICE("a", "192.0.2.1", ONE)
			     SERVICE("b", "192.0.2.2", "{ address: 10.0.0.1, port: 81 }"));
	present.backends[1][0] = next.backends[1][0];
	present.backends[1][0].service = &present.services[1];
	for (unsigned i = 0; i < 2; i++)
		next.backends[i][0].former = &present.backends[i][0];
	expect_world(&present, &next, "");
	next.backends[1][0].port = 8080;
	expect_world(&present, &next,
		     "service b: backend 10.0.0.1: 10.0.0.1:8080/tcp is of service a: ");
	present.backends[1][0].port = 8080;
	expect_world(&present, &next, "");
	present.backends[1][0].removed = true;
	expect_world(&present, &next,
		     "service b: backend 10.0.0.1: 10.0.0.1:8080/tcp is of service a: ");
	config_free(next.config);
	config_free(present.config);
}

/* Whatever an earlier lbd left must not keep this one from its start. */
static void what_was_adopted_does_not_count(void **unused)
{
	static struct scene none, next;
	struct error err;

	scene_set(&none, "services: []\n");
	scene_set(&next,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	next.backends[0][0].address = test_addr("10.0.0.2");
	expect_world(&none, &next,
		     "service b: backend 10.0.0.2: 10.0.0.2:8080/tcp is of service a");
	next.backends[0][0].removed = true;
	expect_world(&none, &next, "");
	/* nor from any change after that, such as the one by which it goes */
	expect_world(&next, &next, "");
	assert_int_equal(reals_check_config(&next.world, next.config, &err), 0);
	config_free(next.config);
	config_free(none.config);
}

/* By hand nobody takes it; a file that gives it back to the service that it is of may. */
static void what_waits_for_a_real_does_not_keep_it_from_its_service(void **unused)
{
	static struct scene present, next;
	struct addr one = test_addr("10.0.0.1");
	struct reals reals;
	struct error err;

	scene_set(&present, "services:\n" SERVICE("a", "192.0.2.1", "{ address: 10.0.0.3 }")
				SERVICE("b", "192.0.2.2", ONE));
	scene_set(&next,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	expect_world(&present, &next, "service a: backend 10.0.0.1: 10.0.0.1:8080/tcp is of");
	remark_set(&present.backends[1][0].bound_why, "it waits");
	expect_world(&present, &next, "");
	assert_int_equal(reals_check_config(&present.world, next.config, &err), 0);
	assert_int_equal(reals_of_world(&present.world, &reals), 0);
	assert_int_equal(reals_admit(&reals, &present.config->services[0], &one, 8080, &err),
			 -EINVAL);
	reals_done(&reals);
	remark_drop(&present.backends[1][0].bound_why);
	config_free(next.config);
	config_free(present.config);
}

/* ---- a start with a file that moves reals ---- */

/* Their checks have passed. */
static void commit_as_up(struct scene *scene, struct dataplane *dp, int expected)
{
	struct error err = {""};

	scene->state.options.dataplane = dp;
	for (unsigned i = 0; i < scene->world.count; i++) {
		scene->services[i].opened = true;
		for (unsigned j = 0; j < scene->services[i].backends_count; j++) {
			struct backend *backend = &scene->backends[i][j];

			backend->has_hop = backend->hop_known = true;
			backend->health = HEALTH_UP;
			backend->agent.percent = 100;
			backend->weight = 100;
			backend->first_start = true;
		}
	}
	if (world_commit(&scene->state, &scene->world, &err) != expected)
		fail_msg("\"%s\"", err.text);
}

static void scene_end(struct scene *scene)
{
	for (unsigned i = 0; i < scene->world.count; i++)
		for (unsigned j = 0; j < scene->services[i].backends_count; j++)
			backend_drop_remarks(&scene->backends[i][j]);
	config_free(scene->config);
}

static bool is_committed(const struct scene *scene, const struct backend *backend)
{
	struct dp_backend_stats stats;
	struct dp_service key;

	service_key(backend->service, &key);
	return !dataplane_backend_stats(scene->state.options.dataplane, &key, &backend->address,
					&stats);
}

static void expect_waiting(const struct scene *scene, const struct backend *backend,
			   const char *why)
{
	assert_false(is_committed(scene, backend));
	assert_false(backend_usable(backend));
	assert_int_equal(backend->condition, BACKEND_DOWN);
	if (strncmp(remark_text(backend->why), why, strlen(why)) != 0)
		fail_msg("\"%s\"", remark_text(backend->why));
}

static void expect_up(const struct scene *scene, const struct backend *backend)
{
	assert_true(is_committed(scene, backend));
	assert_true(backend_usable(backend));
	assert_int_equal(backend->condition, BACKEND_UP);
	assert_string_equal(remark_text(backend->why), "");
}

/* The service has another VIP in the file, and a backend more. */
static void a_start_leaves_out_what_is_not_free_and_takes_it_later(void **unused)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){64, 256, 1 << 16, 64});
	static struct scene before, now;

	memory->dp->clock = 10000;
	scene_set(&before, "services:\n" SERVICE("a", "192.0.2.1", ONE));
	commit_as_up(&before, memory->dp, 0);
	scene_set(&now, "services:\n" SERVICE("a", "192.0.2.7", ONE ", " TWO));
	commit_as_up(&now, memory->dp, -EBUSY); /* a change of an lbd that runs */
	now.state.first = true;
	commit_as_up(&now, memory_dataplane_restart(memory), 0);
	expect_waiting(&now, &now.backends[0][0],
		       "10.0.0.1:8080/tcp is a backend of 192.0.2.1:80/tcp");
	expect_up(&now, &now.backends[0][1]);
	now.state.first = false;
	now.backends[0][0].admin = ADMIN_UP; /* nobody's word makes it free */
	commit_as_up(&now, memory->dp, 0);
	expect_waiting(&now, &now.backends[0][0],
		       "10.0.0.1:8080/tcp was a backend of 192.0.2.1:80/tcp");
	/* and another start */
	now.state.first = true;
	memory->dp->clock += 100;
	commit_as_up(&now, memory_dataplane_restart(memory), 0);
	expect_waiting(&now, &now.backends[0][0],
		       "10.0.0.1:8080/tcp was a backend of 192.0.2.1:80/tcp");
	expect_up(&now, &now.backends[0][1]);
	now.state.first = false;
	now.backends[0][0].admin = ADMIN_AUTO;
	memory->dp->clock += 300;
	commit_as_up(&now, memory->dp, 0);
	expect_up(&now, &now.backends[0][0]);
	expect_up(&now, &now.backends[0][1]);
	assert_null(now.backends[0][0].bound_why);
	scene_end(&before);
	scene_end(&now);
	memory_dataplane_free(memory);
}

/* A reload takes the service off NAT: its real is in nobody's way then. */
static void what_waits_waits_no_more_without_nat(void **unused)
{
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){64, 256, 1 << 16, 64});
	static struct scene before, now;
	struct config_service *service;

	memory->dp->clock = 10000;
	scene_set(&before, "services:\n" SERVICE("a", "192.0.2.1", ONE));
	commit_as_up(&before, memory->dp, 0);
	scene_set(&now, "services:\n" SERVICE("a", "192.0.2.7", ONE));
	now.state.first = true;
	commit_as_up(&now, memory_dataplane_restart(memory), 0);
	expect_waiting(&now, &now.backends[0][0],
		       "10.0.0.1:8080/tcp is a backend of 192.0.2.1:80/tcp");
	now.state.first = false;
	service = &now.config->services[0];
	service->forward = LB_FORWARD_IPIP;
	service->backends[0].port = 0;
	now.backends[0][0].port = 0;
	commit_as_up(&now, memory->dp, 0);
	expect_up(&now, &now.backends[0][0]);
	assert_null(now.backends[0][0].bound_why);
	scene_end(&before);
	scene_end(&now);
	memory_dataplane_free(memory);
}

static void a_trial_says_the_same_of_a_config(void **unused)
{
	static struct scene present;
	struct config *next =
	    parse("services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE("b", "192.0.2.2", TWO));
	struct error err = {""};

	scene_set(&present, "services:\n" SERVICE("a", "192.0.2.1", ONE ", " TWO));
	assert_int_equal(reals_check_config(&present.world, next, &err), -EINVAL);
	assert_non_null(
	    strstr(err.text, "service b: backend 10.0.0.2: 10.0.0.2:8080/tcp is of service a"));
	assert_int_equal(reals_check_config(&present.world, present.config, &err), 0);
	config_free(next);
	config_free(present.config);
}

/* ---- what a reload ends, and what leaves with an interface ---- */

static void expect_warnings(struct scene *scene, const char *text, const char *const *sentences)
{
	struct config *next = parse(text);
	struct sentences got = {0};
	unsigned i = 0;

	scene->state.warnings = &got;
	scene->state.trial = true;
	nat_warn_of_change(&scene->state, next);
	for (; sentences[i]; i++) {
		assert_true(i < got.count);
		assert_string_equal(got.list[i], sentences[i]);
	}
	assert_int_equal(got.count, i);
	sentences_done(&got);
	config_free(next);
}

static void a_reload_that_ends_connections_is_warned_of(void **unused)
{
	static struct scene scene;

	scene_set(&scene, "services:\n" SERVICE("a", "192.0.2.1", ONE ", " TWO));
	expect_warnings(&scene, "services:\n" SERVICE("a", "192.0.2.1", TWO ", " ONE),
			(const char *const[]){NULL});
	expect_warnings(
	    &scene,
	    "services:\n" SERVICE("a", "192.0.2.1", "{ address: 10.0.0.1, port: 81 }, " TWO),
	    (const char *const[]){"service a: backend 10.0.0.1: port 8080 -> 81: connections end, "
				  "as their packets go to the new port",
				  NULL});
	expect_warnings(
	    &scene,
	    "services:\n" SERVICE(
		"a", "192.0.2.1",
		"{ address: 10.0.0.1, port: 81 }, { address: 10.0.0.2, port: 82 }"),
	    (const char *const[]){"service a: backend 10.0.0.1 and 1 more: port 8080 -> 81: "
				  "connections end, as their packets go to the new port",
				  NULL});
	expect_warnings(
	    &scene,
	    "services:\n  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, "
	    "backends: [" ONE "] }\n",
	    (const char *const[]){"service a: forward: is no longer nat: its connections end, as "
				  "backends get their packets at the VIP",
				  NULL});
	config_free(scene.config);
}

#define PREFIX(prefix) "nat: { prefix: \"" prefix "\" }\n"
#define SIX            "{ address: \"2001:db8::1\" }"

static void another_prefix_of_clients_is_warned_of_where_some_are_in_it(void **unused)
{
	static struct scene scene;

	scene_set(&scene, PREFIX("2001:db8:46::/96") "services:\n" SERVICE("a", "192.0.2.1", SIX));
	expect_warnings(&scene,
			PREFIX("2001:db8:46::/96") "services:\n" SERVICE("a", "192.0.2.1", SIX),
			(const char *const[]){NULL});
	expect_warnings(&scene,
			PREFIX("2001:db8:47::/64") "services:\n" SERVICE("a", "192.0.2.1", SIX),
			(const char *const[]){
			    "nat: prefix: 2001:db8:46::/96 -> 2001:db8:47::/64: connections of "
			    "IPv4 clients to IPv6 backends end",
			    NULL});
	expect_warnings(&scene,
			PREFIX("2001:db8:47::/64") "services:\n" SERVICE("a", "192.0.2.1", ONE),
			(const char *const[]){NULL});
	config_free(scene.config);
}

static void services_are_behind_the_interface_of_their_next_hops(void **unused)
{
	const struct attachment seven = {.name = "eth7", .ifindex = 7};
	static struct scene scene;
	char text[256];

	scene_set(&scene,
		  "services:\n" SERVICE("a", "192.0.2.1", ONE) SERVICE(
		      "b", "192.0.2.2",
		      TWO) "  - { name: c, vip: 192.0.2.3, protocol: tcp, port: 80, backends: [" ONE
			   "] }\n");
	assert_int_equal(nat_services_behind(&scene.state, &seven, text), 1);
	assert_string_equal(text, "a");
	scene.backends[1][0].hop_found = false; /* it may be there */
	assert_int_equal(nat_services_behind(&scene.state, &seven, text), 2);
	assert_string_equal(text, "a, b");
	config_free(scene.config);
}

static void the_hint_is_of_tcp_with_nat_alone(void **unused)
{
	static struct scene scene;
	char text[BACKEND_HINT];

	scene_set(&scene, "services:\n" SERVICE("a", "192.0.2.1", ONE));
	assert_string_equal(backend_hint(&scene.backends[0][0], text), "");
	scene.backends[0][0].silence.unanswered = 120;
	assert_string_equal(backend_hint(&scene.backends[0][0], text),
			    "120 SYNs in, nothing back in 10 s: is its route to clients through "
			    "this machine, or another of its balancers?");
	assert_int_equal(nat_count_silent(&scene.services[0]), 1);
	scene.config->services[0].protocol = CONFIG_UDP;
	assert_string_equal(backend_hint(&scene.backends[0][0], text), "");
	assert_int_equal(nat_count_silent(&scene.services[0]), 0);
	config_free(scene.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ten_seconds_of_syns_without_a_reply_are_silence),
	    cmocka_unit_test(one_reply_ends_it),
	    cmocka_unit_test(a_few_syns_say_nothing_and_none_change_nothing),
	    cmocka_unit_test(a_real_stays_with_its_service),
	    cmocka_unit_test(a_real_of_one_service_does_not_come_to_another_at_once),
	    cmocka_unit_test(a_real_that_comes_back_or_gets_another_port_is_looked_up),
	    cmocka_unit_test(what_was_adopted_does_not_count),
	    cmocka_unit_test(what_waits_for_a_real_does_not_keep_it_from_its_service),
	    cmocka_unit_test(a_start_leaves_out_what_is_not_free_and_takes_it_later),
	    cmocka_unit_test(what_waits_waits_no_more_without_nat),
	    cmocka_unit_test(a_trial_says_the_same_of_a_config),
	    cmocka_unit_test(a_reload_that_ends_connections_is_warned_of),
	    cmocka_unit_test(another_prefix_of_clients_is_warned_of_where_some_are_in_it),
	    cmocka_unit_test(services_are_behind_the_interface_of_their_next_hops),
	    cmocka_unit_test(the_hint_is_of_tcp_with_nat_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
