/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends what an attacker who only knows the ports of a connection can send: one packet with wrong
 * sequence numbers for each connection of this host to VIP:PORT from the local ports FIRST to LAST.
 * A host that follows RFC 5961 ignores it or answers with a challenge ACK. Prints the number of
 * packets sent.
 * usage: forge VIP PORT syn|fin|rst FIRST LAST */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "checksum.h"

struct tuple {
	uint32_t from, to; /* wire order */
	uint16_t from_port, to_port;
};

static void die(const char *what)
{
	fprintf(stderr, "forge: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Parses a line of /proc/net/tcp: an established connection. */
static bool parse_line(const char *line, struct tuple *ret)
{
	unsigned from, from_port, to, to_port, state;

	if (sscanf(line, " %*u: %8X:%4X %8X:%4X %2X", &from, &from_port, &to, &to_port, &state) !=
		5 ||
	    state != TCP_ESTABLISHED)
		return false;
	*ret = (struct tuple){from, to, (uint16_t)from_port, (uint16_t)to_port};
	return true;
}

/* flags: as in the header. FIN and RST are sent with ACK, as usual. */
static void forge(int fd, const struct tuple *tuple, uint8_t flags)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} __attribute__((packed)) packet = {
	    .ip = {.version = 4,
		   .ihl = 5,
		   .ttl = 64,
		   .protocol = IPPROTO_TCP,
		   .saddr = tuple->from,
		   .daddr = tuple->to},
	    .tcp = {.source = htons(tuple->from_port),
		    .dest = htons(tuple->to_port),
		    .doff = 5,
		    .window = htons(512)},
	};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = tuple->to};
	uint32_t pseudo;

	packet.ip.tot_len = htons(sizeof(packet));
	packet.tcp.th_flags = flags;
	if (getrandom(&packet.tcp.seq, sizeof(packet.tcp.seq), 0) < 0 ||
	    (flags & TH_ACK && getrandom(&packet.tcp.ack_seq, sizeof(packet.tcp.ack_seq), 0) < 0))
		die("getrandom");
	pseudo = add(&packet.ip.saddr, 8) + IPPROTO_TCP + sizeof(packet.tcp);
	packet.tcp.check = htons(fold(pseudo + add(&packet.tcp, sizeof(packet.tcp))));
	if (sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)) !=
	    sizeof(packet))
		die("sendto");
}

static uint8_t flags_of(const char *name)
{
	if (!strcmp(name, "syn"))
		return TH_SYN;
	if (!strcmp(name, "fin"))
		return TH_FIN | TH_ACK;
	return !strcmp(name, "rst") ? TH_RST | TH_ACK : 0;
}

int main(int argc, char **argv)
{
	unsigned sent = 0, port, first, last;
	struct tuple tuple;
	char line[256];
	uint32_t vip;
	FILE *file;
	int fd;

	if (argc != 6 || inet_pton(AF_INET, argv[1], &vip) != 1 || !flags_of(argv[3])) {
		fprintf(stderr, "usage: forge VIP PORT syn|fin|rst FIRST LAST\n");
		return 2;
	}
	port = (unsigned)atoi(argv[2]);
	first = (unsigned)atoi(argv[4]);
	last = (unsigned)atoi(argv[5]);
	/* with its own IP header, and receives nothing */
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	file = fopen("/proc/self/net/tcp", "r");
	if (fd < 0 || !file)
		die(file ? "raw socket" : "/proc/self/net/tcp");
	while (fgets(line, sizeof(line), file)) {
		if (!parse_line(line, &tuple) || tuple.to != vip || tuple.to_port != port ||
		    tuple.from_port < first || tuple.from_port > last)
			continue;
		forge(fd, &tuple, flags_of(argv[3]));
		sent++;
	}
	printf("%u\n", sent);
	return 0;
}
