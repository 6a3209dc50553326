/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* POST requests on the control socket, which run as tasks (host/tasks.h): when they are answered,
 * and what else is meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/api/api.h"
#include "lbd/host/host.h"
#include "support/memory_dataplane.h"

#define PATIENCE_MS 60000

static char directory[] = "/tmp/lbd-test-changes-XXXXXX";
static struct event_base *base;
static struct tasks *tasks;
static struct lateness *lateness;
static struct memory_dataplane *memory;
static struct neigh *neigh;
static struct health *health;
static struct state *state;
static struct api *api;
static bool begun;

/* A task that the others wait for reads from it. */
static int gate[2];
static bool gate_is_shut;

static void open_gate(void)
{
	if (!gate_is_shut)
		return;
	gate_is_shut = false;
	assert_int_equal(write(gate[1], "x", 1), 1);
}

static struct config *make_config(void)
{
	char text[1024];
	struct config *config;
	struct error err;
	int length = snprintf(text, sizeof(text),
			      "socket: %s/lbd.sock\ngroup: root\nmetrics: off\nservices:\n"
			      "  - { name: web, vip: 192.0.2.1, protocol: tcp, port: 80, health: { "
			      "type: none }, backends: [{ address: 10.0.0.1 }] }\n",
			      directory);

	if (config_parse(text, (size_t)length, "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static void run_begin(void *arg)
{
	struct error err;

	begun = !state_begin(state, &err);
}

static void turn(uint64_t until)
{
	assert_true(clock_monotonic_ms() < until);
	event_base_loop(base, EVLOOP_ONCE);
}

static uint64_t patience_ends(void)
{
	return clock_monotonic_ms() + PATIENCE_MS;
}

/* They have not begun. */
static void make_state_and_api(void)
{
	struct error err = {0};
	const struct state_options options = {.base = base,
					      .config = make_config(),
					      .config_path = "lbd.yaml",
					      .dataplane = memory->dp,
					      .neigh = neigh,
					      .health = health,
					      .tasks = tasks};
	if (state_new(&options, &state, &err))
		fail_msg("%s", err.text);
	const struct api_options for_api = {.base = base,
					    .state = state,
					    .dp = memory->dp,
					    .health = health,
					    .lateness = lateness,
					    .tasks = tasks,
					    .connections = 128};
	if (api_new(&for_api, &api, &err))
		fail_msg("%s", err.text);
}

static int begin(void **unused)
{
	struct error err = {0};
	uint64_t until = patience_ends();

	base = loop_new();
	memory = memory_dataplane_new((struct memory_limits){4, 8, 4096, 64});
	if (tasks_new(base, &tasks) || lateness_new(base, &lateness) ||
	    neigh_new(base, &neigh, &err) || health_new(base, lateness, &health, &err))
		fail_msg("%s", err.text);
	make_state_and_api();
	begun = false;
	assert_int_equal(tasks_add(tasks, run_begin, NULL), 0);
	while (!begun)
		turn(until);
	neigh_on_link(neigh, NULL, NULL);
	return 0;
}

static int end(void **unused)
{
	open_gate();
	tasks_finish(tasks);
	api_free(api);
	state_free(state);
	health_free(health);
	tasks_free(tasks);
	lateness_free(lateness);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	libevent_global_shutdown();
	return 0;
}

/* ---- a client ---- */

struct client {
	int fd;
	char answer[4096];
	size_t length;
	bool done;
};

static void ask(struct client *client, const char *method, const char *path, const char *body)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char request[1024];
	int length;

	*client = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/lbd.sock", directory);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	length = snprintf(request, sizeof(request),
			  "%s %s HTTP/1.1\r\nHost: lbd\r\nContent-Length: %zu\r\n\r\n%s", method,
			  path, strlen(body), body);
	assert_int_equal(send(client->fd, request, (size_t)length, MSG_NOSIGNAL), length);
}

static void take(struct client *client)
{
	ssize_t got = recv(client->fd, client->answer + client->length,
			   sizeof(client->answer) - 1 - client->length, MSG_DONTWAIT);

	if (got > 0)
		client->length += (size_t)got;
	client->done |= !got;
}

static void finish(struct client *client)
{
	uint64_t until = patience_ends();

	while (!client->done) {
		turn(until);
		take(client);
	}
	close(client->fd);
}

static unsigned status_of(const struct client *client)
{
	return (unsigned)strtoul(client->answer + strlen("HTTP/1.1 "), NULL, 10);
}

/* ---- a task that the others wait for ---- */

static void read_gate(void *arg)
{
	char byte;

	if (read(gate[0], &byte, 1) != 1)
		abort();
}

static void run_wait(void *arg)
{
	task_wait(read_gate, NULL);
}

static void close_gate(void)
{
	assert_int_equal(pipe(gate), 0);
	gate_is_shut = true;
	assert_int_equal(tasks_add(tasks, run_wait, NULL), 0);
}

static void gate_done(void)
{
	close(gate[0]);
	close(gate[1]);
}

static uint32_t weight(void)
{
	unsigned count;

	return state_services(state, &count)[0]->backends[0]->weight;
}

/* ---- the tests ---- */

#define WEIGHT_9 "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"weight\": 9}"

static void a_change_is_answered_when_it_is_made_and_others_before(void **unused)
{
	struct client change, stats;

	close_gate();
	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	ask(&stats, "GET", "/v1/stats", "");
	finish(&stats);
	assert_int_equal(status_of(&stats), 200);
	take(&change);
	assert_int_equal(change.length, 0);
	assert_int_equal(weight(), 100);
	open_gate();
	finish(&change);
	gate_done();
	assert_int_equal(status_of(&change), 200);
	assert_non_null(strstr(change.answer, "\"weight\":9,"));
	assert_int_equal(weight(), 9);
}

static void a_change_is_made_although_its_client_has_gone(void **unused)
{
	uint64_t until = patience_ends();
	struct client change, stats;

	close_gate();
	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	ask(&stats, "GET", "/v1/stats", "");
	finish(&stats); /* by now the other request has been read */
	close(change.fd);
	open_gate();
	while (weight() != 9)
		turn(until);
	gate_done();
}

/* Their bodies take memory, and a client that has gone leaves its own. */
static void more_than_sixty_four_waiting_changes_are_refused(void **unused)
{
	static struct client changes[65];

	close_gate();
	for (unsigned i = 0; i < 65; i++)
		ask(&changes[i], "POST", "/v1/backend/weight", WEIGHT_9);
	finish(&changes[64]);
	assert_int_equal(status_of(&changes[64]), 409);
	assert_non_null(strstr(changes[64].answer, "64 changes wait already"));
	open_gate();
	for (unsigned i = 0; i < 64; i++) {
		finish(&changes[i]);
		assert_int_equal(status_of(&changes[i]), 200);
	}
	gate_done();
}

static void a_change_that_is_refused_says_why(void **unused)
{
	struct client change;

	ask(&change, "POST", "/v1/backend/weight",
	    "{\"service\": \"dns\", \"address\": \"10.0.0.1\", \"weight\": 9}");
	finish(&change);
	assert_int_equal(status_of(&change), 404);
	assert_non_null(strstr(change.answer, "no such service"));
}

static void expect_answer(const char *path, const char *body, unsigned status, const char *part)
{
	struct client change;

	ask(&change, "POST", path, body);
	finish(&change);
	if (status_of(&change) != status || !strstr(change.answer, part))
		fail_msg("%s: expected %u and %s: %s", body, status, part, change.answer);
}

static void a_backend_is_called_by_its_name_and_a_service_by_its_vip(void **unused)
{
	struct client list;

	expect_answer(
	    "/v1/backend/add",
	    "{\"service\": \"192.0.2.1\", \"address\": \"10.0.0.2\", \"name\": \"web-2\", "
	    "\"labels\": {\"zone\": \"a\"}}",
	    200, "\"name\":\"web-2\",\"labels\":{\"zone\":\"a\"}");
	expect_answer("/v1/backend/weight",
		      "{\"service\": \"192.0.2.1:80/tcp\", \"address\": \"web-2\", \"weight\": 9}",
		      200, "\"address\":\"10.0.0.2\"");
	expect_answer("/v1/backend/weight",
		      "{\"service\": \"web\", \"address\": \"web-3\", \"weight\": 9}", 404,
		      "service web: backend \\\"web-3\\\": no such backend");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"name\": \"web-2\"}", 400,
		      "name: web-2: backend 10.0.0.2 has the same name: expected another");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"name\": \"web 2\"}", 400,
		      "name: web 2: expected 1 to 63 letters");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"labels\": {\"a\": 1}}",
		      400, "labels: a: no text: expected 1 to 63 visible");
	ask(&list, "GET", "/v1/backends?service=192.0.2.1", "");
	finish(&list);
	assert_non_null(strstr(list.answer, "\"name\":null,\"labels\":{}"));
	assert_non_null(strstr(list.answer, "\"weight\":9"));
	expect_answer("/v1/backend/remove", "{\"service\": \"web\", \"address\": \"web-2\"}", 200,
		      "\"service\":\"web\",\"address\":\"10.0.0.2\"");
}

#define SHOP                                                                                               \
	"{\"name\": \"shop\", \"vip\": \"192.0.2.20\", \"port\": 443, \"protocol\": \"tcp\", \"health\": " \
	"{\"type\": \"none\"}, \"backends\": [{\"address\": \"10.0.0.7\", \"name\": \"shop-1\"}]}"

static unsigned services(void)
{
	unsigned count;

	state_services(state, &count);
	return count;
}

static void a_service_is_added_changed_and_removed(void **unused)
{
	expect_answer("/v1/service/add", SHOP, 200, "\"name\":\"shop\",\"vip\":\"192.0.2.20\"");
	assert_int_equal(services(), 2);
	expect_answer("/v1/service/add", SHOP, 400,
		      "service shop: vip: 192.0.2.20: service shop in the config has the same VIP");
	expect_answer("/v1/backend/weight",
		      "{\"service\": \"192.0.2.20\", \"address\": \"shop-1\", \"weight\": 9}", 200,
		      "\"weight\":9,");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"shop\", \"address\": \"10.0.0.8\", \"name\": \"shop-2\"}",
		      200, "10.0.0.8");
	assert_int_equal(state_overrides_count(state), 3);
	expect_answer("/v1/service/remove", "{\"service\": \"192.0.2.20:443\", \"force\": true}",
		      200, "\"service\":\"shop\"");
	assert_int_equal(services(), 1);
	assert_int_equal(state_overrides_count(state), 0);
}

static void a_service_of_the_file_is_removed_until_it_is_in_the_way_no_more(void **unused)
{
	expect_answer("/v1/service/remove", "{\"service\": \"web\", \"force\": true}", 200, "web");
	assert_int_equal(services(), 0);
	assert_int_equal(state_overrides_count(state), 1);
	expect_answer("/v1/service/remove", "{\"service\": \"web\"}", 404, "no such service");
	expect_answer("/v1/service/add",
		      "{\"name\": \"web\", \"vip\": \"192.0.2.1\", \"port\": 80, \"protocol\": "
		      "\"tcp\", \"backends\": [{\"address\": \"10.0.0.9\"}]}",
		      200, "\"runtime\":true");
	assert_int_equal(state_overrides_count(state), 2);
}

static void a_service_that_no_config_could_have_is_refused(void **unused)
{
	expect_answer("/v1/service/add", "{\"vip\": \"192.0.2.1\", \"prot\": 80}", 400,
		      "service #1: prot: unknown key: did you mean");
	expect_answer("/v1/backend/add", "{\"service\": \"web\", \"address\": \"10.0.0.9\"}", 200,
		      "");
	/* the config does not have that backend */
	expect_answer(
	    "/v1/service/add",
	    "{\"name\": \"x\", \"vip\": \"10.0.0.9\", \"port\": 80, \"protocol\": \"tcp\", "
	    "\"backends\": [{\"address\": \"10.0.0.7\"}]}",
	    400, "service x: vip: 10.0.0.9: is a backend of service web");
	expect_answer(
	    "/v1/service/add",
	    "{\"name\": \"x\", \"vip\": \"192.0.2.9\", \"port\": 80, \"protocol\": \"tcp\", "
	    "\"backends\": [{\"address\": \"127.0.0.1\"}]}",
	    400, "a loopback address");
	assert_int_equal(services(), 1);
}

static void a_change_after_a_start_that_failed_is_refused(void **unused)
{
	struct client change;

	/* a state that has not begun is what such a start leaves */
	api_free(api);
	state_free(state);
	make_state_and_api();
	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	finish(&change);
	assert_int_equal(status_of(&change), 409);
	assert_int_equal(weight(), 100);
}

static int make_directory(void **unused)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **unused)
{
	return rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_change_is_answered_when_it_is_made_and_others_before),
	    TEST(a_change_is_made_although_its_client_has_gone),
	    TEST(more_than_sixty_four_waiting_changes_are_refused),
	    TEST(a_change_that_is_refused_says_why),
	    TEST(a_backend_is_called_by_its_name_and_a_service_by_its_vip),
	    TEST(a_service_is_added_changed_and_removed),
	    TEST(a_service_of_the_file_is_removed_until_it_is_in_the_way_no_more),
	    TEST(a_service_that_no_config_could_have_is_refused),
	    TEST(a_change_after_a_start_that_failed_is_refused),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
