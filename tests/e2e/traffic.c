/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Real traffic for the lab: servers that say their name, and clients that count every lost, late or misplaced answer.
 * Called by tools/demo and the tests of tests/e2e. `traffic help` lists the modes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/addr.h"

#define MAX_NAMES   256
#define MAX_EVENTS  256
#define NAME_LENGTH 48

enum protocol { HTTP, TCP, UDP };

struct options {
	enum protocol protocol;
	struct addr target;
	uint16_t port;
	const char *name;     /* servers: what they answer */
	double rate;          /* new requests a second */
	double seconds;       /* how long to start new ones */
	uint64_t timeout_ns;  /* of one request */
	unsigned connections; /* hold: how many */
	uint64_t interval_ns; /* hold: between two lines of a connection */
	const char *progress; /* load: a file that gets one line per failure */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
	stopped = 1;
}

/* ---- who answered how often ---- */

struct tally {
	char name[MAX_NAMES][NAME_LENGTH];
	uint64_t count[MAX_NAMES];
	unsigned names;
};

static void tally_add(struct tally *tally, const char *name)
{
	unsigned i;

	for (i = 0; i < tally->names; i++)
		if (!strcmp(tally->name[i], name))
			break;
	if (i == MAX_NAMES)
		return;
	if (i == tally->names) {
		snprintf(tally->name[i], NAME_LENGTH, "%s", name);
		tally->names++;
	}
	tally->count[i]++;
}

/* ---- load: open loop, every request a new flow ---- */

struct request {
	int fd; /* -1: free */
	bool connected;
	uint64_t start_ns;
	size_t length;
	char answer[1024];
};

struct load {
	const struct options *options;
	int epoll;
	struct request *request;
	unsigned slots, hint;
	uint64_t sent, answered, failed, first_failure_ns, last_failure_ns, begin_ns;
	char last_failure[128];
	struct tally tally;
	uint32_t *latency_us;
	size_t latencies, latency_room;
	FILE *progress;
};

static void load_failed(struct load *load, const struct request *request, const char *why)
{
	uint64_t at = now_ns();

	load->failed++;
	if (!load->first_failure_ns)
		load->first_failure_ns = request->start_ns;
	if (request->start_ns > load->last_failure_ns)
		load->last_failure_ns = request->start_ns;
	snprintf(load->last_failure, sizeof(load->last_failure), "%s", why);
	if (load->progress) {
		fprintf(load->progress, "%.3f %.3f %s\n", (double)(request->start_ns - load->begin_ns) / 1e9,
			(double)(at - request->start_ns) / 1e9, why);
		fflush(load->progress);
	}
}

static void request_end(struct request *request)
{
	close(request->fd);
	request->fd = -1;
}

static void load_answered(struct load *load, struct request *request, const char *name)
{
	char word[NAME_LENGTH];

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, " \r\n"), name);
	tally_add(&load->tally, word);
	load->answered++;
	if (load->latencies == load->latency_room) {
		load->latency_room = load->latency_room ? load->latency_room * 2 : 4096;
		load->latency_us = realloc(load->latency_us, load->latency_room * sizeof(*load->latency_us));
		if (!load->latency_us)
			die("memory");
	}
	load->latency_us[load->latencies++] = (uint32_t)((now_ns() - request->start_ns) / 1000);
	request_end(request);
}

static void load_fail(struct load *load, struct request *request, const char *why)
{
	load_failed(load, request, why);
	request_end(request);
}

static struct request *load_slot(struct load *load)
{
	for (unsigned tried = 0; tried < load->slots; tried++) {
		struct request *request = &load->request[load->hint++ % load->slots];

		if (request->fd < 0)
			return request;
	}
	return NULL;
}

static void load_start(struct load *load)
{
	const struct options *options = load->options;
	struct request *request = load_slot(load);
	struct sockaddr_storage to;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = request};
	socklen_t length = addr_to_sockaddr(&options->target, options->port, &to);

	if (!request)
		return; /* all slots wait: the ones that wait will be counted as they time out */
	*request = (struct request){.start_ns = now_ns()};
	request->fd = socket(to.ss_family,
			     (options->protocol == UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (request->fd < 0)
		die("socket");
	load->sent++;
	if (connect(request->fd, (struct sockaddr *)&to, length) && errno != EINPROGRESS) {
		load_fail(load, request, strerror(errno));
		return;
	}
	if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, request->fd, &event))
		die("epoll_ctl");
}

static const char *http_name(const struct request *request)
{
	const char *body = strstr(request->answer, "\r\n\r\n");

	if (strncmp(request->answer, "HTTP/1.1 200", 12) || !body)
		return NULL;
	return body + 4;
}

/* The server has closed (HTTP), or a line is here (TCP, UDP). */
static void load_complete(struct load *load, struct request *request)
{
	const char *name = load->options->protocol == HTTP ? http_name(request) : request->answer;

	if (!name || !*name)
		load_fail(load, request, request->length ? "not the answer expected" : "closed without an answer");
	else
		load_answered(load, request, name);
}

static bool answer_is_whole(const struct load *load, const struct request *request, ssize_t got)
{
	if (load->options->protocol == HTTP)
		return got == 0;
	return got == 0 || strchr(request->answer, '\n');
}

static void load_send(struct load *load, struct request *request)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n", line[] = "who\n";
	const char *text = load->options->protocol == HTTP ? http : line;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = request};

	if (send(request->fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
		load_fail(load, request, strerror(errno));
		return;
	}
	request->connected = true;
	epoll_ctl(load->epoll, EPOLL_CTL_MOD, request->fd, &event);
}

static void load_event(struct load *load, struct request *request, uint32_t events)
{
	ssize_t got;

	if (request->fd < 0)
		return;
	if (!request->connected && (events & EPOLLOUT) && !(events & (EPOLLERR | EPOLLHUP)))
		load_send(load, request);
	if (request->fd < 0 || !(events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
		return;
	got = recv(request->fd, request->answer + request->length, sizeof(request->answer) - 1 - request->length, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got < 0) {
		load_fail(load, request, strerror(errno));
		return;
	}
	request->length += (size_t)got;
	request->answer[request->length] = 0;
	if (answer_is_whole(load, request, got))
		load_complete(load, request);
}

/* Returns how many still wait. */
static unsigned load_expire(struct load *load)
{
	uint64_t now = now_ns();
	unsigned waiting = 0;

	for (unsigned i = 0; i < load->slots; i++) {
		struct request *request = &load->request[i];

		if (request->fd < 0)
			continue;
		waiting++;
		if (now - request->start_ns > load->options->timeout_ns)
			load_fail(load, request, request->connected ? "no answer in time" : "no connection in time");
	}
	return waiting;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_ms(const struct load *load, double part)
{
	size_t at = (size_t)(part * (double)load->latencies);

	if (!load->latencies)
		return 0;
	return load->latency_us[at < load->latencies ? at : load->latencies - 1] / 1000.0;
}

/* One JSON object: easy to read for people, and for jq and sed. */
static void load_report(struct load *load)
{
	qsort(load->latency_us, load->latencies, sizeof(*load->latency_us), compare_u32);
	printf("{\"sent\": %llu, \"answered\": %llu, \"failed\": %llu, ", (unsigned long long)load->sent,
	       (unsigned long long)load->answered, (unsigned long long)load->failed);
	printf("\"first_failure_s\": %.3f, \"last_failure_s\": %.3f, \"last_failure\": \"%s\", ",
	       load->failed ? (double)(load->first_failure_ns - load->begin_ns) / 1e9 : -1,
	       load->failed ? (double)(load->last_failure_ns - load->begin_ns) / 1e9 : -1, load->last_failure);
	printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"by\": {", percentile_ms(load, 0.5),
	       percentile_ms(load, 0.99), percentile_ms(load, 1));
	for (unsigned i = 0; i < load->tally.names; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", load->tally.name[i], (unsigned long long)load->tally.count[i]);
	printf("}}\n");
}

static void load_turn(struct load *load, int wait_ms)
{
	struct epoll_event events[MAX_EVENTS];
	int count = epoll_wait(load->epoll, events, MAX_EVENTS, wait_ms);

	for (int i = 0; i < count; i++)
		load_event(load, events[i].data.ptr, events[i].events);
}

static int run_load(const struct options *options)
{
	struct load load = {.options = options, .slots = 8192, .begin_ns = now_ns()};
	uint64_t gap_ns = (uint64_t)(1e9 / options->rate), next = load.begin_ns, expired = load.begin_ns;
	uint64_t end = load.begin_ns + (uint64_t)(options->seconds * 1e9);

	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.request = calloc(load.slots, sizeof(*load.request));
	if (load.epoll < 0 || !load.request)
		die("set-up");
	for (unsigned i = 0; i < load.slots; i++)
		load.request[i].fd = -1;
	if (options->progress && !(load.progress = fopen(options->progress, "w")))
		die(options->progress);
	for (;;) {
		uint64_t now = now_ns();
		bool starting = now < end && !stopped;

		for (unsigned burst = 0; starting && next <= now && burst < 64; burst++, next += gap_ns)
			load_start(&load);
		load_turn(&load, starting ? (next > now + 1000000 ? 1 : 0) : 5);
		if (now - expired > 5000000 || !starting) {
			expired = now;
			if (!load_expire(&load) && !starting)
				break;
		}
	}
	load_report(&load);
	if (load.progress)
		fclose(load.progress);
	free(load.request);
	free(load.latency_us);
	return load.failed ? 1 : 0;
}

/* ---- hold: long-lived connections that must stay where they are ---- */

struct held {
	int fd;
	char name[NAME_LENGTH]; /* who answered first */
	uint64_t asked_ns;      /* 0: no question is open */
	uint64_t next_ns;
};

struct holding {
	const struct options *options;
	struct held *held;
	uint64_t asked, answered, moved, broken, late;
	struct tally tally;
};

static void held_open(struct holding *holding, struct held *held)
{
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(&holding->options->target, holding->options->port, &to);
	struct timeval limit = {.tv_sec = (time_t)(holding->options->timeout_ns / 1000000000),
				.tv_usec = (suseconds_t)(holding->options->timeout_ns % 1000000000 / 1000)};

	held->fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (held->fd < 0)
		die("socket");
	setsockopt(held->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(held->fd, (struct sockaddr *)&to, length)) {
		fprintf(stderr, "traffic: hold: connect: %s\n", strerror(errno));
		close(held->fd);
		held->fd = -1;
		holding->broken++;
		return;
	}
	fcntl(held->fd, F_SETFL, O_NONBLOCK);
}

static void held_broke(struct holding *holding, struct held *held, const char *why)
{
	fprintf(stderr, "traffic: hold: connection to %s broke: %s\n", held->name[0] ? held->name : "nobody", why);
	close(held->fd);
	held->fd = -1;
	holding->broken++;
}

static void held_read(struct holding *holding, struct held *held)
{
	char line[256];
	ssize_t got = recv(held->fd, line, sizeof(line) - 1, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		held_broke(holding, held, got ? strerror(errno) : "closed by the server");
		return;
	}
	line[got] = 0;
	line[strcspn(line, " \r\n")] = 0;
	held->asked_ns = 0;
	holding->answered++;
	if (!held->name[0]) {
		snprintf(held->name, sizeof(held->name), "%.*s", NAME_LENGTH - 1, line);
		tally_add(&holding->tally, line);
	} else if (strcmp(held->name, line)) {
		holding->moved++;
	}
}

static void held_turn(struct holding *holding, struct held *held, uint64_t now)
{
	if (held->fd < 0)
		return;
	held_read(holding, held);
	if (held->fd < 0)
		return;
	if (held->asked_ns && now - held->asked_ns > holding->options->timeout_ns) {
		holding->late++;
		held_broke(holding, held, "no answer in time");
		return;
	}
	if (held->asked_ns || now < held->next_ns)
		return;
	if (send(held->fd, "who\n", 4, MSG_NOSIGNAL) != 4) {
		held_broke(holding, held, strerror(errno));
		return;
	}
	held->asked_ns = now;
	held->next_ns = now + holding->options->interval_ns;
	holding->asked++;
}

static void hold_report(const struct holding *holding)
{
	printf("{\"connections\": %u, \"asked\": %llu, \"answered\": %llu, \"broken\": %llu, \"moved\": %llu, \"by\": "
	       "{",
	       holding->options->connections, (unsigned long long)holding->asked, (unsigned long long)holding->answered,
	       (unsigned long long)holding->broken, (unsigned long long)holding->moved);
	for (unsigned i = 0; i < holding->tally.names; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", holding->tally.name[i],
		       (unsigned long long)holding->tally.count[i]);
	printf("}}\n");
}

static int run_hold(const struct options *options)
{
	struct holding holding = {.options = options};
	uint64_t end;

	holding.held = calloc(options->connections, sizeof(*holding.held));
	if (!holding.held)
		die("memory");
	for (unsigned i = 0; i < options->connections; i++) {
		held_open(&holding, &holding.held[i]);
		holding.held[i].next_ns = now_ns() + options->interval_ns * i / options->connections;
	}
	fprintf(stderr, "traffic: hold: %u connections open\n", options->connections);
	end = now_ns() + (uint64_t)(options->seconds * 1e9);
	while (now_ns() < end && !stopped) {
		for (unsigned i = 0; i < options->connections; i++)
			held_turn(&holding, &holding.held[i], now_ns());
		usleep(2000);
	}
	hold_report(&holding);
	free(holding.held);
	return holding.broken || holding.moved ? 1 : 0;
}

/* ---- servers: answer every line, or datagram, with the name ---- */

static int bound_socket(const struct options *options, int type)
{
	struct sockaddr_storage at;
	socklen_t length = addr_to_sockaddr(&options->target, options->port, &at);
	int fd = socket(at.ss_family, type | SOCK_CLOEXEC, 0), one = 1, room = 4 << 20;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&at, length))
		die("bind");
	return fd;
}

static int serve_udp(const struct options *options)
{
	int fd = bound_socket(options, SOCK_DGRAM);
	char text[2048];

	while (!stopped) {
		struct sockaddr_storage from;
		socklen_t length = sizeof(from);
		ssize_t got = recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &length);
		int said = snprintf(text, sizeof(text), "%s\n", options->name);

		if (got >= 0)
			sendto(fd, text, (size_t)said, 0, (struct sockaddr *)&from, length);
	}
	close(fd);
	return 0;
}

static void serve_line(int epoll, int fd, const char *name)
{
	char text[2048];
	ssize_t got = recv(fd, text, sizeof(text), 0);
	int said = snprintf(text, sizeof(text), "%s\n", name);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || send(fd, text, (size_t)said, MSG_NOSIGNAL) != said) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
	}
}

static int serve_tcp(const struct options *options)
{
	int listener = bound_socket(options, SOCK_STREAM | SOCK_NONBLOCK), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[MAX_EVENTS];

	if (listen(listener, 4096) || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("listen");
	while (!stopped) {
		int count = epoll_wait(epoll, events, MAX_EVENTS, 1000);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd != listener) {
				serve_line(epoll, events[i].data.fd, options->name);
				continue;
			}
			event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (event.data.fd >= 0)
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
	close(listener);
	return 0;
}

/* ---- command line ---- */

static const char usage[] = "usage: traffic MODE ADDRESS PORT [OPTION VALUE]...\n"
			    "  load-http | load-tcp | load-udp   new flows: rate (a second, 100), seconds (5), timeout "
			    "(s, 1), progress (file)\n"
			    "  hold                              long-lived TCP connections: connections (100), "
			    "interval (s, 0.2), seconds, timeout\n"
			    "  serve-tcp | serve-udp             answer each line or datagram with name\n"
			    "Clients print one JSON object and exit 1 if anything failed, broke or moved.\n";

static void take_option(struct options *options, const char *key, const char *value)
{
	if (!strcmp(key, "rate"))
		options->rate = atof(value);
	else if (!strcmp(key, "seconds"))
		options->seconds = atof(value);
	else if (!strcmp(key, "timeout"))
		options->timeout_ns = (uint64_t)(atof(value) * 1e9);
	else if (!strcmp(key, "connections"))
		options->connections = (unsigned)atoi(value);
	else if (!strcmp(key, "interval"))
		options->interval_ns = (uint64_t)(atof(value) * 1e9);
	else if (!strcmp(key, "name"))
		options->name = value;
	else if (!strcmp(key, "progress"))
		options->progress = value;
	else {
		fprintf(stderr, "traffic: %s: unknown option\n%s", key, usage);
		exit(2);
	}
}

static const struct mode {
	const char *name;
	enum protocol protocol;
	int (*run)(const struct options *options);
} modes[] = {
    {"load-http", HTTP, run_load}, {"load-tcp", TCP, run_load},   {"load-udp", UDP, run_load},
    {"hold", TCP, run_hold},       {"serve-tcp", TCP, serve_tcp}, {"serve-udp", UDP, serve_udp},
};

int main(int argc, char **argv)
{
	struct options options = {.name = "nobody",
				  .rate = 100,
				  .seconds = 5,
				  .timeout_ns = 1000000000,
				  .connections = 100,
				  .interval_ns = 200000000};
	struct sigaction action = {.sa_handler = on_signal};
	struct rlimit files = {65536, 65536};

	if (argc < 4 || argc % 2 || addr_parse(argv[2], &options.target)) {
		fputs(usage, stderr);
		return 2;
	}
	options.port = (uint16_t)atoi(argv[3]);
	for (int i = 4; i + 1 < argc; i += 2)
		take_option(&options, argv[i], argv[i + 1]);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	setrlimit(RLIMIT_NOFILE, &files);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(argv[1], modes[i].name))
			continue;
		options.protocol = modes[i].protocol;
		return modes[i].run(&options);
	}
	fputs(usage, stderr);
	return 2;
}
