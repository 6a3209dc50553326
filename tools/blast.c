/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* UDP requests and answers in batches, as many as two cores can handle; counts every loss.
 * usage: blast server ADDRESS PORT
 *        blast client ADDRESS PORT RATE SECONDS FLOWS
 * RATE is in requests a second. The client prints one JSON object. */
#include <errno.h>
#include <fcntl.h>
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
#include <time.h>
#include <unistd.h>

#include "common/addr.h"

#define BATCH     64
#define LONGEST   64
#define MAX_FLOWS 4096

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct batch {
	struct mmsghdr message[BATCH];
	struct iovec part[BATCH];
	struct sockaddr_storage from[BATCH];
	char text[BATCH][LONGEST];
};

static void batch_init(struct batch *batch, bool with_addresses)
{
	memset(batch, 0, sizeof(*batch));
	for (int i = 0; i < BATCH; i++) {
		batch->part[i] = (struct iovec){batch->text[i], LONGEST};
		batch->message[i].msg_hdr.msg_iov = &batch->part[i];
		batch->message[i].msg_hdr.msg_iovlen = 1;
		if (with_addresses)
			batch->message[i].msg_hdr.msg_name = &batch->from[i];
	}
}

static void socket_room(int fd)
{
	int room = 16 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
}

static int serve(const struct addr *address, uint16_t port)
{
	static struct batch batch;
	struct sockaddr_storage at;
	socklen_t length = addr_to_sockaddr(address, port, &at);
	int fd = socket(at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, length))
		die("bind");
	socket_room(fd);
	batch_init(&batch, true);
	while (!stopped) {
		int got;

		for (int i = 0; i < BATCH; i++) {
			batch.message[i].msg_hdr.msg_namelen = sizeof(batch.from[i]);
			batch.part[i].iov_len = LONGEST;
		}
		got = recvmmsg(fd, batch.message, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < got; i++)
			batch.part[i].iov_len = batch.message[i].msg_len;
		for (int done = 0; done < got;) {
			int sent = sendmmsg(fd, batch.message + done, (unsigned)(got - done), 0);

			done += sent > 0 ? sent : 1;
		}
	}
	close(fd);
	return 0;
}

struct client {
	int fd[MAX_FLOWS];
	int flows, epoll, turn;
	uint64_t sent, received;
	struct batch out, in;
};

static void client_open(struct client *client, const struct addr *address, uint16_t port, int flows)
{
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(address, port, &to);

	client->flows = flows;
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < flows; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = -1};

		client->fd[i] = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		event.data.fd = client->fd[i];
		if (client->fd[i] < 0 || connect(client->fd[i], (struct sockaddr *)&to, length) ||
		    epoll_ctl(client->epoll, EPOLL_CTL_ADD, client->fd[i], &event))
			die("socket");
		socket_room(client->fd[i]);
	}
	batch_init(&client->out, false);
	batch_init(&client->in, false);
}

static void client_receive(struct client *client, int wait_ms)
{
	struct epoll_event events[BATCH];
	int ready = epoll_wait(client->epoll, events, BATCH, wait_ms);

	for (int i = 0; i < ready; i++) {
		int got =
		    recvmmsg(events[i].data.fd, client->in.message, BATCH, MSG_DONTWAIT, NULL);

		client->received += got > 0 ? (uint64_t)got : 0;
	}
}

static void client_send(struct client *client, int count)
{
	int fd = client->fd[client->turn++ % client->flows], sent;

	for (int i = 0; i < count; i++)
		client->out.part[i].iov_len = 32;
	sent = sendmmsg(fd, client->out.message, (unsigned)count, 0);
	client->sent += sent > 0 ? (uint64_t)sent : 0;
}

static int ask(const struct addr *address, uint16_t port, double rate, double length, int flows)
{
	static struct client client;
	struct rusage use;
	double begin, end, quiet;

	client_open(&client, address, port, flows);
	begin = seconds();
	while (seconds() - begin < length && !stopped) {
		double owed = (seconds() - begin) * rate - (double)client.sent;

		if (owed >= 16 || (owed >= 1 && rate < 20000))
			client_send(&client, owed > 32 ? 32 : (int)owed);
		client_receive(&client, owed < 1 ? 1 : 0);
	}
	end = seconds();
	for (quiet = seconds(); seconds() - quiet < 0.3 && client.received < client.sent;) {
		uint64_t before = client.received;

		client_receive(&client, 10);
		if (client.received != before)
			quiet = seconds();
	}
	getrusage(RUSAGE_SELF, &use);
	printf(
	    "{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"seconds\": %.3f, \"per_second\": %.0f}\n",
	    (unsigned long long)client.sent, (unsigned long long)client.received,
	    (unsigned long long)(client.sent - client.received), end - begin,
	    (double)client.received / (end - begin));
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct rlimit files = {65536, 65536};
	struct addr address;

	sigaction(SIGTERM, &action, NULL);
	setrlimit(RLIMIT_NOFILE, &files);
	if (argc == 4 && !strcmp(argv[1], "server") && !addr_parse(argv[2], &address))
		return serve(&address, (uint16_t)atoi(argv[3]));
	if (argc == 7 && !strcmp(argv[1], "client") && !addr_parse(argv[2], &address) &&
	    atoi(argv[6]) > 0 && atoi(argv[6]) <= MAX_FLOWS)
		return ask(&address, (uint16_t)atoi(argv[3]), atof(argv[4]), atof(argv[5]),
			   atoi(argv[6]));
	fprintf(
	    stderr,
	    "usage: blast server ADDRESS PORT | blast client ADDRESS PORT RATE SECONDS FLOWS\n");
	return 2;
}
