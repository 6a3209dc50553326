/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests on the control socket that are answered later: POST, which runs as a task
 * (host/tasks.h), and clients that wait for events. */
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

#define PATIENCE_MS 60000

#include "common/clock.h"
#include "common/log.h"
#include "lbd/events/events.h"
#include "support/test_addr.h"
#include "api_served.h"

static char directory[] = "/tmp/lbd-test-changes-XXXXXX";

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

/* They have not begun. */
static void make_small(void)
{
	make_state_and_api(make_config(), NULL, 128);
}

static int begin(void **unused)
{
	struct error err = {0};

	base = loop_new();
	if (events_open(&(struct events_options){.base = base}, &err))
		fail_msg("%s", err.text);
	make_parts((struct memory_limits){4, 8, 4096, 64});
	make_small();
	begin_state();
	return 0;
}

static int end(void **unused)
{
	open_gate();
	end_served();
	events_close();
	event_base_free(base);
	libevent_global_shutdown();
	return 0;
}

/* ---- a client ---- */

struct client {
	int fd;
	char answer[65536];
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

#define REGISTERED "/v1/services/web/backends/10.0.0.7"

static void renew_all(struct client *changes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ask(&changes[i], "PUT", REGISTERED, "{\"ttl\":60}");
}

static void all_are_renewed(struct client *changes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		finish(&changes[i]);
		assert_int_equal(status_of(&changes[i]), 200);
		assert_non_null(strstr(changes[i].answer, "\"warnings\""));
	}
}

/* Also while a change is under way, which has a copy of what is renewed. */
static void renewals_of_many_at_once_are_not_refused(void **unused)
{
	static struct client changes[100], stats, other;
	uint64_t until = patience_ends();

	renew_all(changes, 1);
	all_are_renewed(changes, 1);
	renew_all(changes, 100);
	all_are_renewed(changes, 100);
	close_gate();
	while (!tasks_running(tasks))
		turn(until);
	renew_all(changes, 100);
	ask(&other, "POST", "/v1/backend/weight", WEIGHT_9);
	ask(&stats, "GET", "/v1/stats", "");
	finish(&stats);
	take(&changes[0]);
	assert_int_equal(changes[0].length, 0);
	open_gate();
	all_are_renewed(changes, 100);
	finish(&other);
	assert_int_equal(status_of(&other), 200);
	gate_done();
}

/* Asked while the gate is shut, so that they wait together; each is answered in answers. */
static void register_together(struct client *changes, const char *const *asked, unsigned count)
{
	struct client stats;
	uint64_t until = patience_ends();

	close_gate();
	while (!tasks_running(tasks))
		turn(until);
	for (unsigned i = 0; i < count; i++) {
		char path[128];
		const char *body = strchr(asked[i], ' ');

		snprintf(path, sizeof(path), "/v1/services/web/backends/%.*s",
			 (int)(body - asked[i]), asked[i]);
		ask(&changes[i], strcmp(body, " gone") ? "PUT" : "DELETE", path,
		    strcmp(body, " gone") ? body + 1 : "{\"now\": true}");
		ask(&stats, "GET", "/v1/stats", ""); /* once this is answered, that has come */
		finish(&stats);
	}
	open_gate();
	for (unsigned i = 0; i < count; i++)
		finish(&changes[i]);
	gate_done();
}

static struct backend *backend_at(const char *text)
{
	const struct addr address = test_addr(text);

	return service_find_backend(state_find_service(state, "web"), &address);
}

static void registrations_that_wait_together_are_one_change(void **unused)
{
	static const char *const asked[] = {"10.0.0.2 {\"weight\": 2}", "10.0.0.3 {\"weight\": 3}",
					    "10.0.0.4 {\"weight\": 4, \"name\": \"web-4\"}",
					    "10.0.0.5 {\"ttl\": 60}"};
	static struct client changes[4];
	uint64_t before = state_generation(state);

	register_together(changes, asked, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(status_of(&changes[i]), 200);
		assert_non_null(strstr(changes[i].answer, "\"warnings\":[]"));
	}
	assert_int_equal(state_generation(state), before + 1);
	assert_non_null(strstr(changes[0].answer, "\"address\":\"10.0.0.2\""));
	assert_non_null(strstr(changes[2].answer, "\"name\":\"web-4\""));
	assert_int_equal(backend_at("10.0.0.3")->weight, 3);
	assert_int_equal(backend_at("10.0.0.5")->weight, 100);
}

static void one_that_is_wrong_spoils_no_other(void **unused)
{
	static const char *const asked[] = {"10.0.0.2 {}", "10.0.0.1 {}", "192.0.2.1 {}",
					    "10.0.0.3 {\"weight\": -1}", "10.0.0.4 {\"ttl\": 5}"};
	static const unsigned statuses[] = {200, 409, 400, 400, 200};
	static struct client changes[5];
	uint64_t before = state_generation(state);

	register_together(changes, asked, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(status_of(&changes[i]), statuses[i]);
	assert_non_null(strstr(changes[1].answer, "is in the config file"));
	assert_int_equal(state_generation(state), before + 1);
	assert_non_null(backend_at("10.0.0.2"));
	assert_non_null(backend_at("10.0.0.4"));
}

/* The last word counts, and a name is taken by the first. */
static void what_depends_on_one_before_is_made_after_it(void **unused)
{
	static const char *const asked[] = {"10.0.0.2 {\"weight\": 7}", "10.0.0.2 {\"weight\": 9}",
					    "10.0.0.3 {\"name\": \"guest\"}",
					    "10.0.0.4 {\"name\": \"guest\"}",
					    "10.0.0.2 {\"weight\": 8}"};
	static struct client changes[5];

	register_together(changes, asked, 5);
	assert_int_equal(status_of(&changes[0]), 200);
	assert_int_equal(status_of(&changes[4]), 200);
	assert_int_equal(backend_at("10.0.0.2")->weight, 8);
	assert_int_equal(status_of(&changes[2]), 200);
	assert_int_equal(status_of(&changes[3]), 400);
	assert_non_null(strstr(changes[3].answer, "has the same name"));
	assert_null(backend_at("10.0.0.4"));
}

static void what_comes_between_registrations_is_made_between_them(void **unused)
{
	static const char *const asked[] = {"10.0.0.2 {}", "10.0.0.2 gone", "10.0.0.2 {}",
					    "10.0.0.3 {}", "10.0.0.3 gone"};
	static struct client changes[5];

	register_together(changes, asked, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(status_of(&changes[i]), 200);
	assert_false(backend_at("10.0.0.2")->removed);
	assert_true(!backend_at("10.0.0.3") || backend_at("10.0.0.3")->removed);
}

/* There is room for eight. */
static void as_many_as_fit_are_registered(void **unused)
{
	static const char *const asked[] = {"10.0.0.2 {}", "10.0.0.3 {}", "10.0.0.4 {}",
					    "10.0.0.5 {}", "10.0.0.6 {}", "10.0.0.7 {}",
					    "10.0.0.8 {}", "10.0.0.9 {}", "10.0.0.10 {}"};
	static struct client changes[9];

	register_together(changes, asked, 9);
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(status_of(&changes[i]), i < 7 ? 200 : 409);
		if (i >= 7)
			assert_non_null(strstr(changes[i].answer, "backends"));
	}
	assert_non_null(backend_at("10.0.0.8"));
	assert_null(backend_at("10.0.0.9"));
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
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"priority\": 8}", 400,
		      "priority: expected an integer 0 to 7, got 8");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"zone\": \"a b\"}", 400,
		      "zone: a b: expected 1 to 63 letters");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"priority\": 1, "
		      "\"backup\": true}",
		      400, "priority: 1: has no meaning for a backup");
	expect_answer(
	    "/v1/backend/add",
	    "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"health\": {\"port\": 0}}", 400,
	    "health: port: expected an integer 1 to 65535, got 0");
	expect_answer(
	    "/v1/backend/add",
	    "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"health\": {\"path\": 0}}", 400,
	    "health: path: unknown field");
	expect_answer(
	    "/v1/backend/add",
	    "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"health\": {\"address\": \"::1\"}}",
	    400, "health: address: ::1: a loopback address: expected the address of one host");
	expect_answer("/v1/backend/add",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"zone\": \"b\", "
		      "\"priority\": 1, \"health\": {\"port\": 8080, \"address\": \"10.1.0.3\", "
		      "\"agent-port\": 9}}",
		      200,
		      "\"zone\":\"b\",\"priority\":1,\"local\":true,\"health\":{\"port\":8080,"
		      "\"agent-port\":9,\"address\":\"10.1.0.3\"}");
	expect_answer("/v1/backend/remove",
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"now\": true}", 200, "");
	ask(&list, "GET", "/v1/backends?service=192.0.2.1", "");
	finish(&list);
	assert_non_null(strstr(list.answer, "\"name\":null,\"labels\":{}"));
	assert_non_null(strstr(list.answer, "\"weight\":9"));
	expect_answer("/v1/backend/state",
		      "{\"service\": \"web\", \"address\": \"web-2\", \"state\": \"maintenance\"}",
		      200, "\"condition\":\"maintenance\"");
	expect_answer("/v1/backend/state",
		      "{\"service\": \"web\", \"address\": \"web-2\", \"state\": \"ready\"}", 400,
		      "state: \\\"ready\\\": expected auto, up, down or maintenance");
	expect_answer("/v1/backend/state",
		      "{\"service\": \"web\", \"address\": \"web-2\", \"state\": \"auto\"}", 200,
		      "\"admin\":\"auto\"");
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
	make_small();
	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	finish(&change);
	assert_int_equal(status_of(&change), 409);
	assert_int_equal(weight(), 100);
}

/* ---- events ---- */

/* The backend of the config has events of its own, when its next hop is known. */
#define OF_SHOP "&service=shop"

static void say(const char *service, const char *text)
{
	events_log(EVENT_backend_down, LOG_INFO, &(struct event_about){.service = service}, "%s",
		   text);
}

static uint64_t next_of(const struct client *client)
{
	const char *next = strstr(client->answer, "\"next\":");

	assert_non_null(next);
	return strtoull(next + strlen("\"next\":"), NULL, 10);
}

static unsigned count_parts(const struct client *client, const char *part)
{
	unsigned count = 0;

	for (const char *at = client->answer; (at = strstr(at, part)); at++)
		count++;
	return count;
}

static unsigned count_of(const struct client *client)
{
	return count_parts(client, "\"seq\":");
}

static void ask_after(struct client *client, uint64_t after, const char *more)
{
	char path[128];

	snprintf(path, sizeof(path), "/v1/events?after=%llu%s", (unsigned long long)after, more);
	ask(client, "GET", path, "");
}

/* Its head and nothing yet. */
static void expect_waiting(struct client *client)
{
	struct client other;

	ask(&other, "GET", "/v1/stats", "");
	finish(&other); /* by now the first one has been read */
	take(client);
	assert_int_equal(client->length, 0);
}

static void a_change_is_recorded_with_the_user_who_asked(void **unused)
{
	struct client change, events;
	char expected[64];

	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	finish(&change);
	assert_int_equal(status_of(&change), 200);
	ask(&events, "GET", "/v1/events?service=web", "");
	finish(&events);
	snprintf(expected, sizeof(expected), "\"uid\":%u,\"who\":\"%s", geteuid(),
		 geteuid() ? "" : "root\"");
	assert_non_null(strstr(events.answer, "\"kind\":\"backend-weight\""));
	assert_non_null(strstr(events.answer, expected));
	assert_non_null(strstr(events.answer, ": backend 10.0.0.1: weight 9\""));
}

static void say_other(int fd, short what, void *arg)
{
	say("other", "meanwhile");
}

/* Each pause of the change is one in which the loop runs. */
static void what_happens_during_a_change_is_not_of_its_user(void **unused)
{
	static const struct timeval soon = {.tv_usec = 1}; /* 0 would be once */
	struct event *each_turn = event_new(base, -1, EV_PERSIST, say_other, NULL);
	struct event_record record;
	struct client change;
	uint64_t last = events_last();
	unsigned count = 0;

	tasks_set_turn(tasks, 0);
	event_add(each_turn, &soon);
	ask(&change, "POST", "/v1/backend/weight", WEIGHT_9);
	finish(&change);
	event_free(each_turn);
	while (events_next(last, &record)) {
		last = record.seq;
		if (!record.service || strcmp(record.service, "other") != 0)
			continue;
		assert_non_null(strstr(record.json, "\"uid\":null,\"who\":\"lbd\""));
		count++;
	}
	assert_true(count > 0);
}

static void who_waits_for_events_is_answered_with_the_next_one(void **unused)
{
	struct client client;
	uint64_t last;

	say("shop", "old");
	last = events_last();
	ask_after(&client, last, "&wait_s=15" OF_SHOP);
	expect_waiting(&client);
	say("shop", "new");
	finish(&client);
	assert_int_equal(status_of(&client), 200);
	assert_int_equal(count_of(&client), 1);
	assert_non_null(strstr(client.answer, "\"text\":\"new\""));
	assert_true(next_of(&client) > last);
	assert_non_null(strstr(client.answer, "\"more\":false,\"missed\":false}"));
}

static void who_waits_for_events_of_a_service_is_not_answered_with_others(void **unused)
{
	struct client client;

	ask_after(&client, events_last(), "&wait_s=15" OF_SHOP);
	expect_waiting(&client);
	say("dns", "other");
	expect_waiting(&client);
	say("shop", "its own");
	finish(&client);
	assert_int_equal(count_of(&client), 1);
	assert_non_null(strstr(client.answer, "its own"));
}

static void who_waits_is_answered_when_the_time_is_over(void **unused)
{
	struct client client;
	uint64_t last;

	say("shop", "old");
	last = events_last();
	ask_after(&client, last, "&wait_s=1" OF_SHOP);
	finish(&client);
	assert_int_equal(status_of(&client), 200);
	assert_int_equal(count_of(&client), 0);
	assert_true(next_of(&client) >= last);
}

/* Page after page, none twice and none left out. */
static void many_events_come_in_pages(void **unused)
{
	struct client client = {.fd = -1};
	uint64_t after = events_last();
	unsigned pages = 0, count = 0;
	char text[300];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (unsigned i = 0; i < 300; i++)
		say("shop", text);
	do {
		ask_after(&client, after, "&wait_s=15" OF_SHOP);
		finish(&client);
		assert_true(client.length < 60000);
		count += count_of(&client);
		after = next_of(&client);
		pages++;
	} while (strstr(client.answer, "\"more\":true"));
	assert_true(pages > 1);
	assert_int_equal(count, 300);
}

static void who_asks_after_what_is_not_kept_any_more_is_told(void **unused)
{
	struct client client;
	uint64_t first;

	say("shop", "first");
	first = events_last();
	for (unsigned i = 0; i < EVENTS_MAX + 1; i++)
		say("shop", "x");
	ask_after(&client, first, "");
	finish(&client);
	assert_non_null(strstr(client.answer, "\"missed\":true"));
	ask_after(&client, next_of(&client), "");
	finish(&client);
	assert_non_null(strstr(client.answer, "\"missed\":false"));
}

static uint64_t made_wall_ms; /* the wall clock; 0: as it is */

uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void)
{
	return made_wall_ms ? made_wall_ms : __real_clock_wall_ms();
}

/* A machine without a clock of its own begins there. */
static void soon_after_1970_all_events_are_of_the_last_hour(void **unused)
{
	struct client client;

	say("shop", "just now");
	made_wall_ms = 5000;
	ask_after(&client, events_last() - 1, "&since_s=3600" OF_SHOP);
	finish(&client);
	made_wall_ms = 0;
	assert_int_equal(count_of(&client), 1);
}

static void expect_refused(const char *query, unsigned status, const char *sentence)
{
	struct client client;
	char path[128];

	snprintf(path, sizeof(path), "/v1/events?%s", query);
	ask(&client, "GET", path, "");
	finish(&client);
	assert_int_equal(status_of(&client), status);
	if (!strstr(client.answer, sentence))
		fail_msg("expected \"%s\" in: %s", sentence, client.answer);
}

static void a_query_that_is_wrong_is_refused(void **unused)
{
	expect_refused("after=x", 400,
		       "after: expected an integer 0 to 9223372036854775807, got x");
	expect_refused("after=-1", 400, "got -1");
	expect_refused("wait_s=16", 400, "wait_s: expected an integer 0 to 15, got 16");
	expect_refused("since_s=1e3", 400, "since_s: expected an integer 0 to 31536000, got 1e3");
	expect_refused("since=1", 400,
		       "since: unknown: expected after, since_s, service or wait_s");
}

/* The others stay for those who ask: 128 connections, of which a quarter waits. */
static void those_who_wait_leave_connections_to_others(void **unused)
{
	static struct client waiting[33];
	struct client other;

	for (unsigned i = 0; i < 33; i++)
		ask_after(&waiting[i], events_last(), "&wait_s=15" OF_SHOP);
	finish(&waiting[32]);
	assert_int_equal(status_of(&waiting[32]), 503);
	assert_non_null(strstr(waiting[32].answer, "too many clients wait for events"));
	ask(&other, "GET", "/v1/stats", "");
	finish(&other);
	assert_int_equal(status_of(&other), 200);
	say("shop", "for all");
	for (unsigned i = 0; i < 32; i++) {
		finish(&waiting[i]);
		assert_int_equal(count_of(&waiting[i]), 1);
	}
}

/* It is noticed with the next event, at the latest. */
static void one_that_has_gone_while_it_waits_leaves_nothing(void **unused)
{
	struct client gone, client;

	ask_after(&gone, events_last(), "&wait_s=15" OF_SHOP);
	expect_waiting(&gone);
	close(gone.fd);
	say("shop", "x");
	ask_after(&client, 0, "");
	finish(&client);
	assert_int_equal(status_of(&client), 200);
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
	    TEST(renewals_of_many_at_once_are_not_refused),
	    TEST(registrations_that_wait_together_are_one_change),
	    TEST(one_that_is_wrong_spoils_no_other),
	    TEST(what_depends_on_one_before_is_made_after_it),
	    TEST(what_comes_between_registrations_is_made_between_them),
	    TEST(as_many_as_fit_are_registered),
	    TEST(a_change_that_is_refused_says_why),
	    TEST(a_backend_is_called_by_its_name_and_a_service_by_its_vip),
	    TEST(a_service_is_added_changed_and_removed),
	    TEST(a_service_of_the_file_is_removed_until_it_is_in_the_way_no_more),
	    TEST(a_service_that_no_config_could_have_is_refused),
	    TEST(a_change_after_a_start_that_failed_is_refused),
	    TEST(a_change_is_recorded_with_the_user_who_asked),
	    TEST(what_happens_during_a_change_is_not_of_its_user),
	    TEST(who_waits_for_events_is_answered_with_the_next_one),
	    TEST(who_waits_for_events_of_a_service_is_not_answered_with_others),
	    TEST(who_waits_is_answered_when_the_time_is_over),
	    TEST(many_events_come_in_pages),
	    TEST(who_asks_after_what_is_not_kept_any_more_is_told),
	    TEST(soon_after_1970_all_events_are_of_the_last_hour),
	    TEST(a_query_that_is_wrong_is_refused),
	    TEST(those_who_wait_leave_connections_to_others),
	    TEST(one_that_has_gone_while_it_waits_leaves_nothing),
	};

	log_set_level(LOG_WARNING); /* some tests log thousands of lines */
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
