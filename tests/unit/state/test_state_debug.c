/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The lines that --debug promises, of a state with checks and next hops on a data plane in plain
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "lbd/host/host.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_log.h"

#define PATIENCE_MS 60000 /* a loop that takes longer hangs */

/* ---- what is logged ---- */

static void capture_begin(struct test_log *capture)
{
	test_log_begin(capture);
	log_set_level(LOG_DEBUG);
}

static void capture_end(struct test_log *capture)
{
	log_set_level(LOG_INFO);
	test_log_end(capture);
}

static void expect_line(const struct test_log *capture, const char *part)
{
	if (!strstr(capture->text, part))
		fail_msg("no line with \"%s\" in:\n%s", part, capture->text);
}

static void expect_no_line(const struct test_log *capture, const char *part)
{
	if (strstr(capture->text, part))
		fail_msg("a line with \"%s\" in:\n%s", part, capture->text);
}

/* ---- commits of a world that the test makes ---- */

struct scene {
	struct memory_dataplane *memory;
	struct config_service config;
	struct service service;
	struct backend backends[2], *list[2];
	struct service *services[1];
	struct state state;
};

static void scene_begin(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	scene->memory = memory_dataplane_new((struct memory_limits){8, 32, 4096, 64});
	scene->state.options.dataplane = scene->memory->dp;
	scene->config = (struct config_service){.name = (char *)"web",
						.protocol = CONFIG_TCP,
						.port = 80,
						.algorithm = algo_find("maglev"),
						.mask4 = 32,
						.mask6 = 128,
						.tcp_idle_ms = 300000,
						.udp_idle_ms = 30000};
	scene->config.health.type = (char *)"tcp";
	addr_parse("192.0.2.10", &scene->config.vip);
	scene->service = (struct service){.state = &scene->state,
					  .config = &scene->config,
					  .backends = scene->list,
					  .backends_count = 2,
					  .status = SERVICE_DOWN,
					  .reported = SERVICE_DOWN};
	for (unsigned i = 0; i < 2; i++) {
		struct backend *backend = scene->list[i] = &scene->backends[i];

		*backend = (struct backend){.service = &scene->service,
					    .weight = 100,
					    .condition = BACKEND_CHECKING,
					    .reported = BACKEND_CHECKING,
					    .health = HEALTH_UP,
					    .hop_known = true,
					    .has_hop = true,
					    .hop = {.ifindex = 7, .mtu = 1500}};
		addr_parse(i ? "10.0.0.12" : "10.0.0.11", &backend->address);
	}
	scene->services[0] = &scene->service;
	scene->state.world = (struct world){scene->services, 1};
}

static void scene_end(struct scene *scene)
{
	for (unsigned i = 0; i < 2; i++)
		backend_drop_remarks(&scene->backends[i]);
	memory_dataplane_free(scene->memory);
}

static void commit(struct scene *scene)
{
	struct error err = {0};

	if (world_commit(&scene->state, &scene->state.world, &err))
		fail_msg("%s", err.text);
	report_world(&scene->state);
}

static void decisions_are_logged_with_their_reasons(void **unused)
{
	struct test_log capture;
	struct scene scene;

	scene_begin(&scene);
	capture_begin(&capture);
	commit(&scene);
	scene.backends[0].health = HEALTH_DOWN;
	remark_set(&scene.backends[0].health_why, "connect: refused");
	scene.backends[1].drain = true;
	commit(&scene);
	capture_end(&capture);
	scene_end(&scene);
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: opened: all backends have results: 2");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: down -> up: 2 of 2 backends up");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 10.0.0.11: checking -> up: "
			      "health up, next hop found\n");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 10.0.0.11: up -> down: health "
			      "down (connect: refused), next hop found");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 10.0.0.12: up -> draining: "
			      "health up, next hop found, drain requested");
}

static void commits_are_logged_with_what_they_change(void **unused)
{
	struct test_log capture;
	struct scene scene;

	scene_begin(&scene);
	capture_begin(&capture);
	commit(&scene);
	commit(&scene);
	scene.backends[0].weight = 50;
	scene.backends[1].hop.mtu = 1400;
	commit(&scene);
	scene.service.backends_count = 1;
	commit(&scene);
	capture_end(&capture);
	scene_end(&scene);
	expect_line(&capture, "debug: commit: services: 1, backends: 2; changed: services added 1, "
			      "backends added 2, weights 2, usable flags 2, next hops 2; ");
	expect_line(
	    &capture,
	    "debug: commit: services: 1, backends: 2; changed: nothing; 0 words written in ");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 10.0.0.11: weight in force "
			      "100 -> 50, configured 50");
	expect_line(&capture, "backends: 2; changed: weights 1, next hops 1");
	expect_line(&capture, "backends: 1; changed: backends removed 1");
}

static void a_failed_commit_is_logged_with_its_reason(void **unused)
{
	struct test_log capture;
	struct scene scene;
	struct error err = {0};

	scene_begin(&scene);
	scene.backends[1].address = scene.backends[0].address;
	capture_begin(&capture);
	assert_int_not_equal(world_commit(&scene.state, &scene.state.world, &err), 0);
	capture_end(&capture);
	scene_end(&scene);
	expect_line(&capture, "debug: commit: failed after ");
	expect_line(&capture, err.text);
}

/* ---- a running state, with one backend on this host ---- */

struct running {
	struct event_base *base;
	struct lateness *lateness;
	struct memory_dataplane *memory;
	struct neigh *neigh;
	struct health *health;
	struct state *state;
	int listener;
};

static uint16_t listen_here(int *ret)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t length = sizeof(here);

	*ret = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*ret, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(listen(*ret, 64), 0);
	assert_int_equal(getsockname(*ret, (struct sockaddr *)&here, &length), 0);
	return ntohs(here.sin_port);
}

/* A loopback address can be no backend in a file: it is put in afterwards. */
static struct config *make_config(uint16_t port)
{
	static const char text[] =
	    "metrics: off\n"
	    "services:\n"
	    "  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80, backends: [{ address: "
	    "10.0.0.11 }], health: { type: tcp, interval: 200ms } }\n";
	struct config *config;
	struct error err;

	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	addr_parse("127.0.0.1", &config->services[0].backends[0].address);
	config->services[0].health.port = port;
	return config;
}

static void running_begin(struct running *running)
{
	struct error err = {0};
	uint16_t port;

	memset(running, 0, sizeof(*running));
	port = listen_here(&running->listener);
	running->base = event_base_new();
	running->memory = memory_dataplane_new((struct memory_limits){8, 32, 4096, 64});
	if (lateness_new(running->base, &running->lateness) ||
	    neigh_new(running->base, &running->neigh, &err) ||
	    health_new(running->base, running->lateness, &running->health, &err))
		fail_msg("%s", err.text);
	const struct state_options options = {.base = running->base,
					      .config = make_config(port),
					      .config_path = "lbd.yaml",
					      .dataplane = running->memory->dp,
					      .neigh = running->neigh,
					      .health = running->health};

	if (state_new(&options, &running->state, &err))
		fail_msg("%s", err.text);
	neigh_on_link(running->neigh, NULL, NULL); /* interfaces of this host are not attached */
}

static void stop_listening(struct running *running)
{
	if (running->listener >= 0)
		close(running->listener);
	running->listener = -1;
}

static void running_end(struct running *running)
{
	state_free(running->state);
	health_free(running->health);
	lateness_free(running->lateness);
	neigh_free(running->neigh);
	memory_dataplane_free(running->memory);
	event_base_free(running->base);
	libevent_global_shutdown();
	stop_listening(running);
}

/* Turns the loop until there is a line with this in it. */
static void run_until(struct running *running, struct test_log *capture, const char *part)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (!strstr(test_log_read(capture), part) && clock_monotonic_ms() < end)
		event_base_loop(running->base, EVLOOP_ONCE);
}

static void probes_next_hops_sweeps_and_changes_are_logged(void **unused)
{
	struct test_log capture;
	struct running running;
	struct addr address;
	struct error err = {0};
	int rc;

	addr_parse("127.0.0.1", &address);
	capture_begin(&capture);
	running_begin(&running);
	run_until(&running, &capture, "-> no-next-hop");
	run_until(&running, &capture, "tcp probe passed");
	rc = state_backend_weight(running.state, "web", &address, 7, &err);
	stop_listening(&running);
	run_until(&running, &capture, "probe failed");
	run_until(&running, &capture, "debug: sweep: ");
	running_end(&running);
	capture_end(&capture);
	assert_int_equal(rc, 0);
	expect_line(&capture, "debug: health check of 127.0.0.1 port ");
	expect_line(&capture, ": tcp probe passed");
	expect_line(&capture, ": tcp probe failed: connect: refused; up, 1 of 3 probes until down");
	expect_line(&capture, "debug: next hop of 127.0.0.1: none: ");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 127.0.0.1: checking -> "
			      "no-next-hop: health ");
	expect_line(&capture, "debug: web 192.0.2.10:80/tcp: backend 127.0.0.1: run-time change: "
			      "in the file, weight 7\n");
	expect_line(&capture, "debug: sweep: round of ");
	expect_line(&capture, " flow entries live, ");
}

static void without_debug_there_are_none(void **unused)
{
	struct test_log capture;
	struct scene scene;

	scene_begin(&scene);
	capture_begin(&capture);
	log_set_level(LOG_INFO);
	commit(&scene);
	capture_end(&capture);
	scene_end(&scene);
	expect_line(&capture, "lbd: web 192.0.2.10:80/tcp: backend 10.0.0.11 up");
	expect_no_line(&capture, "debug: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decisions_are_logged_with_their_reasons),
	    cmocka_unit_test(commits_are_logged_with_what_they_change),
	    cmocka_unit_test(a_failed_commit_is_logged_with_its_reason),
	    cmocka_unit_test(probes_next_hops_sweeps_and_changes_are_logged),
	    cmocka_unit_test(without_debug_there_are_none),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
