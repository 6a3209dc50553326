/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket: lbd without its program, on maps in plain memory, with any requests. The
 * input is what clients send, one connection each, separated by bytes 0xff. Every whole request is
 * answered as include/lb_api.h says; a change that is refused changed nothing; one that is
 * confirmed is on disk; and no request adds a backend or a service that the config would refuse. */
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
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
#define ANSWER_MAX (256 * 1024)
#define VIP_A      "192.0.2.1"
#define VIP_B      "2001:db8::1"

static struct event_base *base;
static struct lateness *lateness;
static struct neigh *neigh;
static struct health *health;
static char config_path[128], socket_path[128], overrides_path[128];

static struct memory_dataplane *memory;
static struct attach *attach;
static struct state *state;
static struct api *api;

static char config_text[2048];

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

static void begin(void)
{
	struct state_options options = {.base = base,
					.config_path = config_path,
					.overrides_path = overrides_path,
					.attach = attach,
					.neigh = neigh,
					.health = health};
	struct api_options for_api = {.health = health,
				      .base = base,
				      .attach = attach,
				      .lateness = lateness,
				      .connections = CLIENTS};
	struct error err = {""};

	memory = memory_dataplane_new((struct memory_limits){4, 8, 1 << 16, 8});
	require(!config_load(config_path, &options.config, &err), "%s", err.text);
	options.dataplane = for_api.dp = memory->dp;
	require(!state_new(&options, &state, &err), "%s", err.text);
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
	require(base && !lateness_new(base, &lateness), "no loop");
	require(!neigh_new(base, &neigh, &err), "%s", err.text);
	require(!health_new(base, lateness, &health, &err), "%s", err.text);
	attach = stand_in_attach_new();
	begin();
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
}

/* ---- one request ---- */

/* What the client got until lbd closed the connection. */
static size_t exchange(const uint8_t *data, size_t size, char *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), turns = 0;
	size_t sent = 0, length = 0;
	ssize_t got = -1;

	strcpy(address.sun_path, socket_path);
	require(!connect(fd, (struct sockaddr *)&address, sizeof(address)), "%s", strerror(errno));
	while (got) {
		require(turns++ < TURNS, "no answer, and not closed");
		got = send(fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += got > 0 ? (size_t)got : 0;
		if (sent == size)
			shutdown(fd, SHUT_WR);
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		got = recv(fd, answer + length, ANSWER_MAX - length, MSG_DONTWAIT);
		length += got > 0 ? (size_t)got : 0;
		require(length < ANSWER_MAX, "an answer of more than %d bytes", ANSWER_MAX);
		if (got < 0 && errno != EAGAIN)
			break;
	}
	close(fd);
	event_base_loop(base, EVLOOP_NONBLOCK);
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
	require(overrides_equal(&kept, &state->overrides), "%u on disk, %u in force", kept.count,
		state->overrides.count);
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

static void one_client(const uint8_t *data, size_t size)
{
	static char answer[ANSWER_MAX + 1];
	struct overrides before;
	int status;

	require(!overrides_copy(&state->overrides, &before), "out of memory");
	status = check_answer(answer, exchange(data, size, answer));
	check_state();
	require(status == 200 || overrides_equal(&before, &state->overrides),
		"answered %d, but changed", status);
	overrides_done(&before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *last = data + size, *next;

	reset();
	for (int i = 0; i < CLIENTS && at < last; i++) {
		next = memchr(at, 0xff, (size_t)(last - at));
		next = next ? next : last;
		one_client(at, (size_t)(next - at));
		at = next + 1;
	}
	return 0;
}
