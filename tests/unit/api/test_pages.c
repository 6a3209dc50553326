/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The metrics and the lists of the control socket, over their sockets, of a state with thousands of
 * backends on a data plane in plain memory: who is answered, and that texts built in slices are
 * whole. LBD_TEST_SERVICES and LBD_TEST_BACKENDS (of each service) change the size. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/clock.h"
#include "common/log.h"
#include "lbd/api/api.h"
#include "lbd/api/face.h"
#include "support/memory_dataplane.h"

#define PATIENCE_MS 60000 /* a loop that takes longer hangs */
#define TOKEN       "0123456789abcdef"

static unsigned services = 300, backends = 10; /* of each service */
static char directory[] = "/tmp/test_pages.XXXXXX";

static struct event_base *base;
static struct lateness *lateness;
static struct memory_dataplane *memory;
static struct neigh *neigh;
static struct health *health;
static struct state *state;
static struct api *api;
static struct metrics *metrics;
static uint16_t port;

/* ---- lbd, but for the program ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t length = sizeof(here);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &length), 0);
	close(fd);
	return ntohs(here.sin_port);
}

static struct config *make_config(const char *extra)
{
	struct text *text = text_new();
	struct config *config;
	struct error err;

	text_printf(text, "socket: %s/lbd.sock\ngroup: root\n%s\nservices:\n", directory, extra);
	for (unsigned i = 0; i < services; i++) {
		text_printf(text,
			    "  - { name: s%u, vip: 192.0.%u.%u, protocol: tcp, port: 80, "
			    "health: { type: none }, backends: [",
			    i, i / 250, i % 250 + 1);
		for (unsigned j = 0; j < backends; j++)
			text_printf(text, "%s{ address: 10.0.%u.%u }", j ? ", " : "", j / 250,
				    j % 250 + 1);
		text_add_string(text, "] }\n");
	}
	assert_false(text->failed);
	if (config_parse(text->bytes, text->length, "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	text_unref(text);
	return config;
}

static void begin(const char *extra)
{
	struct error err = {0};

	base = loop_new();
	memory = memory_dataplane_new(
	    (struct memory_limits){services + 8, services * backends + 32, 4 << 20, 64});
	if (lateness_new(base, &lateness) || neigh_new(base, &neigh, &err) ||
	    health_new(base, lateness, &health, &err))
		fail_msg("%s", err.text);
	const struct state_options options = {.base = base,
					      .config = make_config(extra),
					      .config_path = "lbd.yaml",
					      .dataplane = memory->dp,
					      .neigh = neigh,
					      .health = health};
	if (state_new(&options, &state, &err))
		fail_msg("%s", err.text);
	struct api_options for_api = {.base = base,
				      .state = state,
				      .dp = memory->dp,
				      .health = health,
				      .lateness = lateness,
				      .connections = 64};
	if (api_new(&for_api, &api, &err))
		fail_msg("%s", err.text);
	struct metrics_options for_metrics = {.base = base,
					      .state = state,
					      .dp = memory->dp,
					      .health = health,
					      .lateness = lateness,
					      .control = api_face(api),
					      .connections = 64};
	if (metrics_new(&for_metrics, &metrics, &err))
		fail_msg("%s", err.text);
}

static void begin_usual(void)
{
	char extra[100];

	port = free_port();
	snprintf(extra, sizeof(extra), "metrics: 127.0.0.1:%u\nmetrics-hosts: [lb1]", port);
	begin(extra);
}

static int end(void **unused)
{
	if (!metrics) /* the test failed before it had all */
		return 0;
	metrics_free(metrics);
	metrics = NULL;
	api_free(api);
	state_free(state);
	health_free(health);
	lateness_free(lateness);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	return 0;
}

/* ---- a client ---- */

struct fetch {
	int fd;
	bool done;
	struct text *text;
};

static int connect_to(const struct sockaddr *address, socklen_t length)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, address, length), 0);
	return fd;
}

static int connect_path(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);
	return connect_to((struct sockaddr *)&address, sizeof(address));
}

static int connect_port(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000001)};

	return connect_to((struct sockaddr *)&address, sizeof(address));
}

static struct fetch ask(int fd, const char *path, const char *fields)
{
	char request[512];
	int length =
	    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n%s\r\n\r\n", path, fields);

	assert_int_equal(send(fd, request, (size_t)length, MSG_NOSIGNAL), length);
	return (struct fetch){.fd = fd, .text = text_new()};
}

static void take(struct fetch *fetch)
{
	static char bytes[65536];
	ssize_t got;

	while (!fetch->done && (got = recv(fetch->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0) {
		text_add(fetch->text, bytes, (size_t)got);
		fetch->done = !got;
	}
}

/* One turn of the loop, measured in CPU time. */
static struct {
	unsigned turns;
	uint64_t longest_us, total_us;
} cost;

static uint64_t cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void turn(void)
{
	uint64_t begin_us = cpu_us(), took_us;

	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	took_us = cpu_us() - begin_us;
	cost.turns++;
	cost.total_us += took_us;
	if (took_us > cost.longest_us)
		cost.longest_us = took_us;
}

static void cost_begin(void)
{
	for (unsigned i = 0; i < 100; i++) /* what the start has left to do */
		turn();
	memset(&cost, 0, sizeof(cost));
}

static void cost_print(const char *what)
{
	print_message("%s: %u services, %u backends: %u turns of the loop, the longest %.1f ms of "
		      "CPU time, all %.1f ms\n",
		      what, services, services * backends, cost.turns,
		      (double)cost.longest_us / 1000, (double)cost.total_us / 1000);
}

/* Turns the loop until the answer is whole. The body, or NULL with another status than 200. */
static const char *finish(struct fetch *fetch)
{
	uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;

	while (!fetch->done) {
		assert_true(clock_monotonic_ms() < end_ms);
		turn();
		take(fetch);
	}
	close(fetch->fd);
	text_add(fetch->text, "", 1);
	return !strncmp(fetch->text->bytes, "HTTP/1.1 200 ", 13)
		   ? strstr(fetch->text->bytes, "\r\n\r\n") + 4
		   : NULL;
}

/* The same of several at once: who does not read for a while is cut off. */
static void take_all(struct fetch *const fetches[], unsigned count)
{
	uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;

	for (unsigned left = count; left;) {
		assert_true(clock_monotonic_ms() < end_ms);
		turn();
		left = 0;
		for (unsigned i = 0; i < count; i++) {
			if (!fetches[i]->done)
				take(fetches[i]);
			left += !fetches[i]->done;
		}
	}
}

static unsigned status_of(int fd, const char *path, const char *fields)
{
	struct fetch fetch = ask(fd, path, fields);
	unsigned status = 0;

	finish(&fetch);
	sscanf(fetch.text->bytes, "HTTP/1.1 %u", &status);
	text_unref(fetch.text);
	return status;
}

static unsigned occurrences(const char *text, const char *part)
{
	unsigned found = 0;

	while ((text = strstr(text, part))) {
		found++;
		text++;
	}
	return found;
}

/* The JSON that a path of the metrics listener is answered with; NULL: another status than 200. */
static json_t *json_of(const char *path, const char *fields)
{
	struct fetch fetch = ask(connect_port(), path, fields);
	const char *body = finish(&fetch);
	json_t *answer = body ? json_loads(body, JSON_REJECT_DUPLICATES, NULL) : NULL;

	assert_true(!body || answer);
	text_unref(fetch.text);
	return answer;
}

/* ---- whole texts ---- */

static void expect_whole_metrics(const char *text, unsigned expected)
{
	assert_non_null(text);
	assert_int_equal(occurrences(text, "\nlbd_backend_up{"), expected);
	assert_int_equal(occurrences(text, "\nlbd_backend_latency_seconds{"), expected);
	assert_int_equal(occurrences(text, "\nlbd_service_up{"), services);
	assert_int_equal(occurrences(text, "\nlbd_backend_up{service=\"s7\",vip=\"192.0.0.8\",port="
					   "\"80\",protocol=\"tcp\",backend=\"10.0.0.1\"} "),
			 1);
	assert_int_equal(occurrences(text, "\nlbd_face_connections{face=\"metrics\"} 1\n"), 1);
}

static void metrics_hold_each_service_and_backend_once(void **unused)
{
	struct fetch fetch;

	begin_usual();
	cost_begin();
	fetch = ask(connect_port(), "/metrics", "Host: localhost");
	expect_whole_metrics(finish(&fetch), services * backends);
	cost_print("GET /metrics");
	text_unref(fetch.text);
}

static void lists_hold_each_service_and_backend_once(void **unused)
{
	static unsigned none = 0, one = 1;
	static const struct {
		const char *path, *name;
		unsigned *count, *by;
	} lists[] = {
	    {"/v1/backends", "backends", &services, &backends},
	    {"/v1/services", "services", &services, NULL},
	    {"/v1/backends?service=s7", "backends", &backends, NULL},
	    {"/v1/backends?filter=10.0.0.3", "backends", &services, NULL},
	    {"/v1/backends?filter=S7%2010.0.0.3&service=s7", "backends", &one, NULL},
	    {"/v1/backends?filter=nothing", "backends", &none, NULL},
	    {"/v1/backends?filter=", "backends", &services, &backends},
	};

	char path[400];

	begin_usual();
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct fetch fetch;
		const char *body;
		json_t *answer;

		cost_begin();
		fetch = ask(connect_path("lbd.sock"), lists[i].path, "Host: lbd");
		body = finish(&fetch);
		cost_print(lists[i].path);
		answer = body ? json_loads(body, JSON_REJECT_DUPLICATES, NULL) : NULL;

		assert_int_equal(json_array_size(json_object_get(answer, lists[i].name)),
				 *lists[i].count * (lists[i].by ? *lists[i].by : 1));
		json_decref(answer);
		text_unref(fetch.text);
	}
	assert_int_equal(status_of(connect_path("lbd.sock"), "/v1/backends?service=no", "Host: l"),
			 404);
	snprintf(path, sizeof(path), "/v1/backends?filter=%0300d", 0);
	assert_int_equal(status_of(connect_path("lbd.sock"), path, "Host: l"), 400);
}

/* How many are there: all of them are down or have no next hop. */
static size_t count_down(const char *path)
{
	struct fetch fetch = ask(connect_path("lbd.sock"), path, "Host: lbd");
	const char *body = finish(&fetch);
	json_t *answer = body ? json_loads(body, JSON_REJECT_DUPLICATES, NULL) : NULL, *backend;
	size_t i, count = json_array_size(json_object_get(answer, "backends"));

	assert_true(json_is_array(json_object_get(answer, "backends")));
	json_array_foreach (json_object_get(answer, "backends"), i, backend) {
		const char *condition = json_string_value(json_object_get(backend, "condition"));

		assert_true(!strcmp(condition, "down") || !strcmp(condition, "no-next-hop"));
	}
	json_decref(answer);
	text_unref(fetch.text);
	return count;
}

static void a_list_of_what_is_down_holds_nothing_else(void **unused)
{
	struct service *service;

	begin_usual();
	cost_begin();
	service = state_find_service(state, "s7");
	service->opened = true; /* so that it stays down when it is weighed again */
	for (unsigned i = 3; i < 5; i++) {
		service->backends[i]->health = HEALTH_DOWN;
		service->backends[i]->condition = BACKEND_DOWN;
	}
	assert_true(count_down("/v1/backends?down=true&service=s7") >= 2);
	assert_true(count_down("/v1/backends?down=true") >= 2);
	assert_int_equal(status_of(connect_path("lbd.sock"), "/v1/backends?down=false", "Host: l"),
			 200);
	assert_int_equal(status_of(connect_path("lbd.sock"), "/v1/backends?down=maybe", "Host: l"),
			 400);
}

/* The second backend comes and goes: those after it move. */
static void change(unsigned i)
{
	struct error err = {0};
	struct addr address;

	addr_parse("10.0.0.2", &address);
	if (i % 2
		? state_backend_add(state, "s0", &address, &(struct state_put){.weight = 100}, &err)
		: state_backend_remove(state, "s0", &address, true, false, &err))
		fail_msg("%s", err.text);
}

/* Each backend but the second is there once, by what stands before and after its address. */
static void expect_each_once(const char *text, const char *before, const char *after)
{
	unsigned *seen = calloc(backends, sizeof(*seen));
	size_t length = strlen(before);

	assert_non_null(text);
	while ((text = strstr(text, before))) {
		unsigned high, low;
		int end = 0;

		text += length;
		assert_int_equal(sscanf(text, "10.0.%u.%u%n", &high, &low, &end), 2);
		assert_int_equal(strncmp(text + end, after, strlen(after)), 0);
		assert_true(high * 250 + low - 1 < backends);
		seen[high * 250 + low - 1]++;
	}
	for (unsigned i = 0; i < backends; i++)
		if (seen[i] != 1 && (i != 1 || seen[i]))
			fail_msg("backend %u: %u times", i, seen[i]);
	free(seen);
}

static void texts_are_whole_also_if_backends_change_while_they_are_built(void **unused)
{
	const unsigned usual_services = services, usual_backends = backends;
	struct fetch list, page, view, *const all[] = {&list, &page, &view};

	services = 1;
	backends = 4000;
	begin_usual();
	list = ask(connect_path("lbd.sock"), "/v1/backends", "Host: lbd");
	page = ask(connect_port(), "/metrics", "Host: localhost");
	view = ask(connect_port(), "/page.json?service=s0", "Host: localhost");
	for (unsigned i = 0; i < 13; i++) {
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		change(i);
	}
	take_all(all, 3);
	expect_each_once(finish(&list), "\"service\":\"s0\",\"address\":\"", "\"");
	expect_each_once(strstr(finish(&page), "\nlbd_backend_first_byte_p99"), "backend=\"",
			 "\"} ");
	expect_each_once(finish(&view), "{\"address\":\"", "\"");
	text_unref(list.text);
	text_unref(page.text);
	text_unref(view.text);
	services = usual_services;
	backends = usual_backends;
}

/* For many who ask at the same time. */
static void expect_one_text(const char *path)
{
	struct fetch fetches[20];
	const char *first;

	for (unsigned i = 0; i < 20; i++)
		fetches[i] = ask(connect_port(), path, "Host: localhost");
	first = finish(&fetches[0]);
	assert_non_null(first);
	for (unsigned i = 1; i < 20; i++) {
		assert_string_equal(finish(&fetches[i]), first);
		text_unref(fetches[i].text);
	}
	text_unref(fetches[0].text);
}

static void scrapes_at_the_same_time_share_one_text(void **unused)
{
	begin_usual();
	expect_one_text("/metrics");
}

/* A client that takes nothing holds its text; those after it get texts all the same. */
static void a_reader_that_stops_does_not_stop_the_others(void **unused)
{
	struct fetch stuck, fetch;

	begin_usual();
	stuck = ask(connect_port(), "/metrics", "Host: localhost");
	for (unsigned i = 0; i < 3; i++) {
		fetch = ask(connect_port(), "/metrics", "Host: localhost");
		assert_non_null(finish(&fetch));
		text_unref(fetch.text);
		usleep(1100000);
	}
	close(stuck.fd);
	text_unref(stuck.text);
}

/* ---- the page ---- */

static void the_page_is_whole_and_says_what_a_browser_may_run(void **unused)
{
	static const char *const parts[] = {
	    "Content-Type: text/html; charset=utf-8\r\n",
	    "Cache-Control: no-store\r\n",
	    "X-Content-Type-Options: nosniff\r\n",
	    "Content-Security-Policy: default-src 'none'; script-src 'sha256-",
	    "; style-src 'sha256-",
	    "; connect-src 'self'; ",
	    "frame-ancestors 'none'",
	    "require-trusted-types-for 'script'",
	    "\r\n\r\n<!doctype html>\n",
	};
	struct fetch fetch;
	const char *body;

	begin_usual();
	fetch = ask(connect_port(), "/page", "Host: localhost");
	body = finish(&fetch);
	assert_non_null(body);
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(fetch.text->bytes, parts[i]))
			fail_msg("no %s", parts[i]);
	assert_null(strstr(fetch.text->bytes, "unsafe"));
	assert_string_equal(body + strlen(body) - strlen("</html>\n"), "</html>\n");
	text_unref(fetch.text);
}

static void the_page_is_told_of_each_service_once_and_of_its_backends(void **unused)
{
	json_t *answer, *service, *condition;
	const char *name;
	size_t i;

	begin_usual();
	cost_begin();
	answer = json_of("/page.json", "Host: localhost");
	cost_print("GET /page.json");
	assert_int_equal(json_array_size(json_object_get(answer, "services")), services);
	json_array_foreach (json_object_get(answer, "services"), i, service) {
		json_int_t sum = 0;
		char expected[24];

		snprintf(expected, sizeof(expected), "s%zu", i);
		assert_string_equal(json_string_value(json_object_get(service, "name")), expected);
		assert_int_equal(json_integer_value(json_object_get(service, "backends")),
				 backends);
		json_object_foreach (json_object_get(service, "conditions"), name, condition)
			sum += json_integer_value(condition);
		assert_int_equal(sum, backends);
		assert_int_equal(json_string_length(json_object_get(service, "hours")), 24);
	}
	assert_true(json_is_false(json_object_get(json_object_get(answer, "lbd"), "forwarding")));
	json_decref(answer);
}

static void the_page_is_told_of_the_backends_of_one_service(void **unused)
{
	static const char *const bad[] = {"/page.json?service=s7&service=s8", "/page.json?name=s7",
					  "/page.json?service=s7&down=true"};
	json_t *answer;

	begin_usual();
	cost_begin();
	answer = json_of("/page.json?service=s7", "Host: localhost");
	cost_print("GET /page.json?service=s7");
	assert_string_equal(json_string_value(json_object_get(answer, "service")), "s7");
	assert_int_equal(json_array_size(json_object_get(answer, "backends")), backends);
	assert_int_equal(json_string_length(json_object_get(answer, "minutes")), 60);
	assert_int_equal(json_string_length(json_object_get(answer, "days")), 30);
	json_decref(answer);
	assert_int_equal(status_of(connect_port(), "/page.json?service=no", "Host: localhost"),
			 404);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(status_of(connect_port(), bad[i], "Host: localhost"), 400);
}

#define WHY "said \"<b>\\\""

static void a_backend_that_is_down_is_named_with_its_reason(void **unused)
{
	struct service *service;
	struct backend *backend;
	json_t *answer, *wrong, *one = NULL;
	size_t i;

	begin_usual();
	cost_begin();
	service = state_find_service(state, "s7");
	service->opened = true;
	backend = service->backends[3];
	backend->health = HEALTH_DOWN;
	backend->condition = BACKEND_DOWN;
	backend->failed = 5;
	/* in each place that it is taken from when the service is weighed again */
	remark_set(&backend->why, WHY);
	remark_set(&backend->health_why, WHY);
	remark_set(&backend->hop_why, WHY);
	answer = json_of("/page.json", "Host: localhost");
	assert_true(json_integer_value(json_object_get(answer, "wrong_count")) >= 1);
	json_array_foreach (json_object_get(answer, "wrong"), i, wrong)
		if (!strcmp(json_string_value(json_object_get(wrong, "service")), "s7") &&
		    !strcmp(json_string_value(json_object_get(wrong, "address")), "10.0.0.4"))
			one = wrong;
	assert_non_null(one);
	assert_string_equal(json_string_value(json_object_get(one, "why")), WHY);
	json_decref(answer);
}

static void those_who_look_at_the_same_time_share_one_text(void **unused)
{
	begin_usual();
	expect_one_text("/page.json");
	expect_one_text("/page.json?service=s7");
}

/* Of the list that the query asks for. */
static json_t *first_backend_of(const char *query)
{
	char path[200];
	struct fetch fetch;
	json_t *answer, *first;
	const char *body;

	snprintf(path, sizeof(path), "/v1/backends?%s", query);
	fetch = ask(connect_path("lbd.sock"), path, "Host: lbd");
	body = finish(&fetch);
	assert_non_null(body);
	answer = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	first = json_incref(json_array_get(json_object_get(answer, "backends"), 0));
	assert_non_null(first);
	json_decref(answer);
	text_unref(fetch.text);
	return first;
}

static void a_list_has_the_fields_that_were_asked_for(void **unused)
{
	json_t *backend;

	begin_usual();
	backend = first_backend_of("service=s7&fields=weight,address");
	assert_int_equal(json_object_size(backend), 2);
	assert_string_equal(json_string_value(json_object_get(backend, "address")), "10.0.0.1");
	assert_int_equal(json_integer_value(json_object_get(backend, "weight")), 100);
	json_decref(backend);
	/* what the words are looked for in is not shown for that */
	backend = first_backend_of("filter=s7%2010.0.0.3&fields=weight");
	assert_int_equal(json_object_size(backend), 1);
	json_decref(backend);
	backend = first_backend_of("service=s7");
	assert_true(json_object_size(backend) > 30);
	json_decref(backend);
}

static void lists_of_other_fields_are_made_at_the_same_time(void **unused)
{
	struct fetch weights, addresses;
	const char *weight, *address;

	begin_usual();
	weights = ask(connect_path("lbd.sock"), "/v1/backends?fields=weight", "Host: lbd");
	addresses = ask(connect_path("lbd.sock"), "/v1/backends?fields=address", "Host: lbd");
	weight = finish(&weights);
	address = finish(&addresses);
	assert_non_null(weight);
	assert_non_null(address);
	assert_non_null(strstr(weight, "\"weight\""));
	assert_null(strstr(weight, "\"address\""));
	assert_non_null(strstr(address, "\"address\""));
	assert_null(strstr(address, "\"weight\""));
	text_unref(weights.text);
	text_unref(addresses.text);
}

static void of_these_fields_those_that_say_nothing_are_left_out(void **unused)
{
	json_t *backend;

	begin_usual();
	/* false, {}, null, "", and numbers, of which 0 says something */
	backend = first_backend_of("service=s7&fields=backup,labels,zone,hint,priority,address");
	assert_int_equal(json_object_size(backend), 2);
	assert_true(json_is_integer(json_object_get(backend, "priority")));
	assert_true(json_is_string(json_object_get(backend, "address")));
	json_decref(backend);
}

static void fields_that_no_backend_has_are_refused(void **unused)
{
	static const char *const bad[] = {"fields=",        "fields=nope",
					  "fields=weight,", "fields=weight,,address",
					  "fields=Weight",  "fields=weight%20"};
	char path[80];

	begin_usual();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(path, sizeof(path), "/v1/backends?%s", bad[i]);
		assert_int_equal(status_of(connect_path("lbd.sock"), path, "Host: l"), 400);
	}
}

static void many_services_are_looked_at_one_after_another_but_not_at_once(void **unused)
{
	struct fetch fetches[9];
	unsigned answered = 0, refused = 0;
	char path[40];

	begin_usual();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "/page.json?service=s%u", i);
		assert_int_equal(status_of(connect_port(), path, "Host: localhost"), 200);
	}
	for (unsigned i = 0; i < 9; i++) {
		snprintf(path, sizeof(path), "/page.json?service=s%u", 100 + i);
		fetches[i] = ask(connect_port(), path, "Host: localhost");
	}
	for (unsigned i = 0; i < 9; i++) {
		answered += finish(&fetches[i]) != NULL;
		refused += !strncmp(fetches[i].text->bytes, "HTTP/1.1 503 ", 13);
		text_unref(fetches[i].text);
	}
	assert_int_equal(answered, 8);
	assert_int_equal(refused, 1);
}

static void a_page_that_is_turned_off_is_not_there(void **unused)
{
	static const char *const paths[] = {"/page", "/page.json", "/page.json?service=s7"};
	struct fetch fetch;
	char extra[100];

	port = free_port();
	snprintf(extra, sizeof(extra), "metrics: 127.0.0.1:%u\npage: off", port);
	begin(extra);
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(status_of(connect_port(), paths[i], "Host: localhost"), 404);
	fetch = ask(connect_port(), "/", "Host: localhost");
	assert_non_null(finish(&fetch));
	assert_null(strstr(fetch.text->bytes, "/page"));
	text_unref(fetch.text);
}

/* ---- who is answered ---- */

static void only_hosts_that_are_known_are_answered(void **unused)
{
	static const struct {
		const char *fields;
		unsigned status;
	} cases[] = {
	    {"Host: localhost", 200},
	    {"Host: LOCALHOST:9469", 200},
	    {"Host: 127.0.0.1", 200},
	    {"Host: 127.0.0.1:9469", 200},
	    {"Host: [::1]:9469", 200},
	    {"Host: lb1:9469", 200},
	    {"Host: LB1", 200},
	    {"Host: evil.example", 421},
	    {"Host: 192.0.2.1", 421},
	    {"Host: localhost.evil", 421},
	    {"Host: 127.0.0.1.evil", 421},
	    {"Host: lb1.evil", 421},
	    {"Host: evil.example:80", 421},
	    {"Host: ", 421},
	    {"X: y", 400},
	};

	begin_usual();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned status = status_of(connect_port(), "/", cases[i].fields);

		if (status != cases[i].status)
			fail_msg("%s: %u", cases[i].fields, status);
	}
	assert_int_equal(status_of(connect_port(), "/metrics", "Host: evil.example"), 421);
	assert_int_equal(status_of(connect_port(), "/page", "Host: evil.example"), 421);
	assert_int_equal(status_of(connect_port(), "/page.json", "Host: evil.example"), 421);
	assert_int_equal(status_of(connect_port(), "/", "Host: localhost\r\nHost: evil"), 400);
}

/* A path is what it is, byte for byte; what is asked for in another form is not there. */
static void paths_in_other_forms_lead_nowhere(void **unused)
{
	static const char *const paths[] = {
	    "/metrics/",         "//metrics",  "/./metrics",    "/x/../metrics",
	    "/../../etc/passwd", "/%6detrics", "/metrics%00",   "/METRICS",
	    "/metrics;a",        "/v1/status", "/page.json/..",
	};

	begin_usual();
	assert_int_equal(status_of(connect_port(), "/metrics?a=b", "Host: localhost"), 200);
	assert_int_equal(
	    status_of(connect_port(), "/metrics", "Host: localhost\r\nRange: bytes=0-1"), 200);
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		unsigned status = status_of(connect_port(), paths[i], "Host: localhost");

		if (status != 404)
			fail_msg("%s: %u", paths[i], status);
	}
}

static void a_token_is_asked_for_where_one_is_configured(void **unused)
{
	char extra[200], path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/token", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, TOKEN "\n", 17), 17);
	close(fd);
	port = free_port();
	snprintf(extra, sizeof(extra), "metrics: 127.0.0.1:%u\nmetrics-token-file: %s", port, path);
	begin(extra);
	assert_int_equal(status_of(connect_port(), "/metrics", "Host: localhost"), 401);
	assert_int_equal(status_of(connect_port(), "/metrics",
				   "Host: localhost\r\nAuthorization: Bearer 0123456789abcdeF"),
			 401);
	assert_int_equal(status_of(connect_port(), "/metrics",
				   "Host: localhost\r\nAuthorization: Bearer " TOKEN),
			 200);
	/* a browser opens a page without one: it holds no data, and asks for the token */
	assert_int_equal(status_of(connect_port(), "/page", "Host: localhost"), 200);
	assert_int_equal(status_of(connect_port(), "/page.json", "Host: localhost"), 401);
	assert_int_equal(status_of(connect_port(), "/page.json?service=s7", "Host: localhost"),
			 401);
	assert_int_equal(status_of(connect_port(), "/page.json",
				   "Host: localhost\r\nAuthorization: Bearer " TOKEN),
			 200);
	unlink(path);
}

static void without_an_interface_healthz_is_503_and_says_why(void **unused)
{
	struct fetch fetch;

	begin_usual();
	fetch = ask(connect_port(), "/healthz", "Host: localhost");
	assert_null(finish(&fetch));
	assert_non_null(strstr(fetch.text->bytes, "HTTP/1.1 503 "));
	assert_non_null(strstr(fetch.text->bytes, "no interface is attached"));
	text_unref(fetch.text);
	assert_int_equal(status_of(connect_port(), "/healthz", "Host: evil.example"), 421);
}

static void metrics_say_whether_it_forwards_and_with_which_config(void **unused)
{
	static const char *const lines[] = {
	    "\nlbd_forwarding 0\n",
	    "\nlbd_interface_attached{interface=\"eth7\"} 0\n",
	    "\nlbd_config_reload_success 1\n",
	    "\nlbd_overrides 1\n",
	    "\nlbd_health_checks_total{result=\"failed\"} 0\n",
	};
	struct addr address = {.family = 4, .bytes = {10, 0, 0, 1}};
	struct error err;
	struct fetch fetch;
	const char *text;
	char extra[100];

	port = free_port();
	snprintf(extra, sizeof(extra), "metrics: 127.0.0.1:%u\ninterfaces: [eth7]", port);
	begin(extra);
	if (state_backend_weight(state, "s0", &address, 5, &err))
		fail_msg("%s", err.text);
	fetch = ask(connect_port(), "/metrics", "Host: localhost");
	text = finish(&fetch);
	assert_non_null(text);
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!strstr(text, lines[i]))
			fail_msg("no line %s", lines[i] + 1);
	text_unref(fetch.text);
}

static void metrics_may_be_on_a_unix_socket_of_mode_660(void **unused)
{
	char extra[100], path[64];
	struct stat st;

	snprintf(path, sizeof(path), "%s/metrics.sock", directory);
	snprintf(extra, sizeof(extra), "metrics: unix:%s", path);
	begin(extra);
	assert_int_equal(status_of(connect_path("metrics.sock"), "/metrics", "Host: any"), 200);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static int set_up_all(void **unused)
{
	const char *value = getenv("LBD_TEST_SERVICES");

	log_set_level(LOG_ERR);
	if (value)
		services = (unsigned)atoi(value);
	value = getenv("LBD_TEST_BACKENDS");
	if (value)
		backends = (unsigned)atoi(value);
	return !mkdtemp(directory);
}

static int tear_down_all(void **unused)
{
	libevent_global_shutdown();
	return rmdir(directory);
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(metrics_hold_each_service_and_backend_once),
	    TEST(lists_hold_each_service_and_backend_once),
	    TEST(a_list_of_what_is_down_holds_nothing_else),
	    TEST(texts_are_whole_also_if_backends_change_while_they_are_built),
	    TEST(scrapes_at_the_same_time_share_one_text),
	    TEST(a_reader_that_stops_does_not_stop_the_others),
	    TEST(the_page_is_whole_and_says_what_a_browser_may_run),
	    TEST(the_page_is_told_of_each_service_once_and_of_its_backends),
	    TEST(the_page_is_told_of_the_backends_of_one_service),
	    TEST(a_backend_that_is_down_is_named_with_its_reason),
	    TEST(those_who_look_at_the_same_time_share_one_text),
	    TEST(a_list_has_the_fields_that_were_asked_for),
	    TEST(lists_of_other_fields_are_made_at_the_same_time),
	    TEST(of_these_fields_those_that_say_nothing_are_left_out),
	    TEST(fields_that_no_backend_has_are_refused),
	    TEST(many_services_are_looked_at_one_after_another_but_not_at_once),
	    TEST(a_page_that_is_turned_off_is_not_there),
	    TEST(only_hosts_that_are_known_are_answered),
	    TEST(paths_in_other_forms_lead_nowhere),
	    TEST(a_token_is_asked_for_where_one_is_configured),
	    TEST(without_an_interface_healthz_is_503_and_says_why),
	    TEST(metrics_say_whether_it_forwards_and_with_which_config),
	    TEST(metrics_may_be_on_a_unix_socket_of_mode_660),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
