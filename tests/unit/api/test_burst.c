/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Many servers that register, or leave, at the same moment, on plain memory and a real disk. It
 * prints what they cost, and what as many cost that wait for one another. LBD_TEST_BACKENDS: those
 * that are there already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 120000

#include "common/clock.h"
#include "common/log.h"
#include "api_served.h"

#define BURST    100 /* connections at the same time */
#define BACKENDS 200

static char directory[] = "/tmp/lbd-test-burst-XXXXXX", socket_path[64], overrides_path[64];
static unsigned backends;

static struct config *make_config(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);
	struct config *config = NULL;
	struct error err;

	fprintf(file,
		"socket: %s\ngroup: root\nmetrics: off\nlimits: { backends: %u }\nservices:\n",
		socket_path, backends + 3 * BURST);
	fputs("  - { name: web, vip: 192.0.2.1, protocol: tcp, port: 80, health: { type: none }, "
	      "backends: [",
	      file);
	for (unsigned i = 0; i < backends; i++)
		fprintf(file, "%s{ address: 10.1.%u.%u }", i ? ", " : "", i / 250, i % 250 + 1);
	fputs("] }\n", file);
	fclose(file);
	if (config_parse(text, length, "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	free(text);
	return config;
}

static int set_up(void **unused)
{
	const char *wanted = getenv("LBD_TEST_BACKENDS");

	backends = wanted ? (unsigned)strtoul(wanted, NULL, 10) : BACKENDS;
	if (!mkdtemp(directory))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/lbd.sock", directory);
	snprintf(overrides_path, sizeof(overrides_path), "%s/overrides.json", directory);
	base = loop_new();
	make_parts((struct memory_limits){4, backends + 3 * BURST, 4 << 20, 64});
	make_state_and_api(make_config(), overrides_path, 2 * BURST);
	begin_state();
	return 0;
}

static int tear_down(void **unused)
{
	end_served();
	event_base_free(base);
	libevent_global_shutdown();
	unlink(overrides_path);
	rmdir(directory);
	return 0;
}

/* ---- clients ---- */

static int ask(const char *method, unsigned number)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char request[256];
	const char *body = strcmp(method, "PUT") != 0 ? "{\"now\":true}" : "{\"ttl\":60}";
	int length = snprintf(request, sizeof(request),
			      "%s /v1/services/web/backends/10.9.%u.%u HTTP/1.1\r\nHost: lbd\r\n"
			      "Content-Length: %zu\r\n\r\n%s",
			      method, number / 250, number % 250 + 1, strlen(body), body);

	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, request, (size_t)length, MSG_NOSIGNAL), length);
	return fd;
}

/* The status; 0: it is not there yet. */
static unsigned status_of(int fd)
{
	char text[64] = "";
	ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	return got > 13 ? (unsigned)strtoul(text + strlen("HTTP/1.1 "), NULL, 10) : 0;
}

static void take_answers(int *fds, unsigned count)
{
	uint64_t until = patience_ends();

	for (unsigned i = 0; i < count; i++) {
		unsigned status;

		while (!(status = status_of(fds[i])))
			turn(until);
		assert_int_equal(status, 200);
		close(fds[i]);
	}
}

static unsigned registered(void)
{
	unsigned count;

	return state_services(state, &count)[0]->backends_count - backends;
}

/* ---- the measure ---- */

/* BURST of them at the same moment: their time, and few worlds. */
static uint64_t all_at_once(const char *method, unsigned *ret_worlds)
{
	int fds[BURST];
	uint64_t began_us = clock_monotonic_us(), before = state_generation(state);

	for (unsigned i = 0; i < BURST; i++)
		fds[i] = ask(method, i);
	take_answers(fds, BURST);
	*ret_worlds = (unsigned)(state_generation(state) - before);
	/* those of which the first task knows, and those that have come meanwhile */
	assert_true(*ret_worlds <= BURST / 4);
	return clock_monotonic_us() - began_us;
}

static uint64_t one_after_the_other(const char *method)
{
	uint64_t began_us = clock_monotonic_us();

	for (unsigned i = BURST; i < 2 * BURST; i++) {
		int fd = ask(method, i);

		take_answers(&fd, 1);
	}
	return clock_monotonic_us() - began_us;
}

static void show(const char *what, uint64_t together_us, unsigned worlds, uint64_t alone_us)
{
	printf("# beside %u backends: %u %s at the same moment %.1f ms and %u worlds, as many one "
	       "after the other %.1f ms\n",
	       backends, BURST, what, (double)together_us / 1000, worlds, (double)alone_us / 1000);
}

static void servers_that_come_at_the_same_moment_cost_few_worlds(void **unused)
{
	unsigned worlds;
	uint64_t together_us = all_at_once("PUT", &worlds), alone_us;

	assert_int_equal(registered(), BURST);
	alone_us = one_after_the_other("PUT");
	assert_int_equal(registered(), 2 * BURST);
	show("come", together_us, worlds, alone_us);
}

static void servers_that_leave_at_the_same_moment_cost_few_worlds(void **unused)
{
	unsigned worlds;
	uint64_t together_us = all_at_once("DELETE", &worlds), alone_us;

	assert_int_equal(registered(), BURST);
	alone_us = one_after_the_other("DELETE");
	assert_int_equal(registered(), 0);
	show("leave", together_us, worlds, alone_us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(servers_that_come_at_the_same_moment_cost_few_worlds),
	    cmocka_unit_test(servers_that_leave_at_the_same_moment_cost_few_worlds),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
