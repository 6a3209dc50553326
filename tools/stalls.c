/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long a daemon keeps a cheap request waiting: asks for its status again and again.
 * usage: stalls watch SOCKET         until SIGTERM, every 2 ms; prints one JSON object
 *        stalls first SOCKET         until the first answer; prints one JSON object
 *        stalls serve PORT           accepts connections, so that health checks pass */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"

#define EVERY_US   2000
#define LIMIT_US   20000 /* longer ones are counted */
#define TIMEOUT_S  10
#define RETRY_US   500
#define PATIENCE_S 60
#define MOST       1000000 /* requests that are remembered */

static const char request[] = "GET /v1/status HTTP/1.1\r\nHost: lbd\r\n\r\n";

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "stalls: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- one request ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	close(fd);
	return -1;
}

/* True: it was answered with 200, to the end. */
static bool ask(const char *path)
{
	char answer[16384];
	size_t length = 0;
	ssize_t got = -1;
	int fd = connect_to(path);
	bool ok;

	if (fd < 0)
		return false;
	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1)
		while (length < sizeof(answer) &&
		       (got = recv(fd, answer + length, sizeof(answer) - length, 0)) > 0)
			length += (size_t)got;
	ok = !got && length > 13 && !memcmp(answer, "HTTP/1.1 200 ", 13);
	close(fd);
	return ok;
}

/* ---- many ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int watch(const char *path)
{
	uint32_t *took = calloc(MOST, sizeof(*took));
	unsigned count = 0, failed = 0, long_ones = 0;

	if (!took)
		die("memory");
	while (!stopped && count < MOST) {
		uint64_t start = clock_monotonic_us(), us;
		bool answered = ask(path);

		if (!answered && stopped) /* the signal ended it */
			break;
		failed += !answered;
		us = clock_monotonic_us() - start;
		took[count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
		long_ones += us > LIMIT_US;
		if (us < EVERY_US)
			usleep((useconds_t)(EVERY_US - us));
	}
	qsort(took, count, sizeof(*took), compare);
	printf("{\"asked\": %u, \"failed\": %u, \"median_ms\": %.2f, \"p99_ms\": %.2f, "
	       "\"longest_ms\": %.2f, \"over_20ms\": %u}\n",
	       count, failed, count ? took[count / 2] / 1e3 : 0,
	       count ? took[(uint64_t)count * 99 / 100] / 1e3 : 0,
	       count ? took[count - 1] / 1e3 : 0, long_ones);
	free(took);
	return 0;
}

static int first(const char *path)
{
	uint64_t start = clock_monotonic_us();

	while (!ask(path)) {
		if (clock_monotonic_us() - start > PATIENCE_S * 1000000ULL) {
			fprintf(stderr, "stalls: %s: no answer in %d s\n", path, PATIENCE_S);
			return 1;
		}
		usleep(RETRY_US);
	}
	printf("{\"first_ms\": %.1f}\n", (double)(clock_monotonic_us() - start) / 1e3);
	return 0;
}

static int serve(const char *port)
{
	struct sockaddr_in any = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 4096))
		die(port);
	while (!stopped && (client = accept(fd, NULL, NULL)) >= 0)
		close(client);
	return 0;
}

int main(int argc, char **argv)
{
	const struct sigaction end = {.sa_handler = on_signal};

	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	if (argc == 3 && !strcmp(argv[1], "watch"))
		return watch(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "first"))
		return first(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	fprintf(stderr, "usage: stalls watch SOCKET | first SOCKET | serve PORT\n");
	return 2;
}
