/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A flood from distinct sources, written directly to an interface: SYNs, or a mixture.
 * usage: flood INTERFACE VIP PORT COUNT RATE [mix | open]
 * Evenly spread: what is due in a tenth of a millisecond goes out at once, no more unless it is
 * late. mix: SYNs, ACKs, UDP datagrams, first and later fragments in turn, from all of 11.0.0.0/8,
 * no two in a row of one prefix. open: SYN and ACK of each source, as of clients whose connections
 * are established. The next hop comes from the kernel's neighbour table. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "checksum.h"

#define BATCH    64
#define FRAGMENT 16 /* bytes of UDP header and data in a fragment */

enum mode { FLOOD_SYNS, FLOOD_MIX, FLOOD_OPEN };
enum kind { FLOOD_SYN, FLOOD_ACK, FLOOD_UDP, FLOOD_FIRST_FRAGMENT, FLOOD_LATER_FRAGMENT, KINDS };

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct udphdr udp;
	};
} __attribute__((packed));

static void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint16_t client_port(uint32_t number)
{
	return htons((uint16_t)(1024 + number % 60000));
}

static void tcp_fill(struct frame *frame, uint32_t number, uint16_t port, bool syn)
{
	uint32_t pseudo;

	frame->tcp = (struct tcphdr){.source = client_port(number),
				     .dest = htons(port),
				     .doff = 5,
				     .syn = syn,
				     .ack = !syn,
				     .window = htons(65535)};
	frame->tcp.seq = htonl(number * 2654435761u + !syn);
	pseudo = add(&frame->ip.saddr, 8) + IPPROTO_TCP + sizeof(frame->tcp);
	frame->tcp.check = htons(fold(pseudo + add(&frame->tcp, sizeof(frame->tcp))));
}

/* Without a checksum, which UDP over IPv4 may leave out. */
static void udp_fill(struct frame *frame, uint32_t number, uint16_t port)
{
	frame->udp = (struct udphdr){
	    .source = client_port(number), .dest = htons(port), .len = htons(sizeof(frame->tcp))};
	memset(&frame->udp + 1, 'x', sizeof(frame->tcp) - sizeof(frame->udp));
}

static void fragment_mark(struct frame *frame, enum kind kind, uint32_t number)
{
	frame->ip.id = htons((uint16_t)number);
	frame->ip.tot_len = htons(sizeof(frame->ip) + FRAGMENT);
	frame->ip.frag_off = kind == FLOOD_FIRST_FRAGMENT ? htons(0x2000) : htons(FRAGMENT / 8);
}

/* An address of 11.0.0.0/8, which is not used in the lab. */
static uint32_t source_of(uint32_t number, bool mixed)
{
	return htonl(0x0b000000 + (mixed ? number * 2654435761u >> 8 : number));
}

static enum kind kind_of(uint32_t number, enum mode mode)
{
	if (mode == FLOOD_MIX)
		return number % KINDS;
	return mode == FLOOD_OPEN && number % 2 ? FLOOD_ACK : FLOOD_SYN;
}

static void frame_fill(struct frame *frame, uint32_t number, uint32_t vip, uint16_t port,
		       enum mode mode)
{
	enum kind kind = kind_of(number, mode);

	frame->ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .daddr = vip};
	if (mode == FLOOD_OPEN)
		number /= 2;
	frame->ip.protocol = kind == FLOOD_SYN || kind == FLOOD_ACK ? IPPROTO_TCP : IPPROTO_UDP;
	frame->ip.tot_len = htons(sizeof(frame->ip) + sizeof(frame->tcp));
	frame->ip.saddr = source_of(number, mode == FLOOD_MIX);
	if (kind == FLOOD_FIRST_FRAGMENT || kind == FLOOD_LATER_FRAGMENT)
		fragment_mark(frame, kind, number);
	frame->ip.check = htons(fold(add(&frame->ip, sizeof(frame->ip))));
	if (frame->ip.protocol == IPPROTO_TCP)
		tcp_fill(frame, number, port, kind == FLOOD_SYN);
	else
		udp_fill(frame, number, port);
}

/* The MAC of the default gateway's neighbour entry on this interface: the first complete one. */
static void next_hop_mac(const char *interface, uint8_t mac[6])
{
	char line[256], device[64], text[32];
	FILE *arp = fopen("/proc/net/arp", "r");

	if (!arp)
		die("/proc/net/arp");
	while (fgets(line, sizeof(line), arp)) {
		if (sscanf(line, "%*s %*s %*s %31s %*s %63s", text, device) == 2 &&
		    !strcmp(device, interface) &&
		    sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2],
			   &mac[3], &mac[4], &mac[5]) == 6) {
			fclose(arp);
			return;
		}
	}
	fprintf(stderr, "flood: no neighbour on %s; ping the gateway first\n", interface);
	exit(1);
}

static int packet_socket(const char *interface, uint8_t mac[6])
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	struct ifreq request = {0};

	if (fd < 0)
		die("packet socket");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		die(interface);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	at.sll_ifindex = (int)if_nametoindex(interface);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	return fd;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* At once if this time has gone by. */
static void sleep_until(double when)
{
	struct timespec ts = {.tv_sec = (time_t)when};

	ts.tv_nsec = (long)((when - (double)ts.tv_sec) * 1e9);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Packets to send at a time. */
static uint32_t burst_of(double rate)
{
	double due = rate / 10000;

	return due < 1 ? 1 : due > BATCH ? BATCH : (uint32_t)due;
}

int main(int argc, char **argv)
{
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	uint8_t source[6], target[6];
	uint32_t count, burst, sent = 0, vip;
	double begin, rate;
	enum mode mode = argc != 7                  ? FLOOD_SYNS
			 : !strcmp(argv[6], "mix")  ? FLOOD_MIX
			 : !strcmp(argv[6], "open") ? FLOOD_OPEN
						    : FLOOD_SYNS;
	int fd;

	if ((argc != 6 && mode == FLOOD_SYNS) || inet_pton(AF_INET, argv[2], &vip) != 1) {
		fprintf(stderr, "usage: flood INTERFACE VIP PORT COUNT RATE [mix | open]\n");
		return 2;
	}
	count = (uint32_t)strtoul(argv[4], NULL, 10);
	rate = atof(argv[5]);
	fd = packet_socket(argv[1], source);
	next_hop_mac(argv[1], target);
	for (int i = 0; i < BATCH; i++) {
		memcpy(frames[i].eth.h_source, source, 6);
		memcpy(frames[i].eth.h_dest, target, 6);
		frames[i].eth.h_proto = htons(ETH_P_IP);
		parts[i] = (struct iovec){&frames[i], sizeof(frames[i])};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	burst = burst_of(rate);
	prctl(PR_SET_TIMERSLACK, 1);
	begin = seconds();
	while (sent < count) {
		uint32_t batch = count - sent < burst ? count - sent : burst;
		int done;

		for (uint32_t i = 0; i < batch; i++)
			frame_fill(&frames[i], sent + i, vip, (uint16_t)atoi(argv[3]), mode);
		done = sendmmsg(fd, messages, batch, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN)
			die("sendmmsg");
		sent += done > 0 ? (uint32_t)done : 0;
		sleep_until(begin + sent / rate);
	}
	printf("# %u %s from distinct sources in %.1f s\n", sent,
	       mode == FLOOD_SYNS ? "SYNs" : "packets", seconds() - begin);
	return 0;
}
