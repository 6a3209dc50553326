/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket: lbd without its program, on maps in plain memory, with any requests. The
 * input is what clients send, one connection each, separated by bytes 0xff. Every whole request is
 * answered as include/lb_api.h says; a change that is refused changed nothing; one that is
 * confirmed is on disk; and no request adds a backend or a service that the config would refuse.
 *
 * Changes are tasks. When they get their turns, what is asked in between, which timers fire and
 * which clients go away before the answer follows from the input, not from the clock: the same
 * input gives the same run. In every pause all is as before the change, or as after it. */
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lb_api.h"
#include "lbd/api/api.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "fuzz.h"
#include "stand_in_attach.h"

#define CLIENTS    8
#define TURNS      100000
#define PAUSES_MAX 64 /* of a task in one turn */
#define ANSWER_MAX (256 * 1024)
#define WORLD_MAX  4096
#define VIP_A      "192.0.2.1"
#define VIP_B      "2001:db8::1"

static struct event_base *base;
static struct tasks *tasks;
static struct lateness *lateness;
static struct neigh *neigh;
static struct health *health;
static char config_path[128], socket_path[128], overrides_path[128];

static struct memory_dataplane *memory;
static struct attach *attach;
static struct state *state;
static struct api *api;

static uint32_t draws; /* the state of draw */

static char config_text[2048];

/* 0 up to below, from the input. */
static uint32_t draw(uint32_t below)
{
	draws = draws * 1664525 + 1013904223;
	return (draws >> 8) % below;
}

static void draw_from(const uint8_t *data, size_t size)
{
	draws = 2166136261u; /* FNV-1a */
	for (size_t i = 0; i < size; i++)
		draws = (draws ^ data[i]) * 16777619u;
}

static void write_config(void)
{
	snprintf(config_text, sizeof(config_text),
		 "socket: %s\n"
		 "group: root\n"
		 "announce: {}\n" /* nothing is announced here, but the node can be drained */
		 "limits: { services: 4, backends: 8, slots: 64k, flows: 1k }\n"
		 "services:\n"
		 "  - { name: web, vip: " VIP_A ", protocol: tcp, port: 80, slots: 13,\n"
		 "      health: { type: none },\n"
		 "      backends: [{ address: 10.0.0.1 }, { address: 10.0.0.2, weight: 5 }] }\n"
		 "  - { name: dns, vip: " VIP_B ", protocol: udp, port: any, slots: 13,\n"
		 "      algorithm: lc, health: { type: none },\n"
		 "      backends: [{ address: fd00::1 }, { address: 10.0.0.1, backup: yes }] }\n",
		 socket_path);
	fuzz_put(config_path, (const uint8_t *)config_text, strlen(config_text));
}

/* ---- time: what happens next ---- */

static void stop_clock(void)
{
	event_del(state->tick);
	event_del(state->paths);
	event_del(state->sweep);
	if (event_pending(state->commit, EV_TIMEOUT, NULL))
		state_arm(state->commit, 3600 * 1000000ULL);
	state->rest_until_us = 0;
}

static void turn_loop(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	stop_clock();
}

static bool turn_tasks(unsigned pauses)
{
	bool more = tasks_turn(tasks, pauses);

	stop_clock();
	return more;
}

static bool commit_is_due(void)
{
	return event_pending(state->commit, EV_TIMEOUT, NULL);
}

/* In the next turn of the loop. */
static void fire(struct event *event)
{
	event_del(event);
	event_active(event, EV_TIMEOUT, 0);
}

/* A turn of the tasks, a timer, or nothing. */
static void pass_time(void)
{
	struct event *const timers[] = {state->tick, state->paths, state->sweep};

	if (draw(2))
		turn_tasks(draw(4) ? draw(PAUSES_MAX) : 0);
	if (commit_is_due() && !draw(4))
		fire(state->commit);
	if (!draw(64))
		fire(timers[draw(3)]);
}

/* Until all changes and commits have ended. */
static void settle(void)
{
	for (int turns = 0; turn_tasks(UINT_MAX) || commit_is_due();) {
		require(turns++ < TURNS, "tasks do not end");
		if (commit_is_due())
			fire(state->commit);
		turn_loop();
	}
}

static void run_begin(void *unused)
{
	struct error err = {""};

	require(!state_begin(state, &err), "%s", err.text);
}

static void begin(void)
{
	struct state_options options = {.base = base,
					.config_path = config_path,
					.overrides_path = overrides_path,
					.attach = attach,
					.neigh = neigh,
					.health = health,
					.tasks = tasks};
	struct api_options for_api = {.health = health,
				      .base = base,
				      .attach = attach,
				      .lateness = lateness,
				      .tasks = tasks,
				      .connections = CLIENTS};
	struct error err = {""};

	memory = memory_dataplane_new((struct memory_limits){4, 8, 1 << 16, 8});
	require(!config_load(config_path, &options.config, &err), "%s", err.text);
	options.dataplane = for_api.dp = memory->dp;
	require(!state_new(&options, &state, &err), "%s", err.text);
	require(!tasks_add(tasks, run_begin, NULL), "out of memory");
	settle();
	for_api.state = state;
	require(!api_new(&for_api, &api, &err), "%s", err.text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct error err = {""};

	fuzz_begin(true);
	fuzz_path(config_path, "lbd.yaml");
	fuzz_path(socket_path, "lbd.sock");
	fuzz_path(overrides_path, "lbd.sock.overrides.json");
	write_config();
	base = loop_new();
	require(base && !lateness_new(base, &lateness) && !tasks_new(base, &tasks), "no loop");
	tasks_by_hand(tasks);
	require(!neigh_new(base, &neigh, &err), "%s", err.text);
	require(!health_new(base, lateness, &health, &err), "%s", err.text);
	attach = stand_in_attach_new();
	begin();
	/* what a new network namespace still tells must not come during the first inputs */
	for (unsigned i = 0; i < 40; i++) {
		usleep(5000);
		turn_loop();
	}
	settle();
	return 0;
}

static void switch_to(const char *text)
{
	struct overrides none = {0};
	struct config *config;
	struct error err = {""};

	require(!config_parse(text, strlen(text), "f", &config, &err), "%s", err.text);
	require(!state_switch(state, config, &none, &err), "%s", err.text);
}

/* As after a start. Without services in between, nothing is carried over from before. */
static void reset(void)
{
	char nothing[256];

	snprintf(nothing, sizeof(nothing), "socket: %s\nservices: []\n", socket_path);
	switch_to(nothing);
	switch_to(config_text);
	stand_in_attach_clear(attach);
	settle();
}

/* ---- one request ---- */

struct client {
	const uint8_t *data;
	size_t size;
	uint32_t patience;       /* calls that returned true, until it leaves */
	bool (*meanwhile)(void); /* called again and again */
};

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	require(!connect(fd, (struct sockaddr *)&address, sizeof(address)), "%s", strerror(errno));
	return fd;
}

/* What the client got until lbd closed the connection, or it left itself. */
static size_t exchange(const struct client *client, char *answer)
{
	int fd = connect_client(), turns = 0;
	size_t sent = 0, length = 0;
	uint32_t waited = 0;
	ssize_t got = -1;

	while (got) {
		require(turns++ < TURNS, "no answer, and not closed");
		got =
		    send(fd, client->data + sent, client->size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += got > 0 ? (size_t)got : 0;
		if (sent == client->size)
			shutdown(fd, SHUT_WR);
		turn_loop();
		if (client->meanwhile && client->meanwhile() && waited++ == client->patience)
			break;
		got = recv(fd, answer + length, ANSWER_MAX - length, MSG_DONTWAIT);
		length += got > 0 ? (size_t)got : 0;
		require(length < ANSWER_MAX, "an answer of more than %d bytes", ANSWER_MAX);
		if (got < 0 && errno != EAGAIN)
			break;
	}
	close(fd);
	turn_loop();
	answer[length] = 0;
	return length;
}

static bool is_documented(int status)
{
	static const int statuses[] = {200, 400, 404, 405, 409, 411, 413, 422, 431, 501, 505};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i] == status)
			return true;
	return false;
}

/* The status of the answer; 0: lbd closed the connection, as the request is not whole. */
static int check_answer(const char *answer, size_t length)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const char *head = answer, *body, *field;
	json_t *root;
	int status;

	if (!strncmp(head, go_on, strlen(go_on)))
		head += strlen(go_on);
	length -= (size_t)(head - answer);
	if (!length)
		return 0;
	require(sscanf(head, "HTTP/1.1 %d ", &status) == 1 && is_documented(status), "%.60s", head);
	body = strstr(head, "\r\n\r\n");
	field = strstr(head, "\r\nContent-Length: ");
	require(body && field && field < body, "%.200s", head);
	body += 4;
	if (head + length == body) /* HEAD has an answer without a body */
		return status;
	require(strtoul(field + 18, NULL, 10) == (size_t)(head + length - body), "%.200s", head);
	root = json_loadb(body, (size_t)(head + length - body), JSON_REJECT_DUPLICATES, NULL);
	require(json_is_object(root), "%s", body);
	require(status == 200 || (json_is_string(json_object_get(root, "error")) &&
				  json_is_string(json_object_get(root, "hint"))),
		"%s", body);
	json_decref(root);
	return status;
}

/* ---- what must hold between requests ---- */

static void check_on_disk(void)
{
	struct overrides kept = {0};
	struct error err = {""};

	require(!overrides_load(overrides_path, 1000, &kept, &err), "%s", err.text);
	/* a renewal is written later */
	require(state->leases_stale || overrides_equal(&kept, &state->overrides),
		"%u on disk, %u in force", kept.count, state->overrides.count);
	overrides_done(&kept);
}

static bool may_be_backend(const struct addr *address)
{
	unsigned count;
	struct service *const *services = state_services(state, &count);

	for (unsigned i = 0; i < count; i++)
		if (addr_equal(&services[i]->config->vip, address))
			return false;
	return fuzz_is_host(address);
}

static void check_backend(const struct backend *backend)
{
	const char *name = config_tag_name(backend->tag);
	char text[ADDR_TEXT];
	struct error err;
	struct addr addr;

	require(may_be_backend(&backend->address), "%s", addr_format(&backend->address, text));
	require(backend->weight <= 10000, "weight %u", backend->weight);
	require(backend->priority <= (backend->backup ? 0 : 7), "priority %u", backend->priority);
	if (!name || backend->removed)
		return;
	require(!service_resolve_backend(backend->service, name, &addr, &err), "%s", err.text);
	require(addr_equal(&addr, &backend->address), "two backends are called %s", name);
}

static void check_state(void)
{
	unsigned count, backends = 0;
	struct service *const *services = state_services(state, &count);

	require(count <= 4, "%u services", count);
	for (unsigned i = 0; i < count; i++) {
		const struct service *service = services[i];

		backends += service->backends_count;
		require(state_find_service(state, service->config->name) == service,
			"two services are called %s", service->config->name);
		require(config_find_same(state_config(state), &service->config->vip,
					 service->config->protocol,
					 service->config->port) == service->config,
			"two services have the VIP of %s", service->config->name);
		for (unsigned j = 0; j < service->backends_count; j++)
			check_backend(service->backends[j]);
	}
	require(backends <= 8, "%u backends", backends);
	check_on_disk();
}

/* ---- what others see meanwhile ---- */

static char world_seen[WORLD_MAX];
static uint64_t generation_seen;

static void describe_world(char world[WORLD_MAX])
{
	int length = snprintf(world, WORLD_MAX, "%u", state->overrides.count);
	char text[ADDR_TEXT];

	for (unsigned i = 0; i < state->world.count; i++)
		for (unsigned j = 0; j < state->world.services[i]->backends_count; j++) {
			const struct backend *backend = state->world.services[i]->backends[j];

			length += snprintf(world + length, (size_t)(WORLD_MAX - length),
					   " %s %s %u %d %d", backend->service->config->name,
					   addr_format(&backend->address, text), backend->weight,
					   backend->drain, backend->removed);
			require(length < WORLD_MAX, "a world of more than %d bytes", WORLD_MAX);
		}
}

/* A world is there as a whole, with its generation, or not at all. */
static void check_world(void)
{
	uint64_t generation = state_generation(state);
	char world[WORLD_MAX];

	describe_world(world);
	require(generation != generation_seen || !strcmp(world, world_seen),
		"world %llu was \"%s\" and is \"%s\"", (unsigned long long)generation, world_seen,
		world);
	memcpy(world_seen, world, sizeof(world));
	generation_seen = generation;
}

/* Asks while no task goes on. */
static void peek(void)
{
	static const char *const paths[] = {"status", "services", "backends", "top", "stats"};
	static char answer[ANSWER_MAX + 1];
	char request[64];
	const struct client client = {
	    .data = (uint8_t *)request,
	    .size = (size_t)snprintf(request, sizeof(request),
				     "GET /v1/%s HTTP/1.1\r\nHost: lbd\r\n\r\n", paths[draw(5)])};
	int status = check_answer(answer, exchange(&client, answer));

	require(status == 200, "%s: answered %d during a change", request, status);
}

/* Nothing is drawn while there is nothing to decide: how often that is depends on the clock. */
static bool meanwhile(void)
{
	check_world();
	if (!tasks_busy(tasks) && !commit_is_due())
		return false;
	if (!draw(16))
		peek();
	pass_time();
	return true;
}

static void one_client(const uint8_t *data, size_t size)
{
	static char answer[ANSWER_MAX + 1];
	const struct client client = {data, size, draw(16) ? UINT32_MAX : draw(PAUSES_MAX),
				      meanwhile};
	struct overrides before;
	int status;

	require(!overrides_copy(&state->overrides, &before), "out of memory");
	status = check_answer(answer, exchange(&client, answer));
	if (status)
		check_state();
	settle();
	check_state();
	require(client.patience < UINT32_MAX || status == 200 ||
		    overrides_equal(&before, &state->overrides),
		"answered %d, but changed", status);
	overrides_done(&before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *last = data + size, *next;

	draw_from(data, size);
	reset();
	for (int i = 0; i < CLIENTS && at < last; i++) {
		next = memchr(at, 0xff, (size_t)(last - at));
		next = next ? next : last;
		one_client(at, (size_t)(next - at));
		at = next + 1;
	}
	return 0;
}
