/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Real traffic for the lab: servers that answer with their name, and clients that count every lost,
 * late or misplaced answer. `traffic help` lists the modes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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

#include "common/addr.h"

#define MAX_NAMES   256
#define MOST_LATE   16 /* requests that are started at once */
#define MAX_EVENTS  256
#define NAME_LENGTH 48

enum protocol { HTTP, TCP, UDP };

/* How a client ends a connection: with FIN, with RST, or silently, like a client that lost its
 * power. */
enum ending { FIN, RST, SILENT };

struct options {
	enum protocol protocol;
	struct addr target;
	uint16_t port;
	const char *name;     /* servers: what they answer */
	double rate;          /* new requests a second */
	double seconds;       /* for how long new ones are started */
	uint64_t timeout_ns;  /* of one request */
	unsigned connections; /* hold: how many */
	uint64_t interval_ns; /* hold: between two lines of a connection; 0: one at each SIGUSR1 */
	const char *progress; /* load: a file that gets one line per failure */
	/* clients */
	struct addr from; /* source address; family 0: the kernel chooses */
	/* of the first flow, counting up; 0: the kernel chooses */
	uint16_t from_port;
	enum ending ending; /* how connections end that the client closes first */
	/* load: a request starts when the one before has ended; the order of answers is printed */
	bool in_turn;
	uint64_t requests;  /* load: number of requests, instead of a duration; 0: by duration */
	unsigned every;     /* load: one of so many requests stays open after its answer */
	uint64_t linger_ns; /* load: for how long; 0: until SIGUSR1 */
	/* hold: after this a connection is closed and reopened; 0: never */
	uint64_t lifetime_ns;
	uint64_t again_ns; /* 0: never */
	uint64_t young_ns;
	/* servers */
	unsigned ports;    /* serve-tcp: number of consecutive ports */
	uint64_t delay_ns; /* serve-http: before each answer */
	uint64_t slow_ns;  /* serve-http: added to the delay while slow */
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

static volatile sig_atomic_t stopped, slow, asked; /* SIGUSR1, for clients that wait for it */

static void on_signal(int signal)
{
	if (signal == SIGUSR1)
		slow = asked = 1;
	else if (signal == SIGUSR2)
		slow = 0;
	else
		stopped = 1;
}

/* ---- answers per server ---- */

struct tally {
	char name[MAX_NAMES][NAME_LENGTH];
	uint64_t count[MAX_NAMES];
	unsigned names;
};

/* Returns the name's index; MAX_NAMES: no room for it. */
static unsigned tally_add(struct tally *tally, const char *name)
{
	unsigned i;

	for (i = 0; i < tally->names; i++)
		if (!strcmp(tally->name[i], name))
			break;
	if (i == MAX_NAMES)
		return i;
	if (i == tally->names) {
		snprintf(tally->name[i], NAME_LENGTH, "%s", name);
		tally->names++;
	}
	tally->count[i]++;
	return i;
}

static void tally_print(const struct tally *tally)
{
	printf("{");
	for (unsigned i = 0; i < tally->names; i++)
		printf("%s\"%s\": %llu", i ? ", " : "", tally->name[i],
		       (unsigned long long)tally->count[i]);
	printf("}");
}

/* ---- sockets of clients ---- */

/* Binds to the client address and the next of the requested ports, if any. */
static int client_socket(const struct options *options, int flags)
{
	static uint16_t flows;
	int type = options->protocol == UDP ? SOCK_DGRAM : SOCK_STREAM, one = 1;
	int fd = socket(options->target.family == 4 ? AF_INET : AF_INET6,
			type | SOCK_CLOEXEC | flags, 0);
	struct sockaddr_storage from;
	struct addr any = {.family = options->target.family};
	socklen_t length;

	if (fd < 0)
		die("socket");
	if (!options->from.family && !options->from_port)
		return fd;
	length = addr_to_sockaddr(options->from.family ? &options->from : &any,
				  options->from_port ? (uint16_t)(options->from_port + flows++) : 0,
				  &from);
	/* Without a requested port, the kernel chooses one in connect(), by the whole tuple. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&from, length))
		die("bind");
	return fd;
}

#define SYN_AGAIN_US 990000 /* when TCP repeats a SYN, and some ms less, as clocks are coarse */

/* TCP repeats a lost SYN after 1 s. A lost SYN counts as a failure, whatever the client's timeout.
 * One that was repeated because its answer was late is not lost: the answer's timestamp is that of
 * the first SYN, so the round trip took longer than until the second. Seen where the machine, such
 * as an emulated guest, is busy for so long. */
static bool syn_was_lost(const struct options *options, int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	return options->protocol != UDP && !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) &&
	       info.tcpi_total_retrans && info.tcpi_rtt < SYN_AGAIN_US;
}

/* The first round trip that the kernel has measured is that of the SYN, and does not wait for this
 * process. */
static uint32_t client_connect_us(const struct options *options, int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (options->protocol == UDP || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length))
		return 0;
	return info.tcpi_rtt;
}

/* The kernel acknowledges an answer at once, from another CPU than the one that closes: the RST
 * could overtake that ACK, and a flow with an ACK after its RST is active again. */
static void client_hold_acks(const struct options *options, int fd)
{
	const int off = 0;

	if (options->ending == RST && options->protocol != UDP &&
	    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off)))
		die("TCP_QUICKACK");
}

static void client_close(const struct options *options, int fd)
{
	const struct linger reset = {.l_onoff = 1};
	const int on = 1;

	if (options->ending == RST)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	else if (options->ending == SILENT &&
		 setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		die("TCP_REPAIR");
	close(fd);
}

/* ---- load: open loop, every request a new flow ---- */

struct request {
	int fd; /* -1: free */
	bool connected;
	bool stays; /* open after its answer */
	uint64_t start_ns;
	uint64_t until_ns;   /* answered, and open until then; 0: not answered */
	uint32_t connect_us; /* TCP: from its SYN to the answer, by the kernel */
	size_t length;
	char answer[1024];
};

struct connect_time {
	unsigned name; /* in the tally */
	uint32_t us;
};

struct load {
	const struct options *options;
	int epoll;
	struct request *request;
	unsigned slots, hint;
	uint64_t sent, answered, failed, first_failure_ns, last_failure_ns, begin_ns;
	char last_failure[128];
	struct tally tally, stayed;
	uint64_t waiting;  /* requests without an answer yet */
	uint8_t *sequence; /* with in_turn: indices into the tally's names */
	uint32_t *latency_us;
	struct connect_time *connects; /* beside each latency; TCP */
	size_t latencies, latency_room;
	FILE *progress;
};

static void load_failed(struct load *load, const struct request *request, const char *why)
{
	uint64_t at = now_ns();

	load->failed++;
	load->waiting--;
	if (!load->first_failure_ns)
		load->first_failure_ns = request->start_ns;
	if (request->start_ns > load->last_failure_ns)
		load->last_failure_ns = request->start_ns;
	snprintf(load->last_failure, sizeof(load->last_failure), "%s", why);
	if (load->progress) {
		fprintf(load->progress, "%.3f %.3f %s\n",
			(double)(request->start_ns - load->begin_ns) / 1e9,
			(double)(at - request->start_ns) / 1e9, why);
		fflush(load->progress);
	}
}

static void request_end(const struct load *load, struct request *request)
{
	client_close(load->options, request->fd);
	request->fd = -1;
}

static void load_answered(struct load *load, struct request *request, const char *name)
{
	char word[NAME_LENGTH];
	unsigned at;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, " \r\n"), name);
	at = tally_add(&load->tally, word);
	if (load->sequence)
		load->sequence[load->answered] = (uint8_t)at;
	load->answered++;
	if (load->latencies == load->latency_room) {
		load->latency_room = load->latency_room ? load->latency_room * 2 : 4096;
		load->latency_us =
		    realloc(load->latency_us, load->latency_room * sizeof(*load->latency_us));
		load->connects =
		    realloc(load->connects, load->latency_room * sizeof(*load->connects));
		if (!load->latency_us || !load->connects)
			die("memory");
	}
	load->connects[load->latencies] = (struct connect_time){at, request->connect_us};
	load->latency_us[load->latencies++] = (uint32_t)((now_ns() - request->start_ns) / 1000);
	load->waiting--;
	if (!request->stays) {
		request_end(load, request);
		return;
	}
	tally_add(&load->stayed, word);
	request->until_ns =
	    load->options->linger_ns ? now_ns() + load->options->linger_ns : UINT64_MAX;
	epoll_ctl(load->epoll, EPOLL_CTL_DEL, request->fd, NULL);
}

static void load_fail(struct load *load, struct request *request, const char *why)
{
	load_failed(load, request, why);
	request_end(load, request);
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
		return; /* all slots are in use: their requests count when they time out */
	*request = (struct request){.start_ns = now_ns(),
				    .stays = options->every && load->sent % options->every == 0};
	request->fd = client_socket(options, SOCK_NONBLOCK);
	load->sent++;
	load->waiting++;
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

/* Whether the answer is complete: the server has closed (HTTP), or a line has arrived (TCP,
 * UDP). */
static void load_complete(struct load *load, struct request *request)
{
	const char *name = load->options->protocol == HTTP ? http_name(request) : request->answer;

	if (!name || !*name)
		load_fail(load, request,
			  request->length ? "not the answer expected" : "closed without an answer");
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
	static const char http[] = "GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n",
			  line[] = "who\n";
	const char *text = load->options->protocol == HTTP ? http : line;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = request};

	if (syn_was_lost(load->options, request->fd)) {
		load_fail(load, request, "the first SYN was lost");
		return;
	}
	request->connect_us = client_connect_us(load->options, request->fd);
	client_hold_acks(load->options, request->fd);
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
	got = recv(request->fd, request->answer + request->length,
		   sizeof(request->answer) - 1 - request->length, 0);
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

/* Returns how many are still open. */
static unsigned load_expire(struct load *load)
{
	uint64_t now = now_ns();
	unsigned open = 0;

	for (unsigned i = 0; i < load->slots; i++) {
		struct request *request = &load->request[i];

		if (request->fd < 0)
			continue;
		open++;
		if (request->until_ns) {
			if (now > request->until_ns || (asked && request->until_ns == UINT64_MAX))
				request_end(load, request);
		} else if (now - request->start_ns > load->options->timeout_ns) {
			load_fail(load, request,
				  request->connected ? "no answer in time"
						     : "no connection in time");
		}
	}
	return open;
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

static int compare_connects(const void *a, const void *b)
{
	const struct connect_time *x = a, *y = b;

	return x->name != y->name ? (x->name > y->name) - (x->name < y->name)
				  : (x->us > y->us) - (x->us < y->us);
}

/* By the server that answered: {"b1": {"count": 9, "p50_us": 1, "p95_us": 2}}. */
static void connects_print(struct load *load)
{
	const struct connect_time *first = load->connects, *end = first + load->latencies;
	const char *between = "";

	if (load->latencies)
		qsort(load->connects, load->latencies, sizeof(*first), compare_connects);
	printf(", \"connects\": {");
	while (first < end && first->name < MAX_NAMES) {
		size_t count = 1;

		while (first + count < end && first[count].name == first->name)
			count++;
		printf("%s\"%s\": {\"count\": %zu, \"p50_us\": %u, \"p95_us\": %u}", between,
		       load->tally.name[first->name], count, first[count / 2].us,
		       first[count * 95 / 100].us);
		between = ", ";
		first += count;
	}
	printf("}");
}

/* Prints one JSON object. */
static void load_report(struct load *load)
{
	qsort(load->latency_us, load->latencies, sizeof(*load->latency_us), compare_u32);
	printf("{\"sent\": %llu, \"answered\": %llu, \"failed\": %llu, ",
	       (unsigned long long)load->sent, (unsigned long long)load->answered,
	       (unsigned long long)load->failed);
	printf("\"first_failure_s\": %.3f, \"last_failure_s\": %.3f, \"last_failure\": \"%s\", ",
	       load->failed ? (double)(load->first_failure_ns - load->begin_ns) / 1e9 : -1,
	       load->failed ? (double)(load->last_failure_ns - load->begin_ns) / 1e9 : -1,
	       load->last_failure);
	printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"by\": ",
	       percentile_ms(load, 0.5), percentile_ms(load, 0.99), percentile_ms(load, 1));
	tally_print(&load->tally);
	if (load->options->protocol != UDP)
		connects_print(load);
	if (load->options->every) {
		printf(", \"stayed\": ");
		tally_print(&load->stayed);
	}
	if (load->sequence) {
		printf(", \"sequence\": [");
		for (uint64_t i = 0; i < load->answered; i++)
			printf("%s\"%s\"", i ? ", " : "", load->tally.name[load->sequence[i]]);
		printf("]");
	}
	printf("}\n");
}

/* Whether another request may start now. */
static bool load_continues(const struct load *load, uint64_t now)
{
	const struct options *options = load->options;

	if (stopped)
		return false;
	if (options->requests)
		return load->sent < options->requests;
	return now < load->begin_ns + (uint64_t)(options->seconds * 1e9);
}

/* Starts the requests that are due. next_ns: when the next one is due. Those of a time in which
 * this process did not run are left out, but for a few: all at once they would fill the queue of a
 * veth. */
static void load_start_due(struct load *load, uint64_t now, uint64_t gap_ns, uint64_t *next_ns)
{
	if (*next_ns + MOST_LATE * gap_ns < now)
		*next_ns = now - MOST_LATE * gap_ns;
	while (*next_ns <= now && load_continues(load, now)) {
		if (load->options->in_turn && load->waiting)
			return;
		load_start(load);
		*next_ns = load->options->in_turn ? now : *next_ns + gap_ns;
	}
}

static void load_turn(struct load *load, int wait_ms)
{
	struct epoll_event events[MAX_EVENTS];
	int count = epoll_wait(load->epoll, events, MAX_EVENTS, wait_ms);

	for (int i = 0; i < count; i++)
		load_event(load, events[i].data.ptr, events[i].events);
}

/* How long to wait for answers only. */
static int load_wait_ms(const struct load *load, bool starting, uint64_t now, uint64_t next_ns)
{
	if (!starting || (load->options->in_turn && load->waiting))
		return 5;
	return next_ns > now + 1000000 ? 1 : 0;
}

static int run_load(const struct options *options)
{
	struct load load = {.options = options, .slots = 8192, .begin_ns = now_ns()};
	uint64_t gap_ns = (uint64_t)(1e9 / options->rate), next = load.begin_ns,
		 expired = load.begin_ns;

	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.request = calloc(load.slots, sizeof(*load.request));
	load.sequence = options->in_turn ? calloc(options->requests, 1) : NULL;
	if (load.epoll < 0 || !load.request || (options->in_turn && !load.sequence))
		die("set-up");
	for (unsigned i = 0; i < load.slots; i++)
		load.request[i].fd = -1;
	if (options->progress && !(load.progress = fopen(options->progress, "w")))
		die(options->progress);
	for (;;) {
		uint64_t now = now_ns();
		bool starting = load_continues(&load, now);

		load_start_due(&load, now, gap_ns, &next);
		load_turn(&load, load_wait_ms(&load, starting, now, next));
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
	free(load.sequence);
	free(load.latency_us);
	free(load.connects);
	return load.failed ? 1 : 0;
}

/* ---- hold: long-lived connections that must stay where they are ---- */

struct held {
	int fd;
	char name[NAME_LENGTH]; /* the server that answered first */
	uint64_t asked_ns;      /* 0: no request is open */
	uint64_t sent_ns;       /* the request, the last time */
	uint64_t next_ns;
	uint64_t end_ns; /* end of its lifetime; 0: none */
	uint64_t born_ns, answered_ns;
};

struct holding {
	const struct options *options;
	struct held *held;
	uint64_t opened, asked, answered, moved, broken, late, again;
	uint64_t young; /* of those that broke or moved */
	char last_failure[128];
	uint64_t begin_ns, last_failure_ns;
	bool ending;     /* no more requests; open ones are waited for */
	unsigned rounds; /* rounds of requests at SIGUSR1; the first begins at once */
	bool in_round;
	struct tally tally;
};

/* Was it still right when it was older than that? */
static bool is_young(const struct holding *holding, const struct held *held)
{
	return held->answered_ns - held->born_ns <= holding->options->young_ns;
}

static void held_failed(struct holding *holding, struct held *held, const char *what,
			const char *why)
{
	snprintf(holding->last_failure, sizeof(holding->last_failure),
		 "connection to %s %s: %s; it was last answered at an age of %llu ms",
		 held->name[0] ? held->name : "nobody", what, why,
		 (unsigned long long)(held->answered_ns - held->born_ns) / 1000000);
	holding->last_failure_ns = now_ns();
	fprintf(stderr, "traffic: hold: %s\n", holding->last_failure);
	holding->young += is_young(holding, held);
}

static void held_broke(struct holding *holding, struct held *held, const char *why)
{
	held_failed(holding, held, "broke", why);
	close(held->fd);
	held->fd = -1;
	holding->broken++;
}

static void held_open(struct holding *holding, struct held *held)
{
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(&holding->options->target, holding->options->port, &to);
	struct timeval limit = {
	    .tv_sec = (time_t)(holding->options->timeout_ns / 1000000000),
	    .tv_usec = (suseconds_t)(holding->options->timeout_ns % 1000000000 / 1000)};

	held->fd = client_socket(holding->options, 0);
	held->name[0] = 0;
	held->asked_ns = 0;
	held->born_ns = held->answered_ns = now_ns(); /* also of one that does not come about */
	holding->opened++;
	setsockopt(held->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(held->fd, (struct sockaddr *)&to, length)) {
		/* Being stopped in the middle of it is not a failure. */
		if (errno != EINTR || !stopped) {
			held_broke(holding, held, strerror(errno));
			return;
		}
		close(held->fd);
		held->fd = -1;
		return;
	}
	if (syn_was_lost(holding->options, held->fd)) {
		held_broke(holding, held, "the first SYN was lost");
		return;
	}
	fcntl(held->fd, F_SETFL, O_NONBLOCK);
	held->born_ns = held->answered_ns = now_ns();
	if (holding->options->lifetime_ns)
		held->end_ns = now_ns() + holding->options->lifetime_ns;
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
	if (held->name[0] && strcmp(held->name, line)) {
		holding->moved++;
		held_failed(holding, held, "moved", line);
		return;
	}
	held->answered_ns = now_ns();
	if (held->name[0])
		return;
	snprintf(held->name, sizeof(held->name), "%.*s", NAME_LENGTH - 1, line);
	tally_add(&holding->tally, line);
}

/* As a client over UDP does, whose datagram or answer was lost. */
static void held_ask_again(struct holding *holding, struct held *held, uint64_t now)
{
	if (!holding->options->again_ns || now - held->sent_ns < holding->options->again_ns)
		return;
	held->sent_ns = now;
	holding->again++;
	send(held->fd, "who\n", 4, MSG_NOSIGNAL);
}

static void held_turn(struct holding *holding, struct held *held, uint64_t now)
{
	if (held->fd < 0 && holding->options->lifetime_ns && !holding->ending &&
	    now >= held->next_ns) { /* the one before has broken */
		held->next_ns = now + holding->options->interval_ns;
		held_open(holding, held);
	}
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
	if (held->asked_ns)
		held_ask_again(holding, held, now);
	if (held->asked_ns || now < held->next_ns || holding->ending)
		return;
	if (held->end_ns && now > held->end_ns) {
		client_close(holding->options, held->fd);
		held_open(holding, held);
		if (held->fd < 0)
			return;
	}
	if (send(held->fd, "who\n", 4, MSG_NOSIGNAL) != 4) {
		held_broke(holding, held, strerror(errno));
		return;
	}
	held->asked_ns = held->sent_ns = now;
	held->next_ns =
	    holding->options->interval_ns ? now + holding->options->interval_ns : UINT64_MAX;
	holding->asked++;
}

static void hold_report(const struct holding *holding)
{
	printf("{\"connections\": %u, \"opened\": %llu, \"asked\": %llu, \"answered\": %llu, "
	       "\"broken\": %llu, \"moved\": %llu, \"young\": %llu, \"again\": %llu, "
	       "\"last_failure_s\": %.3f, \"last_failure\": \"%s\", \"by\": ",
	       holding->options->connections, (unsigned long long)holding->opened,
	       (unsigned long long)holding->asked, (unsigned long long)holding->answered,
	       (unsigned long long)holding->broken, (unsigned long long)holding->moved,
	       (unsigned long long)holding->young, (unsigned long long)holding->again,
	       holding->last_failure_ns
		   ? (double)(holding->last_failure_ns - holding->begin_ns) / 1e9
		   : -1,
	       holding->last_failure);
	tally_print(&holding->tally);
	printf("}\n");
}

static bool hold_waits(const struct holding *holding)
{
	for (unsigned i = 0; i < holding->options->connections; i++)
		if (holding->held[i].fd >= 0 && holding->held[i].asked_ns)
			return true;
	return false;
}

/* With interval 0 all connections send a request at each SIGUSR1; a line reports that all answers
 * of a round have arrived. */
static void hold_rounds(struct holding *holding)
{
	if (holding->options->interval_ns)
		return;
	if (holding->in_round && !hold_waits(holding)) {
		fprintf(stderr, "traffic: hold: round %u has ended\n", holding->rounds);
		holding->in_round = false;
	}
	if (holding->in_round || !asked)
		return;
	asked = 0;
	holding->rounds++;
	holding->in_round = true;
	for (unsigned i = 0; i < holding->options->connections; i++)
		holding->held[i].next_ns = 0;
}

static int run_hold(const struct options *options)
{
	struct holding holding = {
	    .options = options, .rounds = 1, .in_round = true, .begin_ns = now_ns()};
	uint64_t end;

	holding.held = calloc(options->connections, sizeof(*holding.held));
	if (!holding.held)
		die("memory");
	for (unsigned i = 0; i < options->connections; i++) {
		held_open(&holding, &holding.held[i]);
		holding.held[i].next_ns =
		    now_ns() + options->interval_ns * i / options->connections;
	}
	fprintf(stderr, "traffic: hold: %u connections open\n", options->connections);
	end = now_ns() + (uint64_t)(options->seconds * 1e9);
	while (!holding.ending || hold_waits(&holding)) {
		holding.ending = now_ns() >= end || stopped;
		for (unsigned i = 0; i < options->connections; i++)
			held_turn(&holding, &holding.held[i], now_ns());
		hold_rounds(&holding);
		usleep(2000);
	}
	hold_report(&holding);
	for (unsigned i = 0; i < options->connections; i++)
		if (holding.held[i].fd >= 0)
			client_close(options, holding.held[i].fd);
	free(holding.held);
	return holding.broken || holding.moved ? 1 : 0;
}

/* ---- half-close: the client ends its half, and the answer comes later ---- */

#define LATE_END "end\n"
/* Bytes: more than a server sends before the first acknowledgement */
#define LATE_FILLING 300000

struct late_answer {
	size_t length;
	char name[NAME_LENGTH], end[sizeof(LATE_END)];
};

/* Reads to the end of the stream. 0 or -errno; -EPROTO: it ended too early. */
static int late_read(int fd, struct late_answer *ret)
{
	const size_t tail = sizeof(LATE_END) - 1;
	static char text[LATE_FILLING + 2 * NAME_LENGTH];
	ssize_t got;

	*ret = (struct late_answer){0};
	while ((got = recv(fd, text + ret->length, sizeof(text) - ret->length, 0)) > 0)
		ret->length += (size_t)got;
	if (got < 0)
		return -errno;
	if (ret->length < LATE_FILLING + tail || memcmp(text + ret->length - tail, LATE_END, tail))
		return -EPROTO;
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

static int late_open(const struct options *options)
{
	const struct timeval limit = {.tv_sec = (time_t)(options->timeout_ns / 1000000000)};
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(&options->target, options->port, &to);
	int fd = client_socket(options, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, length) || send(fd, "who\n", 4, MSG_NOSIGNAL) != 4)
		die("half-close: connect");
	return fd;
}

/* Opens all connections, waits for SIGUSR1, ends its half of each, reads the answers. */
static int run_half_close(const struct options *options)
{
	int *fds = calloc(options->connections, sizeof(*fds));
	struct late_answer answer;
	struct tally whole = {0};
	unsigned broken = 0;

	if (!fds)
		die("memory");
	for (unsigned i = 0; i < options->connections; i++)
		fds[i] = late_open(options);
	fprintf(stderr, "traffic: half-close: %u connections open\n", options->connections);
	while (!asked && !stopped)
		usleep(2000);
	for (unsigned i = 0; i < options->connections; i++)
		shutdown(fds[i], SHUT_WR);
	for (unsigned i = 0; i < options->connections; i++) {
		int err = late_read(fds[i], &answer);

		if (err) {
			fprintf(stderr, "traffic: half-close: after %zu bytes: %s\n", answer.length,
				strerror(-err));
			broken++;
		} else {
			tally_add(&whole, answer.name);
		}
		close(fds[i]);
	}
	free(fds);
	printf("{\"connections\": %u, \"broken\": %u, \"whole\": ", options->connections, broken);
	tally_print(&whole);
	printf("}\n");
	return broken ? 1 : 0;
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
		ssize_t got =
		    recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &length);
		int bytes = snprintf(text, sizeof(text), "%s\n", options->name);

		if (got >= 0)
			sendto(fd, text, (size_t)bytes, 0, (struct sockaddr *)&from, length);
	}
	close(fd);
	return 0;
}

static void serve_line(int epoll, int fd, const char *name)
{
	char text[2048];
	ssize_t got = recv(fd, text, sizeof(text), 0);
	int bytes = snprintf(text, sizeof(text), "%s\n", name);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || send(fd, text, (size_t)bytes, MSG_NOSIGNAL) != bytes) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
	}
}

static int tcp_listener(const struct options *options, unsigned nth, int epoll)
{
	struct options there = *options;
	struct epoll_event event = {.events = EPOLLIN};

	there.port = (uint16_t)(options->port + nth);
	event.data.fd = bound_socket(&there, SOCK_STREAM | SOCK_NONBLOCK);
	if (listen(event.data.fd, 4096) || epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event))
		die("listen");
	return event.data.fd;
}

static int serve_tcp(const struct options *options)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), first = -1, last = -1;
	struct epoll_event event = {.events = EPOLLIN}, events[MAX_EVENTS];

	for (unsigned i = 0; i < options->ports; i++) {
		last = tcp_listener(options, i, epoll);
		first = i ? first : last;
	}
	while (!stopped) {
		int count = epoll_wait(epoll, events, MAX_EVENTS, 1000);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			/* the listeners have consecutive descriptors */
			if (fd < first || fd > last) {
				serve_line(epoll, fd, options->name);
				continue;
			}
			event.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (event.data.fd >= 0)
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
	return 0;
}

/* ---- a server that reads to the end of the stream, and answers late ---- */

/* In a process of its own, as it mostly waits. */
static void answer_late(int fd, const struct options *options)
{
	static char text[LATE_FILLING];
	const char *const parts[] = {options->name, "\n", text, LATE_END};
	const struct timespec delay = {.tv_sec = (time_t)(options->delay_ns / 1000000000),
				       .tv_nsec = (long)(options->delay_ns % 1000000000)};

	while (recv(fd, text, sizeof(text), 0) > 0)
		;
	nanosleep(&delay, NULL);
	memset(text, '.', sizeof(text));
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t length = parts[i] == text ? sizeof(text) : strlen(parts[i]);

		if (send(fd, parts[i], length, MSG_NOSIGNAL) != (ssize_t)length)
			break;
	}
	_exit(0);
}

static int serve_late(const struct options *options)
{
	int listener = bound_socket(options, SOCK_STREAM), fd;

	signal(SIGCHLD, SIG_IGN); /* the kernel reaps them */
	if (listen(listener, 4096))
		die("listen");
	while (!stopped) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (!fork())
			answer_late(fd, options);
		close(fd);
	}
	close(listener);
	return 0;
}

/* ---- a web server that can be slow: SIGUSR1 makes it slower, SIGUSR2 ends that ---- */

struct pending {
	int fd;
	uint64_t due_ns;
};

static void answer_due(struct pending *pending, unsigned *count, const char *name)
{
	uint64_t now = now_ns();
	unsigned kept = 0;

	for (unsigned i = 0; i < *count; i++) {
		if (pending[i].due_ns > now) {
			pending[kept++] = pending[i];
			continue;
		}
		dprintf(pending[i].fd,
			"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
			strlen(name) + 1, name);
		shutdown(pending[i].fd, SHUT_WR);
		close(pending[i].fd);
	}
	*count = kept;
}

/* The head of a request fits in one segment here. It is read before the answer is sent: a close
 * with unread bytes would send RST. */
static void take_request(int listener, uint64_t delay_ns, struct pending *pending, unsigned *count)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct timeval limit = {.tv_sec = 1};
	char text[2048];

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (*count == MAX_EVENTS || recv(fd, text, sizeof(text), 0) <= 0) {
		close(fd);
		return;
	}
	pending[(*count)++] = (struct pending){.fd = fd, .due_ns = now_ns() + (delay_ns)};
}

static int serve_http(const struct options *options)
{
	int listener = bound_socket(options, SOCK_STREAM);
	struct pollfd ready = {.fd = listener, .events = POLLIN};
	struct pending pending[MAX_EVENTS];
	unsigned count = 0;

	if (listen(listener, 4096))
		die("listen");
	while (!stopped) {
		if (poll(&ready, 1, count ? 1 : 1000) > 0)
			take_request(listener, options->delay_ns + (slow ? options->slow_ns : 0),
				     pending, &count);
		answer_due(pending, &count, options->name);
	}
	close(listener);
	return 0;
}

/* ---- command line ---- */

static const char usage[] =
    "usage: traffic MODE ADDRESS PORT [OPTION VALUE]...\n"
    "  load-http | load-tcp | load-udp   new flows: rate (a second, 100), seconds (5) or requests, timeout (s, 10),\n"
    "                                    progress (file); every N: one of N stays open for linger s (0: until\n"
    "                                    SIGUSR1)\n"
    "  ask-http | ask-tcp | ask-udp      one request after the other: requests (100), timeout\n"
    "  hold | hold-udp                   long-lived connections: connections (100), interval (s, 0.2; 0: all ask at\n"
    "                                    SIGUSR1), seconds, timeout, lifetime (s; then each is closed and opened "
    "again),\n"
    "                                    again (s; an unanswered datagram is sent again), young (s, 0; counts apart those\n"
    "                                    that broke or moved and were last answered at this age)\n"
    "  half-close                        connections (100) whose client's half ends at SIGUSR1: timeout of the answer\n"
    "  serve-tcp | serve-udp             answer each line or datagram with name; ports N: on so many in a row (tcp)\n"
    "  serve-http                        the same after delay s, and slow s more between SIGUSR1 and SIGUSR2\n"
    "  serve-late                        delay s after the client's half has ended: its name, and much more\n"
    "Clients take from (address), from-port (the first flow's) and ending (fin, rst or silent), print one JSON\n"
    "object and exit 1 if anything failed, broke or moved.\n";

static uint64_t seconds_of(const char *text)
{
	return (uint64_t)(atof(text) * 1e9);
}

static void take_option(struct options *options, const char *key, const char *value)
{
	if (!strcmp(key, "rate"))
		options->rate = atof(value);
	else if (!strcmp(key, "seconds"))
		options->seconds = atof(value);
	else if (!strcmp(key, "timeout"))
		options->timeout_ns = seconds_of(value);
	else if (!strcmp(key, "connections"))
		options->connections = (unsigned)atoi(value);
	else if (!strcmp(key, "interval"))
		options->interval_ns = seconds_of(value);
	else if (!strcmp(key, "lifetime"))
		options->lifetime_ns = seconds_of(value);
	else if (!strcmp(key, "again"))
		options->again_ns = seconds_of(value);
	else if (!strcmp(key, "young"))
		options->young_ns = seconds_of(value);
	else if (!strcmp(key, "linger"))
		options->linger_ns = seconds_of(value);
	else if (!strcmp(key, "delay"))
		options->delay_ns = seconds_of(value);
	else if (!strcmp(key, "slow"))
		options->slow_ns = seconds_of(value);
	else if (!strcmp(key, "ending"))
		options->ending = !strcmp(value, "rst")      ? RST
				  : !strcmp(value, "silent") ? SILENT
							     : FIN;
	else if (!strcmp(key, "ports"))
		options->ports = (unsigned)atoi(value);
	else if (!strcmp(key, "every"))
		options->every = (unsigned)atoi(value);
	else if (!strcmp(key, "requests"))
		options->requests = (uint64_t)atoll(value);
	else if (!strcmp(key, "from-port"))
		options->from_port = (uint16_t)atoi(value);
	else if (!strcmp(key, "name"))
		options->name = value;
	else if (!strcmp(key, "progress"))
		options->progress = value;
	else if (strcmp(key, "from") != 0 || addr_parse(value, &options->from)) {
		fprintf(stderr, "traffic: %s %s: unknown option or value\n%s", key, value, usage);
		exit(2);
	}
}

/* On a slow machine LAB_SLOWDOWN (tools/lab.sh) means fewer requests a second, and more time for
 * each. */
static void slow_down(struct options *options)
{
	const char *text = getenv("LAB_SLOWDOWN");
	double times = text ? atof(text) : 1;

	if (times > 1) {
		options->rate /= times;
		options->timeout_ns = (uint64_t)((double)options->timeout_ns * times);
	}
}

static int run_asking(const struct options *options)
{
	struct options in_turn = *options;

	in_turn.in_turn = true;
	if (!in_turn.requests)
		in_turn.requests = 100;
	return run_load(&in_turn);
}

static const struct mode {
	const char *name;
	enum protocol protocol;
	int (*run)(const struct options *options);
} modes[] = {
    {"load-http", HTTP, run_load},
    {"load-tcp", TCP, run_load},
    {"load-udp", UDP, run_load},
    {"ask-http", HTTP, run_asking},
    {"ask-tcp", TCP, run_asking},
    {"ask-udp", UDP, run_asking},
    {"hold", TCP, run_hold},
    {"hold-udp", UDP, run_hold},
    {"serve-tcp", TCP, serve_tcp},
    {"serve-http", HTTP, serve_http},
    {"serve-udp", UDP, serve_udp},
    {"serve-late", TCP, serve_late},
    {"half-close", TCP, run_half_close},
};

int main(int argc, char **argv)
{
	struct options options = {.name = "nobody",
				  .rate = 100,
				  .seconds = 5,
				  .timeout_ns = 10000000000,
				  .connections = 100,
				  .ports = 1,
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
	slow_down(&options);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
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
