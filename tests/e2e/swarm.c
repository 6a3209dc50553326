/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hostile clients of a HTTP server, hundreds in one process. They come back as soon as they are
 * closed, until SIGTERM.
 *   swarm WHERE PATH [KIND COUNT]...
 * WHERE: an IPv4 ADDRESS:PORT, or the path of a Unix socket. KIND:
 *   loop   ask for PATH, read the answer, ask again
 *   idle   connect and send nothing
 *   bytes  send a request byte by byte that never ends
 *   slow   ask for PATH and read the answer byte by byte
 *   hold   connect, send nothing, and do not come back when closed
 * At the end it prints what it met, as JSON: connections, whole answers, statuses 200, 503 and
 * others, connections that were closed or refused without an answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX     4096
#define TRICKLE_MS      20
#define CONNECTS_A_TURN 64

enum kind { LOOP, IDLE, BYTES, SLOW, HOLD, KINDS };
static const char *const kind_names[KINDS] = {"loop", "idle", "bytes", "slow", "hold"};

struct client {
	enum kind kind;
	int fd; /* -1: not connected */
	bool asked, given_up;
	size_t got;     /* bytes of the answer */
	char begin[16]; /* of the answer */
};

static struct client clients[CLIENTS_MAX];
static unsigned count;
static struct sockaddr_storage address;
static socklen_t address_length;
static char request[512];
static size_t request_length;
static int poller;
static volatile sig_atomic_t ended;
static unsigned long long connections, answers, ok, unavailable, other, closed;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_end(int number)
{
	ended = number;
}

/* ---- one client ---- */

static void count_end(const struct client *client)
{
	if (client->got < 12) {
		closed++;
		return;
	}
	answers++;
	if (!memcmp(client->begin + 9, "200", 3))
		ok++;
	else if (!memcmp(client->begin + 9, "503", 3))
		unavailable++;
	else
		other++;
}

static void client_close(struct client *client)
{
	close(client->fd);
	client->fd = -1;
	client->given_up = client->kind == HOLD;
	count_end(client);
}

static void client_connect(struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};

	client->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	client->asked = false;
	client->got = 0;
	if (client->fd < 0)
		return;
	if (connect(client->fd, (struct sockaddr *)&address, address_length) &&
	    errno != EINPROGRESS) {
		close(client->fd); /* EAGAIN: the queue of a Unix socket is full */
		client->fd = -1;
		return;
	}
	connections++;
	if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event)) {
		close(client->fd);
		client->fd = -1;
	}
}

static void client_ask(struct client *client)
{
	if (client->asked || (client->kind != LOOP && client->kind != SLOW))
		return;
	if (send(client->fd, request, request_length, MSG_NOSIGNAL) > 0)
		client->asked = true;
}

/* False: the connection has ended. */
static bool client_read(struct client *client, size_t most)
{
	char bytes[65536];
	ssize_t got = recv(client->fd, bytes, most < sizeof(bytes) ? most : sizeof(bytes), 0);

	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	for (ssize_t i = 0; i < got && client->got + (size_t)i < sizeof(client->begin); i++)
		client->begin[client->got + (size_t)i] = bytes[i];
	client->got += (size_t)got;
	return true;
}

static void client_event(struct client *client, uint32_t events)
{
	size_t before;

	if (client->fd < 0)
		return;
	if (events & EPOLLOUT)
		client_ask(client);
	if (client->kind == SLOW && !(events & (EPOLLERR | EPOLLHUP)))
		return; /* reads when its time has come */
	do {
		before = client->got;
		if (!client_read(client, SIZE_MAX)) {
			client_close(client);
			return;
		}
	} while (client->got != before);
}

static void client_trickle(struct client *client)
{
	if (client->fd < 0)
		return;
	if (client->kind == BYTES &&
	    send(client->fd, client->got ? "x" : "G", 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	    errno != ENOTCONN)
		client_close(client);
	else if (client->kind == SLOW && client->asked && !client_read(client, 1))
		client_close(client);
}

/* ---- all of them ---- */

static void run(void)
{
	struct epoll_event events[256];
	uint64_t trickle_ms = now_ms();
	unsigned next = 0;

	while (!ended) {
		int ready = epoll_wait(poller, events, 256, 5);

		for (int i = 0; i < ready; i++)
			client_event(events[i].data.ptr, events[i].events);
		for (unsigned i = 0, tried = 0; i < count && tried < CONNECTS_A_TURN; i++) {
			next = (next + 1) % count;
			if (clients[next].fd >= 0 || clients[next].given_up)
				continue;
			client_connect(&clients[next]);
			tried++;
		}
		if (now_ms() - trickle_ms < TRICKLE_MS)
			continue;
		trickle_ms = now_ms();
		for (unsigned i = 0; i < count; i++)
			client_trickle(&clients[i]);
	}
}

static void parse_where(const char *where)
{
	struct sockaddr_un *path = (struct sockaddr_un *)&address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	const char *colon = strrchr(where, ':');
	char host[64] = "";

	if (*where == '/' && strlen(where) < sizeof(path->sun_path)) {
		path->sun_family = AF_UNIX;
		strcpy(path->sun_path, where);
		address_length = sizeof(*path);
		return;
	}
	if (colon && (size_t)(colon - where) < sizeof(host))
		memcpy(host, where, (size_t)(colon - where));
	v4->sin_family = AF_INET;
	if (!colon || inet_pton(AF_INET, host, &v4->sin_addr) != 1) {
		fprintf(stderr, "%s: expected ADDRESS:PORT or the path of a socket\n", where);
		exit(2);
	}
	v4->sin_port = htons((uint16_t)atoi(colon + 1));
	address_length = sizeof(*v4);
}

static void add_clients(const char *name, unsigned number)
{
	enum kind kind = 0;

	while (kind < KINDS && strcmp(kind_names[kind], name) != 0)
		kind++;
	if (kind == KINDS || number > CLIENTS_MAX - count) {
		fprintf(stderr, "%s %u: expected loop, idle, bytes, slow or hold and a number\n",
			name, number);
		exit(2);
	}
	while (number--)
		clients[count++] = (struct client){.kind = kind, .fd = -1};
}

int main(int argc, char **argv)
{
	struct rlimit files = {CLIENTS_MAX + 64, CLIENTS_MAX + 64};

	if (argc < 5 || argc % 2 == 0) {
		fprintf(stderr, "usage: swarm WHERE PATH KIND COUNT...\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	parse_where(argv[1]);
	request_length = (size_t)snprintf(request, sizeof(request),
					  "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
	for (int i = 3; i < argc; i += 2)
		add_clients(argv[i], (unsigned)atoi(argv[i + 1]));
	signal(SIGTERM, on_end);
	signal(SIGINT, on_end);
	poller = epoll_create1(EPOLL_CLOEXEC);
	run();
	printf("{\"connections\":%llu,\"answers\":%llu,\"ok\":%llu,\"unavailable\":%llu,"
	       "\"other\":%llu,\"closed\":%llu}\n",
	       connections, answers, ok, unavailable, other, closed);
	return 0;
}
