/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/path.c: the MTU of the path to a backend, and what the log says of reports. */
#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_log.h"

/* ---- one backend ---- */

static uint16_t mtu(const char *vip, const char *address, uint8_t forward, uint16_t hop,
		    uint16_t reported)
{
	struct config_service config = {.forward = forward};
	struct service service = {.config = &config};
	struct backend backend = {.service = &service, .hop = {.mtu = hop}};

	assert_int_equal(addr_parse(vip, &config.vip), 0);
	assert_int_equal(addr_parse(address, &backend.address), 0);
	return path_mtu(&backend, reported);
}

static void a_path_has_the_mtu_of_its_next_hop(void **unused)
{
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 0), 1500);
	assert_int_equal(mtu("192.0.2.10", "fd00::11", LB_FORWARD_GUE, 9000, 0), 9000);
}

static void a_report_lowers_the_mtu(void **unused)
{
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 1400), 1400);
	assert_int_equal(mtu("2001:db8::10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 1400), 1400);
}

static void a_report_does_not_raise_the_mtu(void **unused)
{
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 1400, 1450), 1400);
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 500, 576), 500);
}

static void no_report_leaves_less_than_576_bytes_to_ipv4(void **unused)
{
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 597), 597);
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 576), 596);
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_GUE, 1500, 576), 608);
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_GRE, 1500, 576), 600);
}

/* Of IPv6 a client cannot be told less: a forged report would end its connections. */
static void no_report_leaves_less_than_1280_bytes_to_ipv6(void **unused)
{
	assert_int_equal(mtu("2001:db8::10", "fd00::11", LB_FORWARD_IPIP, 1500, 1321), 1321);
	assert_int_equal(mtu("2001:db8::10", "fd00::11", LB_FORWARD_IPIP, 1500, 1280), 1320);
	assert_int_equal(mtu("2001:db8::10", "fd00::11", LB_FORWARD_GUE, 1500, 1280), 1332);
	assert_int_equal(mtu("2001:db8::10", "10.0.0.11", LB_FORWARD_IPIP, 1500, 576), 1300);
	assert_int_equal(mtu("2001:db8::10", "10.0.0.11", LB_FORWARD_GRE, 1500, 576), 1304);
}

static void reports_are_about_tunnels(void **unused)
{
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_L2, 1500, 1400), 1500);
	assert_int_equal(mtu("192.0.2.10", "10.0.0.11", LB_FORWARD_NAT, 1500, 1400), 1500);
}

/* ---- a state on a data plane with a map of reports ---- */

struct scene {
	struct memory_dataplane *memory;
	struct config_service config[2];
	struct service service[2], *services[2];
	struct backend backend[2], *list[2];
	struct world world;
	struct state state;
	uint64_t now_ms;
	struct test_log log;
};

static void no_commit(evutil_socket_t fd, short what, void *arg)
{
}

static struct lb_path_key key_of(const struct backend *backend)
{
	struct lb_path_key path = {.family = 4};

	memcpy(path.addr, backend->address.bytes, 4);
	return path;
}

/* Service 0 has an IPv4 VIP, service 1 an IPv6 one; both have the backend 10.0.0.11. */
static void make_service(struct scene *scene, unsigned i)
{
	struct config_service *config = &scene->config[i];
	struct backend *backend = &scene->backend[i];

	*config = (struct config_service){.name = (char *)(i ? "six" : "four"),
					  .protocol = CONFIG_TCP,
					  .port = 80,
					  .algorithm = algo_find("maglev"),
					  .mask4 = 32,
					  .mask6 = 128,
					  .tcp_idle_ms = 300000,
					  .udp_idle_ms = 30000};
	config->health.type = (char *)"tcp";
	addr_parse(i ? "2001:db8::10" : "192.0.2.10", &config->vip);
	scene->list[i] = backend;
	scene->services[i] = &scene->service[i];
	scene->service[i] = (struct service){.state = &scene->state,
					     .config = config,
					     .backends = &scene->list[i],
					     .backends_count = 1};
	*backend = (struct backend){.service = &scene->service[i],
				    .weight = 100,
				    .health = HEALTH_UP,
				    .hop_known = true,
				    .has_hop = true,
				    .hop = {.ifindex = 7, .mtu = 1500}};
	addr_parse("10.0.0.11", &backend->address);
}

static void scene_begin(struct scene *scene)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);

	memset(scene, 0, sizeof(*scene));
	scene->memory = memory_dataplane_new((struct memory_limits){8, 32, 4096, 64});
	scene->memory->dp->clock = 1000;
	scene->now_ms = 1000;
	scene->memory->dp->paths_fd =
	    bpf_map_create(BPF_MAP_TYPE_HASH, NULL, sizeof(struct lb_path_key),
			   sizeof(struct lb_path), 33, &options);
	if (scene->memory->dp->paths_fd < 0) {
		memory_dataplane_free(scene->memory);
		print_message("# skip: BPF maps cannot be made: needs root\n");
		skip();
	}
	scene->state.options.dataplane = scene->memory->dp;
	scene->state.options.base = event_base_new();
	scene->state.commit = event_new(scene->state.options.base, -1, 0, no_commit, NULL);
	make_service(scene, 0);
	make_service(scene, 1);
	scene->state.world = (struct world){scene->services, 2};
}

static void scene_end(struct scene *scene)
{
	close(scene->memory->dp->paths_fd);
	memory_dataplane_free(scene->memory);
	event_free(scene->state.commit);
	event_base_free(scene->state.options.base);
}

/* The MTU in the data plane's line of the backend of service i. */
static unsigned committed(struct scene *scene, unsigned i)
{
	const struct dataplane *dp = scene->memory->dp;
	struct error err = {0};
	struct dp_service want;

	if (world_commit(&scene->state, &scene->state.world, &err))
		fail_msg("%s", err.text);
	service_key(&scene->service[i], &want);
	return dp->maps.backends[dp_find(dp, &want)->members[0].id].mtu;
}

/* What a router reports, and the log's lines about it. */
static const char *report(struct scene *scene, unsigned reported)
{
	const struct lb_path_key at = key_of(&scene->backend[0]);
	struct lb_path path = {.word = LB_PATH(reported, scene->memory->dp->clock),
			       .router = {htonl(0xcb007101)}};

	assert_int_equal(bpf_map_update_elem(scene->memory->dp->paths_fd, &at, &path, BPF_EXIST),
			 0);
	scene->memory->dp->maps.settings->paths_lowered++;
	test_log_begin(&scene->log);
	state_read_paths(&scene->state, scene->now_ms);
	return test_log_end(&scene->log);
}

static void a_report_reaches_the_data_plane_and_the_log(void **unused)
{
	struct scene scene;

	scene_begin(&scene);
	assert_int_equal(committed(&scene, 0), 1500);
	assert_int_equal(committed(&scene, 1), 1500);
	assert_string_equal(report(&scene, 1400),
			    "lbd: path to 10.0.0.11: MTU 1400, reported by 203.0.113.1\n");
	assert_true(event_pending(scene.state.commit, EV_TIMEOUT, NULL));
	assert_int_equal(committed(&scene, 0), 1400);
	assert_int_equal(committed(&scene, 1), 1400);
	assert_int_equal(backend_mtu(&scene.backend[0]), 1400);
	assert_int_equal(backend_longest(&scene.backend[0]), 1380);
	scene_end(&scene);
}

static void a_path_too_narrow_for_ipv6_is_warned_of(void **unused)
{
	struct scene scene;

	scene_begin(&scene);
	committed(&scene, 0);
	assert_string_equal(
	    report(&scene, 1290),
	    "lbd: path to 10.0.0.11: MTU 1290, reported by 203.0.113.1\n"
	    "lbd: warning: six [2001:db8::10]:80/tcp: backend 10.0.0.11: path MTU 1290, reported "
	    "by 203.0.113.1, leaves 1270 bytes for IPv6 packets, which are lost if they are "
	    "longer: expected 1280 or more, with links of MTU 1300 on the way\n");
	assert_int_equal(committed(&scene, 0), 1290);
	assert_int_equal(committed(&scene, 1), 1300);
	scene_end(&scene);
}

static void the_mtu_is_that_of_the_next_hop_again_after_ten_minutes(void **unused)
{
	struct scene scene;

	scene_begin(&scene);
	committed(&scene, 0);
	report(&scene, 1400);
	assert_int_equal(committed(&scene, 0), 1400);
	scene.memory->dp->clock += LB_PATH_IDLE + 1;
	state_read_paths(&scene.state, scene.now_ms);
	assert_int_equal(committed(&scene, 0), 1500);
	scene_end(&scene);
}

/* Whoever can forge reports must not make lbd commit and log five times a second. */
static void an_mtu_that_is_lowered_in_steps_costs_few_commits(void **unused)
{
	struct scene scene;
	unsigned commits = 0;

	scene_begin(&scene);
	committed(&scene, 0);
	for (unsigned fifth = 0; fifth < 60 * 5; fifth++) {
		report(&scene, 1499 - fifth);
		if (event_pending(scene.state.commit, EV_TIMEOUT, NULL))
			commits++;
		event_del(scene.state.commit);
		scene.now_ms += 200;
	}
	assert_in_range(commits, 5, 5 + 30);
	scene.now_ms += 2000;
	report(&scene, 1000);
	assert_int_equal(committed(&scene, 0), 1000);
	scene_end(&scene);
}

static void few_reports_are_taken_over_at_once(void **unused)
{
	struct scene scene;

	scene_begin(&scene);
	committed(&scene, 0);
	for (unsigned mtu = 1450; mtu >= 1250; mtu -= 50) {
		report(&scene, mtu);
		assert_int_equal(committed(&scene, 0), mtu);
		scene.now_ms += 200;
	}
	scene_end(&scene);
}

static void lines_about_reports_are_few_and_the_rest_is_counted(void **unused)
{
	struct scene scene;
	unsigned lines = 0;

	scene_begin(&scene);
	committed(&scene, 0);
	for (unsigned i = 0; i < 25; i++) {
		lines += report(&scene, 1499 - i)[0] != 0;
		scene.now_ms += 2000;
	}
	assert_int_equal(lines, 20);
	scene.now_ms += 12000;
	assert_string_equal(report(&scene, 1400),
			    "lbd: paths: 5 more lines about MTUs not logged in the last minute\n"
			    "lbd: path to 10.0.0.11: MTU 1400, reported by 203.0.113.1\n");
	scene_end(&scene);
}

static void nothing_new_costs_no_commit(void **unused)
{
	struct scene scene;

	scene_begin(&scene);
	committed(&scene, 0);
	state_read_paths(&scene.state, scene.now_ms);
	assert_false(event_pending(scene.state.commit, EV_TIMEOUT, NULL));
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_path_has_the_mtu_of_its_next_hop),
	    cmocka_unit_test(a_report_lowers_the_mtu),
	    cmocka_unit_test(a_report_does_not_raise_the_mtu),
	    cmocka_unit_test(no_report_leaves_less_than_576_bytes_to_ipv4),
	    cmocka_unit_test(no_report_leaves_less_than_1280_bytes_to_ipv6),
	    cmocka_unit_test(reports_are_about_tunnels),
	    cmocka_unit_test(a_report_reaches_the_data_plane_and_the_log),
	    cmocka_unit_test(a_path_too_narrow_for_ipv6_is_warned_of),
	    cmocka_unit_test(the_mtu_is_that_of_the_next_hop_again_after_ten_minutes),
	    cmocka_unit_test(an_mtu_that_is_lowered_in_steps_costs_few_commits),
	    cmocka_unit_test(few_reports_are_taken_over_at_once),
	    cmocka_unit_test(lines_about_reports_are_few_and_the_rest_is_counted),
	    cmocka_unit_test(nothing_new_costs_no_commit),
	};

	return cmocka_run_group_tests_name("state: paths", tests, NULL, NULL);
}
