/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The room announce on a real state, with a data plane in plain memory and routes in a network
 * namespace: what changes in state, config and kernel reaches routes and file. */
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
#include "common/files.h"
#include "lbd/announce/internal.h"
#include "lbd/host/host.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_loop.h"
#include "support/test_netns.h"

#define PATIENCE_MS 60000
#define UP          "{ min-up: 2, file: %s }"

static char directory[] = "/tmp/test_announce.XXXXXX";
static char config_path[64], overrides_path[64], record_path[64], file_path[64];

static struct event_base *base;
static struct lateness *lateness;
static struct memory_dataplane *memory;
static struct neigh *neigh;
static struct health *health;
static struct state *state;
static struct announce *announce;

/* ---- lbd, but for program and interfaces ---- */

/* Two services of one VIP and one of another, each with two backends. */
static void put_config(const char *line)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "%s\n"
		 "defaults: { health: { type: none } }\n"
		 "services:\n"
		 "  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80, slots: 13,\n"
		 "      backends: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }\n"
		 "  - { name: tls, vip: 192.0.2.10, protocol: tcp, port: 443, slots: 13,\n"
		 "      backends: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }\n"
		 "  - { name: web6, vip: 2001:db8::10, protocol: tcp, port: 80, slots: 13,\n"
		 "      backends: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }] }\n",
		 line);
	test_file_put(config_path, text);
}

static void announce_with(const char *keys)
{
	char line[256], values[160];

	snprintf(values, sizeof(values), keys, file_path);
	snprintf(line, sizeof(line), "announce: %s", values);
	put_config(line);
}

static void start(void)
{
	struct error err = {""};
	struct state_options options = {.base = base,
					.config_path = config_path,
					.overrides_path = overrides_path,
					.dataplane = memory->dp,
					.neigh = neigh,
					.health = health};
	struct announce_options for_announce = {
	    .base = base, .dp = memory->dp, .record = record_path};

	if (config_load(config_path, &options.config, &err) || state_new(&options, &state, &err))
		fail_msg("%s", err.text);
	for_announce.state = state;
	if (announce_new(&for_announce, &announce, &err) || announce_begin(announce, &err))
		fail_msg("%s", err.text);
}

static void stop(void)
{
	announce_free(announce);
	state_free(state);
	announce = NULL;
	state = NULL;
}

static int set_up(void **unused)
{
	struct error err = {""};

	if (!netns_entered())
		return 0;
	base = loop_new();
	memory = memory_dataplane_new((struct memory_limits){8, 64, 4096, 64});
	if (lateness_new(base, &lateness) || neigh_new(base, &neigh, &err) ||
	    health_new(base, lateness, &health, &err))
		return -1;
	return 0;
}

static int tear_down(void **unused)
{
	if (!netns_entered())
		return 0;
	stop();
	health_free(health);
	lateness_free(lateness);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	unlink(config_path);
	unlink(overrides_path);
	unlink(record_path);
	unlink(file_path);
	return system("for f in 4 6; do for t in 76 77; do ip -$f route flush table $t "
		      "2>/dev/null; done; done; true");
}

/* ---- what is seen from outside ---- */

static unsigned routes(const char *options)
{
	char command[256];
	unsigned count = 0;
	FILE *from;

	snprintf(command, sizeof(command),
		 "for f in 4 6; do ip -$f route show %s 2>/dev/null; done | wc -l", options);
	from = popen(command, "r");
	assert_non_null(from);
	assert_int_equal(fscanf(from, "%u", &count), 1);
	pclose(from);
	return count;
}

/* The number in the file; 1: there is none. */
static int priority(void)
{
	struct error err;
	char *text;
	int value;

	if (file_read_kept(file_path, 100, &text, &err) < 0)
		return 1;
	value = atoi(text);
	free(text);
	return value;
}

static enum node_state node_state(void)
{
	struct announce_node node;

	announce_node(announce, &node);
	assert_true(node.on);
	return node.state;
}

static void wait_for_state(enum node_state wanted)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (node_state() != wanted) {
		if (clock_monotonic_ms() > end)
			fail_msg("node is %s, expected %s", announce_state_name(node_state()),
				 announce_state_name(wanted));
		test_loop_run(base, 20);
	}
}

static void wait_for_routes(const char *options, unsigned wanted)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (routes(options) != wanted) {
		if (clock_monotonic_ms() > end)
			fail_msg("%u routes of %s, expected %u", routes(options), options, wanted);
		test_loop_run(base, 50);
	}
}

static void drain_backend(const char *service, const char *address, bool on)
{
	struct addr backend = test_addr(address);
	struct error err;

	if (state_backend_drain(state, service, &backend, on, NULL, &err))
		fail_msg("%s", err.text);
}

static void drain_node(bool on, bool withdraw)
{
	struct error err;

	if (state_node_drain(state, on, withdraw, &err))
		fail_msg("%s", err.text);
}

static void reload(void)
{
	struct error err;

	if (state_reload(state, NULL, &err))
		fail_msg("%s", err.text);
}

/* ---- tests ---- */

static void a_node_that_starts_announces_nothing_until_its_backends_are_known(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	assert_int_equal(node_state(), NODE_STARTING);
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(priority(), node_priority(NODE_STARTING));
	wait_for_state(NODE_UP);
	assert_int_equal(routes("table 76 proto 76 metric 10"), 2);
	assert_int_equal(priority(), 0);
}

/* In the same turn of the loop, so that no timer adds to the time that it takes. */
static void a_vip_is_withdrawn_in_the_turn_in_which_too_few_backends_are_left(void **unused)
{
	struct announce_node node;

	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	drain_backend("web6", "10.0.0.11", true);
	assert_int_equal(routes("table 76"), 1);
	announce_node(announce, &node);
	assert_int_equal(node.state, NODE_UP);
	assert_int_equal(node.announced, 1);
	drain_backend("web", "10.0.0.11", true); /* tls still has two */
	assert_int_equal(routes("table 76"), 1);
	drain_backend("tls", "10.0.0.11", true);
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(node_state(), NODE_WITHDRAWN);
	assert_int_equal(priority(), node_priority(NODE_WITHDRAWN));
	drain_backend("tls", "10.0.0.11", false);
	assert_int_equal(routes("table 76"), 1);
	assert_int_equal(priority(), 0);
}

static void a_blind_node_withdraws_in_the_same_turn(void **unused)
{
	unsigned count;

	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	for (unsigned i = 0; i < 3; i++) {
		struct service *service = state_services(state, &count)[i];

		service->blind = true;
		service->up = 0;
	}
	drain_node(true, false); /* any change makes it look */
	assert_int_equal(node_state(), NODE_BLIND);
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(priority(), node_priority(NODE_BLIND));
}

static void a_drain_raises_the_metric_and_a_withdrawal_removes_the_routes(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	drain_node(true, false);
	assert_int_equal(node_state(), NODE_DRAINING);
	assert_int_equal(routes("table 76"), 2);
	assert_int_equal(routes("table 76 metric 2000"), 2);
	assert_int_equal(priority(), node_priority(NODE_DRAINING));
	drain_node(true, true);
	assert_int_equal(node_state(), NODE_WITHDRAWN);
	assert_int_equal(routes("table 76"), 0);
	drain_node(false, false);
	assert_int_equal(node_state(), NODE_UP);
	assert_int_equal(routes("table 76 metric 10"), 2);
}

static void a_node_drain_holds_over_reload_and_restart(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	drain_node(true, true);
	reload();
	assert_int_equal(node_state(), NODE_WITHDRAWN);
	stop();
	memory_dataplane_restart(memory);
	start();
	wait_for_state(NODE_WITHDRAWN);
	assert_true(state_node_order(state)->drain && state_node_order(state)->withdraw);
	drain_node(false, false);
	wait_for_state(NODE_UP);
	stop();
	memory_dataplane_restart(memory);
	start();
	wait_for_state(NODE_UP);
	assert_false(state_node_order(state)->drain);
}

static void without_announce_the_node_cannot_be_drained(void **unused)
{
	struct announce_node node;
	struct error err;

	needs_root();
	put_config("");
	start();
	announce_node(announce, &node);
	assert_false(node.on);
	assert_int_not_equal(state_node_drain(state, true, false, &err), 0);
	assert_non_null(strstr(err.text, "no `announce:`"));
	assert_false(state_node_order(state)->drain);
	assert_int_not_equal(access(record_path, F_OK), 0);
}

static void routes_outlive_lbd_and_the_next_one_keeps_them(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	stop();
	assert_int_equal(routes("table 76 metric 10"), 2);
	assert_int_equal(priority(), 0);
	here("ip monitor route >%s/events & echo $! >%s/pid; sleep 0.2", directory, directory);
	memory_dataplane_restart(memory);
	start();
	wait_for_state(NODE_UP);
	assert_int_equal(routes("table 76 metric 10"), 2);
	assert_int_equal(priority(), 0);
	/* A router would have seen each event. */
	here("kill $(cat %s/pid); ! grep -E 'table (76|all)' %s/events; rm %s/pid %s/events",
	     directory, directory, directory, directory);
}

static void what_others_remove_comes_back_and_what_is_not_wanted_goes(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	here("ip route flush table 76");
	here("ip route add unreachable 192.0.2.99/32 table 76 proto 76 metric 10");
	wait_for_routes("192.0.2.10/32 table 76", 1);
	wait_for_routes("192.0.2.99/32 table 76", 0);
}

static void a_route_that_cannot_be_added_is_shown_until_it_can(void **unused)
{
	struct announce_node node;

	needs_root();
	here("ip route add unreachable 192.0.2.10/32 table 76 proto static metric 10");
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	announce_node(announce, &node);
	assert_int_equal(node.announced, 1);
	assert_non_null(strstr(node.fault, "another protocol has one"));
	here("ip route del unreachable 192.0.2.10/32 table 76 proto static metric 10");
	wait_for_routes("table 76 proto 76", 2);
	announce_node(announce, &node);
	assert_string_equal(node.fault, "");
	assert_int_equal(node.announced, 2);
}

static void a_reload_moves_the_routes_to_another_table_and_metric(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	announce_with("{ table: 77, protocol: 77, metric: 20 }");
	reload();
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(routes("table 77 proto 77 metric 20"), 2);
	assert_int_equal(priority(), node_priority(NODE_WITHDRAWN)); /* nobody writes it any more */
}

static void a_config_changed_while_lbd_was_stopped_moves_them_too(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	stop();
	announce_with("{ table: 77 }");
	memory_dataplane_restart(memory);
	start();
	wait_for_state(NODE_UP);
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(routes("table 77"), 2);
}

static void announce_removed_from_the_config_withdraws_everything(void **unused)
{
	needs_root();
	announce_with(UP);
	start();
	wait_for_state(NODE_UP);
	assert_int_equal(access(record_path, F_OK), 0);
	put_config("");
	reload();
	assert_int_equal(routes("table 76"), 0);
	assert_int_equal(priority(), node_priority(NODE_WITHDRAWN));
	assert_int_not_equal(access(record_path, F_OK), 0);
	announce_with(UP);
	reload();
	wait_for_state(NODE_UP);
	assert_int_equal(routes("table 76"), 2);
}

static void a_file_that_cannot_be_written_is_shown_and_the_routes_are_there(void **unused)
{
	struct announce_node node;

	needs_root();
	announce_with("{ file: /nowhere/vrrp }");
	start();
	wait_for_state(NODE_UP);
	announce_node(announce, &node);
	assert_non_null(strstr(node.fault, "/nowhere/vrrp"));
	assert_int_equal(routes("table 76"), 2);
}

static int group_up(void **unused)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(config_path, sizeof(config_path), "%s/lbd.yaml", directory);
	snprintf(overrides_path, sizeof(overrides_path), "%s/overrides.json", directory);
	snprintf(record_path, sizeof(record_path), "%s/announce.json", directory);
	snprintf(file_path, sizeof(file_path), "%s/vrrp", directory);
	netns_enter(unused);
	if (!netns_entered())
		return 0;
	here("ip link add d0 type veth peer name d1");
	here("ip link set d1 up");
	here("ip link set d0 up");
	here("ip addr add 10.0.0.1/24 dev d0");
	for (int i = 11; i <= 12; i++)
		here("ip neigh add 10.0.0.%d lladdr 02:00:00:00:00:%d nud permanent dev d0", i, i);
	return 0;
}

static int group_down(void **unused)
{
	return rmdir(directory);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(a_node_that_starts_announces_nothing_until_its_backends_are_known),
	    T(a_vip_is_withdrawn_in_the_turn_in_which_too_few_backends_are_left),
	    T(a_blind_node_withdraws_in_the_same_turn),
	    T(a_drain_raises_the_metric_and_a_withdrawal_removes_the_routes),
	    T(a_node_drain_holds_over_reload_and_restart),
	    T(without_announce_the_node_cannot_be_drained),
	    T(routes_outlive_lbd_and_the_next_one_keeps_them),
	    T(what_others_remove_comes_back_and_what_is_not_wanted_goes),
	    T(a_route_that_cannot_be_added_is_shown_until_it_can),
	    T(a_reload_moves_the_routes_to_another_table_and_metric),
	    T(a_config_changed_while_lbd_was_stopped_moves_them_too),
	    T(announce_removed_from_the_config_withdraws_everything),
	    T(a_file_that_cannot_be_written_is_shown_and_the_routes_are_there),
	};

	return cmocka_run_group_tests(tests, group_up, group_down);
}
